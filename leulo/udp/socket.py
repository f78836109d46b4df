"""The socket interface of UDP: never blocks, needs no clock, answers a count or -errno.

Its calls are those of `leulo.tcp.socket`, with sendto and recvfrom beside them; what a call sends
goes out in the next drain. Inside, an IPv4 address has 4 bytes in a socket of either family; a
socket of AF_INET6 shows and takes it mapped (::ffff:a.b.c.d). [POSIX] [RFC 3493 3.7] Behaviour
where POSIX leaves a choice is Linux's. [Linux udp(7)]
"""

from __future__ import annotations

from collections import deque
from struct import Struct
from typing import TYPE_CHECKING, Final

from leulo.net.wire.ipv4 import PROTOCOL_UDP
from leulo.state import State, load_fields, save_fields
from leulo.tcp.errno import (
    AF_INET,
    AF_INET6,
    EACCES,
    EADDRINUSE,
    EADDRNOTAVAIL,
    EAFNOSUPPORT,
    EAGAIN,
    EDESTADDRREQ,
    EINVAL,
    EMSGSIZE,
    ENETUNREACH,
    ENOPROTOOPT,
    ENOTCONN,
    EOPNOTSUPP,
    EPIPE,
    MSG_PEEK,
    POLL_ERR,
    POLL_HUP,
    POLL_IN,
    POLL_OUT,
    POLL_RDHUP,
    SHUT_RD,
    SHUT_RDWR,
    SHUT_WR,
)
from leulo.tcp.settings import PATH_WANT
from leulo.udp import discovery, marks

if TYPE_CHECKING:
    from leulo.udp.table import UdpTable

Endpoint = tuple[bytes, int]  # address and port

MAX_PAYLOAD: Final = 65_507  # of IPv4: 65,535 less both headers
MAX_PAYLOAD_V6: Final = 65_527
DEFAULT_BYTES: Final = 212_992  # of either buffer, as SO_RCVBUF tells it; half is for payload
_LEAST_BYTES: Final = 2_304
_MOST_BYTES: Final = 8 << 20
_DATAGRAM_COST: Final = 128  # what a queued datagram takes beside its payload
_MAX_WAITING: Final = 4_096  # datagrams of one socket that wait for the link
PING_SPACE: Final = 1 << 16  # where the identifiers of ping sockets are, among the ports
_ROOM: Final = 1 << 30  # what `send_room` says if a datagram would be taken

_MAPPED: Final = bytes(10) + b"\xff\xff"
_ANY_4: Final = bytes(4)
_ANY_6: Final = bytes(16)

SOL_SOCKET: Final = 1
IPPROTO_IPV6: Final = 41
SO_REUSEADDR: Final = 2
SO_TYPE: Final = 3
SO_ERROR: Final = 4
SO_BROADCAST: Final = 6
SO_SNDBUF: Final = 7
SO_RCVBUF: Final = 8
SO_ACCEPTCONN: Final = 30
SO_PROTOCOL: Final = 38
SO_DOMAIN: Final = 39
IPV6_V6ONLY: Final = 26
_SOCK_DGRAM: Final = 2
_INT: Final = Struct("<i")

_FIELDS: Final = (
    "serial", "family", "address", "port", "remote", "error", "is_ready", "is_address_reused",
    "is_v6only", "may_broadcast", "is_read_shut", "is_write_shut", "rcv_bytes", "snd_bytes",
    "drops", "is_address_chosen", "space", "path_discovery", "path_discovery6",
    "forbids_fragments", "ttl", "tos", "hops", "traffic_class",
)  # fmt: skip


class Datagram:
    """One that was received: its payload, where it came from and where it was sent to."""

    __slots__ = ("data", "destination", "source")

    def __init__(self, data: bytes, source: Endpoint, destination: Endpoint) -> None:
        self.data: bytes = data
        self.source: Endpoint = source
        self.destination: Endpoint = destination

    @property
    def cost(self) -> int:
        """Bytes of a queue that it takes."""
        return len(self.data) + _DATAGRAM_COST


