"""The one clock of a host: integer nanoseconds, given to everything below, taken by nothing.

A clock is real (the host's monotonic clock, handed in by ``host``) or virtual. Virtual time is
``ticks * num // den + charged + skipped``: ticks are the code bytes the guests executed, the
charges come from the cost model at each exit, and idle time is skipped. How fast Python itself
runs never enters, so the same inputs give the same times on every machine.
"""

from __future__ import annotations

from collections.abc import Callable

from mypy_extensions import mypyc_attr


@mypyc_attr(allow_interpreted_subclasses=True)
class Clock:
    """What everybody reads."""

    is_virtual: bool = False

    def now_ns(self) -> int:
        """Nanoseconds since the clock's own beginning; never goes backwards."""
        raise LookupError("the abstract clock has no time")


class RealClock(Clock):
    """The host's monotonic clock, counted from construction."""

    def __init__(self, monotonic_ns: Callable[[], int]) -> None:
        self.monotonic_ns = monotonic_ns
        self.start_ns = monotonic_ns()

    def now_ns(self) -> int:
        return self.monotonic_ns() - self.start_ns


class VirtualClock(Clock):
    """Time made of guest ticks, charges and skips.

    ``ticks`` is asked of the CPUs (their running count of code bytes, including the block that
    is being executed), so a reading inside an exit is as exact as one between quanta.
    """

    is_virtual = True

    def __init__(self, num: int = 1, den: int = 4) -> None:
        if num <= 0 or den <= 0:
            raise ValueError("the ratio of nanoseconds to ticks must be positive")
        self.num = num
        self.den = den
        self.added_ns = 0  # charges and skips
        self._ticks: Callable[[], int] = lambda: 0

    def drive(self, ticks: Callable[[], int]) -> None:
        """Take the tick count from ``ticks`` from now on."""
        self._ticks = ticks

    def now_ns(self) -> int:
        return self._ticks() * self.num // self.den + self.added_ns

    def charge(self, cost_ns: int) -> None:
        """Add what the cost model says an exit costs."""
        self.added_ns += cost_ns

    def skip_to(self, when_ns: int) -> None:
        """Everything is idle: jump to ``when_ns``. A time in the past is no jump."""
        self.added_ns += max(0, when_ns - self.now_ns())

    def ticks_until(self, when_ns: int) -> int:
        """The fewest further ticks after which ``now_ns() >= when_ns`` (0 if that is now)."""
        wanted = when_ns - self.added_ns
        return max(0, -(-wanted * self.den // self.num) - self._ticks())

    def save(self) -> dict[str, int]:
        return {"version": 1, "num": self.num, "den": self.den, "now_ns": self.now_ns()}

    def load(self, state: dict[str, int]) -> None:
        self.num, self.den = state["num"], state["den"]
        self.added_ns = 0
        self.added_ns = state["now_ns"] - self.now_ns()
