"""Two stacks and a wire between them in virtual time, for the tests of the engine.

The wire delays, loses, repeats, reorders and corrupts frames by a seeded generator, so a failing
seed can be run again. Applications are plain objects that are asked after every event.
"""

from __future__ import annotations

import heapq
from random import Random

from leulo.links.sim.chance import Chance
from leulo.links.sim.damage import mark_congestion
from leulo.links.sim.wire import NEVER
from leulo.links.sim.wire import Wire as SimulatedWire
from leulo.links.sim.wire_spec import WireSpec
from leulo.stack import Stack, StackConfig
from leulo.tcp.config import Config
from leulo.tcp.socket import TcpSocket
from leulo.tcp.state import State
from leulo.trace import Trace

MS = 1_000_000
S = 1_000_000_000
ANY = bytes(4)
INET, STREAM = 2, 1


def address(n: int) -> bytes:
    return bytes((10, 0, 0, n))


def make_stack(
    n: int, *, checksum: bool = True, tso: int = 0, mtu: int = 1500, seed: int = 0, **knobs: object
) -> Stack:
    config = StackConfig(
        name=f"s{n}",
        mac=bytes((2, 0, 0, 0, 0, n)),
        address=address(n),
        prefix_length=24,
        mtu=mtu,
        checksum=checksum,
        tso_bytes=tso,
        tcp=Config(**knobs),  # type: ignore[arg-type]
    )
    return Stack(config, Random(seed * 1000 + n).getrandbits, Trace())


class Wire:
    """One direction each way with the same faults."""

    def __init__(
        self,
        a: Stack,
        b: Stack,
        *,
        seed: int = 0,
        delay_ns: int = 5 * MS,
        jitter_ns: int = 0,
        loss: float = 0.0,
        duplicate: float = 0.0,
        corrupt: float = 0.0,
    ) -> None:
        self.stacks = (a, b)
        self.random = Random(seed)
        self.delay_ns = delay_ns
        self.jitter_ns = jitter_ns
        self.loss = loss
        self.duplicate = duplicate
        self.corrupt = corrupt
        self.now_ns = 0
        self.flying: list[tuple[int, int, int, bytes]] = []
        self.serial = 0
        self.frames = 0
        self.cut = False
        self.log: list[tuple[int, int, bytes]] = []

    def _post(self, to: int, frame: bytes) -> None:
        self.serial += 1
        at = self.now_ns + self.delay_ns
        if self.jitter_ns:
            at += self.random.randrange(self.jitter_ns)
        heapq.heappush(self.flying, (at, self.serial, to, frame))

    def _arrivals_ns(self) -> list[int]:
        """When the next frame arrives, if one is under way."""
        return [self.flying[0][0]] if self.flying else []

    def _arrived(self) -> tuple[list[bytes], list[bytes]]:
        """The frames for each stack that are there by now."""
        arrived: tuple[list[bytes], list[bytes]] = ([], [])
        while self.flying and self.flying[0][0] <= self.now_ns:
            _, _, to, frame = heapq.heappop(self.flying)
            arrived[to].append(frame)
        return arrived

    def carry(self) -> None:
        """Take what the stacks want to send."""
        for i, stack in enumerate(self.stacks):
            while stack.has_output:
                frames = stack.drain(self.now_ns)
                if not frames:
                    break
                for parts in frames:
                    self.frames += 1
                    frame = b"".join(parts)
                    self.log.append((self.now_ns, i, frame))
                    if self.cut or (self.loss and self.random.random() < self.loss):
                        continue
                    if self.corrupt and self.random.random() < self.corrupt:
                        at = self.random.randrange(24, len(frame))
                        bad = frame[at] ^ (1 << self.random.randrange(8))
                        frame = frame[:at] + bytes((bad,)) + frame[at + 1 :]
                    self._post(1 - i, frame)
                    if self.duplicate and self.random.random() < self.duplicate:
                        self._post(1 - i, frame)

    def step(self, limit_ns: int) -> bool:
        """Go to the next event before ``limit_ns``; False if there is none."""
        self.carry()
        times = self._arrivals_ns()
        for stack in self.stacks:
            at = stack.next_deadline()
            if at is not None:
                times.append(at)
        if not times or min(times) > limit_ns:
            self.now_ns = max(self.now_ns, limit_ns)
            return False
        self.now_ns = max(self.now_ns, min(times))
        for stack, frames in zip(self.stacks, self._arrived(), strict=True):
            if frames:
                stack.input(frames, self.now_ns)
            stack.advance(self.now_ns)
        self.carry()
        return True

    def run(self, duration_ns: int, until=lambda: False) -> bool:  # type: ignore[no-untyped-def]
        """Until ``until()`` or the time is over; True if ``until()`` holds."""
        end = self.now_ns + duration_ns
        while not until():
            if not self.step(end):
                return bool(until())
        return True

    def replace_stacks(self, *others: Stack) -> None:
        """Others go on from where these are saved."""
        for old, new in zip(self.stacks, others, strict=True):
            new.load(old.save())
        self.stacks = others


