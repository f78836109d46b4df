"""Leave slow start before the queue overflows: HyStart++ [RFC 9406] and Linux's HyStart.

HyStart++ counts rounds by sequence numbers, each has a least round trip. When a round's is clearly
longer than that of the one before, growth goes on at a fraction of the speed for five rounds
(conservative slow start), and then slow start is over; if the round trip falls again meanwhile,
it was a false alarm. Only in the first slow start of a connection.

Its forerunner looks at two things in each round and ends slow start at once: that the least round
trip is clearly longer than the connection's, and that ACKs have come without a gap for half a
round trip, so that what is in flight fills the path. [Linux tcp_cubic]
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
_LEAST_GROWTH_DIVISOR: Final = 2
_MOST_GROWTH: Final = 8  # segments an ACK, where nothing paces what they let out
_CAUTIOUS_ROUNDS: Final = 5

# [Linux tcp_cubic]
_LOW_WINDOW: Final = 16  # segments; below it nothing is looked at
_GAP_NS: Final = 2 * NS_PER_MS  # ACKs that come closer are a train
_MOST_BURST_NS: Final = NS_PER_MS
_BURST_BYTES: Final = 4 * 65_536

# Values of `Config.hystart`
LINUX: Final = "linux"  # with CUBIC alone
PLUS_PLUS: Final = "++"

_NO_LOSS_YET: Final = 1 << 40  # ssthresh of a new connection
_FIELDS: Final = (
    "window_end", "last_rtt_ns", "rtt_ns", "samples", "is_cautious", "baseline_ns", "rounds",
    "round_at", "ack_at",
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
        self.round_at: int = 0  # when the round began (HyStart)
        self.ack_at: int = 0  # the last ACK of the train (HyStart)

    def save(self) -> Saved:
        return save_fields(self, 2, _FIELDS)

    @classmethod
    def loaded(cls, state: Saved) -> HyStart:
        """The rounds saved as ``state``."""
        rounds = cls(0)
        load_fields(rounds, 2, _FIELDS, state)
        return rounds


def growth(tcb: Tcb, rounds: HyStart, acked: int) -> int:
    """By how much slow start grows for ``acked`` bytes. [RFC 9406 4.2]"""
    config = tcb.engine.config
    if tcb.pacer is None and config.hystart == PLUS_PLUS:
        acked = min(acked, _MOST_GROWTH * tcb.mss)
    if rounds.is_cautious:
        acked //= max(_LEAST_GROWTH_DIVISOR, config.css_growth_divisor)
    return acked


def sample(tcb: Tcb, rtt_ns: int) -> None:
    """An acknowledgement in slow start shows a round trip; snd_una has moved already.
    [RFC 9406 4.2]"""
    rounds = tcb.hystart
    kind = tcb.engine.config.hystart
    if kind == LINUX:
        if tcb.congestion.name == "cubic":
            _sample_as_linux(tcb, rtt_ns)
        return
    if rounds is None:
        if tcb.ssthresh < _NO_LOSS_YET or kind != PLUS_PLUS or tcb.congestion.is_model:
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


def _sample_as_linux(tcb: Tcb, rtt_ns: int) -> None:
    now_ns = tcb.engine.now_ns
    rounds = tcb.hystart
    if rounds is None:
        rounds = tcb.hystart = HyStart(0)
    if tcb.cwnd < _LOW_WINDOW * tcb.mss:
        return
    if tcb.snd_una > rounds.window_end:
        rounds.window_end = tcb.snd_nxt
        rounds.round_at = rounds.ack_at = now_ns
        rounds.rtt_ns = rounds.samples = 0
    least_ns = min(tcb.min_rtt_ns, rtt_ns) or rtt_ns
    is_full = False
    if now_ns - rounds.ack_at <= _GAP_NS:
        rounds.ack_at = now_ns
        # The peer's end may join what has come in a burst.
        burst_ns = min(_MOST_BURST_NS, _BURST_BYTES * tcb.srtt_ns // (2 * tcb.cwnd))
        train_ns = least_ns + burst_ns
        is_full = now_ns - rounds.round_at > (train_ns >> 1 if tcb.pacer is None else train_ns)
    if not rounds.rtt_ns or rtt_ns < rounds.rtt_ns:
        rounds.rtt_ns = rtt_ns
    if rounds.samples < _SAMPLES:
        rounds.samples += 1
    else:
        spread_ns = max(_LEAST_THRESHOLD_NS, min(least_ns // _RTT_DIVISOR, _MOST_THRESHOLD_NS))
        is_full = is_full or rounds.rtt_ns > least_ns + spread_ns
    if is_full:
        tcb.ssthresh = tcb.cwnd
        tcb.hystart = None
