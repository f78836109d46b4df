"""Segments from somebody who sees nothing of the connection and guesses. [RFC 5961]

He knows addresses and ports. Whatever he sends, the connection goes on, the user reads none of
his bytes, he learns nothing from the budget of answers, and answers and work stay bounded.
"""

from __future__ import annotations

from random import Random

import pytest
from enemy import (
    ACK,
    FIN,
    MOST_LINES,
    MS,
    PSH,
    RST,
    SYN,
    S,
    answers,
    held_by,
    lines_of,
    segment,
    timestamps,
)
from script_peer import PEER_ISN, Script

from leulo.tcp.config import PRESETS

STATES = ["ESTABLISHED", "FIN_WAIT_1", "FIN_WAIT_2", "CLOSE_WAIT", "CLOSING", "LAST_ACK"]


def next_numbers(s: Script) -> tuple[int, int]:
    """(what the peer sends next, what it has received), on the wire."""
    return s.peer_next + PEER_ISN, s.own_next + (s.iss or 0)


def goes_on(s: Script, data: bytes = b"the peer") -> None:
    """The peer's next bytes reach the user."""
    assert s.socket is not None
    s.inject("PA", s.peer_next, s.own_next, data)
    assert s.socket.recv(100) == data


@pytest.mark.parametrize("state", STATES)
def test_rst_everywhere_but_at_the_exact_number_ends_nothing(state: str) -> None:
    """But where the peer's FIN stood: a peer that does not count it means the exact number.
    [RFC 5961 3.2]"""
    s = Script()
    s.enter(state)
    rcv_nxt, snd_nxt = next_numbers(s)
    window = s.tcb.rcv_adv - s.tcb.rcv_nxt
    random = Random(state)
    offsets = [1, 2, -2, window - 1, window, window + 1, -(1 << 31), 1 << 30]
    offsets += [random.randrange(1, (1 << 32) - 1) for _ in range(200)]
    for offset in offsets:
        flags = random.choice([RST, RST | ACK])
        s.stack.input([segment(flags, rcv_nxt + offset, snd_nxt)], s.now_ns)
    s.expect_state(state)
    assert len(answers(s.stack, s.now_ns)) <= 1
    s.inject("R", s.peer_next)
    s.expect_state("CLOSED")


