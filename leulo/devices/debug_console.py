"""The debug console at port 0xE9, as Bochs and QEMU have it: a byte out is a byte of text.

It has no status and no interrupt, so the first line of a kernel can use it. What is written is
collected and reaches the sink at a newline or at 256 bytes; `flush` lets out the rest. A read
gives 0xE9, by which software finds it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from leulo.devices.byte_ports import BytePorts
from leulo.devices.register import BOTH, Register
from leulo.state import State, load_fields, save_fields

PRESENT: Final = 0xE9
BATCH_BYTES: Final = 256
NEWLINE: Final = 0x0A


class DebugConsole(BytePorts):
    """One port; ``sink`` takes the text."""

    LENGTH = 1
    REGISTERS: Final = (Register("text", 0, BOTH, "a byte of text; reads 0xe9", PRESENT),)
    FIELDS: Final = ()

    def __init__(self, sink: Callable[[bytes], None]) -> None:
        self._sink = sink
        self._text = bytearray()

    def read_byte(self, offset: int) -> int:
        return PRESENT

    def write_byte(self, offset: int, value: int) -> None:
        self._text.append(value)
        if value == NEWLINE or len(self._text) >= BATCH_BYTES:
            self.flush()

    def peek_byte(self, offset: int) -> int:
        return PRESENT

    def flush(self) -> None:
        """Give the sink what was written since the last time."""
        if self._text:
            text = bytes(self._text)
            self._text.clear()
            self._sink(text)

    def reset(self) -> None:
        """What was written before still goes to the sink."""
        self.flush()

    def save(self) -> State:
        return {**save_fields(self, 1, self.FIELDS), "text": bytes(self._text)}

    def load(self, state: State) -> None:
        load_fields(self, 1, self.FIELDS, state)
        self._text[:] = state["text"]
