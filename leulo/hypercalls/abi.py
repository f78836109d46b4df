"""The hypercall ABI: numbers, structures and errno, the one source.

``guest_kernel/include/leulo/abi.h`` and ``docs/reference/hypercalls.md`` are generated from this
module, and from `operations`, which says what each does, by ``tools/generate_abi.py``; nothing else
may spell these numbers. It must not know how a call is carried out: that is `dispatch` and its
neighbours.

The guest puts a 128-byte `CALL` descriptor anywhere in its RAM, 8-byte aligned, and writes its
guest-physical address to the gate's port with ``out dx, eax`` from ring 0. When the instruction
has retired, the descriptor holds the answer: ``status`` says whether the call was understood
(transport), ``result`` what the socket said: a count or a negative errno.
All integers are little-endian. Reserved fields must be zero.

No call waits. A guest thread that has to wait sleeps until an event: its kernel subscribes the
socket, keeps the mask of the newest answer or event, and answers poll(2) from it. An event comes
when a wanted bit rises over what was last told. The kernel takes entries out of the ring, calls
EVENTS_ACK if ``overflow`` is not zero, sets ``armed`` and looks once more; an entry that is put
in after that interrupts.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from struct import Struct
from typing import Final

GATE_PORT: Final = 0x5E0
GATE_MAGIC: Final = 0x4F4C554C  # "LULO": what ``in eax, dx`` from the gate's port reads
VERSION: Final = 1
EVENT_IRQ: Final = 10


class Op(IntEnum):
    """What to do. Numbers are never reused; gaps leave room for the group."""

    HELLO = 1
    EVENTS_SETUP = 2
    EVENTS_ACK = 3
    TIME = 4

    SOCKET = 16
    BIND = 17
    LISTEN = 18
    CONNECT = 19
    ACCEPT = 20
    SHUTDOWN = 21
    CLOSE = 22

    SEND = 32
    RECV = 33
    SENDTO = 34
    RECVFROM = 35

    GETSOCKNAME = 48
    GETPEERNAME = 49
    GETSOCKOPT = 50
    SETSOCKOPT = 51

    POLL = 64
    SUBSCRIBE = 65

    SENDFILE = 80
    BUFFER_REGISTER = 81
    BUFFER_RELEASE = 82

    LIST = 96
    ADOPT = 97
    ORPHAN_POLICY = 98

    TRACE_MARK = 112
    BREAK = 113


class Status(IntEnum):
    """Transport: was the call understood? Only with OK does ``result`` mean anything."""

    OK = 0
    BAD_ADDRESS = 1  # the descriptor, or memory it refers to, is not RAM
    BAD_SIZE = 2  # ``size`` is not the descriptor's size, or a structure is too small
    BAD_VERSION = 3  # HELLO asked for a version that is not spoken
    NO_HELLO = 4  # anything before HELLO
    UNKNOWN_OP = 5
    RESERVED = 6  # a reserved field is not zero
    BAD_ARGUMENT = 7  # an argument outside what the operation allows


class Flag(IntFlag):
    """Bits of ``flags``; those of MSG_* have Linux's values."""

    MSG_OOB = 0x1  # SEND: the last byte is urgent; RECV: the urgent byte
    MSG_PEEK = 0x2
    MSG_DONTWAIT = 0x40  # every call is so; accepted because callers pass it
    MSG_WAITALL = 0x100
    MSG_NOSIGNAL = 0x4000
    MSG_MORE = 0x8000
    MSG_FASTOPEN = 0x20000000  # SENDTO on a stream: connect, with this data in the SYN
    IOVEC = 0x10000  # SEND, RECV: args are an iovec array and its count, not address and length
    EDGE = 0x20000  # SUBSCRIBE, ACCEPT: an event at each newly risen bit (the default)
    LEVEL = 0x40000  # again after each EVENTS_ACK while a wanted bit is still up
    ONESHOT = 0x80000  # one event, then the subscription sleeps


class Poll(IntFlag):
    """Readiness bits, Linux's values. A closed or unknown socket is NVAL."""

    IN = 0x1
    PRI = 0x2
    OUT = 0x4
    ERR = 0x8
    HUP = 0x10
    NVAL = 0x20
    RDHUP = 0x2000
    SENT = 0x10000  # not Linux's: what SENDFILE queued has been acknowledged, all of it


class Family(IntEnum):
    INET = 2
    INET6 = 10


class SockType(IntEnum):
    STREAM = 1
    DGRAM = 2


class Protocol(IntEnum):
    """Third argument of SOCKET; 0 is what the type suggests. ICMP and ICMPV6 with DGRAM are ping
    sockets: their datagrams are whole ICMP messages, echo requests out and echo replies in, their
    port is the identifier, which is filled in as the checksum is. [Linux icmp(7)]"""

    IPPROTO_ICMP = 1
    IPPROTO_UDP = 17
    IPPROTO_ICMPV6 = 58


class Shut(IntEnum):
    RD = 0
    WR = 1
    RDWR = 2


class Level(IntEnum):
    IPPROTO_IP = 0
    SOL_SOCKET = 1
    IPPROTO_TCP = 6
    IPPROTO_IPV6 = 41


