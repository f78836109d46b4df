"""TCP headers and options. [RFC 9293 3.1] [RFC 7323 2, 3] [RFC 2018 2, 3] [RFC 7413 4.1.1]

For tools, captures and tests; the engine reads and writes its segments itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import Struct
from typing import Final

from leulo.net.wire import Buffer, ParseError
from leulo.net.wire.checksum import checksum, pseudo_header
from leulo.net.wire.ipv4 import PROTOCOL_TCP

HEADER_BYTES: Final = 20
MAX_HEADER_BYTES: Final = 60
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

FLAG_NAMES: Final = (
    (FIN, "FIN"),
    (SYN, "SYN"),
    (RST, "RST"),
    (PSH, "PSH"),
    (ACK, "ACK"),
    (URG, "URG"),
    (ECE, "ECE"),
    (CWR, "CWR"),
    (AE, "AE"),
)

OPTION_END: Final = 0
OPTION_NOP: Final = 1
OPTION_MSS: Final = 2
OPTION_WINDOW_SCALE: Final = 3
OPTION_SACK_PERMITTED: Final = 4
OPTION_SACK: Final = 5
OPTION_TIMESTAMPS: Final = 8
OPTION_FAST_OPEN: Final = 34

_HEADER: Final = Struct("!HHIIHHHH")
_PAIR: Final = Struct("!II")

Option = tuple[int, bytes]  # kind and data; END and NOP have no data


def format_flags(flags: int) -> str:
    """``SYN,ACK``; ``-`` for none."""
    return ",".join(name for bit, name in FLAG_NAMES if flags & bit) or "-"


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
    def checksum(self) -> int:
        return self.data[16] << 8 | self.data[17]

    @property
    def urgent(self) -> int:
        return self.data[18] << 8 | self.data[19]

    @property
    def options(self) -> Buffer:
        return self.data[HEADER_BYTES : self.header_bytes]

    @property
    def payload(self) -> Buffer:
        return self.data[self.header_bytes :]


def parse_options(data: Buffer) -> list[Option]:
    """The options in order, NOPs included, up to END. Raises ParseError: ``tcp_options``."""
    options: list[Option] = []
    at = 0
    while at < len(data):
        kind = data[at]
        if kind == OPTION_END:
            break
        if kind == OPTION_NOP:
            options.append((kind, b""))
            at += 1
            continue
        if at + 1 >= len(data):
            raise ParseError("tcp_options")
        length = data[at + 1]
        if length < 2 or at + length > len(data):
            raise ParseError("tcp_options")
        options.append((kind, bytes(data[at + 2 : at + length])))
        at += length
    return options


def emit_options(options: list[Option]) -> bytes:
    """The options, padded with END to a multiple of 4 bytes. The caller keeps to 40 bytes."""
    data = b"".join(
        bytes((kind,)) if kind in (OPTION_END, OPTION_NOP) else bytes((kind, len(body) + 2)) + body
        for kind, body in options
    )
    return data + bytes(-len(data) & 3)


def mss(value: int) -> Option:
    return OPTION_MSS, value.to_bytes(2, "big")


def window_scale(shift: int) -> Option:
    return OPTION_WINDOW_SCALE, bytes((shift,))


def sack_permitted() -> Option:
    return OPTION_SACK_PERMITTED, b""


def timestamps(value: int, echo: int) -> Option:
    return OPTION_TIMESTAMPS, _PAIR.pack(value, echo)


def sack(blocks: list[tuple[int, int]]) -> Option:
    return OPTION_SACK, b"".join(_PAIR.pack(left, right) for left, right in blocks)


NOP: Final[Option] = (OPTION_NOP, b"")


@dataclass
class TcpRepr:
    """A valid header. ``options`` keeps the order and all kinds; the properties read the usual
    ones and give None for one that is absent or has a wrong length."""

    source_port: int
    destination_port: int
    sequence: int = 0
    acknowledgment: int = 0
    flags: int = 0
    window: int = 0  # as in the header, unscaled
    urgent: int = 0
    options: list[Option] = field(default_factory=list)

    @classmethod
    def parse(
        cls, data: Buffer, source: bytes, destination: bytes, *, verify_checksum: bool = True
    ) -> TcpRepr:
        """``source`` and ``destination`` are the IP addresses. Raises ParseError: ``tcp_short``,
        ``tcp_header_length``, ``tcp_checksum``, ``tcp_options``."""
        packet = TcpPacket(data)
        if not HEADER_BYTES <= packet.header_bytes <= len(data):
            raise ParseError("tcp_header_length")
        if verify_checksum:
            start = pseudo_header(source, destination, PROTOCOL_TCP, len(data))
            if checksum(data, start):
                raise ParseError("tcp_checksum")
        return cls(
            packet.source_port,
            packet.destination_port,
            packet.sequence,
            packet.acknowledgment,
            packet.flags,
            packet.window,
            packet.urgent,
            parse_options(packet.options),
        )

    def emit(self, source: bytes, destination: bytes, payload: Buffer = b"") -> bytes:
        """The whole segment with its checksum. The caller keeps the options to 40 bytes."""
        options = emit_options(self.options)
        header_bytes = HEADER_BYTES + len(options)
        header = _HEADER.pack(
            self.source_port,
            self.destination_port,
            self.sequence,
            self.acknowledgment,
            header_bytes << 10 | self.flags,
            self.window,
            0,
            self.urgent,
        )
        segment = b"".join((header, options, payload))
        start = pseudo_header(source, destination, PROTOCOL_TCP, len(segment))
        value = checksum(segment, start).to_bytes(2, "big")
        return segment[:CHECKSUM_OFFSET] + value + segment[CHECKSUM_OFFSET + 2 :]

    def option(self, kind: int, length: int) -> bytes | None:
        """The data of the first option of this kind, if it has ``length`` bytes."""
        for known, body in self.options:
            if known == kind:
                return body if len(body) == length else None
        return None

    @property
    def mss(self) -> int | None:
        body = self.option(OPTION_MSS, 2)
        return None if body is None else int.from_bytes(body, "big")

    @property
    def window_scale(self) -> int | None:
        body = self.option(OPTION_WINDOW_SCALE, 1)
        return None if body is None else body[0]

    @property
    def is_sack_permitted(self) -> bool:
        return self.option(OPTION_SACK_PERMITTED, 0) is not None

    @property
    def timestamps(self) -> tuple[int, int] | None:
        """Value and echo reply."""
        body = self.option(OPTION_TIMESTAMPS, 8)
        if body is None:
            return None
        return int.from_bytes(body[:4], "big"), int.from_bytes(body[4:], "big")

    @property
    def sack_blocks(self) -> list[tuple[int, int]]:
        for kind, body in self.options:
            if kind == OPTION_SACK and len(body) % 8 == 0:
                return [
                    (
                        int.from_bytes(body[i : i + 4], "big"),
                        int.from_bytes(body[i + 4 : i + 8], "big"),
                    )
                    for i in range(0, len(body), 8)
                ]
        return []

    def __str__(self) -> str:
        return (
            f"{self.source_port} > {self.destination_port} {format_flags(self.flags)} "
            f"seq {self.sequence} ack {self.acknowledgment} win {self.window}"
        )
