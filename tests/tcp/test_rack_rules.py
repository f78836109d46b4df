"""Rules of RACK-TLP and F-RTO, number by number, that no script shows. [RFC 8985] [RFC 5682]

docs/requirements names each of these tests beside the line that it holds.
"""

from __future__ import annotations

from script_peer import MS, S, Script
from sender_script import MSS, end, opened, write

from leulo.tcp.episode import FRTO_FIRST, FRTO_NEW, FRTO_OFF
from leulo.tcp.tcb import RECOVERY_NONE, RECOVERY_TIMEOUT


def lossy(segments: int, **knobs: object) -> Script:
    """With RACK; the round trip is 100 ms, and what is out is out for as long."""
    s = opened(segments, sack=True, rack=True, **knobs)
    s.wait(100 * MS)
    return s


def time_out(s: Script) -> None:
    s.wait(s.tcb.rto_at - s.now_ns)


def probe(s: Script) -> None:
    """Until a loss probe is due, in its own time or in the timeout's."""
    s.wait((s.tcb.probe_at or s.tcb.rto_at) - s.now_ns)


# -- the reordering window


def test_the_window_is_at_most_the_round_trip() -> None:
    """However many duplicates were reported."""
    s = lossy(6)
    s.tcb.retransmits = 100
    s.inject("A", 1, end(6))
    for n in range(12):  # a DSACK each round trip: the multiplier is 13 quarters
        write(s, 1)
        s.wait(100 * MS)
        s.inject("A", 1, end(7 + n), sacks=[(end(6 + n), end(7 + n))])
    assert s.tcb.reordering.multiplier > 8
    write(s, 6)
    s.queue.clear()
    s.wait(100 * MS)
    s.inject("A", 1, end(18), sacks=[(end(19), end(20))])
    s.wait(99 * MS)
    s.expect_none()
    s.wait(2 * MS)
    s.expect("A", end(18), length=MSS)


def test_without_reordering_the_third_report_is_enough() -> None:
    """Two wait for a quarter of the round trip."""
    s = lossy(6)
    s.inject("A", 1, 1, sacks=[(end(1), end(3))])
    s.expect_none()
    s.inject("A", 1, 1, sacks=[(end(1), end(4))])
    s.expect("A", 1, length=MSS)


def test_in_recovery_nothing_waits() -> None:
    """One report is enough to find lost what was sent before it, though only two are held."""
    s = lossy(10)
    s.inject("A", 1, 1, sacks=[(end(1), end(2))])
    s.wait(26 * MS)
    s.expect("A", 1, length=MSS)
    s.inject("A", 1, 1, sacks=[(end(3), end(4)), (end(1), end(2))])
    assert s.tcb.flight.lost_bytes == MSS


def test_without_sack_it_is_newreno() -> None:
    s = opened(10, rack=True)
    for _ in range(3):
        s.inject("A", 1, 1)
    assert s.tcb.cwnd == (5 + 3) * MSS


def test_what_is_lost_waits_for_the_window() -> None:
    """Seven of ten are lost at once; three have arrived, and so three go out."""
    s = lossy(10)
    s.inject("A", 1, 1, sacks=[(end(7), end(10))])
    assert s.tcb.flight.lost_bytes == 4 * MSS
    for number in range(3):
        s.expect("A", end(number), length=MSS)
    s.expect_none()


# -- the loss probe


def test_a_new_segment_starts_the_probe_timer_anew() -> None:
    s = opened(2, sack=True, rack=True)
    first = s.tcb.probe_at
    s.wait(50 * MS)
    write(s, 1)
    assert s.tcb.probe_at == s.now_ns + 200 * MS > first


def test_an_acknowledgement_starts_the_probe_timer_anew() -> None:
    s = lossy(4)
    s.inject("A", 1, end(2))
    assert s.tcb.probe_at == s.now_ns + 200 * MS


def test_nobody_knows_the_round_trip_so_the_probe_waits_a_second() -> None:
    s = opened(2, sack=True, rack=True)
    tcb = s.tcb
    tcb.srtt_ns = 0
    tcb.rto_at = s.now_ns + 3 * S
    write(s, 1)
    assert tcb.probe_at == s.now_ns + 1 * S


def test_the_probe_repeats_the_highest_segment() -> None:
    s = lossy(4)
    probe(s)
    s.expect("A", end(3), length=MSS)
    s.expect_none()


def test_a_probe_has_a_time_of_its_own() -> None:
    """By it the segments before it are found to be lost: it was sent 200 ms after them."""
    s = lossy(4)
    probe(s)
    assert s.tcb.flight.records[-1][2] == s.now_ns


