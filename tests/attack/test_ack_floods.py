"""A peer that lies by acknowledgements to be sent more, or to make work. [RFC 5681 3.2, 5]"""

from __future__ import annotations

from dataclasses import fields
from random import Random

import pytest
from enemy import ACK, MOST_LINES, MS, held_by, lines_of, segment, timestamps
from script_peer import PEER_ISN, Script
from tcp_world import Wire, connect, make_stack

from leulo.tcp.config import PRESETS


def sender(s: Script, size: int = 60_000) -> None:
    """ESTABLISHED with a window in flight and more behind it."""
    socket = s.passive()
    assert socket.send(bytes(size)) == size
    s._collect()
    s.queue.clear()


def pure(s: Script, ack: int, window: int = 60_000) -> bytes:
    """An acknowledgement with relative number ``ack``."""
    options = timestamps(s.now_ns // MS, s.last_tsval) if s.timestamps else b""
    return segment(ACK, PEER_ISN + 1, (s.iss or 0) + ack, window=window, options=options)


def test_optimistic_acks_of_what_was_not_sent_bring_nothing() -> None:
    s = Script()
    sender(s)
    before = s.tcb.cwnd
    flight = s.tcb.snd_max - s.tcb.snd_una
    for beyond in (1, 1448, 100_000, 1 << 30):
        for _ in range(50):
            s.stack.input([pure(s, 1 + flight + beyond)], s.now_ns)
            s._collect()
    assert s.tcb.cwnd == before
    assert s.tcb.snd_una == (s.iss or 0) + 1
    assert sum(len(seen.data) for seen in s.queue) == 0
    assert len(s.queue) <= 1  # a challenge


@pytest.mark.parametrize("has_sack", [True, False])
def test_acks_in_small_pieces_do_not_open_the_window_faster(has_sack: bool) -> None:
    """ACK division: 1,448 acknowledgements of a byte each are worth one of 1,448."""
    windows = []
    for step in (1448, 1):
        s = Script(sack=has_sack)
        sender(s)
        for ack in range(1 + step, 1 + 1448 + 1, step):
            s.stack.input([pure(s, ack)], s.now_ns)
            s._collect()
        windows.append(s.tcb.cwnd)
    assert windows[1] <= windows[0]


@pytest.mark.parametrize("is_paced", [True, False])
@pytest.mark.parametrize("has_sack", [True, False])
def test_made_up_duplicates_do_not_open_the_window(has_sack: bool, is_paced: bool) -> None:
    """Ten thousand duplicate ACKs: what is sent is bounded by what was outstanding."""
    s = Script(
        sack=has_sack, timestamps=False, snd_default=4 << 20, wscale=7, has_rate_reduction=is_paced
    )
    s.window = 60_000
    sender(s, 2_000_000)
    outstanding = s.tcb.snd_max - s.tcb.snd_una
    for _ in range(200):
        s.stack.input([pure(s, 1)] * 50, s.now_ns)
        s._collect()
    tcb = s.tcb
    sent = sum(len(seen.data) for seen in s.queue)
    assert tcb.snd_max - tcb.snd_una <= 2 * outstanding + 3 * tcb.mss
    assert sent <= 2 * outstanding
    assert tcb.cwnd <= 2 * outstanding + 3 * tcb.mss


def test_recovery_still_ends_after_a_flood_of_duplicates() -> None:
    s = Script(sack=False, timestamps=False)
    sender(s)
    for _ in range(100):
        s.inject("A", 1, 1)
    end = s.tcb.snd_max - (s.iss or 0)
    s.inject("A", 1, end)
    assert s.tcb.recovery == 0
    assert s.tcb.cwnd <= s.tcb.ssthresh + s.tcb.mss


@pytest.mark.parametrize("has_sack", [True, False])
def test_a_flood_of_acks_leaves_nothing_behind(has_sack: bool) -> None:
    """Duplicates, optimistic ones, old ones, windows that come and go: what is kept of them is a
    few numbers."""
    s = Script(sack=has_sack)
    sender(s)
    random = Random(2)

    def flood() -> None:
        for _ in range(20):
            acks = [random.choice([-9, 1, 1, 1, 90_000, 1 << 30]) for _ in range(64)]
            frames = [pure(s, ack, random.choice([0, 9, 60_000])) for ack in acks]
            s.stack.input(frames, s.now_ns)
            s.stack.drain(s.now_ns, 1 << 20)

    flood()
    assert held_by(flood) < 16 * 1024
    assert s.stack.engine.account.used == 60_000  # what the user has given, and nothing more


@pytest.mark.parametrize("has_sack", [True, False])
@pytest.mark.parametrize("has_timestamps", [True, False])
def test_work_for_an_ack_does_not_grow(has_sack: bool, has_timestamps: bool) -> None:
    """Duplicates, old ones, window updates back and forth, in any order."""
    s = Script(sack=has_sack, timestamps=has_timestamps)
    sender(s)
    s.stack.input([pure(s, 2897)], s.now_ns)
    random = Random(1)

    def flood(count: int) -> int:
        frames = [pure(s, random.choice([1, 1449, 2897, 2897]), random.choice([60_000, 59_999]))
                  for _ in range(count)]  # fmt: skip

        def run() -> None:
            for at in range(0, count, 64):
                s.stack.input(frames[at : at + 64], s.now_ns)
                s.stack.drain(s.now_ns)

        return lines_of(run)

    flood(500)
    few, many = flood(640), flood(6400)
    assert many <= 10.5 * few
    assert many <= 6400 * MOST_LINES


def test_window_games_make_no_storm_of_segments() -> None:
    """A window that opens by a byte at a time earns a segment only when it is worth one.
    [RFC 9293 3.8.6.2.1]"""
    s = Script(timestamps=False, sack=False, wscale=-1)
    s.window = 1448
    socket = s.passive()
    socket.send(bytes(50_000))
    s._collect()
    s.queue.clear()
    for step in range(1000):
        s.inject("A", 1, 1 + 1448, window=step % 700)
        s.inject("A", 1, 1 + 1448, window=0)
    assert len(s.queue) <= 10


@pytest.mark.parametrize("preset", ["linux", "freebsd", "rfc"])
def test_two_peers_that_miss_something_do_not_answer_each_other_for_ever(preset: str) -> None:
    """Both have closed, both lack a segment of the other, and FreeBSD has the FIN in every ACK:
    without time passing, the exchange comes to rest."""
    known = PRESETS[preset]
    knobs = {f.name: getattr(known, f.name) for f in fields(known)}
    wire = Wire(*(make_stack(n, **knobs) for n in (1, 2)), delay_ns=0)
    client, server, _ = connect(wire)
    for socket in (client, server):
        socket.send(bytes(5_000))
        socket.shutdown(1)
    wire.carry()
    for to in (0, 1):  # the first segment with data is lost both ways
        lost = next(one for one in sorted(wire.flying) if one[2] == to and len(one[3]) > 1000)
        wire.flying.remove(lost)
    before = wire.frames
    wire.run(0)
    assert wire.frames - before < 60


def test_flood_of_acks_in_a_batch_earns_no_answers() -> None:
    s = Script()
    sender(s)
    s.stack.input([pure(s, 1)] * 2000, s.now_ns)
    s._collect()
    assert all(seen.data for seen in s.queue)  # a retransmission, never a bare ACK
    assert len(s.queue) <= 3
