"""ICMP of a host: answers pings, reports what it may, believes only what it can read."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, ICMPerror, IPerror, TCPerror

from leulo.net.icmp import IcmpHost, RateLimit, may_report, parse_error
from leulo.net.wire import ParseError
from leulo.net.wire.icmp import DESTINATION_UNREACHABLE, PORT_UNREACHABLE, IcmpRepr
from leulo.units import NS_PER_S

ME = bytes((10, 0, 2, 15))
PEER = bytes((10, 0, 2, 2))


def test_echo_request_is_answered_with_the_same_data() -> None:
    request = bytes(ICMP(type=8, id=77, seq=3) / (b"hello" * 20))
    reply, error = IcmpHost().input(request, False, 0)
    assert error is None
    judge = ICMP(reply)
    assert (judge.type, judge.code, judge.id, judge.seq) == (0, 0, 77, 3)
    assert bytes(judge.payload) == b"hello" * 20
    shown = judge.chksum
    del judge.chksum
    assert ICMP(bytes(judge)).chksum == shown


def test_echo_reply_differs_in_the_type_alone() -> None:
    """[RFC 792 echo]; nmap tells hosts apart by the code."""
    reply, _ = IcmpHost().input(bytes(ICMP(type=8, code=9, id=1, seq=2) / b"x"), False, 0)
    assert (ICMP(reply).type, ICMP(reply).code) == (0, 9)


@pytest.mark.parametrize(
    ("message", "to_broadcast", "reason"),
    [
        (bytes(ICMP(type=8)), True, "icmp_broadcast_echo"),
        (bytes(ICMP(type=0)), True, "icmp_kind"),
        (bytes(ICMP(type=13, ts_ori=1, ts_rx=2, ts_tx=3)), False, "icmp_kind"),
        (bytes(ICMP(type=8))[:7], False, "icmp_short"),
        (bytes(ICMP(type=8))[:2] + b"\0\0" + bytes(4), False, "icmp_checksum"),
        (bytes(ICMP(type=3, code=3) / b"short"), False, "icmp_quote"),
    ],
)
def test_other_messages_are_dropped_with_a_reason(
    message: bytes, to_broadcast: bool, reason: str
) -> None:
    with pytest.raises(ParseError) as caught:
        IcmpHost().input(message, to_broadcast, 0)
    assert caught.value.reason == reason


def test_an_echo_reply_is_neither_answered_nor_an_error() -> None:
    assert IcmpHost().input(bytes(ICMP(type=0, id=7)), False, 0) == (None, None)


def test_echo_replies_are_limited_in_rate() -> None:
    host = IcmpHost()
    request = bytes(ICMP(type=8))
    answered = 0
    for _ in range(1000):
        try:
            host.input(request, False, 0)
            answered += 1
        except ParseError as error:
            assert error.reason == "icmp_limited"
    assert 0 < answered < 1000
    assert host.input(request, False, NS_PER_S)[0]


def test_rate_limit_gives_burst_then_rate() -> None:
    limit = RateLimit(per_second=10, burst=3)
    assert [limit.allows(0) for _ in range(4)] == [True, True, True, False]
    assert [limit.allows(NS_PER_S // 10) for _ in range(2)] == [True, False]
    assert sum(limit.allows(100 * NS_PER_S) for _ in range(10)) == 3
    restored = RateLimit(per_second=10, burst=3)
    restored.load(limit.save())
    assert not restored.allows(100 * NS_PER_S)


def test_port_unreachable_quotes_the_packet() -> None:
    packet = bytes(IP(src="10.0.2.2", dst="10.0.2.15") / UDP(sport=5, dport=9) / bytes(1000))
    message = IcmpHost().error(DESTINATION_UNREACHABLE, PORT_UNREACHABLE, packet, False, 0)
    assert message is not None
    judge = ICMP(message)
    assert (judge.type, judge.code) == (3, 3)
    assert judge[IPerror].dst == "10.0.2.15"
    assert message[8:] == packet[: len(message) - 8]
    assert len(message) + 20 <= 576


def test_quote_leaves_out_link_padding() -> None:
    packet = bytes(IP(src="10.0.2.2", dst="10.0.2.15") / UDP(sport=5, dport=9))
    message = IcmpHost().error(3, 3, packet + bytes(18), False, 0)
    assert message is not None
    assert message[8:] == packet


BASE = {"src": "10.0.2.2", "dst": "10.0.2.15"}


@pytest.mark.parametrize(
    ("packet", "link_broadcast", "may"),
    [
        (IP(**BASE) / UDP(), False, True),
        (IP(**BASE) / ICMP(type=8), False, True),
        (IP(**BASE) / UDP(), True, False),
        (IP(**BASE) / ICMP(type=3), False, False),
        (IP(**BASE) / ICMP(type=11), False, False),
        (IP(**BASE) / ICMP(type=200), False, False),
        (IP(**BASE, frag=5) / bytes(16), False, False),
        (IP(src="10.0.2.2", dst="255.255.255.255") / UDP(), False, False),
        (IP(src="10.0.2.2", dst="224.0.0.9") / UDP(), False, False),
        (IP(src="0.0.0.0", dst="10.0.2.15") / UDP(), False, False),
        (IP(src="224.0.0.9", dst="10.0.2.15") / UDP(), False, False),
        (IP(src="127.0.0.1", dst="10.0.2.15") / UDP(), False, False),
    ],
)
def test_errors_only_about_what_rfc_1122_allows(
    packet: IP, link_broadcast: bool, may: bool
) -> None:
    assert may_report(bytes(packet), link_broadcast) is may
    sent = IcmpHost().error(3, 3, bytes(packet), link_broadcast, 0)
    assert (sent is not None) is may


def test_errors_are_limited_in_rate() -> None:
    host = IcmpHost()
    packet = bytes(IP(**BASE) / UDP())
    sent = sum(host.error(3, 3, packet, False, 0) is not None for _ in range(500))
    assert 0 < sent < 500
    assert host.counters()["icmp_limited"] == 500 - sent


def quoting(kind: int, code: int, rest: int, quoted: bytes) -> IcmpRepr:
    return IcmpRepr.parse(IcmpRepr(kind, code, rest, quoted).emit())


def test_error_about_tcp_names_connection_and_sequence() -> None:
    ours = bytes(IP(src="10.0.2.15", dst="1.2.3.4", ttl=1) / TCP(sport=80, dport=4000, seq=123456))
    error = parse_error(quoting(3, 1, 0, ours[:28]))
    assert (error.kind, error.code, error.protocol) == (3, 1, 6)
    assert error.local == (ME, 80)
    assert error.remote == (bytes((1, 2, 3, 4)), 4000)
    assert error.sequence == 123456
    assert (error.mtu, error.is_hard, error.is_too_big) == (0, False, False)


@pytest.mark.parametrize(("told", "mtu"), [(1400, 1400), (0, 1492)])
def test_packet_too_big_gives_the_mtu_or_the_next_plateau(told: int, mtu: int) -> None:
    ours = bytes(IP(src="10.0.2.15", dst="1.2.3.4") / TCP(seq=1) / bytes(1460))
    error = parse_error(quoting(3, 4, told, ours[:28]))
    assert error.is_too_big
    assert error.mtu == mtu


def test_error_about_a_later_fragment_is_not_readable() -> None:
    ours = bytes(IP(src="10.0.2.15", dst="1.2.3.4", frag=10, proto=6) / bytes(64))
    with pytest.raises(ParseError, match="icmp_quote"):
        parse_error(quoting(11, 1, 0, ours))


def test_scapys_own_error_is_read() -> None:
    inner = IPerror(src="10.0.2.15", dst="1.2.3.4") / TCPerror(sport=80, dport=9, seq=5)
    error = parse_error(IcmpRepr.parse(bytes(ICMP(type=11, code=0) / inner)))
    assert (error.kind, error.local[1], error.remote[1], error.sequence) == (11, 80, 9, 5)
    assert ICMPerror is not None


@settings(max_examples=200)
@given(st.integers(0, 20), st.integers(0, 15), st.binary(max_size=80), st.booleans())
def test_any_message_is_answered_read_or_dropped(
    kind: int, code: int, payload: bytes, broadcast: bool
) -> None:
    host = IcmpHost()
    message = IcmpRepr(kind, code, 0, payload).emit()
    try:
        reply, error = host.input(message, broadcast, 0)
        assert (reply is None) != (error is None) or (kind == 0 and not broadcast)
    except ParseError as dropped:
        assert dropped.reason.startswith("icmp_")
    host.error(3, 3, payload, broadcast, 0)
