"""The measurement of what a call costs runs, and measures calls that succeed."""

from __future__ import annotations

from leulo.bench.hypercalls import measure


def test_every_hot_call_is_measured() -> None:
    costs = measure(rounds=1000, repeats=1)
    assert list(costs) == [
        "loop", "SEND 64 B", "SEND 4 KiB", "RECV 1 KiB", "TIME", "ACCEPT", "CLOSE",
    ]  # fmt: skip
    assert all(cost > 0 for cost in costs.values())
