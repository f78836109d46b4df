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
    """When each key came last, the first one first."""

    def __init__(self) -> None:
        self.since: dict[int, int] = {}
        self.evicted = 0

    def add(self, key: int, now: int) -> None:
        if len(self.since) >= LIMIT:
            del self.since[next(iter(self.since))]
            self.evicted += 1
        self.restart(key, now)

    def restart(self, key: int, now: int) -> None:
        self.since.pop(key, None)
        self.since[key] = now

    def advance(self, now: int) -> None:
        self.since = {k: at for k, at in self.since.items() if at > now - DURATION}


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
        record = table.records.get(key_of(number))
        assert (record is None) == (number not in plain.since)
        if what == "open" and record is None:
            add(table, number, now)
            plain.add(number, now)
        elif what == "restart" and record is not None:
            younger = table.restart(record, now)
            assert (younger.rcv_nxt, younger.since_ns) == (number, now)
            plain.restart(number, now)
        elif what == "remove" and record is not None:
            table.remove(record)
            table.remove(record)  # and who still holds it may say so again
            del plain.since[number]
        elif what == "advance":
            table.advance(now)
            plain.advance(now)
        elif what == "move":
            state = table.save()
            table = TimeWaitTable(DURATION, LIMIT)
            table.load(state)
        found = {r.key: (r.since_ns, r.rcv_nxt) for r in table.values()}
        assert found == {key_of(k): (at, k) for k, at in plain.since.items()}
        assert table.evicted == plain.evicted
        if plain.since:  # it may be asked too early, never too late
            assert table.order[0].since_ns <= min(plain.since.values())


def test_a_peer_that_repeats_its_fin_for_ever_fills_no_memory() -> None:
    table = TimeWaitTable(DURATION, 10_000)
    for number in range(100):
        add(table, number, 1)
    oldest = table.records[key_of(0)]
    for now in range(2, 20_000):
        table.restart(table.records[key_of(1 + now % 99)], now)
        assert len(table.order) <= 2 * 100 + 256 + 1
    assert table.records[key_of(0)] is oldest and len(table) == 100
