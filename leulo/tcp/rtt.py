"""Round-trip time and the retransmission timeout, in integer nanoseconds. [RFC 6298]

One segment per round trip is timed by the clock itself, exactly; it is given up when anything is
retransmitted (Karn's algorithm). Timestamps take over then, at their millisecond, because their
echo says which transmission is acknowledged. [RFC 7323 4]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from leulo.tcp.seq import MASK
from leulo.tcp.state import SYN_SENT
from leulo.units import NS_PER_MS, NS_PER_S

if TYPE_CHECKING:
    from leulo.tcp.tcb import Tcb

_MIN_RTT_LIFE_NS: Final = 300 * NS_PER_S  # [RFC 8985 6.2 step 1] [Linux tcp(7)]
_NO_TIME_NS: Final = NS_PER_MS  # of a round trip that took no time: a tick, as Linux says
_LONGEST_MS: Final = 1 << 22  # an echo older than 70 minutes is nonsense


def sample(tcb: Tcb, rtt_ns: int, now_ns: int) -> None:
    """Take one measurement. [RFC 6298 2]"""
    config = tcb.engine.config
    if rtt_ns < 1:
        rtt_ns = 1
    tcb.has_probed = False
    tcb.backoff = 0
    least_ns = rtt_ns if rtt_ns > 1 else _NO_TIME_NS
    if least_ns <= tcb.min_rtt_ns or now_ns >= tcb.min_rtt_until:
        tcb.min_rtt_ns = least_ns
        tcb.min_rtt_until = now_ns + _MIN_RTT_LIFE_NS
    srtt = tcb.srtt_ns
    if srtt:
        error = rtt_ns - srtt  # (2.3)
        srtt += error >> 3
        rttvar = tcb.rttvar_ns
        if error >= 0:
            rttvar += (error - rttvar) >> 2
        else:
            change = -error - rttvar
            # A round trip that becomes short is no reason to wait longer.
            is_less = change > 0 and config.has_min_variance
            rttvar += change >> 5 if is_less else change >> 2
        spread = rttvar << 2
        if spread > tcb.spread_max_ns:
            tcb.spread_max_ns = spread
            if spread > tcb.spread_ns:
                tcb.spread_ns = spread
        if tcb.snd_una > tcb.spread_seq:
            # A window has been measured: down only by a quarter of the way to its largest.
            if tcb.spread_max_ns < tcb.spread_ns:
                tcb.spread_ns -= (tcb.spread_ns - tcb.spread_max_ns) >> 2
            tcb.spread_seq = tcb.snd_nxt
            tcb.spread_max_ns = config.rto_min_ns
    else:
        srtt = rtt_ns  # (2.2)
        rttvar = rtt_ns >> 1
        spread = rttvar << 2
        if spread < config.rto_min_ns:
            spread = config.rto_min_ns
        tcb.spread_ns = tcb.spread_max_ns = spread
        tcb.spread_seq = tcb.snd_nxt
    tcb.srtt_ns = srtt
    tcb.rttvar_ns = rttvar
    # Deviation: the variance's part is at least the minimum, not the sum (2.4), and it falls once
    # a window, as in Linux: a peer's delayed ACK on a steady path must not cause a timeout.
    rto = srtt + tcb.spread_ns
    if not config.has_min_variance:
        rto = max(srtt + (rttvar << 2), config.rto_min_ns) + config.rto_slop_ns
    if rto > config.rto_max_ns:
        rto = config.rto_max_ns
    tcb.rto_ns = rto


def backed_off(tcb: Tcb) -> int:
    """The timeout after ``tcb.backoff`` timeouts in a row: doubled so often. [RFC 6298 5.5]"""
    config = tcb.engine.config
    slop_ns = config.rto_slop_ns
    rto_ns = tcb.rto_ns
    if not tcb.backoff:
        pass
    elif slop_ns:
        # It is in every measured timeout, and added to the others but a SYN's first.
        rto_ns -= slop_ns if tcb.srtt_ns else 0
        rto_ns = (rto_ns << tcb.backoff) + slop_ns
    elif tcb.state is SYN_SENT:
        # Deviation: the first are not longer than the one before, as in Linux: that a SYN is lost
        # says little of a path's congestion. [RFC 6298 5.5]
        doubled = tcb.backoff - config.syn_linear_timeouts
        rto_ns <<= doubled if doubled > 0 else 0
    else:
        rto_ns <<= tcb.backoff
    return rto_ns if rto_ns < config.rto_max_ns else config.rto_max_ns


def again_at(tcb: Tcb, now_ns: int, wait_ns: int = 0) -> int:
    """When what is sent again now counts as lost once more, or after ``wait_ns`` if that is given;
    or when the user's timeout ends, if that is before: it is kept to the point. [RFC 5482]"""
    at = now_ns + (wait_ns or backed_off(tcb))
    limit_ns = tcb.settings.user_timeout_ns
    if limit_ns and tcb.first_timeout_at:
        at = min(at, tcb.first_timeout_at + limit_ns)
    return at


def sample_echo(tcb: Tcb, tsecr: int) -> None:
    """Take a measurement from an echoed timestamp, if it can be one. [RFC 7323 4.3]"""
    engine = tcb.engine
    elapsed = (engine.now_ms + tcb.ts_offset - tsecr) & MASK
    if tsecr and elapsed < _LONGEST_MS:
        sample(tcb, (elapsed or 1) * NS_PER_MS, engine.now_ns)
