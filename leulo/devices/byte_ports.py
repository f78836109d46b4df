"""The ISA bus's way with chips that have eight data lines.

A wider access to such a chip is carried out as byte accesses to consecutive offsets, lowest
first. A chip derives from `BytePorts` and thinks in bytes; an offset it does not own reads all
ones and swallows writes.
"""

from __future__ import annotations

from typing import ClassVar, Final

from mypy_extensions import mypyc_attr

FLOATING: Final = 0xFF  # what a data bus that nobody drives reads


@mypyc_attr(allow_interpreted_subclasses=True)
class BytePorts:
    """``LENGTH`` byte-wide registers, seen by a bus that may ask for 1, 2 or 4 bytes."""

    LENGTH: ClassVar[int] = 1

    def read_byte(self, offset: int) -> int:
        """The register at ``offset`` (0 to LENGTH - 1), with the chip's side effects."""
        return FLOATING

    def write_byte(self, offset: int, value: int) -> None:
        """Put ``value`` (0 to 255) into the register at ``offset``."""

    def peek_byte(self, offset: int) -> int:
        """What `read_byte` would return now, without its side effects."""
        return FLOATING

    def read(self, offset: int, width: int) -> int:
        if width == 1 and 0 <= offset < self.LENGTH:
            return self.read_byte(offset)
        value = 0
        for i in range(width):
            byte = self.read_byte(offset + i) if 0 <= offset + i < self.LENGTH else FLOATING
            value |= byte << 8 * i
        return value

    def write(self, offset: int, width: int, value: int) -> None:
        for i in range(width):
            if 0 <= offset + i < self.LENGTH:
                self.write_byte(offset + i, value >> 8 * i & 0xFF)

    def peek(self, offset: int, width: int) -> int:
        value = 0
        for i in range(width):
            byte = self.peek_byte(offset + i) if 0 <= offset + i < self.LENGTH else FLOATING
            value |= byte << 8 * i
        return value
