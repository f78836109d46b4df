"""TCP and UDP over IPv6 between two stacks: the same engine, longer addresses."""

from __future__ import annotations

import hashlib
from random import Random

import pytest
from tcp_world import MS, S, Wire

from leulo.net.wire.ipv6 import Ipv6Repr, link_local
from leulo.stack import Stack, StackConfig
from leulo.tcp import errno
from leulo.tcp.config import Config
from leulo.tcp.socket import TcpSocket
from leulo.trace import Trace
from leulo.udp.socket import UdpSocket

INET, INET6, STREAM, DGRAM = 2, 10, 1, 2
ANY = bytes(16)
LOOPBACK = bytes(15) + b"\x01"
ON = (1).to_bytes(4, "little")


def global_address(n: int) -> bytes:
    return bytes.fromhex("fd00000000000000") + bytes(7) + bytes((n,))


def mapped(n: int) -> bytes:
    return bytes(10) + b"\xff\xff" + bytes((10, 0, 0, n))


def make_stack(n: int, *, checksum: bool = True, tso: int = 0, mtu: int = 1500) -> Stack:
    config = StackConfig(
        name=f"s{n}", mac=bytes((2, 0, 0, 0, 0, n)), address=bytes((10, 0, 0, n)),
        prefix_length=24, mtu=mtu, checksum=checksum, tso_bytes=tso, has_ipv6=True,
        address6=global_address(n), tcp=Config(),
    )  # fmt: skip
    return Stack(config, Random(n).getrandbits, Trace())


def make_wire(
    seed: int = 0, mtu: int = 1500, checksum: bool = True, tso: int = 0, **faults: float
) -> Wire:
    """Two stacks past duplicate address detection, which sees the same faults."""
    a, b = (make_stack(n, checksum=checksum, tso=tso, mtu=mtu) for n in (1, 2))
    wire = Wire(a, b, seed=seed, **faults)  # type: ignore[arg-type]
    wire.run(2 * S)
    return wire


def tcp(stack: Stack, family: int = INET6) -> TcpSocket:
    socket = stack.socket(family, STREAM)
    assert isinstance(socket, TcpSocket)
    return socket


def udp(stack: Stack, family: int = INET6) -> UdpSocket:
    socket = stack.socket(family, DGRAM)
    assert isinstance(socket, UdpSocket)
    return socket


def listen(stack: Stack, port: int = 80, address: bytes = ANY) -> TcpSocket:
    socket = tcp(stack)
    assert socket.bind(address, port) == 0
    assert socket.listen(8) == 0
    return socket


def open_connection(wire: Wire, to: bytes, listener: TcpSocket) -> tuple[TcpSocket, TcpSocket]:
    client = tcp(wire.stacks[0])
    assert client.connect(to, 80) == -errno.EINPROGRESS
    assert wire.run(30 * S, lambda: bool(listener.events & errno.POLL_IN))
    server = listener.accept()
    assert isinstance(server, TcpSocket)
    assert wire.run(30 * S, lambda: bool(client.events & errno.POLL_OUT))
    return client, server


def transfer(wire: Wire, source: TcpSocket, sink: TcpSocket, size: int, seed: int) -> None:
    data = Random(seed).randbytes(size)
    wanted, got = hashlib.sha256(data), hashlib.sha256()
    sent = received = 0
    end = wire.now_ns + 600 * S
    while received < size and wire.now_ns < end:
        room = source.send_room()
        if sent < size and room > 0:
            taken = source.send(data[sent : sent + room])
            assert taken > 0
            sent += taken
        while isinstance(piece := sink.recv(1 << 20), bytes) and piece:
            got.update(piece)
            received += len(piece)
        wire.step(end)
    assert received == size
    assert got.digest() == wanted.digest()


def test_addresses_become_ours_after_a_second_without_objection() -> None:
    stack = make_stack(1)
    assert not stack.is_local(global_address(1))
    assert tcp(stack).bind(global_address(1), 80) == -errno.EADDRNOTAVAIL
    wire = make_wire()
    a = wire.stacks[0]
    assert a.is_local(global_address(1)) and a.is_local(link_local(a.mac)) and a.is_local(LOOPBACK)
    assert a.counters()["ipv6_addresses"] == 2
    assert tcp(a).bind(global_address(1), 80) == 0


