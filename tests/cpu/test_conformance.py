"""The conformance kernel: every exception and interrupt path, case by case beside QEMU and Bochs.

Protects: vectors, error codes, CR2, frames, stack switches, nested and triple faults, interrupt
shadows, paging, segments, FPU state and CPUID, on both deliverers; that asynchronous stops and
small quanta change nothing, so that no instruction is executed twice or left out.
"""

from __future__ import annotations

import importlib.util
import os
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
    for judge, kind in (("qemu", "qemu"), ("bochs", "both")):
        said = conformance.recorded(judge)
        assert set(ours) == set(said)
        rows = conformance.compare({"native": ours, "portable": ours}, judge, said)
        different = {row.name for row in rows if row.verdict != "equal"}
        assert different == set(conformance.known_limits(kind))
        assert {row.verdict for row in rows} == {"equal", conformance.VERDICTS[kind]}


@pytest.mark.parametrize("judge", ["qemu", "bochs"])
def test_record_is_what_the_judge_says(conformance: ModuleType, image: Path, judge: str) -> None:
    if not conformance.judges.is_there(judge):
        pytest.skip(f"needs {judge} (Debian: qemu-system-x86, bochs-term)")
    if (here := conformance.judges.version(judge)) != conformance.recorded_version(judge):
        pytest.skip(f"{judge} {here} is not the one that was recorded")
    assert conformance.ask(judge, image) == conformance.recorded(judge)


def test_known_difference_needs_its_witness(conformance: ModuleType) -> None:
    """QEMU is said to err only where Bochs does what we do; a difference that is gone is told."""
    rows = {
        ("a", "a", "b", "a"): "QEMU errs",
        ("a", "a", "b", "b"): "LIMIT GONE",
        ("a", "b", "b", "a"): "LIMIT GONE",
        ("a", "a", "a", "a"): "LIMIT GONE",
    }
    for values, verdict in rows.items():
        assert conformance.Row("case@0", *values, "QEMU errs", "why").verdict == verdict
    assert conformance.Row("case@0", "a", "a", "b", "a", "", "").verdict == "DIFFERS"
    assert conformance.Row("case@0", "a", "a", "a", "b", "", "").verdict == "equal"


def test_judge_that_is_not_here_and_has_no_record_is_a_sentence(
    conformance: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(conformance, "collect", lambda _run, _alone=(): {})
    monkeypatch.setattr(conformance.judges, "is_there", lambda judge: False)
    assert conformance.main(["--judge", "kvm"]) == 5
    assert capsys.readouterr().err == (
        "conformance: QEMU with KVM is not here, and there is no record of it\n"
    )


STAND_IN = """#!{python}
import sys
from pathlib import Path
given = sys.argv[1:]
if given == ["--version"]:
    sys.exit(print("QEMU emulator version 9.9"))
flags = dict(zip(given, given[1:]))
assert (flags["-accel"], flags["-cpu"]) == ("kvm", "host"), given
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
    assert f"portable and QEMU with KVM 9.9: {limits} as QEMU, " in said
    assert f"{limits} in which QEMU and we do the same, and QEMU with KVM 9.9 does not" in said


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
    """Another thread stops the CPU thousands of times, in the middle of anything."""
    text, ticks, stops = conformance.run_stopped(image, deliverer)
    assert (text, ticks) == whole_run
    assert stops > 100
