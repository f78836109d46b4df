"""Time to live and type of service of datagrams: what a user sets is what is sent."""

from __future__ import annotations

from struct import pack

import pytest
from datagram_judge import check_as_linux
from test_ping_sockets import ICMP4, ICMP6, request
from test_udp_sockets import DGRAM, INET, B, Pair, make_stack, open_socket

from leulo.net.wire.ipv4 import Ipv4Repr
from leulo.net.wire.ipv6 import Ipv6Repr
from leulo.udp.socket import UdpSocket

INET6 = 10
IP, IPV6 = 0, 41
TOS, TTL, HOPS, TCLASS = 1, 2, 16, 67
UDP, FRAGMENT = 17, 44
S = 1_000_000_000


@pytest.mark.parametrize("family", [INET, INET6])
def test_options_are_as_linux_has_them(family: int) -> None:
    options = ((IP, TOS), (IP, TTL), (IPV6, HOPS), (IPV6, TCLASS))
    check_as_linux(family, options, (5, -1, 0, 1, 255, 256, -2, 1 << 20))


def marks(pair: Pair, protocols: tuple[int, ...]) -> list[tuple[int, int]]:
    """Time to live and type of service of what the first stack sent since the last time."""
    frames, pair.frames = pair.frames, []
    found = []
    for frame in frames:
        if frame[16:22] != pair.a.mac:
            continue
        if frame[22:24] == b"\x08\x00":
            header = Ipv4Repr.parse(frame[24:])
            if header.protocol in protocols:
                found.append((header.ttl, header.traffic_class))
        elif frame[22:24] == b"\x86\xdd":
            header6 = Ipv6Repr.parse(frame[24:])
            if header6.next_header in protocols:
                found.append((header6.hop_limit, header6.traffic_class))
    return found


def set_to(socket: UdpSocket, level: int, name: int, value: int) -> None:
    assert socket.setsockopt(level, name, pack("<i", value)) == 0


@pytest.mark.parametrize("checksum", [True, False])
def test_each_datagram_goes_with_what_was_set_when_it_was_sent(checksum: bool) -> None:
    """[RFC 1122 4.1.4] As who traces a route has it: set, send, set, send. In fragments too."""
    pair = Pair(checksum=checksum)
    open_socket(pair.b, 53)
    client = open_socket(pair.a)
    assert client.connect(B, 53) == 0
    client.send(b"as it is")
    for ttl in (1, 2, 255):
        set_to(client, IP, TTL, ttl)
        client.send(b"x")
    set_to(client, IP, TOS, 0xBB)
    client.send(bytes(2_000))
    set_to(client, IP, TTL, -1)
    set_to(client, IP, TOS, 0)
    client.send(b"as it was")
    pair.run()
    assert marks(pair, (UDP,)) == [
        (64, 0), (1, 0), (2, 0), (255, 0), (255, 0xBB), (255, 0xBB), (64, 0),
    ]  # fmt: skip


def test_pings_have_them_too() -> None:
    pair = Pair()
    socket = pair.a.socket(INET, DGRAM, ICMP4)
    assert isinstance(socket, UdpSocket)
    set_to(socket, IP, TTL, 7)
    set_to(socket, IP, TOS, 8)
    assert socket.sendto(request(1), B, 0) == 8
    pair.run()
    assert marks(pair, (ICMP4,)) == [(7, 8)]
    assert isinstance(socket.recv(100), bytes), "and are answered"


@pytest.mark.parametrize("protocol", [0, ICMP6])
def test_ipv6_has_its_own(protocol: int) -> None:
    """[RFC 3493 5.1] [RFC 3542 6.5]"""
    pair = Pair()
    pair.a, pair.b = make_stack(1, has_ipv6=True), make_stack(2, has_ipv6=True)
    for _ in range(5):
        pair.now_ns += S
        pair.run(1)
    there = pair.b.socket(INET6, DGRAM)
    assert isinstance(there, UdpSocket)
    assert there.connect(bytes.fromhex("fe80" + "00" * 13 + "09"), 53) == 0
    socket = pair.a.socket(INET6, DGRAM, protocol)
    assert isinstance(socket, UdpSocket)
    set_to(socket, IP, TTL, 9)
    set_to(socket, IP, TOS, 16)
    data = request(1, bytes(2_000), INET6) if protocol else bytes(2_000)
    sent = (ICMP6 if protocol else UDP, FRAGMENT)
    assert socket.sendto(data, there.address, 53) == len(data)
    pair.run()
    assert marks(pair, (FRAGMENT,)) == [(64, 0)] * 2
    set_to(socket, IPV6, HOPS, 3)
    set_to(socket, IPV6, TCLASS, 0xA1)
    assert socket.sendto(data, there.address, 53) == len(data)
    assert socket.sendto(data[:100], there.address, 53) == 100
    pair.run()
    assert [m for m in marks(pair, sent) if m[0] != 255] == [(3, 0xA1)] * 3


def test_saved_and_loaded_they_are_the_same() -> None:
    """Also of what waits for the link."""
    pair = Pair()
    client = open_socket(pair.a)
    for level, name, value in ((IP, TTL, 3), (IP, TOS, 4)):
        set_to(client, level, name, value)
    client.sendto(b"waits", B, 53)
    set_to(client, IP, TTL, 5)
    state = pair.a.save()
    pair.a = make_stack(1)
    pair.a.load(state)
    again = pair.a.socket_of(client.serial)
    assert isinstance(again, UdpSocket)
    again.sendto(b"later", B, 53)
    pair.run()
    assert marks(pair, (UDP,)) == [(3, 4), (5, 4)]
