"""How a run ended, as an exit code and in words."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from leulo.errors import (
    EXIT_BUDGET,
    EXIT_FAILED,
    EXIT_GUEST_FAULT,
    EXIT_INTERRUPTED,
    EXIT_OK,
)


class Ending(Enum):
    """Why a run ended."""

    POWER_OFF = "the guest switched itself off"
    FAILED = "the guest ended with an error"
    FAULT = "the guest stopped on a fault"
    DEAD = "the guest halted and nothing can wake it"
    INTERRUPTED = "interrupted"
    TIMEOUT = "the time given is over"
    TICKS = "the ticks given are used up"
    FINISHED = "the scripted client has finished"


_EXIT_CODES: Final = {
    Ending.POWER_OFF: EXIT_OK,
    Ending.FAILED: EXIT_FAILED,
    Ending.FAULT: EXIT_GUEST_FAULT,
    Ending.DEAD: EXIT_GUEST_FAULT,
    Ending.INTERRUPTED: EXIT_INTERRUPTED,
    Ending.TIMEOUT: EXIT_BUDGET,
    Ending.TICKS: EXIT_BUDGET,
    Ending.FINISHED: EXIT_OK,
}


# What a kernel that panics writes to the debug exit: no process can end with more than 255. The low
# byte is EXIT_GUEST_FAULT.
PANIC_STATUS: Final = 0x100 | EXIT_GUEST_FAULT


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended; ``explanation`` is for a person and may be several lines.

    ``guest_status`` is what the guest itself said at its end, if it ended itself.
    """

    ending: Ending
    explanation: str = ""
    guest_status: int | None = None

    @classmethod
    def of_status(cls, status: int) -> Outcome:
        """The end of a guest that switched its machine off with ``status``."""
        if status == 0:
            return cls(Ending.POWER_OFF, "", status)
        if status == PANIC_STATUS:
            return cls(Ending.FAULT, "its own report is on the console above", status)
        return cls(Ending.FAILED, f"its exit status was {status}", status)

    @property
    def exit_code(self) -> int:
        return _EXIT_CODES[self.ending]
