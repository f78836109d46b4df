"""Rules of a host (RFC 1122) that no other test shows.

docs/requirements names each of these tests beside the line that it holds.
"""

from __future__ import annotations

from random import Random

import pytest
from scapy.layers.inet import ICMP, IP, UDP, IPOption_Timestamp, fragment
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet, Raw

from leulo.net.icmp import parse_error
from leulo.net.reassembly import REASSEMBLY_NS
from leulo.net.wire.icmp import IcmpRepr
from leulo.net.wire.udp import UdpRepr
from leulo.stack import Stack, StackConfig
from leulo.tcp.errno import EADDRNOTAVAIL, ECONNREFUSED, EHOSTUNREACH
from leulo.tcp.socket import TcpSocket
from leulo.trace import Trace
from leulo.udp.socket import UdpSocket

MAC, PEER_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"
HERE, PEER = "10.0.0.1", "10.0.0.2"
ALL = "ff:ff:ff:ff:ff:ff"
S = 1_000_000_000


def make_host() -> Stack:
    """A stack that knows its neighbour."""
    config = StackConfig("host", bytes((2, 0, 0, 0, 0, 1)), bytes((10, 0, 0, 1)), 24)
    stack = Stack(config, Random(1).getrandbits, Trace())
    ask = ARP(op=1, hwsrc=PEER_MAC, psrc=PEER, pdst=HERE)
    stack.input([bytes(10) + bytes(Ether(src=PEER_MAC, dst=ALL) / ask)], 0)
    stack.drain(0)
    return stack


def give(stack: Stack, packet: Packet | bytes, to: str = MAC, now_ns: int = S) -> list[Packet]:
    """What it sends when it has got ``packet``."""
    header = Ether(src=PEER_MAC, dst=to, type=0x800)
    stack.input([bytes(10) + bytes(header) + bytes(packet)], now_ns)
    return sent(stack, now_ns)


def sent(stack: Stack, now_ns: int = S) -> list[Packet]:
    return [Ether(b"".join(frame)[10:]) for frame in stack.drain(now_ns)]


def open_socket(stack: Stack, port: int) -> UdpSocket:
    socket = stack.socket(2, 2)
    assert isinstance(socket, UdpSocket)
    assert socket.bind(bytes(4), port) == 0
    return socket


def datagram(**fields: object) -> Packet:
    return IP(src=PEER, dst=HERE, **fields) / UDP(sport=5, dport=53) / b"data"


def test_a_frame_to_all_with_a_packet_for_one_is_dropped() -> None:
    """[RFC 1122 3.3.6]"""
    stack = make_host()
    socket = open_socket(stack, 53)
    assert give(stack, datagram(), to=ALL) == []
    assert socket.recv(10) == -11
    assert stack.counters()["drop_ipv4_link_broadcast"] == 1
    give(stack, datagram())
    assert socket.recv(10) == b"data"


@pytest.mark.parametrize("ttl", [0, 1])
def test_a_packet_at_the_end_of_its_life_has_arrived(ttl: int) -> None:
    """[RFC 1122 3.2.1.7]"""
    stack = make_host()
    socket = open_socket(stack, 53)
    give(stack, datagram(ttl=ttl))
    assert socket.recv(10) == b"data"


def test_no_packet_leaves_without_life() -> None:
    """[RFC 1122 3.2.1.7]"""
    stack = make_host()
    [pong] = give(stack, IP(src=PEER, dst=HERE) / ICMP(type=8) / b"x")
    [told] = give(stack, IP(src=PEER, dst=HERE) / UDP(sport=5, dport=9))
    open_socket(stack, 7).sendto(b"x", bytes((10, 0, 0, 2)), 9)
    [out] = sent(stack)
    assert [packet[IP].ttl for packet in (pong, told, out)] == [64, 64, 64]
    assert [packet[IP].tos for packet in (pong, told, out)] == [0, 0, 0]


def test_unknown_options_are_passed_over() -> None:
    """[RFC 1122 3.2.1.8]"""
    stack = make_host()
    socket = open_socket(stack, 53)
    for option in (IPOption_Timestamp(), b"\x5e\x04\x00\x00", b"\x88\x04\x00\x01"):
        packet = IP(src=PEER, dst=HERE, options=[option]) if isinstance(option, Packet) else None
        if packet is None:
            packet = IP(src=PEER, dst=HERE, ihl=6)
            text = bytearray(bytes(IP(src=PEER, dst=HERE, ihl=6, len=36, proto=17)))
            text = text[:20] + bytearray(option)
            text[10:12] = b"\0\0"
            total = sum(int.from_bytes(text[at : at + 2], "big") for at in range(0, 24, 2))
            total = (total & 0xFFFF) + (total >> 16)
            text[10:12] = (~total & 0xFFFF).to_bytes(2, "big")
            give(stack, bytes(text) + bytes(datagram())[20:])
        else:
            give(stack, packet / UDP(sport=5, dport=53) / b"data")
        assert socket.recv(10) == b"data"


