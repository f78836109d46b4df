"""TCP-MD5: every segment of a keyed connection is signed, by an oracle of this test's own.

The digest is worked out here from whole packets, as RFC 2385 2.0 has it, and not by the engine.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from struct import pack

import pytest
from tcp_world import (
    MS,
    STREAM,
    Receiver,
    S,
    Sender,
    Wire,
    address,
    close_all,
    listen,
    make_stack,
    pump,
    tables,
)
from test_over_ipv6 import INET6, global_address, mapped
from test_over_ipv6 import make_wire as make_wire_6
from test_over_ipv6 import tcp as tcp_6

from leulo.state import State as Saved
from leulo.tcp import md5
from leulo.tcp.config import PRESETS
from leulo.tcp.errno import AF_INET, ECONNRESET, EINVAL, ENOENT, ENOMEM, ENOPROTOOPT
from leulo.tcp.options import parse
from leulo.tcp.socket import TcpSocket
from leulo.tcp.sockopt.md5_key import FLAG_INTERFACE, FLAG_PREFIX, MOST_KEYS
from leulo.tcp.sockopt.names import IP_MTU_DISCOVER, IP_TOS, IP_TTL, TCP_MD5SIG, TCP_MD5SIG_EXT
from leulo.tcp.state import State
from leulo.tcp.tcb import LOOPBACK_MARK

TCP = 6
SECRET = b"correct horse"


def key_of(
    peer: bytes,
    secret: bytes,
    *,
    flags: int = 0,
    prefix: int = 0,
    length: int = -1,
    device: int = 0,
) -> bytes:
    """struct tcp_md5sig."""
    place = pack("<HH4s", 2, 0, peer) if len(peer) == 4 else pack("<HHI16s", 10, 0, 0, peer)
    size = len(secret) if length < 0 else length
    return place.ljust(128, b"\0") + pack("<BBHi80s", flags, prefix, size, device, secret)


def use_key(socket: TcpSocket, peer: bytes, secret: bytes = SECRET) -> None:
    assert socket.setsockopt(TCP, TCP_MD5SIG, key_of(peer, secret)) == 0


def digest_of(packet: bytes, secret: bytes) -> bytes:
    """Of an IP packet, from the packet alone."""
    if packet[0] >> 4 == 4:
        segment = packet[20:]
        start = packet[12:20] + b"\0\6" + pack("!H", len(segment))
    else:
        segment = packet[40:]
        start = packet[8:40] + pack("!II", len(segment), 6)
    header = bytearray(segment[:20])
    header[16:18] = b"\0\0"
    payload = segment[segment[12] >> 4 << 2 :]
    return hashlib.md5(start + bytes(header) + payload + secret).digest()


def carried(packet: bytes) -> bytes:
    """The digest in a packet's options, empty if there is none."""
    segment = packet[20 if packet[0] >> 4 == 4 else 40 :]
    options = segment[20 : segment[12] >> 4 << 2]
    while options:
        if options[0] == 19:
            return options[2:18]
        options = options[1:] if options[0] < 2 else options[options[1] :]
    return b""


def segments(wire: Wire) -> list[bytes]:
    """The packets of TCP that have crossed it."""
    packets = [frame[24:] for _, _, frame in wire.log if frame[22:24] in (b"\x08\0", b"\x86\xdd")]
    return [p for p in packets if p[9 if p[0] >> 4 == 4 else 6] == TCP]


def assert_all_signed(wire: Wire, secret: bytes = SECRET) -> int:
    packets = segments(wire)
    for packet in packets:
        assert carried(packet) == digest_of(packet, secret), packet.hex()
    return len(packets)


