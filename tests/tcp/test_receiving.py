"""The receiver: acknowledgements, windows, reassembly, SACK, keepalive."""

from __future__ import annotations

import itertools
from random import Random
from struct import pack

import pytest
from script_peer import MS, S, Script

MSS = 1448


def test_single_segment_is_acknowledged_after_40_ms() -> None:
    s = Script()
    s.passive()
    s.inject("A", 1, 1, bytes(100))
    s.wait(39 * MS)
    s.expect_none()
    s.wait(2 * MS)
    s.expect("A", 1, 101, 0)


def test_first_segments_of_a_connection_are_acknowledged_at_once() -> None:
    """A sender in slow start waits for nothing else; as Linux does."""
    s = Script(quick_acks=16)
    s.passive()
    for number in range(16):
        s.inject("A", 1 + number, 1, b"x")
        s.expect("A", 1, 2 + number, 0)
    s.inject("A", 17, 1, b"x")
    s.expect_none()


def test_every_second_full_segment_is_acknowledged_at_once() -> None:
    """[RFC 5681 4.2]"""
    s = Script()
    s.passive()
    at = 1
    for i in range(6):
        s.inject("A", at, 1, bytes(MSS))
        at += MSS
        if i % 2:
            s.expect("A", 1, at, 0)
        else:
            s.expect_none()


def test_a_batch_earns_one_ack() -> None:
    s = Script()
    s.passive()
    for i in range(8):
        s.inject("A", 1 + i * MSS, 1, bytes(MSS), drain=False)
    s.expect("A", 1, 1 + 8 * MSS, 0)
    s.expect_none()


def test_answer_carries_the_ack() -> None:
    s = Script()
    socket = s.passive()
    s.inject("A", 1, 1, b"ping")
    socket.send(b"pong")
    s.expect("A", 1, 5, 4)
    s.wait(100 * MS)
    s.expect_none()


def test_gap_is_answered_at_once_with_sack() -> None:
    """[RFC 5681 4.2] [RFC 2018 4]"""
    s = Script()
    socket = s.passive()
    s.inject("A", 11, 1, b"b" * 10)
    s.expect("A", 1, 1, sacks=[(11, 21)])
    s.inject("A", 31, 1, b"d" * 10)
    s.expect("A", 1, 1, sacks=[(31, 41), (11, 21)])
    s.inject("A", 51, 1, b"f" * 10)
    s.expect("A", 1, 1, sacks=[(51, 61), (31, 41), (11, 21)])
    s.inject("A", 21, 1, b"c" * 10)
    s.expect("A", 1, 1, sacks=[(11, 41), (51, 61)])
    s.inject("A", 1, 1, b"a" * 10)
    s.expect("A", 1, 41, sacks=[(51, 61)])
    s.inject("A", 41, 1, b"e" * 10)
    s.expect("A", 1, 61, sacks=[])
    s.do("recv", socket.recv(100), b"".join(c.encode() * 10 for c in "abcdef"))


def test_no_sack_without_permission() -> None:
    s = Script(sack=False)
    s.passive()
    s.inject("A", 11, 1, b"b" * 10)
    s.expect("A", 1, 1, sacks=[])


def test_duplicate_is_answered_at_once() -> None:
    s = Script()
    s.passive()
    s.inject("A", 1, 1, b"abc")
    s.wait(50 * MS)
    s.expect("A", 1, 4)
    s.inject("A", 1, 1, b"abc")
    s.expect("A", 1, 4)


def test_overlap_keeps_the_first_bytes() -> None:
    s = Script()
    socket = s.passive()
    s.inject("A", 4, 1, b"DEF")
    s.inject("A", 2, 1, b"bcdefgh")
    s.inject("A", 1, 1, b"abX")
    assert socket.recv(100) == b"abcDEFgh"


@pytest.mark.parametrize("seed", range(20))
def test_any_order_gives_the_stream(seed: int) -> None:
    random = Random(seed)
    data = random.randbytes(3000)
    pieces = []
    at = 0
    while at < len(data):
        size = random.randrange(1, 200)
        pieces.append((at, data[at : at + size]))
        at += size
    for _ in range(20):
        left = random.randrange(len(data) - 1)
        pieces.append((left, data[left : left + random.randrange(1, 300)]))
    random.shuffle(pieces)
    s = Script()
    socket = s.passive()
    for at, piece in pieces:
        s.inject("A", 1 + at, 1, piece)
        queue = socket.tcb.reassembly
        if queue is not None:
            starts = sorted(queue.sack_blocks(1000))
            assert all(a[1] < b[0] for a, b in itertools.pairwise(starts))
            assert queue.length == sum(b - a for a, b in starts)
    assert socket.recv(10_000) == data
    assert socket.tcb.reassembly is None


