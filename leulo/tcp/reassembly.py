"""Segments that arrived ahead of a gap. [RFC 9293 3.10.7.4 seventh] [RFC 2018 4]

Blocks are disjoint and sorted; a block is a run of bytes without a gap. Which blocks a SACK
option reports first depends on how lately they grew, so that order is kept too. Bytes that are
here already are never replaced: who sends the same range twice with other bytes gains nothing.
Memory is bounded by the receive window, by a cost per piece and by the number of blocks.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from leulo.state import State as Saved
from leulo.tcp.account import NO_LIMIT, Account

Piece = bytes | memoryview

_PIECE_COST_BYTES: Final = 160  # what a piece takes beside its payload
_ANYBODY: Final = Account(NO_LIMIT)


class Block:
    """Bytes ``start`` to ``end`` in order, in ``pieces``."""

    __slots__ = ("end", "pieces", "start")

    def __init__(self, start: int, piece: Piece) -> None:
        self.start: int = start
        self.end: int = start + len(piece)
        self.pieces: list[Piece] = [piece]


class Reassembly:
    """Blocks beyond the next expected byte. Exists only while it holds something; its ``cost``
    is in ``account``."""

    __slots__ = ("_blocks", "_recent", "account", "cost", "length", "max_blocks")

    def __init__(self, max_blocks: int, account: Account = _ANYBODY) -> None:
        self.account: Account = account
        self.max_blocks: int = max_blocks
        self._blocks: list[Block] = []  # by sequence number
        self._recent: list[Block] = []  # the block that grew last comes first
        self.length: int = 0  # bytes of payload
        self.cost: int = 0  # bytes of memory, about

    def insert(self, seq: int, piece: Piece, limit: int) -> bool:
        """Keep what is new of ``piece`` at ``seq``. ``limit`` bounds the memory in bytes.

        Returns False if something new was thrown away for want of room.
        """
        blocks = self._blocks
        size = len(piece)
        end = seq + size
        while seq < end:
            at = self._find(seq)
            if at and blocks[at - 1].end > seq:
                covered = blocks[at - 1]
                self._touch(covered)
                seq, piece = covered.end, piece[covered.end - seq :]
                continue
            gap_end = min(end, blocks[at].start) if at < len(blocks) else end
            part = piece[: gap_end - seq]
            if len(part) << 1 < size:
                part = bytes(part)  # a view would keep all of the frame for a little of it
            if self.cost + len(part) + _PIECE_COST_BYTES > limit:
                return False
            if not self._place(at, seq, part):
                return False
            seq, piece = gap_end, piece[gap_end - seq :]
        return True

    def held(self, start: int, end: int) -> tuple[int, int] | None:
        """The first part of ``start`` to ``end`` that is here already."""
        blocks = self._blocks
        at = self._find(start)
        if at and blocks[at - 1].end > start:
            return start, min(end, blocks[at - 1].end)
        if at < len(blocks) and blocks[at].start < end:
            return blocks[at].start, min(end, blocks[at].end)
        return None

    def take(self, rcv_nxt: int) -> list[Piece]:
        """The pieces that continue the stream at ``rcv_nxt``; whole or cut at their head."""
        out: list[Piece] = []
        while self._blocks and self._blocks[0].start <= rcv_nxt:
            block = self._blocks.pop(0)
            self._recent.remove(block)
            pieces = block.pieces
            at = block.start
            size = block.end - at
            cost = size + _PIECE_COST_BYTES * len(pieces)
            self.cost -= cost
            self.account.used -= cost
            self.length -= size
            if at == rcv_nxt:
                out += pieces
            else:
                for piece in pieces:
                    if at + len(piece) > rcv_nxt:
                        out.append(piece[max(0, rcv_nxt - at) :])
                    at += len(piece)
            rcv_nxt = max(rcv_nxt, block.end)
        return out

    def sack_blocks(self, limit: int) -> list[tuple[int, int]]:
        """Up to ``limit`` blocks (start, end), the one that grew last first. [RFC 2018 4]"""
        return [(block.start, block.end) for block in self._recent[:limit]]

    @property
    def first(self) -> int:
        """Where the first block begins; only if not empty."""
        return self._blocks[0].start

    @property
    def end(self) -> int:
        """Where the last block ends; only if not empty."""
        return self._blocks[-1].end

    @property
    def is_empty(self) -> bool:
        return not self._blocks

    def _find(self, seq: int) -> int:
        """How many blocks begin at ``seq`` or before."""
        blocks = self._blocks
        if blocks and blocks[-1].end <= seq:
            return len(blocks)  # as of nearly everything that comes behind a gap
        return bisect_right(blocks, seq, key=_start)

    def _place(self, at: int, seq: int, piece: Piece) -> bool:
        """Put a piece that overlaps nothing before block number ``at``."""
        blocks = self._blocks
        size = len(piece)
        before = blocks[at - 1] if at and blocks[at - 1].end == seq else None
        after = blocks[at] if at < len(blocks) and blocks[at].start == seq + size else None
        if before is not None:
            before.pieces.append(piece)
            before.end += size
            if after is not None:
                before.pieces += after.pieces
                before.end = after.end
                del blocks[at]
                self._recent.remove(after)
            self._touch(before)
        elif after is not None:
            after.pieces.insert(0, piece)
            after.start = seq
            self._touch(after)
        else:
            if len(blocks) >= self.max_blocks:
                return False
            block = Block(seq, piece)
            blocks.insert(at, block)
            self._recent.insert(0, block)
        self.length += size
        self.cost += size + _PIECE_COST_BYTES
        self.account.used += size + _PIECE_COST_BYTES
        return True

    def _touch(self, block: Block) -> None:
        recent = self._recent
        if recent[0] is not block:
            recent.remove(block)
            recent.insert(0, block)

    def drop(self) -> None:
        """Nobody will want it."""
        self._blocks = []
        self._recent = []
        self.account.used -= self.cost
        self.length = self.cost = 0

    def save(self) -> Saved:
        return {
            "max_blocks": self.max_blocks,
            "blocks": [(b.start, [bytes(piece) for piece in b.pieces]) for b in self._blocks],
            "recent": [b.start for b in self._recent],
        }

    @classmethod
    def loaded(cls, state: Saved, account: Account) -> Reassembly:
        """The blocks saved as ``state``."""
        queue = cls(state["max_blocks"], account)
        by_start: dict[int, Block] = {}
        for start, pieces in state["blocks"]:
            block = by_start[start] = Block(start, pieces[0])
            block.pieces = list(pieces)
            block.end = start + sum(len(piece) for piece in pieces)
            queue._blocks.append(block)
            queue.length += block.end - start
            queue.cost += block.end - start + _PIECE_COST_BYTES * len(pieces)
        queue._recent = [by_start[start] for start in state["recent"]]
        account.used += queue.cost
        return queue


def _start(block: Block) -> int:
    return block.start
