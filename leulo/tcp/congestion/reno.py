"""Reno: slow start and congestion avoidance by counting bytes. [RFC 5681 3.1] [RFC 3465]"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from leulo.tcp.congestion.base import CongestionControl
from leulo.tcp.hystart import growth

if TYPE_CHECKING:
    from leulo.tcp.tcb import Tcb


class Reno(CongestionControl):
    """Without state of its own: one object serves all connections."""

    __slots__ = ()

    name: ClassVar[str] = "reno"

    def on_ack(self, tcb: Tcb, acked: int, now_ns: int) -> None:
        if tcb.cwnd < tcb.ssthresh:
            acked = slow_start(tcb, acked)
            if not acked:
                return
        # One segment per window of acknowledged bytes. [RFC 3465 2.1]
        credit = tcb.cwnd_credit + acked
        if credit >= tcb.cwnd:
            credit -= tcb.cwnd
            tcb.cwnd += tcb.mss
        tcb.cwnd_credit = min(credit, tcb.cwnd)


def slow_start(tcb: Tcb, acked: int) -> int:
    """Grow cwnd towards ssthresh; returns the acknowledged bytes that are left over."""
    room = tcb.ssthresh - tcb.cwnd
    if room <= 0:
        return acked
    # Deviation: slow start counts all bytes of an ACK, not at most 2 MSS of them,
    # because receivers join segments and send one ACK for many; current Linux does the
    # same. [RFC 5681 3.1 (2)] [RFC 3465 2.3]
    rounds = tcb.hystart
    if rounds is not None:
        acked = growth(tcb, rounds, acked)
    if acked <= room:
        tcb.cwnd += acked
        return 0
    tcb.cwnd += room
    return acked - room
