"""poll, select and epoll in the guest with two thousand connections of one process, as on Linux."""

from __future__ import annotations

import resource
import subprocess
from pathlib import Path

import pytest
from freestanding import build
from guest_boot import run_as_init

SOURCE = Path(__file__).with_name("many_sockets.c")
DESCRIPTORS = 4096
FEW = len(range(5, 2000, 97))
ANSWERS = [
    "open: 2000", "idle: 0", f"poll: {FEW}", "wrong in poll: 0", f"select: {FEW}",
    "wrong in select: 0", f"epoll: {FEW}", "wrong in epoll: 0", "epoll of all: 2000",
    "idle again: 0", "ended: 1000", "done",
]  # fmt: skip


@pytest.mark.compiler
def test_two_thousand_connections_are_waited_for_by_all_three(tmp_path: Path, built: Path) -> None:
    text, status = run_as_init(SOURCE, tmp_path, built / "guest.img")
    lines = text.splitlines()
    assert [line for line in lines if line in ANSWERS or "failed" in line] == ANSWERS, text
    assert status == 0


def test_linux_gives_the_same_answers(tmp_path: Path) -> None:
    build([SOURCE], tmp_path / "on-linux")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] != resource.RLIM_INFINITY and before[1] < DESCRIPTORS:
        pytest.skip(f"this process may have no {DESCRIPTORS} descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, before[1]))
    try:
        linux = subprocess.run([tmp_path / "on-linux"], capture_output=True, text=True, timeout=60)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert linux.stdout.splitlines() == ANSWERS
