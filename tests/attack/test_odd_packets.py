"""Single packets that have brought systems down: LAND, Christmas trees, null scans, lengths that
lie, broadcast and multicast sources, in both versions, against every state."""

from __future__ import annotations

from itertools import product
from random import Random

import pytest
from enemy import (
    ACK,
    FIN,
    HERE,
    HERE_MAC,
    PSH,
    RST,
    SYN,
    THERE,
    THERE_MAC,
    TRUSTED,
    URG,
    S,
    answers,
    lines_of,
    segment,
)
from script_peer import PEER_ISN, Script
from test_hostile_segments import STATES, check_invariants

from leulo.net.wire.ipv6 import Ipv6Repr
from leulo.stack import Stack, StackConfig
from leulo.tcp.config import Config
from leulo.trace import Trace

TREE = FIN | SYN | RST | PSH | ACK | URG


def test_land_is_not_answered() -> None:
    """From our own address and port to itself: no connection with ourselves, no answer, no
    loop."""
    s = Script()
    s.listen()
    for flags in (SYN, SYN | ACK, ACK, FIN, RST):
        frame = segment(flags, 1, 1, source=HERE, source_port=80, destination=HERE, port=80)
        s.stack.input([frame] * 10, s.now_ns)
        assert answers(s.stack, s.now_ns) == []
    assert s.stack.counters()["tcp_half_open"] == 0
    s.expect_drop("ipv4_source")
    s.wait(10 * S)


def six(**knobs: object) -> Stack:
    here = bytes.fromhex("fd00" + "00" * 13 + "01")
    config = StackConfig(
        name="six", mac=HERE_MAC, address=HERE, prefix_length=24, mtu=1500, has_ipv6=True,
        address6=here, tcp=Config(**knobs),  # type: ignore[arg-type]
    )  # fmt: skip
    stack = Stack(config, Random(1).getrandbits, Trace())
    for now in (0, 1 * S, 2 * S):
        stack.advance(now)
        stack.drain(now)
    return stack


def test_land_over_ipv6_is_not_answered() -> None:
    stack = six()
    here = stack.config.address6
    assert here is not None
    listener = stack.socket(10, 1)
    assert not isinstance(listener, int)
    assert listener.bind(bytes(16), 80) == 0
    assert listener.listen(5) == 0
    tcp = segment(SYN, 1, 1, source_port=80)[44:]
    loopback = bytes(15) + b"\1"
    group = bytes.fromhex("ff02" + "00" * 13 + "01")
    for source in (here, loopback, group, bytes(16)):
        ip = Ipv6Repr(source, here, 6, len(tcp)).emit()
        stack.input([TRUSTED + HERE_MAC + THERE_MAC + b"\x86\xdd" + ip + tcp], 3 * S)
    out = [f for f in stack.drain(3 * S) if b"".join(f)[30] == 6]
    assert out == []
    assert stack.counters()["tcp_half_open"] == 0


@pytest.mark.parametrize("state", ["LISTEN", "CLOSED", *STATES])
def test_every_combination_of_flags_in_every_state(state: str) -> None:
    """All 256, at and beside the exact numbers: at most one answer each, never data from nowhere,
    and no state that the diagram does not have."""
    for flags, offset in product(range(256), (0, 1, -1, 5000)):
        s = Script()
        if state == "LISTEN":
            s.listen()
            s.peer_next = s.own_next = 0
        elif state == "CLOSED":
            s.peer_next = s.own_next = 0
        else:
            s.enter(state)
        s.queue.clear()
        seq = PEER_ISN + s.peer_next + offset
        frame = segment(flags, seq, s.own_next + (s.iss or 0), b"x" * (offset == 0),
                        port=s.port, source_port=s.peer_port)  # fmt: skip
        s.stack.input([frame], s.now_ns)
        check_invariants(s.stack)
        assert len(answers(s.stack, s.now_ns)) <= 1, (flags, offset)


def test_christmas_trees_open_nothing_and_end_nothing() -> None:
    s = Script(timestamps=False)
    s.passive()
    window = s.tcb.rcv_adv - s.tcb.rcv_nxt
    random = Random(2)
    for _ in range(500):
        seq = PEER_ISN + 2 + random.randrange(window)
        for flags in (TREE, SYN | FIN, SYN | RST, 0, FIN, URG | PSH | FIN, TREE & ~RST):
            s.stack.input([segment(flags, seq, (s.iss or 0) + 1, source_port=4000)], s.now_ns)
            s.stack.input([segment(flags, seq, 1, source_port=4001)], s.now_ns)
    answers(s.stack, s.now_ns)
    assert s.stack.counters()["tcp_connections"] == 1
    assert s.stack.counters()["tcp_half_open"] == 0
    s.expect_state("ESTABLISHED")


