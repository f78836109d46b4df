"""Network namespaces for tests: made, used and removed, whatever happens in between.

Needs root. Names are unique to the process, so that tests can run side by side, and namespaces
that a killed run has left behind are removed when the next one begins.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from leulo.net.wire.icmp import ECHO_REPLY, ECHO_REQUEST, IcmpRepr

_PREFIX = "leulo-test-"
_DIRECTORY = Path("/run/netns")
_CLONE_NEWNET = 0x40000000
_numbers = itertools.count()

T = TypeVar("T")


def _setns(fd: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def enter(name: str) -> None:
    """This thread is inside the namespace ``name`` from now on."""
    fd = os.open(_DIRECTORY / name, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _setns(fd)
    finally:
        os.close(fd)


def remove_leftovers() -> None:
    """Remove the namespaces of processes that are no more."""
    if not _DIRECTORY.is_dir():
        return
    for path in sorted(_DIRECTORY.glob(f"{_PREFIX}*")):
        owner = path.name.removeprefix(_PREFIX).split("-")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            subprocess.run(["ip", "netns", "del", path.name], capture_output=True, check=False)


class Namespace:
    """A network namespace with its loopback up; a context manager.

    Processes started through it are ended when it is left.
    """

    def __init__(self, label: str = "x") -> None:
        remove_leftovers()
        self.name = f"{_PREFIX}{os.getpid()}-{label}-{next(_numbers)}"
        self._children: list[subprocess.Popen[bytes]] = []
        subprocess.run(["ip", "netns", "add", self.name], check=True, capture_output=True)
        try:
            self.run("ip", "link", "set", "lo", "up")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Namespace:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def command(self, *words: str) -> list[str]:
        """The words that run a program inside."""
        return ["ip", "netns", "exec", self.name, *words]

    def run(self, *words: str, seconds: float = 60, is_checked: bool = True) -> str:
        """Run a program inside to its end; returns what it printed, errors after output.

        Fails with its output if its exit code is not 0, unless ``is_checked`` is False.
        """
        done = subprocess.run(
            self.command(*words), capture_output=True, timeout=seconds, check=False
        )
        output = (done.stdout + done.stderr).decode("utf-8", "replace")
        if is_checked and done.returncode:
            raise AssertionError(
                f"{' '.join(words)}: exit code {done.returncode}\n{output[-3000:]}"
            )
        return output

    def start(
        self,
        *words: str,
        stdout: int | None = subprocess.PIPE,
        stderr: int | None = subprocess.STDOUT,
        pass_fds: Sequence[int] = (),
    ) -> subprocess.Popen[bytes]:
        """Start a program inside, in a process group of its own."""
        child = subprocess.Popen(
            self.command(*words),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            pass_fds=pass_fds,
            start_new_session=True,
        )
        self._children.append(child)
        return child

    @contextmanager
    def entered(self) -> Iterator[None]:
        """This thread is inside for as long as the block lasts: sockets and TAPs that it opens
        belong to the namespace for good. (/sys stays the outer one.)"""
        outer = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            enter(self.name)
            try:
                yield
            finally:
                _setns(outer)
        finally:
            os.close(outer)

    def inside(self, call: Callable[[], T]) -> T:
        """What ``call`` returns when it is called inside."""
        with self.entered():
            return call()

    def add_veth(self, other: Namespace, addresses: tuple[str, str], name: str = "veth0") -> None:
        """Join this and another namespace by a pair of interfaces of the same name;
        ``addresses`` are with prefix lengths (``10.78.0.1/24``), this one's first."""
        self.run(
            "ip", "link", "add", name, "type", "veth", "peer", "name", name, "netns", other.name
        )  # fmt: skip
        for namespace, address in ((self, addresses[0]), (other, addresses[1])):
            namespace.run("ip", "addr", "add", address, "dev", name)
            namespace.run("ip", "link", "set", name, "up")

    def ping(self, address: str, count: int = 1, size: int = 56, seconds: float = 2.0) -> int:
        """Send echo requests from inside, one after another; returns how many were answered
        with the same data. No program ``ping`` is needed."""
        with self.entered():
            stream = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        answered = 0
        payload = bytes(n * 7 & 0xFF for n in range(size))
        with stream:
            stream.settimeout(seconds)
            for sequence in range(count):
                mark = (os.getpid() & 0xFFFF) << 16 | sequence
                stream.sendto(IcmpRepr(ECHO_REQUEST, 0, mark, payload).emit(), (address, 0))
                with suppress(TimeoutError):
                    while True:
                        packet = stream.recv(65536)
                        reply = IcmpRepr.parse(packet[(packet[0] & 15) * 4 :])
                        if reply.kind == ECHO_REPLY and reply.rest == mark:
                            answered += reply.payload == payload
                            break
        return answered

    def close(self) -> None:
        """End what was started inside and remove the namespace; a second call does nothing."""
        for child in self._children:
            if child.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGTERM)
                try:
                    child.wait(3)
                except subprocess.TimeoutExpired:
                    with suppress(ProcessLookupError):
                        os.killpg(child.pid, signal.SIGKILL)
                    child.wait(3)
            if child.stdout is not None:
                child.stdout.close()
        self._children = []
        if (_DIRECTORY / self.name).exists():
            subprocess.run(["ip", "netns", "del", self.name], capture_output=True, check=False)
