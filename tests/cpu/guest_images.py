"""Guests for the tests of the CPU: assembled images, and a machine of one CPU around them."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

from leulo.clock import Clock
from leulo.cpu import Cpu
from leulo.cpu.delivery import Deliverer
from leulo.memory import Memory

BASE = 0x100000
MIB = 1 << 20


class Image:
    """An assembled guest: ``code`` at ``BASE``, and where its labels are."""

    def __init__(self, name: str) -> None:
        data = json.loads((Path(__file__).parent / "guests" / f"{name}.json").read_text())
        assert data["base"] == BASE
        self.code = bytes.fromhex(data["code"])
        self.symbols: dict[str, int] = data["symbols"]


class Recorder:
    """A bus that keeps what was written and answers what it is told to."""

    def __init__(self) -> None:
        self.writes: list[tuple[int, int, int]] = []
        self.reads: list[tuple[int, int]] = []
        self.answer: Callable[[int, int], int] = lambda address, width: (1 << 8 * width) - 1
        self.on_write: Callable[[int, int, int], None] = lambda address, width, value: None

    def read(self, address: int, width: int) -> int:
        self.reads.append((address, width))
        return self.answer(address, width)

    def write(self, address: int, width: int, value: int) -> None:
        self.writes.append((address, width, value))
        self.on_write(address, width, value)


class Guest:
    """A CPU with ``code`` at 1 MiB and about to execute it, its stack below."""

    def __init__(
        self,
        code: bytes | str,
        *,
        ram_bytes: int = 8 * MIB,
        clock: Clock | None = None,
        deliverer: Deliverer = "native",
    ) -> None:
        self.code = bytes.fromhex(code) if isinstance(code, str) else code
        self.memory = Memory(ram_bytes)
        self.memory.write(BASE, self.code)
        self.ports = Recorder()
        self.mmio = Recorder()
        self.cpu = Cpu(self.memory, self.ports, self.mmio, clock=clock, deliverer=deliverer)
        self.cpu.reset(BASE, 0, 0)
        self.cpu.registers.esp = BASE

    def word(self, address: int) -> int:
        """The 32-bit word at a physical address."""
        return int(struct.unpack_from("<I", self.memory.view, address)[0])
