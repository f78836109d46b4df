"""What the hypercalls tell the event stream.

Names are resolved here, once, so that a subscriber needs no table of the ABI.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from leulo.hypercalls import abi
from leulo.trace import Event

OP_NAMES: dict[int, str] = {int(op): op.name for op in abi.Op}
STATUS_NAMES: dict[int, str] = {int(status): status.name for status in abi.Status}
ERRNO_NAMES: dict[int, str] = {int(errno): errno.name for errno in abi.Errno}


def op_name(op: int) -> str:
    """``SEND``, or the number of an operation that has no name."""
    return OP_NAMES.get(op) or str(op)


def errno_name(result: int) -> str:
    """``EAGAIN`` for -11; empty for a count."""
    return "" if result >= 0 else ERRNO_NAMES.get(-result) or str(-result)


@dataclass(frozen=True, slots=True)
class HypercallEnter(Event):
    """The guest asks. ``flags``, ``events`` and ``args`` are as it wrote them."""

    NAME: ClassVar[str] = "hypercall.enter"
    op: str
    handle: int
    flags: int
    events: int
    args: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class HypercallReturn(Event):
    """The guest is answered; ``errno`` is the name of a negative ``result``."""

    NAME: ClassVar[str] = "hypercall.return"
    op: str
    handle: int
    status: str
    result: int
    errno: str
    events: int


@dataclass(frozen=True, slots=True)
class DescriptorRefused(Event):
    """The gate was given an address where no descriptor can be; nothing could be answered."""

    NAME: ClassVar[str] = "hypercall.refused"
    address: int


@dataclass(frozen=True, slots=True)
class EventPut(Event):
    """A socket's mask went into the event ring, anew or over its unread entry."""

    NAME: ClassVar[str] = "hypercall.event"
    handle: int
    cookie: int
    mask: int
    unread: int  # entries in the ring now
    is_update: bool


@dataclass(frozen=True, slots=True)
class InterruptRaised(Event):
    """The ring's interrupt was raised, with so many entries unread."""

    NAME: ClassVar[str] = "hypercall.irq"
    unread: int


@dataclass(frozen=True, slots=True)
class InterruptSeen(Event):
    """The first hypercall after the guest took entries out: how long the interrupt took."""

    NAME: ClassVar[str] = "hypercall.seen"
    raised_ns: int
    latency_ns: int


@dataclass(frozen=True, slots=True)
class TraceMark(Event):
    """A text from the guest. ``text`` holds printable characters only."""

    NAME: ClassVar[str] = "guest.mark"
    text: str


@dataclass(frozen=True, slots=True)
class GuestBreak(Event):
    """The guest asked for the debugger."""

    NAME: ClassVar[str] = "guest.break"
    number: int
