"""Segments that belong to no open connection.

They are for a half-open record, for a record of TIME_WAIT, for a listener (a SYN, or an ACK that
carries a cookie), or for nobody, and are then answered by a reset at once. Answers to the last
three need no connection and are built whole here. [RFC 9293 3.10.7.1, 3.10.7.2, 3.5.2]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from leulo.tcp import header
from leulo.tcp.addresses import ends_of
from leulo.tcp.header import ACK, FIN, RST, SYN, TCP_AT
from leulo.tcp.input import segment_arrives
from leulo.tcp.listen import HalfOpen
from leulo.tcp.options import TIMESTAMPS_ONLY, Options, emit_timestamps, parse
from leulo.tcp.seq import MASK, lt
from leulo.tcp.time_wait import TimeWait

if TYPE_CHECKING:
    from leulo.tcp.engine import Engine


def stranger_arrives(
    engine: Engine,
    key: bytes,
    link_header: bytes,
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
    """A valid segment whose key no connection has. The header's length has been checked;
    ``link_header`` leads back to its sender, the rest is as for `input.segment_arrives`."""
    start = TCP_AT + (control >> 12) * 4
    if control >> 12 == 8 and option == TIMESTAMPS_ONLY:
        options = Options()
        options.has_timestamps = True
        options.tsval = tsval
        options.tsecr = tsecr
    else:
        options = parse(frame, TCP_AT + 20, start)
    length = end - start
    half = engine.half_open.get(key)
    if half is not None:
        _for_half_open(engine, half, frame, end, length, seq, ack, control, window, options, now_ns)
        return
    iss_after: int | None = None
    record = engine.time_wait.get(key)
    listener = engine.find_listener(*ends_of(key)[:2])
    if record is not None:
        if (
            control & (SYN | ACK | RST) != SYN
            or listener is None
            or not record.allows_syn(seq, options.has_timestamps, options.tsval)
        ):
            _for_time_wait(engine, record, length, seq, control, options, is_loopback, now_ns)
            return
        engine.time_wait.remove(record)
        engine.counts["time_wait_reused"] += 1
        iss_after = record.snd_nxt
    if listener is not None and not control & RST:
        if control & (SYN | ACK) == SYN:
            if control & FIN:
                engine.count_drop("tcp_syn_fin")
                return
            reason = listener.syn_arrives(
                key, link_header, seq, window, options, is_loopback, iss_after, now_ns
            )
            if reason is not None:
                engine.count_drop(reason)
            return
        if control & (SYN | ACK) == ACK:
            cookie = listener.cookie_arrives(
                key, link_header, seq, ack, options, is_loopback, now_ns
            )
            if cookie is not None:
                if listener.is_full:
                    engine.count_drop("accept_queue_full")
                    return
                listener.half_open += 1
                engine.half_open[key] = cookie
                _complete(engine, cookie, frame, end, length, seq, ack, control, window, options,
                          now_ns)  # fmt: skip
                return
        if not control & (SYN | ACK):
            engine.count_drop("tcp_listen_neither")  # [RFC 9293 3.10.7.2 fourth]
            return
    if control & RST:
        engine.count_drop("tcp_rst_unknown")
        return
    refuse(engine, key, link_header, length, seq, ack, control, is_loopback)


def refuse(
    engine: Engine,
    key: bytes,
    link_header: bytes,
    length: int,
    seq: int,
    ack: int,
    control: int,
    is_loopback: bool,
) -> None:
    """Reset a segment that nobody wants. [RFC 9293 3.10.7.1]"""
    engine.counts["tcp_refused"] += 1
    if control & ACK:
        answer_seq, answer_ack, flags = ack, 0, RST
    else:
        span = length + (control & FIN) + (control >> 1 & 1)
        answer_seq, answer_ack, flags = 0, seq + span, RST | ACK
    _answer(engine, key, link_header, answer_seq, answer_ack, flags, 0, b"", is_loopback)


def _answer(
    engine: Engine,
    key: bytes,
    link_header: bytes,
    seq: int,
    ack: int,
    flags: int,
    window: int,
    options: bytes,
    is_loopback: bool,
) -> None:
    engine.reply(
        header.plain(
            link_header,
            ends_of(key),
            seq,
            ack,
            flags,
            window,
            options,
            engine.has_checksum_offload,
        ),
        is_loopback,
    )


def _for_half_open(
    engine: Engine,
    half: HalfOpen,
    frame: bytes,
    end: int,
    length: int,
    seq: int,
    ack: int,
    control: int,
    window: int,
    options: Options,
    now_ns: int,
) -> None:
    """State SYN_RCVD of a passive open. [RFC 9293 3.10.7.4] [RFC 5961 3, 4]"""
    listener = half.listener
    offset = (seq - half.irs - 1) & MASK
    if control & RST:
        if offset == 0:
            listener.lose(half)
        else:
            engine.count_drop("tcp_rst_outside")
        return
    if control & SYN:
        if not control & ACK and seq == half.irs:
            listener.answer_again(half)
        elif not half.is_held and engine.challenge.allows(now_ns):
            _acknowledge(engine, half)
        return
    if not control & ACK:
        engine.count_drop("tcp_no_ack")
        return
    if half.is_held or (ack - half.iss) & MASK != 1:
        refuse(engine, half.key, half.link_header, length, seq, ack, control, half.is_loopback)
        return
    if offset > 0xFFFF or (
        half.has_timestamps and (not options.has_timestamps or lt(options.tsval, half.ts_recent))
    ):
        engine.count_drop("tcp_outside_window")
        if engine.challenge.allows(now_ns):
            _acknowledge(engine, half)
        return
    _complete(engine, half, frame, end, length, seq, ack, control, window, options, now_ns)


def _complete(
    engine: Engine,
    half: HalfOpen,
    frame: bytes,
    end: int,
    length: int,
    seq: int,
    ack: int,
    control: int,
    window: int,
    options: Options,
    now_ns: int,
) -> None:
    """The handshake is complete; what else the segment brings is the connection's."""
    if (
        half.retries < half.listener.settings.defer_retries
        and half.due_at
        and not length
        and not control & FIN
    ):
        half.is_acked = True  # the listener wants to hear of it when there is data
        engine.count_drop("tcp_deferred_accept")
        return
    if (
        options.has_timestamps
        and seq == half.irs + 1 & MASK
        and not lt(options.tsval, half.ts_recent)
    ):
        half.ts_recent = options.tsval  # [RFC 7323 4.3 (2)]
    tcb = half.listener.ack_arrives(half, window, options.tsecr, now_ns)
    if tcb is None:
        engine.count_drop("accept_queue_full")
        return
    if length or control & FIN:
        # Of eight words with timestamps nothing else matters; other options are read again.
        option = TIMESTAMPS_ONLY if control >> 12 == 8 and options.has_timestamps else 0
        segment_arrives(
            tcb, frame, end, seq, ack, control, window, option, options.tsval, options.tsecr, now_ns
        )


