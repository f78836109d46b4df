"""IPv4 headers. [RFC 791 3.1] [RFC 1122 3.2.1]"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final

from leulo.net.wire import Buffer, ParseError
from leulo.net.wire.checksum import checksum

HEADER_BYTES: Final = 20
MAX_PACKET_BYTES: Final = 65_535

PROTOCOL_ICMP: Final = 1
PROTOCOL_TCP: Final = 6
PROTOCOL_UDP: Final = 17

OPTION_END: Final = 0
OPTION_NOP: Final = 1
OPTION_LOOSE_SOURCE_ROUTE: Final = 131
OPTION_STRICT_SOURCE_ROUTE: Final = 137

FLAG_DONT_FRAGMENT: Final = 0x4000
FLAG_MORE_FRAGMENTS: Final = 0x2000
OFFSET_MASK: Final = 0x1FFF

UNSPECIFIED: Final = bytes(4)
LIMITED_BROADCAST: Final = b"\xff\xff\xff\xff"

_HEADER: Final = Struct("!BBHHHBBH4s4s")


def is_loopback(address: Buffer) -> bool:
    """127.0.0.0/8, which must not appear outside a host. [RFC 1122 3.2.1.3]"""
    return address[0] == 127


def is_unicast(address: Buffer) -> bool:
    """True for an address that one host on a network can have."""
    first = address[0]
    return 0 < first < 0xE0 and first != 127


def parse_ipv4(text: str) -> bytes:
    """The four bytes of ``10.0.2.15``. Raises ValueError with a sentence."""
    parts = text.split(".")
    if len(parts) == 4 and all(
        p.isascii() and p.isdigit() and len(p) <= 3 and int(p) < 256 for p in parts
    ):
        return bytes(int(p) for p in parts)
    raise ValueError(f"{text!r} is not an IPv4 address: write four numbers joined by points")


class Ipv4Packet:
    """Field access to a packet; ``data`` begins with the header."""

    __slots__ = ("data",)

    def __init__(self, data: Buffer) -> None:
        if len(data) < HEADER_BYTES:
            raise ParseError("ipv4_short")
        self.data: Buffer = data

    @property
    def version(self) -> int:
        return self.data[0] >> 4

    @property
    def header_bytes(self) -> int:
        return (self.data[0] & 15) * 4

    @property
    def traffic_class(self) -> int:
        return self.data[1]

    @property
    def total_bytes(self) -> int:
        return self.data[2] << 8 | self.data[3]

    @property
    def identification(self) -> int:
        return self.data[4] << 8 | self.data[5]

    @property
    def fragment_word(self) -> int:
        return self.data[6] << 8 | self.data[7]

    @property
    def ttl(self) -> int:
        return self.data[8]

    @property
    def protocol(self) -> int:
        return self.data[9]

    @property
    def checksum(self) -> int:
        return self.data[10] << 8 | self.data[11]

    @property
    def source(self) -> bytes:
        return bytes(self.data[12:16])

    @property
    def destination(self) -> bytes:
        return bytes(self.data[16:20])

    @property
    def options(self) -> bytes:
        return bytes(self.data[HEADER_BYTES : self.header_bytes])

    @property
    def payload(self) -> Buffer:
        """What follows the header, without link padding."""
        return self.data[self.header_bytes : self.total_bytes]


def has_source_route(options: Buffer) -> bool:
    """True if the options hold a source route, or cannot be walked. [RFC 791 3.1]"""
    at = 0
    while at < len(options):
        kind = options[at]
        if kind == OPTION_END:
            return False
        if kind == OPTION_NOP:
            at += 1
            continue
        if kind in (OPTION_LOOSE_SOURCE_ROUTE, OPTION_STRICT_SOURCE_ROUTE):
            return True
        if at + 1 >= len(options) or options[at + 1] < 2:
            return True
        at += options[at + 1]
    return at > len(options)


@dataclass
class Ipv4Repr:
    """A valid header. ``payload_bytes`` is what the header promises behind itself."""

    source: bytes
    destination: bytes
    protocol: int
    payload_bytes: int
    ttl: int = 64
    traffic_class: int = 0
    identification: int = 0
    dont_fragment: bool = False
    more_fragments: bool = False
    fragment_offset: int = 0  # in bytes
    options: bytes = b""

    @property
    def header_bytes(self) -> int:
        return HEADER_BYTES + len(self.options)

    @property
    def is_fragment(self) -> bool:
        return self.more_fragments or self.fragment_offset > 0

    @classmethod
    def parse(cls, data: Buffer, *, verify_checksum: bool = True) -> Ipv4Repr:
        """Bytes beyond the total length are link padding. Raises ParseError: ``ipv4_short``,
        ``ipv4_version``, ``ipv4_header_length``, ``ipv4_total_length``, ``ipv4_checksum``,
        ``ipv4_fragment`` (would end beyond 65,535 bytes, or not the last and not a multiple
        of 8 bytes)."""
        return cls.parse_quoted(data, len(data), verify_checksum=verify_checksum)

    @classmethod
    def parse_quoted(
        cls, data: Buffer, total_at_most: int, *, verify_checksum: bool = True
    ) -> Ipv4Repr:
        """As `parse`, for a packet of which only the beginning is there, as quoted in an ICMP
        error: the total length may be up to ``total_at_most``."""
        packet = Ipv4Packet(data)
        if packet.version != 4:
            raise ParseError("ipv4_version")
        header_bytes = packet.header_bytes
        if not HEADER_BYTES <= header_bytes <= len(data):
            raise ParseError("ipv4_header_length")
        total_bytes = packet.total_bytes
        if not header_bytes <= total_bytes <= total_at_most:
            raise ParseError("ipv4_total_length")
        if verify_checksum and checksum(data[:header_bytes]):
            raise ParseError("ipv4_checksum")
        word = packet.fragment_word
        payload_bytes = total_bytes - header_bytes
        offset = (word & OFFSET_MASK) * 8
        more = bool(word & FLAG_MORE_FRAGMENTS)
        if offset + payload_bytes + header_bytes > MAX_PACKET_BYTES or (
            more and (payload_bytes & 7 or payload_bytes == 0)
        ):
            raise ParseError("ipv4_fragment")
        return cls(
            packet.source,
            packet.destination,
            packet.protocol,
            payload_bytes,
            packet.ttl,
            packet.traffic_class,
            packet.identification,
            bool(word & FLAG_DONT_FRAGMENT),
            more,
            offset,
            packet.options,
        )

    def emit(self) -> bytes:
        """The header with its checksum. ``options`` must be a multiple of 4 bytes."""
        header_bytes = self.header_bytes
        word = (
            (FLAG_DONT_FRAGMENT if self.dont_fragment else 0)
            | (FLAG_MORE_FRAGMENTS if self.more_fragments else 0)
            | self.fragment_offset >> 3
        )
        header = (
            _HEADER.pack(
                0x40 | header_bytes >> 2,
                self.traffic_class,
                header_bytes + self.payload_bytes,
                self.identification,
                word,
                self.ttl,
                self.protocol,
                0,
                self.source,
                self.destination,
            )
            + self.options
        )
        return header[:10] + checksum(header).to_bytes(2, "big") + header[12:]
