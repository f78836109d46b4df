"""The host's loop does not sleep while a machine has frames that it has not been told of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from leulo.clock import Clock, RealClock, VirtualClock
from leulo.host import Host
from leulo.links.base import Offload
from leulo.outcome import Ending, Outcome

FRAME = bytes(10) + b"\x02\0\0\0\0\1" + b"\x02\0\0\0\0\2" + b"\x08\x00" + bytes(40)


class HandPoller:
    """Remembers how long it was to wait, and never does."""

    def __init__(self) -> None:
        self.waits: list[int | None] = []

    def wait(self, timeout_ns: int | None) -> int:
        self.waits.append(timeout_ns)
        return 0


class MirrorLink:
    """Answers each frame before `transmit` returns, as a gateway in this process does."""

    name, mtu, offload = "mirror", 1500, Offload(True, 65_535)

    def attach(self, deliver: Callable[[Sequence[bytes]], None]) -> None:
        self.deliver = deliver

    def transmit(self, frames: Sequence[Sequence[bytes]], now_ns: int) -> None:
        self.deliver([b"".join(frame) for frame in frames])

    def next_deadline(self) -> None:
        return None


class HaltedMachine:
    """Sends one frame, and ends the run when it is told of the answer."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.config = SimpleNamespace(name="halted")
        self.offload = Offload(True, 65_535)
        self.cpu = SimpleNamespace(ticks=0)
        self.stack = self
        self.port: Any = None
        self.has_output = True
        self.got = 0

    def drain(self, now_ns: int) -> list[tuple[bytes, ...]]:
        self.has_output = False
        return [(FRAME,)]

    def input(self, frames: Sequence[bytes], now_ns: int) -> None:
        self.got += len(frames)

    def serve(self, now_ns: int) -> None:
        if self.got:
            self.host.finish(Outcome(Ending.POWER_OFF))

    def is_runnable(self) -> bool:
        return False

    def next_deadline(self) -> int:
        return 10**12

    def flush_console(self) -> None:
        """Nothing was printed."""


@pytest.mark.parametrize("clock", [RealClock(lambda: 0), VirtualClock(1, 1)])
def test_answer_that_comes_at_once_is_told_before_any_sleep(clock: Clock) -> None:
    poller = HandPoller()
    host = Host(clock, poller)  # type: ignore[arg-type]
    machine = HaltedMachine(host)
    host.add(machine)  # type: ignore[arg-type]
    host.connect(MirrorLink())  # type: ignore[arg-type]
    assert host.run().ending is Ending.POWER_OFF
    assert machine.got == 1
    assert all(wait == 0 for wait in poller.waits)
    assert clock.now_ns() == 0  # nor was time skipped
