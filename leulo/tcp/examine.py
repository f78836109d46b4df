"""The careful path of a segment: RFC 9293's list, with the checks of RFC 5961 and RFC 7323.

`input` comes here with everything it does not predict. [RFC 9293 3.10.7.4]
"""

from __future__ import annotations

from typing import Final

from leulo.tcp import (
    accecn,
    accecn_feedback,
    counted_buffer,
    ecn,
    fast_open_client,
    fast_open_server,
    handshake,
    md5,
    mtu_search,
    rack,
    recovery,
    urgent,
)
from leulo.tcp.account import LEAST_BYTES
from leulo.tcp.ack import acknowledged, fin_acknowledged, take_window
from leulo.tcp.errno import ECONNREFUSED, ECONNRESET, EPIPE
from leulo.tcp.header import ACK, CWR, ECE, FIN, RST, SYN, TCP_AT, URG
from leulo.tcp.options import TIMESTAMPS_ONLY, Options, parse
from leulo.tcp.receiver_rtt import FULL_BYTES, data_arrives, echo_arrives
from leulo.tcp.seq import MASK, lt, unwrap, unwrap_ranges
from leulo.tcp.state import (
    CLOSE_WAIT,
    CLOSED,
    CLOSING,
    ESTABLISHED,
    FIN_WAIT_1,
    FIN_WAIT_2,
    LAST_ACK,
    ON_ACK_OF_SYN,
    ON_CLOSE,
    RECEIVES,
    SYN_RCVD,
    SYN_SENT,
    TIME_WAIT,
)
from leulo.tcp.syn_sent import segment_in_syn_sent
from leulo.tcp.tcb import ACK_DELAYED, ACK_NOW, MORE_HELD, MORE_SENT, RECOVERY_NONE, Tcb
from leulo.tcp.text import take_kept, take_text
from leulo.units import NS_PER_S

_PAWS_IDLE_NS: Final = 24 * 86_400 * NS_PER_S  # ts_recent is out of date then [RFC 7323 5.5]
_NOT_PLAIN: Final = 0xFF7  # every flag but PSH


