"""The neighbour cache of one interface: IP addresses to MAC addresses, sans-IO.

Frames and the wish to send come in; frames to send, failed addresses and the next deadline come
out. How a neighbour is asked and what its answers look like is for `arp` and `ndp`, which build on
this. An entry goes INCOMPLETE -> REACHABLE -> STALE -> PROBE -> (REACHABLE or gone) as in
neighbour unreachability detection; a failed address stays FAILED for a while, so that a sender
cannot make one request per packet. What an attacker on the link can do is bounded: the table, the
waiting frames and the requests per address are limited. [RFC 1122 2.3.2] [RFC 4861 7.3]
"""

from __future__ import annotations

from typing import Final

from leulo.errors import LeuloBug
from leulo.net.wire import Buffer, vnet
from leulo.net.wire.ethernet import UNSPECIFIED
from leulo.state import State
from leulo.units import NS_PER_S

TxFrame = tuple[Buffer, ...]

INCOMPLETE: Final = 0  # asked for, no answer yet: frames wait
REACHABLE: Final = 1  # answered lately
STALE: Final = 2  # known, old: used, and asked again on the first use
PROBE: Final = 3  # known, old, asked again
FAILED: Final = 4  # no answer: senders are told so until the entry is forgotten

STATE_NAMES: Final = ("INCOMPLETE", "REACHABLE", "STALE", "PROBE", "FAILED")

RETRANSMIT_NS: Final = NS_PER_S  # at most one request per second and address [RFC 1122 2.3.2.1]
REQUESTS: Final = 3
REACHABLE_NS: Final = 30 * NS_PER_S
FAILED_NS: Final = 5 * NS_PER_S
MAX_ENTRIES: Final = 1024
MAX_WAITING_FRAMES: Final = 64  # per address; the oldest are dropped [RFC 1122 2.3.2.2]
MAX_WAITING_BYTES: Final = 1 << 20  # of all addresses together

_FRAME_DESTINATION: Final = vnet.HEADER_BYTES
_FRAME_SOURCE: Final = vnet.HEADER_BYTES + 6


class Neighbour:
    """One entry. ``deadline_ns`` is when its state times out, 0 for never."""

    __slots__ = ("deadline_ns", "mac", "requests", "state", "updated_ns", "waiting")

    def __init__(self, state: int) -> None:
        self.state: int = state
        self.mac: bytes = UNSPECIFIED
        self.deadline_ns: int = 0
        self.requests: int = 0
        self.updated_ns: int = 0
        self.waiting: list[TxFrame] | None = None


_COUNTS: Final = ("in", "out", "conflicts", "evicted", "waiting_dropped", "failed")


