"""SYN floods, floods of handshakes that nobody takes, floods of acknowledgements out of nowhere:
those who want to be served are, and memory does not follow the flood. [RFC 4987]"""

from __future__ import annotations

from random import Random

import pytest
from enemy import (
    ACK,
    MOST_LINES,
    MS,
    SYN,
    S,
    answers,
    besieged,
    held_by,
    lines_of,
    segment,
    timestamps,
)
from script_peer import Script
from tcp_world import Receiver, Sender, dial, listen

from leulo.tcp.socket import TcpSocket

CLIENTS = 100


def spoofed(random: Random) -> bytes:
    """A SYN from a host of this network that does not exist, as a real one would send it."""
    options = b"\2\4\5\xb4\4\2\x08\x0a" + random.randbytes(4) + bytes(4) + b"\1\3\3\7"
    return segment(
        SYN, random.getrandbits(32), source=bytes((10, 0, 0, random.randrange(3, 255))),
        source_port=random.randrange(1024, 65536), options=options,
    )  # fmt: skip


@pytest.mark.parametrize("seed", [1, 2])
def test_real_clients_are_served_to_the_end_during_a_syn_flood(seed: int) -> None:
    """100 clients, each with a request and an answer of 20 KB, while 64 forged SYNs come each
    millisecond; the records are full all the time, so all live by cookies."""
    wire = besieged(seed, half_open_limit=16)
    a, b = wire.stacks
    random = Random(seed)
    listener = listen(b, 80, 4096)
    wire.enemy = lambda now_ns: [spoofed(random) for _ in range(64)]
    wire.run(50 * MS)
    clients = [dial(a, b.address) for _ in range(CLIENTS)]
    answer = random.randbytes(20_000)
    senders: list[Sender] = []
    receivers = [Receiver(client) for client in clients]
    served: list[Receiver] = []

    def go() -> bool:
        for client in clients:
            if client.state.name == "ESTABLISHED" and client not in asked:
                asked.add(client)
                senders.append(Sender(client, b"GET / please"))
        while isinstance(got := listener.accept(), TcpSocket):
            served.append(Receiver(got))
            senders.append(Sender(got, answer))
        for actor in (*senders, *receivers, *served):
            actor.go()
        return len(served) == CLIENTS and all(r.is_done for r in (*receivers, *served))

    asked: set[TcpSocket] = set()
    assert wire.run(60 * S, go), (len(served), b.counters())
    assert all(bytes(r.data) == answer for r in receivers)
    assert all(bytes(r.data) == b"GET / please" for r in served)
    counters = b.counters()
    assert wire.forged > 5_000
    assert counters["syn_cookies_taken"] >= CLIENTS // 2
    assert counters["tcp_half_open"] <= 16 + 1
    # Window scale and SACK have survived the cookie.
    assert all(t.has_sack and t.snd_wscale for t in b.engine.connections.values())


