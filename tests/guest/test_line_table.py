"""The table of source lines: the same as pyelftools reads from the same DWARF."""

from __future__ import annotations

import bisect
from itertools import pairwise
from pathlib import Path

import pytest

from leulo import image
from leulo.line_table import read_lines

pytestmark = pytest.mark.compiler


def test_lines_are_those_of_pyelftools(built: Path) -> None:
    elffile = pytest.importorskip("elftools.elf.elffile")
    rows = read_lines((built / "guest.elf").read_bytes())
    addresses = [row[0] for row in rows]
    compared = 0
    with (built / "guest.elf").open("rb") as file:
        dwarf = elffile.ELFFile(file).get_dwarf_info()
        for unit in dwarf.iter_CUs():
            program = dwarf.line_program_for_CU(unit)
            names = [entry.name.decode() for entry in program["file_entry"]]
            states = [entry.state for entry in program.get_entries() if entry.state]
            for state, following in pairwise(states):
                if state.address < 0x100000 or state.end_sequence:
                    continue
                if state.address == following.address:
                    continue  # no code of its own
                _, name, line = rows[bisect.bisect_right(addresses, state.address) - 1]
                assert (name.rsplit("/", 1)[-1], line) == (names[state.file - 1], state.line)
                compared += 1
    assert compared > 2_000


def test_a_file_without_lines_has_none(built: Path) -> None:
    assert read_lines((built / "guest.img").read_bytes()) == []


def test_what_does_not_fit_is_left_out() -> None:
    packed = image.pack_symbols([(1, "f")], [(1, "a.c", 7), (2, "a.c", 1 << 14)])
    assert packed[20:24] != bytes(4)
    assert packed[28:32] == bytes(4)
