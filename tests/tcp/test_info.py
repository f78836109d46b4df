"""TCP_INFO counts what Linux counts: segments each way, what was delivered, and how fast.

The comparison with Linux itself, field by field, is in tests/hypercalls/test_tcp_info.py; here are
the events that a loopback has not: losses, repeats, gaps, large segments.
"""

from __future__ import annotations

from random import Random

import pytest
from script_peer import MS, Script
from tcp_world import Receiver, S, Sender, Wire, connect, make_stack, pump
from test_saved import reborn

from leulo.pkt.snippets import decode_info
from leulo.tcp.path_mtu import too_big
from leulo.tcp.socket import TcpSocket

MSS = 1448


def info(socket: TcpSocket) -> dict[str, int]:
    raw = socket.getsockopt(6, 11)
    assert isinstance(raw, bytes)
    return {name.removeprefix("tcpi_"): value for name, value in decode_info(raw).items()}  # type: ignore[misc]


def expect(socket: TcpSocket, **wanted: int) -> None:
    got = info(socket)
    assert {name: got[name] for name in wanted} == wanted


def test_active_open_counts_its_syn_and_what_came() -> None:
    s = Script()
    expect(s.active(), segs_out=2, segs_in=1, data_segs_out=0, data_segs_in=0, delivered=1)


def test_syn_that_was_repeated_counts_as_a_retransmission() -> None:
    s = Script()
    socket = s.dial()
    s.expect("S", 0)
    s.wait(1100 * MS)
    s.expect("S", 0)
    expect(socket, total_retrans=1, segs_out=2, delivered=0)
    s.inject("SA", 0, 1)
    expect(socket, total_retrans=1, segs_out=3, delivered=1, bytes_retrans=0)


def test_a_loss_probe_is_a_retransmission_of_nothing_lost() -> None:
    """It asks; what RACK finds lost then counts, and the probe still does not. [RFC 8985 7.3]"""
    s = Script()
    socket = s.passive()
    socket.send(bytes(10 * MSS))
    for i in range(10):
        s.expect("A", 1 + i * MSS, 1, MSS)
    while not s.queue:
        s.wait(MS)
    s.expect("A", 1 + 9 * MSS, 1, MSS)
    expect(socket, lost=0, retrans=1, unacked=10, total_retrans=1, ca_state=0)
    s.inject("A", 1, 1, sacks=[(1 + MSS, 1 + 4 * MSS)])
    s.expect("A", 1, 1, MSS)
    expect(socket, lost=1, retrans=2, unacked=10, total_retrans=2, ca_state=3)


def test_passive_open_does_not_count_its_syn_ack_as_sent() -> None:
    s = Script()
    expect(s.passive(), segs_out=0, segs_in=2, data_segs_in=0, delivered=1)


def test_syn_ack_that_was_repeated_counts_as_a_retransmission() -> None:
    s = Script()
    s.listen()
    s.inject("S", 0)
    s.expect("SA", 0, 1)
    s.wait(1100 * MS)
    s.expect("SA", 0, 1)
    s.inject("A", 1, 1)
    expect(s.accept(), total_retrans=1, segs_out=0, delivered=1)


def test_data_with_the_last_ack_of_the_handshake_counts_once() -> None:
    s = Script()
    s.listen()
    s.inject("S", 0)
    s.expect("SA", 0, 1)
    s.inject("PA", 1, 1, b"x" * 10)
    expect(s.accept(), segs_in=2, data_segs_in=1, bytes_received=10)


