"""ICMP messages for IPv4. [RFC 792] [RFC 1122 3.2.2] [RFC 1191 4]"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final

from leulo.net.wire import Buffer, ParseError
from leulo.net.wire.checksum import checksum

HEADER_BYTES: Final = 8

ECHO_REPLY: Final = 0
DESTINATION_UNREACHABLE: Final = 3
SOURCE_QUENCH: Final = 4
REDIRECT: Final = 5
ECHO_REQUEST: Final = 8
TIME_EXCEEDED: Final = 11
PARAMETER_PROBLEM: Final = 12

ERRORS: Final = (
    DESTINATION_UNREACHABLE,
    SOURCE_QUENCH,
    REDIRECT,
    TIME_EXCEEDED,
    PARAMETER_PROBLEM,
)

# Codes of DESTINATION_UNREACHABLE
NET_UNREACHABLE: Final = 0
HOST_UNREACHABLE: Final = 1
PROTOCOL_UNREACHABLE: Final = 2
PORT_UNREACHABLE: Final = 3
FRAGMENTATION_NEEDED: Final = 4
SOURCE_ROUTE_FAILED: Final = 5
# Codes of TIME_EXCEEDED
TTL_EXCEEDED: Final = 0
REASSEMBLY_EXCEEDED: Final = 1

_HEADER: Final = Struct("!BBHI")


class IcmpPacket:
    """Field access to a message; ``data`` begins with the type."""

    __slots__ = ("data",)

    def __init__(self, data: Buffer) -> None:
        if len(data) < HEADER_BYTES:
            raise ParseError("icmp_short")
        self.data: Buffer = data

    @property
    def kind(self) -> int:
        return self.data[0]

    @property
    def code(self) -> int:
        return self.data[1]

    @property
    def checksum(self) -> int:
        return self.data[2] << 8 | self.data[3]

    @property
    def rest(self) -> int:
        """The second word of the header: identifier and sequence, or the next hop's MTU."""
        return int.from_bytes(self.data[4:8], "big")

    @property
    def payload(self) -> Buffer:
        return self.data[HEADER_BYTES:]


@dataclass
class IcmpRepr:
    """A message with a right checksum. ``rest`` is the header's second word; ``payload`` is the
    echoed data, or the packet that an error quotes."""

    kind: int
    code: int
    rest: int
    payload: bytes

    @property
    def is_error(self) -> bool:
        return self.kind in ERRORS

    @property
    def identifier(self) -> int:
        """Of an echo request or reply."""
        return self.rest >> 16

    @property
    def sequence(self) -> int:
        """Of an echo request or reply."""
        return self.rest & 0xFFFF

    @property
    def next_hop_mtu(self) -> int:
        """Bytes, of FRAGMENTATION_NEEDED; 0 from an old router. [RFC 1191 4]"""
        return self.rest & 0xFFFF

    @classmethod
    def parse(cls, data: Buffer) -> IcmpRepr:
        """Raises ParseError: ``icmp_short``, ``icmp_checksum``."""
        packet = IcmpPacket(data)
        if checksum(data):
            raise ParseError("icmp_checksum")
        return cls(packet.kind, packet.code, packet.rest, bytes(packet.payload))

    def emit(self) -> bytes:
        message = _HEADER.pack(self.kind, self.code, 0, self.rest) + self.payload
        return message[:2] + checksum(message).to_bytes(2, "big") + message[4:]
