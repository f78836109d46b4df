"""scapy as the judge of every header, both ways: what it writes we read to the same fields, and
what we write it reads to the same fields and would have written so itself, checksums included.
Values are hypothesis's; option lists come in every order.
"""

from __future__ import annotations

import sys
import warnings
from itertools import permutations
from pathlib import Path
from random import Random
from socket import inet_ntoa

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tcp_segments import TcpRepr, parse_options

from leulo.net.icmp import parse_error
from leulo.net.wire import dhcp
from leulo.net.wire.arp import ArpRepr
from leulo.net.wire.dhcp import DhcpRepr
from leulo.net.wire.ethernet import EthernetRepr
from leulo.net.wire.icmp import IcmpRepr
from leulo.net.wire.icmpv6 import Icmpv6Repr
from leulo.net.wire.ipv4 import Ipv4Repr
from leulo.net.wire.ipv6 import FragmentRepr, Ipv6Repr, walk
from leulo.net.wire.ndp import NeighbourRepr, PrefixRepr, RouterRepr
from leulo.net.wire.tcp import OPTION_SACK
from leulo.net.wire.udp import UdpRepr
from leulo.tcp import options as engine_options

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tcp"))

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from scapy.layers.dhcp import BOOTP, DHCP
    from scapy.layers.inet import ICMP, IP, TCP, UDP
    from scapy.layers.inet6 import (
        ICMPv6DestUnreach,
        ICMPv6EchoReply,
        ICMPv6EchoRequest,
        ICMPv6ND_NA,
        ICMPv6ND_NS,
        ICMPv6ND_RA,
        ICMPv6NDOptDstLLAddr,
        ICMPv6NDOptMTU,
        ICMPv6NDOptPrefixInfo,
        ICMPv6NDOptSrcLLAddr,
        ICMPv6PacketTooBig,
        ICMPv6ParamProblem,
        ICMPv6TimeExceeded,
        IPv6,
        IPv6ExtHdrDestOpt,
        IPv6ExtHdrFragment,
        IPv6ExtHdrHopByHop,
        PadN,
        RouterAlert,
    )
    from scapy.layers.l2 import ARP, Ether

A, B = bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2))
A6, B6 = (bytes.fromhex("fd00" + "00" * 13 + f"0{n}") for n in (1, 2))
TEXT = {A: "10.0.0.1", B: "10.0.0.2", A6: "fd00::1", B6: "fd00::2"}
MAC = bytes.fromhex("020000000001")

u8, u16, u32 = st.integers(0, 0xFF), st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)
ipv4 = st.binary(min_size=4, max_size=4)
unicast_mac = st.binary(min_size=6, max_size=6).filter(lambda m: not m[0] & 1 and any(m))
payload = st.binary(max_size=64)


def colons(mac: bytes) -> str:
    return mac.hex(":")


def rebuilt(layer: object, *fields: str) -> bytes:
    """What scapy writes when it works these fields out by itself."""
    copy = layer.copy()  # type: ignore[attr-defined]
    for name in fields:
        part: object = copy
        while not isinstance(part, type(None)) and name not in part.fields:  # type: ignore[attr-defined]
            part = part.payload  # type: ignore[attr-defined]
        delattr(part, name)
    return bytes(copy)


# ---------------------------------------------------------------- IPv4 and what it carries


@given(unicast_mac, unicast_mac, st.integers(0x600, 0xFFFF))
def test_ethernet_of_scapy(destination: bytes, source: bytes, kind: int) -> None:
    frame = bytes(Ether(dst=colons(destination), src=colons(source), type=kind))
    assert EthernetRepr.parse(frame) == EthernetRepr(destination, source, kind)


@given(st.sampled_from((1, 2)), unicast_mac, ipv4, unicast_mac, ipv4)
def test_arp_of_scapy(kind: int, sha: bytes, spa: bytes, tha: bytes, tpa: bytes) -> None:
    packet = ARP(op=kind, hwsrc=colons(sha), psrc=inet_ntoa(spa), hwdst=colons(tha),
                 pdst=inet_ntoa(tpa))  # fmt: skip
    assert ArpRepr.parse(bytes(packet)) == ArpRepr(kind, sha, spa, tha, tpa)
    assert ArpRepr(kind, sha, spa, tha, tpa).emit() == bytes(packet)


