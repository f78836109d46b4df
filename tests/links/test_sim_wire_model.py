"""Protects: the simulated wire, whatever it saves itself, does what a plain one does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from leulo.links.sim.chance import Chance
from leulo.links.sim.wire import Wire
from leulo.links.sim.wire_spec import WireSpec


class PlainWire:
    """What a wire does without loss and damage, in as few words as it can be said."""

    def __init__(self, spec: WireSpec, chance: Chance) -> None:
        self.spec, self.chance = spec, chance
        self.leaving: list[int] = []
        self.travelling: list[tuple[int, int, bytes]] = []
        self.last_at = self.serial = 0

    def send(self, frame: bytes, now: int) -> None:
        spec = self.spec
        free_at = max([now, *self.leaving])
        self.leaving = [at for at in self.leaving if at > now]
        if len(self.leaving) >= spec.queue:
            return
        at = free_at - -(len(frame) - 10) * 8 * 10**9 // spec.rate
        self.leaving.append(at)
        at = max(at + spec.delay + self.chance.below(spec.jitter + 1), self.last_at)
        if self.chance.happens(spec.reorder):
            at += spec.reorder_by
        else:
            self.last_at = at
        for _ in range(1 + self.chance.happens(spec.duplicate)):
            self.serial += 1
            self.travelling.append((at, self.serial, frame))

    def arrived(self, now: int) -> list[bytes]:
        there = sorted(entry for entry in self.travelling if entry[0] <= now)
        self.travelling = [entry for entry in self.travelling if entry[0] > now]
        return [frame for _, _, frame in there]


@given(
    st.integers(0, 2**64 - 1),
    st.integers(1, 200),
    st.sampled_from([0, 10**8, 9 * 10**8]),
    st.lists(st.tuples(st.integers(0, 50_000), st.integers(0, 150)), max_size=8),
)
def test_a_wire_does_what_a_plain_one_does(
    seed: int, queue: int, reorder: int, bursts: list[tuple[int, int]]
) -> None:
    spec = WireSpec(
        rate=10**9, delay=2000, queue=queue, jitter=700, reorder=reorder, reorder_by=1900,
        duplicate=reorder // 2,
    )  # fmt: skip
    line, plain = Wire.of(spec, Chance(seed, 1)), PlainWire(spec, Chance(seed, 1))
    now = 0
    for number, (pause, count) in enumerate(bursts):
        now += pause
        for length in range(count):
            frame = bytes(10) + number.to_bytes(2, "big") + bytes(length)
            line.send(frame, now + length)
            plain.send(frame, now + length)
        due = line.next_arrival()
        assert due == min((at for at, _, _ in plain.travelling), default=None)
        now += count
        assert line.arrived(now) == plain.arrived(now)
    assert line.frames == sum(count for _, count in bursts)
    assert line.arrived(10**12) == plain.arrived(10**12)
