"""Ping sockets: what Linux's do [Linux icmp(7)], over two stacks and a judge of the frames."""

from __future__ import annotations

from random import Random

import pytest
from scapy.layers.inet import ICMP
from test_udp_sockets import A, B, Pair, make_stack

from leulo.net.wire.icmp import IcmpRepr
from leulo.net.wire.icmpv6 import Icmpv6Repr
from leulo.net.wire.ipv4 import Ipv4Repr
from leulo.stack import Stack
from leulo.tcp import errno
from leulo.udp.socket import UdpSocket

INET, INET6, DGRAM, ICMP4, ICMP6 = 2, 10, 2, 1, 58
LOOPBACK = b"\x7f\0\0\1"
LOOPBACK_6 = bytes(15) + b"\1"
SOURCE = (b"\x0a\0\0\x02", 0)


def ping_socket(stack: Stack, family: int = INET) -> UdpSocket:
    socket = stack.socket(family, DGRAM, ICMP4 if family == INET else ICMP6)
    assert isinstance(socket, UdpSocket)
    return socket


def request(sequence: int, text: bytes = b"", family: int = INET) -> bytes:
    """As ping(8) writes it: no checksum, an identifier that will be replaced."""
    kind = 8 if family == INET else 128
    return bytes((kind, 0, 0, 0, 0xDE, 0xAD)) + sequence.to_bytes(2, "big") + text


@pytest.mark.parametrize("size", [0, 1, 56, 1472, 1473, 20_001, 65_507])
def test_a_request_is_answered_whole(size: int) -> None:
    pair = Pair()
    socket = ping_socket(pair.a)
    text = Random(size).randbytes(size)
    assert socket.sendto(request(7, text), B, 0) == 8 + size
    assert socket.local is not None
    identifier = socket.local[1]
    assert identifier
    pair.run()
    got = socket.recvfrom(70_000)
    assert not isinstance(got, int)
    reply, sender, length = got
    assert (sender, length) == ((B, 0), 8 + size)
    assert reply[:2] == b"\0\0" and reply[4:] == identifier.to_bytes(2, "big") + b"\0\7" + text
    assert IcmpRepr.parse(reply).payload == text, "its checksum is right"
    assert all(len(frame) <= 24 + 1500 for frame in pair.frames)
    if size <= 1472:
        sent = next(ICMP(f[44:]) for f in pair.frames if f[33:34] == b"\1" and f[44:45] == b"\x08")
        assert (sent.type, sent.code, sent.id, sent.seq) == (8, 0, identifier, 7)
    assert socket.recvfrom(70_000) == -errno.EAGAIN


def test_each_socket_gets_its_own_replies_and_nobody_those_of_others() -> None:
    pair = Pair()
    first, second = ping_socket(pair.a), ping_socket(pair.a)
    assert first.bind(bytes(4), 77) == 0
    assert second.sendto(request(1, b"second"), B, 0) == 14
    assert first.sendto(request(1, b"first"), B, 0) == 13
    pair.run()
    for socket, text in ((first, b"first"), (second, b"second")):
        got = socket.recv(100)
        assert isinstance(got, bytes) and got[8:] == text
        assert socket.recv(100) == -errno.EAGAIN
    first.close()
    stray = IcmpRepr(0, 0, 77 << 16 | 1, b"stray").emit()
    packet = Ipv4Repr(B, A, 1, len(stray)).emit() + stray
    pair.a.input([bytes(10) + pair.a.mac + pair.b.mac + b"\x08\0" + packet], pair.now_ns)
    assert pair.a.counters()["drop_icmp_reply_unasked"] == 1


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (b"", errno.EINVAL),
        (request(1)[:7], errno.EINVAL),
        (b"\0" + request(1)[1:], errno.EINVAL),  # a reply
        (b"\x08\1" + request(1)[2:], errno.EINVAL),  # a code
        (b"\x05" + request(1)[1:], errno.EINVAL),  # a redirect
        (request(1, bytes(65_508)), errno.EMSGSIZE),
    ],
)
def test_only_echo_requests_leave(message: bytes, error: int) -> None:
    pair = Pair()
    socket = ping_socket(pair.a)
    assert socket.sendto(message, B, 0) == -error
    pair.run()
    assert not any(frame[33:34] == b"\1" for frame in pair.frames)


