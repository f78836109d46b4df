"""TCP Fast Open between two stacks, and what its server, its client and its cookies guard."""

from __future__ import annotations

from ipaddress import ip_address
from struct import pack

import pytest
from script_peer import HERE, THERE, Script
from tcp_world import ANY, INET, MS, STREAM, S, Wire, address, close_all, dial, listen, make_stack
from test_saved import reborn

from leulo.stack import Stack
from leulo.tcp.fast_open_client import CookieJar
from leulo.tcp.fast_open_server import cookie_for
from leulo.tcp.options import with_last
from leulo.tcp.siphash import siphash
from leulo.tcp.socket import TcpSocket
from leulo.tcp.state import State

TCP = 6
FASTOPEN, FASTOPEN_CONNECT, FASTOPEN_KEY = 23, 30, 33
INPROGRESS, AGAIN = -115, -11


def option(socket: TcpSocket, name: int, value: int) -> int:
    return socket.setsockopt(TCP, name, pack("<i", value))


def new(stack: Stack) -> TcpSocket:
    socket = stack.socket(INET, STREAM)
    assert isinstance(socket, TcpSocket)
    return socket


def fast_listener(stack: Stack, queue: int = 8) -> TcpSocket:
    listener = listen(stack)
    assert option(listener, FASTOPEN, queue) == 0
    return listener


def accepted(listener: TcpSocket) -> TcpSocket:
    socket = listener.accept()
    assert isinstance(socket, TcpSocket)
    return socket


class Hole(Wire):
    """While ``is_hole``, TCP vanishes on its way, and nothing else does."""

    is_hole = False

    def _post(self, to: int, frame: bytes) -> None:
        if not self.is_hole or frame[22:24] != b"\x08\x00":
            super()._post(to, frame)


def world(**knobs: object) -> tuple[Hole, TcpSocket]:
    """A client that has a cookie of the server's, and the server's listener."""
    a, b = make_stack(1, **knobs), make_stack(2, fast_open=3)
    wire = Hole(a, b)
    listener = fast_listener(b)
    asking = new(a)
    assert asking.connect_with(b"", address(2), 80) == INPROGRESS
    wire.run(1 * S)
    accepted(listener).close()
    asking.close()
    wire.run(100 * S)
    return wire, listener


# ------------------------------------------------------------ cookies


def test_siphash_is_that_of_its_authors() -> None:
    key = bytes(range(16))
    assert siphash(key, b"") == 0x726FDB47DD0E0E31
    assert siphash(key, bytes(range(15))) == 0xA129CA6149BE45E5


@pytest.mark.parametrize(
    ("client", "server", "cookie"),
    [
        ("192.0.2.1", "192.168.0.1", "3021b9d889017eeb"),
        ("fd3d:fa7b:d17d::1", "fd3d:a0b:17d6::1", "c1d1e9742a47a9bc"),
    ],
)
def test_cookies_are_those_of_linux_with_the_same_key(
    client: str, server: str, cookie: str
) -> None:
    key = bytes.fromhex("a1a1a1a1b2b2b2b2c3c3c3c3d4d4d4d4")
    ends = [ip_address(end).packed for end in (client, server)]
    assert cookie_for(key, *ends).hex() == cookie


def test_cookies_of_freebsd_are_of_the_clients_address_alone() -> None:
    assert cookie_for(bytes(16), ip_address("192.0.2.1").packed, b"").hex() == "2069a359c930dba9"


def test_a_syns_last_option_stands_before_the_zeros_that_end_them() -> None:
    mss, sack, cookie = b"\x02\x04\x05\xb4", b"\x04\x02", b"\x22\x06abc\0"
    last = cookie + b"\0\0"
    assert with_last(mss, last) == mss + last
    assert with_last(b"", last) == last
    assert with_last(mss + sack + b"\0\0", b"") == mss + sack + b"\0\0"
    assert with_last(mss + sack + b"\0\0", last) == mss + sack + cookie
    assert with_last(sack + b"\0\0", b"\x22\x02\1\1") == sack + b"\x22\x02"
    assert with_last(b"\1\1" + sack, last) == b"\1\1" + sack + last


