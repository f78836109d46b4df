"""The event ring: readiness in guest memory, and the interrupt that says so.

It must not know where events come from. The rules:

- A socket has at most one unread entry; it is updated in place (`put`, `refresh`), so what the
  guest reads last, an answer or an entry, is always the newest.
- What does not fit waits here by handle, and goes in when the guest says that it has drained
  (`put_waiting`). Both are bounded by the number of sockets.
- The interrupt is pulsed only if the guest has set ``armed`` and the ring is not empty; raising
  clears ``armed``. More than so many in a window wait for the window's end: `next_deadline`.
- The hypervisor's ``head`` is its own; what the guest writes there changes nothing. A ``tail``
  that makes no sense is a full ring.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from leulo.clock import Clock
from leulo.hypercalls import abi
from leulo.hypercalls.events import EventPut, InterruptRaised, InterruptSeen
from leulo.hypercalls.handles import Entry
from leulo.hypercalls.limits import Limits
from leulo.irq import Line
from leulo.memory import Memory
from leulo.state import State, load_fields, save_fields
from leulo.trace import Channel, Trace

_HEAD: Final = Struct("<4I")  # armed, head, tail, overflow
_U32: Final = Struct("<I")
_U64: Final = Struct("<Q")
_M32: Final = 0xFFFFFFFF
_HEAD_BYTES: Final = abi.RING.size
_ENTRY_BYTES: Final = abi.EVENT.size
_ARMED: Final = abi.RING.offset("armed")
_HEAD_COUNT: Final = abi.RING.offset("head")
_TAIL: Final = abi.RING.offset("tail")
_OVERFLOW: Final = abi.RING.offset("overflow")
_RAISED: Final = abi.RING.offset("raised_ns")
_MASK: Final = abi.EVENT.offset("mask")
_u32: Final = _U32.unpack_from
_put_event: Final = abi.EVENT_STRUCT.pack_into


class EventRing:
    """One machine's ring. ``awaits_look`` is true from a raise until the guest was seen to look."""

    _SAVED = (
        "base", "entries", "head", "awaits_look", "_raised_ns", "_raised_tail", "_window_ns",
        "_window_raises", "deferred_ns",
    )  # fmt: skip

    def __init__(
        self, memory: Memory, line: Line, clock: Clock, trace: Trace, limits: Limits
    ) -> None:
        self._memory = memory
        self._view = memory.view
        self._line = line
        self._clock = clock
        self._limits = limits
        self._put_channel: Channel[EventPut] = trace.channel(EventPut)
        self._raised_channel: Channel[InterruptRaised] = trace.channel(InterruptRaised)
        self._seen_channel: Channel[InterruptSeen] = trace.channel(InterruptSeen)
        self.waiting: dict[int, Entry] = {}  # by handle, oldest first
        self.base = 0
        self.entries = 0  # 0: no ring
        self.head = 0
        self.awaits_look = False
        self._raised_ns = 0
        self._raised_tail = 0
        self._window_ns = 0
        self._window_raises = 0
        self.deferred_ns = -1  # when a capped interrupt is due
        self.puts = 0
        self.updates = 0
        self.overflows = 0
        self.bad_tails = 0
        self.raises = 0
        self.storms = 0
        self.looks = 0
        self.latency_sum_ns = 0
        self.latency_max_ns = 0

    def set_up(self, base: int, entries: int) -> None:
        """Use the memory at ``base`` from now on; 0 ``entries`` ends the ring.

        Raises `BadAddress` if it is not RAM. The caller has checked alignment and number.
        """
        if entries:
            size = _HEAD_BYTES + entries * _ENTRY_BYTES
            self._memory.write(base, bytes(size))
        self.base = base
        self.entries = entries
        self.head = 0
        self.awaits_look = False
        self.deferred_ns = -1
        self.forget_waiting()

    def put(self, entry: Entry, mask: int) -> bool:
        """The guest is to learn ``mask``, once `raise_if_armed` has told it of what was put.

        False if it has to wait outside, or there is no ring.
        """
        entries = self.entries
        if not entries:
            return False
        view, base, head = self._view, self.base, self.head
        unread = (head - _u32(view, base + _TAIL)[0]) & _M32
        slot = entry.slot
        is_update = False
        if slot >= 0 or unread >= entries:
            if unread > entries:  # the guest wrote nonsense there
                self.bad_tails += 1
                unread = entries
            is_update = slot >= 0 and 0 < ((head - slot) & _M32) <= unread
            if not is_update and unread == entries:
                self._wait_outside(entry)
                return False
        if is_update:
            self.updates += 1
        else:
            slot = entry.slot = head
            self.head = (head + 1) & _M32
            unread += 1
            self.puts += 1
        at = base + _HEAD_BYTES + (slot & (entries - 1)) * _ENTRY_BYTES
        _put_event(view, at, entry.cookie, entry.handle, mask)
        if self._put_channel.active:
            self._put_channel.emit(
                EventPut(self._clock.now_ns(), entry.handle, entry.cookie, mask, unread, is_update)
            )
        return True

    def _wait_outside(self, entry: Entry) -> None:
        if not entry.waiting:
            entry.waiting = True
            self.waiting[entry.handle] = entry
            self.overflows += 1
            self._tell_overflow()

    def refresh(self, entry: Entry, mask: int) -> None:
        """An answer told ``mask``: so must the socket's entry, if it is still unread."""
        if _u32(self._view, self.base + _TAIL)[0] == self.head or not self._is_unread(entry):
            entry.slot = -1
        else:
            _U32.pack_into(self._view, self._place(entry.slot) + _MASK, mask)

    def forget(self, entry: Entry) -> None:
        """The socket is closed: its unread entry gets handle 0, to be skipped."""
        if entry.slot >= 0 and self._is_unread(entry):
            _put_event(self._view, self._place(entry.slot), entry.cookie, 0, 0)
        entry.slot = -1
        if entry.waiting:
            entry.waiting = False
            del self.waiting[entry.handle]
            self._tell_overflow()

    def take_waiting(self) -> list[Entry]:
        """The entries that waited outside, oldest first; they wait no more."""
        waiting = list(self.waiting.values())
        self.forget_waiting()
        return waiting

    def forget_waiting(self) -> None:
        for entry in self.waiting.values():
            entry.waiting = False
        self.waiting.clear()
        self._tell_overflow()

    def raise_if_armed(self) -> None:
        """Tell the guest's memory how many were put; pulse the line if it has armed the ring and
        something is in it."""
        if not self.entries:
            return
        view, base, head = self._view, self.base, self.head
        armed, _, tail, _ = _HEAD.unpack_from(view, base)
        _U32.pack_into(view, base + _HEAD_COUNT, head)
        if armed != 1 or tail == head:
            self.deferred_ns = -1
            return
        now_ns = self._clock.now_ns()
        if now_ns - self._window_ns >= self._limits.storm_window_ns:
            self._window_ns = now_ns
            self._window_raises = 0
        if self._window_raises >= self._limits.storm_raises:
            if self.deferred_ns < 0:
                self.storms += 1
            self.deferred_ns = self._window_ns + self._limits.storm_window_ns
            return
        self.deferred_ns = -1
        self._window_raises += 1
        self.raises += 1
        _U32.pack_into(view, base + _ARMED, 0)
        _U64.pack_into(view, base + _RAISED, now_ns)
        self._raised_ns = now_ns
        self._raised_tail = tail
        self.awaits_look = True
        if self._raised_channel.active:
            self._raised_channel.emit(InterruptRaised(now_ns, (head - tail) & _M32))
        self._line.pulse()

    def raise_if_due(self) -> None:
        """Raise what the storm cap held back, once its time has come."""
        if self._clock.now_ns() >= self.deferred_ns:
            self.raise_if_armed()

    def note_look(self) -> None:
        """The guest makes a hypercall: if it has taken entries out, it has seen the interrupt."""
        if _u32(self._view, self.base + _TAIL)[0] == self._raised_tail:
            return
        self.awaits_look = False
        now_ns = self._clock.now_ns()
        latency_ns = now_ns - self._raised_ns
        self.looks += 1
        self.latency_sum_ns += latency_ns
        self.latency_max_ns = max(self.latency_max_ns, latency_ns)
        if self._seen_channel.active:
            self._seen_channel.emit(InterruptSeen(now_ns, self._raised_ns, latency_ns))

    def next_deadline(self) -> int | None:
        """When an interrupt held back by the storm cap is due."""
        return None if self.deferred_ns < 0 else self.deferred_ns

    def counters(self) -> dict[str, int]:
        return {
            "ring.puts": self.puts,
            "ring.updates": self.updates,
            "ring.overflows": self.overflows,
            "ring.waiting": len(self.waiting),
            "ring.bad_tails": self.bad_tails,
            "irq.raises": self.raises,
            "irq.storms": self.storms,
            "irq.looks": self.looks,
            "irq.latency_sum_ns": self.latency_sum_ns,
            "irq.latency_max_ns": self.latency_max_ns,
        }

    def save(self) -> State:
        return {**save_fields(self, 1, self._SAVED), "waiting": list(self.waiting)}

    def load(self, state: State, live: dict[int, Entry]) -> None:
        """Take the ring back; ``live`` holds the entries already restored."""
        load_fields(self, 1, self._SAVED, state)
        self.waiting = {handle: live[handle] for handle in state["waiting"] if handle in live}

    def _is_unread(self, entry: Entry) -> bool:
        if not self.entries:
            return False
        tail: int = _u32(self._view, self.base + _TAIL)[0]
        unread = min((self.head - tail) & _M32, self.entries)
        return 0 < ((self.head - entry.slot) & _M32) <= unread

    def _place(self, slot: int) -> int:
        return self.base + _HEAD_BYTES + (slot & (self.entries - 1)) * _ENTRY_BYTES

    def _tell_overflow(self) -> None:
        if self.entries:
            _U32.pack_into(self._view, self.base + _OVERFLOW, len(self.waiting))