def test_connected_it_hears_one_host_alone_and_of_errors() -> None:
    pair = Pair()
    socket = ping_socket(pair.a)
    assert socket.send(request(1)) == -errno.EDESTADDRREQ
    assert socket.connect(B, 0) == 0
    assert socket.peer == (B, 0)
    assert socket.send(request(1)) == 8
    pair.run()
    assert isinstance(socket.recv(100), bytes)
    assert socket.send(request(2)) == 8
    asked = next(f[24:] for f in (b"".join(f) for f in pair.a.drain(pair.now_ns)) if f[33] == 1)
    elsewhere = bytes((10, 0, 0, 9))
    assert socket.local is not None
    identifier = socket.local[1]
    for sender, message in (
        (elsewhere, IcmpRepr(0, 0, identifier << 16 | 2, b"").emit()),  # not who was asked
        (elsewhere, IcmpRepr(3, 1, 0, asked).emit()),  # a router: host unreachable
    ):
        packet = Ipv4Repr(sender, A, 1, len(message)).emit() + message
        pair.a.input([bytes(10) + pair.a.mac + pair.b.mac + b"\x08\0" + packet], pair.now_ns)
    assert socket.recv(100) == -errno.EHOSTUNREACH
    assert socket.recv(100) == -errno.EAGAIN


def test_the_stack_answers_itself() -> None:
    stack = make_stack(1)
    for target in (LOOPBACK, A):
        socket = ping_socket(stack)
        assert socket.sendto(request(1, b"self"), target, 0) == 12
        assert stack.drain(0) == []
        got = socket.recvfrom(100)
        assert not isinstance(got, int)
        assert got[0][8:] == b"self" and got[1] == (target, 0)


def test_families_and_protocols_belong_together() -> None:
    stack = make_stack(1, has_ipv6=True)
    assert stack.socket(INET, DGRAM, ICMP6) == -errno.EPROTONOSUPPORT
    assert stack.socket(INET6, DGRAM, ICMP4) == -errno.EPROTONOSUPPORT
    assert stack.socket(INET, 1, ICMP4) == -errno.EPROTONOSUPPORT
    six = ping_socket(stack, INET6)
    assert six.sendto(request(1), LOOPBACK_6, 0) == -errno.EINVAL, "type 8 is IPv4's"
    assert six.sendto(request(1, b"six", INET6), LOOPBACK_6, 0) == 11
    assert six.sendto(request(1, b"", INET6), bytes(10) + b"\xff\xff" + A, 0) == -errno.EAFNOSUPPORT
    stack.drain(0)
    got = six.recvfrom(100)
    assert not isinstance(got, int)
    assert got[0][0] == 129 and got[1] == (LOOPBACK_6, 0)
    assert Icmpv6Repr.parse(got[0], LOOPBACK_6, LOOPBACK_6).payload == b"six"


def test_a_socket_tells_its_protocol() -> None:
    stack = make_stack(1, has_ipv6=True)
    for family, protocol, found in ((INET, 0, 17), (INET6, 17, 17), (INET, 1, 1), (INET6, 58, 58)):
        socket = stack.socket(family, DGRAM, protocol)
        assert isinstance(socket, UdpSocket)
        for name, value in ((38, found), (39, family), (3, DGRAM)):
            assert socket.getsockopt(1, name) == value.to_bytes(4, "little")


def test_a_flood_of_replies_ends_at_the_buffer() -> None:
    pair = Pair()
    socket = ping_socket(pair.a)
    socket.setsockopt(1, 8, (4096).to_bytes(4, "little"))
    for number in range(50):
        socket.sendto(request(number, bytes(1000)), B, 0)
    pair.run(10)
    counts = pair.a.counters()
    assert counts["ping_out"] == 50
    assert socket.drops == counts["udp_receive_full"] == 50 - counts["ping_in"] > 0


def test_what_is_saved_goes_on() -> None:
    pair = Pair()
    socket = ping_socket(pair.a)
    socket.sendto(request(3, b"saved"), B, 0)
    state = pair.a.save()
    pair.a = make_stack(1)
    pair.a.load(state)
    again = pair.a.socket_of(socket.serial)
    assert isinstance(again, UdpSocket)
    pair.run()
    got = again.recv(100)
    assert isinstance(got, bytes) and got[8:] == b"saved"
    again.close()
    assert pair.a.udp._bound == {}
