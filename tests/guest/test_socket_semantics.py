"""Sockets in the guest answer as Linux's do: the same program, the same lines.

Blocking, O_NONBLOCK, poll, short counts, errors and both kinds of ending; the guest's kernel, the
hypercalls and the engine's loopback together.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from freestanding import build
from guest_boot import run_as_init

SOURCE = Path(__file__).with_name("socket_semantics.c")


@pytest.mark.compiler
def test_guest_sockets_answer_as_linux_does(tmp_path: Path, built: Path) -> None:
    build([SOURCE], tmp_path / "on-linux")
    linux = subprocess.run([tmp_path / "on-linux"], capture_output=True, text=True, timeout=30)
    assert linux.stdout.endswith("\ndone\n"), linux.stdout
    text, status = run_as_init(SOURCE, tmp_path, built / "guest.img")
    guest = [line for line in text.splitlines() if ": " in line or line == "done"]
    first = guest.index(linux.stdout.splitlines()[0])
    last = guest.index("done") + 1 if "done" in guest else len(guest)
    assert guest[first:last] == linux.stdout.splitlines(), text
    assert status == 0
