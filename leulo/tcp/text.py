"""Payload and FIN on the receiving side. [RFC 9293 3.10.7.4 seventh, eighth]

In order they go to the user's buffer, ahead of a gap into `reassembly`; here is decided how soon
they are acknowledged. Shared by the fast path (`input`) and the careful one (`examine`).
"""

from __future__ import annotations

from typing import Final

from leulo.tcp import accecn
from leulo.tcp.counted_buffer import CountedBuffer
from leulo.tcp.reading import make_room_behind
from leulo.tcp.reassembly import Reassembly
from leulo.tcp.recv_buffer import RecvBuffer
from leulo.tcp.state import ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, ON_FIN
from leulo.tcp.tcb import ACK_DELAYED, ACK_NOW, NO_FIN, Tcb

VIEWED_BYTES: Final = 4096  # from here a view of the frame is cheaper than a copy


def deliver(tcb: Tcb, piece: bytes | memoryview, length: int) -> None:
    """In-order bytes for the user; decides about their acknowledgement. [RFC 9293 3.8.6.3]"""
    rcv_nxt = tcb.rcv_nxt = tcb.rcv_nxt + length
    buffer = tcb.receive_buffer
    if buffer is None:
        buffer = tcb.receive_buffer = RecvBuffer(tcb.engine.account)
    socket = tcb.socket
    if (
        socket is not None
        and not socket.is_ready
        and (not buffer.length or socket.wants_every_byte or socket.settings.rcv_lowat > 1)
        and socket.owner is not None
    ):  # `Engine.notify`, as it is called most
        socket.is_ready = True
        tcb.engine.ready.append(socket)
    buffer.append(piece)
    if length > tcb.rcv_mss:
        tcb.rcv_mss = min(length, tcb.engine.config.super_segment or tcb.mss)
        tcb.data_in += (length - 1) // tcb.rcv_mss  # of a super-segment, the others
    quick_acks = tcb.quick_acks
    if quick_acks:
        engine = tcb.engine
        tcb.quick_acks = quick_acks - 1
        tcb.quick_until = engine.now_ns + engine.config.delayed_ack_ns
        if (
            engine.config.ack_patience_ns
            and not tcb.ack_due
            and rcv_nxt - tcb.last_ack_sent <= tcb.rcv_mss  # a second one does not wait
        ):
            engine.hold_ack(tcb)
            return
        tcb.ack_due = ACK_NOW
    elif rcv_nxt - tcb.last_ack_sent > tcb.rcv_mss:
        tcb.ack_due = ACK_NOW
    elif not tcb.ack_due:
        engine = tcb.engine
        now_ns = engine.now_ns
        if now_ns - tcb.last_data_ns > tcb.rto_ns and _begins_anew(tcb):
            return
        tcb.ack_due = ACK_DELAYED
        if not tcb.delack_at and not tcb.is_pending:  # else `output` sees to it
            tcb.delack_at = at = now_ns + engine.config.delayed_ack_ns
            if not tcb.timer_at or at < tcb.timer_at:
                engine.timers.arm(tcb, at)
        return  # whatever else there is to send is marked elsewhere
    elif tcb.engine.config.acks_every_second:
        tcb.ack_due = ACK_NOW
    if not tcb.is_pending:
        tcb.is_pending = True
        tcb.engine.pending.append(tcb)


def _begins_anew(tcb: Tcb) -> bool:
    """After a silence longer than a timeout the peer is in slow start again, unless the two take
    turns: then its first segments are acknowledged at once, as in Linux."""
    engine = tcb.engine
    if not engine.config.quick_acks or tcb.last_send_ns >= tcb.last_data_ns:
        return False
    tcb.quick_acks = engine.config.quick_acks - 1
    tcb.quick_until = engine.now_ns + engine.config.delayed_ack_ns
    if engine.config.ack_patience_ns:
        engine.hold_ack(tcb)
    else:
        tcb.ack_due = ACK_NOW
        engine.want_output(tcb)
    return True


