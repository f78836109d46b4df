"""Accounting in front of the hypercalls: how many of each operation, bytes, and time.

It stands between the gate and `Hypercalls` only while somebody asked for it, so that otherwise a
call costs nothing more. The operation is read from the descriptor in RAM, whatever it holds.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Final

from leulo.hypercalls import abi
from leulo.memory import Memory

_OP: Final = Struct("<H")
_RESULT: Final = Struct("<i")
_RESULT_OFFSET: Final = abi.CALL.offset("result")
_SENDING: Final = frozenset((abi.Op.SEND, abi.Op.SENDTO, abi.Op.SENDFILE))
_RECEIVING: Final = frozenset((abi.Op.RECV, abi.Op.RECVFROM))
_NAMES: Final[dict[int, str]] = {int(op): op.name.lower() for op in abi.Op}


class CountedCalls:
    """``stopwatch`` reads nanoseconds; ``ns`` is what all calls took by it.

    ``sent`` and ``received`` are the payload bytes that sockets took from and gave to the guest.
    """

    def __init__(
        self, call: Callable[[int], None], memory: Memory, stopwatch: Callable[[], int]
    ) -> None:
        self.ns = 0
        self.sent = 0
        self.received = 0
        self._call = call
        self._view = memory.view
        self._last = memory.size - abi.CALL_BYTES
        self._stopwatch = stopwatch
        self._counts: dict[int, int] = {-1: 0, **dict.fromkeys(_NAMES, 0)}

    def call(self, address: int) -> None:
        """What `Hypercalls.call` does, counted."""
        op = _OP.unpack_from(self._view, address)[0] if 0 <= address <= self._last else -1
        began = self._stopwatch()
        self._call(address)
        self.ns += self._stopwatch() - began
        if op in _SENDING or op in _RECEIVING:
            moved = max(0, _RESULT.unpack_from(self._view, address + _RESULT_OFFSET)[0])
            if op in _SENDING:
                self.sent += moved
            else:
                self.received += moved
        elif op not in _NAMES:
            op = -1
        self._counts[op] += 1

    def counters(self) -> dict[str, int]:
        """Calls by operation; ``unknown`` is what names none."""
        return {_NAMES.get(op, "unknown"): self._counts[op] for op in sorted(self._counts)}
