"""Page faults of fetches, told where they belong: the readable reference of thunks' ``fetch``.

The engine translates a block before it executes it, so where the block runs on into a page that is
not there, its fault arrives with the EIP of the block's beginning and nothing executed. Whether a
fault on the next page is one of these cannot be seen; so the engine is asked for one instruction at
a time, once at each, and what faults then faults by itself.
"""

from __future__ import annotations

from typing import Final

from leulo.cpu import layout
from leulo.cpu.control import TICKS, Control
from leulo.cpu.disasm import LONGEST_BYTES
from leulo.cpu.engine import Engine
from leulo.cpu.registers import Registers
from leulo.memory import PAGE_BYTES

_EIP: Final = (layout.CPU_ENV + layout.ENV_EIP) // 8
_CR2: Final = (layout.CPU_ENV + layout.ENV_CR) // 8 + 2
_OLD_EXCEPTION: Final = (layout.CPU_ENV + layout.ENV_OLD_EXCEPTION) // 4
_ALONE: Final = (layout.CPU_ENV + layout.ENV_ALONE) // 8
_ALONE_TICKS: Final = (layout.CPU_ENV + layout.ENV_ALONE_TICKS) // 8
_NOTHING: Final = (1 << 64) - 1
_NEXT_BLOCK: Final = layout.CPU_NEXT_BLOCK // 4


class Fetch:
    """One CPU's: what was tried last."""

    def __init__(self, engine: Engine, shared: Control, registers: Registers) -> None:
        self._words = shared.words
        self._state32, self._state64 = engine.state32, engine.state64
        self._registers = registers

    def is_tried_alone(self) -> bool:
        """At a page fault: True if the engine is to try one instruction first."""
        words, state = self._words, self._state64
        linear = (state[_EIP] + self._registers.segment("cs")[1]) & 0xFFFFFFFF
        behind = (linear & -PAGE_BYTES) + PAGE_BYTES & 0xFFFFFFFF
        was_tried = state[_ALONE] == linear and words[TICKS] - state[_ALONE_TICKS] <= LONGEST_BYTES
        if was_tried or behind != state[_CR2] & 0xFFFFF000:
            return False
        state[_ALONE], state[_ALONE_TICKS] = linear, words[TICKS]
        self._state32[_NEXT_BLOCK] = 1
        self._state32[_OLD_EXCEPTION] = 0xFFFFFFFF  # it has not been raised
        return True

    def forget(self) -> None:
        """Something is delivered: a later fault is another one."""
        self._state64[_ALONE] = _NOTHING
