"""A segment arrives for a connection. [RFC 9293 3.10.7.3, 3.10.7.4]

`segment_arrives` predicts the usual segment of an open connection (next in order, timestamps the
only option, ACK the only flag beside PSH) and is done with it in a few steps; everything else
walks the RFC's list. Nothing is sent from here: what is due is noted in the connection, and
`output` sends it in drain.
"""

from __future__ import annotations

from typing import Final

from leulo.tcp import handshake, recovery
from leulo.tcp.ack import acknowledged
from leulo.tcp.errno import ECONNREFUSED, ECONNRESET, EPIPE
from leulo.tcp.events import tell_segment_in
from leulo.tcp.header import ACK, FIN, RST, SYN, TCP_AT, TIMESTAMPED_AT
from leulo.tcp.options import TIMESTAMPS_ONLY, Options, parse
from leulo.tcp.reassembly import Reassembly
from leulo.tcp.recv_buffer import RecvBuffer
from leulo.tcp.seq import HALF, MASK, lt, unwrap
from leulo.tcp.state import (
    CLOSE_WAIT,
    CLOSED,
    CLOSING,
    ESTABLISHED,
    FIN_WAIT_1,
    FIN_WAIT_2,
    LAST_ACK,
    RECEIVES,
    SYN_RCVD,
    SYN_SENT,
    TIME_WAIT,
    Event,
)
from leulo.tcp.tcb import ACK_DELAYED, ACK_NOW, NO_FIN, Tcb
from leulo.units import NS_PER_S

_VIEWED_BYTES: Final = 4096  # from here a view of the frame is cheaper than a copy
_PREDICTED: Final = 0xF0F7  # of offset and flags, all but PSH and reserved bits
_ORDINARY: Final = 0x8010  # eight words, ACK
_PAWS_IDLE_NS: Final = 24 * 86_400 * NS_PER_S  # ts_recent is out of date then [RFC 7323 5.5]


def segment_arrives(
    tcb: Tcb,
    frame: bytes,
    end: int,
    seq: int,
    ack: int,
    control: int,
    window: int,
    option: int,
    tsval: int,
    tsecr: int,
    now_ns: int,
) -> None:
    """The segment in ``frame[44:end]``, its checksum verified, for ``tcb``.

    ``control`` is the word of offset and flags, ``option`` the first four bytes of the options;
    ``tsval`` and ``tsecr`` are what stands there if that is a timestamp.
    """
    if tcb.engine.segment_in.active:
        length = end - TCP_AT - (control >> 12) * 4
        tell_segment_in(tcb, seq, ack, control & 0xFF, window, length, now_ns)
    if tcb.is_ordinary and control & _PREDICTED == _ORDINARY and option == TIMESTAMPS_ONLY:
        acked = (ack - tcb.snd_una) & MASK
        length = end - TIMESTAMPED_AT
        rcv_nxt = tcb.rcv_nxt
        age = (tsval - tcb.ts_recent) & MASK
        if (
            not (seq - rcv_nxt) & MASK
            and (length or acked)
            and acked <= tcb.snd_max - tcb.snd_una
            and length <= tcb.rcv_adv - rcv_nxt
            and age < HALF
        ):
            if age and tcb.last_ack_sent == rcv_nxt:
                tcb.ts_recent = tsval
                tcb.ts_recent_at = now_ns
            tcb.last_recv_ns = now_ns
            wnd = window << tcb.snd_wscale
            if wnd != tcb.snd_wnd:
                _take_window(tcb, wnd, now_ns)
            tcb.snd_wl1 = rcv_nxt
            if acked:
                acknowledged(tcb, acked, tsecr, now_ns)
            tcb.snd_wl2 = tcb.snd_una
            if length > 0:
                if length < _VIEWED_BYTES:
                    _deliver(tcb, frame[TIMESTAMPED_AT:end], length)
                else:
                    _deliver(tcb, memoryview(frame)[TIMESTAMPED_AT:end], length)
            return
    _examine(tcb, frame, end, seq, ack, control, window, option, tsval, tsecr, now_ns)


def _deliver(tcb: Tcb, payload: bytes | memoryview, length: int) -> None:
    """In-order bytes for the user; decides about their acknowledgement. [RFC 9293 3.8.6.3]"""
    rcv_nxt = tcb.rcv_nxt = tcb.rcv_nxt + length
    buffer = tcb.receive_buffer
    if buffer is None:
        buffer = tcb.receive_buffer = RecvBuffer()
    socket = tcb.socket
    if socket is not None and (not buffer.length or socket.wants_every_byte):
        tcb.engine.notify(socket)
    buffer.append(payload)
    if length > tcb.rcv_mss:
        tcb.rcv_mss = min(length, tcb.mss)
    if rcv_nxt - tcb.last_ack_sent > tcb.rcv_mss or tcb.quick_acks > 0:
        tcb.quick_acks -= tcb.quick_acks > 0
        tcb.ack_due = ACK_NOW
    elif not tcb.ack_due:
        tcb.ack_due = ACK_DELAYED
    if not tcb.is_pending:
        tcb.is_pending = True
        tcb.engine.pending.append(tcb)


