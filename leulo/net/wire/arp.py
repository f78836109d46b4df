"""ARP packets for IPv4 over Ethernet. [RFC 826] [RFC 5227]"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final

from leulo.net.wire import Buffer, ParseError
from leulo.net.wire.ethernet import TYPE_IPV4, is_unicast

PACKET_BYTES: Final = 28
REQUEST: Final = 1
REPLY: Final = 2

_HARDWARE_ETHERNET: Final = 1
_HEADER: Final = Struct("!HHBBH")
_FIXED: Final = _HEADER.pack(_HARDWARE_ETHERNET, TYPE_IPV4, 6, 4, 0)[:6]


class ArpPacket:
    """Field access to an ARP packet (the payload of an Ethernet frame)."""

    __slots__ = ("data",)

    def __init__(self, data: Buffer) -> None:
        if len(data) < PACKET_BYTES:
            raise ParseError("arp_short")
        self.data: Buffer = data

    @property
    def operation(self) -> int:
        return self.data[6] << 8 | self.data[7]

    @property
    def sender_mac(self) -> bytes:
        return bytes(self.data[8:14])

    @property
    def sender_address(self) -> bytes:
        return bytes(self.data[14:18])

    @property
    def target_mac(self) -> bytes:
        return bytes(self.data[18:24])

    @property
    def target_address(self) -> bytes:
        return bytes(self.data[24:28])


@dataclass
class ArpRepr:
    """A valid request or reply whose sender is one station."""

    operation: int
    sender_mac: bytes
    sender_address: bytes
    target_mac: bytes
    target_address: bytes

    @classmethod
    def parse(cls, data: Buffer) -> ArpRepr:
        """Bytes after the 28th are Ethernet padding. Raises ParseError: ``arp_short``,
        ``arp_kind`` (not IPv4 over Ethernet), ``arp_operation``, ``arp_sender``."""
        packet = ArpPacket(data)
        if bytes(data[:6]) != _FIXED:
            raise ParseError("arp_kind")
        if packet.operation not in (REQUEST, REPLY):
            raise ParseError("arp_operation")
        if not is_unicast(packet.sender_mac):
            raise ParseError("arp_sender")
        return cls(
            packet.operation,
            packet.sender_mac,
            packet.sender_address,
            packet.target_mac,
            packet.target_address,
        )

    def emit(self) -> bytes:
        return b"".join(
            (
                _FIXED,
                self.operation.to_bytes(2, "big"),
                self.sender_mac,
                self.sender_address,
                self.target_mac,
                self.target_address,
            )
        )
