"""In real time the ACK of bulk leaves before the guest runs; a request's waits for its answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import pytest
from tcp_client import connecting_client, listening_machine

from leulo.clock import RealClock
from leulo.host import Host
from leulo.links.base import Offload, TxFrame
from leulo.links.poller import Poller

ALL = Offload(True, 65535)


class Wire:
    """A link whose frames from outside are there whenever the poller looks."""

    name = "wire"
    offload = ALL
    mtu = 1500

    def __init__(self) -> None:
        self.arriving: list[bytes] = []
        self.sent: list[bytes] = []

    def attach(self, deliver: Callable[[Sequence[bytes]], None]) -> None:
        self._deliver = deliver

    def transmit(self, frames: Sequence[TxFrame], now_ns: int) -> None:
        self.sent += [b"".join(frame) for frame in frames]

    def next_deadline(self) -> int | None:
        return 0 if self.arriving else None

    def advance(self, now_ns: int) -> None:
        frames, self.arriving = self.arriving, []
        self._deliver(frames)

    def counters(self) -> dict[str, int]:
        return {}

    def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize(("size", "answers"), [(30_000, 1), (100, 0)])
def test_ack_of_bulk_does_not_wait_for_the_guest(size: int, answers: int) -> None:
    clock = RealClock(time.monotonic_ns)
    host = Host(clock, Poller())
    machine = listening_machine(clock)
    wire = Wire()
    host.add(machine)
    host.connect(wire)
    client, socket = connecting_client()

    def carry() -> None:
        """One look of the host's loop; the machine's CPU does not run."""
        wire.arriving += [b"".join(frame) for frame in client.drain(clock.now_ns())]
        host._serve(0)

    for _ in range(6):
        carry()
        client.input(wire.sent, clock.now_ns())
        wire.sent.clear()
    socket.setsockopt(6, 1, (1).to_bytes(4, "little"))
    for _ in range(3):  # the initial window opens
        assert socket.send(bytes(12_000)) == 12_000
        for _ in range(4):
            carry()
            client.input(wire.sent, clock.now_ns())
            wire.sent.clear()
    assert socket.send(bytes(size)) == size
    carry()
    assert [frame[22:24] for frame in wire.sent] == [b"\x08\x00"] * answers
    machine.close()
