"""Loss recovery of the sender: duplicate ACKs, fast retransmit, partial ACKs, timeouts.

Without SACK it is NewReno [RFC 6582]; with SACK `rack` does all this, and only where that is off
it is RFC 6675 (scoreboard, pipe, NextSeg) here. This module decides what is lost and how large the
window is; what is then sent, `output` decides in drain. After a timeout everything not reported by
SACK is sent again in slow start [RFC 5681 3.1, 4.3], unless F-RTO finds that nothing was lost
[RFC 5682 2].
"""

from __future__ import annotations

from typing import Final

from leulo.tcp import ecn, rack
from leulo.tcp.episode import FRTO_FIRST, FRTO_NEW, FRTO_OFF, Episode
from leulo.tcp.scoreboard import Scoreboard
from leulo.tcp.tcb import ACK_NOW, RECOVERY_FAST, RECOVERY_NONE, RECOVERY_TIMEOUT, Tcb
from leulo.units import NS_PER_MS

_LIMITED: Final = 2  # duplicate ACKs that each let one new segment out [RFC 3042 2]
_FRTO_SEGMENTS: Final = 2  # new ones that ask whether a timeout was none [RFC 5682 2.1 (2b)]
_REAL_SEGMENTS: Final = 3  # of the window when they have told that it was real (3a)


def take_sacks(tcb: Tcb, blocks: list[tuple[int, int]]) -> int:
    """Note the SACK blocks (unwrapped) that lie in what is outstanding. Returns bytes of news.

    Blocks below snd_una are DSACK or old; anything beyond what was sent is a lie.
    """
    board = tcb.scoreboard
    news = 0
    for start, end in blocks:
        if start < tcb.snd_una:
            start = tcb.snd_una
        if not start < end <= tcb.snd_max:
            continue
        if board is None:
            board = tcb.scoreboard = Scoreboard(tcb.engine.config.scoreboard_blocks)
            tcb.is_ordinary = False
        news += board.add(start, end)
    if tcb.episode is not None:
        tcb.episode.reported = news
    return news


def duplicate(tcb: Tcb, news: int, is_progress: bool, now_ns: int) -> None:
    """A duplicate ACK, or one whose SACK blocks brought ``news``, bytes, perhaps beside an
    acknowledgement that goes forward. [RFC 5681 2, 3.2] [RFC 6675 2]"""
    tcb.dupacks += 1
    tcb.is_ordinary = False
    if tcb.recovery == RECOVERY_FAST:
        episode = tcb.episode
        if episode is not None and _is_paced(tcb):
            if not tcb.has_sack and episode.delivered < tcb.recover - episode.begin:
                # More than there were have not arrived, however many say so. [RFC 5681 3.2 (4)]
                news = tcb.mss
                _count_arrived(tcb, episode, news)
            _pace(tcb, episode, news, False)
        elif not tcb.has_sack and tcb.cwnd < tcb.ssthresh + tcb.recover - tcb.snd_una:
            # A segment has left the network [RFC 6582 3.2 (3)], but no more of them than there
            # were: the rest are made up. [RFC 5681 3.2 (4)]
            tcb.cwnd += tcb.mss
    elif tcb.recovery == RECOVERY_NONE and _is_lost(tcb):
        _enter(tcb, news if tcb.has_sack else tcb.mss, is_progress, now_ns)
    elif tcb.recovery == RECOVERY_TIMEOUT and tcb.episode is not None:
        _believe(tcb, tcb.episode)
    tcb.engine.want_output(tcb)


def limited_transmit(tcb: Tcb) -> int:
    """Bytes beyond cwnd that the first duplicate ACKs allow. [RFC 3042 2]"""
    if tcb.recovery != RECOVERY_NONE or not tcb.dupacks or tcb.has_sack:
        return 0  # by SACK what has arrived makes room anyway
    if not tcb.engine.config.has_limited_transmit:
        return 0
    return min(tcb.dupacks, _LIMITED) * tcb.mss


def restart(tcb: Tcb, now_ns: int) -> int:
    """Nothing is in flight: after a pause the old window says nothing of the path. Returns cwnd.
    [RFC 5681 4.1]"""
    config = tcb.engine.config
    if (
        now_ns - tcb.last_send_ns > tcb.rto_ns
        and tcb.last_send_ns
        and config.restarts_after_idle
        and tcb.recovery == RECOVERY_NONE
        and not tcb.congestion.is_model
    ):
        initial = config.initial_window_segments * tcb.mss
        if tcb.cwnd > initial:
            tcb.ssthresh = max(tcb.ssthresh, 3 * tcb.cwnd >> 2)
            tcb.cwnd = initial
    return tcb.cwnd


