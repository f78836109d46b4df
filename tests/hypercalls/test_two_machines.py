"""Two machines in one process: neither sees, disturbs or starves the other by any hypercall."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypercall_guest import endpoint
from two_machines import (
    CALL,
    DATA,
    FOREVER,
    Pair,
    call,
    connect,
    hello,
    listen,
    storm_program,
    write,
)

from leulo.bench.guests import arithmetic, hypercalls
from leulo.clock import RealClock
from leulo.config import DEFAULT_QUANTUM_NS
from leulo.host import MOST_QUANTA, SLICE_NS
from leulo.hypercalls import abi
from leulo.machine import Machine
from leulo.outcome import Ending
from leulo.units import MIB, NS_PER_MS, NS_PER_S

Op, Errno, Flag = abi.Op, abi.Errno, abi.Flag
TIME_CALL = 0x400000  # of the guest that does nothing but hypercalls
HELLO_CALL = 0x400100


@pytest.fixture
def pair() -> Iterator[Pair]:
    both = Pair(hypercalls(FOREVER), arithmetic(1000))
    hello(both.a)
    hello(both.b)
    yield both
    both.close()


def test_handles_of_the_other_are_nothing(pair: Pair) -> None:
    """Every operation on every number that the other has, sockets and buffers."""
    listener = listen(pair.b, 80)
    handle, _ = connect(pair, pair.b, pair.b, 80, listener)
    buffer = call(pair.b, Op.BUFFER_REGISTER, args=(DATA, 4096)).handle
    before = pair.b.hypercalls.counters()
    for number in (listener, handle, buffer):
        for op in (
            Op.BIND, Op.LISTEN, Op.CONNECT, Op.ACCEPT, Op.SHUTDOWN, Op.CLOSE, Op.SEND, Op.RECV,
            Op.SENDTO, Op.RECVFROM, Op.GETSOCKNAME, Op.GETPEERNAME, Op.GETSOCKOPT, Op.SETSOCKOPT,
            Op.SUBSCRIBE, Op.SENDFILE, Op.BUFFER_RELEASE,
        ):  # fmt: skip
            assert call(pair.a, op, number).result == -Errno.EBADF, op
        row = abi.POLLFD_STRUCT.pack(number, 5, 0, 0)
        pair.a.memory.write(DATA, row)
        assert call(pair.a, Op.POLL, args=(DATA, 1)).result == 1
        assert pair.a.memory.read(DATA + 8, 4) == abi.Poll.NVAL.to_bytes(4, "little")
    mine = call(pair.a, Op.SOCKET, args=(2, 1, 0)).handle
    assert call(pair.a, Op.SENDFILE, mine, args=(buffer, 0, 1)).result == -Errno.EBADF
    assert pair.b.hypercalls.counters() == before
    assert call(pair.b, Op.GETSOCKNAME, listener).local[1] == 80


def test_answers_of_another_machine_leave_at_once_however_long_the_quantum_is() -> None:
    """In virtual time: a handshake between two that compute, and its last ACK."""
    runs = []
    for quantum_ns in (17_000, 5_000_000):
        pair = Pair(arithmetic(FOREVER), arithmetic(FOREVER), quantum_ns, timeout_ns=6_000_000)
        frames: list[tuple[int, int]] = []
        pair.host.switch.watch(lambda batch, _, now, to=frames: to.append((now, len(batch))))
        hello(pair.a)
        hello(pair.b)
        listen(pair.b, 80)
        handle = call(pair.a, Op.SOCKET, args=(2, 1, 0)).handle
        call(pair.a, Op.CONNECT, handle, peer=endpoint(pair.b.config.address, 80))
        assert pair.run().ending is Ending.TIMEOUT
        runs.append(frames)
        pair.close()
    assert runs[0] == runs[1]
    assert len({now for now, _ in runs[0]}) == 1


@pytest.mark.parametrize("turns", [FOREVER, 3_000_000])
def test_turns_and_the_end_come_when_they_are_due_however_long_the_quantum_is(turns: int) -> None:
    """In virtual time: who has the CPU, and when a run is over."""
    ends = set()
    for quantum_ns in (17_000, 200_000, 5_000_000):
        pair = Pair(arithmetic(FOREVER), arithmetic(turns), quantum_ns, timeout_ns=31_000_000)
        assert pair.run().ending is Ending.TIMEOUT
        ends.add((pair.clock.now_ns(), pair.a.cpu.ticks, pair.b.cpu.ticks))
        pair.close()
    assert len(ends) == 1


def test_ports_and_addresses_are_a_machines_own(pair: Pair) -> None:
    """libkrun 860: two shared a port in silence."""
    listener_a, listener_b = listen(pair.a, 80), listen(pair.b, 80)
    client, _ = connect(pair, pair.a, pair.b, 80, listener_b)
    assert call(pair.a, Op.ACCEPT, listener_a).result == -Errno.EAGAIN
    assert call(pair.a, Op.GETPEERNAME, client).peer[2] == pair.b.config.address
    thief = call(pair.a, Op.SOCKET, args=(2, 1, 0)).handle
    wanted = endpoint(pair.b.config.address, 81)
    assert call(pair.a, Op.BIND, thief, local=wanted).result == -Errno.EADDRNOTAVAIL
    # The loopback is each machine's own, too.
    to = endpoint(b"\x7f\0\0\1", 81)
    listen(pair.b, 81)
    lonely = call(pair.a, Op.SOCKET, args=(2, 1, 0)).handle
    call(pair.a, Op.CONNECT, lonely, peer=to)
    pair.settle()
    value = call(pair.a, Op.GETSOCKOPT, lonely, args=(1, 4, DATA, 4))
    assert value.result == 4
    assert pair.a.memory.read(DATA, 4) == int(Errno.ECONNREFUSED).to_bytes(4, "little")


def test_memory_of_the_other_is_never_sent_or_written(pair: Pair) -> None:
    """Pointers are into the caller's own RAM, whatever the call; the other's stays as it is."""
    pair.b.memory.write(DATA, b"secret" * 10_000)
    digest = pair.b.memory.read(0, pair.b.memory.size)
    listener = listen(pair.a, 80)
    handle, accepted = connect(pair, pair.a, pair.a, 80, listener)
    pair.a.memory.write(DATA, b"public" * 10_000)
    buffer = call(pair.a, Op.BUFFER_REGISTER, args=(DATA, 60_000)).handle
    assert call(pair.a, Op.SENDFILE, handle, args=(buffer, 0, 60_000)).result == 60_000
    pair.settle()
    got = call(pair.a, Op.RECV, accepted, args=(DATA + MIB, 100_000))
    assert pair.a.memory.read(DATA + MIB, got.result) == (b"public" * 10_000)[: got.result]
    size = pair.a.memory.size
    for op in (Op.SEND, Op.RECV, Op.BUFFER_REGISTER, Op.TRACE_MARK):
        answer = call(pair.a, op, handle, args=(size, 16))  # just behind it, where another's may be
        assert answer.status == abi.Status.BAD_ADDRESS, op
    assert pair.b.memory.read(0, pair.b.memory.size) == digest


def test_quotas_of_one_are_not_the_others(pair: Pair) -> None:
    """Sockets, buffers, pieces and the engine's memory, all used up by one."""
    while call(pair.a, Op.SOCKET, args=(2, 1, 0)).result == 0:
        pass
    while call(pair.a, Op.BUFFER_REGISTER, args=(DATA, 4096)).result == 0:
        pass
    pair.a.stack.engine.account.used = pair.a.stack.engine.account.limit
    assert call(pair.b, Op.BUFFER_REGISTER, args=(DATA, 4096)).result == 0
    listener = listen(pair.b, 80)
    handle, accepted = connect(pair, pair.b, pair.b, 80, listener)
    assert call(pair.b, Op.SEND, handle, args=(DATA, 50_000)).result == 50_000
    pair.settle()
    assert call(pair.b, Op.RECV, accepted, args=(DATA, 100_000)).result > 0


