"""What an acknowledgement of new data does to the sender. [RFC 9293 3.10.7.4 fifth]

Shared by the fast path (`input`) and the careful one (`examine`).
"""

from __future__ import annotations

from typing import Final

from leulo.tcp import goodput, hystart, rack, recovery
from leulo.tcp.deadlines import await_fin
from leulo.tcp.limits import BUFFER, NOTHING, WINDOW
from leulo.tcp.rtt import backed_off, sample, sample_echo
from leulo.tcp.send_room import for_window, is_roomy
from leulo.tcp.state import CLOSING, FIN_WAIT_1, LAST_ACK, ON_ACK_OF_FIN
from leulo.tcp.tcb import MORE_HELD, MORE_SENT, RECOVERY_NONE, RECOVERY_PACED, Tcb

# What a segment costs while it is in flight is not in the account: a peer that wants tiny ones
# gets less buffer for them.
_MOST_SEGMENTS: Final = 4096


def acknowledged(tcb: Tcb, acked: int, tsecr: int, now_ns: int) -> None:
    """``acked`` more bytes (FIN included) have arrived at the peer."""
    una = tcb.snd_una = tcb.snd_una + acked
    buffer = tcb.send_buffer
    if buffer is not None:
        buffer.acknowledge(una)
    flight = tcb.flight
    if flight is not None:
        echo = -1 if flight.order is None else rack.echo_ms(tcb, tsecr)
        sent_at = flight.advance(una, now_ns, echo, tcb.min_rtt_ns)
        if sent_at and tcb.cwnd < tcb.ssthresh:
            hystart.sample(tcb, now_ns - sent_at)
        if una >= flight.mark:
            goodput.measure(tcb, flight, now_ns)
        if not flight.records and tcb.is_ordinary:
            tcb.flight = None
    timed = tcb.timed_seq
    if timed:
        if una >= timed:
            tcb.timed_seq = 0
            sample(tcb, now_ns - tcb.timed_at, now_ns)
    elif tsecr and (tcb.recovery != RECOVERY_NONE or tcb.backoff or tcb.has_probed):
        sample_echo(tcb, tsecr)
    if tcb.backoff:
        if not tcb.is_persisting:
            # Nothing was measured: the timeout stays as long as it had to become, or a path that
            # has grown slow would never be measured (Karn). [RFC 6298 5]
            tcb.rto_ns = backed_off(tcb)
        tcb.backoff = 0
    if tcb.is_cwnd_limited and tcb.cwnd < tcb.growth_limit and not tcb.recovery & RECOVERY_PACED:
        news = acked if tcb.is_ordinary else recovery.delivered(tcb, acked)
        tcb.congestion.on_ack(tcb, news, now_ns)
        if tcb.is_write_blocked and tcb.snd_limit < tcb.cwnd << 2:
            _grow_send_buffer(tcb)
    if (
        not tcb.is_ordinary  # an ordinary connection has none of what follows
        and (tcb.recovery or tcb.dupacks or tcb.scoreboard is not None)
        and not rack.is_used(tcb)  # which comes after this
    ):
        recovery.advanced(tcb, acked, tsecr, now_ns)
    if tcb.snd_nxt < una:
        tcb.snd_nxt = una
    if una == tcb.snd_max:
        tcb.rto_at = tcb.probe_at = tcb.first_timeout_at = 0
        if tcb.busy_at and una >= tcb.snd_end:
            tcb.busy_ns += now_ns - tcb.busy_at
            tcb.busy_at = 0
    else:
        # The timer runs anew for what is still outstanding. [RFC 6298 5.3]
        tcb.is_persisting = False
        tcb.first_timeout_at = 0
        tcb.rto_at = at = now_ns + tcb.rto_ns
        if not tcb.timer_at or at < tcb.timer_at:
            tcb.engine.timers.arm(tcb, at)
        if flight is not None:
            rack.schedule_probe(tcb, now_ns)
    if tcb.snd_nxt < tcb.snd_top or tcb.is_rexmit_due:
        if tcb.more == MORE_HELD:
            tcb.more = MORE_SENT
        if not tcb.is_pending:
            tcb.is_pending = True
            tcb.engine.pending.append(tcb)
    if tcb.is_write_blocked:
        has_room = is_roomy(tcb)
        if has_room or una - acked < tcb.lent_end <= una:
            tcb.is_write_blocked = not has_room or una < tcb.lent_end
            if tcb.limits is not None and tcb.limits.kind == BUFFER and has_room:
                tcb.limits.change(NOTHING, now_ns)
            if tcb.socket is not None:
                tcb.engine.notify(tcb.socket)


def last_acknowledged(tcb: Tcb, acked: int, now_ns: int) -> bool:
    """The same for an ordinary connection whose user has closed, when its FIN has arrived: nothing
    more will be sent and nobody asks, so nothing is measured. Returns as `fin_acknowledged`."""
    tcb.snd_una = tcb.snd_nxt = tcb.snd_una + acked
    tcb.rto_at = tcb.probe_at = tcb.first_timeout_at = 0
    tcb.flight = None
    if tcb.send_buffer is not None:
        tcb.send_buffer.drop()
        tcb.send_buffer = None
    return fin_acknowledged(tcb, now_ns)


def take_window(tcb: Tcb, window: int) -> None:
    """The peer offers another window."""
    old = tcb.snd_wnd
    tcb.snd_wnd = window
    if window > tcb.snd_max_wnd:
        tcb.snd_max_wnd = window
    if window > old and tcb.snd_nxt < tcb.snd_top:
        if tcb.is_persisting:
            tcb.is_persisting = False
            tcb.rto_at = 0
            tcb.backoff = 0
            tcb.first_timeout_at = 0
            tcb.keep_probes = 0
        tcb.engine.want_output(tcb)
        if tcb.limits is not None and tcb.limits.kind == WINDOW:
            tcb.limits.change(NOTHING, tcb.engine.now_ns)


def fin_acknowledged(tcb: Tcb, now_ns: int) -> bool:
    """Our FIN has arrived. False: the connection is gone."""
    engine = tcb.engine
    state = tcb.state
    if state is FIN_WAIT_1:
        tcb.change_state(ON_ACK_OF_FIN)
        if tcb.is_orphan:
            return await_fin(tcb, now_ns)
        if tcb.socket is not None and not tcb.socket.is_ready:
            engine.notify(tcb.socket)
    elif state is CLOSING:
        tcb.change_state(ON_ACK_OF_FIN)
        engine.enter_time_wait(tcb, now_ns)
        return False
    elif state is LAST_ACK:
        tcb.change_state(ON_ACK_OF_FIN)
        engine.forget(tcb)
        return False
    return True


def _grow_send_buffer(tcb: Tcb) -> None:
    """Room for two windows, so that the user's next write does not leave the path idle; three for
    a model, as on Linux. [Linux tcp_bbr]"""
    account = tcb.engine.account
    if not tcb.settings.snd_bytes and account.used <= account.pressure:
        most = min(tcb.engine.config.snd_max, tcb.mss * _MOST_SEGMENTS)
        limit = for_window(tcb)
        if tcb.congestion.is_model:
            # It goes on at its rate through recovery, while what is reported stays in the buffer.
            limit = max(limit, tcb.cwnd * 3)
        tcb.snd_limit = max(tcb.snd_limit, min(limit, most))
