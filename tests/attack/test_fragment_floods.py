"""Floods of IP fragments and fragments that overlap, in both versions. [RFC 1858] [RFC 3128]
[RFC 5722] [CVE-2018-5391]"""

from __future__ import annotations

import warnings
from random import Random

import pytest
from enemy import HERE, MOST_LINES, THERE, S, held_by, lines_of, packet, segment
from script_peer import PEER_ISN, Script
from tcp_world import address

from leulo.net.reassembly import MAX_DATAGRAMS, MAX_REASSEMBLY_BYTES, Reassembler
from leulo.net.wire.icmp import ECHO_REQUEST, IcmpRepr
from leulo.net.wire.udp import UdpRepr

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment

UDP, ICMP, TCP = 17, 1, 6


def fragment(
    number: int, offset: int, data: bytes, has_more: bool = True, *, protocol: int = UDP,
    source: bytes = THERE,
) -> bytes:  # fmt: skip
    return packet(
        protocol, data, source=source, identification=number & 0xFFFF, fragment_offset=offset,
        more_fragments=has_more,
    )  # fmt: skip


def fragment6(number: int, offset: int, data: bytes, has_more: bool, reassembler: Reassembler,
              now_ns: int) -> bytes | None:  # fmt: skip
    """Into the class that both versions share, as IPv6 names its datagrams."""
    key = bytes(32) + number.to_bytes(4, "big")
    return reassembler.insert(key, offset, data, has_more, b"", 0, now_ns)


