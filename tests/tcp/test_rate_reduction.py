"""Proportional rate reduction as RFC 9937 has it, where it is more than RFC 6937 was.

docs/requirements/rfc9937.toml names these tests beside the lines that they hold.
"""

from __future__ import annotations

import pytest
from script_peer import MS
from sender_script import MSS, end, opened, write


def test_what_was_reported_before_recovery_is_no_part_of_its_flight() -> None:
    """[RFC 9937 6.1] Two of ten are reported, and only time says that the first is lost: eight may
    still arrive, and of these half the window goes out, evenly."""
    s = opened(10, sack=True, rack=True)
    write(s, 30)
    s.wait(100 * MS)
    s.queue.clear()
    s.inject("A", 1, 1, sacks=[(end(1), end(3))])
    out = (s.tcb.snd_max - s.tcb.snd_una) // MSS
    s.wait(60 * MS)
    assert s.tcb.episode is not None
    assert s.tcb.episode.flight_bytes == (out - 2) * MSS
    assert s.tcb.episode.delivered == 0


def test_what_starts_recovery_is_part_of_its_flight() -> None:
    """[RFC 9937 6.1] Reported just now, or acknowledged, counts as delivered in recovery."""
    s = opened(10, sack=True, rack=True)
    write(s, 30)
    s.wait(100 * MS)
    s.inject("A", 1, end(1), sacks=[(end(2), end(6))])
    assert s.tcb.episode is not None
    assert s.tcb.episode.flight_bytes == 10 * MSS
    assert s.tcb.episode.delivered == 5 * MSS


def test_the_first_goes_again_at_once_however_much_is_out() -> None:
    """[RFC 9937 6.2] The proportion alone would not allow a segment yet."""
    s = opened(10, sack=True, rack=True)
    write(s, 30)
    s.wait(100 * MS)
    s.queue.clear()
    s.inject("A", 1, 1, sacks=[(end(1), end(2))])
    s.queue.clear()
    s.wait(60 * MS)
    assert [seen.seq for seen in s.queue] == [1]


def test_progress_without_a_loss_sends_a_segment_more_than_arrives() -> None:
    """[RFC 9937 6.2 SafeACK] Half of twenty is lost; each partial acknowledgement then lets two
    out, one that tells of a further loss only what it brings."""
    s = opened(10, sack=True, rack=True)
    s.inject("A", 1, end(10))
    write(s, 40)
    s.wait(100 * MS)
    s.queue.clear()
    s.inject("A", 1, end(10), sacks=[(end(27), end(30))])
    sent = len(s.queue)
    assert 1 <= sent <= 4
    s.wait(100 * MS)
    s.queue.clear()
    s.inject("A", 1, end(11), sacks=[(end(27), end(30))])
    assert len(s.queue) == 2
    s.queue.clear()
    s.inject("A", 1, end(12), sacks=[(end(27), end(30))])
    assert len(s.queue) == 2


def test_recovery_ends_with_the_window_at_the_threshold() -> None:
    """[RFC 9937 6.4] However little is out."""
    s = opened(10, sack=True, rack=True)
    s.wait(100 * MS)
    s.inject("A", 1, 1, sacks=[(end(7), end(10))])
    for number in range(3):  # as much as has arrived, of seven that are lost
        s.expect("A", end(number), length=MSS)
    s.wait(100 * MS)
    threshold = s.tcb.ssthresh
    assert s.tcb.cwnd < threshold
    s.inject("A", 1, end(10))
    assert s.tcb.cwnd == threshold


def test_progress_with_a_further_loss_sends_what_arrives() -> None:
    """[RFC 9937 6.2 SafeACK] Of twenty nine are lost, and then five more, as the acknowledgement
    of the first repetition reports."""
    s = opened(10, sack=True, rack=True)
    s.inject("A", 1, end(10))
    write(s, 40)
    s.wait(100 * MS)
    s.queue.clear()
    s.inject("A", 1, end(10), sacks=[(end(19), end(22))])
    assert [seen.seq for seen in s.queue] == [end(10), end(11)]
    s.wait(100 * MS)
    s.queue.clear()
    s.inject("A", 1, end(11), sacks=[(end(27), end(30)), (end(19), end(22))])
    # Seven have arrived, two have gone.
    assert [seen.seq for seen in s.queue] == [end(n) for n in range(12, 17)]


