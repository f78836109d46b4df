"""Peers that make everything small, or hold everything back: tiny segments and windows
[CVE-2019-11479], windows that stay closed, readers that never read, connections left behind."""

from __future__ import annotations

import pytest
from enemy import ACK, MOST_LINES, MS, SYN, S, answers, besieged, held_by, lines_of, segment
from script_peer import PEER_ISN, Script
from tcp_world import Receiver, Sender, connect

from leulo.tcp.socket import TcpSocket


@pytest.mark.parametrize("mss", [0, 1, 8, 47, 48])
def test_the_least_segment_is_48_bytes_with_options(mss: int) -> None:
    s = Script(mss=mss)
    socket = s.passive()
    socket.send(bytes(1000))
    s._collect()
    least = 536 if mss == 0 else 48  # 0 counts as none at all [RFC 9293 3.7.1]
    assert len(s.queue[0].data) == least - 12


def test_a_buffer_of_tiny_segments_is_small() -> None:
    """What a segment costs beside its bytes is bounded: a peer with an MSS of 48 that lets the
    window grow gets fewer bytes in flight."""
    s = Script(mss=48, wscale=10, timestamps=False)
    socket = s.passive()
    s.window = 65_535

    def grow() -> None:
        """The peer acknowledges all it gets, sixteen round trips long."""
        for _ in range(16):
            while socket.send(bytes(65_536)) > 0:
                pass
            while s.stack.drain(s.now_ns, 1 << 20):
                pass
            end = s.tcb.snd_nxt - (s.iss or 0)
            s.now_ns += 20 * MS
            if s.tcb.snd_nxt - s.tcb.snd_una < 100_000:
                s.inject("A", 1, end, drain=False)
            s.steps.clear()

    held = held_by(grow)
    assert s.tcb.mss == 48
    assert s.tcb.snd_limit <= 48 * 4096
    assert len(s.tcb.flight.records) <= 4096 + 2
    assert held < 4 << 20


def test_work_for_tiny_segments_follows_their_number() -> None:
    s = Script(timestamps=False, sack=False)
    socket = s.passive()
    at = 0

    def flood(count: int) -> int:
        nonlocal at
        frames = [segment(ACK, PEER_ISN + 1 + at + i, (s.iss or 0) + 1, b"x") for i in range(count)]
        at += count

        def run() -> None:
            for first in range(0, count, 64):
                s.stack.input(frames[first : first + 64], s.now_ns)
                s.stack.drain(s.now_ns)

        lines = lines_of(run)
        assert len(socket.recv(1 << 20)) == count  # type: ignore[arg-type]
        return lines

    flood(256)
    few, many = flood(512), flood(5120)
    assert many <= 10.5 * few
    assert many <= 5120 * MOST_LINES


def test_a_window_of_one_byte_does_not_stop_the_stream_nor_flood_it() -> None:
    """A peer that never offers more than a byte gets it, by the timer. [RFC 9293 3.8.6.2.1]"""
    s = Script(timestamps=False, sack=False, wscale=-1)
    s.window = 1
    socket = s.passive()
    socket.send(b"0123456789")
    got = b""
    for _ in range(200):
        s._collect()
        for seen in s.queue:
            if seen.data and seen.seq == 1 + len(got):
                got += seen.data[:1]
        sent = len(s.queue)
        assert sent <= 3
        s.queue.clear()
        s.inject("A", 1, 1 + len(got))
        s.wait(500 * MS)
        if len(got) == 10:
            break
    assert got == b"0123456789"


