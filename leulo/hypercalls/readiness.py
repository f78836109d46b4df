"""Readiness: POLL, SUBSCRIBE, and the way of a socket's events into the ring.

It must not know how the ring is laid out. An event is due when a wanted bit has risen over what
the guest was last told (``Entry.reported``); an answer tells as much as an event does. ERR, HUP
and RDHUP are always wanted by whoever wants anything.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from leulo.hypercalls import abi
from leulo.hypercalls.engine import Engine
from leulo.hypercalls.handles import MODE_EDGE, MODE_LEVEL, MODE_ONESHOT, Entry, Handles
from leulo.hypercalls.limits import Limits
from leulo.hypercalls.refusal import Refused
from leulo.hypercalls.ring import EventRing
from leulo.memory import Memory

_ALWAYS: Final = int(abi.Poll.ERR | abi.Poll.HUP | abi.Poll.RDHUP)
_POLL_ALWAYS: Final = int(abi.Poll.ERR | abi.Poll.HUP)
_NVAL: Final = int(abi.Poll.NVAL)
_MODES: Final = int(abi.Flag.EDGE | abi.Flag.LEVEL | abi.Flag.ONESHOT)
_MODE_OF_FLAG: dict[int, int] = {
    0: MODE_EDGE,
    int(abi.Flag.EDGE): MODE_EDGE,
    int(abi.Flag.LEVEL): MODE_LEVEL,
    int(abi.Flag.ONESHOT): MODE_ONESHOT,
}
_BAD_ARGUMENT: Final = int(abi.Status.BAD_ARGUMENT)
_RESERVED: Final = int(abi.Status.RESERVED)
_U32: Final = Struct("<I")
_POLLFD_BYTES: Final = abi.POLLFD.size
_POLLFD_MASK: Final = abi.POLLFD.offset("mask")


class Readiness:
    """Who wants to know what. ``level`` holds the LEVEL subscriptions, oldest first."""

    def __init__(
        self, engine: Engine, memory: Memory, handles: Handles, ring: EventRing, limits: Limits
    ) -> None:
        self._engine: Engine = engine
        self._memory = memory
        self._handles = handles
        self._ring = ring
        self._limits = limits
        self.level: dict[int, Entry] = {}
        self.must_look = False  # at every subscription, at the next `deliver`
        self.is_offered = True  # the feature EVENTS was agreed on

    def deliver(self) -> None:
        """Put what has risen into the ring and interrupt, if the guest wants it."""
        ring = self._ring
        ready = self._engine.take_ready()
        if ready:
            put = False
            for socket in ready:
                entry = socket.owner
                if isinstance(entry, Entry) and self._look(entry):
                    put = True
            if put and not self.must_look:
                ring.raise_if_armed()
        if self.must_look:
            self.must_look = False
            for entry in self._handles.live.values():
                self._look(entry)
            ring.raise_if_armed()
        elif ring.deferred_ns >= 0:
            ring.raise_if_due()

    def mode(self, flags: int) -> int:
        """How a subscription with these flags repeats itself. Raises `Refused` on two modes, or
        if there are no events in this session."""
        mode = _MODE_OF_FLAG.get(flags & _MODES, -1)
        if mode < 0 or not self.is_offered:
            raise Refused(_BAD_ARGUMENT)
        return mode

    def subscribe(self, entry: Entry, wanted: int, cookie: int, mode: int) -> None:
        """Replace the subscription of ``entry``; a ``wanted`` of 0 ends it."""
        if entry.slot >= 0 or entry.waiting:
            self._ring.forget(entry)  # an entry with the old cookie
        entry.wanted = wanted | _ALWAYS if wanted else 0
        entry.cookie = cookie
        entry.mode = mode
        if wanted and mode == MODE_LEVEL:
            self.level[entry.handle] = entry
        elif self.level:
            self.level.pop(entry.handle, None)

    def op_subscribe(
        self, entry: Entry, call: int, flags: int, events: int, cookie: int,
        a0: int, a1: int, a2: int, a3: int,
    ) -> int:  # fmt: skip
        self.subscribe(entry, events, cookie, self.mode(flags))
        return 0

    def op_poll(
        self, call: int, handle: int, flags: int, events: int, cookie: int,
        a0: int, a1: int, a2: int, a3: int,
    ) -> tuple[int, int, int]:  # fmt: skip
        """Many masks at once. It does not count as told: the masks are cut to what was wanted."""
        if a1 > self._limits.max_sockets:
            raise Refused(_BAD_ARGUMENT)
        table = self._memory.read(a0, a1 * _POLLFD_BYTES)
        entries = list(abi.POLLFD_STRUCT.iter_unpack(table))
        if any(entry[3] for entry in entries):
            raise Refused(_RESERVED)
        view = self._memory.view
        live = self._handles.live
        ready = 0
        at = a0 + _POLLFD_MASK
        for number, wanted, _, _ in entries:
            entry = live.get(number)
            mask = _NVAL if entry is None else entry.socket.events & (wanted | _POLL_ALWAYS)
            if mask:
                ready += 1
            _U32.pack_into(view, at, mask)
            at += _POLLFD_BYTES
        return handle, ready, 0

    def op_ack(
        self, call: int, handle: int, flags: int, events: int, cookie: int,
        a0: int, a1: int, a2: int, a3: int,
    ) -> tuple[int, int, int]:  # fmt: skip
        """The guest has drained: put in what waited, and LEVEL subscriptions still up."""
        put = 0
        for entry in self._ring.take_waiting():
            if self._look(entry):
                put += 1
        for entry in list(self.level.values()):
            mask = entry.socket.events
            if mask & entry.wanted and self._ring.put(entry, mask):
                entry.reported = mask
                put += 1
        if put:
            self._ring.raise_if_armed()
        return handle, put, 0

    def ring_moved(self) -> None:
        """There is another ring: nothing is in it, so everything that is up has to be told."""
        for entry in self._handles.live.values():
            entry.slot = -1
            if entry.wanted:
                entry.reported = 0
        self.must_look = True

    def forget(self, entry: Entry) -> None:
        """The socket is closed."""
        if entry.slot >= 0 or entry.waiting:
            self._ring.forget(entry)
        if entry.mode == MODE_LEVEL:
            self.level.pop(entry.handle, None)

    def told(self, entry: Entry, mask: int) -> None:
        """An answer tells the guest ``mask``: so must the socket's entry in the ring."""
        entry.reported = mask
        if entry.slot >= 0:
            self._ring.refresh(entry, mask)

    def loaded(self) -> None:
        """The handles were loaded: whatever woke the guest may have been lost, so look again."""
        self.level = {
            entry.handle: entry
            for entry in self._handles.live.values()
            if entry.mode == MODE_LEVEL and entry.wanted
        }
        self.must_look = True

    def _look(self, entry: Entry) -> bool:
        """Put an event for ``entry`` if one is due. True if something went into the ring."""
        mask = entry.socket.events
        if not mask & entry.wanted & ~entry.reported or not self._ring.put(entry, mask):
            return False
        entry.reported = mask
        if entry.mode == MODE_ONESHOT:
            entry.wanted = 0
        return True
