"""For how long what kept a sender back, as TCP_INFO tells it. [Linux tcp(7)]

Time with data on its way or waiting is busy time; of it, what the peer's window and what the user's
small buffer have cost is told apart. The object exists from the first time that either did.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from leulo.state import State as Saved
from leulo.state import load_fields, save_fields

if TYPE_CHECKING:
    from leulo.tcp.tcb import Tcb

NOTHING: Final = 0
WINDOW: Final = 1  # the peer's
BUFFER: Final = 2  # the user would have more to send, had it been let in before

_FIELDS: Final = ("kind", "since_ns", "window_ns", "buffer_ns")


class Limits:
    """``kind`` is what limits now, since ``since_ns``; the others are totals of what is over."""

    __slots__ = _FIELDS

    def __init__(self) -> None:
        self.kind: int = NOTHING
        self.since_ns: int = 0
        self.window_ns: int = 0
        self.buffer_ns: int = 0

    def change(self, kind: int, now_ns: int) -> None:
        """From now on it is ``kind``."""
        if kind == self.kind:
            return
        self.window_ns, self.buffer_ns = self.totals(now_ns)
        self.kind = kind
        self.since_ns = now_ns

    def totals(self, now_ns: int) -> tuple[int, int]:
        """Nanoseconds that the peer's window and the buffer have limited."""
        elapsed = now_ns - self.since_ns
        return (
            self.window_ns + elapsed * (self.kind == WINDOW),
            self.buffer_ns + elapsed * (self.kind == BUFFER),
        )

    def save(self) -> Saved:
        return save_fields(self, 1, _FIELDS)

    @classmethod
    def loaded(cls, state: Saved) -> Limits:
        """The object saved as ``state``."""
        limits = cls()
        load_fields(limits, 1, _FIELDS, state)
        return limits


def judge(tcb: Tcb, cwnd_edge: int, window_edge: int, now_ns: int) -> None:
    """All that may leave has left, up to the one edge or the other: what limits now?"""
    kind = NOTHING
    nxt = tcb.snd_nxt
    if nxt < tcb.snd_end:
        next_end = min(nxt + tcb.mss, tcb.snd_end)
        if window_edge < next_end <= cwnd_edge:
            kind = WINDOW
    elif tcb.is_write_blocked and nxt + tcb.mss <= cwnd_edge:
        kind = BUFFER
    if tcb.limits is not None:
        tcb.limits.change(kind, now_ns)
    elif kind:
        tcb.limits = Limits()
        tcb.limits.change(kind, now_ns)
