"""The sender: Nagle, cork, windows, probes, retransmission, recovery."""

from __future__ import annotations

import itertools
from struct import pack

import pytest
from script_peer import MS, S, Script

NODELAY = (6, 1)
CORK = (6, 3)
MSS = 1448  # 1460 less timestamps


def on(value: int = 1) -> bytes:
    return pack("<i", value)


def test_segments_are_full_and_the_last_is_pushed() -> None:
    s = Script()
    socket = s.passive()
    s.do("send", socket.send(bytes(3 * MSS + 10)), 3 * MSS + 10)
    for i in range(3):
        seen = s.expect("A", 1 + i * MSS, 1, MSS)
        assert "P" not in seen.flags
    assert "P" in s.expect("A", 1 + 3 * MSS, 1, 10).flags


def test_initial_window_is_ten_segments() -> None:
    """[RFC 6928 2]"""
    s = Script()
    socket = s.passive()
    socket.send(bytes(30 * MSS))
    for i in range(10):
        s.expect("A", 1 + i * MSS, 1, MSS)
    s.expect_none()
    s.inject("A", 1, 1 + 2 * MSS)
    for i in range(10, 14):
        s.expect("A", 1 + i * MSS, 1, MSS)
    s.expect_none()


def test_nagle_holds_the_second_small_segment() -> None:
    """[RFC 9293 3.7.4]"""
    s = Script()
    socket = s.passive()
    socket.send(b"a")
    s.expect("A", 1, 1, 1)
    socket.send(b"b")
    socket.send(b"c")
    s.expect_none()
    s.inject("A", 1, 2)
    s.expect("A", 2, 1, 2)


def test_nodelay_sends_at_once() -> None:
    s = Script()
    socket = s.passive()
    s.do("setsockopt", socket.setsockopt(*NODELAY, on()), 0)
    for i in range(3):
        socket.send(b"a")
        s.expect("A", 1 + i, 1, 1)


def test_setting_nodelay_lets_out_what_nagle_held() -> None:
    s = Script()
    socket = s.passive()
    socket.send(b"a")
    s.expect("A", 1, 1, 1)
    socket.send(b"b")
    s.expect_none()
    socket.setsockopt(*NODELAY, on())
    s.expect("A", 2, 1, 1)


def test_cork_holds_until_it_is_taken_out() -> None:
    s = Script()
    socket = s.passive()
    socket.setsockopt(*CORK, on())
    socket.send(b"head")
    socket.send(bytes(MSS))
    s.expect("A", 1, 1, MSS)
    s.expect_none()
    socket.setsockopt(*CORK, on(0))
    s.expect("A", 1 + MSS, 1, 4)


def test_cork_holds_for_200_ms_at_most() -> None:
    s = Script()
    socket = s.passive()
    socket.setsockopt(*CORK, on())
    socket.send(b"head")
    s.wait(199 * MS)
    s.expect_none()
    s.wait(2 * MS)
    s.expect("A", 1, 1, 4)


def test_more_holds_a_partial_segment() -> None:
    s = Script()
    socket = s.passive()
    socket.send(b"head", more=True)
    s.expect_none()
    socket.send(b"tail")
    s.expect("A", 1, 1, 8)


def test_fin_goes_with_the_last_data() -> None:
    s = Script()
    socket = s.passive()
    socket.send(b"bye")
    socket.shutdown(1)
    s.expect("FA", 1, 1, 3)


def test_peer_window_is_the_limit() -> None:
    s = Script()
    s.window = 2000
    socket = s.passive()
    socket.send(bytes(5000))
    s.expect("A", 1, 1, MSS)
    s.expect_none()  # 552 bytes would fit, but that would be silly
    s.inject("A", 1, 1 + MSS)
    s.expect("A", 1 + MSS, 1, MSS)


