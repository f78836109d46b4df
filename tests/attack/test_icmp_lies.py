"""ICMP and ICMPv6 errors that nobody sent for a reason: unreachable, too big, quench, redirect.
[RFC 5927]"""

from __future__ import annotations

from random import Random
from struct import pack

import pytest
from enemy import (
    HERE,
    HERE_MAC,
    MASK,
    MOST_LINES,
    MS,
    THERE,
    THERE_MAC,
    TRUSTED,
    S,
    held_by,
    lines_of,
    packet,
)
from script_peer import Script
from tcp_world import Wire, connect, make_stack

from leulo.net.wire.icmp import IcmpRepr
from leulo.net.wire.ipv4 import Ipv4Repr

UNREACHABLE, QUENCH, REDIRECT, EXCEEDED, PROBLEM = 3, 4, 5, 11, 12
EVERY_ERROR = [(kind, code) for kind in (UNREACHABLE, QUENCH, REDIRECT, EXCEEDED, PROBLEM)
               for code in range(16)]  # fmt: skip


def error(
    s: Script, kind: int, code: int, seq: int, rest: int = 0, *, port: int | None = None,
    source: bytes = THERE,
) -> bytes:  # fmt: skip
    """An error about a segment of the connection with this relative sequence number."""
    wire_seq = (seq + (s.iss or 0)) & 0xFFFFFFFF
    here = s.port if port is None else port
    tcp = here.to_bytes(2, "big") + s.peer_port.to_bytes(2, "big") + wire_seq.to_bytes(4, "big")
    quoted = Ipv4Repr(HERE, THERE, 6, 100).emit() + tcp + bytes(12)
    return packet(1, IcmpRepr(kind, code, rest, quoted).emit(), source=source)


def sending(size: int = 20_000) -> Script:
    s = Script()
    socket = s.passive()
    socket.send(bytes(size))
    s._collect()
    s.queue.clear()
    s.peer_port = 4000
    return s


@pytest.mark.parametrize(("kind", "code"), EVERY_ERROR)
def test_no_error_ends_an_open_connection(kind: int, code: int) -> None:
    """Whether the quoted number is outstanding or not. [RFC 5927 5.2]"""
    s = sending()
    for seq in (1, 1449, 0, -1, 1 << 30, 20_001):
        s.stack.input([error(s, kind, code, seq, 1000)], s.now_ns)
    s._collect()
    s.expect_state("ESTABLISHED")
    assert s.tcb.cwnd >= 10 * s.tcb.mss
    assert s.tcb.mss >= 1000 - 52
    assert s.socket is not None and s.socket.take_error() == 0


@pytest.mark.parametrize(("kind", "code"), EVERY_ERROR)
def test_guessed_errors_do_not_end_an_opening(kind: int, code: int) -> None:
    """SYN_SENT: the number must be that of our SYN; and only "unreachable" and "time exceeded", or
    what the standards call hard, can end it at all."""
    s = Script()
    s.enter("SYN_SENT")
    random = Random(code)
    frames = [error(s, kind, code, random.randrange(1, 1 << 32)) for _ in range(50)]
    s.stack.input(frames, s.now_ns)
    s.expect_state("SYN_SENT")
    s.stack.input([error(s, kind, code, 0)], s.now_ns)
    if kind not in (UNREACHABLE, EXCEEDED):
        s.expect_state("SYN_SENT")
    s._collect()


def test_source_quench_is_dead() -> None:
    """It slows nothing down. [RFC 6633 4]"""
    s = sending(60_000)
    before = s.tcb.cwnd, s.tcb.ssthresh, s.tcb.snd_nxt
    s.stack.input([error(s, QUENCH, 0, 1)] * 100, s.now_ns)
    s._collect()
    assert (s.tcb.cwnd, s.tcb.ssthresh, s.tcb.snd_nxt) == before
    s.expect_drop("icmp_source_quench")


