"""Connections in TIME_WAIT: a small record each, a capped table, safe reuse.

A busy server has a minute's connections here, far more than caches hold, so what a record costs is
the memory that it touches. All lie in one ring, in the order they came; the oldest gives way where
it is full. Each names the one before it with the same hash: it is found by few looks, and nothing
has to be done to forget it, because whoever follows the names stops where the ring ends. All live
equally long; one whose peer sends its FIN again is put behind when its turn comes.
[RFC 9293 3.10.7.4, 3.10.7.8] [RFC 6191 2]
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from struct import Struct
from typing import Any, Final

from leulo.state import State as Saved
from leulo.state import load_fields, save_fields
from leulo.tcp.md5 import NO_KEYS, Keys
from leulo.tcp.seq import MASK, lt
from leulo.tcp.tcb import Tcb

# The number of the record before with this hash; since when, until when, until when bare segments
# get no answer; is it over; SND.NXT, RCV.NXT, offset of our timestamps, TS.Recent; the window as
# in the header, flags of accurate ECN; are there timestamps, is the address reused; front and key,
# each behind its length
_RECORD: Final = Struct("<QQQQ?4I2H??25p38p")
_TIMES: Final = Struct("<8xQQ8x?")  # since when, until when, is it over
_HELD: Final = Struct("<32x?21x?25x38p")  # is it over, is the address reused, key
_UNTIL_AT: Final = 16
_ANSWERED_AT: Final = 24
_OVER_AT: Final = 32
_U64: Final = Struct("<Q")
_FIELDS: Final = (
    "since_ns", "expires_ns", "answered_ns", "snd_nxt", "rcv_nxt", "ts_offset", "ts_recent",
    "window", "ace", "has_timestamps", "is_address_reused", "front", "key",
)  # fmt: skip
_VERSION: Final = 4
_MOST_RECORDS: Final = 1 << 20  # whatever the limit is
_RECORDS_AT_ONCE: Final = 5_000
_SPARE_KEYS: Final = 64  # that may be of no use, before all are looked at


class TimeWait:
    """What is left of a connection, as it was when the table was asked. Sequence numbers are 32
    bits wide here."""

    __slots__ = ("number", *_FIELDS)

    def __init__(self, number: int, place: tuple[Any, ...]) -> None:
        self.number: int = number  # in the table
        self.since_ns: int = place[1]
        self.expires_ns: int = place[2]
        self.answered_ns: int = place[3]
        self.snd_nxt: int = place[5]
        self.rcv_nxt: int = place[6]
        self.ts_offset: int = place[7]
        self.ts_recent: int = place[8]
        self.window: int = place[9]  # as in the header
        self.ace: int = place[10]  # flags of accurate ECN
        self.has_timestamps: bool = place[11]
        self.is_address_reused: bool = place[12]
        self.front: bytes = place[13]
        self.key: bytes = place[14]

    def allows_syn(self, seq: int, has_timestamps: bool, tsval: int) -> bool:
        """May a SYN open the connection anew before the time is over? Only if it is surely not
        an old duplicate. [RFC 6191 2] [RFC 9293 3.10.7.4 (SYN in TIME-WAIT)]"""
        if has_timestamps and self.has_timestamps and tsval != self.ts_recent:
            return lt(self.ts_recent, tsval)
        return lt(self.rcv_nxt, seq)


class TimeWaitTable:
    """All records of a stack. Numbers grow for ever, the first is 1; those from ``_tail`` on are in
    the ring, which has a place for ``limit`` of them, ended ones included."""

    __slots__ = (
        "_buckets", "_count", "_head", "_mask", "_ring", "_tail", "_worth_a_look", "duration_ns",
        "evicted", "limit", "md5_keys", "next_ns",
    )  # fmt: skip

    def __init__(self, duration_ns: int, limit: int) -> None:
        self.duration_ns: int = duration_ns
        self.limit: int = max(1, min(limit, _MOST_RECORDS))
        self.evicted: int = 0
        self.next_ns: int = 0  # before this nothing is due, 0: nothing ever
        # Of those whose segments are signed, and of some that are over: see `_keep_keys`.
        self.md5_keys: dict[bytes, Keys] = {}
        self._worth_a_look: int = _SPARE_KEYS
        self._ring: Any = None  # memory that is only taken as it is touched
        self._buckets: Any = None  # the latest record's number, by hash
        self._mask: int = (1 << (2 * self.limit - 1).bit_length()) - 1
        self._head: int = 1  # of the next record
        self._tail: int = 1
        self._count: int = 0

    def add(self, tcb: Tcb, now_ns: int) -> None:
        """Keep the record of ``tcb``, which has just closed."""
        rcv_nxt = tcb.rcv_nxt
        room = tcb.rcv_adv - rcv_nxt
        if tcb.is_room_offered:
            room = max(room, tcb.rcv_limit - tcb.received() + tcb.rcv_rounding)
        window = room >> tcb.rcv_wscale if room > 0 else 0
        if window > 0xFFFF:
            window = 0xFFFF
        ace = 0
        if tcb.ecn is not None and tcb.ecn.accurate is not None:
            ace = tcb.ecn.accurate.ace if tcb.engine.config.has_ace_in_time_wait else 0
        self._put(
            now_ns, now_ns + self.duration_ns, 0, tcb.snd_max & MASK, rcv_nxt & MASK,
            tcb.ts_offset & MASK, tcb.ts_recent, window, ace, tcb.has_timestamps,
            tcb.settings.is_address_reused, tcb.front or b"", tcb.key,
        )  # fmt: skip
        if tcb.settings.md5_keys or self.md5_keys:
            self._keep_keys(tcb)

    def _keep_keys(self, tcb: Tcb) -> None:
        """What the record of ``tcb`` answers with; forgets those whose record is over, when they
        have become many."""
        self.md5_keys.pop(tcb.key, None)
        if len(self.md5_keys) >= self._worth_a_look:
            self.md5_keys = {k: v for k, v in self.md5_keys.items() if self.get(k) is not None}
            self._worth_a_look = 2 * len(self.md5_keys) + _SPARE_KEYS
        if tcb.settings.md5_keys:
            self.md5_keys[tcb.key] = tcb.settings.md5_keys

    def keys_of(self, key: bytes) -> Keys:
        """What the segments of the connection with this record are signed with."""
        return self.md5_keys.get(key, NO_KEYS) if self.md5_keys else NO_KEYS

    def _put(
        self, since_ns: int, expires_ns: int, answered_ns: int, snd_nxt: int, rcv_nxt: int,
        ts_offset: int, ts_recent: int, window: int, ace: int, has_timestamps: bool,
        is_address_reused: bool, front: bytes, key: bytes,
    ) -> None:  # fmt: skip
        """Write a record at the head; the one whose place that was gives way."""
        ring = self._ring
        if ring is None:
            ring = self._ring = _memory(self.limit * _RECORD.size)
            self._buckets = memoryview(_memory((self._mask + 1) * _U64.size)).cast("Q")
        head = self._head
        at = head % self.limit * _RECORD.size
        if head - self._tail == self.limit:
            if not ring[at + _OVER_AT]:
                self.evicted += 1
                self._count -= 1
            self._tail += 1
        bucket = hash(key) & self._mask
        buckets = self._buckets
        _RECORD.pack_into(
            ring, at, buckets[bucket], since_ns, expires_ns, answered_ns, False, snd_nxt, rcv_nxt,
            ts_offset, ts_recent, window, ace, has_timestamps, is_address_reused, front, key,
        )  # fmt: skip
        buckets[bucket] = head
        self._head = head + 1
        self._count += 1
        if not self.next_ns:
            self.next_ns = since_ns + self.duration_ns

    def get(self, key: bytes) -> TimeWait | None:
        """The record of a connection, if there is one."""
        if not self._count:
            return None
        ring = self._ring
        number = self._buckets[hash(key) & self._mask]
        while number >= self._tail:
            place = _RECORD.unpack_from(ring, number % self.limit * _RECORD.size)
            if place[-1] == key and not place[4]:
                return TimeWait(number, place)
            number = place[0]
        return None

    def remove(self, record: TimeWait) -> None:
        """End one before its time. Its place is free when it comes up."""
        at = self._place(record)
        if at >= 0:
            self._ring[at + _OVER_AT] = 1
            self._count -= 1

    def restart(self, record: TimeWait, now_ns: int) -> None:
        """Two more maximum segment lifetimes, at the least."""
        at = self._place(record)
        if at >= 0:
            _U64.pack_into(self._ring, at + _UNTIL_AT, now_ns + self.duration_ns)

    def answered(self, record: TimeWait, until_ns: int) -> None:
        """A bare segment was answered: until then no other is."""
        at = self._place(record)
        if at >= 0:
            _U64.pack_into(self._ring, at + _ANSWERED_AT, until_ns)

    def advance(self, now_ns: int) -> None:
        """Forget what is over; of very many only some, the rest is then still due."""
        if not self.next_ns or now_ns < self.next_ns:
            return
        ring = self._ring
        latest_ns = now_ns - self.duration_ns
        left = _RECORDS_AT_ONCE
        self.next_ns = 0
        while self._tail < self._head:
            at = self._tail % self.limit * _RECORD.size
            since_ns, expires_ns, is_over = _TIMES.unpack_from(ring, at)
            if since_ns > latest_ns or not left:
                self.next_ns = since_ns + self.duration_ns
                return
            left -= 1
            place = _RECORD.unpack_from(ring, at) if expires_ns > now_ns and not is_over else None
            self._tail += 1
            if not is_over:
                self._count -= 1
            if place is not None:  # restarted meanwhile: behind all that are there
                self._put(expires_ns - self.duration_ns, expires_ns, place[3], *place[5:])
        self._ring = self._buckets = None  # nobody is left who needs it
        self.md5_keys = {}

    def values(self) -> list[TimeWait]:
        """All of them, the oldest first."""
        found = []
        for number in range(self._tail, self._head):
            place = _RECORD.unpack_from(self._ring, number % self.limit * _RECORD.size)
            if not place[4]:
                found.append(TimeWait(number, place))
        return found

    def held(self) -> Iterator[tuple[bytes, bool]]:
        """The key of each, and whether its address may be reused."""
        for part in self._parts():
            for is_over, is_address_reused, key in _HELD.iter_unpack(part):
                if not is_over:
                    yield key, is_address_reused

    def held_at(self, ends: tuple[bytes, ...]) -> list[tuple[bytes, bool]]:
        """As `held`, of those whose key ends in one of ``ends``."""
        return [
            (key, is_address_reused)
            for part in self._parts()
            for is_over, is_address_reused, key in _HELD.iter_unpack(part)
            if key.endswith(ends) and not is_over
        ]

    @property
    def bytes(self) -> int:
        """How much memory there is for records, the part that was never touched included."""
        return 0 if self._ring is None else len(self._ring) + self._buckets.nbytes

    def __len__(self) -> int:
        return self._count

    def save(self) -> Saved:
        return {
            "version": _VERSION,
            "evicted": self.evicted,
            "md5_keys": {key: self.md5_keys[key] for key in self.md5_keys if self.get(key)},
            "records": [save_fields(record, _VERSION, _FIELDS) for record in self.values()],
        }

    def load(self, state: Saved) -> None:
        """Raises ValueError on another version."""
        if state.get("version") != _VERSION:
            raise ValueError(f"TimeWaitTable: version {state.get('version')} is not known")
        self._tail = self._head
        self._count = self.next_ns = 0
        for saved in state["records"]:
            record = TimeWait(0, (0,) * 11 + (False, False, b"", b""))
            load_fields(record, _VERSION, _FIELDS, saved)
            self._put(*(getattr(record, name) for name in _FIELDS))
        self.evicted = state["evicted"]
        self.md5_keys = {
            key: tuple((k[0], k[1], k[2]) for k in keys) for key, keys in state["md5_keys"].items()
        }

    def _parts(self) -> list[memoryview]:
        """The ring's records, the oldest first, without a copy."""
        if self._ring is None:
            return []
        ring = memoryview(self._ring)
        first = self._tail % self.limit
        last = first + self._head - self._tail
        over = max(last - self.limit, 0)  # what goes on at the ring's beginning
        size = _RECORD.size
        return [ring[first * size : (last - over) * size], ring[: over * size]]

    def _place(self, record: TimeWait) -> int:
        """Where in the ring it is, -1: it is over."""
        number = record.number
        at = number % self.limit * _RECORD.size
        if number < self._tail or self._ring[at + _OVER_AT]:
            return -1
        return at


def _memory(size: int) -> mmap.mmap:
    """Zeros; the pages are taken as they are touched."""
    return mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
