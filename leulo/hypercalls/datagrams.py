"""SENDTO and RECVFROM: whole datagrams between guest memory and the engine, with addresses.

On a stream they are SEND and RECV: a stream knows its other side. A datagram's memory is checked
whole before anything is sent or taken from the queue.
"""

from __future__ import annotations

from typing import Final

from leulo.hypercalls import abi
from leulo.hypercalls.data import NOT_RECV, NOT_SEND, DataCalls
from leulo.hypercalls.engine import Address, EngineSocket
from leulo.hypercalls.handles import Entry
from leulo.hypercalls.sockets import SocketCalls
from leulo.memory import Memory

_PEEK: Final = int(abi.Flag.MSG_PEEK)
_FASTOPEN: Final = int(abi.Flag.MSG_FASTOPEN)
_EAFNOSUPPORT: Final = int(abi.Errno.EAFNOSUPPORT)
_EMSGSIZE: Final = int(abi.Errno.EMSGSIZE)
_LOCAL: Final = abi.LOCAL_OFFSET
_PEER: Final = abi.PEER_OFFSET
_ARGS: Final = abi.ARGS_OFFSET
_NO_ADDRESS: Address = (b"", 0)
_MOST: Final = 0xFFFF  # no datagram is longer, whatever it travels over
_LENGTH_BYTES: Final = 8


class DatagramCalls:
    """SENDTO and RECVFROM of one machine."""

    def __init__(self, memory: Memory, data: DataCalls, sockets: SocketCalls) -> None:
        self._memory = memory
        self._view = memory.view
        self._data = data
        self._sockets = sockets

    def op_sendto(
        self, entry: Entry, call: int, flags: int, events: int, cookie: int,
        a0: int, a1: int, a2: int, a3: int,
    ) -> int:  # fmt: skip
        socket = entry.socket
        if not socket.is_datagram:
            if flags & _FASTOPEN:
                return self._open_with(socket, call, flags & ~_FASTOPEN, a0, a1)
            return self._data.op_send(entry, call, flags, events, cookie, a0, a1, a2, a3)
        if flags & NOT_SEND:
            return -int(abi.Errno.EOPNOTSUPP)
        ranges = self._data.pieces(flags, a0, a1)
        if sum(length for _, length in ranges) > _MOST:
            return -_EMSGSIZE
        data = b"".join([self._view[at : at + length] for at, length in ranges])
        if self._sockets.is_nowhere(call + _PEER):
            result = socket.send(data)
        else:
            family, port, address = self._sockets.fetch(call + _PEER)
            result = socket.sendto(data, address, port) if family else -_EAFNOSUPPORT
        self._sockets.tell(socket.local or _NO_ADDRESS, call + _LOCAL)
        return result

    def _open_with(self, socket: EngineSocket, call: int, flags: int, a0: int, a1: int) -> int:
        """Connect a stream, its first bytes in the SYN. [RFC 7413]"""
        if flags & NOT_SEND:
            return -int(abi.Errno.EOPNOTSUPP)
        ranges = self._data.pieces(flags, a0, a1)
        left = _MOST  # a SYN carries less
        pieces: list[memoryview] = []
        for at, length in ranges:
            taken = min(length, left)
            pieces.append(self._view[at : at + taken])
            left -= taken
        family, port, address = self._sockets.fetch(call + _PEER)
        data = b"".join(pieces)
        result = socket.connect_with(data, address, port) if family else -_EAFNOSUPPORT
        self._sockets.tell(socket.local or _NO_ADDRESS, call + _LOCAL)
        return result

    def op_recvfrom(
        self, entry: Entry, call: int, flags: int, events: int, cookie: int,
        a0: int, a1: int, a2: int, a3: int,
    ) -> int:  # fmt: skip
        socket = entry.socket
        if not socket.is_datagram:
            result = self._data.op_recv(entry, call, flags, events, cookie, a0, a1, a2, a3)
            self._tell(call, max(result, 0), _NO_ADDRESS)
            return result
        if flags & NOT_RECV:
            return -int(abi.Errno.EOPNOTSUPP)
        return self._receive(socket, call, flags, self._data.pieces(flags, a0, a1))

    def _receive(
        self, socket: EngineSocket, call: int, flags: int, ranges: list[tuple[int, int]]
    ) -> int:
        got = socket.recvfrom(sum(length for _, length in ranges), flags & _PEEK)
        if isinstance(got, int):
            return got
        data, sender, length = got
        done = 0
        for at, room in ranges:
            piece = data[done : done + room]
            self._memory.write(at, piece)
            done += len(piece)
        self._tell(call, length, sender)
        return done

    def _tell(self, call: int, length: int, sender: Address) -> None:
        self._memory.write(call + _ARGS, length.to_bytes(_LENGTH_BYTES, "little"))
        self._sockets.tell(sender, call + _PEER)