def test_begin_of_one_ends_nothing_of_the_other(pair: Pair) -> None:
    listener = listen(pair.b, 80)
    handle, _ = connect(pair, pair.b, pair.b, 80, listener)
    hello(pair.a)
    pair.a.hypercalls.reset()
    pair.settle()
    assert call(pair.b, Op.SEND, handle, args=(DATA, 5)).result == 5


# ------------------------------------------------------------------ starving


_WORK_TURNS = 4_000_000  # several slices of a machine's time


def only_hypercalls(machine: Machine) -> None:
    """Its loop asks for the time for ever; its own HELLO becomes one more of those."""
    write(machine, Op.TIME, at=HELLO_CALL)


def storming(machine: Machine) -> None:
    """Its loop is an event storm: EVENTS_ACK over a LEVEL subscription that is always up, and a
    ring that lies in the descriptor: what it writes to ``flags`` is the ring's ``armed``."""
    hello(machine)
    write(machine, Op.TIME, at=HELLO_CALL)
    listener = listen(machine, 80)
    handle = call(machine, Op.SOCKET, args=(2, 1, 0)).handle
    call(machine, Op.CONNECT, handle, peer=endpoint(b"\x7f\0\0\1", 80))
    ring = TIME_CALL + abi.CALL.offset("flags")
    assert call(machine, Op.EVENTS_SETUP, args=(ring, 2)).status == 0
    call(machine, Op.SUBSCRIBE, handle, events=0x1F, flags=Flag.LEVEL)
    call(machine, Op.SUBSCRIBE, listener, events=0x1F, flags=Flag.LEVEL)
    write(machine, Op.EVENTS_ACK, flags=1, at=TIME_CALL)


