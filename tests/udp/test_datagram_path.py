"""Datagrams and the MTU of their path: what is cut, what is refused, what a router's word does."""

from __future__ import annotations

from struct import pack

import pytest
from datagram_judge import check_as_linux
from test_udp_sockets import DGRAM, INET, A, B, Pair, make_stack, open_socket

from leulo.net.wire.icmp import IcmpRepr
from leulo.net.wire.icmpv6 import Icmpv6Repr
from leulo.net.wire.ipv4 import Ipv4Repr
from leulo.net.wire.ipv6 import Ipv6Repr
from leulo.stack import Stack
from leulo.tcp import errno
from leulo.udp.socket import UdpSocket

INET6 = 10
IP, IPV6 = 0, 41
DISCOVER, MTU, DISCOVER6, MTU6, DONTFRAG = 10, 14, 23, 24, 62
DONT, WANT, DO, PROBE, INTERFACE, OMIT = range(6)

S = 1_000_000_000


def sent(pair: Pair) -> list[Ipv4Repr]:
    """The headers of UDP's packets that the first stack has sent since the last time."""
    frames, pair.frames = pair.frames, []
    packets = [frame[24:] for frame in frames if frame[22:24] == b"\x08\x00"]
    headers = [Ipv4Repr.parse(packet) for packet in packets]
    return [header for header in headers if header.protocol == 17 and header.source == A]


def report(pair: Pair, socket: UdpSocket, mtu: int, remote: bytes = B, port: int = 53) -> None:
    """A router says that a datagram of ``socket`` was too big."""
    quoted = Ipv4Repr(A, remote, 17, 1480, dont_fragment=True).emit()
    quoted += socket.port.to_bytes(2, "big") + port.to_bytes(2, "big") + bytes(4)
    text = IcmpRepr(3, 4, mtu, quoted).emit()
    frame = b"\2" + bytes(9) + pair.a.mac + bytes(6) + b"\x08\x00"
    packet = Ipv4Repr(bytes((10, 0, 0, 9)), A, 1, len(text)).emit() + text
    pair.a.input([frame + packet], pair.now_ns)


def opened(choice: int | None = None) -> tuple[Pair, UdpSocket, UdpSocket]:
    pair = Pair()
    server, client = open_socket(pair.b, 53), open_socket(pair.a)
    if choice is not None:
        assert client.setsockopt(IP, DISCOVER, pack("<i", choice)) == 0
    assert client.connect(B, 53) == 0
    client.send(b"so that both know each other")
    pair.run()
    assert server.recv(100)
    sent(pair)
    return pair, client, server


@pytest.mark.parametrize("family", [INET, INET6])
def test_options_are_as_linux_has_them(family: int) -> None:
    options = ((IP, DISCOVER), (IPV6, DISCOVER6), (IPV6, DONTFRAG), (IP, MTU))
    check_as_linux(family, options, (0, 1, 2, 3, 4, 5, 6, -1, 1 << 20), [(IPV6, MTU6)])


@pytest.mark.parametrize(
    ("choice", "fits", "larger"),
    [
        (DONT, False, "cut"),
        (WANT, True, "cut"),
        (DO, True, "refused"),
        (PROBE, True, "refused"),
        (INTERFACE, False, "refused"),
        (OMIT, False, "cut"),
    ],
)
def test_what_fits_the_link_and_what_does_not(choice: int, fits: bool, larger: str) -> None:
    """``fits``: a packet that is not cut here is not to be cut on its way."""
    pair, client, server = opened(choice)
    assert client.send(bytes(1472)) == 1472
    pair.run()
    assert [packet.dont_fragment for packet in sent(pair)] == [fits]
    assert len(server.recv(2000)) == 1472  # type: ignore[arg-type]
    if larger == "refused":
        assert client.send(bytes(1473)) == -errno.EMSGSIZE
        return
    assert client.send(bytes(1473)) == 1473
    pair.run()
    assert [packet.dont_fragment for packet in sent(pair)] == [False, False]
    assert len(server.recv(2000)) == 1473  # type: ignore[arg-type]


@pytest.mark.parametrize("choice", [WANT, DO])
def test_a_routers_word_makes_packets_smaller_and_is_told_once(choice: int) -> None:
    """[RFC 1191 6.4] [Linux ip(7)] The user of a connected socket hears of it."""
    pair, client, server = opened(choice)
    assert client.getsockopt(IP, MTU) == pack("<i", 1500)
    report(pair, client, 1000)
    assert client.getsockopt(IP, MTU) == pack("<i", 1000)
    assert client.send(b"x") == -errno.EMSGSIZE, "the pending error"
    assert client.send(bytes(1000 - 28)) == 1000 - 28
    if choice == DO:
        assert client.send(bytes(1000 - 27)) == -errno.EMSGSIZE
        return
    assert client.send(bytes(1400)) == 1400
    pair.run()
    assert [p.dont_fragment for p in sent(pair)] == [True, False, False]
    assert [len(server.recv(2000)) for _ in range(2)] == [972, 1400]  # type: ignore[arg-type]


