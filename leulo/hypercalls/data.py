"""SEND and RECV: bytes between guest memory and the engine, copied once.

It must not know about readiness or handles. Counts are capped and may be short; an operation
never waits. The hot way is one buffer and no flag but MSG_MORE.
"""

from __future__ import annotations

from typing import Final

from leulo.hypercalls import abi
from leulo.hypercalls.engine import EngineSocket
from leulo.hypercalls.handles import Entry
from leulo.hypercalls.limits import Limits
from leulo.hypercalls.refusal import Refused
from leulo.memory import BadAddress, Memory

_IOVEC: Final = int(abi.Flag.IOVEC)
_MORE: Final = int(abi.Flag.MSG_MORE)
_OOB: Final = int(abi.Flag.MSG_OOB)
_PEEK: Final = int(abi.Flag.MSG_PEEK)
_WAITALL: Final = int(abi.Flag.MSG_WAITALL)
_EASY: Final = int(abi.Flag.MSG_DONTWAIT | abi.Flag.MSG_NOSIGNAL)  # true of every call already
NOT_SEND: Final = ~int(_IOVEC | _MORE | _EASY)
NOT_RECV: Final = ~int(_IOVEC | _PEEK | _WAITALL | _EASY)
_EAGAIN: Final = int(abi.Errno.EAGAIN)
_EOPNOTSUPP: Final = int(abi.Errno.EOPNOTSUPP)
_BAD_ARGUMENT: Final = int(abi.Status.BAD_ARGUMENT)
_ENDED: Final = int(abi.Poll.RDHUP | abi.Poll.HUP | abi.Poll.ERR)
_SOL_SOCKET: Final = int(abi.Level.SOL_SOCKET)
_SO_RCVBUF: Final = int(abi.SocketOption.SO_RCVBUF)
_IOVEC_BYTES: Final = abi.IOVEC.size
_SMALL_BYTES: Final = 2048


