"""Segments that belong to no open connection.

They are for a half-open record (`half_open_arrives`), or (`syn_arrives`, `stranger_arrives`) for
a record of TIME_WAIT, for a listener (a SYN, or an ACK that carries a cookie), or for nobody, and
are then answered by a reset at once. Answers to the last three need no connection and are built
whole here.
[RFC 9293 3.10.7.1, 3.10.7.2, 3.5.2]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from leulo.tcp import accecn, accecn_feedback, ecn, header, md5
from leulo.tcp.addresses import turned
from leulo.tcp.ecn import Ecn
from leulo.tcp.header import ACK, ECE, FIN, RST, SYN, TCP_AT, TIMESTAMPED_AT
from leulo.tcp.input import segment_arrives
from leulo.tcp.listen import HalfOpen
from leulo.tcp.options import TIMESTAMPS_ONLY, Options, emit_timestamps, parse
from leulo.tcp.seq import HALF, MASK, lt
from leulo.tcp.tcb import Tcb
from leulo.tcp.time_wait import TimeWait

if TYPE_CHECKING:
    from leulo.tcp.engine import Engine


def stranger_arrives(
    engine: Engine,
    key: bytes,
    front: bytes,
    frame: bytes,
    end: int,
    seq: int,
    ack: int,
    control: int,
    window: int,
    option: int,
    tsval: int,
    tsecr: int,
    is_loopback: bool,
    now_ns: int,
) -> None:
    """A valid segment without SYN whose key nothing has that is open, or half open. ``front``
    leads back to its sender, the rest is as for `input.segment_arrives`; from here on ``option``
    says whether there is a timestamp, in whatever place."""
    words = control >> 12
    start = TCP_AT + words * 4
    if words < 5 or start > end:
        engine.count_drop("tcp_header_length")
        return
    signature_at = 0
    if words != 8 or option != TIMESTAMPS_ONLY:
        options = parse(frame, TCP_AT + 20, start)
        option = TIMESTAMPS_ONLY if options.has_timestamps else 0
        tsval, tsecr = options.tsval, options.tsecr
        signature_at = options.signature_at
    record = engine.time_wait.get(key)
    if record is not None:
        if (signature_at or engine.time_wait.md5_keys) and md5.drops(
            engine, engine.time_wait.keys_of(key), key, frame, start, end, signature_at
        ):
            return
        _for_time_wait(
            engine, record, end - start, seq, control, option, tsval, is_loopback, now_ns
        )
        return
    if control & RST:
        engine.count_drop("tcp_rst_unknown")
        return
    listener = engine.find_listener(turned(key))
    keys = md5.NO_KEYS if listener is None else listener.settings.md5_keys
    if listener is None and signature_at:
        keys = md5.keys_of_service(engine, key)
    if (signature_at or keys) and md5.drops(engine, keys, key, frame, start, end, signature_at):
        return
    if listener is not None:
        if not control & ACK:
            engine.count_drop("tcp_listen_neither")  # [RFC 9293 3.10.7.2 fourth]
            return
        cookie = listener.cookie_arrives(
            key, front, seq, ack, control, option, tsval, tsecr, is_loopback, now_ns
        )
        if cookie is not None:
            half_open_arrives(
                cookie, frame, end, seq, ack, control, window, option, tsval, tsecr, now_ns
            )
            return
    refuse(engine, key, front, end - start, seq, ack, control, is_loopback, keys)


def syn_arrives(
    engine: Engine,
    key: bytes,
    front: bytes,
    frame: bytes,
    end: int,
    seq: int,
    ack: int,
    control: int,
    window: int,
    is_loopback: bool,
    now_ns: int,
) -> None:
    """The same with a SYN, which a listener may want."""
    start = TCP_AT + (control >> 12) * 4
    if start < TCP_AT + 20 or start > end:
        engine.count_drop("tcp_header_length")
        return
    options = parse(frame, TCP_AT + 20, start)
    ends = turned(key)
    listener = engine.find_listener(ends)
    signature_at = options.signature_at
    keys = md5.NO_KEYS if listener is None else listener.settings.md5_keys
    record = engine.time_wait.get(key)
    iss_after = -1
    if record is not None and (
        control & (ACK | RST)
        or listener is None
        or (control & FIN and engine.config.drops_every_syn_fin)
        or not record.allows_syn(seq, options.has_timestamps, options.tsval)
    ):
        option = TIMESTAMPS_ONLY if options.has_timestamps else 0
        if (signature_at or engine.time_wait.md5_keys) and md5.drops(
            engine, engine.time_wait.keys_of(key), key, frame, start, end, signature_at
        ):
            return
        _for_time_wait(
            engine, record, end - start, seq, control, option, options.tsval, is_loopback, now_ns
        )
        return
    if listener is None and signature_at:
        keys = md5.keys_of_service(engine, key)
    if (signature_at or keys) and md5.drops(engine, keys, key, frame, start, end, signature_at):
        return
    if record is not None:
        engine.time_wait.remove(record)
        engine.counts["time_wait_reused"] += 1
        iss_after = record.snd_nxt
    if control & RST:
        engine.count_drop("tcp_rst_unknown")
    elif listener is None or control & ACK:
        refuse(engine, key, front, end - start, seq, ack, control, is_loopback, keys)
    elif control & FIN and engine.config.drops_syn_fin:
        engine.count_drop("tcp_syn_fin")
    else:
        reason = listener.syn_arrives(
            key, ends, front, frame, start, end, seq, window, options, is_loopback,
            control, iss_after, now_ns,
        )  # fmt: skip
        if reason is not None:
            engine.count_drop(reason)


def refuse(
    engine: Engine,
    key: bytes,
    front: bytes,
    length: int,
    seq: int,
    ack: int,
    control: int,
    is_loopback: bool,
    keys: md5.Keys,
) -> None:
    """Reset a segment that nobody wants; the reset is signed if its peer is in ``keys``.
    [RFC 9293 3.10.7.1] [RFC 2385 4.1]"""
    if not engine.config.answers_closed_port:
        engine.count_drop("tcp_closed_port")
        return
    engine.counts["tcp_refused"] += 1
    if control & ACK:
        answer_seq, answer_ack, flags = ack, 0, RST
    else:
        span = length + (control & FIN) + (control >> 1 & 1)
        answer_seq, answer_ack, flags = 0, seq + span, RST | ACK
    _answer(engine, key, front, answer_seq, answer_ack, flags, 0, b"", is_loopback, keys)


def _answer(
    engine: Engine,
    key: bytes,
    front: bytes,
    seq: int,
    ack: int,
    flags: int,
    window: int,
    options: bytes,
    is_loopback: bool,
    keys: md5.Keys,
) -> None:
    if keys:
        options = md5.ordered(md5.lead(keys, key) + options, engine.config)
    frame = header.plain(front, turned(key), seq, ack, flags, window, options)
    engine.reply(md5.signed(frame, keys, key) if keys else frame, is_loopback)


def half_open_arrives(
    half: HalfOpen,
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
    """A valid segment for a half-open record, in state SYN_RCVD of a passive open; the rest is as
    for `input.segment_arrives`. [RFC 9293 3.10.7.4] [RFC 5961 3, 4]"""
    listener = half.listener
    engine = listener.engine
    words = control >> 12
    options: Options | None = None
    signature_at = 0
    if words == 8 and option == TIMESTAMPS_ONLY and end >= TIMESTAMPED_AT:
        length = end - TIMESTAMPED_AT
    else:
        length = end - TCP_AT - words * 4
        if words < 5 or length < 0:
            engine.count_drop("tcp_header_length")
            return
        options = parse(frame, TCP_AT + 20, end - length)
        option = TIMESTAMPS_ONLY if options.has_timestamps else 0
        tsval, tsecr = options.tsval, options.tsecr
        signature_at = options.signature_at
    keys = listener.settings.md5_keys
    if (signature_at or keys) and md5.drops(
        engine, keys, half.key, frame, end - length, end, signature_at
    ):
        return
    peer = half.peer
    offset = (seq - half.irs - 1) & MASK
    if (
        control & (SYN | RST | ACK) != ACK
        or (ack - half.iss) & MASK != 1
        or (offset and offset >= half.room() and length <= -offset & MASK)
        or half.is_held
        # PAWS, or the preset, may forbid it. [RFC 7323 3.2, 5.3 R1]
        or (peer.has_timestamps and option and (tsval - peer.tsval) & MASK >= HALF)
        or (peer.has_timestamps and not option and engine.config.drops_missing_timestamps)
    ):
        mark = ecn.mark_of(frame, half.ends)
        _refuse_half_open(engine, half, length, offset, seq, ack, control, mark, now_ns)
        return
    # The handshake is complete; what else the segment brings is the connection's.
    if (
        listener.settings.defer_retries > half.retries
        and half.due_at
        and not length
        and not control & FIN
    ):
        half.is_acked = True  # the listener wants to hear of it when there is data
        engine.count_drop("tcp_deferred_accept")
        return
    if option and not offset:
        peer.tsval = tsval  # [RFC 7323 4.3 (2)]
    if listener.is_full():
        engine.count_drop("accept_queue_full")
        if engine.config.resets_on_overflow:
            listener.lose(half)
            refuse(engine, half.key, half.front, length, seq, ack, control, half.is_loopback, keys)
        return  # else the SYN-ACK will be sent again
    listener.forget(half)
    tcb = listener.connect(half, window, tsecr, now_ns)
    if tcb.ecn is not None:
        _tell_of_marks(tcb, tcb.ecn, frame, options, length, control)
    if length or control & FIN:
        # Of eight words with timestamps nothing else matters; other options are read again.
        if words != 8:
            option = 0
        segment_arrives(tcb, frame, end, seq, ack, control, window, option, tsval, tsecr, now_ns)
    else:
        tcb.bare_in += 1


def _tell_of_marks(
    tcb: Tcb, agreed: Ecn, frame: bytes, options: Options | None, length: int, control: int
) -> None:
    """What the segment that completes the handshake says of congestion."""
    accurate = agreed.accurate
    if accurate is not None:
        accecn_feedback.look_at(accurate, None if options is None else options.counters)
        if not length and (options is None or options.sacks is None):
            accecn_feedback.handshake_ends(tcb, accurate, control)
        if not length and not control & FIN:
            accecn.arrives(tcb, accurate, ecn.mark_of(frame, tcb.ends), 0)
    elif control & ECE and tcb.engine.config.ecn_of_control:
        # Deviation: our SYN-ACK has met congestion, and the window is one segment; but it is not
        # sent once more unmarked, for which few peers would wait. [RFC 5562 3.2]
        tcb.cwnd = min(tcb.cwnd, tcb.mss)
        ecn.reduced(tcb)


def _refuse_half_open(
    engine: Engine,
    half: HalfOpen,
    length: int,
    offset: int,
    seq: int,
    ack: int,
    control: int,
    mark: int,
    now_ns: int,
) -> None:
    """A segment that does not complete the handshake; ``offset`` is its distance from RCV.NXT."""
    if control & (SYN | RST | ACK) != ACK:
        if control & RST:
            _reset_half_open(engine, half, offset, now_ns)
        elif not control & SYN:
            engine.count_drop("tcp_no_ack")
            is_outside = offset >= half.room()  # which is looked at first, and is answered
            if is_outside and not half.is_held and _may_challenge(engine, half, now_ns):
                _acknowledge(engine, half)
        elif not control & ACK and seq == half.irs:
            half.listener.syn_again(half, control, mark)
        elif not half.is_held and _may_challenge(engine, half, now_ns):
            _acknowledge(engine, half)
    elif half.is_held or (ack - half.iss) & MASK != 1:
        keys = half.listener.settings.md5_keys
        refuse(engine, half.key, half.front, length, seq, ack, control, half.is_loopback, keys)
    else:
        engine.count_drop("tcp_outside_window")
        if length or control & FIN or _may_challenge(engine, half, now_ns):
            _acknowledge(engine, half)


def _reset_half_open(engine: Engine, half: HalfOpen, offset: int, now_ns: int) -> None:
    """A reset ends the record where it must be, elsewhere in the window it is challenged.
    [RFC 5961 3.2]"""
    if offset and offset >= half.room():
        engine.count_drop("tcp_rst_outside")
    elif not offset or not engine.config.has_exact_rst:
        half.listener.lose(half)
    else:
        engine.count_drop("tcp_rst_challenged")
        if not half.is_held and _may_challenge(engine, half, now_ns):
            _acknowledge(engine, half)


def _may_challenge(engine: Engine, half: HalfOpen, now_ns: int) -> bool:
    """Within the limit of all, and the record's own part of it. [RFC 5961 10]"""
    if now_ns < half.challenged_at or not engine.challenge.allows(now_ns):
        return False
    config = engine.config
    half.challenged_at = now_ns + config.invalid_ack_interval_ns // config.invalid_acks
    return True


