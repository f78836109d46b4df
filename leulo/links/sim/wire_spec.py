"""What one direction of a simulated wire does to frames, and when that changes."""

from __future__ import annotations

from dataclasses import dataclass

from leulo.units import NS_PER_MS


@dataclass(frozen=True, slots=True)
class WireSpec:
    """One direction. Probabilities are in parts per billion, times in nanoseconds."""

    rate: int = 100_000_000  # bit/s; 0: unlimited
    delay: int = NS_PER_MS  # one way
    queue: int = 1000  # packets before the bottleneck, the one being sent included
    loss: int = 0
    jitter: int = 0  # at most so much more delay; the order is kept
    reorder: int = 0  # probability that a frame is held back, so that later ones overtake it
    reorder_by: int = NS_PER_MS  # by how much
    duplicate: int = 0  # probability that a frame arrives twice
    corrupt: int = 0  # probability that one bit of an IP packet is turned over
    ecn: int = 0  # from so many packets in the queue on, CE instead of waiting for loss; 0: off


@dataclass(frozen=True, slots=True)
class Change:
    """From ``at_ns`` of the host's clock on the two directions are like this."""

    at_ns: int
    up: WireSpec
    down: WireSpec
