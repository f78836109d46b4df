"""Header codecs against scapy as the judge, and against anything at all as input."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import (
    ICMP,
    IP,
    TCP,
    UDP,
    IPOption_LSRR,
    IPOption_NOP,
    IPOption_RR,
    in4_chksum,
)
from scapy.layers.l2 import ARP, Ether
from scapy.utils import checksum as scapy_checksum
from tcp_segments import Option, TcpRepr, emit_options, parse_options

from leulo.net.wire import ParseError, tcp, vnet
from leulo.net.wire.arp import ArpRepr
from leulo.net.wire.ethernet import EthernetRepr
from leulo.net.wire.icmp import IcmpRepr
from leulo.net.wire.ipv4 import Ipv4Repr, has_source_route, parse_ipv4
from leulo.net.wire.udp import UdpRepr

A = bytes((10, 0, 0, 1))
B = bytes((10, 0, 0, 2))

u8 = st.integers(0, 0xFF)
u16 = st.integers(0, 0xFFFF)
u32 = st.integers(0, 0xFFFFFFFF)
address = st.binary(min_size=4, max_size=4)
unicast_mac = st.binary(min_size=6, max_size=6).filter(lambda m: not m[0] & 1 and any(m))
mac = st.binary(min_size=6, max_size=6)

tcp_options = st.lists(
    st.one_of(
        st.just((tcp.OPTION_NOP, b"")),
        st.tuples(st.sampled_from((2, 3, 4, 5, 8, 34, 69, 253)), st.binary(max_size=16)),
    ),
    max_size=8,
).filter(lambda options: len(emit_options(options)) <= tcp.MAX_OPTION_BYTES)


@given(mac, unicast_mac, st.integers(0x600, 0xFFFF))
def test_ethernet_round_trip(destination: bytes, source: bytes, ethertype: int) -> None:
    header = EthernetRepr(destination, source, ethertype)
    assert EthernetRepr.parse(header.emit() + b"payload") == header
    judge = Ether(header.emit())
    assert (judge.dst, judge.src, judge.type) == (
        destination.hex(":"),
        source.hex(":"),
        ethertype,
    )


@given(st.sampled_from((1, 2)), unicast_mac, address, mac, address)
def test_arp_round_trip(operation: int, sha: bytes, spa: bytes, tha: bytes, tpa: bytes) -> None:
    packet = ArpRepr(operation, sha, spa, tha, tpa)
    assert ArpRepr.parse(packet.emit() + bytes(18)) == packet
    judge = ARP(packet.emit())
    assert judge.op == operation
    assert (judge.hwsrc, parse_ipv4(judge.psrc)) == (sha.hex(":"), spa)
    assert (judge.hwdst, parse_ipv4(judge.pdst)) == (tha.hex(":"), tpa)


@given(
    address, address, u8, st.integers(0, 1400), u8, u8, u16, st.booleans(),
    st.sampled_from((b"", b"\x01" * 4, b"\x01" * 40)),
)  # fmt: skip
def test_ipv4_round_trip(
    source: bytes, destination: bytes, protocol: int, size: int, ttl: int, tos: int, ident: int,
    dont_fragment: bool, options: bytes,
) -> None:  # fmt: skip
    header = Ipv4Repr(
        source, destination, protocol, size, ttl, tos, ident, dont_fragment, options=options
    )
    emitted = header.emit()
    assert Ipv4Repr.parse(emitted + bytes(size) + b"padding") == header
    judge = IP(emitted)
    shown = judge.chksum
    del judge.chksum
    assert IP(bytes(judge)).chksum == shown
    assert (parse_ipv4(judge.src), parse_ipv4(judge.dst)) == (source, destination)
    assert (judge.ttl, judge.tos, judge.id, judge.proto) == (ttl, tos, ident, protocol)
    assert judge.len == len(emitted) + size


@given(u8, u8, u32, st.binary(max_size=100))
def test_icmp_round_trip(kind: int, code: int, rest: int, payload: bytes) -> None:
    message = IcmpRepr(kind, code, rest, payload)
    emitted = message.emit()
    assert IcmpRepr.parse(emitted) == message
    assert scapy_checksum(emitted) == 0
    if kind in (0, 8):  # of other kinds scapy wants a body
        judge = ICMP(emitted)
        assert (judge.type, judge.code, judge.id, judge.seq) == (
            kind,
            code,
            rest >> 16,
            rest & 0xFFFF,
        )


@given(u16, u16, st.binary(max_size=200))
def test_udp_round_trip(source_port: int, destination_port: int, payload: bytes) -> None:
    header = UdpRepr(source_port, destination_port, len(payload))
    datagram = header.emit(A, B, payload)
    assert UdpRepr.parse(datagram + b"pad", A, B) == header
    judge = IP(src="10.0.0.1", dst="10.0.0.2") / UDP(datagram)
    shown = judge[UDP].chksum
    assert shown != 0
    del judge[UDP].chksum
    assert IP(bytes(judge))[UDP].chksum == shown


@given(u16, u16, u32, u32, st.integers(0, 0x1FF), u16, u16, tcp_options, st.binary(max_size=64))
def test_tcp_round_trip(
    source_port: int, destination_port: int, sequence: int, acknowledgment: int, flags: int,
    window: int, urgent: int, options: list[Option], payload: bytes,
) -> None:  # fmt: skip
    header = TcpRepr(
        source_port, destination_port, sequence, acknowledgment, flags, window, urgent, options
    )
    segment = header.emit(A, B, payload)
    assert TcpRepr.parse(segment, A, B) == header
    packet = tcp.TcpPacket(segment)
    assert bytes(packet.payload) == payload
    judge = IP(src="10.0.0.1", dst="10.0.0.2", proto=6) / TCP(segment)
    assert (judge[TCP].seq, judge[TCP].ack, int(judge[TCP].flags)) == (
        sequence, acknowledgment, flags,
    )  # fmt: skip
    # As it stands: not all options that it shows can scapy write again.
    assert in4_chksum(6, judge, segment) == 0


@pytest.mark.parametrize("length", range(1, 17))
def test_a_sack_option_of_any_length_leaves_a_checksum_that_is_right(length: int) -> None:
    """Of four bytes scapy shows a number, and cannot write that again."""
    segment = TcpRepr(1, 2, options=[(tcp.OPTION_SACK, bytes(range(length)))]).emit(A, B)
    judge = IP(src="10.0.0.1", dst="10.0.0.2", proto=6) / TCP(segment)
    assert in4_chksum(6, judge, segment) == 0
    spoilt = segment[:-1] + bytes((segment[-1] ^ 1,))
    assert in4_chksum(6, judge, spoilt) != 0


def test_tcp_option_of_wrong_length_is_ignored_by_its_reader() -> None:
    header = TcpRepr(1, 2, options=[(tcp.OPTION_MSS, b"\x05"), (tcp.OPTION_SACK, b"123")])
    parsed = TcpRepr.parse(header.emit(A, B), A, B)
    assert parsed.mss is None
    assert parsed.sack_blocks == []


@pytest.mark.parametrize("options", ["02", "0204", "020405", "0201", "0800", "05ff0000"])
def test_tcp_options_that_run_over_are_refused(options: str) -> None:
    with pytest.raises(ParseError, match="tcp_options"):
        parse_options(bytes.fromhex(options))


def test_source_routes_are_found_behind_other_options() -> None:
    routed = IP(dst="1.2.3.4", options=[IPOption_NOP(), IPOption_LSRR(routers=["5.6.7.8"])])
    recorded = IP(dst="1.2.3.4", options=[IPOption_NOP(), IPOption_RR(routers=["5.6.7.8"])])
    assert has_source_route(bytes(routed)[20:])
    assert not has_source_route(bytes(recorded)[20:])
    assert has_source_route(b"\x07")  # cannot be walked: treated as the worst


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda p: p[:19], "ipv4_short"),
        (lambda p: b"\x65" + p[1:], "ipv4_version"),
        (lambda p: b"\x44" + p[1:], "ipv4_header_length"),
        (lambda p: p[:2] + b"\xff\xff" + p[4:], "ipv4_total_length"),
        (lambda p: p[:2] + b"\x00\x13" + p[4:], "ipv4_total_length"),
        (lambda p: p[:8] + b"\x01" + p[9:], "ipv4_checksum"),
    ],
)
def test_ipv4_bad_headers_have_reasons(change: Callable[[bytes], bytes], reason: str) -> None:
    good = Ipv4Repr(A, B, 6, 8).emit() + bytes(8)
    Ipv4Repr.parse(good)
    with pytest.raises(ParseError) as caught:
        Ipv4Repr.parse(change(good))
    assert caught.value.reason == reason


def test_ipv4_fragment_beyond_64k_is_refused() -> None:
    """The ping of death: the last fragment would end beyond the largest packet."""
    last = Ipv4Repr(A, B, 1, 1000, fragment_offset=65528).emit() + bytes(1000)
    with pytest.raises(ParseError, match="ipv4_fragment"):
        Ipv4Repr.parse(last)


PARSERS: dict[str, Callable[[bytes], object]] = {
    "ethernet": EthernetRepr.parse,
    "arp": ArpRepr.parse,
    "ipv4": lambda data: Ipv4Repr.parse(data, verify_checksum=False),
    "ipv4 quoted": lambda data: Ipv4Repr.parse_quoted(data, 0xFFFF, verify_checksum=False),
    "icmp": IcmpRepr.parse,
    "udp": lambda data: UdpRepr.parse(data, A, B, verify_checksum=False),
    "tcp": lambda data: TcpRepr.parse(data, A, B, verify_checksum=False),
    "vnet": lambda data: vnet.VnetRepr.parse(data, 60),
    "source route": has_source_route,
}


@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=300)
@given(data=st.binary(max_size=120))
def test_parsers_take_anything(name: str, data: bytes) -> None:
    for given_data in (data, memoryview(data)):
        try:
            PARSERS[name](given_data)  # type: ignore[arg-type]
        except ParseError as error:
            assert error.reason.isidentifier()


@settings(max_examples=300)
@given(data=st.binary(min_size=0, max_size=60), length=st.integers(5, 15))
def test_parsed_ipv4_and_tcp_emit_what_was_parsed(data: bytes, length: int) -> None:
    """For whatever parse accepts, emit and parse again give the same Repr."""
    raw = bytes((0x40 | length,)) + data[1:] if data else b""
    try:
        header = Ipv4Repr.parse_quoted(raw, 0xFFFF, verify_checksum=False)
    except ParseError:
        return
    assert Ipv4Repr.parse_quoted(header.emit() + raw[header.header_bytes :], 0xFFFF) == header


def test_addresses_as_text() -> None:
    assert parse_ipv4("10.0.0.1") == A
    for text in ("", "1.2.3", "1.2.3.4.5", "1.2.3.256", "1.2.3.-4", "1.2.3.x", "1.2.3.٣"):
        with pytest.raises(ValueError, match="is not an IPv4 address"):
            parse_ipv4(text)
