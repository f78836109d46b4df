"""Two network namespaces, so that a benchmark touches nothing of this computer's own network.

    client  10.78.0.1 --veth-- 10.78.0.2  server      nginx, source and sink on Linux's TCP
            10.77.0.1 --TAP--- 10.77.0.2  the guest   made by ``leulo boot`` in the client's

The names carry the process number; leaving the context ends what still runs in them and deletes
them, and with them every interface.
"""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from leulo.errors import EnvironmentProblem

TAP: Final = "leulo-bench"
GUEST_ADDRESS: Final = "10.77.0.2"
SERVER_ADDRESS: Final = "10.78.0.2"
_CLIENT_ADDRESS: Final = "10.78.0.1"
_CONGESTION: Final = "tcp_congestion_control"


class Network:
    """The namespaces ``client`` and ``server``, as names for ``ip netns exec``."""

    def __init__(self, congestion: str = "") -> None:
        """``congestion``: Linux's congestion control in both; empty: as this computer has it."""
        self.congestion = congestion
        self.client = f"leulo-bench-{os.getpid()}-c"
        self.server = f"leulo-bench-{os.getpid()}-s"
        self._cleanup = ExitStack()

    def __enter__(self) -> Network:
        """Raises EnvironmentProblem if this computer does not let us."""
        if os.geteuid() != 0:
            raise EnvironmentProblem(
                "the benchmark needs network namespaces: run it as root, as in sudo make bench"
            )
        try:
            for name in (self.client, self.server):
                _ip("netns", "add", name)
                self._cleanup.callback(_delete, name)
                _ip("-n", name, "link", "set", "lo", "up")
            _ip("-n", self.client, "link", "add", "veth0", "type", "veth",
                "peer", "name", "veth0", "netns", self.server)  # fmt: skip
            for name, address in ((self.client, _CLIENT_ADDRESS), (self.server, SERVER_ADDRESS)):
                _ip("-n", name, "address", "add", f"{address}/24", "dev", "veth0")
                _ip("-n", name, "link", "set", "veth0", "up")
            # Thousands of connections a second use up the usual range of ports within seconds.
            self._set(self.client, "ip_local_port_range", "1024 65535")
            for name in (self.client, self.server) if self.congestion else ():
                if not self._set(name, _CONGESTION, self.congestion):
                    raise EnvironmentProblem(_why_not(self.congestion))
            self.congestion = self.congestion or _read(_CONGESTION)
        except BaseException:
            self._cleanup.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    def _set(self, name: str, key: str, value: str) -> bool:
        """Set one of net.ipv4 in a namespace. False: the host refuses."""
        command = [*self.within(name), "sh", "-c", 'echo "$2" > "/proc/sys/net/ipv4/$1"', "sh"]
        done = subprocess.run([*command, key, value], check=False, capture_output=True)
        return done.returncode == 0

    def within(self, name: str, core: int | None = None) -> list[str]:
        """The words before a command that put it into a namespace and on a core."""
        words = ["ip", "netns", "exec", name]
        if core is not None:
            words += ["taskset", "-c", str(core)]
        return words


def _read(key: str) -> str:
    """One of net.ipv4 here, which a new namespace has, too."""
    return Path("/proc/sys/net/ipv4", key).read_text().strip()


def _why_not(congestion: str) -> str:
    """Why a namespace cannot have that congestion control. [Linux tcp(7)]"""
    available = _read("tcp_available_congestion_control")
    if congestion not in available.split():
        return f"--congestion {congestion}: this kernel has {available}; choose one of them"
    allowed = _read("tcp_allowed_congestion_control")
    return (
        f"--congestion {congestion}: this computer lets namespaces choose only from {allowed}: "
        f'sysctl net.ipv4.tcp_allowed_congestion_control="{allowed} {congestion}" adds it'
    )


def _ip(*words: str) -> None:
    try:
        result = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise EnvironmentProblem("ip is not installed: apt-get install iproute2") from None
    if result.returncode != 0:
        raise EnvironmentProblem(f"ip {' '.join(words)}: {result.stderr.strip()}")


def _delete(name: str) -> None:
    pids = subprocess.run(
        ["ip", "netns", "pids", name], capture_output=True, text=True, check=False
    ).stdout.split()
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)
