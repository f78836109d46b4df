"""Packets of the gateway's own to a guest, beside its stack's TCP: UDP, ICMP, DHCP's answers.

The stack's ARP cache finds the guest and sends; only what must go to an Ethernet address that is
known already goes to `frames`. Errors are made from the packet they are about, or from what is
left of it, and are limited in rate by the stack.
"""

from __future__ import annotations

from typing import Final

from leulo.net.ipv4 import cut
from leulo.net.wire import Buffer, vnet
from leulo.net.wire.ethernet import TYPE_IPV4, EthernetRepr
from leulo.net.wire.icmp import DESTINATION_UNREACHABLE, PORT_UNREACHABLE
from leulo.net.wire.ipv4 import PROTOCOL_ICMP, PROTOCOL_UDP, Ipv4Repr
from leulo.net.wire.udp import UdpRepr
from leulo.stack import Stack

Endpoint = tuple[bytes, int]  # address and port

_NOBODY: Final = bytes(6)


class GuestSide:
    """``frames`` are to be delivered beside what the stack drains."""

    def __init__(self, stack: Stack, mtu: int) -> None:
        self.frames: list[bytes] = []
        self._stack = stack
        self._mtu = mtu
        self._identification = 0

    def send_udp(
        self, source: Endpoint, destination: Endpoint, payload: Buffer, now_ns: int
    ) -> None:
        """One datagram, in fragments if it is long."""
        udp = UdpRepr(source[1], destination[1], len(payload))
        datagram = udp.emit(source[0], destination[0], payload)
        self._send(source[0], destination[0], PROTOCOL_UDP, datagram, now_ns)

    def send_icmp(self, source: bytes, destination: bytes, message: bytes, now_ns: int) -> None:
        self._send(source, destination, PROTOCOL_ICMP, message, now_ns)

    def send_to_mac(
        self, mac: bytes, source: Endpoint, destination: Endpoint, payload: bytes
    ) -> None:
        """A datagram to somebody who cannot be asked for his Ethernet address yet."""
        udp = UdpRepr(source[1], destination[1], len(payload))
        datagram = udp.emit(source[0], destination[0], payload)
        for packet in self._packets(source[0], destination[0], PROTOCOL_UDP, datagram):
            self.frames.append(self._frame(mac, packet))

    def unreachable(
        self, code: int, packet: Buffer, now_ns: int, kind: int = DESTINATION_UNREACHABLE
    ) -> None:
        """Tell the source of ``packet`` (IPv4) what became of it. [RFC 792]"""
        message = self._stack.icmp.error(kind, code, packet, False, now_ns)
        if message is not None:
            ip = Ipv4Repr.parse_quoted(packet, 0xFFFF, verify_checksum=False)
            # A closed port is reported by the host that has it, a missing way by the gateway.
            is_hosts = kind == DESTINATION_UNREACHABLE and code == PORT_UNREACHABLE
            source = ip.destination if is_hosts else self._stack.address
            self._send(source, ip.source, PROTOCOL_ICMP, message, now_ns)

    def _send(
        self, source: bytes, destination: bytes, protocol: int, payload: bytes, now_ns: int
    ) -> None:
        for packet in self._packets(source, destination, protocol, payload):
            self._stack.arp.send(destination, (self._frame(_NOBODY, packet),), now_ns)

    def _packets(
        self, source: bytes, destination: bytes, protocol: int, payload: bytes
    ) -> list[bytes]:
        self._identification = (self._identification + 1) & 0xFFFF
        ip = Ipv4Repr(
            source, destination, protocol, len(payload), identification=self._identification
        )
        return cut(ip, payload, self._mtu)

    def _frame(self, mac: bytes, packet: bytes) -> bytes:
        return vnet.PLAIN + EthernetRepr(mac, self._stack.mac, TYPE_IPV4).emit() + packet
