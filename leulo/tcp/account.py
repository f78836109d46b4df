"""What all connections of one stack hold in buffers, in bytes, and how much they may.

Send buffers, receive buffers and queues of out-of-order segments add to it and take from it. Past
``pressure`` buffers grow no more and windows are offered small; past ``limit`` a user's data is
refused with ENOBUFS and a peer's is dropped as if it were lost, while acknowledgements still
count. Only a connection whose buffer is empty still gets `LEAST_BYTES`, so that whoever reads, or
is acknowledged, goes on. It must not know whose bytes they are. [Linux tcp(7), tcp_mem]
"""

from __future__ import annotations

from typing import Final

from leulo.errors import LeuloBug


class Account:
    """``used`` bytes of at most ``limit``."""

    __slots__ = ("limit", "pressure", "used")

    def __init__(self, limit: int) -> None:
        self.limit: int = limit
        self.pressure: int = limit - (limit >> 2)
        self.used: int = 0


class Lent:
    """Memory of the user's that is sent from without a copy, by its ``number``.

    ``in_flight`` counts the stretches of it that a peer has not acknowledged yet: until it is
    zero the memory must stay as it is.
    """

    __slots__ = ("in_flight", "number")

    def __init__(self, number: int) -> None:
        self.number: int = number
        self.in_flight: int = 0

    def give_back(self) -> None:
        """One stretch has arrived, or its connection is gone."""
        if not self.in_flight:
            raise LeuloBug(f"lent memory {self.number} was given back twice")
        self.in_flight -= 1


NO_LIMIT: Final = 1 << 62
LEAST_BYTES: Final = 4096