@pytest.mark.parametrize("state", STATES)
def test_syn_anywhere_ends_nothing_and_earns_one_ack(state: str) -> None:
    """[RFC 5961 4.2]"""
    s = Script()
    s.enter(state)
    rcv_nxt, snd_nxt = next_numbers(s)
    random = Random(state)
    for offset in [0, 1, -1, *(random.randrange(1 << 32) for _ in range(200))]:
        flags = SYN | random.choice([0, ACK])
        options = timestamps(s.now_ns // MS, s.last_tsval)
        s.stack.input([segment(flags, rcv_nxt + offset, snd_nxt, options=options)], s.now_ns)
    s.expect_state(state)
    [answer] = answers(s.stack, s.now_ns)
    assert answer.flags == ACK


def test_sweep_of_the_sequence_space_by_windows_finds_nothing() -> None:
    """The attack that RFC 5961 was written against: one RST, one SYN, one FIN and one byte for
    each window's worth of numbers, so that one of each surely falls into the window."""
    s = Script(timestamps=False, sack=False)
    socket = s.passive()
    window = s.tcb.rcv_adv - s.tcb.rcv_nxt
    start = Random(3).randrange(window) | 1
    forged = []
    for step in range(0, 1 << 32, window):
        seq = start + step
        forged += [segment(RST, seq), segment(SYN, seq), segment(FIN | ACK, seq, 1 << 31),
                   segment(PSH | ACK, seq, 12345, b"!")]  # fmt: skip
    for at in range(0, len(forged), 64):
        s.stack.input(forged[at : at + 64], s.now_ns)
        s._collect()
    s.expect_state("ESTABLISHED")
    counters = s.stack.counters()
    assert counters["tcp_challenge_acks"] <= 1
    s.queue.clear()
    s.inject("PA", 1, 1, b"the peer")
    assert socket.recv(100) == b"the peer"
    assert len(forged) > 60_000


@pytest.mark.parametrize("has_timestamps", [True, False])
def test_data_in_the_window_with_a_guessed_ack_is_refused(has_timestamps: bool) -> None:
    """Only acknowledgements of what may be in flight are believed. [RFC 5961 5.2]"""
    s = Script(timestamps=has_timestamps)
    socket = s.passive()
    s.peer_next = s.own_next = 1
    rcv_nxt, snd_nxt = next_numbers(s)
    random = Random(1)
    options = timestamps(s.now_ns // MS + 5, s.last_tsval) if has_timestamps else b""
    for _ in range(1000):
        ack = snd_nxt + random.randrange(1, 1 << 31)
        if random.random() < 0.5:
            ack = snd_nxt - 60_001 - random.randrange((1 << 31) - 60_001)
        seq = rcv_nxt + random.choice([0, 0, 1, 1000])
        s.stack.input([segment(PSH | ACK, seq, ack, b"forged", options=options)], s.now_ns)
        s._collect()
    assert isinstance(socket.recv(100), int)
    assert s.tcb.reassembly is None
    s.queue.clear()
    goes_on(s)


def test_forged_timestamp_does_not_shut_the_peer_out() -> None:
    """A segment at the right place with a timestamp far ahead but a guessed acknowledgement:
    were its timestamp taken, PAWS would drop all that the peer sends from now on."""
    s = Script()
    s.passive()
    s.peer_next = s.own_next = 1
    rcv_nxt, snd_nxt = next_numbers(s)
    before = s.tcb.ts_recent
    for flags, ack in ((ACK, snd_nxt + 5000), (PSH | ACK, snd_nxt - 70_000), (0, 0), (SYN, 0)):
        options = timestamps(s.now_ns // MS + (1 << 30), 1)
        s.stack.input([segment(flags, rcv_nxt, ack, b"x", options=options)], s.now_ns)
    s._collect()
    s.queue.clear()
    assert s.tcb.ts_recent == before
    goes_on(s)


def test_old_timestamps_are_answered_and_dropped() -> None:
    """[RFC 7323 5.3 R1]"""
    s = Script()
    socket = s.passive()
    s.wait(1 * S)
    for age in (1, 1000, 1 << 30):
        s.inject("PA", 1, 1, b"old", tsval=s.tcb.ts_recent - age)
        s.expect("A", 1, 1)
    assert isinstance(socket.recv(10), int)


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_a_connection_cannot_use_up_the_budget_of_the_others(preset: str) -> None:
    """The side channel: an attacker opens a connection of his own, exhausts the answers of this
    second, guesses at a victim's, and counts what is left. His own connection takes one answer in
    half a second, or five in one, so nothing is to be counted. [CVE-2016-5696]"""
    config = PRESETS[preset]
    limits = {"invalid_acks": config.invalid_acks,
              "invalid_ack_interval_ns": config.invalid_ack_interval_ns}  # fmt: skip
    seen = []
    for guess in (0, 1):  # outside the victim's window, and in it
        s = Script(challenge_acks_per_s=100, **limits)
        s.passive()
        victim = s.tcb
        s.peer_port = 5000
        s.inject("S", 0)
        s.expect("SA")
        s.inject("A", 1, 1)
        mine = next(t for t in s.stack.engine.connections.values() if t.peer_port == 5000)
        s.stack.input([segment(RST, victim.rcv_nxt + (5 if guess else 1 << 30))] * 10, s.now_ns)
        s._collect()
        s.queue.clear()
        for _ in range(300):
            s.peer_port = 5000
            s.inject("S", 5)
            s.now_ns += MS
        answered = [n for n in s.queue if n.tcp.destination_port == 5000]
        seen.append(len(answered))
        assert mine.state.name == "ESTABLISHED"
    assert seen[0] == seen[1] <= 2 * config.invalid_acks


@pytest.mark.parametrize("forged", ["S", "R", "A"])
def test_a_half_open_record_cannot_use_up_the_budget_of_the_others(forged: str) -> None:
    """Nor can who never completes his handshake. [RFC 5961 10] [CVE-2016-5696]"""
    s = Script(challenge_acks_per_s=100)
    s.enter("SYN_RCVD")
    for _ in range(300):
        s.inject(forged, 1 << 30 if forged == "A" else 5, 1 if forged == "A" else None)
        s.now_ns += MS
    assert len(s.queue) == 1


def test_the_shared_budget_is_not_a_round_number() -> None:
    """Drawn anew each second: who exhausts it by many connections cannot count what a victim
    has taken of it. [CVE-2016-5696]"""
    s = Script(challenge_acks_per_s=100, invalid_ack_interval_ns=0)
    s.passive()
    counts = []
    for _ in range(12):
        s.now_ns += S - s.now_ns % S
        for _ in range(200):
            s.inject("S", 5)
        counts.append(len(s.queue))
        s.queue.clear()
        s.steps.clear()
    assert all(50 <= count <= 150 for count in counts)
    assert len(set(counts)) > 6


def test_half_open_record_survives_guesses() -> None:
    """SYN_RCVD of a passive open: a RST must be exact, a guessed ACK is refused. [RFC 5961 3, 5]"""
    s = Script()
    s.enter("SYN_RCVD")
    iss = s.iss or 0
    random = Random(5)
    for _ in range(500):
        offset = random.randrange(2, 1 << 32)
        s.stack.input(
            [segment(RST, PEER_ISN + offset), segment(SYN, PEER_ISN + offset),
             segment(ACK, PEER_ISN + 1, iss + offset)],
            s.now_ns,
        )  # fmt: skip
    s._collect()
    s.queue.clear()
    s.expect_state("SYN_RCVD")
    s.inject("A", 1, 1)
    s.expect_state("ESTABLISHED")


def test_active_open_survives_guesses() -> None:
    """SYN_SENT: only who has seen our SYN can refuse it or answer it. [RFC 9293 3.10.7.3]"""
    s = Script()
    s.enter("SYN_SENT")
    iss = s.iss or 0
    random = Random(6)
    for _ in range(500):
        offset = random.randrange(2, 1 << 32)
        flags = random.choice([RST, RST | ACK, SYN | ACK, ACK, FIN | ACK])
        s.stack.input([segment(flags, 1 + offset, iss + offset, port=s.port,
                               source_port=s.peer_port)], s.now_ns)  # fmt: skip
        s._collect()
    s.queue.clear()
    s.expect_state("SYN_SENT")
    s.inject("SA", 0, 1)
    s.expect("A", 1, 1)
    s.expect_state("ESTABLISHED")


def test_work_for_a_forged_segment_does_not_grow() -> None:
    """The hundredth costs what the ten-thousandth costs, and little."""
    s = Script()
    s.passive()
    rcv_nxt, snd_nxt = PEER_ISN + 1, (s.iss or 0) + 1
    random = Random(7)
    flags = [RST, SYN, ACK, PSH | ACK, FIN | ACK]

    def flood(count: int) -> int:
        frames = [
            segment(random.choice(flags), rcv_nxt + random.choice([1, 7, 1 << 20, -3]),
                    snd_nxt + random.choice([0, 9, 1 << 29]), b"x" * random.choice([0, 100]))
            for _ in range(count)
        ]  # fmt: skip

        def run() -> None:
            for at in range(0, count, 64):
                s.stack.input(frames[at : at + 64], s.now_ns)
                s.stack.drain(s.now_ns)

        return lines_of(run)

    flood(100)
    few, many = flood(500), flood(5000)
    assert many <= 11 * few
    assert many <= 5000 * MOST_LINES


@pytest.mark.parametrize("state", STATES)
def test_forged_segments_leave_nothing_behind(state: str) -> None:
    """Thousands in and outside the window, with every flag and with data: none of it is kept, but
    what the window has room for if the guess was right, and that was not tried here."""
    s = Script()
    s.enter(state)
    rcv_nxt, snd_nxt = next_numbers(s)
    random = Random(3)
    flags = [RST, SYN, SYN | ACK, ACK, PSH | ACK, FIN | ACK, PSH, 0]
    near = [7, 1000, 40_000, 1 << 20, 1 << 30, -3, -1000, -(1 << 30)]

    def flood() -> None:
        for _ in range(20):
            frames = [
                segment(random.choice(flags), rcv_nxt + random.choice(near),
                        snd_nxt + random.choice([1 << 29, -(1 << 29)]),
                        b"x" * random.choice([0, 1, 1000]))
                for _ in range(64)
            ]  # fmt: skip
            s.stack.input(frames, s.now_ns)
            s.stack.drain(s.now_ns, 1 << 20)

    flood()
    assert held_by(flood) < 16 * 1024
    assert s.stack.engine.account.used == 0
    assert not s.stack.engine.replies
    s.expect_state(state)


def test_an_acknowledgement_of_what_was_before_the_first_byte_carries_no_data() -> None:
    """However wide the peer's window is, a young connection has not sent so much: what it has not
    sent must not count as acknowledged long ago, or most guesses would do."""
    s = Script(wscale=7)
    socket = s.passive()
    for ack in (0, -1, -1000, -100_000):
        s.inject("PA", 1, ack, b"forged")
    s.expect("A", 1, 1)
    s.expect_none()
    s.expect_drop("tcp_ack_too_old")
    assert socket.recv(100) == -11
    assert socket.send(b"x" * 100) == 100
    s.expect("A", 1, 1, 100)
    s.inject("A", 1, 101)
    s.inject("PA", 1, 2, b"the peer's, late")
    assert socket.recv(100) == b"the peer's, late"