def test_window_shrinks_as_data_waits_and_opens_as_it_is_read() -> None:
    s = Script(rcv_default=20_000, rcv_max=20_000, rounds_first_window=False)
    socket = s.passive()
    at = 1
    last = 1 << 20
    while True:
        s.inject("A", at, 1, bytes(1000))
        at += 1000
        s.wait(50 * MS)
        seen = s.expect("A", 1, at)
        assert seen.window <= last
        last = seen.window
        if last == 0:
            break
    # beyond the window: nothing is taken, the answer says so
    s.inject("A", at, 1, b"x")
    assert s.expect("A", 1, at).window == 0
    assert socket.recv(100) == bytes(100)
    s.expect_none()  # a small step is not worth a segment [RFC 9293 3.8.6.2.2]
    assert len(socket.recv(15_000)) == 15_000
    assert s.expect("A", 1, at).window >= 7_000 >> socket.tcb.rcv_wscale


def test_window_never_moves_left() -> None:
    s = Script(rcv_default=30_000)
    socket = s.passive()
    edge = 0
    at = 1
    random = Random(5)
    for _ in range(300):
        tcb = socket.tcb
        size = random.randrange(1, 1448)
        if at + size <= edge or not edge:
            s.inject("A", at, 1, bytes(size))
            at += size
        socket.recv(random.randrange(1, 2000))
        if random.random() < 0.1:
            socket.setsockopt(1, 8, pack("<i", random.randrange(2000, 40_000)))
        s.wait(50 * MS)
        for seen in s.queue:
            right = seen.ack + (seen.window << tcb.rcv_wscale)
            assert right >= edge, (right, edge)
            edge = right
        s.queue.clear()


def test_zero_window_still_takes_ack_and_rst() -> None:
    """[RFC 9293 3.10.7.4 first]"""
    s = Script(rcv_default=4000, rcv_max=4000)
    socket = s.passive()
    socket.send(b"data")
    s.expect("A", 1, 1, 4)
    at = 1
    while socket.tcb.rcv_adv > socket.tcb.rcv_nxt:
        size = min(1000, socket.tcb.rcv_adv - socket.tcb.rcv_nxt)
        s.inject("A", at, 1, bytes(size))
        at += size
    s.queue.clear()
    s.inject("A", at, 5, b"z")  # a probe that also acknowledges
    assert socket.tcb.snd_una == socket.tcb.snd_max
    assert s.expect("A", 5, at).window == 0
    s.inject("R", at)
    s.expect_state("CLOSED")


def test_keepalive_asks_and_gives_up() -> None:
    """[RFC 9293 3.8.4]"""
    s = Script()
    socket = s.passive()
    for name, value in ((4, 10), (5, 5), (6, 3)):
        s.do("setsockopt", socket.setsockopt(6, name, pack("<i", value)), 0)
    socket.setsockopt(1, 9, pack("<i", 1))
    s.wait(9 * S)
    s.expect_none()
    s.wait(2 * S)
    s.expect("A", 0, 1, 0)
    s.inject("A", 1, 1)
    s.wait(8 * S)
    s.expect_none()
    s.wait(3 * S)
    s.expect("A", 0, 1, 0)
    s.wait(5 * S)
    s.expect("A", 0, 1, 0)
    s.wait(5 * S)
    s.expect("A", 0, 1, 0)
    s.wait(5 * S)
    s.expect("RA", 1, 1)
    s.expect_state("CLOSED")
    s.do("recv", socket.recv(1), -110)


def test_keepalive_of_the_peer_is_answered() -> None:
    s = Script()
    s.passive()
    s.inject("A", 0, 1)
    s.expect("A", 1, 1)
    s.wait(1 * S)
    s.inject("A", 0, 1, b"\0")
    s.expect("A", 1, 1)


def test_invalid_pure_acks_are_answered_at_a_limited_rate() -> None:
    s = Script()
    s.passive()
    for _ in range(50):
        s.inject("A", 900_000, 1)
    s.expect("A", 1, 1)
    s.expect_none()
    s.wait(600 * MS)
    s.inject("A", 900_000, 1)
    s.expect("A", 1, 1)


