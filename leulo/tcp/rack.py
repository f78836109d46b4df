"""Loss recovery by time: RACK-TLP, for connections with SACK. [RFC 8985]

Every acknowledgement that `recovery` would count is looked at here instead: what it shows to have
arrived, what was therefore lost, whether an earlier conclusion was wrong. How fast recovery sends
follows proportional rate reduction [RFC 9937], a timeout is checked by F-RTO [RFC 5682], and
reductions for nothing are taken back when DSACK [RFC 2883] or a timestamp [RFC 3522] says so.
What is sent, `output` decides in drain.
"""

from __future__ import annotations

from typing import Final

from leulo.tcp import ecn, mtu_search
from leulo.tcp.episode import FRTO_FIRST, FRTO_NEW, FRTO_OFF, Episode, Reordering, TailProbe
from leulo.tcp.flight import Flight
from leulo.tcp.scoreboard import Scoreboard
from leulo.tcp.seq import MASK
from leulo.tcp.tcb import (
    PROBE_TAIL,
    RECOVERY_CWR,
    RECOVERY_FAST,
    RECOVERY_NONE,
    RECOVERY_PACED,
    RECOVERY_TIMEOUT,
    Tcb,
)
from leulo.units import NS_PER_MS

_LONGEST_MS: Final = 1 << 22  # an echo older than 70 minutes is nonsense
_PERSIST: Final = 16  # recoveries for which a wider window is kept [RFC 8985 6.2 step 4]
_MOST_MULTIPLIER: Final = 64  # the window is bounded by the smoothed round trip anyway
_LEAST_PROBE_NS: Final = 2 * NS_PER_MS  # two round trips of a path without delay are no time
_LEAST_DOUBT_NS: Final = 10 * NS_PER_MS  # so long an acknowledgement on its way may explain it
_PEERS_DELAY_NS: Final = 200 * NS_PER_MS  # of acknowledgements, as Linux guesses
_FIRST_PROBE_NS: Final = 1_000 * NS_PER_MS  # without any measurement [RFC 8985 7.2]


def is_used(tcb: Tcb) -> bool:
    """Does RACK care for this connection? Without SACK it is NewReno."""
    return tcb.has_sack and tcb.engine.config.has_rack


def sent(tcb: Tcb, seq: int, end: int, now_ns: int) -> None:
    """New data goes out while other data is outstanding; called before snd_max moves."""
    flight = tcb.flight
    if flight is None:
        flight = tcb.flight = Flight(tcb.snd_una, seq, tcb.last_send_ns, tcb.mss)
        if tcb.recovery != RECOVERY_NONE or tcb.scoreboard is not None:
            flight.sort()
        flight.append(seq, end, now_ns)
    else:
        flight.append(max(seq, tcb.snd_max), end, now_ns)


def known(tcb: Tcb) -> Flight:
    """The transmissions that are outstanding; only while something is."""
    flight = tcb.flight
    if flight is None:
        flight = Flight(tcb.snd_una, tcb.snd_max, tcb.last_send_ns, tcb.mss)
        tcb.flight = flight
        tcb.snd_nxt = tcb.snd_max
    return flight


def reducible(tcb: Tcb, in_flight: int) -> int:
    """What a loss takes a part of."""
    # Deviation: the window, not what is in flight, as in Linux; it grows only while it is what
    # limits sending, so an application that sends little gains nothing. [RFC 5681 3.1 (4)]
    return tcb.cwnd if tcb.engine.config.reduces_cwnd else in_flight


