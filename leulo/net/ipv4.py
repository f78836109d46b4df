"""IPv4 of a host: next hops, what to accept, and fragment reassembly. [RFC 791] [RFC 1122 3]

`Route` says where a packet goes and whose packets are ours; `receive` checks a header as a host
must; `cut` makes fragments, `Reassembler` joins them within bounds of memory and time. No I/O, no
clock.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace
from typing import Final

from leulo.net.wire import Buffer, ParseError
from leulo.net.wire.ipv4 import (
    LIMITED_BROADCAST,
    Ipv4Repr,
    has_source_route,
    is_unicast,
)
from leulo.state import State
from leulo.units import NS_PER_S

REASSEMBLY_NS: Final = 60 * NS_PER_S  # [RFC 1122 3.3.2]: between 60 and 120 seconds
MAX_DATAGRAMS: Final = 64  # being reassembled at once
MAX_REASSEMBLY_BYTES: Final = 1 << 20  # of all of them together, with bookkeeping
MAX_FRAGMENTS: Final = 1400  # of one datagram: 65,535 bytes over the smallest MTU, 68
_FRAGMENT_COST_BYTES: Final = 128  # what a fragment takes beside its payload
_QUOTE_BYTES: Final = 64  # kept of the first fragment, for an ICMP error


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
        return is_unicast(address) and address != self.broadcast


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
    if ip.source == route.address or not route.is_valid_source(ip.source):
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


class _Datagram:
    """Fragments of one datagram, in order, not overlapping."""

    __slots__ = ("cost", "deadline_ns", "is_poisoned", "offsets", "pieces", "quote", "received",
                 "total")  # fmt: skip

    def __init__(self, deadline_ns: int) -> None:
        self.deadline_ns: int = deadline_ns
        self.offsets: list[int] = []
        self.pieces: list[bytes] = []
        self.received: int = 0
        self.total: int = -1  # bytes of payload, once the last fragment has come
        self.cost: int = 0
        self.quote: bytes = b""  # the first fragment's header and first bytes
        self.is_poisoned: bool = False  # an overlap was seen: everything further is dropped


class Reassembler:
    """Joins fragments. A datagram with overlapping fragments is dropped whole, with all that
    still come of it; an exact duplicate is only ignored. [RFC 791 3.2] [RFC 815] [RFC 5722 3]

    Time and memory are bounded: at the limit the oldest datagram gives way.
    """

    def __init__(self) -> None:
        self._datagrams: dict[bytes, _Datagram] = {}  # oldest first, so also by deadline
        self._cost: int = 0
        self._expired: list[bytes] = []
        self._counters: dict[str, int] = {
            "ipv4_fragments": 0,
            "ipv4_reassembled": 0,
            "ipv4_fragment_overlaps": 0,
            "ipv4_fragment_timeouts": 0,
            "ipv4_fragment_evictions": 0,
        }

    def input(self, ip: Ipv4Repr, packet: Buffer, now_ns: int) -> bytes | None:
        """Take the fragment ``packet`` (header included; ``ip`` is its valid header).

        Returns the payload of the datagram if it is now whole. Never raises.
        """
        self._counters["ipv4_fragments"] += 1
        self.advance(now_ns)
        key = b"".join(
            (
                ip.source,
                ip.destination,
                bytes((ip.protocol,)),
                ip.identification.to_bytes(2, "big"),
            )
        )
        datagram = self._datagrams.get(key)
        if datagram is None:
            datagram = self._datagrams[key] = _Datagram(now_ns + REASSEMBLY_NS)
        if datagram.is_poisoned:
            return None
        if not self._insert(datagram, ip, packet):
            self._counters["ipv4_fragment_overlaps"] += 1
            self._release(datagram)
            datagram.is_poisoned = True
        if datagram.received == datagram.total:
            del self._datagrams[key]
            payload = b"".join(datagram.pieces)
            self._release(datagram)
            self._counters["ipv4_reassembled"] += 1
            return payload
        while self._datagrams and (
            self._cost > MAX_REASSEMBLY_BYTES or len(self._datagrams) > MAX_DATAGRAMS
        ):
            self._counters["ipv4_fragment_evictions"] += 1
            self._release(self._datagrams.pop(next(iter(self._datagrams))))
        return None

    def next_deadline(self) -> int | None:
        """When the oldest datagram is given up, in nanoseconds."""
        for datagram in self._datagrams.values():
            return datagram.deadline_ns
        return None

    def advance(self, now_ns: int) -> None:
        """Give up datagrams whose time is over."""
        while self._datagrams:
            key = next(iter(self._datagrams))
            datagram = self._datagrams[key]
            if now_ns < datagram.deadline_ns:
                return
            del self._datagrams[key]
            self._counters["ipv4_fragment_timeouts"] += 1
            if datagram.quote and len(self._expired) < MAX_DATAGRAMS:
                self._expired.append(datagram.quote)
            self._release(datagram)

    def take_expired(self) -> list[bytes]:
        """Beginnings of the first fragments of datagrams given up since the last call, for
        "reassembly time exceeded". [RFC 792] [RFC 1122 3.3.2]"""
        expired, self._expired = self._expired, []
        return expired

    def counters(self) -> dict[str, int]:
        return {**self._counters, "ipv4_reassembling": len(self._datagrams)}

    def save(self) -> State:
        return {
            "version": 1,
            "counters": dict(self._counters),
            "expired": list(self._expired),
            "datagrams": [
                {
                    "key": key,
                    "deadline_ns": d.deadline_ns,
                    "offsets": list(d.offsets),
                    "pieces": list(d.pieces),
                    "total": d.total,
                    "quote": d.quote,
                    "is_poisoned": d.is_poisoned,
                }
                for key, d in self._datagrams.items()
            ],
        }

    def load(self, state: State) -> None:
        """Raises ValueError on another version."""
        if state.get("version") != 1:
            raise ValueError(f"Reassembler: saved state has version {state.get('version')}, not 1")
        self._counters = dict(state["counters"])
        self._expired = list(state["expired"])
        self._datagrams = {}
        self._cost = 0
        for saved in state["datagrams"]:
            datagram = self._datagrams[saved["key"]] = _Datagram(saved["deadline_ns"])
            datagram.offsets = list(saved["offsets"])
            datagram.pieces = list(saved["pieces"])
            datagram.total = saved["total"]
            datagram.quote = saved["quote"]
            datagram.is_poisoned = saved["is_poisoned"]
            datagram.received = sum(len(piece) for piece in datagram.pieces)
            datagram.cost = datagram.received + _FRAGMENT_COST_BYTES * len(datagram.pieces)
            self._cost += datagram.cost

    def _insert(self, datagram: _Datagram, ip: Ipv4Repr, packet: Buffer) -> bool:
        """Put a fragment in its place; False if it contradicts what is there."""
        start = ip.fragment_offset
        end = start + ip.payload_bytes
        offsets = datagram.offsets
        pieces = datagram.pieces
        payload = bytes(packet[ip.header_bytes : ip.header_bytes + ip.payload_bytes])
        at = bisect_left(offsets, start)
        if at < len(offsets) and offsets[at] == start and pieces[at] == payload:
            return ip.more_fragments or datagram.total == end
        last = offsets[-1] + len(pieces[-1]) if offsets else 0
        if not ip.more_fragments:
            if datagram.total >= 0 or last > end:
                return False
            datagram.total = end
        elif 0 <= datagram.total < end:
            return False
        if at > 0 and offsets[at - 1] + len(pieces[at - 1]) > start:
            return False
        if at < len(offsets) and offsets[at] < end:
            return False
        if len(offsets) >= MAX_FRAGMENTS:
            return False
        offsets.insert(at, start)
        pieces.insert(at, payload)
        datagram.received += len(payload)
        cost = len(payload) + _FRAGMENT_COST_BYTES
        datagram.cost += cost
        self._cost += cost
        if start == 0:
            datagram.quote = bytes(packet[: max(_QUOTE_BYTES, ip.header_bytes + 8)])
        return True

    def _release(self, datagram: _Datagram) -> None:
        self._cost -= datagram.cost
        datagram.cost = 0
        datagram.offsets = []
        datagram.pieces = []
        datagram.received = 0
        datagram.total = -1
