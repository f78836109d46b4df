"""The conformance kernel: every exception and interrupt path, case by case beside QEMU and Bochs.

Protects: vectors, error codes, CR2, frames, stack switches, nested and triple faults, interrupt
shadows, paging, segments, FPU state and CPUID, on both deliverers; that asynchronous stops and
small quanta change nothing, so that no instruction is executed twice or left out.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from leulo.cpu.delivery import Deliverer

pytestmark = [
    pytest.mark.compiler,
    pytest.mark.skipif(
        importlib.util.find_spec("ziglang") is None, reason="ziglang builds the kernel"
    ),
]
TOOL = Path(__file__).parents[2] / "tools" / "conformance.py"
DELIVERERS: tuple[Deliverer, ...] = ("native", "portable")


@pytest.fixture(scope="module")
def conformance() -> ModuleType:
    if str(TOOL.parent) not in sys.path:
        sys.path.append(str(TOOL.parent))  # for the judges beside it
    spec = importlib.util.spec_from_file_location("conformance_tool", TOOL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def image(conformance: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = conformance.build(tmp_path_factory.mktemp("conformance") / "kernel.elf")
    return path


@pytest.fixture(scope="module")
def whole_run(conformance: ModuleType, image: Path) -> tuple[str, int]:
    text, ticks = conformance.run_leulo(image, "native")
    return str(text), int(ticks)


@pytest.mark.parametrize("deliverer", DELIVERERS)
def test_every_case_is_as_the_records_or_known_to_differ(
    conformance: ModuleType, image: Path, deliverer: Deliverer
) -> None:
    """What QEMU and Bochs said when they were asked last; neither is needed here."""
    ours = conformance.collect(lambda words: conformance.run_leulo(image, deliverer, words)[0])
    said = {judge: conformance.recorded(judge) for judge in ("qemu", "bochs")}
    for judge, other in (("qemu", "bochs"), ("bochs", "qemu")):
        assert set(ours) == set(said[judge])
        both = {"native": ours, "portable": ours}
        rows = conformance.compare(both, judge, said[judge], said[other])
        assert [row.name for row in rows if row.verdict != "equal"] == []
        second = {row.name for row in rows if row.reason}
        assert second == {name for name in ours if ours[name] != said[judge][name]}
        assert second == set(conformance.limits_of(judge))


@pytest.mark.parametrize("deliverer", DELIVERERS)
def test_every_case_is_as_qemu_says_whose_errors_are_mended(
    conformance: ModuleType, image: Path, deliverer: Deliverer
) -> None:
    """One table, no case left out, and what was mended is what Bochs says, too."""
    ours = conformance.collect(lambda words: conformance.run_leulo(image, deliverer, words)[0])
    assert ours == conformance.recorded("mended")
    mended = conformance.parse(conformance.RECORDS["mended"].read_text())
    assert set(mended) == set(conformance.known_limits("qemu"))
    bochs = conformance.recorded("bochs")
    assert mended == {name: bochs[name] for name in mended}


def test_cases_in_which_qemu_departs_name_the_section_of_the_manual(
    conformance: ModuleType,
) -> None:
    for name, reason in conformance.known_limits("qemu").items():
        assert re.search(r"\[SDM [123] [\d.]+\]", reason), name


@pytest.mark.parametrize("judge", ["mended", "qemu", "bochs"])
def test_record_is_what_the_judge_says(conformance: ModuleType, image: Path, judge: str) -> None:
    if not conformance.judges.is_there(judge):
        judges = conformance.judges
        pytest.skip(f"needs {judges.NAMES[judge]} ({judges.WHENCE[judge]})")
    if (here := conformance.judges.version(judge)) != conformance.recorded_version(judge):
        pytest.skip(f"{judge} {here} is not the one that was recorded")
    assert conformance.ask(judge, image) == conformance.recorded(judge)


def test_every_row_of_both_tables_has_to_be_equal(conformance: ModuleType) -> None:
    """In the second table the other judge's word counts, and the first one's must be another."""
    rows = {
        ("a", "a", "a"): "equal",
        ("a", "a", "b"): "DIFFERS",
        ("a", "b", "b"): "DIFFERS",
        ("a", "a", "a", "b", "why"): "equal",
        ("a", "a", "a", "a", "why"): "MOVES",
        ("a", "a", "b", "a", "why"): "DIFFERS",
        ("a", "b", "a", "c", "why"): "DIFFERS",
    }
    for values, verdict in rows.items():
        assert conformance.Row("case@0", *values).verdict == verdict, values


@pytest.fixture
def three_cases(
    conformance: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> dict[str, str]:
    """A world of three cases, of which QEMU departs in one; what an installed QEMU 9.9 says."""
    ours = {"first@0": "a", "second@0": "b", "third@0": "c"}
    departs = ours | {"second@0": "x"}
    here = dict(departs)
    monkeypatch.setattr(conformance, "build", lambda path: path)
    monkeypatch.setattr(conformance, "our_rows", lambda _: {"native": ours, "portable": ours})
    monkeypatch.setattr(conformance, "known_limits", lambda _: {"second@0": "why"})
    monkeypatch.setattr(conformance, "recorded", lambda judge: departs if judge == "qemu" else ours)
    (record := tmp_path / "mended").write_text("second@0 b\n")
    monkeypatch.setitem(conformance.RECORDS, "mended", record)
    monkeypatch.setattr(conformance, "recorded_version", lambda _: "1.0")
    monkeypatch.setattr(conformance, "ask", lambda judge, image, cases=(): here)
    monkeypatch.setattr(conformance.judges, "is_there", lambda judge: judge == "qemu")
    monkeypatch.setattr(conformance.judges, "version", lambda _: "1.0")
    return here


def test_one_table_has_every_case_and_below_it_what_was_mended(
    conformance: ModuleType, three_cases: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The mended QEMU is not there: the shipped one is asked, and the record where it departs."""
    assert conformance.main([]) == 0
    assert capsys.readouterr().out == (
        "native, portable, mended QEMU 1.0, recorded in 1: 3 cases, all equal\n"
        "QEMU 1.0 as it is shipped departs in 1 of them:\n    second@0\n        why\n"
    )
    assert conformance.main(["--only", "second"]) == 0
    out = capsys.readouterr().out
    assert "    mended QEMU 1.0    b\n    (QEMU 1.0)         x\n    why " in out
    assert conformance.main(["--json", "--only", "second"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["judge"], row["said"]) == ("mended QEMU 1.0", "b")
    assert (row["beside"], row["beside_said"]) == ("QEMU 1.0", "x")
    three_cases["third@0"] = "y"
    assert conformance.main([]) == 1
    assert "recorded in 1: 3 cases, NOT EQUAL: 1\n" in capsys.readouterr().out
    three_cases |= {"second@0": "b", "third@0": "c"}
    assert conformance.main([]) == 1
    out = capsys.readouterr().out
    assert "  MOVES: 1 in which QEMU 1.0 does what we do" in out
    assert "departs" not in out


def test_where_no_qemu_is_there_its_record_is_the_judge(
    conformance: ModuleType, three_cases: dict[str, str], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(conformance.judges, "is_there", lambda judge: False)
    assert conformance.main([]) == 0
    assert capsys.readouterr().out.startswith(
        "native, portable, mended QEMU 1.0, recorded: 3 cases, all equal\n"
        "QEMU 1.0 as it is shipped, recorded, departs in 1 of them:\n"
    )


def test_mended_qemu_that_is_there_has_the_word_in_every_case(
    conformance: ModuleType, three_cases: dict[str, str], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    says = {"mended": {"first@0": "a", "second@0": "b", "third@0": "z"}, "qemu": three_cases}
    monkeypatch.setattr(conformance, "ask", lambda judge, image, cases=(): says[judge])
    monkeypatch.setattr(conformance.judges, "is_there", lambda judge: judge in says)
    assert conformance.main([]) == 1
    assert "mended QEMU 1.0: 3 cases, NOT EQUAL: 1\n" in capsys.readouterr().out
    says["mended"]["third@0"] = "c"
    assert conformance.main([]) == 0
    assert "mended QEMU 1.0: 3 cases, all equal\n" in capsys.readouterr().out


def test_two_tables_have_their_own_judges(
    conformance: ModuleType, three_cases: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert conformance.main(["--judge", "qemu"]) == 0
    out = capsys.readouterr().out
    assert "first@0" not in out
    assert "    Bochs 1.0          b\n    (QEMU 1.0)         x\n" in out
    assert out.endswith(
        "native, portable, QEMU 1.0: 2 cases, all equal\n"
        "native, portable, Bochs 1.0, recorded: 1 case in which QEMU 1.0 departs from the manual,"
        " all equal\n"
    )
    assert conformance.main(["--judge", "qemu", "--only", "third"]) == 0
    assert capsys.readouterr().out.endswith("c\nnative, portable, QEMU 1.0: 1 case, all equal\n")
    assert conformance.main(["--judge", "qemu", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["judge"] for row in rows] == ["QEMU 1.0", "Bochs 1.0", "QEMU 1.0"]
    assert rows[1]["said"] == "b"
    assert (rows[1]["beside"], rows[1]["beside_said"]) == ("QEMU 1.0", "x")


def test_a_judge_that_changes_its_mind_is_an_error_in_either_table(
    conformance: ModuleType, three_cases: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    three_cases["second@0"] = "b"
    assert conformance.main(["--judge", "qemu"]) == 1
    assert "  MOVES: 1 in which QEMU 1.0 does what we do" in capsys.readouterr().out
    assert conformance.main(["--judge", "qemu", "--only", "first"]) == 0, (
        "the row is not among those"
    )
    three_cases |= {"second@0": "x", "third@0": "y"}
    assert conformance.main(["--judge", "qemu"]) == 1
    assert "QEMU 1.0: 2 cases, NOT EQUAL: 1\n" in capsys.readouterr().out


def test_another_version_is_told_and_is_no_judge(
    conformance: ModuleType, three_cases: dict[str, str], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(conformance.judges, "version", lambda _: "9.9")
    three_cases |= {"second@0": "b", "third@0": "y"}
    assert conformance.main(["--judge", "qemu"]) == 0
    out = capsys.readouterr().out
    assert "native, portable, QEMU 1.0, recorded: 2 cases, all equal\n" in out
    assert "QEMU 9.9 is here, which is no judge: 2 cases not as QEMU 1.0\n" in out
    assert re.search(r"second@0 +b\n +third@0 +y\n$", out)


def test_only_what_is_here_is_recorded(
    conformance: ModuleType, three_cases: dict[str, str], monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    record = tmp_path / "record"
    monkeypatch.setattr(conformance, "RECORDS", {"qemu": record, "bochs": record})
    assert conformance.main(["--judge", "bochs", "--record"]) == 5
    assert capsys.readouterr().err == "conformance: Bochs is not here (Debian: bochs-term)\n"
    with pytest.raises(SystemExit):
        conformance.main(["--judge", "kvm", "--record"])
    assert not record.exists()
    assert conformance.main(["--judge", "qemu", "--record"]) == 0
    assert record.read_text() == "# QEMU 1.0\nfirst@0 a\nsecond@0 x\nthird@0 c\n"


def test_of_the_mended_qemu_only_what_is_mended_is_recorded(
    conformance: ModuleType, three_cases: dict[str, str], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    says = {"mended": {"first@0": "a", "second@0": "b", "third@0": "c"}, "qemu": three_cases}
    monkeypatch.setattr(conformance, "ask", lambda judge, image, cases=(): says[judge])
    monkeypatch.setattr(conformance.judges, "is_there", lambda judge: judge in says)
    assert conformance.main(["--record"]) == 0
    assert conformance.RECORDS["mended"].read_text() == "# mended QEMU 1.0\nsecond@0 b\n"
    says["mended"]["fourth@0"] = "d"
    assert conformance.main(["--record"]) == 5
    assert capsys.readouterr().err == (
        "conformance: QEMU as it is shipped comes first (--judge qemu --record): fourth@0\n"
    )
    assert conformance.RECORDS["mended"].read_text() == "# mended QEMU 1.0\nsecond@0 b\n"


def test_judge_that_is_not_here_and_has_no_record_is_a_sentence(
    conformance: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(conformance, "collect", lambda _run, _alone=(): {})
    monkeypatch.setattr(conformance.judges, "is_there", lambda judge: False)
    assert conformance.main(["--judge", "kvm"]) == 5
    assert capsys.readouterr().err == (
        "conformance: QEMU with KVM is not here (Debian: qemu-system-x86, and /dev/kvm), and"
        " there is no record of it\n"
    )


STAND_IN = """#!{python}
import sys
from pathlib import Path
given = sys.argv[1:]
if given == ["--version"]:
    sys.exit(print("QEMU emulator version 9.9"))
flags = dict(zip(given, given[1:]))
assert (flags["-accel"], flags["-cpu"]) in [("kvm", "host"), ("tcg", "qemu64,-sep")], given
assert Path(flags["-kernel"]).read_bytes()[:4] == b"\\x7fELF"
rows = Path({record!r}).read_text().splitlines()[1:]
wanted = flags["-append"].removeprefix("only=")
said = [row for row in rows if row.startswith(wanted + "@") or not wanted and "shutdown" not in row]
serial = Path(flags["-serial"].removeprefix("file:"))
if said[0].endswith(" shutdown"):
    serial.write_text(said[0].removesuffix(" shutdown"))
    sys.exit(0)
serial.write_text("\\n".join([*said, "end", ""]))
sys.exit(1)
"""


def test_a_processor_is_asked_by_way_of_kvm(
    conformance: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """In QEMU's place a program that says what Bochs said: here no KVM can run such a guest."""
    judges = conformance.judges
    program = tmp_path / judges.QEMU
    record = str(conformance.RECORDS["bochs"])
    program.write_text(STAND_IN.format(python=sys.executable, record=record))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    may = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path == "/dev/kvm" or may(path, mode))
    judges._help.cache_clear()
    judges.version.cache_clear()
    try:
        assert conformance.main(["--judge", "kvm"]) == 0
    finally:
        judges._help.cache_clear()
        judges.version.cache_clear()
    said = capsys.readouterr().out
    limits = len(conformance.known_limits("both"))
    assert re.search(r"\nnative, portable, QEMU with KVM 9.9: \d+ cases, all equal\n", said)
    assert f": {limits} cases in which QEMU with KVM 9.9 does not do what we and QEMU do" in said


def test_bochs_that_goes_on_for_ever_is_ended(
    conformance: ModuleType, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judges = conformance.judges
    if not judges.is_there("bochs"):
        pytest.skip("needs bochs (Debian: bochs-term)")
    monkeypatch.setattr(judges, "SECONDS", 1)
    data = bytearray(image.read_bytes())
    entry = int.from_bytes(data[24:28], "little")
    table = int.from_bytes(data[28:32], "little")
    offset, place = (int.from_bytes(data[table + at : table + at + 4], "little") for at in (4, 8))
    at = entry - place + offset
    data[at : at + 2] = b"\xeb\xfe"  # jmp to itself
    endless = image.with_name("endless.elf")
    endless.write_bytes(data)
    with pytest.raises(judges.JudgeError, match="Bochs does not go on after: ''"):
        judges.run("bochs", endless)


def test_deliverers_take_the_same_ticks(
    conformance: ModuleType, image: Path, whole_run: tuple[str, int]
) -> None:
    assert conformance.run_leulo(image, "portable") == whole_run


@pytest.mark.parametrize("deliverer", DELIVERERS)
@pytest.mark.slow
@pytest.mark.parametrize("quantum", [499])
def test_quantum_changes_no_case(
    conformance: ModuleType,
    image: Path,
    whole_run: tuple[str, int],
    deliverer: Deliverer,
    quantum: int,
) -> None:
    assert conformance.run_leulo(image, deliverer, quantum=quantum) == whole_run


@pytest.mark.parametrize("deliverer", DELIVERERS)
def test_asynchronous_stops_execute_nothing_twice(
    conformance: ModuleType, image: Path, whole_run: tuple[str, int], deliverer: Deliverer
) -> None:
    """Another thread stops the CPU thousands of times, in the middle of anything. What a block that
    rewrites itself costs in ticks depends on where it is cut (docs/limits.md), so it is left out
    where ticks are compared."""
    assert conformance.run_stopped(image, deliverer)[0] == whole_run[0]
    words = "without=smc_next_instruction"
    text, ticks, stops = conformance.run_stopped(image, deliverer, words)
    assert (text, ticks) == conformance.run_leulo(image, deliverer, words)
    assert len(text.splitlines()) == len(whole_run[0].splitlines()) - 2
    assert stops > 100
