"""In real time bulk is acknowledged, and more of it taken in, before the guest runs; the ACK of a
request waits for its answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import pytest
from tcp_client import connecting_client, listening_machine

from leulo.clock import RealClock
from leulo.host import Host
from leulo.links.base import Offload, TxFrame

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


class Looks:
    """What the loop looks at: each time one more of ``batches`` has arrived."""

    def __init__(self) -> None:
        self.batches: list[list[bytes]] = []
        self.arrive: Callable[[Sequence[bytes]], None] = lambda frames: None

    def wait(self, timeout_ns: int | None) -> int:
        if not self.batches:
            return 0
        self.arrive(self.batches.pop(0))
        return 1

    def wake(self) -> None:
        """Nobody waits."""


class Talk:
    """A client's connection to a machine whose CPU does not run."""

    def __init__(self) -> None:
        self.clock = RealClock(time.monotonic_ns)
        self.poller = Looks()
        self.host = Host(self.clock, self.poller)
        self.machine = listening_machine(self.clock)
        self.wire = Wire()
        self.host.add(self.machine)
        self.host.connect(self.wire)
        self.poller.arrive = self.wire._deliver
        self.client, self.socket = connecting_client()
        for _ in range(6):
            self.exchange()
        self.socket.setsockopt(6, 1, (1).to_bytes(4, "little"))
        for _ in range(3):  # the initial window opens
            assert self.socket.send(bytes(12_000)) == 12_000
            for _ in range(4):
                self.exchange()

    def frames(self) -> list[bytes]:
        """What the client has to send."""
        return [b"".join(frame) for frame in self.client.drain(self.clock.now_ns())]

    def exchange(self) -> None:
        """One turn of the host's loop, and its answers back to the client."""
        self.wire.arriving += self.frames()
        self.host._serve(0)
        self.client.input(self.wire.sent, self.clock.now_ns())
        self.wire.sent.clear()


@pytest.fixture
def talk() -> Iterator[Talk]:
    made = Talk()
    yield made
    made.machine.close()


@pytest.mark.parametrize(("size", "answers"), [(30_000, 1), (100, 0)])
def test_ack_of_bulk_does_not_wait_for_the_guest(talk: Talk, size: int, answers: int) -> None:
    assert talk.socket.send(bytes(size)) == size
    talk.wire.arriving += talk.frames()
    talk.host._serve(0)
    assert [frame[22:24] for frame in talk.wire.sent] == [b"\x08\x00"] * answers


@pytest.mark.parametrize(("size", "taken"), [(9_000, 3), (1_000, 1)])
def test_bulk_that_follows_is_taken_in_too_but_not_for_ever(
    talk: Talk, size: int, taken: int
) -> None:
    for _ in range(5):
        assert talk.socket.send(bytes(size)) == size
        talk.poller.batches.append(talk.frames())
    talk.host._serve(0)
    assert len(talk.poller.batches) == 5 - taken
    assert bool(talk.wire.sent) is (taken > 1)
