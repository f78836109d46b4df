"""A machine's handles: index and generation in one number, so that an old one never fits again.

It must not know what a socket can do. A handle is ``generation << 16 | index``, the generation
from 1 to 0x7FFF, so 0 is no handle and every handle is a positive 32-bit integer. The table is
owned by one machine: another machine's handle is just a number that is not in it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from leulo.hypercalls.engine import EngineSocket
from leulo.state import State, load_fields, save_fields

_INDEX_BITS: Final = 16
_INDEX_MASK: Final = 0xFFFF
_LAST_GENERATION: Final = 0x7FFF

# How a subscription repeats itself.
MODE_EDGE: Final = 0
MODE_LEVEL: Final = 1
MODE_ONESHOT: Final = 2

_SAVED: Final = ("handle", "wanted", "cookie", "mode", "reported", "slot", "waiting")


class Entry:
    """One open socket of the guest, with what it subscribed to.

    ``reported`` is the mask the guest was last told, by an answer or by an event. ``slot`` is the
    count of the ring's entry that may still be unread, or -1. ``waiting``: has an event outside
    the full ring.
    """

    __slots__ = ("cookie", "handle", "mode", "reported", "slot", "socket", "waiting", "wanted")

    def __init__(self, handle: int, socket: EngineSocket) -> None:
        self.handle = handle
        self.socket: EngineSocket = socket
        self.wanted = 0
        self.cookie = 0
        self.mode = MODE_EDGE
        self.reported = 0
        self.slot = -1
        self.waiting = False


class Handles:
    """Handles to entries; at most ``limit`` at once. ``live`` is read directly by hot calls."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.live: dict[int, Entry] = {}
        self._generations: list[int] = []  # of every index ever used, the present one
        self._free: deque[int] = deque()  # indexes, longest unused first

    @property
    def is_full(self) -> bool:
        return len(self.live) >= self.limit

    def add(self, socket: EngineSocket) -> Entry:
        """A new entry for ``socket``. The caller has asked `is_full`."""
        if self._free:
            index = self._free.popleft()
        else:
            index = len(self._generations)
            self._generations.append(1)
        handle = self._generations[index] << _INDEX_BITS | index
        entry = self.live[handle] = Entry(handle, socket)
        return entry

    def remove(self, entry: Entry) -> None:
        """The handle is never valid again (until 32,767 more sockets used its index)."""
        del self.live[entry.handle]
        index = entry.handle & _INDEX_MASK
        generation = self._generations[index]
        self._generations[index] = 1 if generation == _LAST_GENERATION else generation + 1
        self._free.append(index)

    def save(self) -> State:
        """Every handle, and the subscription behind it; sockets by their serial numbers."""
        return {
            "version": 1,
            "generations": list(self._generations),
            "free": list(self._free),
            "entries": [
                {"serial": entry.socket.serial, **save_fields(entry, 1, _SAVED)}
                for entry in self.live.values()
            ],
        }

    def load(self, state: State, socket_of: Callable[[int], EngineSocket | None]) -> None:
        """Take them back over the sockets of a stack that was loaded before.

        Raises ValueError on another version, or if the stack lacks a socket.
        """
        if state.get("version") != 1:
            raise ValueError(f"handles: saved state has version {state.get('version')}, not 1")
        self.live.clear()
        self._generations = list(state["generations"])
        self._free = deque(state["free"])
        for saved in state["entries"]:
            socket = socket_of(saved["serial"])
            if socket is None:
                raise ValueError(f"handles: the stack has no socket {saved['serial']}")
            entry = Entry(saved["handle"], socket)
            load_fields(entry, 1, _SAVED, saved)
            self.live[entry.handle] = entry
            socket.owner = entry
