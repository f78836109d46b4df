"""System calls of a script on the sockets of a `leulo.stack`.

`Calls.attempt` makes a call once: an integer result (negative: an errno), or None if a real
process would sleep now; the runner then tries again whenever the stack has moved. Values that come
back through pointers are compared here; a difference is a `CallDiffers`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

from leulo.pkt import closing, epoll_calls, file_calls, option_calls, pipes
from leulo.pkt.address_arguments import address_of, is_unspecified
from leulo.pkt.connections import Connection, Stage, payload_at
from leulo.pkt.constants import CONSTANTS, ERRNO, ERRNO_NAMES
from leulo.pkt.differences import CallDiffers
from leulo.pkt.error_queue import ErrorQueue
from leulo.pkt.lexer import Refused, ScriptError
from leulo.pkt.settings import Setup
from leulo.pkt.signatures import Secrets
from leulo.pkt.syntax import (
    Apply,
    Array,
    Call,
    Ellipsis_,
    Expression,
    Name,
    Or,
    Struct,
    Text,
)
from leulo.stack import Stack
from leulo.tcp.active_open import disconnect
from leulo.tcp.addresses import inside, shown
from leulo.tcp.socket import TcpSocket
from leulo.tcp.state import State
from leulo.tcp.tcb import Tcb
from leulo.udp.socket import UdpSocket

MSG_OOB: Final = 0x1
MSG_PEEK: Final = 0x2
MSG_TRUNC: Final = 0x20
MSG_DONTWAIT: Final = 0x40
MSG_EOR: Final = 0x80
MSG_WAITALL: Final = 0x100
MSG_NOSIGNAL: Final = 0x4000
MSG_MORE: Final = 0x8000
MSG_ZEROCOPY: Final = 0x4000000
MSG_FASTOPEN: Final = 0x20000000
_SOCK_NONBLOCK: Final = 0o4000
_SOCK_TYPE: Final = 0xF
_SOCK_FLAGS: Final = 0o2004000
_SOCK_TYPES: Final = frozenset((1, 2, 3, 4, 5, 6, 10))
MAX_BYTES: Final = 64 * 1024 * 1024
MAX_DESCRIPTORS: Final = 1_024
_PIECE_BYTES: Final = 128 * 1024  # of a long write, handed over at once
_WRITABLE: Final = 4 | 8 | 0x10  # POLLOUT, POLLERR, POLLHUP
_SO_ZEROCOPY: Final = (1, 60)
_EAGAIN: Final = -ERRNO["EAGAIN"]
_EBADF: Final = -ERRNO["EBADF"]
_EINVAL: Final = -ERRNO["EINVAL"]
_EINPROGRESS: Final = -ERRNO["EINPROGRESS"]


@dataclass(slots=True)
class Descriptor:
    """An open file of the script's process."""

    socket: TcpSocket | UdpSocket
    connection: Connection
    is_nonblocking: bool = False
    written: int = 0  # bytes of the stream so far
    read: int = 0
    kept: dict[tuple[int, int], int] = field(default_factory=dict)  # options without effect here
    errors: ErrorQueue = field(default_factory=ErrorQueue)
    has_inq: bool = False  # TCP_INQ


@dataclass(slots=True)
class Running:
    """A call under way. ``progress``: bytes done so far."""

    call: Call
    line: int
    since_ns: int
    progress: int = 0
    has_begun: bool = False
    is_opening: bool = False  # a write that waits for the handshake, its first bytes in the SYN
    is_early: bool = False  # a write that waits for the handshake
    closing: Tcb | None = None  # the connection whose end close() waits for (SO_LINGER)
    wake_ns: int | None = None  # when it gives up waiting by itself
    socket_at: int = 0  # which argument is the socket
    taken: bytes = b""  # what a read has got last


