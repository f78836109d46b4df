"""Rules of loss recovery and of the timer, number by number, that no script shows.

docs/requirements names each of these tests beside the line that it holds.
"""

from __future__ import annotations

import pytest
from script_peer import MS, S, Script
from sender_script import MSS, end, opened, write

# -- the timer [RFC 6298]


def test_smoothed_round_trip_moves_by_an_eighth() -> None:
    """SRTT 100 ms, then a sample of 180: 110; RTTVAR 50, then (3 * 50 + 80) / 4."""
    s = opened(1)
    s.wait(180 * MS)
    s.inject("A", 1, end(1))
    assert s.tcb.srtt_ns == 110 * MS
    assert s.tcb.rttvar_ns == 57_500_000


def test_timeouts_are_bounded_by_two_minutes() -> None:
    s = opened(1)
    gaps = []
    last = s.now_ns
    while len(gaps) < 12:
        s.wait(s.tcb.rto_at - s.now_ns)
        s.expect("A", 1, length=MSS)
        gaps.append(s.now_ns - last)
        last = s.now_ns
    assert gaps[-1] == gaps[-2] == 120 * S
    assert gaps[:8] == [gaps[0] << n for n in range(8)]


def test_a_second_timeout_leaves_ssthresh() -> None:
    s = opened(10)
    s.wait(s.tcb.rto_at - s.now_ns)
    assert s.tcb.ssthresh == 5 * MSS
    s.wait(s.tcb.rto_at - s.now_ns)
    assert s.tcb.ssthresh == 5 * MSS


def test_nothing_out_nothing_timed() -> None:
    s = opened(2)
    assert s.tcb.rto_at
    s.inject("A", 1, end(1))
    assert s.tcb.rto_at
    s.inject("A", 1, end(2))
    assert not s.tcb.rto_at


def test_timestamps_measure_what_was_sent_again() -> None:
    """Without them the measurement would be lost (Karn); the echo says which one it was."""
    s = Script(has_rack=False)
    socket = s.passive()
    socket.send(b"x")
    s.expect("A")
    s.wait(s.tcb.rto_at - s.now_ns)
    s.expect("A")
    before = s.tcb.srtt_ns
    s.wait(40 * MS)
    s.inject("A", 1, 2)
    assert s.tcb.srtt_ns > before


def test_the_longer_timeout_stays_until_something_is_measured() -> None:
    """Karn's algorithm: without timestamps what was sent twice is not measured, so on a path that
    has become slow each segment would go again for ever, and nothing ever be measured."""
    s = opened(0)
    at = 1
    copies = []
    for _ in range(6):
        write(s, 1)
        s.wait(1 * S)
        copies.append(len(s.queue))
        s.queue.clear()
        at += MSS
        s.inject("A", 1, at)
    assert copies == [3, 1, 1, 1, 1, 1]
    assert s.tcb.rto_ns > 1 * S


def test_a_measurement_ends_the_longer_timeout() -> None:
    s = opened(1)
    before = s.tcb.rto_ns
    s.wait(s.tcb.rto_at - s.now_ns)
    s.wait(s.tcb.rto_at - s.now_ns)
    s.queue.clear()
    s.inject("A", 1, end(1))
    assert s.tcb.backoff == 0
    assert s.tcb.rto_ns == 4 * before
    write(s, 1)
    s.wait(100 * MS)
    s.inject("A", 1, end(2))
    assert s.tcb.rto_ns <= before


def test_probes_of_a_closed_window_make_no_timeout_longer() -> None:
    """They come ever more rarely, but nothing was lost."""
    s = opened(0, probes_with_data=True)
    before = s.tcb.rto_ns
    s.inject("A", 1, 1, window=0)
    write(s, 1)
    s.wait(5 * S)
    assert s.tcb.backoff > 2
    s.inject("A", 1, 2, window=0)  # a byte was taken all the same
    assert s.tcb.rto_ns == before


