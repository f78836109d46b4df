"""The socket interface: errnos, readiness, options, closing."""

from __future__ import annotations

from struct import pack, unpack, unpack_from

import pytest
from script_peer import MS, S, Script
from tcp_world import (
    ANY,
    Receiver,
    Sender,
    Wire,
    address,
    close_all,
    connect,
    dial,
    listen,
    make_stack,
    pump,
    tables,
)

from leulo.hypercalls import abi
from leulo.tcp import errno
from leulo.tcp.socket import TcpSocket
from leulo.tcp.sockopt import names
from leulo.tcp.state import State

IN, OUT, ERR, HUP, RDHUP = 1, 4, 8, 0x10, 0x2000


def test_numbers_agree_with_the_hypercall_interface() -> None:
    for name in dir(errno):
        if name.startswith("E"):
            assert getattr(errno, name) == abi.Errno[name], name
        if name.startswith("POLL_") and name[5:] in abi.Poll.__members__:
            assert getattr(errno, name) == abi.Poll[name[5:]], name
    for kind in (abi.Level, abi.SocketOption, abi.TcpOption, abi.IpOption, abi.Ipv6Option):
        for option in kind:
            if option is not abi.SocketOption.SO_BROADCAST:  # of datagrams only
                assert getattr(names, option.name) == option, option


def test_a_new_socket() -> None:
    stack = make_stack(1)
    assert stack.socket(10, 1) == -97
    assert stack.socket(2, 3) == -94
    assert stack.socket(2, 1, 17) == -93
    socket = stack.socket(2, 1, 6)
    assert isinstance(socket, TcpSocket)
    assert socket.state is State.CLOSED
    assert socket.local is None and socket.peer is None
    assert socket.events == OUT | HUP
    assert socket.send(b"x") == -32
    assert socket.send_room() == -32
    assert socket.recv(1) == -107
    assert socket.recv_into(memoryview(bytearray(1))) == -107
    assert socket.accept() == -22
    assert socket.shutdown(1) == -107
    assert socket.connect(b"12345", 1) == -97
    assert socket.connect(address(2), 0) == -99
    assert socket.connect(bytes((192, 168, 9, 9)), 80) == -101  # no gateway
    assert socket.connect(address(255), 80) == -101
    assert socket.close() == 0
    assert not stack.engine.sockets


def test_readiness_through_a_life() -> None:
    s = Script()
    s.listen()
    assert s.listener is not None
    s.listener.owner = "me"
    assert s.listener.events == 0
    s.inject("S", 0)
    s.expect("SA")
    assert s.stack.take_ready() == []
    s.inject("A", 1, 1)
    assert s.stack.take_ready() == [s.listener]
    assert s.stack.take_ready() == []
    assert s.listener.events == IN
    socket = s.accept()
    socket.owner = "me"
    assert s.listener.events == 0
    assert socket.events == OUT
    s.inject("A", 1, 1, b"data")
    assert s.stack.take_ready() == [socket]
    assert socket.events == IN | OUT
    assert socket.recv(100, errno.MSG_PEEK) == b"data"
    assert socket.recv(2) == b"da"
    assert socket.events == IN | OUT
    assert socket.recv(100) == b"ta"
    assert socket.recv(100) == -11
    assert socket.events == OUT
    s.inject("FA", 5, 1)
    assert s.stack.take_ready() == [socket]
    assert socket.events == IN | OUT | RDHUP
    assert socket.recv(100) == b""
    socket.shutdown(1)
    assert socket.events & (HUP | IN | RDHUP) == HUP | IN | RDHUP