class SocketOption(IntEnum):
    """Option names at SOL_SOCKET, Linux's values. SO_RCVTIMEO and SO_SNDTIMEO are the guest
    kernel's own business: no hypercall waits."""

    SO_REUSEADDR = 2
    SO_TYPE = 3
    SO_ERROR = 4
    SO_BROADCAST = 6
    SO_SNDBUF = 7
    SO_RCVBUF = 8
    SO_KEEPALIVE = 9
    SO_OOBINLINE = 10
    SO_LINGER = 13
    SO_RCVLOWAT = 18
    SO_SNDLOWAT = 19
    SO_ACCEPTCONN = 30
    SO_PROTOCOL = 38
    SO_DOMAIN = 39


class TcpOption(IntEnum):
    """Option names at IPPROTO_TCP, Linux's values."""

    TCP_NODELAY = 1
    TCP_MAXSEG = 2
    TCP_CORK = 3
    TCP_KEEPIDLE = 4
    TCP_KEEPINTVL = 5
    TCP_KEEPCNT = 6
    TCP_SYNCNT = 7
    TCP_LINGER2 = 8
    TCP_DEFER_ACCEPT = 9
    TCP_WINDOW_CLAMP = 10
    TCP_INFO = 11
    TCP_QUICKACK = 12
    TCP_CONGESTION = 13
    TCP_MD5SIG = 14
    TCP_USER_TIMEOUT = 18
    TCP_FASTOPEN = 23
    TCP_NOTSENT_LOWAT = 25
    TCP_FASTOPEN_CONNECT = 30
    TCP_MD5SIG_EXT = 32
    TCP_FASTOPEN_KEY = 33
    TCP_FASTOPEN_NO_COOKIE = 34


class IpOption(IntEnum):
    """Option names at IPPROTO_IP, Linux's values."""

    IP_TOS = 1
    IP_TTL = 2
    IP_MTU_DISCOVER = 10
    IP_MTU = 14


class Ipv6Option(IntEnum):
    """Option names at IPPROTO_IPV6, Linux's values."""

    IPV6_UNICAST_HOPS = 16
    IPV6_MTU_DISCOVER = 23
    IPV6_MTU = 24
    IPV6_V6ONLY = 26
    IPV6_TCLASS = 67


class Errno(IntEnum):
    """Pinned: a guest may rely on these whatever its host is (Linux i386 values)."""

    EPERM = 1
    ENOENT = 2
    EINTR = 4
    EIO = 5
    EBADF = 9
    EAGAIN = 11
    ENOMEM = 12
    EACCES = 13
    EFAULT = 14
    EBUSY = 16
    EINVAL = 22
    EMFILE = 24
    EPIPE = 32
    ENOTSOCK = 88
    EDESTADDRREQ = 89
    EMSGSIZE = 90
    ENOPROTOOPT = 92
    EPROTONOSUPPORT = 93
    ESOCKTNOSUPPORT = 94
    EOPNOTSUPP = 95
    EAFNOSUPPORT = 97
    EADDRINUSE = 98
    EADDRNOTAVAIL = 99
    ENETDOWN = 100
    ENETUNREACH = 101
    ECONNABORTED = 103
    ECONNRESET = 104
    ENOBUFS = 105
    EISCONN = 106
    ENOTCONN = 107
    ETIMEDOUT = 110
    ECONNREFUSED = 111
    EHOSTUNREACH = 113
    EALREADY = 114
    EINPROGRESS = 115


class Feature(IntFlag):
    """What HELLO agrees on. An operation of a feature that was not agreed on is UNKNOWN_OP."""

    EVENTS = 0x1
    IPV6 = 0x2
    UDP = 0x4
    SENDFILE = 0x8
    SURVIVAL = 0x10