def test_every_segment_in_counts_whatever_becomes_of_it() -> None:
    """In order, ahead of a gap, twice, outside the window, without data, with a FIN."""
    s = Script()
    socket = s.passive()
    s.inject("A", 1, 1, b"a" * 100)
    s.inject("A", 301, 1, b"c" * 100)
    s.inject("A", 201, 1, b"b" * 100)
    expect(socket, segs_in=5, data_segs_in=3, rcv_ooopack=2, bytes_received=100)
    s.inject("A", 1, 1, b"a" * 100)
    s.inject("A", 1 << 20, 1, b"z")
    s.inject("A", 1 << 20, 1)
    s.inject("A", 101, 1, b"x" * 100)
    expect(socket, segs_in=9, data_segs_in=6, rcv_ooopack=2, bytes_received=400)
    s.inject("FA", 401, 1)
    expect(socket, segs_in=10, data_segs_in=6)


def test_data_out_and_its_repeats() -> None:
    """A lost segment, seen by SACK: eleven sent, ten arrived. The FIN is a segment without data,
    and arrives, too."""
    s = Script()
    socket = s.passive()
    socket.send(bytes(10 * MSS))
    for i in range(10):
        s.expect("A", 1 + i * MSS, 1, MSS)
    expect(socket, segs_out=10, data_segs_out=10, unacked=10, delivered=1)
    s.wait(MS)
    s.inject("A", 1, 1, sacks=[(1 + MSS, 1 + 10 * MSS)])
    s.expect("A", 1, 1, MSS)
    expect(socket, segs_out=11, data_segs_out=11, sacked=9, delivered=10, total_retrans=1)
    s.inject("A", 1, 1 + 10 * MSS)
    expect(socket, delivered=11, bytes_sent=11 * MSS, bytes_retrans=MSS, dsack_dups=0)
    s.inject("A", 1, 1 + 10 * MSS, sacks=[(1, 1 + MSS)])
    expect(socket, delivered=12, dsack_dups=1)
    socket.shutdown(1)
    s.expect("FA")
    expect(socket, segs_out=12, data_segs_out=11, delivered=12, bytes_sent=11 * MSS)
    s.inject("A", 1, 2 + 10 * MSS)
    expect(socket, delivered=13)


def test_small_segments_are_segments() -> None:
    s = Script()
    socket = s.passive()
    socket.setsockopt(6, 1, b"\1\0\0\0")
    for _ in range(5):
        socket.send(b"x" * 10)
        s.expect("A")
    expect(socket, unacked=5, data_segs_out=5, delivered=1)
    s.inject("A", 1, 31)
    expect(socket, unacked=2, delivered=4)


def test_timeout_repeats_count_each() -> None:
    s = Script()
    socket = s.passive()
    socket.send(b"x" * 100)
    s.expect("A", 1, 1, 100)
    s.wait(3 * S)
    sent = len(s.queue)
    assert sent >= 2
    expect(socket, total_retrans=sent, data_segs_out=1 + sent, bytes_retrans=100 * sent)
    s.inject("A", 1, 101)
    expect(socket, delivered=2)


def later(s: Script, ns: int) -> None:
    """Time passes, and the engine is told how much."""
    s.wait(ns)
    s.stack.advance(s.now_ns)


def test_timeouts_and_the_time_they_took_are_counted() -> None:
    """As Linux tells it of a connection whose peer is silent for six seconds."""
    s = Script()
    socket = s.passive()
    s.inject("A", 1, 1, b"x")
    later(s, S)
    socket.send(b"y" * 100)
    rto = info(socket)["rto"]
    expect(socket, ca_state=0, retransmits=0, backoff=0, total_rto=0)
    later(s, 3 * S)
    got = info(socket)
    assert got["retransmits"] == got["backoff"] == got["total_rto"] > 2
    assert got["rto"] == rto << got["backoff"]
    assert (got["ca_state"], got["total_rto_recoveries"]) == (4, 1)
    assert 2_300 < got["total_rto_time"] < 2_900
    later(s, S)
    assert info(socket)["total_rto_time"] == got["total_rto_time"] + 1000
    s.inject("A", 2, 101)
    over = info(socket)
    assert (over["ca_state"], over["backoff"]) == (0, 0)
    later(s, 10 * S)
    expect(socket, total_rto=over["total_rto"], total_rto_time=over["total_rto_time"])
    socket.send(b"z")
    later(s, 20 * S)
    got = info(socket)
    assert got["total_rto_recoveries"] == 2 and got["total_rto"] > over["total_rto"]
    assert got["total_rto_time"] > over["total_rto_time"]


