"""Rules of IPv6's neighbour discovery that no other test shows.

docs/requirements names each of these tests beside the line that it holds.
"""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from test_ipv6_codecs import (
    MAC,
    OURS,
    PEER,
    PEER_MAC,
    A,
    B,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptMTU,
    ICMPv6NDOptPrefixInfo,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
    IPv6ExtHdrFragment,
    S,
    give,
    make_host,
    sent,
)
from test_ipv6_rules import GROUP, known, said

from leulo.net.ipv6 import Ipv6Config, Ipv6Host
from leulo.net.wire import ParseError
from leulo.net.wire.icmpv6 import Icmpv6Repr
from leulo.net.wire.ipv6 import Ipv6Repr
from leulo.net.wire.ndp import NeighbourRepr, RouterRepr


def advert(**fields: object) -> IPv6:
    return IPv6(src=PEER, dst=OURS, hlim=255) / ICMPv6ND_NA(tgt=PEER, **fields)


def mac_option(last: int = 1) -> object:
    return ICMPv6NDOptDstLLAddr(lladdr=f"02:00:00:00:00:{last:02x}")


def asked() -> Ipv6Host:
    """The host has asked who PEER is."""
    host = make_host()
    host.ndp.resolve(A, 2 * S)
    host.take_output()
    return host


def state_of(host: Ipv6Host) -> tuple[bytes, str]:
    return next((mac, state) for address, mac, state in host.ndp.entries() if address == A)


def test_a_question_goes_to_the_solicited_nodes_group_with_our_mac() -> None:
    host = make_host()
    host.ndp.resolve(A, 2 * S)
    [question] = sent(host)
    assert question.dst == "ff02::1:ff00:1"
    assert question.hlim == 255
    message = NeighbourRepr.parse(
        Icmpv6Repr.parse(bytes(question)[40:], B, b"", verify_checksum=False)
    )
    assert (message.target, message.mac) == (A, MAC)


def test_three_questions_a_second_apart_then_the_sender_is_told() -> None:
    host = make_host()
    now = 2 * S
    assert host.ndp.resolve(A, now)
    count = 1
    for _ in range(6):
        now += S
        host.advance(now)
        count += len(said(host)) if now > 2 * S else 0
    assert count <= 4
    assert not host.ndp.resolve(A, 6 * S)


def test_an_answer_ends_the_question() -> None:
    host = asked()
    give(host, advert(S=1, O=1) / mac_option())
    assert state_of(host) == (PEER_MAC, "REACHABLE")
    host = asked()
    give(host, advert(S=0, O=1) / mac_option())
    assert state_of(host) == (PEER_MAC, "STALE")


def test_an_answer_without_a_mac_ends_nothing() -> None:
    host = asked()
    with pytest.raises(ParseError, match="ndp_no_mac"):
        give(host, advert(S=1, O=1))
    assert state_of(host)[1] == "INCOMPLETE"


def test_another_mac_counts_only_with_the_override_flag() -> None:
    host = asked()
    give(host, advert(S=1, O=1) / mac_option())
    with pytest.raises(ParseError, match="ndp_no_override"):
        give(host, advert(S=1, O=0) / mac_option(9), now_ns=5 * S)
    assert state_of(host) == (PEER_MAC, "STALE")
    give(host, advert(S=1, O=1) / mac_option(9), now_ns=6 * S)
    assert state_of(host) == (PEER_MAC[:5] + b"\x09", "REACHABLE")


@pytest.mark.parametrize("by", ["answer", "news", "question"])
def test_another_mac_counts_at_once(by: str) -> None:
    """Somebody has taken the address over: a moment later as well as a minute. [RFC 4861 7.2.3,
    7.2.5]"""
    host = asked()
    give(host, advert(S=1, O=1) / mac_option(1), now_ns=3 * S)
    packet = {
        "answer": advert(S=1, O=1) / mac_option(9),
        "news": advert(S=0, O=1) / mac_option(9),
        "question": IPv6(src=PEER, dst=OURS, hlim=255)
        / ICMPv6ND_NS(tgt=OURS)
        / ICMPv6NDOptSrcLLAddr(lladdr="02:00:00:00:00:09"),
    }[by]
    give(host, packet, now_ns=3 * S + 1)
    mac = bytes((2, 0, 0, 0, 0, 9))
    assert state_of(host) == (mac, "REACHABLE" if by == "answer" else "STALE")


