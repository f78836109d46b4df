"""Protects: a paced connection goes at its rate and not in bursts, an unpaced one as before."""

from __future__ import annotations

from struct import pack, unpack

import pytest
from tcp_world import MS, Receiver, S, Sender, Wire, connect, make_stack, pump

from leulo.tcp.socket import TcpSocket

SOL_SOCKET, SO_MAX_PACING_RATE = 1, 47
RATE = 500_000  # bytes a second
DATA = bytes(range(256)) * 4_000


def limited(wire: Wire) -> tuple[TcpSocket, TcpSocket]:
    client, server, _ = connect(wire)
    assert client.setsockopt(SOL_SOCKET, SO_MAX_PACING_RATE, pack("<I", RATE)) == 0
    return client, server


def data_frames(wire: Wire, begin: int = 0) -> list[tuple[int, int]]:
    """When data left stack 0, and how much."""
    return [(at, len(f) - 76) for at, who, f in wire.log[begin:] if who == 0 and len(f) > 100]


@pytest.mark.parametrize("loss", [0, 0.02])
@pytest.mark.parametrize("tso", [0, 65_535])
def test_the_rate_is_kept_and_used(tso: int, loss: float) -> None:
    wire = Wire(make_stack(1, tso=tso), make_stack(2), seed=1)
    client, server = limited(wire)
    wire.loss = loss
    receiver = Receiver(server)
    began = wire.now_ns
    assert pump(wire, [Sender(client, DATA), receiver]) and receiver.data == DATA
    seconds = (wire.now_ns - began) / S
    assert len(DATA) / seconds <= 1.03 * RATE  # ten segments go at once
    if not loss:
        assert len(DATA) / seconds >= 0.97 * RATE
    # After the first window no interval holds more than its share and two quanta.
    sent = data_frames(wire)[12:]
    for first in range(0, len(sent), 5):
        total = 0
        for at, size in sent[first : first + 40]:
            total += size
            assert total <= (at - sent[first][0]) * RATE // S + 4 * 1448 + RATE // 500


@pytest.mark.parametrize(("late_ms", "percent"), [(1, 90), (4, 80)])
def test_late_timers_cost_no_rate(late_ms: int, percent: int) -> None:
    """The host's timers are a millisecond coarse, and a busy host's more: sending catches up as
    far as a quarter of the round trip."""

    class Coarse(Wire):
        def step(self, limit_ns: int) -> bool:
            self.now_ns = -(-self.now_ns // (late_ms * MS)) * late_ms * MS
            return super().step(limit_ns)

    wire = Coarse(make_stack(1), make_stack(2))
    wire.delay_ns = 10 * MS
    data = DATA * 4
    client, server, _ = connect(wire)
    assert client.setsockopt(SOL_SOCKET, SO_MAX_PACING_RATE, pack("<Q", 3_300_000)) == 0
    receiver = Receiver(server)
    began = wire.now_ns
    assert pump(wire, [Sender(client, data), receiver])
    assert len(data) * S / (wire.now_ns - began) >= 33_000 * percent


def test_by_the_window_a_paced_flow_is_spread_over_the_round_trip() -> None:
    """As under Linux's fq: 1.2 cwnd/srtt, 2 in slow start."""
    wire = Wire(make_stack(1, has_pacing=True), make_stack(2), delay_ns=50 * MS)
    client, server, _ = connect(wire)
    receiver = Receiver(server)
    assert pump(wire, [Sender(client, bytes(400_000)), receiver])
    sent = data_frames(wire)
    most = max(sum(size for at, size in sent if at == when) for when in {at for at, _ in sent[10:]})
    assert most <= 4 * 1448
    tcb = client.tcb
    assert tcb is not None and tcb.pacer is not None
    info = client.getsockopt(6, 11)
    assert isinstance(info, bytes)
    rate = unpack("<Q", info[104:112])[0]
    assert (
        rate == tcb.cwnd * S // tcb.srtt_ns * (200 if tcb.cwnd < tcb.ssthresh >> 1 else 120) // 100
    )


def test_saved_between_two_segments_it_goes_on_the_same() -> None:
    def frames(is_saved: bool) -> list[tuple[int, int, bytes]]:
        a, b = make_stack(1), make_stack(2)
        wire = Wire(a, b)
        client, _ = limited(wire)
        client.send(bytes(60_000))
        wire.run(30 * MS)
        tcb = client.tcb
        assert tcb is not None and tcb.pacer is not None and tcb.pacer.at
        if is_saved:
            wire.replace_stacks(make_stack(1), make_stack(2))
        begin = len(wire.log)
        wire.run(60 * MS)
        return wire.log[begin:]

    plain = frames(False)
    assert len(plain) > 10 and plain == frames(True)


def test_what_is_not_paced_has_no_pacer() -> None:
    client, server, _ = connect(Wire(make_stack(1), make_stack(2)))
    assert client.tcb is not None and client.tcb.pacer is None
    assert server.tcb is not None and server.tcb.pacer is None
    for value in (b"", b"\1\0"):
        assert client.setsockopt(SOL_SOCKET, SO_MAX_PACING_RATE, value) == -22
    for value in (pack("<I", 0xFFFFFFFF), pack("<Q", (1 << 64) - 1)):
        assert client.setsockopt(SOL_SOCKET, SO_MAX_PACING_RATE, value) == 0
        assert client.tcb.pacer is None


def test_a_connection_that_ends_while_it_waits_to_send_leaves_no_timer() -> None:
    wire = Wire(make_stack(1), make_stack(2))
    client, _ = limited(wire)
    client.send(bytes(60_000))
    wire.run(30 * MS)
    tcb = client.tcb
    assert tcb is not None and tcb.pacer is not None and tcb.pacer.timer_at
    pacer = tcb.pacer
    engine = wire.stacks[0].engine
    engine.abort(tcb)
    assert tcb.pacer is None and not pacer.timer_at and not tcb.timer_at
    assert engine.next_deadline() is None
