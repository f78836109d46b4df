"""What the user has given to be sent and the peer has not acknowledged yet.

A list of immutable pieces with the sequence number of each piece's first byte. Segments are views
into the pieces, so payload is never copied on its way out, and a view stays good after the piece
has left the buffer. Small writes are joined into pieces of a few kilobytes, so that the number of
pieces is bounded by the number of bytes. Lent memory is a piece by reference: it costs what the
reference takes, and is given back when the last byte of its stretch is acknowledged.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from leulo.state import State as Saved
from leulo.tcp.account import NO_LIMIT, Account, Lent

Buffer = bytes | memoryview

_JOINED_BYTES: Final = 4096  # pieces are joined while the sum is at most this
VIEW_BYTES: Final = 256  # what a lent piece takes here, however long it is
_ANYBODY: Final = Account(NO_LIMIT)


def affordable(views: list[memoryview], spare: int) -> list[memoryview]:
    """What of ``views``, from the first on, `SendBuffer.append_lent` takes ``spare`` bytes for."""
    if len(views) * _JOINED_BYTES <= spare:
        return views
    for at, view in enumerate(views):
        cost = len(view) if len(view) < _JOINED_BYTES else VIEW_BYTES
        if cost > spare:
            return [*views[:at], view[:spare]] if spare else views[:at]
        spare -= cost
    return views


class SendBuffer:
    """Pieces from sequence number ``start`` (the first byte held) to ``end``; what they take is
    in ``account``."""

    __slots__ = ("_held", "_lent", "_pieces", "_starts", "account", "end")

    def __init__(self, start: int, account: Account = _ANYBODY) -> None:
        self.account: Account = account
        self._held: int = 0  # bytes of pieces that are copies, and of what refers to the others
        self._starts: list[int] = []
        self._pieces: list[Buffer] = []
        # The sequence number behind a stretch that is lent, and whose it is.
        self._lent: list[tuple[int, Lent]] | None = None
        self.end: int = start

    def append(self, data: bytes) -> None:
        """Put ``data`` (not empty, never changed later) behind what is there."""
        pieces = self._pieces
        length = len(data)
        if pieces and len(pieces[-1]) + length <= _JOINED_BYTES:
            # A new object: views of the shorter piece that are on their way stay as they are.
            pieces[-1] += data  # type: ignore[operator]
        else:
            self._starts.append(self.end)
            pieces.append(data)
        self.end += length
        self._held += length
        self.account.used += length

    def append_lent(self, views: list[memoryview], lent: Lent) -> None:
        """Put a stretch of lent memory behind what is there. Views shorter than a page are
        copied, which is cheaper, and keeps a lent piece from being joined to."""
        is_kept = False
        for view in views:
            if len(view) < _JOINED_BYTES:
                self.append(bytes(view))
                continue
            self._starts.append(self.end)
            self._pieces.append(view)
            self.end += len(view)
            self._held += VIEW_BYTES
            self.account.used += VIEW_BYTES
            is_kept = True
        if is_kept:
            lent.in_flight += 1
            if self._lent is None:
                self._lent = []
            self._lent.append((self.end, lent))

    @property
    def has_lent(self) -> bool:
        """Is lent memory among it?"""
        return bool(self._lent)

    def view(self, seq: int, length: int) -> tuple[Buffer, ...]:
        """``length`` bytes (more than 0) from ``seq``, as few buffers as possible. The range
        must be inside what is held."""
        starts = self._starts
        if starts[-1] == seq and len(self._pieces[-1]) == length:
            return (self._pieces[-1],)
        at = bisect_right(starts, seq) - 1
        piece = self._pieces[at]
        offset = seq - starts[at]
        size = len(piece) - offset
        if size >= length:
            if size == length and not offset:
                return (piece,)
            return (memoryview(piece)[offset : offset + length],)
        parts: list[Buffer] = [memoryview(piece)[offset:]]
        length -= size
        while True:
            at += 1
            piece = self._pieces[at]
            size = len(piece)
            if size > length:
                parts.append(memoryview(piece)[:length])
                break
            parts.append(piece)
            length -= size
            if not length:
                break
        return tuple(parts)

    def acknowledge(self, seq: int) -> None:
        """Let go of every piece that lies wholly before ``seq``."""
        if not self._pieces:
            return
        if self._lent is not None:
            self._give_back(seq, self._lent)
        if seq >= self.end:
            self._starts.clear()
            self._pieces.clear()
            self.account.used -= self._held
            self._held = 0
            return
        gone = bisect_right(self._starts, seq) - 1
        if gone > 0:
            freed = 0
            for piece in self._pieces[:gone]:
                freed += len(piece) if isinstance(piece, bytes) else VIEW_BYTES
            self._held -= freed
            self.account.used -= freed
            del self._starts[:gone]
            del self._pieces[:gone]

    def drop(self) -> None:
        """Nothing of it will be sent any more."""
        if self._pieces:
            self.acknowledge(self.end)

    def _give_back(self, seq: int, stretches: list[tuple[int, Lent]]) -> None:
        gone = 0
        for end, lent in stretches:
            if end > seq:
                break
            lent.give_back()
            gone += 1
        del stretches[:gone]
        if not stretches:
            self._lent = None

    def save(self) -> Saved:
        """Lent memory is saved as a copy, with whose it was."""
        return {
            "end": self.end,
            "pieces": [bytes(piece) for piece in self._pieces],
            "lent": [(end, lent.number) for end, lent in self._lent or ()],
        }

    @classmethod
    def loaded(cls, state: Saved, account: Account, lent: dict[int, Lent]) -> SendBuffer:
        """The buffer saved as ``state``; what it has of lent memory is noted in ``lent``."""
        pieces: list[bytes] = list(state["pieces"])
        end: int = state["end"]
        buffer = cls(end - sum(len(piece) for piece in pieces), account)
        for piece in pieces:
            buffer._starts.append(buffer.end)
            buffer._pieces.append(piece)
            buffer.end += len(piece)
            buffer._held += len(piece)
        account.used += buffer._held
        for stretch_end, number in state["lent"]:
            owner = lent.setdefault(number, Lent(number))
            owner.in_flight += 1
            if buffer._lent is None:
                buffer._lent = []
            buffer._lent.append((stretch_end, owner))
        return buffer
