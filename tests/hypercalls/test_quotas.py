"""Quotas: what one guest and its peers may take of the hypervisor's memory, and what then."""

from __future__ import annotations

import pytest
from engine_world import EngineWorld
from hypercall_guest import ADDRESS, IN, endpoint

from leulo.hypercalls import Limits, abi
from leulo.tcp.account import LEAST_BYTES
from leulo.tcp.config import Config
from leulo.tcp.socket import TcpSocket
from leulo.units import KIB, MIB, NS_PER_MS, NS_PER_S

Op, Errno = abi.Op, abi.Errno


def used(world: EngineWorld) -> int:
    return world.stack.counters()["tcp_buffered_bytes"]


def flood(world: EngineWorld, other: TcpSocket, rounds: int = 200) -> None:
    """The peer sends as much as it may; the guest reads nothing."""
    for _ in range(rounds):
        while other.send(bytes(60_000)) > 0:
            pass
        world.sleep(NS_PER_MS)


def test_account_is_empty_when_everything_is_read_and_acknowledged() -> None:
    """Add and subtract agree, with reordering, half-read buffers and resets."""
    world = EngineWorld()
    for number in range(20):
        handle, other = world.connected()
        world.guest.send(handle, bytes(50_000))
        other.send(bytes(40_000))
        now = world.clock.now_ns()
        frames = [b"".join(f) for f in world.other.drain(now)]
        world.stack.input(frames[::-1], now)  # out of order
        assert used(world) >= 50_000
        world.settle()
        world.guest.recv(handle, 10_000)
        if number % 3 == 0:
            other.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")
        elif number % 3 == 1:
            while isinstance(chunk := other.recv(MIB), bytes) and chunk:
                world.sleep(NS_PER_MS)
            world.guest.recv(handle, 400_000)
        other.close()
        world.settle()
        world.guest.call(Op.CLOSE, handle)
        world.sleep(200 * NS_PER_S)
        assert used(world) == 0, number


def test_connections_nobody_accepts_cost_no_more_than_the_quota() -> None:
    world = EngineWorld(tcp=Config(buffers_max=300 * KIB))
    world.guest.listen(80)
    clients = []
    for _ in range(20):
        client = world.other_socket()
        client.connect(ADDRESS, 80)
        clients.append(client)
    for _ in range(50):
        for client in clients:
            client.send(bytes(60_000))
        world.sleep(NS_PER_MS)
        # One frame of 64 KiB may go over it, and the least that each has.
        assert used(world) < 364 * KIB + 20 * LEAST_BYTES
    assert world.stack.counters().get("drop_tcp_buffers_full", 0) > 0


def test_window_shrinks_under_pressure_and_opens_again() -> None:
    """Past three quarters buffers offer little; whoever reads gets going again, and nothing of
    the stream is lost by it."""
    world = EngineWorld(tcp=Config(buffers_max=200 * KIB))
    hogs = []
    for _ in range(3):
        hog, more = world.connected()
        hogs.append(hog)
        if len(hogs) < 3:
            flood(world, more, 20)
        else:
            more.send(bytes(25_000))
            world.sleep(NS_PER_S)
    assert 150 * KIB < used(world) < 200 * KIB
    handle, other = world.connected()
    data = world.chance.randbytes(400_000)
    sent = 0
    received = b""
    freed = False
    for turn in range(20_000):
        sent += max(0, other.send(data[sent : sent + 50_000])) if sent < len(data) else 0
        world.sleep(5 * NS_PER_MS)
        got = world.guest.recv(handle, 60_000)
        received += got if isinstance(got, bytes) else b""
        if turn == 100:
            assert other.tcb is not None and other.tcb.snd_wnd <= 4 * KIB
            assert 65_535 < len(received) < 350_000  # slowly, but it goes on
        if turn > 100 and not freed:  # the others give up
            for hog in hogs:
                world.guest.call(Op.CLOSE, hog)
            freed = True
        if len(received) == len(data):
            break
    assert received == data
    assert turn < 1000


def test_reader_goes_on_although_others_have_taken_everything() -> None:
    """Whose buffer is empty has a little for itself, both ways."""
    world = EngineWorld(tcp=Config(buffers_max=200 * KIB))
    for _ in range(5):
        flood(world, world.connected()[1], 20)
    assert used(world) >= 200 * KIB
    handle, other = world.connected()
    data = world.chance.randbytes(20_000)
    assert other.send(data) == len(data)
    received = b""
    for _ in range(200):
        world.sleep(100 * NS_PER_MS)
        got = world.guest.recv(handle, 60_000)
        received += got if isinstance(got, bytes) else b""
    assert received == data
    for _ in range(10):
        assert world.guest.send(handle, bytes(10_000)).result == LEAST_BYTES
        assert world.guest.send(handle, bytes(10_000)).result == -Errno.ENOBUFS
        world.sleep(NS_PER_S)