def keyed_pair(wire: Wire) -> tuple[TcpSocket, TcpSocket, TcpSocket]:
    """As `tcp_world.connect`, with a key on both sides."""
    a, b = wire.stacks
    listener = listen(b)
    use_key(listener, a.address)
    client = a.socket(2, STREAM)
    assert isinstance(client, TcpSocket)
    use_key(client, b.address)
    assert client.connect(b.address, 80) == -115
    servers: list[TcpSocket] = []

    def is_open() -> bool:
        got = listener.accept()
        if isinstance(got, TcpSocket):
            servers.append(got)
        return bool(servers) and client.state is State.ESTABLISHED

    assert wire.run(300 * S, is_open)
    return client, servers[0], listener


def move(wire: Wire, sender: TcpSocket, receiver: TcpSocket, data: bytes) -> None:
    """``data`` and the end of the stream, one way."""
    to = Receiver(receiver)
    assert pump(wire, [Sender(sender, data), to])
    assert bytes(to.data) == data


@pytest.mark.parametrize("tso", [0, 65_535], ids=["segments", "offload"])
@pytest.mark.parametrize("checksum", [True, False], ids=["offload", "summed"])
def test_every_segment_of_both_sides_is_signed(checksum: bool, tso: int) -> None:
    """Handshake, data, acknowledgements with gaps, repetitions, both FINs, TIME-WAIT."""
    knobs = {"checksum": checksum, "tso": tso}
    a, b = make_stack(1, **knobs), make_stack(2, **knobs)  # type: ignore[arg-type]
    wire = Wire(a, b, seed=7, loss=0.03, jitter_ns=2 * MS)
    client, server, listener = keyed_pair(wire)
    assert client.tcb is not None and not client.tcb.is_ordinary
    move(wire, client, server, bytes(range(256)) * 2_000)
    move(wire, server, client, bytes(range(255)) * 2_000)
    close_all(wire, client, server, listener)
    assert assert_all_signed(wire) > 700
    assert max(len(packet) for packet in segments(wire)) <= 1_500
    for stack in (a, b):
        assert tables(stack) == {}
        assert not {"drop_tcp_md5_failure", "drop_tcp_md5_not_found"} & set(stack.counters())


@pytest.mark.parametrize("is_mapped", [False, True], ids=["ipv6", "mapped"])
def test_over_ipv6(is_mapped: bool) -> None:
    wire = make_wire_6(seed=3, loss=0.02)
    a, b = wire.stacks
    to, by = (mapped(2), mapped(1)) if is_mapped else (global_address(2), global_address(1))
    listener = tcp_6(b)
    assert listener.bind(bytes(16), 80) == 0
    assert listener.listen(4) == 0
    use_key(listener, by)
    client = tcp_6(a)
    use_key(client, to)
    assert client.connect(to, 80) == -115
    assert wire.run(30 * S, lambda: bool(listener.events))
    server = listener.accept()
    assert isinstance(server, TcpSocket)
    move(wire, client, server, bytes(range(251)) * 1_000)
    close_all(wire, client, server, listener)
    assert assert_all_signed(wire) > 170
    assert tables(b) == {}


def test_inside_one_stack() -> None:
    stack = make_stack(1, tso=65_535)
    wire = Wire(stack, make_stack(2))
    listener = listen(stack)
    use_key(listener, stack.address)
    client = stack.socket(2, STREAM)
    assert isinstance(client, TcpSocket)
    use_key(client, stack.address)
    client.connect(stack.address, 80)
    wire.run(1 * S)
    server = listener.accept()
    assert isinstance(server, TcpSocket)
    move(wire, client, server, b"round" * 50_000)
    assert not [name for name in stack.counters() if "md5" in name]


PRESET_OF = {name: asdict(PRESETS[name]) for name in ("freebsd", "rfc")}
WORLDS: dict[str, dict[str, object]] = {
    **PRESET_OF,
    "ecn": {"ecn": 1, "ecn_of_control": 2},
    "accurate": {"ecn": 3},
    "no sack": {"has_sack": False},
    "no options": {"has_sack": False, "has_timestamps": False, "has_window_scaling": False},
    "paced": {"has_pacing": True},
    "searching": {"mtu_probing": 2},
    "cookies": {"half_open_limit": 0},
}