# Beside these, IPV6 where the machine's network has it.
OFFERED: Final = int(Feature.EVENTS | Feature.UDP | Feature.SENDFILE)


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a structure: ``kind`` is u8, u16, u32, s32, u64, endpoint or bytes."""

    name: str
    kind: str
    doc: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class Structure:
    """A structure of the ABI; offsets follow from the fields, without padding."""

    name: str
    doc: str
    fields: tuple[Field, ...]

    @property
    def size(self) -> int:
        return sum(_WIDTHS[f.kind] * f.count for f in self.fields)

    def offset(self, name: str) -> int:
        """Bytes before field ``name``. Raises KeyError."""
        at = 0
        for field in self.fields:
            if field.name == name:
                return at
            at += _WIDTHS[field.kind] * field.count
        raise KeyError(name)


ENDPOINT_BYTES: Final = 24
_WIDTHS: Final = {
    "u8": 1, "u16": 2, "u32": 4, "s32": 4, "u64": 8, "endpoint": ENDPOINT_BYTES, "bytes": 1,
}  # fmt: skip

ENDPOINT: Final = Structure(
    "endpoint",
    "An address and a port. IPv4 uses the first four bytes of ``address``, the rest are zero.",
    (
        Field("family", "u16", "AF_INET or AF_INET6; 0: none"),
        Field("port", "u16", "port, host byte order"),
        Field("scope", "u32", "IPv6: 0, or 1 for the only interface; else zero"),
        Field("address", "bytes", "address, network byte order", 16),
    ),
)

CALL: Final = Structure(
    "call",
    "The descriptor of one hypercall.",
    (
        Field("op", "u16", "in: operation"),
        Field("size", "u16", "in: size of this descriptor, 128"),
        Field("handle", "u32", "in: socket; out: the new socket of SOCKET and ACCEPT"),
        Field("result", "s32", "out: a count, or a negative errno"),
        Field("status", "u32", "out: transport status"),
        Field("flags", "u32", "in: flags"),
        Field("events", "u32", "in: wanted mask (SUBSCRIBE, ACCEPT); out: the mask of ``handle``"),
        Field("cookie", "u64", "in: given back in every event of the socket"),
        Field("args", "u64", "in and out: arguments of the operation", 4),
        Field("local", "endpoint", "in: BIND; out: the socket's own address"),
        Field("peer", "endpoint", "in: CONNECT, SENDTO; out: the other side's address"),
        Field("reserved", "u64", "zero", 2),
    ),
)
CALL_BYTES: Final = 128
assert CALL.size == CALL_BYTES

IOVEC: Final = Structure(
    "iovec",
    "One piece of guest memory.",
    (Field("address", "u64", "guest-physical address"), Field("length", "u64", "bytes")),
)

HELLO: Final = Structure(
    "hello",
    "HELLO's answer, written to args[0]. The caller sets ``size`` and ``version`` first.",
    (
        Field("size", "u32", "in: bytes of this structure"),
        Field("version", "u32", "in: version wanted; out: version spoken"),
        Field("features", "u64", "in: features wished for, 0: all; out: those agreed on"),
        Field("max_sockets", "u32", "out: sockets at once"),
        Field("max_iovec", "u32", "out: pieces of one iovec"),
        Field("max_transfer", "u32", "out: bytes of one SEND or RECV"),
        Field("max_events", "u32", "out: entries of an event ring"),
        Field("prefix_length", "u32", "out: bits of the network's prefix"),
        Field("mtu", "u32", "out: bytes of an IP packet"),
        Field("address", "endpoint", "out: the machine's address"),
        Field("gateway", "endpoint", "out: its gateway"),
        Field("dns", "endpoint", "out: its name server"),
        Field("mac", "bytes", "out: its MAC address, then two zero bytes", 8),
        Field("tsc_hz", "u64", "out: ticks of RDTSC in a second"),
        Field("reserved", "u64", "zero", 2),
    ),
)

RING: Final = Structure(
    "ring",
    "Head of the event ring. Entries follow at once; their number is a power of two. The counts "
    "run free; an entry's place is its count modulo the number of entries.",
    (
        Field("armed", "u32", "guest: 1 asks for an interrupt; the hypervisor clears it"),
        Field("head", "u32", "hypervisor: events ever put in"),
        Field("tail", "u32", "guest: events ever taken out"),
        Field("overflow", "u32", "hypervisor: events waiting outside a full ring"),
        Field("raised_ns", "u64", "hypervisor: when the last interrupt was raised"),
        Field("reserved", "u64", "zero", 5),
    ),
)

EVENT: Final = Structure(
    "event",
    "One entry of the ring: the socket's whole mask, not a difference. A socket has at most one "
    "unread entry; every later answer about the socket and every later event updates it in place, "
    "so the guest's last look, at an answer or at the ring, is always the newest.",
    (
        Field("cookie", "u64", "the subscriber's own"),
        Field("handle", "u32", "socket; 0: to be skipped, the socket was closed meanwhile"),
        Field("mask", "u32", "the socket's readiness"),
    ),
)

POLLFD: Final = Structure(
    "pollfd",
    "One entry of POLL.",
    (
        Field("handle", "u32", "socket"),
        Field("wanted", "u32", "in: mask"),
        Field("mask", "u32", "out: readiness, ERR, HUP and NVAL always included"),
        Field("reserved", "u32", "zero"),
    ),
)

MAX_MARK_BYTES: Final = 256

# One fetch of everything but the endpoints: head (``op | size << 16``), handle, flags, events,
# cookie, args 0-3, reserved 0-1. ``result`` and ``status`` are only ever written.
CALL_FETCH: Final = Struct("<II8xIIQ4Q48x2Q")
# The answer to a call that changes no argument: handle, result, status, flags (unchanged), events.
CALL_ANSWER: Final = Struct("<IiIII")
ANSWER_OFFSET: Final = CALL.offset("handle")
ARGS_OFFSET: Final = CALL.offset("args")
ARGS_STRUCT: Final = Struct("<4Q")
ENDPOINT_STRUCT: Final = Struct("<HHI16s")
LOCAL_OFFSET: Final = CALL.offset("local")
PEER_OFFSET: Final = CALL.offset("peer")
IOVEC_STRUCT: Final = Struct("<QQ")
EVENT_STRUCT: Final = Struct("<QII")
POLLFD_STRUCT: Final = Struct("<4I")
