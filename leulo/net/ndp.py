"""Neighbour discovery's cache of one interface: IPv6 addresses to MAC addresses, sans-IO.

It asks by solicitations and learns from both kinds of messages; whose addresses we have and what
routers say is `ipv6`'s. What it shares with ARP is in `neighbours`. [RFC 4861 7.2, 7.3]
"""

from __future__ import annotations

from typing import Final

from leulo.net.neighbours import FAILED, INCOMPLETE, PROBE, REACHABLE, STALE, NeighbourCache
from leulo.net.neighbours import Neighbour as Neighbour
from leulo.net.wire import vnet
from leulo.net.wire.ethernet import TYPE_IPV6, EthernetRepr
from leulo.net.wire.icmpv6 import NEIGHBOUR_ADVERTISEMENT, NEIGHBOUR_SOLICITATION, Icmpv6Repr
from leulo.net.wire.ipv6 import (
    ALL_NODES,
    PROTOCOL_ICMPV6,
    UNSPECIFIED,
    Ipv6Repr,
    is_multicast,
    multicast_mac,
    solicited_node,
)
from leulo.net.wire.ndp import NeighbourRepr
from leulo.units import NS_PER_S

DELAY_FIRST_PROBE_NS: Final = 5 * NS_PER_S  # [RFC 4861 10]
HOP_LIMIT: Final = 255  # so that nobody beyond a router can speak [RFC 4861 3.1]
_NO_MAC: Final = bytes(6)


class NdpCache(NeighbourCache):
    """Resolver of one interface. ``source`` is the address it asks from; while there is none,
    it waits."""

    def __init__(self, mac: bytes) -> None:
        super().__init__(mac, "ndp_", DELAY_FIRST_PROBE_NS, 0)  # messages say what they override
        self.source: bytes = UNSPECIFIED

    # -- what came

    def solicited(self, source: bytes, mac: bytes, now_ns: int) -> None:
        """``source`` asks for us and names its MAC: we shall need it. [RFC 4861 7.2.3]"""
        self._counters["ndp_in"] += 1
        entry = self._entries.get(source)
        if entry is None:
            entry = self._insert(source, INCOMPLETE)
            if entry is None:
                return
        if entry.mac != mac or entry.state in (INCOMPLETE, FAILED):
            self._become(source, entry, mac, STALE, now_ns)

    def advertised(self, message: NeighbourRepr, now_ns: int) -> str | None:
        """A neighbour says who it is. Returns why it was ignored, or None. [RFC 4861 7.2.5]"""
        self._counters["ndp_in"] += 1
        entry = self._entries.get(message.target)
        if entry is None or entry.state == FAILED:
            return "ndp_unasked"
        mac = message.mac
        if entry.state == INCOMPLETE:
            if not mac:
                return "ndp_no_mac"
            state = REACHABLE if message.is_solicited else STALE
            self._become(message.target, entry, mac, state, now_ns)
            return None
        is_new = bool(mac) and mac != entry.mac
        if is_new and not message.is_override:
            if entry.state == REACHABLE:
                entry.state = STALE
                entry.deadline_ns = 0
            return "ndp_no_override"
        if message.is_solicited:
            self._become(message.target, entry, mac or entry.mac, REACHABLE, now_ns)
        elif is_new:
            self._become(message.target, entry, mac, STALE, now_ns)
        return None

    def _become(
        self, address: bytes, entry: Neighbour, mac: bytes, state: int, now_ns: int
    ) -> None:
        self._learn(address, entry, mac, now_ns)
        if state == STALE and entry.mac == mac:
            entry.state = STALE
            entry.deadline_ns = 0

    # -- what goes

    def emit(self, source: bytes, destination: bytes, message: Icmpv6Repr, mac: bytes) -> None:
        """Put a message of neighbour discovery into the output."""
        text = message.emit(source, destination)
        ip = Ipv6Repr(source, destination, PROTOCOL_ICMPV6, len(text), HOP_LIMIT)
        if is_multicast(destination):
            mac = multicast_mac(destination)
        ethernet = EthernetRepr(mac, self.mac, TYPE_IPV6)
        self.output.append((vnet.PLAIN + ethernet.emit() + ip.emit() + text,))
        self._counters["ndp_out"] += 1

    def probe(self, address: bytes) -> None:
        """Does anybody have ``address``? Asked before it is ours. [RFC 4862 5.4.2]"""
        message = NeighbourRepr(NEIGHBOUR_SOLICITATION, address)
        self.emit(UNSPECIFIED, solicited_node(address), message.emit(), _NO_MAC)

    def answer(self, address: bytes, to: bytes, mac: bytes) -> None:
        """``address`` is ours. To the unspecified address: tell everybody. [RFC 4861 7.2.4]"""
        is_solicited = to != UNSPECIFIED
        message = NeighbourRepr(
            NEIGHBOUR_ADVERTISEMENT, address, self.mac, False, is_solicited, True
        )
        self.emit(address, to if is_solicited else ALL_NODES, message.emit(), mac)

    def _ask(self, address: bytes, entry: Neighbour) -> None:
        if self.source == UNSPECIFIED:
            return  # the timer asks again
        # Deviation: from the link-local address, whatever it is that waits, because several of
        # ours may. [RFC 4861 7.2.2]
        message = NeighbourRepr(NEIGHBOUR_SOLICITATION, address, self.mac)
        to = address if entry.state == PROBE else solicited_node(address)
        self.emit(self.source, to, message.emit(), entry.mac)
