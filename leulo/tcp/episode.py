"""One loss episode: what is needed to pace it, and to take it back if nothing was lost.

Made when recovery begins, by RACK or by timeout. It outlives recovery by one window, because the
report that a retransmission was not needed comes that late.
"""

from __future__ import annotations

from typing import Final

from leulo.state import State as Saved
from leulo.state import load_fields, save_fields

_FIELDS: Final = (
    "begin", "end", "cwnd", "ssthresh", "again_ms", "pending", "frto", "flight_bytes", "delivered",
    "sent", "is_over", "is_free", "reported", "lost_edge", "arrived", "has_rescued",
)  # fmt: skip

# Values of `frto` [RFC 5682 3.1]
FRTO_OFF: Final = 0
FRTO_FIRST: Final = 1  # the first segment was sent again, its acknowledgement will tell
FRTO_NEW: Final = 2  # new data was let out instead of old


class Episode:
    """Proportional rate reduction [RFC 9937], undo [RFC 4015] [RFC 3708], F-RTO [RFC 5682]."""

    __slots__ = _FIELDS

    def __init__(self, begin: int, cwnd: int, ssthresh: int, flight_bytes: int) -> None:
        self.begin: int = begin  # snd_una then
        self.end: int = 0  # acknowledging this ends what can be taken back, once it `is_over`
        self.cwnd: int = cwnd  # before
        self.ssthresh: int = ssthresh  # before
        self.again_ms: int = -1  # when the first retransmission went out
        self.pending: int = 0  # retransmissions that no DSACK has shown to be superfluous
        self.frto: int = FRTO_OFF
        self.flight_bytes: int = max(1, flight_bytes)  # RecoverFS
        self.delivered: int = 0  # prr_delivered
        self.sent: int = 0  # prr_out
        self.is_over: bool = False  # recovery has ended
        self.is_free: bool = False  # the loss was no sign of congestion
        # Of recovery without RACK: what the acknowledgement at work reports, up to where holes
        # count as lost, and without SACK how much has arrived by the number of duplicates.
        self.reported: int = 0
        self.lost_edge: int = 0
        self.arrived: int = 0
        self.has_rescued: bool = False  # the highest segment has gone again [RFC 6675 4 (4)]

    def allowance(
        self, delivered: int, in_pipe: int, ssthresh: int, mss: int, is_safe: bool
    ) -> int:
        """``delivered`` more bytes have arrived, ``in_pipe`` are on their way: how many may go out
        now? ``is_safe``: things went forward, and nothing else was lost. [RFC 9937 6.2]"""
        self.delivered += delivered
        if in_pipe > ssthresh:
            count = -(-self.delivered * ssthresh // self.flight_bytes) - self.sent
        else:
            count = max(self.delivered - self.sent, delivered)
            if is_safe:
                count += mss
            count = min(ssthresh - in_pipe, count)
        if not self.sent and count < mss:
            return mss  # the first retransmission goes out at once
        return max(count, 0)

    def save(self) -> Saved:
        return save_fields(self, 2, _FIELDS)

    @classmethod
    def loaded(cls, state: Saved) -> Episode:
        """The episode saved as ``state``."""
        episode = cls(0, 0, 0, 1)
        load_fields(episode, 2, _FIELDS, state)
        return episode


class TailProbe:
    """A loss probe that is not decided yet. [RFC 8985 7.3, 7.4]"""

    __slots__ = ("end", "is_again")

    def __init__(self, end: int, is_again: bool) -> None:
        self.end: int = end  # snd_nxt when it went out
        self.is_again: bool = is_again  # it repeated the last segment

    def save(self) -> Saved:
        return {"end": self.end, "is_again": self.is_again}

    @classmethod
    def loaded(cls, state: Saved) -> TailProbe:
        """The probe saved as ``state``."""
        return cls(state["end"], state["is_again"])


_REORDERING_FIELDS: Final = (
    "count", "degree", "dsack_round", "dsacks", "is_seen", "multiplier", "persist",
)  # fmt: skip


class Reordering:
    """What is known of a path that changes the order of segments. [RFC 8985 6.2 step 4]"""

    __slots__ = _REORDERING_FIELDS

    def __init__(self) -> None:
        self.is_seen: bool = False
        self.count: int = 0  # how often
        self.degree: int = 0  # the most segments that one was late by
        self.multiplier: int = 1  # quarters of the least round trip
        self.persist: int = 0  # recoveries until the multiplier is one again
        self.dsacks: int = 0  # segments reported as duplicates, in all
        self.dsack_round: int = 0  # snd_max at the last DSACK that counted, 0: none

    def save(self) -> Saved:
        return save_fields(self, 3, _REORDERING_FIELDS)

    @classmethod
    def loaded(cls, state: Saved) -> Reordering:
        """What was saved as ``state``."""
        reordering = cls()
        load_fields(reordering, 3, _REORDERING_FIELDS, state)
        return reordering
