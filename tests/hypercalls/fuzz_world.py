"""Where a hostile guest lives: the real engine, peers that behave and peers that do not.

`FuzzWorld` moves time, opens connections to the guest, answers, resets, and now and then saves
the machine and goes on from what it saved, or resets it. Its tables are looked at throughout.
"""

from __future__ import annotations

from dataclasses import replace

from engine_world import EngineWorld
from hypercall_fuzz import RAM, Fuzzer
from hypercall_guest import ADDRESS

from leulo.hypercalls import Limits
from leulo.tcp.config import Config
from leulo.tcp.socket import TcpSocket
from leulo.tcp.state import State
from leulo.udp.socket import UdpSocket
from leulo.units import KIB, NS_PER_MS, NS_PER_S

SOCKETS = 64
BUFFERS = 16
ENGINE_BYTES = 2048 * KIB
LINGER_NONE = b"\1\0\0\0\0\0\0\0"


class FuzzWorld:
    """One hostile guest and the world it is in; ``traced``: somebody watches all events."""

    def __init__(self, seed: int, traced: bool = False) -> None:
        limits = Limits(
            max_sockets=SOCKETS, max_buffers=BUFFERS, max_buffer_pieces=8, max_pieces=40,
            max_iovec=8, max_transfer=0x3000, max_events=128, storm_raises=4,
        )  # fmt: skip
        # One world in four has little room, so that what is beyond it happens all the time.
        few = Config(
            half_open_limit=0, half_open_max=3, first_ephemeral=40_000, last_ephemeral=40_020
        )  # fmt: skip
        tcp = replace(
            few if seed % 4 == 0 else Config(),
            buffers_max=ENGINE_BYTES, connections_max=256, orphans_max=32,
        )  # fmt: skip
        self.world = EngineWorld(
            limits=limits, ring_entries=0, memory_bytes=RAM, tcp=tcp, has_ipv6=True
        )
        self.chance = self.world.chance
        self.chance.seed(seed)
        self.events = 0
        if traced:
            self.world.guest.trace.subscribe("*", self._count)
        self.listeners = [self.world.other_listener(port) for port in (7, 80)]
        self.others: list[TcpSocket] = []
        datagrams = self.world.other.socket(2, 2)
        assert isinstance(datagrams, UdpSocket)
        self.datagrams = datagrams
        echo = self.world.other.socket(10, 2)
        assert isinstance(echo, UdpSocket)
        assert echo.bind(bytes(16), 7) == 0
        self.echo = echo
        self.fuzzer = Fuzzer(self.world.guest, seed, self._turn)
        self.most: dict[str, int] = {}

    def _count(self, event: object) -> None:
        self.events += 1

    def step(self) -> None:
        """One descriptor, and what comes of it."""
        self.fuzzer.step()
        if self.chance.random() < 0.0005:
            self._save_and_load()
        elif self.chance.random() < 0.0005:
            self.world.guest.hypercalls.reset()
            self.fuzzer.said_hello = False
            self.fuzzer.forget()
        if self.fuzzer.steps % 256 == 0:
            self._look()

    def _save_and_load(self) -> None:
        stack, calls = self.world.stack.save(), self.world.guest.hypercalls.save()
        self.world.stack.load(stack)
        self.world.guest.hypercalls.load(calls)

    def _turn(self) -> None:
        world, chance = self.world, self.chance
        world.clock.time_ns += chance.choice(
            [0, 0, 0, 1000, NS_PER_MS, 5 * NS_PER_MS, 50 * NS_PER_MS, NS_PER_S]
        )  # fmt: skip
        if chance.random() < (0.2 if world.is_cut else 0.01):
            world.is_cut = not world.is_cut
        for _ in range(3):
            world.turn()
        while not isinstance(got := self.echo.recvfrom(70_000), int):
            self.echo.sendto(got[0], *got[1])
        for box in list(world.stack.udp.sockets.values())[-4:]:
            if box.port:
                self.echo.sendto(b"news", bytes(10) + b"\xff\xff" + ADDRESS, box.port)
        for listener in self.listeners:
            while isinstance(other := listener.accept(), TcpSocket):
                self.others.append(other)
        for other in self.others:
            if other.state is State.CLOSED:
                other.close()
        self.others = [other for other in self.others if other.state is not State.CLOSED]
        if len(self.others) < 40:
            client = world.other_socket()
            client.connect(ADDRESS, chance.choice([7, 80, 80, 81]))
            self.others.append(client)
        for other in self.others[-20:]:
            if isinstance(data := other.recv(5000), bytes) and other.send_room() > 5000:
                other.send(data or b"hello")
        for port in (7, 80, 81, 40_000):
            self.datagrams.sendto(bytes(chance.choice([0, 1, 100, 3000])), ADDRESS, port)
        self.datagrams.recvfrom(5000)
        while len(self.others) > 60 or (self.others and chance.random() < 0.2):
            victim = self.others.pop(chance.randrange(len(self.others)))
            if chance.random() < 0.5:
                victim.setsockopt(1, 13, LINGER_NONE)
            victim.close()
        due = world.guest.hypercalls.next_deadline()
        if due is not None and due <= world.clock.now_ns():
            world.guest.hypercalls.deliver()

    def _look(self) -> None:
        """No table is past its quota."""
        calls, stack = self.world.guest.hypercalls.counters(), self.world.stack.counters()
        for name, value, limit in (
            ("sockets", calls["sockets"], SOCKETS),
            ("ring.waiting", calls["ring.waiting"], SOCKETS),
            ("buffers", calls["buffers"], BUFFERS),
            ("tcp_sockets", stack["tcp_sockets"], SOCKETS),
            ("tcp_connections", stack["tcp_connections"], 256),
            ("tcp_orphans", stack["tcp_orphans"], 32),
            # What one write and one batch of frames may add after the last look at the account.
            ("tcp_buffered_bytes", stack["tcp_buffered_bytes"], ENGINE_BYTES + 0x3000),
        ):
            assert 0 <= value <= limit, f"{name}: {value}, of {limit}"
            self.most[name] = max(value, self.most.get(name, 0))

    def finish(self) -> None:
        """Whatever it did, the hypervisor is whole: all is given back, and a good guest that
        comes after is served."""
        world = self.world
        world.is_cut = False
        world.guest.hypercalls.reset()
        for other in self.others:
            other.setsockopt(1, 13, LINGER_NONE)
            other.close()
        for listener in self.listeners:
            listener.close()
        self.datagrams.close()
        world.sleep(200 * NS_PER_S)
        stack = world.stack.counters()
        for name in ("connections", "sockets", "listeners", "orphans", "buffered_bytes"):
            assert stack["tcp_" + name] == 0, f"{name}: {stack['tcp_' + name]}"
        world.guest.tail = 0
        assert world.guest.hello().status == 0
        handle, other = world.connected()
        assert world.guest.send(handle, b"well").result == 4
        world.settle()
        assert other.recv(10) == b"well"
