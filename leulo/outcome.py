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


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended; ``explanation`` is for a person and may be several lines."""

    ending: Ending
    explanation: str = ""

    @property
    def exit_code(self) -> int:
        return _EXIT_CODES[self.ending]
