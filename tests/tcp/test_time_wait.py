"""Protects: the table of TIME_WAIT, whose order has places of records that are gone, does what a
plain one does, is saved in the middle of anything, and does not grow by ended records."""

from __future__ import annotations

from typing import Final

from hypothesis import given
from hypothesis import strategies as st
from tcp_world import Wire, connect, make_stack

from leulo.tcp.tcb import Tcb
from leulo.tcp.time_wait import TimeWaitTable

DURATION: Final = 1_000
LIMIT: Final = 20


def make_tcb() -> Tcb:
    client, _, _ = connect(Wire(make_stack(1), make_stack(2)))
    assert client.tcb is not None
    return client.tcb


TCB: Final = make_tcb()


class PlainTable:
    """Places in the order they came, each with a key until it is over, and how long each lives."""

    def __init__(self) -> None:
        self.places: list[int | None] = []
        self.until: dict[int, int] = {}
        self.since: dict[int, int] = {}
        self.evicted = 0

    def add(self, key: int, now: int, until: int) -> None:
        if len(self.places) == LIMIT:
            oldest = self.places.pop(0)
            if oldest is not None:
                del self.until[oldest]
                self.evicted += 1
        self.places.append(key)
        self.since[key] = now
        self.until[key] = until

    def remove(self, key: int) -> None:
        self.places[self.places.index(key)] = None
        del self.until[key]

    def advance(self, now: int) -> None:
        """What was restarted goes behind when its turn comes."""
        while self.places and (
            self.places[0] is None or self.since[self.places[0]] <= now - DURATION
        ):
            key = self.places.pop(0)
            if key is not None:
                until = self.until.pop(key)
                if until > now:
                    self.add(key, until - DURATION, until)


def key_of(number: int) -> bytes:
    return number.to_bytes(12, "big")


def add(table: TimeWaitTable, number: int, now: int) -> None:
    TCB.key = key_of(number)
    TCB.rcv_nxt = TCB.rcv_adv = number
    table.add(TCB, now)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["open", "restart", "remove", "advance", "move"]),
            st.integers(0, 30),
            st.integers(0, 400),
        ),
        max_size=120,
    )
)
def test_the_table_does_what_a_plain_one_does(steps: list[tuple[str, int, int]]) -> None:
    table, plain, now = TimeWaitTable(DURATION, LIMIT), PlainTable(), 1
    for what, number, pause in steps:
        now += pause
        record = table.get(key_of(number))
        assert (record is None) == (number not in plain.until)
        if what == "open" and record is None:
            add(table, number, now)
            plain.add(number, now, now + DURATION)
        elif what == "restart" and record is not None:
            table.restart(record, now)
            plain.until[number] = now + DURATION
        elif what == "remove" and record is not None:
            table.remove(record)
            table.remove(record)  # and who still holds it may say so again
            table.restart(record, now)
            plain.remove(number)
        elif what == "advance":
            table.advance(now)
            # Dead places before the first that is not due are looked at only when something is.
            plain.advance(now)
        elif what == "move":
            state = table.save()
            table = TimeWaitTable(DURATION, LIMIT)
            table.load(state)
            plain.places = [key for key in plain.places if key is not None]
        found = {r.key: (r.since_ns, r.expires_ns, r.rcv_nxt) for r in table.values()}
        assert found == {
            key_of(key): (plain.since[key], until, key) for key, until in plain.until.items()
        }
        assert sorted(found) == sorted(key for key, _ in table.held())
        assert len(table) == len(found) and table.evicted == plain.evicted
        if found:  # it may be asked too early, never too late
            assert 0 < table.next_ns <= next(iter(found.values()))[0] + DURATION


def test_a_peer_that_repeats_its_fin_for_ever_takes_no_place() -> None:
    table = TimeWaitTable(DURATION, 200)
    for number in range(100):
        add(table, number, 1)
    for now in range(2, 20_000):
        record = table.get(key_of(1 + now % 99))
        assert record is not None
        table.restart(record, now)
    assert table.get(key_of(0)) is not None and len(table) == 100 and not table.evicted


def test_memory_is_given_back_when_nobody_is_left() -> None:
    table = TimeWaitTable(DURATION, 65_536)
    assert table.bytes == 0
    add(table, 1, 5)
    assert 0 < table.bytes / 65_536 < 300  # a record, with its part of the index
    table.advance(5 + DURATION)
    assert (len(table), table.bytes, table.next_ns) == (0, 0, 0)
    add(table, 2, 5_000)
    assert table.get(key_of(1)) is None
    assert table.get(key_of(2)) is not None