@pytest.mark.parametrize("to", ["global", "link-local"])
def test_stream_arrives_whole_and_closes(to: str) -> None:
    wire = make_wire()
    a, b = wire.stacks
    listener = listen(b)
    target = global_address(2) if to == "global" else link_local(b.mac)
    client, server = open_connection(wire, target, listener)
    own = global_address(1) if to == "global" else link_local(a.mac)
    assert server.peer == (own, client.local[1])  # type: ignore[index]
    assert client.tcb is not None and client.tcb.mss == 1500 - 60 - 12
    transfer(wire, client, server, 300_000, 1)
    transfer(wire, server, client, 300_000, 2)
    client.close()
    wire.run(S, lambda: server.recv(1) == b"")
    server.close()
    wire.run(200 * S)
    for stack in wire.stacks:
        counters = stack.counters()
        assert counters["tcp_connections"] == counters["tcp_time_wait"] == 0
        assert not [name for name in counters if name.startswith(("drop_tcp", "drop_check"))]


@pytest.mark.parametrize("seed", range(6))
def test_stream_survives_a_bad_wire(seed: int) -> None:
    wire = make_wire(
        seed, checksum=bool(seed & 1), loss=0.03, duplicate=0.02, jitter_ns=4 * MS,
        corrupt=0.01 if not seed & 1 else 0.0, tso=65_535 if seed == 5 else 0,
    )  # fmt: skip
    listener = listen(wire.stacks[1])
    client, server = open_connection(wire, global_address(2), listener)
    transfer(wire, client, server, 200_000, seed)
    transfer(wire, server, client, 200_000, seed + 100)


def test_super_segments_say_tcpv6_and_start_behind_forty_bytes() -> None:
    wire = make_wire(tso=65_535)
    listener = listen(wire.stacks[1])
    client, server = open_connection(wire, global_address(2), listener)
    transfer(wire, client, server, 2_000_000, 3)
    large = [f for _, _, f in wire.log if len(f) > 3000]
    assert large
    for frame in large:
        assert frame[1] == 4  # VIRTIO_NET_HDR_GSO_TCPV6
        assert int.from_bytes(frame[6:8], "little") == 54
        assert int.from_bytes(frame[4:6], "little") == 1428
        assert int.from_bytes(frame[28:30], "big") + 64 == len(frame)


def test_closed_port_refuses_and_nobody_there_is_unreachable() -> None:
    wire = make_wire()
    client = tcp(wire.stacks[0])
    assert client.connect(global_address(2), 81) == -errno.EINPROGRESS
    assert wire.run(S, lambda: bool(client.events & errno.POLL_ERR))
    assert client.take_error() == errno.ECONNREFUSED
    client = tcp(wire.stacks[0])
    assert client.connect(global_address(9), 81) == -errno.EINPROGRESS
    assert wire.run(20 * S, lambda: bool(client.events & errno.POLL_ERR))
    assert client.take_error() == errno.EHOSTUNREACH
    assert tcp(wire.stacks[0]).connect(bytes.fromhex("2001") + bytes(14), 80) == -errno.ENETUNREACH


def test_wildcard_listener_takes_both_families_unless_told_not_to() -> None:
    wire = make_wire()
    a, b = wire.stacks
    listener = listen(b)
    old = tcp(a, INET)
    assert old.connect(bytes((10, 0, 0, 2)), 80) == -errno.EINPROGRESS
    assert wire.run(S, lambda: bool(listener.events & errno.POLL_IN))
    accepted = listener.accept()
    assert isinstance(accepted, TcpSocket)
    assert accepted.local == (mapped(2), 80)
    assert accepted.peer is not None and accepted.peer[0] == mapped(1)
    assert listener.local == (ANY, 80)
    # The same port again: in conflict with either family.
    assert tcp(b, INET).bind(bytes(4), 80) == -errno.EADDRINUSE
    only = tcp(b)
    assert only.setsockopt(41, 26, ON) == 0
    assert only.bind(ANY, 81) == 0
    assert only.setsockopt(41, 26, ON) == -errno.EINVAL
    assert only.listen(1) == 0
    assert tcp(b, INET).bind(bytes(4), 81) == 0
    refused = tcp(a, INET)
    assert refused.connect(bytes((10, 0, 0, 2)), 81) == -errno.EINPROGRESS
    assert wire.run(S, lambda: bool(refused.events & errno.POLL_ERR))
    # And a v6 socket reaches v4 by a mapped address.
    client = tcp(a)
    assert client.connect(mapped(2), 80) == -errno.EINPROGRESS
    assert wire.run(S, lambda: bool(client.events & errno.POLL_OUT))
    assert client.peer == (mapped(2), 80)
    assert tcp(a, INET).connect(ANY, 80) == tcp(a, INET).bind(ANY, 1) == -errno.EAFNOSUPPORT
    assert tcp(a, INET).getsockopt(41, 26) == -errno.EOPNOTSUPP


