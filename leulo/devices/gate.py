"""The hypercall gate: one 32-bit port that carries the address of a call descriptor.

It knows neither descriptors nor calls: the sink does. A 32-bit OUT gives the guest-physical
address to the sink, which has carried the call out when it returns; a 32-bit IN reads the magic
number by which a guest finds the gate. Other widths write nothing and read all ones.
The CPU must let only ring 0 come here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from leulo.devices.register import BOTH, Register
from leulo.state import State, load_fields, save_fields

LENGTH: Final = 4


class Gate:
    """Forwards 32-bit writes at offset 0 to ``sink``, which may be replaced (but a door to it,
    `leulo.bus.Bus.doors`, has to be shut then); reads ``magic``."""

    REGISTERS: Final = (
        Register("descriptor", 0, BOTH, "written: a call's address; read: the magic number",
                 width=LENGTH),
    )  # fmt: skip
    FIELDS: Final = ("refused",)

    def __init__(self, magic: int, sink: Callable[[int], None]) -> None:
        self.sink = sink
        self._magic = magic
        self.refused = 0  # writes of another width or place

    def read(self, offset: int, width: int) -> int:
        return self.peek(offset, width)

    def write(self, offset: int, width: int, value: int) -> None:
        if offset == 0 and width == 4:
            self.sink(value)
        else:
            self.refused += 1

    def peek(self, offset: int, width: int) -> int:
        if offset == 0 and width == 4:
            return self._magic
        return (1 << 8 * width) - 1

    def reset(self) -> None:
        self.refused = 0

    def save(self) -> State:
        return save_fields(self, 1, self.FIELDS)

    def load(self, state: State) -> None:
        load_fields(self, 1, self.FIELDS, state)
