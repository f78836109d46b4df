"""The words that one CPU's machine code and Python share.

Index by the names here, in 8-byte words; ``thunks`` has the same positions as byte offsets. Only
the thread that runs the CPU writes most of them; any thread may set a flag and then `LIMIT`.
"""

from __future__ import annotations

import ctypes
from typing import Final

TICKS: Final = 0  # code bytes executed, the running block included
LIMIT: Final = 1  # the block thunk takes its slow path at TICKS >= LIMIT
GRANT: Final = 2  # the run ends at the first block that starts at TICKS >= GRANT
FLAGS: Final = 3  # reasons to end it sooner
CPU: Final = 4
ENV: Final = 5
KICK: Final = 6  # address of the engine's own "leave this chain of blocks"
EMU_STOP: Final = 7
DELIVER: Final = 8
RAISE: Final = 9
BREAKPOINT: Final = 10
OUT: Final = 11
IN: Final = 12
TSC_NUM: Final = 13
TSC_DEN: Final = 14
TSC_OFFSET: Final = 15
CLOCK: Final = 16
DEPTH: Final = 17  # exceptions begun and not yet delivered; not zero after a run: triple fault
EXCEPTIONS: Final = 18  # exceptions and software interrupts begun, ever
DOUBLE_DEPTH: Final = 19
CHAIN: Final = 20  # four entries of four words: vector and error code, EIP, CR2, ESP
DOUBLE_CHAIN: Final = 36
LEVELS: Final = 52  # of TICKS, code bytes by privilege level 0 to 3, if they are counted
WORDS: Final = 56

CHAIN_ENTRIES: Final = 4
CHAIN_WORDS: Final = 4

FLAG_STOP: Final = 1
FLAG_ERROR: Final = 2
FLAG_OFFER: Final = 0x100  # no reason: a deliverer that has to look at every block
AT_ONCE: Final = -1  # as LIMIT: no number of ticks is below it


class Control:
    """The block itself, zeroed. ``words`` is a memoryview of signed 8-byte words."""

    __slots__ = ("_words", "address", "words")

    def __init__(self) -> None:
        self._words = (ctypes.c_int64 * WORDS)()
        self.address = ctypes.addressof(self._words)
        self.words: memoryview = memoryview(self._words).cast("B").cast("q")