def test_inside_the_stack_over_the_loopback_address() -> None:
    stack = make_stack(1)
    listener = listen(stack)
    client = tcp(stack)
    assert client.connect(LOOPBACK, 80) == -errno.EINPROGRESS
    stack.drain(0)
    server = listener.accept()
    assert isinstance(server, TcpSocket)
    assert server.peer is not None and server.peer[0] == LOOPBACK
    assert client.send(b"round") == 5
    stack.drain(0)
    assert server.recv(10) == b"round"
    box, sender = udp(stack), udp(stack)
    assert box.bind(LOOPBACK, 7) == 0
    assert sender.sendto(b"datagram", LOOPBACK, 7) == 8
    stack.drain(0)
    assert box.recvfrom(100) == (b"datagram", (LOOPBACK, sender.port), 8)


@pytest.mark.parametrize("size", [0, 1, 1452, 1453, 30_001, 65_527])
@pytest.mark.parametrize("checksum", [True, False])
def test_datagrams_in_one_packet_or_many(size: int, checksum: bool) -> None:
    wire = make_wire(checksum=checksum)
    server, client = udp(wire.stacks[1]), udp(wire.stacks[0])
    assert server.bind(ANY, 53) == 0
    data = Random(size).randbytes(size)
    assert client.sendto(data, global_address(2), 53) == size
    assert wire.run(S, lambda: bool(server.events & errno.POLL_IN))
    got = server.recvfrom(70_000)
    assert got == (data, (global_address(1), client.port), size)
    assert server.sendto(data, *got[1]) == size
    assert wire.run(S, lambda: bool(client.events & errno.POLL_IN))
    assert client.recv(70_000) == data


def test_datagram_socket_of_both_families_shows_mapped_addresses() -> None:
    wire = make_wire()
    server, old = udp(wire.stacks[1]), udp(wire.stacks[0], INET)
    assert server.bind(ANY, 53) == 0
    assert old.sendto(b"four", bytes((10, 0, 0, 2)), 53) == 4
    assert wire.run(S, lambda: bool(server.events & errno.POLL_IN))
    got = server.recvfrom(10)
    assert got == (b"four", (mapped(1), old.port), 4)
    assert server.sendto(b"back", *got[1]) == 4
    assert wire.run(S, lambda: bool(old.events & errno.POLL_IN))
    assert old.recv(10) == b"back"
    assert udp(wire.stacks[1], INET).bind(bytes(4), 53) == -errno.EADDRINUSE


def test_closed_datagram_port_is_told_by_icmpv6() -> None:
    wire = make_wire()
    client = udp(wire.stacks[0])
    assert client.connect(global_address(2), 9) == 0
    client.send(b"x")
    assert wire.run(S, lambda: bool(client.events & errno.POLL_ERR))
    assert client.recv(1) == -errno.ECONNREFUSED
    assert wire.stacks[1].counters()["icmpv6_errors_out"] == 1


def test_a_datagram_without_a_checksum_is_dropped() -> None:
    """[RFC 8200 8.1]"""
    stack = make_wire().stacks[1]
    datagram = (5).to_bytes(2, "big") + (9).to_bytes(2, "big") + (9).to_bytes(2, "big") + b"\0\0x"
    packet = Ipv6Repr(global_address(1), global_address(2), 17, len(datagram)).emit() + datagram
    frame = bytes(10) + stack.mac + bytes((2, 0, 0, 0, 0, 1)) + b"\x86\xdd" + packet
    stack.input([frame], 0)
    assert stack.counters()["drop_udp_no_checksum"] == 1