def _take_window(tcb: Tcb, window: int, now_ns: int) -> None:
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


def _examine(
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
    """The careful path: RFC 9293's list with the checks of RFC 5961 and RFC 7323."""
    engine = tcb.engine
    start = TCP_AT + (control >> 12) * 4
    options: Options | None = None
    has_timestamps = False
    if control >> 12 == 8 and option == TIMESTAMPS_ONLY:
        has_timestamps = True
    else:
        options = parse(frame, TCP_AT + 20, start)
        has_timestamps = options.has_timestamps
        tsval, tsecr = options.tsval, options.tsecr
    state = tcb.state
    if state is SYN_SENT:
        if options is None:
            options = parse(frame, TCP_AT + 20, start)
        _in_syn_sent(tcb, frame, start, end, seq_wire, ack_wire, control, window, options, now_ns)
        return
    if state is CLOSED or state is TIME_WAIT:
        return
    seq = unwrap(tcb.rcv_nxt, seq_wire)
    length = end - start
    is_fin = control & FIN != 0
    if state is SYN_RCVD and control & SYN and seq == tcb.irs:
        # A simultaneous open: the SYN we know, now with an ACK. [RFC 9293 3.5 figure 7]
        control &= ~SYN
        seq += 1

    # PAWS [RFC 7323 5.3 R1]
    if tcb.has_timestamps and not control & RST:
        if not has_timestamps:
            engine.drop("tcp_no_timestamp", tcb)  # [RFC 7323 3.2]
            return
        if lt(tsval, tcb.ts_recent) and now_ns - tcb.ts_recent_at < _PAWS_IDLE_NS:
            _answer_invalid(tcb, "tcp_paws", length, now_ns)
            return

    # First: is it in the window? [RFC 9293 3.10.7.4 first, table 6]
    rcv_nxt = tcb.rcv_nxt
    right = tcb.rcv_adv
    span = length + (control & FIN) + (control >> 1 & 1)
    if span:
        is_acceptable = seq < right and seq + span > rcv_nxt
        if not is_acceptable and right == rcv_nxt == seq:
            # The window is closed: what it says counts, what it carries does not.
            tcb.ack_due = ACK_NOW
            engine.want_output(tcb)
            engine.count_drop("tcp_zero_window")
            length = span = 0
            is_fin = False
            is_acceptable = True
    else:
        is_acceptable = rcv_nxt <= seq <= right
    if not is_acceptable:
        if control & RST:
            engine.drop("tcp_rst_outside", tcb)
        else:
            _answer_invalid(tcb, "tcp_outside_window", length, now_ns)
        return
    tcb.last_recv_ns = now_ns
    tcb.keep_probes = 0
    if (
        has_timestamps
        and tcb.has_timestamps
        and seq <= tcb.last_ack_sent
        and not lt(tsval, tcb.ts_recent)
    ):
        tcb.ts_recent = tsval  # [RFC 7323 4.3 (2)]
        tcb.ts_recent_at = now_ns
    first_seq = seq
    if seq < rcv_nxt and not control & (SYN | RST):
        skip = rcv_nxt - seq
        start += skip
        length -= skip
        seq = rcv_nxt
        tcb.ack_due = ACK_NOW  # part of it came twice
        engine.want_output(tcb)
        if length < 0:
            length = 0
    if seq + length > right:
        length = right - seq
        is_fin = False

    # Second: RST, only exactly where it must be. [RFC 5961 3.2]
    if control & RST:
        if first_seq == rcv_nxt:
            _reset(tcb)
        else:
            engine.challenge_ack(tcb, "tcp_rst_challenged", now_ns)
        return
    # Fourth: SYN never ends an open connection. [RFC 5961 4.2]
    if control & SYN:
        engine.challenge_ack(tcb, "tcp_syn_challenged", now_ns)
        return
    # Fifth: ACK
    if not control & ACK:
        engine.drop("tcp_no_ack", tcb)
        return
    sacks = None if options is None else options.sacks
    if not _take_ack(tcb, seq, ack_wire, length, is_fin, window, tsecr, sacks, now_ns):
        return

    # Sixth: the urgent pointer. Urgent data is read in line. [RFC 6093 6]
    # Seventh: text
    state = tcb.state
    if (length or is_fin) and RECEIVES >> state & 1:
        if length and tcb.is_orphan:
            # Nobody will ever read it: tell the peer. [RFC 9293 3.6.1] [RFC 2525 2.17]
            engine.drop("tcp_data_after_close", tcb)
            engine.abort(tcb)
            return
        _take_text(tcb, frame, start, seq, length, is_fin)
    elif length or is_fin:
        tcb.ack_due = ACK_NOW
        engine.want_output(tcb)


def _take_ack(
    tcb: Tcb,
    seq: int,
    ack_wire: int,
    length: int,
    is_fin: bool,
    window: int,
    tsecr: int,
    sacks: list[tuple[int, int]] | None,
    now_ns: int,
) -> bool:
    """The acknowledgement field. False: the segment ends here. [RFC 9293 3.10.7.4 fifth]"""
    engine = tcb.engine
    una = tcb.snd_una
    ack = unwrap(una, ack_wire)
    wnd = window << tcb.snd_wscale
    if tcb.state is SYN_RCVD:
        if not una < ack <= tcb.snd_max:
            engine.send_reset(tcb, ack_wire)
            return False
        tcb.snd_wnd = tcb.snd_max_wnd = wnd
        tcb.snd_wl1, tcb.snd_wl2 = seq, ack
        tcb.snd_una = una = tcb.iss + 1
        handshake.established(tcb, 0, tsecr, now_ns)
        tcb.change_state(Event.ACK_OF_SYN)
        if tcb.is_fin_queued:
            tcb.change_state(Event.CLOSE)  # the user has closed meanwhile
        if tcb.socket is not None:
            engine.notify(tcb.socket)
        engine.want_output(tcb)
        if ack == una:
            return True
    if ack > tcb.snd_max:
        engine.challenge_ack(tcb, "tcp_ack_of_unsent", now_ns)
        return False
    if ack < una - tcb.snd_max_wnd:
        engine.challenge_ack(tcb, "tcp_ack_too_old", now_ns)  # [RFC 5961 5.2]
        return False
    if ack < una:
        return True  # old: only its data may be of use
    is_window_new = False
    if tcb.snd_wl1 < seq or (tcb.snd_wl1 == seq and tcb.snd_wl2 <= ack):
        tcb.snd_wl1 = seq
        tcb.snd_wl2 = ack
        if wnd != tcb.snd_wnd:
            is_window_new = True
            _take_window(tcb, wnd, now_ns)
    news = 0
    if sacks is not None and tcb.has_sack:
        news = recovery.take_sacks(
            tcb, [(unwrap(una, left), unwrap(una, right)) for left, right in sacks]
        )
    if ack > una:
        acknowledged(tcb, ack - una, tsecr, now_ns)
        if news:
            recovery.duplicate(tcb, now_ns)
        if tcb.snd_una > tcb.snd_end:
            return _fin_acknowledged(tcb, now_ns)
    elif una < tcb.snd_max and not length and not is_fin and (not is_window_new or news):
        # Outstanding data, nothing new in it: a duplicate. With SACK only one that reports
        # something new counts. [RFC 5681 2] [RFC 6675 2]
        if news or not tcb.has_sack:
            recovery.duplicate(tcb, now_ns)
    elif news:
        recovery.duplicate(tcb, now_ns)
    return True


def _fin_acknowledged(tcb: Tcb, now_ns: int) -> bool:
    """Our FIN has arrived. False: the connection is gone."""
    engine = tcb.engine
    state = tcb.state
    if state is FIN_WAIT_1:
        tcb.change_state(Event.ACK_OF_FIN)
        if tcb.is_orphan:
            tcb.life_at = now_ns + engine.config.fin_timeout_ns
            engine.timers.arm(tcb, tcb.life_at)
        elif tcb.socket is not None:
            engine.notify(tcb.socket)
    elif state is CLOSING:
        tcb.change_state(Event.ACK_OF_FIN)
        engine.enter_time_wait(tcb, now_ns)
        return False
    elif state is LAST_ACK:
        tcb.change_state(Event.ACK_OF_FIN)
        engine.forget(tcb)
        return False
    return True


def _take_text(tcb: Tcb, frame: bytes, start: int, seq: int, length: int, is_fin: bool) -> None:
    """Payload and FIN, already cut to the window. [RFC 9293 3.10.7.4 seventh, eighth]"""
    engine = tcb.engine
    if is_fin and tcb.fin_at == NO_FIN:
        tcb.fin_at = seq + length
        tcb.is_ordinary = False
    if tcb.fin_at != NO_FIN and seq + length > tcb.fin_at:
        length = max(0, tcb.fin_at - seq)  # nothing comes behind a FIN
    engine.want_output(tcb)
    if seq > tcb.rcv_nxt:
        tcb.ack_due = ACK_NOW  # [RFC 5681 4.2]
        if length:
            _queue(tcb, seq, _payload(frame, start, length))
        return
    if length:
        _deliver(tcb, _payload(frame, start, length), length)
        queue = tcb.reassembly
        if queue is not None:
            tcb.ack_due = ACK_NOW  # a gap is filled, or part of one
            for piece in queue.take(tcb.rcv_nxt):
                _deliver(tcb, piece, len(piece))
            if queue.is_empty:
                tcb.reassembly = None
                tcb.refresh_ordinary()
            tcb.ack_due = ACK_NOW
    if tcb.rcv_nxt == tcb.fin_at:
        _take_fin(tcb)


def _payload(frame: bytes, start: int, length: int) -> bytes | memoryview:
    if length < _VIEWED_BYTES:
        return frame[start : start + length]
    return memoryview(frame)[start : start + length]


def _queue(tcb: Tcb, seq: int, payload: bytes | memoryview) -> None:
    """Keep a segment that is ahead of a gap."""
    engine = tcb.engine
    queue = tcb.reassembly
    if queue is None:
        queue = tcb.reassembly = Reassembly(engine.config.reassembly_blocks)
        tcb.is_ordinary = False
    # Twice the buffer, because small segments cost more than their payload.
    if not queue.insert(seq, payload, 2 * tcb.rcv_limit):
        engine.count_drop("tcp_reassembly_full")
    if queue.is_empty:
        tcb.reassembly = None
        tcb.refresh_ordinary()


def _take_fin(tcb: Tcb) -> None:
    """Everything up to the peer's FIN is here. [RFC 9293 3.10.7.4 eighth]"""
    engine = tcb.engine
    tcb.rcv_nxt += 1
    tcb.ack_due = ACK_NOW
    state = tcb.state
    if state is ESTABLISHED or state is FIN_WAIT_1:
        tcb.change_state(Event.FIN)
    elif state is FIN_WAIT_2:
        tcb.change_state(Event.FIN)
        engine.enter_time_wait(tcb, engine.now_ns)
    if tcb.socket is not None:
        engine.notify(tcb.socket)


def _in_syn_sent(
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
    """[RFC 9293 3.10.7.3]"""
    engine = tcb.engine
    has_ack = control & ACK != 0
    if has_ack and (tcb.snd_nxt == tcb.iss or (ack_wire - tcb.snd_nxt) & MASK):
        if not control & RST:
            engine.send_reset(tcb, ack_wire)
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
    tcb.irs = seq_wire
    tcb.rcv_nxt = tcb.last_ack_sent = seq_wire + 1
    tcb.rcv_adv = tcb.rcv_nxt + min(tcb.rcv_limit, 0xFFFF)
    tcb.snd_wl1 = seq_wire
    tcb.snd_wl2 = tcb.snd_una
    tcb.snd_wnd = tcb.snd_max_wnd = window  # never scaled in a SYN [RFC 7323 2.2]
    if config.has_timestamps and options.has_timestamps:
        tcb.has_timestamps = True
        tcb.ts_recent = options.tsval
        tcb.ts_recent_at = now_ns
    tcb.has_sack = config.has_sack and options.is_sack_permitted
    if config.has_window_scaling and options.wscale >= 0:
        tcb.snd_wscale = options.wscale
        tcb.rcv_wscale = engine.rcv_wscale
    handshake.negotiate(tcb, max(options.mss or config.default_mss, config.min_mss))
    engine.want_output(tcb)
    if not has_ack:
        # Both opened at once. [RFC 9293 3.5]
        tcb.change_state(Event.SYN)
        tcb.is_syn_due = True
        tcb.timed_seq = 0
        return
    rtt_ns = now_ns - tcb.timed_at if tcb.timed_seq else 0
    tcb.snd_una = tcb.snd_nxt
    tcb.snd_wl2 = tcb.snd_una
    handshake.established(tcb, rtt_ns, options.tsecr, now_ns)
    tcb.change_state(Event.SYN_ACK)
    tcb.ack_due = ACK_NOW
    tcb.is_write_blocked = False
    if tcb.socket is not None:
        engine.notify(tcb.socket)
    length = end - start
    if length or control & FIN:
        length = min(length, tcb.rcv_adv - tcb.rcv_nxt)
        _take_text(tcb, frame, start, tcb.rcv_nxt, length, control & FIN != 0)


def _reset(tcb: Tcb) -> None:
    """The peer ended the connection at once. [RFC 9293 3.10.7.4 second]"""
    state = tcb.state
    if state is SYN_RCVD:
        tcb.engine.fail(tcb, ECONNREFUSED)
    elif state is CLOSE_WAIT:
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
    if not length:
        if now_ns < tcb.invalid_ack_at:
            return
        tcb.invalid_ack_at = now_ns + engine.config.invalid_ack_interval_ns
    tcb.ack_due = ACK_NOW
    engine.want_output(tcb)
