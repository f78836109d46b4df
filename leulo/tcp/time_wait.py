"""Connections in TIME_WAIT: a small record each, a capped table, safe reuse.

All records live equally long, so the table expires them in the order they came; one that must
live on (its peer sent its FIN again) is put behind when its turn comes. Past the cap the oldest
gives way. [RFC 9293 3.10.7.4, 3.10.7.8] [RFC 6191 2]
"""

from __future__ import annotations

from collections import deque
from typing import Final

from leulo.state import State as Saved
from leulo.state import load_fields, save_fields
from leulo.tcp.addresses import ends_of
from leulo.tcp.seq import MASK, lt
from leulo.tcp.tcb import Tcb

_FIELDS: Final = (
    "key", "snd_nxt", "rcv_nxt", "window", "has_timestamps", "ts_offset", "ts_recent", "since_ns",
    "expires_ns", "front", "is_address_reused", "answered_ns", "ace",
)  # fmt: skip
_RECORDS_AT_ONCE: Final = 5_000
_SPARE_PLACES: Final = 256  # of ended records, before their places are worth a look


class TimeWait:
    """What is left of a connection. Sequence numbers are 32 bits wide here."""

    __slots__ = _FIELDS

    def __init__(
        self,
        key: bytes,
        front: bytes,
        snd_nxt: int,
        rcv_nxt: int,
        window: int,
        since_ns: int,
        expires_ns: int,
        has_timestamps: bool = False,
        ts_offset: int = 0,
        ts_recent: int = 0,
        is_address_reused: bool = False,
    ) -> None:
        self.key: bytes = key
        self.front: bytes = front
        self.snd_nxt: int = snd_nxt
        self.rcv_nxt: int = rcv_nxt
        self.window: int = window  # as in the header
        self.since_ns: int = since_ns
        self.expires_ns: int = expires_ns
        self.has_timestamps: bool = has_timestamps
        self.ts_offset: int = ts_offset
        self.ts_recent: int = ts_recent
        self.is_address_reused: bool = is_address_reused
        self.answered_ns: int = 0
        self.ace: int = 0  # flags of accurate ECN

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
    """All records of a stack, by key."""

    __slots__ = ("_records", "duration_ns", "evicted", "limit", "order")

    def __init__(self, duration_ns: int, limit: int) -> None:
        self.duration_ns: int = duration_ns
        self.limit: int = limit
        self.evicted: int = 0
        self._records: dict[bytes, TimeWait] = {}
        # As they came. Until the time of the first, which may be too early, nothing is due.
        self.order: deque[TimeWait] = deque()

    def add(self, tcb: Tcb, now_ns: int) -> None:
        """Keep the record of ``tcb``, which has just closed."""
        if len(self._records) >= self.limit:
            self._evict()
        key = tcb.key
        rcv_nxt = tcb.rcv_nxt
        window = tcb.rcv_adv - rcv_nxt >> tcb.rcv_wscale if tcb.rcv_adv > rcv_nxt else 0
        if tcb.is_room_offered:
            room = tcb.rcv_limit - tcb.received() + tcb.rcv_rounding
            window = min(0xFFFF, max(window, room >> tcb.rcv_wscale))
        record = TimeWait(
            key, tcb.front or b"", tcb.snd_max & MASK, rcv_nxt & MASK, window, now_ns,
            now_ns + self.duration_ns, tcb.has_timestamps, tcb.ts_offset, tcb.ts_recent,
            tcb.settings.is_address_reused,
        )  # fmt: skip
        has_ace = tcb.engine.config.has_ace_in_time_wait
        if has_ace and tcb.ecn is not None and tcb.ecn.accurate is not None:
            record.ace = tcb.ecn.accurate.ace
        self._records[key] = record
        self.order.append(record)

    def get(self, key: bytes) -> TimeWait | None:
        return self._records.get(key)

    def remove(self, record: TimeWait) -> None:
        """End one before its time; its place in the order is dropped when it comes up, or when
        such places are more than half: a peer that reuses its ports fills no memory."""
        if self._records.get(record.key) is record:
            del self._records[record.key]
            record.expires_ns = 0
            order = self.order
            while order and not order[0].expires_ns:
                order.popleft()
            if len(order) > 2 * len(self._records) + _SPARE_PLACES:
                self.order = deque([r for r in order if r.expires_ns])

    def restart(self, record: TimeWait, now_ns: int) -> None:
        """Two more maximum segment lifetimes."""
        record.expires_ns = now_ns + self.duration_ns

    def advance(self, now_ns: int) -> None:
        """Forget what is over; of very many only some, the rest is then still due."""
        order = self.order
        latest_ns = now_ns - self.duration_ns
        left = _RECORDS_AT_ONCE
        while order and order[0].since_ns <= latest_ns and left:
            left -= 1
            record = order.popleft()
            if record.expires_ns > now_ns:  # restarted meanwhile: its turn comes later
                record.since_ns = record.expires_ns - self.duration_ns
                order.append(record)
            elif record.expires_ns:
                del self._records[record.key]

    def values(self) -> list[TimeWait]:
        return list(self._records.values())

    def __len__(self) -> int:
        return len(self._records)

    def save(self) -> Saved:
        return {
            "version": 1,
            "evicted": self.evicted,
            "records": [save_fields(r, 1, _FIELDS) for r in self.order if r.expires_ns],
        }

    def load(self, state: Saved) -> None:
        """Raises ValueError on another version."""
        if state.get("version") != 1:
            raise ValueError(f"TimeWaitTable: version {state.get('version')} is not known")
        self.evicted = state["evicted"]
        self._records = {}
        self.order = deque()
        for saved in state["records"]:
            record = TimeWait(b"", b"", 0, 0, 0, 0, 0)
            load_fields(record, 1, _FIELDS, saved)
            self._records[record.key] = record
            self.order.append(record)

    def _evict(self) -> None:
        while self.order:
            record = self.order.popleft()
            if record.expires_ns:
                del self._records[record.key]
                self.evicted += 1
                return