def test_an_unknown_protocol_is_told() -> None:
    """[RFC 1122 3.2.2.1]"""
    stack = make_host()
    [told] = give(stack, IP(src=PEER, dst=HERE, proto=200) / b"12345678")
    assert (told[ICMP].type, told[ICMP].code) == (3, 2)
    assert (told[IP].src, told[IP].dst) == (HERE, PEER)


def test_a_closed_port_is_told() -> None:
    """[RFC 1122 3.2.2.1, 4.1.3.1]"""
    packet = IP(src=PEER, dst=HERE) / UDP(sport=5, dport=9) / b"12345678"
    [told] = give(make_host(), packet)
    assert (told[ICMP].type, told[ICMP].code) == (3, 3)
    assert bytes(told[ICMP])[8:] == bytes(packet)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (0, 2, 1)])
def test_a_closed_port_is_told_of_a_datagram_in_fragments(order: tuple[int, ...]) -> None:
    """Whichever came last. [RFC 1122 3.2.2.1, 4.1.3.1]"""
    packet = IP(src=PEER, dst=HERE, id=7) / UDP(sport=5, dport=9) / bytes(2500)
    pieces = fragment(IP(bytes(packet)), 1000)
    stack = make_host()
    *quiet, [told] = [give(stack, pieces[at]) for at in order]
    assert quiet == [[], []]
    assert (told[ICMP].type, told[ICMP].code) == (3, 3)
    assert bytes(told[ICMP])[8:] == bytes(packet)[: len(bytes(told[ICMP])) - 8]


def test_fragments_without_a_rest_are_told_after_a_minute() -> None:
    """[RFC 1122 3.3.2]"""
    stack = make_host()
    pieces = fragment(IP(src=PEER, dst=HERE) / UDP(sport=5, dport=53) / bytes(2000), 1000)
    assert give(stack, pieces[0]) == []
    stack.advance(S + REASSEMBLY_NS - 1)
    assert sent(stack) == []
    stack.advance(S + REASSEMBLY_NS)
    [told] = [packet for packet in sent(stack) if ICMP in packet]
    assert (told[ICMP].type, told[ICMP].code) == (11, 1)
    assert give(stack, pieces[1]) == []
    stack.advance(S + 3 * REASSEMBLY_NS)
    assert not any(ICMP in packet for packet in sent(stack))  # the beginning never came


def test_a_whole_packet_of_the_largest_size_joins() -> None:
    """[RFC 1122 3.3.2]"""
    stack = make_host()
    socket = open_socket(stack, 53)
    data = bytes(range(250)) * 262 + b"endof"
    for piece in fragment(IP(src=PEER, dst=HERE) / UDP(sport=5, dport=53) / Raw(data), 1480):
        give(stack, piece)
    assert socket.recv(70_000) == data


def test_an_answer_comes_from_the_address_that_was_asked() -> None:
    """[RFC 1122 3.2.2.6]"""
    stack = make_host()
    data = bytes(range(256)) * 5
    [pong] = give(stack, IP(src=PEER, dst=HERE) / ICMP(type=8, id=3, seq=4) / Raw(data))
    assert (pong[IP].src, pong[IP].dst, pong[ICMP].type) == (HERE, PEER, 0)
    assert bytes(pong[ICMP].payload) == data


def test_what_is_asked_of_all_is_not_answered() -> None:
    """[RFC 1122 3.2.2, 3.2.2.6]"""
    stack = make_host()
    for to in ("255.255.255.255", "10.0.0.255"):
        assert give(stack, IP(src=PEER, dst=to) / ICMP(type=8), to=ALL) == []
        assert give(stack, IP(src=PEER, dst=to) / UDP(sport=5, dport=9), to=ALL) == []


@pytest.mark.parametrize("kind", [15, 17, 13, 200])
def test_other_questions_have_no_answer(kind: int) -> None:
    """[RFC 1122 3.2.2, 3.2.2.7, 3.2.2.9]"""
    stack = make_host()
    assert give(stack, IP(src=PEER, dst=HERE) / ICMP(type=kind) / bytes(12)) == []
    assert stack.counters()["drop_icmp_kind"] == 1


def test_errors_are_for_whom_they_quote() -> None:
    """[RFC 1122 3.2.2]"""
    stack = make_host()
    sockets = [open_socket(stack, port) for port in (7, 8)]
    for socket in sockets:
        socket.connect(bytes((10, 0, 0, 2)), 9)
    inner = IP(src=HERE, dst=PEER) / UDP(sport=8, dport=9)
    give(stack, IP(src=PEER, dst=HERE) / ICMP(type=3, code=3) / bytes(inner))
    assert [socket.take_error() for socket in sockets] == [0, ECONNREFUSED]