# -- Reno and NewReno [RFC 5681] [RFC 6582]


def test_reno_grows_by_a_segment_each_round_trip() -> None:
    s = opened(8)
    tcb = s.tcb
    tcb.ssthresh = tcb.cwnd = 8 * MSS
    for number in range(1, 9):
        s.inject("A", 1, end(number))
    assert tcb.cwnd == 9 * MSS


def test_reno_halves_by_what_is_out() -> None:
    """The window, while it is what limits sending; never below two segments."""
    s = opened(10)
    for _ in range(3):
        s.inject("A", 1, 1)
    assert s.tcb.ssthresh == 5 * MSS


def test_newreno_inflates_and_deflates() -> None:
    """Ten out, the first and the fifth lost: one reduction, a segment for each duplicate, a
    partial ACK takes back what it acknowledges but for one, the end leaves ssthresh."""
    s = opened(10)
    write(s, 10)
    for _ in range(3):
        s.inject("A", 1, 1)
    tcb = s.tcb
    assert tcb.ssthresh == 5 * MSS or tcb.ssthresh == 6 * MSS  # with limited transmit
    ssthresh = tcb.ssthresh
    cwnd = tcb.cwnd
    s.inject("A", 1, 1)
    s.inject("A", 1, 1)
    assert tcb.cwnd == cwnd + 2 * MSS
    assert tcb.ssthresh == ssthresh
    cwnd = tcb.cwnd
    s.queue.clear()
    s.inject("A", 1, end(4))
    assert tcb.cwnd == max(cwnd - 4 * MSS, 0) + MSS
    s.expect("A", end(4), length=MSS)  # the fifth, at once
    s.queue.clear()
    s.inject("A", 1, tcb.snd_max - tcb.iss)
    assert tcb.recovery == 0
    assert tcb.cwnd <= ssthresh


def test_newreno_starts_no_second_recovery_for_one_window() -> None:
    """The timeout sent all again; the peer has it twice and says so by duplicate ACKs."""
    s = opened(6)
    s.wait(s.tcb.rto_at - s.now_ns)
    s.expect("A", 1, length=MSS)
    s.inject("A", 1, end(6))
    write(s, 4)
    s.queue.clear()
    ssthresh = s.tcb.ssthresh
    for _ in range(4):
        s.inject("A", 1, end(6))
    assert s.tcb.recovery == 0
    assert s.tcb.ssthresh == ssthresh


def test_partial_acknowledgements_in_crumbs_give_nothing_back() -> None:
    """Of a byte each, they would open the window by a segment each."""
    s = opened(10)
    write(s, 40)
    for _ in range(3):
        s.inject("A", 1, 1)
    cwnd = s.tcb.cwnd
    for byte in range(1, 101):
        s.inject("A", 1, 1 + byte)
    assert s.tcb.recovery
    assert s.tcb.cwnd == cwnd - 100


def test_the_end_of_recovery_lets_no_burst_out() -> None:
    """All is acknowledged at once: a window of ssthresh would leave in one burst."""
    s = opened(20, initial_window_segments=20)
    for _ in range(3):
        s.inject("A", 1, 1)
    assert s.tcb.ssthresh == 10 * MSS
    s.inject("A", 1, s.tcb.snd_max - s.tcb.iss)
    assert s.tcb.recovery == 0
    assert s.tcb.cwnd == 2 * MSS


def test_a_window_update_does_not_end_recovery() -> None:
    """It resets the count of duplicates, in some stacks; recovery goes on."""
    s = opened(10)
    for _ in range(3):
        s.inject("A", 1, 1)
    s.tcb.dupacks = 0  # as an update of the window would have left it
    s.inject("A", 1, end(4))
    assert s.tcb.recovery
    s.inject("A", 1, s.tcb.snd_max - s.tcb.iss)
    assert not s.tcb.recovery


