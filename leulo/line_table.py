"""Which source line an address of the kernel comes from: DWARF's line programs, read at build time.

Panics of the guest name file and line from this table, without any debugger. Only versions 2 to 4
are read [DWARF 4 6.2]; of others, as some compilers write, there are simply no lines. Standard
library and `errors` only: the build hook of the wheel comes here before anything is installed.
"""

from __future__ import annotations

import struct
from typing import Final

from leulo.errors import ImageError

_MOST_LEB_BYTES: Final = 10  # of 64 bits
_ADVANCE_PC, _ADVANCE_LINE, _SET_FILE, _CONST_ADD_PC, _FIXED_ADVANCE = 2, 3, 4, 8, 9
_COPY, _END_SEQUENCE, _SET_ADDRESS = 1, 1, 2


def read_lines(elf: bytes) -> list[tuple[int, str, int]]:
    """(address, file, line), sorted; each row holds up to the next. Line 0: nothing is known.

    Raises ImageError if the sections or the programs are damaged."""
    try:
        return _read(_section(elf, b".debug_line"))
    except (struct.error, IndexError, ValueError, ZeroDivisionError) as error:
        raise ImageError(f"the line table is damaged: {error}") from None


def _read(data: bytes) -> list[tuple[int, str, int]]:
    rows: list[tuple[int, str, int]] = []
    at = 0
    while at + 6 <= len(data):
        length, version = struct.unpack_from("<IH", data, at)
        end = at + 4 + length
        if 2 <= version <= 4:
            rows += _read_unit(data[at:end], version)
        at = end
    rows.sort(key=lambda row: (row[0], row[2] != 0))  # an end before the beginning at its address
    kept: list[tuple[int, str, int]] = []
    for row in rows:
        if kept and kept[-1][0] == row[0]:
            kept.pop()  # the later row of an address is the one that code begins with
        if not kept or kept[-1][1:] != row[1:]:
            kept.append(row)
    return kept


def _read_unit(unit: bytes, version: int) -> list[tuple[int, str, int]]:
    (header_bytes,) = struct.unpack_from("<I", unit, 6)
    at = 10 + (2 if version == 4 else 1)
    _is_stmt, base, span, first_special = struct.unpack_from("<BbBB", unit, at)
    operands = (0, *unit[at + 4 : at + 3 + first_special])
    files, program = _read_names(unit, at + 3 + first_special), 10 + header_bytes
    rows: list[tuple[int, str, int]] = []
    address, file, line = 0, 1, 1
    at = program
    while at < len(unit):
        code = unit[at]
        at += 1
        if code >= first_special:
            address += (code - first_special) // span
            line += base + (code - first_special) % span
            rows.append((address, files.get(file, "?"), line))
        elif code == 0:
            size, at = _uleb(unit, at)
            if unit[at] == _END_SEQUENCE:
                rows.append((address, "", 0))
                address, file, line = 0, 1, 1
            elif unit[at] == _SET_ADDRESS:
                (address,) = struct.unpack_from("<I", unit, at + 1)
            at += size
        elif code == _COPY:
            rows.append((address, files.get(file, "?"), line))
        elif code == _CONST_ADD_PC:
            address += (255 - first_special) // span
        elif code == _FIXED_ADVANCE:
            address += struct.unpack_from("<H", unit, at)[0]
            at += 2
        elif code == _ADVANCE_LINE:
            step, at = _sleb(unit, at)
            line += step
        elif code == _ADVANCE_PC:
            step, at = _uleb(unit, at)
            address += step
        elif code == _SET_FILE:
            file, at = _uleb(unit, at)
        else:
            for _ in range(operands[code]):
                _, at = _uleb(unit, at)
    return rows


def _read_names(unit: bytes, at: int) -> dict[int, str]:
    """The files of a unit by number, with their folders."""
    folders = [""]
    while unit[at]:
        text, at = _text(unit, at)
        folders.append(text)
    at += 1
    files: dict[int, str] = {}
    while unit[at]:
        name, at = _text(unit, at)
        folder, at = _uleb(unit, at)
        _, at = _uleb(unit, at)
        _, at = _uleb(unit, at)
        whole = f"{folders[folder]}/{name}" if folders[folder] else name
        files[len(files) + 1] = whole.removeprefix("./").removeprefix("guest_kernel/")
    return files


def _text(data: bytes, at: int) -> tuple[str, int]:
    end = data.index(b"\0", at)
    return data[at:end].decode("utf-8", "replace"), end + 1


def _uleb(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            return value, at
        if shift > 7 * _MOST_LEB_BYTES:
            raise ValueError("a number is too long")


def _sleb(data: bytes, at: int) -> tuple[int, int]:
    value, end = _uleb(data, at)
    bits = 7 * (end - at)
    return value - (1 << bits) if value >> (bits - 1) else value, end


def _section(elf: bytes, wanted: bytes) -> bytes:
    """The content of a section, empty if it is not there [ELF 1.2 1-9]."""
    (table,) = struct.unpack_from("<I", elf, 32)
    entry_bytes, count, names_index = struct.unpack_from("<HHH", elf, 46)
    headers = [struct.unpack_from("<10I", elf, table + n * entry_bytes) for n in range(count)]
    names = headers[names_index][4]
    for name, _, _, _, offset, size, *_ in headers:
        if elf.startswith(wanted + b"\0", names + name):
            return elf[offset : offset + size]
    return b""