def take_text(tcb: Tcb, frame: bytes, start: int, seq: int, length: int, is_fin: bool) -> None:
    """Payload and FIN, already cut to the window. [RFC 9293 3.10.7.4 seventh, eighth]"""
    engine = tcb.engine
    is_known = is_fin and tcb.fin_at == seq + length
    if (
        tcb.fin_at != NO_FIN
        and seq == tcb.rcv_nxt
        and (seq + length > tcb.fin_at or (is_fin and not is_known))
    ):
        # What comes next in order says otherwise than a FIN ahead of it, which may be forged.
        engine.drop("tcp_fin_contradicted", tcb)
        tcb.fin_at = NO_FIN
        tcb.refresh_ordinary()
        tcb.refresh_odd()
    if is_fin and tcb.fin_at == NO_FIN:
        queue = tcb.reassembly
        has_more = queue is not None and queue.end > seq + length
        if has_more and seq > tcb.rcv_nxt:
            engine.drop("tcp_fin_before_data", tcb)  # there is data behind it: it cannot be true
        else:
            if queue is not None and has_more:
                # It is the stream's end, next in order: what was kept from behind it never was a
                # part of it, or a single forged byte would keep the connection open for ever.
                engine.drop("tcp_data_behind_fin", tcb)
                queue.drop()
                tcb.reassembly = None
            tcb.fin_at = seq + length
            if seq != tcb.rcv_nxt:
                tcb.is_ordinary = False
                tcb.is_odd = True
    if tcb.fin_at != NO_FIN and seq + length > tcb.fin_at:
        length = max(0, tcb.fin_at - seq)  # nothing comes behind a FIN
    if not tcb.is_pending:
        tcb.is_pending = True
        engine.pending.append(tcb)
    if seq > tcb.rcv_nxt:
        if length or not is_known:
            tcb.ack_due = ACK_NOW  # [RFC 5681 4.2]
        elif engine.now_ns >= tcb.invalid_ack_at:
            # Two peers that miss something and have the FIN in every ACK would answer each other
            # for ever.
            tcb.invalid_ack_at = engine.now_ns + engine.config.delayed_ack_ns
            tcb.invalid_acks = engine.config.invalid_acks
            tcb.ack_due = ACK_NOW
        if length:
            _queue(tcb, seq, payload(frame, start, length))
        return
    if length:
        queue = tcb.reassembly
        if queue is None:
            if is_fin and seq + length == tcb.fin_at:
                _be_patient(tcb)
            deliver(tcb, payload(frame, start, length), length)
        else:
            _fill(tcb, queue, payload(frame, start, length), seq + length)
    if tcb.rcv_nxt == tcb.fin_at:
        if not is_fin:
            tcb.ack_due = ACK_NOW  # it was the gap in front of the FIN [RFC 5681 4.2]
        take_fin(tcb)


def take_last_text(tcb: Tcb, frame: bytes, start: int, length: int) -> None:
    """Payload, if there is any, and the FIN behind it, next in order on an ordinary connection.
    [RFC 9293 3.10.7.4 seventh, eighth]"""
    tcb.fin_at = tcb.rcv_nxt + length
    if not tcb.is_pending:
        tcb.is_pending = True
        tcb.engine.pending.append(tcb)
    if length:
        _be_patient(tcb)
        deliver(tcb, payload(frame, start, length), length)
    take_fin(tcb)


def _be_patient(tcb: Tcb) -> None:
    """The text that comes now ends with a FIN: see `take_fin`."""
    if tcb.state is ESTABLISHED and tcb.engine.config.delays_ack_of_fin:
        tcb.quick_acks = 0
        tcb.last_data_ns = tcb.engine.now_ns


def payload(frame: bytes, start: int, length: int) -> bytes | memoryview:
    """``length`` bytes of the frame, to be kept. A view keeps the whole frame: only of most."""
    if length < VIEWED_BYTES or length << 1 < len(frame):
        return frame[start : start + length]
    return memoryview(frame)[start : start + length]


def keep_text(tcb: Tcb, frame: bytes, start: int, length: int, is_fin: bool) -> None:
    """Payload and FIN that come with a SYN without an ACK: they wait until the connection is
    open. [RFC 9293 3.10.7.3 fourth]"""
    room = tcb.rcv_adv - tcb.rcv_nxt
    if length > room:
        length, is_fin = room, False  # what is cut off comes again, and the FIN behind it
    if length:
        _queue(tcb, tcb.rcv_nxt, payload(frame, start, length))
    if is_fin:
        tcb.fin_at = tcb.rcv_nxt + length