@pytest.mark.parametrize("knobs", [{}, {"has_rack": False}, {"sack": False}])
def test_recovery_from_a_timeout_ends_whoever_cares_for_it(knobs: dict[str, object]) -> None:
    s = Script(**knobs)  # type: ignore[arg-type]
    socket = s.passive()
    socket.send(bytes(5 * MSS))
    later(s, 2 * S)
    first = info(socket)
    assert first["total_rto"] > 0 and first["total_rto_recoveries"] == 1
    for ack in range(1 + MSS, 2 + 5 * MSS, MSS):
        later(s, 10 * MS)
        s.inject("A", 1, ack)
    got = info(socket)
    assert got["ca_state"] == 0
    assert 0 < got["total_rto_time"] - first["total_rto_time"] <= 50
    later(s, S)
    expect(socket, total_rto_time=got["total_rto_time"])


def test_timeouts_of_a_syn_count() -> None:
    s = Script()
    socket = s.dial()
    later(s, 4500 * MS)
    expect(socket, total_rto=4, total_rto_recoveries=1, total_rto_time=3500, ca_state=4)
    expect(socket, backoff=0, rto=1_000_000)  # the first are not doubled
    later(s, S)
    expect(socket, total_rto=5, backoff=1, rto=2_000_000)
    s.inject("SA", 0, 1)
    later(s, S)
    expect(socket, total_rto=5, total_rto_recoveries=1, total_rto_time=4500, ca_state=0)


def test_timeouts_and_repeats_of_a_syn_ack_count() -> None:
    """A SYN that comes again is answered again, without any timeout."""
    s = Script()
    s.listen()
    s.inject("S", 0)
    s.inject("S", 0)
    later(s, 1500 * MS)
    assert [s.expect("SA", 0, 1).flags for _ in range(3)]
    s.inject("A", 1, 1)
    socket = s.accept()
    expect(socket, total_retrans=2, total_rto=1, total_rto_recoveries=1, total_rto_time=500)


def test_syn_ack_that_waited_for_data_was_not_sent_again() -> None:
    s = Script()
    s.listen()
    assert s.listener is not None
    assert s.listener.setsockopt(6, 9, (5).to_bytes(4, "little")) == 0  # TCP_DEFER_ACCEPT
    s.inject("S", 0)
    s.expect("SA", 0, 1)
    s.inject("A", 1, 1)
    later(s, 1500 * MS)
    s.expect_none()
    s.inject("A", 1, 1, b"x")
    expect(s.accept(), total_retrans=0)


@pytest.mark.parametrize("timestamps", [True, False])  # by the fast path, and by the careful one
def test_last_data_and_last_acknowledgement_are_told_apart(timestamps: bool) -> None:
    s = Script(timestamps=timestamps)
    socket = s.passive()
    later(s, 100 * MS)
    s.inject("A", 1, 1, b"x")
    later(s, 100 * MS)
    socket.send(b"y")
    later(s, 20 * MS)
    s.inject("A", 2, 2)
    later(s, 200 * MS)
    expect(socket, last_data_recv=320, last_ack_recv=200, last_data_sent=220)
    s.inject("A", 2, 2, b"z")
    expect(socket, last_data_recv=0, last_ack_recv=0)


def test_what_a_report_of_the_path_makes_go_again_is_a_repeat() -> None:
    wire = Wire(make_stack(1), make_stack(2))
    client, _, _ = connect(wire)
    client.send(bytes(3 * MSS))
    wire.carry()
    tcb = client.tcb
    assert tcb is not None
    assert too_big(tcb, 1000) is None
    wire.run(100 * MS)
    got = info(client)
    assert got["total_retrans"] == 5 and got["bytes_retrans"] == 3 * MSS
    assert got["unacked"] == 0 and got["bytes_acked"] == 3 * MSS + 1


