"""Connections in TIME_WAIT: a small record each, a capped table, safe reuse.

All records live equally long, so the table expires them in the order they came; one whose peer
sends its FIN again is replaced by a younger one. Past the cap the oldest gives way. A busy server
has a minute's connections here, and what a record takes is memory that was never touched before:
hence its numbers are packed. [RFC 9293 3.10.7.4, 3.10.7.8] [RFC 6191 2]
"""

from __future__ import annotations

from collections import deque
from struct import Struct
from typing import Final

from leulo.state import State as Saved
from leulo.state import load_fields, save_fields
from leulo.tcp.addresses import ends_of
from leulo.tcp.seq import MASK, lt
from leulo.tcp.tcb import Tcb

# SND.NXT, RCV.NXT, offset of our timestamps, TS.Recent; the window as in the header, flags of
# accurate ECN, whether there are timestamps
_NUMBERS: Final = Struct("!IIIIHH?")
_VERSION: Final = 2
_FIELDS: Final = ("key", "front", "numbers", "since_ns", "answered_ns", "is_address_reused")
_RECORDS_AT_ONCE: Final = 5_000
_SPARE_PLACES: Final = 256  # of ended records, before their places are worth a look


class TimeWait:
    """What is left of a connection. Sequence numbers are 32 bits wide here."""

    __slots__ = _FIELDS

    def __init__(
        self, key: bytes, front: bytes, numbers: bytes, since_ns: int, is_address_reused: bool
    ) -> None:
        self.key: bytes = key
        self.front: bytes = front
        self.numbers: bytes = numbers
        self.since_ns: int = since_ns
        self.answered_ns: int = 0
        self.is_address_reused: bool = is_address_reused

    @property
    def snd_nxt(self) -> int:
        return int(_NUMBERS.unpack(self.numbers)[0])

    @property
    def rcv_nxt(self) -> int:
        return int(_NUMBERS.unpack(self.numbers)[1])

    @property
    def ts_offset(self) -> int:
        return int(_NUMBERS.unpack(self.numbers)[2])

    @property
    def ts_recent(self) -> int:
        return int(_NUMBERS.unpack(self.numbers)[3])

    @property
    def window(self) -> int:
        """As in the header."""
        return int(_NUMBERS.unpack(self.numbers)[4])

    @property
    def ace(self) -> int:
        """Flags of accurate ECN."""
        return int(_NUMBERS.unpack(self.numbers)[5])

    @property
    def has_timestamps(self) -> bool:
        return bool(_NUMBERS.unpack(self.numbers)[6])

    def allows_syn(self, seq: int, has_timestamps: bool, tsval: int) -> bool:
        """May a SYN open the connection anew before the time is over? Only if it is surely not
        an old duplicate. [RFC 6191 2] [RFC 9293 3.10.7.4 (SYN in TIME-WAIT)]"""
        if has_timestamps and self.has_timestamps and tsval != self.ts_recent:
            return lt(self.ts_recent, tsval)
        return lt(self.rcv_nxt, seq)

    @property
    def local_port(self) -> int:
        return ends_of(self.key)[1]

    @property
    def local(self) -> bytes:
        return ends_of(self.key)[0]


class TimeWaitTable:
    """All ``records`` of a stack, by key."""

    __slots__ = ("duration_ns", "evicted", "limit", "order", "records")

    def __init__(self, duration_ns: int, limit: int) -> None:
        self.duration_ns: int = duration_ns
        self.limit: int = limit
        self.evicted: int = 0
        self.records: dict[bytes, TimeWait] = {}
        # As they came. Until the time of the first, which may be too early, nothing is due.
        self.order: deque[TimeWait] = deque()

    def add(self, tcb: Tcb, now_ns: int) -> None:
        """Keep the record of ``tcb``, which has just closed."""
        if len(self.records) >= self.limit:
            self._evict()
        key = tcb.key
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
        numbers = _NUMBERS.pack(
            tcb.snd_max & MASK, rcv_nxt & MASK, tcb.ts_offset & MASK, tcb.ts_recent, window, ace,
            tcb.has_timestamps,
        )  # fmt: skip
        record = TimeWait(key, tcb.front or b"", numbers, now_ns, tcb.settings.is_address_reused)
        self.records[key] = record
        self.order.append(record)

    def remove(self, record: TimeWait) -> None:
        """End one before its time; its place in the order is dropped when it comes up, or when
        such places are more than half: a peer that reuses its ports fills no memory."""
        records = self.records
        if records.get(record.key) is record:
            del records[record.key]
            order = self.order
            while order and records.get(order[0].key) is not order[0]:
                order.popleft()
            if len(order) > 2 * len(records) + _SPARE_PLACES:
                self.order = deque([r for r in order if records.get(r.key) is r])

    def restart(self, record: TimeWait, now_ns: int) -> TimeWait:
        """Two more maximum segment lifetimes: the record that stands for it now."""
        self.remove(record)
        younger = TimeWait(
            record.key, record.front, record.numbers, now_ns, record.is_address_reused
        )
        younger.answered_ns = record.answered_ns
        self.records[record.key] = younger
        self.order.append(younger)
        return younger

    def advance(self, now_ns: int) -> None:
        """Forget what is over; of very many only some, the rest is then still due."""
        order = self.order
        records = self.records
        latest_ns = now_ns - self.duration_ns
        left = _RECORDS_AT_ONCE
        while order and order[0].since_ns <= latest_ns and left:
            left -= 1
            record = order.popleft()
            if records.get(record.key) is record:
                del records[record.key]

    def values(self) -> list[TimeWait]:
        return list(self.records.values())

    def __len__(self) -> int:
        return len(self.records)

    def save(self) -> Saved:
        return {
            "version": _VERSION,
            "evicted": self.evicted,
            "records": [
                save_fields(record, _VERSION, _FIELDS)
                for record in self.order
                if self.records.get(record.key) is record
            ],
        }

    def load(self, state: Saved) -> None:
        """Raises ValueError on another version."""
        if state.get("version") != _VERSION:
            raise ValueError(f"TimeWaitTable: version {state.get('version')} is not known")
        self.evicted = state["evicted"]
        self.records = {}
        self.order = deque()
        for saved in state["records"]:
            record = TimeWait(b"", b"", b"", 0, False)
            load_fields(record, _VERSION, _FIELDS, saved)
            if len(record.numbers) != _NUMBERS.size:
                raise ValueError("TimeWaitTable: a record's numbers are malformed")
            self.records[record.key] = record
            self.order.append(record)

    def _evict(self) -> None:
        while self.order:
            record = self.order.popleft()
            if self.records.get(record.key) is record:
                del self.records[record.key]
                self.evicted += 1
                return
