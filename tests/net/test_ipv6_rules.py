"""Rules of IPv6 and its ICMP that no other test shows.

docs/requirements names each of these tests beside the line that it holds.
"""

from __future__ import annotations

import pytest
from test_ipv6_codecs import (
    MAC,
    OURS,
    PEER,
    TCP,
    UDP,
    A,
    B,
    ICMPv6DestUnreach,
    ICMPv6EchoRequest,
    ICMPv6ND_NS,
    ICMPv6NDOptSrcLLAddr,
    ICMPv6PacketTooBig,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    S,
    give,
    make_host,
    sent,
)

from leulo.net.icmp import IcmpError
from leulo.net.ipv6 import Ipv6Host, Received, cut
from leulo.net.reassembly import REASSEMBLY_NS
from leulo.net.wire import ParseError
from leulo.net.wire.icmpv6 import Icmpv6Repr
from leulo.net.wire.ipv6 import FragmentRepr, Ipv6Repr

GROUP = "ff02::1"
INNER = IPv6(src=OURS, dst=PEER) / TCP(sport=80, dport=9, seq=5) / bytes(20)


def too_big(host: Ipv6Host, mtu: int, now_ns: int = 2 * S) -> None:
    message = IPv6(src=PEER, dst=OURS) / ICMPv6PacketTooBig(mtu=mtu) / bytes(INNER)
    give(host, message, now_ns=now_ns)


def known(**peer: object) -> Ipv6Host:
    """The host knows who PEER is."""
    host = make_host()
    give(host, IPv6(src=PEER, dst=OURS, hlim=255) / ICMPv6ND_NS(tgt=OURS) / ICMPv6NDOptSrcLLAddr(
        lladdr="02:00:00:00:00:01"))  # fmt: skip
    host.take_output()
    return host


def said(host: Ipv6Host) -> list[IPv6]:
    """What it sends but for its questions for routers."""
    return [packet for packet in sent(host) if bytes(packet)[40] != 133]


# -- paths [RFC 8201]


def test_a_report_makes_the_path_smaller_and_never_larger() -> None:
    host = make_host()
    too_big(host, 1400)
    too_big(host, 1450)
    assert host.path_mtu(A, 2 * S) == 1400
    too_big(host, 1300)
    assert host.path_mtu(A, 2 * S) == 1300
    assert host.path_mtu(B, 2 * S) == 1500


def test_a_path_is_tried_again_after_ten_minutes_and_not_after_five() -> None:
    host = make_host()
    too_big(host, 1400, 10 * S)
    assert host.path_mtu(A, 310 * S) == 1400
    assert host.path_mtu(A, 609 * S) == 1400
    assert host.path_mtu(A, 610 * S) == 1500


def test_a_report_about_what_we_did_not_send_is_ignored() -> None:
    host = make_host()
    inner = IPv6(src="fd00::77", dst=PEER) / TCP(sport=80, dport=9) / bytes(20)
    give(host, IPv6(src=PEER, dst=OURS) / ICMPv6PacketTooBig(mtu=1300) / bytes(inner))
    assert host.path_mtu(A, 2 * S) == 1500


def test_what_goes_is_cut_to_the_path() -> None:
    host = known()
    too_big(host, 1300)
    give(host, IPv6(src=PEER, dst=OURS) / ICMPv6EchoRequest(data=bytes(1400)))
    assert [len(bytes(packet)) <= 1300 for packet in sent(host)] == [True, True]


# -- messages [RFC 4443]


def test_an_answer_comes_from_the_address_that_was_asked() -> None:
    host = known()
    give(host, IPv6(src=PEER, dst=OURS) / ICMPv6EchoRequest(id=7, seq=9, data=b"same"))
    [reply] = sent(host)
    assert (reply.src, reply.dst) == (OURS, PEER)
    assert bytes(reply)[40:41] == b"\x81"
    assert bytes(reply)[44:] == b"\0\x07\0\x09same"


