"""epoll_create, epoll_ctl and epoll_wait on the sockets of a script. [Linux epoll(7)]

A level-triggered entry is ready while its socket is; an edge-triggered one when the stack has
told of a change since it was last reported. Functions are as those of `option_calls`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from leulo.pkt.constants import CONSTANTS, ERRNO
from leulo.pkt.differences import CallDiffers
from leulo.pkt.lexer import Refused, ScriptError
from leulo.pkt.syntax import Array, Ellipsis_, Struct

if TYPE_CHECKING:
    from leulo.pkt.calls import Calls, Running

_ET: Final = 1 << 31
_ONESHOT: Final = 1 << 30
_ERROR: Final = 0x8
_ALWAYS: Final = _ERROR | 0x10
_NS_PER_MS: Final = 1_000_000
_ADD, _DELETE, _MODIFY = 1, 2, 3


@dataclass(slots=True)
class Interest:
    """One descriptor of an epoll set. ``has_edge``: something has changed since it was told."""

    wanted: int
    data: int
    has_edge: bool = True


@dataclass(slots=True)
class EpollSet:
    """In the order of adding."""

    interests: dict[int, Interest] = field(default_factory=dict)


def epoll_create(calls: Calls, running: Running) -> int:
    number = calls.free_number(running, running.call.result)
    calls.epolls[number] = EpollSet()
    return number


def epoll_ctl(calls: Calls, running: Running) -> int:
    found = calls.epolls.get(calls.number(running, 0))
    operation = calls.number(running, 1)
    number = calls.number(running, 2)
    descriptor = calls.descriptors.get(number)
    if descriptor is None and number not in calls.epolls:
        return -ERRNO["EBADF"]
    if found is None:
        return -ERRNO["EINVAL" if calls.is_open(calls.number(running, 0)) else "EBADF"]
    if descriptor is None:
        raise Refused(running.line, "an epoll set in another")
    if operation == _DELETE:
        return 0 if found.interests.pop(number, None) else -ERRNO["ENOENT"]
    event = running.call.arguments[3]
    if not isinstance(event, Struct):
        raise ScriptError(running.line, "expected {events=, fd=}")
    wanted = calls.value(event.fields.get("events", 0), running.line)
    if operation == _ADD and number in found.interests:
        return -ERRNO["EEXIST"]
    if operation == _MODIFY and number not in found.interests:
        return -ERRNO["ENOENT"]
    if operation not in (_ADD, _MODIFY):
        return -ERRNO["EINVAL"]
    found.interests[number] = Interest(wanted, _data_of(calls, event, running.line))
    descriptor.socket.owner = descriptor
    if wanted & _ET:
        descriptor.socket.wants_every_byte = True  # each arrival is an edge
    return 0


def epoll_wait(calls: Calls, running: Running) -> int | None:
    found = calls.epolls.get(calls.number(running, 0))
    if found is None:
        return -ERRNO["EBADF"]
    _take_edges(calls)
    most = calls.number(running, 2)
    timeout_ms = calls.number(running, 3)
    if 0 <= timeout_ms < 1 << 31 and running.wake_ns is None:
        running.wake_ns = running.since_ns + timeout_ms * _NS_PER_MS
    ready: list[tuple[int, int]] = []  # events, data
    for number, interest in found.interests.items():
        descriptor = calls.descriptors.get(number)
        if descriptor is None or len(ready) >= most:
            continue
        events = descriptor.socket.events | (_ERROR if descriptor.errors.notices else 0)
        # One shot, and it tells nothing, not even errors, until it is set anew.
        mask = events & (interest.wanted | _ALWAYS) & 0xFFFF if interest.wanted else 0
        if mask and (interest.has_edge or not interest.wanted & _ET):
            interest.has_edge = False
            ready.append((mask, interest.data))
            if interest.wanted & _ONESHOT:
                interest.wanted = 0
    if not ready and (running.wake_ns is None or calls.world.now_ns < running.wake_ns):
        return None
    _compare(calls, running, ready)
    return len(ready)


def _take_edges(calls: Calls) -> None:
    changed = {id(socket) for socket in calls.world.stack.take_ready()}
    for epoll in calls.epolls.values():
        for number, interest in epoll.interests.items():
            descriptor = calls.descriptors.get(number)
            if descriptor is not None and id(descriptor.socket) in changed:
                interest.has_edge = True


def _compare(calls: Calls, running: Running, ready: list[tuple[int, int]]) -> None:
    expected = running.call.arguments[1]
    if isinstance(expected, Ellipsis_):
        return
    events = expected.items if isinstance(expected, Array) else [expected]
    for event, (mask, data) in zip(events, ready, strict=False):
        if not isinstance(event, Struct):
            raise ScriptError(running.line, "expected {events=, fd=}")
        wanted = calls.value(event.fields.get("events", 0), running.line)
        wanted_data = _data_of(calls, event, running.line)
        if (wanted & 0xFFFF, wanted_data) != (mask, data):
            raise CallDiffers(
                f"events={_names(wanted)} of {wanted_data}", f"events={_names(mask)} of {data}"
            )


def _data_of(calls: Calls, event: Struct, line: int) -> int:
    for name in ("fd", "u32", "u64", "ptr"):
        if name in event.fields:
            return calls.value(event.fields[name], line)
    raise Refused(line, "this epoll event")


def _names(mask: int) -> str:
    names = ("EPOLLIN", "EPOLLPRI", "EPOLLOUT", "EPOLLERR", "EPOLLHUP", "EPOLLRDHUP")
    return "|".join(name for name in names if mask & CONSTANTS[name]) or "0"
