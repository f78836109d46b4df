"""The multiboot 1 protocol: put an ELF kernel and its modules into RAM, and say where.

Everything is checked before the first byte is written, so a refused image leaves RAM as it was.
All errors about the image are `ImageError`s of one sentence that name the file and the place.

RAM is described as on a PC: 640 KiB from zero, nothing usable up to 1 MiB, the rest above it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Final

from leulo.errors import ConfigError, ImageError
from leulo.loader.elf import Elf
from leulo.memory import PAGE_BYTES, Memory
from leulo.units import KIB, MIB

SEARCH_BYTES: Final = 8192  # the header lies within these [multiboot 1 3.1]
HEADER_MAGIC: Final = 0x1BADB002
BOOT_MAGIC: Final = 0x2BADB002  # in EAX at the entry [multiboot 1 3.2]
HEADER_PAGE_ALIGN: Final = 1 << 0
HEADER_MEMORY_INFO: Final = 1 << 1
HEADER_VIDEO_MODE: Final = 1 << 2
HEADER_ADDRESSES: Final = 1 << 16
HEADER_KNOWN: Final = HEADER_PAGE_ALIGN | HEADER_MEMORY_INFO  # of the bits that must be obeyed
HEADER_MUST: Final = 0xFFFF

INFO_MEMORY: Final = 1 << 0
INFO_COMMAND_LINE: Final = 1 << 2
INFO_MODULES: Final = 1 << 3
INFO_MEMORY_MAP: Final = 1 << 6
INFO_LOADER_NAME: Final = 1 << 9
MAP_AVAILABLE: Final = 1
MAP_RESERVED: Final = 2

LOW_END: Final = 640 * KIB
HIGH_START: Final = MIB
LOADER_NAME: Final = b"leulo\0"
MAX_COMMAND_LINE_BYTES: Final = 4096

_WORDS: Final = Struct("<3I")
_INFO: Final = Struct("<22I")
_MODULE: Final = Struct("<4I")
_MAP_ENTRY: Final = Struct("<IQQI")


@dataclass(frozen=True, slots=True)
class Boot:
    """How the CPU begins: registers, and what was put where (physical, end exclusive)."""

    entry: int
    eax: int
    ebx: int
    occupied: tuple[tuple[int, int, str], ...]


def load(
    memory: Memory,
    image: bytes,
    *,
    name: str,
    command_line: str = "",
    modules: Sequence[tuple[bytes, str]] = (),
) -> Boot:
    """Put the image, its modules (contents, name) and the information structure into RAM.

    Raises ImageError, and ConfigError for a command line that cannot be passed on.
    """
    elf = Elf(image, name)
    find_header(image, name)
    layout = _Layout(memory.size)
    for segment in elf.segments:
        end = segment.address + segment.memory_bytes
        if end > memory.size:
            raise ImageError(
                f"{name}: the segment at {segment.address:#x} ends at {end:#x}, outside the "
                f"{memory.size // KIB} KiB of RAM"
            )
        layout.take(segment.address, segment.memory_bytes, "image")
    entry = elf.entry_address()
    image_end = max(end for _, end, _ in layout.occupied)
    placed = []
    for contents, module_name in modules:
        address = layout.place(len(contents), PAGE_BYTES, image_end, module_name)
        if address is None:
            raise ImageError(
                f"{module_name}: its {len(contents)} bytes do not fit into RAM behind {name}"
            )
        placed.append((address, contents, _text(module_name, "module name")))
    text = _text(command_line, "--append")
    if len(text) > MAX_COMMAND_LINE_BYTES:
        raise ConfigError(f"--append: is longer than {MAX_COMMAND_LINE_BYTES} bytes")
    length = len(_information(0, memory.size, text, placed))
    info = layout.place(length, PAGE_BYTES, PAGE_BYTES, "boot information")
    if info is None:
        raise ImageError(f"{name}: leaves no {length} bytes of RAM for the boot information")

    for segment in elf.segments:
        data = memoryview(image)[segment.offset : segment.offset + segment.file_bytes]
        memory.write(segment.address, data)
        memory.write(
            segment.address + segment.file_bytes, bytes(segment.memory_bytes - segment.file_bytes)
        )
    for address, contents, _ in placed:
        memory.write(address, contents)
    memory.write(info, _information(info, memory.size, text, placed))
    return Boot(entry, BOOT_MAGIC, info, tuple(sorted(layout.occupied)))


def find_header(image: bytes, name: str) -> int:
    """The offset of a valid header whose demands can be met. Raises ImageError."""
    spoiled: int | None = None
    for offset in range(0, min(len(image), SEARCH_BYTES) - _WORDS.size + 1, 4):
        magic, flags, checksum = _WORDS.unpack_from(image, offset)
        if magic != HEADER_MAGIC:
            continue
        if (magic + flags + checksum) & 0xFFFFFFFF:
            spoiled = offset
            continue
        if flags & HEADER_ADDRESSES:
            raise ImageError(
                f"{name}: its multiboot header at byte {offset:#x} wants to be loaded by its own "
                "address fields (bit 16), but only ELF segments are loaded"
            )
        if flags & HEADER_VIDEO_MODE:
            raise ImageError(
                f"{name}: its multiboot header at byte {offset:#x} wants a video mode (bit 2), "
                "but the machine has only a serial console"
            )
        unknown = flags & HEADER_MUST & ~HEADER_KNOWN
        if unknown:
            raise ImageError(
                f"{name}: its multiboot header at byte {offset:#x} demands features that are not "
                f"known (bits {unknown:#x})"
            )
        return offset
    if spoiled is not None:
        raise ImageError(f"{name}: the multiboot header at byte {spoiled:#x} has a wrong checksum")
    raise ImageError(
        f"{name}: has no multiboot 1 header (magic {HEADER_MAGIC:#x}) in its first "
        f"{SEARCH_BYTES} bytes"
    )


class _Layout:
    """Which ranges of RAM are taken: (start, end, what)."""

    def __init__(self, ram_bytes: int) -> None:
        self._ram_bytes = ram_bytes
        self.occupied: list[tuple[int, int, str]] = []

    def take(self, address: int, length: int, what: str) -> None:
        self.occupied.append((address, address + length, what))

    def place(self, length: int, alignment: int, lowest: int, what: str) -> int | None:
        """Take the first free range from ``lowest`` on that avoids the hole below 1 MiB."""
        blocked = [*self.occupied, (LOW_END, HIGH_START, "hole")]
        address = -(-lowest // alignment) * alignment
        for start, end, _ in sorted(blocked):
            if start < address + length and address < end:
                address = -(-end // alignment) * alignment
        if address + length > self._ram_bytes:
            return None
        self.take(address, length, what)
        return address


def _text(text: str, key: str) -> bytes:
    """The string with its final zero byte."""
    if "\0" in text:
        raise ConfigError(f"{key}: contains a zero byte")
    return text.encode("utf-8", "surrogateescape") + b"\0"


def _information(
    base: int, ram_bytes: int, command_line: bytes, modules: Sequence[tuple[int, bytes, bytes]]
) -> bytes:
    """The structure of [multiboot 1 3.3] with all it points to, as it lies at ``base``."""
    memory_map = [(0, min(ram_bytes, LOW_END), MAP_AVAILABLE)]
    if ram_bytes > LOW_END:
        memory_map.append((LOW_END, HIGH_START - LOW_END, MAP_RESERVED))
    if ram_bytes > HIGH_START:
        memory_map.append((HIGH_START, ram_bytes - HIGH_START, MAP_AVAILABLE))
    table_at = base + _INFO.size
    map_at = table_at + len(modules) * _MODULE.size
    strings_at = map_at + len(memory_map) * _MAP_ENTRY.size
    strings = bytearray(command_line)
    loader_at = strings_at + len(strings)
    strings += LOADER_NAME
    table = bytearray()
    for address, contents, name in modules:
        table += _MODULE.pack(address, address + len(contents), strings_at + len(strings), 0)
        strings += name
    entries = b"".join(
        _MAP_ENTRY.pack(_MAP_ENTRY.size - 4, start, length, kind)
        for start, length, kind in memory_map
    )
    flags = INFO_MEMORY | INFO_COMMAND_LINE | INFO_MODULES | INFO_MEMORY_MAP | INFO_LOADER_NAME
    fields = [0] * 22
    fields[0] = flags
    fields[1] = min(ram_bytes, LOW_END) // KIB
    fields[2] = max(0, ram_bytes - HIGH_START) // KIB
    fields[4] = strings_at
    fields[5] = len(modules)
    fields[6] = table_at
    fields[11] = len(entries)
    fields[12] = map_at
    fields[16] = loader_at
    return _INFO.pack(*fields) + bytes(table) + entries + bytes(strings)
