"""docs/conformance.md says nothing that is not so: lines and tests exist, and belong together."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import mutants
import pytest
import reach
import requirements

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = 30


@pytest.mark.sources
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_without_its_line_a_rules_test_fails() -> None:
    """Of a sample of all rules; `python tools/mutants.py` takes all."""
    done = subprocess.run(
        [sys.executable, "tools/mutants.py", "--sample", str(SAMPLE)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{SAMPLE} of {SAMPLE}" in done.stdout


def test_a_line_that_moved_away_is_told(tmp_path: Path) -> None:
    rule = requirements.Requirement(1, "MUST-1", "MUST", "1", "says", "a.py", "x = 1", test="t.pkt")
    source = tmp_path / "a.py"
    source.write_text("def f():\n    x = 1  # why\n")
    assert requirements.line_number(rule, tmp_path) == 2
    assert requirements.mutated(rule, tmp_path) == "def f():\n    pass\n"
    source.write_text("x = 1\nx = 1\n")
    with pytest.raises(requirements.RequirementError, match="is 2 times"):
        requirements.line_number(rule, tmp_path)
    source.write_text("x = 2\n")
    with pytest.raises(requirements.RequirementError, match="is not in"):
        requirements.line_number(rule, tmp_path)


def test_a_condition_becomes_false_and_an_operand_goes(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("if (\n    a\n    and b\n):\n    c()\nelse:\n    d()\n")
    whole = requirements.Requirement(1, "MUST-1", "MUST", "1", "says", "a.py", "if (", test="t.pkt")
    assert requirements.mutated(whole, tmp_path) == "if False:\n    c()\nelse:\n    d()\n"
    operand = requirements.Requirement(
        1, "MUST-1", "MUST", "1", "says", "a.py", "and b", test="t.pkt"
    )
    assert "and b" not in requirements.mutated(operand, tmp_path)


def test_a_test_that_fails_anyway_shows_nothing(tmp_path: Path) -> None:
    """Without its line it fails, to be sure; but with the line, too."""
    broken, good = tmp_path / "broken.pkt", tmp_path / "good.pkt"
    good.write_text("   0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n")
    broken.write_text("   0 socket(..., SOCK_STREAM, IPPROTO_TCP) = -1\n")
    test = tmp_path / "test_it.py"
    test.write_text("def test_good():\n    pass\n\n\ndef test_broken():\n    assert False\n")
    names = [str(broken), str(good), f"{test}::test_good", f"{test}::test_broken"]
    rules = [
        requirements.Requirement(1, f"MUST-{n}", "MUST", "1", "says", "a.py", "x = 1", test=name)
        for n, name in enumerate(names)
    ]
    assert sorted(mutants.failing(rules)) == sorted([names[0], names[3]])


def test_a_line_that_only_tests_reach_keeps_no_rule(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        "class Used:\n    def run(self):\n        x = 1\n\n"
        "def alone():\n    alone()\n    x = 2\n    behind()\n\n"
        "def behind():\n    x = 3\n\n"
        "def in_a_table():\n    x = 4\n"
    )
    (tmp_path / "b.py").write_text(
        "from a import Used, alone\nUsed().run()\nNAMES = ['in_a_table']\n"
    )
    found = reach.unnamed(tmp_path)
    assert [one.name for one in found] == ["alone", "behind"]
    for number in range(1, 5):
        rule = requirements.Requirement(
            1, f"MUST-{number}", "MUST", "1", "says", "a.py", f"x = {number}", test="t.pkt"
        )
        if number in (2, 3):
            with pytest.raises(requirements.RequirementError, match="nothing in leulo uses"):
                requirements.check_reached(rule, tmp_path, found)
        else:
            requirements.check_reached(rule, tmp_path, found)
