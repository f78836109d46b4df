"""Bulk flows from one stack to another over two wires, in virtual time.

The path there has a rate, a queue, a delay and losses; the way back only the delay. Senders
always have something to send and receivers read at once, so what is seen is the engine's doing.
Everything is integers and seeded: the same arguments give the same result on every machine.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import ClassVar, Final

from leulo.errors import LeuloBug
from leulo.links.sim.chance import Chance
from leulo.links.sim.wire import NEVER, Wire
from leulo.links.sim.wire_spec import WireSpec
from leulo.stack import Stack, StackConfig
from leulo.tcp.config import PRESETS, Config
from leulo.tcp.errno import AF_INET, SOCK_STREAM
from leulo.tcp.socket import TcpSocket
from leulo.tcp.tcb import Tcb
from leulo.trace import Trace
from leulo.units import NS_PER_S

_PORT: Final = 5001
_CHUNK: Final = bytes(65_536)
_DRAIN_FRAMES: Final = 1 << 20
_IPPROTO_TCP: Final = 6
_TCP_CONGESTION: Final = 13
_BUFFER_BYTES: Final = 16 << 20
_READ_BYTES: Final = 1 << 20
_AHEAD_BYTES: Final = 1 << 14  # beyond a window: what recovery may let out besides


@dataclass(frozen=True, slots=True)
class Path:
    """The wire. ``loss`` is in parts per billion, ``rtt_ns`` is without queueing."""

    rate: int = 100_000_000  # bit/s
    rtt_ns: int = 40_000_000
    queue: int = 2_000  # packets
    loss: int = 0
    reorder: int = 0  # parts per billion of frames that are held back, so that others overtake
    reorder_by_ns: int = 0
    jitter_ns: int = 0  # at most so much more delay
    ecn: int = 0  # mark from so many packets in the queue on; the sender asks for ECN then
    loss_plan: Callable[[int], bool] | None = None  # by number of the data segment, from 0


@dataclass(frozen=True, slots=True)
class Sample:
    """The sender's state at one moment; sequence numbers count from the first byte."""

    time_ns: int
    cwnd: int
    ssthresh: int
    srtt_ns: int
    una: int
    nxt: int


@dataclass(slots=True)
class Flow:
    """One connection: what it was told, and what became of it."""

    congestion: str
    start_ns: int = 0
    bytes_limit: int = 0  # 0: without end
    delivered: int = 0
    mark: int = 0  # delivered at the moment measuring began
    retransmits: int = 0
    timeouts: int = 0  # of all flows together
    finished_ns: int = 0
    samples: list[Sample] = field(default_factory=list)
    sender: TcpSocket | None = None
    given: int = 0
    tcb: Tcb | None = None


@dataclass(slots=True)
class Result:
    """What a simulation gave. ``hops`` counts frames that went over either wire."""

    flows: list[Flow]
    duration_ns: int
    measured_ns: int
    hops: int
    dropped: int  # found the queue full
    lost: int
    marked: int

    def rate(self, flow: int = 0) -> int:
        """Payload bit/s that the receiver got while it was measured."""
        got = self.flows[flow].delivered - self.flows[flow].mark
        return got * 8 * NS_PER_S // max(1, self.measured_ns)


