"""TCP headers: their fields, flags and kinds of options. [RFC 9293 3.1] [RFC 7323 2, 3]
[RFC 2018 2, 3] [RFC 7413 4.1.1]

For links and scripts; the engine reads and writes its segments itself.
"""

from __future__ import annotations

from typing import Final

from leulo.net.wire import Buffer, ParseError

HEADER_BYTES: Final = 20
MAX_OPTION_BYTES: Final = 40
CHECKSUM_OFFSET: Final = 16

FIN: Final = 0x01
SYN: Final = 0x02
RST: Final = 0x04
PSH: Final = 0x08
ACK: Final = 0x10
URG: Final = 0x20
ECE: Final = 0x40
CWR: Final = 0x80
AE: Final = 0x100

OPTION_END: Final = 0
OPTION_NOP: Final = 1
OPTION_MSS: Final = 2
OPTION_WINDOW_SCALE: Final = 3
OPTION_SACK_PERMITTED: Final = 4
OPTION_SACK: Final = 5
OPTION_TIMESTAMPS: Final = 8
OPTION_FAST_OPEN: Final = 34


class TcpPacket:
    """Field access to a segment; ``data`` begins with the source port."""

    __slots__ = ("data",)

    def __init__(self, data: Buffer) -> None:
        if len(data) < HEADER_BYTES:
            raise ParseError("tcp_short")
        self.data: Buffer = data

    @property
    def source_port(self) -> int:
        return self.data[0] << 8 | self.data[1]

    @property
    def destination_port(self) -> int:
        return self.data[2] << 8 | self.data[3]

    @property
    def sequence(self) -> int:
        return int.from_bytes(self.data[4:8], "big")

    @property
    def acknowledgment(self) -> int:
        return int.from_bytes(self.data[8:12], "big")

    @property
    def header_bytes(self) -> int:
        return (self.data[12] >> 4) * 4

    @property
    def flags(self) -> int:
        return (self.data[12] & 1) << 8 | self.data[13]

    @property
    def window(self) -> int:
        return self.data[14] << 8 | self.data[15]

    @property
    def urgent(self) -> int:
        return self.data[18] << 8 | self.data[19]

    @property
    def options(self) -> Buffer:
        return self.data[HEADER_BYTES : self.header_bytes]

    @property
    def payload(self) -> Buffer:
        return self.data[self.header_bytes :]