def test_an_answer_that_nobody_asked_for_makes_no_entry() -> None:
    host = make_host()
    with pytest.raises(ParseError, match="ndp_unasked"):
        give(host, advert(S=1, O=1) / mac_option())
    assert host.ndp.entries() == []


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (IPv6(src=PEER, dst=OURS, hlim=64) / ICMPv6ND_NS(tgt=OURS), "ndp_hop_limit"),
        (IPv6(src=PEER, dst=OURS, hlim=255) / ICMPv6ND_NS(tgt=OURS, code=1), "ndp_code"),
        (IPv6(src=PEER, dst=OURS, hlim=255) / ICMPv6ND_NS(tgt=GROUP), "ndp_target"),
        (IPv6(src=PEER, dst=OURS, hlim=255) / ICMPv6ND_NA(tgt=GROUP), "ndp_target"),
        (IPv6(src="::", dst=OURS, hlim=255) / ICMPv6ND_NS(tgt=OURS), "ndp_probe"),
        (IPv6(src=PEER, dst=OURS, hlim=64) / ICMPv6ND_NA(tgt=PEER), "ndp_hop_limit"),
        (IPv6(src=PEER, dst=OURS, hlim=255) / ICMPv6ND_NA(tgt=PEER, code=1), "ndp_code"),
        (IPv6(src=PEER, dst=GROUP, hlim=255) / ICMPv6ND_NA(tgt=PEER, S=1), "ndp_solicited"),
        (IPv6(src="fe80::1", dst=OURS, hlim=64) / ICMPv6ND_RA(), "ndp_hop_limit"),
        (IPv6(src=PEER, dst=OURS, hlim=255) / ICMPv6ND_RA(), "ndp_router"),
        (IPv6(src="fe80::1", dst=OURS, hlim=255) / ICMPv6ND_RA(code=1), "ndp_code"),
    ],
)
def test_what_is_not_valid_is_dropped(packet: IPv6, reason: str) -> None:
    host = asked()
    to = bytes.fromhex("333300000001") if packet.dst == GROUP else MAC
    with pytest.raises(ParseError, match=reason):
        give(host, packet, to=to)
    assert sent(host) == []


def test_an_option_of_no_length_drops_the_message() -> None:
    host = asked()
    message = Icmpv6Repr(135, 0, 0, B + bytes((1, 0)) + bytes(6)).emit(A, B)
    with pytest.raises(ParseError, match="ndp_options"):
        give(host, Ipv6Repr(A, B, 58, len(message), 255).emit() + message)


def test_an_unknown_option_is_ignored() -> None:
    host = make_host()
    unknown = bytes((200, 1)) + bytes(6)
    option = unknown + bytes((1, 1)) + PEER_MAC + unknown
    message = Icmpv6Repr(135, 0, 0, B + option).emit(A, B)
    give(host, Ipv6Repr(A, B, 58, len(message), 255).emit() + message)
    assert state_of(host) == (PEER_MAC, "STALE")


def test_an_answer_goes_to_who_asked_with_mac_and_flags() -> None:
    host = make_host()
    give(host, IPv6(src=PEER, dst=OURS, hlim=255) / ICMPv6ND_NS(tgt=OURS) / ICMPv6NDOptSrcLLAddr(
        lladdr="02:00:00:00:00:01"))  # fmt: skip
    [reply] = sent(host)
    answer = NeighbourRepr.parse(Icmpv6Repr.parse(bytes(reply)[40:], B, A))
    assert (reply.src, reply.dst, reply.hlim) == (OURS, PEER, 255)
    assert (answer.mac, answer.is_solicited, answer.is_override) == (MAC, True, True)
    assert not answer.is_router


def test_an_answer_to_nobody_goes_to_all() -> None:
    host = make_host()
    give(host, IPv6(src="::", dst="ff02::1:ff00:2", hlim=255) / ICMPv6ND_NS(tgt=OURS),
         to=bytes.fromhex("3333ff000002"))  # fmt: skip
    [reply] = sent(host)
    answer = NeighbourRepr.parse(Icmpv6Repr.parse(bytes(reply)[40:], B, b"", verify_checksum=False))
    assert reply.dst == "ff02::1" and not answer.is_solicited