def test_limited_transmit_without_sack() -> None:
    s = opened(10)
    write(s, 4)
    s.expect_none()
    s.inject("A", 1, 1)
    s.expect("A", end(10), length=MSS)
    s.inject("A", 1, 1)
    s.expect("A", end(11), length=MSS)
    s.expect_none()


def test_limited_transmit_is_of_two_segments() -> None:
    """Also where it takes more than three duplicates to see a loss."""
    s = opened(10, duplicate_threshold=6)
    write(s, 8)
    for _ in range(5):
        s.inject("A", 1, 1)
    assert s.tcb.snd_max - s.tcb.snd_una == 12 * MSS


def test_limited_transmit_keeps_to_the_receivers_window() -> None:
    s = opened(10)
    write(s, 4)
    s.window = 11 * MSS
    for _ in range(3):
        s.inject("A", 1, 1)  # the first of them changes the window and is no duplicate
    assert s.tcb.snd_max - s.tcb.snd_una == 11 * MSS


@pytest.mark.parametrize("rack", [False, True])
def test_duplicates_without_news_let_nothing_out_with_sack(rack: bool) -> None:
    s = opened(10, sack=True, rack=rack)
    write(s, 4)
    for _ in range(5):
        s.inject("A", 1, 1)
    assert s.tcb.snd_max - s.tcb.snd_una == 10 * MSS


# -- duplicates told [RFC 2883]


def test_a_duplicate_is_not_told_to_who_has_not_agreed() -> None:
    s = opened(0)
    s.inject("A", 1, 1, bytes(10))
    s.inject("A", 1, 1, bytes(10), drain=False)
    assert s.tcb.dsack is None
    s.wait(300 * MS)
    assert s.stack.counters()["tcp_dsacks_sent"] == 0


def test_the_duplicate_told_is_the_latest() -> None:
    """Two in one batch: one acknowledgement, which tells of the second."""
    s = opened(0, sack=True)
    s.inject("A", 1, 1, bytes(10))
    s.inject("A", 11, 1, bytes(10))
    s.wait(300 * MS)
    s.queue.clear()
    s.inject("A", 1, 1, bytes(10), drain=False)
    s.inject("A", 11, 1, bytes(10))
    s.expect("A", 1, 21, sacks=[(11, 21)])
    s.expect_none()


def test_the_part_told_begins_where_it_is_held() -> None:
    s = opened(0, sack=True)
    s.inject("A", 101, 1, bytes(10))
    s.queue.clear()
    s.inject("A", 91, 1, bytes(30))
    s.expect("A", 1, 1, sacks=[(101, 111), (91, 121)])


def test_a_block_within_the_second_is_a_duplicate() -> None:
    s = opened(8, sack=True, rack=True)
    s.inject("A", 1, 1, sacks=[(end(1), end(3))])
    assert s.stack.counters()["tcp_dsacks_received"] == 0
    s.inject("A", 1, 1, sacks=[(end(1), end(2)), (end(1), end(3))])
    assert s.stack.counters()["tcp_dsacks_received"] == 1


def test_a_duplicate_of_what_was_never_sent_is_none() -> None:
    s = opened(4, sack=True, rack=True)
    s.inject("A", 1, end(1), sacks=[(-70_000, -69_000)])
    s.inject("A", 1, end(1), sacks=[(500, 400)])
    assert s.stack.counters()["tcp_dsacks_received"] == 0


def test_a_segment_that_the_network_doubles_widens_nothing() -> None:
    """Nothing was sent twice, so nothing was sent too early."""
    s = opened(8, sack=True, rack=True)
    s.inject("A", 1, end(2))
    s.inject("A", 1, end(2), sacks=[(1, end(1))])
    assert s.tcb.reordering is not None
    assert s.tcb.reordering.multiplier == 1


# -- SACK [RFC 6675] [RFC 2018]


