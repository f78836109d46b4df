"""Guest memory and tables as a delivery sees them: at privilege level 0, with effects.

The page walk sets accessed and dirty bits and ends in #PF, as the engine's own does; it keeps no
TLB. Looking without effects is ``paging``'s.
"""

from __future__ import annotations

from typing import Final

from leulo.cpu import layout
from leulo.cpu.registers import CR0_PG, CR0_WP, CR4_PAE, CR4_PSE, EFER_NXE, Registers
from leulo.memory import PAGE_BYTES, Memory

PAGE_FAULT: Final = 14
INVALID_TSS: Final = 10
PRESENT: Final = 1 << 15  # of a descriptor's upper word
GRANULAR: Final = 1 << 23

_ADDRESS: Final = 0x000F_FFFF_FFFF_F000
_RESERVED: Final = 0x7FFF_FF00_0000_0000  # of a PAE entry, with addresses of 40 bits
_NX: Final = 1 << 63
_LARGE: Final = 1 << 7
_ACCESSED: Final = 1 << 5
_DIRTY: Final = 1 << 6
_CR2: Final = (layout.CPU_ENV + layout.ENV_CR) // 8 + 2


class Raised(Exception):
    """A fault on the way to a handler: its vector and error code."""

    def __init__(self, vector: int, code: int) -> None:
        self.vector = vector
        self.code = code


class Supervisor:
    """Reads and writes of 2 and 4 bytes; what is not RAM reads as ones and forgets."""

    def __init__(self, registers: Registers, memory: Memory) -> None:
        self._registers = registers
        self._state64 = registers.state64
        self._ram = memory.view
        self._size = memory.size

    def descriptor(self, selector: int, vector: int) -> tuple[int, int]:
        """The two words of a descriptor; where there is none, ``vector`` is raised."""
        _, base, limit, _ = self._registers.segment("ldt" if selector & 4 else "gdt")
        index = selector & 0xFFF8
        if index + 7 > limit:
            raise Raised(vector, selector & 0xFFFC)
        return self.read(base + index, 4), self.read(base + index + 4, 4)

    def stack_of(self, dpl: int) -> tuple[int, int]:
        """SS and ESP of an inner ring, from the TSS [SDM 3 7.2.1]."""
        selector, base, limit, flags = self._registers.segment("tr")
        if not flags & PRESENT or flags >> 8 & 7 != 1:
            raise Raised(INVALID_TSS, 0)
        size = 4 if flags >> 8 & 8 else 2
        at = dpl * 2 * size + size
        if at + 2 * size - 1 > limit:
            raise Raised(INVALID_TSS, selector & 0xFFFC)
        esp = self.read(base + at, size)
        return self.read(base + at + size, 2), esp

    def read(self, linear: int, size: int) -> int:
        linear &= 0xFFFFFFFF
        if linear % PAGE_BYTES + size <= PAGE_BYTES:
            at = self._translate(linear, False)
            if at + size <= self._size:
                return int.from_bytes(self._ram[at : at + size], "little")
        return int.from_bytes(self._pieces(linear, size, None), "little")

    def write(self, linear: int, value: int, size: int) -> None:
        data = (value & (1 << 8 * size) - 1).to_bytes(size, "little")
        if linear % PAGE_BYTES + size <= PAGE_BYTES:
            at = self._translate(linear & 0xFFFFFFFF, True)
            if at + size <= self._size:
                self._ram[at : at + size] = data
        else:
            self._pieces(linear, size, data)

    def _pieces(self, linear: int, size: int, data: bytes | None) -> bytes:
        """Read, or write ``data``; across pages both are translated before anything is written."""
        linear &= 0xFFFFFFFF
        first = min(size, PAGE_BYTES - linear % PAGE_BYTES)
        places = [(self._translate(linear, data is not None), first)]
        if first < size:
            over = (linear + first) & 0xFFFFFFFF
            places.append((self._translate(over, data is not None), size - first))
        found = b""
        for place, length in places:
            if place + length > self._size:
                found += b"\xff" * length
            elif data is None:
                found += self._ram[place : place + length]
            else:
                self._ram[place : place + length] = data[:length]
                data = data[length:]
        return found

    def _translate(self, linear: int, is_write: bool) -> int:
        """The page walk with its effects: accessed and dirty bits, or #PF [SDM 3 4.7]."""
        registers = self._registers
        if not registers.cr0 & CR0_PG:
            return linear
        is_pae = registers.cr4 & CR4_PAE != 0
        size, bits = (8, 9) if is_pae else (4, 10)
        nx = 0 if registers.efer & EFER_NXE else _NX
        reserved = (_RESERVED | nx) if is_pae else 0
        table = registers.cr3 & 0xFFFFF000
        if is_pae:
            pointer = self._entry((registers.cr3 & 0xFFFFFFE0) + (linear >> 30) * 8, 8)
            self._examine(pointer, reserved | _NX, linear, is_write)
            table = pointer & _ADDRESS
        at = table + (linear >> 12 + bits) * size
        if is_pae:
            at = table + (linear >> 21 & 0x1FF) * 8
        entry = self._entry(at, size)
        self._examine(entry, reserved, linear, is_write)
        rights = entry
        if entry & _LARGE and (is_pae or registers.cr4 & CR4_PSE):
            page_bytes = 1 << 12 + bits
            hidden = reserved | (0x1FE000 if is_pae else 0x200000)
            self._examine(entry, hidden, linear, is_write)
            frame = entry if is_pae else entry | (entry & 0x1FE000) << 19
        else:
            page_bytes = PAGE_BYTES
            self._mark(at, entry, _ACCESSED, size)
            at = (entry & _ADDRESS) + (linear >> 12 & (1 << bits) - 1) * size
            frame = entry = self._entry(at, size)
            self._examine(entry, reserved, linear, is_write)
            rights &= entry
        if is_write and not rights & 2 and registers.cr0 & CR0_WP:
            self._page_fault(linear, is_write, 1)
        self._mark(at, entry, _ACCESSED | (_DIRTY if is_write else 0), size)
        return (frame & _ADDRESS & ~(page_bytes - 1)) + linear % page_bytes

    def _entry(self, at: int, size: int) -> int:
        if at + size > self._size:
            return (1 << 8 * size) - 1
        return int.from_bytes(self._ram[at : at + size], "little")

    def _mark(self, at: int, entry: int, bits: int, size: int) -> None:
        if entry & bits != bits and at + size <= self._size:
            self._ram[at : at + size] = (entry | bits).to_bytes(size, "little")

    def _examine(self, entry: int, reserved: int, linear: int, is_write: bool) -> None:
        if not entry & 1:
            self._page_fault(linear, is_write, 0)
        if entry & reserved:
            self._page_fault(linear, is_write, 9)

    def _page_fault(self, linear: int, is_write: bool, why: int) -> None:
        self._state64[_CR2] = linear
        raise Raised(PAGE_FAULT, why | (2 if is_write else 0))


def base_of(descriptor: tuple[int, int]) -> int:
    low, high = descriptor
    return low >> 16 | (high & 0xFF) << 16 | high & 0xFF000000


def limit_of(descriptor: tuple[int, int]) -> int:
    low, high = descriptor
    limit = low & 0xFFFF | high & 0xF0000
    return limit << 12 | 0xFFF if high & GRANULAR else limit
