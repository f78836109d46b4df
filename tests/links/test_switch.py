"""The switch: who gets which frame, in which form."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from leulo.clock import Clock
from leulo.links.base import Offload, TxFrame
from leulo.links.offload import EVERYTHING, NOTHING
from leulo.links.switch import AGE_NS, MAX_STATIONS, Frame, Port, Switch

BROADCAST = b"\xff" * 6


def mac(number: int) -> bytes:
    return b"\x52\x54\x00\x00" + number.to_bytes(2, "big")


def frame(source: int, destination: int | bytes, tag: bytes = b"tag") -> TxFrame:
    to = destination if isinstance(destination, bytes) else mac(destination)
    return (bytes(10) + to + mac(source) + b"\x08\x00", memoryview(tag))


class Tick(Clock):
    def __init__(self) -> None:
        self.now = 0

    def now_ns(self) -> int:
        return self.now


class FakeLink:
    """A link that remembers what it is given."""

    def __init__(self, offload: Offload = EVERYTHING) -> None:
        self.name = "wire"
        self.mtu = 1500
        self.offload = offload
        self.sent: list[TxFrame] = []
        self.deliver: Callable[[Sequence[bytes]], None] | None = None

    def attach(self, deliver: Callable[[Sequence[bytes]], None]) -> None:
        self.deliver = deliver

    def transmit(self, frames: Sequence[TxFrame], now_ns: int) -> None:
        self.sent += frames

    def next_deadline(self) -> int | None:
        return None

    def advance(self, now_ns: int) -> None:
        pass

    def counters(self) -> dict[str, int]:
        return {}

    def close(self) -> None:
        pass


class Rig:
    """A switch with ``stacks`` stack ports whose arrivals are kept."""

    def __init__(self, stacks: int, sends: Offload = EVERYTHING) -> None:
        self.switch = Switch()
        self.got: list[list[bytes]] = [[] for _ in range(stacks)]
        self.ports: list[Port] = [
            self.switch.add_stack(f"m{n}", sends, self.taker(n)) for n in range(stacks)
        ]

    def taker(self, number: int) -> Callable[[Sequence[bytes], int], None]:
        return lambda frames, now_ns: self.got[number].extend(frames)

    def tags(self) -> list[list[bytes]]:
        """What every port got since the last call, by its payload."""
        tags = [[data[24:] for data in got] for got in self.got]
        for got in self.got:
            got.clear()
        return tags


def test_two_ports_pass_everything_unread() -> None:
    rig = Rig(2)
    rig.ports[0].send([(b"short", b"er")], 0)
    assert rig.got[1] == [b"shorter"]
    rig.ports[1].send([frame(9, 9)], 0)
    assert rig.tags()[0] == [b"tag"]


def test_link_gives_bytes_to_the_stack_and_takes_buffers() -> None:
    rig = Rig(1)
    link = FakeLink()
    rig.switch.add_link(link, Tick())
    assert link.deliver is not None
    batch = [b"".join(frame(5, 1))]
    link.deliver(batch)
    assert rig.got[0] == batch
    out = frame(1, 5)
    rig.ports[0].send([out], 0)
    assert link.sent[0] is out


def test_unknown_is_flooded_and_known_goes_to_its_port() -> None:
    rig = Rig(3)
    rig.ports[0].send([frame(1, 2)], 0)
    assert rig.tags() == [[], [b"tag"], [b"tag"]]
    rig.ports[1].send([frame(2, 1)], 1)
    assert rig.tags() == [[b"tag"], [], []]
    rig.ports[0].send([frame(1, 2, b"a"), frame(1, BROADCAST, b"b"), frame(1, 2, b"c")], 2)
    assert rig.tags() == [[], [b"a", b"b", b"c"], [b"b"]]
    assert rig.switch.counters()["flooded"] == 2


def test_station_that_moves_is_found_at_its_new_port() -> None:
    rig = Rig(3)
    rig.ports[0].send([frame(1, BROADCAST)], 0)
    rig.ports[1].send([frame(1, BROADCAST)], 1)
    rig.tags()
    rig.ports[2].send([frame(3, 1)], 2)
    assert rig.tags() == [[], [b"tag"], []]


def test_frame_for_the_port_it_came_from_is_dropped() -> None:
    rig = Rig(3)
    rig.ports[0].send([frame(1, BROADCAST), frame(2, BROADCAST)], 0)
    rig.tags()
    rig.ports[0].send([frame(1, 2)], 0)
    assert rig.tags() == [[], [], []]
    assert rig.switch.counters()["dropped_same_port"] == 1


def test_old_station_is_flooded_again() -> None:
    rig = Rig(3)
    rig.ports[0].send([frame(1, BROADCAST)], 0)
    rig.tags()
    rig.ports[1].send([frame(2, 1)], AGE_NS - 1)
    assert rig.tags() == [[b"tag"], [], []]
    rig.ports[1].send([frame(2, 1)], AGE_NS)
    assert rig.tags() == [[b"tag"], [], [b"tag"]]


def test_nonsense_is_dropped_and_counted() -> None:
    rig = Rig(3)
    rig.ports[0].send([(bytes(23),), (bytes(10) + mac(2) + BROADCAST + b"\x08\x00",)], 0)
    assert rig.tags() == [[], [], []]
    counters = rig.switch.counters()
    assert (counters["dropped_short"], counters["dropped_source"]) == (1, 1)
    assert counters["stations"] == 0


def test_flood_of_addresses_cannot_grow_the_table() -> None:
    rig = Rig(3)
    rig.ports[1].send([frame(60_000, BROADCAST)], 0)
    for number in range(2 * MAX_STATIONS):
        rig.ports[0].send([frame(number, BROADCAST)], number + 1)
        rig.ports[1].send([frame(60_000, BROADCAST)], number + 1)  # is heard of: stays
    assert rig.switch.counters()["stations"] == MAX_STATIONS
    rig.tags()
    rig.ports[2].send([frame(3, 60_000)], 5000)
    assert rig.tags() == [[], [b"tag"], []]


@pytest.mark.parametrize("stacks", [1, 2])
def test_port_that_takes_only_plain_frames_gets_them_plain(stacks: int) -> None:
    """With two ports and with three: one super-segment becomes the segments it stands for."""
    from test_offload import judged, super_segment

    rig = Rig(stacks)
    link = FakeLink(NOTHING)
    rig.switch.add_link(link, Tick())
    plain = frame(1, 9)
    rig.ports[0].send([super_segment(bytes(5000), 1448), plain], 0)
    assert len(link.sent) == 5
    assert link.sent[4] is plain
    for piece in link.sent[:4]:
        judged(piece)
    if stacks == 2:  # the other stack takes it whole
        assert len(rig.got[1]) == 2
    damaged = bytearray(super_segment(bytes(5000), 1448)[0])
    damaged[1] = 9
    rig.ports[0].send([(bytes(damaged), bytes(5000))], 0)
    assert len(link.sent) == 5
    assert rig.switch.counters()["dropped_gso_kind"] == 1


def test_observer_sees_every_frame_once_with_its_direction() -> None:
    rig = Rig(2)
    link = FakeLink()
    rig.switch.add_link(link, Tick())
    seen: list[tuple[int, bool, int]] = []

    def observe(frames: Sequence[Frame], from_link: bool, now_ns: int) -> None:
        seen.append((len(frames), from_link, now_ns))

    rig.switch.watch(observe)
    rig.ports[0].send([frame(1, BROADCAST), frame(1, 2)], 7)
    assert link.deliver is not None
    link.deliver([b"".join(frame(5, 1))])
    assert seen == [(2, False, 7), (1, True, 0)]


def test_restored_switch_knows_its_stations() -> None:
    rig = Rig(3)
    rig.ports[1].send([frame(2, BROADCAST)], 5)
    other = Rig(3)
    other.switch.load(rig.switch.save())
    assert other.switch.save() == rig.switch.save()
    other.ports[0].send([frame(1, 2)], 6)
    assert other.tags() == [[], [b"tag"], []]
    with pytest.raises(ValueError, match="more ports"):
        Rig(1).switch.load(rig.switch.save())