def test_jar_forgets_whom_it_has_not_heard_of_for_longest() -> None:
    jar = CookieJar()
    for peer in range(5):
        jar.entry(bytes((peer,)), 3).mss = 1000 + peer
        jar.entry(b"\0", 3)
    assert jar.get(b"\0") is not None and jar.get(b"\4") is not None
    assert jar.get(b"\1") is None and jar.get(b"\2") is None
    assert len(jar) == 3


def test_pauses_double_up_to_a_limit() -> None:
    jar = CookieJar()
    lengths = []
    now = 0
    for _ in range(9):
        jar.pause(now)
        length = next(n for n in range(1, 200) if not jar.is_paused(10, now + n * 10))
        lengths.append(length)
        now += length * 10
    assert lengths == [1, 2, 4, 8, 16, 32, 64, 64, 64]
    jar.works_again()
    assert not jar.is_paused(10, now)


# ------------------------------------------------------------ two stacks


@pytest.mark.parametrize("checksum", [True, False])
def test_question_and_answer_take_one_round_trip(checksum: bool) -> None:
    wire, listener = world(checksum=checksum)
    a, _ = wire.stacks
    client = new(a)
    start = wire.now_ns
    assert client.connect_with(b"question", address(2), 80) == 8
    wire.run(1 * S, lambda: bool(listener.events & 1))
    assert wire.now_ns - start == wire.delay_ns
    server = accepted(listener)
    assert server.state is State.SYN_RCVD
    assert server.recv(100) == b"question"
    assert server.send(b"answer") == 6
    wire.run(1 * S, lambda: bool(client.events & 1))
    assert wire.now_ns - start == 2 * wire.delay_ns
    assert client.recv(100) == b"answer"
    wire.run(1 * S)
    assert server.state is State.ESTABLISHED
    assert wire.stacks[0].counters()["fast_opens_active"] == 1
    assert wire.stacks[1].counters()["fast_opens_passive"] == 1
    close_all(wire, client, server)


@pytest.mark.parametrize("loss_seed", range(12))
def test_stream_is_whole_whatever_is_lost(loss_seed: int) -> None:
    wire, listener = world()
    wire.random.seed(loss_seed)
    wire.loss = 0.3
    data = bytes(range(256)) * 40
    client = new(wire.stacks[0])
    sent = client.connect_with(data, address(2), 80)
    assert sent > 0
    got = bytearray()
    servers: list[TcpSocket] = []

    def go() -> bool:
        nonlocal sent
        count = client.send(data[sent:]) if sent < len(data) else 0
        sent += max(count, 0)
        new_one = listener.accept()
        if isinstance(new_one, TcpSocket):
            servers.append(new_one)
        for server in servers:
            piece = server.recv(1 << 20)
            if isinstance(piece, bytes):
                got.extend(piece)
        return len(got) >= len(data)

    assert wire.run(1_000 * S, go)  # with a window of one segment, if the SYN was lost twice
    assert bytes(got) == data
    assert len(servers) == 1


def test_deferred_connection_survives_saving() -> None:
    wire, listener = world()
    client = new(wire.stacks[0])
    assert option(client, FASTOPEN_CONNECT, 1) == 0
    assert client.connect(address(2), 80) == 0
    wire.run(1 * S)
    wire.stacks = (reborn(wire.stacks[0]), reborn(wire.stacks[1]))
    again = wire.stacks[0].socket_of(client.serial)
    server = wire.stacks[1].socket_of(listener.serial)
    assert isinstance(again, TcpSocket) and isinstance(server, TcpSocket)
    assert again.events & 4
    assert again.send(b"later") == 5
    wire.run(1 * S)
    assert accepted(server).recv(10) == b"later"
    assert wire.stacks[0].counters()["fast_opens_active"] == 1


