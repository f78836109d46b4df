"""One direction of a simulated wire: a queue, a bottleneck, a delay, and what may go wrong.

A frame waits in a drop-tail queue, takes its time at the bottleneck's rate, may get lost there,
and otherwise arrives one delay later. With jitter the delay varies and the order stays; a frame
that is held back is overtaken, a doubled one arrives twice, a corrupted one has one bit turned
over. Where the queue is long and ECN is on, a packet that allows it is marked instead of waiting
for a drop. [RFC 3168 5] Times are integer nanoseconds of the host; the size of a frame is that on
the wire without preamble and check sequence.

Chance is drawn in the same order for every frame, and none for what never happens, so that an
option left out changes nothing of a run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from typing import Final

from leulo.links.base import VNET_HDR_BYTES
from leulo.links.sim.chance import Chance
from leulo.links.sim.damage import mark_congestion, turn_bit
from leulo.links.sim.wire_spec import WireSpec
from leulo.state import State, load_fields, save_fields
from leulo.units import NS_PER_S

NEVER: Final = 1 << 62
MOST_UNDER_WAY: Final = 1 << 18  # frames; a wire without a rate has no queue to bound them


class Wire:
    """``rate`` in bit/s (0: unlimited), ``queue`` in packets, ``loss`` in parts per billion; the
    rest comes with `of`."""

    FIELDS: Final = (
        "free_at_ns", "last_at_ns", "serial", "changes_done", "frames", "bytes", "lost",
        "overflowed", "reordered", "duplicated", "corrupted", "marked",
    )  # fmt: skip

    def __init__(self, rate: int, delay_ns: int, queue: int, loss: int, chance: Chance) -> None:
        self._spec = WireSpec(rate, delay_ns, queue, loss)
        self._first = self._spec
        self._changes: Sequence[tuple[int, WireSpec]] = ()
        self._chance = chance
        self._departures: deque[int] = deque()  # of frames that may still be in the queue
        self._travelling: list[tuple[int, int, bytes]] = []  # a heap: arrival, serial, frame
        self.arrives_ns = NEVER  # when the next frame does, at the other end
        self.free_at_ns = 0  # when the bottleneck has sent all it was given
        self.last_at_ns = 0  # arrival of the last frame that keeps the order
        self.serial = 0
        self.changes_done = 0
        self.frames = 0  # given to the wire
        self.bytes = 0
        self.lost = 0
        self.overflowed = 0  # found the queue full
        self.reordered = 0  # held back
        self.duplicated = 0
        self.corrupted = 0
        self.marked = 0  # told of congestion

    @classmethod
    def of(
        cls, spec: WireSpec, chance: Chance, changes: Sequence[tuple[int, WireSpec]] = ()
    ) -> Wire:
        """A wire with all its options. ``changes`` are (when, what from then on), by time."""
        wire = cls(spec.rate, spec.delay, spec.queue, spec.loss, chance)
        wire._spec = wire._first = spec
        wire._changes = changes
        return wire

    def send(self, frame: bytes, now_ns: int) -> None:
        """Take ``frame`` at ``now_ns``, which must not be before that of an earlier call."""
        if self._changes:
            self._change(now_ns)
        spec = self._spec
        self.frames += 1
        length = len(frame) - VNET_HDR_BYTES
        self.bytes += length
        departures = self._departures
        while departures and departures[0] <= now_ns:
            departures.popleft()
        waiting = len(departures)
        if waiting >= spec.queue or len(self._travelling) >= MOST_UNDER_WAY:
            self.overflowed += 1
            return
        if spec.ecn and waiting >= spec.ecn:
            marked = mark_congestion(frame)
            if marked is not None:
                frame = marked
                self.marked += 1
        leaves_at = self.free_at_ns
        if leaves_at < now_ns:
            leaves_at = now_ns
        if spec.rate:
            leaves_at += -(-length * 8 * NS_PER_S // spec.rate)
            departures.append(leaves_at)
        self.free_at_ns = leaves_at
        chance = self._chance
        if spec.loss and chance.happens(spec.loss):
            self.lost += 1
            return
        if spec.corrupt and chance.happens(spec.corrupt):
            damaged = turn_bit(frame, chance)
            if damaged is not None:
                frame = damaged
                self.corrupted += 1
        arrives_at = leaves_at + spec.delay
        if spec.jitter:
            arrives_at += chance.below(spec.jitter + 1)
        if arrives_at < self.last_at_ns:
            arrives_at = self.last_at_ns
        if spec.reorder and chance.happens(spec.reorder):
            arrives_at += spec.reorder_by
            self.reordered += 1
        else:
            self.last_at_ns = arrives_at
        self._put(frame, arrives_at)
        if spec.duplicate and chance.happens(spec.duplicate):
            self.duplicated += 1
            self._put(frame, arrives_at)

    def _change(self, now_ns: int) -> None:
        """What the wire is like from now on."""
        changes = self._changes
        while self.changes_done < len(changes) and changes[self.changes_done][0] <= now_ns:
            self._spec = changes[self.changes_done][1]
            self.changes_done += 1

    def next_arrival(self) -> int | None:
        """When the next frame arrives at the other end."""
        return self.arrives_ns if self.arrives_ns < NEVER else None

    def arrived(self, now_ns: int) -> list[bytes]:
        """The frames that are there at ``now_ns``, taken off the wire."""
        travelling = self._travelling
        frames: list[bytes] = []
        while travelling and travelling[0][0] <= now_ns:
            frames.append(heappop(travelling)[2])
        self.arrives_ns = travelling[0][0] if travelling else NEVER
        return frames

    def counters(self) -> dict[str, int]:
        """What became of frames, by name."""
        return {
            "lost": self.lost,
            "dropped_queue": self.overflowed,
            "reordered": self.reordered,
            "duplicated": self.duplicated,
            "corrupted": self.corrupted,
            "marked": self.marked,
        }

    def save(self) -> State:
        state = save_fields(self, 2, self.FIELDS)
        state["departures"] = list(self._departures)
        state["travelling"] = [list(entry) for entry in sorted(self._travelling)]
        state["chance"] = self._chance.save()
        return state

    def load(self, state: State) -> None:
        """Into a wire with the same options. Raises ValueError on another version."""
        load_fields(self, 2, self.FIELDS, state)
        done = min(self.changes_done, len(self._changes))
        self._spec = self._changes[done - 1][1] if done else self._first
        self._departures = deque(state["departures"])
        self._travelling = [
            (due_ns, serial, frame) for due_ns, serial, frame in state["travelling"]
        ]
        heapify(self._travelling)
        self.arrives_ns = self._travelling[0][0] if self._travelling else NEVER
        self._chance.load(state["chance"])

    def _put(self, frame: bytes, arrives_at: int) -> None:
        self.serial += 1
        heappush(self._travelling, (arrives_at, self.serial, frame))
        if arrives_at < self.arrives_ns:
            self.arrives_ns = arrives_at