@pytest.mark.parametrize("name", WORLDS)
def test_whatever_else_segments_carry(name: str) -> None:
    """Marks, counters, timestamps beside SACK; an urgent mark, packets that may be fragmented and
    bits of the user's in IP's header."""
    a, b = make_stack(1, **WORLDS[name]), make_stack(2, **WORLDS[name])
    wire = Wire(a, b, seed=5, loss=0.02, jitter_ns=1 * MS)
    client, server, listener = keyed_pair(wire)
    assert client.send_urgent(b"!") == 1
    wire.run(2 * S)
    assert server.recv_urgent() == b"!"
    for level, option, value in ((0, IP_TOS, 0x20), (0, IP_TTL, 7), (0, IP_MTU_DISCOVER, 0)):
        assert server.setsockopt(level, option, value.to_bytes(4, "little")) == 0
    move(wire, client, server, bytes(range(256)) * 400)
    move(wire, server, client, bytes(range(255)) * 400)
    close_all(wire, client, server, listener)
    assert assert_all_signed(wire) > 140
    assert not {"drop_tcp_md5_failure", "drop_tcp_md5_not_found"} & {*a.counters(), *b.counters()}


def test_a_report_that_has_no_room_does_not_wait_for_ever() -> None:
    """Of what came twice, beside a signature and timestamps: data then takes acknowledgements along
    as it did before, instead of leaving them to a segment more."""
    a, b = make_stack(1, **WORLDS["freebsd"]), make_stack(2, **WORLDS["freebsd"])
    wire = Wire(a, b)
    client, server, _ = keyed_pair(wire)
    client.send(bytes(600))
    wire.run(1 * S)
    assert isinstance(server.recv(1_000), bytes)
    b.input([frame for _, who, frame in wire.log if not who and len(frame) > 600], wire.now_ns)
    wire.run(1 * S)
    assert server.tcb is not None and server.tcb.has_timestamps and server.tcb.has_sack
    count = len(wire.log)
    for _ in range(20):
        client.send(b"question")
        wire.run(10 * MS)
        assert server.recv(100) == b"question"
        server.send(b"answer")
        wire.run(10 * MS)
        assert client.recv(100) == b"answer"
    assert len(wire.log) - count == 40


def test_both_open_at_once() -> None:
    a, b = make_stack(1), make_stack(2)
    wire = Wire(a, b)
    sockets = []
    for stack, other, port in ((a, b, 1_000), (b, a, 2_000)):
        socket = stack.socket(2, STREAM)
        assert isinstance(socket, TcpSocket)
        assert socket.bind(bytes(4), port) == 0
        use_key(socket, other.address)
        assert socket.connect(other.address, 3_000 - port) == -115
        sockets.append(socket)
    assert wire.run(10 * S, lambda: all(s.state is State.ESTABLISHED for s in sockets))
    move(wire, *sockets, b"at once")
    assert_all_signed(wire)


def test_a_signed_syn_does_not_open_fast() -> None:
    a, b = make_stack(1), make_stack(2, fast_open=2)
    wire = Wire(a, b)
    listener = listen(b)
    assert listener.setsockopt(TCP, 23, (5).to_bytes(4, "little")) == 0  # TCP_FASTOPEN
    use_key(listener, a.address)
    client = a.socket(2, STREAM)
    assert isinstance(client, TcpSocket)
    use_key(client, b.address)
    assert client.connect_with(b"early", b.address, 80) == -115
    wire.run(1 * S)
    assert client.state is State.ESTABLISHED
    assert_all_signed(wire)
    for packet in segments(wire):
        assert parse(packet, 40, 20 + (packet[32] >> 4 << 2)).cookie is None
    server = listener.accept()
    assert isinstance(server, TcpSocket)
    move(wire, client, server, b"and then")


