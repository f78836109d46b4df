"""Protects: a daemon's closed descriptors, and a mistyped event name, are no trap."""

from __future__ import annotations

import subprocess
import sys

import pytest

BOOT = f"{sys.executable} -m leulo boot --net none --timeout 0.3"


@pytest.mark.compiler
@pytest.mark.parametrize("closed", ["<&-", "</dev/null >&-", "</dev/null 2>&-", "<&- >&- 2>&-"])
def test_a_closed_standard_stream_is_dev_null(closed: str) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", f"{BOOT} {closed}"], capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 4, done  # --timeout is over
    assert b"Traceback" not in done.stderr and b"bug" not in done.stderr
    if ">&-" in closed and "2>&-" not in closed:
        assert b"is over" in done.stderr


@pytest.mark.compiler
def test_a_log_glob_that_nothing_has_is_refused_with_the_names() -> None:
    done = subprocess.run(
        [*BOOT.split(), "--log", "nosuch.*"], capture_output=True, timeout=60, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 2
    assert b"--log nosuch.*" in done.stderr and b"tcp.state" in done.stderr
