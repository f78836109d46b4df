"""A hostile guest on the real engine: 20,000 descriptors, half of them mutations of good ones."""

from __future__ import annotations

from engine_world import EngineWorld
from hypercall_fuzz import RAM, Fuzzer
from hypercall_guest import ADDRESS

from leulo.hypercalls import Limits, abi
from leulo.tcp.socket import TcpSocket
from leulo.udp.socket import UdpSocket
from leulo.units import NS_PER_MS, NS_PER_S

SEED = 20_000
SOCKETS = 64


def test_20000_descriptors_harm_nobody() -> None:
    """No exception, no write outside what the descriptor names, no table past its quota."""
    world = EngineWorld(limits=Limits(max_sockets=SOCKETS), ring_entries=0, memory_bytes=RAM)
    chance = world.chance
    listeners = [world.other_listener(port) for port in (7, 80)]
    others: list[TcpSocket] = []
    echo = world.other.socket(2, 2)
    assert isinstance(echo, UdpSocket)
    echo.bind(bytes(4), 7)

    def turn() -> None:
        world.clock.time_ns += chance.choice([0, NS_PER_MS, 50 * NS_PER_MS, NS_PER_S])
        for _ in range(5):
            world.turn()
        for listener in listeners:
            if isinstance(other := listener.accept(), TcpSocket):
                others.append(other)
        if len(others) < 40:
            client = world.other_socket()
            client.connect(ADDRESS, chance.choice([7, 80, 81]))
            others.append(client)
        for other in others[-20:]:
            if isinstance(data := other.recv(5000), bytes) and data and other.send_room() > 5000:
                other.send(data)
        while not isinstance(got := echo.recvfrom(5000), int):
            echo.sendto(got[0], *got[1])
        if chance.random() < 0.2 and others:
            victim = others.pop(chance.randrange(len(others)))
            if chance.random() < 0.5:
                victim.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")
            victim.close()
        world.guest.hypercalls.deliver()

    fuzzer = Fuzzer(world.guest, SEED, turn)
    for _ in range(20_000):
        fuzzer.step()
    counters = world.guest.hypercalls.counters()
    assert counters["sockets"] <= SOCKETS and counters["ring.waiting"] <= SOCKETS
    for op in (abi.Op.SEND, abi.Op.RECV, abi.Op.ACCEPT, abi.Op.POLL, abi.Op.SUBSCRIBE):
        assert fuzzer.results[op] > 10, (op, fuzzer.results)
    for op in (abi.Op.SENDTO, abi.Op.RECVFROM):
        assert fuzzer.results[op] > 0, (op, fuzzer.results)
    assert world.stack.counters()["udp_delivered"] > 0

    # Whatever it did, the hypervisor is whole: a good guest starts over and is served.
    world.guest.hypercalls.reset()
    for other in others:
        other.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")
        other.close()
    for listener in listeners:
        listener.close()
    world.sleep(200 * NS_PER_S)
    stack = world.stack.counters()
    assert stack["tcp_connections"] == stack["tcp_sockets"] == stack["tcp_listeners"] == 0
    world.guest.tail = 0
    world.guest.hello()
    handle, other = world.connected()
    assert world.guest.send(handle, b"well").result == 4
    world.settle()
    assert other.recv(10) == b"well"
