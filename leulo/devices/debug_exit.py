"""The debug exit: a port whose written value ends the machine.

It stands where QEMU has its ``isa-debug-exit`` device, so one guest image ends itself on both.
The value is given to the sink as the guest's exit status (QEMU itself exits with
``value << 1 | 1``); what the sink does with it is the machine's business: 0 is a guest that has
switched itself off, 0x103 one whose kernel has panicked, anything else is the status of its first
process. Reads are zero.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from leulo.devices.register import BOTH, Register
from leulo.state import State, load_fields, save_fields

LENGTH: Final = 4


class DebugExit:
    """A write at offset 0, of any width, goes to ``sink``."""

    REGISTERS: Final = (Register("status", 0, BOTH, "ends the machine", 0, width=LENGTH),)
    FIELDS: Final = ()

    def __init__(self, sink: Callable[[int], None]) -> None:
        self._sink = sink

    def read(self, offset: int, width: int) -> int:
        return 0

    def write(self, offset: int, width: int, value: int) -> None:
        if offset == 0:
            self._sink(value & (1 << 8 * width) - 1)

    def peek(self, offset: int, width: int) -> int:
        return 0

    def reset(self) -> None:
        """Nothing to forget."""

    def save(self) -> State:
        return save_fields(self, 1, self.FIELDS)

    def load(self, state: State) -> None:
        load_fields(self, 1, self.FIELDS, state)