class Simulation:
    """Run flows over a path. ``sample_ns`` 0 takes no samples."""

    total_hops: ClassVar[int] = 0  # of all that this process has run

    def __init__(
        self,
        path: Path,
        flows: list[Flow],
        seed: int,
        *,
        sample_ns: int = 0,
        config: Config | None = None,
        preset: str = "linux",
        trace: Trace | None = None,
    ) -> None:
        """``trace`` is told what the sender does."""
        self.flows = flows
        self._path = path
        self._sample_ns = sample_ns
        tcp = config or replace(PRESETS[preset], rcv_max=_BUFFER_BYTES, snd_max=_BUFFER_BYTES)
        if path.ecn:
            tcp = replace(tcp, ecn=1)
        self._a = _stack("sender", 1, tcp, seed, trace)
        self._b = _stack("receiver", 2, tcp, seed, None)
        spec = WireSpec(
            path.rate, path.rtt_ns // 2, path.queue,
            reorder=path.reorder, reorder_by=path.reorder_by_ns,
            jitter=path.jitter_ns, ecn=path.ecn,
        )  # fmt: skip
        there = Wire.of(spec, Chance(seed, 1))
        self._there = there
        self._back = Wire(0, path.rtt_ns - path.rtt_ns // 2, 1 << 20, 0, Chance(seed, 2))
        self._chance = Chance(seed, 3)
        self._is_lossy = path.loss > 0 or path.loss_plan is not None
        self._lost = 0
        self._data_segments = 0
        self._chunk_bytes = min(len(_CHUNK), tcp.snd_default)
        listener = _open(self._b)
        if listener.bind(bytes(4), _PORT) or listener.listen(64):
            raise LeuloBug("the receiver cannot listen")
        self._listener = listener
        self._by_port: dict[int, Flow] = {}
        self._writers: list[Flow] = []  # that have something to send
        self._readers: dict[int, tuple[Flow, TcpSocket]] = {}  # by the socket's serial number
        self._unfinished = len(flows)
        self._unaccepted = len(flows)
        self._due_a = self._due_b = NEVER  # of the stacks

    def run(self, duration_ns: int, measure_from_ns: int = 0) -> Result:
        """Until ``duration_ns``, or until every limited flow has delivered its bytes."""
        # Nothing that a flow leaves behind refers to itself; to look for it costs a fiftieth.
        has_collector = gc.isenabled()
        gc.disable()
        try:
            return self._run(duration_ns, measure_from_ns)
        finally:
            if has_collector:
                gc.enable()

    def _run(self, duration_ns: int, measure_from_ns: int) -> Result:
        now = 0
        next_sample = 0
        is_marked = not measure_from_ns
        waiting = sorted(self.flows, key=lambda flow: flow.start_ns)
        while now < duration_ns and self._unfinished:
            until = duration_ns
            while waiting and waiting[0].start_ns <= now:
                self._begin(waiting.pop(0))
            if waiting:
                until = min(until, waiting[0].start_ns)
            if not is_marked and now >= measure_from_ns:
                is_marked = True
                for flow in self.flows:
                    flow.mark = flow.delivered
            if not is_marked:
                until = min(until, measure_from_ns)
            if self._sample_ns:
                if now >= next_sample:
                    self._take_samples(now)
                    next_sample = now + self._sample_ns
                until = min(until, next_sample)
            now = self._carry(now, until)
        hops = self._there.frames + self._back.frames + self._lost
        Simulation.total_hops += hops
        counts = self._a.counters()
        for flow in self.flows:
            if flow.tcb is not None:
                flow.retransmits = flow.tcb.retransmits
            flow.timeouts = counts["tcp_timeouts"]
        return Result(
            self.flows,
            now,
            now - measure_from_ns,
            hops,
            self._there.overflowed,
            self._lost,
            self._there.marked,
        )

    # -- inside

    def _begin(self, flow: Flow) -> None:
        socket = _open(self._a)
        name = flow.congestion.encode()
        if socket.setsockopt(_IPPROTO_TCP, _TCP_CONGESTION, name):
            raise ValueError(f"there is no congestion control {flow.congestion!r}")
        socket.connect(self._b.address, _PORT)
        socket.owner = flow
        flow.sender = socket
        self._writers.append(flow)
        self._due_a = 0  # it has a SYN to send
        local = socket.local
        if local is not None:
            self._by_port[local[1]] = flow

    def _carry(self, now: int, until: int) -> int:
        """What happens from ``now`` on, before ``until`` or before the last limited flow is done;
        returns that time. A side at which nothing happens is left alone."""
        a, b, there, back = self._a, self._b, self._there, self._back
        is_lossy = self._is_lossy
        due_a, due_b = self._due_a, self._due_b  # when a stack has something to do by itself
        while now < until:
            has_come = there.arrives_ns <= now
            if has_come or due_b <= now:
                if has_come:
                    b.input(there.arrived(now), now)
                    if self._unaccepted:
                        self._accept()
                    self._read(now)
                if due_b <= now:
                    b.advance(now)
                if b.has_output:
                    for parts in b.drain(now, _DRAIN_FRAMES):
                        back.send(b"".join(parts), now)
                when = b.next_deadline()
                due_b = NEVER if when is None else when
            has_come = back.arrives_ns <= now
            if has_come or due_a <= now:
                if has_come:
                    a.input(back.arrived(now), now)
                if due_a <= now:
                    a.advance(now)
                self._write()
                for parts in a.drain(now, _DRAIN_FRAMES):
                    if is_lossy and len(parts) > 1 and self._is_lost():  # it carries data
                        self._lost += 1
                    else:
                        there.send(b"".join(parts), now)
                when = a.next_deadline()
                due_a = NEVER if when is None else when
            if not self._unfinished:
                break
            due = due_a if due_a < due_b else due_b
            if there.arrives_ns < due:
                due = there.arrives_ns
            if back.arrives_ns < due:
                due = back.arrives_ns
            now = due if due > now else now + 1
        self._due_a, self._due_b = due_a, due_b
        return now if now < until else until

    def _is_lost(self) -> bool:
        plan = self._path.loss_plan
        if plan is None:
            return self._chance.happens(self._path.loss)
        self._data_segments += 1
        return plan(self._data_segments - 1)

    def _accept(self) -> None:
        while True:
            accepted = self._listener.accept()
            if not isinstance(accepted, TcpSocket):
                return
            peer = accepted.peer
            if peer is not None:
                flow = self._by_port[peer[1]]
                self._readers[accepted.serial] = flow, accepted
                self._unaccepted -= 1
                accepted.owner = flow
                self._b.engine.notify(accepted)  # of what has come already

    def _read(self, now: int) -> None:
        for ready in self._b.take_ready():
            flow, receiver = self._readers[ready.serial]
            while isinstance(data := receiver.recv(_READ_BYTES), bytes):
                flow.delivered += len(data)
                if len(data) < _READ_BYTES:
                    break
            if flow.bytes_limit and flow.delivered >= flow.bytes_limit and not flow.finished_ns:
                flow.finished_ns = now
                self._unfinished -= 1

    def _write(self) -> None:
        for flow in self._writers:
            tcb = flow.tcb
            if tcb is not None and tcb.snd_end - tcb.snd_nxt >= 3 * tcb.cwnd + _AHEAD_BYTES:
                continue  # more than can leave now
            sender = flow.sender
            if sender is None or (flow.bytes_limit and flow.given >= flow.bytes_limit):
                continue
            while (room := sender.send_room()) >= self._chunk_bytes or (
                room > 0 and flow.bytes_limit and flow.bytes_limit - flow.given <= room
            ):
                count = self._chunk_bytes
                if flow.bytes_limit:
                    count = min(count, flow.bytes_limit - flow.given)
                if count <= 0:
                    break
                flow.given += sender.send(_CHUNK[:count])
            if tcb is None:
                flow.tcb = sender.tcb

    def _take_samples(self, now: int) -> None:
        for flow in self.flows:
            tcb = flow.tcb
            if tcb is not None and tcb.srtt_ns:
                first = tcb.iss + 1
                flow.samples.append(
                    Sample(
                        now, tcb.cwnd, tcb.ssthresh, tcb.srtt_ns,
                        tcb.snd_una - first, tcb.snd_nxt - first,
                    )
                )  # fmt: skip


def _stack(name: str, number: int, tcp: Config, seed: int, trace: Trace | None) -> Stack:
    config = StackConfig(
        name=name,
        mac=bytes((2, 0, 0, 0, 0, number)),
        address=bytes((10, 0, 0, number)),
        prefix_length=24,
        checksum=True,
        tcp=tcp,
    )
    return Stack(config, Random(seed * 2 + number).getrandbits, trace or Trace())


def _open(stack: Stack) -> TcpSocket:
    socket = stack.socket(AF_INET, SOCK_STREAM)
    if not isinstance(socket, TcpSocket):
        raise LeuloBug("a fresh stack has no socket to give")
    return socket