def test_challenges_are_limited() -> None:
    """All connections of a stack together. [RFC 5961 10]"""
    s = Script(challenge_acks_per_s=10, invalid_ack_interval_ns=0)
    s.passive()
    for _ in range(100):
        s.inject("S", 5)
    assert 5 <= len(s.queue) <= 20


def test_tiny_segments_cost_memory_in_proportion() -> None:
    s = Script()
    socket = s.passive()
    for i in range(20_000):
        s.inject("A", 1 + i, 1, b"x", drain=False)
    s._collect()
    assert socket.tcb.receive_buffer.length == 20_000
    assert len(socket.tcb.receive_buffer._pieces) < 200
    assert len(socket.recv(30_000)) == 20_000


def test_many_holes_are_bounded() -> None:
    s = Script()
    socket = s.passive()
    for i in range(5_000):
        s.inject("A", 3 + 2 * i, 1, b"x", drain=False)
    assert len(socket.tcb.reassembly.sack_blocks(100_000)) <= 256
    s.expect_drop("tcp_reassembly_full")


def test_timestamp_echo_is_the_earliest_unacknowledged() -> None:
    """[RFC 7323 4.3]"""
    s = Script()
    s.passive()
    s.inject("A", 1, 1, b"a", tsval=s.now_ns // MS + 10)
    s.inject("A", 2, 1, b"b", tsval=s.now_ns // MS + 20)
    s.wait(50 * MS)
    seen = s.expect("A", 1, 3)
    assert seen.tcp.timestamps[1] == (1_000_000 + 10)


def test_quickack_option() -> None:
    s = Script()
    socket = s.passive()
    socket.setsockopt(6, 12, pack("<i", 1))
    s.inject("A", 1, 1, b"a")
    s.expect("A", 1, 2)


@pytest.mark.parametrize("trims", [True, False])
def test_segment_beyond_the_window_is_cut_or_taken_whole(trims: bool) -> None:
    """[RFC 9293 3.10.7.4 first]: cut; Linux takes or drops the whole of it."""
    s = Script(rcv_default=2_000, rounds_first_window=False, trims_to_window=trims)
    s.passive()
    s.inject("A", 1, 1, bytes(3_000))
    s.wait(40 * MS)
    s.expect("A", 1, 2_001 if trims else 3_001)
    s.inject("A", 2_001 if trims else 3_001, 1, bytes(10))
    s.expect("A", 1, 2_001 if trims else 3_001)


def test_duplicate_in_the_reassembly_queue_is_reported() -> None:
    """A segment that fills a gap and repeats what was behind it. [RFC 2883 4.1]"""
    s = Script()
    s.passive()
    s.inject("A", 11, 1, bytes(10))
    s.expect("A", 1, 1)
    s.inject("A", 1, 1, bytes(15))
    s.expect("A", 1, 21, sacks=[(11, 16)])


def test_fin_alone_is_taken_though_the_window_is_closed() -> None:
    """Who sends it into a closed window would send it for ever."""
    s = Script(rcv_default=1_000, rounds_first_window=False)
    s.passive()
    s.inject("A", 1, 1, bytes(1_000))
    s.wait(40 * MS)
    assert s.expect("A", 1, 1_001).window == 0
    s.inject("FA", 1_001, 1)
    s.wait(40 * MS)
    s.expect("A", 1, 1_002)
    s.expect_state("CLOSE_WAIT")


def test_segment_ahead_of_a_gap_shows_the_peers_segment_size() -> None:
    """Steps of the window and TCP_INFO follow it, as in Linux."""
    s = Script()
    s.passive()
    assert s.tcb.rcv_mss == 536
    s.inject("A", 2001, 1, bytes(1000))
    assert s.tcb.rcv_mss == 1000


@pytest.mark.parametrize("size", [2048, 3000, 4096])
def test_a_small_buffer_that_was_read_is_told(size: int) -> None:
    """One of less than two segments is empty again, and the peer would have to ask for ever.
    [RFC 9293 3.8.6.2.2]"""
    s = Script()
    s.listen()
    assert s.listener is not None
    s.listener.setsockopt(1, 8, size.to_bytes(4, "little"))  # SO_RCVBUF
    s.inject("S", 0)
    window = s.expect("SA", 0, 1).window
    s.inject("A", 1, 1)
    socket = s.accept()
    at = 1
    while at <= window:
        part = min(1448, window + 1 - at)
        s.inject("A", at, 1, bytes(part))
        at += part
    s.wait(50 * MS)
    s.queue.clear()
    s.do("recv", len(socket.recv(9000)), window)
    assert s.expect("A", 1, 1 + window, 0).window
