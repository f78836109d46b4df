"""The records of what is in flight: always whole, sorted and counted right, whatever arrives."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from leulo.tcp.flight import END, LOST, SACKED, SENT_AT, START, STATE, Flight
from leulo.tcp.scoreboard import Scoreboard

MSS = 100
ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(
            ["send", "big", "sack", "ack", "detect", "again", "timeout", "find", "cut"]
        ),
        st.integers(0, 3000),
        st.integers(1, 700),
    ),
    max_size=60,
)


def check(flight: Flight, board: Scoreboard, una: int, top: int) -> None:
    at = una
    for record in flight.records:
        assert record[START] == at < record[END]
        at = record[END]
    assert at == top or not flight.records
    lost = [r for r in flight.records if r[STATE] & 3 == LOST]
    assert flight.lost_bytes == sum(r[END] - r[START] for r in lost)
    sacked = [r for r in flight.records if r[STATE] & 3 == SACKED]
    assert board.sacked == sum(r[END] - r[START] for r in sacked)
    assert flight.sacked_segments == sum(-(-(r[END] - r[START]) // MSS) for r in sacked)
    first = flight.next_lost()
    assert first == (lost[0] if lost else None)
    loaded = Flight.loaded(flight.save())
    assert loaded.save() == flight.save()
    assert loaded.lost_bytes == flight.lost_bytes


@settings(max_examples=300, deadline=None)
@given(ACTIONS)
def test_records_stay_whole(actions: list[tuple[str, int, int]]) -> None:
    una, top, now = 1000, 1000 + MSS, 10**9
    flight = Flight(una, top, now, MSS)
    board = Scoreboard(256)
    for name, a, b in actions:
        now += 1_000_000
        if name in ("send", "big"):
            length = MSS if name == "send" else 10 * MSS
            flight.append(top, top + length, now)
            top += length
        elif name == "sack":
            start, end = max(una, una + a % max(1, top - una)), min(top, una + a + b)
            news = board.news(start, end)
            assert start >= end or board.holds(start, end) == (not news)
            for left, right in news:
                if board.add(left, right):
                    flight.sack(left, right, now, -1, 0)
        elif name == "ack" and top > una:
            una = min(top, una + b)
            board.advance(una)
            flight.advance(una, now, -1, 0)
            if una == top:
                top += MSS
                flight = Flight(una, top, now, MSS)
                board = Scoreboard(256)
        elif name == "detect":
            flight.detect(now, a * 1000)
        elif name == "again":
            record = flight.next_lost()
            if record is not None:
                flight.send_again(record, now)
        elif name == "timeout":
            flight.lose_first(now, 0)
        elif name == "find":
            flight.find_lost()
        elif name == "cut":
            record = flight.next_lost()
            if record is not None:
                flight.cut(record, record[START] + b)
        check(flight, board, una, top)


def test_what_is_overtaken_is_lost_by_time() -> None:
    """[RFC 8985 6.2 step 5]"""
    flight = Flight(0, MSS, 0, MSS)
    for n in range(1, 5):
        flight.append(n * MSS, (n + 1) * MSS, n * 1_000_000)
    flight.sack(2 * MSS, 3 * MSS, 40_000_000, -1, 0)
    # Round trip 38 ms: 0 is overdue at 38 + 9, 1 at 39 + 9; 3 and 4 went out later.
    assert flight.detect(40_000_000, 9_000_000) == 8_000_000
    assert flight.detect(47_500_000, 9_000_000) == 500_000
    assert [r[START] for r in flight.lost] == [0]
    assert flight.detect(48_000_000, 9_000_000) == 0
    assert [r[START] for r in flight.lost] == [0, MSS]
    assert flight.lost_bytes == 2 * MSS


def test_a_repetition_says_nothing_if_it_may_be_the_original_that_arrived() -> None:
    """[RFC 8985 6.2 step 2]"""
    for echo_ms, is_believed in ((-1, True), (5, False), (60, True)):
        flight = Flight(0, MSS, 0, MSS)
        flight.append(MSS, 2 * MSS, 1_000_000)
        flight.lose_first(50_000_000, 0)
        record = flight.next_lost()
        assert record is not None
        flight.send_again(record, 50_000_000)
        flight.begin()
        flight.advance(MSS, 90_000_000, echo_ms, 40_000_000)
        assert (flight.rack_at == 50_000_000) is is_believed
        assert flight.original_end == 0
        assert flight.records[0][SENT_AT] == 1_000_000