@pytest.mark.parametrize("mtu", [0, 1, 20, 67, 68, 295, 296, 508, 551])
def test_tiny_path_mtu_is_not_believed(mtu: int) -> None:
    """[RFC 5927 7.2] [RFC 1191 3]: 0 stands for an old router, whose size we have to guess."""
    s = sending()
    before = s.tcb.mss
    s.stack.input([error(s, UNREACHABLE, 4, 1, mtu)], s.now_ns)
    assert s.tcb.mss == before


def test_path_mtu_of_numbers_not_outstanding_is_not_believed() -> None:
    s = sending()
    before = s.tcb.mss
    random = Random(2)
    flight = s.tcb.snd_max - s.tcb.snd_una
    for _ in range(500):
        seq = 1 + flight + random.randrange((1 << 32) - flight)
        s.stack.input([error(s, UNREACHABLE, 4, seq, 600)], s.now_ns)
    assert s.tcb.mss == before
    s.expect_drop("icmp_sequence")


def test_repeated_too_big_makes_no_storm() -> None:
    """Who sees our segments may say "too big" for each: the window is sent again once for each
    step down, and the least step ends it."""
    s = sending()
    for mtu in (1400, 1400, 1200, 1200, 576, 576, 500):
        for seq in (1, 1449, 2897):
            s.stack.input([error(s, UNREACHABLE, 4, seq, mtu)] * 20, s.now_ns)
            s._collect()
    assert sum(len(seen.data) for seen in s.queue) <= 4 * 10 * 1460
    assert s.tcb.mss == 576 - 52
    s.queue.clear()
    una = 1
    for _ in range(100):
        s.inject("A", 1, una)
        s.wait(300 * MS)
        for seen in s.queue:
            if seen.data and seen.seq <= una:
                una = max(una, seen.seq + len(seen.data))
        s.queue.clear()
    assert una == 20_001


def test_unreachable_while_timing_out_is_only_remembered() -> None:
    """The user hears the reason if the connection fails by itself, and not before."""
    s = sending()
    s.wait(2 * S)
    s.stack.input([error(s, UNREACHABLE, 3, 1)] * 10, s.now_ns)
    s.expect_state("ESTABLISHED")
    s.inject("A", 1, s.tcb.snd_max - (s.iss or 0))
    s.expect_state("ESTABLISHED")


def test_the_error_remembered_is_what_a_timeout_tells() -> None:
    """[RFC 5461 2.1]: no route, rather than that nobody answered."""
    s = sending()
    assert s.socket is not None
    assert s.socket.setsockopt(6, 18, (5_000).to_bytes(4, "little")) == 0  # TCP_USER_TIMEOUT
    s.wait(2 * S)
    s.stack.input([error(s, UNREACHABLE, 1, 1)], s.now_ns)
    s.wait(10 * S)
    s.expect_state("CLOSED")
    assert s.socket.take_error() == 113


def test_an_error_is_of_the_connection_that_it_quotes() -> None:
    """Its number is one that is on its way, of a connection beside."""
    s = sending()
    before = s.tcb.mss
    s.stack.input([error(s, UNREACHABLE, 4, 1, 1000, port=s.port + 1)], s.now_ns)
    assert s.tcb.mss == before
    s.expect_drop("icmp_no_connection")


def test_a_guessed_error_does_not_end_a_handshake() -> None:
    s = Script()
    s.listen()
    s.inject("S", 0)
    s.expect("SA")
    for guess in (1, -1, 1 << 31):
        s.stack.input([error(s, UNREACHABLE, 0, guess)], s.now_ns)
    s.expect_drop("icmp_sequence")
    assert s.stack.counters()["tcp_half_open"] == 1
    s.stack.input([error(s, UNREACHABLE, 0, 0)], s.now_ns)
    assert s.stack.counters()["tcp_half_open"] == 0


def test_errors_about_errors_and_nonsense_are_not_answered() -> None:
    random = Random(3)
    s = sending()
    for _ in range(2_000):
        text = IcmpRepr(
            random.choice([3, 4, 5, 11, 12, 0, 13, 14, 40, 255]), random.randrange(256),
            random.getrandbits(32), random.randbytes(random.randrange(20)),
        ).emit()  # fmt: skip
        s.stack.input([packet(1, text)], s.now_ns)
    frames = s.stack.drain(s.now_ns, 10_000)
    assert [f for f in frames if b"".join(f)[33] == 1] == []


