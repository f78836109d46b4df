"""The packaged guest on both deliverers: the same run, event by event and frame by frame.

Protects: `leulo boot --cpu portable`, and that delivery in Python takes the same ticks as delivery
by the engine, also under a real kernel with its timer, page faults and system calls.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def boot(folder: Path, cpu: str) -> tuple[bytes, bytes]:
    events, frames = folder / f"{cpu}.jsonl", folder / f"{cpu}.pcapng"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "leulo", "boot", "--cpu", cpu, "--clock", "virtual"),
            *("--net", "sim:loss=0.01,requests=5", "--seed", "7", "--trace", str(events)),
            *("--pcap", str(frames), "--timeout", "60s"),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return events.read_bytes(), frames.read_bytes()


def test_portable_delivery_gives_the_same_events_and_frames(tmp_path: Path) -> None:
    native_events, native_frames = boot(tmp_path, "native")
    assert native_events.count(b"\n") > 100
    assert boot(tmp_path, "portable") == (native_events, native_frames)


def test_unknown_cpu_is_a_usage_error() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "leulo", "boot", "--cpu", "fast"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "native or portable" in done.stderr
    assert "Traceback" not in done.stderr