def test_different_keys_never_meet() -> None:
    a, b = make_stack(1), make_stack(2)
    wire = Wire(a, b)
    listener = listen(b)
    use_key(listener, a.address)
    client = a.socket(2, STREAM)
    assert isinstance(client, TcpSocket)
    use_key(client, b.address, b"wrong")
    client.connect(b.address, 80)
    wire.run(300 * S)
    assert client.state is State.CLOSED and client.take_error() == 110
    assert b.counters()["drop_tcp_md5_failure"] >= 5
    assert not [frame for _, who, frame in wire.log if who == 1 and frame[33] == TCP]


# ---------------------------------------------------------------- options


def test_a_signature_is_found_wherever_it_stands() -> None:
    pair, digest = bytes((8, 10)) + bytes(8), bytes((19, 18)) + bytes(range(16))
    assert parse(bytes(20) + pair + digest, 20, 48).signature_at == 32
    assert parse(bytes(20) + digest + digest, 20, 56).signature_at == 22  # the first one
    assert parse(bytes(20) + bytes((19, 17)) + bytes(15), 20, 37).signature_at == 0
    assert parse(bytes(20) + digest[:-1], 20, 37).signature_at == 0


# ---------------------------------------------------------------- keys


@pytest.mark.parametrize(
    ("before", "behind", "rest"),
    [
        (b"\x02\x04\x05\xb4\x04\x02", b"", b""),  # MSS, SACK permitted
        (b"\x02\x04\x05\xb4", b"\x01\x01", b""),
        (b"\x01\x01\x08\x0a" + bytes(8), b"\x01\x01", b"\x01\x01\x05\x0a" + bytes(8)),
        (b"", b"\x01\x01", b"\x01\x01\x05\x12" + bytes(16)),
        (b"", b"\x01\x01", b""),
    ],
)
def test_freebsds_signature_stands_behind_what_a_syn_offers(
    before: bytes, behind: bytes, rest: bytes
) -> None:
    padded = before + bytes(-len(before) % 4)
    linux = md5.BLANK + padded + rest
    assert md5.ordered(linux, PRESETS["linux"]) == linux
    assert md5.ordered(padded + rest, PRESETS["freebsd"]) == padded + rest
    found = md5.ordered(linux, PRESETS["freebsd"])
    assert found == before + behind + md5.BLANK[2:] + rest
    assert len(found) % 4 == 0


@pytest.mark.parametrize("is_inside", [False, True])
def test_freebsds_bound_socket_has_the_key_for_its_port(is_inside: bool) -> None:
    """Of a connection inside the stack, too, whose key ends in a mark. [FreeBSD tcp(4)]"""
    stack = make_stack(1, **WORLDS["freebsd"])
    socket = stack.socket(AF_INET, STREAM)
    assert isinstance(socket, TcpSocket)
    assert socket.bind(address(1), 5_000) == 0
    use_key(socket, address(2))
    key = address(2) + address(1) + pack("!HH", 1_234, 5_000) + LOOPBACK_MARK * is_inside
    assert md5.keys_of_service(stack.engine, key) == socket.settings.md5_keys != md5.NO_KEYS


def test_the_longest_prefix_counts() -> None:
    keys = md5.NO_KEYS
    for network, bits, secret in (
        (bytes((10, 0, 0, 0)), 8, b"wide"),
        (bytes((10, 1, 0, 0)), 16, b"narrow"),
        (bytes((10, 1, 2, 3)), 32, b"host"),
        (bytes(16), 0, b"six"),
    ):
        keys = md5.with_key(keys, network, bits, secret)
    assert md5.secret_for(keys, bytes((10, 1, 2, 3))) == b"host"
    assert md5.secret_for(keys, bytes((10, 1, 2, 4))) == b"narrow"
    assert md5.secret_for(keys, bytes((10, 2, 2, 4))) == b"wide"
    assert md5.secret_for(keys, bytes((11, 2, 2, 4))) == b""
    assert md5.secret_for(keys, bytes(15) + b"\1") == b"six"
    keys = md5.with_key(keys, bytes((10, 1, 0, 0)), 16, b"")
    assert md5.secret_for(keys, bytes((10, 1, 2, 4))) == b"wide"


