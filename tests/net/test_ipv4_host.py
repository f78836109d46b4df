"""IPv4 of a host: next hops, what is refused, and reassembly that cannot be abused."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP, IPOption_LSRR, defragment, fragment

from leulo.net import reassembly
from leulo.net.ipv4 import Route, cut, receive
from leulo.net.reassembly import MAX_DATAGRAMS, REASSEMBLY_NS, Reassembler
from leulo.net.wire import ParseError
from leulo.net.wire.ipv4 import Ipv4Repr, parse_ipv4

ME = bytes((10, 0, 2, 15))
PEER = bytes((10, 0, 2, 2))
ROUTE = Route(ME, 24, PEER)


@pytest.mark.parametrize(
    ("destination", "hop"),
    [
        ("10.0.2.77", "10.0.2.77"),
        ("10.0.3.1", "10.0.2.2"),
        ("93.184.216.34", "10.0.2.2"),
        ("10.0.2.255", None),
        ("255.255.255.255", None),
        ("224.0.0.1", None),
        ("127.0.0.1", None),
        ("0.0.0.0", None),
        ("240.0.0.1", None),
    ],
)
def test_next_hop(destination: str, hop: str | None) -> None:
    assert ROUTE.next_hop(parse_ipv4(destination)) == (parse_ipv4(hop) if hop else None)


def test_next_hop_without_gateway_is_unreachable_beyond_the_link() -> None:
    route = Route(ME, 24)
    assert route.next_hop(bytes((8, 8, 8, 8))) is None
    assert route.next_hop(ME[:3] + b"\x07") == ME[:3] + b"\x07"


def test_last_address_of_a_pair_is_a_host() -> None:
    """RFC 3021: a /31 has no broadcast address."""
    route = Route(bytes((10, 0, 0, 0)), 31)
    assert route.next_hop(bytes((10, 0, 0, 1))) == bytes((10, 0, 0, 1))
    assert not route.is_broadcast(bytes((10, 0, 0, 1)))


def packet(source: str, destination: str, **fields: object) -> bytes:
    return bytes(IP(src=source, dst=destination, **fields) / UDP(sport=1, dport=2) / b"data")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (packet("10.0.2.2", "10.0.2.16"), "ipv4_destination"),
        (packet("10.0.2.2", "224.0.0.1"), "ipv4_destination"),
        (packet("10.0.2.15", "10.0.2.15"), "ipv4_source"),
        (packet("127.0.0.1", "10.0.2.15"), "ipv4_source"),
        (packet("255.255.255.255", "10.0.2.15"), "ipv4_source"),
        (packet("224.0.0.1", "10.0.2.15"), "ipv4_source"),
        (packet("0.0.0.0", "10.0.2.15"), "ipv4_source"),
        (packet("10.0.2.255", "10.0.2.15"), "ipv4_source"),
        (
            packet("10.0.2.2", "10.0.2.15", options=[IPOption_LSRR(routers=["1.2.3.4"])]),
            "ipv4_source_route",
        ),
    ],
)
def test_receive_refuses_what_a_host_must(data: bytes, reason: str) -> None:
    with pytest.raises(ParseError) as caught:
        receive(data, ROUTE)
    assert caught.value.reason == reason


def test_receive_takes_ours_and_broadcasts_and_with_accept_any_all() -> None:
    for destination in ("10.0.2.15", "10.0.2.255", "255.255.255.255"):
        assert receive(packet("10.0.2.2", destination), ROUTE).protocol == 17
    assert receive(packet("10.0.2.2", "8.8.8.8"), ROUTE, accept_any=True).protocol == 17
    with pytest.raises(ParseError, match="ipv4_destination"):
        receive(packet("10.0.2.2", "239.0.0.1"), ROUTE, accept_any=True)


def fragments(size: int, ident: int = 7, mtu: int = 600) -> tuple[bytes, list[bytes]]:
    """The payload of a datagram, and the packets it was cut into by scapy."""
    whole = (
        IP(src="10.0.2.2", dst="10.0.2.15", id=ident) / UDP() / random.Random(size).randbytes(size)
    )
    payload = bytes(whole[UDP])
    return payload, [bytes(piece) for piece in fragment(IP(bytes(whole)), mtu)]


def feed(reassembler: Reassembler, data: bytes, now_ns: int = 0) -> bytes | None:
    return reassembler.input(Ipv4Repr.parse(data), data, now_ns)


@pytest.mark.parametrize("size", [593, 1500, 9000, 65507 - 8])
@pytest.mark.parametrize("order", ["forward", "backward", "shuffled", "doubled"])
def test_fragments_join_in_any_order(size: int, order: str) -> None:
    payload, pieces = fragments(size)
    assert len(pieces) > 1
    if order == "backward":
        pieces.reverse()
    elif order == "shuffled":
        random.Random(size).shuffle(pieces)
    elif order == "doubled":
        pieces = [piece for piece in pieces for _ in (0, 1)][:-1]
    reassembler = Reassembler()
    results = [feed(reassembler, piece) for piece in pieces]
    assert results[-1] == payload
    assert results[:-1] == [None] * (len(pieces) - 1)
    assert reassembler.counters()["ipv4_reassembling"] == 0
    assert reassembler._cost == 0


@pytest.mark.parametrize("mtu", [68, 576, 1500])
def test_own_fragments_join_here_and_fit(mtu: int) -> None:
    payload = random.Random(mtu).randbytes(4003)
    ip = Ipv4Repr(PEER, ME, 17, len(payload), identification=77)
    packets = cut(ip, payload, mtu)
    assert all(len(data) <= mtu for data in packets)
    reassembler = Reassembler()
    results = [feed(reassembler, data) for data in packets]
    assert results[-1] == payload
    assert bytes(defragment([IP(data) for data in packets])[0][IP].payload) == payload


def test_small_packet_is_not_cut_and_df_never() -> None:
    whole = cut(Ipv4Repr(PEER, ME, 17, 1480), bytes(1480), 1500)
    assert [len(data) for data in whole] == [1500]
    assert not Ipv4Repr.parse(whole[0]).is_fragment
    assert cut(Ipv4Repr(PEER, ME, 17, 1481, dont_fragment=True), bytes(1481), 1500) == []
    assert cut(Ipv4Repr(PEER, ME, 17, 100), bytes(100), 27) == []


def test_datagrams_do_not_mix() -> None:
    one, first = fragments(3000, ident=1)
    two, second = fragments(3001, ident=2)
    reassembler = Reassembler()
    results = [feed(reassembler, p) for pair in zip(first, second, strict=True) for p in pair]
    assert [r for r in results if r is not None] == [one, two]


def piece(offset: int, payload: bytes, more: bool, ident: int = 9, mark: int = 0) -> bytes:
    header = Ipv4Repr(
        PEER, ME, 17, len(payload), traffic_class=mark, identification=ident, more_fragments=more,
        fragment_offset=offset,
    )  # fmt: skip
    return header.emit() + payload


@pytest.mark.parametrize(
    "attack",
    [
        [(0, 16, True), (8, 16, True)],  # overlap from below
        [(8, 16, True), (0, 16, True)],  # from above
        [(0, 32, True), (8, 8, True)],  # inside
        [(8, 8, True), (0, 32, True)],  # around
        [(0, 8, True), (16, 8, False), (16, 16, False)],  # two ends
        [(64, 16, True), (16, 8, False)],  # an end before what is there
        [(16, 8, False), (24, 8, True)],  # something behind the end
        [(0, 16, True), (0, 8, True)],  # a shorter first one (the tiny overlap of RFC 3128)
    ],
)
def test_overlap_drops_the_whole_datagram_and_what_follows(
    attack: list[tuple[int, int, bool]],
) -> None:
    reassembler = Reassembler()
    for number, (offset, size, more) in enumerate(attack):
        assert feed(reassembler, piece(offset, bytes((number,)) * size, more)) is None
    assert reassembler.counters()["ipv4_fragment_overlaps"] >= 1
    for offset in range(0, 96, 8):
        assert feed(reassembler, piece(offset, b"x" * 8, True)) is None
    assert feed(reassembler, piece(96, b"x", False)) is None
    assert reassembler.counters()["ipv4_reassembled"] == 0
    assert reassembler._cost == 0


def test_incomplete_datagram_times_out_and_quotes_its_first_fragment() -> None:
    reassembler = Reassembler()
    _, pieces = fragments(3000)
    feed(reassembler, pieces[0], 5)
    feed(reassembler, pieces[1], 6)
    feed(reassembler, piece(8, bytes(8), True), 7)  # has no first fragment: nothing to quote
    assert reassembler.next_deadline() == 5 + REASSEMBLY_NS
    reassembler.advance(4 + REASSEMBLY_NS)
    assert reassembler.take_expired() == []
    reassembler.advance(7 + REASSEMBLY_NS)
    [quote] = reassembler.take_expired()
    assert pieces[0].startswith(quote)
    assert len(quote) >= 28
    assert reassembler.next_deadline() is None
    assert reassembler._cost == 0


def test_flood_of_fragments_is_bounded() -> None:
    reassembler = Reassembler()
    for ident in range(5000):
        feed(reassembler, piece(ident % 100 * 8, bytes(1400 // 8 * 8), True, ident))
    assert reassembler.counters()["ipv4_reassembling"] <= MAX_DATAGRAMS
    reassembler = Reassembler()
    for offset in range(0, 65000, 8):
        feed(reassembler, piece(offset, bytes(8), True))
    assert reassembler._cost <= reassembly.MAX_REASSEMBLY_BYTES
    assert all(len(d.offsets) <= reassembly.MAX_FRAGMENTS for d in reassembler.datagrams.values())


NOT_ECT, ECT1, ECT0, CE = range(4)


@pytest.mark.parametrize(
    ("marks", "joined"),
    [
        ((CE, ECT0), CE),
        ((ECT0, CE), CE),
        ((ECT1, CE), CE),
        ((CE, CE), CE),
        ((ECT0, ECT0), ECT0),
        ((ECT1, ECT1), ECT1),
        ((NOT_ECT, NOT_ECT), NOT_ECT),
        ((NOT_ECT, CE), None),
        ((CE, NOT_ECT), None),
        ((ECT0, NOT_ECT), None),
    ],
)
def test_a_mark_on_a_fragment_is_not_lost(marks: tuple[int, int], joined: int | None) -> None:
    """Of the whole, unless a fragment says that it is not capable. [RFC 3168 5.3]"""
    reassembler = Reassembler()
    assert feed(reassembler, piece(0, bytes(8), True, mark=marks[0])) is None
    whole = feed(reassembler, piece(8, bytes(8), False, mark=marks[1]))
    if joined is None:
        assert whole is None
        assert reassembler.counters()["ipv4_fragment_marks"] == 1
    else:
        assert whole == bytes(16)
        assert reassembler.codepoint == joined


def test_restored_reassembler_goes_on() -> None:
    payload, pieces = fragments(3000)
    reassembler = Reassembler()
    for data in pieces[:-1]:
        feed(reassembler, data)
    copy = Reassembler()
    copy.load(reassembler.save())
    assert copy.save() == reassembler.save()
    assert copy._cost == reassembler._cost
    assert feed(copy, pieces[-1]) == payload


@settings(max_examples=150)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 12), st.integers(1, 6), st.booleans(), st.integers(0, 2),
            st.integers(0, REASSEMBLY_NS),
        ),
        max_size=40,
    )
)  # fmt: skip
def test_any_fragments_keep_the_reassembler_sound(
    steps: list[tuple[int, int, bool, int, int]],
) -> None:
    """What comes out is what went in at those places, and memory is accounted for exactly."""
    content = bytes(range(256))
    reassembler = Reassembler()
    now = 0
    for offset, length, more, ident, wait in steps:
        now += wait
        data = content[offset * 8 : (offset + length) * 8]
        result = feed(reassembler, piece(offset * 8, data, more, ident), now)
        assert result is None or content.startswith(result)
        held = sum(len(p) + 128 for d in reassembler.datagrams.values() for p in d.pieces)
        assert reassembler._cost == held