def _acknowledge(engine: Engine, half: HalfOpen) -> None:
    options = b""
    if half.has_timestamps:
        options = emit_timestamps((engine.now_ms + half.ts_offset) & MASK, half.ts_recent)
    _answer(
        engine, half.key, half.link_header, half.iss + 1, half.irs + 1, ACK, 0xFFFF, options,
        half.is_loopback,
    )  # fmt: skip


def _for_time_wait(
    engine: Engine,
    record: TimeWait,
    length: int,
    seq: int,
    control: int,
    options: Options,
    is_loopback: bool,
    now_ns: int,
) -> None:
    """Only a repeated FIN is expected; it is acknowledged and the time begins anew.
    [RFC 9293 3.10.7.4, TIME-WAIT]"""
    if control & RST:
        # Deviation: a reset does not end TIME_WAIT; an old duplicate could. [RFC 1337 3]
        engine.count_drop("tcp_rst_time_wait")
        return
    is_old = record.has_timestamps and options.has_timestamps and lt(
        options.tsval, record.ts_recent
    )  # fmt: skip
    if control & FIN and not is_old:
        engine.time_wait.restart(record, now_ns)
    elif not control & (SYN | FIN) and not length and seq == record.rcv_nxt:
        return  # an ordinary ACK needs no answer
    if now_ns < record.answered_ns:
        engine.count_drop("tcp_time_wait")
        return
    if not length and not control & FIN:
        record.answered_ns = now_ns + engine.config.invalid_ack_interval_ns
    text = b""
    if record.has_timestamps:
        text = emit_timestamps((engine.now_ms + record.ts_offset) & MASK, record.ts_recent)
    _answer(
        engine, record.key, record.link_header, record.snd_nxt, record.rcv_nxt, ACK,
        record.window, text, is_loopback,
    )  # fmt: skip
