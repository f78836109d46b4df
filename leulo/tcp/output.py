"""What a connection sends, decided in drain, when everything that arrived has been seen.

So acknowledgement, data and FIN merge into one segment, and a batch of received segments earns
one ACK. `output` is asked for every connection that someone has marked; it puts frames into the
list it is given, which may be full before all is sent. It owns Nagle's algorithm,
silly window avoidance on the sending side and the window that is offered on the receiving side.
[RFC 9293 3.7.4, 3.8.6, 3.10.8]
"""

from __future__ import annotations

from leulo.tcp import accecn, ecn, limits, mtu_search, pacing, path_mtu, rack, recovery
from leulo.tcp.emit import emit, emit_syn
from leulo.tcp.episode import FRTO_NEW
from leulo.tcp.events import tell_retransmitted
from leulo.tcp.flight import END, START
from leulo.tcp.header import ACK, CWR, FIN, PSH, Frame
from leulo.tcp.mtu_search import MtuSearch
from leulo.tcp.rtt import again_at, backed_off
from leulo.tcp.state import SENDS, SYN_RCVD, SYN_SENT, TIME_WAIT
from leulo.tcp.tcb import (
    ACK_BARE,
    ACK_DELAYED,
    ACK_NOW,
    MORE_HELD,
    MORE_NONE,
    MORE_RECORDS,
    NO_GROWTH_LIMIT,
    PROBE_KEEPALIVE,
    PROBE_NONE,
    PROBE_TAIL,
    RECOVERY_CWR,
    RECOVERY_FAST,
    RECOVERY_NONE,
    RECOVERY_TIMEOUT,
    Tcb,
)
from leulo.tcp.urgent import NO_MARK


def output(tcb: Tcb, now_ns: int, out: list[Frame], limit: int) -> None:
    """Send what may be sent now. There may be more to be sent once ``out`` has ``limit`` frames."""
    engine = tcb.engine
    tcb.is_pending = False
    if tcb.front is None and not engine.find_link(tcb, now_ns):
        return
    if tcb.path_era != engine.path_mtus.era:
        path_mtu.refresh(tcb)
    pacer = tcb.pacer
    if pacer is not None and now_ns < pacer.at and not (tcb.ack_due or tcb.probe_due):
        return  # it has more to send, but is waiting for its time, which will ask again
    if tcb.is_ordinary and pacer is None and not tcb.probe_due:
        offer_window(tcb)
        if tcb.snd_nxt < tcb.snd_top:
            _send(tcb, now_ns, out, limit)
            if tcb.is_write_blocked:
                _tell_writer(tcb)
    elif tcb.state is not SYN_SENT:
        offer_window(tcb)
        if tcb.state is not TIME_WAIT:
            _send_with_care(tcb, now_ns, out, limit)
    else:
        if tcb.is_syn_due:
            emit_syn(tcb, now_ns, out)
        return
    # Behind all that was sent, though some of it may be sent again: or the peer, which may have it,
    # would find the ACK outside its window.
    due = tcb.ack_due
    if not due:
        return
    if due == ACK_NOW:
        control = ACK if tcb.ecn is None else ACK | tcb.ecn.echo
        tcb.bare_out += 1
        emit(tcb, tcb.snd_max, control, 0, (), now_ns, out)
    elif due == ACK_DELAYED and not tcb.delack_at:
        tcb.delack_at = now_ns + engine.config.delayed_ack_ns
        if not tcb.timer_at or tcb.delack_at < tcb.timer_at:
            engine.timers.arm(tcb, tcb.delack_at)
    elif due == ACK_BARE:
        tcb.bare_out += 1
        emit(tcb, tcb.snd_nxt, _ack_of(tcb), 0, (), now_ns, out)


