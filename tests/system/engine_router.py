"""The engine as the only way out of a namespace: what its programs open ends in our TCP.

``python engine_router.py LINK OUTSIDE SECONDS`` joins LINK (the TAP of this name, made here in the
namespace that it is started in, or a socket of frames, ``fd:N``) to the gateway of ``--net user``,
whose sockets of the host are opened in the namespace OUTSIDE. So each connection of a program runs
over two: Linux to our engine, and this computer's to the server. It prints ``ready``, and its
counters as JSON at SIGTERM or after SECONDS.
"""

from __future__ import annotations

import gc
import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from types import FrameType

from netns import Namespace, enter
from socket_link import SocketLink

from leulo.clock import RealClock
from leulo.links.base import Link
from leulo.links.context import LinkContext
from leulo.links.poller import Poller
from leulo.links.switch import Switch
from leulo.links.tap import TapLink
from leulo.links.user import open_user
from leulo.net.wire.ipv4 import parse_ipv4
from leulo.trace import Trace
from leulo.units import NS_PER_MS

INSIDE, GATEWAY, PREFIX_LENGTH = "10.0.2.15", "10.0.2.2", 24
DNS = "10.0.2.3"
_IDLE_NS = 100 * NS_PER_MS
_READY_SECONDS = 20


def route(name: str, outside: str, seconds: float) -> dict[str, int]:
    """Serve until SIGTERM, or for ``seconds``; returns the counters."""
    is_ended = False
    clock = RealClock(time.monotonic_ns)
    poller = Poller()
    link: Link
    if name.startswith("fd:"):
        link = SocketLink(int(name[3:]), poller)
    else:
        link = TapLink(name, poller, parse_ipv4(INSIDE), PREFIX_LENGTH)
    enter(outside)
    user = open_user(
        LinkContext(
            clock, poller, Trace(), random.Random(1).getrandbits, parse_ipv4(INSIDE),
            PREFIX_LENGTH, parse_ipv4(GATEWAY), parse_ipv4(DNS),
        )
    )  # fmt: skip
    switch = Switch()
    switch.add_link(link, clock)
    switch.add_link(user, clock)

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal is_ended
        is_ended = True
        poller.wake()

    signal.signal(signal.SIGTERM, end)
    gc.collect()
    gc.freeze()
    print("ready", flush=True)
    finish = clock.now_ns() + int(seconds * 1e9)
    while not is_ended and (now := clock.now_ns()) < finish:
        due = user.next_deadline()
        poller.wait(_IDLE_NS if due is None else min(_IDLE_NS, max(0, due - now)))
        due, now = user.next_deadline(), clock.now_ns()
        if due is not None and due <= now:
            user.advance(now)
    counters = user.counters()
    user.close()
    link.close()
    return counters


class EngineRouter:
    """The process; a context manager. ``counters`` are there after the block."""

    def __init__(
        self, inside: Namespace, outside: Namespace, fd: int | None = None, seconds: float = 100
    ) -> None:
        """Over a TAP of its own in ``inside``, or over the socket ``fd``, which it takes over."""
        self.counters: dict[str, int] = {}
        name = "leulo0" if fd is None else f"fd:{fd}"
        self._process = subprocess.Popen(
            inside.command(sys.executable, __file__, name, outside.name, str(seconds)),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            pass_fds=() if fd is None else (fd,),
        )  # fmt: skip
        if fd is not None:
            os.close(fd)
        assert self._process.stdout is not None and self._process.stderr is not None
        ready = select.select([self._process.stdout], [], [], _READY_SECONDS)[0]
        line = self._process.stdout.readline() if ready else b""
        if line != b"ready\n":
            self._process.kill()
            raise AssertionError(self._process.communicate()[1].decode())

    def __enter__(self) -> EngineRouter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._process.terminate()
        try:
            output, errors = self._process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            output, errors = self._process.communicate()
        assert b"Traceback" not in errors, errors.decode()
        if kind is None:
            self.counters = json.loads(output)


def main(argv: list[str]) -> None:
    name, outside, seconds = argv
    print(json.dumps(route(name, outside, float(seconds))))


if __name__ == "__main__":
    main(sys.argv[1:])