class DataCalls:
    """SEND and RECV of one machine."""

    def __init__(self, memory: Memory, limits: Limits) -> None:
        self._memory = memory
        self._mapping = memory.mapping
        self._view = memory.view
        self._size = memory.size
        self._max_transfer = limits.max_transfer
        self._max_iovec = limits.max_iovec
        self._small = min(_SMALL_BYTES, limits.max_transfer)

    def op_send(
        self, entry: Entry, call: int, flags: int, events: int, cookie: int,
        a0: int, a1: int, a2: int, a3: int,
    ) -> int:  # fmt: skip
        if flags & NOT_SEND:
            return self._send_urgent(entry.socket, flags, a0, a1)
        if flags & _IOVEC:
            return self._send_pieces(entry.socket, flags, a0, a1)
        if a0 + a1 > self._size:
            raise BadAddress
        socket = entry.socket
        if 0 < a1 <= self._small:  # copied sooner than asked for
            return socket.send(self._mapping[a0 : a0 + a1], flags & _MORE != 0)
        room = socket.send_room()
        if room <= 0:
            # The engine knows better than -EAGAIN what is wrong, if anything is.
            return room if room < 0 or not a1 else -_EAGAIN
        if a1 > room:
            a1 = room
        if a1 > self._max_transfer:
            a1 = self._max_transfer
        if not a1:
            return socket.send(b"") if socket.is_datagram else 0
        return socket.send(self._mapping[a0 : a0 + a1], flags & _MORE != 0)

    def op_recv(
        self, entry: Entry, call: int, flags: int, events: int, cookie: int,
        a0: int, a1: int, a2: int, a3: int,
    ) -> int:  # fmt: skip
        if flags & NOT_RECV:
            return self._recv_urgent(entry.socket, flags, a0, a1)
        if flags & _IOVEC:
            return self._recv_pieces(entry.socket, flags, a0, a1)
        if a0 + a1 > self._size:
            raise BadAddress
        if not a1:
            return 0
        if a1 > self._max_transfer:
            a1 = self._max_transfer
        view = self._view[a0 : a0 + a1]
        if flags & _WAITALL and not entry.socket.is_datagram:
            return self._recv_all(entry.socket, view, flags & _PEEK)
        return entry.socket.recv_into(view, flags & _PEEK)

    def _send_urgent(self, socket: EngineSocket, flags: int, a0: int, a1: int) -> int:
        """SEND with MSG_OOB, which only streams know. [RFC 9293 3.8.5]"""
        if flags & (NOT_SEND ^ _OOB) or socket.is_datagram:
            return -_EOPNOTSUPP
        pieces = [self._view[at : at + length] for at, length in self.pieces(flags, a0, a1)]
        return socket.send_urgent(b"".join(pieces)[: self._max_transfer])

    def _recv_urgent(self, socket: EngineSocket, flags: int, a0: int, a1: int) -> int:
        """RECV with MSG_OOB: one byte."""
        if flags & (NOT_RECV ^ _OOB) or socket.is_datagram:
            return -_EOPNOTSUPP
        room = [at for at, length in self.pieces(flags, a0, a1) if length]
        data = socket.recv_urgent(flags & _PEEK)
        byte = data if isinstance(data, bytes) and room else b""
        self._memory.write(room[0] if room else 0, byte)
        return data if isinstance(data, int) else len(byte)

    def _send_pieces(self, socket: EngineSocket, flags: int, at: int, count: int) -> int:
        ranges = self._ranges(at, count, self._max_iovec)
        room = socket.send_room()
        wanted = sum(length for _, length in ranges)
        if room <= 0:
            return room if room < 0 or not wanted else -_EAGAIN
        left = min(wanted, room, self._max_transfer)
        if not left:
            return socket.send(b"") if socket.is_datagram else 0
        pieces: list[memoryview] = []
        for address, length in ranges:
            if not left:
                break
            taken = min(length, left)
            pieces.append(self._view[address : address + taken])
            left -= taken
        return socket.send(b"".join(pieces), flags & _MORE != 0)

    def _recv_pieces(self, socket: EngineSocket, flags: int, at: int, count: int) -> int:
        ranges = self._ranges(at, count, self._max_iovec)
        if flags & (_PEEK | _WAITALL) or socket.is_datagram:
            return self._recv_looked_at(socket, flags, ranges)
        left = self._max_transfer
        done = 0
        for address, length in ranges:
            taken = min(length, left)
            if not taken:
                continue
            got = socket.recv_into(self._view[address : address + taken], 0)
            if got < 0:
                return done or got
            done += got
            left -= got
            if got < taken:
                break
        return done

    def _recv_looked_at(
        self, socket: EngineSocket, flags: int, ranges: list[tuple[int, int]]
    ) -> int:
        """RECV over pieces that must see the whole first, or be one datagram: by way of one
        buffer."""
        whole = memoryview(bytearray(min(sum(n for _, n in ranges), self._max_transfer)))
        if not len(whole):
            return 0
        if flags & _WAITALL and not socket.is_datagram:
            got = self._recv_all(socket, whole, flags & _PEEK)
        else:
            got = socket.recv_into(whole, flags & _PEEK)
        at = 0
        for address, length in ranges:
            if at >= got:
                break
            taken = min(length, got - at)
            self._view[address : address + taken] = whole[at : at + taken]
            at += taken
        return got

    def _recv_all(self, socket: EngineSocket, view: memoryview, peek: int) -> int:
        """All of ``view``, or -EAGAIN while more can still come and fit."""
        got = socket.recv_into(view, _PEEK)
        if got < 0:
            return got
        is_short = got < len(view)
        if is_short and not socket.events & _ENDED and got < self._capacity(socket):
            socket.wants_every_byte = True
            return -_EAGAIN
        socket.wants_every_byte = False
        return got if peek else socket.recv_into(view, 0)

    def _capacity(self, socket: EngineSocket) -> int:
        """How much may be waited for: half of the receive buffer, since the rules against silly
        windows let a sender leave some of it unused. SO_RCVBUF tells twice the payload.
        [RFC 9293 3.8.6.2] [Linux socket(7)]"""
        value = socket.getsockopt(_SOL_SOCKET, _SO_RCVBUF)
        return int.from_bytes(value, "little") // 4 if isinstance(value, bytes) else 0

    def pieces(self, flags: int, a0: int, a1: int, most: int = 0) -> list[tuple[int, int]]:
        """Address and length of each piece, all RAM; not more than ``most``, 0: than an iovec
        of SEND may have. Raises BadAddress, Refused."""
        if flags & _IOVEC:
            return self._ranges(a0, a1, most or self._max_iovec)
        if a0 + a1 > self._size:
            raise BadAddress
        return [(a0, a1)]

    def _ranges(self, at: int, count: int, most: int) -> list[tuple[int, int]]:
        """The pieces of an iovec, fetched once and each checked to be RAM."""
        if count > most:
            raise Refused(_BAD_ARGUMENT)
        table = self._memory.read(at, count * _IOVEC_BYTES)
        ranges: list[tuple[int, int]] = []
        for address, length in abi.IOVEC_STRUCT.iter_unpack(table):
            if address + length > self._size:
                raise BadAddress
            ranges.append((address, length))
        return ranges