def test_sack_without_rack_finds_losses_by_counting() -> None:
    """Three segments above the first one have arrived: it goes again, and only it."""
    s = opened(8, sack=True)
    s.inject("A", 1, 1, sacks=[(end(1), end(2))])
    s.inject("A", 1, 1, sacks=[(end(1), end(3))])
    s.expect_none()
    s.inject("A", 1, 1, sacks=[(end(1), end(4))])
    s.expect("A", 1, length=MSS)
    s.expect_none()


def test_sack_without_rack_keeps_the_pipe() -> None:
    """In recovery as much is sent as arrives beyond the halving."""
    s = opened(10, sack=True)
    write(s, 20)
    for number in range(2, 5):
        s.inject("A", 1, 1, sacks=[(end(1), end(number))])
    s.queue.clear()
    for number in range(5, 11):
        s.inject("A", 1, 1, sacks=[(end(1), end(number))])
        assert s.tcb.snd_max - s.tcb.iss <= end(10) + 7 * MSS
    tcb = s.tcb
    pipe = tcb.snd_nxt - tcb.snd_una - (tcb.scoreboard.sacked if tcb.scoreboard else 0)
    assert pipe <= tcb.cwnd + MSS


def test_acks_without_news_count_for_nothing_with_sack() -> None:
    """Duplicate ACKs that report nothing new are somebody else's repetition."""
    s = opened(8, sack=True)
    for _ in range(5):
        s.inject("A", 1, 1)
    s.expect_none()
    assert s.tcb.recovery == 0


def test_sack_without_rack_skips_what_is_held_after_a_timeout() -> None:
    s = opened(4, sack=True)
    s.inject("A", 1, 1, sacks=[(end(2), end(3))])
    s.wait(s.tcb.rto_at - s.now_ns)
    s.expect("A", 1, length=MSS)
    s.inject("A", 1, end(1), sacks=[(end(2), end(3))])
    s.expect("A", end(1), length=MSS)
    s.expect("A", end(3), length=MSS)
    s.expect_none()


def test_a_report_of_what_was_never_sent_is_a_lie() -> None:
    s = opened(4, sack=True, rack=True)
    s.inject("A", 1, 1, sacks=[(end(2), end(9))])
    assert s.tcb.scoreboard is None
    s.inject("A", 1, 1, sacks=[(end(6), end(9))])
    assert s.tcb.scoreboard is None


def test_the_first_block_is_the_newest() -> None:
    s = opened(0, sack=True)
    s.inject("A", end(1), 1, bytes(10))
    s.expect("A", sacks=[(end(1), end(1) + 10)])
    s.inject("A", end(3), 1, bytes(10))
    s.expect("A", sacks=[(end(3), end(3) + 10), (end(1), end(1) + 10)])
    s.inject("A", end(1) + 10, 1, bytes(10))  # the older one grows: it is the newest now
    s.expect("A", sacks=[(end(1), end(1) + 20), (end(3), end(3) + 10)])


def test_filling_a_part_of_a_gap_is_acknowledged_at_once() -> None:
    """[RFC 5681 4.2]"""
    s = opened(0)
    s.inject("A", 21, 1, bytes(10))
    s.expect("A", 1, 1)
    s.inject("A", 1, 1, bytes(10))
    s.expect("A", 1, 11)
    s.inject("A", 11, 1, bytes(10))
    s.expect("A", 1, 31)


def test_a_peer_that_drops_what_it_reported_gets_it_again() -> None:
    """It had reported all but the first; its acknowledgement of the first alone, and then
    silence, says that it holds nothing more. All goes again."""
    s = opened(4, sack=True, rack=True)
    s.wait(100 * MS)
    s.inject("A", 1, 1, sacks=[(end(1), end(4))])
    s.expect("A", 1, length=MSS)
    s.inject("A", 1, end(1))
    s.wait(s.tcb.rto_at - s.now_ns)
    s.expect("A", end(1), length=MSS)
    s.inject("A", 1, end(2))
    s.wait(2 * S)
    again = {seen.seq for seen in s.queue}
    assert {end(2), end(3)} <= again


