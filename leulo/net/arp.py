"""ARP of one interface: the questions and answers of its neighbour cache, sans-IO.

Replies nobody asked for make no entry, a fresh entry is not replaced at once. What it shares with
IPv6's neighbour discovery is in `neighbours`. [RFC 826] [RFC 1122 2.3.2] [RFC 5227]
"""

from __future__ import annotations

from typing import Final

from leulo.net.neighbours import FAILED, INCOMPLETE, PROBE, Neighbour, NeighbourCache
from leulo.net.wire import Buffer, ParseError, vnet
from leulo.net.wire.arp import REPLY, REQUEST, ArpRepr
from leulo.net.wire.ethernet import BROADCAST, TYPE_ARP, UNSPECIFIED, EthernetRepr
from leulo.net.wire.ipv4 import is_unicast
from leulo.state import State
from leulo.units import NS_PER_S

LOCK_NS: Final = NS_PER_S  # for so long a fresh entry is not replaced by another MAC
DEFEND_NS: Final = 10 * NS_PER_S  # [RFC 5227 1.1 DEFEND_INTERVAL]


class ArpCache(NeighbourCache):
    """Resolver and responder of one interface.

    ``accept_any`` answers requests for every unicast address (the user gateway is everybody),
    except for the asker's own and for neighbours, who answer for themselves.
    """

    def __init__(self, mac: bytes, address: bytes, accept_any: bool = False) -> None:
        super().__init__(mac, "arp_", 0, LOCK_NS)
        self.address: bytes = address
        self.accept_any: bool = accept_any
        self._defended_ns: int = -DEFEND_NS

    def announce(self) -> None:
        """Tell the link who has our address: an ARP announcement. [RFC 5227 2.3]"""
        self._emit(REQUEST, BROADCAST, self.address, UNSPECIFIED, self.address)

    def input(self, packet: Buffer, now_ns: int) -> str | None:
        """A received ARP packet (without its Ethernet header).

        Returns None, or why it was dropped (a key for a drop counter).
        """
        try:
            arp = ArpRepr.parse(packet)
        except ParseError as error:
            return error.reason
        self._counters["arp_in"] += 1
        sender = arp.sender_address
        if arp.sender_mac == self.mac:
            return "arp_own"
        is_probe = sender == bytes(4)  # "does anybody use this address?" [RFC 5227 2.1.1]
        if sender == self.address and not is_probe:
            return self._conflict(now_ns)
        if not is_probe and not is_unicast(sender):
            return "arp_sender"
        is_for_us = arp.target_address == self.address and any(self.address)
        if not is_probe:
            known = self._entries.get(sender)
            if known is None and is_for_us and arp.operation == REQUEST:
                # He is about to talk to us: we shall need his address. [RFC 826 Packet Reception]
                known = self._insert(sender, INCOMPLETE)
            if known is not None:
                self._learn(sender, known, arp.sender_mac, now_ns)
        if arp.operation != REQUEST:
            return None
        if is_for_us or (
            self.accept_any
            and not is_probe
            and arp.target_address != sender
            and is_unicast(arp.target_address)
            and self._is_nobody(arp.target_address)
        ):
            self._emit(REPLY, arp.sender_mac, arp.target_address, arp.sender_mac, sender)
        return None

    def save(self) -> State:
        return {
            **super().save(),
            "address": self.address,
            "accept_any": self.accept_any,
            "defended_ns": self._defended_ns,
        }

    def load(self, state: State) -> None:
        """Raises ValueError on another version."""
        super().load(state)
        self.address = state["address"]
        self.accept_any = state["accept_any"]
        self._defended_ns = state["defended_ns"]

    # -- inside

    def _ask(self, address: bytes, entry: Neighbour) -> None:
        # A known neighbour is asked himself before everybody is. [RFC 1122 2.3.2.1]
        to = entry.mac if entry.state == PROBE else BROADCAST
        self._emit(REQUEST, to, self.address, UNSPECIFIED, address)

    def _is_nobody(self, address: bytes) -> bool:
        entry = self._entries.get(address)
        return entry is None or entry.state == INCOMPLETE or entry.state == FAILED

    def _conflict(self, now_ns: int) -> str:
        """Somebody else uses our address: claim it, rarely. [RFC 5227 2.4 b]"""
        self._counters["arp_conflicts"] += 1
        if now_ns - self._defended_ns >= DEFEND_NS:
            self._defended_ns = now_ns
            self.announce()
        return "arp_conflict"

    def _emit(
        self, operation: int, to: bytes, sender: bytes, target_mac: bytes, target: bytes
    ) -> None:
        ethernet = EthernetRepr(to, self.mac, TYPE_ARP)
        arp = ArpRepr(operation, self.mac, sender, target_mac, target)
        self.output.append((vnet.PLAIN + ethernet.emit() + arp.emit(),))
        self._counters["arp_out"] += 1
