"""Codecs of IPv6, ICMPv6 and neighbour discovery: scapy is the judge, any bytes are the input."""

from __future__ import annotations

import ipaddress
import warnings
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leulo.net.icmp import IcmpError
from leulo.net.ipv6 import Ipv6Config, Ipv6Host, Received, cut
from leulo.net.wire import ParseError
from leulo.net.wire.icmpv6 import Icmpv6Repr
from leulo.net.wire.ipv6 import (
    FragmentRepr,
    Ipv6Repr,
    link_local,
    multicast_mac,
    solicited_node,
    walk,
)
from leulo.net.wire.ndp import NeighbourRepr, PrefixRepr, RouterRepr

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from scapy.layers.inet import TCP, UDP
    from scapy.layers.inet6 import (
        ICMPv6DestUnreach,
        ICMPv6EchoRequest,
        ICMPv6ND_NA,
        ICMPv6ND_NS,
        ICMPv6ND_RA,
        ICMPv6NDOptDstLLAddr,
        ICMPv6NDOptMTU,
        ICMPv6NDOptPrefixInfo,
        ICMPv6NDOptSrcLLAddr,
        ICMPv6PacketTooBig,
        IPv6,
        IPv6ExtHdrDestOpt,
        IPv6ExtHdrFragment,
        IPv6ExtHdrHopByHop,
        IPv6ExtHdrRouting,
        RouterAlert,
        in6_getnsma,
        in6_getnsmac,
    )

OURS, PEER = "fd00::2", "fd00::1"
MAC, PEER_MAC = bytes((2, 0, 0, 0, 0, 2)), bytes((2, 0, 0, 0, 0, 1))
A, B = bytes.fromhex("fd00" + "00" * 13 + "01"), bytes.fromhex("fd00" + "00" * 13 + "02")
S = 1_000_000_000


def make_host(config: Ipv6Config | None = None) -> Ipv6Host:
    """Past duplicate address detection, nothing waiting to be sent."""
    host = Ipv6Host(MAC, 1500, config or Ipv6Config(B), Random(1).getrandbits)
    host.advance(0)
    host.advance(S)
    host.take_output()
    return host


def frame(packet: object, to: bytes = MAC) -> bytes:
    return bytes(10) + to + PEER_MAC + b"\x86\xdd" + bytes(packet)  # type: ignore[call-overload]


def give(host: Ipv6Host, packet: object, to: bytes = MAC, now_ns: int = 2 * S) -> object:
    return host.input(frame(packet, to), False, now_ns)


def sent(host: Ipv6Host) -> list[IPv6]:
    return [IPv6(b"".join(parts)[24:]) for parts in host.take_output()]


def test_headers_agree_with_scapy() -> None:
    packet = IPv6(src=PEER, dst=OURS, tc=0xB8, fl=0x12345, hlim=7) / UDP(sport=1, dport=2) / b"xyz"
    ip = Ipv6Repr.parse(bytes(packet))
    assert ip == Ipv6Repr(A, B, 17, 11, 7, 0xB8, 0x12345)
    assert ip.emit() == bytes(packet)[:40]
    for text in ("fd00::1234:5678", "fe80::ff:fe00:1"):
        address = ipaddress.IPv6Address(text).packed
        group = solicited_node(address)
        assert group == in6_getnsma(address)
        assert multicast_mac(group) == bytes.fromhex(in6_getnsmac(group).replace(":", ""))
    assert link_local(bytes.fromhex("525400000001"))[8:] == bytes.fromhex("505400fffe000001")


def test_extension_headers_are_walked_to_the_transport() -> None:
    packet = (
        IPv6(src=PEER, dst=OURS)
        / IPv6ExtHdrHopByHop(options=[RouterAlert()])
        / IPv6ExtHdrDestOpt()
        / TCP()
    )
    data = bytes(packet)
    upper = walk(data, len(data))
    assert upper.protocol == 6 and data[upper.at :] == bytes(packet[TCP])


