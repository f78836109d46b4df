"""A segment arrives in SYN_SENT: the answer to an active open. [RFC 9293 3.10.7.3]"""

from __future__ import annotations

from leulo.tcp import accecn, accecn_feedback, ecn, fast_open_client, handshake, md5
from leulo.tcp.errno import ECONNREFUSED
from leulo.tcp.header import ACK, ECE, FIN, RST, SYN
from leulo.tcp.options import Options
from leulo.tcp.seq import MASK
from leulo.tcp.state import ON_SYN, ON_SYN_ACK
from leulo.tcp.tcb import ACK_NOW, Tcb
from leulo.tcp.text import keep_text, take_text
from leulo.units import NS_PER_MS


def segment_in_syn_sent(
    tcb: Tcb,
    frame: bytes,
    start: int,
    end: int,
    seq_wire: int,
    ack_wire: int,
    control: int,
    window: int,
    options: Options,
    now_ns: int,
) -> None:
    """``start`` is where the payload begins in ``frame``; ``options`` are all of them."""
    engine = tcb.engine
    has_ack = control & ACK != 0
    ack = tcb.iss + ((ack_wire - tcb.iss) & MASK)
    if has_ack and not tcb.iss < ack <= tcb.snd_max:
        if not control & RST:
            engine.send_reset(tcb, ack_wire)
        _ask_again(tcb, now_ns)
        engine.drop("tcp_ack_in_syn_sent", tcb)
        return
    if control & RST:
        if has_ack:
            engine.fail(tcb, ECONNREFUSED)
        else:
            engine.drop("tcp_rst_outside", tcb)
        return
    if not control & SYN:
        engine.drop("tcp_no_syn", tcb)
        return
    config = engine.config
    if has_ack and config.has_timestamps and options.tsecr and _is_foreign(tcb, options.tsecr):
        engine.send_reset(tcb, ack_wire)
        engine.drop("tcp_echo_in_syn_sent", tcb)
        return
    tcb.irs = seq_wire
    tcb.rcv_nxt = tcb.last_ack_sent = seq_wire + 1
    limit = tcb.rcv_limit
    tcb.rcv_adv = tcb.rcv_nxt + (limit if limit < 0xFFFF else 0xFFFF)
    tcb.snd_wl1 = seq_wire
    tcb.snd_wl2 = tcb.snd_una
    tcb.snd_wnd = tcb.snd_max_wnd = window  # never scaled in a SYN [RFC 7323 2.2]
    terms = handshake.terms_of_tcb(tcb)
    if not terms.takes_all:
        handshake.restrict(options, config, tcb.settings)
        if md5.omits_timestamps(tcb.settings, config, tcb.peer):
            options.has_timestamps = False
    if options.has_timestamps:
        tcb.has_timestamps = True
        tcb.ts_recent = options.tsval
        tcb.ts_recent_at = now_ns
    tcb.has_sack = options.is_sack_permitted
    if options.wscale >= 0:
        tcb.snd_wscale = options.wscale
        tcb.rcv_wscale = terms.wscale
    if tcb.ecn is not None or not has_ack:
        _agree_on_ecn(tcb, frame, control, options)
    peer_mss = options.mss or handshake.default_mss(tcb.ends, config)
    if peer_mss < config.min_mss:
        peer_mss = config.min_mss
    handshake.negotiate(tcb, terms.link_mss, peer_mss)
    if options.mss and config.has_whole_segment_buffers:
        handshake.round_buffers(tcb, peer_mss)
    if not tcb.is_pending:
        tcb.is_pending = True
        engine.pending.append(tcb)
    if not has_ack:
        # Both opened at once. [RFC 9293 3.5]
        tcb.change_state(ON_SYN)
        tcb.is_syn_due = True
        tcb.timed_seq = 0
        is_fin = control & FIN != 0 and not config.overlooks_fin_of_syn
        if config.keeps_text_of_syn:
            keep_text(tcb, frame, start, end - start, is_fin)
        return
    rtt_ns = max(now_ns - tcb.timed_at, 1) if tcb.timed_seq else 0
    if tcb.fast_open is not None:
        fast_open_client.answered(tcb, tcb.fast_open, ack, options)
        if tcb.send_buffer is not None:
            tcb.send_buffer.acknowledge(ack)
    tcb.snd_una = tcb.snd_nxt = ack  # what the SYN carried beyond that goes again
    tcb.snd_wl2 = tcb.snd_una
    tcb.life_at = 0
    lost_syns = tcb.backoff
    handshake.syn_acknowledged(tcb)
    handshake.established(tcb, rtt_ns, options.tsecr, lost_syns, now_ns)
    tcb.change_state(ON_SYN_ACK)
    tcb.open_ordinary(terms.has_usual_packets)
    tcb.ack_due = ACK_NOW
    tcb.is_write_blocked = False
    if tcb.socket is not None and not tcb.socket.is_ready:
        engine.notify(tcb.socket)
    length = end - start
    is_fin = control & FIN != 0
    if length or is_fin:
        room = tcb.rcv_adv - tcb.rcv_nxt
        if length > room:
            length, is_fin = room, False  # what is cut off comes again, and the FIN behind it
        take_text(tcb, frame, start, tcb.rcv_nxt, length, is_fin)


def _ask_again(tcb: Tcb, now_ns: int) -> None:
    """The reset has ended what the peer had of an old connection: the SYN need not wait for its
    timeout, once."""
    delay_ns = tcb.engine.config.syn_after_reset_ns
    if delay_ns and not tcb.backoff:
        tcb.rto_at = now_ns + delay_ns
        tcb.engine.timers.arm(tcb, tcb.rto_at)


def _agree_on_ecn(tcb: Tcb, frame: bytes, control: int, options: Options) -> None:
    """What our SYN and the peer's, or his SYN-ACK, make of it. [RFC 9768 3.1.1 table 2]"""
    notification = tcb.ecn
    accurate = None if notification is None else notification.accurate
    if not control & ACK:
        tcb.ecn = None
        if accurate is not None and accecn.is_asked(control):
            accurate.last_mark = ecn.mark_of(frame, tcb.ends)
            tcb.ecn = notification
        elif tcb.engine.config.ecn and control & ecn.SETUP == ecn.SETUP:
            tcb.ecn = ecn.Ecn(tcb.iss)
    elif notification is not None and accurate is not None and accecn.agrees(control):
        accecn.syn_ack_arrives(tcb, accurate, control, ecn.mark_of(frame, tcb.ends))
        accecn_feedback.look_at(accurate, options.counters)
    elif notification is not None:
        notification.accurate = None
        if control & ecn.SETUP != ECE:
            tcb.ecn = None  # not agreed to [RFC 3168 6.1.1]
        elif tcb.engine.config.ecn_of_control and ecn.mark_of(frame, tcb.ends) == ecn.CE:
            notification.echo = ECE  # [RFC 5562 3.2]


def _is_foreign(tcb: Tcb, tsecr: int) -> bool:
    """Does the echo stand for no time at which we sent this SYN? [RFC 7323 3.2]"""
    first_ns = tcb.first_timeout_at or tcb.last_send_ns
    now_ms = tcb.engine.now_ms
    return (now_ms + tcb.ts_offset - tsecr) & MASK > now_ms - first_ns // NS_PER_MS
