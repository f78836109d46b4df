"""One direction of a simulated wire: a queue, a bottleneck, a delay, and losses.

A frame waits in a drop-tail queue, takes its time at the bottleneck's rate, may get lost there,
and otherwise arrives one delay later. Frames keep their order. Times are integer nanoseconds of
the host; the size of a frame is that on the wire without preamble and check sequence.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from leulo.links.base import VNET_HDR_BYTES
from leulo.links.sim.chance import Chance
from leulo.state import State, load_fields, save_fields
from leulo.units import NS_PER_S


class Wire:
    """``rate`` in bit/s (0: unlimited), ``queue`` in packets, ``loss`` in parts per billion."""

    FIELDS: Final = ("free_at_ns", "frames", "bytes", "lost", "overflowed")

    def __init__(self, rate: int, delay_ns: int, queue: int, loss: int, chance: Chance) -> None:
        self._rate = rate
        self._delay_ns = delay_ns
        self._queue = queue
        self._loss = loss
        self._chance = chance
        self._departures: deque[int] = deque()  # of frames that may still be in the queue
        self._travelling: deque[tuple[int, bytes]] = deque()  # arrival, frame
        self.free_at_ns = 0  # when the bottleneck has sent all it was given
        self.frames = 0  # given to the wire
        self.bytes = 0
        self.lost = 0
        self.overflowed = 0  # found the queue full

    def send(self, frame: bytes, now_ns: int) -> None:
        """Take ``frame`` at ``now_ns``, which must not be before that of an earlier call."""
        self.frames += 1
        length = len(frame) - VNET_HDR_BYTES
        self.bytes += length
        departures = self._departures
        while departures and departures[0] <= now_ns:
            departures.popleft()
        if len(departures) >= self._queue:
            self.overflowed += 1
            return
        leaves_at = max(self.free_at_ns, now_ns)
        if self._rate:
            leaves_at += -(-length * 8 * NS_PER_S // self._rate)
            departures.append(leaves_at)
        self.free_at_ns = leaves_at
        if self._chance.happens(self._loss):
            self.lost += 1
        else:
            self._travelling.append((leaves_at + self._delay_ns, frame))

    def next_arrival(self) -> int | None:
        """When the next frame arrives at the other end."""
        return self._travelling[0][0] if self._travelling else None

    def arrived(self, now_ns: int) -> list[bytes]:
        """The frames that are there at ``now_ns``, taken off the wire."""
        travelling = self._travelling
        frames: list[bytes] = []
        while travelling and travelling[0][0] <= now_ns:
            frames.append(travelling.popleft()[1])
        return frames

    def save(self) -> State:
        state = save_fields(self, 1, self.FIELDS)
        state["departures"] = list(self._departures)
        state["travelling"] = [list(entry) for entry in self._travelling]
        state["chance"] = self._chance.save()
        return state

    def load(self, state: State) -> None:
        load_fields(self, 1, self.FIELDS, state)
        self._departures = deque(state["departures"])
        self._travelling = deque((due_ns, frame) for due_ns, frame in state["travelling"])
        self._chance.load(state["chance"])
