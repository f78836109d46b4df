"""BBR: the window and the rate follow a model of the path. [BBR] [Linux tcp_bbr]

The model is the greatest delivery rate of the last ten round trips and the least round trip of the
last ten seconds. Their product is what the path holds: the sender fills it in start-up, drains
what queue that made, then probes for more with a quarter more for one round trip and a quarter
less for the next; every ten seconds it looks at the round trip with next to nothing in flight.
Losses bound it only while they are repaired. This is version 1, as the algorithm of this name is
in Linux; rates are bytes a second, gains 256ths, everything integers.
"""

# Deviation: no long-term rate (policers are not detected), because it serves only paths that drop
# a fifth of what they carry. [Linux tcp_bbr]
# Deviation: an echo of marks changes neither rate nor window, because version 1 knows only what
# arrives; segments are marked as capable all the same, as in Linux. [RFC 3168 6.1.2]

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from leulo.state import State as Saved
from leulo.state import load_fields, save_fields
from leulo.tcp.congestion.base import CongestionControl
from leulo.tcp.congestion.delivery import Delivery, total_of
from leulo.tcp.pacer import Pacer, quantum
from leulo.units import NS_PER_MS, NS_PER_S

if TYPE_CHECKING:
    from leulo.tcp.tcb import Tcb

STARTUP: Final = 0
DRAIN: Final = 1
PROBE_BW: Final = 2
PROBE_RTT: Final = 3

_UNIT: Final = 256
_UNIT_S: Final = _UNIT * NS_PER_S
_HIGH_GAIN: Final = 739  # 2 / ln 2: doubles the rate every round trip
_DRAIN_GAIN: Final = 88  # its inverse
_CWND_GAIN: Final = 512
_CYCLE: Final = (320, 192, 256, 256, 256, 256, 256, 256)
_BW_ROUNDS: Final = 10
_MIN_RTT_NS: Final = 10 * NS_PER_S  # how long the least round trip counts
_PROBE_RTT_NS: Final = 200 * NS_PER_MS
_LEAST_SEGMENTS: Final = 4
_FULL_GROWTH: Final = 320  # less than a quarter more ...
_FULL_ROUNDS: Final = 3  # ... in three rounds: the path is full
_MARGIN_PERCENT: Final = 99  # of the rate, so that no queue stays
_EXTRA_ROUNDS: Final = 5
_MOST_EXTRA_NS: Final = 100 * NS_PER_MS
_EPOCH_BYTES: Final = 1 << 30
_FIRST_RTT_NS: Final = NS_PER_MS  # before there is any
_INFINITE: Final = 1 << 40

# What recovery was at the last acknowledgement
_OPEN: Final = 0
_REPAIRING: Final = 1
_TIMED_OUT: Final = 2

_FIELDS: Final = (
    "bws", "cycle", "cycle_at", "epoch_acked", "epoch_at", "extra", "extra_index", "extra_rounds",
    "full_bw", "full_rounds", "is_conserving", "is_full", "is_probe_round_over", "is_restarting",
    "is_round_new", "min_rtt_at", "min_rtt_ns", "mode", "next_round", "prior_cwnd", "probe_rtt_end",
    "repairs", "rounds",
)  # fmt: skip


