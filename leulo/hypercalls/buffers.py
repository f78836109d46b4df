"""BUFFER_REGISTER, BUFFER_RELEASE and SENDFILE: the engine sends from guest memory by itself.

A registered buffer is a list of pieces of guest RAM that the guest promises to leave alone until
it has been released. SENDFILE queues a stretch of it on a stream, however long: nothing is copied
(but what is shorter than a page), and as acknowledgements come in the engine goes on by itself.
What the guest writes there meanwhile may or may not be what is sent; it harms nobody else.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from leulo.hypercalls import abi
from leulo.hypercalls.data import DataCalls
from leulo.hypercalls.engine import Engine
from leulo.hypercalls.handles import Entry
from leulo.hypercalls.limits import Limits
from leulo.hypercalls.refusal import Refused
from leulo.memory import Memory
from leulo.state import State
from leulo.tcp.account import Lent

_IOVEC: Final = int(abi.Flag.IOVEC)
_MORE: Final = int(abi.Flag.MSG_MORE)
_EASY: Final = int(abi.Flag.MSG_DONTWAIT | abi.Flag.MSG_NOSIGNAL)
_NOT_SENDFILE: Final = ~int(_MORE | _EASY)
_EBADF: Final = int(abi.Errno.EBADF)
_EBUSY: Final = int(abi.Errno.EBUSY)
_EINVAL: Final = int(abi.Errno.EINVAL)
_ENOBUFS: Final = int(abi.Errno.ENOBUFS)
_EOPNOTSUPP: Final = int(abi.Errno.EOPNOTSUPP)
_BAD_ARGUMENT: Final = int(abi.Status.BAD_ARGUMENT)
_MOST_BYTES: Final = 0x7FFFF000  # of one SENDFILE, as Linux
_LAST_NUMBER: Final = 0x7FFFFFFF

Range = tuple[int, int]


class Buffer:
    """One registered buffer: pieces of RAM, and where in the buffer each begins."""

    __slots__ = ("lent", "pieces", "size", "starts")

    def __init__(self, number: int, pieces: list[Range]) -> None:
        self.lent: Lent = Lent(number)
        self.pieces: list[Range] = []
        self.starts: list[int] = []
        self.size: int = 0
        for address, length in pieces:
            if self.pieces and sum(self.pieces[-1]) == address:
                before, size = self.pieces[-1]
                self.pieces[-1] = (before, size + length)
            else:
                self.starts.append(self.size)
                self.pieces.append((address, length))
            self.size += length

    def stretch(self, offset: int, length: int) -> list[Range]:
        """The pieces of RAM of ``length`` bytes (more than 0) from ``offset``, which are in it."""
        at = bisect_right(self.starts, offset) - 1
        skip = offset - self.starts[at]
        out: list[Range] = []
        while length:
            address, size = self.pieces[at]
            size = min(size - skip, length)
            out.append((address + skip, size))
            length -= size
            skip = 0
            at += 1
        return out


class BufferCalls:
    """The registered buffers of one machine. Their numbers are not handles of sockets."""

    def __init__(self, engine: Engine, memory: Memory, data: DataCalls, limits: Limits) -> None:
        self._engine: Engine = engine
        self._memory = memory
        self._view = memory.view
        self._data = data
        self._limits = limits
        self.live: dict[int, Buffer] = {}
        self.pieces = 0  # of all buffers
        self.files = 0  # stretches queued
        self.file_bytes = 0
        self._number = 0

    def op_register(
        self, call: int, handle: int, flags: int, events: int, cookie: int,
        a0: int, a1: int, a2: int, a3: int,
    ) -> tuple[int, int, int]:  # fmt: skip
        if flags & ~_IOVEC:
            return 0, -_EOPNOTSUPP, 0
        limits = self._limits
        pieces = self._data.pieces(flags, a0, a1, limits.max_buffer_pieces)
        if not pieces or any(not length for _, length in pieces):
            raise Refused(_BAD_ARGUMENT)
        buffer = Buffer(self._next_number(), pieces)
        if buffer.size > _LAST_NUMBER:
            raise Refused(_BAD_ARGUMENT)
        total = self.pieces + len(buffer.pieces)
        if len(self.live) >= limits.max_buffers or total > limits.max_pieces:
            return 0, -_ENOBUFS, 0
        self.pieces = total
        self.live[buffer.lent.number] = buffer
        return buffer.lent.number, 0, 0

    def op_release(
        self, call: int, handle: int, flags: int, events: int, cookie: int,
        a0: int, a1: int, a2: int, a3: int,
    ) -> tuple[int, int, int]:  # fmt: skip
        buffer = self.live.get(handle)
        if buffer is None:
            return handle, -_EBADF, 0
        if buffer.lent.in_flight:
            return handle, -_EBUSY, 0
        del self.live[handle]
        self.pieces -= len(buffer.pieces)
        return handle, 0, 0

    def op_sendfile(
        self, entry: Entry, call: int, flags: int, events: int, cookie: int,
        a0: int, a1: int, a2: int, a3: int,
    ) -> int:  # fmt: skip
        if flags & _NOT_SENDFILE or entry.socket.is_datagram:
            return -_EOPNOTSUPP
        buffer = self.live.get(a0)
        if buffer is None:
            return -_EBADF
        if a1 + a2 > buffer.size:
            return -_EINVAL
        length = min(a2, _MOST_BYTES)
        if not length:
            return 0
        view = self._view
        views = [view[at : at + size] for at, size in buffer.stretch(a1, length)]
        taken = entry.socket.send_lent(views, buffer.lent, flags & _MORE != 0)
        if taken > 0:
            self.files += 1
            self.file_bytes += taken
        return taken

    def forget_all(self) -> None:
        """The guest begins anew: nothing of its memory may be sent any more."""
        self._engine.recall_lent()
        self.live.clear()
        self.pieces = 0

    def counters(self) -> dict[str, int]:
        return {
            "buffers": len(self.live),
            "sendfile.calls": self.files,
            "sendfile.bytes": self.file_bytes,
        }

    def save(self) -> State:
        return {
            "version": 1,
            "number": self._number,
            "buffers": [
                (number, [list(piece) for piece in buffer.pieces])
                for number, buffer in self.live.items()
            ],
        }

    def load(self, state: State) -> None:
        """Take them back; the stack, which knows what is in flight, has been loaded before.
        Raises ValueError on another version."""
        if state.get("version") != 1:
            raise ValueError(f"buffers: saved state has version {state.get('version')}, not 1")
        self._number = state["number"]
        self.live = {}
        self.pieces = 0
        for number, pieces in state["buffers"]:
            buffer = Buffer(number, [(address, length) for address, length in pieces])
            buffer.lent = self._engine.lent_of(number) or buffer.lent
            self.live[number] = buffer
            self.pieces += len(buffer.pieces)

    def _next_number(self) -> int:
        """One that no buffer has, and none has had for long."""
        number = self._number
        while True:
            number = 1 if number == _LAST_NUMBER else number + 1
            if number not in self.live:
                self._number = number
                return number
