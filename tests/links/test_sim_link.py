"""The simulated wire as a whole: two engines of ours, a lossy wire, a client, one clock."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import pytest

from leulo.clock import Clock
from leulo.errors import ConfigError
from leulo.links.base import TxFrame
from leulo.links.context import LinkContext
from leulo.links.poller import Poller
from leulo.links.sim import SimLink, open_sim
from leulo.links.sim.chance import Chance
from leulo.links.sim.response import expected_bytes
from leulo.stack import Stack, StackConfig
from leulo.tcp.errno import AF_INET, EAGAIN, SOCK_STREAM
from leulo.tcp.socket import TcpSocket
from leulo.trace import Trace
from leulo.units import NS_PER_S

GUEST = bytes((10, 0, 2, 15))
GATEWAY = bytes((10, 0, 2, 2))


class HandClock(Clock):
    is_virtual = True

    def __init__(self) -> None:
        self.ns = 0

    def now_ns(self) -> int:
        return self.ns


class Server:
    """HTTP with keep-alive on the guest's stack: ``/bytes/N`` for every path."""

    def __init__(self, stack: Stack, length: int) -> None:
        self.stack = stack
        self.length = length
        self.unsent: dict[TcpSocket, bytes] = {}
        self.heard: dict[TcpSocket, bytes] = {}
        listener = stack.socket(AF_INET, SOCK_STREAM)
        assert not isinstance(listener, int)
        assert listener.bind(GUEST, 80) == 0
        assert listener.listen(128) == 0
        listener.owner = self
        self.listener = listener

    def serve(self) -> None:
        for socket in self.stack.take_ready():
            if socket is self.listener:
                while not isinstance(connection := socket.accept(), int):
                    connection.owner = self
                    self.heard[connection] = self.unsent[connection] = b""
                    self.proceed(connection)
            else:
                self.proceed(socket)

    def proceed(self, socket: TcpSocket) -> None:
        while True:
            data = socket.recv(4096)
            if isinstance(data, int):
                if data != -EAGAIN:
                    self.forget(socket)
                    return
                break
            if not data:
                self.forget(socket)
                return
            self.heard[socket] += data
        body = expected_bytes(0, self.length)
        answer = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        requests = self.heard[socket].count(b"\r\n\r\n")
        if requests:
            self.heard[socket] = b""
            self.unsent[socket] += answer * requests
        while self.unsent[socket]:
            count = socket.send(self.unsent[socket])
            if count <= 0:
                break
            self.unsent[socket] = self.unsent[socket][count:]

    def forget(self, socket: TcpSocket) -> None:
        socket.owner = None
        socket.close()
        del self.heard[socket], self.unsent[socket]


class World:
    """A host's loop in small: the guest's stack on one side of the link, and time that jumps."""

    def __init__(self, options: str, *, length: int = 10_000, seed: int = 7) -> None:
        self.clock = HandClock()
        self.poller = Poller()
        chance = Chance(seed, 99)
        self.trace = Trace()
        self.events: list[dict[str, Any]] = []
        self.trace.subscribe("sim.*", lambda event: self.events.append(event.plain()))
        context = LinkContext(
            clock=self.clock,
            poller=self.poller,
            trace=self.trace,
            random_bits=chance.bits,
            guest_address=GUEST,
            prefix_length=24,
            gateway=GATEWAY,
            dns=GATEWAY,
        )
        self.link: SimLink = open_sim(options, context)
        self.stack = Stack(
            StackConfig(
                name="guest",
                mac=bytes.fromhex("525400123456"),
                address=GUEST,
                prefix_length=24,
                gateway=GATEWAY,
                checksum=self.link.offload.checksum,
                tso_bytes=self.link.offload.tso_bytes,
            ),
            chance.bits,
            Trace(),
        )
        self.length = length
        self.server: Server | None = None
        self.frames = hashlib.sha256()
        self.is_finished = False
        self.link.attach(self.receive)
        self.link.on_finished(self.finish)

    def finish(self) -> None:
        self.is_finished = True

    def listen(self) -> None:
        self.server = Server(self.stack, self.length)

    def receive(self, frames: Sequence[bytes]) -> None:
        for frame in frames:
            self.frames.update(self.clock.ns.to_bytes(8, "big") + frame)
        self.stack.input(frames, self.clock.ns)

    def run(self, limit_ns: int = 600 * NS_PER_S, step_ns: int | None = None) -> None:
        """Jump from deadline to deadline; ``step_ns`` makes the host look oftener for nothing."""
        while not self.is_finished and self.clock.ns < limit_ns:
            self.look()
            self.drain()
            dues = (self.link.next_deadline(), self.stack.next_deadline())
            target = max(self.clock.ns, min((due for due in dues if due is not None), default=-1))
            assert max(due is not None for due in dues), "nothing will ever happen again"
            while step_ns is not None and self.clock.ns + step_ns < target:
                self.clock.ns += step_ns
                self.link.advance(self.clock.ns)
            self.clock.ns = target

    def look(self) -> None:
        self.link.advance(self.clock.ns)
        due = self.stack.next_deadline()
        if due is not None and due <= self.clock.ns:
            self.stack.advance(self.clock.ns)
        if self.server is not None:
            self.server.serve()

    def drain(self) -> None:
        while self.stack.has_output:
            frames: Sequence[TxFrame] = self.stack.drain(self.clock.ns)
            if not frames:
                break
            for frame in frames:
                self.frames.update(self.clock.ns.to_bytes(8, "big") + b"".join(frame))
            self.link.transmit(frames, self.clock.ns)


