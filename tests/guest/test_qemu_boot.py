"""The image on QEMU: the independent judge of the kernel, and of our CPU by comparison."""

from __future__ import annotations

from pathlib import Path

import pytest
from bare_machine import run, run_qemu

pytestmark = [pytest.mark.qemu, pytest.mark.compiler]
COMMANDS = "ls /bin\nls /www\npoweroff\n"


def test_boots_to_a_shell_and_powers_off(built: Path) -> None:
    outcome = run_qemu(built / "guest.img", typed=COMMANDS)
    assert "NX on data and stacks" in outcome.console
    assert "no hypercall gate" in outcome.console
    assert {"init", "sh", "httpd"} <= set(outcome.lines)
    assert outcome.status == 0


def test_a_cpu_without_nx_is_told_and_used(built: Path) -> None:
    outcome = run_qemu(built / "guest.img", cpu="qemu32", typed="poweroff\n")
    assert "no NX in this CPU" in outcome.console
    assert outcome.status == 0


def test_our_machine_says_the_same(built: Path) -> None:
    """Byte for byte, from the kernel's first word on, with the shell as the only process."""
    ours, theirs = (
        machine(built / "guest.img", append="init=/bin/sh", typed=COMMANDS).console
        for machine in (run, run_qemu)
    )
    banner = "Leulo guest"
    assert ours.startswith(banner)
    assert banner + theirs.partition(banner)[2] == ours
