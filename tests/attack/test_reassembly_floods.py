"""Floods of segments ahead of a gap, as SegmentSmack sent them [CVE-2018-5390], and super-segments
of which little is new. Memory is bounded by the window, work per segment does not grow with what
is queued, and when the gap is filled the user reads the stream."""

from __future__ import annotations

from random import Random

import pytest
from enemy import ACK, MOST_LINES, held_by, lines_of, seconds_of, segment
from script_peer import PEER_ISN, Script
from test_hostile_segments import check_invariants

ORDERS = ["rising", "falling", "every_other", "random"]


def places(order: str, count: int) -> list[int]:
    """Where single bytes are sent, behind a gap of 100."""
    numbers = list(range(100, 100 + count))
    if order == "falling":
        numbers.reverse()
    elif order == "every_other":
        numbers = [100 + 2 * i for i in range(count)]
    elif order == "random":
        Random(1).shuffle(numbers)
    return numbers


def frames(s: Script, order: str, count: int) -> list[bytes]:
    ack = (s.iss or 0) + 1
    return [segment(ACK, PEER_ISN + 1 + at, ack, b"x") for at in places(order, count)]


def flood(s: Script, sent: list[bytes]) -> None:
    for at in range(0, len(sent), 64):
        s.stack.input(sent[at : at + 64], s.now_ns)
        s.stack.drain(s.now_ns)


@pytest.mark.parametrize("order", ORDERS)
def test_memory_of_single_bytes_is_bounded_by_the_account(order: str) -> None:
    s = Script(timestamps=False)
    s.passive()
    sent = frames(s, order, 20_000)
    held = held_by(lambda: flood(s, sent))
    queue = s.tcb.reassembly
    assert queue is not None
    assert queue.cost <= 2 * s.tcb.rcv_limit
    assert s.stack.engine.account.used == queue.cost
    assert held <= 2 * queue.cost + 64 * 1024
    check_invariants(s.stack)


@pytest.mark.parametrize("order", ORDERS)
def test_work_for_a_byte_ahead_of_the_gap_does_not_grow(order: str) -> None:
    s = Script(timestamps=False)
    s.passive()
    costs = []
    for sent in (frames(s, order, 300), frames(s, order, 3000)):
        s = Script(timestamps=False)
        s.passive()
        costs.append(lines_of(lambda f=sent: flood(s, f)))  # type: ignore[misc]  # noqa: B023
    assert costs[1] <= 11 * costs[0]
    assert costs[1] <= 3000 * MOST_LINES


def test_time_for_a_byte_ahead_of_the_gap_does_not_explode() -> None:
    """With a large window, so that C's own loops over the queue would show."""
    seconds = []
    for count in (4_000, 40_000):
        s = Script(timestamps=False, rcv_default=4 << 20, wscale=7)
        s.passive()
        sent = frames(s, "falling", count)
        seconds.append(seconds_of(lambda f=sent, s=s: flood(s, f)))  # type: ignore[misc]
    assert seconds[1] < 40 * seconds[0] + 0.05


@pytest.mark.parametrize("order", ORDERS)
def test_the_stream_is_whole_when_the_gap_is_filled(order: str) -> None:
    s = Script(timestamps=False)
    socket = s.passive()
    flood(s, frames(s, order, 600))
    end = 100 + (1200 if order == "every_other" else 600)
    s.inject("A", 1, 1, b"y" * end)
    got = b""
    while isinstance(data := socket.recv(1 << 16), bytes) and data:
        got += data
    assert len(got) == end
    assert got.count(b"y") <= end
    assert s.tcb.reassembly is None
    assert s.stack.engine.account.used == 0


def test_super_segments_of_which_a_byte_is_new_keep_a_byte() -> None:
    """64 KiB segments, each a byte further than the one before: a view of each frame for its new
    byte would hold a gigabyte."""
    s = Script(timestamps=False, rcv_default=1 << 20)
    s.passive()
    assert s.tcb.rcv_adv - s.tcb.rcv_nxt <= 0xFFFF
    s.inject("A", 1, 1, b"z")  # the next window is scaled
    ack = (s.iss or 0) + 1

    def lie() -> None:
        for at in range(2000):
            data = bytes(60_000)
            s.stack.input([segment(ACK, PEER_ISN + 2 + 100 + at, ack, data)], s.now_ns)
            s.stack.drain(s.now_ns)

    held = held_by(lie)
    queue = s.tcb.reassembly
    assert queue is not None and queue.length == 60_000 + 1999
    assert held < 1 << 20


def test_super_segments_that_are_mostly_old_keep_what_is_new() -> None:
    """The same in order: each repeats what is there and brings 4,100 bytes."""
    s = Script(timestamps=False, rcv_default=1 << 20, wscale=7)
    s.passive()
    ack = (s.iss or 0) + 1
    s.inject("A", 1, 1, b"z")

    def lie() -> None:
        at = 2
        for _ in range(100):
            first = max(1, at - 56_000)
            data = bytes(at - first + 4100)
            s.stack.input([segment(ACK, PEER_ISN + first, ack, data)], s.now_ns)
            s.stack.drain(s.now_ns)
            at += 4100

    held = held_by(lie)
    received = s.tcb.received()
    assert received >= 300_000
    assert held < 2 * received + 128 * 1024


def test_segments_outside_the_window_keep_nothing() -> None:
    s = Script(timestamps=False)
    s.passive()
    random = Random(3)
    ack = (s.iss or 0) + 1
    sent = [
        segment(ACK, PEER_ISN + 1 + random.randrange(70_000, 1 << 32), ack, bytes(1000))
        for _ in range(3000)
    ]
    assert held_by(lambda: flood(s, sent)) < 64 * 1024
    assert s.tcb.reassembly is None
    assert s.stack.engine.account.used == 0