def test_sources_that_are_not_one_host_are_not_answered() -> None:
    """[RFC 1122 3.2.1.3, 4.2.3.10]"""
    s = Script()
    s.listen()
    for source in ("00000000", "ffffffff", "e0000001", "efffffff", "7f000001", "0a0000ff",
                   "f0000001", "0a000001"):  # fmt: skip
        for port, flags in product((80, 81), (SYN, ACK)):
            frame = segment(flags, 1, 1, source=bytes.fromhex(source), port=port)
            s.stack.input([frame], s.now_ns)
        assert answers(s.stack, s.now_ns) == [], source
    assert s.stack.counters()["tcp_half_open"] == 0


def test_destinations_that_are_not_us_are_not_answered() -> None:
    s = Script()
    s.listen()
    for destination in ("0a000003", "0a0000ff", "ffffffff", "e0000001", "7f000001"):
        for mac in (HERE_MAC, b"\xff" * 6, bytes.fromhex("01005e000001"), THERE_MAC):
            frame = segment(SYN, 1, destination=bytes.fromhex(destination), mac=mac)
            s.stack.input([frame], s.now_ns)
    for mac in (b"\xff" * 6, bytes.fromhex("01005e000001"), THERE_MAC):
        s.stack.input([segment(SYN, 1, mac=mac)], s.now_ns)
    assert answers(s.stack, s.now_ns) == []
    assert s.stack.counters()["tcp_half_open"] == 0


def test_lengths_that_lie_are_dropped() -> None:
    """Of the packet, of both headers, of the options: the fields disagree with the frame."""
    s = Script()
    socket = s.passive()
    good = segment(PSH | ACK, PEER_ISN + 1, (s.iss or 0) + 1, b"data", options=bytes(12))
    frames = 0
    for at, values in ((24, range(256)), (26, range(256)), (27, range(256)), (56, range(256))):
        for value in values:
            frame = bytearray(good)
            frame[at] = value
            if bytes(frame) == good:
                continue
            for cut in (len(frame), len(frame) - 1, 60, 45, 30):
                s.stack.input([bytes(frame[:cut])], s.now_ns)
                check_invariants(s.stack)
                frames += 1
    answers(s.stack, s.now_ns)
    s.expect_state("ESTABLISHED")
    # A shorter header or packet, in a frame long enough, is a segment like any other, and these
    # frames say that their checksum is right.
    got = socket.recv(100)
    assert isinstance(got, bytes) and len(got) <= 16 and set(got) <= set(b"data\0")
    counters = s.stack.counters()
    dropped = sum(count for name, count in counters.items() if name.startswith("drop_"))
    assert dropped > 0.9 * frames, (dropped, frames)


def test_port_zero_and_equal_ports_are_only_ports() -> None:
    s = Script()
    s.listen()
    for source_port, port in ((0, 80), (80, 80), (80, 0), (0, 0)):
        s.stack.input([segment(SYN, 1, source_port=source_port, port=port)], s.now_ns)
        (answer,) = answers(s.stack, s.now_ns)
        assert answer.flags == (SYN | ACK if port == 80 else RST | ACK)
        assert (answer.source_port, answer.destination_port) == (port, source_port)


def test_ip_options_cost_no_more_than_their_bytes() -> None:
    """Options of the longest kind in front of every segment; a source route is refused.
    [RFC 7126 4.3]"""
    s = Script()
    s.listen()
    tcp = segment(SYN, 1)[44:]
    costs = []
    for options in (b"", b"\1" * 40, b"\x44\x28\x05\0" + bytes(36), b"\x83\x27\x04" + bytes(37)):
        head = bytes([0x45 + len(options) // 4, 0]) + (20 + len(options) + len(tcp)).to_bytes(
            2, "big"
        )
        ip = head + bytes(4) + b"\x40\6\0\0" + THERE + HERE + options
        checksum = 0xFFFF - int.from_bytes(ip, "big") % 0xFFFF
        ip = ip[:10] + checksum.to_bytes(2, "big") + ip[12:]
        frame = TRUSTED + HERE_MAC + THERE_MAC + b"\x08\x00" + ip + tcp
        costs.append(lines_of(lambda frame=frame: s.stack.input([frame], s.now_ns)))  # type: ignore[misc]
        out = answers(s.stack, s.now_ns)
        assert bool(out) == (options[:1] != b"\x83")
    assert max(costs) < 700


def test_many_extension_headers_of_ipv6_cost_what_they_are_long() -> None:
    """A chain of empty destination options up to the frame's end."""
    stack = six()
    here = stack.config.address6
    assert here is not None
    there = here[:-1] + b"\2"
    costs = []
    for count in (10, 100):
        chain = bytes([60, 0, 1, 4, 0, 0, 0, 0]) * (count - 1) + bytes([59, 0, 1, 4, 0, 0, 0, 0])
        ip = Ipv6Repr(there, here, 60, len(chain)).emit()
        frame = TRUSTED + HERE_MAC + THERE_MAC + b"\x86\xdd" + ip + chain
        costs.append(lines_of(lambda frame=frame: stack.input([frame], 3 * S)))  # type: ignore[misc]
    assert costs[1] <= 11 * costs[0]
    assert costs[1] <= 100 * 40
