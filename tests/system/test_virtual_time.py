"""Protects determinism: in virtual time the same seed gives the same bytes, whatever the host."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.compiler

WIRE = "sim:rate=20mbit,delay=10ms,queue=100,loss=0.01,requests=50,path=/bytes/10000"


def run(folder: Path, name: str, *args: str, trace: bool = True, seed: int = 7) -> dict[str, str]:
    """One run; returns the digests of what it left."""
    capture, events = folder / f"{name}.pcapng", folder / f"{name}.jsonl"
    command = [sys.executable, "-m", "leulo", "boot", "--net", WIRE, "--clock", "virtual"]
    command += ["--seed", str(seed), "--pcap", str(capture), *args]
    command += ["--trace", str(events)] if trace else []
    environment = {**os.environ, "PYTHONHASHSEED": str(len(name))}
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, timeout=100, env=environment,
        cwd=folder if name.startswith("elsewhere") else None,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    assert b"50 of 50" in done.stderr, done.stderr.decode()
    result = {"console": done.stdout, "capture": capture.read_bytes()}
    if trace:
        result["trace"] = events.read_bytes()
    return {key: hashlib.sha256(value).hexdigest() for key, value in result.items()}


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return run(tmp_path_factory.mktemp("reference"), "reference")


def test_two_processes_are_equal_to_the_byte(reference: dict[str, str], tmp_path: Path) -> None:
    assert run(tmp_path, "elsewhere and again") == reference


@pytest.mark.parametrize("quantum", ["17us", "5ms"])
def test_the_quantum_cannot_be_seen(
    reference: dict[str, str], tmp_path: Path, quantum: str
) -> None:
    assert run(tmp_path, "quantum", "--quantum", quantum) == reference


def test_tracing_cannot_be_seen(reference: dict[str, str], tmp_path: Path) -> None:
    untraced = run(tmp_path, "untraced", trace=False)
    assert untraced["console"] == reference["console"]
    assert untraced["capture"] == reference["capture"]


def test_another_seed_is_another_run(reference: dict[str, str], tmp_path: Path) -> None:
    assert run(tmp_path, "seed", seed=8)["capture"] != reference["capture"]
