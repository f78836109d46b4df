"""Protects: virtual time is exact, monotonic, and made of nothing but ticks, charges and skips."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from leulo.clock import RealClock, VirtualClock


def test_real_clock_counts_from_its_construction() -> None:
    readings = iter([1000, 1000, 1750])
    clock = RealClock(lambda: next(readings))
    assert clock.now_ns() == 0
    assert clock.now_ns() == 750
    assert not clock.is_virtual


def test_virtual_clock_adds_ticks_charges_and_skips() -> None:
    ticks = 0
    clock = VirtualClock(num=1, den=4)
    clock.drive(lambda: ticks)
    ticks = 400
    assert clock.now_ns() == 100
    clock.charge(50)
    clock.skip_to(1000)
    assert clock.now_ns() == 1000
    clock.skip_to(10)
    assert clock.now_ns() == 1000


@given(
    num=st.integers(1, 50),
    den=st.integers(1, 50),
    start=st.integers(0, 10**9),
    added=st.integers(0, 10**9),
    ahead=st.integers(1, 10**9),
)
def test_ticks_until_is_the_least_count_that_reaches_the_time(
    num: int, den: int, start: int, added: int, ahead: int
) -> None:
    count = [start]
    clock = VirtualClock(num, den)
    clock.drive(lambda: count[0])
    clock.charge(added)
    when = clock.now_ns() + ahead
    wanted = clock.ticks_until(when)
    count[0] = start + wanted
    assert clock.now_ns() >= when
    if wanted:
        count[0] -= 1
        assert clock.now_ns() < when


def test_saved_time_comes_back_under_another_tick_count() -> None:
    clock = VirtualClock(2, 7)
    clock.drive(lambda: 7000)
    clock.charge(11)
    state = clock.save()
    other = VirtualClock()
    other.drive(lambda: 70)
    other.load(state)
    assert other.now_ns() == clock.now_ns() == 2011
