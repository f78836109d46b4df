"""The chips beside QEMU's: the same accesses in any order, the same answers.

QEMU is asked by its own test protocol, with its CPU and clock standing still; our clock does too.
So what depends on time is left out (the PIT, a running RTC), and what the data sheets leave open:
what an empty RBR reads, and what follows a reset of the FIFOs. In the UART's loopback QEMU has no
changes of the modem inputs, and the data sheet has: that is left out as well.
"""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from test_registers import make

from leulo.machine import Machine

pytestmark = pytest.mark.qemu

ACCESSES = 5000
PIT_CONTROL, RTC_INDEX, RTC_DATA = 0x43, 0x70, 0x71
CENTURY, PS2_CENTURY = 0x32, 0x37
CONFIG_ADDRESS, CONFIG_DATA = 0xCF8, 0xCFC
FCR, LCR, MCR = 0x3FA, 0x3FB, 0x3FC
DLAB, MCR_LOOP, MCR_OUT2 = 0x80, 0x10, 0x08
REGISTER_B, SET, SET_AND_24_HOURS = 11, 0x80, 0x82


_LETTERS = {1: "b", 2: "w", 4: "l"}


class Qemu:
    """A PC of QEMU's that does not run; only its ports are used."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            ["qemu-system-i386", "-machine", "pc", "-accel", "tcg", "-S", "-nodefaults",
             "-display", "none", "-serial", "null", "-rtc", "clock=vm",
             "-qtest", "stdio", "-qtest-log", "/dev/null"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip

    def _ask(self, line: str) -> str:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().split()
        assert answer[:1] == ["OK"], (line, answer)
        return answer[-1]

    def read(self, port: int, width: int = 1) -> int:
        return int(self._ask(f"in{_LETTERS[width]} {port:#x}"), 16)

    def write(self, port: int, value: int, width: int = 1) -> None:
        self._ask(f"out{_LETTERS[width]} {port:#x} {value:#x}")


@contextmanager
def qemu() -> Iterator[Qemu]:
    found = Qemu()
    try:
        yield found
    finally:
        found.process.kill()
        found.process.communicate()


def rtc_held() -> list[tuple[int, int]]:
    """Stop the time, and put the same into every cell."""
    cells = {REGISTER_B: SET_AND_24_HOURS} | dict.fromkeys(range(10), 1)
    cells |= dict.fromkeys(range(14, 128), 0) | {PS2_CENTURY: 0x20, CENTURY: 0x20}
    return [pair for i, value in cells.items() for pair in ((RTC_INDEX, i), (RTC_DATA, value))]


class Anything:
    """Lets every write be done."""

    def allows(self, port: int, value: int) -> bool:
        return True


class NoFifoNoLoop:
    """The writes to a UART of which the data sheet and QEMU say the same."""

    def allows(self, port: int, value: int) -> bool:
        return port != FCR and not (port == MCR and value & MCR_LOOP)


class Held:
    """Keeps the RTC's time stopped, and away from where QEMU has the century a second time."""

    def __init__(self) -> None:
        self.index = 0

    def allows(self, port: int, value: int) -> bool:
        if port == RTC_DATA:
            return self.index != REGISTER_B or bool(value & SET)
        if value & 0x7F == PS2_CENTURY:
            return False
        self.index = value & 0x7F
        return True


@dataclass
class Family:
    """Ports, what is written first and what of the rest is written."""

    name: str
    ports: tuple[int, ...]
    first: list[tuple[int, int]]
    rule: type[Anything] | type[NoFifoNoLoop] | type[Held] = Anything


FAMILIES = (
    # Mode 0 holds the PIT's OUT low, so that no input of the PIC is high.
    Family("PIC", (0x20, 0x21, 0xA0, 0xA1, 0x4D0, 0x4D1), [(PIT_CONTROL, 0x30)]),
    Family("UART", tuple(range(0x3F9, 0x400)), [(MCR, MCR_OUT2), (LCR, DLAB), (0x3F9, 0)],
           NoFifoNoLoop),
    Family("RTC", (RTC_INDEX, RTC_DATA), [*rtc_held(), (RTC_INDEX, 0)], Held),
)  # fmt: skip


@pytest.fixture
def machine() -> Iterator[Machine]:
    made = make()
    yield made
    made.close()


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_any_accesses_are_answered_as_by_qemu(family: Family, seed: int, machine: Machine) -> None:
    rng = random.Random(seed)
    said: list[str] = []
    rule = family.rule()
    with qemu() as judge:
        for port, value in family.first:
            judge.write(port, value)
            machine.ports.write(port, 1, value)
        for _ in range(ACCESSES):
            port = rng.choice(family.ports)
            if rng.random() < 0.5:
                value = rng.choice((0, 0xFF, rng.getrandbits(8), 1 << rng.randrange(8)))
                if rule.allows(port, value):
                    said.append(f"out {port:#x} {value:#04x}")
                    judge.write(port, value)
                    machine.ports.write(port, 1, value)
            else:
                want, got = judge.read(port), machine.ports.read(port, 1)
                said.append(f"in {port:#x}: {want:#04x}")
                assert got == want, f"{got:#04x}; seed {seed}: {', '.join(said[-20:])}"


def test_pci_functions_are_found_and_read_as_on_qemu(machine: Machine) -> None:
    """The address register as a whole, as the specification has it (QEMU takes parts of it too),
    and what identifies a function; both machines have the same host bridge and, from device 5 on,
    nothing."""
    rng = random.Random(4)
    with qemu() as judge:
        for _ in range(3000):
            port = rng.choice((CONFIG_ADDRESS, *range(CONFIG_DATA, CONFIG_DATA + 4)))
            width = 4 if port == CONFIG_ADDRESS else rng.choice((1, 2, 4))
            if port + width > CONFIG_DATA + 4:
                continue
            if port == CONFIG_ADDRESS and rng.random() < 0.6:
                register = rng.choice((0x00, 0x08, 0x0C, 0x10, 0x24))  # identity, header, BARs
                place = rng.choice((0, 0, 5, 31)) << 11 | rng.choice((0, 0, 7)) << 8
                value = (rng.random() < 0.9) << 31 | rng.choice((0, 0, 1)) << 16 | place | register
                judge.write(port, value, 4)
                machine.ports.write(port, 4, value)
            else:
                want, got = judge.read(port, width), machine.ports.read(port, width)
                address = machine.ports.read(CONFIG_ADDRESS, 4)
                assert got == want, (hex(address), hex(port), width, hex(got), hex(want))
