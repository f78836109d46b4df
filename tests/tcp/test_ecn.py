"""Protects: ECN where scripts do not go: cookies, super-segments, odd packets, saving."""

from __future__ import annotations

import pytest
from script_peer import HERE, HERE_MAC, MASK, PEER_ISN, THERE, THERE_MAC, Script
from tcp_segments import TcpRepr
from tcp_world import MS, MarkingWire, Receiver, S, Sender, Wire, connect, make_stack, pump

from leulo.links.offload import NOTHING, convert
from leulo.net.wire.ipv4 import Ipv4Repr
from leulo.net.wire.tcp import ACK, CWR
from leulo.stack import Stack
from leulo.tcp.tcb import Tcb

CE, ECT0 = 3, 2
_GSO_ECN = 0x80


def asked(**knobs: object) -> Script:
    """A listening stack whose peer has asked for ECN."""
    s = Script(**knobs)  # type: ignore[arg-type]
    s.listen()
    s.inject("SEW", 0)
    s.expect("SAE", 0, 1)
    return s


@pytest.mark.parametrize("timestamps", [True, False])
def test_a_cookie_remembers_ecn_where_it_has_room(timestamps: bool) -> None:
    """In the timestamp, as on Linux; without one the SYN-ACK must not agree. [RFC 4987 3.6]"""
    s = Script(half_open_limit=0, timestamps=timestamps)
    s.listen()
    s.inject("SEW", 0)
    s.expect("SAE" if timestamps else "SA", 0, 1)
    assert s.stack.counters()["syn_cookies_sent"] == 1
    s.inject("A", 1, 1)
    tcb = s.accept().tcb
    assert tcb is not None and (tcb.ecn is not None) is timestamps


def test_a_mark_behind_ip_options_counts() -> None:
    """Not on the short way of plain packets. [RFC 791 3.1]"""
    s = asked()
    s.inject("A", 1, 1)
    s.inject("PA", 1, 1, b"x", tos=CE, ip_options=bytes((1, 1, 1, 1)))
    s.expect("AE", 1, 2)
    assert s.stack.counters()["tcp_ecn_marks"] == 1


def test_a_users_tos_keeps_out_of_the_mark() -> None:
    """Who sets all bits gets those of the service: ECT(1) belongs to experiments.
    [RFC 8311 4.2] [Linux ip(7)]"""
    s = asked()
    s.inject("A", 1, 1)
    socket = s.accept()
    assert socket.setsockopt(0, 1, (0xB9).to_bytes(4, "little")) == 0
    socket.send(b"x")
    s._collect()
    assert socket.getsockopt(0, 1) == (0xB8).to_bytes(4, "little")


def test_a_super_segment_says_cwr_once() -> None:
    """Its first piece only: the link is told by GSO_ECN. [virtio 1.2 5.1.6]"""
    a, b = make_stack(1, tso=65_535, ecn=1), make_stack(2)
    wire = Wire(a, b)
    client, _, _ = connect(wire)
    tcb = client.tcb
    assert tcb is not None and tcb.ecn is not None
    tcb.cwnd = 40 * tcb.mss
    tcb.ecn.is_cwr_due = True
    client.send(bytes(30 * tcb.mss))
    (first, *_) = a.drain(wire.now_ns)
    head = first[0]
    assert head[1] & _GSO_ECN and head[1] & 3 == 1
    pieces = [b"".join(piece) for piece in convert(first, NOTHING)]
    assert len(pieces) > 10
    for number, piece in enumerate(pieces):
        ip = Ipv4Repr.parse(piece[24:])
        tcp = TcpRepr.parse(piece[44:], ip.source, ip.destination)
        assert ip.traffic_class == ECT0
        assert bool(tcp.flags & CWR) is (number == 0)
    client.send(bytes(2 * tcb.mss))
    tcb.snd_wnd = tcb.cwnd = 1 << 20
    (later, *_) = a.drain(wire.now_ns)
    assert not later[0][1] & _GSO_ECN


