"""Protects: a port is free exactly if nothing that was, is or waits there is in the way, and to see
that of a port that nobody has used costs nothing, however many connections there are."""

from __future__ import annotations

from collections.abc import Iterator, ValuesView
from random import Random

import pytest
from tcp_world import ANY, MS, S, Wire, address, make_stack

from leulo.stack import Stack
from leulo.tcp.addresses import ends_of, overlap
from leulo.tcp.errno import EADDRINUSE, EADDRNOTAVAIL, EINPROGRESS
from leulo.tcp.socket import TcpSocket

PORTS = (80, 81, 40_000, 40_001)
ADDRESSES = (ANY, address(1), bytes((127, 0, 0, 1)))
SO_REUSEADDR = (1, 2)
ON = b"\1\0\0\0"


def new(stack: Stack) -> TcpSocket:
    socket = stack.socket(2, 1)
    assert isinstance(socket, TcpSocket)
    return socket


def make() -> Stack:
    return make_stack(1, time_wait_ns=2 * S, first_ephemeral=40_000, last_ephemeral=40_003)


def may_bind(stack: Stack, where: bytes, port: int, is_reused: bool) -> bool:
    """As `Ports.is_free` says it, by looking at everything there is."""
    for socket in stack.engine.sockets.values():
        if (
            socket.bound_port == port
            and overlap(where, socket.bound_address)
            and not (is_reused and socket.settings.is_address_reused and not socket.listener)
        ):
            return False
    rest = [(tcb.key, tcb.settings.is_address_reused) for tcb in stack.engine.connections.values()]
    rest += [(r.key, r.is_address_reused) for r in stack.engine.time_wait.values()]
    ends = [(ends_of(key), may_share) for key, may_share in rest]
    return not any(
        local_port == port and overlap(where, local) and not (is_reused and may_share)
        for (local, local_port, _, _), may_share in ends
    )


@pytest.mark.parametrize("seed", range(40))
def test_what_is_free_is_what_nobody_has(seed: int) -> None:
    """Listeners, connections from outside, to the other, and inside the stack; closed, reset, in
    TIME_WAIT, forgotten, saved and loaded."""
    random = Random(seed)
    stack, other = make(), make_stack(2, seed=seed)
    wire = Wire(stack, other)
    door = new(other)
    assert door.bind(ANY, 7) == 0 and door.listen(64) == 0
    held: list[TcpSocket] = []
    answers = set()
    for _ in range(150):
        socket = new(stack)
        if random.random() < 0.4:
            socket.setsockopt(*SO_REUSEADDR, ON)
        where, port = random.choice(ADDRESSES), random.choice(PORTS)
        wanted = may_bind(stack, where, port, socket.settings.is_address_reused)
        status = socket.bind(where, port)
        assert status == (0 if wanted else -EADDRINUSE), (where, port)
        answers.add(wanted)
        kind = random.random()
        if not status and kind < 0.3:
            socket.listen(8)
        elif kind < 0.6:
            socket.connect(address(2), 7)
        elif kind < 0.7:
            socket.connect(address(1), random.choice(PORTS))
        held.append(socket)
        peer = new(other)
        if random.random() < 0.5:
            peer.connect(address(1), random.choice(PORTS))
            wire.run(50 * MS)
            peer.close()
        wire.run(50 * MS)
        for waiting in list(held):
            accepted = waiting.accept() if waiting.listener is not None else None
            if isinstance(accepted, TcpSocket):
                held.append(accepted)
                if random.random() < 0.5:
                    accepted.setsockopt(*SO_REUSEADDR, bytes(4))
            if waiting.listener is not None and random.random() < 0.1:
                waiting.shutdown(0)
            if random.random() < 0.3:
                waiting.close()
                held.remove(waiting)
        wire.run(random.choice((50 * MS, 500 * MS, 3 * S)))
        if random.random() < 0.02:
            before, stack = stack, make()
            stack.load(before.save())
            wire.stacks = stack, other
            held = list(stack.engine.sockets.values())
    assert answers == {True, False}