def _send_with_care(tcb: Tcb, now_ns: int, out: list[Frame], limit: int) -> None:
    """What a connection sends that is not an ordinary one, or has been asked for a probe."""
    engine = tcb.engine
    state = tcb.state
    if tcb.ecn is not None and tcb.ecn.accurate is not None:
        accecn.fit(tcb, tcb.ecn.accurate)
    if SENDS >> state & 1:
        if tcb.probe_due:
            _probe(tcb, now_ns, out)
        pacer = tcb.pacer
        if pacer is not None and not pacing.opens(tcb, pacer, now_ns):
            pacer = None
        elif not tcb.recovery:
            if tcb.snd_nxt < tcb.snd_top:
                _send(tcb, now_ns, out, limit)
        elif tcb.has_sack and engine.config.has_rack:
            if tcb.recovery == RECOVERY_CWR:
                _send_in_reduction(tcb, now_ns, out, limit)
            else:
                _send_by_rack(tcb, now_ns, out, limit)
        elif tcb.recovery == RECOVERY_FAST:
            _send_in_recovery(tcb, now_ns, out, limit)
        elif tcb.snd_nxt < tcb.snd_top:
            _send(tcb, now_ns, out, limit)
        if pacer is not None:
            pacing.closes(tcb, pacer, now_ns)
        if tcb.is_write_blocked:
            _tell_writer(tcb)
    elif tcb.probe_due:
        _probe(tcb, now_ns, out)
    elif state is SYN_RCVD:
        if tcb.is_syn_due:
            emit_syn(tcb, now_ns, out)
        fast = tcb.fast_open
        if fast is not None and fast.is_passive and tcb.iss < tcb.snd_nxt < tcb.snd_top:
            tcb.cwnd += 1  # the SYN is out, and fills none of it
            _send(tcb, now_ns, out, limit)  # [RFC 7413 4.2.1]
            tcb.cwnd -= 1
            tcb.probe_at = 0  # nothing but the SYN-ACK is repeated before it is acknowledged


def _tell_writer(tcb: Tcb) -> None:
    """Something was sent: less is unsent, which a user may wait for (TCP_NOTSENT_LOWAT)."""
    if tcb.settings.notsent_lowat and tcb.socket is not None:
        tcb.engine.notify(tcb.socket)


