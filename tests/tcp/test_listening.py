"""Passive opens: queues, cookies, resets, who may listen where."""

from __future__ import annotations

import gc
import itertools
from random import Random
from struct import pack

import pytest
from script_peer import HERE, MS, THERE, S, Script
from tcp_world import ANY, Wire, address, connect, dial, listen, make_stack

from leulo.stack import Stack, StackConfig
from leulo.tcp.config import Config
from leulo.tcp.socket import TcpSocket
from leulo.tcp.time_wait import TimeWait
from leulo.trace import Trace


def test_accept_queue_full_drops_the_ack_and_recovers() -> None:
    s = Script()
    s.listen(0)  # Linux: one more than the backlog
    sockets = []
    for port in (4001, 4002):
        s.peer_port = port
        s.inject("S", 0)
        if port == 4001:
            s.expect("SA", 0, 1)
            s.inject("A", 1, 1)
    s.expect_none()
    s.expect_drop("accept_queue_full")
    sockets.append(s.accept())
    s.peer_port = 4002
    s.inject("S", 0)
    s.expect("SA", 0, 1)


def test_ack_that_finds_the_queue_full_is_not_lost_for_good() -> None:
    s = Script()
    s.listen(0)
    isses = {}
    for port in (4001, 4002):
        s.peer_port = port
        s.inject("S", 0)
        s.expect("SA", 0, 1)
        isses[port] = s.iss
    for port in (4001, 4002):
        s.peer_port, s.iss = port, isses[port]
        s.inject("A", 1, 1)
    s.expect_none()
    s.accept()
    s.wait(1100 * MS)
    s.expect("SA", 0, 1)
    s.inject("A", 1, 1)
    s.accept()


@pytest.mark.parametrize("timestamps", [True, False])
@pytest.mark.parametrize("mss", [64, 300, 536, 1000, 1400, 1460, 9000])
def test_cookie_opens_the_same_connection(timestamps: bool, mss: int) -> None:
    """[RFC 4987 3.6]"""
    s = Script(timestamps=timestamps, mss=mss, wscale=9, half_open_limit=0)
    s.listen()
    s.inject("S", 0)
    s.expect("SA", 0, 1)
    assert not s.stack.engine.half_open
    assert s.stack.counters()["syn_cookies_sent"] == 1
    s.wait(20 * S)
    s.inject("A", 1, 1, b"hello")
    socket = s.accept()
    tcb = socket.tcb
    assert socket.recv(10) == b"hello"
    assert tcb.has_timestamps is timestamps
    assert tcb.has_sack is timestamps
    assert tcb.snd_wscale == (9 if timestamps else 0)
    sizes = (48, 216, 536, 1220, 1360, 1400, 1440, 1460)
    wanted = max(size for size in sizes if size <= mss)  # never more than the peer takes
    assert tcb.mss == wanted - (12 if timestamps else 0)


@pytest.mark.parametrize("family", [2, 10])
def test_cookies_open_connections_inside_the_stack(family: int) -> None:
    """A guest that connects to itself more often at once than there is room for half-open ones."""
    config = StackConfig(
        name="inside", mac=bytes((2, 0, 0, 0, 0, 1)), address=address(1), prefix_length=24,
        has_ipv6=True, tcp=Config(half_open_limit=2),
    )  # fmt: skip
    stack = Stack(config, Random(1).getrandbits, Trace())
    here = address(1) if family == 2 else bytes(15) + b"\1"

    def socket() -> TcpSocket:
        made = stack.socket(family, 1)
        assert isinstance(made, TcpSocket)
        return made

    listener = socket()
    assert listener.bind(bytes(len(here)), 80) == 0 and listener.listen(64) == 0
    clients = [socket() for _ in range(20)]
    for client in clients:
        assert client.connect(here, 80) == -115
    wire = Wire(stack, make_stack(2))
    wire.run(S)
    assert stack.counters()["syn_cookies_sent"] >= 10
    accepted = [listener.accept() for _ in clients]
    for number, client in enumerate(clients):
        assert client.send(bytes([number]) * 5000) == 5000
    wire.run(S)
    data = [one.recv(9000) for one in accepted if isinstance(one, TcpSocket)]
    assert sorted(map(bytes, data)) == [bytes([n]) * 5000 for n in range(20)]  # type: ignore[arg-type]


def test_guessed_cookie_is_refused() -> None:
    s = Script(half_open_limit=0)
    s.listen()
    s.inject("S", 0)
    s.expect("SA", 0, 1)
    for guess in (100, -100, 1 << 20, 1 << 24, 1 << 30):
        s.inject("A", 1, guess)
        s.expect("R", guess)
    s.expect_state("CLOSED")


def test_old_cookie_is_refused() -> None:
    s = Script(half_open_limit=0)
    s.listen()
    s.inject("S", 0)
    s.expect("SA", 0, 1)
    s.wait(200 * S)
    s.inject("A", 1, 1)
    s.expect("R", 1)


def test_no_cookie_is_looked_for_without_a_flood() -> None:
    s = Script()
    s.listen()
    s.inject("A", 1, 1)
    s.expect("R", 1)