@settings(max_examples=150)
@given(u8, u16, u8, u8, st.integers(0, 180), st.booleans(), st.booleans(), st.integers(0, 10))
def test_ipv4_of_scapy(
    tos: int, ident: int, ttl: int, protocol: int, units: int, more: bool, frozen: bool, nops: int
) -> None:
    data = bytes(64)
    options = b"\1" * (4 * nops)
    flags = (1 if more else 0) | (2 if frozen else 0)
    packet = IP(
        src="10.0.0.1", dst="10.0.0.2", tos=tos, id=ident, ttl=ttl, proto=protocol, frag=units,
        flags=flags, options=options,
    ) / data  # fmt: skip
    wanted = Ipv4Repr(
        A, B, protocol, 64, ttl, tos, ident, frozen, more, 8 * units, options=options
    )  # fmt: skip
    assert Ipv4Repr.parse(bytes(packet)) == wanted
    assert wanted.emit() + data == bytes(packet)


@given(st.sampled_from((3, 4, 5, 11, 12)), st.integers(0, 5), u16, u16, u16, u32)
def test_icmp_errors_of_scapy(
    kind: int, code: int, mtu: int, here: int, there: int, seq: int
) -> None:
    quoted = IP(src="10.0.0.1", dst="10.0.0.2") / TCP(sport=here, dport=there, seq=seq)
    message = ICMP(type=kind, code=code, nexthopmtu=mtu) if kind == 3 and code == 4 else ICMP(
        type=kind, code=code)  # fmt: skip
    text = bytes(IP(src="10.0.0.9", dst="10.0.0.1") / message / bytes(quoted))[20:]
    parsed = IcmpRepr.parse(text)
    assert (parsed.kind, parsed.code) == (kind, code)
    assert IcmpRepr.parse(parsed.emit()) == parsed
    error = parse_error(parsed)
    assert (error.local, error.remote, error.sequence) == ((A, here), (B, there), seq)
    if error.is_too_big and mtu:
        assert error.mtu == mtu


@given(st.sampled_from((0, 8)), u16, u16, payload)
def test_echoes_both_ways(kind: int, ident: int, number: int, data: bytes) -> None:
    judge = bytes(ICMP(type=kind, id=ident, seq=number) / data)
    ours = IcmpRepr(kind, 0, ident << 16 | number, data)
    assert IcmpRepr.parse(judge) == ours
    assert ours.emit() == judge


@given(u16, u16, payload, st.booleans())
def test_udp_both_ways_over_both(here: int, there: int, data: bytes, six: bool) -> None:
    source, destination = (A6, B6) if six else (A, B)
    ip = (IPv6 if six else IP)(src=TEXT[source], dst=TEXT[destination])
    judge = bytes(ip / UDP(sport=here, dport=there) / data)[40 if six else 20 :]
    ours = UdpRepr(here, there, len(data))
    assert UdpRepr.parse(judge, source, destination) == ours
    assert ours.emit(source, destination, data) == judge


# ---------------------------------------------------------------- TCP

SCAPY = {
    "MSS": ("MSS", 1460),
    "WScale": ("WScale", 7),
    "SAckOK": ("SAckOK", b""),
    "Timestamp": ("Timestamp", (0x12345678, 0x9ABCDEF0)),
    "SAck": ("SAck", (1000, 2000)),
    "NOP": ("NOP", None),
}


def test_tcp_options_in_every_order() -> None:
    """All 720 orders of the six that scapy writes, read by the codec and by the engine."""
    for order in permutations(SCAPY.values()):
        header = bytes(TCP(flags="S", options=list(order)))
        text = header[20:]
        parsed = TcpRepr.parse(header, A, B, verify_checksum=False)
        seen = engine_options.parse(bytes(54) + text, 54, 54 + len(text))
        for mss, scale, permitted, stamp, sacks in (
            (parsed.mss, parsed.window_scale, parsed.is_sack_permitted, parsed.timestamps,
             parsed.sack_blocks),
            (seen.mss, seen.wscale, seen.is_sack_permitted, (seen.tsval, seen.tsecr), seen.sacks),
        ):  # fmt: skip
            assert (mss, scale, permitted) == (1460, 7, True), order
            assert stamp == (0x12345678, 0x9ABCDEF0), order
            assert sacks == [(1000, 2000)], order


option_sets = st.lists(
    st.one_of(
        u16.map(lambda n: ("MSS", n)),
        st.integers(0, 14).map(lambda n: ("WScale", n)),
        st.just(("SAckOK", b"")),
        st.tuples(u32, u32).map(lambda pair: ("Timestamp", pair)),
        st.lists(st.tuples(u32, u32), min_size=1, max_size=3).map(
            lambda blocks: ("SAck", tuple(edge for block in blocks for edge in block))
        ),
        st.just(("NOP", None)),
    ),
    max_size=5,
    unique_by=lambda option: option[0] if option[0] != "NOP" else object(),
)  # fmt: skip