def test_who_probes_is_told_and_goes_on_probing() -> None:
    """His packets are of any size up to the link's, whatever is known. [RFC 8899 3 (2), 4.5]"""
    pair, client, _ = opened(PROBE)
    report(pair, client, 1000)
    assert client.take_error() == errno.EMSGSIZE
    assert client.send(bytes(1472)) == 1472
    pair.run()
    [packet] = sent(pair)
    assert packet.dont_fragment and packet.payload_bytes == 1480


def test_what_is_known_of_a_path_is_for_streams_and_datagrams_alike() -> None:
    pair, client, _ = opened()
    report(pair, client, 1000)
    assert pair.a.engine.path_mtus.get(B, pair.now_ns) == 1000
    other = open_socket(pair.a)
    assert other.connect(B, 99) == 0
    assert other.getsockopt(IP, MTU) == pack("<i", 1000)
    pair.now_ns += 601 * S
    pair.run()
    assert other.getsockopt(IP, MTU) == pack("<i", 1500), "it ages"


def test_a_report_that_quotes_nothing_of_ours_is_not_believed() -> None:
    """Another port, another peer, less than any path has, no news. [RFC 8899 4.6.1]"""
    pair, client, _ = opened()
    port = client.port
    client.port = port + 1
    report(pair, client, 1000)
    client.port = port
    report(pair, client, 1000, port=54)
    report(pair, client, 1000, remote=bytes((10, 0, 0, 77)))
    for mtu in (1, 68, 551, 1500, 9000):
        report(pair, client, mtu)
    assert client.getsockopt(IP, MTU) == pack("<i", 1500)
    assert client.take_error() == 0
    counters = pair.a.counters()
    assert (counters["drop_icmp_no_connection"], counters["drop_icmp_mtu"]) == (3, 5)


@pytest.mark.parametrize("choice", [INTERFACE, OMIT])
def test_who_wants_no_reports_gets_none(choice: int) -> None:
    pair, client, _ = opened(choice)
    report(pair, client, 1000)
    assert client.take_error() == 0
    assert client.getsockopt(IP, MTU) == pack("<i", 1500)


def test_an_unconnected_socket_is_not_told_but_the_path_is_known() -> None:
    """It could not know which of its datagrams is meant. [RFC 1122 4.1.3.3]"""
    pair, client, _ = opened()
    client.disconnect()
    report(pair, client, 1000)
    assert client.take_error() == 0
    assert client.getsockopt(IP, MTU) == -errno.ENOTCONN
    assert pair.a.path_mtu(B) == 1000


def test_a_datagram_to_the_stack_itself_has_no_path() -> None:
    pair = Pair()
    client, server = open_socket(pair.a), open_socket(pair.a, 53)
    assert client.setsockopt(IP, DISCOVER, pack("<i", DO)) == 0
    assert client.connect(A, 53) == 0
    assert client.send(bytes(60_000)) == 60_000
    pair.run()
    assert len(server.recv(70_000)) == 60_000  # type: ignore[arg-type]


def test_saved_and_loaded_it_wants_the_same() -> None:
    pair, client, _ = opened(DO)
    again = make_stack(1)
    again.load(pair.a.save())
    found = again.socket_of(client.serial)
    assert isinstance(found, UdpSocket)
    assert found.getsockopt(IP, DISCOVER) == pack("<i", DO)


def ipv6() -> tuple[Stack, UdpSocket, bytes]:
    """A stack with its link-local address, and a socket connected to a neighbour."""
    stack = make_stack(1, has_ipv6=True)
    for second in range(5):
        stack.advance(second * S)
        stack.drain(second * S)
    socket = stack.socket(INET6, DGRAM)
    assert isinstance(socket, UdpSocket)
    remote = bytes.fromhex("fe80" + "00" * 13 + "09")
    assert socket.connect(remote, 53) == 0
    return stack, socket, remote


@pytest.mark.parametrize("name", [DISCOVER6, DONTFRAG])
def test_ipv6_too_is_not_cut_where_that_is_forbidden(name: int) -> None:
    stack, socket, remote = ipv6()
    assert socket.setsockopt(IPV6, name, pack("<i", DO)) == 0
    assert socket.getsockopt(IPV6, MTU6) == pack("<i", 1500)
    assert socket.send(bytes(1452)) == 1452
    assert socket.send(bytes(1453)) == -errno.EMSGSIZE
    here = socket.address
    quoted = Ipv6Repr(here, remote, 17, 1452).emit()
    quoted += socket.port.to_bytes(2, "big") + (53).to_bytes(2, "big") + bytes(4)
    text = Icmpv6Repr(2, 0, 1300, quoted).emit(remote, here)
    packet = Ipv6Repr(remote, here, 58, len(text), 255).emit() + text
    stack.input([b"\2" + bytes(9) + stack.mac + bytes(6) + b"\x86\xdd" + packet], 5 * S)
    assert socket.take_error() == errno.EMSGSIZE
    assert socket.getsockopt(IPV6, MTU6) == pack("<i", 1300)
    assert socket.send(bytes(1253)) == -errno.EMSGSIZE
    assert socket.send(bytes(1252)) == 1252
