"""Rules of congestion control, number by number, that no script shows. [RFC 5681]

docs/requirements names each of these tests beside the line that it holds.
"""

from __future__ import annotations

import pytest
from script_peer import HERE, MS, THERE, S, Script
from sender_script import MSS, end, opened, write

from leulo.tcp.icmp_errors import icmp_error_arrives


def test_the_handshake_does_not_let_the_window_grow() -> None:
    for open_it in (Script.passive, Script.active):
        s = Script(timestamps=False, mss=MSS)
        open_it(s)
        assert s.tcb.cwnd == 10 * MSS


@pytest.mark.parametrize(("lost", "segments"), [(0, 10), (1, 10), (2, 1)])
def test_a_syn_lost_twice_begins_with_one_segment(lost: int, segments: int) -> None:
    """One may have been the fault of a short first timeout. [RFC 6928 2]"""
    s = Script(timestamps=False, mss=MSS)
    s.dial()
    s.expect("S", 0)
    s.wait(((1 << lost) - 1) * S + MS)
    s.queue.clear()
    s.inject("SA", 0, 1)
    assert s.tcb.cwnd == segments * MSS


@pytest.mark.parametrize(("lost", "segments"), [(1, 10), (2, 1)])
def test_a_syn_ack_lost_twice_begins_with_one_segment(lost: int, segments: int) -> None:
    s = Script(timestamps=False, mss=MSS)
    s.listen()
    s.inject("S", 0)
    s.wait(((1 << lost) - 1) * S + MS)
    s.inject("A", 1, 1)
    assert s.tcb.cwnd == segments * MSS


def test_smaller_segments_are_not_more_of_them() -> None:
    """A router wants 760 bytes: the window is as many segments as before, not as many bytes."""
    s = Script(timestamps=False)
    socket = s.passive()
    assert s.tcb.cwnd == 14_600
    socket.send(bytes(30_000))
    s.wait(0)
    s.queue.clear()
    ends = (HERE, s.port), (THERE, s.peer_port)
    una = s.tcb.snd_una & 0xFFFFFFFF
    assert icmp_error_arrives(s.stack.engine, *ends, una, 3, True, 760, 4) is None
    s.wait(0)
    assert s.tcb.mss == 720
    assert s.tcb.cwnd == 7_200
    assert len(s.queue) == 10


def test_no_threshold_to_begin_with() -> None:
    """It is larger than any window that a peer can offer."""
    assert opened(0).tcb.ssthresh > 1 << 30


def test_reno_grows_by_no_more_than_a_segment_each_round_trip() -> None:
    s = opened(8)
    tcb = s.tcb
    tcb.ssthresh = tcb.cwnd = 8 * MSS
    write(s, 30)
    for number in range(1, 18):
        s.inject("A", 1, end(number))
        assert tcb.cwnd <= 9 * MSS if number < 17 else 10 * MSS
    assert tcb.cwnd == 10 * MSS


def test_a_divided_acknowledgement_gains_nothing() -> None:
    """Bytes count, not acknowledgements: ten for a segment are as one. [RFC 5681 5]"""
    s = opened(8)
    tcb = s.tcb
    tcb.ssthresh = tcb.cwnd = 8 * MSS
    for tenth in range(1, 71):
        s.inject("A", 1, 1 + tenth * 100)
    assert tcb.cwnd == 8 * MSS
    for tenth in range(71, 81):
        s.inject("A", 1, 1 + tenth * 100)
    assert tcb.cwnd == 9 * MSS


def test_slow_start_counts_bytes_too() -> None:
    s = opened(10)
    for tenth in range(1, 11):
        s.inject("A", 1, 1 + tenth * 100)
    assert s.tcb.cwnd == 11 * MSS


def test_limited_transmit_leaves_the_window_and_its_half() -> None:
    """The two segments that it lets out change cwnd as little as what a loss leaves of it."""
    s = opened(10, reduces_cwnd=False)
    write(s, 4)
    s.inject("A", 1, 1)
    s.inject("A", 1, 1)
    assert s.tcb.cwnd == 10 * MSS
    assert s.tcb.snd_max - s.tcb.snd_una == 12 * MSS
    s.inject("A", 1, 1)
    assert s.tcb.ssthresh == 5 * MSS


def test_the_third_duplicate_leaves_a_half_and_three() -> None:
    """What three duplicates stand for has left the path."""
    s = opened(10)
    for _ in range(3):
        s.inject("A", 1, 1)
    assert s.tcb.cwnd == (5 + 3) * MSS


def test_new_data_goes_out_in_fast_recovery() -> None:
    s = opened(10)
    write(s, 10)
    for _ in range(3):
        s.inject("A", 1, 1)
    s.queue.clear()
    for _ in range(5):
        s.inject("A", 1, 1)
    s.expect("A", end(12), length=MSS)


def test_losses_in_two_windows_halve_twice() -> None:
    s = opened(10, sack=True, rack=True)
    write(s, 40)
    tcb = s.tcb
    s.wait(100 * MS)
    s.inject("A", 1, 1, sacks=[(end(1), end(10))])
    assert tcb.ssthresh == 5 * MSS
    s.wait(100 * MS)
    s.inject("A", 1, tcb.snd_max - tcb.iss)
    assert tcb.cwnd == 5 * MSS
    una = tcb.snd_una - tcb.iss
    s.wait(100 * MS)
    s.inject("A", 1, una, sacks=[(una + MSS, una + 5 * MSS)])
    assert tcb.ssthresh == 2_500


def test_one_segment_one_acknowledgement() -> None:
    """However often the stack is asked for output."""
    s = opened(0)
    s.inject("A", end(0), 1, bytes(MSS))
    s.inject("A", end(1), 1, bytes(MSS))
    s.expect("A", 1, end(2))
    s.inject("A", end(7), 1, bytes(MSS))
    s.expect("A", 1, end(2))
    s.inject("A", end(2), 1, bytes(5 * MSS))
    s.expect("A", 1, end(8))
    write(s, 1)
    s.expect("A", 1, end(8), length=MSS)
    s.expect_none()


# -- the timer [RFC 6298]


def test_a_segment_sent_again_has_a_whole_timeout() -> None:
    """The first goes again by fast retransmit half a second after its time began: it is not sent a
    third time before a timeout has passed since."""
    s = opened(5, sack=True, rack=True, rto_min_ns=1 * S)
    s.wait(500 * MS)
    s.inject("A", 1, 1, sacks=[(end(1), end(4))])
    s.queue.clear()
    rto = s.tcb.rto_ns
    s.wait(rto - MS)
    s.expect_none()
    s.wait(2 * MS)
    s.expect("A", 1, length=MSS)


def test_a_steady_round_trip_has_a_spread_all_the_same() -> None:
    """Without any variation the timeout is the round trip and the clock's least step, at least."""
    s = opened(0)
    seq = 1
    for _ in range(60):
        write(s, 1)
        s.wait(100 * MS)
        seq += MSS
        s.inject("A", 1, seq)
    assert s.tcb.srtt_ns == 100 * MS
    assert s.tcb.rto_ns >= 300 * MS