@pytest.mark.parametrize("checksum", [True, False])
def test_a_marked_stream_arrives_without_a_retransmission(checksum: bool) -> None:
    a, b = make_stack(1, ecn=1, checksum=checksum), make_stack(2, checksum=checksum)
    wire = MarkingWire(a, b, seed=3)
    client, server, _ = connect(wire)
    data = bytes(range(256)) * 8_000
    receiver = Receiver(server)
    assert pump(wire, [Sender(client, data), receiver]) and receiver.data == data
    counters = a.counters()
    assert wire.marked > 10
    assert b.counters()["tcp_ecn_marks"] == wire.marked
    assert 5 < counters["tcp_ecn_reductions"] <= wire.marked
    assert counters["tcp_retransmits"] == 0


def _open(stack: Stack) -> Tcb:
    return next(iter(stack.engine.connections.values()))


def test_saved_in_the_middle_it_goes_on_the_same() -> None:
    def frames(is_saved: bool) -> list[bytes]:
        a, b = make_stack(1, ecn=1), make_stack(2)
        wire = MarkingWire(a, b, seed=5, jitter_ns=2 * MS)
        wire.share = 0.2
        client, _, _ = connect(wire)
        client.send(bytes(60_000))
        wire.run(S, lambda: _open(a).recovery == 3)
        assert _open(a).recovery == 3  # in the middle of a reduction
        if is_saved:
            wire.replace_stacks(make_stack(1, ecn=1), make_stack(2))
        begin = len(wire.log)
        wire.run(200 * MS)
        return [frame for _, _, frame in wire.log[begin:]]

    plain = frames(False)
    assert len(plain) > 5 and plain == frames(True)


def test_an_echo_of_what_was_never_sent_reduces_nothing() -> None:
    s = asked()
    s.inject("A", 1, 1)
    tcb = s.accept().tcb
    assert tcb is not None
    before = tcb.cwnd, tcb.ssthresh
    s.inject("AE", 1, 1)  # nothing is in flight
    s.inject("AE", 1, 5000)
    assert (tcb.cwnd, tcb.ssthresh) == before


@pytest.mark.parametrize("marked", [0, 1])
def test_a_mark_on_a_fragment_of_a_segment_counts(marked: int) -> None:
    """Whichever comes first. [RFC 3168 5.3]"""
    s = asked()
    s.inject("A", 1, 1)
    base = s.iss or 0
    tcp = TcpRepr(s.peer_port, s.port, (PEER_ISN + 1) & MASK, (base + 1) & MASK, ACK, 60_000, 0, [])
    segment = tcp.emit(THERE, HERE, b"twenty-four octets more.")
    for number, (start, end) in enumerate(((0, 24), (24, len(segment)))):
        ip = Ipv4Repr(
            THERE, HERE, 6, end - start, traffic_class=CE if number == marked else ECT0,
            identification=5, more_fragments=not number, fragment_offset=start,
        )  # fmt: skip
        frame = bytes(10) + HERE_MAC + THERE_MAC + b"\x08\0" + ip.emit() + segment[start:end]
        s.stack.input([frame], s.now_ns)
    s.wait(40 * MS)
    s.expect("AE", 1, 25)


def test_a_mark_on_a_probe_of_our_closed_window_is_echoed() -> None:
    """It has the exact number, so nobody else has sent it. [RFC 3168 6.1.6]"""
    s = asked(rcv_default=4_096, rcv_max=4_096)
    s.inject("A", 1, 1)
    s.accept()
    s.inject("A", 1, 1, bytes(4_096), tos=ECT0)
    s.wait(1 * S)
    assert s.queue[-1].window == 0
    s.queue.clear()
    s.inject("A", 4_097, 1, b"?", tos=CE)
    s.expect("AE", 1, 4_097)


def test_a_window_probe_does_not_say_that_we_have_reduced() -> None:
    """[RFC 3168 6.1.6]"""
    s = asked(probes_with_data=True)
    s.inject("A", 1, 1)
    socket = s.accept()
    s.inject("A", 1, 1, window=0)
    s.tcb.ecn.is_cwr_due = True
    socket.send(b"waits")
    s.expect_none()
    s.wait(s.tcb.rto_at - s.now_ns)
    s.expect("A", 1, length=1)
    assert s.tcb.ecn.is_cwr_due