@settings(max_examples=200)
@given(option_sets, u16, u16, u32, u32, st.integers(0, 0x1FF), u16, u16, payload, st.booleans())
def test_tcp_of_scapy_over_both(
    options: list[tuple[str, object]], here: int, there: int, seq: int, ack: int, flags: int,
    window: int, urgent: int, data: bytes, six: bool,
) -> None:  # fmt: skip
    source, destination = (A6, B6) if six else (A, B)
    ip = (IPv6 if six else IP)(src=TEXT[source], dst=TEXT[destination])
    packet = ip / TCP(
        sport=here, dport=there, seq=seq, ack=ack, flags=flags, window=window, urgptr=urgent,
        options=options,
    ) / data  # fmt: skip
    whole = bytes(packet)[40 if six else 20 :]
    if whole[12] >> 4 > 15 or len(whole) - len(data) > 60:
        return
    parsed = TcpRepr.parse(whole, source, destination)
    assert (parsed.source_port, parsed.destination_port) == (here, there)
    assert (parsed.sequence, parsed.acknowledgment, parsed.flags) == (seq, ack, flags)
    assert (parsed.window, parsed.urgent) == (window, urgent)
    wanted = dict(options)
    assert parsed.mss == wanted.get("MSS")
    assert parsed.window_scale == wanted.get("WScale")
    assert parsed.timestamps == wanted.get("Timestamp")
    flat = tuple(n for block in parsed.sack_blocks for n in block)
    assert flat == tuple(wanted.get("SAck", ()))  # type: ignore[arg-type]
    again = TcpRepr.parse(parsed.emit(source, destination, data), source, destination)
    assert again == parsed


