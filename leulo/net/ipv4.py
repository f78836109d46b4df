"""IPv4 of a host: next hops, what to accept, and fragments. [RFC 791] [RFC 1122 3]

`Route` says where a packet goes and whose packets are ours; `receive` checks a header as a host
must; `cut` makes fragments, which `reassembly` joins. No I/O, no clock.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from leulo.net.wire import Buffer, ParseError
from leulo.net.wire.ipv4 import (
    LIMITED_BROADCAST,
    PROTOCOL_UDP,
    Ipv4Repr,
    has_source_route,
    is_unicast,
)

_NOWHERE: Final = bytes(4)

# By an address's first byte: 0 is this network, 127 this host, from 224 on they are groups.
_IS_OF_HOSTS: Final = tuple(0 < first < 0xE0 and first != 127 for first in range(256))


class Route:
    """One interface with one prefix and at most one gateway."""

    __slots__ = ("address", "broadcast", "gateway", "mask", "network", "prefix_length")

    def __init__(self, address: bytes, prefix_length: int, gateway: bytes | None = None) -> None:
        if len(address) != 4 or not 0 <= prefix_length <= 32:
            raise ValueError("an IPv4 interface needs four address bytes and a prefix of 0 to 32")
        self.address: bytes = address
        self.prefix_length: int = prefix_length
        self.gateway: bytes | None = gateway
        self.mask: int = (0xFFFFFFFF << (32 - prefix_length)) & 0xFFFFFFFF
        self.network: int = int.from_bytes(address, "big") & self.mask
        # The last address is the network's broadcast only where it has more than two. [RFC 3021]
        self.broadcast: bytes = LIMITED_BROADCAST
        if prefix_length < 31:
            self.broadcast = (self.network | ~self.mask & 0xFFFFFFFF).to_bytes(4, "big")

    def is_on_link(self, address: Buffer) -> bool:
        return int.from_bytes(address, "big") & self.mask == self.network

    def is_broadcast(self, address: Buffer) -> bool:
        """The limited or this network's directed broadcast. [RFC 1122 3.2.1.3]"""
        return address == LIMITED_BROADCAST or address == self.broadcast

    def next_hop(self, destination: bytes) -> bytes | None:
        """The neighbour that a packet to ``destination`` is handed to, None if there is no
        way. Broadcasts and multicasts have no neighbour either. [RFC 1122 3.3.1.1]"""
        if not is_unicast(destination) or destination == self.broadcast:
            return None
        if self.is_on_link(destination):
            return destination
        return self.gateway

    def is_valid_source(self, address: bytes) -> bool:
        """Could a packet with this source have come from another host? [RFC 1122 3.2.1.3]"""
        return _IS_OF_HOSTS[address[0]] and address != self.broadcast


def receive(packet: Buffer, route: Route, accept_any: bool = False) -> Ipv4Repr:
    """Check a received packet as a host must. [RFC 1122 3.2.1]

    ``accept_any``: every unicast destination is ours. Raises ParseError: those of
    `Ipv4Repr.parse`, ``ipv4_source``, ``ipv4_destination``, ``ipv4_source_route``.
    """
    ip = Ipv4Repr.parse(packet)
    destination = ip.destination
    if destination != route.address and not (
        (accept_any and is_unicast(destination)) or route.is_broadcast(destination)
    ):
        raise ParseError("ipv4_destination")
    # A host that has no address yet may ask everybody for one. [RFC 1122 3.2.1.3 a]
    is_asking = (
        ip.source == _NOWHERE
        and ip.protocol == PROTOCOL_UDP
        and destination == LIMITED_BROADCAST
        and any(route.address)
    )
    if not is_asking and (ip.source == route.address or not route.is_valid_source(ip.source)):
        raise ParseError("ipv4_source")
    if ip.options and has_source_route(ip.options):
        # Deviation: dropped, because a source route lets a sender lead our answers anywhere;
        # hosts drop them by default today. [RFC 7126 4.3]
        raise ParseError("ipv4_source_route")
    return ip


def cut(ip: Ipv4Repr, payload: Buffer, mtu: int) -> list[bytes]:
    """The packets that carry ``payload`` (``ip.payload_bytes`` of it) over a link with this MTU:
    one, or fragments. [RFC 791 3.2]

    Gives none if it would have to be fragmented and must not be, or if the MTU is too small.
    """
    if ip.header_bytes + ip.payload_bytes <= mtu:
        return [ip.emit() + payload]
    room = (mtu - ip.header_bytes) & ~7
    if ip.dont_fragment or room < 8:
        return []
    packets: list[bytes] = []
    for start in range(0, ip.payload_bytes, room):
        part = payload[start : min(start + room, ip.payload_bytes)]
        header = replace(
            ip,
            payload_bytes=len(part),
            more_fragments=ip.more_fragments or start + room < ip.payload_bytes,
            fragment_offset=ip.fragment_offset + start,
        )
        packets.append(header.emit() + part)
    return packets
