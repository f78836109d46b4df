"""Rules by which a host makes itself addresses. [RFC 4862]

docs/requirements names each of these tests beside the line that it holds.
"""

from __future__ import annotations

from random import Random

import pytest
from test_ipv6_codecs import (
    MAC,
    OURS,
    PEER,
    A,
    B,
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6NDOptPrefixInfo,
    IPv6,
    S,
    give,
    sent,
)
from test_ipv6_rules import known

from leulo.net.ipv6 import Ipv6Config, Ipv6Host
from leulo.net.wire import ParseError
from leulo.net.wire.ipv6 import link_local, solicited_node

ALL = bytes.fromhex("333300000001")
LOCAL = link_local(MAC)
OWN = bytes.fromhex("20010db800010000") + LOCAL[8:]
FAR = bytes.fromhex("20010db800020000") + bytes(8)
FOREVER = 0xFFFFFFFF
HOUR = 3600


def new_host() -> Ipv6Host:
    """Its addresses are asked for, and nobody's yet."""
    host = Ipv6Host(MAC, 1500, Ipv6Config(B), Random(1).getrandbits)
    host.advance(S)
    return host


def settled() -> Ipv6Host:
    host = Ipv6Host(MAC, 1500, Ipv6Config(), Random(1).getrandbits)
    host.advance(0)
    host.advance(S)
    host.take_output()
    return host


def advertise(
    host: Ipv6Host, valid: int, preferred: int, at: int = 2, **fields: object
) -> Ipv6Host:
    """A router says so of a prefix, which becomes an address a second later."""
    about = {"prefix": "2001:db8:1::", "prefixlen": 64, "L": 1, "A": 1, **fields}
    option = ICMPv6NDOptPrefixInfo(validlifetime=valid, preferredlifetime=preferred, **about)
    packet = IPv6(src="fe80::1", dst="ff02::1", hlim=255) / ICMPv6ND_RA(routerlifetime=1800)
    give(host, packet / option, to=ALL, now_ns=at * S)
    host.advance(at * S)
    host.advance((at + 1) * S)
    return host


def question(target: str, source: str = "::", to: str | None = None) -> IPv6:
    return IPv6(src=source, dst=to or "ff02::1:ff00:2", hlim=255) / ICMPv6ND_NS(tgt=target)


def test_every_address_is_asked_for_once_from_nobody() -> None:
    """Before anything else of it is sent. [RFC 4862 5.4, 5.4.2]"""
    host = new_host()
    asked = sent(host)
    host.advance(2 * S)
    assert [bytes(packet)[48:64] for packet in asked] == [LOCAL, B]
    for packet, target in zip(asked, (LOCAL, B), strict=True):
        text = bytes(packet)
        assert text[40] == 135 and text[8:24] == bytes(16) and text[24:40] == solicited_node(target)
    assert all(bytes(packet)[8:24] == LOCAL for packet in sent(host))


@pytest.mark.parametrize("kind", ["question", "answer", "echo"])
def test_what_goes_to_a_tentative_address_itself_is_dropped(kind: str) -> None:
    """An objection goes to a group; this is somebody else's, or a trick. [RFC 4862 5.4]"""
    host = new_host()
    packet = {
        "question": question(OURS, source=PEER, to=OURS),
        "answer": IPv6(src=PEER, dst=OURS, hlim=255) / ICMPv6ND_NA(tgt=OURS, S=1, O=1),
        "echo": IPv6(src=PEER, dst=OURS) / ICMPv6EchoRequest(data=b"x"),
    }[kind]
    host.take_output()
    with pytest.raises(ParseError, match="ipv6_tentative"):
        give(host, packet, now_ns=S + 1)
    assert sent(host) == []
    host.advance(2 * S)
    assert host.is_local(B)


def test_a_question_for_a_tentative_address_is_not_answered() -> None:
    """One from an address only wants to know its MAC. [RFC 4862 5.4.3]"""
    host = new_host()
    host.take_output()
    give(host, question(OURS, source=PEER), to=bytes.fromhex("3333ff000002"), now_ns=S + 1)
    assert sent(host) == []
    host.advance(2 * S)
    assert host.is_local(B)


def test_a_question_of_our_own_that_comes_back_is_no_objection() -> None:
    """[RFC 4862 5.4.3]"""
    host = new_host()
    [*_, own] = host.take_output()
    host.input(b"".join(own), False, S + 1)
    host.advance(2 * S)
    assert host.is_local(B)