def test_without_cookies_syns_are_dropped() -> None:
    s = Script(half_open_limit=0, has_syn_cookies=False)
    s.listen()
    s.inject("S", 0)
    s.expect_none()
    s.expect_drop("syn_queue_full")


def test_flood_keeps_memory_bounded_while_clients_are_served() -> None:
    a, b = make_stack(1), make_stack(2, half_open_limit=64)
    wire = Wire(a, b)
    listener = listen(b, backlog=100)
    flood = Script(peer_port=1)
    flood.stack = b  # only its frame maker is used
    engine = b.engine
    client = dial(a, b.address)
    wire.run(1 * S)
    served = listener.accept()
    assert isinstance(served, TcpSocket)
    for port in range(2000, 5000):
        frame = _syn_frame(a, b, port)
        b.input([frame], wire.now_ns)
        b.drain(wire.now_ns, 10_000)
    assert len(engine.half_open) <= 65
    assert b.counters()["syn_cookies_sent"] > 2000
    clients = [dial(a, b.address) for _ in range(20)]
    wire.run(2 * S)
    got = 0
    while isinstance(listener.accept(), TcpSocket):
        got += 1
    assert got == 20, b.counters()
    assert client.state.name == clients[-1].state.name == "ESTABLISHED"
    assert wire.run(1) is False


def _syn_frame(a, b, port: int) -> bytes:  # type: ignore[no-untyped-def]
    from leulo.tcp import header
    from leulo.tcp.options import emit_syn

    link = b.mac + a.mac + b"\x08\x00"
    fake = bytes((10, 0, 0, 77))
    options = emit_syn(1460, 7, True, (1, 0))
    ends = fake + b.address + port.to_bytes(2, "big") + b"\x00\x50"
    return header.plain(header.VNET_CHECKSUM + link, ends, 5, 0, 2, 60000, options)


def test_closing_a_listener_resets_who_waits() -> None:
    s = Script()
    s.listen()
    s.inject("S", 0)
    s.expect("SA", 0, 1)
    s.inject("A", 1, 1)
    assert s.listener is not None
    s.listener.close()
    s.expect("RA", 1, 1)
    s.expect_state("CLOSED")
    s.inject("S", 100)
    s.expect("RA", None, 101)


def test_reset_before_accept_is_seen_by_the_accepted_socket() -> None:
    s = Script()
    s.listen()
    s.inject("S", 0)
    s.expect("SA", 0, 1)
    s.inject("A", 1, 1)
    s.inject("R", 1)
    socket = s.accept()
    s.do("recv", socket.recv(1), -104)
    s.do("recv", socket.recv(1), b"")


def test_bind_conflicts_are_linux_s() -> None:
    stack = make_stack(1)

    def new(reuse: bool = False) -> TcpSocket:
        socket = stack.socket(2, 1)
        assert isinstance(socket, TcpSocket)
        if reuse:
            socket.setsockopt(1, 2, pack("<i", 1))
        return socket

    first = new()
    assert first.bind(ANY, 80) == 0
    assert new().bind(ANY, 80) == -98
    assert new().bind(address(1), 80) == -98
    assert new(True).bind(ANY, 80) == -98
    first.close()
    one, two = new(True), new(True)
    assert one.bind(ANY, 80) == 0
    assert two.bind(ANY, 80) == 0  # both allow it and neither listens
    assert one.listen(1) == 0
    assert two.listen(1) == -98
    assert new(True).bind(ANY, 80) == -98
    assert new().bind(address(9), 80) == -99
    assert new().bind(b"\x7f\0\0\1", 81) == 0
    assert new().bind(address(1), 81) == 0
    assert new().bind(b"123", 81) == -97
    assert new().bind(ANY, 70000) == -22
    again = new()
    assert again.bind(ANY, 0) == 0
    assert again.local is not None and 32768 <= again.local[1] <= 60999
    assert again.bind(ANY, 99) == -22


def test_time_wait_keeps_the_port_unless_reused() -> None:
    a, b = make_stack(1), make_stack(2)
    wire = Wire(a, b)
    client, server, listener = connect(wire)
    server.close()
    listener.close()
    wire.run(1 * S)
    client.close()
    wire.run(1 * S)
    assert len(b.engine.time_wait) == 1
    plain = b.socket(2, 1)
    assert plain.bind(ANY, 80) == -98
    plain.setsockopt(1, 2, pack("<i", 1))
    assert plain.bind(ANY, 80) == -98  # the connection before did not allow it
    wire.run(61 * S)
    assert plain.bind(ANY, 80) == 0


def test_a_peer_that_reuses_its_port_leaves_no_records_in_memory() -> None:
    """Protects: the records that reuse has ended do not wait in memory for the 60 s of others."""
    a, b = make_stack(1), make_stack(2)
    wire = Wire(a, b, delay_ns=1 * MS)
    listener = listen(b)

    def visit(port: int) -> None:
        client = a.socket(2, 1)
        assert isinstance(client, TcpSocket)
        assert client.bind(ANY, port) == 0
        assert client.connect(b.address, 80) == -115
        wire.run(10 * MS)
        listener.accept().close()
        wire.run(5 * MS)
        client.close()
        wire.run(10 * MS)

    def records() -> int:
        gc.collect()
        return sum(isinstance(thing, TimeWait) for thing in gc.get_objects())

    before = records()
    visit(4000)  # the oldest, which lives on in front of all others
    for _ in range(1_000):
        visit(4001)
    assert b.counters()["time_wait_reused"] == 999
    assert len(b.engine.time_wait) == 2
    assert records() - before < 300
    wire.run(61 * S)
    assert len(b.engine.time_wait) == 0 and records() == before


