"""Requirements of RFC 9293 that no other test shows: docs/requirements names each with its line."""

from __future__ import annotations

from random import Random
from struct import pack, unpack

import pytest
from script_peer import HERE, HERE_MAC, MS, PEER_ISN, THERE, THERE_MAC, S, Script
from tcp_segments import TcpRepr
from tcp_world import ANY, STREAM, Wire, connect, dial, listen, make_stack

from leulo.net.wire.checksum import checksum
from leulo.net.wire.ipv4 import Ipv4Repr
from leulo.net.wire.tcp import ACK
from leulo.stack import Stack, StackConfig
from leulo.tcp.challenge import ChallengeLimit
from leulo.tcp.ecn import Ecn
from leulo.tcp.errno import EHOSTUNREACH
from leulo.tcp.fast_open_server import cookie_for
from leulo.tcp.icmp_errors import icmp_error_arrives
from leulo.tcp.isn import IsnGenerator
from leulo.tcp.socket import TcpSocket
from leulo.trace import Trace


def test_options_in_any_layout_are_read_on_data() -> None:
    """A timestamp behind another option, or at an odd place, is one. [RFC 9293 3.1, MUST-5]"""
    s = Script(drops_missing_timestamps=True)
    socket = s.passive()
    stamp = (s.now_ns // MS).to_bytes(4, "big") + s.last_tsval.to_bytes(4, "big")
    s.inject("A", 1, 1, b"odd", options=[(254, b"abc"), (8, stamp)])
    assert socket.recv(10) == b"odd"


def test_initial_sequence_numbers_depend_on_a_secret() -> None:
    """Who knows the addresses but not the secret computes nothing. [RFC 9293 3.4.1, MUST-9]"""
    key = bytes(12)
    numbers = {IsnGenerator(Random(seed).getrandbits).make(key, 0) for seed in range(8)}
    assert len(numbers) == 8


def test_listeners_come_and_go_and_connections_stay() -> None:
    """[RFC 9293 3.9.1.1, MUST-41]"""
    wire = Wire(make_stack(1), make_stack(2))
    client, server, listener = connect(wire)
    other = listen(wire.stacks[1], 81)
    listener.close()
    client.send(b"still here")
    wire.run(1 * S)
    assert server.recv(100) == b"still here"
    other.close()
    again = listen(wire.stacks[1], 81)
    server.send(b"and back")
    wire.run(1 * S)
    assert client.recv(100) == b"and back"
    again.close()


def test_connect_from_a_bound_address() -> None:
    """[RFC 9293 3.9.1.1, MUST-43]"""
    config = StackConfig("many", HERE_MAC, HERE, 24, accept_any=True)
    stack = Stack(config, Random(1).getrandbits, Trace())
    socket = stack.socket(2, STREAM)
    assert isinstance(socket, TcpSocket)
    chosen = bytes((10, 0, 0, 77))
    assert socket.bind(chosen, 0) == 0
    assert socket.connect(THERE, 80) == -115
    assert socket.local is not None and socket.local[0] == chosen


@pytest.mark.parametrize("address", [b"\xff\xff\xff\xff", b"\x0a\0\0\xff", b"\xe0\0\0\1"])
def test_connect_to_many_is_refused(address: bytes) -> None:
    """Broadcasts and groups are no peers: an error at once, no SYN. [RFC 9293 3.9.2.3, MUST-46]"""
    s = Script()
    socket = s.new_socket()
    assert socket.connect(address, 80) < 0
    assert socket.tcb is None
    s.expect_none()


def test_segments_keep_the_connections_local_address() -> None:
    """[RFC 9293 3.9.1.1, MUST-45]"""
    config = StackConfig("many", HERE_MAC, HERE, 24, accept_any=True, checksum=True)
    stack = Stack(config, Random(1).getrandbits, Trace())
    socket = stack.socket(2, STREAM)
    assert isinstance(socket, TcpSocket)
    assert socket.bind(ANY, 80) == 0 and socket.listen(1) == 0
    other = bytes((10, 0, 0, 55))
    _give(stack, 0, _segment(other, "S", 0, 0), b"")
    answer = next(f for f in _frames(stack) if f[22:24] == b"\x08\0")
    assert answer[36:40] == other
    ack = int.from_bytes(answer[48:52], "big") + 1
    _give(stack, MS, _segment(other, "A", 1, ack), b"")
    accepted = socket.accept()
    assert isinstance(accepted, TcpSocket)
    accepted.send(b"hello")
    data = next(f for f in _frames(stack) if f.endswith(b"hello"))
    assert data[36:40] == other


def test_the_neighbour_is_asked_for_anew_after_three_timeouts() -> None:
    """R1, and not sooner. [RFC 9293 3.8.3, SHLD-10]"""
    s = Script()
    socket = s.passive()
    socket.send(b"x")
    s.expect("A")
    known = s.tcb.front
    asked_at = 0
    while not asked_at and s.tcb.backoff < 6:
        s.wait(s.tcb.rto_at - s.now_ns)
        if s.tcb.front is not known:  # looked up again
            asked_at = s.tcb.backoff
    assert asked_at == 3


def test_an_open_connection_is_not_given_up_within_100_s() -> None:
    """R2. [RFC 9293 3.8.3, SHLD-11]"""
    s = Script()
    socket = s.passive()
    socket.send(b"x")
    s.wait(100 * S)
    s.expect_state("ESTABLISHED")


def test_a_closed_window_that_answers_ends_nothing() -> None:
    """Whatever the limit of retransmissions. [RFC 9293 3.8.6.1, MUST-37]"""
    s = Script(retries=3)
    socket = s.passive()
    s.inject("A", 1, 1, window=0)
    socket.send(b"waits")
    for _ in range(8):
        s.wait(s.tcb.rto_at - s.now_ns + 1)
        s.queue.clear()
        s.inject("A", 1, 1, window=0)
    s.expect_state("ESTABLISHED")


def test_keepalive_defaults_to_two_hours() -> None:
    """[RFC 9293 3.8.4, MUST-28]"""
    s = Script()
    socket = s.passive()
    assert unpack("<i", socket.getsockopt(6, 4)) == (7_200,)
    socket.setsockopt(1, 9, pack("<i", 1))
    s.wait(7_199 * S)
    s.expect_none()
    s.wait(2 * S)
    s.expect("A", 0)


def test_ip_options_are_ignored() -> None:
    """[RFC 9293 3.9.2.1, MUST-50]"""
    s = Script(timestamps=False)
    socket = s.passive()
    options = b"\x07\x07\x04\0\0\0\0\x01"  # record route with room for one, no-operation
    segment = _segment(HERE, "A", 1, (s.iss or 0) + 1, b"data", s.peer_port)
    _give(s.stack, s.now_ns, segment, options)
    assert socket.recv(10) == b"data"


def test_what_icmp_said_is_what_it_fails_with() -> None:
    """[RFC 9293 3.9.2.2, SHLD-25]"""
    s = Script(retries=2)
    socket = s.passive()
    socket.send(b"x")
    s.wait(500 * MS)
    tcb = s.tcb
    ends = (HERE, s.port), (THERE, s.peer_port)
    assert icmp_error_arrives(
        s.stack.engine, *ends, tcb.snd_una & 0xFFFFFFFF, 3, False, 0, 1
    ) is None  # fmt: skip
    s.expect_state("ESTABLISHED")
    s.wait(60 * S)
    assert socket.take_error() == EHOSTUNREACH


def test_a_segment_without_a_timestamp_is_dropped_where_that_is_wanted() -> None:
    """[RFC 7323 3.2]"""
    s = Script(drops_missing_timestamps=True)
    socket = s.passive()
    s.inject("A", 1, 1, b"bare", tsval=-1)
    assert socket.recv(10) == -11
    s.inject("A", 1, 1, b"good")
    assert socket.recv(10) == b"good"


def test_a_timestamp_is_out_of_date_after_24_days() -> None:
    """[RFC 7323 5.5]"""
    s = Script()
    socket = s.passive()
    day = 86_400 * S
    s.inject("A", 1, 1, b"a", tsval=2_000_000_000)
    s.now_ns += 23 * day
    s.inject("A", 2, 1, b"b", tsval=1_000_000_000)
    s.now_ns += 2 * day
    s.inject("A", 2, 1, b"c", tsval=1_000_000_000)
    assert socket.recv(10) == b"ac"


def test_the_timestamp_clock_ticks_in_milliseconds() -> None:
    """[RFC 7323 5.4]"""
    s = Script()
    socket = s.passive()
    socket.send(b"x")
    first = s.expect("A").tcp.timestamps
    s.inject("A", 1, 2)
    s.wait(100 * MS)
    socket.send(b"y")
    second = s.expect("A").tcp.timestamps
    assert first is not None and second is not None
    assert (second[0] - first[0]) & 0xFFFFFFFF == 100


def test_timestamps_do_not_tell_for_how_long_a_host_is_up() -> None:
    """Two connections of one host differ by more than the time between them. [RFC 7323 7.1]"""
    values = []
    s = Script()
    for _ in range(2):
        s.dial()
        timestamps = s.expect("S").tcp.timestamps
        assert timestamps is not None
        values.append(timestamps[0])
    assert abs(values[0] - values[1]) > 1000


def test_the_challenge_budget_is_not_the_same_each_second() -> None:
    """[RFC 5961 7] [CVE-2016-5696]"""
    limit = ChallengeLimit(40, Random(1).getrandbits)
    counts = {sum(limit.allows(second * S) for _ in range(100)) for second in range(12)}
    assert len(counts) > 3
    assert min(counts) >= 20 and max(counts) <= 60


def test_a_fast_open_cookie_is_of_one_client() -> None:
    """[RFC 7413 4.1.2]"""
    clients = [bytes((10, 0, 0, n)) for n in range(1, 9)]
    assert len({cookie_for(bytes(16), client, HERE) for client in clients}) == 8
    assert cookie_for(bytes(16), THERE, HERE) != cookie_for(b"k" * 16, THERE, HERE)


def test_no_segment_may_be_cut_on_its_way() -> None:
    """Those of a handshake and of a refusal as little as data, an acknowledgement and an end.
    [RFC 8900 6.1] [RFC 6691 5.4]"""
    wire = Wire(make_stack(1), make_stack(2))
    client, server, _ = connect(wire)
    client.send(bytes(10_000))
    wire.run(1 * S)
    assert len(server.recv(20_000)) == 10_000
    client.close()
    server.close()
    dial(wire.stacks[0], wire.stacks[1].address, 81)  # where nobody listens
    wire.run(1 * S)
    frames = [frame for _, _, frame in wire.log if frame[22:24] == b"\x08\x00"]
    flags = {frame[57] & 0x17 for frame in frames}
    assert flags >= {0x02, 0x12, 0x10, 0x11, 0x14}, "SYN, SYN-ACK, ACK, FIN and RST"
    assert all(frame[30] & 0x60 == 0x40 for frame in frames)


def test_a_window_probe_is_not_capable() -> None:
    """[RFC 3168 6.1.6]"""
    s = Script(probes_with_data=True)
    socket = s.passive()
    s.inject("A", 1, 1, window=0)
    tcb = s.tcb
    tcb.ecn = Ecn(tcb.snd_una)
    socket.send(b"waits")
    s.expect_none()
    s.wait(tcb.rto_at - s.now_ns)
    assert s.expect("A", 1, length=1).data == b"w"
    assert tcb.ecn.codepoint == 0


def _segment(
    to: bytes, flags: str, seq: int, ack: int, data: bytes = b"", port: int = 4000
) -> bytes:
    bits = ACK if flags == "A" else 2
    tcp = TcpRepr(port, 80, (PEER_ISN + seq) & 0xFFFFFFFF, ack & 0xFFFFFFFF, bits, 60_000, 0, [])
    return tcp.emit(THERE, to, data) + to


def _give(stack: Stack, now_ns: int, segment_and_address: bytes, options: bytes) -> None:
    segment, to = segment_and_address[:-4], segment_and_address[-4:]
    header = bytearray(Ipv4Repr(THERE, to, 6, len(segment) + len(options)).emit() + options)
    header[0] = 0x45 + len(options) // 4
    header[10:12] = bytes(2)
    header[10:12] = checksum(bytes(header)).to_bytes(2, "big")
    stack.input([bytes(10) + HERE_MAC + THERE_MAC + b"\x08\0" + bytes(header) + segment], now_ns)


def _frames(stack: Stack) -> list[bytes]:
    return [b"".join(parts) for parts in stack.drain(2 * MS)]