def schedule_probe(tcb: Tcb, now_ns: int) -> None:
    """New data went out, or some was acknowledged: if then nothing is heard for two round trips,
    ask. [RFC 8985 7.2]"""
    if tcb.has_probed or (
        not (tcb.probe_at and tcb.is_ordinary)  # it may still be asked, at another time
        and (
            (tcb.recovery and tcb.recovery != RECOVERY_CWR)
            or tcb.scoreboard is not None
            or tcb.probe is not None
            or not tcb.engine.config.has_tail_probe
        )
    ):
        tcb.probe_at = 0
        return
    srtt = tcb.srtt_ns
    if srtt << 1 > _LEAST_PROBE_NS:
        at = now_ns + (srtt << 1)
    else:
        at = now_ns + (_LEAST_PROBE_NS if srtt else _FIRST_PROBE_NS)
    is_alone = tcb.flight is None or len(tcb.flight.records) == 1
    if is_alone and tcb.snd_max - tcb.snd_una <= tcb.mss and srtt:
        at += _PEERS_DELAY_NS  # of one segment the acknowledgement may be delayed
    rto_at = tcb.rto_at
    if rto_at and at >= rto_at:
        tcb.probe_at = 0  # the timer's expiry is the probe's, see `may_probe`
        return
    tcb.probe_at = at
    timer_at = tcb.timer_at
    if at < timer_at or not timer_at:
        tcb.engine.timers.arm(tcb, at)


def may_probe(tcb: Tcb) -> bool:
    """May a timer that comes up send a loss probe? [RFC 8985 7.3]"""
    config = tcb.engine.config
    return (
        tcb.has_sack
        and config.has_rack
        and config.has_tail_probe
        and tcb.recovery in (RECOVERY_NONE, RECOVERY_CWR)
        and tcb.scoreboard is None
        and tcb.probe is None
        and not tcb.has_probed
        and tcb.snd_una < tcb.snd_max == tcb.snd_nxt
        and tcb.snd_wnd > 0
        and not tcb.backoff
        and not tcb.is_persisting
    )


def probe(tcb: Tcb) -> None:
    """The probe timer expired."""
    tcb.probe_at = 0
    if not may_probe(tcb):
        return
    tcb.probe_due = PROBE_TAIL
    tcb.engine.counts["tcp_tail_probes"] += 1
    tcb.engine.want_output(tcb)


def probed(tcb: Tcb, is_again: bool) -> None:
    """The probe went out; snd_nxt is behind it."""
    tcb.probe = TailProbe(tcb.snd_max, is_again)
    tcb.has_probed = True
    tcb.is_ordinary = False


