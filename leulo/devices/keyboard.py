"""The keyboard controller's command port, as far as a machine without a keyboard has one.

PC software resets the machine by writing command 0xFE ("pulse output line 0") to port 0x64, after
waiting for an empty input buffer; that is all there is. The status register says that nothing
waits in either direction, so drivers that probe for a keyboard find none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from leulo.devices.byte_ports import BytePorts
from leulo.devices.register import READ, WRITE, Register
from leulo.state import State, load_fields, save_fields

CMD_PULSE_RESET: Final = 0xFE
STATUS_SYSTEM_FLAG: Final = 0x04  # the controller has passed its own test


class Keyboard(BytePorts):
    """Offset 0 is port 0x64: reads the status, takes commands; only the reset command acts."""

    LENGTH = 1
    REGISTERS: Final = (
        Register("status", 0, READ, "", STATUS_SYSTEM_FLAG, 0, (
            (STATUS_SYSTEM_FLAG, "system flag: the controller has passed its test"),
        )),
        Register("command", 0, WRITE, f"{CMD_PULSE_RESET:#x} resets, others do nothing"),
    )  # fmt: skip
    FIELDS: Final = ()

    def __init__(self, reset_sink: Callable[[], None]) -> None:
        self._reset_sink = reset_sink

    def read_byte(self, offset: int) -> int:
        return STATUS_SYSTEM_FLAG

    def write_byte(self, offset: int, value: int) -> None:
        if value == CMD_PULSE_RESET:
            self._reset_sink()

    def peek_byte(self, offset: int) -> int:
        return STATUS_SYSTEM_FLAG

    def reset(self) -> None:
        """Nothing to forget."""

    def save(self) -> State:
        return save_fields(self, 1, self.FIELDS)

    def load(self, state: State) -> None:
        load_fields(self, 1, self.FIELDS, state)