class UdpSocket:
    """One UDP socket. ``owner`` is whoever wants to hear of it by ``Stack.take_ready``."""

    __slots__ = (
        "address", "drops", "error", "family", "forbids_fragments", "hops", "is_address_chosen",
        "is_address_reused", "is_closed", "is_read_shut", "is_ready", "is_v6only", "is_write_shut",
        "may_broadcast", "owner", "path_discovery", "path_discovery6", "port", "queue",
        "queued_bytes", "rcv_bytes", "remote", "serial", "snd_bytes", "space", "table", "tos",
        "traffic_class", "ttl", "waiting", "waiting_bytes", "wants_every_byte",
    )  # fmt: skip

    is_datagram: Final = True

    def __init__(self, table: UdpTable, serial: int, family: int) -> None:
        self.table: UdpTable = table
        self.serial: int = serial
        self.family: int = family
        self.space: int = 0  # what the table adds to the port: 0, or PING_SPACE
        self.owner: object | None = None
        self.address: bytes = b""  # bound or chosen; empty or zero: every address
        self.port: int = 0
        self.remote: Endpoint | None = None
        self.error: int = 0
        self.drops: int = 0  # datagrams that found the queue full
        self.is_ready: bool = False
        self.is_closed: bool = False
        self.is_address_chosen: bool = False  # by connect, not by bind
        self.is_address_reused: bool = False
        self.is_v6only: bool = False
        self.may_broadcast: bool = False
        self.path_discovery: int = PATH_WANT  # IP_MTU_DISCOVER
        self.path_discovery6: int = PATH_WANT  # IPV6_MTU_DISCOVER
        self.forbids_fragments: bool = False  # IPV6_DONTFRAG
        self.ttl: int = marks.TTL  # IP_TTL
        self.tos: int = 0  # IP_TOS
        self.hops: int = marks.TTL  # IPV6_UNICAST_HOPS
        self.traffic_class: int = 0  # IPV6_TCLASS
        self.is_read_shut: bool = False
        self.is_write_shut: bool = False
        self.rcv_bytes: int = DEFAULT_BYTES
        self.snd_bytes: int = DEFAULT_BYTES
        self.queue: deque[Datagram] = deque()
        self.queued_bytes: int = 0
        self.waiting: int = 0  # datagrams in the table's output
        self.waiting_bytes: int = 0
        self.wants_every_byte: bool = False

    # ------------------------------------------------------------ what it is

    @property
    def local(self) -> Endpoint | None:
        """Address and port, None if not bound."""
        if not self.port and not self.address:
            return None
        return self._shown(self.address or _ANY_4), self.port

    @property
    def peer(self) -> Endpoint | None:
        """The other side's address and port, None if not connected."""
        if self.remote is None:
            return None
        return self._shown(self.remote[0]), self.remote[1]

    @property
    def events(self) -> int:
        """Readiness now, as poll() tells it. [POSIX poll] [Linux poll(2)]"""
        mask = POLL_ERR if self.error else 0
        if self.queue:
            mask |= POLL_IN
        if self.is_read_shut:
            mask |= POLL_IN | POLL_RDHUP
            if self.is_write_shut:
                mask |= POLL_HUP
        if self._has_room():
            mask |= POLL_OUT
        return mask

    def speaks(self, address_bytes: int) -> bool:
        """Does it send and receive over IPv4 (4) or IPv6 (16)?"""
        if self.family == AF_INET:
            return address_bytes == 4
        return address_bytes == 16 or not self.is_v6only

    def take_error(self) -> int:
        """The pending error as a positive errno, once. [POSIX SO_ERROR]"""
        error, self.error = self.error, 0
        return error

    # ------------------------------------------------------------ opening

    def bind(self, address: bytes, port: int) -> int:
        """Take a local address and port; port 0 chooses one, except on a stack that accepts
        any address: there the socket gets what is sent to ports that nobody has. 0, -EINVAL,
        -EADDRNOTAVAIL, -EADDRINUSE, -EAFNOSUPPORT."""
        inside = self._inside(address)
        if inside is None:
            return -EAFNOSUPPORT
        if self.port or self.address or not 0 <= port <= 0xFFFF:
            return -EINVAL
        if inside not in (_ANY_4, _ANY_6) and not (
            self.table.network.may_bind(inside) or self.table.network.is_broadcast(inside)
        ):
            return -EADDRNOTAVAIL
        taken = self.table.bind(self, inside, port)
        if taken < 0:
            return -EADDRINUSE
        self.address = inside
        self.port = taken
        return 0

    def connect(self, address: bytes, port: int) -> int:
        """Fix the other side: `send` goes there, only what comes from there is received, ICMP
        errors are told. Again: change it. No packet is sent. 0, -EINVAL, -EACCES (a broadcast
        without SO_BROADCAST), -ENETUNREACH, -EAFNOSUPPORT, -EAGAIN (no port is free)."""
        if self._inside(address) is not None and not 0 < port <= 0xFFFF:
            return -EINVAL
        return self._connect(address, port)

    def _connect(self, address: bytes, port: int) -> int:
        inside = self._inside(address)
        if inside is None:
            return -EAFNOSUPPORT
        network = self.table.network
        if network.is_broadcast(inside) and not self.may_broadcast:
            return -EACCES
        source = self._source_for(inside)
        if source is None:
            return -ENETUNREACH
        if not any(inside):
            inside = source
        if not self._bind_any():
            return -EAGAIN
        if self.is_address_chosen or self.address in (b"", _ANY_4, _ANY_6):
            self.address = source
            self.is_address_chosen = True
        self.remote = (inside, port)
        return 0

    def disconnect(self) -> int:
        """Undo `connect`. Returns 0."""
        self.remote = None
        if self.is_address_chosen:
            self.address = _ANY_4 if self.family == AF_INET else _ANY_6
            self.is_address_chosen = False
        return 0

    def listen(self, backlog: int) -> int:
        """-EOPNOTSUPP: there are no connections."""
        return -EOPNOTSUPP

    def accept(self) -> int:
        """-EOPNOTSUPP."""
        return -EOPNOTSUPP

    # ------------------------------------------------------------ sending

    def send_room(self) -> int:
        """More than any datagram if one would be taken now, 0 if not, or what it fails with."""
        error = self.take_error()
        if error:
            return -error
        if self.is_write_shut:
            return -EPIPE
        return _ROOM if self._has_room() else 0

    def send(self, data: bytes, more: bool = False) -> int:
        """Send one datagram to the connected side: its length, -EDESTADDRREQ, or as `sendto`.
        ``more`` is not kept: each call is one datagram."""
        if self.remote is None:
            return -EDESTADDRREQ
        return self._send(data, self.remote)

    def sendto(self, data: bytes, address: bytes, port: int, source: Endpoint | None = None) -> int:
        """Send one datagram: its length, -EAGAIN (the buffer is full), -EMSGSIZE, -EINVAL,
        -EACCES, -ENETUNREACH, -EADDRNOTAVAIL (its own address is gone), -EPIPE, -EAFNOSUPPORT,
        or an error that an earlier one met.

        ``source`` replaces the socket's own address; a stack that accepts any address has to
        choose it.
        """
        inside = self._inside(address)
        if inside is None:
            return -EAFNOSUPPORT
        if not 0 < port <= 0xFFFF:
            return -EINVAL
        return self._send(data, (inside, port), source)

    def _send(self, data: bytes, to: Endpoint, source: Endpoint | None = None) -> int:
        room = self.send_room()
        if room <= 0:
            return room or -EAGAIN
        address, port = to
        if len(data) > self._largest(address) or discovery.is_too_large(self, address, len(data)):
            return -EMSGSIZE
        network = self.table.network
        if network.is_broadcast(address) and not self.may_broadcast:
            return -EACCES
        if source is None:
            if not self._bind_any():
                return -EAGAIN
            own = self.address
            if own in (b"", _ANY_4, _ANY_6) or network.is_broadcast(own):
                chosen = self._source_for(address)
                if chosen is None:
                    return -ENETUNREACH
                own = chosen
            elif len(own) != len(address) or self._source_for(address) is None:
                return -ENETUNREACH
            elif not network.may_bind(own):
                return -EADDRNOTAVAIL  # it was ours once [RFC 4862 5.5.4]
            source = (own, self.port)
        if not any(address):
            to = (source[0], port)
        self.waiting += 1
        self.waiting_bytes += len(data)
        self.table.send(self, source, to, data)
        return len(data)

    def sent(self, length: int) -> None:
        """A datagram has left the queue."""
        had_room = self._has_room()
        self.waiting -= 1
        self.waiting_bytes -= length
        if not had_room and not self.is_closed:
            self.table.notify(self)

    # ------------------------------------------------------------ receiving

    def take(self, datagram: Datagram) -> bool:
        """Queue a datagram. False: there is no room."""
        if self.is_read_shut or self.queued_bytes + datagram.cost > self.rcv_bytes:
            return False
        if not self.queue or self.wants_every_byte:
            self.table.notify(self)
        self.queue.append(datagram)
        self.queued_bytes += datagram.cost
        self.table.received_bytes += datagram.cost
        return True

    def receive(self, flags: int = 0) -> Datagram | int:
        """The next datagram with both its addresses as they are in the stack (4 or 16 bytes),
        -EAGAIN, or the pending error. MSG_PEEK leaves it there."""
        error = self.take_error()
        if error:
            return -error
        if not self.queue:
            return -EAGAIN
        if flags & MSG_PEEK:
            return self.queue[0]
        datagram = self.queue.popleft()
        self.queued_bytes -= datagram.cost
        self.table.received_bytes -= datagram.cost
        return datagram

    def recvfrom(self, limit: int, flags: int = 0) -> tuple[bytes, Endpoint, int] | int:
        """Up to ``limit`` bytes of the next datagram, its sender, and its whole length; the rest
        of it is lost. Or -EAGAIN, or the pending error. After shutdown: an empty one."""
        datagram = self.receive(flags)
        if isinstance(datagram, int):
            if datagram == -EAGAIN and self.is_read_shut:
                return b"", (b"", 0), 0
            return datagram
        address, port = datagram.source
        data = datagram.data
        return data[: max(0, limit)], (self._shown(address), port), len(data)

    def recv(self, limit: int, flags: int = 0) -> bytes | int:
        """As `recvfrom`, the bytes alone."""
        got = self.recvfrom(limit, flags)
        return got if isinstance(got, int) else got[0]

    def recv_into(self, view: memoryview, flags: int = 0) -> int:
        """As `recvfrom`, into ``view``: the count."""
        got = self.recvfrom(len(view), flags)
        if isinstance(got, int):
            return got
        data = got[0]
        view[: len(data)] = data
        return len(data)

    def fail(self, error: int) -> None:
        """An earlier datagram met ``error``: the next call tells it."""
        self.error = error
        self.table.notify(self)

    # ------------------------------------------------------------ closing

    def shutdown(self, how: int) -> int:
        """No more receiving, no more sending, or both. 0, -EINVAL, -ENOTCONN."""
        if how not in (SHUT_RD, SHUT_WR, SHUT_RDWR):
            return -EINVAL
        if self.remote is None:
            return -ENOTCONN
        if how != SHUT_WR:
            self.is_read_shut = True
        if how != SHUT_RD:
            self.is_write_shut = True
        self.table.notify(self)
        return 0

    def close(self) -> int:
        """Give the socket up: what was sent still goes out, what was received is gone. 0."""
        table = self.table
        table.sockets.pop(self.serial, None)
        table.release(self, self.port)
        self.is_closed = True
        self.owner = None
        table.received_bytes -= self.queued_bytes
        self.queued_bytes = 0
        self.queue.clear()
        return 0

    # ------------------------------------------------------------ options

    def getsockopt(self, level: int, name: int) -> bytes | int:
        """The option's value as Linux lays it out, or -ENOPROTOOPT. [Linux socket(7)]"""
        if level == IPPROTO_IPV6 and name == IPV6_V6ONLY and self.family == AF_INET6:
            return _INT.pack(self.is_v6only)
        if level != SOL_SOCKET:
            is_mark = (level, name) in marks.OPTIONS
            get = marks.get_option if is_mark else discovery.get_option
            number = get(self, level, name)
            return number if number < 0 else _INT.pack(number)
        if name == SO_ERROR:
            return _INT.pack(self.take_error())
        value = {
            SO_TYPE: _SOCK_DGRAM,
            SO_RCVBUF: self.rcv_bytes,
            SO_SNDBUF: self.snd_bytes,
            SO_REUSEADDR: int(self.is_address_reused),
            SO_BROADCAST: int(self.may_broadcast),
            SO_ACCEPTCONN: 0,
            SO_PROTOCOL: self._protocol,
            SO_DOMAIN: self.family,
        }.get(name)
        return -ENOPROTOOPT if value is None else _INT.pack(value)

    def setsockopt(self, level: int, name: int, value: bytes) -> int:
        """0, -EINVAL, -ENOPROTOOPT."""
        known = (SO_REUSEADDR, SO_BROADCAST, SO_RCVBUF, SO_SNDBUF)
        is_v6only = level == IPPROTO_IPV6 and name == IPV6_V6ONLY and self.family == AF_INET6
        if not is_v6only and level != SOL_SOCKET:
            if (level, name) in marks.OPTIONS:
                return marks.set_option(self, level, name, value)
            return discovery.set_option(self, level, name, value)
        if not is_v6only and name not in known:
            return -ENOPROTOOPT
        if len(value) < _INT.size:
            return -EINVAL
        number: int = _INT.unpack_from(value)[0]
        if is_v6only:
            if self.port:
                return -EINVAL
            self.is_v6only = number != 0
        elif name == SO_REUSEADDR:
            self.is_address_reused = number != 0
        elif name == SO_BROADCAST:
            self.may_broadcast = number != 0
        else:
            # Doubled, as Linux does: what is reported counts bookkeeping too. [Linux socket(7)]
            size = max(_LEAST_BYTES, min(2 * max(number, 0), _MOST_BYTES))
            if name == SO_RCVBUF:
                self.rcv_bytes = size
            else:
                self.snd_bytes = size
        return 0

    # ------------------------------------------------------------ state

    def save(self) -> State:
        return {
            **save_fields(self, 3, _FIELDS),
            "queue": [(d.data, d.source, d.destination) for d in self.queue],
            "waiting": self.waiting,
            "waiting_bytes": self.waiting_bytes,
        }

    def load(self, state: State) -> None:
        """Raises ValueError on another version."""
        load_fields(self, 3, _FIELDS, state)
        if self.remote is not None:
            self.remote = (self.remote[0], self.remote[1])
        self.waiting = state["waiting"]
        self.waiting_bytes = state["waiting_bytes"]
        self.queue = deque(
            Datagram(data, (source[0], source[1]), (destination[0], destination[1]))
            for data, source, destination in state["queue"]
        )
        self.queued_bytes = sum(datagram.cost for datagram in self.queue)

    # -- inside

    @property
    def _protocol(self) -> int:
        return PROTOCOL_UDP

    def _largest(self, address: bytes) -> int:
        """The most bytes of one datagram to ``address``."""
        return MAX_PAYLOAD if len(address) == 4 else MAX_PAYLOAD_V6

    def _has_room(self) -> bool:
        return self.waiting < _MAX_WAITING and self.waiting_bytes * 2 < self.snd_bytes

    def _bind_any(self) -> bool:
        """Have a port. False: none is free."""
        if self.port:
            return True
        port = self.table.choose(self)
        if port < 0:
            return False
        if self.address:  # bound to port 0 of a stack that accepts any
            self.table.release(self, 0)
        else:
            self.address = _ANY_4 if self.family == AF_INET else _ANY_6
        self.port = port
        return True

    def _source_for(self, address: bytes) -> bytes | None:
        """The stack's own address towards ``address``, None without a route."""
        network = self.table.network
        return network.source_for(_ANY_4 if network.is_broadcast(address) else address)

    def _inside(self, address: bytes) -> bytes | None:
        """A user's address as the stack has it; None: not of this socket's family."""
        if self.family == AF_INET:
            return address if len(address) == 4 else None
        if len(address) != 16:
            return None
        if address[:12] == _MAPPED:
            return None if self.is_v6only else address[12:]
        return address

    def _shown(self, address: bytes) -> bytes:
        """An address of the stack as a user of this socket's family sees it."""
        if self.family == AF_INET or len(address) == 16:
            return address
        return _MAPPED + address if any(address) else _ANY_6
