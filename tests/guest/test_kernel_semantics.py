"""The kernel provoked by a program (kernel_checks.c), on our CPU and on QEMU.

Protects: user programs cannot harm the kernel or each other, and every system call refuses what
it must. Where the two machines disagree, our CPU is the suspect.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from bare_machine import RESTARTED, Outcome, run, run_qemu

from leulo import image
from leulo.cli import run as leulo
from leulo.outcome import PANIC_STATUS

GOOD_STATUS = 17  # what kernel_checks.c returns when nothing failed
CHECKS = Path(__file__).with_name("kernel_checks.c")
pytestmark = pytest.mark.compiler


@pytest.fixture(scope="session")
def checks(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An initrd whose init is kernel_checks.c."""
    folder = tmp_path_factory.mktemp("checks")
    init = image.build_program([CHECKS], folder / "init")
    archive = folder / "checks.cpio"
    files = {"bin/init": init.read_bytes(), "www/hello.txt": b"hello\n"}
    archive.write_bytes(image.pack_cpio(files))
    return archive


def assert_good(outcome: Outcome) -> None:
    failed = [line for line in outcome.lines if line.startswith("FAILED")]
    assert failed == []
    assert sum(line.startswith("ok ") for line in outcome.lines) >= 150
    assert outcome.status == GOOD_STATUS, outcome.lines[-5:]


@pytest.fixture(scope="session")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kernel in which undefined behaviour traps, built as a person would."""
    folder = tmp_path_factory.mktemp("sanitized")
    assert leulo(["image", "build", "--sanitize", "-o", str(folder)]) == 0
    return folder / "guest.img"


@pytest.fixture(scope="session")
def outcome_here(built: Path, checks: Path) -> Outcome:
    return run(built / "guest.img", initrd=checks, seconds=60)


def test_checks_on_our_cpu(outcome_here: Outcome) -> None:
    assert_good(outcome_here)


def test_what_kills_a_program_is_told_in_words(outcome_here: Outcome) -> None:
    said = re.findall(r"^init\[\d+\]: (.*); killed$", "\n".join(outcome_here.lines), re.M)
    told = {re.sub(r"at [0-9a-f]{8}", "at X", line) for line in said}
    assert {
        "page fault at X: read of 00000000, which is not mapped",
        "general protection at X",  # no selector is to blame: CLI, HLT
        "general protection at X: entry 32 of the IDT",  # INT 0x20
        "divide error at X",
    } <= told


@pytest.mark.qemu
def test_checks_on_qemu(built: Path, checks: Path) -> None:
    assert_good(run_qemu(built / "guest.img", initrd=checks))


@pytest.mark.slow
def test_checks_on_a_sanitized_kernel(sanitized: Path, checks: Path) -> None:
    """No undefined behaviour in the kernel on the way: it would trap and panic."""
    assert_good(run(sanitized, initrd=checks, seconds=60))


def test_the_same_run_gives_the_same_console(
    built: Path, checks: Path, outcome_here: Outcome
) -> None:
    assert run(built / "guest.img", initrd=checks, seconds=60) == outcome_here


PANICS = [
    ("null-pointer", "page fault: write to 00000000, which is not mapped", ": null pointer"),
    ("write-code", "page fault: write to 00100000, which is protected", "provoke+"),
    ("execute-data", "page fault: execution of 001", ", which is protected"),
    ("stack-overrun", "double fault, address 001", ": stack overrun"),
    ("division", "divide error", "provoke+"),
    ("double-free", "assertion failed", "page.c"),
    ("nonsense", "provoke=nonsense is unknown", "provoke+"),
]


@pytest.mark.parametrize(("name", "title", "detail"), PANICS)
def test_a_panic_is_a_readable_page(built: Path, name: str, title: str, detail: str) -> None:
    outcome = run(built / "guest.img", append=f"provoke={name}")
    page = outcome.console.partition("*** kernel panic: ")[2]
    assert page.startswith(title)
    assert detail in page
    assert "called from:" in page
    assert "  0010" in page.partition("called from:")[2]  # at least one caller, with its address
    assert name == "stack-overrun" or "_start+" in page
    assert "addr2line" in page
    assert name == "execute-data" or re.search(r"kern/\w+\.c:\d+", page)
    assert outcome.status == PANIC_STATUS


def test_undefined_behaviour_is_named_with_its_line(sanitized: Path) -> None:
    page = run(sanitized, append="provoke=overflow").console.partition("*** kernel panic: ")[2]
    source = (image.SOURCES / "kern" / "provoke.c").read_text().splitlines()
    (line,) = (n for n, text in enumerate(source, 1) if "most + 1" in text)
    assert page.startswith("undefined behaviour: integer addition overflow")
    assert f"kern/provoke.c:{line}" in page.splitlines()[1]


@pytest.mark.qemu
@pytest.mark.parametrize("name", ["null-pointer", "stack-overrun"])
def test_a_panic_on_qemu_reads_the_same(built: Path, name: str) -> None:
    ours, theirs = (
        machine(built / "guest.img", append=f"provoke={name}").console.partition("***")[2]
        for machine in (run, run_qemu)
    )
    assert ours.splitlines()[0] == theirs.splitlines()[0]
    assert theirs.count("called from:") == 1


@pytest.mark.slow
def test_undefined_behaviour_is_told_by_its_kind(sanitized: Path) -> None:
    outcome = run(sanitized, append="provoke=overflow")
    assert "undefined behaviour: integer addition overflow" in outcome.console
    assert outcome.status == PANIC_STATUS


def test_a_missing_init_is_a_panic_that_names_it(built: Path) -> None:
    outcome = run(built / "guest.img", append="init=/bin/nothing")
    assert "cannot start /bin/nothing" in outcome.console
    assert outcome.status == PANIC_STATUS


def test_a_damaged_initrd_is_a_panic(built: Path, checks: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.cpio"
    broken.write_bytes(checks.read_bytes()[:3000])
    outcome = run(built / "guest.img", initrd=broken)
    assert "the initrd is damaged" in outcome.console
    assert outcome.status == PANIC_STATUS


def test_too_little_memory_is_a_panic_that_says_how_much(built: Path) -> None:
    outcome = run(built / "guest.img", memory_bytes=2 << 20)
    assert "RAM are too few" in outcome.console
    assert outcome.status == PANIC_STATUS


def test_more_memory_is_used(built: Path) -> None:
    outcome = run(built / "guest.img", memory_bytes=256 << 20, typed="poweroff\n")
    assert "256 MiB RAM" in outcome.console
    assert outcome.status == 0


def test_reboot_asks_the_keyboard_controller(built: Path) -> None:
    assert run(built / "guest.img", typed="reboot\n").status == RESTARTED


def test_interrupt_key_ends_the_program_in_the_foreground(built: Path) -> None:
    """The shell reads on, the program (a second shell) is gone."""
    outcome = run(built / "guest.img", typed="sh\n\x03\npoweroff\n")
    assert "^C" in outcome.console
    assert outcome.status == 0
