"""Ports by which PC software switches a machine off or resets it, with no ACPI tables.

Each register is a small chip of its own and knows nothing of the others: `ResetControl` is the
chipset's at 0xCF9, `SystemControlA` the PC's at 0x92, `SleepControl` the power-management control
word that QEMU has at 0x604 and Bochs at 0xB004. The keyboard controller's reset is in keyboard.py.
A reset is one sink and an orderly end is another; what they do is the machine's business.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from leulo.devices.byte_ports import FLOATING, BytePorts
from leulo.devices.register import BOTH, WRITE, Register
from leulo.state import State, load_fields, save_fields

RST_CPU: Final = 0x04  # a rise resets
RST_SYSTEM: Final = 0x02  # of the whole system, not the CPU alone: here they are the same

FAST_RESET: Final = 0x01  # a rise resets
FAST_A20: Final = 0x02

SLP_EN: Final = 0x2000
SLP_TYP: Final = 0x1C00
SLP_TYP_S5: Final = 0x0000  # the value that QEMU's and Bochs's own firmware give for "off"


class ResetControl(BytePorts):
    """One port, the chipset's reset control register. [PIIX3 2.2.16]"""

    LENGTH = 1
    REGISTERS: Final = (
        Register("RC", 0, BOTH, "reset control", 0, RST_CPU | RST_SYSTEM, (
            (RST_SYSTEM, "SRST: of the whole system, as every reset here"),
            (RST_CPU, "RCPU: a rise resets"),
        )),
    )  # fmt: skip
    FIELDS: Final = ("value",)

    def __init__(self, sink: Callable[[], None]) -> None:
        self._sink = sink
        self.value = 0

    def read_byte(self, offset: int) -> int:
        return self.value

    def write_byte(self, offset: int, value: int) -> None:
        rises = value & ~self.value & RST_CPU
        self.value = value & (RST_CPU | RST_SYSTEM)
        if rises:
            self._sink()

    def peek_byte(self, offset: int) -> int:
        return self.value

    def reset(self) -> None:
        self.value = 0

    def save(self) -> State:
        return save_fields(self, 1, self.FIELDS)

    def load(self, state: State) -> None:
        load_fields(self, 1, self.FIELDS, state)


class SystemControlA(BytePorts):
    """One port, system control port A: the fast reset, and a gate A20 that is always open.

    Bit 1 reads 1 whatever is written, since no address line is ever masked.
    """

    LENGTH = 1
    REGISTERS: Final = (
        Register("port A", 0, BOTH, "system control", FAST_A20, FAST_RESET, (
            (FAST_RESET, "fast reset: a rise resets"),
            (FAST_A20, "gate A20: always open"),
        )),
    )  # fmt: skip
    FIELDS: Final = ("value",)

    def __init__(self, sink: Callable[[], None]) -> None:
        self._sink = sink
        self.value = FAST_A20

    def read_byte(self, offset: int) -> int:
        return self.value

    def write_byte(self, offset: int, value: int) -> None:
        rises = value & ~self.value & FAST_RESET
        self.value = value & FAST_RESET | FAST_A20
        if rises:
            self._sink()

    def peek_byte(self, offset: int) -> int:
        return self.value

    def reset(self) -> None:
        self.value = FAST_A20

    def save(self) -> State:
        return save_fields(self, 1, self.FIELDS)

    def load(self, state: State) -> None:
        load_fields(self, 1, self.FIELDS, state)


class SleepControl:
    """Two ports, one 16-bit register that is only written: SLP_EN with sleep type 0 is "off".

    Other sleep types need firmware that wakes the machine, and there is none: they do nothing.
    """

    LENGTH = 2
    REGISTERS: Final = (
        Register("PM1a_CNT", 0, WRITE, "power management control", bits=(
            (SLP_TYP, f"SLP_TYP: {SLP_TYP_S5} is off, others do nothing"),
            (SLP_EN, "SLP_EN: do it"),
        ), width=2),
    )  # fmt: skip
    FIELDS: Final = ()

    def __init__(self, sink: Callable[[], None]) -> None:
        self._sink = sink

    def read(self, offset: int, width: int) -> int:
        return int.from_bytes(bytes([FLOATING]) * width, "little")

    def write(self, offset: int, width: int, value: int) -> None:
        if offset == 0 and width >= 2 and value & SLP_EN and value & SLP_TYP == SLP_TYP_S5:
            self._sink()

    def peek(self, offset: int, width: int) -> int:
        return self.read(offset, width)

    def reset(self) -> None:
        """Nothing to forget."""

    def save(self) -> State:
        return save_fields(self, 1, self.FIELDS)

    def load(self, state: State) -> None:
        load_fields(self, 1, self.FIELDS, state)
