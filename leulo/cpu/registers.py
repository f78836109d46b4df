"""The registers as a person or a debugger wants them: names to numbers.

A view of the engine's own memory: 0.1 us a register, always current. In the middle of a run (inside
an exit) EIP is exact for port I/O and lies at the start of the block for MMIO.
"""

from __future__ import annotations

from typing import Final

from leulo.cpu import layout
from leulo.cpu.engine import Engine

_EFLAGS: Final = 25  # UC_X86_REG_EFLAGS
FLAG_TF: Final = 1 << 8
FLAG_IF: Final = 1 << 9
CR0_WP: Final = 1 << 16
CR0_PG: Final = 1 << 31
CR4_PSE: Final = 1 << 4
CR4_PAE: Final = 1 << 5
EFER_NXE: Final = 1 << 11

SEGMENT_NAMES: Final = ("es", "cs", "ss", "ds", "fs", "gs", "ldt", "tr", "gdt", "idt")
GENERAL_NAMES: Final = ("eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi")


class Word:
    """One 32-bit register at an offset in env."""

    def __init__(self, offset: int) -> None:
        self._index = (layout.CPU_ENV + offset) // 8

    def __get__(self, view: Registers, _owner: type) -> int:
        return int(view.state64[self._index]) & 0xFFFFFFFF

    def __set__(self, view: Registers, value: int) -> None:
        if not 0 <= value <= 0xFFFFFFFF:
            raise ValueError(f"{value:#x} does not fit a 32-bit register")
        view.state64[self._index] = value


class Selector:
    """A segment register's visible part."""

    def __init__(self, index: int) -> None:
        self._index = (layout.CPU_ENV + layout.ENV_SEGMENTS + layout.SEGMENT_BYTES * index) // 4

    def __get__(self, view: Registers, _owner: type) -> int:
        return int(view.state32[self._index]) & 0xFFFF


class Registers:
    """General registers and EIP may be set; between runs, or inside an exit at your own risk."""

    __slots__ = ("_engine", "state32", "state64")

    eax = Word(0)
    ecx = Word(8)
    edx = Word(16)
    ebx = Word(24)
    esp = Word(32)
    ebp = Word(40)
    esi = Word(48)
    edi = Word(56)
    eip = Word(layout.ENV_EIP)
    cr0 = Word(layout.ENV_CR)
    cr2 = Word(layout.ENV_CR + 16)
    cr3 = Word(layout.ENV_CR + 24)
    cr4 = Word(layout.ENV_CR + 32)
    efer = Word(layout.ENV_EFER)
    dr7 = Word(layout.ENV_DR + 56)
    es = Selector(0)
    cs = Selector(1)
    ss = Selector(2)
    ds = Selector(3)
    fs = Selector(4)
    gs = Selector(5)
    tr = Selector(7)

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.state32 = engine.state32
        self.state64 = engine.state64

    @property
    def eflags(self) -> int:
        """Exact also inside an exit, where the engine has not computed them yet (2 us)."""
        return self._engine.read_register(_EFLAGS) & 0xFFFFFFFF

    @property
    def cpl(self) -> int:
        """The current privilege level, 0 to 3."""
        return int(self.state32[(layout.CPU_ENV + layout.ENV_HFLAGS) // 4]) & 3

    def segment(self, name: str) -> tuple[int, int, int, int]:
        """(selector, base, limit, flags) as cached; ``gdt`` and ``idt`` use base and limit."""
        place = layout.CPU_ENV + layout.ENV_SEGMENTS
        place += layout.SEGMENT_BYTES * SEGMENT_NAMES.index(name)
        words = self.state32
        at = place // 4
        return words[at] & 0xFFFF, words[at + 2], words[at + 4], words[at + 5]

    def as_dict(self) -> dict[str, int]:
        """Every named register, in a fixed order."""
        names = (
            *GENERAL_NAMES, "eip", "eflags", "cr0", "cr2", "cr3", "cr4", "efer",
            "cs", "ss", "ds", "es", "fs", "gs", "tr", "cpl",
        )  # fmt: skip
        return {name: getattr(self, name) for name in names}

    def __repr__(self) -> str:
        return " ".join(f"{name}={value:#x}" for name, value in self.as_dict().items())
