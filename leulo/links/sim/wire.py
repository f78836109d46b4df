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

from bisect import bisect_right
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
_LEAST_CROWD: Final = 64

Travelling = tuple[int, int, bytes]  # arrival, serial, frame


class Wire:
    """``rate`` in bit/s (0: unlimited), ``queue`` in packets, ``loss`` in parts per billion; the
    rest comes with `of`."""

    FIELDS: Final = (
        "free_at_ns", "last_at_ns", "serial", "changes_done", "bytes", "lost", "overflowed",
        "reordered", "duplicated", "corrupted", "marked",
    )  # fmt: skip

    def __init__(self, rate: int, delay_ns: int, queue: int, loss: int, chance: Chance) -> None:
        self._first = WireSpec(rate, delay_ns, queue, loss)
        self._changes: Sequence[tuple[int, WireSpec]] = ()
        self._chance = chance
        self._departures: list[int] = []  # of frames that may still be in the queue
        self._in_order: deque[Travelling] = deque()
        self._held_back: list[Travelling] = []  # a heap
        self.arrives_ns = NEVER  # when the next frame does, at the other end
        self.free_at_ns = 0  # when the bottleneck has sent all it was given
        self.last_at_ns = 0  # arrival of the last frame that keeps the order
        self.serial = 0
        self.changes_done = 0
        self.bytes = 0  # given to the wire
        self.lost = 0
        self.overflowed = 0  # found the queue full
        self.reordered = 0  # held back
        self.duplicated = 0
        self.corrupted = 0
        self.marked = 0  # told of congestion
        self._become(self._first)

    @classmethod
    def of(
        cls, spec: WireSpec, chance: Chance, changes: Sequence[tuple[int, WireSpec]] = ()
    ) -> Wire:
        """A wire with all its options. ``changes`` are (when, what from then on), by time."""
        wire = cls(spec.rate, spec.delay, spec.queue, spec.loss, chance)
        wire._first = spec
        wire._changes = changes
        wire._become(spec)
        return wire

    @property
    def frames(self) -> int:
        """How many were given to the wire."""
        return self.serial - self.duplicated + self.lost + self.overflowed

    def send(self, frame: bytes, now_ns: int) -> None:
        """Take ``frame`` at ``now_ns``, which must not be before that of an earlier call."""
        if self._changes:
            self._change(now_ns)
        length = len(frame) - VNET_HDR_BYTES
        self.bytes += length
        departures = self._departures
        waiting = len(departures)
        if waiting >= self._crowd:  # which is no more than the queue holds
            waiting = self._let_go(now_ns)
            if waiting >= self._queue:
                self.overflowed += 1
                return
        in_order = self._in_order
        if len(in_order) >= MOST_UNDER_WAY:
            self.overflowed += 1
            return
        leaves_at = self.free_at_ns
        if leaves_at < now_ns:
            leaves_at = now_ns
        if self._rate:
            if length != self._length:
                self._measure(length)
            leaves_at += self._takes_ns
            departures.append(leaves_at)
        self.free_at_ns = leaves_at
        if self._is_eventful:
            self._send_by_chance(frame, waiting, leaves_at)
            return
        arrives_at = leaves_at + self._delay
        if arrives_at < self.last_at_ns:
            arrives_at = self.last_at_ns
        self.last_at_ns = arrives_at
        self.serial = serial = self.serial + 1
        in_order.append((arrives_at, serial, frame))
        if arrives_at < self.arrives_ns:
            self.arrives_ns = arrives_at

    def _send_by_chance(self, frame: bytes, waiting: int, leaves_at: int) -> None:
        """The rest of `send` where something may happen to a frame."""
        if len(self._held_back) + len(self._in_order) >= MOST_UNDER_WAY:
            self.overflowed += 1
            return
        spec = self._spec
        chance = self._chance
        if spec.ecn and waiting >= spec.ecn:
            marked = mark_congestion(frame)
            if marked is not None:
                frame = marked
                self.marked += 1
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
        is_held_back = spec.reorder > 0 and chance.happens(spec.reorder)
        if is_held_back:
            arrives_at += spec.reorder_by
            self.reordered += 1
        else:
            self.last_at_ns = arrives_at
        self._put(frame, arrives_at, is_held_back)
        if spec.duplicate and chance.happens(spec.duplicate):
            self.duplicated += 1
            self._put(frame, arrives_at, is_held_back)

    def _become(self, spec: WireSpec) -> None:
        """The wire is like this from now on."""
        self._spec = spec
        self._rate = spec.rate
        self._delay = spec.delay
        self._queue = spec.queue
        self._is_eventful = (
            spec.loss or spec.corrupt or spec.jitter or spec.reorder or spec.duplicate or spec.ecn
        ) > 0
        self._length = -1  # of the last frame, and how long the bottleneck takes for it
        self._takes_ns = 0
        # So many departures are noted before it matters which of those frames have left.
        self._full = min(spec.queue, spec.ecn or spec.queue)
        self._crowd = min(self._full, _LEAST_CROWD)

    def _change(self, now_ns: int) -> None:
        """What the wire is like from now on."""
        changes = self._changes
        while self.changes_done < len(changes) and changes[self.changes_done][0] <= now_ns:
            self._become(changes[self.changes_done][1])
            self.changes_done += 1

    def _measure(self, length: int) -> None:
        self._length = length
        self._takes_ns = -(-length * 8 * NS_PER_S // self._rate)

    def _let_go(self, now_ns: int) -> int:
        """Forget those that have left the queue; returns how many are in it."""
        departures = self._departures
        del departures[: bisect_right(departures, now_ns)]
        waiting = len(departures)
        self._crowd = min(self._full, max(_LEAST_CROWD, 2 * waiting))
        return waiting

    def next_arrival(self) -> int | None:
        """When the next frame arrives at the other end."""
        return self.arrives_ns if self.arrives_ns < NEVER else None

    def arrived(self, now_ns: int) -> list[bytes]:
        """The frames that are there at ``now_ns``, taken off the wire."""
        if self.arrives_ns > now_ns:
            return []
        held_back = self._held_back
        if held_back and held_back[0][0] <= now_ns:
            return self._merged(now_ns)
        travelling = self._in_order
        frames = [travelling.popleft()[2]]
        while travelling:
            due = travelling[0][0]
            if due > now_ns:
                break
            frames.append(travelling.popleft()[2])
        else:
            due = NEVER
        self.arrives_ns = min(due, held_back[0][0]) if held_back else due
        return frames

    def _merged(self, now_ns: int) -> list[bytes]:
        """As `arrived`, of both kinds."""
        in_order, held_back = self._in_order, self._held_back
        frames: list[bytes] = []
        while in_order or held_back:
            is_late = not in_order or (bool(held_back) and held_back[0] < in_order[0])
            first = held_back[0] if is_late else in_order[0]
            if first[0] > now_ns:
                break
            frames.append(first[2])
            if is_late:
                heappop(held_back)
            else:
                in_order.popleft()
        self._look()
        return frames

    def _look(self) -> None:
        """Which frame arrives next?"""
        first = self._in_order[0][0] if self._in_order else NEVER
        self.arrives_ns = min(first, self._held_back[0][0]) if self._held_back else first

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
        state = save_fields(self, 3, self.FIELDS)
        state["departures"] = list(self._departures)
        travelling = [*self._in_order, *self._held_back]
        state["travelling"] = [list(entry) for entry in sorted(travelling)]
        state["chance"] = self._chance.save()
        return state

    def load(self, state: State) -> None:
        """Into a wire with the same options. Raises ValueError on another version."""
        load_fields(self, 3, self.FIELDS, state)
        done = min(self.changes_done, len(self._changes))
        self._become(self._changes[done - 1][1] if done else self._first)
        self._departures = list(state["departures"])
        self._in_order = deque()
        self._held_back = []
        for due_ns, serial, frame in state["travelling"]:
            # Before what keeps the order and is still to come, one that was held back is in order.
            is_late = due_ns > self.last_at_ns
            (self._held_back if is_late else self._in_order).append((due_ns, serial, frame))
        heapify(self._held_back)
        self._look()
        self._chance.load(state["chance"])

    def _put(self, frame: bytes, arrives_at: int, is_held_back: bool) -> None:
        self.serial += 1
        entry = (arrives_at, self.serial, frame)
        if not is_held_back:
            self._in_order.append(entry)
        else:
            heappush(self._held_back, entry)
        if arrives_at < self.arrives_ns:
            self.arrives_ns = arrives_at