def test_behind_a_probe_the_timeout_begins_anew() -> None:
    s = lossy(4)
    probe(s)
    assert s.tcb.rto_at == s.now_ns + s.tcb.rto_ns


def test_no_second_probe_before_a_measurement() -> None:
    """The first one's acknowledgement measures nothing, since it was a repetition; so the next
    tail has to do without, or the round trip would never be learnt anew."""
    s = lossy(1)
    probe(s)
    s.expect("A", 1, length=MSS)
    s.inject("A", 1, end(1))
    s.inject("A", 1, end(1))  # it was for nothing
    write(s, 2)
    s.queue.clear()
    assert not s.tcb.probe_at
    s.wait(s.tcb.rto_ns - MS)
    s.expect_none()  # not the last one, after two round trips
    s.wait(2 * MS)
    s.expect("A", end(1), length=MSS)
    s.inject("A", 1, end(3))
    write(s, 3)
    s.queue.clear()
    s.wait(100 * MS)
    s.inject("A", 1, end(4))  # a measurement
    assert s.tcb.probe_at


def test_no_second_probe_while_one_is_out() -> None:
    """Though a round trip was measured since."""
    s = lossy(10)
    write(s, 2)
    probe(s)
    s.expect("A", end(10), length=MSS)
    s.inject("A", 1, end(1))
    assert not s.tcb.has_probed and not s.tcb.probe_at
    s.queue.clear()
    time_out(s)
    s.expect("A", end(1), length=MSS)


def test_with_timestamps_a_probes_acknowledgement_is_a_measurement() -> None:
    s = lossy(2, timestamps=True)
    probe(s)
    assert s.tcb.has_probed
    s.expect("A", end(1), length=MSS)
    s.wait(100 * MS)
    s.inject("A", 1, end(2))
    assert not s.tcb.has_probed


def test_a_loss_that_a_probe_repaired_is_answered_as_any() -> None:
    """The window is halved, at once."""
    s = lossy(4)
    s.inject("A", 1, end(3))
    probe(s)
    s.wait(100 * MS)
    s.inject("A", 1, end(4))
    cwnd = s.tcb.cwnd
    write(s, 1)
    s.wait(100 * MS)
    s.inject("A", 1, end(5))
    assert s.tcb.cwnd <= cwnd // 2 + MSS


# -- F-RTO


def test_a_timeout_in_recovery_is_believed() -> None:
    """Half a window arrived late, but it was of the window in which something is lost."""
    s = lossy(10)
    s.inject("A", 1, 1, sacks=[(end(1), end(5))])
    assert s.tcb.recovery != RECOVERY_NONE
    time_out(s)
    assert s.tcb.episode.frto == FRTO_OFF
    s = lossy(10)
    time_out(s)  # a loss probe
    time_out(s)
    assert s.tcb.episode.frto == FRTO_FIRST


def test_a_second_timeout_begins_anew() -> None:
    """Of the same segment; the first timeouts were spurious all the same."""
    s = lossy(10, has_tail_probe=False)
    write(s, 10)
    cwnd = s.tcb.cwnd
    time_out(s)
    time_out(s)
    assert s.tcb.episode.frto == FRTO_FIRST
    s.inject("A", 1, end(1))
    s.inject("A", 1, end(10))
    assert s.tcb.recovery == RECOVERY_NONE
    assert s.tcb.cwnd >= cwnd


def test_a_timeout_of_another_segment_does_not() -> None:
    s = lossy(10, has_tail_probe=False)
    write(s, 10)
    time_out(s)
    s.inject("A", 1, end(1))
    assert s.tcb.episode.frto == FRTO_NEW
    time_out(s)
    assert s.tcb.episode.frto == FRTO_OFF


def test_duplicates_before_the_first_acknowledgement_only_wait() -> None:
    """(2): reports are noted; an acknowledgement of what was sent once decides."""
    s = lossy(10, has_tail_probe=False)
    write(s, 10)
    time_out(s)
    s.inject("A", 1, 1)
    assert s.tcb.episode.frto == FRTO_FIRST
    s.inject("A", 1, end(1))
    assert s.tcb.episode.frto == FRTO_NEW
    s.inject("A", 1, end(1), window=60_000)
    assert s.tcb.episode.frto == FRTO_NEW  # a new window says nothing (3)
    s.inject("A", 1, end(1), window=60_000)
    assert s.tcb.episode.frto == FRTO_OFF
    assert s.tcb.recovery == RECOVERY_TIMEOUT


def test_without_new_data_a_timeout_is_believed() -> None:
    """(2b)"""
    s = lossy(10, has_tail_probe=False)
    time_out(s)
    s.inject("A", 1, end(1))
    assert s.tcb.episode.frto == FRTO_OFF
