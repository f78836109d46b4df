"""TRACE_MARK and BREAK: the guest speaks to whoever watches it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from leulo.clock import Clock
from leulo.hypercalls import abi
from leulo.hypercalls.events import GuestBreak, TraceMark
from leulo.hypercalls.refusal import Refused
from leulo.memory import Memory
from leulo.trace import Channel, Trace

_BAD_ARGUMENT: Final = int(abi.Status.BAD_ARGUMENT)


class LabCalls:
    """``breakpoint`` is called with the guest's number; a debugger puts itself there."""

    def __init__(self, memory: Memory, clock: Clock, trace: Trace) -> None:
        self._memory = memory
        self._clock = clock
        self._mark: Channel[TraceMark] = trace.channel(TraceMark)
        self._break: Channel[GuestBreak] = trace.channel(GuestBreak)
        self.breakpoint: Callable[[int], None] = lambda number: None
        self.marks = 0
        self.breaks = 0

    def op_trace_mark(
        self, call: int, handle: int, flags: int, events: int, cookie: int,
        a0: int, a1: int, a2: int, a3: int,
    ) -> tuple[int, int, int]:  # fmt: skip
        if a1 > abi.MAX_MARK_BYTES:
            raise Refused(_BAD_ARGUMENT)
        raw = self._memory.read(a0, a1)
        self.marks += 1
        if self._mark.active:
            text = raw.decode("utf-8", "replace")
            text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
            self._mark.emit(TraceMark(self._clock.now_ns(), text))
        return handle, 0, 0

    def op_break(
        self, call: int, handle: int, flags: int, events: int, cookie: int,
        a0: int, a1: int, a2: int, a3: int,
    ) -> tuple[int, int, int]:  # fmt: skip
        self.breaks += 1
        if self._break.active:
            self._break.emit(GuestBreak(self._clock.now_ns(), a0))
        self.breakpoint(a0)
        return handle, 0, 0