def test_an_answer_to_a_group_comes_from_an_address_of_ours() -> None:
    host = known()
    give(host, IPv6(src=PEER, dst=GROUP) / ICMPv6EchoRequest(data=b"x"),
         to=bytes.fromhex("333300000001"))  # fmt: skip
    [reply] = sent(host)
    assert reply.src == OURS


def test_unknown_information_is_dropped() -> None:
    host = known()
    message = Icmpv6Repr(200, 0, 0, b"what?").emit(A, B)
    with pytest.raises(ParseError, match="icmpv6_kind"):
        give(host, Ipv6Repr(A, B, 58, len(message)).emit() + message)
    assert sent(host) == []


def test_an_error_quotes_as_much_as_the_least_mtu_has_room_for() -> None:
    host = known()
    packet = bytes(IPv6(src=PEER, dst=OURS, nh=132) / bytes(1400))
    with pytest.raises(ParseError):
        give(host, packet)
    [error] = sent(host)
    assert len(bytes(error)) == 1280
    assert bytes(error)[48:] == packet[: 1280 - 48]


@pytest.mark.parametrize(
    "packet",
    [
        IPv6(src=PEER, dst=OURS) / ICMPv6DestUnreach(code=4) / bytes(INNER)[:44],
        IPv6(src=PEER, dst=GROUP, nh=132) / bytes(8),
        IPv6(src="ff02::9", dst=OURS, nh=132) / bytes(8),
        IPv6(src="::", dst=OURS, nh=132) / bytes(8),
    ],
)
def test_no_error_about_these(packet: IPv6) -> None:
    host = known()
    to = bytes.fromhex("333300000001") if packet.dst == GROUP else MAC
    with pytest.raises(ParseError):
        give(host, packet, to=to)
    assert sent(host) == []


def test_no_error_about_an_error_in_a_bad_packet() -> None:
    host = known()
    error = Icmpv6Repr(1, 4, 0, bytes(INNER)).emit(A, B)
    assert host.icmp.error(4, 0, 0, Ipv6Repr(A, B, 58, len(error)).emit() + error, 2 * S) is None
    redirect = Icmpv6Repr(137, 0, 0, bytes(32)).emit(A, B)
    packet = Ipv6Repr(A, B, 58, len(redirect)).emit() + redirect
    assert host.icmp.error(4, 0, 0, packet, 2 * S) is None


def test_an_unknown_option_to_a_group_is_told_if_it_says_so() -> None:
    """The exception. [RFC 4443 2.4 e.3]"""
    for kind, told in ((0x80, 1), (0xC0, 0)):
        host = known()
        option = bytes((17, 0, kind, 4, 0, 0, 0, 0))
        packet = Ipv6Repr(A, bytes.fromhex("ff02" + "00" * 13 + "01"), 60, len(option)).emit()
        with pytest.raises(ParseError):
            give(host, packet + option, to=bytes.fromhex("333300000001"))
        assert len(sent(host)) == told


def test_errors_are_limited() -> None:
    host = known()
    packet = bytes(IPv6(src=PEER, dst=OURS, nh=132) / bytes(8))
    for _ in range(200):
        with pytest.raises(ParseError):
            give(host, packet)
    assert 0 < len(sent(host)) < 100


def test_every_error_reaches_the_transport() -> None:
    host = known()
    for kind, code in ((1, 4), (2, 0), (3, 0), (4, 1)):
        message = Icmpv6Repr(kind, code, 1300, bytes(INNER)).emit(A, B)
        error = give(host, Ipv6Repr(A, B, 58, len(message)).emit() + message)
        assert isinstance(error, IcmpError) and error.local == (B, 80)


# -- packets [RFC 8200]