def _acknowledge(engine: Engine, half: HalfOpen) -> None:
    options = b""
    if half.peer.has_timestamps:
        options = emit_timestamps((engine.now_ms + half.ts_offset) & MASK, half.peer.tsval)
    ace = accecn.FIRST_ACE if half.accurate >= 0 else 0
    _answer(
        engine, half.key, half.front, half.iss + 1, half.irs + 1, ACK | ace,
        half.room(), options, half.is_loopback, half.listener.settings.md5_keys,
    )  # fmt: skip


def _for_time_wait(
    engine: Engine,
    record: TimeWait,
    length: int,
    seq: int,
    control: int,
    option: int,
    tsval: int,
    is_loopback: bool,
    now_ns: int,
) -> None:
    """Only a repeated FIN is expected; it is acknowledged and the time begins anew.
    [RFC 9293 3.10.7.4, TIME-WAIT]"""
    config = engine.config
    if control & RST:
        if seq == record.rcv_nxt and config.rst_ends_time_wait:
            engine.time_wait.remove(record)
        else:
            # Deviation: no other ends it, and on FreeBSD none: an old duplicate could. [RFC 1337 3]
            engine.count_drop("tcp_rst_time_wait")
        return
    if not config.answers_time_wait_syn and (
        not control & ACK or (control & (SYN | FIN) == SYN | FIN and config.drops_every_syn_fin)
    ):
        engine.count_drop("tcp_time_wait")
        return
    if record.has_timestamps and not option and config.drops_missing_timestamps:
        engine.count_drop("tcp_no_timestamp")  # [RFC 7323 3.2]
        return
    is_old = record.has_timestamps and option != 0 and lt(tsval, record.ts_recent)
    # The peer's own FIN, not one that somebody has made up. [RFC 9293 3.10.7.4]
    is_fin = control & FIN != 0 and not (seq + length + 1 - record.rcv_nxt) & MASK
    if is_fin and not is_old:
        engine.time_wait.restart(record, now_ns)
    elif not control & (SYN | FIN) and not length and seq == record.rcv_nxt:
        return  # an ordinary ACK needs no answer
    if not length and not is_fin:
        # At a limited rate, which what the peer has to hear of does not take part in.
        if now_ns < record.answered_ns:
            engine.count_drop("tcp_time_wait")
            return
        pause_ns = config.invalid_ack_interval_ns // config.invalid_acks
        engine.time_wait.answered(record, now_ns + pause_ns)
    text = b""
    if record.has_timestamps:
        text = emit_timestamps((engine.now_ms + record.ts_offset) & MASK, record.ts_recent)
    _answer(
        engine, record.key, record.front, record.snd_nxt, record.rcv_nxt, ACK | record.ace,
        record.window, text, is_loopback, engine.time_wait.keys_of(record.key),
    )  # fmt: skip