def test_half_open_server_survives_saving_and_counts_as_before() -> None:
    s = Script(fast_open=0x203, timestamps=False)
    s.listen()
    assert s.listener is not None
    assert option(s.listener, FASTOPEN, 1) == 0
    s.inject("S", 0, data=b"early")
    s.expect("SA", 0, 6)
    s.stack = reborn(s.stack)
    again = s.stack.socket_of(s.listener.serial)
    assert isinstance(again, TcpSocket)
    s.listener = again
    first = s.peer_port
    s.peer_port = 4001
    s.inject("S", 0, data=b"early")  # there is no second place
    s.expect("SA", 0, 1)
    s.peer_port = first
    s.iss = s.tcb.iss
    s.inject("A", 6, 1)
    assert s.accept().recv(10) == b"early"
    s.peer_port = 4002
    s.inject("S", 0, data=b"early")  # the first has gone on
    s.expect("SA", 0, 6)


def test_inside_one_stack() -> None:
    stack = make_stack(1, fast_open=3)
    wire = Wire(stack, make_stack(2))
    listener = fast_listener(stack)
    asking = new(stack)
    assert asking.connect_with(b"", address(1), 80) == INPROGRESS
    wire.run(1 * S)
    client = new(stack)
    assert client.connect_with(b"to myself", address(1), 80) == 9
    wire.run(1 * S)
    accepted(listener)
    assert accepted(listener).recv(100) == b"to myself"


# ------------------------------------------------------------ what the server guards


def pending_server(queue: int = 1) -> Script:
    s = Script(fast_open=0x203, timestamps=False)
    s.listen(100)
    assert s.listener is not None
    assert option(s.listener, FASTOPEN, queue) == 0
    return s


def opens(s: Script, port: int) -> bool:
    """Is a SYN's data taken now?"""
    s.queue.clear()
    s.peer_port = port
    s.iss = None
    s.inject("S", 0, data=b"early")
    return s.expect("SA", 0).ack == 6


def test_resets_after_accept_hold_their_places_for_a_minute() -> None:
    """Or whoever has stolen a cookie could have the server answer without end. [RFC 7413 5.1]"""
    s = pending_server()
    assert opens(s, 5001)
    s.accept()
    s.inject("R", 6)
    assert not opens(s, 5002)
    s.wait(59 * S)
    assert not opens(s, 5003)
    s.wait(2 * S)
    assert opens(s, 5004)


def test_reset_before_accept_frees_its_place() -> None:
    """The connection waits in the queue of accept(), which has its own bound."""
    s = pending_server()
    assert opens(s, 5001)
    s.inject("R", 6)
    assert opens(s, 5002)


def test_flood_with_a_good_cookie_is_bounded_by_the_queue() -> None:
    s = pending_server(queue=5)
    taken = sum(opens(s, 10_000 + n) for n in range(40))
    assert taken == 5
    assert s.stack.counters()["fast_open_overflows"] == 35
    s.wait(300 * S)  # nobody ever answers
    assert s.listener is not None and s.listener.listener is not None
    assert s.listener.listener.fast_opens == 0
    assert not s.stack.engine.connections


def test_cookie_is_good_for_its_address_alone() -> None:
    s = Script(fast_open=3, timestamps=False)
    s.listen()
    assert s.listener is not None
    assert option(s.listener, FASTOPEN, 5) == 0
    key = bytes(range(16))
    assert s.listener.setsockopt(TCP, FASTOPEN_KEY, key) == 0
    for theirs, is_good in ((address(9), False), (THERE, True)):
        s.peer_port += 1
        s.iss = None
        cookie = cookie_for(key, theirs, HERE)
        s.inject("S", 0, data=b"early", options=[(2, b"\5\xb4"), (34, cookie), (1, b""), (1, b"")])
        assert (s.expect("SA", 0).ack == 6) is is_good


def test_screened_listener_opens_nothing_early() -> None:
    """Whoever decides about each SYN has not seen it yet."""

    class Screen:
        def syn_held(self, half: object) -> None: ...

        def half_lost(self, half: object) -> None: ...

    s = pending_server()
    assert s.listener is not None and s.listener.listener is not None
    s.listener.listener.screen = Screen()
    s.inject("S", 0, data=b"early")
    s.expect_none()
    assert len(s.stack.engine.half_open) == 1


# ------------------------------------------------------------ what the client notices


