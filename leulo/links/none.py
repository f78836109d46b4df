"""A link to nowhere: nothing arrives, and what is sent is counted and dropped."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from leulo.links.base import TxFrame
from leulo.links.offload import EVERYTHING


class NoneLink:
    """``--net none``."""

    def __init__(self, mtu: int = 1500) -> None:
        self.name = "none"
        self.mtu = mtu
        self.offload = EVERYTHING
        self._frames_dropped = 0

    def attach(self, deliver: Callable[[Sequence[bytes]], None]) -> None:
        """Nothing will ever be delivered."""

    def transmit(self, frames: Sequence[TxFrame], now_ns: int) -> None:
        self._frames_dropped += len(frames)

    def next_deadline(self) -> int | None:
        return None

    def advance(self, now_ns: int) -> None:
        """Nothing is ever due."""

    def counters(self) -> dict[str, int]:
        return {"frames_dropped": self._frames_dropped}

    def close(self) -> None:
        """Nothing was taken."""
