"""The page walk, read only: what the MMU would find, without its effects [SDM 3 4.3] [SDM 3 4.4].

Accessed and dirty bits stay as they are, and no exit is caused: addresses that are not RAM end the
walk. 32-bit paging with 4 MiB pages, and PAE with 2 MiB pages and NX; there is no long mode here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from leulo.cpu.registers import CR0_PG, CR4_PAE, CR4_PSE, EFER_NXE, Registers
from leulo.memory import Memory

PRESENT: Final = 1 << 0
WRITABLE: Final = 1 << 1
USER: Final = 1 << 2
LARGE: Final = 1 << 7
NO_EXECUTE: Final = 1 << 63
_ADDRESS: Final = 0x000F_FFFF_FFFF_F000


@dataclass(frozen=True, slots=True)
class Mapping:
    """What a virtual address leads to: a guest-physical address and the page's rights."""

    physical: int
    page_bytes: int
    is_writable: bool
    is_user: bool
    is_executable: bool


@dataclass(frozen=True, slots=True)
class Unmapped:
    """Why a virtual address leads nowhere."""

    reason: str


def walk(registers: Registers, memory: Memory, virtual: int) -> Mapping | Unmapped:
    """Follow the page tables of CR3 for a linear address of 32 bits."""
    virtual &= 0xFFFFFFFF
    if not registers.cr0 & CR0_PG:
        return Mapping(virtual, 1 << 32, True, True, True)
    if registers.cr4 & CR4_PAE:
        return _walk_pae(registers, memory, virtual)
    return _walk_32(registers, memory, virtual)


def _entry(memory: Memory, address: int, size: int) -> int | None:
    if address + size > memory.size:
        return None
    return int.from_bytes(memory.view[address : address + size], "little")


def _walk_32(registers: Registers, memory: Memory, virtual: int) -> Mapping | Unmapped:
    pde = _entry(memory, (registers.cr3 & 0xFFFFF000) + (virtual >> 22) * 4, 4)
    if pde is None:
        return Unmapped("the page directory is not in RAM")
    if not pde & PRESENT:
        return Unmapped("its page directory entry is not present")
    if pde & LARGE and registers.cr4 & CR4_PSE:
        base = (pde & 0xFFC00000) | (pde >> 13 & 0xFF) << 32  # PSE-36
        return _mapping(base, 4 << 20, virtual, pde)
    pte = _entry(memory, (pde & 0xFFFFF000) + (virtual >> 12 & 0x3FF) * 4, 4)
    if pte is None:
        return Unmapped("its page table is not in RAM")
    if not pte & PRESENT:
        return Unmapped("its page table entry is not present")
    return _mapping(pte & 0xFFFFF000, 4096, virtual, pde & pte)


def _walk_pae(registers: Registers, memory: Memory, virtual: int) -> Mapping | Unmapped:
    pdpte = _entry(memory, (registers.cr3 & 0xFFFFFFE0) + (virtual >> 30) * 8, 8)
    if pdpte is None:
        return Unmapped("the page directory pointers are not in RAM")
    if not pdpte & PRESENT:
        return Unmapped("its page directory pointer is not present")
    pde = _entry(memory, (pdpte & _ADDRESS) + (virtual >> 21 & 0x1FF) * 8, 8)
    if pde is None:
        return Unmapped("its page directory is not in RAM")
    if not pde & PRESENT:
        return Unmapped("its page directory entry is not present")
    nx_mask = NO_EXECUTE if registers.efer & EFER_NXE else 0
    if pde & LARGE:
        return _mapping(pde & _ADDRESS & ~0x1FFFFF, 2 << 20, virtual, pde, pde & nx_mask)
    pte = _entry(memory, (pde & _ADDRESS) + (virtual >> 12 & 0x1FF) * 8, 8)
    if pte is None:
        return Unmapped("its page table is not in RAM")
    if not pte & PRESENT:
        return Unmapped("its page table entry is not present")
    return _mapping(pte & _ADDRESS, 4096, virtual, pde & pte, (pde | pte) & nx_mask)


def _mapping(base: int, page_bytes: int, virtual: int, rights: int, nx: int = 0) -> Mapping:
    return Mapping(
        base + (virtual & page_bytes - 1),
        page_bytes,
        rights & WRITABLE != 0,
        rights & USER != 0,
        nx == 0,
    )
