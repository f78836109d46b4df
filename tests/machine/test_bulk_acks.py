"""In real time the ACK of bulk leaves before the guest runs; a request's waits for its answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from random import Random

import pytest

from leulo.clock import RealClock
from leulo.config import MachineConfig
from leulo.host import Host
from leulo.links.base import Offload, TxFrame
from leulo.links.poller import Poller
from leulo.machine import Machine
from leulo.stack import Stack, StackConfig
from leulo.trace import Trace

ALL = Offload(True, 65535)
HERE, THERE = bytes((10, 0, 2, 15)), bytes((10, 0, 2, 99))


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
    machine = Machine(
        MachineConfig(), clock, Trace(), offload=ALL, console=lambda _: None,
        random_bits=Random(1).getrandbits, epoch_s=0,
    )  # fmt: skip
    wire = Wire()
    host.add(machine)
    host.connect(wire)
    config = StackConfig(
        "client", bytes((2, 0, 0, 0, 0, 9)), THERE, 24, checksum=True, tso_bytes=65_535
    )
    client = Stack(config, Random(2).getrandbits, Trace())

    def carry() -> None:
        """One look of the host's loop; the machine's CPU does not run."""
        wire.arriving += [b"".join(frame) for frame in client.drain(clock.now_ns())]
        host._serve(0)

    listener = machine.stack.socket(2, 1)
    assert not isinstance(listener, int)
    assert listener.bind(bytes(4), 80) == 0
    assert listener.listen(1) == 0
    socket = client.socket(2, 1)
    assert not isinstance(socket, int)
    socket.connect(HERE, 80)
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
