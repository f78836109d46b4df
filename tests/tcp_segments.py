"""TCP segments for tests: read and written without the engine's help, and judged by scapy.
[RFC 9293 3.1] [RFC 7323 2, 3] [RFC 2018 2, 3]
"""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import Struct

from leulo.net.wire import Buffer, ParseError
from leulo.net.wire.checksum import checksum, pseudo_header
from leulo.net.wire.ipv4 import PROTOCOL_TCP
from leulo.net.wire.tcp import (
    CHECKSUM_OFFSET,
    HEADER_BYTES,
    OPTION_END,
    OPTION_MSS,
    OPTION_NOP,
    OPTION_SACK,
    OPTION_SACK_PERMITTED,
    OPTION_TIMESTAMPS,
    OPTION_WINDOW_SCALE,
    TcpPacket,
)

_HEADER = Struct("!HHIIHHHH")

Option = tuple[int, bytes]  # kind and data; END and NOP have no data


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
