"""What of the guest's frames is not TCP: ARP, UDP and ICMP, each to who serves it.

The gateway's stack keeps TCP, echo requests to the gateway itself and everything malformed. ARP is
answered for the gateway and the name server only, so that several machines on one link find each
other and not us.
"""

from __future__ import annotations

from typing import Final

from leulo.links.user.dhcp import DhcpServer
from leulo.links.user.dns import NameRelay
from leulo.links.user.guests import GuestSide
from leulo.links.user.ping import PingRelay
from leulo.links.user.plan import DNS_PORT, AddressPlan
from leulo.links.user.udp import UdpRelay
from leulo.links.user.udp_publish import Senders
from leulo.net.ipv4 import receive
from leulo.net.reassembly import Reassembler
from leulo.net.wire import Buffer, ParseError, dhcp, vnet
from leulo.net.wire.arp import REQUEST, ArpRepr
from leulo.net.wire.ethernet import BROADCAST, HEADER_BYTES
from leulo.net.wire.icmp import ECHO_REQUEST, IcmpPacket, IcmpRepr
from leulo.net.wire.ipv4 import (
    LIMITED_BROADCAST,
    PROTOCOL_ICMP,
    PROTOCOL_UDP,
    UNSPECIFIED,
    Ipv4Repr,
)
from leulo.net.wire.udp import UdpRepr

IP_AT: Final = vnet.HEADER_BYTES + HEADER_BYTES
PROTOCOL_AT: Final = IP_AT + 9
TYPE_AT: Final = IP_AT - 2
TYPE_ARP: Final = b"\x08\x06"
TYPE_IPV4: Final = b"\x08\x00"
_CHECKED: Final = vnet.F_NEEDS_CSUM | vnet.F_DATA_VALID
_LEAST_BYTES: Final = IP_AT + 20


class Datagrams:
    """Sorts frames. ``mac`` is the gateway's."""

    def __init__(
        self,
        mac: bytes,
        plan: AddressPlan,
        guests: GuestSide,
        server: DhcpServer,
        names: NameRelay,
        udp: UdpRelay,
        senders: Senders,
        pings: PingRelay,
    ) -> None:
        self._mac = mac
        self._plan = plan
        self._route = plan.route
        self._guests = guests
        self._server = server
        self._names = names
        self._udp = udp
        self._senders = senders
        self._pings = pings
        self._reassembler = Reassembler()
        self.drops: dict[str, int] = {}

    def is_taken(self, frame: bytes, now_ns: int) -> bool:
        """Serve the frame. False: it is for the stack."""
        if len(frame) < _LEAST_BYTES:
            return False
        kind = frame[TYPE_AT:IP_AT]
        try:
            if kind == TYPE_ARP:
                arp = ArpRepr.parse(frame[IP_AT:])
                return arp.operation == REQUEST and not self._plan.is_own(arp.target_address)
            if kind == TYPE_IPV4 and frame[PROTOCOL_AT] in (PROTOCOL_UDP, PROTOCOL_ICMP):
                return self._is_served(frame, now_ns)
        except ParseError as error:
            self.drops[error.reason] = self.drops.get(error.reason, 0) + 1
            return True
        return False

    def next_deadline(self) -> int | None:
        return self._reassembler.next_deadline()

    def advance(self, now_ns: int) -> None:
        self._reassembler.advance(now_ns)
        self._reassembler.take_expired()

    # ------------------------------------------------------------ inside

    def _is_served(self, frame: bytes, now_ns: int) -> bool:
        """Raises ParseError with the reason of a drop."""
        target = frame[vnet.HEADER_BYTES : vnet.HEADER_BYTES + 6]
        packet = frame[IP_AT:]
        is_checked = bool(frame[0] & _CHECKED)
        if target not in (self._mac, BROADCAST):
            raise ParseError("ethernet_destination")
        if frame[PROTOCOL_AT] == PROTOCOL_UDP and self._is_for_dhcp(packet, is_checked):
            return True
        ip = receive(packet, self._route, True)
        if target == BROADCAST or self._route.is_broadcast(ip.destination):
            raise ParseError("ipv4_broadcast")  # nobody else is here who would listen
        if not self._route.is_on_link(ip.source) or self._plan.is_own(ip.source):
            raise ParseError("ipv4_source")
        if ip.protocol == PROTOCOL_ICMP and self._plan.is_own(ip.destination):
            return False  # with all its fragments: the stack puts them together
        if ip.is_fragment:
            whole = self._reassembler.input(ip, packet, now_ns)
            if whole is None:
                return True
            ip = Ipv4Repr(ip.source, ip.destination, ip.protocol, len(whole), ip.ttl)
            packet = ip.emit() + whole
            is_checked = False
        payload = packet[ip.header_bytes : ip.header_bytes + ip.payload_bytes]
        if ip.protocol == PROTOCOL_UDP:
            self._datagram(ip, payload, packet, is_checked, now_ns)
            return True
        if IcmpPacket(payload).kind != ECHO_REQUEST:
            return False
        self._pings.request(ip.source, ip.destination, IcmpRepr.parse(payload), packet, now_ns)
        return True

    def _datagram(
        self, ip: Ipv4Repr, datagram: Buffer, packet: Buffer, is_checked: bool, now_ns: int
    ) -> None:
        udp = UdpRepr.parse(datagram, ip.source, ip.destination, verify_checksum=not is_checked)
        payload = datagram[8 : 8 + udp.payload_bytes]
        guest = (ip.source, udp.source_port)
        if udp.destination_port == DNS_PORT and self._plan.is_name_server(ip.destination):
            self._names.ask(guest, payload, now_ns)
            return
        if ip.destination == self._plan.gateway:
            sender = self._senders.at(udp.destination_port)
            if sender is not None and sender[0].guest_port == udp.source_port:
                self._senders.port_of(sender, now_ns)  # used just now
                sender[0].answer(payload, sender[1])
                return
        if udp.source_port == 0:
            raise ParseError("udp_source_port")  # nobody could answer
        self._udp.from_guest(guest, (ip.destination, udp.destination_port), payload, packet, now_ns)

    def _is_for_dhcp(self, packet: bytes, is_checked: bool) -> bool:
        """A client without an address has the source 0.0.0.0. [RFC 2131 4.1]"""
        ip = Ipv4Repr.parse(packet)
        if ip.is_fragment or ip.destination not in (LIMITED_BROADCAST, self._plan.gateway):
            return False
        if ip.source != UNSPECIFIED and not self._route.is_on_link(ip.source):
            return False
        datagram = packet[ip.header_bytes : ip.header_bytes + ip.payload_bytes]
        udp = UdpRepr.parse(datagram, ip.source, ip.destination, verify_checksum=not is_checked)
        if (udp.destination_port, udp.source_port) != (dhcp.SERVER_PORT, dhcp.CLIENT_PORT):
            return False
        reply = self._server.answer(dhcp.DhcpRepr.parse(datagram[8 : 8 + udp.payload_bytes]))
        if reply is not None:
            source = (self._plan.gateway, dhcp.SERVER_PORT)
            to = (reply.address, dhcp.CLIENT_PORT)
            self._guests.send_to_mac(reply.mac, source, to, reply.message.emit())
        return True
