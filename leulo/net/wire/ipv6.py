"""IPv6 headers, extension headers and addresses. [RFC 8200] [RFC 4291]

`Ipv6Repr` is the fixed header; `walk` goes through the extension headers behind it, as far as
the first one that belongs to somebody else (TCP, UDP, ICMPv6) or a fragment.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final

from leulo.net.wire import Buffer, ParseError

HEADER_BYTES: Final = 40
FRAGMENT_BYTES: Final = 8
MAX_PAYLOAD_BYTES: Final = 65_535
MIN_MTU: Final = 1280

HOP_BY_HOP: Final = 0
ROUTING: Final = 43
FRAGMENT: Final = 44
PROTOCOL_ICMPV6: Final = 58
NO_NEXT_HEADER: Final = 59
DESTINATION_OPTIONS: Final = 60
MAX_EXTENSIONS: Final = 8  # a chain longer than any honest one

UNSPECIFIED: Final = bytes(16)
LOOPBACK: Final = bytes(15) + b"\x01"
ALL_NODES: Final = b"\xff\x02" + bytes(13) + b"\x01"
ALL_ROUTERS: Final = b"\xff\x02" + bytes(13) + b"\x02"
_SOLICITED: Final = b"\xff\x02" + bytes(9) + b"\x01\xff"
_LINK_LOCAL: Final = b"\xfe\x80" + bytes(6)
_MAPPED: Final = bytes(10) + b"\xff\xff"

_HEADER: Final = Struct("!IHBB16s16s")
_FRAGMENT: Final = Struct("!BxHI")
_MORE: Final = 1
_OPTION_PAD1: Final = 0


# -- addresses


def is_multicast(address: Buffer) -> bool:
    return address[0] == 0xFF


def is_link_local(address: Buffer) -> bool:
    return address[0] == 0xFE and address[1] & 0xC0 == 0x80


def is_mapped(address: Buffer) -> bool:
    """Does it stand for an address of IPv4? Those are for sockets, not for a link.
    [RFC 4291 2.5.5.2]"""
    return address[:12] == _MAPPED


def solicited_node(address: Buffer) -> bytes:
    """The group that the owner of ``address`` listens to. [RFC 4291 2.7.1]"""
    return _SOLICITED + bytes(address[13:])


def multicast_mac(address: Buffer) -> bytes:
    """The Ethernet address of a group. [RFC 2464 7]"""
    return b"\x33\x33" + bytes(address[12:])


def interface_identifier(mac: bytes) -> bytes:
    """The modified EUI-64 of a MAC. [RFC 4291 A]"""
    return bytes((mac[0] ^ 2,)) + mac[1:3] + b"\xff\xfe" + mac[3:]


def link_local(mac: bytes) -> bytes:
    """The link-local address of an interface. [RFC 4862 5.3]"""
    return _LINK_LOCAL + interface_identifier(mac)


def has_prefix(address: Buffer, prefix: Buffer, length: int) -> bool:
    """Are the first ``length`` bits of both the same?"""
    shift = 128 - length
    return int.from_bytes(address, "big") >> shift == int.from_bytes(prefix, "big") >> shift


# -- headers


@dataclass
class Ipv6Repr:
    """A valid fixed header. ``payload_bytes`` is what it promises behind itself."""

    source: bytes
    destination: bytes
    next_header: int
    payload_bytes: int
    hop_limit: int = 64
    traffic_class: int = 0
    flow_label: int = 0

    @classmethod
    def parse(cls, data: Buffer, at_most: int | None = None) -> Ipv6Repr:
        """Bytes beyond the payload are link padding; ``at_most`` replaces the length of ``data``
        where only the beginning of a packet is there, as quoted in an ICMPv6 error. Raises
        ParseError: ``ipv6_short``, ``ipv6_version``, ``ipv6_length``."""
        if len(data) < HEADER_BYTES:
            raise ParseError("ipv6_short")
        word, length, next_header, hop_limit, source, destination = _HEADER.unpack_from(data)
        if word >> 28 != 6:
            raise ParseError("ipv6_version")
        if HEADER_BYTES + length > (len(data) if at_most is None else at_most):
            raise ParseError("ipv6_length")
        return cls(
            source, destination, next_header, length, hop_limit, word >> 20 & 0xFF, word & 0xFFFFF
        )

    def emit(self) -> bytes:
        return _HEADER.pack(
            6 << 28 | self.traffic_class << 20 | self.flow_label, self.payload_bytes,
            self.next_header, self.hop_limit, self.source, self.destination,
        )  # fmt: skip


@dataclass
class FragmentRepr:
    """A fragment header. ``offset`` is in bytes."""

    next_header: int
    offset: int
    has_more: bool
    identification: int

    @property
    def is_atomic(self) -> bool:
        """A whole packet that calls itself a fragment. [RFC 6946]"""
        return not self.offset and not self.has_more

    @classmethod
    def parse(cls, data: Buffer) -> FragmentRepr:
        """Raises ParseError ``ipv6_fragment_short``."""
        if len(data) < FRAGMENT_BYTES:
            raise ParseError("ipv6_fragment_short")
        next_header, word, identification = _FRAGMENT.unpack_from(data)
        return cls(next_header, word & ~7, bool(word & _MORE), identification)

    def emit(self) -> bytes:
        return _FRAGMENT.pack(
            self.next_header, self.offset | (_MORE if self.has_more else 0), self.identification
        )


class BadHeader(ParseError):
    """A header that its sender has to be told of: an ICMPv6 parameter problem with this code
    about the byte at ``pointer``, counted from the IPv6 header. [RFC 4443 3.4]"""

    def __init__(self, reason: str, code: int, pointer: int, to_multicast: bool = False) -> None:
        super().__init__(reason)
        self.code: int = code
        self.pointer: int = pointer
        self.to_multicast: bool = to_multicast  # it is told even of what went to a group


@dataclass
class Upper:
    """What is behind the extension headers: its protocol, where it begins in the packet, and the
    place that named it."""

    protocol: int
    at: int
    named_at: int


def walk(packet: Buffer, end: int, first: int | None = None, at: int = HEADER_BYTES) -> Upper:
    """Go through the extension headers of ``packet[:end]`` as their receiver; stops before a
    fragment header. [RFC 8200 4]

    ``first`` and ``at``: begin with this kind of header there. Raises BadHeader for what the
    sender has to be told, ParseError for what is only dropped: ``ipv6_extension_short``,
    ``ipv6_extensions`` (too many), ``ipv6_option``.
    """
    is_start = first is None
    kind = packet[6] if first is None else first
    named_at = 6 if is_start else at
    for _ in range(MAX_EXTENSIONS):
        if kind == HOP_BY_HOP:
            if not (is_start and at == HEADER_BYTES):
                raise BadHeader("ipv6_next_header", 1, named_at)  # it comes first or not at all
        elif kind not in (ROUTING, DESTINATION_OPTIONS):
            return Upper(kind, at, named_at)
        if at + 2 > end:
            raise ParseError("ipv6_extension_short")
        length = (packet[at + 1] + 1) * 8
        if at + length > end:
            raise ParseError("ipv6_extension_short")
        if kind == ROUTING:
            # Type 0 is not followed, nor any other: this is a host. [RFC 5095 3] [RFC 8200 4.4]
            if packet[at + 3]:
                raise BadHeader("ipv6_routing", 0, at + 2)
        else:
            _check_options(packet, at + 2, at + length)
        named_at = at
        kind = packet[at]
        at += length
    raise ParseError("ipv6_extensions")


def _check_options(packet: Buffer, at: int, end: int) -> None:
    """No option is known here but padding; the top bits of the others say what to do with the
    packet. [RFC 8200 4.2]"""
    while at < end:
        kind = packet[at]
        if kind == _OPTION_PAD1:
            at += 1
            continue
        if at + 2 > end or at + 2 + packet[at + 1] > end:
            raise ParseError("ipv6_option")
        action = kind >> 6
        if action == 1:
            raise ParseError("ipv6_option")
        if action > 1:
            raise BadHeader("ipv6_option", 2, at, action == 2)
        at += 2 + packet[at + 1]