def test_unknown_options_are_skipped_dropped_or_told() -> None:
    for kind, outcome in ((0x1E, "taken"), (0x5E, "dropped"), (0x9E, "told"), (0xDE, "told")):
        host = known()
        option = bytes((17, 0, kind, 4, 0, 0, 0, 0))
        datagram = bytes(IPv6(src=PEER, dst=OURS) / UDP(sport=1, dport=2) / b"data")[40:]
        packet = Ipv6Repr(A, B, 60, 8 + len(datagram)).emit() + option + datagram
        if outcome == "taken":
            assert isinstance(give(host, packet), Received)
            continue
        with pytest.raises(ParseError):
            give(host, packet)
        replies = sent(host)
        assert len(replies) == (outcome == "told")
        if replies:
            assert bytes(replies[0])[40:42] == b"\x04\x02"
            assert bytes(replies[0])[44:48] == (42).to_bytes(4, "big")


def test_hop_by_hop_comes_first_or_not_at_all() -> None:
    host = known()
    packet = IPv6(src=PEER, dst=OURS) / IPv6ExtHdrDestOpt() / IPv6ExtHdrHopByHop() / UDP()
    with pytest.raises(ParseError, match="ipv6_next_header"):
        give(host, packet)
    [reply] = sent(host)
    assert bytes(reply)[40:42] == b"\x04\x01"


def test_extension_headers_come_in_any_order_and_number() -> None:
    packet = IPv6(src=PEER, dst=OURS) / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt()
    packet = packet / IPv6ExtHdrDestOpt() / UDP(sport=1, dport=2) / b"data"
    assert isinstance(give(known(), packet), Received)


def test_nothing_follows_no_next_header() -> None:
    host = known()
    assert give(host, Ipv6Repr(A, B, 59, 4).emit() + b"what") is None
    assert sent(host) == []


def test_fragments_are_given_up_after_a_minute_and_told() -> None:
    host = known()
    first = IPv6(src=PEER, dst=OURS) / IPv6ExtHdrFragment(offset=0, m=1, id=3, nh=17) / bytes(64)
    give(host, first)
    host.advance(2 * S + REASSEMBLY_NS - 1)
    assert said(host) == []
    host.advance(2 * S + REASSEMBLY_NS)
    [reply] = said(host)
    assert bytes(reply)[40:42] == b"\x03\x01"


def test_a_late_rest_alone_is_given_up_in_silence() -> None:
    host = known()
    give(host, IPv6(src=PEER, dst=OURS) / IPv6ExtHdrFragment(offset=8, m=0, id=3, nh=17) / b"x")
    host.advance(2 * S + REASSEMBLY_NS)
    assert said(host) == []


def test_1500_bytes_join() -> None:
    data = bytes(UDP(sport=1, dport=2, len=1460) / bytes(1452))
    host = known()
    ip = Ipv6Repr(A, B, 17, len(data))
    results = [give(host, packet) for packet in cut(ip, data, 1280, 9)]
    assert isinstance(results[-1], Received) and results[-1].payload == data


def test_own_fragments_are_of_eights_and_fit() -> None:
    packets = cut(Ipv6Repr(A, B, 17, 4003), bytes(4003), 1283, 9)
    assert all(len(packet) <= 1283 for packet in packets)
    for packet in packets[:-1]:
        assert not (len(packet) - 48) & 7
        assert FragmentRepr.parse(packet[40:]).has_more


def test_no_error_about_a_packet_from_nobody() -> None:
    host = known()
    for source in (bytes(16), bytes.fromhex("ff02" + "00" * 14)):
        packet = Ipv6Repr(source, B, 132, 8).emit() + bytes(8)
        assert host.icmp.error(4, 1, 6, packet, 2 * S) is None


def test_a_routing_header_that_is_done_is_skipped() -> None:
    packet = IPv6(src=PEER, dst=OURS) / IPv6ExtHdrRouting(segleft=0, addresses=["fd00::9"])
    packet = packet / UDP(sport=1, dport=2) / b"data"
    assert isinstance(give(known(), packet), Received)