def run(options: str, *, length: int = 10_000, step_ns: int | None = None, seed: int = 7) -> World:
    world = World(options, length=length, seed=seed)
    world.listen()
    world.run(step_ns=step_ns)
    world.poller.close()
    return world


LOSSY = "rate=20mbit,delay=20ms,queue=100,loss=0.01,seed=1,requests=50,path=/bytes/10000"


@pytest.mark.parametrize(
    "more", ["", ",keepalive=0", ",connections=4", ",keepalive=0,connections=8"]
)
def test_every_request_is_right_under_loss(more: str) -> None:
    world = run(LOSSY + more)
    counters = world.link.counters()
    assert world.is_finished
    assert (counters["requests_ok"], counters["requests_failed"]) == (50, 0)
    assert counters["lost_in"] + counters["lost_out"] > 0
    assert counters["bytes_out"] > 500_000


EVERYTHING = (
    "rate=20mbit,delay=10ms,queue=50,loss=0.01,jitter=2ms,reorder=0.02,reorder-by=4ms,"
    "duplicate=0.02,corrupt=0.02,ecn=20,down.delay=30ms,seed=3,requests=40,path=/bytes/20000,"
    "at=1s,up.loss=0.05,at=2s,up.loss=0.01,down.rate=5mbit"
)


@pytest.mark.parametrize("more", ["", "connections=6,keepalive=0,"])
def test_every_request_is_right_whatever_the_wire_does(more: str) -> None:
    """Lost, doubled, overtaken and damaged frames: TCP's checks and repairs hold each byte."""
    world = run(more + EVERYTHING, length=20_000)
    counters = world.link.counters()
    assert (counters["requests_ok"], counters["requests_failed"]) == (40, 0)
    for name in ("lost", "reordered", "duplicated", "corrupted"):
        assert counters[f"{name}_in"] + counters[f"{name}_out"] > 0, name
    dropped = world.stack.counters()["drop_checksum"]
    assert dropped + counters["far_checksum_drops"] > 0


def test_damage_alone_is_found_every_time() -> None:
    """Each damaged packet is dropped by one end or the other, and by nothing but its checks."""
    world = run("delay=5ms,corrupt=0.05,seed=5,requests=60,path=/bytes/20000", length=20_000)
    counters = world.link.counters()
    assert counters["requests_ok"] == 60
    damaged = counters["corrupted_in"] + counters["corrupted_out"]
    drops = sum(v for k, v in world.stack.counters().items() if k.startswith("drop_"))
    drops += sum(v for k, v in world.link._stack.counters().items() if k.startswith("drop_"))
    assert damaged > 20
    assert drops >= damaged - 2  # one may be on its way at the end


def test_directions_have_wires_of_their_own() -> None:
    """40 ms one way and 10 ms the other are a round trip of 50 ms, whichever is which."""
    for options in ("up.delay=40ms,down.delay=10ms", "up.delay=10ms,down.delay=40ms"):
        world = run(f"rate=0,{options},seed=1", length=10)
        (request,) = [e for e in world.events if e["event"] == "sim.request"]
        assert request["total_ns"] == 150_000_000  # ARP, handshake, request
    world = run("down.loss=0.05,seed=1,requests=20", length=10_000)
    counters = world.link.counters()
    assert counters["lost_in"] > 0 == counters["lost_out"]


def test_outage_in_the_script_is_survived() -> None:
    """Nothing passes for two seconds; the requests before are quick, the rest come after."""
    world = run("delay=5ms,seed=2,requests=400,at=0.5s,loss=1,at=2.5s,loss=0", length=1000)
    counters = world.link.counters()
    assert (counters["requests_ok"], counters["requests_failed"]) == (400, 0)
    times = [e["time_ns"] for e in world.events if e["event"] == "sim.request"]
    assert not [t for t in times if 520_000_000 < t < 2_500_000_000]
    assert min(times) < 500_000_000 and max(times) > 2_500_000_000