def delivered(tcb: Tcb, acked: int) -> int:
    """How many of ``acked`` bytes are news: what was reported by SACK, or stood for by duplicate
    ACKs, counts no second time. [RFC 5681 3.1] [RFC 6675 4]"""
    if tcb.scoreboard is not None:
        return acked - tcb.scoreboard.below(tcb.snd_una)
    if tcb.dupacks and tcb.recovery == RECOVERY_NONE:
        return max(acked - tcb.dupacks * tcb.mss, min(acked, tcb.mss))
    return acked


def advanced(tcb: Tcb, acked: int, tsecr: int, now_ns: int) -> None:
    """snd_una has moved by ``acked`` while recovery, scoreboard or dupacks were not empty."""
    board = tcb.scoreboard
    episode = tcb.episode
    if episode is not None and 0 <= rack.echo_ms(tcb, tsecr) < episode.again_ms:
        # It is for the original of what was sent again. [RFC 3522 3.2]
        _undo(tcb, episode, now_ns)
    arrived = acked
    if board is not None:
        held = board.sacked
        board.advance(tcb.snd_una)
        arrived -= held - board.sacked
        if board.is_empty:
            tcb.scoreboard = None
    if tcb.recovery == RECOVERY_FAST:
        if tcb.snd_una >= tcb.recover:
            in_flight = tcb.snd_nxt - tcb.snd_una
            # No burst of what was held back. [RFC 6582 3.2 (3) full acknowledgement (1)]
            tcb.cwnd = min(tcb.ssthresh, max(in_flight, tcb.mss) + tcb.mss)
            has_sent = not tcb.is_rexmit_due
            _leave(tcb, now_ns)
            if episode is not None and not has_sent and tcb.high_rxt == episode.begin:
                # What was missing has come by itself, before it could be sent again. [RFC 4015 3.2]
                tcb.cwnd = max(tcb.cwnd, episode.cwnd)
                tcb.ssthresh = max(tcb.ssthresh, episode.ssthresh)
                tcb.congestion.on_undo(tcb, now_ns)
                tcb.engine.counts["tcp_undone"] += 1
        else:
            tcb.high_rxt = max(tcb.high_rxt, tcb.snd_una)
            if tcb.has_sack:
                if tcb.engine.config.answers_partial_acks:
                    tcb.ack_due = ACK_NOW
            elif tcb.high_rxt == tcb.snd_una:
                tcb.is_rexmit_due = True  # what comes next was lost too
            if episode is not None and _is_paced(tcb):
                if not tcb.has_sack:
                    arrived = _told(tcb, episode, acked)
                _pace(tcb, episode, arrived + episode.reported, tcb.has_sack)
            elif not tcb.has_sack:
                # Partial ACK: deflate. One of less than a segment gives nothing back: many of them
                # would open the window. [RFC 6582 3.2 (3)]
                tcb.cwnd = max(tcb.cwnd - acked, 0) + (tcb.mss if acked >= tcb.mss else 0)
            tcb.engine.want_output(tcb)
    elif tcb.recovery == RECOVERY_TIMEOUT and tcb.snd_una >= tcb.recover:
        _leave(tcb, now_ns)
    else:
        tcb.dupacks = 0
        if tcb.recovery == RECOVERY_TIMEOUT and episode is not None:
            _judge_timeout(tcb, episode, now_ns)
    tcb.refresh_ordinary()


