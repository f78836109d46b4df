"""A short run of `frames_run`: hostile frames into a stack and a gateway that serve meanwhile."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import frames_run
import pytest


@pytest.mark.parametrize("seed", [1, 100])
def test_hostile_frames_are_survived_while_connections_are_served(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames_run, "EPISODE", 1_500)
    report = frames_run.run(15_000, seed)
    assert report.frames == 15_000
    assert abs(report.mutated - 7_500) <= 200
    assert report.opened > 50
    assert report.served_bytes > 500_000
    assert report.grown_kib <= frames_run.MOST_GROWTH_KIB
