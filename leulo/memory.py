"""Guest-physical RAM: one anonymous mapping, shared with the CPU, addressed from zero.

Everything that reads guest memory on behalf of the guest goes through ``check``, so that no
address from a guest reaches outside its RAM. Addresses and lengths are in bytes.
"""

from __future__ import annotations

import mmap
from typing import Final

PAGE_BYTES: Final = 4096


class BadAddress(Exception):
    """A guest-physical range that is not all RAM."""


class Memory:
    """``size`` bytes of RAM; ``view`` is a writable memoryview of all of it."""

    def __init__(self, size: int) -> None:
        if size <= 0 or size % PAGE_BYTES:
            raise ValueError(f"RAM must be a positive multiple of {PAGE_BYTES} bytes, not {size}")
        self.size = size
        self.mapping = mmap.mmap(-1, size)
        self.view = memoryview(self.mapping)

    def check(self, address: int, length: int) -> None:
        """Raise `BadAddress` unless the whole range is RAM (an empty one must start in RAM)."""
        if address < 0 or length < 0 or address + length > self.size:
            raise BadAddress(f"{length} bytes at {address:#x} are not RAM")

    def read(self, address: int, length: int) -> bytes:
        """A copy of the range. Raises `BadAddress`."""
        self.check(address, length)
        return bytes(self.view[address : address + length])

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Put ``data`` at ``address``. Raises `BadAddress` and then writes nothing."""
        self.check(address, len(data))
        self.view[address : address + len(data)] = data

    def clear(self) -> None:
        """Zero all of it, as at power-on."""
        zeros = bytes(1 << 20)
        for address in range(0, self.size, len(zeros)):
            part = min(len(zeros), self.size - address)
            self.view[address : address + part] = zeros[:part]