@pytest.mark.parametrize("program", [only_hypercalls, storming])
def test_neighbour_gets_its_share_of_the_cpu(program: object) -> None:
    """One does hypercalls as fast as it can; the other's work is done in about twice its time."""
    pair = Pair(
        storm_program() if program is storming else hypercalls(FOREVER), arithmetic(_WORK_TURNS)
    )
    try:
        assert callable(program)
        program(pair.a)
        began_ns = pair.clock.now_ns()
        outcome = pair.run()
        took_ns = pair.clock.now_ns() - began_ns
        assert outcome.ending is Ending.POWER_OFF and pair.b.exit_status == 0
        alone_ns = pair.b.cpu.ticks * pair.clock.num // pair.clock.den
        assert pair.a.hypercalls.calls > 1000
        assert took_ns < 3 * alone_ns + NS_PER_S // 50
        if program is storming:
            counters = pair.a.hypercalls.counters()
            assert counters["irq.storms"] > 0
            # At most so many interrupts in ten milliseconds.
            assert counters["irq.raises"] <= 512 * (took_ns // 10_000_000 + 2)
    finally:
        pair.close()


@pytest.mark.parametrize("call_ns", [3_000, 2 * NS_PER_MS])
def test_in_real_time_calls_count_by_how_long_they_take(call_ns: int) -> None:
    """Ticks do not show that: a quantum of them is a hundred thousand calls."""
    passed_ns = 0
    ran_ns: list[int] = []

    def now_ns() -> int:
        return passed_ns + sum(machine.cpu.ticks for machine in machines)

    def pass_time() -> int:  # looked at before a call and behind it
        nonlocal passed_ns
        passed_ns += call_ns // 2
        return passed_ns

    machines: list[Machine] = []
    pair = Pair(hypercalls(FOREVER), arithmetic(_WORK_TURNS), clock=RealClock(now_ns))
    try:
        machines += pair.a, pair.b
        only_hypercalls(pair.a)
        pair.a.count_exits(pass_time)
        host = pair.host
        began_ns = now_ns()
        for _ in range(10_000):
            machine = host._pick()
            assert machine is not None
            before_ns = now_ns()
            host._execute(machine)
            if machine is pair.a:
                ran_ns.append(now_ns() - before_ns)
            host._serve(0)
            if pair.b.exit_status is not None:
                break
        assert pair.b.exit_status == 0
        most_ns = MOST_QUANTA * DEFAULT_QUANTUM_NS + 2 * call_ns
        assert max(ran_ns) < most_ns
        alone_ns = pair.b.cpu.ticks
        turns = alone_ns // SLICE_NS + 2
        assert now_ns() - began_ns < 2 * alone_ns + turns * most_ns
    finally:
        pair.close()


def test_a_slow_guest_s_quantum_is_fitted_to_it() -> None:
    """A tick of it takes a hundred times as long, and it has no exits that could end a run."""

    def now_ns() -> int:
        return 100 * sum(machine.cpu.ticks for machine in machines)

    machines: list[Machine] = []
    pair = Pair(arithmetic(1), arithmetic(_WORK_TURNS), clock=RealClock(now_ns))
    try:
        machines += pair.a, pair.b
        host = pair.host
        for _ in range(100):
            machine = host._pick()
            assert machine is not None
            before_ns = now_ns()
            host._execute(machine)
            took_ns = now_ns() - before_ns
            host._serve(0)
        assert took_ns < 2 * DEFAULT_QUANTUM_NS
    finally:
        pair.close()


def test_connections_of_a_neighbour_are_served_during_a_storm() -> None:
    """The engine of a machine that does nothing is served whatever the other does: its
    handshake, data and acknowledgement take no longer than the switch and a quantum."""
    pair = Pair(storm_program(), hypercalls(FOREVER))
    try:
        storming(pair.a)
        only_hypercalls(pair.b)
        hello(pair.b)
        listener = listen(pair.b, 80)
        handle = call(pair.a, Op.SOCKET, args=(2, 1, 0)).handle
        to = endpoint(pair.b.config.address, 80)
        call(pair.a, Op.CONNECT, handle, peer=to)
        host = pair.host
        began_ns = pair.clock.now_ns()
        for _ in range(2000):
            machine = host._pick()
            assert machine is not None
            host._execute(machine)
            host._serve(0)
            if call(pair.b, Op.GETSOCKNAME, listener, at=CALL).events & 1:
                break
        else:
            raise AssertionError("the connection never came")
        assert pair.clock.now_ns() - began_ns < NS_PER_S // 1000
        assert call(pair.b, Op.ACCEPT, listener).result == 0
    finally:
        pair.close()