class NeighbourCache:
    """What ARP and neighbour discovery share. ``prefix`` begins the names of the counters,
    ``delay_ns`` is how long a stale entry is used before its neighbour is asked, ``lock_ns`` for
    how long no other MAC replaces one that is fresh."""

    def __init__(self, mac: bytes, prefix: str, delay_ns: int, lock_ns: int) -> None:
        self.mac: bytes = mac
        self._prefix: str = prefix
        self._delay_ns: int = delay_ns
        self._lock_ns: int = lock_ns
        self._entries: dict[bytes, Neighbour] = {}  # least recently changed first
        self.output: list[TxFrame] = []
        self._failed: list[bytes] = []
        self._has_news: bool = False  # somebody who was asked for has answered
        self._waiting_bytes: int = 0
        self.next_ns: int | None = None  # never later than the earliest deadline
        self._counters: dict[str, int] = dict.fromkeys((prefix + name for name in _COUNTS), 0)

    # -- for senders

    def lookup(self, address: bytes, now_ns: int) -> bytes | None:
        """The MAC of ``address``, or None if it is not known; asks nobody except about a stale
        entry. One dictionary access in the usual case."""
        entry = self._entries.get(address)
        if entry is None or entry.state == INCOMPLETE or entry.state == FAILED:
            return None
        if entry.state == STALE:
            entry.state = PROBE
            entry.requests = 0
            if self._delay_ns:
                entry.deadline_ns = now_ns + self._delay_ns
                self._wake_by(entry.deadline_ns)
            else:
                self._request(address, entry, now_ns)
        return entry.mac

    def resolve(self, address: bytes, now_ns: int) -> bool:
        """Begin to ask for ``address`` unless it is known or asked for already.

        Returns False if it has failed lately, or too many others are being asked for: the sender
        reports the host as unreachable.
        """
        entry = self._entries.get(address)
        if entry is None:
            entry = self._insert(address, INCOMPLETE)
            if entry is None:
                return False
            self._request(address, entry, now_ns)
        return entry.state != FAILED

    def send(self, address: bytes, frame: TxFrame, now_ns: int) -> bool:
        """Send ``frame`` (virtio_net_hdr, Ethernet header and more in the first buffer) with
        its destination MAC filled, now or when ``address`` is resolved.

        The buffers are kept until then. Returns False as `resolve` does.
        """
        mac = self.lookup(address, now_ns)
        if mac is not None:
            self.output.append(_addressed(frame, mac))
            return True
        if not self.resolve(address, now_ns):
            return False
        entry = self._entries[address]
        if entry.waiting is None:
            entry.waiting = []
        entry.waiting.append(frame)
        self._waiting_bytes += _length(frame)
        while entry.waiting and (
            len(entry.waiting) > MAX_WAITING_FRAMES or self._waiting_bytes > MAX_WAITING_BYTES
        ):
            self._waiting_bytes -= _length(entry.waiting.pop(0))
            self._counters[self._prefix + "waiting_dropped"] += 1
        return True

    # -- for the interface

    @property
    def has_output(self) -> bool:
        return bool(self.output)

    def take_output(self) -> list[TxFrame]:
        """Frames to be sent now, each once: requests, replies, and frames whose wait is over."""
        output, self.output = self.output, []
        return output

    def take_failed(self) -> list[bytes]:
        """Addresses that turned out not to answer since the last call."""
        failed, self._failed = self._failed, []
        return failed

    def take_news(self) -> bool:
        """Has a neighbour who was asked for been found since the last call? Those who wait for
        one should look again; other messages are no reason to."""
        has_news, self._has_news = self._has_news, False
        return has_news

    def next_deadline(self) -> int | None:
        """When `advance` is next needed, in nanoseconds; may be too early, never too late."""
        return self.next_ns

    def advance(self, now_ns: int) -> None:
        """Ask again, give up, grow stale, forget: whatever is due."""
        if self.next_ns is None or now_ns < self.next_ns:
            return
        gone: list[bytes] = []
        for address, entry in self._entries.items():
            if not entry.deadline_ns or now_ns < entry.deadline_ns:
                continue
            if entry.state == REACHABLE:
                entry.state = STALE
                entry.deadline_ns = 0
            elif entry.state == INCOMPLETE or entry.state == PROBE:
                if entry.requests < REQUESTS:
                    self._request(address, entry, now_ns)
                else:
                    self._fail(address, entry, now_ns)
            elif entry.state == FAILED:
                gone.append(address)
        for address in gone:
            del self._entries[address]
        deadlines = [e.deadline_ns for e in self._entries.values() if e.deadline_ns]
        self.next_ns = min(deadlines) if deadlines else None

    def entries(self) -> list[tuple[bytes, bytes, str]]:
        """Address, MAC and state of every entry, for people."""
        return [(a, e.mac, STATE_NAMES[e.state]) for a, e in self._entries.items()]

    def counters(self) -> dict[str, int]:
        return {**self._counters, self._prefix + "entries": len(self._entries)}

    def save(self) -> State:
        return {
            "version": 1,
            "mac": self.mac,
            "counters": dict(self._counters),
            "failed": list(self._failed),
            "output": [b"".join(frame) for frame in self.output],
            "entries": [
                {
                    "address": address,
                    "state": entry.state,
                    "mac": entry.mac,
                    "deadline_ns": entry.deadline_ns,
                    "requests": entry.requests,
                    "updated_ns": entry.updated_ns,
                    "waiting": [b"".join(frame) for frame in entry.waiting or ()],
                }
                for address, entry in self._entries.items()
            ],
        }

    def load(self, state: State) -> None:
        """Raises ValueError on another version."""
        if state.get("version") != 1:
            raise ValueError(f"neighbours: saved state has version {state.get('version')}, not 1")
        self.mac = state["mac"]
        self._counters = dict(state["counters"])
        self._failed = list(state["failed"])
        self.output = [(frame,) for frame in state["output"]]
        self._entries = {}
        self._waiting_bytes = 0
        self.next_ns = None
        for saved in state["entries"]:
            entry = Neighbour(saved["state"])
            entry.mac = saved["mac"]
            entry.deadline_ns = saved["deadline_ns"]
            entry.requests = saved["requests"]
            entry.updated_ns = saved["updated_ns"]
            if saved["waiting"]:
                entry.waiting = [(frame,) for frame in saved["waiting"]]
                self._waiting_bytes += sum(len(frame) for frame in saved["waiting"])
            self._entries[saved["address"]] = entry
            if entry.deadline_ns:
                self._wake_by(entry.deadline_ns)

    # -- inside

    def _ask(self, address: bytes, entry: Neighbour) -> None:
        """Put a request for ``address`` into the output; of a known neighbour, himself."""
        raise LeuloBug("a neighbour cache of no protocol")

    def _insert(self, address: bytes, state: int) -> Neighbour | None:
        """A new entry; None if the table is full of neighbours that are being asked for."""
        if len(self._entries) >= MAX_ENTRIES and not self._evict():
            return None
        entry = self._entries[address] = Neighbour(state)
        return entry

    def _evict(self) -> bool:
        """Make room: the oldest entry that is not being asked for gives way."""
        for address, entry in self._entries.items():
            if entry.state != INCOMPLETE:
                del self._entries[address]
                self._counters[self._prefix + "evicted"] += 1
                return True
        return False

    def _learn(self, address: bytes, entry: Neighbour, mac: bytes, now_ns: int) -> None:
        is_fresh = entry.state == REACHABLE and now_ns - entry.updated_ns < self._lock_ns
        if is_fresh and entry.mac != mac:
            return  # of two answers the first counts, so that they do not take turns
        if entry.requests and (entry.state == INCOMPLETE or entry.state == FAILED):
            self._has_news = True
        entry.state = REACHABLE
        entry.mac = mac
        entry.updated_ns = now_ns
        entry.deadline_ns = now_ns + REACHABLE_NS
        entry.requests = 0
        self._wake_by(entry.deadline_ns)
        self._entries[address] = self._entries.pop(address)
        if entry.waiting is not None:
            for frame in entry.waiting:
                self._waiting_bytes -= _length(frame)
                self.output.append(_addressed(frame, mac))
            entry.waiting = None

    def _fail(self, address: bytes, entry: Neighbour, now_ns: int) -> None:
        entry.state = FAILED
        entry.deadline_ns = now_ns + FAILED_NS
        self._drop_waiting(entry)
        self._failed.append(address)
        self._counters[self._prefix + "failed"] += 1

    def _drop_waiting(self, entry: Neighbour) -> None:
        if entry.waiting is not None:
            self._waiting_bytes -= sum(_length(frame) for frame in entry.waiting)
            self._counters[self._prefix + "waiting_dropped"] += len(entry.waiting)
            entry.waiting = None

    def _request(self, address: bytes, entry: Neighbour, now_ns: int) -> None:
        entry.requests += 1
        entry.deadline_ns = now_ns + RETRANSMIT_NS
        self._wake_by(entry.deadline_ns)
        self._ask(address, entry)

    def _wake_by(self, deadline_ns: int) -> None:
        if self.next_ns is None or deadline_ns < self.next_ns:
            self.next_ns = deadline_ns


def _addressed(frame: TxFrame, mac: bytes) -> TxFrame:
    first = frame[0]
    head = b"".join((first[:_FRAME_DESTINATION], mac, first[_FRAME_SOURCE:]))
    return (head, *frame[1:])


def _length(frame: TxFrame) -> int:
    return sum(len(part) for part in frame)
