"""Floods of ARP and of neighbour discovery from the same link: tables, answers and work stay
bounded, and whoever is being talked to stays reachable. [RFC 6583]"""

from __future__ import annotations

import contextlib
import warnings
from random import Random

import pytest
from enemy import HERE, HERE_MAC, MOST_LINES, MS, TRUSTED, S, besieged, held_by, lines_of
from tcp_world import Receiver, Sender, address, connect, dial, make_stack, pump

from leulo.net.ipv6 import Ipv6Config, Ipv6Host
from leulo.net.neighbours import MAX_ENTRIES, MAX_WAITING_BYTES
from leulo.net.wire import ParseError
from leulo.net.wire.arp import REPLY, REQUEST, ArpRepr
from leulo.net.wire.ipv6 import multicast_mac, solicited_node
from leulo.stack import Stack, StackConfig
from leulo.tcp.config import Config
from leulo.trace import Trace
from leulo.udp.socket import UdpSocket

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from scapy.layers.inet6 import (
        ICMPv6ND_NA,
        ICMPv6ND_NS,
        ICMPv6ND_RA,
        ICMPv6NDOptDstLLAddr,
        ICMPv6NDOptPrefixInfo,
        ICMPv6NDOptSrcLLAddr,
        IPv6,
    )

OURS = "fd00::2"
MAC = bytes((2, 0, 0, 0, 0, 2))


def wide_stack() -> Stack:
    """10.0.0.1 in a network of 16 million."""
    config = StackConfig(
        name="wide", mac=HERE_MAC, address=HERE, prefix_length=8, mtu=1500, tcp=Config()
    )
    return Stack(config, Random(1).getrandbits, Trace())


def arp(operation: int, sender: bytes, mac: bytes, target: bytes = HERE) -> bytes:
    body = ArpRepr(operation, mac, sender, bytes(6), target).emit()
    return TRUSTED + b"\xff" * 6 + mac + b"\x08\x06" + body


def neighbour(random: Random) -> tuple[bytes, bytes]:
    return bytes((10, 0, random.randrange(1, 255), random.randrange(1, 255))), b"\2" + bytes(
        random.randrange(256) for _ in range(5)
    )


