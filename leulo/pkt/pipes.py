"""pipe and splice: what a socket has received, moved into a pipe and out of one into a socket.

A pipe is its octets; what reads or writes it otherwise is refused. A splice from a socket ends
before the octet out of band. Functions are as those of `option_calls`. [Linux splice(2)]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from leulo.pkt.constants import CONSTANTS, ERRNO
from leulo.pkt.lexer import Refused, ScriptError
from leulo.pkt.syntax import Array, Ellipsis_, Name
from leulo.tcp.socket import TcpSocket

if TYPE_CHECKING:
    from leulo.pkt.calls import Calls, Running

_PIPE_BYTES: Final = 65_536  # that it holds [Linux pipe(7)]
_NONBLOCK: Final = CONSTANTS["SPLICE_F_NONBLOCK"]
_OFFSETS: Final = (1, 3)


class Pipe:
    """Its octets, and which of its ends are open."""

    def __init__(self) -> None:
        self.data: bytearray = bytearray()
        self.has_reader: bool = True
        self.has_writer: bool = True


class End:
    """One descriptor of a pipe."""

    def __init__(self, pipe: Pipe, is_reader: bool) -> None:
        self.pipe: Pipe = pipe
        self.is_reader: bool = is_reader

    def close(self) -> None:
        if self.is_reader:
            self.pipe.has_reader = False
        else:
            self.pipe.has_writer = False


def make_pipe(calls: Calls, running: Running) -> int:
    numbers = running.call.arguments[0]
    if not isinstance(numbers, Array) or len(numbers.items) != 2:
        raise ScriptError(running.line, "expected [NUMBER, NUMBER] of the pipe's ends")
    pipe = Pipe()
    for expected, is_reader in zip(numbers.items, (True, False), strict=True):
        number = calls.free_number(running, expected)
        calls.pipe_ends[number] = End(pipe, is_reader)
    return 0


def splice(calls: Calls, running: Running) -> int | None:
    for at in _OFFSETS:
        offset = running.call.arguments[at]
        if not (isinstance(offset, Name) and offset.name == "NULL"):
            raise Refused(running.line, "splice with an offset")
    source = calls.pipe_ends.get(calls.number(running, 0))
    target = calls.pipe_ends.get(calls.number(running, 2))
    if source is not None and target is not None:
        raise Refused(running.line, "splice between pipes")
    length = calls.number(running, 4)
    is_nonblocking = bool(calls.number(running, 5) & _NONBLOCK)
    if target is not None and not target.is_reader:
        return _receive(calls, running, target.pipe, length, is_nonblocking)
    if source is not None and source.is_reader:
        return _send(calls, running, source.pipe, length, is_nonblocking)
    return -ERRNO["EINVAL" if source is target else "EBADF"]


def _receive(
    calls: Calls, running: Running, pipe: Pipe, length: int, is_nonblocking: bool
) -> int | None:
    descriptor = calls.descriptor_for(running)
    if descriptor is None:
        return -ERRNO["EBADF"]
    socket = descriptor.socket
    if not isinstance(socket, TcpSocket):
        raise Refused(running.line, "splice from a socket of datagrams")
    if not pipe.has_reader:
        return -ERRNO["EPIPE"]
    room = _PIPE_BYTES - len(pipe.data)
    if length and not room:
        return -ERRNO["EAGAIN"] if is_nonblocking else None
    if socket.is_at_mark:
        return 0
    count = calls.receive(running, min(length, room), 0, Ellipsis_())
    if count is not None and count > 0:
        pipe.data += running.taken
    return count


def _send(
    calls: Calls, running: Running, pipe: Pipe, length: int, is_nonblocking: bool
) -> int | None:
    if not pipe.data:
        if not pipe.has_writer or not length:
            return 0
        return -ERRNO["EAGAIN"] if is_nonblocking else None
    running.socket_at = 2
    data = bytes(pipe.data[:length])
    count = calls.transmit(running, len(data), 0, data)
    if count is not None and count > 0:
        del pipe.data[:count]
    return count
