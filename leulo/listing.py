"""The kernel as a listing: each function, its source lines, and the instructions made of them.

For people who read a panic's addresses without a debugger. The build hook of the wheel comes here
before anything is installed but the build's own requirements: capstone and the standard library.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

_PROGBITS, _EXECINSTR = 1, 4


def write_listing(
    elf: bytes,
    functions: Sequence[tuple[int, str]],
    lines: Sequence[tuple[int, str, int]],
    sources: Path,
) -> str:
    """The text. ``functions`` and ``lines`` are sorted, of `read_functions` and `read_lines`;
    the files that ``lines`` name lie below ``sources``.
    """
    import capstone

    decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_32)
    decoder.skipdata = True  # what is no instruction is listed as bytes
    names = dict(functions)
    calls = {f"{address:#x}": name for address, name in functions}
    places = {address: (file, line) for address, file, line in lines if line}
    texts = {file: _read_lines(sources / file) for file, _ in sorted(set(places.values()))}
    out = []
    for start, code in _code_of(elf, sorted(names)):
        if start in names:
            out.append(f"\n{start:08x} <{names[start]}>:\n")
        for address, size, mnemonic, operands in decoder.disasm_lite(code, start):
            if address in places:
                file, line = places[address]
                source = texts[file][line - 1].strip() if line <= len(texts[file]) else ""
                out.append(f"; {file}:{line}  {source}".rstrip() + "\n")
            if mnemonic == "call" and operands in calls:
                operands += f" <{calls[operands]}>"
            octets = code[address - start : address - start + size].hex(" ")
            out.append(f"{address:08x}  {octets:<24}  {mnemonic} {operands}".rstrip() + "\n")
    return "".join(out)


def _read_lines(path: Path) -> list[str]:
    return path.read_text(errors="replace").splitlines() if path.is_file() else []


def _code_of(elf: bytes, starts: Sequence[int]) -> list[tuple[int, bytes]]:
    """Address and content of the sections that hold code, cut at ``starts`` [ELF 1.2 1-9]."""
    (table,) = struct.unpack_from("<I", elf, 32)
    entry_bytes, count = struct.unpack_from("<HH", elf, 46)
    found = []
    for number in range(count):
        _, kind, flags, address, offset, size, *_ = struct.unpack_from(
            "<10I", elf, table + number * entry_bytes
        )
        if kind != _PROGBITS or not flags & _EXECINSTR:
            continue
        cuts = [address, *(at for at in starts if address < at < address + size), address + size]
        for first, end in pairwise(cuts):
            found.append((first, elf[offset + first - address : offset + end - address]))
    return sorted(found)