def examine(
    tcb: Tcb,
    frame: bytes,
    end: int,
    seq_wire: int,
    ack_wire: int,
    control: int,
    window: int,
    option: int,
    tsval: int,
    tsecr: int,
    now_ns: int,
) -> None:
    """The segment in ``frame[44:end]``; the arguments are those of `input.segment_arrives`."""
    engine = tcb.engine
    start = TCP_AT + (control >> 12) * 4
    if start < TCP_AT + 20 or start > end:
        engine.drop("tcp_header_length", tcb)
        return
    options: Options | None = None
    has_timestamps = False
    if control >> 12 == 8 and option == TIMESTAMPS_ONLY:
        has_timestamps = True
    else:
        options = parse(frame, TCP_AT + 20, start)
        has_timestamps = options.has_timestamps
        tsval, tsecr = options.tsval, options.tsecr
    signature_at = 0 if options is None else options.signature_at
    if (signature_at or tcb.settings.md5_keys) and (
        why := md5.refusal(tcb.settings.md5_keys, tcb.key, frame, start, end, signature_at)
    ):
        engine.drop(why, tcb)
        return
    if start < end:
        tcb.data_in += 1
    else:
        tcb.bare_in += 1
    state = tcb.state
    seq = unwrap(tcb.rcv_nxt, seq_wire)
    length = carried = end - start
    is_fin = control & FIN != 0
    wnd = window << tcb.snd_wscale
    # Most segments are nothing but data or an acknowledgement on an open connection.
    is_plain = control & _NOT_PLAIN == ACK and state is ESTABLISHED
    if not is_plain:
        if control & (SYN | FIN) == SYN | FIN and engine.config.drops_every_syn_fin:
            engine.drop("tcp_syn_fin", tcb)
            return
        if state is SYN_SENT:
            if options is None:
                options = parse(frame, TCP_AT + 20, start)
            segment_in_syn_sent(
                tcb, frame, start, end, seq_wire, ack_wire, control, window, options, now_ns
            )
            return
        if state is CLOSED or state is TIME_WAIT:
            return
        if state is SYN_RCVD and control & SYN and seq == tcb.irs:
            if not control & ACK:
                tcb.is_syn_due = True  # the answer was lost
                engine.want_output(tcb)
                return
            # A simultaneous open: the SYN we know, now with an ACK. [RFC 9293 3.5 figure 7]
            control &= ~SYN
            seq += 1
            wnd = window  # never scaled in a SYN [RFC 7323 2.2]

    rcv_nxt = tcb.rcv_nxt
    right = max(tcb.rcv_adv, rcv_nxt)
    counted = None
    if tcb.is_room_offered:
        counted = counted_buffer.of(tcb)
        if counted is None:
            right = max(right, rcv_nxt + tcb.rcv_limit - tcb.received())
        else:
            right = max(right, counted.top)
    # A SYN never ends an open connection, wherever it stands. [RFC 5961 4.2]
    accurate = None if tcb.ecn is None else tcb.ecn.accurate
    if not is_plain and control & (SYN | RST) == SYN and state is not SYN_RCVD:
        if accurate is not None and control & ACK and seq == tcb.irs:
            accecn.syn_ack_again(accurate, ecn.mark_of(frame, tcb.ends))
        if engine.config.has_syn_challenge or not rcv_nxt <= seq < right:
            engine.challenge_ack(tcb, "tcp_syn_challenged", now_ns)
        else:
            engine.drop("tcp_syn_in_window", tcb)
            engine.abort(tcb, ECONNRESET)  # as RFC 793 had it
        return

    # PAWS [RFC 7323 5.3 R1]
    if tcb.has_timestamps and not control & RST:
        if not has_timestamps:
            # Deviation: taken all the same, as Linux does: some boxes on the way strip the option
            # from segments they split or repeat. [RFC 7323 3.2]
            if engine.config.drops_missing_timestamps:
                engine.drop("tcp_no_timestamp", tcb)
                return
        elif lt(tsval, tcb.ts_recent) and now_ns - tcb.ts_recent_at < _PAWS_IDLE_NS:
            end_seq = seq + length + (control & FIN)
            if seq < min(end_seq, rcv_nxt):
                _report_duplicate(tcb, seq, min(end_seq, rcv_nxt))  # [RFC 2883 4.3]
            _answer_invalid(tcb, "tcp_paws", length + (control & FIN), now_ns)
            return

    # First: is it in the window? [RFC 9293 3.10.7.4 first, table 6]
    span = length + (control & FIN) + (control >> 1 & 1)
    if span:
        is_acceptable = seq < right and seq + span > rcv_nxt
        if not is_acceptable and right == rcv_nxt == seq:
            # The window is closed: what it says counts, what it carries does not.
            tcb.ack_due = ACK_NOW
            engine.want_output(tcb)
            engine.count_drop("tcp_zero_window")
            if length and tcb.ecn is not None:
                ecn.data_arrives(tcb, tcb.ecn, frame)  # a probe's mark counts [RFC 3168 6.1.6]
            # A FIN alone takes no room: who sends it now would send it for ever.
            is_fin = is_fin and not length
            length = span = 0
            is_acceptable = True
    else:
        is_acceptable = rcv_nxt <= seq <= right
    if (
        not is_acceptable
        and tcb.last_ack_sent <= seq + span <= rcv_nxt
        and not control & (SYN | RST)
        and engine.config.takes_last_again
    ):
        # Deviation: what ends no earlier than our last acknowledgement is no surprise to its
        # sender: it counts but for its text, as in Linux. [RFC 9293 3.10.7.4 first]
        is_acceptable = True
        is_fin = False
    if not is_acceptable:
        if control & RST:
            if _is_near_rst(tcb, seq):
                _reset(tcb)
            else:
                engine.drop("tcp_rst_outside", tcb)
        else:
            if length + (control & FIN) and seq + length <= rcv_nxt:
                if accurate is not None and length and seq + length == rcv_nxt:
                    # Deviation: it counts though it is outside of the window, as in Linux: the
                    # sender learns what the path does to repetitions. [RFC 9768 3.2]
                    accecn.arrives(tcb, accurate, ecn.mark_of(frame, tcb.ends), length)
                _report_duplicate(tcb, seq, min(seq + length + (control & FIN), rcv_nxt))
            is_old = seq + span <= rcv_nxt
            reason = "tcp_old_segment" if is_old else "tcp_outside_window"
            _answer_invalid(tcb, reason, length + (control & FIN), now_ns)
        if not is_fin or control & (SYN | RST) or seq + length != rcv_nxt - 1:
            return
        # Deviation: of the peer's FIN come once more the acknowledgement counts, as everywhere in
        # the field: where every ACK carries the FIN, two that close at once would never end.
        # [RFC 9293 3.10.7.4]
        seq = rcv_nxt
        length = 0
        is_fin = False
    tcb.last_recv_ns = now_ns
    tcb.keep_probes = 0
    if accurate is not None:
        accecn.arrives(tcb, accurate, ecn.mark_of(frame, tcb.ends), max(length, 0))
    first_seq = seq
    came_twice = False
    if seq < rcv_nxt and not control & (SYN | RST):
        skip = rcv_nxt - seq
        if span:
            _report_duplicate(tcb, seq, min(seq + span, rcv_nxt))
        start += skip
        length -= skip
        seq = rcv_nxt
        came_twice = span > 0  # part of it
        if length < 0:
            length = 0
    is_overrun = seq + length > right
    if is_overrun:
        if engine.config.trims_to_window:
            length = right - seq
            is_fin = False
        elif tcb.received():
            # Deviation: the segment is dropped whole if anything waits to be read, else taken
            # whole, as in Linux: who sends so much at once will not send a part of it.
            # [RFC 9293 3.10.7.4]
            _answer_invalid(tcb, "tcp_beyond_window", length, now_ns)
            return
    if length and engine.account.used >= engine.account.limit:
        # Nobody has room for it, whatever the window says: as if it were lost.
        room = LEAST_BYTES if seq == rcv_nxt and not tcb.received() else 0
        if length > room:
            engine.drop("tcp_buffers_full", tcb)
            tcb.ack_due = ACK_NOW
            engine.want_output(tcb)
            length = room
            is_fin = False

    if counted is not None and length and not control & RST and (why := counted.refusal(seq)):
        engine.drop(why, tcb)
        if why != counted_buffer.FULL_BEHIND:
            tcb.ack_due = ACK_NOW
            engine.want_output(tcb)
        length = 0
        is_fin = False

    if not is_plain:
        # Second: RST, only exactly where it must be. [RFC 5961 3.2]
        if control & RST:
            if first_seq == rcv_nxt or _is_near_rst(tcb, first_seq):
                _reset(tcb)
            elif not rcv_nxt < first_seq < right:
                engine.drop("tcp_rst_outside", tcb)
            elif engine.config.has_exact_rst:
                if tcb.fast_open is not None:
                    fast_open_client.reset_astray(tcb, tcb.fast_open)
                engine.challenge_ack(tcb, "tcp_rst_challenged", now_ns)
            else:
                _reset(tcb)  # as RFC 793 had it
            return
        # Fourth: SYN
        if control & SYN:
            engine.challenge_ack(tcb, "tcp_syn_challenged", now_ns)
            return
        # Fifth: ACK
        if not control & ACK:
            engine.drop("tcp_no_ack", tcb)
            return
    sacks = None if options is None else options.sacks
    is_ts_new = (
        has_timestamps
        and tcb.has_timestamps
        and first_seq <= tcb.last_ack_sent
        and not lt(tsval, tcb.ts_recent)
    )
    is_echo = not is_plain and control & ECE != 0 and tcb.ecn is not None and accurate is None
    before = outstanding = 0
    if control & CWR and accurate is None and tcb.ecn and engine.config.has_freebsd_ecn:
        ecn.freebsd_cwr_arrives(tcb, tcb.ecn, unwrap(tcb.snd_una, ack_wire), length)
    if accurate is not None:
        before = accecn_feedback.mark_of_delivery(tcb)
        outstanding = tcb.snd_max - tcb.snd_una
    if came_twice and first_seq == tcb.snd_wl1 and ack_wire == tcb.snd_una & MASK and wnd:
        wnd = max(wnd, tcb.snd_wnd)  # a smaller one of the same time is older
    if not _take_ack(tcb, first_seq, ack_wire, carried, is_fin, wnd, tsecr, sacks, is_echo, now_ns):
        return
    if came_twice:
        tcb.ack_due = ACK_NOW
        engine.want_output(tcb)
    if tcb.more == MORE_HELD and tcb.snd_nxt < tcb.snd_end:
        tcb.more = MORE_SENT  # as in Linux, whatever it is that the peer says
        engine.want_output(tcb)
    if tcb.search is not None and tcb.search.probe:
        mtu_search.arrived(tcb, tcb.search)
    if accurate is not None and tcb.ecn is not None:
        counters, order = None, 0
        if options is not None:
            counters, order = options.counters, options.counters_order
        news = accecn_feedback.mark_of_delivery(tcb) - before
        if state is SYN_RCVD:
            accecn_feedback.look_at(accurate, counters)
            if not length and sacks is None:
                accecn_feedback.handshake_ends(tcb, accurate, control)
        elif news > 0 or (is_ts_new and tsval != tcb.ts_recent):
            ace = accecn.ace_of(control)
            accecn_feedback.take(
                tcb, tcb.ecn, accurate, ace, counters, order, news, outstanding, now_ns
            )
    if is_ts_new:
        # Only beside an acknowledgement that the peer may send: a forged timestamp far ahead would
        # shut him out. [RFC 7323 4.3 (2)] [RFC 5961 5.2]
        tcb.ts_recent = tsval
        tcb.ts_recent_at = now_ns

    if state is SYN_RCVD:
        take_kept(tcb)

    # Sixth: the urgent pointer
    state = tcb.state
    if (control & URG or tcb.urgent is not None) and RECEIVES >> state & 1:
        if control & URG:
            up = frame[TCP_AT + 18] << 8 | frame[TCP_AT + 19]
            urgent.pointer_arrives(tcb, first_seq, up)
        if tcb.urgent is not None and length:
            urgent.text_arrives(tcb, tcb.urgent, frame, start, seq, length)
    # Seventh: text
    if tcb.ecn is not None and accurate is None:
        if control & CWR:
            ecn.cwr_arrives(tcb, tcb.ecn, length)
        if length or engine.config.has_freebsd_ecn:
            ecn.data_arrives(tcb, tcb.ecn, frame)
    state = tcb.state
    if (length or is_fin) and RECEIVES >> state & 1:
        is_news = length > 0 or seq > rcv_nxt  # a FIN ahead of a gap says that there is some
        if is_news and _is_deaf(tcb) and (state is FIN_WAIT_1 or state is FIN_WAIT_2):
            # Nobody will ever read it: tell the peer. [RFC 9293 3.6.1] [RFC 2525 2.17]
            engine.drop("tcp_data_after_close", tcb)
            engine.send_reset(tcb, ack_wire)
            engine.fail(tcb, 0 if tcb.is_orphan else ECONNRESET)
            return
        is_flood = counted is not None and counted.is_past(length)
        if is_ts_new and length >= FULL_BYTES and seq == tcb.rcv_nxt:
            echo_arrives(tcb, length, tsecr)
        take_text(tcb, frame, start, seq, length, is_fin)
        if length:
            tcb.last_data_ns = now_ns
        if length and not tcb.has_timestamps:
            data_arrives(tcb, length, now_ns)
        if is_overrun and tcb.reassembly is None and not is_fin and not is_flood:
            tcb.ack_due = ACK_DELAYED  # the window cannot open, so there is no hurry
    elif length or is_fin:
        tcb.ack_due = ACK_NOW
        engine.want_output(tcb)


