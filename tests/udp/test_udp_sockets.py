"""UDP sockets over two stacks: what arrives, what is refused, what is bounded."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leulo.net.wire.ipv4 import Ipv4Repr
from leulo.net.wire.udp import UdpRepr
from leulo.stack import Stack, StackConfig
from leulo.tcp import errno
from leulo.trace import Trace
from leulo.udp import socket as udp_socket
from leulo.udp.socket import UdpSocket

INET, DGRAM = 2, 2
ANY = bytes(4)
MS = 1_000_000
A, B, EVERYBODY = bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2)), bytes((10, 0, 0, 255))
ON = (1).to_bytes(4, "little")


def make_stack(n: int, mtu: int = 1500, checksum: bool = True, **fields: object) -> Stack:
    config = StackConfig(
        name=f"s{n}", mac=bytes((2, 0, 0, 0, 0, n)), address=bytes((10, 0, 0, n)),
        prefix_length=24, mtu=mtu, checksum=checksum, **fields,  # type: ignore[arg-type]
    )  # fmt: skip
    return Stack(config, Random(n).getrandbits, Trace())


class Pair:
    """Two stacks and a perfect wire; ``now_ns`` moves a millisecond a turn."""

    def __init__(self, mtu: int = 1500, checksum: bool = True, **fields: object) -> None:
        self.a = make_stack(1, mtu, checksum)
        self.b = make_stack(2, mtu, checksum, **fields)
        self.now_ns = 0
        self.frames: list[bytes] = []

    def run(self, turns: int = 6) -> None:
        for _ in range(turns):
            self.now_ns += MS
            for here, there in ((self.a, self.b), (self.b, self.a)):
                frames = [b"".join(frame) for frame in here.drain(self.now_ns)]
                self.frames += frames
                there.input(frames, self.now_ns)
                there.advance(self.now_ns)


def open_socket(stack: Stack, port: int | None = None, address: bytes = ANY) -> UdpSocket:
    socket = stack.socket(INET, DGRAM)
    assert isinstance(socket, UdpSocket)
    if port is not None:
        assert socket.bind(address, port) == 0
    return socket


@pytest.mark.parametrize("checksum", [True, False])
@pytest.mark.parametrize("size", [0, 1, 1472, 1473, 20_001, udp_socket.MAX_PAYLOAD])
def test_datagram_arrives_whole_and_is_answered(size: int, checksum: bool) -> None:
    pair = Pair(checksum=checksum)
    server = open_socket(pair.b, 53)
    client = open_socket(pair.a)
    data = Random(size).randbytes(size)
    assert client.sendto(data, B, 53) == size
    pair.run()
    got = server.recvfrom(70_000)
    assert not isinstance(got, int)
    assert got[0] == data and got[2] == size
    assert got[1] == (A, client.local[1])  # type: ignore[index]
    assert server.sendto(data[::-1], *got[1]) == size
    pair.run()
    back = client.recvfrom(70_000)
    assert back == (data[::-1], (B, 53), size)
    assert all(len(frame) <= 24 + 1500 for frame in pair.frames)


def test_short_read_loses_the_rest_and_tells_the_length() -> None:
    pair = Pair()
    server, client = open_socket(pair.b, 53), open_socket(pair.a)
    client.sendto(b"abcdef", B, 53)
    client.sendto(b"next", B, 53)
    pair.run()
    assert server.recvfrom(3, errno.MSG_PEEK) == (b"abc", (A, client.port), 6)
    assert server.recvfrom(3) == (b"abc", (A, client.port), 6)
    assert server.recv(100) == b"next"
    assert server.recv(100) == -errno.EAGAIN
    view = memoryview(bytearray(8))
    assert server.recv_into(view) == -errno.EAGAIN


def test_closed_port_refuses_a_connected_socket_once() -> None:
    pair = Pair()
    client = open_socket(pair.a)
    client.owner = client
    assert client.connect(B, 9) == 0
    assert client.send(b"x") == 1
    pair.run()
    assert pair.a.take_ready() == [client]
    assert client.events & errno.POLL_ERR
    assert client.recv(10) == -errno.ECONNREFUSED
    assert client.recv(10) == -errno.EAGAIN
    client.send(b"x")
    pair.run()
    value = client.getsockopt(1, udp_socket.SO_ERROR)
    assert value == errno.ECONNREFUSED.to_bytes(4, "little")
    assert not client.events & errno.POLL_ERR


def test_closed_port_tells_nothing_to_an_unconnected_socket() -> None:
    pair = Pair()
    client = open_socket(pair.a)
    client.sendto(b"x", B, 9)
    pair.run()
    assert client.recv(10) == -errno.EAGAIN


def test_inside_the_stack_datagrams_and_refusals_come_round() -> None:
    stack = make_stack(1)
    server, client = open_socket(stack, 7), open_socket(stack)
    for to in (A, bytes((127, 0, 0, 1))):
        assert client.connect(to, 7) == 0
        assert client.send(b"hello") == 5
        assert stack.drain(0) == []
        assert server.recvfrom(10) == (b"hello", (to, client.port), 5)
    assert client.connect(A, 8) == 0
    client.send(b"x")
    stack.drain(0)
    assert client.send(b"x") == -errno.ECONNREFUSED


def test_connected_socket_hears_only_its_peer() -> None:
    pair = Pair()
    general, mine = open_socket(pair.b, 53), stack_socket_reusing(pair.b)
    client, other = open_socket(pair.a, 1000), open_socket(pair.a, 1001)
    assert general.setsockopt(1, udp_socket.SO_REUSEADDR, ON) == 0
    assert mine.bind(ANY, 53) == 0
    assert mine.connect(A, 1000) == 0
    client.sendto(b"client", B, 53)
    other.sendto(b"other", B, 53)
    pair.run()
    assert mine.recv(10) == b"client"
    assert mine.recv(10) == -errno.EAGAIN
    assert general.recv(10) == b"other"
    assert mine.peer == (A, 1000) and mine.local == (B, 53)
    assert mine.disconnect() == 0
    assert mine.peer is None and mine.local == (ANY, 53)


def stack_socket_reusing(stack: Stack) -> UdpSocket:
    socket = open_socket(stack)
    assert socket.setsockopt(1, udp_socket.SO_REUSEADDR, ON) == 0
    return socket


def test_ports_conflict_unless_shared_or_at_other_addresses() -> None:
    stack = make_stack(1)
    open_socket(stack, 53)
    assert open_socket(stack).bind(ANY, 53) == -errno.EADDRINUSE
    assert open_socket(stack).bind(A, 53) == -errno.EADDRINUSE
    assert open_socket(stack).bind(B, 54) == -errno.EADDRNOTAVAIL
    open_socket(stack, 55, A)
    open_socket(stack, 55, bytes((127, 0, 0, 1)))
    bound = open_socket(stack, 56)
    assert bound.bind(ANY, 57) == -errno.EINVAL
    bound.close()
    open_socket(stack, 56)


def test_every_ephemeral_port_once_then_none() -> None:
    stack = make_stack(1)
    first, last = stack.config.tcp.first_ephemeral, stack.config.tcp.last_ephemeral
    ports = {open_socket(stack, 0).port for _ in range(first, last + 1)}
    assert ports == set(range(first, last + 1))
    assert open_socket(stack).bind(ANY, 0) == -errno.EADDRINUSE
    assert open_socket(stack).sendto(b"x", B, 1) == -errno.EAGAIN


def test_full_receive_queue_drops_and_counts() -> None:
    pair = Pair()
    server, client = open_socket(pair.b, 53), open_socket(pair.a)
    assert server.setsockopt(1, udp_socket.SO_RCVBUF, (4096).to_bytes(4, "little")) == 0
    assert server.getsockopt(1, udp_socket.SO_RCVBUF) == (8192).to_bytes(4, "little")
    for _ in range(100):
        client.sendto(bytes(1000), B, 53)
    pair.run()
    counts = pair.b.counters()
    assert counts["udp_delivered"] + counts["udp_receive_full"] == counts["udp_in"]
    assert 0 < counts["udp_delivered"] <= 8
    assert server.drops == counts["udp_receive_full"]
    while server.recv(2000) != -errno.EAGAIN:
        pass
    assert pair.b.udp.received_bytes == 0


def test_full_send_queue_is_eagain_and_tells_when_there_is_room() -> None:
    pair = Pair()
    open_socket(pair.b, 53)
    client = open_socket(pair.a)
    client.owner = client
    while client.sendto(bytes(1000), B, 53) > 0:
        pass
    assert not client.events & errno.POLL_OUT
    assert client.send_room() == 0
    pair.run()
    assert client in pair.a.take_ready()
    assert client.events & errno.POLL_OUT


def test_broadcast_needs_permission_and_reaches_every_socket() -> None:
    pair = Pair()
    one, two = stack_socket_reusing(pair.b), stack_socket_reusing(pair.b)
    assert one.bind(ANY, 53) == two.bind(ANY, 53) == 0
    client = open_socket(pair.a)
    for to in (EVERYBODY, b"\xff\xff\xff\xff"):
        assert client.setsockopt(1, udp_socket.SO_BROADCAST, bytes(4)) == 0
        assert client.sendto(b"x", to, 53) == -errno.EACCES
        assert client.setsockopt(1, udp_socket.SO_BROADCAST, ON) == 0
        assert client.sendto(b"x", to, 53) == 1
        pair.run()
        assert one.recv(10) == two.recv(10) == b"x"
    assert pair.frames[-1][10:16] == b"\xff" * 6
    assert client.sendto(b"x", EVERYBODY, 99) == 1  # nobody is told that nobody is there
    pair.run()
    assert pair.b.counters()["icmp_errors_out"] == 0


def test_who_is_bound_to_the_broadcast_address_sends_from_its_own() -> None:
    """Nothing comes from everybody. [RFC 1122 3.2.1.3 d] [Linux ip(7)]"""
    pair = Pair()
    server, client = open_socket(pair.b, 53), pair.a.socket(INET, DGRAM)
    assert isinstance(client, UdpSocket)
    assert client.bind(EVERYBODY, 99) == 0
    assert client.sendto(b"x", B, 53) == 1
    pair.run()
    assert server.recvfrom(10) == (b"x", (A, 99), 1)


def test_wrong_use_is_an_errno() -> None:
    stack = make_stack(1)
    socket = open_socket(stack)
    assert socket.local is None and socket.peer is None
    assert socket.send(b"x") == -errno.EDESTADDRREQ
    assert socket.sendto(b"x", B, 0) == -errno.EINVAL
    assert socket.sendto(b"x", bytes(16), 1) == -errno.EAFNOSUPPORT
    assert socket.sendto(bytes(udp_socket.MAX_PAYLOAD + 1), B, 1) == -errno.EMSGSIZE
    assert socket.sendto(b"x", bytes((192, 0, 2, 1)), 1) == -errno.ENETUNREACH
    assert socket.connect(bytes((192, 0, 2, 1)), 1) == -errno.ENETUNREACH
    assert socket.listen(1) == socket.accept() == -errno.EOPNOTSUPP
    assert socket.shutdown(2) == -errno.ENOTCONN
    assert socket.getsockopt(6, 1) == socket.setsockopt(6, 1, ON) == -errno.ENOPROTOOPT
    assert socket.setsockopt(1, udp_socket.SO_RCVBUF, b"") == -errno.EINVAL
    assert stack.socket(INET, DGRAM, 6) == -errno.EPROTONOSUPPORT
    assert stack.socket(INET, 3) == -errno.ESOCKTNOSUPPORT


def test_shutdown_ends_both_ways() -> None:
    pair = Pair()
    client = open_socket(pair.a)
    client.connect(B, 53)
    assert client.shutdown(errno.SHUT_RDWR) == 0
    assert client.recv(10) == b""
    assert client.send(b"x") == -errno.EPIPE
    everything = errno.POLL_IN | errno.POLL_RDHUP | errno.POLL_HUP | errno.POLL_OUT
    assert client.events == everything


def test_gateway_hears_every_address_and_port_and_answers_from_there() -> None:
    pair = Pair(accept_any=True)
    catch_all = open_socket(pair.b, 0)
    dns = open_socket(pair.b, 53)
    client = open_socket(pair.a)
    far = bytes((10, 0, 0, 99))
    client.sendto(b"q", far, 4444)
    client.sendto(b"d", far, 53)
    pair.run()
    got = catch_all.receive()
    assert not isinstance(got, int)
    assert (got.data, got.source, got.destination) == (b"q", (A, client.port), (far, 4444))
    assert dns.recv(10) == b"d"
    assert catch_all.sendto(b"r", *got.source, got.destination) == 1
    pair.run()
    assert client.recvfrom(10) == (b"r", (far, 4444), 1)


def test_saved_and_loaded_it_goes_on() -> None:
    pair = Pair()
    server, client = open_socket(pair.b, 53), open_socket(pair.a)
    client.connect(B, 53)
    client.send(b"before")
    pair.run()
    client.send(b"waiting")
    state_a, state_b = pair.a.save(), pair.b.save()
    pair.a, pair.b = make_stack(1), make_stack(2)
    pair.a.load(state_a)
    pair.b.load(state_b)
    again = pair.b.socket_of(server.serial)
    assert isinstance(again, UdpSocket)
    assert again.recv(10) == b"before"
    pair.run()
    assert again.recvfrom(10) == (b"waiting", (A, client.port), 7)
    assert again.sendto(b"back", A, client.port) == 4
    pair.run()
    client_again = pair.a.socket_of(client.serial)
    assert isinstance(client_again, UdpSocket)
    assert client_again.recv(10) == b"back"


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=64), st.integers(0, 27), st.integers(0, 255), st.booleans())
def test_any_damage_is_delivered_right_or_dropped(
    data: bytes, at: int, value: int, trusted: bool
) -> None:
    """Nothing but the datagram that was sent is ever received, unless the link vouches for it."""
    stack = make_stack(2)
    server = open_socket(stack, 53)
    ip = Ipv4Repr(A, B, 17, 8 + len(data))
    packet = bytearray(ip.emit() + UdpRepr(9, 53, len(data)).emit(A, B, data))
    packet[at] = value
    vnet = bytes((2 if trusted else 0,)) + bytes(9)
    stack.input([vnet + stack.mac + bytes(6) + b"\x08\x00" + bytes(packet)], 1)
    got = server.recv(100)
    if not trusted and packet[26:28] != b"\0\0":
        assert got in (data, -errno.EAGAIN)
    stack.drain(1)
