"""What every provider of sockets must do. Each scenario is a bug that a project had, or a rule.

A scenario takes a provider and asserts; it knows nothing of hypercalls. `SCENARIOS` is the table:
where it was seen, what it protects, and the function.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from conformance.provider import (
    EADDRINUSE,
    EAGAIN,
    EALREADY,
    ECONNREFUSED,
    ECONNRESET,
    EINPROGRESS,
    EINVAL,
    EISCONN,
    ENOPROTOOPT,
    ENOTCONN,
    EPIPE,
    ERR,
    HUP,
    IN,
    OUT,
    RDHUP,
    Peer,
    Provider,
)

SO_ERROR, SOL_SOCKET, IPPROTO_TCP = 4, 1, 6
STREAM_BYTES = 28 << 20  # more than four times the largest buffer, of 6 MiB
CYCLES = 50


def connected(provider: Provider) -> tuple[int, Peer]:
    """A connection that the provider opened."""
    port = provider.free_port()
    listener = provider.peer_listens(port)
    number = provider.socket()
    assert provider.connect(number, port) in (0, -EINPROGRESS)
    found: list[Peer] = []

    def is_there() -> bool:
        peer = listener.accept()
        if peer is not None:
            found.append(peer)
        return bool(found) and provider.poll(number) & OUT != 0

    provider.until(is_there)
    listener.close()
    return number, found[0]


def accepted(provider: Provider) -> tuple[int, int, Peer]:
    """A listener, a connection it accepted, and who asked for it."""
    listener = provider.socket()
    assert provider.bind(listener, 0) == 0 and provider.listen(listener, 16) == 0
    peer = provider.peer_connects(provider.port_of(listener))
    provider.until(lambda: provider.poll(listener) & IN != 0)
    number = provider.accept(listener)
    assert number > 0
    return listener, number, peer


def accept_does_not_wait(provider: Provider) -> None:
    listener = provider.socket()
    provider.bind(listener, 0)
    provider.listen(listener, 8)
    assert provider.accept(listener) == -EAGAIN
    assert provider.poll(listener) == 0


def names_and_close_during_a_connect(provider: Provider) -> None:
    number = provider.socket()
    port = provider.silent_port()
    if port:
        assert provider.connect(number, port) == -EINPROGRESS
        assert provider.connect(number, port) == -EALREADY
        assert provider.poll(number) & (IN | OUT | ERR | HUP) == 0
    assert provider.port_of(number) > 0 or not port
    assert provider.close(number) == 0


def slow_connect_stalls_nobody(provider: Provider) -> None:
    slow = provider.socket()
    if provider.silent_port():
        assert provider.connect(slow, provider.silent_port()) == -EINPROGRESS
    number, peer = connected(provider)
    assert provider.send(number, b"quick") == 5
    provider.until(lambda: peer.recv(10) == b"quick")


def port_0_is_one_port_on_both_sides(provider: Provider) -> None:
    listener, number, _ = accepted(provider)
    assert provider.port_of(number) == provider.port_of(listener) > 0


def port_in_use_is_refused(provider: Provider) -> None:
    port = provider.free_port()
    first, second = provider.socket(), provider.socket()
    assert provider.bind(first, port) == 0 and provider.listen(first, 8) == 0
    result = provider.bind(second, port) or provider.listen(second, 8)
    assert result == -EADDRINUSE


def _data() -> bytes:
    return random.Random(5).randbytes(STREAM_BYTES)


def stream_out_loses_nothing(provider: Provider) -> None:
    number, peer = connected(provider)
    data = _data()
    sent = 0
    received = bytearray()

    def all_there() -> bool:
        nonlocal sent
        for _ in range(64):
            if sent < len(data):
                taken = provider.send(number, data[sent : sent + 100_000])
                assert taken > 0 or taken == -EAGAIN
                sent += max(0, taken)
            chunk = peer.recv(777_777)
            if isinstance(chunk, bytes):
                received.extend(chunk)
        return len(received) == len(data)

    provider.until(all_there)
    assert received == data


def stream_in_loses_nothing(provider: Provider) -> None:
    number, peer = connected(provider)
    data = _data()
    sent = 0
    received = bytearray()

    def all_there() -> bool:
        nonlocal sent
        for _ in range(64):
            if sent < len(data):
                sent += max(0, peer.send(data[sent : sent + 100_000]))
            chunk = provider.recv(number, 77_777)
            if isinstance(chunk, bytes):
                assert chunk
                received.extend(chunk)
            else:
                assert chunk == -EAGAIN
        return len(received) == len(data)

    provider.until(all_there)
    assert received == data


def refusal_is_told_once(provider: Provider) -> None:
    number = provider.socket()
    result = provider.connect(number, provider.free_port())
    if result == -EINPROGRESS:
        provider.until(lambda: provider.poll(number) & ERR != 0)
        assert provider.option(number, SOL_SOCKET, SO_ERROR) == ECONNREFUSED
    else:
        assert result == -ECONNREFUSED
    assert provider.option(number, SOL_SOCKET, SO_ERROR) == 0
    assert not provider.poll(number) & ERR


def end_of_stream_is_told(provider: Provider) -> None:
    number, peer = connected(provider)
    peer.send(b"last words")
    peer.close()
    provider.until(lambda: provider.poll(number) & RDHUP != 0)
    assert provider.poll(number) & IN
    assert provider.recv(number, 100) == b"last words"
    assert provider.recv(number, 100) == b""


def tables_are_empty_after(how: str) -> Callable[[Provider], None]:
    def scenario(provider: Provider) -> None:
        for _ in range(CYCLES):
            if how == "refused":
                number = provider.socket()
                if provider.connect(number, provider.free_port()) == -EINPROGRESS:
                    provider.until(lambda n=number: provider.poll(n) & ERR != 0)  # type: ignore[misc]
                provider.close(number)
                continue
            number, peer = connected(provider)
            if how == "reset here":
                provider.linger_none(number)
            elif how == "reset there":
                peer.reset()
            elif how == "closed there":
                peer.close()
            provider.close(number)
            if how.endswith("here"):
                peer.close()
        provider.rest()
        assert provider.open_connections() in (0, -1)

    return scenario


def reset_is_told(provider: Provider) -> None:
    number, peer = connected(provider)
    peer.reset()
    provider.until(lambda: provider.poll(number) & ERR != 0)
    assert provider.poll(number) & (HUP | IN) == HUP | IN
    assert provider.recv(number, 10) == -ECONNRESET
    assert provider.recv(number, 10) == b""
    assert provider.send(number, b"x") == -EPIPE


def reset_after_close_with_unread_data(provider: Provider) -> None:
    """RFC 2525 2.17: the peer must not think that what it said was read."""
    number, peer = connected(provider)
    peer.send(b"never read")
    provider.until(lambda: provider.poll(number) & IN != 0)
    provider.close(number)
    provider.until(lambda: peer.recv(10) == -ECONNRESET)


def unknown_options_are_refused(provider: Provider) -> None:
    number = provider.socket()
    for level, name in ((SOL_SOCKET, 9999), (IPPROTO_TCP, 9999), (IPPROTO_TCP, 0)):
        assert provider.set_option(number, level, name, 1) == -ENOPROTOOPT
        assert provider.option(number, level, name) == -ENOPROTOOPT


def full_buffer_is_not_writable_until_a_third_is_free(provider: Provider) -> None:
    number, peer = connected(provider)
    for _ in range(100_000):
        if provider.send(number, bytes(100_000)) == -EAGAIN:
            break
    else:
        raise AssertionError("it takes everything")

    def is_full() -> bool:
        while provider.send(number, bytes(100_000)) > 0:
            pass
        return not provider.poll(number) & OUT

    provider.until(is_full)

    def has_room() -> bool:
        peer.recv(1 << 20)
        return provider.poll(number) & OUT != 0

    provider.until(has_room)
    assert provider.send(number, b"more") == 4


def half_closed_stream_goes_on_the_other_way(provider: Provider) -> None:
    number, peer = connected(provider)
    assert provider.shutdown(number, 1) == 0
    assert provider.send(number, b"x") == -EPIPE
    provider.until(lambda: peer.recv(10) == b"")
    peer.send(b"still here")
    provider.until(lambda: provider.poll(number) & IN != 0)
    assert provider.recv(number, 100) == b"still here"
    assert not provider.poll(number) & HUP
    peer.close()
    provider.until(lambda: provider.poll(number) & HUP != 0)


def calls_in_the_wrong_state(provider: Provider) -> None:
    number = provider.socket()
    assert provider.accept(number) == -EINVAL
    assert provider.recv(number, 1) == -ENOTCONN
    assert provider.send(number, b"x") == -EPIPE
    assert provider.shutdown(number, 1) == -ENOTCONN
    assert provider.peer_port_of(number) == -ENOTCONN
    assert provider.poll(number) == OUT | HUP
    other, _ = connected(provider)
    assert provider.connect(other, provider.free_port()) in (0, -EISCONN)
    assert provider.connect(other, provider.free_port()) == -EISCONN
    assert provider.listen(other, 1) == -EINVAL
    assert provider.bind(other, provider.free_port()) == -EINVAL


def queue_of_a_closed_listener_is_reset(provider: Provider) -> None:
    listener = provider.socket()
    provider.bind(listener, 0)
    provider.listen(listener, 8)
    peer = provider.peer_connects(provider.port_of(listener))
    provider.until(lambda: provider.poll(listener) & IN != 0)
    provider.close(listener)
    provider.until(lambda: peer.recv(1) == -ECONNRESET)


def names_of_both_ends_agree(provider: Provider) -> None:
    _, number, _ = accepted(provider)
    assert provider.peer_port_of(number) > 0
    other, _ = connected(provider)
    assert provider.port_of(other) > 0 and provider.peer_port_of(other) > 0


@dataclass(frozen=True)
class Scenario:
    """``seen_in``: whose bug it was; empty for a rule."""

    seen_in: str
    run: Callable[[Provider], None]
    name: str


def row(seen_in: str, run: Callable[[Provider], None], name: str = "") -> Scenario:
    return Scenario(seen_in, run, name or run.__name__)


SCENARIOS = (
    row("libkrunfw 137", accept_does_not_wait),
    row("libkrun 819", names_and_close_during_a_connect),
    row("libkrun 818", port_0_is_one_port_on_both_sides),
    row("libkrun 860", port_in_use_is_refused),
    row("libkrun 772", stream_out_loses_nothing),
    row("libkrun 772", stream_in_loses_nothing),
    row("libkrun 684, 806, 344", refusal_is_told_once),
    row("libkrun 684, 806", end_of_stream_is_told),
    *(
        row("libkrun 112, 116", tables_are_empty_after(how), f"tables_are_empty_after_{how}")
        for how in ("closed here", "closed there", "reset here", "reset there", "refused")
    ),
    row("PVCalls", slow_connect_stalls_nobody),
    row("mTCP 135", unknown_options_are_refused),
    row("", reset_is_told),
    row("", reset_after_close_with_unread_data),
    row("", full_buffer_is_not_writable_until_a_third_is_free),
    row("", half_closed_stream_goes_on_the_other_way),
    row("", calls_in_the_wrong_state),
    row("", queue_of_a_closed_listener_is_reset),
    row("", names_of_both_ends_agree),
)