def router(host: Ipv6Host, now_ns: int = 2 * S, **fields: object) -> None:
    options = fields.pop("options", None)
    packet = IPv6(src="fe80::1", dst=GROUP, hlim=255) / ICMPv6ND_RA(**fields)
    if options is not None:
        packet = packet / options
    give(host, packet, to=bytes.fromhex("333300000001"), now_ns=now_ns)


FAR = bytes.fromhex("20010db8" + "00" * 11 + "09")


def test_a_router_is_one_for_its_lifetime() -> None:
    host = make_host()
    router(host, routerlifetime=100)
    assert host.own.next_hop(FAR) is not None
    host.advance(101 * S)
    assert host.own.next_hop(FAR) is not None
    host.advance(102 * S)
    assert host.own.next_hop(FAR) is None


def test_a_router_that_says_nothing_ends_at_once() -> None:
    host = make_host()
    router(host, routerlifetime=100)
    router(host, routerlifetime=0)
    assert host.own.next_hop(FAR) is None


def test_a_router_that_is_none_any_more_is_not_used() -> None:
    """Its advertisement has no router flag. [RFC 4861 7.2.5]"""
    host = make_host()
    router(host, routerlifetime=100, options=ICMPv6NDOptSrcLLAddr(lladdr="02:00:00:00:00:01"))
    packet = IPv6(src="fe80::1", dst=OURS, hlim=255) / ICMPv6ND_NA(tgt="fe80::1", S=1, O=1, R=0)
    give(host, packet / mac_option())
    assert host.own.next_hop(FAR) is None


def test_the_mtu_of_a_router_counts_within_bounds() -> None:
    for told, mtu in ((1400, 1400), (1279, 1500), (9000, 1500)):
        host = make_host()
        router(host, options=ICMPv6NDOptMTU(mtu=told))
        assert host.mtu == mtu


def test_a_prefix_of_the_link_is_not_the_links_for_ever() -> None:
    host = make_host()
    prefix = ICMPv6NDOptPrefixInfo(
        prefix="2001:db8::", prefixlen=64, L=1, A=0, validlifetime=100, preferredlifetime=100
    )
    router(host, options=prefix)
    assert host.own.is_on_link(FAR)
    host.advance(103 * S)
    assert not host.own.is_on_link(FAR)


def test_a_prefix_without_the_flag_or_of_no_time_is_not_the_links() -> None:
    for flags in ({"L": 0, "validlifetime": 100}, {"L": 1, "validlifetime": 0}):
        host = make_host()
        prefix = ICMPv6NDOptPrefixInfo(
            prefix="2001:db8::", prefixlen=64, A=0, preferredlifetime=0, **flags
        )
        router(host, options=prefix)
        assert not host.own.is_on_link(FAR)


def asks(host: Ipv6Host, now_ns: int) -> bool:
    """Does the host ask for routers now?"""
    host.advance(now_ns)
    return any(bytes(packet)[40] == 133 for packet in sent(host))


def test_routers_are_asked_for_until_one_speaks() -> None:
    """After four seconds, then twice as long each time, up to an hour, and a tenth of chance.
    [RFC 7559 2] [RFC 3315 14]"""
    host = Ipv6Host(MAC, 1500, Ipv6Config(), Random(1).getrandbits)
    host.advance(0)
    asked: list[int] = []
    while len(asked) < 60:
        now_ns = host.next_deadline()
        assert now_ns is not None
        if asks(host, now_ns):
            asked.append(now_ns)
        if len(asked) == 5:
            state = host.save()
            host = Ipv6Host(MAC, 1500, Ipv6Config(), Random(1).getrandbits)
            host.load(state)
            assert host.save() == state
    waits = [(after - before) / S for before, after in pairwise(asked)]
    assert 3.6 <= waits[0] <= 4.4
    for before, after in pairwise(waits[:9]):
        assert 1.9 * before <= after <= 2.1 * before
    assert all(3240 <= wait <= 3960 for wait in waits[12:])
    assert len(set(waits[12:])) > 30, "by chance"
    assert asked[-1] > 40 * 3600 * S, "it has no end"


