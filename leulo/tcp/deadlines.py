"""What a connection does when time passes: delayed ACK, retransmission, persist, keepalive, end.

`expire` is called when the connection's entry of the heap came up; it does what is due, leaves
sending to `output`, and asks for the next deadline.
"""

from __future__ import annotations

from typing import Final

from leulo.tcp import fast_open_client, mtu_search, rack, recovery, stalled, timeouts
from leulo.tcp.errno import ETIMEDOUT
from leulo.tcp.rtt import again_at
from leulo.tcp.state import CLOSED, FIN_WAIT_2, ON_ABORT, SENDS, SYN_RCVD, SYN_SENT, TIME_WAIT
from leulo.tcp.tcb import ACK_NOW, MORE_NONE, PROBE_KEEPALIVE, PROBE_WINDOW, Tcb

_MAX_BACKOFF: Final = 16
# R1: timeouts in a row until the neighbour is asked for [RFC 9293 3.8.3]
_RESOLVE_AGAIN_AT: Final = 3


def expire(tcb: Tcb, now_ns: int) -> None:
    """Do what is due for ``tcb`` at ``now_ns``."""
    if tcb.state is CLOSED or tcb.state is TIME_WAIT:
        return
    engine = tcb.engine
    if tcb.delack_at and now_ns >= tcb.delack_at:
        tcb.delack_at = 0
        if tcb.ack_due:
            tcb.ack_due = ACK_NOW
            if tcb.is_fin_queued:
                repeat_fin(tcb)
            engine.want_output(tcb)
    if tcb.rto_at and now_ns >= tcb.rto_at:
        tcb.rto_at = 0
        if tcb.is_persisting:
            _persist(tcb, now_ns)
        else:
            _retransmit(tcb, now_ns)
    if tcb.probe_at and now_ns >= tcb.probe_at:
        rack.probe(tcb)
    if tcb.reorder_at and now_ns >= tcb.reorder_at:
        rack.detect(tcb, now_ns)
    if tcb.keep_at and now_ns >= tcb.keep_at:
        _keep_alive(tcb, now_ns)
    if tcb.life_at and now_ns >= tcb.life_at:
        if tcb.state is FIN_WAIT_2:
            tcb.change_state(ON_ABORT)
            engine.forget(tcb)
        elif tcb.state is SYN_SENT or tcb.state is SYN_RCVD:
            engine.fail(tcb, tcb.soft_error or ETIMEDOUT)  # an active open took too long
        else:
            tcb.life_at = 0
    arm_next(tcb)


def arm_next(tcb: Tcb) -> None:
    """Ask for the earliest of the connection's deadlines, but for that of its pacer."""
    deadlines = [
        at
        for at in (
            tcb.rto_at,
            tcb.delack_at,
            tcb.probe_at,
            tcb.reorder_at,
            tcb.keep_at,
            tcb.life_at,
        )
        if at
    ]
    if deadlines:
        tcb.engine.timers.arm(tcb, min(deadlines))


def await_fin(tcb: Tcb, now_ns: int) -> bool:
    """The user has closed and the peer knows: wait for its FIN, but not for ever. False: the
    user would not wait at all (TCP_LINGER2), and the connection is reset. [Linux tcp(7)]"""
    linger2_ns = tcb.settings.linger2_ns
    if linger2_ns < 0:
        tcb.engine.abort(tcb)
        return False
    tcb.life_at = at = now_ns + (linger2_ns or tcb.engine.config.fin_timeout_ns)
    if not tcb.timer_at or at < tcb.timer_at:
        tcb.engine.timers.arm(tcb, at)
    return True


def repeat_fin(tcb: Tcb) -> None:
    """Our FIN is on its way and an ACK is due: send it with the FIN once more."""
    if (
        tcb.ack_due == ACK_NOW
        and tcb.snd_una < tcb.snd_nxt == tcb.snd_top
        and SENDS >> tcb.state & 1
        and tcb.engine.config.repeats_fin
    ):
        tcb.snd_nxt -= 1


def _is_over(tcb: Tcb, now_ns: int) -> bool:
    """Has the user's own timeout passed? [RFC 9293 3.9.1.8] [RFC 5482]"""
    limit_ns = tcb.settings.user_timeout_ns
    return limit_ns > 0 and now_ns - tcb.first_timeout_at >= limit_ns