def test_send_buffer_is_memory_of_which_pieces_take_some() -> None:
    """As Linux counts: twice the bytes asked for, and the piece that is begun is filled."""
    s = Script(timestamps=False)
    socket = s.passive()
    socket.setsockopt(1, 7, pack("<i", 21_000))
    assert unpack("<i", socket.getsockopt(1, 7)) == (42_000,)
    piece = s.window // 2 // 1460 * 1460
    count = socket.send(bytes(200_000))
    assert count % 1460 == 0 and count < 42_000 + piece
    assert count + 1_024 * -(-count // piece) >= 42_000
    assert socket.send(b"x") == -11


def test_out_comes_back_when_a_third_is_free() -> None:
    s = Script(is_buffer_doubled=False)
    socket = s.passive()
    socket.owner = "me"
    socket.setsockopt(1, 7, pack("<i", 30_000))
    assert socket.send(bytes(50_000)) == 30_000
    assert socket.send(b"x") == -11
    assert socket.send_room() == 0
    assert socket.events == 0
    for i in range(1, 8):
        s.inject("A", 1, 1 + i * 1448)
        ready = s.stack.take_ready()
        if i * 1448 * 3 < 30_000:
            assert not ready and not socket.events & OUT
        else:
            assert ready == [socket] and socket.events & OUT
            break
    else:
        pytest.fail("never ready")


def test_reset_is_told_once() -> None:
    s = Script()
    socket = s.passive()
    socket.owner = "me"
    s.inject("A", 1, 1, b"last words")
    s.inject("R", 11)
    assert s.stack.take_ready() == [socket]
    assert socket.events == IN | OUT | ERR | HUP | RDHUP
    assert socket.recv(100) == b"last words"
    assert socket.recv(100) == -104
    assert socket.recv(100) == b""
    assert socket.send(b"x") == -32
    assert socket.events == IN | OUT | HUP | RDHUP


def test_close_with_unread_data_resets() -> None:
    """[RFC 2525 2.17]"""
    s = Script()
    socket = s.passive()
    s.inject("A", 1, 1, b"unread")
    socket.close()
    s.expect("RA", 1, 7)
    s.expect_state("CLOSED")


def test_linger_zero_resets() -> None:
    s = Script()
    socket = s.passive()
    socket.setsockopt(1, 13, pack("<ii", 1, 0))
    socket.send(b"never sent")
    socket.close()
    s.expect("RA", 1, 1)
    s.expect_none()


def test_close_sends_the_rest_then_fin() -> None:
    s = Script()
    socket = s.passive()
    socket.send(bytes(2000))
    socket.close()
    s.expect("A", 1, 1, 1448)
    s.expect("FA", 1449, 1, 552)
    s.inject("A", 1, 2002)
    s.expect_state("FIN_WAIT_2")
    s.wait(59 * S)
    s.expect_state("FIN_WAIT_2")
    s.wait(2 * S)
    s.expect_state("CLOSED")


def test_data_for_a_closed_socket_is_reset() -> None:
    s = Script()
    socket = s.passive()
    socket.close()
    s.expect("FA", 1, 1)
    s.inject("A", 1, 2)
    s.inject("A", 1, 2, b"too late")
    s.expect("R", 2)
    s.expect_state("CLOSED")


def test_close_while_connecting() -> None:
    s = Script()
    socket = s.dial()
    s.expect("S")
    socket.close()
    s.expect_none()
    s.expect_state("CLOSED")
    s.inject("SA", 0, 1)
    s.expect("R", 1)


def test_connect_times_out() -> None:
    s = Script(syn_retries=2, syn_linear_timeouts=0)
    socket = s.dial()
    socket.owner = "me"
    s.expect("S", 0)
    s.wait(1 * S)
    s.expect("S", 0)
    s.wait(2 * S)
    s.expect("S", 0)
    s.wait(5 * S)
    s.expect_none()
    assert s.stack.take_ready() == [socket]
    s.do("SO_ERROR", socket.getsockopt(1, 4), pack("<i", 110))
    s.do("SO_ERROR", socket.getsockopt(1, 4), pack("<i", 0))


def test_connect_to_nobody() -> None:
    stack = make_stack(1)
    wire = Wire(stack, make_stack(2))
    socket = dial(stack, address(77))
    socket.owner = "me"
    assert wire.run(10 * S, lambda: socket.state is State.CLOSED)
    assert wire.now_ns < 5 * S
    assert stack.take_ready() == [socket]
    assert socket.connect(address(77), 80) == -113


def test_connecting_is_not_repeated_in_a_storm() -> None:
    """A refused connect must not spin: two segments, then silence."""
    a, b = make_stack(1), make_stack(2)
    wire = Wire(a, b)
    socket = dial(a, b.address)
    wire.run(60 * S)
    assert socket.state is State.CLOSED
    assert wire.frames <= 5
    assert socket.connect(b.address, 80) == -111
    assert socket.connect(b.address, 80) == -115


def test_shutdown_of_reading() -> None:
    s = Script()
    socket = s.passive()
    assert socket.shutdown(0) == 0
    assert socket.recv(1) == b""
    assert socket.events & (IN | RDHUP) == IN | RDHUP
    assert socket.send(b"still") == 5
    assert socket.shutdown(7) == -22


@pytest.mark.parametrize(
    ("level", "name", "value", "wanted"),
    [
        (1, 2, 1, 1),
        (1, 9, 5, 1),
        (6, 1, 1, 1),
        (6, 3, 1, 1),
        (6, 4, 60, 60),
        (6, 5, 7, 7),
        (6, 6, 3, 3),
        (6, 2, 1000, 1000),
        (6, 18, 1234, 1234),
        (1, 8, 50_000, 100_000),
        (1, 7, 50_000, 100_000),
        (1, 8, 1, 2 * 2048),
        (1, 8, 1 << 30, 2 * (6 << 20)),
    ],
)
def test_option_is_kept_and_inherited(level: int, name: int, value: int, wanted: int) -> None:
    a, b = make_stack(1), make_stack(2)
    wire = Wire(a, b)
    listener = b.socket(2, 1)
    assert listener.setsockopt(level, name, pack("<i", value)) == 0
    assert listener.getsockopt(level, name) == pack("<i", wanted)
    listener.bind(ANY, 80)
    listener.listen(1)
    dial(a, b.address)
    wire.run(1 * S)
    server = listener.accept()
    if (level, name) == (6, 2):
        wanted -= 12
    assert unpack("<i", server.getsockopt(level, name))[0] == wanted


@pytest.mark.parametrize(
    ("level", "name", "value", "status"),
    [
        (6, 4, 0, -22),
        (6, 4, 40_000, -22),
        (6, 6, 200, -22),
        (6, 2, 10, -22),
        (6, 18, -1, -22),
        (1, 15, 1, -92),
        (6, 23, -1, -22),
        (6, 30, 2, -22),
        (6, 33, 1, -22),
        (6, 34, 2, -22),
        (6, 99, 1, -92),
        (99, 1, 1, -92),
        (1, 3, 1, -92),
        (1, 4, 1, -92),
        (6, 11, 1, -92),
    ],
)
def test_option_is_refused(level: int, name: int, value: int, status: int) -> None:
    socket = make_stack(1).socket(2, 1)
    assert socket.setsockopt(level, name, pack("<i", value)) == status


def test_other_options() -> None:
    stack = make_stack(1)
    socket = stack.socket(2, 1)
    assert socket.getsockopt(1, 3) == pack("<i", 1)
    assert socket.getsockopt(1, 30) == pack("<i", 0)
    assert socket.getsockopt(1, 99) == -92
    assert socket.getsockopt(1, 13) == pack("<ii", 0, 0)
    assert socket.setsockopt(1, 13, pack("<ii", 1, 5)) == 0
    assert socket.getsockopt(1, 13) == pack("<ii", 1, 5)
    assert socket.setsockopt(1, 13, b"x") == -22
    assert socket.setsockopt(6, 1, b"x") == -22
    assert socket.getsockopt(6, 13) == b"cubic".ljust(16, b"\0")
    assert socket.setsockopt(6, 13, b"reno\0") == 0
    assert socket.setsockopt(6, 13, b"nosuch") == -2
    assert socket.setsockopt(6, 13, b"\xff\xfe") == -2
    socket.bind(ANY, 80)
    socket.listen(3)
    assert socket.getsockopt(1, 30) == pack("<i", 1)
    assert socket.connect(address(2), 1) == -106


def test_tcp_info() -> None:
    s = Script(wscale=7)
    socket = s.passive()
    socket.send(bytes(30 * 1448))
    s._collect()
    s.wait(50 * MS)
    s.inject("A", 1, 1 + 1448, b"abc")
    info = socket.getsockopt(6, 11)
    assert isinstance(info, bytes) and len(info) >= 232
    state, ca_state, _, _, _, options, scales = unpack_from("<7B", info)
    assert (state, ca_state) == (1, 0)
    assert options & 7 == 7
    assert scales == 7 | 7 << 4
    words = unpack_from("<24I", info, 8)
    rto, _ato, snd_mss = words[:3]
    assert 200_000 <= rto < 1_000_000 and snd_mss == 1448
    assert words[4] == 11  # unacked: ten, one acknowledged, two more let out
    assert words[18] >= 11  # cwnd
    acked, received = unpack_from("<2Q", info, 8 + 96 + 16)
    assert (acked, received) == (1449, 3)  # the SYN counts, as on Linux


def test_loopback_stays_inside() -> None:
    stack = make_stack(1)
    wire = Wire(stack, make_stack(2))
    listener = listen(stack)
    for where in (address(1), b"\x7f\0\0\1"):
        client = dial(stack, where)
        assert wire.run(1 * S, lambda c=client: c.state is State.ESTABLISHED)
        server = listener.accept()
        assert isinstance(server, TcpSocket)
        assert server.peer[0] == where and client.peer == (where, 80)
        up, down = b"u" * 300_000, b"d" * 200_000
        actors = [Sender(client, up), Sender(server, down), Receiver(client), Receiver(server)]
        assert pump(wire, actors)
        assert bytes(actors[3].data) == up and bytes(actors[2].data) == down
        client.close()
        server.close()
    refused = dial(stack, address(1), 9)
    wire.run(1 * S)
    assert refused.state is State.CLOSED
    assert wire.frames == 0
    close_all(wire, listener, refused)
    assert tables(stack) == {}


def test_outsiders_cannot_speak_to_loopback_connections() -> None:
    stack = make_stack(1)
    wire = Wire(stack, make_stack(2))
    listener = listen(stack)
    client = dial(stack, address(1))
    wire.run(1 * S)
    server = listener.accept()
    from leulo.tcp import header

    tcb = client.tcb
    link = stack.mac + bytes((2, 0, 0, 0, 0, 2)) + b"\x08\x00"
    stack.input(
        [header.plain(header.VNET_CHECKSUM + link, tcb.key, tcb.rcv_nxt, 0, 4, 0, b"")], wire.now_ns
    )
    assert client.state is State.ESTABLISHED and server.state is State.ESTABLISHED


def test_buffers_tune_themselves() -> None:
    """A long fat path: the window outgrows its default, both ways."""
    a, b = make_stack(1, tso=65535), make_stack(2, tso=65535)
    wire = Wire(a, b, delay_ns=50 * MS)
    client, server, _ = connect(wire)
    data = bytes(12 << 20)
    actors = [Sender(client, data), Receiver(server)]
    began = wire.now_ns
    assert pump(wire, actors)
    assert len(actors[1].data) == len(data)
    assert server.tcb.rcv_limit > 1 << 20
    assert client.tcb.snd_limit > 1 << 20
    assert wire.now_ns - began < 3 * S, (wire.now_ns - began) / S


@pytest.mark.slow
def test_20000_connections_leave_nothing() -> None:
    """Tables are empty after 2MSL and memory is flat."""
    import gc
    import tracemalloc

    a, b = make_stack(1), make_stack(2)
    listener = listen(b, backlog=64)
    now = 0

    def exchange() -> None:
        nonlocal now
        for _ in range(4):
            b.input([b"".join(f) for f in a.drain(now)], now)
            a.input([b"".join(f) for f in b.drain(now)], now)
        now += 4 * MS

    def visit() -> None:
        client = dial(a, b.address)
        for _ in range(3):
            exchange()
            if client.state is State.ESTABLISHED:
                break
        server = listener.accept()
        assert isinstance(server, TcpSocket), (client.state, b.counters())
        client.send(b"GET /")
        exchange()
        assert server.recv(100) == b"GET /"
        server.send(b"200")
        server.close()
        exchange()
        assert client.recv(100) == b"200"
        assert client.recv(100) == b""
        client.close()
        exchange()
        for stack in (a, b):
            at = stack.next_deadline()
            if at is not None and at <= now:
                stack.advance(now)

    for _ in range(2_000):
        visit()
    now += 130 * S
    a.advance(now)
    b.advance(now)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(2_000):
        visit()
    now += 130 * S
    a.advance(now)
    b.advance(now)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 200_000, grown
    for _ in range(16_000):
        visit()
    assert len(b.engine.time_wait) > 1_000
    now += 130 * S
    a.advance(now)
    b.advance(now)
    listener.close()
    for stack in (a, b):
        assert tables(stack) == {}
    assert a.counters()["tcp_retransmits"] == 0
