"""Interrupt lines: a wire with a level, from a device to whoever listens."""

from __future__ import annotations

from collections.abc import Callable


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
        self.set(False)
        self.set(True)
        self.set(False)