def test_zero_window_is_probed_with_backoff_and_opens() -> None:
    """[RFC 9293 3.8.6.1]"""
    s = Script(probes_with_data=True)
    socket = s.passive()
    s.inject("A", 1, 1, window=0)
    socket.send(b"data")
    s.expect_none()
    gaps = []
    last = s.now_ns
    for _ in range(4):
        while not s.queue:
            s.wait(10 * MS)
        s.expect("A", 1, 1, 1)
        gaps.append((s.now_ns - last) // MS)
        last = s.now_ns
        s.inject("A", 1, 1, window=0)
        s.expect_none()
    assert all(1.8 < b / a < 2.2 for a, b in itertools.pairwise(gaps)), gaps
    s.inject("A", 1, 1, window=1000)
    s.expect("A", 1, 1, 4)
    s.inject("A", 1, 5)
    s.expect_none()
    assert socket.tcb.backoff == 0


def test_zero_window_probe_that_is_taken() -> None:
    s = Script(probes_with_data=True)
    socket = s.passive()
    s.inject("A", 1, 1, window=0)
    socket.send(b"data")
    while not s.queue:
        s.wait(10 * MS)
    s.expect("A", 1, 1, 1)
    s.inject("A", 1, 2, window=1000)
    s.expect("A", 2, 1, 3)


def test_zero_window_is_probed_for_ever_while_answered() -> None:
    """[RFC 9293 3.8.6.1]: the connection must stay open."""
    s = Script(probes_with_data=True)
    socket = s.passive()
    s.inject("A", 1, 1, window=0)
    socket.send(b"data")
    for _ in range(40):
        while not s.queue:
            s.wait(1 * S)
        s.expect("A", 1, 1, 1)
        s.inject("A", 1, 1, window=0)
    s.expect_state("ESTABLISHED")


def test_zero_window_of_a_dead_peer_ends() -> None:
    s = Script(retries=4)
    socket = s.passive()
    s.inject("A", 1, 1, window=0)
    socket.send(b"data")
    s.wait(400 * S)
    s.expect_state("CLOSED")
    s.do("SO_ERROR", socket.getsockopt(1, 4), pack("<i", 110))


def test_zero_window_is_probed_by_an_old_number_as_linux_does() -> None:
    """Nothing new is sent, the answers are no duplicate ACKs, and the window opens by one."""
    s = Script()
    socket = s.passive()
    s.inject("A", 1, 1, window=0)
    socket.send(b"data")
    for _ in range(4):
        while not s.queue:
            s.wait(10 * MS)
        s.expect("A", 0, 1, 0)
        s.inject("A", 1, 1, window=0)
        s.expect_none()
    assert socket.tcb.dupacks == 0
    s.inject("A", 1, 1, window=1000)
    s.expect("A", 1, 1, 4)


def test_window_closed_over_data_in_flight_is_probed() -> None:
    s = Script()
    socket = s.passive()
    socket.send(bytes(MSS))
    s.expect("A", 1, 1, MSS)
    s.inject("A", 1, 1, window=0)
    while not s.queue:
        s.wait(10 * MS)
    s.expect("A", 1, 1, MSS)
    s.inject("A", 1, 1, window=60000)
    s.expect("A", 1, 1, MSS)


@pytest.mark.parametrize("size", [1000, 2000])
def test_fin_behind_data_waits_for_the_window(size: int) -> None:
    """It has a number of its own, and that is beyond a window which the data fills.
    [RFC 9293 3.4, 3.8.6]"""
    s = Script()
    socket = s.passive()
    s.inject("A", 1, 1, window=size)
    socket.send(bytes(size))
    socket.shutdown(1)
    sent = 0
    while s.queue or not sent:
        sent += len(s.expect("A", 1 + sent, 1).data)
    assert sent == size
    s.inject("A", 1, 1 + size, window=1)
    s.expect("FA", 1 + size, 1, 0)


def test_fin_waits_for_a_window() -> None:
    """Probes have an old number, and the FIN goes when there is room for it"""
    s = Script()
    socket = s.passive()
    s.inject("A", 1, 1, window=0)
    socket.shutdown(1)
    for _ in range(2):
        while not s.queue:
            s.wait(100 * MS)
        s.expect("A", 0, 1, 0)
        s.inject("A", 1, 1, window=0)
    s.inject("A", 1, 1, window=100)
    s.expect("FA", 1, 1, 0)
    s.inject("A", 1, 2, window=0)
    s.expect_state("FIN_WAIT_2")


def test_fin_beyond_a_zero_window_gets_through() -> None:
    s = Script(probes_with_data=True)
    socket = s.passive()
    s.inject("A", 1, 1, window=0)
    socket.shutdown(1)
    while not s.queue:
        s.wait(100 * MS)
    s.expect("FA", 1, 1, 0)
    s.inject("A", 1, 2, window=0)
    s.expect_state("FIN_WAIT_2")


@pytest.mark.parametrize("has_sack", [False, True])
def test_retransmission_backs_off(has_sack: bool) -> None:
    """[RFC 6298 5.5]; with SACK the first is a loss probe and doubles nothing [RFC 8985 7]"""
    s = Script(sack=has_sack)
    socket = s.passive()
    socket.send(b"data")
    s.expect("A", 1, 1, 4)
    if has_sack:
        s.wait(201 * MS)
        s.expect("A", 1, 1, 4)
    last = s.now_ns
    gaps = []
    for _ in range(6):
        while not s.queue:
            s.wait(MS)
        s.expect("A", 1, 1, 4)
        gaps.append((s.now_ns - last) / MS)
        last = s.now_ns
    assert 195 <= gaps[0] <= 230, gaps
    assert all(1.9 < b / a < 2.1 for a, b in itertools.pairwise(gaps)), gaps


def test_retransmission_gives_up() -> None:
    s = Script(retries=5)
    socket = s.passive()
    socket.send(b"data")
    s.wait(60 * S)
    s.expect_state("CLOSED")
    s.do("recv", socket.recv(1), -110)
    s.do("recv", socket.recv(1), b"")
    s.do("send", socket.send(b"x"), -32)


@pytest.mark.parametrize("has_sack", [False, True])
def test_user_timeout(has_sack: bool) -> None:
    """To the point, though the next retransmission would be later. [RFC 5482]"""
    s = Script(sack=has_sack)
    socket = s.passive()
    socket.setsockopt(6, 18, on(3000))
    socket.send(b"data")
    s.wait(2999 * MS)
    s.expect_state("ESTABLISHED")
    s.wait(2 * MS)
    s.expect_state("CLOSED")
    s.do("recv", socket.recv(1), -110)


def test_an_acknowledgement_after_a_timeout_is_in_the_peers_window() -> None:
    """Without SACK sending begins again at snd_una; an ACK with that number would be old to the
    peer, and two peers in that state would never hear each other. [RFC 9293 3.10.7.4]"""
    s = Script(sack=False)
    socket = s.passive()
    socket.send(bytes(4 * MSS))
    for i in range(4):
        s.expect("A", 1 + i * MSS, 1, MSS)
    s.wait(300 * MS)
    s.expect("A", 1, 1, MSS)
    s.inject("A", 1, 1, b"x")
    s.wait(40 * MS)
    s.expect("A", 1 + 4 * MSS, 2, 0)


def test_three_duplicates_cause_a_fast_retransmit() -> None:
    """[RFC 5681 3.2] without SACK"""
    s = Script(sack=False, congestion="reno")
    socket = s.passive()
    socket.send(bytes(10 * MSS))
    for i in range(10):
        s.expect("A", 1 + i * MSS, 1, MSS)
    s.inject("A", 1, 1)
    s.inject("A", 1, 1)
    s.expect_none()
    s.inject("A", 1, 1)
    s.expect("A", 1, 1, MSS)
    s.expect_none()
    tcb = socket.tcb
    assert tcb.ssthresh == 5 * MSS
    s.inject("A", 1, 1 + 4 * MSS)  # partial: the next one is lost too
    s.expect("A", 1 + 4 * MSS, 1, MSS)
    s.inject("A", 1, 1 + 10 * MSS)
    assert tcb.recovery == 0
    assert tcb.cwnd <= 5 * MSS


def test_limited_transmit() -> None:
    """[RFC 3042 2]"""
    s = Script(sack=False)
    socket = s.passive()
    socket.send(bytes(20 * MSS))
    for i in range(10):
        s.expect("A", 1 + i * MSS, 1, MSS)
    s.inject("A", 1, 1)
    s.expect("A", 1 + 10 * MSS, 1, MSS)
    s.inject("A", 1, 1)
    s.expect("A", 1 + 11 * MSS, 1, MSS)
    s.expect_none()


def test_sack_retransmits_exactly_the_holes() -> None:
    """[RFC 8985 6.2]"""
    s = Script(has_tail_probe=False)
    socket = s.passive()
    socket.send(bytes(10 * MSS))
    for i in range(10):
        s.expect("A", 1 + i * MSS, 1, MSS)

    def edge(i: int) -> int:
        return 1 + i * MSS

    s.wait(10 * MS)
    # 0 and 4 are lost
    s.inject("A", 1, 1, sacks=[(edge(1), edge(2))])
    s.inject("A", 1, 1, sacks=[(edge(1), edge(3))])
    s.expect_none()
    s.inject("A", 1, 1, sacks=[(edge(1), edge(4))])
    s.expect("A", 1, 1, MSS)
    for top in (6, 7, 8, 9):
        s.inject("A", 1, 1, sacks=[(edge(5), edge(top)), (edge(1), edge(4))])
    s.inject("A", 1, 1, sacks=[(edge(5), edge(10)), (edge(1), edge(4))])
    s.expect("A", edge(4), 1, MSS)
    s.expect_none()
    s.inject("A", 1, edge(4), sacks=[(edge(5), edge(10))])
    s.expect_none()
    s.inject("A", 1, edge(10))
    s.expect_none()
    assert socket.tcb.scoreboard is None and socket.tcb.recovery == 0
    assert socket.tcb.retransmits == 2


def test_timeout_sends_everything_again_but_what_is_sacked() -> None:
    s = Script(has_rack=False)
    socket = s.passive()
    socket.send(bytes(4 * MSS))
    for i in range(4):
        s.expect("A", 1 + i * MSS, 1, MSS)
    s.inject("A", 1, 1, sacks=[(1 + 2 * MSS, 1 + 3 * MSS)])
    s.wait(300 * MS)
    s.expect("A", 1, 1, MSS)
    s.expect_none()
    assert socket.tcb.cwnd == MSS
    s.inject("A", 1, 1 + MSS, sacks=[(1 + 2 * MSS, 1 + 3 * MSS)])
    s.expect("A", 1 + MSS, 1, MSS)
    s.expect("A", 1 + 3 * MSS, 1, MSS)
    s.inject("A", 1, 1 + 4 * MSS)
    s.expect_none()


def test_absurd_sacks_are_ignored() -> None:
    s = Script()
    socket = s.passive()
    socket.send(bytes(3 * MSS))
    for i in range(3):
        s.expect("A", 1 + i * MSS, 1, MSS)
    for left, right in ((5, 4), (1, 1 << 30), (0x7FFFFFFF, 0x80000001), (-100, -50), (9, 9)):
        s.inject("A", 1, 1, sacks=[(left, right)])
    s.expect_none()
    assert socket.tcb.scoreboard is None


def test_round_trip_time_is_measured() -> None:
    s = Script()
    socket = s.passive()
    for _ in range(20):
        socket.send(b"x")
        s.wait(80 * MS)
        s.expect("A")
        s.inject("A", 1, socket.tcb.snd_max - socket.tcb.iss)
    assert 70 * MS < socket.tcb.srtt_ns < 85 * MS
    assert 200 * MS <= socket.tcb.rto_ns < 400 * MS


def test_retransmitted_segments_are_not_timed() -> None:
    """Karn's algorithm [RFC 6298 3]"""
    s = Script(timestamps=False)
    socket = s.passive()
    before = socket.tcb.srtt_ns
    socket.send(b"data")
    s.wait(5 * S)
    s.inject("A", 1, 5)
    assert socket.tcb.srtt_ns == before


def test_idle_restarts_slow_start() -> None:
    """[RFC 5681 4.1]"""
    s = Script(wscale=7)
    socket = s.passive()
    for _ in range(30):
        socket.send(bytes(10 * MSS))
        s.queue.clear()
        s._collect()
        s.inject("A", 1, socket.tcb.snd_max - socket.tcb.iss, window=5000)
    grown = socket.tcb.cwnd
    assert grown > 12 * MSS
    s.queue.clear()
    s.wait(10 * S)
    socket.send(bytes(40 * MSS))
    s._collect()
    assert len(s.queue) == 10


@pytest.mark.parametrize("mss", [0, 1, 20, 100, 536, 9000])
def test_any_mss_of_the_peer(mss: int) -> None:
    s = Script(mss=mss)
    socket = s.passive()
    socket.send(bytes(5000))
    s._collect()
    sizes = [len(seen.data) for seen in s.queue]
    assert sizes and 24 <= max(sizes) <= MSS


def test_mss_option_absent_means_536() -> None:
    """[RFC 9293 3.7.1]"""
    s = Script(timestamps=False)
    s.listen()
    s.inject("S", 0, options=[])
    s.expect("SA", 0, 1)
    s.inject("A", 1, 1)
    socket = s.accept()
    socket.send(bytes(2000))
    s.expect("A", 1, 1, 536)


def test_path_mtu_report_makes_segments_smaller() -> None:
    """[RFC 1191 6]; an unbelievable report is ignored [RFC 5927 4.1]"""
    s = Script()
    socket = s.passive()
    socket.send(bytes(3 * MSS))
    for i in range(3):
        s.expect("A", 1 + i * MSS, 1, MSS)
    tcb = socket.tcb
    from leulo.tcp.icmp_errors import icmp_error_arrives

    ends = ((tcb.local, tcb.local_port), (tcb.peer, tcb.peer_port))
    engine = s.stack.engine
    wrong = (tcb.snd_una + 100_000) & 0xFFFFFFFF
    assert icmp_error_arrives(engine, *ends, wrong, 3, True, 1000, 4) == "icmp_sequence"
    assert icmp_error_arrives(engine, *ends, tcb.snd_una & 0xFFFFFFFF, 3, True, 68, 4)
    assert icmp_error_arrives(engine, *ends, tcb.snd_una & 0xFFFFFFFF, 3, True, 1000, 4) is None
    s.expect("A", 1, 1, 948)
