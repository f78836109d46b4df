"""What a chip's registers are called, and what software can do with them, as data.

Each chip declares its own beside its code, by the constants that the code uses; the reference is
made of these tables, and tests/devices/test_registers.py holds each of them to the chip: what is
read after a reset, and which bits can be written. Nothing at run time looks at them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

READ: Final = "R"
WRITE: Final = "W"
BOTH: Final = "RW"


@dataclass(frozen=True, slots=True)
class Register:
    """One register. ``at`` is its offset from the chip's first address.

    ``select`` are the writes (offset, value) by which software comes to it, ``when`` says it in
    words. ``reset`` is what it reads after power-on, None where that is no constant or it is never
    read. ``writable`` are the bits that read back what was written; ``width`` is in bytes.
    ``bits`` are (mask, name and meaning) of the bits that do something.
    """

    name: str
    at: int
    access: str
    meaning: str = ""
    reset: int | None = None
    writable: int = 0
    bits: tuple[tuple[int, str], ...] = ()
    width: int = 1
    when: str = ""
    select: tuple[tuple[int, int], ...] = ()


def place(mask: int) -> str:
    """The bits of ``mask`` as datasheets write them: ``7``, ``5-4``."""
    high, low = mask.bit_length() - 1, (mask & -mask).bit_length() - 1
    return f"{high}" if high == low else f"{high}-{low}"
