"""Deadlines of many connections in one heap, with lazy deletion.

A `Timed` thing keeps its own deadlines and has at most one entry of the heap that counts: the one
at ``timer_at``. Moving a deadline into the future costs nothing: the entry comes up early, its
owner looks at its deadlines and asks again. So a retransmission timer that is pushed on at every
ACK touches the heap once per timeout, not once per segment.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Final

_SPARE_ENTRIES: Final = 1024  # that do not count, before they are worth a look


class Timed:
    """Something with deadlines. ``timer_at`` is its entry in the heap, 0: none."""

    __slots__ = ("serial", "timer_at")

    def __init__(self, serial: int) -> None:
        self.serial: int = serial  # orders entries of the same time, so that ties are not chance
        self.timer_at: int = 0


class Timers:
    """The heap. Times are absolute nanoseconds.

    The heap holds serial numbers, not things, so that a connection that has ended does not live
    on until its last entry comes up. Its first entry always counts: it is looked at several times
    for each change.
    """

    __slots__ = ("_things", "heap")

    def __init__(self) -> None:
        self.heap: list[tuple[int, int]] = []
        self._things: dict[int, Timed] = {}

    def arm(self, thing: Timed, at_ns: int) -> None:
        """See that ``thing`` comes up at ``at_ns`` or before."""
        if not thing.timer_at or at_ns < thing.timer_at:
            thing.timer_at = at_ns
            self._things[thing.serial] = thing
            heappush(self.heap, (at_ns, thing.serial))

    def forget(self, thing: Timed) -> None:
        """``thing`` has ended: none of its entries counts. They leave memory when they come up, or
        when such are more than half: one may be for a time hours ahead."""
        if not thing.timer_at:
            return
        thing.timer_at = 0
        things = self._things
        del things[thing.serial]
        heap = self.heap
        if heap[0][1] == thing.serial:
            heappop(heap)
            self._drop_first()
        if len(heap) > _SPARE_ENTRIES and len(heap) > 2 * len(things) + _SPARE_ENTRIES:
            self.heap = [(t.timer_at, t.serial) for t in things.values()]
            heapify(self.heap)

    def due(self, now_ns: int) -> Timed | None:
        """The next thing whose entry is due, its entry taken out; None if there is none."""
        heap = self.heap
        if not heap or heap[0][0] > now_ns:
            return None
        thing = self._things.pop(heappop(heap)[1])
        thing.timer_at = 0
        self._drop_first()
        return thing

    def _drop_first(self) -> None:
        """Take out what does not count at the top."""
        heap = self.heap
        things = self._things
        while heap:
            at_ns, serial = heap[0]
            thing = things.get(serial)
            if thing is not None and thing.timer_at == at_ns:
                break
            heappop(heap)

    def clear(self) -> None:
        """Forget every entry."""
        for thing in self._things.values():
            thing.timer_at = 0
        self.heap = []
        self._things = {}

    def __len__(self) -> int:
        return len(self.heap)
