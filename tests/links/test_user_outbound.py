"""Connections that the guest opens: told to it exactly as the host's network tells them; and
peers of the host that are dead or hostile, who harm nobody but themselves.
"""

from __future__ import annotations

import errno
import resource
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from raw_guest import DNS, RawGuest
from tcp_segments import TcpRepr
from user_world import GATEWAY, LINGER_NONE, GuestSocket, Port, World, echo, pattern, sink, source

from leulo.links.user.resolver import Resolvers
from leulo.net.wire.ipv4 import PROTOCOL_TCP

FIN, SYN, RST, ACK = 1, 2, 4, 16
MIB = 1 << 20


@pytest.fixture
def guests() -> Iterator[Callable[..., RawGuest]]:
    made: list[RawGuest] = []

    def make(**options: object) -> RawGuest:
        made.append(RawGuest(**options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for guest in made:
        guest.close()


@pytest.fixture
def worlds() -> Iterator[list[World]]:
    made: list[World] = []
    yield made
    for world in made:
        world.close()


def send(guest: RawGuest, to: tuple[bytes, int], flags: int, seq: int = 1000, ack: int = 0) -> None:
    segment = TcpRepr(4000, to[1], seq, ack, flags, 65_535)
    guest.send_ip(PROTOCOL_TCP, to[0], segment.emit(guest.address, to[0]))


def syn(guest: RawGuest, to: tuple[bytes, int], seq: int = 1000) -> None:
    send(guest, to, SYN, seq)


@pytest.fixture
def full() -> Iterator[tuple[socket.socket, list[socket.socket]]]:
    """A listener of the host whose queue is full: a further connection is never answered."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        fillers: list[socket.socket] = []
        for _ in range(2):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())
            fillers.append(filler)
        yield server, fillers
        for filler in fillers:
            filler.close()


# What the guest is told


def test_syn_is_answered_when_the_host_has_connected(guests: Callable[..., RawGuest]) -> None:
    guest = guests()
    with socket.create_server(("127.0.0.1", 0)) as server:
        syn(guest, (GATEWAY, server.getsockname()[1]))
        guest.until(lambda: guest.tcp)
        answer = guest.tcp[0][1]
        assert (answer.flags, answer.acknowledgment) == (SYN | ACK, 1001)
        server.settimeout(5)
        server.accept()[0].close()  # the host was connected first


def test_refusal_is_a_reset_and_no_handshake(guests: Callable[..., RawGuest]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        guest = guests()
        syn(guest, (GATEWAY, unused.getsockname()[1]))
        guest.until(lambda: guest.tcp)
        assert [(s.flags, s.sequence, s.acknowledgment) for _, s in guest.tcp] == [
            (RST | ACK, 0, 1001)
        ]
        assert guest.link.counters()["refused"] == 1


def test_host_that_does_not_answer_is_silence(
    guests: Callable[..., RawGuest], full: tuple[socket.socket, list[socket.socket]]
) -> None:
    """No SYN-ACK while nobody has answered, whatever is sent again; then one."""
    server, _ = full
    guest = guests()
    to = (GATEWAY, server.getsockname()[1])
    for _ in range(3):
        syn(guest, to)
        for _ in range(50):
            guest.turn()
    assert guest.tcp == []
    assert guest.link.counters()["connections_opening"] == 1
    server.settimeout(5)
    for _ in range(2):
        server.accept()[0].close()
    guest.until(lambda: guest.tcp)  # the host's kernel tries again after a second
    assert guest.tcp[0][1].flags == SYN | ACK


def test_guest_that_gives_up_takes_the_hosts_connection_with_it(
    guests: Callable[..., RawGuest], full: tuple[socket.socket, list[socket.socket]]
) -> None:
    guest = guests()
    to = (GATEWAY, full[0].getsockname()[1])
    syn(guest, to)
    send(guest, to, RST, seq=1001)
    counters = guest.link.counters()
    assert (counters["connections_opening"], counters["given_up"]) == (0, 1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        to = (GATEWAY, server.getsockname()[1])
        syn(guest, to)
        guest.until(lambda: guest.tcp)
        send(guest, to, RST, seq=1001)  # instead of the handshake's last ACK
        server.settimeout(5)
        connection = server.accept()[0]
        with connection, pytest.raises(ConnectionResetError):
            connection.settimeout(5)
            connection.recv(1)


def test_ack_for_a_syn_that_is_held_is_reset(
    guests: Callable[..., RawGuest], full: tuple[socket.socket, list[socket.socket]]
) -> None:
    """Nothing was sent that it could acknowledge. [RFC 9293 3.10.7.2]"""
    guest = guests()
    to = (GATEWAY, full[0].getsockname()[1])
    syn(guest, to)
    send(guest, to, ACK, seq=1001, ack=77)
    guest.until(lambda: guest.tcp)
    assert guest.tcp[0][1].flags == RST
    assert guest.tcp[0][1].sequence == 77


def test_address_that_is_nowhere_is_an_icmp_error(guests: Callable[..., RawGuest]) -> None:
    guest = guests()
    syn(guest, (bytes((10, 0, 2, 99)), 80))
    guest.until(lambda: guest.icmp)
    ip, message = guest.icmp[0]
    assert (ip.source, message.kind, message.code) == (GATEWAY, 3, 0)
    assert message.payload[20:28] == bytes.fromhex("0fa00050") + (1000).to_bytes(4, "big")
    assert guest.link.counters()["gateway.tcp_half_open"] == 0


def test_name_server_takes_tcp_too(
    guests: Callable[..., RawGuest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr("leulo.links.user.resolver.PORT", server.getsockname()[1])
        (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\n")
        guest = guests(resolvers=Resolvers(tmp_path / "resolv.conf"), host_loopback=False)
        syn(guest, (DNS, 53))
        guest.until(lambda: guest.tcp)
        assert guest.tcp[0][1].flags == SYN | ACK
        syn(guest, (DNS, 80), seq=5)
        guest.until(lambda: len(guest.tcp) == 2)
        assert guest.tcp[1][1].flags == RST | ACK


def test_held_syns_are_bounded_and_dropped_beyond(
    guests: Callable[..., RawGuest],
    full: tuple[socket.socket, list[socket.socket]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("leulo.links.user.gateway.MAX_CONNECTIONS", 32)
    guest = guests()
    port = full[0].getsockname()[1]
    for source_port in range(2000, 2100):
        segment = TcpRepr(source_port, port, 1, 0, SYN, 65_535)
        guest.send_ip(PROTOCOL_TCP, GATEWAY, segment.emit(guest.address, GATEWAY))
    counters = guest.link.counters()
    assert counters["connections_opening"] == 32
    assert counters["gateway.syn_cookies_sent"] == 0
    assert guest.tcp == []


# Peers of the host


def test_two_thousand_connections_at_once(worlds: list[World]) -> None:
    count = 2000
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < 3 * count:
        pytest.skip(f"this host gives a process {hard} descriptors, the test needs {3 * count}")
    world = World(Port(7))
    worlds.append(world)
    world.serve(7, echo)
    clients = []
    for number in range(count):
        clients.append(world.client(world.ports[0], b"%6d" % number * 100, shuts=False))
        if number % 100 == 99:
            world.until(lambda: world.link.counters()["connections"] == len(clients))
    world.until(lambda: all(len(client.received) == 600 for client in clients), 60)
    assert world.link.counters()["connections"] == count
    for number, client in enumerate(clients):
        assert client.received == b"%6d" % number * 100
        client.shuts = True
    world.until(lambda: all(client.has_ended for client in clients), 60)
    world.until(lambda: world.link.counters()["connections"] == 0)


def test_two_thousand_connections_of_the_guest(worlds: list[World]) -> None:
    count = 2000
    world = World(host_loopback=True)
    worlds.append(world)
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as server:
        server.setblocking(False)
        port = server.getsockname()[1]
        accepted: list[socket.socket] = []

        def accept() -> bool:
            try:
                while True:
                    accepted.append(server.accept()[0])
            except BlockingIOError:
                return len(accepted) == count

        for _ in range(count):
            world.connect(GATEWAY, port, sink)
        world.until(accept, 60)
        for number, connection in enumerate(accepted):
            connection.send(b"%d" % number)
            connection.close()
        world.until(lambda: all(c.has_ended for c in world.connections), 60)
        texts = sorted(int(bytes(c.received)) for c in world.connections)
        assert texts == list(range(count))
        assert all(c.error == 0 for c in world.connections)
    world.until(lambda: world.link.counters()["connections"] == 0)


@pytest.mark.parametrize("moment", [0, 1, 1000, 100_000, 3 * MIB])
def test_peer_that_resets_at_a_moment_ends_its_own_connection(
    worlds: list[World], moment: int
) -> None:
    """At once, and after so many bytes each way; another connection goes on undisturbed."""
    world = World(Port(7), Port(19), host_loopback=True)
    worlds.append(world)
    world.serve(7, echo)
    world.serve(19, source(pattern(4 * MIB)))
    steady = world.client(world.ports[0], pattern(8 * MIB, 2))
    hostile = world.client(world.ports[1], b"", shuts=False)
    world.until(lambda: hostile.is_over() or len(hostile.received) >= moment)
    hostile.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NONE)
    hostile.close()
    world.clients.remove(hostile)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        sender = world.connect(GATEWAY, server.getsockname()[1], source(pattern(4 * MIB)))
        accepted: list[socket.socket] = []
        received = 0

        def is_reset() -> bool:
            nonlocal received
            try:
                if not accepted:
                    accepted.append(server.accept()[0])
                    accepted[0].setblocking(False)
                while received < moment and (data := accepted[0].recv(65_536)):
                    received += len(data)
            except BlockingIOError:
                return False
            accepted[0].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NONE)
            accepted[0].close()
            return True

        world.until(is_reset)
        world.until(lambda: sender.error or sender.tcp.state == 0 or sender.has_ended)
        assert sender.error in (errno.ECONNRESET, errno.EPIPE)
    world.until(lambda: steady.has_ended)
    assert steady.received == pattern(8 * MIB, 2)
    world.until(lambda: world.link.counters()["connections"] == 0)


def test_peers_that_never_answer_never_accept_and_never_read_stall_nobody(
    worlds: list[World], full: tuple[socket.socket, list[socket.socket]]
) -> None:
    plenty = pattern(64 * MIB)  # more than all buffers on the way hold
    world = World(Port(7), Port(19), host_loopback=True)
    worlds.append(world)
    world.serve(7, echo)
    world.serve(19, source(plenty))
    dead: list[GuestSocket] = []
    for _ in range(50):  # never answered
        dead.append(world.connect(GATEWAY, full[0].getsockname()[1], sink))
    for _ in range(20):  # connected, never read
        world.client(world.ports[1], shuts=False).is_reading = False
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        for _ in range(20):  # connected, never accepted
            world.connect(GATEWAY, server.getsockname()[1], source(plenty))
        for _ in range(300):
            world.turn()
        quick = world.client(world.ports[0], pattern(10 * MIB, 3))
        world.until(lambda: quick.has_ended)
        assert quick.received == pattern(10 * MIB, 3)
        assert not any(c.error for c in dead)
        assert world.link.counters()["connections_opening"] == 50
        world.until(lambda: world.link.counters()["connections"] == 40)
        # Nothing piles up for them: their senders wait.
        assert all(
            c.sent < len(c.to_send) for c in world.connections if c.to_send and c.serve is not echo
        )
