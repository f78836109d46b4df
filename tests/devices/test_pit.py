"""The interval timer: waveforms by mode, reading back, deadlines that neither drift nor pile up."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hand_clock import HandClock
from hypothesis import given
from hypothesis import strategies as st

from leulo.devices.pit import Pit, clock_begin_ns, clock_index
from leulo.devices.pit_counter import PitCounter
from leulo.irq import Line


class Bench:
    """A timer, its clock, and the edges it gave, by the clock index at which they came."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.edges: list[int] = []
        self.line = Line(self._changed)
        self.pit = Pit(self.clock, self.line)
        self.edges.clear()

    def _changed(self, level: bool) -> None:
        if level:
            self.edges.append(clock_index(self.clock.ns))

    def at(self, index: int) -> None:
        self.clock.ns = clock_begin_ns(index)

    def program(self, counter: int, mode: int, count: int) -> None:
        self.pit.write(3, 1, counter << 6 | 0x30 | mode << 1)
        self.pit.write(counter, 1, count & 0xFF)
        self.pit.write(counter, 1, count >> 8)

    def run_until(self, index: int) -> None:
        while (due := self.pit.next_deadline()) is not None and due <= clock_begin_ns(index):
            self.clock.ns = due
            self.pit.advance(due)
        self.at(index)


def waveform(counter: PitCounter, first: int, count: int) -> str:
    return "".join("#" if counter.out(clock) else "_" for clock in range(first, first + count))


def loaded(mode: int, count: int) -> PitCounter:
    """Programmed at clock 0: the count is loaded at clock 1."""
    counter = PitCounter()
    counter.set_control(0x10 | mode << 1)
    counter.write(count, 0)
    return counter


@pytest.mark.parametrize(
    ("mode", "count", "shape"),
    [
        (0, 4, "_____#######"),  # N + 1 clocks after the count was written
        (2, 4, "####_###_###_###"),
        (3, 4, "###__##__##"),
        (3, 5, "####__###__###__"),  # odd: one clock more high than low
        (4, 3, "####_#######"),
    ],
)
def test_out_has_the_datasheets_waveform(mode: int, count: int, shape: str) -> None:
    assert waveform(loaded(mode, count), 0, len(shape)) == shape


@pytest.mark.parametrize(("mode", "shape"), [(1, "####___#####"), (5, "######_#####")])
def test_hardware_triggered_modes_wait_for_the_gate(mode: int, shape: str) -> None:
    counter = PitCounter()
    counter.gate = False
    counter.set_control(0x10 | mode << 1)
    counter.write(3, 0)
    assert waveform(counter, 0, 5) == "#####"
    counter.set_gate(True, 3 if mode == 1 else 2)
    assert waveform(counter, 0, 12) == shape


@pytest.mark.parametrize("mode", [1, 5])
def test_retrigger_starts_the_count_again(mode: int) -> None:
    counter = PitCounter()
    counter.gate = False
    counter.set_control(0x10 | mode << 1)
    counter.write(10, 0)
    counter.set_gate(True, 0)
    counter.set_gate(False, 4)
    counter.set_gate(True, 5)
    assert counter.element(6) == 10
    assert counter.next_rise(6) == (16 if mode == 1 else 17)


@pytest.mark.parametrize(
    ("mode", "counts"),
    [(0, [4, 3, 2, 1, 0, 65535]), (2, [4, 3, 2, 1, 4, 3]), (3, [4, 2, 4, 2, 4, 2])],
)
def test_element_counts_as_the_datasheet_says(mode: int, counts: list[int]) -> None:
    counter = loaded(mode, 4)
    assert [counter.element(clock) for clock in range(1, 7)] == counts


def test_gate_holds_mode_0_and_restarts_mode_2() -> None:
    held = loaded(0, 10)
    held.set_gate(False, 4)
    assert held.element(50) == 7
    assert held.next_rise(50) is None
    held.set_gate(True, 60)
    assert held.element(61) == 7
    assert held.next_rise(61) == 68
    rate = loaded(2, 10)
    rate.set_gate(False, 10)
    assert rate.out(10)
    rate.set_gate(True, 20)
    assert rate.element(21) == 10
    assert rate.next_rise(21) == 31


def test_new_rate_takes_effect_at_the_end_of_the_period() -> None:
    counter = loaded(2, 6)
    counter.write(3, 2)
    assert waveform(counter, 1, 12) == "#####_##_##_"
    assert counter.next_rise(2) == 7
    counter.advance(8)
    assert counter.next_rise(8) == 10


def test_new_square_wave_takes_effect_at_the_end_of_the_half_period() -> None:
    counter = loaded(3, 8)
    counter.write(4, 2)
    assert waveform(counter, 1, 10) == "####__##__"
    assert counter.next_rise(2) == 7


def test_bcd_counts_in_decimal() -> None:
    counter = PitCounter()
    counter.set_control(0x31)
    counter.write(0x00, 0)
    counter.write(0x10, 0)  # one thousand
    assert counter.next_rise(0) == 1001
    counter.latch_count(2)
    assert (counter.read(9), counter.read(9)) == (0x99, 0x09)


