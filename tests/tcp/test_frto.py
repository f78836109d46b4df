"""F-RTO without SACK, step by step: was a timeout one, or were acknowledgements only late?
[RFC 5682 2]"""

from __future__ import annotations

from script_peer import MS, Script
from sender_script import MSS, end, opened, write

from leulo.tcp.tcb import RECOVERY_FAST, RECOVERY_NONE, RECOVERY_TIMEOUT


def timed_out(segments: int = 10, more: int = 10, **knobs: object) -> Script:
    """The first of so many segments was sent again; more than the window allowed is to be sent."""
    s = opened(segments, **knobs)
    if more:
        write(s, more)
    time_out(s)
    s.expect("A", 1, length=MSS)
    s.expect_none()
    return s


def time_out(s: Script) -> None:
    s.wait(s.tcb.rto_at - s.now_ns)


def test_late_acknowledgements_take_the_timeout_back() -> None:
    """(2b), (3b): two new segments for the first, and then everything is as it was."""
    s = timed_out()
    before = s.tcb.episode.cwnd, s.tcb.episode.ssthresh
    s.inject("A", 1, end(1))
    s.expect("A", end(10), length=MSS)
    s.expect("A", end(11), length=MSS)
    s.expect_none()
    s.inject("A", 1, end(2))
    assert s.tcb.recovery == RECOVERY_NONE
    assert s.tcb.cwnd >= before[0]
    assert s.tcb.ssthresh == before[1]
    assert s.stack.counters()["tcp_undone"] == 1
    assert s.expect("A").seq >= end(12)  # and nothing that was out goes again


def test_a_loss_after_that_is_seen_by_three_duplicates() -> None:
    """(3b): the number that keeps recoveries apart goes back."""
    s = timed_out()
    s.inject("A", 1, end(1))
    s.inject("A", 1, end(2))
    s.wait(0)
    s.queue.clear()
    for _ in range(3):
        s.inject("A", 1, end(2))
    assert s.tcb.recovery == RECOVERY_FAST
    assert any(seen.seq == end(2) for seen in s.queue)


def test_a_duplicate_for_the_new_segments_means_that_the_loss_was_real() -> None:
    """(3a): three segments, from the first that is missing on."""
    s = timed_out()
    s.inject("A", 1, end(1))
    s.expect("A", end(10), length=MSS)
    s.expect("A", end(11), length=MSS)
    s.inject("A", 1, end(1))
    assert s.tcb.recovery == RECOVERY_TIMEOUT
    for number in (1, 2, 3):
        s.expect("A", end(number), length=MSS)
    s.expect_none()
    s.inject("A", 1, end(4))  # is no sign of anything any more
    assert s.tcb.recovery == RECOVERY_TIMEOUT
    assert s.stack.counters()["tcp_undone"] == 0


def test_a_duplicate_first_means_so_too() -> None:
    """(2a)"""
    s = timed_out()
    s.inject("A", 1, 1)
    s.inject("A", 1, end(1))
    s.expect("A", end(1), length=MSS)
    s.expect("A", end(2), length=MSS)


def test_an_acknowledgement_of_everything_decides_nothing() -> None:
    """(2a): all but the first may have waited at the receiver."""
    s = timed_out()
    ssthresh = s.tcb.ssthresh
    s.inject("A", 1, end(10))
    assert s.tcb.recovery == RECOVERY_NONE
    assert s.tcb.ssthresh == ssthresh
    assert s.stack.counters()["tcp_undone"] == 0


def test_an_acknowledgement_of_a_part_of_what_was_sent_again_does_not_count() -> None:
    """(2a): a receiver could make up as many as it likes."""
    s = timed_out()
    s.inject("A", 1, end(1) - 500)
    assert s.expect("A").seq < end(2)
    s.inject("A", 1, end(2))
    assert s.tcb.recovery == RECOVERY_TIMEOUT


def test_without_new_data_the_timeout_is_believed() -> None:
    """(2b)"""
    s = timed_out(more=0)
    s.inject("A", 1, end(1))
    s.expect("A", end(1), length=MSS)
    s.expect("A", end(2), length=MSS)


def test_new_data_does_not_wait_for_nagle() -> None:
    """(2b): or nothing would be sent until the next timeout."""
    s = opened(9)
    assert s.socket is not None
    s.socket.send(b"small")
    s.expect("A", end(9), length=5)
    s.socket.send(b"more")
    time_out(s)
    s.expect("A", 1, length=MSS)
    s.inject("A", 1, end(1))
    s.expect("A", end(9) + 5, length=4)


def test_another_timeout_of_the_same_segment_begins_anew() -> None:
    """What was before the first of them comes back."""
    s = timed_out()
    cwnd = s.tcb.episode.cwnd
    time_out(s)
    s.expect("A", 1, length=MSS)
    s.inject("A", 1, end(1))
    s.inject("A", 1, end(2))
    assert s.tcb.recovery == RECOVERY_NONE
    assert s.tcb.cwnd >= cwnd


def test_a_timeout_of_another_segment_is_believed() -> None:
    s = timed_out()
    s.inject("A", 1, end(1))
    s.wait(0)
    s.queue.clear()
    time_out(s)
    s.expect("A", end(1), length=MSS)
    s.inject("A", 1, end(2))
    s.expect("A", end(2), length=MSS)
    s.inject("A", 1, end(3))
    assert s.tcb.recovery == RECOVERY_TIMEOUT


def test_a_timeout_in_fast_recovery_is_believed() -> None:
    s = opened(10)
    write(s, 10)
    for _ in range(3):
        s.inject("A", 1, 1)
    assert s.tcb.recovery == RECOVERY_FAST
    s.wait(0)
    s.queue.clear()
    time_out(s)
    s.expect("A", 1, length=MSS)
    s.inject("A", 1, end(1))
    s.expect("A", end(1), length=MSS)


def test_it_can_be_turned_off() -> None:
    s = timed_out(has_frto=False)
    s.inject("A", 1, end(1))
    s.expect("A", end(1), length=MSS)
    s.wait(10 * MS)
    s.expect("A", end(2), length=MSS)