def test_echo_is_answered_in_fragments_as_it_came() -> None:
    host = make_host()
    give(host, IPv6(src=PEER, dst=OURS) / ICMPv6ND_NS(tgt=OURS) / ICMPv6NDOptSrcLLAddr(
        lladdr="02:00:00:00:00:01"))  # fmt: skip
    host.take_output()
    payload = Random(2).randbytes(5000)
    whole = bytes(IPv6(src=PEER, dst=OURS) / ICMPv6EchoRequest(id=7, seq=9, data=payload))
    for packet in cut(Ipv6Repr(A, B, 58, len(whole) - 40), whole[40:], 1280, 99):
        assert give(host, packet) is None
    replies = sent(host)
    assert len(replies) == 4 and all(len(bytes(reply)) <= 1500 for reply in replies)
    joined = b"".join(bytes(reply[IPv6ExtHdrFragment].payload) for reply in replies)
    message = Icmpv6Repr.parse(joined, B, A)
    assert (message.kind, message.rest, message.payload) == (129, 7 << 16 | 9, payload)


def test_neighbour_messages_agree_with_scapy() -> None:
    asked = bytes(IPv6(src=PEER, dst="ff02::1:ff00:2", hlim=255) / ICMPv6ND_NS(tgt=OURS) / ICMPv6NDOptSrcLLAddr(lladdr="02:00:00:00:00:01"))  # fmt: skip  # noqa: E501
    group = bytes.fromhex("ff02" + "00" * 9 + "01ff000002")
    message = Icmpv6Repr.parse(asked[40:], A, group)
    assert NeighbourRepr.parse(message) == NeighbourRepr(135, B, PEER_MAC)
    assert NeighbourRepr(135, B, PEER_MAC).emit().emit(A, group) == asked[40:]
    host = make_host()
    give(host, asked, multicast_mac(group))
    [answer] = sent(host)
    advert = answer[ICMPv6ND_NA]
    assert (advert.tgt, advert.S, advert.O, advert.R) == (OURS, 1, 1, 0)
    assert answer[ICMPv6NDOptDstLLAddr].lladdr == "02:00:00:00:00:02" and answer.hlim == 255
    assert host.ndp.lookup(A, 3 * S) == PEER_MAC


def test_router_advertisement_gives_address_route_and_mtu() -> None:
    host = make_host(Ipv6Config())
    router = "fe80::1"
    advert = (
        IPv6(src=router, dst="ff02::1", hlim=255)
        / ICMPv6ND_RA(routerlifetime=1800)
        / (
            ICMPv6NDOptSrcLLAddr(lladdr="02:00:00:00:00:01")
            / ICMPv6NDOptMTU(mtu=1400)
            / ICMPv6NDOptPrefixInfo(
                prefix="2001:db8:1::",
                prefixlen=64,
                L=1,
                A=1,
                validlifetime=9000,
                preferredlifetime=3000,
            )
        )
    )
    give(host, advert, bytes.fromhex("333300000001"))
    own = bytes.fromhex("20010db800010000") + link_local(MAC)[8:]
    assert host.mtu == 1400 and not host.is_local(own)
    host.advance(2 * S)
    host.advance(3 * S)
    assert host.is_local(own)
    far = bytes.fromhex("20010db8ffff") + bytes(10)
    assert host.source_for(far) == own
    assert host.own.next_hop(far) == bytes.fromhex("fe80" + "00" * 13 + "01")
    assert host.own.next_hop(bytes.fromhex("20010db800010000") + bytes(8)) is not None
    host.advance(1900 * S)
    assert host.own.next_hop(far) is None  # the router's time is over
    host.advance(4000 * S)
    assert host.own.addresses[own].state == 2  # deprecated
    host.advance(9100 * S)
    assert own not in host.own.addresses


