"""How fast the path delivers: one sample an acknowledgement, for those who ask.

Whenever something is sent it is written down how much had been delivered by then, and when. The
acknowledgement of it tells over what time how much more has arrived: the longer of the times that
sending and acknowledging took, so a burst of ACKs is not taken for a fast path. What leaves in one
instant shares one note. [Delivery rate]
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final

from leulo.state import State as Saved
from leulo.state import load_fields, save_fields

if TYPE_CHECKING:
    from leulo.tcp.tcb import Tcb

Note = list[int]  # notes compare by time, which is different in each

SENT_AT: Final = 0
BEGIN: Final = 1  # of new data in it
END: Final = 2  # and then: delivered, delivered_at, first_sent_at, whether app_limited, at SENT_AT

_FIELDS: Final = (
    "amount", "app_limited", "delivered", "delivered_at", "first_sent_at", "interval_ns",
    "is_app_limited", "news", "notes", "prior_delivered", "rtt_ns",
)  # fmt: skip


class Delivery:
    """Counts bytes. The sample of the last `take` is in ``amount`` and what follows it."""

    __slots__ = _FIELDS

    def __init__(self, delivered: int, now_ns: int) -> None:
        self.notes: list[Note] = []  # of what is in flight, by time
        self.delivered: int = delivered
        self.delivered_at: int = now_ns
        self.first_sent_at: int = now_ns  # begins the sample of what is sent now
        self.app_limited: int = 0  # until so much is delivered, samples show the application's pace
        self.amount: int = 0  # delivered in interval_ns
        self.interval_ns: int = 0  # 0: no valid sample
        self.prior_delivered: int = 0  # when what was acknowledged was sent
        self.is_app_limited: bool = False
        self.rtt_ns: int = 0  # 0: none can be told
        self.news: int = 0  # delivered by this acknowledgement

    def begins(self, now_ns: int) -> None:
        """Nothing is in flight, and something will be sent."""
        self.first_sent_at = self.delivered_at = now_ns
        self.notes = []

    def sent(self, tcb: Tcb, begin: int, now_ns: int) -> None:
        """New data from ``begin`` to snd_nxt was sent, or something again."""
        notes = self.notes
        end = max(begin, tcb.snd_nxt)
        if notes and notes[-1][SENT_AT] == now_ns:
            notes[-1][END] = end
        else:
            notes.append(
                [
                    now_ns, begin, end, self.delivered, self.delivered_at, self.first_sent_at,
                    int(self.app_limited > 0),
                ]
            )  # fmt: skip
        if tcb.snd_end - tcb.snd_nxt < tcb.mss and (
            tcb.flight is None or not tcb.flight.lost_bytes
        ):
            pipe = tcb.pipe()
            if pipe < tcb.cwnd:
                self.app_limited = max(1, self.delivered + pipe)

    def take(self, tcb: Tcb, now_ns: int) -> bool:
        """An acknowledgement was looked at. False: it delivered nothing."""
        total = total_of(tcb)
        self.news = total - self.delivered
        if self.news <= 0:
            return False
        self.delivered = total
        self.delivered_at = now_ns
        if self.app_limited and total > self.app_limited:
            self.app_limited = 0
        self.interval_ns = self.rtt_ns = self.amount = 0
        note = self._newest(tcb, now_ns)
        if note is None:
            return True
        sent_at, _, _, delivered, delivered_at, first_sent_at, is_app_limited = note
        self.prior_delivered = delivered
        self.is_app_limited = is_app_limited != 0
        interval_ns = max(sent_at - first_sent_at, now_ns - delivered_at)
        self.first_sent_at = sent_at
        if interval_ns > 0 and interval_ns >= tcb.min_rtt_ns:
            self.interval_ns = interval_ns
            self.amount = total - delivered
        return True

    def _newest(self, tcb: Tcb, now_ns: int) -> Note | None:
        """The note of what was sent last among what this acknowledgement is for."""
        una = tcb.snd_una
        notes = self.notes
        gone = 0
        note: Note | None = None
        for later in notes:
            if later[END] > una:
                if later[BEGIN] < una:
                    note = later
                break
            note = later
            gone += 1
        flight = tcb.flight
        if flight is not None and flight.order is not None:
            # RACK knows which transmission has arrived, of data sent again, too.
            rack_at = flight.rack_at
            at = bisect_left(notes, [rack_at])
            if at < len(notes) and notes[at][SENT_AT] == rack_at:
                note = notes[at]
            if note is not None and note[SENT_AT] == rack_at:
                self.rtt_ns = flight.rack_rtt_ns
        elif note is not None and not tcb.recovery:
            self.rtt_ns = now_ns - note[SENT_AT]
        if gone:
            del notes[:gone]
        return note

    def save(self) -> Saved:
        out = save_fields(self, 1, _FIELDS)
        out["notes"] = [list(note) for note in self.notes]
        return out

    @classmethod
    def loaded(cls, state: Saved) -> Delivery:
        """What was saved as ``state``."""
        delivery = cls(0, 0)
        load_fields(delivery, 1, _FIELDS, state)
        delivery.notes = [list(note) for note in state["notes"]]
        return delivery


def total_of(tcb: Tcb) -> int:
    """Bytes that the peer is known to hold."""
    board = tcb.scoreboard
    return tcb.snd_una - tcb.iss + (0 if board is None else board.sacked)
