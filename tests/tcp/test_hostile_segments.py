"""Frames from an enemy: no exception, bounded state, whatever arrives."""

from __future__ import annotations

from random import Random

import pytest
from script_peer import HERE_MAC, MS, PEER_ISN, THERE_MAC, S, Script
from tcb_invariants import Invariants
from tcp_segments import TcpRepr
from tcp_world import Wire, connect, make_stack, tables

from leulo.net.wire.ipv4 import Ipv4Repr

STATES = ["SYN_SENT", "SYN_RCVD", "ESTABLISHED", "FIN_WAIT_1", "FIN_WAIT_2", "CLOSE_WAIT",
          "CLOSING", "LAST_ACK", "TIME_WAIT"]  # fmt: skip


def check_invariants(stack) -> None:  # type: ignore[no-untyped-def]
    Invariants(stack).check()


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("seed", range(3))
def test_random_segments_near_the_window(state: str, seed: int) -> None:
    """Valid checksums, random everything else, near the numbers that matter."""
    random = Random(f"{state} {seed}")
    s = Script(timestamps=seed != 2, sack=seed != 1)
    socket = s.enter(state)
    if socket is not None and state in ("ESTABLISHED", "CLOSE_WAIT"):
        socket.send(bytes(20_000))
    s.queue.clear()
    near = [-(1 << 31), -100_000, -1449, -2, -1, 0, 1, 2, 100, 1448, 1449, 30_000, 65_535, 65_536,
            1 << 20, (1 << 31) - 1]  # fmt: skip
    for _ in range(700):
        flags = "".join(f for f in "FSRPAU" if random.random() < (0.7 if f == "A" else 0.15))
        if "R" in flags and random.random() < 0.9:
            flags = flags.replace("R", "")
        sacks = None
        if "S" not in flags and random.random() < 0.3:
            sacks = [
                (random.choice(near) + random.randrange(3), random.choice(near))
                for _ in range(random.randrange(1, 3))
            ]
            if random.random() < 0.5:
                sacks = [(1 + random.randrange(20_000), 1 + random.randrange(20_000))]
        ack = random.choice([None, 1, 2, 1449, 20_001, 1 + random.choice(near)])
        s.inject(
            flags,
            1 + random.choice(near),
            ack,
            bytes(random.choice([0, 0, 0, 1, 10, 1448, 4000])),
            window=random.choice([0, 1, 500, 60_000, 65_535]),
            tsval=random.choice([None, None, None, None, -1, 0, s.now_ns // MS + 5]),
            sacks=sacks,
            drain=random.random() < 0.7,
        )
        check_invariants(s.stack)
        if random.random() < 0.1:
            s.wait(random.choice([1, 45, 250, 1000]) * MS)
            check_invariants(s.stack)
        if random.random() < 0.05 and socket is not None:
            socket.recv(random.randrange(1, 50_000))
            socket.send(bytes(random.randrange(1, 3_000)))
        s.queue.clear()
        s.steps.clear()
    if socket is not None:
        socket.close()
    if s.listener is not None:
        s.listener.close()
    s.wait(4_000 * S)
    left = tables(s.stack)
    assert left == {}, left


@pytest.mark.parametrize("seed", range(4))
def test_mutated_frames(seed: int) -> None:
    """Frames of a real exchange with bits, lengths and options changed, checksums trusted."""
    random = Random(seed)
    a, b = make_stack(1, seed=seed), make_stack(2, seed=seed)
    wire = Wire(a, b, seed=seed)
    client, server, _ = connect(wire)
    client.send(bytes(30_000))
    server.send(bytes(30_000))
    wire.run(2 * S)
    frames = [frame for _, to, frame in wire.log]
    for _ in range(4_000):
        frame = bytearray(random.choice(frames))
        for _ in range(random.randrange(1, 4)):
            kind = random.randrange(4)
            if kind == 0 and frame:
                frame[random.randrange(len(frame))] ^= 1 << random.randrange(8)
            elif kind == 1 and frame:
                frame[random.randrange(min(len(frame), 90))] = random.randrange(256)
            elif kind == 2:
                del frame[random.randrange(len(frame) + 1) :]
            else:
                frame += random.randbytes(random.randrange(60))
        stack = random.choice((a, b))
        stack.input([bytes(frame)], wire.now_ns)
        check_invariants(stack)
        stack.drain(wire.now_ns)
        if random.random() < 0.02:
            wire.now_ns += 300 * MS
            for stack in (a, b):
                stack.advance(wire.now_ns)
                check_invariants(stack)


@pytest.mark.parametrize("seed", range(2))
def test_random_bytes(seed: int) -> None:
    random = Random(seed)
    stack = make_stack(1, checksum=bool(seed))
    for _ in range(5_000):
        frame = random.randbytes(random.randrange(0, 120))
        if random.random() < 0.8 and len(frame) > 34:
            head = random.choice([bytes(10), b"\1" + bytes(9)])
            kind = random.choice([b"\x08\x00\x45\x00", b"\x08\x06", b"\x86\xdd", b"\x08\x00\x4f"])
            frame = head + HERE_MAC + THERE_MAC + kind + frame
        stack.input([frame], 5)
        stack.drain(5)
    stack.advance(100 * S)


def test_options_of_every_length() -> None:
    """Headers that lie about their options."""
    random = Random(1)
    s = Script()
    s.listen()
    for _ in range(3_000):
        size = random.randrange(0, 11) * 4
        options = bytearray(random.randbytes(size))
        if random.random() < 0.7:
            at = 0
            while at + 2 <= size:
                options[at] = random.choice([0, 1, 2, 3, 4, 5, 8, 34, 255])
                options[at + 1] = random.choice([0, 1, 2, 3, 4, 10, 18, 40, 255])
                at += max(1, options[at + 1])
        tcp = TcpRepr(
            random.randrange(1, 65536), s.port, PEER_ISN, 5, random.choice([2, 16, 18, 24, 4]),
            1000, 0, [],
        )  # fmt: skip
        segment = bytearray(tcp.emit(bytes(4), bytes(4)) + bytes(options))
        segment[12] = (5 + random.choice([size // 4, random.randrange(11)])) << 4
        ip = Ipv4Repr(bytes((10, 0, 0, 2)), bytes((10, 0, 0, 1)), 6, len(segment))
        frame = b"\1" + bytes(9) + HERE_MAC + THERE_MAC + b"\x08\x00" + ip.emit() + bytes(segment)
        s.stack.input([frame], s.now_ns)
        s.stack.drain(s.now_ns, 1000)
        check_invariants(s.stack)


def test_replies_are_bounded() -> None:
    s = Script()
    for i in range(10_000):
        s.peer_port = 1 + i
        s.inject("S", 0, drain=False)
    assert len(s.stack.engine.replies) <= 4096
    s.expect_drop("replies_full")


def test_timers_do_not_grow_with_segments() -> None:
    s = Script()
    socket = s.passive()
    for i in range(20_000):
        socket.send(b"x" * 100)
        s._collect()
        s.queue.clear()
        s.inject("A", 1, 1 + 100 * (i + 1))
        s.steps.clear()
        s.now_ns += MS // 10
    assert len(s.stack.engine.timers) < 10