class Unseen(dict):  # type: ignore[type-arg]
    """A table that may be asked for a key, and not be looked through."""

    def __iter__(self) -> object:  # type: ignore[override]
        raise AssertionError("all connections are looked at")

    items = keys = values = __iter__  # type: ignore[assignment]


@pytest.mark.sources
def test_a_port_that_nobody_used_is_found_free_without_a_look_at_the_connections() -> None:
    stack = make_stack(1)
    table = stack.engine.connections = Unseen()
    for port in (5_000, 0):
        socket = new(stack)
        assert socket.bind(ANY, port) == 0
        socket.connect(address(2), 7)
    assert len(table) == 2
    listener = new(stack)
    assert listener.bind(ANY, 80) == 0 and listener.listen(1) == 0
    listener.close()
    with pytest.raises(AssertionError, match="looked at"):
        new(stack).bind(ANY, 80)  # somebody may have connected


class Counted(dict):  # type: ignore[type-arg]
    """A table that counts how often it was looked into."""

    looks = 0

    def __contains__(self, key: object) -> bool:
        self.looks += 1
        return super().__contains__(key)

    def __iter__(self) -> Iterator[object]:
        self.looks += len(self)
        return super().__iter__()

    def values(self) -> ValuesView[object]:
        self.looks += len(self)
        return super().values()


@pytest.mark.sources
@pytest.mark.parametrize("is_bind", [False, True])
def test_a_storm_without_free_ports_searches_through_all_of_them_now_and_then(
    is_bind: bool,
) -> None:
    """Each choice took 30 ms of the hypervisor's time with all usual ports in use."""
    ports = 3_000
    stack = make_stack(1, first_ephemeral=40_000, last_ephemeral=40_000 + ports - 1)
    held = [new(stack) for _ in range(ports)]
    for socket in held:
        assert socket.connect(address(2), 7) == -EINPROGRESS
    table = stack.engine.connections = Counted(stack.engine.connections)

    def choose() -> tuple[int, int]:
        before, socket = table.looks, new(stack)
        status = socket.bind(ANY, 0) if is_bind else socket.connect(address(2), 7)
        socket.close()
        return status, table.looks - before

    failure = -EADDRINUSE if is_bind else -EADDRNOTAVAIL
    assert choose() == (failure, ports)
    for _ in range(5):
        status, looks = choose()
        assert status == failure and looks <= 1_024
    stack.engine.set_time(S)
    assert choose() == (failure, ports)
    held[100].close()
    stack.engine.set_time(2 * S)
    assert choose()[0] in (0, -EINPROGRESS), "the one that is free is found"


def test_a_port_is_chosen_again_when_all_have_been_used() -> None:
    stack = make_stack(1, first_ephemeral=40_000, last_ephemeral=40_003)
    for _ in range(3):
        sockets = [new(stack) for _ in range(5)]
        assert sorted(s.bind(ANY, 0) for s in sockets) == [-EADDRINUSE, 0, 0, 0, 0]
        for socket in sockets:
            socket.close()


def test_a_connection_of_a_listener_that_has_stopped_is_in_the_way() -> None:
    stack, other = make_stack(1), make_stack(2)
    wire = Wire(stack, other)
    listener = new(stack)
    listener.setsockopt(*SO_REUSEADDR, ON)
    assert listener.bind(ANY, 80) == 0 and listener.listen(1) == 0
    new(other).connect(address(1), 80)
    wire.run(S)
    accepted = listener.accept()
    assert isinstance(accepted, TcpSocket)
    listener.shutdown(0)  # it keeps its port
    again = new(stack)
    again.setsockopt(*SO_REUSEADDR, ON)
    accepted.setsockopt(*SO_REUSEADDR, bytes(4))
    assert again.bind(ANY, 80) == -EADDRINUSE
    accepted.setsockopt(*SO_REUSEADDR, ON)
    assert again.bind(ANY, 80) == 0