def _retransmit(tcb: Tcb, now_ns: int) -> None:
    """The retransmission timer. [RFC 6298 5.4-5.7] [RFC 9293 3.8.3]"""
    engine = tcb.engine
    config = engine.config
    if not tcb.first_timeout_at:
        tcb.first_timeout_at = tcb.last_send_ns or now_ns
    is_opening = tcb.state is SYN_SENT or tcb.state is SYN_RCVD
    if is_opening:
        most = config.synack_retries
        if tcb.state is SYN_SENT:
            most = tcb.settings.syn_retries or config.syn_retries
            most += config.syn_linear_timeouts
        elif tcb.fast_open is not None and tcb.fast_open.is_passive:
            most += 1  # its user may have it already [Linux tcp(7)]
    elif tcb.is_orphan:
        most = config.orphan_retries
    else:
        most = config.retries
    is_over = tcb.backoff >= most or _is_over(tcb, now_ns)
    if tcb.fast_open is not None:
        fast_open_client.timed_out(tcb, is_over, now_ns)
    if is_over:
        engine.fail(tcb, tcb.soft_error or ETIMEDOUT)
        return
    if not is_opening and rack.may_probe(tcb):
        # The probe's own time would have been later. [RFC 8985 7.2]
        rack.probe(tcb)
        tcb.rto_at = now_ns + tcb.rto_ns
        return
    is_stalled = engine.is_stalled and not is_opening
    if is_stalled:
        tcb.keep_probes += 1
    else:
        tcb.backoff += 1
    engine.counts["tcp_timeouts"] += 1
    if tcb.backoff == _RESOLVE_AGAIN_AT:
        engine.lose_link(tcb)
    if is_opening or tcb.snd_wnd:
        timeouts.expired(tcb, now_ns)
    if is_opening:
        tcb.is_syn_due = True
        tcb.rto_at = again_at(tcb, now_ns)
        engine.counts["tcp_retransmits"] += 1
        engine.want_output(tcb)
        return
    if not tcb.snd_wnd:
        # The peer has closed its window over what is outstanding: probe, do not give up.
        rack.rewind(tcb)
        tcb.probe_due = PROBE_WINDOW
        engine.want_output(tcb)
        return
    if tcb.search is not None:
        mtu_search.timed_out(tcb, tcb.search)
    if tcb.snd_una < tcb.snd_max:
        if rack.is_used(tcb):
            rack.timeout(tcb, now_ns)
        else:
            recovery.timeout(tcb, now_ns)
    tcb.rto_at = again_at(tcb, now_ns, stalled.INTERVAL_NS if is_stalled else 0)
    engine.want_output(tcb)


def _persist(tcb: Tcb, now_ns: int) -> None:
    """The window stays closed, or something partial has waited long enough.
    [RFC 9293 3.8.6.1, 3.8.6.2.1]"""
    engine = tcb.engine
    config = engine.config
    tcb.is_persisting = False
    if engine.is_stalled:
        stalled.try_again(tcb, now_ns)
        return
    needed = tcb.snd_end - tcb.snd_nxt or (0 if config.probes_with_data else 1)  # for a FIN
    if tcb.snd_wnd >= needed:
        tcb.is_pushing = True  # only a cork or Nagle held it
        tcb.more = MORE_NONE
        engine.want_output(tcb)
        return
    if not tcb.first_timeout_at:
        tcb.first_timeout_at = now_ns
    if tcb.heard_ns >= tcb.last_send_ns:
        tcb.keep_probes = 0
    else:
        tcb.keep_probes += 1
    # An open connection lives as long as its probes are answered; an orphan does not.
    is_dead = tcb.keep_probes > config.retries or (
        tcb.is_orphan and tcb.backoff >= config.orphan_retries
    )
    if is_dead or _is_over(tcb, now_ns):
        engine.fail(tcb, tcb.soft_error or ETIMEDOUT)
        return
    tcb.backoff = min(tcb.backoff + 1, _MAX_BACKOFF)
    if tcb.snd_wnd:
        tcb.is_pushing = True
    else:
        tcb.probe_due = PROBE_WINDOW
    engine.counts["tcp_window_probes"] += 1
    engine.want_output(tcb)


def _keep_alive(tcb: Tcb, now_ns: int) -> None:
    """Ask a silent peer for a sign of life. [RFC 9293 3.8.4]"""
    settings = tcb.settings
    tcb.keep_at = 0
    if tcb.state is SYN_SENT or tcb.state is SYN_RCVD:
        return
    if not settings.has_keepalive and not tcb.engine.config.always_keepalive:
        return
    heard_ns = tcb.heard_ns
    if now_ns - heard_ns < settings.keep_idle_ns:
        tcb.keep_probes = 0
        tcb.keep_at = heard_ns + settings.keep_idle_ns
        return
    limit_ns = settings.user_timeout_ns
    is_dead = tcb.keep_probes >= settings.keep_count
    if limit_ns:  # counts instead of the number of probes [Linux tcp(7)]
        is_dead = tcb.keep_probes > 0 and now_ns - heard_ns >= limit_ns
    if is_dead:
        tcb.engine.abort(tcb, ETIMEDOUT)
        return
    tcb.keep_at = now_ns + settings.keep_interval_ns
    if tcb.snd_una == tcb.snd_max:  # else retransmissions ask already
        tcb.keep_probes += 1
        tcb.probe_due = PROBE_KEEPALIVE
        tcb.engine.counts["tcp_keepalives"] += 1
        tcb.engine.want_output(tcb)