def _is_deaf(tcb: Tcb) -> bool:
    """Has the user closed, or shut the reading side where that is told to the peer?"""
    return tcb.is_orphan if tcb.engine.config.discards_after_shutdown else tcb.is_deaf


def _take_ack(
    tcb: Tcb,
    seq: int,
    ack_wire: int,
    length: int,
    is_fin: bool,
    wnd: int,
    tsecr: int,
    sacks: list[tuple[int, int]] | None,
    is_echo: bool,
    now_ns: int,
) -> bool:
    """The acknowledgement field; ``wnd`` is the window beside it. False: the segment ends here.
    [RFC 9293 3.10.7.4 fifth]"""
    engine = tcb.engine
    una = tcb.snd_una
    ack = unwrap(una, ack_wire)
    is_window_new = False
    if tcb.state is SYN_RCVD:
        if not una < ack <= tcb.snd_max:
            engine.send_reset(tcb, ack_wire)
            return False
        _open(tcb, seq, ack, wnd, tsecr, now_ns)
        una = tcb.snd_una
        if ack == una == tcb.snd_max:
            return True
        is_window_new = True  # the handshake's last ACK is no duplicate
    if ack > tcb.snd_max:
        if tcb.state is ESTABLISHED and not engine.config.acks_unsent:
            # Deviation: an open connection drops it in silence, as Linux did until 7.1; an answer
            # helps only who guesses. [RFC 9293 3.10.7.4 fifth]
            engine.drop("tcp_ack_of_unsent", tcb)
        else:
            engine.challenge_ack(tcb, "tcp_ack_of_unsent", now_ns)
        return False
    if ack < una:
        # What was before our first byte was never sent, however wide the window is, as in Linux.
        if ack < una - tcb.snd_max_wnd or ack <= tcb.iss:
            engine.challenge_ack(tcb, "tcp_ack_too_old", now_ns)  # [RFC 5961 5.2]
            return False
        # Old: only its data may be of use, and what it reports beyond.
        is_used = tcb.flight is not None or tcb.episode is not None
        if sacks is not None and is_used and rack.is_used(tcb):
            if tcb.flight is not None:
                tcb.flight.begin()
            rack.after_ack(tcb, ack, 0, unwrap_ranges(una, sacks), tsecr, False, now_ns)
        return True
    if tcb.snd_wl1 < seq or (tcb.snd_wl1 == seq and tcb.snd_wl2 <= ack):
        tcb.snd_wl1 = seq
        tcb.snd_wl2 = ack
        if wnd != tcb.snd_wnd:
            is_window_new = True
            take_window(tcb, wnd)
    if is_echo and tcb.ecn is not None:
        recovery.told_of_congestion(tcb, tcb.ecn, ack, now_ns)
    if tcb.has_sack and engine.config.has_rack:
        if tcb.flight is not None:
            tcb.flight.begin()
        if ack > una:
            acknowledged(tcb, ack - una, tsecr, now_ns)
        blocks = None if sacks is None else unwrap_ranges(una, sacks)
        is_bare = not length and not is_fin and not is_window_new
        rack.after_ack(tcb, ack, ack - una, blocks, tsecr, is_bare, now_ns)
        return tcb.snd_una <= tcb.snd_end or fin_acknowledged(tcb, now_ns)
    news = 0
    if sacks is not None and tcb.has_sack:
        news = recovery.take_sacks(tcb, unwrap_ranges(una, sacks))
    if ack > una:
        acknowledged(tcb, ack - una, tsecr, now_ns)
        if tcb.snd_una > tcb.snd_end:
            return fin_acknowledged(tcb, now_ns)
        if news and tcb.recovery == RECOVERY_NONE and tcb.scoreboard is not None:
            # News make it a duplicate, though it goes forward. [RFC 6675 2]
            recovery.duplicate(tcb, news, True, now_ns)
    elif (
        una < tcb.snd_max
        and not length
        and not is_fin
        and (not is_window_new or news)
        and not tcb.is_persisting  # it answers a probe
    ):
        # Outstanding data, nothing new in it: a duplicate. With SACK only one that reports
        # something new counts. [RFC 5681 2] [RFC 6675 2]
        if news or not tcb.has_sack:
            recovery.duplicate(tcb, news, False, now_ns)
    elif news:
        recovery.duplicate(tcb, news, False, now_ns)
    return True