def test_what_setsockopt_says() -> None:
    stack = make_stack(1)
    socket = listen(stack)
    peer = address(2)

    def put(value: bytes, name: int = TCP_MD5SIG) -> int:
        return socket.setsockopt(TCP, name, value)

    assert put(key_of(peer, b"x")[:-1]) == -EINVAL
    assert put(key_of(peer, b"x" * 80)) == 0
    assert put(key_of(peer, b"x", length=81)) == -EINVAL
    assert put(key_of(global_address(2), b"x")) == -EINVAL
    assert put(key_of(peer, b"x", flags=FLAG_PREFIX, prefix=33), TCP_MD5SIG_EXT) == -EINVAL
    assert put(key_of(peer, b"x", flags=FLAG_INTERFACE, device=1), TCP_MD5SIG_EXT) == -EINVAL
    assert put(key_of(peer, b"x", flags=FLAG_PREFIX, prefix=33)) == 0  # flags are the other's
    assert put(key_of(peer, b"", flags=FLAG_PREFIX, prefix=24), TCP_MD5SIG_EXT) == -ENOENT
    assert put(key_of(peer, b"x", flags=FLAG_PREFIX, prefix=24), TCP_MD5SIG_EXT) == 0
    assert put(key_of(peer, b"", flags=FLAG_PREFIX, prefix=24), TCP_MD5SIG_EXT) == 0
    assert put(key_of(peer, b"")) == 0
    assert put(key_of(peer, b"")) == -ENOENT
    assert socket.settings.md5_keys == ()
    assert socket.getsockopt(TCP, TCP_MD5SIG) == -ENOPROTOOPT
    six = make_wire_6().stacks[0]
    other = six.socket(INET6, STREAM)
    assert isinstance(other, TcpSocket)
    assert other.setsockopt(TCP, TCP_MD5SIG, key_of(mapped(2), b"x")) == 0
    assert other.settings.md5_keys == ((address(2), 32, b"x"),)
    assert other.setsockopt(TCP, TCP_MD5SIG, key_of(address(2), b"x")) == -EINVAL


def test_a_socket_has_not_more_keys_than_a_segment_may_ask_for() -> None:
    """Each segment of a peer whose network is the last, or none's, is compared with all."""
    socket = listen(make_stack(1))

    def put(number: int, secret: bytes) -> int:
        peer = (0x0A000000 + number).to_bytes(4, "big")
        return socket.setsockopt(TCP, TCP_MD5SIG, key_of(peer, secret))

    assert [put(number, b"x") for number in range(MOST_KEYS + 2)] == [0] * MOST_KEYS + [-ENOMEM] * 2
    assert put(3, b"changed") == 0  # it is one of them
    assert put(4, b"") == 0
    assert put(MOST_KEYS, b"x") == 0
    assert put(MOST_KEYS + 1, b"x") == -ENOMEM
    assert len(socket.settings.md5_keys) == MOST_KEYS


def test_an_accepted_connection_keeps_its_peers_key_alone() -> None:
    a, b = make_stack(1), make_stack(2)
    wire = Wire(a, b)
    client, server, listener = keyed_pair(wire)
    use_key(listener, address(9), b"somebody else's")
    assert server.settings.md5_keys == ((a.address, 32, SECRET),)
    assert listener.setsockopt(TCP, TCP_MD5SIG, key_of(a.address, b"")) == 0
    move(wire, client, server, b"as before")
    assert_all_signed(wire)