class MarkingWire(Wire):
    """Marks a share of what may be marked."""

    marked = 0
    share = 0.02

    def _post(self, to: int, frame: bytes) -> None:
        if self.random.random() < self.share:
            changed = mark_congestion(frame)
            if changed is not None:
                self.marked += 1
                frame = changed
        super()._post(to, frame)


class Road(Wire):
    """A simulated wire with the same options each way; what goes to the second stack is
    ``there``."""

    def __init__(self, a: Stack, b: Stack, spec: WireSpec, seed: int) -> None:
        super().__init__(a, b)
        self.there = SimulatedWire.of(spec, Chance(seed, 1))
        self.back = SimulatedWire.of(spec, Chance(seed, 2))

    def _post(self, to: int, frame: bytes) -> None:
        (self.there if to else self.back).send(frame, self.now_ns)

    def _arrivals_ns(self) -> list[int]:
        arrives_ns = min(self.there.arrives_ns, self.back.arrives_ns)
        return [arrives_ns] if arrives_ns < NEVER else []

    def _arrived(self) -> tuple[list[bytes], list[bytes]]:
        return self.back.arrived(self.now_ns), self.there.arrived(self.now_ns)


def listen(stack: Stack, port: int = 80, backlog: int = 16) -> TcpSocket:
    socket = stack.socket(INET, STREAM)
    assert isinstance(socket, TcpSocket)
    assert socket.bind(ANY, port) == 0
    assert socket.listen(backlog) == 0
    return socket


def dial(stack: Stack, to: bytes, port: int = 80) -> TcpSocket:
    socket = stack.socket(INET, STREAM)
    assert isinstance(socket, TcpSocket)
    assert socket.connect(to, port) == -115
    return socket


def connect(wire: Wire, port: int = 80) -> tuple[TcpSocket, TcpSocket, TcpSocket]:
    """(client on stack 0, server on stack 1, listener), open on both sides."""
    a, b = wire.stacks
    listener = listen(b, port)
    client = dial(a, b.address, port)
    server: list[TcpSocket] = []

    def is_open() -> bool:
        if not server:
            got = listener.accept()
            if isinstance(got, TcpSocket):
                server.append(got)
        return bool(server) and client.state is State.ESTABLISHED

    assert wire.run(300 * S, is_open), (client.state, wire.stacks[1].counters())
    return client, server[0], listener


class Sender:
    """Writes ``data`` and then shuts down its side."""

    def __init__(self, socket: TcpSocket, data: bytes, chunk: int = 65536) -> None:
        self.socket = socket
        self.data = data
        self.chunk = chunk
        self.at = 0
        self.is_done = False

    def go(self) -> None:
        while not self.is_done:
            if self.at == len(self.data):
                self.socket.shutdown(1)
                self.is_done = True
                return
            count = self.socket.send(self.data[self.at : self.at + self.chunk])
            if count <= 0:
                assert count in (0, -11), count
                return
            self.at += count


class Receiver:
    """Reads to the end."""

    def __init__(self, socket: TcpSocket, chunk: int = 65536, limit: int = 1 << 40) -> None:
        self.socket = socket
        self.data = bytearray()
        self.chunk = chunk
        self.limit = limit
        self.is_done = False
        self.error = 0

    def go(self) -> None:
        while not self.is_done and len(self.data) < self.limit:
            got = self.socket.recv(self.chunk)
            if isinstance(got, int):
                if got != -11:
                    self.error = got
                    self.is_done = True
                return
            if not got:
                self.is_done = True
            self.data += got


def pump(wire: Wire, actors: list[Sender | Receiver], limit_ns: int = 3600 * S) -> bool:
    """Run until every actor is done."""

    def done() -> bool:
        for actor in actors:
            actor.go()
        return all(actor.is_done for actor in actors)

    return wire.run(limit_ns, done)


def close_all(wire: Wire, *sockets: TcpSocket) -> None:
    for socket in sockets:
        socket.close()
    wire.run(400 * S)


def tables(stack: Stack) -> dict[str, int]:
    """Sizes of everything that must be empty in the end."""
    counters = stack.counters()
    names = ("tcp_connections", "tcp_half_open", "tcp_time_wait", "tcp_timers", "tcp_sockets",
             "tcp_listeners", "tcp_bound_ports")  # fmt: skip
    return {name: counters[name] for name in names if counters[name]}