def test_restarted_server_with_reuse() -> None:
    a, b = make_stack(1), make_stack(2)
    wire = Wire(a, b)
    listener = b.socket(2, 1)
    listener.setsockopt(1, 2, pack("<i", 1))
    assert listener.bind(ANY, 80) == 0 and listener.listen(5) == 0
    client = dial(a, b.address)
    wire.run(1 * S)
    server = listener.accept()
    server.close()
    listener.close()
    client.close()
    wire.run(1 * S)
    again = b.socket(2, 1)
    again.setsockopt(1, 2, pack("<i", 1))
    assert again.bind(ANY, 80) == 0
    assert again.listen(5) == 0


def test_frames_for_others_are_not_answered() -> None:
    """[RFC 1122 4.2.3.10]"""
    s = Script()
    s.inject("S", 0, drain=False)
    s.expect("RA")
    frame = _syn_frame(s.stack, s.stack, 5)
    other = frame[:10] + bytes((2, 0, 0, 0, 0, 99)) + frame[16:]
    s.stack.input([other], s.now_ns)
    s.expect_none()
    broadcast = frame[:10] + b"\xff" * 6 + frame[16:]
    s.stack.input([broadcast], s.now_ns)
    s.expect_none()
    from_itself = _frame_from(HERE)
    s.stack.input([from_itself], s.now_ns)
    s.stack.input([_frame_from(b"\x7f\0\0\1")], s.now_ns)
    s.stack.input([_frame_from(b"\xe0\0\0\1")], s.now_ns)
    s.stack.input([_frame_from(b"\xff\xff\xff\xff")], s.now_ns)
    s.expect_none()
    s.stack.input([_frame_from(THERE)], s.now_ns)
    s.expect("RA")


def _frame_from(source: bytes) -> bytes:
    from leulo.tcp import header
    from leulo.tcp.options import emit_syn

    link = bytes((2, 0, 0, 0, 0, 1)) + bytes((2, 0, 0, 0, 0, 2)) + b"\x08\x00"
    options = emit_syn(1460, 7, True, (1, 0))
    ends = source + HERE + b"\x00\x07\x00\x50"
    return header.plain(header.VNET_CHECKSUM + link, ends, 5, 0, 2, 60000, options)


def test_initial_sequence_numbers_differ_and_grow() -> None:
    """[RFC 6528 3]"""
    s = Script()
    s.listen()
    numbers = []
    for port in range(5000, 5050):
        s.peer_port = port
        s.inject("S", 0)
        numbers.append(s.expect("SA").tcp.sequence)
    gaps = {(b - a) & 0xFFFFFFFF for a, b in itertools.pairwise(numbers)}
    assert len(gaps) == 49
    assert max(numbers) - min(numbers) > 1 << 30
    engine = s.stack.engine
    key = bytes(12)
    first, offset = engine.isn.make(key, 0)
    later, again = engine.isn.make(key, S)
    assert offset == again
    assert (later - first) & 0xFFFFFFFF == (S >> 6) & 0xFFFFFFFF


def test_gateway_answers_for_every_address_and_port() -> None:
    from random import Random

    from leulo.stack import Stack, StackConfig
    from leulo.trace import Trace

    gateway = Stack(
        StackConfig(
            "gw", bytes((2, 0, 0, 0, 0, 9)), address(9), 24, accept_any=True, checksum=True
        ),
        Random(1).getrandbits,
        Trace(),
    )
    guest = Stack(
        StackConfig("guest", bytes((2, 0, 0, 0, 0, 1)), address(1), 24, address(9), checksum=True),
        Random(2).getrandbits,
        Trace(),
    )
    wire = Wire(guest, gateway)
    door = gateway.socket(2, 1)
    assert door.bind(ANY, 0) == 0
    assert door.listen(10) == 0
    for where, port in ((bytes((93, 184, 216, 34)), 443), (address(50), 7), (address(9), 80)):
        client = dial(guest, where, port)
        assert wire.run(5 * S, lambda: door.events != 0)
        assert client.state.name == "ESTABLISHED"
        got = door.accept()
        assert isinstance(got, TcpSocket)
        assert got.local == (where, port)
        assert got.peer is not None and got.peer[0] == address(1)
    back = gateway.socket(2, 1)
    server = listen(guest, 80)
    assert back.bind(bytes((1, 2, 3, 4)), 0) == 0
    assert back.connect(address(1), 80) == -115
    assert wire.run(5 * S, lambda: server.events != 0)
    accepted = server.accept()
    assert accepted.peer[0] == bytes((1, 2, 3, 4))
