"""Protects: BBR's model of the path, and the samples that it is made of."""

from __future__ import annotations

import pytest
from tcp_world import MS, Receiver, S, Sender, Wire, connect, make_stack, pump

from leulo.netsim.simulation import Flow, Path, Simulation
from leulo.tcp.congestion.bbr import DRAIN, PROBE_BW, PROBE_RTT, STARTUP, Bbr
from leulo.tcp.congestion.delivery import Delivery
from leulo.tcp.pacer import UNLIMITED
from leulo.tcp.socket import TcpSocket
from leulo.tcp.tcb import Tcb

MSS = 1448
RATE = 20_000_000
PAYLOAD = RATE * MSS // 1514 // 8  # bytes a second


def bbr_of(flow: Flow) -> Bbr:
    assert flow.tcb is not None and isinstance(flow.tcb.congestion, Bbr)
    return flow.tcb.congestion


def simulate(seconds: float, **path: int) -> tuple[Flow, Simulation]:
    flow = Flow("bbr")
    values = {"rate": RATE, "queue": 132, **path}
    simulation = Simulation(Path(**values), [flow], 1, sample_ns=10 * MS)  # type: ignore[arg-type]
    simulation.run(int(seconds * S))
    return flow, simulation


def opened(wire: Wire, congestion: bytes = b"bbr") -> tuple[TcpSocket, TcpSocket, Tcb]:
    client, server, _ = connect(wire)
    assert client.setsockopt(6, 13, congestion) == 0
    assert client.tcb is not None
    return client, server, client.tcb


def test_the_model_is_the_path() -> None:
    flow, _ = simulate(5)
    bbr = bbr_of(flow)
    assert bbr.mode == PROBE_BW and bbr.is_full
    assert 0.97 * PAYLOAD <= bbr.bw() <= 1.02 * PAYLOAD
    assert 40 * MS <= bbr.min_rtt_ns <= 42 * MS
    tcb = flow.tcb
    assert tcb is not None and tcb.pacer is not None
    assert 0.7 * PAYLOAD <= tcb.pacer.model_rate <= 1.27 * PAYLOAD


def test_another_algorithm_is_not_held_to_bbrs_rate() -> None:
    wire = Wire(make_stack(1), make_stack(2))
    client, _, tcb = opened(wire)
    client.send(bytes(20_000))
    wire.run(1 * S)
    assert tcb.pacer is not None and tcb.pacer.model_rate != UNLIMITED
    assert client.setsockopt(6, 13, b"cubic") == 0
    assert tcb.pacer is None or tcb.pacer.model_rate == UNLIMITED


def test_start_up_doubles_and_then_drains() -> None:
    seen = []
    for tenths in range(1, 12):
        flow, _ = simulate(tenths / 10)
        seen.append(bbr_of(flow).mode if flow.tcb else STARTUP)
    order = sorted(set(seen), key=seen.index)
    assert order in ([STARTUP, DRAIN, PROBE_BW], [STARTUP, PROBE_BW])
    assert seen == sorted(seen)


def test_every_ten_seconds_it_looks_at_the_round_trip() -> None:
    flow, _ = simulate(12.5)
    low = [s for s in flow.samples if s.time_ns > 2 * S and s.nxt - s.una <= 4 * MSS]
    assert low, "never in PROBE_RTT"
    # For 200 ms and the round trips around them, which costs two in a hundred.
    assert 180 * MS <= low[-1].time_ns - low[0].time_ns <= 400 * MS
    assert bbr_of(flow).mode != PROBE_RTT


def test_what_the_application_sends_slowly_does_not_lower_the_model() -> None:
    wire = Wire(make_stack(1), make_stack(2), delay_ns=20 * MS)
    client, server, tcb = opened(wire)
    bulk = bytes(1_000_000)
    got = 0
    sent = 0
    while got < len(bulk):
        sent += max(0, client.send(bulk[sent : sent + 60_000])) if sent < len(bulk) else 0
        wire.run(5 * MS)
        data = server.recv(1 << 20)
        got += len(data) if isinstance(data, bytes) else 0
    bbr = tcb.congestion
    assert isinstance(bbr, Bbr)
    before = bbr.bw()
    for _ in range(100):  # two seconds of one segment at a time
        client.send(bytes(1000))
        wire.run(20 * MS)
        server.recv(1 << 20)
    assert bbr.bw() >= before // 2
    assert bbr.delivery is not None and bbr.delivery.app_limited


