"""Protects: units as people write them; saved state of another version is refused; wake-ups."""

from __future__ import annotations

import os
import time

import pytest

from leulo.links.poller import IN, Poller
from leulo.state import load_fields, save_fields
from leulo.units import parse_duration, parse_rate, parse_size


def test_sizes_times_and_rates() -> None:
    assert parse_size("16M") == parse_size("16MiB") == 16 << 20
    assert parse_size("4096") == 4096
    assert parse_duration("1.5s") == 1_500_000_000
    assert parse_duration("200us") == 200_000
    assert parse_duration("2") == 2_000_000_000
    assert parse_rate("2.5mbit") == 2_500_000


@pytest.mark.parametrize("text", ["", "M", "-1", "1.5", "16X", "0x10"])
def test_what_is_no_size_says_so(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(text)


@pytest.mark.parametrize("text", ["", "s", "-1s", "1h", "1..5s"])
def test_what_is_no_time_says_so(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time"):
        parse_duration(text)


class Thing:
    def __init__(self) -> None:
        self.a, self.b = 1, [2]


def test_state_goes_round_and_refuses_another_version() -> None:
    thing = Thing()
    state = save_fields(thing, 3, ("a", "b"))
    assert state == {"version": 3, "a": 1, "b": [2]}
    load_fields(thing, 3, ("a", "b"), {**state, "a": 9})
    assert thing.a == 9
    with pytest.raises(ValueError, match="version 3"):
        load_fields(thing, 4, ("a",), state)
    with pytest.raises(ValueError, match="lacks c"):
        load_fields(thing, 3, ("c",), state)


def test_the_poller_serves_wakes_and_forgets() -> None:
    poller = Poller()
    reader, writer = os.pipe()
    seen: list[int] = []
    poller.add(reader, IN, lambda mask: seen.append(mask))
    assert poller.wait(0) == 0
    os.write(writer, b"x")
    assert poller.wait(None) == 1 and seen == [IN]
    poller.remove(reader)
    poller.wake()
    assert poller.wait(None) == 0  # without the wake-up this would wait for ever
    assert poller.wait(0) == 0
    poller.close()
    os.close(reader)
    os.close(writer)


def test_the_poller_sleeps_for_less_than_a_millisecond() -> None:
    """epoll would round up; on a busy computer most waits are late, but not all."""
    poller = Poller()
    took = []
    for _ in range(100):
        began = time.monotonic_ns()
        assert poller.wait(200_000) == 0
        took.append(time.monotonic_ns() - began)
    assert 200_000 <= min(took) < 900_000
    poller.wake()
    assert poller.wait(19_000_000) == 0  # a wake-up ends a short wait too
    assert poller.wait(0) == 0
    poller.close()
