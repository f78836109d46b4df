"""Saving in the middle of a transfer and going on from it, with the same bytes as without."""

from __future__ import annotations

import copy
import json
from random import Random
from typing import Any

import pytest
from tcp_world import (
    ANY,
    MS,
    Receiver,
    S,
    Sender,
    Wire,
    close_all,
    connect,
    dial,
    listen,
    make_stack,
    pump,
    tables,
)

from leulo.stack import Stack
from leulo.tcp.header import IP_AT
from leulo.tcp.socket import TcpSocket
from leulo.trace import Trace


def reborn(stack: Stack) -> Stack:
    """The same stack, in another object, by way of plain data."""
    state = stack.save()
    _assert_plain(state)
    other = Stack(stack.config, Random(99).getrandbits, Trace())
    other.load(copy.deepcopy(state))
    assert _texts(other.save()) == _texts(state)
    return other


def _assert_plain(value: object, where: str = "state") -> None:
    if isinstance(value, dict):
        for name, part in value.items():
            assert type(name) is str, where
            _assert_plain(part, f"{where}.{name}")
    elif isinstance(value, list | tuple):
        for i, part in enumerate(value):
            _assert_plain(part, f"{where}[{i}]")
    else:
        assert value is None or type(value) in (int, bool, str, bytes), (where, type(value))


def _texts(state: object) -> str:
    return json.dumps(state, default=lambda b: b.hex(), sort_keys=True)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("counts_memory", [False, True])
def test_transfer_goes_on(seed: int, counts_memory: bool) -> None:
    random = Random(seed)
    a, b = (make_stack(n, seed=seed, counts_memory=counts_memory) for n in (1, 2))
    wire = Wire(a, b, seed=seed, loss=0.03, jitter_ns=3 * MS)
    client, server, listener = connect(wire)
    up, down = random.randbytes(300_000), random.randbytes(300_000)
    actors = [Sender(client, up), Sender(server, down), Receiver(client), Receiver(server)]
    for _ in range(8):
        stop = wire.now_ns + random.randrange(200 * MS)

        def go(until: int = stop) -> bool:
            for actor in actors:
                actor.go()
            return wire.now_ns >= until

        wire.run(1 * S, go)
        a, b = reborn(a), reborn(b)
        wire.stacks = (a, b)
        found = {}
        for stack, socket in ((a, client), (b, server), (b, listener)):
            again = stack.socket_of(socket.serial)
            assert isinstance(again, TcpSocket)
            assert again.events == socket.events
            assert again.local == socket.local and again.peer == socket.peer
            found[socket] = again
        for actor in actors:
            actor.socket = found[actor.socket]
        client, server, listener = found[client], found[server], found[listener]
    assert pump(wire, actors)
    assert bytes(actors[2].data) == down
    assert bytes(actors[3].data) == up
    close_all(wire, client, server, listener)
    assert [tables(s) for s in (a, b)] == [{}, {}]


def test_everything_else_survives() -> None:
    """Half-open and waiting connections, TIME_WAIT, bound ports, connections being opened."""
    a, b = make_stack(1), make_stack(2)
    wire = Wire(a, b)
    client, server, listener = connect(wire)
    bound = b.socket(2, 1)
    assert isinstance(bound, TcpSocket)
    assert bound.bind(ANY, 4444) == 0
    waiting = dial(a, b.address)
    wire.run(1 * S)
    server.close()
    client.close()
    wire.run(1 * S)
    assert len(b.engine.time_wait) == 1
    opening = dial(a, b.address)
    wire.step(wire.now_ns + 1 * S)
    assert b.engine.half_open
    a, b = reborn(a), reborn(b)
    wire.stacks = (a, b)
    wire.run(1 * S)
    again = b.socket_of(listener.serial)
    assert again is not None
    first, second = again.accept(), again.accept()
    assert isinstance(first, TcpSocket) and isinstance(second, TcpSocket)
    for socket in (waiting, opening):
        alive = a.socket_of(socket.serial)
        assert alive is not None and alive.state.name == "ESTABLISHED"
    other = b.socket(2, 1)
    assert isinstance(other, TcpSocket)
    assert other.bind(ANY, 4444) == -98
    wire.run(70 * S)
    assert len(b.engine.time_wait) == 0


def test_another_version_is_refused() -> None:
    stack = make_stack(1)
    listen(stack)
    state = stack.save()
    state["engine"]["version"] = 99
    with pytest.raises(ValueError, match="version"):
        make_stack(1).load(state)


def test_a_state_that_lacks_something_is_refused_in_a_sentence() -> None:
    """One saved by another program: whatever name is not there, it is a ValueError, as another
    version is, and not the KeyError of a bug of ours."""
    wire = Wire(make_stack(1), make_stack(2))
    connect(wire)
    state = wire.stacks[0].save()
    unused = {"ipv6", "dhcp"}  # this stack has neither
    gaps: list[tuple[tuple[str | int, ...], str]] = [((), n) for n in state if n not in unused]
    gaps += [(("engine",), name) for name in state["engine"]]
    for part in ("sockets", "tcbs"):
        gaps += [(("engine", part, 0), name) for name in state["engine"][part][0]]
    assert len(gaps) > 100
    for path, name in gaps:
        other = copy.deepcopy(state)
        inner: Any = other
        for step in path:
            inner = inner[step]
        del inner[name]
        with pytest.raises(ValueError, match=f"lacks .*{name}|version"):
            make_stack(1).load(other)


def test_a_ttl_of_ones_own_is_kept() -> None:
    """[Linux ip(7)]"""
    wire = Wire(make_stack(1), make_stack(2))
    client, server, _ = connect(wire)
    assert client.setsockopt(0, 2, (7).to_bytes(4, "little")) == 0
    assert client.setsockopt(0, 1, (0x43).to_bytes(4, "little")) == 0
    again = reborn(wire.stacks[0])
    socket = again.socket_of(client.serial)
    assert isinstance(socket, TcpSocket)
    socket.send(b"marked")
    wire.stacks = (again, wire.stacks[1])
    wire.run(1 * S)
    assert server.recv(100) == b"marked"  # so the checksum is right
    _, sender, frame = wire.log[-2]
    assert sender == 0 and (frame[IP_AT + 8], frame[IP_AT + 1]) == (7, 0x40)


def test_a_reader_that_has_shut_its_side_goes_on_throwing_away() -> None:
    wire = Wire(make_stack(1), make_stack(2, discards_after_shutdown=True))
    client, server, _ = connect(wire)
    server.shutdown(0)
    client.send(bytes(50_000))
    wire.run(S)
    wire.stacks = (wire.stacks[0], reborn(wire.stacks[1]))
    client.send(bytes(50_000))
    wire.run(S)
    assert client.tcb is not None and client.tcb.snd_una == client.tcb.snd_end
    again = wire.stacks[1].socket_of(server.serial)
    assert isinstance(again, TcpSocket) and again.tcb is not None
    assert again.tcb.receive_buffer is not None and again.tcb.receive_buffer.taken == 100_000
