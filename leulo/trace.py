"""The one stream of events: everything that happens is a typed event with a time stamp.

Logs, captures, counters, timelines and the debugger subscribe; nobody prints from the middle.
An event class is a frozen dataclass derived from `Event`, declared beside the code that emits it,
and its ``NAME`` is dotted (``hypercall.return``, ``tcp.state``). The emitter keeps the channel and
asks ``if channel.active`` before it builds anything, so an event nobody wants costs one test:

    self._state_changed = trace.channel(StateChanged)
    ...
    if self._state_changed.active:
        self._state_changed.emit(StateChanged(now_ns, ...))
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from typing import Any, ClassVar, Generic, TypeVar


@dataclass(frozen=True, slots=True)
class Event:
    """Base of every event. ``time_ns`` is the host's clock."""

    NAME: ClassVar[str] = ""
    time_ns: int

    def plain(self) -> dict[str, Any]:
        """The event as JSON-ready data, its name first."""
        return {"event": self.NAME, **{f.name: getattr(self, f.name) for f in fields(self)}}


E = TypeVar("E", bound=Event)
Subscriber = Callable[[Any], None]


class Channel(Generic[E]):
    """One event type's way to its subscribers. ``active`` is true while there is one."""

    __slots__ = ("_subscribers", "active", "kind")

    def __init__(self, kind: type[E]) -> None:
        self.kind = kind
        self.active = False
        self._subscribers: list[Subscriber] = []

    def emit(self, event: E) -> None:
        for subscriber in self._subscribers:
            subscriber(event)

    def _set(self, subscribers: list[Subscriber]) -> None:
        self._subscribers = subscribers
        self.active = bool(subscribers)


class Trace:
    """All channels of a host, made on demand, found by name or glob."""

    def __init__(self) -> None:
        self._channels: dict[type[Event], Channel[Any]] = {}
        self._wanted: list[tuple[str, Subscriber]] = []

    def channel(self, kind: type[E]) -> Channel[E]:
        """The channel of this event type; the same one at every call."""
        channel = self._channels.get(kind)
        if channel is None:
            channel = self._channels[kind] = Channel(kind)
            channel._set(self._matching(kind))
        return channel

    def subscribe(self, glob: str, subscriber: Subscriber) -> None:
        """Call ``subscriber`` with every event whose name matches ``glob``, from now on."""
        self._wanted.append((glob, subscriber))
        self._refresh()

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Stop every subscription of ``subscriber``."""
        self._wanted = [(g, s) for g, s in self._wanted if s != subscriber]
        self._refresh()

    def kinds(self) -> Iterator[type[Event]]:
        """Every event type that has a channel, in the order of their names."""
        return iter(sorted(self._channels, key=lambda kind: kind.NAME))

    def _matching(self, kind: type[Event]) -> list[Subscriber]:
        return [s for glob, s in self._wanted if fnmatchcase(kind.NAME, glob)]

    def _refresh(self) -> None:
        for kind, channel in self._channels.items():
            channel._set(self._matching(kind))