def take_kept(tcb: Tcb) -> None:
    """The connection is open: what came with the SYN counts now."""
    queue = tcb.reassembly
    if queue is not None:
        for piece in queue.take(tcb.rcv_nxt):
            deliver(tcb, piece, len(piece))
        if queue.is_empty:
            tcb.reassembly = None
            tcb.refresh_ordinary()
    if tcb.rcv_nxt == tcb.fin_at:
        take_fin(tcb)


def _fill(tcb: Tcb, queue: Reassembly, piece: bytes | memoryview, end: int) -> None:
    """In-order bytes up to ``end`` fill a gap, or part of one. Where the queue has bytes already,
    those count."""
    if tcb.has_sack and tcb.engine.config.has_dsack:
        twice = queue.held(tcb.rcv_nxt, end)
        # Of several parts that came twice the first is told, and that may be what was cut off here.
        if twice is not None and (tcb.dsack is None or tcb.dsack[1] != tcb.rcv_nxt):
            tcb.dsack = twice  # [RFC 2883 4.1, 4.2]
    while tcb.rcv_nxt < end:
        offset = len(piece) - (end - tcb.rcv_nxt)
        stop = end if queue.is_empty else min(end, queue.first)
        deliver(tcb, piece[offset : offset + stop - tcb.rcv_nxt], stop - tcb.rcv_nxt)
        for kept in queue.take(tcb.rcv_nxt):
            deliver(tcb, kept, len(kept))
    if queue.is_empty:
        tcb.reassembly = None
        tcb.refresh_ordinary()
    tcb.ack_due = ACK_NOW  # [RFC 5681 4.2]


def _queue(tcb: Tcb, seq: int, piece: bytes | memoryview) -> None:
    """Keep a segment that is ahead of a gap."""
    engine = tcb.engine
    queue = tcb.reassembly
    if queue is None:
        queue = tcb.reassembly = Reassembly(engine.config.reassembly_blocks, engine.account)
        tcb.is_ordinary = False
    if tcb.has_sack and engine.config.has_dsack:
        twice = queue.held(seq, seq + len(piece))
        if twice is not None:
            tcb.dsack = twice  # [RFC 2883 4.1]
    tcb.overtaking_in += 1
    if len(piece) > tcb.rcv_mss:
        tcb.rcv_mss = min(len(piece), engine.config.super_segment or tcb.mss)
    # Twice the buffer, because small segments cost more than their payload.
    if not queue.insert(seq, piece, 2 * tcb.rcv_limit):
        engine.count_drop("tcp_reassembly_full")
        if queue.is_empty:
            tcb.reassembly = None
            tcb.refresh_ordinary()
    else:
        if isinstance(tcb.receive_buffer, CountedBuffer):
            tcb.receive_buffer.queue(len(piece))
        if engine.config.grows_over_gaps:
            make_room_behind(tcb, queue.end)


def take_fin(tcb: Tcb) -> None:
    """Everything up to the peer's FIN is here. [RFC 9293 3.10.7.4 eighth]"""
    engine = tcb.engine
    tcb.rcv_nxt += 1
    if not tcb.is_ordinary:
        tcb.refresh_odd()
    tcb.dsack = None  # nothing more will come that the peer could learn for
    fast = tcb.fast_open
    state = tcb.state
    if (
        state is ESTABLISHED
        and engine.config.delays_ack_of_fin
        and tcb.rcv_nxt > tcb.irs + 2  # data has come, and not in the SYN alone
        and not (fast is not None and fast.is_passive and tcb.rcv_nxt == fast.data_end + 1)
    ):
        # The user may close at once: then both go in one segment. But a FIN, too, is more than a
        # segment together with one.
        tcb.quick_acks = 0
        is_more = tcb.rcv_nxt - tcb.last_ack_sent > tcb.rcv_mss
        tcb.ack_due = ACK_NOW if is_more else tcb.ack_due or ACK_DELAYED
    else:
        tcb.ack_due = ACK_NOW
    if state is FIN_WAIT_2:
        if tcb.ecn is not None and tcb.ecn.accurate is not None:
            accecn.last_fin_arrives(tcb, tcb.ecn.accurate)
        tcb.change_state(ON_FIN)
        engine.enter_time_wait(tcb, engine.now_ns)
        return
    if state is ESTABLISHED or state is FIN_WAIT_1:
        tcb.change_state(ON_FIN)
    if not tcb.is_ordinary:
        tcb.refresh_ordinary()
    if tcb.socket is not None and not tcb.socket.is_ready:
        engine.notify(tcb.socket)