def test_flood_of_requests_keeps_the_table_bounded() -> None:
    stack = wide_stack()
    random = Random(2)

    def flood(count: int) -> None:
        for _ in range(count // 64):
            stack.input([arp(REQUEST, *neighbour(random)) for _ in range(64)], 1 * S)
            assert len(stack.drain(1 * S, 10_000)) <= 64

    flood(4_096)
    assert held_by(lambda: flood(6_400)) < 1024 * 512
    assert len(stack.arp.entries()) <= MAX_ENTRIES


def test_what_waits_for_silent_neighbours_is_bounded() -> None:
    """Fewer neighbours are asked for than the table holds, and each has fewer frames waiting than
    one may have; all together they would be 20 MB."""
    stack = wide_stack()

    def flood() -> None:
        for number in range(1, 701):
            socket = stack.socket(2, 2)
            assert isinstance(socket, UdpSocket)
            for _ in range(20):
                peer = bytes((10, 1, number >> 8, number & 0xFF))
                assert socket.sendto(bytes(1_400), peer, 9) == 1_400
            stack.drain(1 * S, 100_000)

    assert held_by(flood) < 3 * MAX_WAITING_BYTES
    assert stack.counters()["arp_waiting_dropped"] > 12_000


def test_work_for_a_request_does_not_grow() -> None:
    random = Random(3)

    def flood(count: int) -> int:
        stack = wide_stack()
        frames = [arp(random.choice([REQUEST, REPLY]), *neighbour(random)) for _ in range(count)]

        def run() -> None:
            for at in range(0, count, 64):
                stack.input(frames[at : at + 64], 1 * S)
                stack.drain(1 * S, 1000)

        return lines_of(run)

    few, many = flood(600), flood(6000)
    assert many <= 11 * few
    assert many <= 6000 * MOST_LINES


def test_replies_nobody_asked_for_make_no_entry() -> None:
    stack = wide_stack()
    random = Random(4)
    for _ in range(2_000):
        stack.input([arp(REPLY, *neighbour(random))], 1 * S)
    assert stack.arp.entries() == []


def test_flood_does_not_make_those_who_wait_look_again_each_time() -> None:
    """500 connections wait for neighbours that do not exist. ARP from others is no reason to look
    through them: work for a frame does not follow their number."""
    costs = []
    for waiting in (50, 500):
        stack = wide_stack()
        for n in range(waiting):
            dial(stack, bytes((10, 0, 0 if n < 250 else 255, 2 + n % 250)))
        stack.drain(1 * S, 10_000)
        random = Random(5)
        frames = [arp(REQUEST, *neighbour(random)) for _ in range(300)]

        def run(stack: Stack = stack, frames: list[bytes] = frames) -> None:
            for frame in frames:
                stack.input([frame], 1 * S)
                stack.drain(1 * S, 1000)

        costs.append(lines_of(run))
        assert len(stack.engine.unresolved) == waiting
    assert costs[1] <= 2 * costs[0]


def test_who_is_asked_for_is_not_pushed_out_by_a_flood() -> None:
    """And is found when the answer comes, whatever has come meanwhile."""
    stack = wide_stack()
    to = bytes((10, 0, 0, 200))
    socket = dial(stack, to)
    stack.drain(1 * S)
    random = Random(6)
    for _ in range(3_000):
        stack.input([arp(REQUEST, *neighbour(random))], 1 * S)
    stack.input([arp(REPLY, to, bytes((2, 0, 0, 0, 0, 200)))], 1 * S)
    [syn] = [f for f in stack.drain(1 * S, 10_000) if b"".join(f)[22:24] == b"\x08\x00"]
    assert b"".join(syn)[10:16] == bytes((2, 0, 0, 0, 0, 200))
    assert socket.state.name == "SYN_SENT"


def test_connection_that_waits_is_never_forgotten() -> None:
    """Even when the table is full of neighbours that are asked for, whoever waits is told: found,
    or unreachable after three requests."""
    stack = wide_stack()
    sockets = [dial(stack, bytes((10, 1, n // 250, 1 + n % 250))) for n in range(MAX_ENTRIES + 300)]
    now = 1 * S
    random = Random(7)
    for turn in range(40):
        if turn < 20:
            stack.input([arp(REQUEST, *neighbour(random))], now)
        stack.drain(now, 10_000)
        now += 500 * MS
        stack.advance(now)
    stack.drain(now, 10_000)
    assert {socket.state.name for socket in sockets} == {"CLOSED"}
    assert {socket.take_error() for socket in sockets} == {113}  # EHOSTUNREACH
    assert stack.engine.unresolved == []


def test_transfer_goes_on_during_a_flood() -> None:
    wire = besieged(3)
    client, server, _ = connect(wire)
    random = Random(8)
    wire.enemy = lambda now_ns: [
        arp(random.choice([REQUEST, REPLY]), bytes((10, 0, 0, random.randrange(3, 255))),
            b"\2" + random.randbytes(5)) for _ in range(32)
    ]  # fmt: skip
    data = random.randbytes(300_000)
    actors = [Sender(client, data), Receiver(server), Sender(server, data), Receiver(client)]
    assert pump(wire, actors, 120 * S)
    assert bytes(actors[1].data) == data == bytes(actors[3].data)  # type: ignore[union-attr]
    assert wire.forged > 1_000


def test_stolen_address_does_not_take_a_connection() -> None:
    """A liar claims the client's address: an open connection keeps the link it was made by."""
    a, b = make_stack(2), make_stack(1)
    del b
    wire = besieged(4)
    client, server, _ = connect(wire)
    wire.stacks[1].input([arp(REPLY, wire.stacks[0].address, bytes((6,) * 6))] * 10, wire.now_ns)
    server.send(b"for the client")
    assert wire.run(5 * S, lambda: isinstance(client.recv(100), bytes))
    assert a.address == address(2)


# ---------------------------------------------------------------- IPv6


def host() -> Ipv6Host:
    config = Ipv6Config(bytes.fromhex("fd00" + "00" * 13 + "02"))
    made = Ipv6Host(MAC, 1500, config, Random(1).getrandbits)
    made.advance(0)
    made.advance(S)
    made.take_output()
    return made


def give(target: Ipv6Host, packet: object, to: bytes, now_ns: int) -> None:
    head = TRUSTED + to + bytes((2, 0, 0, 0, 0, 9)) + b"\x86\xdd"
    with contextlib.suppress(ParseError):
        target.input(head + bytes(packet), False, now_ns)  # type: ignore[call-overload]


def text6(random: Random) -> str:
    return "fd00::" + ":".join(f"{random.randrange(1, 65536):x}" for _ in range(3))


@pytest.mark.parametrize("kind", ["solicitation", "advertisement", "router"])
def test_neighbour_discovery_floods_are_bounded(kind: str) -> None:
    target = host()
    random = Random(9)
    group = solicited_node(bytes.fromhex("fd00" + "00" * 13 + "02"))
    packets = []
    for _ in range(1_500):
        source = text6(random)
        if kind == "solicitation":
            packet = (
                IPv6(src=source, dst=OURS, hlim=255) / ICMPv6ND_NS(tgt=OURS)
                / ICMPv6NDOptSrcLLAddr(lladdr="02:00:00:00:00:09")
            )  # fmt: skip
        elif kind == "advertisement":
            packet = (
                IPv6(src=source, dst=OURS, hlim=255) / ICMPv6ND_NA(tgt=source, S=1)
                / ICMPv6NDOptDstLLAddr(lladdr="02:00:00:00:00:09")
            )  # fmt: skip
        else:
            packet = (
                IPv6(src="fe80::" + source[6:], dst=OURS, hlim=255) / ICMPv6ND_RA()
                / ICMPv6NDOptPrefixInfo(prefix=text6(random), prefixlen=64)
            )  # fmt: skip
        packets.append(bytes(packet))

    def flood() -> None:
        for packet in packets:
            give(target, packet, MAC if kind != "x" else multicast_mac(group), 2 * S)
            target.take_output()

    held = held_by(flood)
    assert len(target.ndp.entries()) <= MAX_ENTRIES
    assert len(target.own.addresses) <= 16
    assert len(target.own.routers) <= 8
    assert len(target.own.prefixes) <= 16
    assert held < 1024 * 1024
    if kind == "advertisement":
        assert target.ndp.entries() == []
