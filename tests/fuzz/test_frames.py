"""A short run of `frames_run`: hostile frames into a stack and a gateway that serve meanwhile."""

from __future__ import annotations

import subprocess
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


@pytest.mark.sources
def test_coverage_is_told_when_asked_for() -> None:
    """`make fuzz FUZZ_ARGS=--coverage` hands the same words to both programs."""
    done = subprocess.run(
        [sys.executable, frames_run.__file__, "--count", "500", "--coverage"],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "leulo/tcp/engine.py" in done.stdout
    assert "of the code that reads frames, 500 frames" in done.stdout.splitlines()[-1]