def test_only_a_router_that_routes_ends_the_search() -> None:
    """One that is to be sent nothing may tell a prefix. [RFC 7559 2.1] [RFC 4861 6.3.7]"""
    for lifetime, ends in ((0, False), (1800, True)):
        host = Ipv6Host(MAC, 1500, Ipv6Config(B), Random(1).getrandbits)
        while not asks(host, host.next_deadline() or 0):
            pass
        router(host, 3 * S, routerlifetime=lifetime)
        assert any(asks(host, second * S) for second in range(3, 60)) is not ends


def test_a_stale_neighbour_is_asked_himself_after_five_seconds() -> None:
    host = known()
    assert host.ndp.lookup(A, 3 * S) == PEER_MAC
    host.advance(8 * S - 1)
    assert said(host) == []
    host.advance(8 * S)
    [question] = said(host)
    assert question.dst == PEER


def test_reachable_is_for_half_a_minute() -> None:
    host = asked()
    give(host, advert(S=1, O=1) / mac_option())
    host.advance(31 * S)
    assert state_of(host)[1] == "REACHABLE"
    host.advance(32 * S)
    assert state_of(host)[1] == "STALE"


def test_a_packet_waits_for_the_answer() -> None:
    host = asked()
    frame = bytes(10) + bytes(6) + MAC + b"\x86\xdd" + bytes(40)
    host.send(A, (frame,), 2 * S)
    assert sent(host) == []
    give(host, advert(S=1, O=1) / mac_option())
    [out] = host.take_output()
    assert out[0][10:16] == PEER_MAC


def test_a_question_from_nobody_has_no_mac() -> None:
    host = Ipv6Host(MAC, 1500, Ipv6Config(B), Random(1).getrandbits)
    host.advance(0)
    for packet in sent(host):
        assert packet.src == "::"
        assert len(bytes(packet)) == 40 + 24


def test_two_routers_are_known() -> None:
    host = make_host()
    router(host, routerlifetime=100)
    packet = IPv6(src="fe80::2", dst=GROUP, hlim=255) / ICMPv6ND_RA(routerlifetime=900)
    give(host, packet, to=bytes.fromhex("333300000001"))
    host.advance(200 * S)
    assert host.own.next_hop(FAR) == bytes.fromhex("fe80" + "00" * 13 + "02")


def hop(last: int) -> bytes:
    return bytes.fromhex("fe80") + bytes(13) + bytes((last,))


def another(host: Ipv6Host, last: int, **fields: object) -> None:
    packet = IPv6(src=f"fe80::{last:x}", dst=GROUP, hlim=255) / ICMPv6ND_RA(**fields)
    give(host, packet, to=bytes.fromhex("333300000001"))


def test_the_router_that_is_preferred_is_used() -> None:
    """High before medium before low; what is reserved is medium. [RFC 4191 2.2, 3.2]"""
    host = make_host()
    another(host, 1, routerlifetime=100, prf=3)
    assert host.own.next_hop(FAR) == hop(1), "the only one"
    another(host, 2, routerlifetime=100, prf=2)
    another(host, 3, routerlifetime=100, prf=0)
    assert host.own.next_hop(FAR) == hop(2), "the first of two alike"
    another(host, 4, routerlifetime=100, prf=1)
    assert host.own.next_hop(FAR) == hop(4)
    again = make_host()
    again.load(host.save())
    assert again.own.next_hop(FAR) == hop(4)
    another(host, 4, routerlifetime=0, prf=1)
    assert host.own.next_hop(FAR) == hop(2)
    another(host, 4, routerlifetime=100, prf=3)
    assert host.own.next_hop(FAR) == hop(2), "what it had said is over"


@pytest.mark.parametrize("offset", [0, 1])
def test_discovery_in_fragments_is_dropped(offset: int) -> None:
    """Also in one that is whole: nobody needs it, but who hides from a switch that watches.
    [RFC 6980 5]"""
    host = make_host()
    group = bytes.fromhex("ff02") + bytes(13) + bytes((1,))
    message = RouterRepr(lifetime_s=100, mac=PEER_MAC).emit().emit(hop(1), group)
    cut = 16 if offset else len(message)
    head = IPv6(src="fe80::1", dst=GROUP, hlim=255)
    parts = [head / IPv6ExtHdrFragment(offset=0, m=offset, id=7, nh=58) / message[:cut]]
    if offset:
        parts.append(head / IPv6ExtHdrFragment(offset=2, m=0, id=7, nh=58) / message[cut:])
    to = bytes.fromhex("333300000001")
    for part in parts[:-1]:
        assert give(host, part, to=to) is None
    with pytest.raises(ParseError, match="ndp_fragment"):
        give(host, parts[-1], to=to)
    assert host.own.next_hop(FAR) is None


