"""Chance from a seed, in integers: the same on every computer.

The generator is PCG-XSH-RR with 64 bits of state and 32 bits of output (M. E. O'Neill, "PCG: A
Family of Simple Fast Space-Efficient Statistically Good Algorithms for Random Number Generation",
2014). It is for simulation, never for secrets.
"""

from __future__ import annotations

from typing import Final

from leulo.state import State, load_fields, save_fields

_MULTIPLIER: Final = 6364136223846793005
_MASK_64: Final = (1 << 64) - 1
_MASK_32: Final = (1 << 32) - 1
PER_BILLION: Final = 10**9


class Chance:
    """One stream of random numbers; another ``stream`` of the same seed is independent."""

    FIELDS: Final = ("state", "increment")

    def __init__(self, seed: int, stream: int) -> None:
        self.increment = (stream << 1 | 1) & _MASK_64
        self.state = 0
        self.word()
        self.state = (self.state + seed) & _MASK_64
        self.word()

    def word(self) -> int:
        """The next 32 bits."""
        old = self.state
        self.state = (old * _MULTIPLIER + self.increment) & _MASK_64
        shifted = (old >> 18 ^ old) >> 27 & _MASK_32
        turn = old >> 59
        return (shifted >> turn | shifted << (-turn & 31)) & _MASK_32

    def bits(self, count: int) -> int:
        """An integer of ``count`` random bits."""
        value = 0
        for _ in range(0, count, 32):
            value = value << 32 | self.word()
        return value >> (-count % 32)

    def below(self, limit: int) -> int:
        """An integer from 0 to ``limit`` less one; the bias is under one in 2**32."""
        words = 2 + limit.bit_length() // 32
        return self.bits(32 * words) * limit >> 32 * words

    def happens(self, per_billion: int) -> bool:
        """True with this probability; no number is drawn for "never"."""
        return per_billion > 0 and self.word() * PER_BILLION >> 32 < per_billion

    def save(self) -> State:
        return save_fields(self, 1, self.FIELDS)

    def load(self, state: State) -> None:
        load_fields(self, 1, self.FIELDS, state)
