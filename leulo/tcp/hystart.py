"""HyStart++: leave slow start when the round trip grows, before the queue overflows. [RFC 9406]

Rounds are counted by sequence numbers, each has a least round trip. When a round's is clearly
longer than that of the one before, growth goes on at a quarter of the speed for five rounds
(conservative slow start), and then slow start is over; if the round trip falls again meanwhile,
it was a false alarm. Only in the first slow start of a connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from leulo.state import State as Saved
from leulo.state import load_fields, save_fields
from leulo.units import NS_PER_MS

if TYPE_CHECKING:
    from leulo.tcp.tcb import Tcb

# [RFC 9406 4.3]
_LEAST_THRESHOLD_NS: Final = 4 * NS_PER_MS
_MOST_THRESHOLD_NS: Final = 16 * NS_PER_MS
_RTT_DIVISOR: Final = 8
_SAMPLES: Final = 8
GROWTH_DIVISOR: Final = 4
_CAUTIOUS_ROUNDS: Final = 5

_NO_LOSS_YET: Final = 1 << 40  # ssthresh of a new connection
_FIELDS: Final = (
    "window_end", "last_rtt_ns", "rtt_ns", "samples", "is_cautious", "baseline_ns", "rounds",
)  # fmt: skip


class HyStart:
    """The rounds of one slow start. Times in nanoseconds, 0: none yet."""

    __slots__ = _FIELDS

    def __init__(self, window_end: int) -> None:
        self.window_end: int = window_end  # acknowledging this ends the round
        self.last_rtt_ns: int = 0  # the least of the round before
        self.rtt_ns: int = 0  # the least of this round
        self.samples: int = 0
        self.is_cautious: bool = False  # in conservative slow start
        self.baseline_ns: int = 0  # the round trip that raised the alarm
        self.rounds: int = 0  # of caution so far

    def save(self) -> Saved:
        return save_fields(self, 1, _FIELDS)

    @classmethod
    def loaded(cls, state: Saved) -> HyStart:
        """The rounds saved as ``state``."""
        rounds = cls(0)
        load_fields(rounds, 1, _FIELDS, state)
        return rounds


def sample(tcb: Tcb, rtt_ns: int) -> None:
    """An acknowledgement in slow start shows a round trip; snd_una has moved already.
    [RFC 9406 4.2]"""
    rounds = tcb.hystart
    if rounds is None:
        if (
            tcb.ssthresh < _NO_LOSS_YET
            or not tcb.engine.config.has_hystart
            or tcb.congestion.is_model
        ):
            return
        rounds = tcb.hystart = HyStart(tcb.snd_nxt)
    if not rounds.rtt_ns or rtt_ns < rounds.rtt_ns:
        rounds.rtt_ns = rtt_ns
    rounds.samples += 1
    if rounds.samples >= _SAMPLES:
        if rounds.is_cautious:
            if rounds.rtt_ns < rounds.baseline_ns:
                rounds.is_cautious = False  # a false alarm
                rounds.baseline_ns = 0
        elif rounds.last_rtt_ns:
            last = rounds.last_rtt_ns
            threshold = max(_LEAST_THRESHOLD_NS, min(last // _RTT_DIVISOR, _MOST_THRESHOLD_NS))
            if rounds.rtt_ns >= last + threshold:
                rounds.is_cautious = True
                rounds.baseline_ns = rounds.rtt_ns
                rounds.rounds = 0
    if tcb.snd_una >= rounds.window_end:
        if rounds.is_cautious:
            rounds.rounds += 1
            if rounds.rounds >= _CAUTIOUS_ROUNDS:
                tcb.ssthresh = tcb.cwnd
                tcb.hystart = None
                return
        rounds.window_end = tcb.snd_nxt
        rounds.last_rtt_ns = rounds.rtt_ns
        rounds.rtt_ns = 0
        rounds.samples = 0