def test_who_has_our_mac_ends_it_all() -> None:
    """Nothing is sent and nothing is heard any more. [RFC 4862 5.4.5]"""
    host = new_host()
    objection = ICMPv6ND_NA(tgt="fe80::ff:fe00:2", S=0, O=1)
    give(host, IPv6(src=PEER, dst="ff02::1", hlim=255) / objection, to=ALL, now_ns=S + 1)
    host.take_output()
    advertise(host, 9000, 9000)
    assert not any(host.is_local(address) for address in (LOCAL, B, OWN))
    assert host.source_for(A) is None and host.source_for(FAR) is None
    with pytest.raises(ParseError, match="ipv6_tentative"):
        give(host, IPv6(src=PEER, dst=OURS) / ICMPv6EchoRequest(data=b"x"))
    give(host, IPv6(src=PEER, dst="ff02::1") / ICMPv6EchoRequest(data=b"x"), to=ALL)
    host.advance(20 * S)
    assert sent(host) == []
    assert host.counters()["ipv6_duplicates"] == 1


def test_an_address_is_made_of_a_prefix_and_our_mac() -> None:
    """[RFC 4862 5.5.3 d]"""
    assert advertise(settled(), 9000, 3000).is_local(OWN)


@pytest.mark.parametrize(
    ("valid", "preferred", "fields"),
    [
        (9000, 3000, {"A": 0}),  # a: not for this
        (9000, 3000, {"prefix": "fe80::"}),  # b
        (3000, 9000, {}),  # c: preferred for longer than it is valid
        (0, 0, {}),  # d
        (9000, 3000, {"prefixlen": 80}),  # d: with our 64 bits these are not 128
        (9000, 3000, {"prefixlen": 48}),
    ],
)
def test_no_address_is_made_of_these(valid: int, preferred: int, fields: dict[str, object]) -> None:
    host = advertise(settled(), valid, preferred, **fields)
    assert list(host.own.addresses) == [LOCAL]
    assert not host.own.addresses[LOCAL].valid_ns
    assert sent(host) == []  # nor is one asked for


@pytest.mark.parametrize(
    ("first", "then", "left"),
    [
        (9 * HOUR, 5 * HOUR, 5 * HOUR),  # e 1: more than two hours
        (HOUR, 90 * 60, 90 * 60),  # e 1: more than what is left
        (HOUR, 10, HOUR - 10),  # e 2: less than two hours are left, and stay
        (9 * HOUR, 10, 2 * HOUR),  # e 3: down to two hours, and no further
        (FOREVER, 10, 2 * HOUR),
        (FOREVER, FOREVER, None),
    ],
)
def test_a_stranger_cannot_end_an_address(first: int, then: int, left: int | None) -> None:
    """[RFC 4862 5.5.3 e]"""
    host = advertise(settled(), first, 1, at=2)
    advertise(host, then, 1, at=12)
    until = host.own.addresses[OWN].valid_ns
    assert until == (0 if left is None else (12 + left) * S)


def test_how_long_an_address_is_preferred_is_always_news() -> None:
    """[RFC 4862 5.5.3 e]"""
    host = advertise(settled(), HOUR, HOUR)
    advertise(host, 10, 0, at=12)
    assert host.own.addresses[OWN].state == 2, "deprecated"
    advertise(host, HOUR, 100, at=20)
    assert host.own.addresses[OWN].state == 1
    host.advance(120 * S)
    assert host.own.addresses[OWN].state == 2


def test_a_deprecated_address_is_heard_and_answers() -> None:
    """[RFC 4862 5.5.4]"""
    host = advertise(known(), HOUR, 0)
    host.take_output()
    packet = IPv6(src=PEER, dst="2001:db8:1::ff:fe00:2") / ICMPv6EchoRequest(data=b"x")
    give(host, packet, now_ns=5 * S)
    [reply] = sent(host)
    assert bytes(reply)[8:24] == OWN


def test_an_address_whose_time_is_over_is_nobodys() -> None:
    """[RFC 4862 5.5.4]"""
    host = advertise(settled(), HOUR, HOUR)
    host.advance((2 + HOUR) * S)
    assert host.take_gone() == [OWN] and host.take_gone() == []
    with pytest.raises(ParseError, match="ipv6_destination"):
        give(host, IPv6(src=PEER, dst="2001:db8:1::ff:fe00:2") / ICMPv6EchoRequest(data=b"x"))
    assert host.source_for(FAR) != OWN