def test_memory_of_a_syn_flood_is_that_of_the_records() -> None:
    s = Script(half_open_limit=64)
    s.listen(4096)
    random = Random(1)

    def flood(count: int) -> None:
        for _ in range(count // 64):
            s.stack.input([spoofed(random) for _ in range(64)], s.now_ns)
            s.stack.drain(s.now_ns, 1000)

    flood(6_400)  # the tables have their size
    assert held_by(lambda: flood(12_800)) < 64 * 1024
    assert s.stack.counters()["tcp_half_open"] == 64
    s.wait(200 * S)
    assert s.stack.counters()["tcp_half_open"] == 0


def test_work_for_a_syn_is_small_and_constant() -> None:
    s = Script(half_open_limit=64)
    s.listen(4096)
    random = Random(2)

    def flood(count: int) -> int:
        frames = [spoofed(random) for _ in range(count)]

        def run() -> None:
            for at in range(0, count, 64):
                s.stack.input(frames[at : at + 64], s.now_ns)
                s.stack.drain(s.now_ns, 1000)

        return lines_of(run)

    flood(200)
    few, many = flood(256), flood(2560)
    assert many <= 10.5 * few
    assert many <= 2560 * MOST_LINES


def test_without_cookies_the_flood_is_dropped_and_records_are_bounded() -> None:
    s = Script(half_open_limit=64, has_syn_cookies=False)
    s.listen(4096)
    random = Random(3)
    for _ in range(100):
        s.stack.input([spoofed(random) for _ in range(64)], s.now_ns)
        s.stack.drain(s.now_ns, 1000)
    counters = s.stack.counters()
    assert counters["tcp_half_open"] == 64
    assert counters["drop_syn_queue_full"] == 6_400 - 64


def test_full_accept_queue_keeps_its_bound_and_opens_again() -> None:
    """Handshakes that nobody accepts: SYNs are dropped past the backlog, connections do not pile
    up, and when the program takes some the next client gets in. [Linux listen(2)]"""
    s = Script(timestamps=False, sack=False, wscale=-1)
    s.listen(4)
    for port in range(5000, 5100):
        s.peer_port = port
        s.queue.clear()
        s.inject("S", 0)
        if s.queue:
            s.inject("A", 1, 1)
    assert s.stack.counters()["tcp_connections"] == 5
    assert len(s.listener.listener.accept_queue) == 5
    s.expect_drop("accept_queue_full")
    s.accept()
    s.peer_port = 6000
    s.inject("S", 0)
    s.expect("SA", 0, 1)
    s.inject("A", 1, 1)
    assert s.stack.counters()["tcp_connections"] == 6


def test_forged_cookies_open_nothing() -> None:
    """While cookies are in use, acknowledgements out of nowhere are guesses at them: 2^28 to one,
    two hashes each."""
    s = Script(half_open_limit=1)
    s.listen(4096)
    random = Random(4)
    for _ in range(20):
        s.stack.input([spoofed(random)], s.now_ns)
    answers(s.stack, s.now_ns)

    def guesses(count: int) -> int:
        frames = [
            segment(ACK, random.getrandbits(32), random.getrandbits(32), b"forged",
                    source_port=random.randrange(1024, 65536), options=timestamps(1, 1))
            for _ in range(count)
        ]  # fmt: skip

        def run() -> None:
            for at in range(0, count, 64):
                s.stack.input(frames[at : at + 64], s.now_ns)
                s.stack.drain(s.now_ns, 1000)

        return lines_of(run)

    guesses(100)
    few, many = guesses(512), guesses(5120)
    assert many <= 10.5 * few
    assert s.stack.counters()["syn_cookies_taken"] == 0
    assert s.stack.counters()["tcp_connections"] == 0


def test_replayed_handshakes_by_cookie_are_bounded_by_the_backlog() -> None:
    """The last ACK of one cookie, again and again from the same port, makes one connection; a
    stolen one for other ports makes none."""
    s = Script(half_open_limit=1, timestamps=False, sack=False, wscale=-1)
    s.listen(8)
    s.peer_port = 3999
    for port in range(5000, 5020):  # fill the records
        s.stack.input([segment(SYN, 7, source_port=port)], s.now_ns)
    answers(s.stack, s.now_ns)
    s.stack.input([segment(SYN, 99, source_port=7000)], s.now_ns)
    [cookie] = answers(s.stack, s.now_ns)
    for port in [7000, *range(7001, 7200)]:
        frame = segment(ACK, 100, cookie.sequence + 1, source_port=port)
        s.stack.input([frame, frame], s.now_ns)
    answers(s.stack, s.now_ns)
    assert s.stack.counters()["tcp_connections"] == 1


def test_flood_of_acks_for_nobody_is_answered_by_at_most_one_reset_each() -> None:
    """Reflection: never more bytes out than came in, and a bound on what waits."""
    s = Script()
    random = Random(5)
    frames = [segment(ACK, random.getrandbits(32), 5, source_port=random.randrange(1, 65536))
              for _ in range(5_000)]  # fmt: skip
    s.stack.input(frames, s.now_ns)
    out = answers(s.stack, s.now_ns)
    assert len(out) <= 4096  # of one batch; a link reads 64 at a time
    assert all(not segment_out.options for segment_out in out)
    s.expect_drop("replies_full")