def test_sending_past_the_quota_is_enobufs_and_recovers() -> None:
    world = EngineWorld(tcp=Config(buffers_max=100 * KIB))
    world.is_cut = False
    handles = [world.connected() for _ in range(4)]
    world.is_cut = True
    results = []
    for handle, _ in handles:
        while (result := world.guest.send(handle, bytes(20_000)).result) > 0:
            results.append(result)
        results.append(result)
    assert results[-1] == -Errno.ENOBUFS
    assert 100 * KIB <= used(world) <= 100 * KIB + 4 * LEAST_BYTES
    world.is_cut = False
    for _ in range(50):
        world.sleep(100 * NS_PER_MS)
        for _, other in handles:
            other.recv(MIB)
    assert used(world) == 0
    assert world.guest.send(handles[-1][0], b"again").result == 5


def test_sockets_past_the_quota_are_emfile() -> None:
    world = EngineWorld(limits=Limits(max_sockets=3))
    guest = world.guest
    listener = guest.listen(80)
    client = world.other_socket()
    client.connect(ADDRESS, 80)
    world.settle()
    extra = [guest.socket(), guest.socket()]
    assert guest.call(Op.SOCKET, args=(2, 1, 0)).result == -Errno.EMFILE
    answer = guest.call(Op.ACCEPT, listener)
    assert answer.result == -Errno.EMFILE and answer.events & IN  # it waits in the queue
    guest.call(Op.CLOSE, extra[0])
    assert guest.call(Op.ACCEPT, listener).result == 0


def test_connections_past_the_quota_are_refused_both_ways() -> None:
    world = EngineWorld(tcp=Config(connections_max=4))
    guest = world.guest
    listener = guest.listen(80, backlog=100)
    clients = [world.other_socket() for _ in range(10)]
    for client in clients:
        client.connect(ADDRESS, 80)
    world.sleep(20 * NS_PER_S)
    counters = world.stack.counters()
    assert counters["tcp_connections"] == 4 and counters["drop_accept_queue_full"] > 0
    handle = guest.socket()
    result = guest.call(Op.CONNECT, handle, peer=endpoint(ADDRESS, 80)).result
    assert result == -Errno.ENOBUFS
    while guest.call(Op.ACCEPT, listener).result == 0:
        pass
    guest.hypercalls.reset()
    world.settle()
    assert world.stack.counters()["tcp_connections"] == 0


def test_half_open_connections_are_bounded_over_all_listeners() -> None:
    world = EngineWorld(tcp=Config(half_open_max=10, has_syn_cookies=False))
    for port in (80, 81, 82):
        world.guest.listen(port)
    world.stack.input([_syn(world, port, number) for port in (80, 81, 82) for number in range(8)],
                      world.clock.now_ns())  # fmt: skip
    counters = world.stack.counters()
    assert counters["tcp_half_open"] == 10 and counters["drop_syn_queue_full"] == 14


def _syn(world: EngineWorld, port: int, number: int) -> bytes:
    """A SYN from a port that never answers."""
    tcp = b"".join((
        (20_000 + number).to_bytes(2, "big"), port.to_bytes(2, "big"), bytes(8),
        b"\x50\x02\xff\xff", bytes(4),
    ))  # fmt: skip
    ip = b"\x45\0\0\x28\0\0\0\0\x40\x06\0\0" + bytes((10, 0, 2, 2)) + ADDRESS
    ethernet = world.stack.mac + world.other.mac + b"\x08\0"
    return b"\x01" + bytes(9) + ethernet + ip + tcp  # its checksum is for the link to fill


def test_orphans_past_the_quota_are_reset() -> None:
    """Who opens, sends and closes without end holds no more than so many dying connections."""
    world = EngineWorld(tcp=Config(orphans_max=5))
    pairs = [world.connected() for _ in range(12)]
    world.is_cut = True
    for handle, _ in pairs:
        world.guest.send(handle, bytes(1000))
        world.guest.call(Op.CLOSE, handle)
    counters = world.stack.counters()
    assert counters["tcp_orphans"] == counters["tcp_connections"] == 5
    world.is_cut = False
    world.sleep(3000 * NS_PER_S)
    assert world.stack.counters()["tcp_orphans"] == used(world) == 0


@pytest.mark.parametrize("backlog", [0, 1, 5])
def test_accept_queue_holds_one_more_than_the_backlog(backlog: int) -> None:
    """As Linux; who comes later is not refused but waits for an answer."""
    world = EngineWorld()
    listener = world.guest.listen(80, backlog=backlog)
    clients = [world.other_socket() for _ in range(backlog + 4)]
    for client in clients:
        client.connect(ADDRESS, 80)
        world.settle()
    taken = 0
    while world.guest.call(Op.ACCEPT, listener).result == 0:
        taken += 1
    assert taken == backlog + 1
    for _ in range(20):
        world.sleep(5 * NS_PER_S)
        while world.guest.call(Op.ACCEPT, listener).result == 0:
            taken += 1
    assert taken == len(clients)
