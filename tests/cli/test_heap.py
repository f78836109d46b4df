"""The heap keeps its pages: frames that come and go cost no page faults."""

from __future__ import annotations

import subprocess
import sys

_ROUNDS = 200
_FRAMES = f"""
import resource, sys
from leulo.cli.heap import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
for turn in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range({_ROUNDS}):
        frames = [bytes(100_000) for _ in range(4)]
        del frames
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(how: str) -> int:
    run = subprocess.run(
        [sys.executable, "-c", _FRAMES, how], capture_output=True, text=True, check=True
    )
    return int(run.stdout)


def test_frames_find_the_pages_of_those_before_them() -> None:
    assert _faults("kept") < _ROUNDS < 20 * _ROUNDS < _faults("as it is")