def test_zero_window_hoarders_cost_what_the_account_says_and_no_more() -> None:
    """300 peers ask for much and close their windows. The stack's quota bounds what they tie up,
    and a client that reads is served meanwhile."""
    wire = besieged(1, buffers_max=1 << 20, snd_default=16_384)
    server = wire.stacks[1]
    client, accepted, listener = connect(wire)
    hoarders: list[TcpSocket] = []
    for port in range(20_000, 20_300):
        server.input([segment(SYN, 99, source_port=port, source=wire.stacks[0].address)],
                     wire.now_ns)  # fmt: skip
        [answer] = answers(server, wire.now_ns)
        server.input([segment(ACK, 100, answer.sequence + 1, window=0, source_port=port,
                              source=wire.stacks[0].address)], wire.now_ns)  # fmt: skip
        got = listener.accept()
        if isinstance(got, TcpSocket):
            hoarders.append(got)
    assert len(hoarders) == 300

    def hoard() -> None:
        for socket in hoarders:
            while socket.send(bytes(4096)) > 0:
                pass

    held = held_by(hoard)
    used = server.engine.account.used
    limit = server.engine.account.limit
    assert limit // 2 < used <= limit + 300 * 4096
    assert held < 2 * (limit + 300 * 4096)
    data = bytes(range(256)) * 400
    up, down, at = Receiver(accepted), Receiver(client), 0
    ask = Sender(client, data)

    def serve() -> bool:
        """ENOBUFS while others hold everything, but for a little when all has arrived."""
        nonlocal at
        if at < len(data):
            count = accepted.send(data[at : at + 4096])
            assert count >= 0 or count in (-11, -105), count
            at += max(0, count)
            if at == len(data):
                accepted.shutdown(1)
        for actor in (ask, up, down):
            actor.go()
        return up.is_done and down.is_done

    assert wire.run(600 * S, serve), server.counters()
    assert bytes(up.data) == data == bytes(down.data)
    for socket in hoarders:
        socket.close()
    wire.run(2 * 3600 * S)
    assert server.counters()["tcp_orphans"] == 0


def test_abandoned_connections_are_limited_and_end() -> None:
    """The program closes; the peers neither acknowledge nor open their windows. Orphans past the
    limit are reset, the rest give up in time, and nothing is left."""
    s = Script(orphans_max=16, timestamps=False, sack=False, wscale=-1)
    s.listen(200)
    s.window = 0
    for port in range(5000, 5100):
        s.peer_port = port
        s.inject("S", 0)
        s.queue.clear()
        s.inject("A", 1, 1, window=0)
        socket = s.accept()
        socket.send(bytes(10_000))
        socket.close()
        assert s.stack.engine.orphans <= 16
    counters = s.stack.counters()
    assert counters["tcp_orphans"] <= 16
    assert counters["tcp_resets_sent"] >= 84
    s.wait(2 * 3600 * S)
    counters = s.stack.counters()
    assert counters["tcp_orphans"] == counters["tcp_connections"] == 0
    assert s.stack.engine.account.used == 0


def test_orphan_that_answers_every_probe_by_a_closed_window_ends_too() -> None:
    """[Linux tcp(7), tcp_orphan_retries]"""
    s = Script(timestamps=False, sack=False, wscale=-1)
    s.window = 0
    socket = s.passive()
    socket.send(bytes(5000))
    socket.close()
    for _ in range(3000):
        s.wait(1 * S)
        if s.queue:
            s.queue.clear()
            s.inject("A", 1, 1, window=0)
        s.steps.clear()
        if s.state == "CLOSED":
            break
    s.expect_state("CLOSED")


def test_sending_into_a_closed_window_keeps_nothing() -> None:
    """A peer that goes on sending when our window is closed: each segment is answered, none of it
    is kept, and when the program reads, the stream goes on where it was."""
    s = Script(rcv_default=8192, rcv_max=8192, timestamps=False)
    socket = s.passive()
    at = 1
    while s.tcb.rcv_adv > s.tcb.rcv_nxt:
        size = min(1448, s.tcb.rcv_adv - s.tcb.rcv_nxt)
        s.inject("A", at, 1, bytes(size))
        at += size
    s.queue.clear()
    used = s.stack.engine.account.used

    def flood() -> None:
        for i in range(2000):
            s.inject("A", at + i * 1448, 1, bytes(1448))
            s.queue.clear()
            s.steps.clear()

    assert held_by(flood) < 64 * 1024
    assert s.stack.engine.account.used == used
    assert len(socket.recv(1 << 20)) == at - 1  # type: ignore[arg-type]
    s.expect("A", 1, at)  # the window opens
    s.inject("A", at, 1, b"next")
    assert socket.recv(10) == b"next"
