"""The real-time clock: the time it tells and is told, alarms, and the periodic interrupt."""

from __future__ import annotations

from datetime import UTC, datetime

from hand_clock import HandClock
from hypothesis import given
from hypothesis import strategies as st

from leulo.devices.calendar_date import from_seconds, to_seconds
from leulo.devices.rtc import Rtc
from leulo.irq import Line
from leulo.units import NS_PER_S

# Thursday, 29 February 2024, 23:59:50
EPOCH_S = int(datetime(2024, 2, 29, 23, 59, 50, tzinfo=UTC).timestamp())
TIME = (0, 2, 4, 6, 7, 8, 9, 0x32)


class Bench:
    def __init__(self) -> None:
        self.clock = HandClock()
        self.edges = 0
        self.line = Line(self._changed)
        self.rtc = Rtc(self.clock, EPOCH_S, self.line)

    def _changed(self, level: bool) -> None:
        self.edges += level

    def write(self, index: int, value: int) -> None:
        self.rtc.write(0, 1, index)
        self.rtc.write(1, 1, value)

    def read(self, index: int) -> int:
        self.rtc.write(0, 1, index)
        return self.rtc.read(1, 1)

    def time(self) -> list[int]:
        return [self.read(index) for index in TIME]

    def run_to_deadline(self) -> int:
        due = self.rtc.next_deadline()
        assert due is not None
        self.clock.ns = due
        self.rtc.advance(due)
        return due


def test_time_is_bcd_and_crosses_the_leap_day() -> None:
    bench = Bench()
    assert bench.time() == [0x50, 0x59, 0x23, 5, 0x29, 0x02, 0x24, 0x20]
    bench.clock.ns = 10 * NS_PER_S
    assert bench.time() == [0x00, 0x00, 0x00, 6, 0x01, 0x03, 0x24, 0x20]


def test_binary_and_twelve_hours() -> None:
    bench = Bench()
    bench.write(0x0B, 0x04)
    assert bench.time()[:3] == [50, 59, 11 | 0x80]
    bench.clock.ns = 10 * NS_PER_S
    assert bench.time()[:3] == [0, 0, 12]


def test_set_holds_the_time_and_the_new_one_goes_on() -> None:
    bench = Bench()
    bench.write(0x0B, 0x82)
    for index, value in zip(TIME, (0x30, 0x15, 0x08, 7, 0x04, 0x07, 0x70, 0x19), strict=True):
        bench.write(index, value)
    bench.clock.ns = 100 * NS_PER_S
    assert bench.time()[0] == 0x30
    bench.write(0x0B, 0x02)
    bench.clock.ns = 101 * NS_PER_S
    assert bench.time() == [0x31, 0x15, 0x08, 7, 0x04, 0x07, 0x70, 0x19]


def test_nonsense_is_taken_as_the_nearest_time() -> None:
    bench = Bench()
    for index in TIME:
        bench.write(index, 0xFF)
    assert bench.time()[1:3] == [0x59, 0x23]


def test_update_in_progress_rises_before_the_second_ends() -> None:
    bench = Bench()
    assert not bench.read(0x0A) & 0x80
    bench.clock.ns = NS_PER_S - 200_000
    assert bench.read(0x0A) & 0x80
    bench.clock.ns = NS_PER_S
    assert not bench.read(0x0A) & 0x80


def test_update_flag_can_be_polled_without_an_interrupt() -> None:
    bench = Bench()
    bench.read(0x0C)
    bench.clock.ns = NS_PER_S
    assert bench.read(0x0C) & 0x10
    assert not bench.read(0x0C) & 0x10
    assert bench.edges == 0
    assert bench.rtc.next_deadline() is None


def test_periodic_interrupt_comes_again_after_register_c_is_read() -> None:
    bench = Bench()
    bench.write(0x0A, 0x26)
    bench.write(0x0B, 0x42)
    assert bench.run_to_deadline() == 976_563  # 1,024 Hz, rounded up
    assert bench.line.level
    assert bench.rtc.next_deadline() is None  # nothing new until it is answered
    bench.clock.ns += 5_000_000
    assert bench.read(0x0C) & 0xC0 == 0xC0
    assert not bench.line.level
    assert bench.rtc.next_deadline() == 6_835_938  # in phase: 7/1024 s
    bench.run_to_deadline()
    assert bench.edges == 2


def test_alarm_fires_at_its_second() -> None:
    bench = Bench()
    bench.write(1, 0x05)
    bench.write(3, 0x00)
    bench.write(5, 0xFF)  # every hour
    bench.write(0x0B, 0x22)
    assert bench.run_to_deadline() == 15 * NS_PER_S
    assert bench.read(0x0C) & 0xA0 == 0xA0
    assert bench.rtc.next_deadline() == (15 + 3600) * NS_PER_S
    bench.write(1, 0x75)  # no such second
    assert bench.rtc.next_deadline() is None


def test_update_interrupt_every_second() -> None:
    bench = Bench()
    bench.write(0x0B, 0x12)
    for second in (1, 2, 3):
        assert bench.run_to_deadline() == second * NS_PER_S
        bench.read(0x0C)
    assert bench.edges == 3


def test_reset_keeps_time_and_ram() -> None:
    bench = Bench()
    bench.write(0x40, 0xAB)
    bench.write(0x0B, 0x72)
    bench.run_to_deadline()
    bench.rtc.reset()
    assert not bench.line.level
    assert bench.rtc.next_deadline() is None
    assert bench.read(0x40) == 0xAB
    assert bench.read(0x0D) == 0x80


@given(st.integers(-62_135_596_800, 253_402_300_799))
def test_calendar_agrees_with_the_library(seconds: int) -> None:
    at = from_seconds(seconds)
    assert to_seconds(*at[:6]) == seconds
    day = datetime(at.year, at.month, at.day)
    assert at.weekday == day.isoweekday() % 7 + 1


accesses = st.tuples(
    st.sampled_from(["read", "write", "advance"]),
    st.one_of(st.integers(0, 14), st.integers(0, 255)),
    st.integers(0, 255),
    st.integers(0, 5 * NS_PER_S),
)


@given(st.lists(accesses, max_size=50))
def test_any_access_is_survived(script: list[tuple[str, int, int, int]]) -> None:
    """Nothing raises, peek changes nothing and tells what read will, the next deadline lies
    ahead of every `advance`, and the state carries over."""
    bench = Bench()
    for action, index, value, step in script:
        bench.clock.ns += step
        bench.rtc.write(0, 1, index)
        if action == "read":
            before = bench.rtc.save()
            seen = bench.rtc.peek(1, 1)
            assert bench.rtc.save() == before
            assert bench.rtc.read(1, 1) == seen
        elif action == "write":
            bench.rtc.write(1, 1, value)
        else:
            bench.rtc.advance(bench.clock.ns)
            due = bench.rtc.next_deadline()
            assert due is None or due > bench.clock.ns
    copy = Bench()
    copy.clock.ns = bench.clock.ns
    copy.rtc.load(bench.rtc.save())
    assert copy.rtc.save() == bench.rtc.save()
    assert copy.rtc.next_deadline() == bench.rtc.next_deadline()
