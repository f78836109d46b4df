"""The conformance kernel: every exception and interrupt path, compared with QEMU case by case.

Protects: vectors, error codes, CR2, frames, stack switches, nested and triple faults, interrupt
shadows, paging, segments, FPU state and CPUID, on both deliverers; that asynchronous stops and
small quanta change nothing, so that no instruction is executed twice or left out.
"""

from __future__ import annotations

import importlib.util
import shutil
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
def test_every_case_is_as_the_reference_or_a_known_limit(
    conformance: ModuleType, image: Path, deliverer: Deliverer
) -> None:
    """The reference is what QEMU said when it was recorded; it needs no QEMU here."""
    ours = conformance.collect(lambda words: conformance.run_leulo(image, deliverer, words)[0])
    judge = conformance.parse(conformance.REFERENCE.read_text())
    assert list(ours) == list(judge)
    different = {name for name in judge if ours[name] != judge[name]}
    assert different == set(conformance.known_limits())


@pytest.mark.qemu
@pytest.mark.skipif(shutil.which("qemu-system-i386") is None, reason="QEMU is the judge")
def test_reference_is_what_qemu_says(conformance: ModuleType, image: Path) -> None:
    judge = conformance.collect(lambda words: conformance.run_qemu(image, words))
    assert judge == conformance.parse(conformance.REFERENCE.read_text())


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