def _open(tcb: Tcb, seq: int, ack: int, wnd: int, tsecr: int, now_ns: int) -> None:
    """The SYN of a connection in SYN_RCVD is acknowledged, and perhaps more."""
    engine = tcb.engine
    tcb.snd_wnd = tcb.snd_max_wnd = wnd
    tcb.snd_wl1, tcb.snd_wl2 = seq, ack
    tcb.snd_una = tcb.iss + 1
    rtt_ns = max(now_ns - tcb.timed_at, 1) if tcb.timed_seq else 0
    lost_syns = tcb.backoff
    handshake.syn_acknowledged(tcb)
    handshake.established(tcb, rtt_ns, tsecr, lost_syns, now_ns)
    tcb.change_state(ON_ACK_OF_SYN)
    tcb.refresh_odd()
    tcb.refresh_ordinary()
    if tcb.is_fin_queued:
        tcb.change_state(ON_CLOSE)  # the user has closed meanwhile
    fast = tcb.fast_open
    if fast is not None and fast.is_passive:
        fast_open_server.leave(fast, False, now_ns)
        if tcb.flight is not None:
            tcb.flight.advance(tcb.snd_una, now_ns, -1, tcb.min_rtt_ns)
        if fast.room and ack == tcb.iss + 1:
            tcb.snd_nxt = ack  # nothing of what the SYN-ACK carried has arrived: all goes again
    else:
        tcb.snd_nxt = ack  # what the SYN carried beyond that goes again
    if tcb.snd_nxt > tcb.snd_una:
        tcb.rto_at = now_ns + tcb.rto_ns
        engine.timers.arm(tcb, tcb.rto_at)
    if tcb.socket is not None:
        engine.notify(tcb.socket)
    engine.want_output(tcb)