def test_answers_to_a_ping_flood_and_to_a_port_scan_are_limited() -> None:
    """Nobody floods a third party by us: replies and errors have a rate. [RFC 1812 4.3.2.8]"""
    s = Script()
    echo = packet(1, IcmpRepr(8, 0, 1, bytes(32)).emit())
    scan = packet(17, bytes((0, 9, 0, 9, 0, 8, 0, 0)))
    s.stack.input([echo] * 5_000, s.now_ns)
    s.stack.input([scan] * 5_000, s.now_ns)
    frames = [b"".join(f) for f in s.stack.drain(s.now_ns, 100_000)]
    assert 100 <= len(frames) <= 300
    assert all(len(f) <= 24 + 576 for f in frames)


def test_work_for_a_lie_does_not_grow() -> None:
    s = sending()

    def flood(count: int) -> int:
        random = Random(count)
        frames = [error(s, *random.choice(EVERY_ERROR), random.randrange(-9, 30_000), 600)
                  for _ in range(count)]  # fmt: skip

        def run() -> None:
            for at in range(0, count, 64):
                s.stack.input(frames[at : at + 64], s.now_ns)

        return lines_of(run)

    flood(200)
    few, many = flood(300), flood(3000)
    assert many <= 11 * few
    assert many <= 3000 * MOST_LINES


def test_lies_leave_nothing_behind() -> None:
    """Of every kind, about segments outstanding and not, from hosts without number: what is kept
    is what is believed, one number for a peer that there is a connection to."""
    s = sending()
    random = Random(4)

    def flood() -> None:
        for _ in range(20):
            frames = [
                error(s, *random.choice(EVERY_ERROR), random.randrange(-9, 30_000),
                      random.randrange(500, 1500),
                      source=bytes((10, 0, 0, random.randrange(3, 250))))
                for _ in range(64)
            ]  # fmt: skip
            s.stack.input(frames, s.now_ns)
            s.stack.drain(s.now_ns, 1 << 20)

    flood()
    assert held_by(flood) < 16 * 1024
    assert len(s.stack.engine.path_mtus) <= 1


def test_work_for_a_believed_report_does_not_grow_with_connections() -> None:
    """Every connection to the peer has a narrower path, and none is looked at for it."""

    def work(connections: int) -> int:
        wire = Wire(make_stack(2), make_stack(1))
        sender = connect(wire)[1]
        others = [connect(wire, 1000 + n)[1] for n in range(connections)]
        sender.send(bytes(20_000))
        wire.stacks[1].drain(wire.now_ns, 1_000)
        tcb = sender.tcb
        assert tcb is not None
        quoted = Ipv4Repr(HERE, THERE, 6, 1500).emit() + tcb.ends[-4:]
        quoted += (tcb.snd_una & MASK).to_bytes(4, "big") + bytes(12)
        frames = [packet(1, IcmpRepr(UNREACHABLE, 4, mtu, quoted).emit())
                  for mtu in range(1400, 1200, -10)]  # fmt: skip
        lines = lines_of(lambda: wire.stacks[1].input(frames, wire.now_ns))
        assert tcb.mss == 1210 - 52
        for server in others:
            assert server.tcb is not None and server.tcb.mss == 1448
            assert server.getsockopt(6, 2) == pack("<I", 1210 - 52)
        return lines

    few = work(3)
    assert work(300) <= few + 20
    assert few <= 20 * MOST_LINES


def test_link_level_destination_is_checked() -> None:
    """An error for another computer, or to everybody, is none of ours."""
    s = Script()
    s.enter("SYN_SENT")
    frame = error(s, UNREACHABLE, 3, 0)
    other = TRUSTED + bytes((2, 0, 0, 0, 0, 9)) + THERE_MAC + frame[22:]
    assert frame[:16] == TRUSTED + HERE_MAC
    s.stack.input([other], s.now_ns)
    s.expect_state("SYN_SENT")