@pytest.mark.parametrize("objection", [None, "answer", "question"])
def test_an_address_that_somebody_has_is_not_used(objection: str | None) -> None:
    """For a second it is nobody's; then it is ours, if nobody has answered or asked for it, too.
    [RFC 4862 5.4]"""
    host = Ipv6Host(MAC, 1500, Ipv6Config(A, 64), Random(1).getrandbits)
    host.advance(1 * S)
    assert not host.is_local(A)
    if objection == "answer":
        packet = IPv6(src=PEER, dst="ff02::1", hlim=255) / ICMPv6ND_NA(tgt=PEER, S=0, O=1)
        give(host, packet / mac_option(), to=bytes.fromhex("333300000001"), now_ns=S + 1)
    elif objection == "question":
        last = A[-3:]
        group = f"ff02::1:ff{last[0]:02x}:{last[1]:02x}{last[2]:02x}"
        packet = IPv6(src="::", dst=group, hlim=255) / ICMPv6ND_NS(tgt=PEER)
        give(host, packet, to=bytes.fromhex("3333ff") + last, now_ns=S + 1)
    host.advance(2 * S - 1)
    assert not host.is_local(A)
    host.advance(2 * S)
    assert host.is_local(A) is (objection is None)


def test_a_source_is_chosen_by_scope_state_and_prefix() -> None:
    """[RFC 6724 5, rules 1, 2, 3 and 8]"""
    host = make_host()
    for prefix, preferred in (("2001:db8:1::", 900), ("2001:db8:2::", 900), ("2001:db8:3::", 0)):
        option = ICMPv6NDOptPrefixInfo(
            prefix=prefix, prefixlen=64, L=1, A=1, validlifetime=9000, preferredlifetime=preferred
        )
        router(host, routerlifetime=900, options=option)
    for second in range(2, 6):
        host.advance(second * S)
    far = {n: bytes.fromhex(f"20010db8000{n}") + bytes(9) + bytes((9,)) for n in (1, 2, 3)}
    assert [host.source_for(far[n])[:6] for n in (1, 2)] == [far[1][:6], far[2][:6]]  # type: ignore[index]
    chosen = host.source_for(far[3])
    assert chosen is not None and chosen[:6] != far[3][:6], "deprecated"
    assert host.source_for(hop(9))[:2] == b"\xfe\x80"  # type: ignore[index]
    site = bytes.fromhex("fec0") + bytes(13) + bytes((9,))
    assert host.source_for(site)[:2] != b"\xfe\x80", "not of the link, though nearer"  # type: ignore[index]
    own = host.source_for(far[1])
    assert own is not None and host.source_for(own) == own, "itself"


def test_a_routers_mac_is_learnt() -> None:
    host = make_host()
    router(host, routerlifetime=100, options=ICMPv6NDOptSrcLLAddr(lladdr="02:00:00:00:00:01"))
    hop = host.own.next_hop(FAR)
    assert hop is not None
    assert host.ndp.lookup(hop, 2 * S) == PEER_MAC


def test_a_link_local_prefix_is_no_news() -> None:
    host = make_host()
    prefix = ICMPv6NDOptPrefixInfo(
        prefix="fe80::", prefixlen=64, L=1, A=1, validlifetime=100, preferredlifetime=100
    )
    router(host, options=prefix)
    assert host.own.prefixes == {}


def test_a_redirect_is_not_followed() -> None:
    host = known()
    message = Icmpv6Repr(137, 0, 0, bytes(32)).emit(A, B)
    with pytest.raises(ParseError, match="ndp_not_for_hosts"):
        give(host, Ipv6Repr(A, B, 58, len(message), 255).emit() + message)


def test_a_bad_checksum_drops_it() -> None:
    host = asked()
    packet = bytearray(bytes(advert(S=1, O=1) / mac_option()))
    packet[42] ^= 1
    with pytest.raises(ParseError, match="icmpv6_checksum"):
        give(host, bytes(packet))
    assert state_of(host)[1] == "INCOMPLETE"
