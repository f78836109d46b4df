"""What the peer has reported by SACK beyond the cumulative acknowledgement. [RFC 6675 3, 4]

Disjoint, sorted ranges of sequence numbers. It answers the questions of RFC 6675: is a byte
lost, how much is in the pipe, what to send next.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from leulo.state import State as Saved


class Scoreboard:
    """Ranges the peer holds. Exists only while it holds something."""

    __slots__ = ("_ends", "_starts", "max_blocks", "sacked")

    def __init__(self, max_blocks: int) -> None:
        self.max_blocks: int = max_blocks
        self._starts: list[int] = []
        self._ends: list[int] = []
        self.sacked: int = 0  # bytes

    def add(self, start: int, end: int) -> int:
        """Note that the peer holds ``start`` to ``end``. Returns how many bytes are news."""
        starts, ends = self._starts, self._ends
        first = bisect_left(ends, start)  # the first range that touches or follows
        last = bisect_right(starts, end)  # behind the last range that touches
        if first < last:
            old = 0
            for i in range(first, last):
                old += ends[i] - starts[i]
            start = min(start, starts[first])
            end = max(end, ends[last - 1])
            starts[first:last] = [start]
            ends[first:last] = [end]
            news = end - start - old
        else:
            if len(starts) >= self.max_blocks:
                return 0
            starts.insert(first, start)
            ends.insert(first, end)
            news = end - start
        self.sacked += news
        return news

    def holds(self, start: int, end: int) -> bool:
        """Is all of ``start`` to ``end`` held?"""
        at = bisect_right(self._starts, start)
        return at > 0 and self._ends[at - 1] >= end

    def news(self, start: int, end: int) -> list[tuple[int, int]]:
        """The parts of ``start`` to ``end`` that are not held yet, lowest first."""
        starts, ends = self._starts, self._ends
        out: list[tuple[int, int]] = []
        at = bisect_right(ends, start)
        while start < end and at < len(starts) and starts[at] < end:
            if start < starts[at]:
                out.append((start, starts[at]))
            start = ends[at]
            at += 1
        if start < end:
            out.append((start, end))
        return out

    def advance(self, snd_una: int) -> None:
        """Forget what is cumulatively acknowledged now."""
        starts, ends = self._starts, self._ends
        gone = bisect_right(ends, snd_una)
        for i in range(gone):
            self.sacked -= ends[i] - starts[i]
        if gone:
            del starts[:gone]
            del ends[:gone]
        if starts and starts[0] < snd_una:
            self.sacked -= snd_una - starts[0]
            starts[0] = snd_una

    @property
    def is_empty(self) -> bool:
        return not self._starts

    @property
    def first(self) -> int:
        """Where the lowest range begins; only if not empty."""
        return self._starts[0]

    @property
    def highest(self) -> int:
        """The end of the highest range; only if not empty."""
        return self._ends[-1]

    def lost_edge(self, mss: int, threshold: int) -> int:
        """Every hole below this number counts as lost: ``threshold`` ranges or more than
        ``threshold - 1`` full segments above it are held. 0: none is. [RFC 6675 4 IsLost]"""
        held = 0
        bound = (threshold - 1) * mss
        for i in range(len(self._starts) - 1, -1, -1):
            held += self._ends[i] - self._starts[i]
            if held > bound or len(self._starts) - i >= threshold:
                return self._starts[i]
        return 0

    def pipe(self, snd_una: int, snd_nxt: int, high_rxt: int, lost_edge: int) -> int:
        """Bytes that are probably in the network. [RFC 6675 4 SetPipe]"""
        total = 0
        at = snd_una
        for start, end in zip(self._starts, self._ends, strict=True):
            if start > at:
                total += _hole(at, min(start, snd_nxt), high_rxt, lost_edge)
            at = end
            if at >= snd_nxt:
                return total
        return total + _hole(at, snd_nxt, high_rxt, lost_edge)

    def next_hole(self, seq: int, below: int) -> tuple[int, int] | None:
        """The first hole (start, end) at or after ``seq`` that begins below ``below`` and below
        the highest range; its end is the next range's start."""
        starts, ends = self._starts, self._ends
        at = bisect_right(starts, seq) - 1
        if at >= 0 and ends[at] > seq:
            seq = ends[at]
        at += 1
        if at >= len(starts) or seq >= below:
            return None
        return seq, starts[at]

    def skip(self, seq: int) -> int:
        """``seq``, or the end of the range that holds it."""
        at = bisect_right(self._starts, seq) - 1
        if at >= 0 and self._ends[at] > seq:
            return self._ends[at]
        return seq

    def next_start(self, seq: int) -> int:
        """Where the first range after ``seq`` begins, 0 if none does."""
        at = bisect_right(self._starts, seq)
        return self._starts[at] if at < len(self._starts) else 0

    def below(self, seq: int) -> int:
        """Bytes held before ``seq``."""
        total = 0
        for start, end in zip(self._starts, self._ends, strict=True):
            if start >= seq:
                break
            total += min(end, seq) - start
        return total

    def ranges(self) -> list[tuple[int, int]]:
        """Everything held, lowest first."""
        return list(zip(self._starts, self._ends, strict=True))

    def save(self) -> Saved:
        return {"max_blocks": self.max_blocks, "ranges": self.ranges()}

    @classmethod
    def loaded(cls, state: Saved) -> Scoreboard:
        """The ranges saved as ``state``."""
        board = cls(state["max_blocks"])
        for start, end in state["ranges"]:
            board.add(start, end)
        return board


def _hole(start: int, end: int, high_rxt: int, lost_edge: int) -> int:
    """What an unacknowledged range counts for: once unless lost, once if sent again."""
    if end <= start:
        return 0
    again = min(end, high_rxt) - start
    kept = end - max(start, lost_edge)
    return max(0, again) + max(0, kept)