@pytest.mark.parametrize("tso", [0, 65_535])
def test_large_segments_are_what_they_stand_for(tso: int) -> None:
    wire = Wire(make_stack(1, tso=tso), make_stack(2))
    client, server, _ = connect(wire)
    data = Random(1).randbytes(100 * MSS)
    receiver = Receiver(server)
    assert pump(wire, [Sender(client, data), receiver], 60 * S)
    wire.run(100 * MS)
    there = info(client)
    assert there["data_segs_out"] == there["delivered"] - 1 == 100  # and the SYN
    assert there["segs_out"] == 102
    here = info(server)
    assert here["data_segs_in"] == 100
    assert here["segs_out"] == there["segs_in"] - 1  # the SYN-ACK


class SlowWire(Wire):
    """Ten megabits a second from the first stack to the second."""

    free_ns = 0

    def _post(self, to: int, frame: bytes) -> None:
        if to == 1:
            self.free_ns = max(self.free_ns, self.now_ns) + len(frame) * 800
            before = self.delay_ns
            self.delay_ns += self.free_ns - self.now_ns
            super()._post(to, frame)
            self.delay_ns = before
        else:
            super()._post(to, frame)


@pytest.mark.parametrize("congestion", ["cubic", "reno", "bbr"])
def test_delivery_rate_is_that_of_the_path(congestion: str) -> None:
    wire = SlowWire(make_stack(1, congestion=congestion), make_stack(2))
    client, server, _ = connect(wire)
    client.send(bytes(60_000))
    receiver = Receiver(server)
    sender = Sender(client, bytes(2_000_000))
    end = wire.now_ns + S
    while wire.now_ns < end:
        sender.go()
        receiver.go()
        wire.run(MS)
    got = info(client)
    assert 1_250_000 * 0.9 < got["delivery_rate"] <= 1_250_000
    assert not got["bits"] & 1


def test_user_who_gives_little_limits_the_rate_and_is_named() -> None:
    """A kilobyte a round trip of 10 ms, then nothing: 100 kB/s, and that it was the user's."""
    wire = Wire(make_stack(1), make_stack(2))
    client, server, _ = connect(wire)
    assert info(client)["delivery_rate"] == 0 and info(client)["bits"] & 1
    for _ in range(10):
        wire.stacks[0].advance(wire.now_ns)
        client.send(bytes(1000))
        wire.run(100 * MS)
        server.recv(1000)
    got = info(client)
    assert got["delivery_rate"] == 100_000
    assert got["bits"] & 1


def test_slower_samples_of_a_user_who_gives_little_do_not_count() -> None:
    wire = Wire(make_stack(1), make_stack(2))
    client, server, _ = connect(wire)
    client.send(bytes(60_000))
    wire.run(S)
    server.recv(60_000)
    before = info(client)["delivery_rate"]
    assert before > 1_000_000
    for _ in range(5):
        client.send(bytes(2 * MSS))
        wire.run(S)
        server.recv(60_000)
    assert info(client)["delivery_rate"] == before


def test_counts_are_saved() -> None:
    wire = SlowWire(make_stack(1), make_stack(2))
    client, _, _ = connect(wire)
    client.send(bytes(60_000))
    wire.run(40 * MS)
    wire.stacks = (reborn(wire.stacks[0]), wire.stacks[1])
    again = wire.stacks[0].socket_of(client.serial)
    assert isinstance(again, TcpSocket)
    assert info(again) == info(client)
    s = Script()
    s.passive().send(b"x")
    s.wait(S)
    assert s.socket is not None
    after = reborn(s.stack).socket_of(s.socket.serial)
    assert isinstance(after, TcpSocket)
    assert info(after) == info(s.socket) and info(after)["total_rto"] > 0
    assert info(again)["delivered"] > 10 and info(again)["delivery_rate"] > 0