def after_ack(
    tcb: Tcb,
    ack: int,
    acked: int,
    sacks: list[tuple[int, int]] | None,
    tsecr: int,
    is_bare: bool,
    now_ns: int,
) -> None:
    """An acknowledgement off the fast path, of ``ack``; snd_una has moved by ``acked`` already.
    ``sacks`` are unwrapped, ``is_bare`` says that it carries nothing and changes no window."""
    una = tcb.snd_una
    board = tcb.scoreboard
    flight = tcb.flight
    if (
        sacks is None
        and board is None
        and tcb.recovery == RECOVERY_NONE
        and tcb.episode is None
        and tcb.probe is None
        and (flight is None or flight.order is None)
    ):
        if tcb.congestion.is_model:
            tcb.congestion.on_delivered(tcb, 0, now_ns)
        return
    held = 0 if board is None else board.sacked
    lost = 0 if flight is None else flight.lost_bytes
    if board is not None and acked:
        board.advance(una)
    dsack: tuple[int, int] | None = None
    if sacks:
        dsack = _find_dsack(tcb, ack, sacks)
        _take_sacks(tcb, sacks[1:] if dsack is not None else sacks, now_ns)
    board = tcb.scoreboard
    news = acked - held
    if board is not None:
        news += board.sacked
        if not board.sacked:
            tcb.scoreboard = board = None
    flight = tcb.flight
    if dsack is not None:
        _reordering(tcb).dsacks += -(-(dsack[1] - dsack[0]) // tcb.mss)
        if tcb.probe is None or dsack[1] != tcb.probe.end:
            _note_dsack(tcb, dsack)
    if flight is not None and flight.has_reordering:
        reordering = _reordering(tcb)
        reordering.is_seen = True
        reordering.count += 1
        late = -(-(flight.fack - flight.low) // tcb.mss)
        reordering.degree = max(reordering.degree, min(late, tcb.engine.config.max_reordering))
    if tcb.probe is not None:
        _judge_probe(tcb, dsack, is_bare and not acked and not sacks, now_ns)
    is_bare = is_bare and dsack is None  # a report of a duplicate is no duplicate ACK
    was_recovering = tcb.recovery != RECOVERY_NONE
    if was_recovering and _is_spurious(tcb, acked, news, tsecr, is_bare):
        is_timeout = tcb.recovery == RECOVERY_TIMEOUT
        _undo(tcb, now_ns)
        is_limited = tcb.cwnd < (tcb.recover - una + acked) << 1
        if is_timeout and is_limited and not tcb.congestion.is_model:
            # The window is what limited, and it goes on from where it was. What came twice has
            # left the network, too.
            twice = 0 if dsack is None else dsack[1] - dsack[0]
            tcb.congestion.on_ack(tcb, max(0, news) + min(twice, tcb.mss), now_ns)
    is_old = tcb.recovery != RECOVERY_NONE
    if una == tcb.snd_max:
        tcb.reorder_at = 0
    elif news > 0 or not tcb.reorder_at:
        detect(tcb, now_ns, news, acked)  # else it is the timer's: a flood of ACKs costs little
    episode = tcb.episode
    if tcb.recovery != RECOVERY_NONE:
        if una >= tcb.recover:
            _leave(tcb, now_ns)
        elif is_old and tcb.recovery & RECOVERY_PACED and episode is not None and news > 0:
            _pace(tcb, episode, news, acked > 0 and _lost_bytes(tcb) <= lost)
        tcb.engine.want_output(tcb)
    elif news > 0:
        tcb.engine.want_output(tcb)  # what has arrived makes room
        if not acked and not is_old and tcb.is_cwnd_limited and _is_reordering(tcb):
            # Where segments overtake each other, a report is progress as good as any.
            tcb.congestion.on_ack(tcb, news, now_ns)
    if episode is not None and episode.is_over and una >= episode.end:
        tcb.episode = None
    if tcb.congestion.is_model and news > 0:
        tcb.congestion.on_delivered(tcb, max(0, _lost_bytes(tcb) - lost), now_ns)
    tcb.dupacks = int(board is not None)
    if tcb.flight is not None and not tcb.flight.records:
        tcb.flight = None
        tcb.probe_at = 0
    elif (
        tcb.flight is not None
        and board is None
        and tcb.recovery == RECOVERY_NONE
        and tcb.episode is None
        and tcb.probe is None
        and not tcb.reorder_at
    ):
        tcb.flight.settle()
    if board is not None:
        tcb.probe_at = 0
        tcb.is_ordinary = False
        if acked and board.first <= una:
            _hurry(tcb, now_ns)
    else:
        if (held or was_recovering) and tcb.recovery == RECOVERY_NONE and tcb.rto_at:
            schedule_probe(tcb, now_ns)  # there is no reason any more not to ask
        tcb.refresh_ordinary()


def detect(tcb: Tcb, now_ns: int, news: int = 0, acked: int = 0) -> None:
    """Find out what was lost, and begin recovery if something was; ``news`` bytes have just
    arrived, ``acked`` of them in order. [RFC 8985 6.2 step 5]"""
    flight = tcb.flight
    tcb.reorder_at = 0
    if flight is None or flight.order is None:
        return
    lost = flight.lost_bytes
    wait = flight.detect(now_ns, _window(tcb, flight))
    if wait:
        tcb.reorder_at = at = now_ns + wait
        if not tcb.timer_at or at < tcb.timer_at:
            tcb.engine.timers.arm(tcb, at)
    if flight.lost_bytes:
        episode = tcb.episode
        if tcb.recovery in (RECOVERY_NONE, RECOVERY_CWR):
            _enter(tcb, news, acked, now_ns)
        elif episode is not None and episode.is_free and flight.lost_bytes > lost:
            episode.is_free = False  # it is not the large probe alone [RFC 4821 4]
            tcb.cwnd = tcb.ssthresh
            tcb.congestion.on_loss(tcb, tcb.cwnd, now_ns)
            ecn.reduced(tcb)
            _pace(tcb, episode, 0, False)
        tcb.engine.want_output(tcb)


def timeout(tcb: Tcb, now_ns: int) -> None:
    """The retransmission timer expired. [RFC 6298 5.4-5.6] [RFC 8985 6.3] [RFC 5682 3.1]"""
    flight = known(tcb)
    board = tcb.scoreboard
    is_first = tcb.recovery != RECOVERY_TIMEOUT
    is_recovering = tcb.recovery == RECOVERY_FAST
    episode = tcb.episode
    if is_first:
        before = tcb.cwnd, tcb.ssthresh
        if episode is not None and not episode.is_over:
            before = episode.cwnd, episode.ssthresh
        tcb.congestion.on_timeout(tcb, reducible(tcb, tcb.pipe()), now_ns)
        episode = tcb.episode = Episode(tcb.snd_una, *before, tcb.pipe())
        # Of a window with a loss in it the rest arrives without having been delayed.
        if tcb.engine.config.has_frto and not is_recovering:
            episode.frto = FRTO_FIRST
    elif episode is not None:
        if tcb.snd_una > episode.begin:
            episode.frto = FRTO_OFF  # else it begins anew [RFC 5682 3.1 (1)]
        episode.begin = tcb.snd_una
    if board is not None and board.first <= tcb.snd_una:
        flight.forget_sacks()
        tcb.scoreboard = None
    flight.lose_first(now_ns, _window(tcb, flight))
    tcb.recovery = RECOVERY_TIMEOUT
    tcb.recover = tcb.snd_max
    # Beside what may still arrive, one segment. [RFC 5681 3.1] [RFC 8985 9.3]
    tcb.cwnd = tcb.pipe() + tcb.mss
    tcb.cwnd_credit = 0
    tcb.hystart = None
    tcb.timed_seq = 0
    tcb.probe = None
    tcb.probe_at = tcb.reorder_at = 0
    tcb.is_ordinary = False
    ecn.reduced(tcb)


def reduce(tcb: Tcb, now_ns: int) -> None:
    """The peer has seen marks: the window shrinks in proportion to what arrives, as after a loss,
    but nothing is sent again. [RFC 3168 6.1.2] [RFC 9937 4]"""
    before = tcb.cwnd, tcb.ssthresh
    in_flight = tcb.snd_max - tcb.snd_una
    tcb.congestion.on_loss(tcb, reducible(tcb, in_flight), now_ns)
    tcb.episode = Episode(tcb.snd_una, *before, in_flight)
    tcb.recovery = RECOVERY_CWR
    tcb.recover = tcb.snd_max
    tcb.cwnd_credit = 0
    tcb.hystart = None
    tcb.is_ordinary = False
    ecn.reduced(tcb)


def rewind(tcb: Tcb) -> None:
    """Begin again at snd_una, whatever was sent: the path or the peer's window has shrunk."""
    tcb.snd_nxt = tcb.snd_una
    tcb.timed_seq = 0
    if tcb.search is not None:
        tcb.search.probe = 0  # its bytes go again, in other segments
    if tcb.flight is None and tcb.episode is None and tcb.probe is None:
        return
    tcb.flight = None
    tcb.scoreboard = None
    tcb.episode = None
    tcb.probe = None
    tcb.probe_at = tcb.reorder_at = 0
    tcb.recovery = RECOVERY_NONE
    if tcb.timeouts is not None:
        tcb.timeouts.end(tcb.engine.now_ns)
    tcb.dupacks = 0
    tcb.refresh_ordinary()


def sent_again(tcb: Tcb, length: int, now_ns: int) -> None:
    """``length`` bytes go out once more, in recovery."""
    episode = tcb.episode
    if episode is not None:
        episode.pending += 1
        episode.sent += length
        if episode.again_ms < 0:
            episode.again_ms = now_ns // NS_PER_MS


def echo_ms(tcb: Tcb, tsecr: int) -> int:
    """The millisecond of ours that the peer echoes; -1 if it cannot be one."""
    if not tsecr or not tcb.has_timestamps:
        return -1
    now_ms = tcb.engine.now_ms
    elapsed = (now_ms + tcb.ts_offset - tsecr) & MASK
    return now_ms - elapsed if elapsed < _LONGEST_MS else -1


# -- inside


def _lost_bytes(tcb: Tcb) -> int:
    return 0 if tcb.flight is None else tcb.flight.lost_bytes


def _find_dsack(tcb: Tcb, ack: int, sacks: list[tuple[int, int]]) -> tuple[int, int] | None:
    """Does the first block report a duplicate? What stands below ``ack`` in the same segment does;
    snd_una may be further than that, if the path has changed the order. [RFC 2883 4, 5]"""
    start, end = sacks[0]
    if not start < end or end > tcb.snd_max or start < tcb.snd_una - tcb.snd_max_wnd:
        return None
    if end <= ack:
        return sacks[0]
    if len(sacks) > 1 and sacks[1][0] <= start and end <= sacks[1][1]:
        return sacks[0]
    return None


def _take_sacks(tcb: Tcb, blocks: list[tuple[int, int]], now_ns: int) -> None:
    """Note what the blocks report that is outstanding; anything beyond it is a lie. The newest
    comes first, but what one segment reports has overtaken nothing: by number. [RFC 8985 6.2]"""
    board = tcb.scoreboard
    for left, right in sorted(blocks):
        if board is not None and board.holds(left, right):
            continue  # as most of what is reported, which was in the report before
        left = max(left, tcb.snd_una)
        if not left < right <= tcb.snd_max:
            continue
        flight = known(tcb)
        start, end = flight.whole(left, right)
        if start >= end:
            continue
        if board is None:
            board = tcb.scoreboard = Scoreboard(tcb.engine.config.scoreboard_blocks)
            tcb.is_ordinary = False
        for left, right in board.news(start, end):
            if not board.add(left, right):
                break
            # Deviation: what is echoed here judges no repeat; a segment out of order brings the
            # echo of what came before it, and the last probe would teach nothing. [RFC 7323 4.3]
            flight.sack(left, right, now_ns, -1, tcb.min_rtt_ns)


def _hurry(tcb: Tcb, now_ns: int) -> None:
    """What comes next was reported and still is not acknowledged: the peer has dropped it. Only the
    timer may find that out, and does in half a round trip, as in Linux. [RFC 2018 8]"""
    at = now_ns + max(tcb.srtt_ns >> 1, _LEAST_DOUBT_NS)
    if at < tcb.rto_at or not tcb.rto_at:
        tcb.rto_at = at
        tcb.engine.timers.arm(tcb, at)


def _reordering(tcb: Tcb) -> Reordering:
    if tcb.reordering is None:
        tcb.reordering = Reordering()
    return tcb.reordering


def _is_reordering(tcb: Tcb) -> bool:
    """Does the path change the order of segments by more than is ordinary?"""
    reordering = tcb.reordering
    return reordering is not None and reordering.degree > tcb.engine.config.duplicate_threshold


def _window(tcb: Tcb, flight: Flight) -> int:
    """How long to wait for a segment that others have overtaken. [RFC 8985 6.2 step 4]"""
    reordering = tcb.reordering
    if (reordering is None or not reordering.is_seen) and (
        tcb.recovery not in (RECOVERY_NONE, RECOVERY_CWR)
        or flight.sacked_segments >= tcb.engine.config.duplicate_threshold
    ):
        return 0
    multiplier = 1 if reordering is None else reordering.multiplier
    return min(multiplier * tcb.min_rtt_ns >> 2, tcb.srtt_ns)


def _note_dsack(tcb: Tcb, dsack: tuple[int, int]) -> None:
    """Something arrived twice: wait longer from now on, and perhaps nothing was lost."""
    reordering = _reordering(tcb)
    tcb.engine.counts["tcp_dsacks_received"] += 1
    if reordering.dsacks > tcb.retransmits:
        return  # it was the path that doubled it
    if tcb.snd_una >= reordering.dsack_round:
        reordering.dsack_round = tcb.snd_max
        reordering.multiplier = min(reordering.multiplier + 1, _MOST_MULTIPLIER)
        reordering.persist = _PERSIST
    episode = tcb.episode
    if episode is not None and episode.pending and dsack[0] >= episode.begin:
        episode.pending -= 1
        if not episode.pending and episode.again_ms >= 0:
            if tcb.recovery != RECOVERY_NONE:
                return  # `_is_spurious` will see it
            _undo(tcb, tcb.engine.now_ns)


def _is_spurious(tcb: Tcb, acked: int, news: int, tsecr: int, is_bare: bool) -> bool:
    """Has recovery begun for nothing?"""
    episode = tcb.episode
    if episode is None:
        return False
    if episode.again_ms >= 0:
        if not episode.pending:
            return True  # every retransmission arrived beside its original [RFC 3708 3]
        # The first acknowledgement tells which transmission it is for [RFC 3522 3.2], but of
        # others that were sent again and are on their way it says nothing.
        if (
            acked
            and 0 <= echo_ms(tcb, tsecr) < episode.again_ms
            and (tcb.flight is None or not tcb.flight.has_repeats())
        ):
            return True
    elif acked and tcb.recovery == RECOVERY_FAST:
        return True  # what was missing has come by itself, before it could be sent again
    if tcb.recovery != RECOVERY_TIMEOUT or episode.frto == FRTO_OFF:
        return False
    flight = tcb.flight
    if flight is not None and 0 < flight.original_end <= tcb.recover:
        return True  # what was not sent again has arrived [RFC 5682 3.1 (3b)]
    if episode.frto == FRTO_NEW:
        if not acked and (news or is_bare):
            episode.frto = FRTO_OFF  # (3a)
    elif acked:
        has_new = tcb.snd_end > tcb.snd_nxt and tcb.snd_una + tcb.snd_wnd > tcb.snd_nxt
        # (2b), where (2a) ends recovery
        episode.frto = FRTO_NEW if has_new and tcb.snd_una < tcb.recover else FRTO_OFF
    return False


def _undo(tcb: Tcb, now_ns: int) -> None:
    """Take the reduction back. [RFC 4015 3.2] [RFC 5682 4]"""
    episode = tcb.episode
    if episode is None:
        return
    tcb.episode = None
    tcb.cwnd = max(tcb.cwnd, episode.cwnd)
    tcb.ssthresh = max(tcb.ssthresh, episode.ssthresh)
    tcb.cwnd_credit = 0
    if tcb.flight is not None:
        tcb.flight.find_lost()
    tcb.recovery = RECOVERY_NONE
    if tcb.timeouts is not None:
        tcb.timeouts.end(now_ns)
    if tcb.backoff:
        tcb.backoff = 0
        if tcb.rto_at and not tcb.is_persisting:
            tcb.rto_at = min(tcb.rto_at, now_ns + tcb.rto_ns)  # that of what is out there, too
            tcb.engine.timers.arm(tcb, tcb.rto_at)
    tcb.congestion.on_undo(tcb, now_ns)
    tcb.engine.counts["tcp_undone"] += 1
    tcb.engine.want_output(tcb)


def _enter(tcb: Tcb, news: int, acked: int, now_ns: int) -> None:
    """Fast recovery begins."""
    before = tcb.cwnd, tcb.ssthresh
    in_flight = tcb.snd_max - tcb.snd_una
    is_free = tcb.search is not None and mtu_search.is_lost(tcb, tcb.search)
    if is_free:
        tcb.ssthresh = tcb.cwnd  # it was too large for the path, and says nothing of its load
    elif tcb.recovery == RECOVERY_CWR:
        before = tcb.ssthresh, tcb.ssthresh  # this window has had its reduction
    else:
        # What went out because something behind the hole had arrived does not count, or a loss
        # that is seen late would reduce nothing. [RFC 5681 3.2 (2)]
        tcb.congestion.on_loss(tcb, reducible(tcb, min(in_flight, tcb.cwnd)), now_ns)
        ecn.reduced(tcb)
    # What was reported before does not count as delivered in recovery. [RFC 9937 6.1]
    held = 0 if tcb.scoreboard is None else tcb.scoreboard.sacked
    flight_bytes = in_flight + acked - held + (news - acked)
    episode = tcb.episode = Episode(tcb.snd_una, *before, flight_bytes)
    episode.is_free = is_free
    tcb.recovery = RECOVERY_FAST
    tcb.recover = tcb.snd_max
    tcb.timed_seq = 0
    tcb.cwnd_credit = 0
    tcb.hystart = None
    tcb.probe = None
    tcb.probe_at = 0
    tcb.is_ordinary = False
    _pace(tcb, episode, max(0, news), False)
    tcb.engine.counts["tcp_fast_recoveries"] += 1


def _pace(tcb: Tcb, episode: Episode, delivered: int, is_safe: bool) -> None:
    """Proportional rate reduction: send in proportion to what arrives. [RFC 9937 6.2]"""
    if tcb.congestion.is_model:
        return
    in_pipe = tcb.pipe()
    tcb.cwnd = in_pipe + episode.allowance(delivered, in_pipe, tcb.ssthresh, tcb.mss, is_safe)


def _leave(tcb: Tcb, now_ns: int) -> None:
    """Everything that was outstanding when the loss was seen has arrived."""
    if tcb.recovery & RECOVERY_PACED and not tcb.congestion.is_model:
        tcb.cwnd = tcb.ssthresh
        if tcb.episode is not None and tcb.episode.is_free:
            tcb.ssthresh = tcb.episode.ssthresh
    tcb.recovery = RECOVERY_NONE
    if tcb.timeouts is not None:
        tcb.timeouts.end(now_ns)
    tcb.cwnd_credit = 0
    reordering = tcb.reordering
    if reordering is not None and reordering.persist:
        reordering.persist -= 1
        if not reordering.persist:
            reordering.multiplier = 1
    episode = tcb.episode
    if episode is not None:
        episode.is_over = True
        # Its last DSACK may come with the next window, however little of that is on its way now.
        episode.end = max(tcb.snd_max, tcb.snd_una + tcb.cwnd)
    tcb.congestion.on_recovered(tcb, now_ns)


def _judge_probe(tcb: Tcb, dsack: tuple[int, int] | None, is_duplicate: bool, now_ns: int) -> None:
    """What the acknowledgement says of the loss probe. [RFC 8985 7.4.2]"""
    tail = tcb.probe
    if tail is None or tcb.snd_una < tail.end:
        return
    if not tail.is_again or (dsack is not None and dsack[1] == tail.end):
        tcb.probe = None  # nothing was lost
    elif tcb.snd_una > tail.end:
        # The probe repaired the loss of the last segment: the loss counts all the same.
        tcb.probe = None
        if tcb.recovery == RECOVERY_NONE:
            tcb.congestion.on_loss(tcb, min(tcb.cwnd, tail.end - tcb.snd_una + tcb.cwnd), now_ns)
            if not tcb.congestion.is_model:
                tcb.cwnd = tcb.ssthresh
            tcb.hystart = None
            ecn.reduced(tcb)
            tcb.congestion.on_recovered(tcb, now_ns)
    elif is_duplicate:
        tcb.probe = None  # original and probe have both arrived
