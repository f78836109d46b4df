"""Protects: a daemon's closed descriptors, and a mistyped event name, are no trap."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

BOOT = f"{sys.executable} -m leulo boot --net none --timeout 0.3"


@pytest.mark.compiler
@pytest.mark.parametrize("closed", ["<&-", "</dev/null >&-", "</dev/null 2>&-", "<&- >&- 2>&-"])
def test_a_closed_standard_stream_is_dev_null(closed: str) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", f"{BOOT} {closed}"], capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 4, done  # --timeout is over
    assert b"Traceback" not in done.stderr and b"bug" not in done.stderr
    if ">&-" in closed and "2>&-" not in closed:
        assert b"is over" in done.stderr


@pytest.mark.compiler
@pytest.mark.parametrize("words", ["", "--log 'tcp.*' --accounting", "--json"])
def test_what_nobody_reads_of_stderr_is_lost_and_ends_no_run(words: str) -> None:
    for stderr in ("2>/dev/full", "2>&1 >/dev/null | :"):
        done = subprocess.run(
            ["/bin/bash", "-c", f"{BOOT} {words} </dev/null {stderr}; exit ${{PIPESTATUS[0]}}"],
            capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 4, (stderr, done)


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("boot --net none --timeout 9 </dev/null >/dev/full", 5),
        ("boot --net none --timeout 9 </dev/null | head -1", 141),
        ("boot --net none --timeout 9 </dev/null 2>&1 | head -1", 141),
        ("machine show --json >/dev/full", 5),
        ("image ls >/dev/full", 5),
        ("pkt --json - >/dev/full </dev/null", 5),
        ("--help >/dev/full", 5),
        ("boot --log list | :", 141),
    ],
)
@pytest.mark.compiler
def test_output_that_cannot_be_written_is_a_sentence_and_an_exit_code(
    words: str, status: int
) -> None:
    """Protects: a full disk is no bug in Leulo, and a reader that has gone no error."""
    command = f"{sys.executable} -m leulo {words}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["/bin/bash", "-c", command], capture_output=True, timeout=60)
    assert done.returncode == status, done
    assert b"bug" not in done.stderr and b"Traceback" not in done.stderr
    if ">/dev/full" in words:
        assert b"cannot be written: No space left on device" in done.stderr


@pytest.mark.compiler
def test_our_lines_are_whole_where_the_guest_s_go_too() -> None:
    """Protects: `leulo boot --json 2>&1 | tail -1` is JSON, although the guest's prompt is open."""
    command = f"{sys.executable} -m leulo boot --net none --timeout 2 --json </dev/null"
    both = subprocess.run(["/bin/sh", "-c", f"{command} 2>&1"], capture_output=True, timeout=60)
    prompt, last = both.stdout.splitlines()[-2:]
    assert prompt == b"leulo$ "
    assert json.loads(last)["ending"] == "timeout"
    apart = subprocess.run(["/bin/sh", "-c", command], capture_output=True, timeout=60)
    assert b"\n\n" not in apart.stderr and apart.stdout.endswith(b"leulo$ ")


@pytest.mark.compiler
def test_a_log_glob_that_nothing_has_is_refused_with_the_names() -> None:
    done = subprocess.run(
        [*BOOT.split(), "--log", "nosuch.*"], capture_output=True, timeout=60, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 2
    assert b"--log nosuch.*" in done.stderr and b"tcp.state" in done.stderr
    assert b"sim.finished" in done.stderr, "what another network has is an event too"


@pytest.mark.compiler
def test_events_that_this_network_cannot_have_are_told_and_do_not_end_the_run() -> None:
    done = subprocess.run(
        [*BOOT.split(), "--net", "none", "--publish", "none", "--timeout", "0.2", "--log", "sim.*"],
        capture_output=True, timeout=60, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 4, done.stderr
    assert b"leulo: --log sim.*: there are none of these with --net none\n" in done.stderr


WALK = """
import importlib, pkgutil, leulo
from leulo.cli.events import all_kinds
before = [kind.NAME for kind in all_kinds()]
for module in pkgutil.walk_packages(leulo.__path__, "leulo."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
after = [kind.NAME for kind in all_kinds()]
assert before == after, set(after) - set(before)
print(*before)
"""


def test_the_list_of_events_is_the_whole_program_s() -> None:
    done = subprocess.run([sys.executable, "-c", WALK], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    names = done.stdout.split()
    shown = subprocess.run(
        [*BOOT.split(), "--log", "list"], capture_output=True, text=True, timeout=60, check=False
    )
    assert shown.returncode == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert [line.split()[0] for line in lines] == names
    assert {"sim.finished", "tcp.state", "hypercall.enter", "exit.port"} <= set(names)
    assert all(line.endswith(".") or len(line) > 30 for line in lines), "each says what it is"
