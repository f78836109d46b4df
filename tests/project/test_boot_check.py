"""The program of ``make boot-check``: it prints the page; a busy port comes with a free one."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

TOOL = Path(__file__).resolve().parents[2] / "tools" / "boot_check.py"


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(TOOL), *words], capture_output=True, text=True, timeout=90,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_page_is_fetched_and_printed() -> None:
    port = free_port()
    result = run("--port", str(port))
    assert result.returncode == 0, result.stderr
    assert f"GET http://127.0.0.1:{port}/: 200 text/html" in result.stdout
    assert "</html>" in result.stdout
    assert "interrupted" not in result.stderr, "a success that ends like a failure"


def test_a_busy_port_is_named_with_a_free_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("--port", str(port))
    assert result.returncode == 2
    assert result.stderr.startswith(f"boot-check: port {port} of 127.0.0.1 is in use; ")
    offered = int(result.stderr.rpartition("PORT=")[2])
    assert offered != port
    with socket.create_server(("127.0.0.1", offered)):
        pass


def test_a_port_that_is_none_is_refused() -> None:
    for port in ("0", "70000", "-1"):
        result = run("--port", port)
        assert result.returncode == 2
        assert result.stderr == (f"boot-check: {port} is no port: write a number from 1 to 65535\n")
