"""What every provider of datagram sockets must do [RFC 768] [RFC 1122 4.1] [Linux udp(7)].

As `scenarios`: each takes a provider and asserts.
"""

from __future__ import annotations

from conformance.provider import (
    EADDRINUSE,
    EAGAIN,
    ECONNREFUSED,
    EDESTADDRREQ,
    EMSGSIZE,
    EOPNOTSUPP,
    ERR,
    IN,
    OUT,
    Box,
    Provider,
)
from conformance.scenarios import SO_ERROR, SOL_SOCKET, row

LONGEST = 65_507


def box_and_socket(provider: Provider) -> tuple[Box, int, int]:
    """A socket of the peer, the port it has, and a socket under test."""
    port = provider.free_port()
    return provider.peer_box(port), port, provider.datagram()


def arrived(provider: Provider, number: int) -> tuple[bytes, int]:
    """The next datagram and the port it comes from, once it is there."""
    provider.until(lambda: provider.poll(number) & IN != 0)
    got = provider.recvfrom(number, LONGEST)
    assert not isinstance(got, int)
    return got


def datagrams_keep_their_borders(provider: Provider) -> None:
    box, port, number = box_and_socket(provider)
    texts = [b"one", b"", b"three" * 200]
    for text in texts:
        assert provider.sendto(number, text, port) == len(text)
    found: list[tuple[bytes, int]] = []

    def all_there() -> bool:
        got = box.receive()
        if not isinstance(got, int):
            found.append(got)
        return len(found) == len(texts)

    provider.until(all_there)
    own = provider.port_of(number)
    assert found == [(text, own) for text in texts]
    for text in texts:
        box.send(text, own)
    assert [arrived(provider, number) for _ in texts] == [(text, port) for text in texts]
    assert provider.recvfrom(number, 10) == -EAGAIN
    assert provider.poll(number) == OUT


def what_does_not_fit_is_lost(provider: Provider) -> None:
    box, port, number = box_and_socket(provider)
    provider.sendto(number, b"?", port)
    box.send(b"0123456789", provider.port_of(number))
    provider.until(lambda: provider.poll(number) & IN != 0)
    assert provider.recvfrom(number, 4) == (b"0123", port)
    assert provider.recvfrom(number, 4) == -EAGAIN


def longest_datagram_both_ways(provider: Provider) -> None:
    box, port, number = box_and_socket(provider)
    data = bytes(n * 7 & 0xFF for n in range(LONGEST))
    assert provider.sendto(number, data + b"x", port) == -EMSGSIZE
    assert provider.sendto(number, data, port) == LONGEST
    found: list[tuple[bytes, int] | int] = []

    def is_there() -> bool:
        found.append(box.receive())
        return not isinstance(found[-1], int)

    provider.until(is_there)
    assert found[-1] == (data, provider.port_of(number))
    box.send(data[::-1], provider.port_of(number))
    assert arrived(provider, number) == (data[::-1], port)


def refusal_reaches_who_is_connected(provider: Provider) -> None:
    number = provider.datagram()
    assert provider.connect(number, provider.free_port()) == 0
    assert provider.send(number, b"anybody?") == 8
    provider.until(lambda: provider.poll(number) & ERR != 0)
    assert provider.recvfrom(number, 10) == -ECONNREFUSED
    assert provider.recvfrom(number, 10) == -EAGAIN
    assert provider.send(number, b"again") == 5
    provider.until(lambda: provider.poll(number) & ERR != 0)
    assert provider.option(number, SOL_SOCKET, SO_ERROR) == ECONNREFUSED
    assert not provider.poll(number) & ERR


def only_the_connected_peer_is_heard(provider: Provider) -> None:
    box, port, number = box_and_socket(provider)
    stranger = provider.peer_box(provider.free_port())
    assert provider.connect(number, port) == 0
    assert provider.peer_port_of(number) == port
    own = provider.port_of(number)
    stranger.send(b"nobody asked", own)
    box.send(b"for you", own)
    assert arrived(provider, number) == (b"for you", port)
    assert provider.recvfrom(number, 10) == -EAGAIN


def datagram_calls_in_the_wrong_state(provider: Provider) -> None:
    number = provider.datagram()
    assert provider.poll(number) == OUT
    assert provider.send(number, b"to whom?") == -EDESTADDRREQ
    assert provider.listen(number, 1) == -EOPNOTSUPP
    assert provider.accept(number) == -EOPNOTSUPP
    port = provider.free_port()
    first, second = provider.datagram(), provider.datagram()
    assert provider.bind(first, port) == 0
    assert provider.bind(second, port) == -EADDRINUSE
    assert provider.close(first) == 0
    assert provider.bind(second, port) == 0


DATAGRAMS = (
    row("", datagrams_keep_their_borders),
    row("", what_does_not_fit_is_lost),
    row("", longest_datagram_both_ways),
    row("", refusal_reaches_who_is_connected),
    row("", only_the_connected_peer_is_heard),
    row("", datagram_calls_in_the_wrong_state),
)