@given(u16, st.integers(-1, 14), st.booleans(), st.one_of(st.none(), st.tuples(u32, u32)))
def test_options_of_the_engines_syn(
    mss: int, scale: int, has_sack: bool, stamp: tuple[int, int] | None
) -> None:
    text = engine_options.emit_syn(mss, scale, has_sack, stamp)
    assert len(text) % 4 == 0
    judge = TCP(bytes(12) + bytes(((5 + len(text) // 4) << 4,)) + bytes(7) + text)
    told = dict(judge.options)
    assert told["MSS"] == mss
    assert told.get("WScale", -1) == scale
    assert ("SAckOK" in told) == has_sack
    assert told.get("Timestamp") == stamp


@given(st.lists(st.tuples(u32, u32), min_size=1, max_size=3), u32, u32)
def test_options_of_the_engines_segments(
    blocks: list[tuple[int, int]], tsval: int, tsecr: int
) -> None:
    text = engine_options.emit_timestamps(tsval, tsecr) + engine_options.emit_sack(blocks)
    judge = TCP(bytes(12) + bytes(((5 + len(text) // 4) << 4,)) + bytes(7) + text)
    told = dict(judge.options)
    assert told["Timestamp"] == (tsval, tsecr)
    assert told["SAck"] == tuple(n for block in blocks for n in block)
    assert parse_options(text)[-1][0] == OPTION_SACK


@pytest.mark.parametrize("knobs", ["linux", "bare", "no_sack", "no_timestamps"])
def test_scapy_would_have_written_every_frame_of_a_bad_exchange(knobs: str) -> None:
    """Lost, repeated and overtaken segments, so that there are SACK and DSACK blocks, probes,
    resets and FINs: scapy finds the same lengths and checksums for each."""
    from tcp_world import MS, Receiver, Sender, Wire, connect, dial, make_stack, pump
    from test_streams import KNOBS

    stacks = [make_stack(n, checksum=False, **KNOBS[knobs]) for n in (1, 2)]
    wire = Wire(*stacks, seed=3, loss=0.05, duplicate=0.05, jitter_ns=6 * MS)
    client, server, _ = connect(wire)
    data = Random(1).randbytes(60_000)
    actors = [Sender(client, data), Receiver(server), Sender(server, data), Receiver(client)]
    assert pump(wire, actors)
    dial(wire.stacks[0], wire.stacks[1].address, 81)  # refused by a reset
    wire.run(20_000 * MS)
    kinds = set()
    for _, _, frame in wire.log:
        ether = Ether(frame[10:])
        assert bytes(ether) == frame[10:]
        if IP in ether:
            fields = ("chksum", "len")
            assert rebuilt(ether[IP], *fields) == bytes(ether[IP])
            segment = ether[IP].copy()
            del segment[TCP].chksum
            del segment[TCP].dataofs
            assert bytes(segment) == bytes(ether[IP])
            kinds |= {name for name, _ in ether[TCP].options} | {str(ether[TCP].flags)}
    assert {"S", "SA", "A", "RA"} <= kinds
    assert any("F" in kind for kind in kinds if kind.isupper())
    assert ("SAck" in kinds) == (knobs in ("linux", "no_timestamps"))


# ---------------------------------------------------------------- IPv6 and what it carries


@given(u8, st.integers(0, 0xFFFFF), u8, u8, payload)
def test_ipv6_both_ways(traffic: int, label: int, protocol: int, hops: int, data: bytes) -> None:
    judge = bytes(IPv6(src="fd00::1", dst="fd00::2", tc=traffic, fl=label, nh=protocol, hlim=hops)
                  / data)  # fmt: skip
    ours = Ipv6Repr(A6, B6, protocol, len(data), hops, traffic, label)
    assert Ipv6Repr.parse(judge) == ours
    assert ours.emit() + data == judge


@given(u8, st.integers(0, 0x1FFF), st.booleans(), u32)
def test_fragment_header_both_ways(kind: int, units: int, more: bool, ident: int) -> None:
    judge = bytes(IPv6ExtHdrFragment(nh=kind, offset=units, m=int(more), id=ident))
    ours = FragmentRepr(kind, 8 * units, more, ident)
    assert FragmentRepr.parse(judge) == ours
    assert ours.emit() == judge


@given(st.lists(st.sampled_from(("pad", "alert", "dest")), max_size=5), u16)
def test_extension_headers_of_scapy_are_walked(kinds: list[str], port: int) -> None:
    packet = IPv6(src="fd00::1", dst="fd00::2")
    if "alert" in kinds:
        packet = packet / IPv6ExtHdrHopByHop(options=[RouterAlert()])
    for kind in kinds:
        if kind != "alert":
            options = [PadN(optdata=bytes(4))] if kind == "pad" else []
            packet = packet / IPv6ExtHdrDestOpt(options=options)
    data = bytes(packet / UDP(sport=port, dport=9) / b"x")
    upper = walk(data, len(data))
    assert upper.protocol == 17
    assert data[upper.at : upper.at + 2] == port.to_bytes(2, "big")


@given(st.booleans(), u16, u16, payload)
def test_icmpv6_echoes_both_ways(reply: bool, ident: int, number: int, data: bytes) -> None:
    layer = ICMPv6EchoReply if reply else ICMPv6EchoRequest
    judge = bytes(IPv6(src="fd00::1", dst="fd00::2") / layer(id=ident, seq=number, data=data))[40:]
    ours = Icmpv6Repr(129 if reply else 128, 0, ident << 16 | number, data)
    assert Icmpv6Repr.parse(judge, A6, B6) == ours
    assert ours.emit(A6, B6) == judge


@given(st.integers(0, 3), st.integers(0, 6), u32)
def test_icmpv6_errors_both_ways(which: int, code: int, word: int) -> None:
    layer = (
        ICMPv6DestUnreach(code=code), ICMPv6PacketTooBig(code=code, mtu=word),
        ICMPv6TimeExceeded(code=code & 1), ICMPv6ParamProblem(code=code & 1, ptr=word),
    )[which]  # fmt: skip
    quoted = bytes(IPv6(src="fd00::2", dst="fd00::1") / TCP(sport=1, dport=2))
    judge = bytes(IPv6(src="fd00::1", dst="fd00::2") / layer / quoted)[40:]
    parsed = Icmpv6Repr.parse(judge, A6, B6)
    assert (parsed.kind, parsed.payload) == (which + 1, quoted)
    if which in (1, 3):
        assert parsed.rest == word
    assert parsed.emit(A6, B6) == judge


@given(unicast_mac, st.booleans(), st.booleans(), st.booleans(), st.booleans())
def test_neighbour_messages_both_ways(
    mac: bytes, is_router: bool, is_solicited: bool, is_override: bool, asks: bool
) -> None:
    head = IPv6(src="fd00::1", dst="fd00::2", hlim=255)
    if asks:
        judge = bytes(head / ICMPv6ND_NS(tgt="fd00::2") / ICMPv6NDOptSrcLLAddr(lladdr=colons(mac)))
        ours = NeighbourRepr(135, B6, mac)
    else:
        judge = bytes(
            head / ICMPv6ND_NA(tgt="fd00::2", R=int(is_router), S=int(is_solicited),
                               O=int(is_override)) / ICMPv6NDOptDstLLAddr(lladdr=colons(mac))
        )  # fmt: skip
        ours = NeighbourRepr(136, B6, mac, is_router, is_solicited, is_override)
    assert NeighbourRepr.parse(Icmpv6Repr.parse(judge[40:], A6, B6)) == ours
    assert ours.emit().emit(A6, B6) == judge[40:]


@given(u8, u16, u32, u32, unicast_mac, u32, st.integers(0, 128), st.booleans(), st.booleans(),
       u32, u32)  # fmt: skip
def test_router_advertisements_of_scapy(
    hops: int, life: int, reachable: int, retransmit: int, mac: bytes, mtu: int, length: int,
    on_link: bool, autonomous: bool, valid: int, preferred: int,
) -> None:  # fmt: skip
    packet = (
        IPv6(src="fd00::1", dst="fd00::2", hlim=255)
        / ICMPv6ND_RA(chlim=hops, routerlifetime=life, reachabletime=reachable,
                      retranstimer=retransmit, M=0, O=0, prf=0)
        / ICMPv6NDOptSrcLLAddr(lladdr=colons(mac))
        / ICMPv6NDOptMTU(mtu=mtu)
        / ICMPv6NDOptPrefixInfo(prefix="2001:db8::", prefixlen=length, L=int(on_link),
                                A=int(autonomous), validlifetime=valid,
                                preferredlifetime=preferred)
    )  # fmt: skip
    router = RouterRepr.parse(Icmpv6Repr.parse(bytes(packet)[40:], A6, B6))
    prefix = bytes.fromhex("20010db8") + bytes(12)
    assert (router.hop_limit, router.lifetime_s) == (hops, life)
    assert (router.reachable_ms, router.retransmit_ms) == (reachable, retransmit)
    assert (router.mac, router.mtu) == (mac, mtu)
    assert router.prefixes == [PrefixRepr(prefix, length, on_link, autonomous, valid, preferred)]
    assert RouterRepr.parse(Icmpv6Repr.parse(router.emit().emit(A6, B6), A6, B6)) == router


# ---------------------------------------------------------------- DHCP


@settings(max_examples=150)
@given(
    st.sampled_from((1, 2)), st.integers(1, 8), u32, u16, st.booleans(), ipv4, ipv4, ipv4, u32,
    st.integers(0, 32), st.lists(ipv4, min_size=1, max_size=4), st.permutations(range(5)),
)  # fmt: skip
def test_dhcp_both_ways_with_options_in_any_order(
    op: int, kind: int, xid: int, seconds: int, broadcast: bool, yours: bytes, server: bytes,
    wanted: bytes, lease: int, prefix: int, names: list[bytes], order: list[int],
) -> None:  # fmt: skip
    mask = dhcp.mask_of(prefix)
    options = [
        ("message-type", kind),
        ("subnet_mask", inet_ntoa(mask)),
        ("lease_time", lease),
        ("requested_addr", inet_ntoa(wanted)),
        ("name_server", *map(inet_ntoa, names)),
    ]
    packet = BOOTP(
        op=op, chaddr=MAC, xid=xid, secs=seconds, flags=0x8000 if broadcast else 0,
        yiaddr=inet_ntoa(yours), siaddr=inet_ntoa(server),
    ) / DHCP(options=[*(options[n] for n in order), "end"])  # fmt: skip
    message = DhcpRepr.parse(bytes(packet))
    assert (message.kind, message.transaction, message.mac) == (kind, xid, MAC)
    assert (message.seconds, message.is_broadcast) == (seconds, broadcast)
    assert (message.your_address, message.next_server) == (yours, server)
    assert (message.prefix_length, message.lease_s) == (prefix, lease)
    assert message.requested_address == wanted
    assert message.options[dhcp.OPTION_DNS] == b"".join(names)
    judge = BOOTP(message.emit())
    told = {o[0]: o[1:] for o in judge[DHCP].options if isinstance(o, tuple)}
    assert told["message-type"] == (kind,)
    assert told["name_server"] == tuple(map(inet_ntoa, names))
    assert (judge.xid, judge.secs, judge.yiaddr) == (xid, seconds, inet_ntoa(yours))