class Bbr(CongestionControl):
    """One object for each connection. Times in nanoseconds, sizes in bytes."""

    __slots__ = (*_FIELDS, "delivery")

    name: ClassVar[str] = "bbr"
    is_model: ClassVar[bool] = True

    def __init__(self) -> None:
        self.delivery: Delivery | None = None  # from `begin` on
        self.mode: int = STARTUP
        self.bws: list[list[int]] = []  # (round, rate), both falling in rate: a moving maximum
        self.rounds: int = 0
        self.next_round: int = 0  # delivered, when the next round begins
        self.is_round_new: bool = False
        self.min_rtt_ns: int = 0  # 0: none yet
        self.min_rtt_at: int = 0
        self.probe_rtt_end: int = 0
        self.is_probe_round_over: bool = False
        self.prior_cwnd: int = 0  # before recovery or PROBE_RTT cut it
        self.is_full: bool = False
        self.full_bw: int = 0
        self.full_rounds: int = 0
        self.cycle: int = 0  # index of the gain
        self.cycle_at: int = 0
        self.repairs: int = _OPEN
        self.is_conserving: bool = False  # the first round of recovery
        self.is_restarting: bool = False  # after the application was silent
        # How much more arrives at once than the rate explains: joined ACKs.
        self.extra: list[int] = [0, 0]  # greatest of this window of rounds and of the last
        self.extra_index: int = 0
        self.extra_rounds: int = 0
        self.epoch_at: int = 0
        self.epoch_acked: int = 0

    # -- what the engine tells

    def begin(self, tcb: Tcb, now_ns: int) -> None:
        self.delivery = Delivery(total_of(tcb), now_ns)
        self.next_round = self.delivery.delivered
        self.min_rtt_ns = tcb.min_rtt_ns
        self.min_rtt_at = self.epoch_at = self.cycle_at = now_ns
        tcb.ssthresh = _INFINITE
        tcb.is_cwnd_limited = True  # so that `on_ack` comes
        if tcb.pacer is None:
            tcb.pacer = Pacer(tcb)
        bw = tcb.cwnd * NS_PER_S // (tcb.srtt_ns or _FIRST_RTT_NS)
        tcb.pacer.model_rate = max(1, _paced(bw, _HIGH_GAIN))

    def on_ack(self, tcb: Tcb, acked: int, now_ns: int) -> None:
        # With SACK `on_delivered` follows as soon as everything is known.
        if tcb.is_ordinary or not (tcb.has_sack and tcb.engine.config.has_rack):
            self.on_delivered(tcb, 0, now_ns)

    def on_delivered(self, tcb: Tcb, lost: int, now_ns: int) -> None:
        delivery = self.delivery
        pacer = tcb.pacer
        if delivery is None or pacer is None or not delivery.take(tcb, now_ns):
            return
        self.is_round_new = False
        if delivery.interval_ns:
            self._update_bw(delivery)
        bw = self.bw()
        if delivery.interval_ns:
            self._update_extra(tcb, delivery, bw, now_ns)
        if self.mode == PROBE_BW:
            self._update_cycle(tcb, delivery, bw, lost, now_ns)
        elif not self.is_full or self.mode == DRAIN:
            self._check_full(delivery, bw)
            self._check_drain(tcb, bw, now_ns)
        self._update_min_rtt(tcb, delivery, now_ns)
        rate = _paced(bw, self._pacing_gain())
        if rate and (self.is_full or rate > pacer.model_rate):
            pacer.model_rate = rate
        self._set_cwnd(tcb, delivery, lost, bw)

    def on_sending(self, tcb: Tcb, now_ns: int) -> None:
        delivery = self.delivery
        if delivery is None:
            return
        delivery.begins(now_ns)
        if not delivery.app_limited:
            return
        self.is_restarting = True
        self.epoch_at = now_ns
        self.epoch_acked = 0
        if self.mode == PROBE_BW and tcb.pacer is not None:
            tcb.pacer.model_rate = _paced(self.bw(), _UNIT) or tcb.pacer.model_rate
        elif self.mode == PROBE_RTT:
            self._check_probe_rtt(tcb, now_ns)

    def on_sent(self, tcb: Tcb, begin: int, now_ns: int) -> None:
        if self.delivery is not None:
            self.delivery.sent(tcb, begin, now_ns)

    def on_loss(self, tcb: Tcb, in_flight: int, now_ns: int) -> None:
        """The model is not impressed; but recovery cuts the window for a while."""
        self._save_cwnd(tcb)

    def on_timeout(self, tcb: Tcb, in_flight: int, now_ns: int) -> None:
        self._save_cwnd(tcb)
        self.repairs = _TIMED_OUT
        self.full_bw = 0
        self.is_round_new = True

    def on_undo(self, tcb: Tcb, now_ns: int) -> None:
        self.full_bw = self.full_rounds = 0

    # -- the model

    def bw(self) -> int:
        """Estimated rate of the bottleneck, bytes/s; 0: no sample yet."""
        return self.bws[0][1] if self.bws else 0

    def _update_bw(self, delivery: Delivery) -> None:
        if delivery.prior_delivered >= self.next_round:
            self.next_round = delivery.delivered
            self.rounds += 1
            self.is_round_new = True
            self.is_conserving = False
        sample = delivery.amount * NS_PER_S // delivery.interval_ns
        bws = self.bws
        if not delivery.is_app_limited or sample >= self.bw():
            while bws and bws[-1][1] <= sample:
                bws.pop()
            bws.append([self.rounds, sample])
        while len(bws) > 1 and bws[0][0] < self.rounds - _BW_ROUNDS:
            del bws[0]

    def _update_extra(self, tcb: Tcb, delivery: Delivery, bw: int, now_ns: int) -> None:
        if self.is_round_new:
            self.extra_rounds += 1
            if self.extra_rounds >= _EXTRA_ROUNDS:
                self.extra_rounds = 0
                self.extra_index ^= 1
                self.extra[self.extra_index] = 0
        expected = bw * (now_ns - self.epoch_at) // NS_PER_S
        if self.epoch_acked <= expected or self.epoch_acked + delivery.news >= _EPOCH_BYTES:
            self.epoch_acked = expected = 0
            self.epoch_at = now_ns
        self.epoch_acked += delivery.news
        extra = min(self.epoch_acked - expected, tcb.cwnd)
        if extra > self.extra[self.extra_index]:
            self.extra[self.extra_index] = extra

    def _update_cycle(self, tcb: Tcb, delivery: Delivery, bw: int, lost: int, now_ns: int) -> None:
        """Another phase after a round trip; probing goes on until the path holds what it should
        hold, draining stops as soon as it holds no more."""
        is_over = now_ns - self.cycle_at > self.min_rtt_ns
        gain = _CYCLE[self.cycle]
        if gain > _UNIT:
            if is_over and not lost:
                is_over = tcb.pipe() + delivery.news >= self._inflight(tcb, bw, gain)
        elif gain < _UNIT and not is_over:
            is_over = tcb.pipe() + delivery.news + lost <= self._inflight(tcb, bw, _UNIT)
        if is_over:
            self._next_phase(now_ns)

    def _next_phase(self, now_ns: int) -> None:
        self.cycle = (self.cycle + 1) % len(_CYCLE)
        self.cycle_at = now_ns

    def _check_full(self, delivery: Delivery, bw: int) -> None:
        """Start-up is over when three rounds have brought less than a quarter more."""
        if self.is_full or not self.is_round_new or delivery.is_app_limited:
            return
        if bw >= self.full_bw * _FULL_GROWTH // _UNIT:
            self.full_bw = bw
            self.full_rounds = 0
            return
        self.full_rounds += 1
        self.is_full = self.full_rounds >= _FULL_ROUNDS

    def _check_drain(self, tcb: Tcb, bw: int, now_ns: int) -> None:
        if self.mode == STARTUP and self.is_full:
            self.mode = DRAIN
        if self.mode == DRAIN and tcb.pipe() <= self._inflight(tcb, bw, _UNIT):
            self._probe_bw(tcb, now_ns)

    def _probe_bw(self, tcb: Tcb, now_ns: int) -> None:
        """Begin the cycle anywhere but in the phase that drains, so that flows take turns."""
        self.mode = PROBE_BW
        self.cycle = len(_CYCLE) - 1 - tcb.engine.random_bits(16) % (len(_CYCLE) - 1)
        self._next_phase(now_ns)

    def _update_min_rtt(self, tcb: Tcb, delivery: Delivery, now_ns: int) -> None:
        is_old = now_ns > self.min_rtt_at + _MIN_RTT_NS
        rtt_ns = delivery.rtt_ns
        if rtt_ns and (rtt_ns <= self.min_rtt_ns or not self.min_rtt_ns or is_old):
            self.min_rtt_ns = rtt_ns
            self.min_rtt_at = now_ns
        if is_old and not self.is_restarting and self.mode != PROBE_RTT:
            self.mode = PROBE_RTT
            self._save_cwnd(tcb)
            self.probe_rtt_end = 0
        if self.mode == PROBE_RTT:
            pipe = tcb.pipe()
            delivery.app_limited = max(1, delivery.delivered + pipe)  # slow samples say nothing
            if not self.probe_rtt_end:
                if pipe <= _LEAST_SEGMENTS * tcb.mss:
                    self.probe_rtt_end = now_ns + _PROBE_RTT_NS
                    self.is_probe_round_over = False
                    self.next_round = delivery.delivered
            else:
                self.is_probe_round_over = self.is_probe_round_over or self.is_round_new
                if self.is_probe_round_over:
                    self._check_probe_rtt(tcb, now_ns)
        self.is_restarting = False

    def _check_probe_rtt(self, tcb: Tcb, now_ns: int) -> None:
        if not self.probe_rtt_end or now_ns <= self.probe_rtt_end:
            return
        self.min_rtt_at = now_ns  # the next time is a while away
        tcb.cwnd = max(tcb.cwnd, self.prior_cwnd)
        if self.is_full:
            self._probe_bw(tcb, now_ns)
        else:
            self.mode = STARTUP

    # -- what follows from it

    def _pacing_gain(self) -> int:
        if self.mode == PROBE_BW:
            return _CYCLE[self.cycle]
        if self.mode == STARTUP:
            return _HIGH_GAIN
        return _DRAIN_GAIN if self.mode == DRAIN else _UNIT

    def _bdp(self, tcb: Tcb, bw: int, gain: int) -> int:
        if not self.min_rtt_ns:
            return tcb.engine.config.initial_window_segments * tcb.mss
        return -(-bw * self.min_rtt_ns * gain // _UNIT_S)

    def _with_quanta(self, tcb: Tcb, window: int) -> int:
        """Room for what is being sent, received and joined at the ends."""
        pacer = tcb.pacer
        mss = tcb.mss
        window += 3 * (mss if pacer is None else quantum(tcb, pacer.model_rate))
        segments = -(-window // mss)
        segments += segments & 1
        if self.mode == PROBE_BW and self.cycle == 0:
            segments += 2
        return segments * mss

    def _inflight(self, tcb: Tcb, bw: int, gain: int) -> int:
        return self._with_quanta(tcb, self._bdp(tcb, bw, gain))

    def _save_cwnd(self, tcb: Tcb) -> None:
        if self.repairs == _OPEN and self.mode != PROBE_RTT:
            self.prior_cwnd = tcb.cwnd
        else:
            self.prior_cwnd = max(self.prior_cwnd, tcb.cwnd)

    def _set_cwnd(self, tcb: Tcb, delivery: Delivery, lost: int, bw: int) -> None:
        mss = tcb.mss
        news = delivery.news
        cwnd = max(tcb.cwnd - lost, mss) if lost else tcb.cwnd
        repairs = tcb.recovery if tcb.recovery <= _TIMED_OUT else _OPEN
        if repairs == _REPAIRING and self.repairs != _REPAIRING:
            # One round of sending as much as arrives.
            self.is_conserving = True
            self.next_round = delivery.delivered
            cwnd = tcb.pipe() + news
        elif self.repairs and not repairs:
            cwnd = max(cwnd, self.prior_cwnd)
            self.is_conserving = False
        self.repairs = repairs
        if self.is_conserving:
            cwnd = max(cwnd, tcb.pipe() + news)
        else:
            gain = _CWND_GAIN if self.mode == PROBE_BW else _HIGH_GAIN
            target = self._bdp(tcb, bw, _UNIT if self.mode == PROBE_RTT else gain)
            if self.is_full:
                target += min(max(self.extra), bw * _MOST_EXTRA_NS // NS_PER_S)
            target = self._with_quanta(tcb, target)
            if self.is_full:
                cwnd = min(cwnd + news, target)
            elif (
                cwnd < target
                or tcb.snd_una - tcb.iss < tcb.engine.config.initial_window_segments * mss
            ):
                cwnd += news
            cwnd = max(cwnd, _LEAST_SEGMENTS * mss)
        if self.mode == PROBE_RTT:
            cwnd = min(cwnd, _LEAST_SEGMENTS * mss)
        tcb.cwnd = cwnd

    def save(self) -> Saved:
        out = {"name": self.name, **save_fields(self, 1, _FIELDS)}
        out["bws"] = [list(entry) for entry in self.bws]
        out["extra"] = list(self.extra)
        out["delivery"] = None if self.delivery is None else self.delivery.save()
        return out

    def load(self, state: Saved) -> None:
        load_fields(self, 1, _FIELDS, state)
        self.bws = [list(entry) for entry in state["bws"]]
        self.extra = list(state["extra"])
        delivery = state["delivery"]
        self.delivery = None if delivery is None else Delivery.loaded(delivery)


def _paced(bw: int, gain: int) -> int:
    """A little less than ``bw`` times the gain."""
    return bw * gain * _MARGIN_PERCENT // (_UNIT * 100)
