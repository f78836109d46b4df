"""How many ACKs strangers can make us send. [RFC 5961 7, 10]

A challenge ACK answers a segment that may be forged; all connections share one budget a second.
An attacker must not learn from it whether a guess hit [CVE-2016-5696], so the budget is drawn
anew each second from a random range, as Linux does it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from leulo.state import State as Saved
from leulo.units import NS_PER_S

_RANDOM_BITS: Final = 16


class ChallengeLimit:
    """A budget per second of given time."""

    __slots__ = ("_left", "_random_bits", "_second", "per_s")

    def __init__(self, per_s: int, random_bits: Callable[[int], int]) -> None:
        self.per_s: int = per_s
        self._random_bits = random_bits
        self._second: int = -1
        self._left: int = 0

    def allows(self, now_ns: int) -> bool:
        """May one more be sent? Counts it if so."""
        second = now_ns // NS_PER_S
        if second != self._second:
            self._second = second
            spread = self.per_s * self._random_bits(_RANDOM_BITS) >> _RANDOM_BITS
            self._left = (self.per_s + 1) // 2 + spread
        if self._left <= 0:
            return False
        self._left -= 1
        return True

    def save(self) -> Saved:
        return {"second": self._second, "left": self._left}

    def load(self, state: Saved) -> None:
        self._second = state["second"]
        self._left = state["left"]