def test_memory_of_a_flood_of_first_fragments_is_bounded() -> None:
    """Each begins a datagram that never ends."""
    s = Script()
    random = Random(1)

    def flood(count: int) -> None:
        for _ in range(count // 64):
            frames = [
                fragment(random.getrandbits(16), 0, bytes(1480),
                         source=address(random.randrange(2, 255)))
                for _ in range(64)
            ]  # fmt: skip
            s.stack.input(frames, s.now_ns)
            s.stack.drain(s.now_ns)

    flood(640)
    assert held_by(lambda: flood(6_400)) < 256 * 1024
    counters = s.stack.counters()
    assert counters["ipv4_reassembling"] <= MAX_DATAGRAMS
    assert counters["ipv4_fragment_evictions"] > 6_000


@pytest.mark.parametrize(("size", "count"), [(8, 1399), (1480, 43)])
def test_memory_of_unfinished_datagrams_is_bounded(size: int, count: int) -> None:
    """Fewer than may be joined at once, but each as much as it can be, out of order: of tiny pieces
    what one costs beside its bytes is counted."""
    s = Script()
    random = Random(2)
    sent = [
        fragment(number, size * place, bytes(size))
        for number in range(MAX_DATAGRAMS - 1)
        for place in random.sample(range(1, 60_000 // size), min(count, 60_000 // size - 1))
    ]

    def flood() -> None:
        for at in range(0, len(sent), 64):
            s.stack.input(sent[at : at + 64], s.now_ns)

    assert held_by(flood) < 1.25 * MAX_REASSEMBLY_BYTES
    assert s.stack.counters()["ipv4_fragment_evictions"] > 0


@pytest.mark.parametrize("order", ["rising", "falling", "random"])
def test_work_for_a_fragment_does_not_grow_with_the_datagram(order: str) -> None:
    """FragmentSmack: thousands of pieces of one datagram, so that each is looked for among all."""

    def flood(count: int) -> int:
        places = list(range(1, count + 1))
        if order == "falling":
            places.reverse()
        elif order == "random":
            Random(3).shuffle(places)
        s = Script()
        sent = [fragment(1, 8 * place, bytes(8)) for place in places]

        def run() -> None:
            for at in range(0, count, 64):
                s.stack.input(sent[at : at + 64], s.now_ns)

        return lines_of(run)

    few, many = flood(130), flood(1300)
    assert many <= 10.5 * few
    assert many <= 1300 * MOST_LINES


def test_overlaps_poison_the_whole_datagram() -> None:
    """A later fragment that rewrites an earlier one's bytes; nothing of it is delivered, whatever
    follows. [RFC 5722 3] [RFC 8200 4.5]"""
    random = Random(4)
    whole = UdpRepr(9, 9, 792).emit(THERE, HERE, bytes(792))
    for number in range(300):
        s = Script()
        first = random.randrange(1, 90) * 8
        second = random.randrange(0, first // 8) * 8
        forged = fragment(number, second, b"\1" * 16)  # other bytes in the same place
        pieces = [
            fragment(number, 0, whole[:first]),
            forged,
            fragment(number, first, whole[first:], False),
        ]
        random.shuffle(pieces)
        while pieces[2] is forged:
            random.shuffle(pieces)  # before the datagram is whole
        s.stack.input([*pieces, *pieces], s.now_ns)
        counters = s.stack.counters()
        assert counters["ipv4_reassembled"] == 0
        assert counters["ipv4_fragment_overlaps"] >= 1


def test_tiny_first_fragment_cannot_hide_flags() -> None:
    """TCP's flags in the second fragment, or rewritten by an overlap: the segment is judged when
    it is whole, or not at all. [RFC 1858 3] [RFC 3128 3]"""
    s = Script(timestamps=False)
    s.passive()
    body = segment(4, PEER_ISN + 1, 0)[44:]  # a reset at the exact number
    good = segment(16, PEER_ISN + 1, (s.iss or 0) + 1)[44:]
    s.stack.input(
        [fragment(7, 0, good[:8], protocol=TCP), fragment(7, 8, good[8:], False, protocol=TCP),
         fragment(8, 0, good[:16], protocol=TCP), fragment(8, 8, body[8:], False, protocol=TCP)],
        s.now_ns,
    )  # fmt: skip
    s.expect_state("ESTABLISHED")
    assert s.stack.counters()["ipv4_fragment_overlaps"] == 1


def test_last_fragments_that_disagree_about_the_end() -> None:
    s = Script()
    for number, ends in enumerate([(64, 128), (128, 64), (64, 64), (8, 16)]):
        sent = [fragment(number, end, bytes(8), False) for end in ends]
        sent.append(fragment(number, 0, bytes(ends[0])))
        s.stack.input(sent, s.now_ns)
    assert s.stack.counters()["ipv4_fragment_overlaps"] >= 2


def test_datagram_longer_than_ip_allows_is_refused() -> None:
    """The ping of death and its neighbours: fragments that fit each by itself but not together
    with a header, for every protocol that is joined."""
    for protocol in (ICMP, TCP, UDP):
        for extra in (-16, -8, 0, 7):
            s = Script()
            text = bytes(65_528 + 0)
            if protocol == ICMP:
                text = IcmpRepr(ECHO_REQUEST, 0, 1, bytes(65_520)).emit()
            for at in range(0, len(text), 1480):
                s.stack.input([fragment(1, at, text[at : at + 1480], protocol=protocol)], s.now_ns)
            last = fragment(1, 65_528 + min(extra, 0) // 8 * 8, bytes(max(0, extra)), False,
                            protocol=protocol)  # fmt: skip
            s.stack.input([last], s.now_ns)
            assert not s.stack.drain(s.now_ns)
            counters = s.stack.counters()
            assert counters["ipv4_reassembled"] == 0
            assert counters["drop_ipv4_fragment"] >= 1
            s.stack.advance(s.now_ns + 70 * S)
            assert s.stack.counters()["ipv4_reassembling"] == 0


def test_real_fragments_arrive_between_two_floods() -> None:
    """A flood pushes others' datagrams out, but who sends his fragments together is heard."""
    s = Script()
    socket = s.stack.socket(2, 2)
    assert not isinstance(socket, int)
    assert socket.bind(bytes(4), 9) == 0
    datagram = UdpRepr(9, 9, 2000).emit(THERE, HERE, bytes(2000))
    flood = [fragment(n, 0, bytes(800), source=address(77)) for n in range(500, 600)]
    for number in range(20):
        s.stack.input(flood, s.now_ns)
        parts = [
            fragment(number, 0, datagram[:1480]),
            fragment(number, 1480, datagram[1480:], False),
        ]
        s.stack.input(parts, s.now_ns)
    assert s.stack.counters()["ipv4_reassembled"] == 20


def test_timed_out_datagrams_are_reported_at_a_limited_rate() -> None:
    """One error for each would let anybody use us against the source he forges."""
    s = Script()
    for round_ in range(40):
        s.stack.input([fragment(round_ * 64 + n, 0, bytes(64)) for n in range(64)], s.now_ns)
        s.now_ns += 61 * S
        s.stack.advance(s.now_ns)
        frames = s.stack.drain(s.now_ns, 10_000)
        errors = [f for f in frames if b"".join(f)[22:24] == b"\x08\x00"]
        assert len(errors) <= 64
    assert s.stack.counters()["ipv4_reassembling"] == 0


def test_ipv6_fragments_have_the_same_bounds() -> None:
    reassembler = Reassembler("ipv6_")
    random = Random(5)

    def flood(count: int) -> None:
        for _ in range(count):
            fragment6(random.getrandbits(32), 0, bytes(1400), True, reassembler, 0)

    flood(200)
    assert held_by(lambda: flood(3_000)) < 256 * 1024
    assert reassembler.counters()["ipv6_reassembling"] <= MAX_DATAGRAMS
    joined = fragment6(1, 0, bytes(8), True, reassembler, 0)
    assert joined is None
    assert fragment6(1, 0, b"other..!", True, reassembler, 0) is None
    assert fragment6(1, 8, bytes(8), False, reassembler, 0) is None
    assert reassembler.counters()["ipv6_fragment_overlaps"] == 1
    header = bytes(IPv6() / IPv6ExtHdrFragment(offset=1, m=1, id=1))
    assert len(header) == 48
