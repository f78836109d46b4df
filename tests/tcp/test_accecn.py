"""Protects: accurate ECN where scripts do not go: cookies, super-segments, long streams, saving."""

from __future__ import annotations

import pytest
from script_peer import Script
from tcp_segments import TcpRepr
from tcp_world import MS, MarkingWire, Receiver, S, Sender, Wire, connect, make_stack, pump

from leulo.links.offload import NOTHING, convert
from leulo.net.wire.ipv4 import Ipv4Repr
from leulo.net.wire.tcp import AE, CWR, ECE
from leulo.stack import Stack
from leulo.tcp.accecn import CE, ECT0, ECT1, Accurate
from leulo.tcp.accecn_feedback import look_at, take
from leulo.tcp.tcb import Tcb

_FLAGS = AE | CWR | ECE
_ACE_AT = 6


def only(stack: Stack) -> Tcb:
    return next(iter(stack.engine.connections.values()))


def accurate_of(stack: Stack) -> Accurate:
    notification = only(stack).ecn
    assert notification is not None and notification.accurate is not None
    return notification.accurate


@pytest.mark.parametrize("timestamps", [True, False])
def test_a_cookie_is_reminded_by_the_ack(timestamps: bool) -> None:
    """Two to seven in the ACE field say that we have agreed. [RFC 9768 5.1]"""
    s = Script(half_open_limit=0, timestamps=timestamps, ecn=3)
    s.listen()
    s.inject("SEWN", 0)
    s.expect("SAW", 0, 1)
    assert s.stack.counters()["syn_cookies_sent"] == 1
    s.inject("AW", 1, 1)
    tcb = s.accept().tcb
    assert tcb is not None and tcb.ecn is not None and tcb.ecn.accurate is not None
    s.inject("PAWE", 1, 1, b"x", tos=CE)
    s.expect("AWN", 1, 2)


def test_a_cookie_of_a_peer_without_it_stays_without() -> None:
    s = Script(half_open_limit=0, ecn=3)
    s.listen()
    s.inject("S", 0)
    s.expect("SA", 0, 1)
    s.inject("A", 1, 1)
    tcb = s.accept().tcb
    assert tcb is not None and tcb.ecn is None


def test_a_mark_behind_ip_options_counts() -> None:
    """Not on the short way of plain packets. [RFC 791 3.1]"""
    s = Script(ecn=3)
    s.listen()
    s.inject("SEWN", 0)
    s.expect("SAW", 0, 1)
    s.inject("AW", 1, 1)
    s.inject("PAEN", 1, 1, b"x", tos=CE, ip_options=bytes((1, 1, 1, 1)))
    s.expect("AWN", 1, 2)


def _opened(**knobs: object) -> tuple[Wire, Stack, Stack]:
    a, b = make_stack(1, ecn=3, **knobs), make_stack(2, ecn=3)  # type: ignore[arg-type]
    wire = Wire(a, b)
    connect(wire)
    return wire, a, b


def test_a_super_segment_has_the_counter_and_the_option_in_every_piece() -> None:
    wire, a, _ = _opened(tso=65_535)
    tcb = only(a)
    tcb.cwnd = 40 * tcb.mss
    assert tcb.socket is not None
    tcb.socket.send(bytes(30 * tcb.mss))
    (first, *_) = a.drain(wire.now_ns)
    assert sum(len(part) for part in first) > 10 * tcb.mss
    pieces = [b"".join(piece) for piece in convert(first, NOTHING)]
    assert len(pieces) > 10
    options = set()
    for piece in pieces:
        assert len(piece) <= 24 + 1500
        ip = Ipv4Repr.parse(piece[24:])
        tcp = TcpRepr.parse(piece[44:], ip.source, ip.destination)
        assert ip.traffic_class == ECT0
        assert tcp.flags & _FLAGS == 5 << _ACE_AT
        options.add(piece[44 + 20 : 44 + 44])
    assert len(options) == 1 and bytes((174, 11)) in options.pop()


def test_full_segments_have_room_for_the_counters() -> None:
    """[RFC 6691 2] Whatever stands in the options is taken off the data."""
    wire, a, _ = _opened()
    tcb = only(a)
    assert tcb.mss == 1500 - 40 - 12 - 12
    assert tcb.socket is not None
    tcb.socket.send(bytes(20_000))
    wire.run(1 * S)
    assert max(len(frame) - 24 for _, who, frame in wire.log if who == 0) == 1500


def test_segments_with_cwr_in_the_counter_are_not_joined() -> None:
    """The link would leave the flag to the first piece. [RFC 9768 3.3.4]"""
    wire, a, _ = _opened(tso=65_535)
    tcb = only(a)
    tcb.cwnd = 40 * tcb.mss
    accurate_of(a).received_ce = 1
    assert tcb.socket is not None
    tcb.socket.send(bytes(30 * tcb.mss))
    frames = a.drain(wire.now_ns)
    assert len(frames) == 30
    for frame in frames:
        whole = b"".join(frame)
        ip = Ipv4Repr.parse(whole[24:])
        assert ip.traffic_class == ECT0 and len(whole) <= 24 + 1500
        assert (whole[44 + 12] << 8 | whole[44 + 13]) & _FLAGS == 6 << _ACE_AT


def test_neither_side_predicts_segments_that_have_marks_to_count() -> None:
    _, a, b = _opened()
    assert not only(a).is_ordinary and not only(b).is_ordinary