def _send(tcb: Tcb, now_ns: int, out: list[Frame], limit: int) -> None:
    """New data, and after a timeout old data again, as both windows allow."""
    mss = tcb.mss
    una = tcb.snd_una
    nxt = tcb.snd_nxt
    length = tcb.snd_end - nxt
    if (
        nxt == una == tcb.snd_max
        and length <= mss
        and length <= tcb.snd_wnd > 0
        and now_ns - tcb.last_send_ns <= tcb.rto_ns
        and (tcb.is_fin_queued or not (tcb.more or tcb.settings.is_corked))
    ):
        # One segment that nothing holds back: a request, an answer, a FIN.
        tcb.is_pushing = False
        if length + mss > tcb.cwnd:
            tcb.is_cwnd_limited = True
            tcb.growth_limit = NO_GROWTH_LIMIT
        else:
            tcb.is_cwnd_limited = False
        _emit_data(tcb, nxt, length, now_ns, out)
        return
    engine = tcb.engine
    begin = nxt
    cwnd = tcb.cwnd
    if tcb.snd_nxt == una and tcb.last_send_ns:
        cwnd = recovery.restart(tcb, now_ns)
    if tcb.dupacks:
        cwnd += recovery.limited_transmit(tcb)
    if tcb.search is not None:
        _probe_mtu(tcb, tcb.search, now_ns, out)
    board = tcb.scoreboard
    window_edge = una + tcb.snd_wnd
    edge = una + cwnd if board is None else una + cwnd + board.below(tcb.snd_nxt)
    if edge > window_edge:
        edge = window_edge
    largest = mss if _is_each_alone(tcb) else engine.tso_bytes // mss * mss or mss
    available = 0
    while len(out) < limit:
        nxt = tcb.snd_nxt
        if board is not None and tcb.recovery == RECOVERY_TIMEOUT:
            nxt = tcb.snd_nxt = board.skip(nxt)  # past what the peer holds already
            edge = min(una + cwnd + board.below(nxt), window_edge)
        available = tcb.snd_end - nxt
        length = edge - nxt
        if length > available:
            length = available
        if length > largest:
            length = largest
        if tcb.record_ends is not None and length > 0:
            stop = _end_of_record(tcb, nxt)
            if 0 < stop - nxt <= length and stop < tcb.snd_end:
                _emit_data(tcb, nxt, stop - nxt, now_ns, out)
                continue
            length = min(length, stop - nxt) if stop else length
        if board is not None and nxt < tcb.snd_max:
            stop = board.next_start(nxt)
            if stop and nxt + length > stop:
                length = stop - nxt
                _emit_data(tcb, nxt, length, now_ns, out)
                continue
        if length >= mss:
            tail = length % mss
            if tail and (length < available or not _may_send_small(tcb, nxt, begin)):
                length -= tail
        elif length <= 0:
            if tcb.is_fin_queued:
                _send_last(tcb, nxt, available, una + cwnd, window_edge, now_ns, out)
            break
        elif length < available:
            # The window, not the data, is the limit: only what is worth it. [RFC 9293 3.8.6.2.1]
            if not tcb.is_pushing and (cwnd < tcb.snd_wnd or length < tcb.snd_max_wnd >> 1):
                if tcb.is_fin_queued:
                    _send_last(tcb, nxt, available, una + cwnd, window_edge, now_ns, out)
                break
        elif not _may_send_small(tcb, nxt, begin):
            break
        _emit_data(tcb, nxt, length, now_ns, out)
    tcb.is_pushing = False
    flight = tcb.snd_nxt - una
    if flight + mss > cwnd:
        tcb.is_cwnd_limited = True
        tcb.growth_limit = NO_GROWTH_LIMIT
    else:
        # In slow start the window may become twice what was used of it.
        tcb.is_cwnd_limited = tcb.cwnd < tcb.ssthresh and flight << 1 > tcb.cwnd
        tcb.growth_limit = flight << 1
    if tcb.limits is not None or tcb.is_write_blocked or window_edge < una + cwnd:
        cwnd_edge = una + cwnd if board is None else una + cwnd + board.below(tcb.snd_nxt)
        limits.judge(tcb, cwnd_edge, window_edge, now_ns)
    if tcb.flight is not None:
        rack.schedule_probe(tcb, now_ns)
    if not tcb.rto_at and tcb.snd_nxt < tcb.snd_top:
        _persist(tcb, now_ns)


def _probe_mtu(tcb: Tcb, search: MtuSearch, now_ns: int, out: list[Frame]) -> None:
    """Send a segment larger than the others, if it is time to. [RFC 4821 7.4]"""
    payload = mtu_search.size(tcb, search, now_ns)
    if payload:
        seq = tcb.snd_nxt
        mss = tcb.mss
        tcb.mss = payload  # for once a full segment
        _emit_data(tcb, seq, payload, now_ns, out)
        tcb.mss = mss
        mtu_search.sent(tcb, search, seq, payload)


def _is_each_alone(tcb: Tcb) -> bool:
    """Must segments not be joined for the link to cut them? One with a mark of its own, or with a
    signature, or with CWR, which the link would leave to the first piece, though it is a bit of the
    ACE field. [RFC 9768 3.3.4]"""
    if not tcb.is_odd:
        return False
    if tcb.urgent is not None or tcb.settings.md5_keys:
        return True
    accurate = None if tcb.ecn is None else tcb.ecn.accurate
    return accurate is not None and accurate.ace & CWR != 0


def _end_of_record(tcb: Tcb, nxt: int) -> int:
    """Where the record ends that the byte at ``nxt`` belongs to; 0: it is not ended. Forgets
    those that are acknowledged."""
    ends = tcb.record_ends or ()
    kept = [end for end in ends if end > tcb.snd_una]
    tcb.record_ends = kept or None
    if not kept and tcb.more == MORE_RECORDS:
        tcb.more = MORE_NONE
    for end in kept:
        if end > nxt:
            return end
    return 0


