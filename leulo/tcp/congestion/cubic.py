"""CUBIC: the window is a cubic function of the time since the last loss. [RFC 9438]

Integers only: time in microseconds, windows in bytes, so that every machine computes the same.
``C`` is 0.4 segments a second cubed, beta 0.7; the names are the RFC's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from leulo.state import State as Saved
from leulo.state import load_fields, save_fields
from leulo.tcp.congestion.base import CongestionControl
from leulo.tcp.congestion.reno import slow_start

if TYPE_CHECKING:
    from leulo.tcp.tcb import Tcb

_NS_PER_US: Final = 1_000
# mss * C * t^3 with t in microseconds is mss * 4 * t^3 / 10^19
_CUBE_NUM: Final = 4
_CUBE_DEN: Final = 10**19
_BETA_NUM: Final = 7
_BETA_DEN: Final = 10
# alpha that makes the estimate as fast as Reno: 3 (1 - beta) / (1 + beta) [RFC 9438 4.3]
_ALPHA_NUM: Final = 9
_ALPHA_DEN: Final = 17
# As Linux does it: a window that does not change is compared with Reno's only so often, and while
# no maximum is known it grows by at least this part of what is acknowledged.
_COMPARISON_NS: Final = 31_000_000
_UNKNOWN_PART: Final = 20
_FIELDS: Final = (
    "w_max", "cwnd_prior", "w_est", "w_est_credit", "k_us", "epoch_ns", "limited_at_ns", "undo",
    "has_maximum", "compared_segments", "compared_at_ns",
)  # fmt: skip


class Cubic(CongestionControl):
    """One object for each connection."""

    __slots__ = _FIELDS

    name: ClassVar[str] = "cubic"

    def __init__(self) -> None:
        self.w_max: int = 0  # the window before the last reduction, bytes; 0: none yet
        self.cwnd_prior: int = 0  # cwnd when ssthresh was set last
        self.w_est: int = 0  # what Reno would have, bytes
        self.w_est_credit: int = 0  # acknowledged bytes times alpha not yet turned into w_est
        self.k_us: int = 0  # time from the epoch to w_max
        self.epoch_ns: int = 0  # when this congestion avoidance began; 0: not yet
        self.limited_at_ns: int = 0  # the last time the window was what limited us
        # w_max, cwnd_prior, w_est, k_us and epoch_ns before the last reduction [RFC 9438 4.9.2]
        self.undo: list[int] | None = None
        self.has_maximum: bool = False  # w_max is of a loss, and no timeout has come since
        self.compared_segments: int = 0  # segments when it was last compared with Reno's
        self.compared_at_ns: int = 0

    def on_ack(self, tcb: Tcb, acked: int, now_ns: int) -> None:
        if tcb.cwnd < tcb.ssthresh:
            acked = slow_start(tcb, acked)
            if not acked:
                return
        mss = tcb.mss
        if not self.epoch_ns:
            self._begin_epoch(tcb, now_ns)
        elif now_ns - self.limited_at_ns > tcb.rto_ns:
            # Time in which the application sent little must not let the window grow.
            self.epoch_ns += now_ns - self.limited_at_ns  # [RFC 9438 5.8]
        self.limited_at_ns = now_ns
        cwnd = tcb.cwnd
        # What Reno would do, which is the least we do. [RFC 9438 4.3]
        if self.w_est >= self.cwnd_prior:
            credit = self.w_est_credit + acked * _ALPHA_DEN
        else:
            credit = self.w_est_credit + acked * _ALPHA_NUM
        step = cwnd * _ALPHA_DEN
        self.w_est += credit // step * mss
        self.w_est_credit = credit % step
        elapsed_us = (now_ns - self.epoch_ns) // _NS_PER_US
        as_linux = tcb.engine.config.has_linux_cubic
        is_compared = not as_linux or self._compares(cwnd // mss, now_ns)
        if is_compared and self._window(mss, elapsed_us) < self.w_est:
            tcb.cwnd = max(cwnd, self.w_est)
            tcb.cwnd_credit = 0
            return
        # Where the curve is one round trip from now; at most half as much again. [RFC 9438 4.2]
        target = self._window(mss, elapsed_us + tcb.srtt_ns // _NS_PER_US)
        target = min(max(target, cwnd), cwnd + (cwnd >> 1))
        if as_linux and not self.has_maximum:
            target = max(target, cwnd + cwnd // _UNKNOWN_PART)
        credit = tcb.cwnd_credit + (target - cwnd) * acked
        tcb.cwnd = cwnd + credit // cwnd
        tcb.cwnd_credit = credit % cwnd

    def _compares(self, segments: int, now_ns: int) -> bool:
        """Is it time, or has the window changed?"""
        # Deviation: not at each acknowledgement, because Linux has it so. [RFC 9438 4.3]
        if segments == self.compared_segments and now_ns - self.compared_at_ns <= _COMPARISON_NS:
            return False
        self.compared_segments, self.compared_at_ns = segments, now_ns
        return True

    def on_loss(self, tcb: Tcb, in_flight: int, now_ns: int) -> None:
        """Fast convergence [RFC 9438 4.7], multiplicative decrease [RFC 9438 4.6]. That is of cwnd,
        not of what is in flight: cwnd does not grow while the application is what limits."""
        cwnd = tcb.cwnd
        self.undo = [self.w_max, self.cwnd_prior, self.w_est, self.k_us, self.epoch_ns]
        if cwnd < self.w_max:
            self.w_max = cwnd * (_BETA_DEN + _BETA_NUM) // (2 * _BETA_DEN)
        else:
            self.w_max = cwnd
        self.cwnd_prior = cwnd
        self.has_maximum = True
        self.epoch_ns = 0
        tcb.ssthresh = max(cwnd * _BETA_NUM // _BETA_DEN, 2 * tcb.mss)

    def on_timeout(self, tcb: Tcb, in_flight: int, now_ns: int) -> None:
        """As a loss; but the old maximum is forgotten, and the curve begins at its plateau where
        slow start ends. [RFC 9438 4.8]"""
        self.on_loss(tcb, in_flight, now_ns)
        self.w_max = 0
        self.has_maximum = False

    def on_undo(self, tcb: Tcb, now_ns: int) -> None:
        """The curve goes on as if nothing had been, unless the window is past it by now.
        [RFC 9438 4.9.2]"""
        if self.undo is not None and tcb.cwnd <= self.cwnd_prior:
            self.w_max, self.cwnd_prior, self.w_est, self.k_us, self.epoch_ns = self.undo
            tcb.cwnd_credit = 0

    def _begin_epoch(self, tcb: Tcb, now_ns: int) -> None:
        cwnd = tcb.cwnd
        self.epoch_ns = now_ns
        self.w_est = cwnd
        self.w_est_credit = 0
        tcb.cwnd_credit = 0
        if self.w_max <= cwnd:  # no loss yet, or slow start has passed the last one
            self.w_max = cwnd
            self.k_us = 0
        else:
            self.k_us = cube_root((self.w_max - cwnd) * _CUBE_DEN // (_CUBE_NUM * tcb.mss))

    def _window(self, mss: int, elapsed_us: int) -> int:
        """W_cubic(t) in bytes. [RFC 9438 4.2 figure 1]"""
        t = elapsed_us - self.k_us
        return self.w_max + mss * _CUBE_NUM * t * t * t // _CUBE_DEN

    def save(self) -> Saved:
        return {"name": self.name, **save_fields(self, 2, _FIELDS)}

    def load(self, state: Saved) -> None:
        load_fields(self, 2, _FIELDS, state)


class FreshCubic(Cubic):
    """CUBIC of a connection that has not left its first slow start: there is nothing to remember,
    so all of them share one. Whatever is worth remembering gives a connection its own."""

    __slots__ = ()

    def on_ack(self, tcb: Tcb, acked: int, now_ns: int) -> None:
        left = slow_start(tcb, acked)
        if left:
            _own(tcb).on_ack(tcb, left, now_ns)

    def on_loss(self, tcb: Tcb, in_flight: int, now_ns: int) -> None:
        _own(tcb).on_loss(tcb, in_flight, now_ns)

    def on_timeout(self, tcb: Tcb, in_flight: int, now_ns: int) -> None:
        _own(tcb).on_timeout(tcb, in_flight, now_ns)


_FRESH: Final = FreshCubic()


def fresh_cubic() -> Cubic:
    """What a new connection begins with."""
    return _FRESH


def _own(tcb: Tcb) -> Cubic:
    cubic = Cubic()
    tcb.congestion = cubic
    return cubic


def cube_root(value: int) -> int:
    """The largest integer whose cube is at most ``value`` (0 or more), by Newton's method."""
    if value <= 0:
        return 0
    root = 1 << -(-value.bit_length() // 3)  # not below the answer
    while True:
        better = (2 * root + value // (root * root)) // 3
        if better >= root:
            return root
        root = better
