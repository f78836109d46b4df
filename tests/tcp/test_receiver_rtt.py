"""Protects: a receiver that sends nothing knows the round trip as it is now (`tcpi_rcv_rtt`),
and not what the handshake once measured."""

from __future__ import annotations

import pytest
from script_peer import MS, Script
from tcp_world import S, Wire, connect, make_stack
from test_info import info
from test_saved import reborn

from leulo.tcp.socket import TcpSocket

MSS = 1448


def stream(wire: Wire, client: TcpSocket, server: TcpSocket, duration_ns: int) -> None:
    """The client sends as fast as it may, the server reads as fast as it comes."""

    def go() -> bool:
        while client.send(bytes(65_536)) > 0:
            pass
        while isinstance(server.recv(1 << 20), bytes):
            pass
        return False

    wire.run(duration_ns, go)


@pytest.mark.parametrize("tso", [0, 65_535])
@pytest.mark.parametrize("timestamps", [True, False])
def test_it_follows_the_path_while_only_the_peer_sends(timestamps: bool, tso: int) -> None:
    knobs: dict[str, object] = {"has_timestamps": timestamps, "rcv_max": 48 << 10}
    wire = Wire(make_stack(1, tso=tso, **knobs), make_stack(2, **knobs), delay_ns=5 * MS)
    client, server, _ = connect(wire)
    assert info(server)["rcv_rtt"] == 0  # nothing has come
    stream(wire, client, server, 2 * S)
    near = info(server)
    assert 10_000 <= near["rcv_rtt"] <= 14_000
    assert 9_000 <= near["rtt"] <= 12_000  # of the handshake
    wire.delay_ns = 20 * MS
    stream(wire, client, server, 2 * S)
    far = info(server)
    assert far["rtt"] == near["rtt"]
    if timestamps:
        assert 38_000 <= far["rcv_rtt"] <= 44_000
    else:  # only a shorter time is news
        assert far["rcv_rtt"] == near["rcv_rtt"]
        wire.delay_ns = 2 * MS
        stream(wire, client, server, 2 * S)
        assert 4_000 <= info(server)["rcv_rtt"] <= 6_000


@pytest.mark.parametrize("size", [100, 600])
def test_small_segments_tell_of_the_user_and_not_of_the_path(size: int) -> None:
    s = Script()
    socket = s.passive()
    s.wait(20 * MS)
    s.inject("A", 1, 1, bytes(MSS))
    for n in range(10):
        s.wait(300 * MS)  # an acknowledgement has gone meanwhile
        s.inject("PA", 1 + MSS + size * n, 1, bytes(size))
    assert info(socket)["rcv_rtt"] == 20_000


def test_the_same_echo_is_measured_once() -> None:
    """A peer without anything to send, or a whole flight behind one acknowledgement."""
    s = Script()
    socket = s.passive()
    said = s.last_tsval
    for n in range(4):
        s.wait(20 * MS)
        s.inject("A", 1 + MSS * n, 1, bytes(MSS), tsecr=said)
    assert info(socket)["rcv_rtt"] == 20_000


def test_receive_space_is_what_is_read_in_a_round_trip() -> None:
    wire = Wire(make_stack(1), make_stack(2, rcv_max=128 << 10), delay_ns=5 * MS)
    client, server, _ = connect(wire)
    assert info(server)["rcv_space"] == 10 * 1460
    stream(wire, client, server, S)
    assert 50_000 < info(server)["rcv_space"] < 6 << 20
    wire.stacks = (wire.stacks[0], reborn(wire.stacks[1]))
    again = wire.stacks[1].socket_of(server.serial)
    assert isinstance(again, TcpSocket)
    assert info(again) == info(server)
