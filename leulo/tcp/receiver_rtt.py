"""The round trip as the receiver of a stream sees it, who sends nothing that would be timed.

With timestamps: how long ago the peer heard from us when it sent a full segment; a peer that had
nothing to send then makes it longer. Without them: how long a whole window takes to come, of which
only less than before is news. The object exists from the first full segment; TCP_INFO alone asks
for it. [RFC 7323 3.1] [Linux tcp(7)]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from leulo.state import State as Saved
from leulo.state import load_fields, save_fields
from leulo.tcp.seq import MASK
from leulo.units import NS_PER_MS

if TYPE_CHECKING:
    from leulo.tcp.tcb import Tcb

FULL_BYTES: Final = 536  # of what may be a full segment

_LONGEST_MS: Final = 1 << 22  # as in `leulo.tcp.rtt`
_FIELDS: Final = ("echo", "edge", "rtt_ns", "since_ns")


class ReceiverRtt:
    """``rtt_ns`` is smoothed, 0: not known yet."""

    __slots__ = _FIELDS

    def __init__(self) -> None:
        self.rtt_ns: int = 0
        self.echo: int = 0  # the timestamp of ours that was measured last
        self.edge: int = 0  # of the window whose coming is measured
        self.since_ns: int = 0

    def save(self) -> Saved:
        return save_fields(self, 1, _FIELDS)

    @classmethod
    def loaded(cls, state: Saved) -> ReceiverRtt:
        """What was saved as ``state``."""
        measured = cls()
        load_fields(measured, 1, _FIELDS, state)
        return measured


def echo_arrives(tcb: Tcb, length: int, tsecr: int) -> None:
    """A segment with ``length`` bytes, next in order, echoes our timestamp ``tsecr``."""
    if length < tcb.rcv_mss:
        return
    measured = tcb.receiver_rtt
    if measured is None:
        measured = tcb.receiver_rtt = ReceiverRtt()
    elif tsecr == measured.echo:
        return  # the peer had nothing to send meanwhile, or sends a whole flight
    measured.echo = tsecr
    elapsed = (tcb.engine.now_ms + tcb.ts_offset - tsecr) & MASK
    if not tsecr or elapsed >= _LONGEST_MS:
        return
    rtt_ns = (elapsed or 1) * NS_PER_MS
    if not measured.rtt_ns or rtt_ns < measured.rtt_ns:
        measured.rtt_ns = rtt_ns
    else:
        measured.rtt_ns += (rtt_ns - measured.rtt_ns) >> 3


def data_arrives(tcb: Tcb, length: int, now_ns: int) -> None:
    """A segment with ``length`` bytes has come on a connection without timestamps."""
    measured = tcb.receiver_rtt
    if measured is None:
        if length < tcb.rcv_mss:
            return
        measured = tcb.receiver_rtt = ReceiverRtt()
    elif tcb.rcv_nxt < measured.edge:
        return
    else:
        rtt_ns = max(now_ns - measured.since_ns, 1)
        if not measured.rtt_ns or rtt_ns < measured.rtt_ns:
            measured.rtt_ns = rtt_ns
    measured.edge = max(tcb.rcv_adv, tcb.rcv_nxt + 1)
    measured.since_ns = now_ns