def test_saved_with_a_connection_it_goes_on() -> None:
    wire = make_wire()
    a, b = wire.stacks
    listener = listen(b)
    client, server = open_connection(wire, global_address(2), listener)
    client.send(b"before")
    wire.run(S)
    states = a.save(), b.save()
    again = make_stack(1), make_stack(2)
    for stack, state in zip(again, states, strict=True):
        stack.load(state)
    wire.stacks = again
    moved_client = again[0].socket_of(client.serial)
    moved_server = again[1].socket_of(server.serial)
    assert isinstance(moved_client, TcpSocket) and isinstance(moved_server, TcpSocket)
    assert moved_server.recv(100) == b"before"
    assert moved_server.family == INET6
    transfer(wire, moved_client, moved_server, 100_000, 4)


def test_without_ipv6_there_is_none() -> None:
    config = StackConfig("x", bytes(6), bytes((10, 0, 0, 1)), 24)
    stack = Stack(config, Random(1).getrandbits, Trace())
    assert stack.socket(INET6, STREAM) == stack.socket(INET6, DGRAM) == -errno.EAFNOSUPPORT
    assert stack.next_deadline() is None and not stack.has_output


@pytest.mark.parametrize("to", [mapped(2), global_address(2)])
def test_a_connection_that_is_answered_asks_for_no_neighbour(to: bytes) -> None:
    """However old what it knows of him is. [RFC 1122 3.3.1.4] [RFC 4861 7.3.1]"""
    wire = make_wire()
    client, server = open_connection(wire, to, listen(wire.stacks[1]))
    states: list[str] = []
    for _ in range(20):
        wire.run(10 * S)
        assert client.send(b"progress") == 8
        wire.run(S)
        assert server.recv(100) == b"progress"
        stack = wire.stacks[0]
        assert stack.ipv6 is not None
        entries = [*stack.arp.entries(), *stack.ipv6.host.ndp.entries()]
        states += [state for address, _, state in entries if address in (to, to[12:])]
    assert states == sorted(states) and states[-1] == "STALE"  # nobody has asked him since


def test_connections_of_an_address_whose_time_is_over_end_in_silence() -> None:
    """It is no source and no destination any more. [RFC 4862 5.5.4]"""
    wire = make_wire()
    _, b = wire.stacks
    listener = listen(b)
    client, server = open_connection(wire, global_address(2), listener)
    other, _ = open_connection(wire, link_local(b.mac), listener)
    assert b.ipv6 is not None
    b.ipv6.host.own.addresses[global_address(2)].valid_ns = wire.now_ns + S
    b.advance(wire.now_ns)
    b.ipv6._is_due_known = False
    wire.run(wire.now_ns + 2 * S)
    assert server.getsockopt(1, 4) == errno.ECONNABORTED.to_bytes(4, "little")
    wire.log.clear()
    client.send(b"is anybody there?")
    other.send(b"and there?")
    wire.run(wire.now_ns + 5 * S)
    said = [frame[32:48] for _, who, frame in wire.log if who == 1 and frame[22:24] == b"\x86\xdd"]
    assert global_address(2) not in said and link_local(b.mac) in said


def test_nothing_is_sent_from_an_address_whose_time_is_over() -> None:
    """By sockets that are bound to it, either. [RFC 4862 5.5.4]"""
    wire = make_wire()
    b = wire.stacks[1]
    caller, sender, connected = tcp(b), udp(b), udp(b)
    for socket in (caller, sender):
        assert socket.bind(global_address(2), 99) == 0
    assert connected.connect(global_address(1), 9) == 0
    assert b.ipv6 is not None
    del b.ipv6.host.own.addresses[global_address(2)]
    assert caller.connect(global_address(1), 80) == -errno.EADDRNOTAVAIL
    assert sender.sendto(b"x", global_address(1), 9) == -errno.EADDRNOTAVAIL
    assert connected.send(b"x") == -errno.EADDRNOTAVAIL
