"""Assemble tests/cpu/guests/*.s with the pinned compiler and write each one's .json.

Run it after a change to a guest: ``python tests/cpu/assemble_guests.py``. Tests read the .json
only, so they need no compiler; one test, where ziglang is installed, compares the two.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from elftools.elf.elffile import ELFFile

GUESTS = Path(__file__).parent / "guests"
BASE = 0x100000


def assemble(source: Path) -> dict[str, object]:
    """The flat image at 1 MiB, as hexadecimal, and its symbols."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script.ld"
        script.write_text(f"ENTRY(_start) SECTIONS {{ . = {BASE:#x}; .text : {{ *(.text*) }} }}")
        output = Path(folder) / "guest.elf"
        subprocess.run(
            [sys.executable, "-m", "ziglang", "cc", "-target", "x86-freestanding-none", "-nostdlib",
             "-static", "-Wl,-T," + str(script), "-Wl,--build-id=none", "-o", str(output),
             str(source)],
            check=True,
        )  # fmt: skip
        with output.open("rb") as file:
            elf = ELFFile(file)
            text = elf.get_section_by_name(".text")
            symbols = elf.get_section_by_name(".symtab")
            return {
                "source": source.name,
                "base": text["sh_addr"],
                "code": text.data().hex(),
                "symbols": {
                    s.name: s["st_value"]
                    for s in sorted(symbols.iter_symbols(), key=lambda s: s.name)
                    if s.name and s["st_shndx"] not in ("SHN_ABS", "SHN_UNDEF")
                    and s["st_info"]["type"] != "STT_FILE"
                },
            }  # fmt: skip


def main() -> None:
    for source in sorted(GUESTS.glob("*.s")):
        target = source.with_suffix(".json")
        target.write_text(json.dumps(assemble(source), indent=1) + "\n")
        print(target)


if __name__ == "__main__":
    main()