def test_impaired_wire_is_the_same_every_time_and_after_load() -> None:
    first = run(EVERYTHING, length=20_000).frames.hexdigest()
    assert first == run(EVERYTHING, length=20_000, step_ns=1_000_003).frames.hexdigest()
    assert first != run(EVERYTHING.replace("seed=3", "seed=4"), length=20_000).frames.hexdigest()


def test_same_seed_same_frames_however_often_the_host_looks() -> None:
    reference = run(LOSSY).frames.hexdigest()
    assert run(LOSSY).frames.hexdigest() == reference
    assert run(LOSSY, step_ns=333_333).frames.hexdigest() == reference
    assert run(LOSSY.replace("seed=1", "seed=2")).frames.hexdigest() != reference


def test_without_a_seed_of_its_own_the_wire_takes_the_runs() -> None:
    options = LOSSY.replace("seed=1,", "")
    reference = run(options, seed=3).frames.hexdigest()
    assert run(options, seed=3).frames.hexdigest() == reference
    assert run(options, seed=4).frames.hexdigest() != reference


def test_time_is_what_the_wire_takes() -> None:
    """10,000 bytes fit the initial window: one round trip to connect, one for the request."""
    world = run("rate=0,delay=25ms,requests=2,path=/bytes/10000")
    first, second = (event for event in world.events if event["event"] == "sim.request")
    # The first connection also asks for the guest's Ethernet address.
    assert first["connect_ns"] == pytest.approx(100_000_000, abs=1_000_000)
    assert second["total_ns"] == pytest.approx(50_000_000, abs=1_000_000)


def test_bottleneck_gives_its_rate_and_no_more() -> None:
    world = run("rate=10mbit,delay=1ms,queue=200,requests=1,path=/bytes/2000000", length=2_000_000)
    finished = world.events[-1]
    goodput = 2_000_000 * 8 * NS_PER_S // finished["elapsed_ns"]
    assert 8_500_000 < goodput < 10_000_000
    assert world.link.counters()["requests_ok"] == 1


def test_client_waits_for_a_guest_that_listens_late() -> None:
    world = World("delay=1ms,requests=1,path=/bytes/10000")
    world.run(limit_ns=NS_PER_S)
    refused = world.link.counters()["connects_refused"]
    assert refused > 10
    told = "0 of 1 requests were answered in full; the guest has taken none of"
    assert world.link.report() == f"{told} {refused} connections"
    world.listen()
    world.run()
    assert world.link.counters()["requests_ok"] == 1
    assert world.link.report() == "1 of 1 requests were answered in full"
    world.poller.close()


def test_wrong_bytes_are_a_failed_request() -> None:
    world = run("requests=3,path=/bytes/9999", length=10_000)
    assert world.link.counters()["requests_failed"] == 3
    assert "Content-Length 10000, not 9999" in world.events[-1]["first_error"]
    words = "0 of 3 requests were answered in full; request 0: Content-Length 10000, not 9999"
    assert world.link.report() == words


@pytest.mark.parametrize("options", [LOSSY, EVERYTHING.replace("at=1s", "at=500ms")])
def test_a_saved_link_goes_on_as_if_nothing_had_happened(options: str) -> None:
    """Connections open, requests half answered, frames on the wire: all of it moves over."""
    options = "connections=3," + options
    length = int(options.rpartition("path=/bytes/")[2].partition(",")[0])
    reference = run(options, length=length).link.counters()
    world = World(options, length=length)
    world.listen()
    world.run(limit_ns=700_000_000)
    assert 0 < world.link.counters()["requests_ok"] < 50
    state = world.link.save()
    moved = World(options, seed=999).link
    moved.load(state)
    assert moved.save() == state
    world.link = moved
    moved.attach(world.receive)
    moved.on_finished(world.finish)
    world.run()
    assert moved.counters() == reference
    world.poller.close()


def test_far_end_needs_an_address() -> None:
    context = LinkContext(
        clock=HandClock(), poller=Poller(), trace=Trace(), random_bits=Chance(1, 1).bits,
        guest_address=GUEST, prefix_length=24, gateway=None, dns=GATEWAY,
    )  # fmt: skip
    with pytest.raises(ConfigError, match="--gateway none"):
        open_sim("", context)
    context.poller.close()


def test_frame_longer_than_the_mtu_is_dropped_and_counted() -> None:
    world = World("requests=0")
    world.link.transmit([(bytes(10), bytes(1515))], 0)
    assert world.link.counters()["dropped_oversized"] == 1
    assert world.link.next_deadline() is None
    world.poller.close()
