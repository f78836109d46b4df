"""Bytes that arrived in order and wait for the user.

A list of pieces as they came from the link, copied once, into the user's memory. Tiny pieces are
gathered, so that a peer who sends single bytes costs memory in proportion to the bytes.
"""

from __future__ import annotations

from typing import Final

from leulo.state import State as Saved
from leulo.tcp.account import NO_LIMIT, Account

Piece = bytes | bytearray | memoryview

_SMALL_BYTES: Final = 512
_GATHERED_BYTES: Final = 8192
_LOOSE_PIECES: Final = 8  # only with more pieces than this are small ones gathered
_ANYBODY: Final = Account(NO_LIMIT)


class RecvBuffer:
    """``length`` bytes in order, which are in ``account``. ``taken`` counts what the user has
    read over its life."""

    __slots__ = ("_offset", "_pieces", "account", "length", "taken")

    def __init__(self, account: Account = _ANYBODY) -> None:
        self.account: Account = account
        self._pieces: list[Piece] = []
        self._offset: int = 0  # of the first piece's bytes the user has
        self.length: int = 0
        self.taken: int = 0

    def append(self, piece: bytes | memoryview) -> None:
        """Put ``piece`` (not empty, never changed later) at the end."""
        size = len(piece)
        self.length += size
        self.account.used += size
        pieces = self._pieces
        if size < _SMALL_BYTES and len(pieces) >= _LOOSE_PIECES:
            tail = pieces[-1]
            if isinstance(tail, bytearray) and len(tail) < _GATHERED_BYTES:
                tail += piece
            else:
                pieces.append(bytearray(piece))
            return
        pieces.append(piece)

    def read_into(self, view: memoryview, is_peek: bool = False) -> int:
        """Copy as much as fits into ``view`` and forget it, unless it is a ``peek``."""
        room = len(view)
        pieces = self._pieces
        offset = self._offset
        done = self.length
        if len(pieces) == 1 and done <= room and not offset and not is_peek:
            view[:done] = pieces[0]
            pieces.clear()
            self.length = 0
            self.account.used -= done
            self.taken += done
            return done
        done = 0
        whole = 0
        for piece in pieces:
            size = len(piece) - offset
            if size > room - done:
                rest = room - done
                view[done:room] = memoryview(piece)[offset : offset + rest]
                offset += rest
                done = room
                break
            view[done : done + size] = memoryview(piece)[offset:] if offset else piece
            done += size
            offset = 0
            whole += 1
        if not is_peek:
            del pieces[:whole]
            self._offset = offset
            self.length -= done
            self.account.used -= done
            self.taken += done
        return done

    def read(self, limit: int, is_peek: bool = False) -> bytes:
        """Up to ``limit`` bytes, without a copy when that is exactly the first piece."""
        pieces = self._pieces
        if not pieces:
            return b""
        piece = pieces[0]
        size = len(piece)
        if not self._offset and size <= limit and (len(pieces) == 1 or size == limit):
            if not is_peek:
                del pieces[0]
                self.length -= size
                self.account.used -= size
                self.taken += size
            return bytes(piece)
        out = bytearray(min(limit, self.length))
        self.read_into(memoryview(out), is_peek)
        return bytes(out)

    def drop(self) -> None:
        """Nobody will read it."""
        self._pieces = []
        self._offset = 0
        self.account.used -= self.length
        self.length = 0

    def save(self) -> Saved:
        return {
            "pieces": [bytes(piece) for piece in self._pieces],
            "offset": self._offset,
            "taken": self.taken,
        }

    def load(self, state: Saved) -> None:
        """What was saved as ``state``, into a new buffer."""
        self._pieces = list(state["pieces"])
        self._offset = state["offset"]
        self.taken = state["taken"]
        self.length = sum(len(piece) for piece in self._pieces) - self._offset
        self.account.used += self.length


class DeafBuffer(RecvBuffer):
    """Throws away what arrives."""

    __slots__ = ()

    def append(self, piece: bytes | memoryview) -> None:
        self.taken += len(piece)

    def load(self, state: Saved) -> None:
        self.taken = state["taken"]