class Surroundings(Protocol):
    """What calls need of the runner."""

    local: bytes
    peer: bytes
    bind_port: int
    connect_port: int
    connections: list[Connection]
    under_test: Connection
    family: int  # of sockets that name none
    setup: Setup
    start_ns: int  # of the script
    tolerance_ns: int

    @property
    def stack(self) -> Stack: ...

    @property
    def now_ns(self) -> int: ...

    def new_connection(self, stage: Stage) -> Connection:
        """One more, which lines without ports then mean."""

    def refuse_family(self, family: int, line: int) -> None:
        """Raise Refused if the stack has no sockets of ``family``."""


class Calls:
    """The script's process: its descriptors and calls."""

    def __init__(self, world: Surroundings) -> None:
        self.world: Surroundings = world
        self.descriptors: dict[int, Descriptor] = {}
        self.epolls: dict[int, epoll_calls.EpollSet] = {}
        self.files: dict[int, file_calls.File] = {}
        self.pipe_ends: dict[int, pipes.End] = {}
        self.secrets: Secrets = Secrets(world.peer, world.setup.md5_secret)  # of TCP-MD5
        from leulo.pkt import message_calls

        self._calls: dict[str, Callable[[Running], int | None]] = {
            "socket": self._socket,
            "bind": self._bind,
            "listen": self._listen,
            "accept": self._accept,
            "accept4": self._accept,
            "connect": self._connect,
            "read": self._read,
            "recv": self._read,
            "recvfrom": self._read,
            "recvmsg": partial(message_calls.recvmsg, self),
            "readv": partial(message_calls.readv, self),
            "write": self._write,
            "send": self._write,
            "sendto": self._write,
            "sendmsg": partial(message_calls.sendmsg, self),
            "writev": partial(message_calls.writev, self),
            "shutdown": self._shutdown,
            "close": partial(closing.close, self),
            "getsockopt": partial(option_calls.getsockopt, self),
            "setsockopt": partial(option_calls.setsockopt, self),
            "fcntl": partial(option_calls.fcntl, self),
            "ioctl": partial(option_calls.ioctl, self),
            "poll": partial(option_calls.poll, self),
            "epoll_create": partial(epoll_calls.epoll_create, self),
            "epoll_create1": partial(epoll_calls.epoll_create, self),
            "epoll_ctl": partial(epoll_calls.epoll_ctl, self),
            "epoll_wait": partial(epoll_calls.epoll_wait, self),
            "open": partial(file_calls.open_file, self),
            "sendfile": partial(file_calls.sendfile, self),
            "pipe": partial(pipes.make_pipe, self),
            "splice": partial(pipes.splice, self),
        }

    def attempt(self, running: Running) -> int | None:
        """The result, or None if the call sleeps. Raises CallDiffers, Refused, ScriptError."""
        function = self._calls.get(running.call.name)
        if function is None:
            raise Refused(running.line, f"the system call {running.call.name}")
        try:
            result = function(running)
            if result is None:
                result = option_calls.given_up(self, running)
        except IndexError:
            name = running.call.name
            raise ScriptError(running.line, f"{name} has too few arguments") from None
        running.has_begun = True
        return result

    def look_at_queues(self) -> None:
        """Something has happened: what do error queues have to tell of it?"""
        for number, descriptor in self.descriptors.items():
            socket = descriptor.socket
            if not isinstance(socket, TcpSocket) or socket.tcb is None:
                continue
            if descriptor.errors.look(socket.tcb, self.world.now_ns):
                for epoll in self.epolls.values():
                    if number in epoll.interests:
                        epoll.interests[number].has_edge = True

    def descriptor_of(self, connection: Connection) -> Descriptor | None:
        """The newest descriptor of ``connection``."""
        for descriptor in reversed(list(self.descriptors.values())):
            if descriptor.connection is connection:
                return descriptor
        return None

    # ------------------------------------------------------------ arguments

    def value(self, expression: Expression, line: int) -> int:
        """An expression's number. Raises Refused for an unknown name, ScriptError."""
        if isinstance(expression, int):
            return expression
        if isinstance(expression, Name):
            number = CONSTANTS.get(expression.name)
            if number is None:
                raise Refused(line, f"the constant {expression.name}")
            return number
        if isinstance(expression, Or):
            total = 0
            for part in expression.parts:
                total |= self.value(part, line)
            return total
        if isinstance(expression, Apply) and len(expression.arguments) == 1:
            if expression.function in ("htons", "htonl"):
                return self.value(expression.arguments[0], line)
        elif isinstance(expression, Array) and len(expression.items) == 1:
            return self.value(expression.items[0], line)
        raise ScriptError(line, "expected a number as the argument")

    def number(self, running: Running, at: int) -> int:
        return self.value(running.call.arguments[at], running.line)

    def descriptor_for(self, running: Running) -> Descriptor | None:
        number = self.number(running, running.socket_at)
        if number in self.pipe_ends:
            raise Refused(running.line, f"{running.call.name} of a pipe")
        return self.descriptors.get(number)

    def _is_null(self, running: Running) -> bool:
        """Is the buffer of this call no address?"""
        buffer = running.call.arguments[1]
        if running.call.name == "splice":
            return False
        return isinstance(buffer, Name) and buffer.name == "NULL"

    def _peer_of(self, descriptor: Descriptor) -> tuple[bytes, int]:
        """Whom a call means that leaves the address out."""
        world = self.world
        return shown(world.peer, descriptor.socket.family), world.connect_port

    def is_open(self, number: int) -> bool:
        """Is there any file with this number?"""
        return any(
            number in table for table in (self.descriptors, self.epolls, self.files, self.pipe_ends)
        )

    # ------------------------------------------------------------ opening

    def _socket(self, running: Running) -> int:
        line = running.line
        family_expression = running.call.arguments[0]
        is_any = isinstance(family_expression, Ellipsis_)
        family = self.world.family if is_any else self.number(running, 0)
        kind = self.number(running, 1)
        protocol = self.number(running, 2) if len(running.call.arguments) > 2 else 0
        self.world.refuse_family(family, line)
        if kind & ~(_SOCK_TYPE | _SOCK_FLAGS) or kind & _SOCK_TYPE not in _SOCK_TYPES:
            return _EINVAL
        if protocol in (132, 136, 262):
            raise Refused(line, {132: "SCTP", 136: "UDP-Lite", 262: "MPTCP"}[protocol] + " sockets")
        socket = self.world.stack.socket(family, kind & _SOCK_TYPE, protocol)
        if isinstance(socket, int):
            if running.call.errno_name:
                return socket
            raise Refused(line, {3: "raw sockets"}.get(kind & _SOCK_TYPE, "sockets of this type"))
        connection = self.world.new_connection(Stage.BEGUN)
        descriptor = Descriptor(socket, connection, bool(kind & _SOCK_NONBLOCK))
        return self._open(descriptor, running)

    def _open(self, descriptor: Descriptor, running: Running) -> int:
        number = self.free_number(running, running.call.result)
        self.descriptors[number] = descriptor
        return number

    def free_number(self, running: Running, expected: Expression) -> int:
        """The number that the script expects of a new descriptor, or the next one free."""
        number = 3 if isinstance(expected, Ellipsis_) else self.value(expected, running.line)
        taken = {*self.descriptors, *self.epolls, *self.files, *self.pipe_ends}
        while number < 0 or number in taken:
            number = max(3, number + 1)
        if len(taken) >= MAX_DESCRIPTORS:
            raise Refused(running.line, f"more than {MAX_DESCRIPTORS} descriptors")
        return number

    def _bind(self, running: Running) -> int:
        descriptor = self.descriptor_for(running)
        if descriptor is None:
            return _EBADF
        default = (bytes(len(self._peer_of(descriptor)[0])), self.world.bind_port)
        address, port = address_of(self, running.call.arguments[1], default, running.line)
        result = descriptor.socket.bind(address, port)
        if not result and descriptor.socket.local is not None:
            descriptor.connection.local_port = descriptor.socket.local[1]
        return result

    def _listen(self, running: Running) -> int:
        descriptor = self.descriptor_for(running)
        if descriptor is None:
            return _EBADF
        socket = descriptor.socket
        was_listening = isinstance(socket, TcpSocket) and socket.listener is not None
        result = socket.listen(self.number(running, 1))
        if not result and not was_listening:
            local = socket.local
            if descriptor.connection.is_iss_known or local is None:
                return result
            descriptor.connection.stage = Stage.LISTENING
            descriptor.connection.local_port = local[1]
            self.world.under_test = descriptor.connection
        return result

    def _accept(self, running: Running) -> int | None:
        descriptor = self.descriptor_for(running)
        if descriptor is None:
            return _EBADF
        child = descriptor.socket.accept()
        if not isinstance(child, TcpSocket):
            return None if child == _EAGAIN and not descriptor.is_nonblocking else child
        local, peer = child.local, child.peer
        connection = self.world.under_test
        if local is not None and peer is not None:
            for known in self.world.connections:
                if known.knows(local[1], peer[1]):
                    connection = known
        is_nonblocking = False
        if running.call.name == "accept4" and len(running.call.arguments) > 3:
            is_nonblocking = bool(self.number(running, 3) & _SOCK_NONBLOCK)
        accepted = Descriptor(child, connection, is_nonblocking, kept=dict(descriptor.kept))
        self._set_aside(running)
        return self._open(accepted, running)

    def _set_aside(self, running: Running) -> None:
        """A number in a script is a name: if a socket has the one that accept() is to give, it
        stays open and the name is the new one's from now on."""
        expected = running.call.result
        number = 3 if isinstance(expected, Ellipsis_) else self.value(expected, running.line)
        if number in self.descriptors:
            other = self.free_number(running, expected)
            self.descriptors[other] = self.descriptors.pop(number)
            for epoll in self.epolls.values():
                if number in epoll.interests:
                    epoll.interests[other] = epoll.interests.pop(number)

    def _connect(self, running: Running) -> int | None:
        descriptor = self.descriptor_for(running)
        if descriptor is None:
            return _EBADF
        socket = descriptor.socket
        if is_unspecified(running.call.arguments[1]):
            return disconnect(socket) if isinstance(socket, TcpSocket) else socket.disconnect()
        address, port = address_of(
            self, running.call.arguments[1], self._peer_of(descriptor), running.line
        )
        if isinstance(socket, UdpSocket):
            result = socket.connect(address, port)
            if not result and socket.local is not None:
                descriptor.connection.local_port = socket.local[1]
                descriptor.connection.peer = inside(address, socket.family, False) or address
                descriptor.connection.peer_port = port
            return result
        if running.has_begun and socket.state in (State.SYN_SENT, State.SYN_RCVD):
            return None
        result = socket.connect(address, port)
        if result == _EINPROGRESS or (not result and socket.state is State.SYN_SENT):
            self._note_opening(descriptor, address, port)
        is_waiting = result == _EINPROGRESS and not descriptor.is_nonblocking
        return None if is_waiting else result

    def _note_opening(self, descriptor: Descriptor, address: bytes, port: int) -> None:
        """An active open has begun."""
        local = descriptor.socket.local
        if local is None:
            return
        connection = descriptor.connection
        if connection.stage is not Stage.BEGUN or connection.is_iss_known:
            connection = descriptor.connection = self.world.new_connection(Stage.CONNECTING)
        connection.stage = Stage.CONNECTING
        connection.local_port = local[1]
        connection.peer = inside(address, descriptor.socket.family, False) or address
        connection.peer_port = port
        self.world.under_test = connection
        descriptor.written = descriptor.read = 0

    # ------------------------------------------------------------ reading

    def _read(self, running: Running) -> int | None:
        arguments = running.call.arguments
        flags = 0
        if running.call.name != "read" and len(arguments) > 3:
            flags = self.number(running, 3)
        expected = arguments[1]
        return self.receive(running, self.number(running, 2), flags, expected)

    def receive(self, running: Running, limit: int, flags: int, expected: Expression) -> int | None:
        descriptor = self.descriptor_for(running)
        if descriptor is None:
            return _EBADF
        if limit and self._is_null(running):
            return -ERRNO["EFAULT"]
        unknown = flags & ~(
            MSG_OOB | MSG_PEEK | MSG_DONTWAIT | MSG_WAITALL | MSG_NOSIGNAL | MSG_TRUNC
        )
        if unknown:
            raise Refused(running.line, f"{running.call.name} with {_flags_text(unknown)}")
        is_nonblocking = descriptor.is_nonblocking or bool(flags & MSG_DONTWAIT)
        limit = min(max(limit, 0), MAX_BYTES)
        if isinstance(descriptor.socket, UdpSocket):
            datagram = descriptor.socket.recv(limit, flags & MSG_PEEK)
            if isinstance(datagram, int):
                return None if datagram == _EAGAIN and not is_nonblocking else datagram
            return len(datagram)
        if flags & MSG_OOB:
            urgent = descriptor.socket.recv_urgent(flags & MSG_PEEK)
            return urgent if isinstance(urgent, int) else min(len(urgent), limit)
        while True:
            data = descriptor.socket.recv(limit - running.progress, flags & MSG_PEEK)
            if isinstance(data, int):
                if data == _EAGAIN and not is_nonblocking:
                    return None
                return running.progress or data
            self._check_data(descriptor, data, expected)
            if not flags & MSG_PEEK:
                descriptor.read += len(data)
            running.progress += len(data)
            running.taken = data
            is_enough = running.progress >= limit or not data or flags & MSG_PEEK
            if is_enough or not flags & MSG_WAITALL or is_nonblocking:
                return running.progress

    def _check_data(self, descriptor: Descriptor, data: bytes, expected: Expression) -> None:
        if isinstance(expected, Text) or descriptor.connection.has_odd_data:
            return
        if data != payload_at(descriptor.read, len(data)):
            raise CallDiffers(
                f"the bytes from {descriptor.read} of the stream", "other bytes than were sent"
            )

    # ------------------------------------------------------------ writing

    def _write(self, running: Running) -> int | None:
        arguments = running.call.arguments
        flags = 0
        if running.call.name != "write" and len(arguments) > 3:
            flags = self.number(running, 3)
        data = arguments[1]
        text = data.value if isinstance(data, Text) else None
        return self.transmit(running, self.number(running, 2), flags, text)

    def transmit(
        self,
        running: Running,
        length: int,
        flags: int,
        text: bytes | None,
        cuts: tuple[int, ...] = (),
    ) -> int | None:
        """``cuts``: lengths at which segments end whatever follows."""
        descriptor = self.descriptor_for(running)
        if descriptor is None:
            return _EBADF
        if length and self._is_null(running):
            return -ERRNO["EFAULT"]
        known = MSG_OOB | MSG_DONTWAIT | MSG_NOSIGNAL | MSG_EOR | MSG_MORE | MSG_ZEROCOPY
        unknown = flags & ~(known | MSG_FASTOPEN)
        if unknown:
            raise Refused(running.line, f"{running.call.name} with {_flags_text(unknown)}")
        is_nonblocking = descriptor.is_nonblocking or bool(flags & MSG_DONTWAIT)
        length = min(max(length, 0), MAX_BYTES)
        if isinstance(descriptor.socket, UdpSocket):
            return self._send_datagram(running, descriptor.socket, descriptor, length)
        if text is not None:
            descriptor.connection.sent_strings = True
        socket = descriptor.socket
        if running.has_begun and not socket.events & _WRITABLE:
            return None  # a sleeping writer is woken when a third of the room is free
        while True:
            rest = length - running.progress
            cut = next((at for at in cuts if at > running.progress), length) - running.progress
            if text is None:
                data = payload_at(descriptor.written, min(cut, _PIECE_BYTES))
            else:
                data = text[running.progress : length].ljust(rest, b"\0")
            if not running.has_begun and self._opens(running, socket, flags):
                running.has_begun = True
                count = self._open_with(running, socket, descriptor, data)
                if count == _EINPROGRESS and not is_nonblocking:
                    running.is_opening = True
                    return None
            else:
                is_end = (cut < rest or bool(flags & MSG_EOR)) and len(data) == cut
                count = (
                    socket.send_urgent(data)
                    if flags & MSG_OOB
                    else socket.send(data, bool(flags & MSG_MORE), is_end)
                )
            if count < 0:
                if count != _EAGAIN or is_nonblocking:
                    self._note_written(descriptor, running.progress, flags)
                    return count if running.is_opening else running.progress or count
                running.is_early = socket.state is State.SYN_SENT
                return None
            running.progress += count
            descriptor.written += count
            is_queueing = self.world.stack.engine.config.has_freebsd_fast_open
            is_waiting = socket.state is State.SYN_SENT and not is_nonblocking
            running.is_opening = is_waiting and not is_queueing
            if running.is_opening:
                return None
            if running.progress >= length or (is_nonblocking and count < len(data)):
                self._note_written(descriptor, running.progress, flags)
                return running.progress

    def _note_written(self, descriptor: Descriptor, count: int, flags: int) -> None:
        """A write is done: who asked for it hears later what became of its last byte."""
        socket = descriptor.socket
        if not count or not isinstance(socket, TcpSocket) or socket.tcb is None:
            return
        end = socket.tcb.snd_end
        if flags & MSG_ZEROCOPY and descriptor.kept.get(_SO_ZEROCOPY):
            descriptor.errors.lend(end)
        descriptor.errors.stamp(end)

    def _opens(self, running: Running, socket: TcpSocket, flags: int) -> bool:
        """Does this write connect, too? In FreeBSD sendto() does with TCP_FASTOPEN set."""
        if flags & MSG_FASTOPEN:
            return True
        return (
            running.call.name == "sendto"
            and socket.tcb is None
            and socket.settings.fast_open_queue > 0
            and self.world.stack.engine.config.has_freebsd_fast_open
        )

    def _open_with(
        self, running: Running, socket: TcpSocket, descriptor: Descriptor, data: bytes
    ) -> int:
        """The connect and the first write of one call."""
        arguments = running.call.arguments
        address: Expression = arguments[4] if len(arguments) > 4 else Ellipsis_()
        if running.call.name == "sendmsg" and isinstance(arguments[1], Struct):
            address = arguments[1].fields.get("msg_name", address)
        was_open = socket.tcb
        if is_unspecified(address):
            return -ERRNO["EOPNOTSUPP"]  # whose client side is off or not
        to, port = address_of(self, address, self._peer_of(descriptor), running.line)
        count = socket.connect_with(data, to, port)
        if socket.tcb is not was_open:
            self._note_opening(descriptor, to, port)
        return count

    def _send_datagram(
        self, running: Running, socket: UdpSocket, descriptor: Descriptor, length: int
    ) -> int:
        """To the address of sendto, or where the socket is connected to."""
        arguments = running.call.arguments
        data = payload_at(0, length)
        if len(arguments) <= 4 or (socket.remote and isinstance(arguments[4], Ellipsis_)):
            return socket.send(data)
        connection = descriptor.connection
        default = (shown(connection.peer, socket.family), connection.peer_port)
        address, port = address_of(self, arguments[4], default, running.line)
        count = socket.sendto(data, address, port)
        if socket.local is not None:
            connection.local_port = socket.local[1]
        return count

    # ------------------------------------------------------------ closing

    def _shutdown(self, running: Running) -> int:
        descriptor = self.descriptor_for(running)
        if descriptor is None:
            return _EBADF
        return descriptor.socket.shutdown(self.number(running, 1))


def result_text(result: int) -> str:
    """A result as a script writes it: ``-1 EAGAIN``."""
    if result >= 0:
        return str(result)
    return f"-1 {ERRNO_NAMES.get(-result, str(-result))}"


def _flags_text(flags: int) -> str:
    """The message flags by their names."""
    names = [name for name, bit in CONSTANTS.items() if name.startswith("MSG_") and flags & bit]
    return "|".join(names) or f"the flags {flags:#x}"
