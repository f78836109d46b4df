"""What the user has given to be sent and the peer has not acknowledged yet.

A list of immutable pieces with the sequence number of each piece's first byte. Segments are views
into the pieces, so payload is never copied on its way out, and a view stays good after the piece
has left the buffer. Small writes are joined into pieces of a few kilobytes, so that the number of
pieces is bounded by the number of bytes.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from leulo.state import State as Saved

Buffer = bytes | memoryview

_JOINED_BYTES: Final = 4096  # pieces are joined while the sum is at most this


class SendBuffer:
    """Pieces from sequence number ``start`` (the first byte held) to ``end``."""

    __slots__ = ("_pieces", "_starts", "end")

    def __init__(self, start: int) -> None:
        self._starts: list[int] = []
        self._pieces: list[bytes] = []
        self.end: int = start

    def append(self, data: bytes) -> None:
        """Put ``data`` (not empty, never changed later) behind what is there."""
        pieces = self._pieces
        length = len(data)
        if pieces and len(pieces[-1]) + length <= _JOINED_BYTES:
            # A new object: views of the shorter piece that are on their way stay as they are.
            pieces[-1] += data
        else:
            self._starts.append(self.end)
            pieces.append(data)
        self.end += length

    def view(self, seq: int, length: int) -> tuple[Buffer, ...]:
        """``length`` bytes (more than 0) from ``seq``, as few buffers as possible. The range
        must be inside what is held."""
        starts = self._starts
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
        if seq >= self.end:
            self._starts.clear()
            self._pieces.clear()
            return
        gone = bisect_right(self._starts, seq) - 1
        if gone > 0:
            del self._starts[:gone]
            del self._pieces[:gone]

    def save(self) -> Saved:
        return {"end": self.end, "pieces": list(self._pieces)}

    @classmethod
    def loaded(cls, state: Saved) -> SendBuffer:
        """The buffer saved as ``state``."""
        pieces: list[bytes] = list(state["pieces"])
        end: int = state["end"]
        buffer = cls(end - sum(len(piece) for piece in pieces))
        for piece in pieces:
            buffer._starts.append(buffer.end)
            buffer._pieces.append(piece)
            buffer.end += len(piece)
        return buffer