# -- windows and times


def test_the_window_of_a_syn_ack_is_not_scaled() -> None:
    """[RFC 7323 2.2]"""
    s = Script(wscale=7)
    s.dial()
    s.expect("S", 0)
    s.window = 1000
    s.inject("SA", 0, 1)
    assert s.tcb.snd_wnd == 1000
    s.inject("A", 1, 1)
    assert s.tcb.snd_wnd == 1000 << 7


def test_each_transmission_has_its_time() -> None:
    """[RFC 8985 6.1]"""
    s = opened(2, sack=True, rack=True)
    s.wait(50 * MS)
    write(s, 1)
    flight = s.tcb.flight
    assert flight is not None
    assert flight.records[-1][2] - flight.records[0][2] == 50 * MS


# -- RACK-TLP, PRR [RFC 8985] [RFC 9937]


def test_reordering_that_was_seen_widens_the_window() -> None:
    """The first arrives late, once: from then on a third report waits, too."""
    s = opened(6, sack=True, rack=True)
    s.wait(100 * MS)
    s.inject("A", 1, 1, sacks=[(end(1), end(3))])
    s.inject("A", 1, end(3))
    s.inject("A", 1, end(6))
    write(s, 6)
    s.queue.clear()
    s.wait(100 * MS)
    s.inject("A", 1, end(6), sacks=[(end(7), end(11))])
    s.expect_none()
    s.wait(26 * MS)
    s.expect("A", end(6), length=MSS)


def test_a_duplicate_report_widens_the_window() -> None:
    """Twice as long after a DSACK as without."""
    s = opened(6, sack=True, rack=True)
    s.tcb.retransmits = 1  # else it is the path that doubles
    s.wait(100 * MS)
    s.inject("A", 1, end(6))
    write(s, 6)
    s.queue.clear()
    s.wait(100 * MS)
    s.inject("A", 1, end(6), sacks=[(end(5), end(6)), (end(7), end(8))])
    s.wait(49 * MS)
    s.expect_none()
    s.wait(2 * MS)
    s.expect("A", end(6), length=MSS)


def test_a_loss_that_a_probe_repaired_counts() -> None:
    """The last of four is lost; the probe brings it. The window is halved."""
    s = opened(4, sack=True, rack=True)
    s.wait(100 * MS)
    s.inject("A", 1, end(3))
    s.wait((s.tcb.probe_at or s.tcb.rto_at) - s.now_ns)
    s.expect("A", end(3), length=MSS)
    s.wait(100 * MS)
    s.inject("A", 1, end(4))
    write(s, 1)
    s.expect("A", end(4), length=MSS)
    s.wait(100 * MS)
    s.inject("A", 1, end(5))
    assert s.tcb.ssthresh < 1 << 20


def test_recovery_sends_in_proportion() -> None:
    """Ten out, one lost: about one segment for two that arrive."""
    s = opened(10, sack=True, rack=True)
    write(s, 20)
    s.wait(100 * MS)
    s.inject("A", 1, 1, sacks=[(end(1), end(2))])
    s.inject("A", 1, 1, sacks=[(end(1), end(3))])
    s.inject("A", 1, 1, sacks=[(end(1), end(4))])
    s.queue.clear()
    for number in range(5, 11):
        s.inject("A", 1, 1, sacks=[(end(1), end(number))])
    assert 2 <= len(s.queue) <= 4


def test_recovery_after_many_losses_sends_what_arrives() -> None:
    """Of twenty only the last three arrive: no burst of half a window."""
    s = opened(10, sack=True, rack=True)
    s.inject("A", 1, end(10))
    write(s, 20)
    assert len(s.queue) == 20
    s.queue.clear()
    s.wait(100 * MS)
    s.inject("A", 1, end(10), sacks=[(end(27), end(30))])
    assert 1 <= len(s.queue) <= 4
