"""Interrupt lines: a wire with a level, from a device to whoever listens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Line:
    """One wire. The listener is called only when the level changes."""

    __slots__ = ("_listener", "level")

    def __init__(self, listener: Callable[[bool], None]) -> None:
        self._listener = listener
        self.level = False

    def set(self, level: bool) -> None:
        if level != self.level:
            self.level = level
            self._listener(level)

    def pulse(self) -> None:
        """A rising edge whatever the level was; the line is low afterwards."""
        if self.level:
            self.level = False
            self._listener(False)
        self._listener(True)
        self._listener(False)


class IntrPin(Protocol):
    """The CPU's INTR pin, as the interrupt controller sees it.

    The vector is only offered: the CPU takes it at its next block with IF set, without an exit,
    so the controller learns of the acknowledge cycle when it next asks.
    """

    def post(self, vector: int | None) -> None:
        """Offer ``vector``, or withdraw the offer."""

    def taken(self) -> bool:
        """True once if the offered vector was taken since the last question."""
