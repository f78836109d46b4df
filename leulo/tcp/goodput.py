"""How fast the peer gets what is sent: a sample about every round trip, for TCP_INFO.

A sample begins when another ends, and ends when everything is acknowledged that was outstanding
then. One in which the user gave too little tells of the user: it counts only if it is the fastest.
What BBR needs is more, and in `congestion.delivery`. [Linux tcp(7)] [Delivery rate]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from leulo.state import State as Saved
from leulo.state import load_fields, save_fields
from leulo.units import NS_PER_S

if TYPE_CHECKING:
    from leulo.tcp.flight import Flight
    from leulo.tcp.tcb import Tcb

_FIELDS: Final = ("amount", "interval_ns", "is_limited")


class Goodput:
    """``amount`` bytes arrived in ``interval_ns``; ``is_limited``: there were no more to send."""

    __slots__ = _FIELDS

    def __init__(self, amount: int, interval_ns: int, is_limited: bool) -> None:
        self.amount: int = amount
        self.interval_ns: int = interval_ns
        self.is_limited: bool = is_limited

    @property
    def bytes_s(self) -> int:
        return self.amount * NS_PER_S // self.interval_ns

    def save(self) -> Saved:
        return save_fields(self, 1, _FIELDS)

    @classmethod
    def loaded(cls, state: Saved) -> Goodput:
        """What was saved as ``state``."""
        goodput = cls(0, 1, False)
        load_fields(goodput, 1, _FIELDS, state)
        return goodput


def measure(tcb: Tcb, flight: Flight, now_ns: int) -> None:
    """What ``flight.mark`` stands behind has arrived."""
    una = tcb.snd_una
    if flight.mark == flight.mark_una:
        # The first acknowledgement of a burst: what has gone out by now is what is timed.
        flight.mark = tcb.snd_max
        flight.is_mark_limited = _is_limited(tcb)
        if una < flight.mark:
            return
    amount = una - flight.mark_una
    interval_ns = now_ns - flight.mark_at
    if interval_ns > 0 and interval_ns >= tcb.min_rtt_ns:
        is_limited = flight.is_mark_limited
        known = tcb.goodput
        if known is None:
            tcb.goodput = Goodput(amount, interval_ns, is_limited)
        elif not is_limited or amount * known.interval_ns >= known.amount * interval_ns:
            known.amount = amount
            known.interval_ns = interval_ns
            known.is_limited = is_limited
    flight.mark = max(tcb.snd_max, una + 1)
    flight.mark_una = una
    flight.mark_at = now_ns
    flight.is_mark_limited = _is_limited(tcb)


def _is_limited(tcb: Tcb) -> bool:
    """Has the user given less than the path takes?"""
    return tcb.snd_end - tcb.snd_max < tcb.mss and tcb.snd_max - tcb.snd_una < tcb.cwnd