def test_router_repr_survives_its_own_emit() -> None:
    router = RouterRepr(64, 1800, 0, 0, 0, PEER_MAC, 1500, [PrefixRepr(A, 64, True, True, 9, 5)])
    assert RouterRepr.parse(router.emit()) == router


def test_spoofed_discovery_is_dropped() -> None:
    """From beyond a router, to the wrong group, or with broken options."""
    host = make_host()
    for packet, reason in (
        (IPv6(src=PEER, dst=OURS, hlim=254) / ICMPv6ND_NS(tgt=OURS), "ndp_hop_limit"),
        (IPv6(src=PEER, dst=OURS, hlim=255) / ICMPv6ND_NS(tgt="fd00::9"), "ndp_target"),
        (IPv6(src=PEER, dst=OURS, hlim=255) / ICMPv6ND_NS(tgt="ff02::1"), "ndp_target"),
        (IPv6(src=PEER, dst=OURS, hlim=255) / ICMPv6ND_RA(), "ndp_router"),
        (IPv6(src=PEER, dst=OURS, hlim=255) / ICMPv6ND_NA(tgt="fd00::9"), "ndp_unasked"),
    ):
        with pytest.raises(ParseError, match=reason):
            give(host, packet)
    assert host.take_output() == []


def test_bad_headers_are_told_to_their_sender() -> None:
    host = make_host()
    give(host, IPv6(src=PEER, dst=OURS, hlim=255) / ICMPv6ND_NS(tgt=OURS) / ICMPv6NDOptSrcLLAddr(
        lladdr="02:00:00:00:00:01"))  # fmt: skip
    host.take_output()
    base = IPv6(src=PEER, dst=OURS)
    for packet, code, pointer in (
        (base / IPv6ExtHdrRouting(segleft=1, addresses=["fd00::9"]) / UDP(), 0, 42),
        (IPv6(src=PEER, dst=OURS, nh=132) / b"xxxxxxxx", 1, 6),
        (base / IPv6ExtHdrFragment(offset=0, m=1, id=1, nh=17) / b"1234567", 0, 4),
        (base / IPv6ExtHdrFragment(offset=8190, m=0, id=1, nh=17) / bytes(80), 0, 42),
        (base / IPv6ExtHdrFragment(offset=0, m=1, id=2, nh=6) / b"12345678", 3, 0),
    ):
        with pytest.raises(ParseError):
            give(host, packet)
        [reply] = sent(host)
        message = bytes(reply)[40:]
        assert (message[0], message[1]) == (4, code)
        assert int.from_bytes(message[4:8], "big") == pointer


def test_overlapping_fragments_are_nothing_and_atomic_ones_are_whole() -> None:
    host = make_host()
    data = bytes(UDP(sport=1, dport=2, len=8 + 64) / bytes(64))
    part = Ipv6Repr(A, B, 44, 8 + 48)
    first = part.emit() + FragmentRepr(17, 0, True, 5).emit() + data[:48]
    overlap = Ipv6Repr(A, B, 44, 8 + 40).emit() + FragmentRepr(17, 32, False, 5).emit() + data[32:]
    assert give(host, first) is None and give(host, overlap) is None
    last = Ipv6Repr(A, B, 44, 8 + 24).emit() + FragmentRepr(17, 48, False, 5).emit() + data[48:]
    assert give(host, last) is None  # [RFC 5722 4]: all of it is gone
    assert host.counters()["ipv6_fragment_overlaps"] == 1
    atomic = Ipv6Repr(A, B, 44, 8 + 72).emit() + FragmentRepr(17, 0, False, 5).emit() + data
    got = give(host, atomic)
    assert isinstance(got, Received) and got.payload == data