def _report_duplicate(tcb: Tcb, start: int, end: int) -> None:
    """Say in the next acknowledgement that this came twice. [RFC 2883 4]"""
    if tcb.state is FIN_WAIT_2 and tcb.is_orphan:
        return  # more of it will be reset: the peer has nothing to learn
    if tcb.has_sack and tcb.engine.config.has_dsack and tcb.state is not SYN_RCVD:
        tcb.dsack = (start, end)
        if tcb.ecn is not None and tcb.ecn.accurate is not None:
            accecn.repeats(tcb, tcb.ecn.accurate, start)


def _is_near_rst(tcb: Tcb, seq: int) -> bool:
    """Does a reset with another number than RCV.NXT count as exact?"""
    if not tcb.engine.config.has_near_rst:
        return False
    # Deviation: the number before the peer's FIN, which it may not have counted, and the right edge
    # of what SACK reports, both as in Linux: there is a peer that says no more. [RFC 5961 3.2]
    queue = tcb.reassembly
    if queue is not None and tcb.has_sack and seq == queue.end:
        return True
    state = tcb.state
    return seq == tcb.rcv_nxt - 1 and (state is CLOSE_WAIT or state is LAST_ACK or state is CLOSING)


def _reset(tcb: Tcb) -> None:
    """The peer ended the connection at once. [RFC 9293 3.10.7.4 second]"""
    state = tcb.state
    fast = tcb.fast_open
    if state is SYN_RCVD and fast is not None and fast.is_passive:
        if not tcb.is_accepting:
            fast_open_server.leave(fast, True, tcb.engine.now_ns)
        tcb.engine.fail(tcb, ECONNRESET)
    elif state is SYN_RCVD:
        tcb.engine.fail(tcb, ECONNREFUSED)
    elif state is CLOSE_WAIT and tcb.engine.config.has_epipe_on_reset:
        tcb.engine.fail(tcb, EPIPE)
    elif state in (CLOSING, LAST_ACK, FIN_WAIT_1, FIN_WAIT_2) and tcb.is_orphan:
        tcb.engine.fail(tcb, 0)
    else:
        tcb.engine.fail(tcb, ECONNRESET)


def _answer_invalid(tcb: Tcb, reason: str, length: int, now_ns: int) -> None:
    """An unacceptable segment is answered by an ACK; bare ones at a limited rate, so that two
    confused peers do not answer each other for ever. [RFC 9293 3.10.7.4 first]"""
    engine = tcb.engine
    engine.drop(reason, tcb)
    if not length and not tcb.may_answer_invalid(now_ns):
        return
    tcb.ack_due = ACK_NOW
    engine.want_output(tcb)
