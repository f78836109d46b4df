"""Fragments of IP datagrams, joined within bounds of memory and time; no clock, no I/O.

One class for both versions: they differ in what names a datagram. [RFC 791 3.2] [RFC 815]
[RFC 8200 4.5]
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

from leulo.net.wire import Buffer
from leulo.net.wire.ipv4 import Ipv4Repr
from leulo.state import State
from leulo.units import NS_PER_S

REASSEMBLY_NS: Final = 60 * NS_PER_S  # [RFC 1122 3.3.2]: between 60 and 120 seconds
MAX_DATAGRAMS: Final = 64  # being reassembled at once
MAX_REASSEMBLY_BYTES: Final = 1 << 20  # of all of them together, with bookkeeping
MAX_FRAGMENTS: Final = 1400  # of one datagram: 65,535 bytes over the smallest MTU, 68
_FRAGMENT_COST_BYTES: Final = 128  # what a fragment takes beside its payload
_QUOTE_BYTES: Final = 1280  # of a first fragment: no ICMP error quotes more
_CODEPOINT: Final = 3  # of the traffic class
# The ECN field of a datagram by those of its fragments, a bit each: a mark on one counts for all.
# One that is not capable among others that are is a mistake, or an attempt to hide a mark: -1, and
# the datagram is dropped. [RFC 3168 5.3]
_JOINED: Final = (0, 0, 1, -1, 2, -1, 2, -1, 3, -1, 3, -1, 3, -1, 3, -1)
_COUNTS: Final = (
    "fragments", "reassembled", "fragment_overlaps", "fragment_timeouts", "fragment_evictions",
    "fragment_marks",
)  # fmt: skip


class _Datagram:
    """Fragments of one datagram, in order, not overlapping."""

    __slots__ = ("codepoints", "cost", "deadline_ns", "head", "is_poisoned", "offsets", "pieces",
                 "received", "total")  # fmt: skip

    def __init__(self, deadline_ns: int) -> None:
        self.deadline_ns: int = deadline_ns
        self.offsets: list[int] = []
        self.pieces: list[bytes] = []
        self.received: int = 0
        self.total: int = -1  # bytes of payload, once the last fragment has come
        self.cost: int = 0
        self.head: bytes = b""  # what stands before the first fragment's payload
        self.codepoints: int = 0  # a bit for each of the ECN field's that a fragment had
        self.is_poisoned: bool = False  # an overlap was seen: everything further is dropped


class Reassembler:
    """Joins fragments. A datagram with overlapping fragments is dropped whole, with all that
    still come of it; an exact duplicate is only ignored. [RFC 791 3.2] [RFC 815] [RFC 5722 3]

    Time and memory are bounded: at the limit the oldest datagram gives way.
    """

    def __init__(self, prefix: str = "ipv4_") -> None:
        self._prefix: str = prefix  # of the counters' names
        self.datagrams: dict[bytes, _Datagram] = {}  # oldest first, so also by deadline
        self.first: bytes = b""  # the ``head`` of the datagram that was last whole
        self.codepoint: int = 0  # and its ECN field
        self._cost: int = 0
        self._expired: list[bytes] = []
        self._counters: dict[str, int] = dict.fromkeys((prefix + name for name in _COUNTS), 0)

    def input(self, ip: Ipv4Repr, packet: Buffer, now_ns: int) -> bytes | None:
        """Take the IPv4 fragment ``packet`` (header included; ``ip`` is its valid header).

        Returns the payload of the datagram if it is now whole. Never raises.
        """
        key = b"".join(
            (
                ip.source,
                ip.destination,
                bytes((ip.protocol,)),
                ip.identification.to_bytes(2, "big"),
            )
        )
        end = ip.header_bytes + ip.payload_bytes
        payload = bytes(packet[ip.header_bytes : end])
        head = bytes(packet[: ip.header_bytes])
        codepoint = ip.traffic_class & _CODEPOINT
        return self.insert(
            key, ip.fragment_offset, payload, ip.more_fragments, head, codepoint, now_ns
        )

    def insert(
        self,
        key: bytes,
        start: int,
        payload: bytes,
        has_more: bool,
        head: bytes,
        codepoint: int,
        now_ns: int,
    ) -> bytes | None:
        """Take a fragment of the datagram ``key``; ``head`` is what stands before its payload, of
        which the first one's is kept, ``codepoint`` its ECN field. Returns the whole payload,
        once it is there. Never raises."""
        self._count("fragments")
        self.advance(now_ns)
        datagram = self.datagrams.get(key)
        if datagram is None:
            datagram = self.datagrams[key] = _Datagram(now_ns + REASSEMBLY_NS)
        if datagram.is_poisoned:
            return None
        if not self._insert(datagram, start, payload, has_more, head):
            self._count("fragment_overlaps")
            self._release(datagram)
            datagram.is_poisoned = True
        datagram.codepoints |= 1 << codepoint
        if datagram.received == datagram.total:
            del self.datagrams[key]
            self.first = datagram.head
            self.codepoint = _JOINED[datagram.codepoints]
            payload = b"".join(datagram.pieces)
            self._release(datagram)
            if self.codepoint < 0:
                self._count("fragment_marks")
                return None
            self._count("reassembled")
            return payload
        while self.datagrams and (
            self._cost > MAX_REASSEMBLY_BYTES or len(self.datagrams) > MAX_DATAGRAMS
        ):
            self._count("fragment_evictions")
            self._release(self.datagrams.pop(next(iter(self.datagrams))))
        return None

    def next_deadline(self) -> int | None:
        """When the oldest datagram is given up, in nanoseconds."""
        for datagram in self.datagrams.values():
            return datagram.deadline_ns
        return None

    def advance(self, now_ns: int) -> None:
        """Give up datagrams whose time is over."""
        while self.datagrams:
            key = next(iter(self.datagrams))
            datagram = self.datagrams[key]
            if now_ns < datagram.deadline_ns:
                return
            del self.datagrams[key]
            self._count("fragment_timeouts")
            if datagram.head and datagram.pieces and len(self._expired) < MAX_DATAGRAMS:
                self._expired.append((datagram.head + datagram.pieces[0])[:_QUOTE_BYTES])
            self._release(datagram)

    def take_expired(self) -> list[bytes]:
        """Beginnings of the first fragments of datagrams given up since the last call, for
        "reassembly time exceeded". [RFC 792] [RFC 1122 3.3.2]"""
        expired, self._expired = self._expired, []
        return expired

    def counters(self) -> dict[str, int]:
        return {**self._counters, self._prefix + "reassembling": len(self.datagrams)}

    def save(self) -> State:
        return {
            "version": 3,
            "counters": dict(self._counters),
            "expired": list(self._expired),
            "datagrams": [
                {
                    "key": key,
                    "deadline_ns": d.deadline_ns,
                    "offsets": list(d.offsets),
                    "pieces": list(d.pieces),
                    "total": d.total,
                    "head": d.head,
                    "codepoints": d.codepoints,
                    "is_poisoned": d.is_poisoned,
                }
                for key, d in self.datagrams.items()
            ],
        }

    def load(self, state: State) -> None:
        """Raises ValueError on another version."""
        if state.get("version") != 3:
            raise ValueError(f"Reassembler: saved state has version {state.get('version')}, not 3")
        self._counters = dict(state["counters"])
        self._expired = list(state["expired"])
        self.datagrams = {}
        self._cost = 0
        for saved in state["datagrams"]:
            datagram = self.datagrams[saved["key"]] = _Datagram(saved["deadline_ns"])
            datagram.offsets = list(saved["offsets"])
            datagram.pieces = list(saved["pieces"])
            datagram.total = saved["total"]
            datagram.head = saved["head"]
            datagram.codepoints = saved["codepoints"]
            datagram.is_poisoned = saved["is_poisoned"]
            datagram.received = sum(len(piece) for piece in datagram.pieces)
            datagram.cost = datagram.received + _FRAGMENT_COST_BYTES * len(datagram.pieces)
            self._cost += datagram.cost

    def _count(self, name: str) -> None:
        self._counters[self._prefix + name] += 1

    def _insert(
        self, datagram: _Datagram, start: int, payload: bytes, has_more: bool, head: bytes
    ) -> bool:
        """Put a fragment in its place; False if it contradicts what is there."""
        end = start + len(payload)
        offsets = datagram.offsets
        pieces = datagram.pieces
        at = bisect_left(offsets, start)
        if at < len(offsets) and offsets[at] == start and pieces[at] == payload:
            return has_more or datagram.total == end
        last = offsets[-1] + len(pieces[-1]) if offsets else 0
        if not has_more:
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
            datagram.head = head
        return True

    def _release(self, datagram: _Datagram) -> None:
        self._cost -= datagram.cost
        datagram.cost = 0
        datagram.offsets = []
        datagram.pieces = []
        datagram.received = 0
        datagram.total = -1
