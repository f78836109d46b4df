"""Runs the hostile guest for long, and tells time, memory and coverage.

    python tests/hypercalls/fuzz_run.py                       1,000,000 descriptors
    python tests/hypercalls/fuzz_run.py --count 50000 --coverage

Exits 1 if memory grew, a call took too long, or (with ``--coverage``) less than 95 % of the
branches of ``leulo/hypercalls`` were taken. Any exception or stray write ends it with a traceback
and the seed. Coverage makes it several times slower; it needs far fewer descriptors.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
for place in (ROOT, Path(__file__).resolve().parent):
    if str(place) not in sys.path:
        sys.path.insert(0, str(place))

EPISODE = 250_000  # descriptors against one hypervisor; then another begins
MOST_GROWTH_KIB = 16 * 1024
MOST_STEP_S = 5.0
LEAST_BRANCHES = 95.0
SEED = 1


@dataclass
class Report:
    """What a run has shown. Memory is resident KiB, after a tenth of the run and at its end."""

    descriptors: int
    seconds: float
    slowest_s: float
    early_kib: int
    late_kib: int
    most: dict[str, int]
    statuses: dict[int, int]
    events: int

    @property
    def grown_kib(self) -> int:
        return self.late_kib - self.early_kib


def resident_kib() -> int:
    """What this process holds now."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4


def run(count: int, seed: int = SEED, episode: int = EPISODE) -> Report:
    """``count`` descriptors; every other episode somebody watches the event stream."""
    from fuzz_world import FuzzWorld  # here, so that a measurement of coverage can begin before

    report = Report(count, 0.0, 0.0, 0, 0, {}, {}, 0)
    began = time.process_time()
    done = number = 0
    while done < count:
        world = FuzzWorld(seed + number, traced=number % 2 == 1)
        number += 1
        for _ in range(min(episode, count - done)):
            before = time.process_time()
            world.step()
            report.slowest_s = max(report.slowest_s, time.process_time() - before)
            done += 1
            if done == count // 10:
                report.early_kib = resident_kib()
        world.finish()
        report.events += world.events
        for name, value in world.most.items():
            report.most[name] = max(value, report.most.get(name, 0))
        for status, times in world.fuzzer.statuses.items():
            report.statuses[status] = report.statuses.get(status, 0) + times
    report.seconds = time.process_time() - began
    report.late_kib = resident_kib()
    return report


def branches(count: int, seed: int = SEED) -> tuple[float, str]:
    """Percent of the branches of ``leulo/hypercalls`` that ``count`` descriptors take, and the
    lines that begin a branch not taken, by file. Only in a process that has not imported it."""
    import io
    import json
    import tempfile

    import coverage

    measured = coverage.Coverage(
        branch=True, include=[str(ROOT / "leulo/hypercalls/*")], data_file=None, config_file=False
    )
    measured.start()
    run(count, seed, episode=max(1, count // 4))
    measured.stop()
    with tempfile.NamedTemporaryFile("r", suffix=".json") as out:
        measured.json_report(outfile=out.name)
        data = json.load(out)
    text = io.StringIO()
    measured.report(file=text, show_missing=True, skip_covered=True)
    totals = data["totals"]
    return 100 * totals["covered_branches"] / totals["num_branches"], text.getvalue()


def main() -> int:
    parser = argparse.ArgumentParser(description="A hostile guest against the hypercalls.")
    parser.add_argument("--count", type=int, default=1_000_000, help="descriptors")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--coverage", action="store_true", help="measure branches")
    arguments = parser.parse_args()
    if arguments.coverage:
        percent, text = branches(arguments.count, arguments.seed)
        print(text)
        print(f"{percent:.1f} % of the branches of leulo/hypercalls, {arguments.count} descriptors")
        return 0 if percent >= LEAST_BRANCHES else 1
    report = run(arguments.count, arguments.seed)
    print(f"{report.descriptors} descriptors, seed {arguments.seed}: no traceback, no stray write")
    per_call = report.seconds / report.descriptors * 1e6
    print(
        f"time    {report.seconds:.1f} s, {per_call:.0f} us each, longest {report.slowest_s:.3f} s"
    )
    print(f"memory  {report.early_kib} KiB after a tenth, {report.late_kib} KiB at the end")
    print("most    " + ", ".join(f"{name} {value}" for name, value in report.most.items()))
    from leulo.hypercalls.abi import Status

    names = [f"{Status(s).name} {n}" for s, n in sorted(report.statuses.items())]
    print("status  " + ", ".join(names))
    if report.grown_kib > MOST_GROWTH_KIB or report.slowest_s > MOST_STEP_S:
        print("memory grew, or a call took too long")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