def _send_last(
    tcb: Tcb, nxt: int, available: int, cwnd_edge: int, window_edge: int, now_ns: int,
    out: list[Frame],
) -> None:  # fmt: skip
    """Send the FIN, which is queued, with what is left before it if that is less than a segment,
    and for some though the congestion window is full: it is the last thing that will be sent."""
    if (
        available <= tcb.mss
        and nxt < tcb.snd_top
        and (tcb.engine.config.sends_last_fin or nxt + available < cwnd_edge)
        and (nxt + available < window_edge or (not available and tcb.is_pushing))
    ):
        _emit_data(tcb, nxt, available, now_ns, out)


def _send_by_rack(tcb: Tcb, now_ns: int, out: list[Frame], limit: int) -> None:
    """Recovery with SACK: what is lost first, then new data, while the window has room for it.
    [RFC 8985 9.2] [RFC 9937 6.3]"""
    mss = tcb.mss
    flight = rack.known(tcb)
    episode = tcb.episode
    window_end = tcb.snd_una + tcb.snd_wnd
    largest = mss if _is_each_alone(tcb) else tcb.engine.tso_bytes // mss * mss or mss
    while len(out) < limit and (room := tcb.cwnd - tcb.pipe()) > 0:
        nxt = tcb.snd_nxt
        fresh = min(tcb.snd_end, window_end) - nxt
        has_fresh = fresh > 0 and (fresh >= mss or nxt + fresh == tcb.snd_end)
        record = flight.next_lost()
        if (
            record is not None
            and record[START] < window_end
            and not (has_fresh and episode is not None and episode.frto == FRTO_NEW)
        ):
            seq = record[START]
            if room < min(mss, record[END] - seq):
                break
            flight.cut(record, seq + max(mss, min(largest, room // mss * mss)))
            flight.send_again(record, now_ns)
            length = min(record[END], tcb.snd_end) - seq
            rack.sent_again(tcb, length, now_ns)
            _emit_data(tcb, seq, length, now_ns, out)
            if seq == tcb.snd_una:
                # It, too, has a whole timeout to be acknowledged.
                tcb.rto_at = again_at(tcb, now_ns)
                tcb.engine.timers.arm(tcb, tcb.rto_at)
        elif has_fresh and room >= min(fresh, mss):
            length = min(fresh, max(mss, min(largest, room // mss * mss)))
            if tcb.record_ends is not None:
                length = min(length, (_end_of_record(tcb, nxt) or tcb.snd_end) - nxt)
            if length > mss and length < fresh:
                length -= length % mss
            _emit_data(tcb, nxt, length, now_ns, out)
            if episode is not None:
                episode.sent += length
        else:
            if nxt == tcb.snd_end < tcb.snd_top and window_end > nxt:
                _emit_data(tcb, nxt, 0, now_ns, out)
            break
    tcb.is_cwnd_limited = True
    tcb.growth_limit = NO_GROWTH_LIMIT


def _send_in_reduction(tcb: Tcb, now_ns: int, out: list[Frame], limit: int) -> None:
    """Nothing is lost: as usual, but what goes out is counted. [RFC 9937 6.3]"""
    before = tcb.snd_nxt
    if before < tcb.snd_top:
        _send(tcb, now_ns, out, limit)
        if tcb.episode is not None:
            tcb.episode.sent += tcb.snd_nxt - before


def _send_in_recovery(tcb: Tcb, now_ns: int, out: list[Frame], limit: int) -> None:
    """Fast recovery: lost segments first, then new ones. [RFC 6675 5] [RFC 6582 3.2]"""
    mss = tcb.mss
    before = tcb.snd_max + tcb.retransmitted_bytes
    if tcb.is_rexmit_due:
        tcb.is_rexmit_due = False
        board = tcb.scoreboard
        end = min(tcb.snd_una + mss, tcb.snd_max)
        if board is not None and not board.is_empty:
            end = min(end, max(board.first, tcb.snd_una + 1))
        _emit_data(tcb, tcb.snd_una, min(end, tcb.snd_end) - tcb.snd_una, now_ns, out)
        tcb.high_rxt = max(tcb.high_rxt, end)
        tcb.rto_at = now_ns + tcb.rto_ns  # it, too, has a whole timeout to be acknowledged
        tcb.engine.timers.arm(tcb, tcb.rto_at)
    window_end = tcb.snd_una + tcb.snd_wnd
    while len(out) < limit:
        board = tcb.scoreboard
        if board is None:
            pipe = recovery.pipe(tcb)
            hole = rest = None
        else:
            lost = board.lost_edge(mss, tcb.engine.config.duplicate_threshold)
            pipe = board.pipe(tcb.snd_una, tcb.snd_nxt, tcb.high_rxt, lost)
            hole = board.next_hole(tcb.high_rxt, lost)
            rest = hole or board.next_hole(tcb.high_rxt, board.highest)
        if pipe + mss > tcb.cwnd:
            break
        fresh = min(tcb.snd_end, window_end) - tcb.snd_nxt
        if hole is None and fresh > 0 and (fresh >= mss or tcb.snd_nxt + fresh == tcb.snd_end):
            _emit_data(tcb, tcb.snd_nxt, min(fresh, mss), now_ns, out)
            continue
        hole = hole or rest
        if hole is None:
            if tcb.snd_nxt == tcb.snd_end < tcb.snd_top and window_end > tcb.snd_nxt:
                _emit_data(tcb, tcb.snd_nxt, 0, now_ns, out)
            if board is None:
                _rescue(tcb, now_ns, out)
            break
        start, end = hole
        length = min(end - start, mss, tcb.snd_end - start)
        if length <= 0:
            break
        _emit_data(tcb, start, length, now_ns, out)
        tcb.high_rxt = start + length
    if tcb.episode is not None:
        tcb.episode.sent += tcb.snd_max + tcb.retransmitted_bytes - before
    tcb.is_cwnd_limited = True
    tcb.growth_limit = NO_GROWTH_LIMIT


def _rescue(tcb: Tcb, now_ns: int, out: list[Frame]) -> None:
    """All that was reported is acknowledged, and nothing else is to be sent: once in a recovery the
    highest segment goes again; its report shows what is missing below. [RFC 6675 4 (4)]"""
    episode = tcb.episode
    end = min(tcb.recover, tcb.snd_end)
    begin = max(tcb.snd_una, end - tcb.mss, tcb.high_rxt)
    if tcb.has_sack and episode is not None and not episode.has_rescued and begin < end:
        episode.has_rescued = True
        _emit_data(tcb, begin, end - begin, now_ns, out)


def _may_send_small(tcb: Tcb, nxt: int, begin: int) -> bool:
    """May the last, partial segment go out? Nagle's algorithm: unless something is
    unacknowledged, in Minshall's form another partial one. A cork holds it in any case.
    ``begin``: what was to be sent next when sending began. [RFC 9293 3.7.4]"""
    if tcb.is_fin_queued or tcb.is_pushing or nxt < tcb.snd_max:
        return True
    settings = tcb.settings
    if settings.is_corked or tcb.more == MORE_HELD:
        return False
    if settings.has_nodelay or (tcb.urgent is not None and tcb.urgent.snd_up != NO_MARK):
        return True
    una = tcb.snd_una
    if tcb.snd_small > una:
        return False
    if nxt == una:
        return True
    nagle = tcb.engine.config.nagle
    return nagle == "minshall" or (nagle == "bsd" and begin == una)


def _persist(tcb: Tcb, now_ns: int) -> None:
    """Nothing is in flight and yet there is something to send: ask again by timer, for the
    window [RFC 9293 3.8.6.1] or because a cork may not hold data for ever."""
    tcb.is_persisting = True
    config = tcb.engine.config
    wait = max(config.persist_min_ns, min(backed_off(tcb), config.persist_max_ns))
    if (tcb.settings.is_corked or tcb.more) and tcb.snd_wnd >= tcb.snd_end - tcb.snd_nxt:
        wait = max(tcb.rto_ns, config.cork_ns)
    limit_ns = tcb.settings.user_timeout_ns
    if limit_ns and tcb.first_timeout_at:
        wait = max(1, min(wait, tcb.first_timeout_at + limit_ns - now_ns))
    tcb.rto_at = now_ns + wait
    tcb.engine.timers.arm(tcb, tcb.rto_at)


def _probe(tcb: Tcb, now_ns: int, out: list[Frame]) -> None:
    """Ask the peer for a sign of life or of room."""
    kind = tcb.probe_due
    tcb.probe_due = PROBE_NONE
    if kind == PROBE_KEEPALIVE:
        # A sequence number the peer has acknowledged makes it answer. [RFC 9293 3.8.4]
        tcb.bare_out += 1
        emit(tcb, tcb.snd_una - 1, _ack_of(tcb), 0, (), now_ns, out)
        return
    if kind == PROBE_TAIL:
        _probe_tail(tcb, now_ns, out)
        return
    una = tcb.snd_una
    if tcb.engine.config.probes_with_data:
        # One byte beyond the window, or the FIN; it does not count as sent. [RFC 9293 3.8.6.1]
        _emit_data(tcb, una, 1 if tcb.snd_end > una else 0, now_ns, out)
    elif una < tcb.snd_max:
        # The window was taken back over what is outstanding: its first segment is the probe.
        _emit_data(tcb, una, min(tcb.mss, tcb.snd_max - una, tcb.snd_end - una), now_ns, out)
    else:
        # Deviation: a probe carries no new data but an old number, as in Linux: the answer is the
        # same, and nothing can be thrown away. [RFC 9293 3.8.6.1]
        tcb.bare_out += 1
        emit(tcb, una - 1, _ack_of(tcb), 0, (), now_ns, out)
        tcb.last_send_ns = now_ns
    tcb.snd_nxt = una
    tcb.timed_seq = 0  # the peer may have thrown it away: no measurement
    _persist(tcb, now_ns)


def _probe_tail(tcb: Tcb, now_ns: int, out: list[Frame]) -> None:
    """Ask what became of the last segments: by a new one beyond cwnd, or by the last one again.
    [RFC 8985 7.3]"""
    if not rack.may_probe(tcb):
        return
    nxt = tcb.snd_nxt
    length = min(tcb.snd_end, tcb.snd_una + tcb.snd_wnd, nxt + tcb.mss) - nxt
    is_again = length <= 0 or (length < tcb.mss and nxt + length < tcb.snd_end)
    if is_again:
        flight = rack.known(tcb)
        record = flight.last(tcb.mss)
        flight.send_again(record, now_ns)
        nxt = record[START]
        length = min(record[END], tcb.snd_end) - nxt
    _emit_data(tcb, nxt, length, now_ns, out)
    rack.probed(tcb, is_again)
    tcb.rto_at = now_ns + tcb.rto_ns
    tcb.engine.timers.arm(tcb, tcb.rto_at)


def _emit_data(tcb: Tcb, seq: int, length: int, now_ns: int, out: list[Frame]) -> None:
    """One segment of ``length`` bytes from ``seq``, with the FIN if it follows; accounts for
    sequence numbers, timing and timer."""
    control = ACK
    end = seq + length
    if end == tcb.snd_end:
        if not tcb.more or tcb.more == MORE_RECORDS:
            control = ACK | PSH
        if tcb.is_fin_queued and (not length or recovery.takes_fin(tcb, end, length)):
            control = ACK | PSH | FIN if length else ACK | FIN
            end += 1
    elif tcb.record_ends is not None and end in tcb.record_ends:
        control = ACK | PSH
    if tcb.ecn is not None:
        accurate = tcb.ecn.accurate
        if accurate is not None and accurate.answer:
            # A bare ACK first, which alone can tell of the SYN-ACK's mark. [RFC 9768 3.2.2.1]
            emit(tcb, seq, ACK, 0, (), now_ns, out)
        control |= ecn.data_leaves(tcb, tcb.ecn, seq, length)
    payload: Frame = ()
    if not length:
        tcb.control_out += 1
    elif tcb.send_buffer is not None:
        payload = tcb.send_buffer.view(seq, length)
    tcb.data_out += 1
    snd_max = tcb.snd_max
    if end > snd_max:
        if (
            (seq != tcb.snd_una or tcb.flight is not None)
            and tcb.has_sack
            and tcb.engine.config.has_rack
        ):
            rack.sent(tcb, seq, end, now_ns)
        tcb.snd_max = tcb.snd_nxt = end
        if length and length < tcb.mss:
            tcb.snd_small = end
        if tcb.quick_acks and length and (tcb.ack_due or now_ns < tcb.quick_until):
            tcb.quick_acks = 0  # an answer to what came: the peers take turns
        if not tcb.timed_seq:
            tcb.timed_seq = end
            tcb.timed_at = now_ns
    elif end > tcb.snd_nxt:
        tcb.snd_nxt = end
    if seq < snd_max:
        _account_again(tcb, seq, length, end, now_ns)
    tcb.last_send_ns = now_ns
    emit(tcb, seq, control, length, payload, now_ns, out)
    if not tcb.rto_at or tcb.is_persisting:
        tcb.is_persisting = False
        tcb.rto_at = at = now_ns + tcb.rto_ns
        if not tcb.timer_at or at < tcb.timer_at:
            tcb.engine.timers.arm(tcb, at)


def _account_again(tcb: Tcb, seq: int, length: int, end: int, now_ns: int) -> None:
    """Something goes out again: no round-trip measurement across it (Karn). [RFC 6298 3]"""
    if tcb.timed_seq and seq < tcb.timed_seq:
        tcb.timed_seq = 0
    if tcb.search is not None:
        mtu_search.sent_again(tcb.search, seq, end)
    tcb.retransmits += -(-length // tcb.mss) or 1
    tcb.retransmitted_bytes += length
    tcb.again_end = max(tcb.again_end, end)
    engine = tcb.engine
    engine.counts["tcp_retransmits"] += 1
    if engine.retransmitted.active:
        cause = "fast" if tcb.recovery == RECOVERY_FAST else "timeout"
        if tcb.recovery == RECOVERY_NONE and tcb.flight is not None:
            cause = "probe"
        tell_retransmitted(tcb, seq, length, cause, now_ns)


def offer_window(tcb: Tcb) -> None:
    """Fix the window for the next headers; moves the right edge only by steps worth having and
    never to the left. [RFC 9293 3.8.6.2.2]"""
    rcv_nxt = tcb.rcv_nxt
    limit = space = tcb.rcv_limit
    buffer = tcb.receive_buffer
    if buffer is not None:
        space -= buffer.length
    account = tcb.engine.account
    if account.used > account.pressure:
        space = min(space, tcb.engine.config.rcv_min)
    offered = tcb.rcv_adv - rcv_nxt
    if offered < 0:
        offered = 0  # more was taken than was offered
    gain = space - offered
    scale = tcb.rcv_wscale
    if gain > 0:
        mss = tcb.rcv_mss
        if (
            (space >= mss or space << 2 >= limit)
            if tcb.is_room_offered
            else (gain >= mss or gain << 1 >= limit)
        ):
            offered = space
    elif tcb.engine.config.may_shrink_window:
        offered = _shrunk(tcb, space)  # `rcv_adv` stays: what was offered once is taken
    window = (offered + tcb.rcv_rounding) >> scale
    if window > 0xFFFF:
        window = 0xFFFF
    edge = rcv_nxt + (window << scale)
    if edge > tcb.rcv_adv:
        tcb.rcv_adv = edge
    tcb.window = window


def _shrunk(tcb: Tcb, space: int) -> int:
    """The window where it may follow the room to the left, without what scaling cannot say; closed
    when that is little. [RFC 7323 2.4]"""
    if space < tcb.rcv_limit >> 1 and (space < tcb.rcv_limit >> 4 or space < tcb.rcv_mss):
        return 0
    return space >> tcb.rcv_wscale << tcb.rcv_wscale


def _ack_of(tcb: Tcb) -> int:
    """Flags of a bare acknowledgement. [RFC 3168 6.1.3]"""
    return ACK if tcb.ecn is None else ACK | tcb.ecn.echo
