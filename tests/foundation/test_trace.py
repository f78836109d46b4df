"""Protects: one stream of events, silent when nobody listens, found by name or glob."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from leulo.trace import Event, Trace


@dataclass(frozen=True, slots=True)
class Opened(Event):
    NAME: ClassVar[str] = "door.opened"
    door: int


@dataclass(frozen=True, slots=True)
class Rang(Event):
    NAME: ClassVar[str] = "bell.rang"
    times: int


def test_a_channel_is_inactive_until_somebody_subscribes_to_its_name() -> None:
    trace = Trace()
    doors, bells = trace.channel(Opened), trace.channel(Rang)
    seen: list[Event] = []
    trace.subscribe("door.*", seen.append)
    assert doors.active and not bells.active
    doors.emit(Opened(5, 3))
    assert seen == [Opened(5, 3)]
    assert seen[0].plain() == {"event": "door.opened", "time_ns": 5, "door": 3}


def test_a_channel_made_after_the_subscription_is_found_too() -> None:
    trace = Trace()
    seen: list[Event] = []
    trace.subscribe("*", seen.append)
    trace.channel(Rang).emit(Rang(1, 2))
    assert seen == [Rang(1, 2)]
    assert [kind.NAME for kind in trace.kinds()] == ["bell.rang"]


def test_unsubscribing_makes_the_channel_cheap_again() -> None:
    trace = Trace()
    channel = trace.channel(Opened)
    seen: list[Event] = []
    listen = seen.append
    trace.subscribe("*", listen)
    trace.unsubscribe(listen)
    assert not channel.active
    assert trace.channel(Opened) is channel
