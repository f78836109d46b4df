"""Proves the links of docs/conformance.md: without a rule's line, its test fails.

    python tools/mutants.py                 every rule: some minutes
    python tools/mutants.py --sample 40     forty of them, spread evenly (what the tests run)
    python tools/mutants.py MUST-14 6298    those whose name contains a word

First the tests are run as they are, all together: one that fails with the line, too, shows nothing.
Then each rule's line is taken out of a copy of leulo/ (links, but for the one file) and its one
test runs on the copy. A test that passes all the same shows nothing either, nor does one that
cannot run at all. Each of these is a finding, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from requirements import ROOT, Requirement, RequirementError, documents, mutated

_TIMEOUT_S = 120
_BATCH_TIMEOUT_S = 900  # of all tests at once
# Times to the millisecond, however long after the event before.
_PKT_OPTIONS = ("--json", "--option", "tolerance_percent=0")
_PYTEST_OPTIONS = ("-x", "-q", "--no-header", "-p", "no:cacheprovider")


def chosen(words: Sequence[str], sample: int) -> list[Requirement]:
    """The rules that have code, in the documents' order; ``sample`` 0 takes all."""
    rules = [rule for document in documents() for rule in document.requirements if rule.code]
    if words:
        rules = [rule for rule in rules if any(word in rule.name for word in words)]
    if sample and len(rules) > sample:
        rules = [rules[i * len(rules) // sample] for i in range(sample)]
    return rules


def failing(rules: Sequence[Requirement]) -> dict[str, str]:
    """Which of their tests do not pass on the tree as it is, and what is wrong with each."""
    tests = list(dict.fromkeys(rule.test for rule in rules))
    scripts = [test for test in tests if test.endswith(".pkt")]
    return _failing_scripts(scripts) | _failing_tests([t for t in tests if t not in scripts])


def _failing_scripts(scripts: list[str]) -> dict[str, str]:
    if not scripts:
        return {}
    command = [sys.executable, "-m", "leulo", "pkt", *_PKT_OPTIONS, *scripts]
    done = _run(command, _environment(ROOT), _BATCH_TIMEOUT_S)
    try:
        results = {r["file"]: r["status"] for r in json.loads(done.stdout)["results"]}
    except (ValueError, LookupError):
        results = {}
    return {
        script: f"{script} {results.get(script, 'does not run')} with the line, too"
        for script in scripts
        if results.get(script) != "passed"
    }


def _failing_tests(tests: list[str]) -> dict[str, str]:
    """One run for all; only if that does not pass is each asked by itself."""
    command = [sys.executable, "-m", "pytest", *_PYTEST_OPTIONS]
    if not tests or _run([*command, *tests], _environment(ROOT), _BATCH_TIMEOUT_S).returncode == 0:
        return {}
    return {
        test: f"{test} does not pass with the line, either"
        for test in tests
        if _run([*command, test], _environment(ROOT)).returncode != 0
    }


def judge(rule: Requirement, folder: Path) -> str:
    """Empty if the test fails without the line, else what is wrong. ``folder`` is made and gone
    again."""
    shutil.copytree(ROOT / "leulo", folder / "leulo", copy_function=os.symlink)
    try:
        changed = mutated(rule, folder)
        (folder / rule.code).unlink()
        (folder / rule.code).write_text(changed, encoding="utf-8")
        environment = _environment(folder)
        if rule.test.endswith(".pkt"):
            return _judge_script(rule, environment)
        return _judge_test(rule, environment)
    except subprocess.TimeoutExpired:
        return ""  # it hangs without the line: that is noticed, too
    except RequirementError as error:
        return str(error)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _judge_script(rule: Requirement, environment: dict[str, str]) -> str:
    command = [sys.executable, "-m", "leulo", "pkt", *_PKT_OPTIONS, rule.test]
    done = _run(command, environment)
    try:
        status = json.loads(done.stdout)["results"][0]["status"]
    except (ValueError, LookupError):
        return f"{rule.test} cannot run: {(done.stderr or done.stdout)[-300:]}"
    return "" if status == "failed" else f"{rule.test} {status} without the line"


def _judge_test(rule: Requirement, environment: dict[str, str]) -> str:
    done = _run([sys.executable, "-m", "pytest", *_PYTEST_OPTIONS, rule.test], environment)
    if done.returncode == 1 and " failed" in done.stdout:
        return ""
    if done.returncode == 0:
        return f"{rule.test} passes without the line"
    return f"{rule.test} cannot run: {(done.stdout + done.stderr)[-300:]}"


def _environment(root: Path) -> dict[str, str]:
    """Of a process that imports the leulo in ``root``."""
    return {
        **os.environ,
        "PYTHONPATH": str(root),
        "PYTHONSAFEPATH": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _run(
    command: list[str], environment: dict[str, str], timeout_s: int = _TIMEOUT_S
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
        timeout=timeout_s,
    )  # fmt: skip


def results(rules: Sequence[Requirement]) -> Iterator[tuple[Requirement, str]]:
    """(rule, finding) of each, as many at a time as there are processors."""
    wrong = failing(rules)
    with (
        tempfile.TemporaryDirectory(prefix="leulo-mutants-") as place,
        ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool,
    ):
        folders = [Path(place) / str(number) for number in range(len(rules))]
        for rule, finding in zip(rules, pool.map(judge, rules, folders), strict=True):
            yield rule, wrong.get(rule.test, finding)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("words", nargs="*", help="only rules whose name contains one")
    parser.add_argument("--sample", type=int, default=0, help="that many, spread evenly")
    arguments = parser.parse_args()
    count = bad = 0
    for rule, finding in results(chosen(arguments.words, arguments.sample)):
        count += 1
        bad += finding != ""
        if finding or sys.stdout.isatty():
            print(f"{rule.name}: {finding or 'ok'}", flush=True)
    print(f"{count - bad} of {count} tests fail without the line that they show")
    return 1 if bad or not count else 0


if __name__ == "__main__":
    sys.exit(main())