def test_what_accepted_connections_begin_with_is_worked_out_once() -> None:
    """However many keys there are; with the peer's alone they share the listener's settings."""
    a, b = make_stack(1), make_stack(2)
    wire = Wire(a, b)
    _, first, listener = keyed_pair(wire)
    assert first.settings is listener.settings and listener.listener is not None
    use_key(listener, address(9), b"somebody else's")
    seen = []
    for _ in range(2):
        client = a.socket(2, STREAM)
        assert isinstance(client, TcpSocket)
        use_key(client, b.address)
        client.connect(b.address, 80)
        wire.run(1 * S)
        server = listener.accept()
        assert isinstance(server, TcpSocket)
        assert server.settings.md5_keys == ((a.address, 32, SECRET),)
        seen.append(dict(listener.listener.terms))
    assert seen[0] == seen[1]
    assert [terms.settings for terms in seen[1].values()] == [listener.settings]


def test_a_peer_without_a_key_has_an_ordinary_connection() -> None:
    a, b = make_stack(1), make_stack(2)
    wire = Wire(a, b)
    listener = listen(b)
    use_key(listener, address(9))
    client = a.socket(2, STREAM)
    assert isinstance(client, TcpSocket)
    client.connect(b.address, 80)
    wire.run(1 * S)
    server = listener.accept()
    assert isinstance(server, TcpSocket) and server.tcb is not None
    assert server.settings.md5_keys == ()
    assert server.tcb.is_ordinary and not server.tcb.is_odd and server.tcb.has_timestamps
    assert not any(carried(packet) for packet in segments(wire))


def test_the_key_changes_on_both_sides_while_data_flows() -> None:
    a, b = make_stack(1), make_stack(2)
    wire = Wire(a, b)
    client, server, _ = keyed_pair(wire)
    move_some = bytes(range(256)) * 100
    assert client.send(move_some) == len(move_some)
    wire.run(7 * MS)
    use_key(client, b.address, b"new")
    wire.run(2 * S)
    before = b.counters()["drop_tcp_md5_failure"]
    assert before > 0
    use_key(server, a.address, b"new")
    got = Receiver(server, limit=len(move_some))
    assert wire.run(60 * S, lambda: got.go() or len(got.data) >= len(move_some))
    assert bytes(got.data) == move_some


# ---------------------------------------------------------------- state


def test_saved_and_loaded_in_the_middle() -> None:
    a, b = make_stack(1), make_stack(2)
    wire = Wire(a, b)
    client, server, _ = keyed_pair(wire)
    server.send(b"before")
    wire.run(1 * S)
    state: Saved = b.save()
    again = make_stack(2)
    again.load(state)
    wire.stacks = (a, again)
    found = again.socket_of(server.serial)
    assert isinstance(found, TcpSocket) and found.tcb is not None
    assert not found.tcb.is_ordinary and found.tcb.is_odd
    move(wire, client, found, b"after")
    assert_all_signed(wire)


def test_a_record_of_time_wait_is_saved_with_its_key_and_forgets_it() -> None:
    a, b = make_stack(1), make_stack(2)
    wire = Wire(a, b)
    client, server, _ = keyed_pair(wire)
    client.close()
    wire.run(1 * S)
    server.close()
    wire.run(1 * S)
    assert len(a.engine.time_wait) == len(a.engine.time_wait.md5_keys) == 1
    again = make_stack(1)
    again.load(a.save())
    assert again.engine.time_wait.md5_keys == a.engine.time_wait.md5_keys
    wire.stacks = (again, b)
    [fin] = [p for p in segments(wire) if p[12:16] == b.address and p[33] & 1]
    frame = b"\2" + bytes(9) + bytes((2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2)) + b"\x08\0"
    again.input([frame + fin[:-1] + bytes((fin[-1] ^ 1,))], wire.now_ns)
    assert again.counters()["drop_tcp_md5_failure"] == 1
    assert not again.has_output
    count = len(wire.log)
    again.input([frame + fin], wire.now_ns)
    wire.run(100 * S)
    assert [who for _, who, _ in wire.log[count:]] == [0, 1]  # b has forgotten it, and resets
    assert_all_signed(wire)
    assert again.engine.time_wait.md5_keys == {}


