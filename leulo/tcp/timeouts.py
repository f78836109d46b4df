"""How often the retransmission timer has expired, and how long it took to recover, for TCP_INFO.

A recovery begins with the first timeout in a row, a SYN's too, and ends when what was outstanding
then has arrived, or was not lost after all. The object exists from the first timeout.
[Linux tcp(7)]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from leulo.state import State as Saved
from leulo.state import load_fields, save_fields

if TYPE_CHECKING:
    from leulo.tcp.tcb import Tcb

_FIELDS: Final = ("count", "recoveries", "over_ns", "since_ns")


class Timeouts:
    """``over_ns`` is what the recoveries before have taken, ``since_ns`` when the present one
    began, 0: there is none."""

    __slots__ = _FIELDS

    def __init__(self, count: int = 0, recoveries: int = 0, over_ns: int = 0) -> None:
        self.count: int = count
        self.recoveries: int = recoveries
        self.over_ns: int = over_ns
        self.since_ns: int = 0

    def total_ns(self, now_ns: int) -> int:
        """Time spent in recoveries, the present one included."""
        return self.over_ns + (now_ns - self.since_ns if self.since_ns else 0)

    def end(self, now_ns: int) -> None:
        """No recovery goes on any more."""
        self.over_ns = self.total_ns(now_ns)
        self.since_ns = 0

    def save(self) -> Saved:
        return save_fields(self, 1, _FIELDS)

    @classmethod
    def loaded(cls, state: Saved) -> Timeouts:
        """The object saved as ``state``."""
        timeouts = cls()
        load_fields(timeouts, 1, _FIELDS, state)
        return timeouts


def expired(tcb: Tcb, now_ns: int) -> None:
    """The timer has expired, for the ``tcb.backoff``-th time in a row."""
    timeouts = tcb.timeouts
    if timeouts is None:
        timeouts = tcb.timeouts = Timeouts()
    timeouts.count += 1
    if tcb.backoff == 1:
        timeouts.recoveries += 1
    if not timeouts.since_ns:
        timeouts.since_ns = now_ns
