"""UDP headers. [RFC 768] [RFC 1122 4.1]"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final

from leulo.net.wire import Buffer, ParseError
from leulo.net.wire.checksum import checksum, pseudo_header
from leulo.net.wire.ipv4 import PROTOCOL_UDP

HEADER_BYTES: Final = 8
CHECKSUM_OFFSET: Final = 6
_HEADER: Final = Struct("!HHHH")


class UdpPacket:
    """Field access to a datagram; ``data`` begins with the source port."""

    __slots__ = ("data",)

    def __init__(self, data: Buffer) -> None:
        if len(data) < HEADER_BYTES:
            raise ParseError("udp_short")
        self.data: Buffer = data

    @property
    def source_port(self) -> int:
        return self.data[0] << 8 | self.data[1]

    @property
    def destination_port(self) -> int:
        return self.data[2] << 8 | self.data[3]

    @property
    def length(self) -> int:
        return self.data[4] << 8 | self.data[5]

    @property
    def checksum(self) -> int:
        return self.data[6] << 8 | self.data[7]

    @property
    def payload(self) -> Buffer:
        return self.data[HEADER_BYTES : self.length]


@dataclass
class UdpRepr:
    """A valid datagram header."""

    source_port: int
    destination_port: int
    payload_bytes: int

    @classmethod
    def parse(
        cls, data: Buffer, source: bytes, destination: bytes, *, verify_checksum: bool = True
    ) -> UdpRepr:
        """``source`` and ``destination`` are the IP addresses. A zero checksum means that none
        was made. Raises ParseError: ``udp_short``, ``udp_length``, ``udp_checksum``."""
        packet = UdpPacket(data)
        length = packet.length
        if not HEADER_BYTES <= length <= len(data):
            raise ParseError("udp_length")
        if verify_checksum and packet.checksum:
            start = pseudo_header(source, destination, PROTOCOL_UDP, length)
            if checksum(data[:length], start):
                raise ParseError("udp_checksum")
        return cls(packet.source_port, packet.destination_port, length - HEADER_BYTES)

    def emit(self, source: bytes, destination: bytes, payload: Buffer) -> bytes:
        """The whole datagram with its checksum, which is never sent as zero. [RFC 768]"""
        length = HEADER_BYTES + len(payload)
        datagram = _HEADER.pack(self.source_port, self.destination_port, length, 0) + payload
        start = pseudo_header(source, destination, PROTOCOL_UDP, length)
        value = checksum(datagram, start) or 0xFFFF
        return datagram[:6] + value.to_bytes(2, "big") + datagram[8:]
