"""What is in flight, transmission by transmission. [RFC 8985 5.2]

A record is a list of four integers, since one is made for every segment: first byte, behind the
last byte, when it was sent last, state. Records are disjoint, sorted and without gaps from
snd_una to snd_max; a super-segment is one record until a part of it is reported or sent again.
While nothing was lost or reported, their order is also that of time, and nothing else is kept;
from the first report on ``order`` holds those that wait, by time. Exists only while more than one
segment is outstanding: of a single one the connection itself knows everything.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from typing import Final

from leulo.state import State as Saved
from leulo.units import NS_PER_MS

Record = list[int]  # records compare by their first bytes, which are all different

START: Final = 0
END: Final = 1
SENT_AT: Final = 2
STATE: Final = 3

# Values of a record's state, with AGAIN beside each, and NOT_LOST beside that where it waits
WAITING: Final = 0
SACKED: Final = 1
LOST: Final = 2  # to be sent again
GONE: Final = 3  # acknowledged
_KIND: Final = 3
AGAIN: Final = 4  # it has been sent more than once
NOT_LOST: Final = 8  # by a probe, or for nothing: it does not count as lost


class Flight:
    """The records, and what RACK has learnt from those that arrived. [RFC 8985 5.3]"""

    __slots__ = (
        "fack",
        "has_reordering",
        "is_mark_limited",
        "lost",
        "lost_bytes",
        "low",
        "mark",
        "mark_at",
        "mark_una",
        "mss",
        "order",
        "original_end",
        "rack_at",
        "rack_end",
        "rack_rtt_ns",
        "records",
        "sacked_segments",
    )  # fmt: skip

    def __init__(self, start: int, end: int, sent_at: int, mss: int) -> None:
        self.mss: int = mss
        self.records: list[Record] = [[start, end, sent_at, WAITING]]
        self.order: deque[Record] | None = None
        self.lost: list[Record] = []  # by sequence number; those that are not lost any more stay
        self.lost_bytes: int = 0
        self.sacked_segments: int = 0
        self.rack_at: int = 0  # the latest transmission that is known to have arrived
        self.rack_end: int = 0
        self.rack_rtt_ns: int = 0
        self.fack: int = start  # behind the highest byte that has arrived
        # What the acknowledgement at work has shown; `begin` clears it.
        self.original_end: int = 0  # the lowest end of those sent once that arrived, 0: none
        self.has_reordering: bool = False  # one sent once arrived after a later one
        self.low: int = 0  # the lowest start of those
        # Of `goodput`: what is behind `mark` was not timed yet, what is before began to be when
        # `mark_una` was acknowledged. Equal: not one acknowledgement has come.
        self.mark: int = start
        self.mark_una: int = start
        self.mark_at: int = sent_at
        self.is_mark_limited: bool = False

    def append(self, start: int, end: int, now_ns: int) -> None:
        """New data was sent."""
        record = [start, end, now_ns, WAITING]
        self.records.append(record)
        if self.order is not None:
            self.order.append(record)

    def has_start(self, seq: int) -> bool:
        """Does what was sent last begin there?"""
        return bool(self.records) and self.records[-1][START] == seq

    def begin(self) -> None:
        """Another acknowledgement is looked at."""
        self.original_end = 0
        self.has_reordering = False

    def advance(self, una: int, now_ns: int, echo_ms: int, min_rtt_ns: int) -> int:
        """Everything before ``una`` has arrived. Returns when the latest of it that was sent only
        once was sent, 0 if none. ``echo_ms`` is the time of ours that the peer echoes, -1: none.
        """
        records = self.records
        gone = 0
        for record in records:
            if record[END] > una:
                break
            gone += 1
        sent_at = 0
        if self.order is None:
            self.fack = una
            self.original_end = una
            if gone:
                sent_at = records[gone - 1][SENT_AT]
                del records[:gone]
            if records and records[0][START] < una:
                records[0][START] = una
                sent_at = records[0][SENT_AT]
            return sent_at
        if gone < len(records) and records[gone][START] < una:
            self._split(gone, una)
            gone += 1
        for record in records[:gone]:
            if not record[STATE] & AGAIN:
                sent_at = record[SENT_AT]
            self._arrived(record, now_ns, echo_ms, min_rtt_ns)
            if record[STATE] & _KIND == SACKED:
                self.sacked_segments -= self._segments(record)
            record[STATE] = record[STATE] & AGAIN | GONE
        del records[:gone]
        return sent_at

    def whole(self, start: int, end: int) -> tuple[int, int]:
        """The whole segments in the range: a part of one is no use, it would be sent again all
        the same."""
        records = self.records
        mss = self.mss
        at = max(0, bisect_left(records, [start + 1]) - 1)
        record = records[at]
        if record[START] < start < record[END]:
            start = min(record[END], start + (record[START] - start) % mss)
        at = max(0, bisect_left(records, [end]) - 1)
        record = records[at]
        if end < record[END]:
            end -= (end - record[START]) % mss
        return start, end

    def sack(self, start: int, end: int, now_ns: int, echo_ms: int, min_rtt_ns: int) -> None:
        """The peer reports news: it holds ``start`` to ``end``."""
        self.sort()
        records = self.records
        at = max(0, bisect_left(records, [start + 1]) - 1)
        while at < len(records) and records[at][START] < end:
            record = records[at]
            if record[END] > start and record[STATE] & _KIND != SACKED:
                at = self._carve(at, start, end)
                record = records[at]
                self._arrived(record, now_ns, echo_ms, min_rtt_ns)
                record[STATE] = record[STATE] & AGAIN | SACKED
                self.sacked_segments += self._segments(record)
                at = self._join(at)
            at += 1

    def detect(self, now_ns: int, window_ns: int) -> int:
        """Mark as lost what was sent long enough before something that has arrived. Returns the
        nanoseconds until the rest of what is overdue must be looked at again, 0: nothing is.
        [RFC 8985 6.2 step 5]"""
        order = self.order
        if order is None or not self.rack_at:
            return 0
        kept: list[Record] = []
        wait = 0
        rack_at = self.rack_at
        bound = now_ns - self.rack_rtt_ns - window_ns
        while order:
            record = order[0]
            if record[STATE] & _KIND != WAITING:
                order.popleft()
                continue
            sent_at = record[SENT_AT]
            if sent_at > rack_at or (
                sent_at == rack_at
                # Of what left in one instant numbers tell the order, but for repetitions.
                and (record[END] >= self.rack_end or record[STATE] & AGAIN)
            ):
                break
            order.popleft()
            if sent_at <= bound:
                self._lose(record)
            else:
                wait = sent_at - bound
                kept.append(record)
        if kept:
            order.extendleft(reversed(kept))
        return wait

    def lose_first(self, now_ns: int, window_ns: int) -> None:
        """The retransmission timer expired: the first one is lost, and so is what has been under
        way for longer than a round trip. [RFC 8985 6.3]"""
        order = self.sort()
        bound = now_ns - self.rack_rtt_ns - window_ns
        first = next((r for r in self.records if r[STATE] & _KIND != SACKED), None)
        kept: deque[Record] = deque()
        for record in order:
            if record[STATE] & _KIND == WAITING:
                if record is first or record[SENT_AT] <= bound:
                    self._lose(record)
                else:
                    kept.append(record)
        self.order = kept

    def forget_sacks(self) -> None:
        """The peer has dropped what it had reported. [RFC 2018 8]"""
        for record in self.records:
            if record[STATE] & _KIND == SACKED:
                self._lose(record)
        self.sacked_segments = 0

    def find_lost(self) -> None:
        """Nothing was lost after all: what waits to be sent again is on its way."""
        for record in self.records:
            kind = record[STATE] & _KIND
            if kind == LOST:
                record[STATE] = record[STATE] & AGAIN | WAITING
            if kind in (LOST, WAITING) and record[STATE] & AGAIN:
                record[STATE] |= NOT_LOST
        self.lost = []
        self.lost_bytes = 0
        if self.order is not None:
            self.order = None
            self.sort()

    def settle(self) -> None:
        """Every record has been sent once, none is lost or reported."""
        self.order = None
        self.lost = []
        self.rack_at = self.rack_end = 0

    def has_repeats(self) -> bool:
        """Is anything on its way that has been sent more than once?"""
        return any(r[STATE] & ~NOT_LOST == WAITING | AGAIN for r in self.records)

    def next_lost(self) -> Record | None:
        """The first record that is to be sent again."""
        lost = self.lost
        while lost:
            record = lost[0]
            if record[STATE] & _KIND == LOST:
                return record
            del lost[0]
        return None

    def cut(self, record: Record, end: int) -> None:
        """Let ``record`` end at ``end``; what was behind becomes a record of its own."""
        if record[START] < end < record[END]:
            self._split(bisect_left(self.records, [record[START] + 1]) - 1, end)

    def send_again(self, record: Record, now_ns: int) -> None:
        """``record`` goes out once more."""
        order = self.sort()
        kind = record[STATE] & _KIND
        if kind == LOST:
            self.lost_bytes -= record[END] - record[START]
        elif kind == WAITING and record in order:
            order.remove(record)
        record[STATE] = WAITING | AGAIN if kind == LOST else WAITING | AGAIN | NOT_LOST
        record[SENT_AT] = now_ns
        order.append(record)

    def last(self, most: int) -> Record:
        """The last record, at most ``most`` bytes of it; only if not empty."""
        record = self.records[-1]
        if record[END] - record[START] > most:
            self.sort()
            self._split(len(self.records) - 1, record[END] - most)
        return self.records[-1]

    def sort(self) -> deque[Record]:
        """What waits, by time of transmission; kept from now on."""
        order = self.order
        if order is None:
            waiting = [r for r in self.records if r[STATE] & _KIND == WAITING]
            waiting.sort(key=_time)
            order = self.order = deque(waiting)
        return order

    def segments(self) -> int:
        """How many are outstanding, reported or not."""
        return sum(self._segments(record) for record in self.records)

    # -- inside

    def counts(self) -> tuple[int, int]:
        """Segments that count as lost, those of them that are on their way again, too; and all
        that are on their way again."""
        lost = again = 0
        for record in self.records:
            kind = record[STATE] & _KIND
            if kind == LOST:
                lost += self._segments(record)
            elif kind == WAITING and record[STATE] & AGAIN:
                again += self._segments(record)
                if not record[STATE] & NOT_LOST:
                    lost += self._segments(record)
        return lost, again

    def _arrived(self, record: Record, now_ns: int, echo_ms: int, min_rtt_ns: int) -> None:
        """RACK learns from a delivery. [RFC 8985 6.2 steps 1 to 3]"""
        state = record[STATE]
        kind = state & _KIND
        if kind in (SACKED, GONE):
            return
        start, end, sent_at = record[START], record[END], record[SENT_AT]
        if kind == LOST:
            self.lost_bytes -= end - start
        rtt_ns = now_ns - sent_at
        if state & AGAIN:
            # It may have been the first transmission that arrived.
            if 0 <= echo_ms < sent_at // NS_PER_MS or rtt_ns < min_rtt_ns:
                return
        else:
            if not self.original_end or end < self.original_end:
                self.original_end = end
            if end < self.fack:
                if not self.has_reordering or start < self.low:
                    self.low = start
                self.has_reordering = True
        if end > self.fack:
            self.fack = end
        self.rack_rtt_ns = rtt_ns
        if sent_at > self.rack_at or (sent_at == self.rack_at and end > self.rack_end):
            self.rack_at = sent_at
            self.rack_end = end

    def _lose(self, record: Record) -> None:
        record[STATE] = record[STATE] & AGAIN | LOST
        self.lost_bytes += record[END] - record[START]
        lost = self.lost
        if not lost or lost[-1][START] < record[START]:
            lost.append(record)
        else:
            insort(lost, record)

    def _carve(self, at: int, start: int, end: int) -> int:
        """Make what record number ``at`` has of ``start`` to ``end`` a record that does not wait.
        Returns its number."""
        record = self.records[at]
        if record[START] < start and end < record[END]:
            self._split(at, end)
        if record[START] < start:
            part = [start, record[END], record[SENT_AT], record[STATE]]
            record[END] = start
            at += 1
        elif end < record[END]:
            part = [record[START], end, record[SENT_AT], record[STATE]]
            record[START] = end
        else:
            return at
        self.records.insert(at, part)
        return at

    def _join(self, at: int) -> int:
        """Join record number ``at``, just reported, with those beside it: however small the
        pieces are that a peer reports, there are few records. Returns its number."""
        records = self.records
        record = records[at]
        mss = self.mss
        for place in (at + 1, at - 1):
            if not 0 <= place < len(records):
                continue
            other = records[place]
            if other[STATE] != record[STATE]:
                continue
            has_parts = (record[END] - record[START]) % mss and (other[END] - other[START]) % mss
            if has_parts:
                self.sacked_segments -= self._segments(record) + self._segments(other)
            if place < at:
                record[START] = other[START]
                at = place
            else:
                record[END] = other[END]
            if other[SENT_AT] > record[SENT_AT]:
                record[SENT_AT] = other[SENT_AT]
            if has_parts:
                self.sacked_segments += self._segments(record)
            del records[place]
        return at

    def _split(self, at: int, seq: int) -> None:
        """Record number ``at`` ends at ``seq``, and a new one follows."""
        record = self.records[at]
        rest = [seq, record[END], record[SENT_AT], record[STATE]]
        kind = record[STATE] & _KIND
        order = self.order
        if kind == WAITING and order is not None:
            order.insert(order.index(record) + 1, rest)
        elif kind == LOST:
            insort(self.lost, rest)
        elif kind == SACKED:
            self.sacked_segments -= self._segments(record)
        record[END] = seq
        self.records.insert(at + 1, rest)
        if kind == SACKED:
            self.sacked_segments += self._segments(record) + self._segments(rest)

    def _segments(self, record: Record) -> int:
        return -(-(record[END] - record[START]) // self.mss)

    def save(self) -> Saved:
        """The records with their states; the order by time follows from them."""
        return {
            "mss": self.mss,
            "records": [list(record) for record in self.records],
            "is_sorted": self.order is not None,
            "rack": [self.rack_at, self.rack_end, self.rack_rtt_ns, self.fack],
            "mark": [self.mark, self.mark_una, self.mark_at, self.is_mark_limited],
        }

    @classmethod
    def loaded(cls, state: Saved) -> Flight:
        """The flight saved as ``state``."""
        flight = cls(0, 0, 0, state["mss"])
        flight.records = [list(record) for record in state["records"]]
        flight.rack_at, flight.rack_end, flight.rack_rtt_ns, flight.fack = state["rack"]
        flight.mark, flight.mark_una, flight.mark_at, flight.is_mark_limited = state["mark"]
        for record in flight.records:
            if record[STATE] & _KIND == LOST:
                flight._lose(record)
            elif record[STATE] & _KIND == SACKED:
                flight.sacked_segments += flight._segments(record)
        if state["is_sorted"]:
            flight.sort()
        return flight


def _time(record: Record) -> tuple[int, int]:
    return record[SENT_AT], record[END]
