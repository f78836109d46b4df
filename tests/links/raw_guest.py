"""A guest made of frames: sends and takes single packets through the user gateway, so that a test
sees exactly what is on the wire. It answers ARP as a guest does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from tcp_segments import TcpRepr
from user_world import GATEWAY, GUEST, Port

from leulo.clock import RealClock
from leulo.links.context import LinkContext
from leulo.links.poller import Poller
from leulo.links.user.gateway import UserLink
from leulo.links.user.resolver import Resolvers
from leulo.net.ipv4 import cut
from leulo.net.reassembly import Reassembler
from leulo.net.wire import vnet
from leulo.net.wire.arp import REPLY, REQUEST, ArpRepr
from leulo.net.wire.ethernet import BROADCAST, TYPE_ARP, TYPE_IPV4, EthernetRepr
from leulo.net.wire.icmp import IcmpRepr
from leulo.net.wire.ipv4 import PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP, Ipv4Repr
from leulo.net.wire.udp import UdpRepr
from leulo.trace import Trace

DNS = bytes((10, 0, 2, 3))
GUEST_MAC = b"\x52\x54\0\0\0\1"
GATEWAY_MAC = b"\x52\x55" + GATEWAY


class RawGuest:
    """``udp``, ``icmp``, ``tcp`` and ``arp`` are what has come, oldest first."""

    def __init__(
        self,
        *ports: Port,
        host_loopback: bool = True,
        resolvers: Resolvers | None = None,
        address: bytes = GUEST,
        mac: bytes = GUEST_MAC,
    ) -> None:
        self.clock = RealClock(time.monotonic_ns)
        self.skipped_ns = 0
        self.poller = Poller()
        self.address = address
        self.mac = mac
        self.udp: list[tuple[Ipv4Repr, UdpRepr, bytes]] = []
        self.icmp: list[tuple[Ipv4Repr, IcmpRepr]] = []
        self.tcp: list[tuple[Ipv4Repr, TcpRepr]] = []
        self.arp: list[ArpRepr] = []
        self.macs: list[bytes] = []
        self.fragments = 0
        self._reassembler = Reassembler()
        self._answers: list[bytes] = []
        self._identification = 0
        self.link = UserLink(
            LinkContext(
                self,
                self.poller,
                Trace(),
                lambda bits: (1 << bits) // 3,
                GUEST,
                24,
                GATEWAY,
                DNS,
                1500,
                ports,
                host_loopback,
            ),
            resolvers,
        )  # type: ignore[arg-type]
        self.link.attach(self._take)

    def now_ns(self) -> int:
        return self.clock.now_ns() + self.skipped_ns

    def close(self) -> None:
        self.link.close()
        assert len(self.poller._callbacks) == 0, "descriptors left behind"
        self.poller.close()

    def send_frame(self, ethertype: int, body: bytes, to: bytes = GATEWAY_MAC) -> None:
        frame = vnet.PLAIN + EthernetRepr(to, self.mac, ethertype).emit() + body
        self.link.transmit([(frame,)], self.now_ns())

    def send_ip(
        self,
        protocol: int,
        destination: bytes,
        payload: bytes,
        source: bytes | None = None,
        to: bytes = GATEWAY_MAC,
    ) -> None:
        self._identification += 1
        ip = Ipv4Repr(
            source or self.address, destination, protocol, len(payload),
            identification=self._identification,
        )  # fmt: skip
        for packet in cut(ip, payload, 1500):
            self.send_frame(TYPE_IPV4, packet, to)

    def send_udp(
        self,
        source_port: int,
        destination: tuple[bytes, int],
        payload: bytes,
        source: bytes | None = None,
        to: bytes = GATEWAY_MAC,
    ) -> None:
        repr_ = UdpRepr(source_port, destination[1], len(payload))
        datagram = repr_.emit(source or self.address, destination[0], payload)
        self.send_ip(PROTOCOL_UDP, destination[0], datagram, source, to)

    def send_icmp(self, destination: bytes, message: IcmpRepr) -> None:
        self.send_ip(PROTOCOL_ICMP, destination, message.emit())

    def ask_arp(self, target: bytes, sender: bytes | None = None) -> None:
        arp = ArpRepr(REQUEST, self.mac, sender or self.address, bytes(6), target)
        self.send_frame(TYPE_ARP, arp.emit(), BROADCAST)

    def turn(self) -> None:
        self.poller.wait(0)
        now = self.now_ns()
        due = self.link.next_deadline()
        if due is not None and due <= now:
            self.link.advance(now)
        answers, self._answers = self._answers, []
        for answer in answers:
            self.send_frame(TYPE_ARP, answer)

    def until(self, condition: Callable[[], object], seconds: float = 10) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"not in {seconds} s: {self.link.counters()}"
            self.turn()

    def skip(self, duration_ns: int) -> None:
        """Let time pass without waiting for it."""
        self.skipped_ns += duration_ns
        self.turn()

    def _take(self, frames: Sequence[bytes]) -> None:
        for frame in frames:
            body = frame[vnet.HEADER_BYTES :]
            ethernet = EthernetRepr.parse(body)
            packet = body[14:]
            self.macs.append(ethernet.destination)
            if ethernet.ethertype == TYPE_ARP:
                arp = ArpRepr.parse(packet)
                self.arp.append(arp)
                if arp.operation == REQUEST and arp.target_address == self.address:
                    answer = ArpRepr(
                        REPLY, self.mac, self.address, arp.sender_mac, arp.sender_address
                    )
                    self._answers.append(answer.emit())
                continue
            ip = Ipv4Repr.parse(packet)
            payload: bytes | None = packet[ip.header_bytes : ip.header_bytes + ip.payload_bytes]
            if ip.is_fragment:
                self.fragments += 1
                payload = self._reassembler.input(ip, packet, self.now_ns())
                if payload is None:
                    continue
            assert payload is not None
            if ip.protocol == PROTOCOL_UDP:
                udp = UdpRepr.parse(payload, ip.source, ip.destination)
                self.udp.append((ip, udp, payload[8:]))
            elif ip.protocol == PROTOCOL_ICMP:
                self.icmp.append((ip, IcmpRepr.parse(payload)))
            elif ip.protocol == PROTOCOL_TCP:
                self.tcp.append(
                    (ip, TcpRepr.parse(payload, ip.source, ip.destination, verify_checksum=False))
                )