def told_of_congestion(tcb: Tcb, marks: ecn.Ecn, ack: int, now_ns: int) -> None:
    """A valid acknowledgement of ``ack`` says that data of ours was marked; snd_una has not moved
    yet. At most one reduction for a window of data, whatever its cause. [RFC 3168 6.1.2]"""
    if ack > tcb.snd_una:
        marks.delivered_ce += -(-(ack - tcb.snd_una) // max(tcb.mss, 1))
    if tcb.recovery != RECOVERY_NONE or ack <= marks.recover or tcb.snd_una == tcb.snd_max:
        return
    # Deviation: not below two segments, because ssthresh is not, as in Linux; the retransmission
    # timer is not used to send still less. [RFC 3168 6.1.2]
    tcb.engine.counts["tcp_ecn_reductions"] += 1
    if rack.is_used(tcb):
        rack.reduce(tcb, now_ns)
        return
    tcb.congestion.on_loss(tcb, rack.reducible(tcb, tcb.snd_max - tcb.snd_una), now_ns)
    tcb.cwnd = min(tcb.cwnd, tcb.ssthresh)  # a model has left it high
    tcb.cwnd_credit = 0
    tcb.congestion.on_recovered(tcb, now_ns)
    ecn.reduced(tcb)


def timeout(tcb: Tcb, now_ns: int) -> None:
    """The retransmission timer expired: back to snd_una with a window of one segment.
    [RFC 5681 3.1] [RFC 6298 5.4-5.6] [RFC 5682 2.1 (1)]"""
    episode = None if tcb.recovery == RECOVERY_FAST else tcb.episode
    has_frto = tcb.engine.config.has_frto and not tcb.has_sack
    if tcb.recovery != RECOVERY_TIMEOUT:
        before = tcb.cwnd, tcb.ssthresh
        tcb.congestion.on_timeout(tcb, rack.reducible(tcb, in_flight(tcb)), now_ns)
        if tcb.recovery == RECOVERY_NONE and (has_frto or tcb.has_timestamps):
            episode = Episode(tcb.snd_una, *before, tcb.snd_max - tcb.snd_una)
            episode.again_ms = now_ns // NS_PER_MS
    if episode is not None and has_frto:
        # Another timeout of the same segment begins anew, one of another is believed.
        episode.frto = FRTO_FIRST if tcb.snd_una == episode.begin else FRTO_OFF
    board = tcb.scoreboard
    if board is not None and board.first <= tcb.snd_una:
        tcb.scoreboard = None  # the peer has dropped what it reported [RFC 2018 8]
    tcb.recovery = RECOVERY_TIMEOUT
    tcb.recover = tcb.snd_max
    tcb.cwnd = tcb.mss
    tcb.cwnd_credit = 0
    tcb.snd_nxt = tcb.snd_una
    tcb.high_rxt = tcb.snd_una
    tcb.dupacks = 0
    tcb.is_rexmit_due = False
    tcb.is_ordinary = False
    tcb.episode = episode
    ecn.reduced(tcb)


def pipe(tcb: Tcb) -> int:
    """Bytes that are probably in the network. [RFC 6675 4]"""
    out = tcb.snd_nxt - tcb.snd_una
    board = tcb.scoreboard
    if board is not None:
        lost = board.lost_edge(tcb.mss, tcb.engine.config.duplicate_threshold)
        return board.pipe(tcb.snd_una, tcb.snd_nxt, tcb.high_rxt, lost)
    if tcb.has_sack or tcb.episode is None or not _is_paced(tcb):
        return out
    # A segment has arrived for each duplicate, and the first is lost until it has gone again.
    lost = tcb.mss if tcb.is_rexmit_due else 0
    return max(0, out - tcb.episode.arrived - lost)


def in_flight(tcb: Tcb) -> int:
    """Bytes outstanding that the peer has not reported to hold. [RFC 5681 2 FlightSize]"""
    outstanding = tcb.snd_nxt - tcb.snd_una
    board = tcb.scoreboard
    return outstanding if board is None else outstanding - board.below(tcb.snd_nxt)


def takes_fin(tcb: Tcb, end: int, length: int) -> bool:
    """Has the FIN behind ``end`` a place in the segment of ``length`` bytes before it? It waits for
    the window, too, unless it has gone before; if that was by itself, a full segment stays so."""
    if length >= tcb.mss and tcb.flight is not None and tcb.flight.has_start(end):
        return False
    return end < max(tcb.snd_una + tcb.snd_wnd, tcb.snd_max)


def _is_lost(tcb: Tcb) -> bool:
    threshold = tcb.engine.config.duplicate_threshold
    board = tcb.scoreboard
    if tcb.has_sack:
        return tcb.dupacks >= threshold or (
            board is not None and board.lost_edge(tcb.mss, threshold) > tcb.snd_una
        )
    # After a recovery, duplicates of its own retransmissions must not start another.
    # [RFC 6582 3.2 (2)]
    return tcb.dupacks >= threshold and tcb.snd_una > tcb.recover


def _enter(tcb: Tcb, news: int, is_progress: bool, now_ns: int) -> None:
    """Fast recovery begins; ``news`` bytes have just arrived."""
    before = tcb.cwnd, tcb.ssthresh
    in_flight = tcb.snd_nxt - tcb.snd_una
    # Without what limited transmit has let out. [RFC 5681 3.2 (2)]
    tcb.congestion.on_loss(tcb, rack.reducible(tcb, min(in_flight, tcb.cwnd)), now_ns)
    tcb.recovery = RECOVERY_FAST
    tcb.recover = tcb.snd_max
    tcb.high_rxt = tcb.snd_una
    tcb.is_rexmit_due = True
    tcb.cwnd_credit = 0
    board = tcb.scoreboard
    held = (tcb.dupacks - 1) * tcb.mss if board is None else board.sacked - news
    episode = tcb.episode = Episode(tcb.snd_una, *before, in_flight - held)
    if tcb.engine.config.has_frto and not tcb.has_sack:
        episode.again_ms = now_ns // NS_PER_MS  # FreeBSD takes back timeouts alone
    threshold = tcb.engine.config.duplicate_threshold
    if board is not None:
        episode.lost_edge = board.lost_edge(tcb.mss, threshold)
    if _is_paced(tcb):
        _count_arrived(tcb, episode, tcb.dupacks * tcb.mss)
        _pace(tcb, episode, news, is_progress)
    else:
        tcb.cwnd = tcb.ssthresh
        if not tcb.has_sack:
            tcb.cwnd += threshold * tcb.mss
    ecn.reduced(tcb)
    tcb.engine.counts["tcp_fast_recoveries"] += 1


def _judge_timeout(tcb: Tcb, episode: Episode, now_ns: int) -> None:
    """After a timeout an acknowledgement goes forward, though not to the end of what was out then.
    If it is for the segment that was sent again, new data asks whether the others are lost; if it
    is for others, they are not. [RFC 5682 2.1 (2), (3b)]"""
    if episode.frto == FRTO_NEW:
        tcb.recover = tcb.snd_una - 1  # three duplicates from now on tell of a loss
        _undo(tcb, episode, now_ns)
    elif episode.frto == FRTO_FIRST:
        nxt = tcb.snd_max
        has_new = tcb.snd_end > nxt and tcb.snd_una + tcb.snd_wnd > nxt
        if not has_new or tcb.snd_una < tcb.again_end:
            episode.frto = FRTO_OFF
            return
        episode.frto = FRTO_NEW
        tcb.snd_nxt = nxt
        tcb.cwnd = nxt - tcb.snd_una + _FRTO_SEGMENTS * tcb.mss
        tcb.is_pushing = True  # whatever Nagle's algorithm says


def _believe(tcb: Tcb, episode: Episode) -> None:
    """A duplicate after a timeout: something is missing. [RFC 5682 2.1 (2a), (3a)]"""
    if episode.frto == FRTO_NEW:
        tcb.snd_nxt = tcb.snd_una
        tcb.cwnd = min(tcb.cwnd, _REAL_SEGMENTS * tcb.mss)
    episode.frto = FRTO_OFF


def _undo(tcb: Tcb, episode: Episode, now_ns: int) -> None:
    """Nothing was lost: the reduction is taken back. [RFC 4015 3.2] [RFC 5682 4]"""
    tcb.cwnd = max(tcb.cwnd, episode.cwnd)
    tcb.ssthresh = max(tcb.ssthresh, episode.ssthresh)
    tcb.snd_nxt = tcb.snd_max
    _leave(tcb, now_ns)
    tcb.congestion.on_undo(tcb, now_ns)
    tcb.engine.counts["tcp_undone"] += 1
    tcb.engine.want_output(tcb)


def _is_paced(tcb: Tcb) -> bool:
    return tcb.engine.config.has_rate_reduction and not tcb.congestion.is_model


def _pace(tcb: Tcb, episode: Episode, delivered: int, is_progress: bool) -> None:
    """``delivered`` bytes have arrived: so much may go out. [RFC 9937 6.2]"""
    episode.reported = 0
    edge = 0
    if tcb.scoreboard is not None:
        edge = tcb.scoreboard.lost_edge(tcb.mss, tcb.engine.config.duplicate_threshold)
    in_pipe = pipe(tcb)
    is_safe = is_progress and edge <= episode.lost_edge
    episode.lost_edge = max(edge, episode.lost_edge)
    count = episode.allowance(delivered, in_pipe, tcb.ssthresh, tcb.mss, is_safe)
    # Whole segments are sent, and a part of one counts as one, as in Linux and FreeBSD.
    tcb.cwnd = in_pipe + -(-count // tcb.mss) * tcb.mss


def _count_arrived(tcb: Tcb, episode: Episode, arrived: int) -> None:
    """Duplicates say that ``arrived`` bytes have; all but a segment of what is out, at most."""
    most = tcb.snd_nxt - tcb.snd_una - tcb.mss
    episode.arrived = max(0, min(episode.arrived + arrived, most))


def _told(tcb: Tcb, episode: Episode, acked: int) -> int:
    """A partial acknowledgement of ``acked`` bytes, the first segment of which was lost: the others
    have had a duplicate each. Returns how much of it has arrived just now."""
    told = min(episode.arrived, max(0, acked - tcb.mss))
    episode.arrived -= told
    return acked - told


def _leave(tcb: Tcb, now_ns: int) -> None:
    tcb.recovery = RECOVERY_NONE
    if tcb.timeouts is not None:
        tcb.timeouts.end(now_ns)
    tcb.dupacks = 0
    tcb.is_rexmit_due = False
    tcb.episode = None
    tcb.congestion.on_recovered(tcb, now_ns)