def test_latched_count_stays_while_time_goes_on() -> None:
    bench = Bench()
    bench.program(0, 2, 1000)
    bench.at(11)
    bench.pit.write(3, 1, 0x00)
    bench.at(500)
    bench.pit.write(3, 1, 0x00)  # not read yet: ignored
    assert bench.pit.read(0, 1) | bench.pit.read(0, 1) << 8 == 990
    assert bench.pit.read(0, 1) | bench.pit.read(0, 1) << 8 == 501


def test_read_back_gives_status_before_count() -> None:
    bench = Bench()
    bench.program(2, 3, 0x1234)
    bench.pit.write(3, 1, 0xC8)
    status = bench.pit.read(2, 1)
    assert status == 0x80 | 0x40 | 0x30 | 3 << 1  # OUT high, not loaded yet
    assert bench.pit.read(2, 1) | bench.pit.read(2, 1) << 8 == 0x1234


def test_periodic_edges_do_not_drift() -> None:
    bench = Bench()
    bench.program(0, 2, 11932)
    bench.run_until(1_193_182 * 10)
    assert bench.edges == [1 + 11932 * k for k in range(1, 1000)]


def test_late_advance_gives_one_edge_and_keeps_the_phase() -> None:
    bench = Bench()
    bench.program(0, 3, 1000)
    bench.at(5500)
    bench.pit.advance(bench.clock.ns)
    assert bench.edges == [5500]
    assert bench.pit.next_deadline() == clock_begin_ns(6001)


def test_one_shot_of_counter_0_has_one_deadline() -> None:
    bench = Bench()
    bench.program(0, 0, 100)
    assert not bench.line.level
    bench.run_until(10_000)
    assert bench.edges == [101]
    assert bench.pit.next_deadline() is None


def test_programming_a_rate_is_no_edge() -> None:
    bench = Bench()
    bench.program(0, 2, 1000)
    assert bench.edges == []


def test_port_61_shows_counter_2_and_moves_its_gate() -> None:
    """The way a kernel measures its time stamp counter."""
    bench = Bench()
    speaker = bench.pit.speaker
    speaker.write(0, 1, 0xFD)
    assert speaker.read(0, 1) & 0x0F == 0x0D
    bench.program(2, 0, 100)
    bench.at(100)
    assert not speaker.read(0, 1) & 0x20
    bench.at(101)
    assert speaker.read(0, 1) & 0x20
    seen = set()
    for index in range(200):
        bench.at(index)
        seen.add(speaker.read(0, 1) & 0x10)
    assert seen == {0, 0x10}


def test_state_goes_over_to_another_timer() -> None:
    bench, other = Bench(), Bench()
    bench.program(0, 3, 777)
    bench.program(2, 2, 99)
    bench.pit.speaker.write(0, 1, 1)
    bench.at(1234)
    bench.pit.advance(bench.clock.ns)
    other.clock.ns = bench.clock.ns
    other.pit.load(bench.pit.save())
    assert other.pit.save() == bench.pit.save()
    assert other.pit.next_deadline() == bench.pit.next_deadline()
    for index in range(1235, 3000, 7):
        bench.at(index)
        other.at(index)
        assert [c.element(index) for c in bench.pit.counters] == [
            c.element(index) for c in other.pit.counters
        ]


accesses = st.tuples(
    st.sampled_from(["read", "write", "speaker", "advance"]),
    st.integers(0, 3),
    st.integers(0, 255),
    st.integers(0, 3000),
)


@given(st.lists(accesses, max_size=60))
def test_any_access_is_survived(script: list[tuple[str, int, int, int]]) -> None:
    """Nothing raises, peek changes nothing and tells what read will, and the next rise lies
    ahead of every `advance`."""
    bench = Bench()
    index = 0
    for action, offset, value, step in script:
        index += step
        bench.at(index)
        if action == "read":
            before = bench.pit.save()
            seen = bench.pit.peek(offset, 1)
            assert bench.pit.save() == before
            assert bench.pit.read(offset, 1) == seen
        elif action == "write":
            bench.pit.write(offset, 1, value)
        elif action == "speaker":
            bench.pit.speaker.write(0, 1, value)
            bench.pit.speaker.read(0, 1)
        else:
            bench.pit.advance(bench.clock.ns)
            due = bench.pit.next_deadline()
            assert due is None or due > bench.clock.ns


@given(st.integers(0, 5), st.integers(2, 40), st.lists(st.integers(0, 60), max_size=4))
def test_next_rise_is_where_out_rises(mode: int, count: int, gates: list[int]) -> None:
    """The deadline and the pin come from two formulas: they must agree in every mode."""
    counter = loaded(mode, count)
    clock = 0
    for step in gates:
        clock += step
        counter.set_gate(not counter.gate, clock)
    rise = counter.next_rise(clock + 1)
    shape = [counter.out(at) for at in range(clock + 1, clock + 200)]
    rises = [clock + 2 + i for i, (a, b) in enumerate(pairwise(shape)) if b > a]
    assert rise == (rises[0] if rises else None)
