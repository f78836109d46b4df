"""ELF32 executables for i386: what a loader needs of them.

The file is hostile: every offset and size is checked before it is used, and whatever is wrong
becomes one `ImageError` that names the file and the place. It must not know of boot protocols or
of RAM.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from struct import Struct
from typing import Final

from leulo.errors import ImageError

# e_type e_machine e_version e_entry e_phoff e_shoff e_flags e_ehsize e_phentsize e_phnum
# e_shentsize e_shnum e_shstrndx, after the 16 bytes of e_ident [ELF 1.2 1-3]
_HEADER: Final = Struct("<16xHHIIIIIHHHHHH")
_PROGRAM_HEADER: Final = Struct("<8I")

IDENT_ELF32_LSB: Final = b"\x7fELF\x01\x01\x01"
ET_EXEC: Final = 2
EM_386: Final = 3
PT_LOAD: Final = 1

_MACHINES: Final = {
    2: "SPARC",
    8: "MIPS",
    20: "PowerPC",
    40: "ARM",
    62: "x86-64",
    183: "AArch64",
    243: "RISC-V",
}
_TYPES: Final = {1: "a relocatable object", 3: "a shared object", 4: "a core dump"}


@dataclass(frozen=True, slots=True)
class Segment:
    """One loadable piece: ``file_bytes`` at ``offset`` of the file, then zeros."""

    offset: int
    file_bytes: int
    address: int  # physical
    virtual_address: int
    memory_bytes: int
    flags: int


class Elf:
    """A checked executable. ``entry`` and the segments' virtual addresses are as in the file."""

    entry: int

    def __init__(self, data: bytes, name: str) -> None:
        """Raises ImageError."""
        self.data = data
        self.name = name
        if not data:
            raise ImageError(f"{name}: is empty")
        if data[:4] != IDENT_ELF32_LSB[:4]:
            raise ImageError(f"{name}: is not an ELF file (its first bytes are {data[:4].hex()!r})")
        if len(data) < _HEADER.size:
            raise ImageError(f"{name}: is truncated inside the ELF header, at byte {len(data):#x}")
        if data[4:7] != IDENT_ELF32_LSB[4:7]:
            raise ImageError(f"{name}: is not a 32-bit little-endian ELF file of version 1")
        header = _HEADER.unpack_from(data)
        kind, machine, _version, self.entry, programs = header[:5]
        program_bytes, program_count = header[8:10]
        if machine != EM_386:
            what = _MACHINES.get(machine, f"machine number {machine}")
            raise ImageError(f"{name}: is made for {what}, not for the 32-bit x86 (i386)")
        if kind != ET_EXEC:
            what = _TYPES.get(kind, f"of type {kind}")
            raise ImageError(f"{name}: is {what}, not an executable")
        self.segments = self._read_segments(programs, program_bytes, program_count)

    def entry_address(self) -> int:
        """The physical address of the entry: its segment tells how virtual maps to physical."""
        for segment in self.segments:
            offset = self.entry - segment.virtual_address
            if 0 <= offset < segment.memory_bytes:
                return segment.address + offset
        raise ImageError(f"{self.name}: the entry {self.entry:#x} lies in no loadable segment")

    def _read_segments(self, table: int, entry_bytes: int, count: int) -> tuple[Segment, ...]:
        name = self.name
        if count and entry_bytes != _PROGRAM_HEADER.size:
            raise ImageError(f"{name}: program headers have {entry_bytes} bytes each, not 32")
        if table + count * _PROGRAM_HEADER.size > len(self.data):
            raise ImageError(
                f"{name}: is truncated, its {count} program headers at byte {table:#x} "
                f"reach beyond the end at {len(self.data):#x}"
            )
        segments = []
        for i in range(count):
            kind, offset, virtual, physical, file_bytes, memory_bytes, flags, _align = (
                _PROGRAM_HEADER.unpack_from(self.data, table + i * _PROGRAM_HEADER.size)
            )
            if kind != PT_LOAD or memory_bytes == 0:
                continue
            if file_bytes > memory_bytes:
                raise ImageError(
                    f"{name}: segment {i} has {file_bytes} bytes in the file for "
                    f"{memory_bytes} in memory"
                )
            if offset + file_bytes > len(self.data):
                raise ImageError(
                    f"{name}: is truncated, segment {i} ends at byte {offset + file_bytes:#x} "
                    f"but the file at {len(self.data):#x}"
                )
            if physical + memory_bytes > 1 << 32 or virtual + memory_bytes > 1 << 32:
                raise ImageError(f"{name}: segment {i} at {physical:#x} passes the end of 4 GiB")
            segments.append(Segment(offset, file_bytes, physical, virtual, memory_bytes, flags))
        if not segments:
            raise ImageError(f"{name}: has no loadable segment")
        self._refuse_overlap(segments)
        return tuple(segments)

    def _refuse_overlap(self, segments: list[Segment]) -> None:
        ordered = sorted(segments, key=lambda segment: segment.address)
        for before, after in pairwise(ordered):
            if before.address + before.memory_bytes > after.address:
                raise ImageError(
                    f"{self.name}: the segments at {before.address:#x} and "
                    f"{after.address:#x} overlap"
                )
