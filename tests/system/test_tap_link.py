"""The TAP link against the kernel: made, used, refused, taken away."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress

import pytest
from netns import Namespace
from tcp_segments import TcpRepr

from leulo.clock import Clock
from leulo.errors import ConfigError, EnvironmentProblem
from leulo.links import LinkContext, open_link
from leulo.links.base import Offload
from leulo.links.none import NoneLink
from leulo.links.poller import Poller
from leulo.links.tap import TapLink
from leulo.net.arp import ArpCache
from leulo.net.icmp import IcmpHost
from leulo.net.ipv4 import Route, receive
from leulo.net.reassembly import Reassembler
from leulo.net.wire import vnet
from leulo.net.wire.ethernet import TYPE_ARP, TYPE_IPV4, EthernetPacket, EthernetRepr
from leulo.net.wire.icmp import ECHO_REQUEST, IcmpRepr
from leulo.net.wire.ipv4 import PROTOCOL_ICMP, Ipv4Repr
from leulo.trace import Trace
from leulo.units import NS_PER_MS

pytestmark = pytest.mark.netns

GATEWAY = bytes((10, 77, 0, 1))
GUEST = bytes((10, 77, 0, 2))
MAC = bytes.fromhex("525400000002")


@pytest.fixture
def poller() -> Iterator[Poller]:
    poller = Poller()
    yield poller
    poller.close()


def open_in(namespace: Namespace, poller: Poller, name: str = "leulo0", **kw: object) -> TapLink:
    options: dict[str, object] = {"address": GATEWAY, "prefix_length": 24, **kw}
    # The kernel is to say nothing of its own accord, as it does over IPv6.
    namespace.run("sysctl", "-q", "-w", "net.ipv6.conf.default.disable_ipv6=1")
    return namespace.inside(lambda: TapLink(name, poller, **options))  # type: ignore[arg-type]


def wait_for(poller: Poller, happened: Sequence[object], count: int = 1) -> None:
    """Serve the poller until ``happened`` has ``count`` things in it, five seconds at most."""
    for _ in range(100):
        if len(happened) >= count:
            return
        poller.wait(50 * NS_PER_MS)
    raise AssertionError(f"only {len(happened)} of {count} arrived")


def test_device_is_made_configured_and_gone(netns: Namespace, poller: Poller) -> None:
    link = open_in(netns, poller, mtu=1400)
    assert link.is_ours
    assert link.mtu == 1400
    assert link.offload == Offload(checksum=True, tso_bytes=65535)
    shown = netns.run("ip", "addr", "show", "leulo0")
    assert "inet 10.77.0.1/24" in shown
    assert "UP" in shown
    assert "mtu 1400" in shown
    assert "10.77.0.0/24" in netns.run("ip", "route")
    link.close()
    link.close()
    assert "leulo0" not in netns.run("ip", "link")


def test_device_that_is_there_is_used_and_stays(netns: Namespace, poller: Poller) -> None:
    netns.run("ip", "tuntap", "add", "old", "mode", "tap")
    netns.run("ip", "link", "set", "old", "mtu", "1300")
    link = open_in(netns, poller, "old")
    assert not link.is_ours
    assert link.mtu == 1300
    assert link.offload.checksum  # the opener's flags win over those it was made with
    link.close()
    assert "inet 10.77.0.1/24" in netns.run("ip", "addr", "show", "old")
    link = open_in(netns, poller, "old")  # a second time: the address is there already
    link.close()


def test_port_of_a_bridge_gets_no_address(netns: Namespace, poller: Poller) -> None:
    made = netns.run("ip", "link", "add", "br0", "type", "bridge", is_checked=False)
    if made:
        pytest.skip(f"this kernel has no bridges: {made.strip()}")
    netns.run("ip", "tuntap", "add", "port", "mode", "tap")
    netns.run("ip", "link", "set", "port", "master", "br0")
    link = open_in(netns, poller, "port", address=None)
    link.close()
    assert "inet " not in netns.run("ip", "addr", "show", "port")


@pytest.mark.parametrize(
    ("setup", "name", "sentence"),
    [
        ("ip tuntap add bad mode tap multi_queue", "bad", "multi-queue"),
        ("ip tuntap add bad mode tun", "bad", "a TUN"),
        ("true", "lo", "is not a TAP"),
        ("ip tuntap add bad mode tap; ip addr add 1.2.3.4/24 dev bad", "bad", "--gateway 1.2.3.4"),
        ("ip tuntap add x mode tap; ip addr add 10.77.0.1/24 dev x; ip link set x up", "new",
         "another interface"),
    ],
)  # fmt: skip
def test_wrong_devices_are_refused_with_a_sentence(
    netns: Namespace, poller: Poller, setup: str, name: str, sentence: str
) -> None:
    netns.run("sh", "-c", setup)
    with pytest.raises(EnvironmentProblem, match=sentence) as caught:
        open_in(netns, poller, name)
    assert str(caught.value).startswith(f"--net tap:{name}: ")
    if name == "new":
        assert "new" not in netns.run("ip", "-o", "link")


def test_second_opener_is_told(netns: Namespace, poller: Poller) -> None:
    link = open_in(netns, poller)
    with pytest.raises(EnvironmentProblem, match="another program has leulo0 open"):
        open_in(netns, poller)
    link.close()


def test_removed_device_ends_with_a_sentence(netns: Namespace, poller: Poller) -> None:
    netns.run("ip", "tuntap", "add", "old", "mode", "tap")
    link = open_in(netns, poller, "old")
    link.attach(lambda frames: None)
    netns.run("ip", "link", "del", "old")
    with pytest.raises(EnvironmentProblem, match="was removed while it was in use"):
        for _ in range(100):
            poller.wait(10 * NS_PER_MS)
    with pytest.raises(EnvironmentProblem, match="was removed"):
        link.transmit([(bytes(60),)], 0)
    link.close()


def test_device_that_is_down_drops_and_comes_back(netns: Namespace, poller: Poller) -> None:
    link = open_in(netns, poller)
    link.attach(lambda frames: None)
    broadcast = (vnet.PLAIN + EthernetRepr(b"\xff" * 6, MAC, TYPE_ARP).emit() + bytes(28),)
    netns.run("ip", "link", "set", "leulo0", "down")
    link.transmit([broadcast], 0)
    assert link.counters()["dropped_down"] == 1
    assert poller.wait(0) == 0  # and it does not spin
    netns.run("ip", "link", "set", "leulo0", "up")
    link.transmit([broadcast, (bytes((9, 9)) + broadcast[0][2:],)], 0)
    counters = link.counters()
    assert counters["frames_out"] == 1
    assert counters["dropped_refused"] == 1
    link.close()


def test_frame_of_thousands_of_buffers_is_sent(netns: Namespace, poller: Poller) -> None:
    link = open_in(netns, poller)
    header = vnet.PLAIN + EthernetRepr(b"\xff" * 6, MAC, TYPE_ARP).emit()
    link.transmit([(header, *[b"x"] * 1400)], 0)
    assert link.counters()["frames_out"] == 1
    assert link.counters()["bytes_out"] == len(header) + 1400
    link.close()


class Pinged:
    """Just enough of a host to be pinged through the link."""

    def __init__(self, link: TapLink) -> None:
        self.link = link
        self.arp = ArpCache(MAC, GUEST)
        self.icmp = IcmpHost()
        self.reassembler = Reassembler()
        self.route = Route(GUEST, 24, GATEWAY)
        self.seen: list[bytes] = []
        link.attach(self.deliver)

    def deliver(self, frames: Sequence[bytes]) -> None:
        for data in frames:
            self.seen.append(data)
            frame = EthernetPacket(data[vnet.HEADER_BYTES :])
            if frame.ethertype == TYPE_ARP:
                assert self.arp.input(frame.payload, 0) is None
            elif frame.ethertype == TYPE_IPV4:
                self.answer(frame.payload)
        self.link.transmit(self.arp.take_output(), 0)

    def answer(self, packet: bytes | memoryview) -> None:
        ip = receive(packet, self.route)
        message: bytes | memoryview | None = packet[20 : 20 + ip.payload_bytes]
        if ip.is_fragment:
            message = self.reassembler.input(ip, packet, 0)
        if message is None or ip.protocol != PROTOCOL_ICMP:
            return
        reply, _ = self.icmp.input(message, False, 0)
        assert reply is not None
        header = Ipv4Repr(GUEST, ip.source, PROTOCOL_ICMP, len(reply))
        ethernet = EthernetRepr(bytes(6), MAC, TYPE_IPV4)
        frame = (vnet.PLAIN + ethernet.emit() + header.emit(), reply)
        assert self.arp.send(ip.source, frame, 0)


@pytest.mark.parametrize("size", [56, 1000])
def test_kernel_pings_through_arp_and_back(netns: Namespace, poller: Poller, size: int) -> None:
    link = open_in(netns, poller)
    guest = Pinged(link)
    with netns.entered():
        stream = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    with stream:
        stream.settimeout(5)
        request = IcmpRepr(ECHO_REQUEST, 0, 0x12340001, bytes(size))
        stream.sendto(request.emit(), ("10.77.0.2", 0))
        wait_for(poller, guest.seen, 2)  # ARP, then the echo request
        packet = stream.recv(65536)
        reply = IcmpRepr.parse(packet[20:])
        assert (reply.kind, reply.rest, reply.payload) == (0, 0x12340001, bytes(size))
    assert link.counters()["frames_in"] == 2
    link.close()


def test_kernel_fragments_are_joined(netns: Namespace, poller: Poller) -> None:
    link = open_in(netns, poller)
    guest = Pinged(link)
    with netns.entered():
        stream = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    with stream:
        stream.settimeout(5)
        stream.setsockopt(socket.IPPROTO_IP, 10, 0)  # IP_MTU_DISCOVER off: may be fragmented
        stream.sendto(IcmpRepr(ECHO_REQUEST, 0, 7, bytes(4000)).emit(), ("10.77.0.2", 0))
        wait_for(poller, guest.seen, 4)
    assert guest.reassembler.counters()["ipv4_reassembled"] == 1
    assert guest.icmp.counters()["icmp_echo_replies"] == 1
    link.close()


def test_kernel_hands_over_super_segments_and_takes_them(netns: Namespace, poller: Poller) -> None:
    """Speed rule: a bulk TCP transfer arrives in frames far larger than the MTU."""
    link = open_in(netns, poller)
    with netns.entered():
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(("10.77.0.2", 80))
    largest = 0
    arp = ArpCache(MAC, GUEST)
    acked = 0
    done: list[int] = []

    def deliver(frames: Sequence[bytes]) -> None:
        nonlocal largest, acked
        for data in frames:
            frame = EthernetPacket(data[vnet.HEADER_BYTES :])
            if frame.ethertype == TYPE_ARP:
                arp.input(frame.payload, 0)
                continue
            ip = receive(frame.payload, Route(GUEST, 24))
            segment = frame.payload[ip.header_bytes :]
            tcp = TcpRepr.parse(segment, ip.source, ip.destination, verify_checksum=False)
            header = vnet.VnetRepr.parse(data, len(data) - vnet.HEADER_BYTES)
            largest = max(largest, len(data) if header.gso_type == vnet.GSO_TCPV4 else 0)
            length = len(segment) - 20 - len(segment[20 : (segment[12] >> 4) * 4])
            next_seq = (tcp.sequence + length + (1 if tcp.flags & 2 else 0)) & 0xFFFFFFFF
            flags = 0x12 if tcp.flags & 2 else 0x10
            reply = TcpRepr(
                80, tcp.source_port, 1000 + (flags == 0x10), next_seq, flags, 65535,
                options=[(2, (1460).to_bytes(2, "big"))] if flags == 0x12 else [],
            ).emit(GUEST, ip.source)  # fmt: skip
            header_ip = Ipv4Repr(GUEST, ip.source, 6, len(reply)).emit()
            ethernet = EthernetRepr(bytes(6), MAC, TYPE_IPV4).emit()
            arp.send(ip.source, (vnet.PLAIN + ethernet + header_ip, reply), 0)
            acked += length
        link.transmit(arp.take_output(), 0)
        if acked >= 1 << 20:
            done.append(acked)

    link.attach(deliver)
    sent = 0
    for _ in range(2000):
        if done:
            break
        poller.wait(5 * NS_PER_MS)
        if acked == sent == 0 and not link.counters()["frames_out"]:
            continue
        with suppress(BlockingIOError):
            sent += client.send(bytes(1 << 16)) if sent < 1 << 20 else 0
    client.close()
    link.close()
    assert done, f"{acked} bytes arrived"
    assert largest > 20_000


class Still(Clock):
    def now_ns(self) -> int:
        return 0


def context(poller: Poller) -> LinkContext:
    return LinkContext(
        clock=Still(),
        poller=poller,
        trace=Trace(),
        random_bits=lambda bits: 0,
        guest_address=GUEST,
        prefix_length=24,
        gateway=GATEWAY,
        dns=GATEWAY,
    )


def test_open_link_finds_the_link_by_its_word(netns: Namespace, poller: Poller) -> None:
    given = context(poller)
    link = netns.inside(lambda: open_link("tap:leulo7", given))
    assert link.name == "leulo7"
    link.close()
    assert isinstance(open_link("none", given), NoneLink)


@pytest.mark.parametrize("spec", ["", "tapp:x", "none:x", "user:x", "TAP:x"])
def test_open_link_names_the_choices(poller: Poller, spec: str) -> None:
    with pytest.raises(ConfigError, match="write user, tap:NAME, sim:OPTIONS or none"):
        open_link(spec, context(poller))


@pytest.mark.parametrize("name", ["", "a/b", "..", "sixteen-letters-"])
def test_names_that_cannot_be_are_refused(poller: Poller, name: str) -> None:
    with pytest.raises(ConfigError, match="is no interface name"):
        open_link(f"tap:{name}", context(poller))