@pytest.mark.parametrize("kind", [3, 11, 12])
def test_every_error_is_read(kind: int) -> None:
    """[RFC 1122 3.2.2.1, 3.2.2.4, 3.2.2.5]"""
    inner = IP(src=HERE, dst=PEER) / UDP(sport=8, dport=9)
    error = parse_error(IcmpRepr.parse(bytes(ICMP(type=kind) / bytes(inner))))
    assert (error.kind, error.local[1]) == (kind, 8)


def test_a_neighbour_who_is_not_known_yet_is_no_error() -> None:
    """[RFC 1122 2.3.2.2, 2.4]"""
    stack = make_host()
    socket = open_socket(stack, 7)
    for data in (b"1", b"2"):
        assert socket.sendto(data, bytes((10, 0, 0, 3)), 9) == 1
    [question] = sent(stack)
    assert question[ARP].pdst == "10.0.0.3"
    answer = ARP(op=2, hwsrc=PEER_MAC, psrc="10.0.0.3", hwdst=MAC, pdst=HERE)
    stack.input([bytes(10) + bytes(Ether(src=PEER_MAC, dst=MAC) / answer)], S)
    assert [bytes(packet[UDP].payload)[:1] for packet in sent(stack)] == [b"1", b"2"]


def test_nothing_is_passed_on() -> None:
    """[RFC 1122 3.1, 3.2.1.3]"""
    stack = make_host()
    assert give(stack, IP(src=PEER, dst="10.0.0.9") / UDP() / b"x") == []
    assert stack.counters()["drop_ipv4_destination"] == 1


def test_a_loopback_address_stays_inside() -> None:
    """[RFC 1122 3.2.1.3]"""
    stack = make_host()
    socket, other = open_socket(stack, 7), open_socket(stack, 9)
    socket.sendto(b"x", bytes((127, 0, 0, 5)), 9)
    assert sent(stack) == []
    assert other.recv(10) == b"x"
    assert give(stack, IP(src="127.0.0.1", dst=HERE) / UDP(dport=9) / b"y") == []
    assert other.recv(10) == -11


def test_packets_of_802_3_are_not_ours() -> None:
    """[RFC 1122 2.3.3]"""
    stack = make_host()
    frame = Ether(src=PEER_MAC, dst=MAC, type=60)
    stack.input([bytes(10) + bytes(frame) + b"\xaa\xaa\x03\0\0\0\x08\0" + bytes(datagram())], S)
    assert stack.counters()["drop_ethernet_type"] == 1


def test_a_datagram_says_where_it_was_sent() -> None:
    """[RFC 1122 4.1.3.5]"""
    stack = make_host()
    socket = open_socket(stack, 53)
    give(stack, datagram())
    got = socket.receive()
    assert not isinstance(got, int)
    assert got.destination == (bytes((10, 0, 0, 1)), 53)


def test_only_a_packet_to_all_goes_in_a_frame_to_all() -> None:
    """[RFC 1122 3.3.6]"""
    stack = make_host()
    socket = open_socket(stack, 53)
    assert socket.setsockopt(1, 6, (1).to_bytes(4, "little")) == 0
    for address in (bytes((10, 0, 0, 2)), bytes((10, 0, 0, 255))):
        assert socket.sendto(b"x", address, 9) == 1
    sent = [bytes(b"".join(parts))[10:] for parts in stack.drain(S)]
    packets = {frame[30:34]: frame[:6] for frame in sent if frame[12:14] == b"\x08\x00"}
    assert packets[bytes((10, 0, 0, 255))] == b"\xff" * 6
    assert packets.get(bytes((10, 0, 0, 2)), b"") != b"\xff" * 6


def test_a_user_is_told_the_source_that_was_chosen() -> None:
    """[RFC 1122 4.1.3.5]"""
    socket = open_socket(make_host(), 53)
    assert socket.local == (bytes(4), 53)
    assert socket.connect(bytes((10, 0, 0, 2)), 9) == 0
    assert socket.local == (bytes((10, 0, 0, 1)), 53)


def test_a_datagram_from_port_zero_is_taken() -> None:
    """It has no port to be answered at. [RFC 768]"""
    stack = make_host()
    socket = open_socket(stack, 53)
    give(stack, IP(src="10.0.0.2", dst=HERE) / UDP(sport=0, dport=53) / b"x")
    assert socket.recvfrom(10) == (b"x", (bytes((10, 0, 0, 2)), 0), 1)
    assert socket.sendto(b"y", bytes((10, 0, 0, 2)), 0) == -22


