"""The tree of a script: events on a timeline, each a packet, a call, a command or a snippet.

Plain data, made by the parser, read by the runner. Times are nanoseconds; numbers of TCP are the
script's own (relative to its initial sequence numbers).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class When(Enum):
    ABSOLUTE = "at"
    RELATIVE = "+"
    ANY = "*"
    ABSOLUTE_RANGE = "a~b"
    RELATIVE_RANGE = "+a~+b"


@dataclass(slots=True)
class Time:
    kind: When
    start_ns: int = 0
    end_ns: int = 0  # of a range


# ---------------------------------------------------------------- expressions


@dataclass(slots=True)
class Ellipsis_:
    """``...``: any value."""


@dataclass(slots=True)
class Text:
    """A string between double quotes."""

    value: bytes


@dataclass(slots=True)
class Name:
    """A constant of the system, ``SOL_SOCKET``."""

    name: str


@dataclass(slots=True)
class Or:
    """``A|B|C``."""

    parts: list[Expression]


@dataclass(slots=True)
class Array:
    """``[a, b]``, or ``{a, b}`` without names."""

    items: list[Expression]


@dataclass(slots=True)
class Struct:
    """``{name=value, ...}``; ``msg_iov(1)=[...]`` is the field ``msg_iov``."""

    fields: dict[str, Expression]


@dataclass(slots=True)
class Apply:
    """``htons(80)``, ``inet_addr("1.2.3.4")``."""

    function: str
    arguments: list[Expression]


Expression = Ellipsis_ | Text | int | Name | Or | Array | Struct | Apply


# ---------------------------------------------------------------- packets


class Direction(Enum):
    IN = "<"
    OUT = ">"


@dataclass(slots=True)
class IpInfo:
    """What an annotation in brackets says of the IP header; None or -1: nothing."""

    ecn: int | None = None  # 0 not-ECT, 1 ECT(1), 2 ECT(0), 3 CE
    is_ect01: bool = False  # either of the two ECT
    dscp: int | None = None
    ttl: int | None = None  # or hop limit
    flow_label: int | None = None


@dataclass(slots=True)
class Packet:
    """What all packets have. ``ports`` are source and destination, None if not given."""

    direction: Direction
    ip: IpInfo
    ports: tuple[int, int] | None
    text: str  # as in the script, for reports


@dataclass(slots=True)
class TcpOption:
    """``kind`` and ``data`` as on the wire (numbers of timestamps and SACK still the script's).
    A timestamp value of None is ``...``."""

    kind: int
    data: bytes = b""
    name: str = ""
    ts_val: int | None = 0
    ts_ecr: int = 0
    is_ecr_absolute: bool = False
    blocks: list[tuple[int, int]] = field(default_factory=list)


@dataclass(slots=True)
class TcpLine(Packet):
    flags: int  # as in the header, AE included
    seq: int | None  # None: any (outbound)
    length: int
    ack: int
    window: int | None
    urgent: int
    options: list[TcpOption] | None  # None: <...>, any
    is_absolute: bool = False  # the sequence number is as on the wire


@dataclass(slots=True)
class UdpLine(Packet):
    length: int


@dataclass(slots=True)
class IcmpLine(Packet):
    type_name: str
    code_name: str
    mtu: int | None
    identifier: int
    quoted: str  # tcp, udp or raw: what the error quotes
    seq: int
    length: int


# ---------------------------------------------------------------- other actions


@dataclass(slots=True)
class Call:
    """A system call. ``end_ns``: when a blocking one returns, None for one that does not block."""

    name: str
    arguments: list[Expression]
    result: Expression
    errno_name: str
    end_ns: int | None
    text: str


@dataclass(slots=True)
class Command:
    """A shell command between back quotes."""

    text: str


@dataclass(slots=True)
class Code:
    """Python between ``%{`` and ``}%``."""

    text: str


Action = TcpLine | UdpLine | IcmpLine | Call | Command | Code


@dataclass(slots=True)
class Event:
    line: int
    time: Time
    action: Action


@dataclass(slots=True)
class Script:
    """``options`` are the lines that begin with ``--``, in order, value "" if there is none."""

    options: list[tuple[str, str]]
    events: list[Event]