def test_a_second_recovery_counts_anew() -> None:
    """[RFC 9937 6.1] What the first has sent and brought is forgotten."""
    s = opened(10, sack=True, rack=True)
    write(s, 40)
    s.wait(100 * MS)
    s.inject("A", 1, 1, sacks=[(end(1), end(10))])
    s.wait(100 * MS)
    s.inject("A", 1, s.tcb.snd_max - (s.iss or 0))
    assert s.tcb.recovery == 0
    s.wait(100 * MS)
    una = s.tcb.snd_una - (s.iss or 0)
    flight = s.tcb.snd_max - s.tcb.snd_una
    s.inject("A", 1, una, sacks=[(una + MSS, una + 4 * MSS)])
    assert s.tcb.episode is not None
    assert s.tcb.episode.flight_bytes == flight
    assert s.tcb.episode.delivered == 3 * MSS


def test_made_up_duplicates_bring_no_more_than_was_out() -> None:
    """[RFC 9937 6.2] Without SACK a peer may invent them."""
    s = opened(10, has_rate_reduction=True)
    write(s, 60)
    s.wait(100 * MS)
    s.queue.clear()
    for _ in range(200):
        s.inject("A", 1, 1)
    out = s.tcb.snd_max - s.tcb.snd_una
    assert s.tcb.episode is not None
    assert s.tcb.episode.arrived <= out - MSS
    assert out <= 20 * MSS


@pytest.mark.parametrize("number", [4, 10])
@pytest.mark.parametrize("timestamps", [True, False])
def test_what_came_by_itself_before_it_could_go_again_was_not_lost(
    number: int, timestamps: bool
) -> None:
    """[RFC 4015 3.2] One batch of frames has the reports of others and, behind them, the
    acknowledgement of the late one: nothing is sent again, and nothing reduced."""
    s = opened(10, sack=True, rack=True, timestamps=timestamps)
    before = s.tcb.cwnd, s.tcb.ssthresh
    s.wait(100 * MS)
    s.inject("A", 1, 1, sacks=[(end(1), end(4))], drain=False)
    assert s.tcb.recovery != 0 and s.tcb.ssthresh < before[1]
    s.inject("A", 1, end(number))
    assert s.tcb.recovery == 0
    assert s.tcb.cwnd >= before[0] and s.tcb.ssthresh == before[1]
    s.expect_none()
    assert s.stack.counters()["tcp_undone"] == 1


@pytest.mark.parametrize("is_paced", [True, False])
@pytest.mark.parametrize("sack", [True, False])
def test_without_rack_it_was_not_lost_either(sack: bool, is_paced: bool) -> None:
    s = opened(10, sack=sack, has_rate_reduction=is_paced)
    before = s.tcb.cwnd, s.tcb.ssthresh
    s.wait(100 * MS)
    for number in (2, 3, 4):
        sacks = [(end(1), end(number))] if sack else None
        s.inject("A", 1, 1, sacks=sacks, drain=False)
    assert s.tcb.recovery != 0 and s.tcb.ssthresh < before[1]
    s.inject("A", 1, end(10))
    assert s.tcb.recovery == 0
    assert s.tcb.cwnd >= before[0] and s.tcb.ssthresh == before[1]
    s.expect_none()
    assert s.stack.counters()["tcp_undone"] == 1


@pytest.mark.parametrize("sack", [True, False])
def test_without_rack_what_went_again_was_lost(sack: bool) -> None:
    s = opened(10, sack=sack)
    before = s.tcb.ssthresh
    s.wait(100 * MS)
    for number in (2, 3, 4):
        s.inject("A", 1, 1, sacks=[(end(1), end(number))] if sack else None)
    s.expect("A", 1, length=MSS)
    s.inject("A", 1, end(4), drain=False)  # what the next one needs has not gone yet
    s.inject("A", 1, end(10))
    assert s.tcb.recovery == 0 and s.tcb.ssthresh < before
    assert s.stack.counters()["tcp_undone"] == 0


def test_a_further_loss_in_the_same_batch_counts() -> None:
    """The first came late, the fifth not at all."""
    s = opened(10, sack=True, rack=True)
    before = s.tcb.ssthresh
    s.wait(100 * MS)
    s.inject("A", 1, 1, sacks=[(end(1), end(4)), (end(5), end(9))], drain=False)
    s.inject("A", 1, end(4), sacks=[(end(5), end(9))], drain=False)
    s.wait(100 * MS)
    assert end(4) in [seen.seq for seen in s.queue]
    assert s.tcb.ssthresh < before
