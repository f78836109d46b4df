"""Ethernet II frames, without preamble and check sequence. [IEEE 802.3 3.2]"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from leulo.net.wire import Buffer, ParseError

HEADER_BYTES: Final = 14

TYPE_IPV4: Final = 0x0800
TYPE_ARP: Final = 0x0806
TYPE_IPV6: Final = 0x86DD
TYPE_FIRST: Final = 0x0600  # below: a length, not a type

BROADCAST: Final = b"\xff" * 6
UNSPECIFIED: Final = bytes(6)


def is_unicast(address: Buffer) -> bool:
    """True for an address that one station can have."""
    return not address[0] & 1 and address != UNSPECIFIED


class EthernetPacket:
    """Field access to a frame; ``data`` begins with the destination address."""

    __slots__ = ("data",)

    def __init__(self, data: Buffer) -> None:
        if len(data) < HEADER_BYTES:
            raise ParseError("ethernet_short")
        self.data: Buffer = data

    @property
    def destination(self) -> bytes:
        return bytes(self.data[0:6])

    @property
    def source(self) -> bytes:
        return bytes(self.data[6:12])

    @property
    def ethertype(self) -> int:
        return self.data[12] << 8 | self.data[13]

    @property
    def payload(self) -> Buffer:
        return self.data[HEADER_BYTES:]


@dataclass
class EthernetRepr:
    """A valid header: the source is a station's address and the type is a type."""

    destination: bytes
    source: bytes
    ethertype: int

    @classmethod
    def parse(cls, data: Buffer) -> EthernetRepr:
        """Raises ParseError: ``ethernet_short``, ``ethernet_source``, ``ethernet_length_field``."""
        packet = EthernetPacket(data)
        if not is_unicast(packet.source):
            raise ParseError("ethernet_source")
        if packet.ethertype < TYPE_FIRST:
            raise ParseError("ethernet_length_field")
        return cls(packet.destination, packet.source, packet.ethertype)

    def emit(self) -> bytes:
        return self.destination + self.source + self.ethertype.to_bytes(2, "big")