def test_a_segment_that_the_link_has_joined_counts_as_so_many() -> None:
    s = Script(ecn=3)
    s.listen()
    s.inject("SEWN", 0)
    s.expect("SAW", 0, 1)
    s.inject("AW", 1, 1)
    s.inject("PAEN", 1, 1, bytes(4 * 1448), tos=CE)
    assert accurate_of(s.stack).received_ce == 4
    assert accurate_of(s.stack).received[CE] == 4 * 1448


@pytest.mark.parametrize(
    ("knobs", "share", "loss"),
    [
        ({}, 0.02, 0.0),
        ({}, 0.3, 0.0),
        ({}, 0.1, 0.02),
        ({"ecn_option": 0}, 0.02, 0.0),
        ({"ecn_option": 1}, 0.1, 0.0),
        ({"has_sack": False}, 0.05, 0.0),
        ({"has_timestamps": False}, 0.1, 0.01),
    ],
)
def test_the_sender_comes_to_know_every_mark(
    knobs: dict[str, object], share: float, loss: float
) -> None:
    """Whatever is lost or marked: in the end both have the same numbers of bytes, if all segments
    have them, and of packets but for rounds of the three bits."""
    a = make_stack(1, ecn=3, **knobs)  # type: ignore[arg-type]
    b = make_stack(2, ecn=3, **knobs)  # type: ignore[arg-type]
    wire = MarkingWire(a, b, seed=3)
    client, server, _ = connect(wire)
    wire.share, wire.loss = share, loss
    data = bytes(range(256)) * 4_000
    receiver = Receiver(server)
    assert pump(wire, [Sender(client, data), receiver]) and receiver.data == data
    wire.share = wire.loss = 0.0
    client.send(b"the last of it")
    wire.run(S)
    here, there = accurate_of(a), accurate_of(b)
    notification = only(a).ecn
    assert notification is not None
    assert wire.marked > 10 and there.received_ce > 5
    assert (notification.delivered_ce - there.received_ce) % 8 == 0
    assert there.received_ce // 2 <= notification.delivered_ce <= there.received_ce * 2
    if "ecn_option" not in knobs and not loss:
        assert here.delivered[CE] == there.received[CE] > 0
        assert here.delivered[ECT0] == there.received[ECT0] > 0
    assert 3 < a.counters()["tcp_ecn_reductions"] <= wire.marked


def test_a_marked_stream_arrives_without_a_retransmission() -> None:
    a, b = make_stack(1, ecn=3), make_stack(2, ecn=3)
    wire = MarkingWire(a, b, seed=3)
    client, server, _ = connect(wire)
    data = bytes(range(256)) * 8_000
    receiver = Receiver(server)
    assert pump(wire, [Sender(client, data), receiver]) and receiver.data == data
    assert wire.marked > 10 and a.counters()["tcp_retransmits"] == 0


def test_saved_in_the_middle_it_goes_on_the_same() -> None:
    def frames(is_saved: bool) -> list[bytes]:
        a, b = make_stack(1, ecn=3), make_stack(2, ecn=3)
        wire = MarkingWire(a, b, seed=5, jitter_ns=2 * MS)
        wire.share = 0.2
        client, _, _ = connect(wire)
        client.send(bytes(60_000))
        wire.run(S, lambda: only(a).recovery == 3)
        assert only(a).recovery == 3  # in the middle of a reduction
        if is_saved:
            wire.replace_stacks(make_stack(1, ecn=3), make_stack(2, ecn=3))
        begin = len(wire.log)
        wire.run(200 * MS)
        return [frame for _, _, frame in wire.log[begin:]]

    plain = frames(False)
    assert len(plain) > 5 and plain == frames(True)


def test_options_of_odd_lengths_count_as_far_as_they_have_whole_fields() -> None:
    """[RFC 9768 3.2.3]"""
    _, a, _ = _opened()
    tcb = only(a)
    assert tcb.ecn is not None
    for length in range(40):
        accurate = Accurate()
        option = (b"\0\0\x05" * 14)[:length]
        look_at(accurate, option)
        take(tcb, tcb.ecn, accurate, 5, option, 1, 0, 0, 0)
        fields = min(length // 3, 3)
        wanted = [0, 4 if fields else 0, 4 if fields > 2 else 0, 5 if fields > 1 else 0]
        assert accurate.delivered == wanted
        assert accurate.seen == (2 if fields else 1)


def test_counters_may_go_round_and_back() -> None:
    """24 bits of them; an older one than the last takes some back. [RFC 9768 3.2.3.1, A.1]"""
    _, a, _ = _opened()
    tcb = only(a)
    assert tcb.ecn is not None
    accurate = Accurate()
    total = 0
    for step in (5_000_000, 8_000_000, -3, 8_000_000, 8_000_000):
        total += step
        option = b"".join((v & 0xFFFFFF).to_bytes(3, "big") for v in (1, 0, 1 + total))
        take(tcb, tcb.ecn, accurate, 5, option, 1, max(step, 0), 0, 0)
        assert accurate.delivered[ECT0] == total
    assert accurate.delivered[ECT1] == accurate.delivered[CE] == 0


def test_an_option_has_the_low_bits_of_large_counters() -> None:
    """[RFC 9768 3.2.3.1]"""
    wire, a, _ = _opened()
    tcb, accurate = only(a), accurate_of(a)
    accurate.received = [0, 0x5000006, 0x1000004, 0x2000005]
    assert tcb.socket is not None
    tcb.socket.send(b"x")
    (frame,) = a.drain(wire.now_ns)
    options = b"".join(frame)[44 + 20 + 12 :]
    assert options[:11] == bytes((174, 11, 0, 0, 7, 0, 0, 5, 0, 0, 5))
