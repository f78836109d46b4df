"""What a machine tells the trace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from leulo.trace import Event


@dataclass(frozen=True, slots=True)
class PortExit(Event):
    """The guest touched a port; ``value`` is what was written or read."""

    NAME: ClassVar[str] = "exit.port"
    machine: str
    direction: str
    port: int
    width: int
    value: int


@dataclass(frozen=True, slots=True)
class Console(Event):
    """Bytes that left the serial port."""

    NAME: ClassVar[str] = "console.output"
    machine: str
    text: str


@dataclass(frozen=True, slots=True)
class DebugText(Event):
    """Text that the guest wrote to the debug console."""

    NAME: ClassVar[str] = "console.debug"
    machine: str
    text: str
