"""ICMPv6 messages. [RFC 4443]"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final

from leulo.net.wire import Buffer, ParseError
from leulo.net.wire.checksum import checksum, pseudo_header
from leulo.net.wire.ipv6 import PROTOCOL_ICMPV6

HEADER_BYTES: Final = 8

DESTINATION_UNREACHABLE: Final = 1
PACKET_TOO_BIG: Final = 2
TIME_EXCEEDED: Final = 3
PARAMETER_PROBLEM: Final = 4
ECHO_REQUEST: Final = 128
ECHO_REPLY: Final = 129
ROUTER_SOLICITATION: Final = 133
ROUTER_ADVERTISEMENT: Final = 134
NEIGHBOUR_SOLICITATION: Final = 135
NEIGHBOUR_ADVERTISEMENT: Final = 136
REDIRECT: Final = 137
FIRST_INFORMATIONAL: Final = 128

# Codes of DESTINATION_UNREACHABLE
NO_ROUTE: Final = 0
PROHIBITED: Final = 1
ADDRESS_UNREACHABLE: Final = 3
PORT_UNREACHABLE: Final = 4
# Codes of TIME_EXCEEDED
REASSEMBLY_EXCEEDED: Final = 1
# Codes of PARAMETER_PROBLEM
BAD_FIELD: Final = 0
UNKNOWN_NEXT_HEADER: Final = 1
INCOMPLETE_FIRST_FRAGMENT: Final = 3

_HEADER: Final = Struct("!BBHI")


@dataclass
class Icmpv6Repr:
    """A message with a right checksum. ``rest`` is the header's second word; ``payload`` is the
    echoed data, the packet that an error quotes, or what neighbour discovery says."""

    kind: int
    code: int
    rest: int
    payload: bytes

    @property
    def is_error(self) -> bool:
        return self.kind < FIRST_INFORMATIONAL

    @classmethod
    def parse(
        cls, data: Buffer, source: bytes, destination: bytes, *, verify_checksum: bool = True
    ) -> Icmpv6Repr:
        """Raises ParseError: ``icmpv6_short``, ``icmpv6_checksum``."""
        if len(data) < HEADER_BYTES:
            raise ParseError("icmpv6_short")
        start = pseudo_header(source, destination, PROTOCOL_ICMPV6, len(data))
        if verify_checksum and checksum(data, start):
            raise ParseError("icmpv6_checksum")
        kind, code, _, rest = _HEADER.unpack_from(data)
        return cls(kind, code, rest, bytes(data[HEADER_BYTES:]))

    def emit(self, source: bytes, destination: bytes) -> bytes:
        message = _HEADER.pack(self.kind, self.code, 0, self.rest) + self.payload
        start = pseudo_header(source, destination, PROTOCOL_ICMPV6, len(message))
        return message[:2] + checksum(message, start).to_bytes(2, "big") + message[4:]
