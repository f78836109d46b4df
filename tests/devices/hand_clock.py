"""A clock that the test moves."""

from leulo.clock import Clock


class HandClock(Clock):
    def __init__(self) -> None:
        self.ns = 0

    def now_ns(self) -> int:
        return self.ns