def test_a_mark_on_a_fragment_is_the_packets() -> None:
    """[RFC 3168 5.3] [RFC 8200 4.5]"""
    data = bytes(UDP(sport=1, dport=2, len=8 + 64) / bytes(64))
    for classes in ((3, 2), (2, 3)):
        host = make_host()
        first = Ipv6Repr(A, B, 44, 8 + 48, traffic_class=classes[0]).emit()
        rest = Ipv6Repr(A, B, 44, 8 + 24, traffic_class=classes[1]).emit()
        give(host, first + FragmentRepr(17, 0, True, 5).emit() + data[:48])
        got = give(host, rest + FragmentRepr(17, 48, False, 5).emit() + data[48:])
        assert isinstance(got, Received)
        assert Ipv6Repr.parse(got.packet).traffic_class == 3


def test_errors_are_read_and_paths_kept() -> None:
    inner = IPv6(src=OURS, dst=PEER) / TCP(sport=80, dport=9, seq=5) / bytes(20)
    for body, kind, code in (
        (ICMPv6DestUnreach(code=4), 3, 3),
        (ICMPv6DestUnreach(code=0), 3, 0),
        (ICMPv6PacketTooBig(mtu=1300), 3, 4),
    ):
        host = make_host()
        error = give(host, IPv6(src=PEER, dst=OURS) / body / bytes(inner))
        assert isinstance(error, IcmpError)
        assert (error.kind, error.code, error.local, error.remote, error.sequence) == (
            kind, code, (B, 80), (A, 9), 5,
        )  # fmt: skip
        assert host.path_mtu(A, 2 * S) == (1300 if error.is_too_big else 1500)
    host = make_host()
    give(host, IPv6(src=PEER, dst=OURS) / ICMPv6PacketTooBig(mtu=600) / bytes(inner))
    assert host.path_mtu(A, 2 * S) == 1500  # a lie: every link carries 1280


SEEDS = [
    bytes(IPv6(src=PEER, dst=OURS, hlim=255) / layer)
    for layer in (
        TCP(sport=1, dport=80),
        UDP(sport=1, dport=2) / b"data",
        ICMPv6EchoRequest(data=b"x" * 30),
        ICMPv6ND_NS(tgt=OURS) / ICMPv6NDOptSrcLLAddr(lladdr="02:00:00:00:00:01"),
        ICMPv6ND_NA(tgt=PEER) / ICMPv6NDOptDstLLAddr(lladdr="02:00:00:00:00:01"),
        ICMPv6ND_RA() / ICMPv6NDOptPrefixInfo(prefix="2001:db8::", prefixlen=64),
        IPv6ExtHdrHopByHop(options=[RouterAlert()]) / IPv6ExtHdrDestOpt() / UDP(),
        IPv6ExtHdrFragment(offset=0, m=1, id=3, nh=17) / bytes(64),
        IPv6ExtHdrRouting(segleft=0, addresses=["fd00::9"]) / UDP(),
        ICMPv6DestUnreach() / bytes(IPv6(src=OURS, dst=PEER) / UDP(sport=5, dport=6)),
    )
]


@settings(max_examples=1500, deadline=None)
@given(
    st.sampled_from(SEEDS), st.integers(0, 120), st.binary(max_size=12), st.integers(0, 140),
    st.booleans(), st.binary(max_size=100),
)  # fmt: skip
def test_any_damage_is_taken_or_dropped(
    seed: bytes, at: int, change: bytes, end: int, is_vouched: bool, noise: bytes
) -> None:
    """No exception but ParseError, answers no longer than they may be, tables bounded."""
    host = HOST
    for packet in (seed[:at] + change + seed[at + len(change) :], seed[:end], noise):
        text = bytearray(frame(packet))
        text[0] = 2 if is_vouched else 0  # the checksum does not stop it
        try:
            host.input(bytes(text), False, 2 * S)
        except ParseError as error:
            assert error.reason
    for parts in host.take_output():
        assert len(b"".join(parts)) <= 24 + 1500
    assert len(host.own.addresses) <= 16 and len(host.own.routers) <= 8
    assert len(host.own.prefixes) <= 16 and len(host.ndp.entries()) <= 1024


HOST = make_host()