def test_a_sample_counts_the_slower_of_sending_and_acknowledging() -> None:
    """[Delivery rate]: ten segments in 10 ms, acknowledged in one burst."""
    wire = Wire(make_stack(1), make_stack(2))
    _, _, tcb = opened(wire)
    tcb.min_rtt_ns = 0
    delivery = Delivery(tcb.snd_una - tcb.iss, 0)
    delivery.begins(100 * MS)
    begin = tcb.snd_una
    for number in range(10):
        tcb.snd_nxt = tcb.snd_max = begin + (number + 1) * MSS
        tcb.snd_end = tcb.snd_max + 100 * MSS
        delivery.sent(tcb, begin + number * MSS, (100 + number) * MS)
    tcb.snd_una = begin + MSS
    assert delivery.take(tcb, 150 * MS)
    assert (delivery.amount, delivery.interval_ns) == (MSS, 50 * MS)
    assert delivery.rtt_ns == 50 * MS
    tcb.snd_una = begin + 10 * MSS
    assert delivery.take(tcb, 151 * MS)
    # Sent over 9 ms since the first, acknowledged over 51 ms since nothing was in flight.
    assert (delivery.amount, delivery.interval_ns) == (10 * MSS, 51 * MS)
    assert not delivery.take(tcb, 152 * MS)
    assert delivery.notes == []


def test_a_moving_maximum_forgets_after_ten_rounds() -> None:
    flow, _ = simulate(3)
    bbr = bbr_of(flow)
    bbr.bws = [[bbr.rounds, 10**9]]
    rounds = bbr.rounds
    delivery = bbr.delivery
    assert delivery is not None
    for number in range(12):
        delivery.amount, delivery.interval_ns, delivery.is_app_limited = 1000, S, False
        delivery.prior_delivered = bbr.next_round
        delivery.delivered += 1000
        bbr._update_bw(delivery)
        assert bbr.bw() == (10**9 if bbr.rounds <= rounds + 10 else 1000), number


@pytest.mark.parametrize("knobs", [{}, {"has_sack": False}, {"has_timestamps": False}])
@pytest.mark.parametrize("loss", [0.0, 0.03, 0.15])
@pytest.mark.parametrize("tso", [0, 65_535])
def test_streams_arrive_whole(knobs: dict[str, bool], loss: float, tso: int) -> None:
    wire = Wire(make_stack(1, tso=tso, **knobs), make_stack(2, **knobs), seed=4)
    client, server, _ = opened(wire)
    wire.loss = loss
    data = bytes(range(256)) * 3000
    receiver = Receiver(server)
    assert pump(wire, [Sender(client, data), receiver]) and receiver.data == data


def test_chosen_in_the_middle_and_left_again() -> None:
    wire = Wire(make_stack(1), make_stack(2), seed=4, loss=0.01)
    client, server, tcb = opened(wire, b"cubic")
    receiver = Receiver(server, limit=300_000)
    data = bytes(range(256)) * 6000
    sender = Sender(client, data)
    for name in (b"bbr", b"cubic", b"bbr"):
        pump(wire, [sender, receiver], 80 * MS)
        assert client.setsockopt(6, 13, name) == 0
        assert tcb.congestion.name == name.decode()
    receiver.limit = 1 << 30
    assert pump(wire, [sender, receiver]) and receiver.data == data


def test_saved_it_goes_on_the_same() -> None:
    def frames(is_saved: bool) -> list[tuple[int, int, bytes]]:
        a, b = make_stack(1), make_stack(2)
        wire = Wire(a, b, delay_ns=10 * MS, seed=2, loss=0.02)
        client, server, _ = opened(wire)
        client.send(bytes(60_000))
        wire.run(45 * MS)
        server.recv(1 << 20)
        client.send(bytes(60_000))
        wire.run(5 * MS)
        if is_saved:
            wire.replace_stacks(make_stack(1), make_stack(2))
        begin = len(wire.log)
        wire.run(500 * MS)
        return wire.log[begin:]

    plain = frames(False)
    assert len(plain) > 20 and plain == frames(True)


def test_marks_change_nothing() -> None:
    """ECN is agreed on, and the queue marks; the flow goes on as it does where nobody marks."""
    samples = []
    for marks_from in (0, 33):
        flow = Flow("bbr")
        path = Path(rate=RATE, queue=66, ecn=marks_from)
        result = Simulation(path, [flow], 1, sample_ns=10 * MS).run(5 * S)
        assert (result.marked > 100) == bool(marks_from)
        samples.append([sample.cwnd for sample in flow.samples])
    assert samples[0] == samples[1]