@pytest.mark.parametrize("source", ["ff02::1", "ff0e::9", "::1", OURS])
def test_nobody_speaks_from_a_group_or_from_our_own_address(source: str) -> None:
    """[RFC 4291 2.5.3, 2.7]"""
    host = known()
    with pytest.raises(ParseError, match="ipv6_source"):
        give(host, IPv6(src=source, dst=OURS) / ICMPv6EchoRequest())


def test_fragments_of_two_packets_have_two_numbers() -> None:
    host = make_host()
    assert len({host.new_identification() for _ in range(8)}) == 8


def test_fragments_of_two_packets_do_not_mix() -> None:
    host = known()
    one = bytes(UDP(sport=1, dport=2, len=8 + 64) / (b"a" * 64))
    first = IPv6(src=PEER, dst=OURS) / IPv6ExtHdrFragment(offset=0, m=1, id=1, nh=17) / one[:48]
    other = IPv6(src=PEER, dst=OURS) / IPv6ExtHdrFragment(offset=6, m=0, id=2, nh=17) / one[48:]
    assert give(host, first) is None and give(host, other) is None


def test_sixty_seconds() -> None:
    assert REASSEMBLY_NS == 60 * S


def test_a_joined_packet_has_the_header_of_its_first_fragment() -> None:
    """Whatever stands before the others. [RFC 8200 4.5]"""
    data = bytes(UDP(sport=1, dport=2, len=108) / bytes(100))
    ip = Ipv6Repr(A, B, 17, len(data), hop_limit=50, traffic_class=0x28)
    first, second = cut(ip, data, 112, 9)
    other = bytearray(second)
    other[0], other[7] = 0x6C, 9
    for packets in ((first, bytes(other)), (bytes(other), first)):
        host = known()
        joined = [give(host, packet) for packet in packets][-1]
        assert isinstance(joined, Received)
        head = Ipv6Repr.parse(joined.packet)
        assert (head.hop_limit, head.traffic_class) == (50, 0x28)


def test_a_fragment_that_is_given_up_is_quoted_whole() -> None:
    """As any other packet. [RFC 4443 2.4 c]"""
    host = known()
    first = IPv6(src=PEER, dst=OURS) / IPv6ExtHdrFragment(m=1, id=3, nh=17) / bytes(range(200))
    give(host, first)
    host.advance(2 * S + REASSEMBLY_NS)
    [reply] = said(host)
    assert bytes(reply)[48:] == bytes(first)


@pytest.mark.parametrize("protocol", [17, 132])
def test_no_error_about_a_frame_to_a_group(protocol: int) -> None:
    """It is dropped, as with IPv4. [RFC 4443 2.4 e] [RFC 1122 3.3.6]"""
    host = known()
    packet = IPv6(src=PEER, dst=OURS, nh=protocol) / bytes(8)
    for to in ("333300000001", "ffffffffffff"):
        with pytest.raises(ParseError, match="ipv6_link_group"):
            give(host, packet, to=bytes.fromhex(to))
    assert sent(host) == []


def test_nothing_comes_from_an_address_of_ipv4() -> None:
    """To a socket of both families it would look like the local host. [RFC 6890 2.2.3]"""
    host = known()
    for source in ("::ffff:127.0.0.1", "::ffff:10.0.0.1"):
        with pytest.raises(ParseError, match="ipv6_source"):
            give(host, IPv6(src=source, dst=OURS) / UDP(sport=1, dport=2))


def test_every_report_keeps_a_path_small_for_ten_minutes() -> None:
    """The time counts from the last one, not from the first. [RFC 8201 4]"""
    host = make_host()
    too_big(host, 1400, 10 * S)
    too_big(host, 1400, 600 * S)
    assert host.path_mtu(A, 1199 * S) == 1400
    too_big(host, 1450, 1199 * S)
    assert host.path_mtu(A, 1798 * S) == 1400
    assert host.path_mtu(A, 1799 * S) == 1500
