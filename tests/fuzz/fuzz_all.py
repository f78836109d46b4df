"""Fuzzes every target by atheris for some minutes and prints what was covered.

    python tests/fuzz/fuzz_all.py                     ten minutes, shared by the targets
    python tests/fuzz/fuzz_all.py --seconds 60 --target stack
    python tests/fuzz/fuzz_all.py --keep              put what brought new coverage into the corpus

Works in a temporary folder. A finding is copied to the folder that is printed, and the exit code is
1. Branches are counted by replaying the corpus and everything found, in a process of its own.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from targets import CORPUS, ROOT, TARGETS, corpus_of  # noqa: E402

SHARE = {"stack": 5, "hypercalls": 2, "pkt": 2}  # of the time; the others have one each
MOST_KEPT = 60  # files of a target in the corpus
MOST_KEPT_BYTES = 40_000


def replay(name: str, folders: list[str]) -> None:
    """In this process: the branches that these inputs take, as JSON on the last line."""
    import coverage

    target = TARGETS[name]
    include = [f"{ROOT}/{s}" + ("*" if s.endswith("/") else "") for s in target.sources]
    measured = coverage.Coverage(branch=True, include=include, data_file=None, config_file=False)
    measured.start()
    for folder in folders:
        for path in sorted(Path(folder).iterdir()):
            target.run(path.read_bytes())
    measured.stop()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "coverage.json"
        measured.json_report(outfile=str(out))
        totals = json.loads(out.read_text())["totals"]
    print(json.dumps([totals["covered_branches"], totals["num_branches"]]))


def branches(name: str, folders: list[Path]) -> tuple[int, int]:
    command = [sys.executable, __file__, "--replay", name, *map(str, folders)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=3600, check=True)
    covered, total = json.loads(run.stdout.splitlines()[-1])
    return covered, total


def fuzz(name: str, seconds: float, work: Path, flags: list[str]) -> tuple[int, int, str]:
    """(exit code, inputs tried, the end of what libFuzzer said)."""
    corpus = CORPUS / name
    command = [
        sys.executable, str(HERE / "fuzz_child.py"), name, str(work), str(corpus),
        f"-max_total_time={max(1, round(seconds))}", "-print_final_stats=1", *flags,
    ]  # fmt: skip
    run = subprocess.run(
        command, capture_output=True, text=True, cwd=work, timeout=seconds + 900, check=False
    )
    text = run.stdout + run.stderr
    tried = re.search(r"stat::number_of_executed_units:\s*(\d+)", text)
    return run.returncode, int(tried[1]) if tried else 0, text[-6000:]


def choose(name: str, into: Path, folders: list[str]) -> None:
    """In this process: copy few inputs to ``into`` that take nearly all the branches which these
    take: the one with the most that are new comes next."""
    import coverage

    target = TARGETS[name]
    include = [f"{ROOT}/{s}" + ("*" if s.endswith("/") else "") for s in target.sources]
    measured = coverage.Coverage(branch=True, include=include, data_file=None, config_file=False)
    taken: list[tuple[Path, set[tuple[str, tuple[int, int]]]]] = []
    paths = [path for folder in folders for path in Path(folder).iterdir()]
    for path in sorted(paths, key=lambda p: (p.stat().st_size, p.name)):
        measured.start()
        target.run(path.read_bytes())
        measured.stop()
        found = measured.get_data()
        taken.append(
            (path, {(f, arc) for f in found.measured_files() for arc in found.arcs(f) or ()})
        )
        measured.erase()
    size = 0
    for _ in range(MOST_KEPT):
        path, best = max(taken, key=lambda one: len(one[1]), default=(Path(), set()))
        data = path.read_bytes() if best else b""
        if not best or size + len(data) > MOST_KEPT_BYTES:
            break
        size += len(data)
        shutil.copy(path, into / hashlib.sha256(data).hexdigest()[:12])
        taken = [(p, arcs - best) for p, arcs in taken]


def keep(name: str, work: Path) -> int:
    """Make the corpus of ``name`` anew, of few small files, from it and from what was found."""
    chosen = work / "chosen"
    chosen.mkdir()
    folders = [str(CORPUS / name), str(work / "found")]
    command = [sys.executable, __file__, "--choose", name, str(chosen), *folders]
    subprocess.run(command, timeout=3600, check=True)
    for path in corpus_of(name):
        path.unlink()
    for path in sorted(chosen.iterdir()):
        shutil.copy(path, CORPUS / name / path.name)
    return len(corpus_of(name))


def main() -> int:
    parser = argparse.ArgumentParser(description="Every target under atheris.")
    parser.add_argument("--seconds", type=float, default=600, help="for all of them together")
    parser.add_argument("--target", action="append", choices=list(TARGETS))
    parser.add_argument("--keep", action="store_true", help="what is new goes into the corpus")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--replay", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--choose", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.replay:
        replay(arguments.replay[0], arguments.replay[1:])
        return 0
    if arguments.choose:
        name, into, *folders = arguments.choose
        choose(name, Path(into), folders)
        return 0
    try:
        import atheris  # noqa: F401
    except ImportError:
        print("fuzzing needs atheris (PyPI; wheels for Linux on x86-64): skipped")
        return 0
    names = arguments.target or list(TARGETS)
    shares = sum(SHARE.get(name, 1) for name in names)
    print(f"{'target':<9}{'seconds':>8}{'inputs':>10}{'corpus':>8}{'found':>7}  branches")
    failed = 0
    for name in names:
        seconds = arguments.seconds * SHARE.get(name, 1) / shares
        with tempfile.TemporaryDirectory(prefix="leulo-fuzz-") as folder:
            work = Path(folder)
            code, tried, said = fuzz(name, seconds, work, [f"-seed={arguments.seed}"])
            found = work / "found"
            findings = sorted(work.glob("finding-*"))
            if code or findings:
                failed += 1
                kept = Path(tempfile.mkdtemp(prefix=f"leulo-finding-{name}-"))
                for path in findings:
                    shutil.copy(path, kept)
                print(f"{name}: exit code {code}; findings are in {kept}\n{said}")
                continue
            new = len(list(found.iterdir()))
            covered, total = branches(name, [CORPUS / name, found])
            percent = 100 * covered / total
            size = len(corpus_of(name))
            print(f"{name:<9}{seconds:>8.0f}{tried:>10}{size:>8}{new:>7}  "
                  f"{covered} of {total}, {percent:.1f} %", flush=True)  # fmt: skip
            if arguments.keep:
                print(f"{name}: {keep(name, work)} files kept")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