@pytest.mark.parametrize("source", ["255.255.255.255", "10.0.0.255", "224.0.0.1"])
def test_a_datagram_from_nobody_is_dropped(source: str) -> None:
    """[RFC 1122 4.1.3.6]"""
    stack = make_host()
    socket = open_socket(stack, 53)
    assert give(stack, IP(src=source, dst=HERE) / UDP(sport=5, dport=53) / b"x") == []
    assert socket.recv(10) == -11


def test_a_datagram_with_a_wrong_checksum_is_dropped_and_one_without_is_not() -> None:
    """[RFC 768] [RFC 1122 4.1.3.4]"""
    stack = make_host()
    socket = open_socket(stack, 53)
    packet = datagram()
    packet[UDP].chksum = 0x1234
    assert give(stack, packet) == []
    assert socket.recv(10) == -11
    packet[UDP].chksum = 0
    del packet[IP].chksum
    give(stack, packet)
    assert socket.recv(10) == b"data"


def test_a_checksum_is_sent_and_never_as_zero() -> None:
    """[RFC 768] [RFC 1122 4.1.3.4]"""
    here, peer = bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2))
    seen = set()
    for number in range(65_536):
        text = UdpRepr(7, 9, 2).emit(here, peer, number.to_bytes(2, "big"))
        seen.add(text[6:8])
    assert b"\0\0" not in seen and b"\xff\xff" in seen


@pytest.mark.parametrize("length", [0, 7, 13])
def test_a_datagram_of_a_wrong_length_is_dropped(length: int) -> None:
    """[RFC 768]"""
    stack = make_host()
    socket = open_socket(stack, 53)
    packet = datagram()
    packet[UDP].len = length
    packet[UDP].chksum = 0
    assert give(stack, packet) == []
    assert socket.recv(10) == -11


def test_only_an_address_of_ours_is_bound() -> None:
    """[RFC 1122 3.2.1.3, 4.1.3.6]"""
    socket = make_host().socket(2, 2)
    assert isinstance(socket, UdpSocket)
    assert socket.bind(bytes((10, 0, 0, 9)), 7) == -EADDRNOTAVAIL
    assert socket.bind(bytes((10, 0, 0, 1)), 7) == 0


def test_a_users_tos_and_ttl_are_sent() -> None:
    """[RFC 1122 3.2.1.6, 3.2.1.7]"""
    stack = make_host()
    socket = stack.socket(2, 1)
    assert isinstance(socket, TcpSocket)
    assert socket.setsockopt(0, 1, (0x10).to_bytes(4, "little")) == 0
    assert socket.setsockopt(0, 2, (9).to_bytes(4, "little")) == 0
    socket.connect(bytes((10, 0, 0, 2)), 80)
    [syn] = sent(stack)
    assert (syn[IP].tos, syn[IP].ttl) == (0x10, 9)


def test_arp_of_another_kind_is_dropped() -> None:
    """[RFC 826 Packet Reception]"""
    stack = make_host()
    for fields in ({"hwtype": 6}, {"ptype": 0x86DD}, {"hwlen": 8}, {"plen": 16}):
        packet = bytearray(bytes(ARP(op=1, hwsrc=PEER_MAC, psrc=PEER, pdst=HERE)))
        [(name, value)] = fields.items()
        at, size = {"hwtype": (0, 2), "ptype": (2, 2), "hwlen": (4, 1), "plen": (5, 1)}[name]
        packet[at : at + size] = value.to_bytes(size, "big")
        frame = Ether(src=PEER_MAC, dst=ALL, type=0x806)
        stack.input([bytes(10) + bytes(frame) + bytes(packet)], S)
    assert sent(stack) == []
    assert stack.counters()["drop_arp_kind"] == 4


def test_who_does_not_answer_is_unreachable() -> None:
    """[RFC 1122 3.3.8]"""
    stack = make_host()
    socket = stack.socket(2, 1)
    assert isinstance(socket, TcpSocket)
    socket.connect(bytes((10, 0, 0, 3)), 80)
    now = S
    for _ in range(5):
        sent(stack, now)
        now += S
        stack.advance(now)
    assert socket.getsockopt(1, 4) == EHOSTUNREACH.to_bytes(4, "little")


def test_numbers_of_whole_packets_mean_nothing() -> None:
    """[RFC 6864 4.1]"""
    stack = make_host()
    socket = open_socket(stack, 53)
    for number in (0, 7, 7):
        give(stack, datagram(id=number))
        assert socket.recv(10) == b"data"
    assert stack.counters()["ipv4_fragments"] == 0


def test_packets_that_may_be_cut_have_different_numbers() -> None:
    """[RFC 6864 4.2]"""
    stack = make_host()
    ping = IP(src=PEER, dst=HERE) / ICMP(type=8) / b"x"
    numbers = [give(stack, ping)[0][IP].id for _ in range(5)]
    assert len(set(numbers)) == 5
