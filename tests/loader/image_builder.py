"""Builds small multiboot images, right or wrong in one place, for the loader's tests."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field


@dataclass
class Piece:
    """A segment to be."""

    address: int
    contents: bytes
    memory_bytes: int = 0
    virtual_address: int | None = None


@dataclass
class ImageBuilder:
    """Every field can be set to something else before `build`."""

    entry: int = 0x100010
    flags: int = 3
    magic: int = 0x1BADB002
    checksum_error: int = 0
    machine: int = 3
    kind: int = 2
    program_header_bytes: int = 32
    pieces: list[Piece] = field(default_factory=list)
    header_padding: int = 0

    def build(self) -> bytes:
        checksum = -(self.magic + self.flags) + self.checksum_error & 0xFFFFFFFF
        header = struct.pack("<3I", self.magic, self.flags, checksum)
        pieces = self.pieces or [
            Piece(0x100000, bytes(self.header_padding) + header + b"\x90\x90\xf4" * 50, 0x2000)
        ]
        at = 52 + 32 * len(pieces)
        table, body = b"", b""
        for piece in pieces:
            body += bytes(-(at + len(body)) % 16)
            virtual = piece.address if piece.virtual_address is None else piece.virtual_address
            table += struct.pack(
                "<8I",
                1,
                at + len(body),
                virtual,
                piece.address,
                len(piece.contents),
                max(piece.memory_bytes, len(piece.contents)),
                7,
                16,
            )
            body += piece.contents
        elf = b"\x7fELF\x01\x01\x01" + bytes(9) + struct.pack(
            "<HHIIIIIHHHHHH",
            self.kind,
            self.machine,
            1,
            self.entry,
            52,
            0,
            0,
            52,
            self.program_header_bytes,
            len(pieces),
            40,
            0,
            0,
        )  # fmt: skip
        return elf + table + body

    def header(self) -> bytes:
        """A right multiboot header, for pieces of one's own."""
        return struct.pack("<3I", 0x1BADB002, self.flags, -(0x1BADB002 + self.flags) & 0xFFFFFFFF)
