"""A hostile guest on the real engine: a short run of the long one in `fuzz_run`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import fuzz_run
import pytest
from fuzz_world import FuzzWorld

from leulo.hypercalls import abi

SEED = 20_002


def test_20000_descriptors_harm_nobody() -> None:
    """No exception, no stray write, no table past its quota; a good guest is served after."""
    world = FuzzWorld(SEED)
    for _ in range(20_000):
        world.step()
    fuzzer = world.fuzzer
    for op in (abi.Op.SEND, abi.Op.RECV, abi.Op.ACCEPT, abi.Op.POLL, abi.Op.SUBSCRIBE):
        assert fuzzer.results[op] > 10, (op, fuzzer.results)
    for op in (abi.Op.SENDFILE, abi.Op.BUFFER_REGISTER, abi.Op.BUFFER_RELEASE):
        assert fuzzer.results[op] > 10, (op, fuzzer.results)
    for status in abi.Status:
        assert fuzzer.statuses[int(status)] > 3, (status, fuzzer.statuses)
    assert world.world.guest.hypercalls.ring.storms > 10
    counts = world.world.stack.counters()
    assert counts["ping_out"] > 2 and counts["ping_in"] > 0, counts
    world.finish()


def test_memory_does_not_grow_and_no_call_takes_long() -> None:
    report = fuzz_run.run(20_000, seed=SEED + 1, episode=10_000)
    assert report.events > 10_000  # the second half was watched
    assert report.grown_kib < fuzz_run.MOST_GROWTH_KIB
    assert report.slowest_s < fuzz_run.MOST_STEP_S


@pytest.mark.sources
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_hostile_guest_takes_nearly_every_branch() -> None:
    """What the fuzzer does not reach it does not test: 95 % of the branches, by itself."""
    done = subprocess.run(
        [sys.executable, str(Path(fuzz_run.__file__)), "--count", "40000", "--coverage"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