def test_keys_of_records_that_are_over_do_not_pile_up() -> None:
    a, b = make_stack(1, time_wait_limit=50), make_stack(2)
    wire = Wire(a, b, delay_ns=1 * MS)
    listener = listen(b, backlog=64)
    use_key(listener, a.address)
    for _ in range(400):
        client = a.socket(2, STREAM)
        assert isinstance(client, TcpSocket)
        use_key(client, b.address)
        client.connect(b.address, 80)
        wire.run(5 * MS)
        server = listener.accept()
        assert isinstance(server, TcpSocket)
        client.close()
        server.close()
        wire.run(5 * MS)
    assert len(a.engine.time_wait) == 50
    assert len(a.engine.time_wait.md5_keys) <= 2 * 50 + 64


def test_a_service_resets_the_connections_it_has_lost() -> None:
    """The peer's segments come from the port that is served here, too, and its listener has the
    key: as between two routers, either of which may have opened the connection."""
    a, b = make_stack(1), make_stack(2)
    wire = Wire(a, b)
    _, server, _ = keyed_pair(wire)
    again = make_stack(1)  # it has started anew
    wire.stacks = (again, b)
    service = listen(again)
    use_key(service, b.address)
    server.send(b"are you there?")
    wire.run(3 * S)
    assert server.recv(1) == -ECONNRESET
    assert_all_signed(wire)
    assert again.counters()["tcp_refused"] == 1


# ---------------------------------------------------------------- what Linux has signed

LINUX_SECRET = b"a secret of both"
# Captured from Linux 6.18: a SYN and two bytes of data over IPv4, and the same over IPv6
LINUX = (
    "45000048ade540004006782e0a4d00010a4d0002d0ba0007061da8d600000000d002faf014d7000001011312"
    "1349917f00c6ec0cafb54facb87d0305020405b4010104020103030a",
    "4500003eade74000400678360a4d00010a4d0002d0ba0007061da8d745b14ca2a018003f14cd000001011312"
    "52132c70814c490e89582c4452feccd96869",
    "600c21d200340640fd000077000000000000000000000001fd00007700000000000000000000000280f60007"
    "29c4b6fe00000000d002fd20fb2c0000010113127e54b1e39df057280f3cabf47fa746a2020405a001010402"
    "0103030a",
    "600c21d2002a0640fd000077000000000000000000000001fd00007700000000000000000000000280f60007"
    "29c4b6ff171d776ca0180040fb220000010113129f3ca4d8b7c509b001d23e7534c0bb376869",
)


@pytest.mark.parametrize("text", LINUX, ids=["syn4", "data4", "syn6", "data6"])
def test_what_linux_has_signed_is_right_and_nothing_else(text: str) -> None:
    packet = bytes.fromhex(text)
    begin = 20 if packet[0] >> 4 == 4 else 40
    key = packet[begin - (8 if begin == 20 else 32) : begin + 4]
    keys = ((md5.peer_of(key), len(md5.peer_of(key)) * 8, LINUX_SECRET),)

    def verdict(segment: bytes) -> str:
        frame = bytes(44) + segment
        start = 44 + (segment[12] >> 4 << 2)
        at = parse(frame, 64, min(start, len(frame))).signature_at
        return md5.refusal(keys, key, frame, start, len(frame), at)

    segment = packet[begin:]
    assert verdict(segment) == ""
    assert digest_of(packet, LINUX_SECRET) == carried(packet)
    for at in range(len(segment)):
        changed = verdict(segment[:at] + bytes((segment[at] ^ 1,)) + segment[at + 1 :])
        if at in (16, 17) or 20 <= at < 24 or (at >= 40 and at < segment[12] >> 4 << 2):
            continue  # the checksum and other options are not signed
        assert changed, at
    assert verdict(segment + b"more") == "tcp_md5_failure"
    assert md5.refusal((), key, bytes(44) + segment, 84, 44 + len(segment), 68) != ""
    other = ((keys[0][0], keys[0][1], b"other"),)
    assert md5.refusal(other, key, bytes(44) + segment, 84, 44 + len(segment), 68) != ""
