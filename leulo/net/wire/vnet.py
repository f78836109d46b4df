"""struct virtio_net_hdr, the ten bytes before every frame on a link. [virtio 1.2 5.1.6]

It says what is left to do: fill a checksum (``csum_start``, ``csum_offset``, both counted from
the Ethernet header's first byte), cut a super-segment (``gso_type``, ``gso_size`` in payload
bytes). The legacy layout of ten bytes in little-endian order is used everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final

from leulo.net.wire import Buffer, ParseError

HEADER_BYTES: Final = 10

F_NEEDS_CSUM: Final = 1  # csum_start and csum_offset are valid, the checksum is partial
F_DATA_VALID: Final = 2  # the checksum has been verified

GSO_NONE: Final = 0
GSO_TCPV4: Final = 1
GSO_UDP: Final = 3
GSO_TCPV6: Final = 4
GSO_ECN: Final = 0x80  # a bit on top of the type: CWR is set and belongs to the first segment

HEADER: Final = Struct("<BBHHHH")  # flags gso_type hdr_len gso_size csum_start csum_offset
PLAIN: Final = bytes(HEADER_BYTES)  # nothing is left to do


@dataclass
class VnetRepr:
    """What the sender of a frame left to do; `parse` checks it against the frame's length."""

    flags: int = 0
    gso_type: int = GSO_NONE
    header_bytes: int = 0
    gso_size: int = 0
    csum_start: int = 0
    csum_offset: int = 0

    @classmethod
    def parse(cls, data: Buffer, frame_bytes: int) -> VnetRepr:
        """``data`` begins with the header; ``frame_bytes`` is the length of the Ethernet frame
        behind it. Raises ParseError: ``vnet_short``, ``vnet_checksum_place``, ``vnet_gso``."""
        if len(data) < HEADER_BYTES:
            raise ParseError("vnet_short")
        flags, gso_type, header_bytes, gso_size, start, offset = HEADER.unpack_from(data)
        if flags & F_NEEDS_CSUM and start + offset + 2 > frame_bytes:
            raise ParseError("vnet_checksum_place")
        if gso_type != GSO_NONE and gso_size == 0:
            raise ParseError("vnet_gso")
        return cls(flags, gso_type, header_bytes, gso_size, start, offset)

    def emit(self) -> bytes:
        return HEADER.pack(
            self.flags,
            self.gso_type,
            self.header_bytes,
            self.gso_size,
            self.csum_start,
            self.csum_offset,
        )
