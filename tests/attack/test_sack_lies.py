"""A peer whose SACK options are absurd, tiny, contradictory, or taken back.

The retransmission queue of other systems broke under such [CVE-2019-11477, CVE-2019-11478]. Here
the scoreboard and the records of what is in flight stay bounded by the window, work per segment
by their number, and the stream goes on afterwards.
"""

from __future__ import annotations

from functools import partial
from random import Random

import pytest
from enemy import ACK, MS, held_by, lines_of, sack, seconds_of, segment, timestamps
from script_peer import PEER_ISN, S, Script
from test_hostile_segments import check_invariants


def sender(size: int = 60_000, **knobs: object) -> Script:
    """ESTABLISHED with much in flight."""
    s = Script(initial_window_segments=100, wscale=7, **knobs)  # type: ignore[arg-type]
    socket = s.passive()
    socket.send(bytes(size))
    s._collect()
    s.queue.clear()
    return s


def report(s: Script, *blocks: tuple[int, int], ack: int = 1) -> bytes:
    """An ACK with blocks of relative numbers."""
    base = s.iss or 0
    wire = [(left + base, right + base) for left, right in blocks]
    options = timestamps(s.now_ns // MS, s.last_tsval) if s.timestamps else b""
    return segment(ACK, PEER_ISN + 1, base + ack, options=options + sack(*wire))


def records(s: Script) -> int:
    return len(s.tcb.flight.records) if s.tcb.flight is not None else 0


def finish(s: Script) -> None:
    """The peer acknowledges all, and the connection is as good as new."""
    for _ in range(200):
        end = s.tcb.snd_max - (s.iss or 0)
        s.inject("A", 1, end)
        s.now_ns += MS
        s.queue.clear()
        if s.tcb.snd_una == s.tcb.snd_end:
            break
    tcb = s.tcb
    assert tcb.snd_una == tcb.snd_end
    assert tcb.scoreboard is None and tcb.recovery == 0
    s.inject("PA", 1, tcb.snd_una - (s.iss or 0), b"still there")
    assert s.socket is not None and s.socket.recv(100) == b"still there"


def test_ranges_of_nothing_that_was_sent_are_ignored() -> None:
    s = sender()
    end = s.tcb.snd_max - (s.iss or 0)
    for block in [(end, end + 1), (1, end + 1), (5000, 5000), (6000, 5000), (1 << 30, 1 << 31),
                  (-5000, -4000), (-(1 << 31), 1), (end + 1, end - 1), (0, 1 << 31)]:  # fmt: skip
        s.stack.input([report(s, block)], s.now_ns)
        check_invariants(s.stack)
        assert s.tcb.scoreboard is None, block
    finish(s)


@pytest.mark.parametrize("has_rack", [True, False])
@pytest.mark.parametrize("order", ["rising", "falling", "every_other", "random"])
def test_single_bytes_leave_few_records(order: str, has_rack: bool) -> None:
    """One byte a block, four blocks an ACK: the scoreboard and the records of transmissions stay
    bounded, whatever the order, and no ACK costs more than the ones before by much."""
    s = sender(has_rack=has_rack, timestamps=False)
    end = s.tcb.snd_max - (s.iss or 0)
    before = records(s)
    places = list(range(3000, 9000))
    if order == "falling":
        places.reverse()
    elif order == "every_other":
        places = places[::2]
    elif order == "random":
        Random(1).shuffle(places)
    costs = []
    for at in range(0, len(places) - 3, 4):
        blocks = [(place, place + 1) for place in places[at : at + 4]]
        s.stack.input([report(s, *blocks)], s.now_ns)
        s.stack.drain(s.now_ns)
        board = s.tcb.scoreboard
        assert board is None or len(board.ranges()) <= 256
        if at % 400 == 0:
            check_invariants(s.stack)
            frame = report(s, *blocks)
            costs.append(lines_of(lambda f=frame: s.stack.input([f], s.now_ns)))  # type: ignore[misc]
    assert records(s) <= before + 2 * 256 + 100
    assert max(costs) <= 3000
    assert end
    finish(s)


def test_memory_under_tiny_reports_is_bounded() -> None:
    """1,448 bytes of each segment, reported one by one."""
    s = sender(timestamps=False)

    def lie() -> None:
        for place in range(3000, 40_000, 4):
            s.stack.input([report(s, *[(p, p + 1) for p in range(place, place + 4)])], s.now_ns)
            s.stack.drain(s.now_ns)

    assert held_by(lie) < 256 * 1024


def test_tiny_reports_do_not_turn_the_retransmission_into_crumbs() -> None:
    """Holes of single bytes between reported ones: as many segments as there are holes at most,
    and no more than the scoreboard can hold. [CVE-2019-11479]"""
    s = sender(timestamps=False)
    for place in range(1449, 20_000, 8):
        blocks = [(p, p + 1) for p in range(place, place + 8, 2)]
        s.stack.input([report(s, *blocks)], s.now_ns)
    for _ in range(30):
        s._collect()
        s.wait(300 * MS)
    assert len(s.queue) <= 2 * 256 + 100 + 30


def test_reneged_data_is_sent_again() -> None:
    """The peer reports all but the first segment, then forgets it. [RFC 2018 8]"""
    s = sender()
    end = s.tcb.snd_max - (s.iss or 0)
    s.inject("A", 1, 1, sacks=[(1449, end)])
    s.queue.clear()
    s.wait(3 * S)
    got = {seen.seq for seen in s.queue if seen.data}
    assert 1 in got
    s.queue.clear()
    una = 1 + 1448
    for _ in range(200):
        s.inject("A", 1, una)
        s.wait(S)
        for seen in s.queue:
            if seen.seq <= una < seen.seq + len(seen.data):
                una = seen.seq + len(seen.data)
        s.queue.clear()
        s.steps.clear()
        if una >= 60_001:
            break
    assert una == 60_001, "the stream has stopped"
    s.inject("A", 1, una)
    assert s.tcb.snd_una == s.tcb.snd_end


def test_contradictions_at_random_end_well() -> None:
    """Reports that overlap, shrink, repeat and come beside acknowledgements in their middle."""
    random = Random(4)
    for seed in range(10):
        s = sender(100_000, has_rack=bool(seed & 1))
        for _ in range(300):
            base = s.tcb.snd_una - (s.iss or 0)
            top = s.tcb.snd_max - (s.iss or 0)
            blocks = []
            for _ in range(random.randrange(1, 4)):
                left = random.randrange(base - 2000, top + 2000)
                blocks.append((left, left + random.choice([1, 7, 1448, 20_000, -5])))
            ack = base if random.random() < 0.8 else random.randrange(base, max(base + 1, top))
            s.stack.input([report(s, *blocks, ack=ack)], s.now_ns)
            check_invariants(s.stack)
            s.stack.drain(s.now_ns)
            check_invariants(s.stack)
            if random.random() < 0.1:
                s.wait(random.choice([1, 50, 400]) * MS)
                s.queue.clear()
                s.steps.clear()
        finish(s)


def test_work_for_a_report_follows_the_window_not_the_flood() -> None:
    """The same reports again and again cost the same; and time for one is at most in proportion
    to the segments in flight."""
    s = sender(140_000)

    def flood(count: int) -> int:
        end = s.tcb.snd_max - (s.iss or 0)
        frame = report(s, (end - 1448, end), (5793, 7241), (10_000, 10_001))

        def run() -> None:
            for _ in range(count):
                s.stack.input([frame], s.now_ns)
                s.stack.drain(s.now_ns)

        return lines_of(run)

    flood(20)
    few, many = flood(200), flood(2000)
    assert many <= 10.5 * few
    assert many <= 2000 * 500


def test_time_for_reports_is_in_proportion_to_the_flight() -> None:
    """What C does inside a line does not show in the count: reports in the middle of segments,
    with ten times as much in flight, take at most about ten times as long."""
    seconds = []
    for size in (140_000, 1_400_000):
        s = Script(
            initial_window_segments=1000, wscale=10, timestamps=False, snd_default=4 << 20,
        )  # fmt: skip
        socket = s.passive()
        s.window = 65_535
        s.inject("A", 1, 1, window=65_535)
        socket.send(bytes(size))
        s._collect()
        frames = [report(s, *[(p + 20 * b, p + 20 * b + 1) for b in range(4)])
                  for p in range(3000, 60_000, 800)]  # fmt: skip
        seconds.append(seconds_of(partial(s.stack.input, frames, s.now_ns)))
    assert seconds[1] < 40 * seconds[0] + 0.01