def test_black_hole_stops_fast_opens_until_one_works_again() -> None:
    wire, listener = world(fast_open_pause_ns=50 * S)
    a = wire.stacks[0]
    wire.is_hole = True
    client = new(a)
    assert client.connect_with(b"lost", address(2), 80) == 4
    wire.run(20 * S)  # three timeouts: 1, 3 and 7 s
    client.close()
    wire.is_hole = False
    other = new(a)
    assert other.connect_with(b"slow", address(2), 80) == INPROGRESS
    wire.run(1 * S)
    assert other.send(b"slow") == 4
    wire.run(50 * S)
    a.advance(wire.now_ns)
    third = new(a)
    assert third.connect_with(b"fast", address(2), 80) == 4
    wire.run(1 * S)
    accepted(listener)
    server = accepted(listener)
    server.send(b"it works")
    wire.run(1 * S)
    third.close()
    server.close()
    wire.run(100 * S)
    assert not a.engine.cookies.was_paused


def test_reset_out_of_order_before_any_data_is_a_black_hole() -> None:
    s = Script(fast_open=5, timestamps=False, fast_open_pause_ns=50 * S)
    client = s.new_socket()
    assert client.connect_with(b"early", THERE, 80) == 5
    s.expect("S", 0, length=5)
    s.inject("SA", 0, 6)
    s.expect("A", 6, 1)
    assert s.stack.engine.cookies.is_paused(50 * S, s.now_ns) is False
    s.tcb.fast_open.has_option = True
    s.inject("R", 500)
    s.expect("A", 6, 1)  # a challenge
    assert s.stack.engine.cookies.is_paused(50 * S, s.now_ns)


def test_pending_write_is_told_how_much_the_syn_takes() -> None:
    wire, _ = world()
    client = new(wire.stacks[0])
    assert option(client, FASTOPEN_CONNECT, 1) == 0
    assert client.connect(address(2), 80) == 0
    room = client.send_room()
    assert 0 < room < 1460
    assert client.send(bytes(5000)) == room
    assert client.send_room() == AGAIN
    wire.run(1 * S)
    assert client.send(bytes(5000)) == 5000


def test_empty_first_write_sends_the_syn() -> None:
    wire, listener = world()
    client = new(wire.stacks[0])
    assert option(client, FASTOPEN_CONNECT, 1) == 0
    assert client.connect(address(2), 80) == 0
    wire.run(1 * S)
    assert listener.accept() == AGAIN
    assert client.send(b"") == INPROGRESS
    wire.run(1 * S)
    accepted(listener)


def test_other_events_do_not_send_a_deferred_syn() -> None:
    """Options that ask for output, a neighbour that is found: only a write is a reason."""
    wire, listener = world()
    client = new(wire.stacks[0])
    assert option(client, FASTOPEN_CONNECT, 1) == 0
    assert client.connect(address(2), 80) == 0
    assert option(client, 1, 1) == 0  # TCP_NODELAY
    wire.run(200 * S)
    assert listener.accept() == AGAIN
    assert client.send(b"now") == 3
    wire.run(1 * S)
    assert accepted(listener).recv(10) == b"now"


def test_ordinary_connections_ask_for_no_cookie() -> None:
    wire, _ = world()
    before = len(wire.log)
    dial(wire.stacks[0], address(2))
    wire.run(10 * MS)
    syn = next(frame for _, who, frame in wire.log[before:] if who == 0)
    assert b"\x22" not in syn[24 + 40 :]
    unbound = new(wire.stacks[0])
    assert unbound.bind(ANY, 0) == 0


def test_before_the_handshake_no_more_than_the_initial_window() -> None:
    """[RFC 7413 4.2.2]"""
    wire, listener = world()
    client = new(wire.stacks[0])
    assert client.connect_with(b"question", address(2), 80) == 8
    wire.run(1 * S, lambda: bool(listener.events & 1))
    server = accepted(listener)
    assert server.state is State.SYN_RCVD
    server.send(bytes(60_000))
    wire.carry()
    assert server.tcb is not None
    assert server.tcb.snd_max - server.tcb.iss - 1 == 10 * server.tcb.mss
