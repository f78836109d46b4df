"""Every script of tests/pkt passes: the engine does what the RFCs say, state by event."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from leulo.pkt.outcome import Mode, Status
from leulo.pkt.report import Result, text_of
from leulo.pkt.runner import run_text

SCRIPTS = Path(__file__).resolve().parents[1] / "pkt"
FOUND = sorted(SCRIPTS.rglob("*.pkt"))
EXACT = Mode(options=(("tolerance_percent", "0"),))
STATES = (
    "closed", "listen", "syn-sent", "syn-received", "established", "fin-wait-1", "fin-wait-2",
    "closing", "time-wait", "close-wait", "last-ack",
)  # fmt: skip


@pytest.mark.parametrize("path", FOUND, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_script(path: Path) -> None:
    outcome = run_text(path.read_text(), EXACT)
    name = str(path.relative_to(SCRIPTS))
    assert outcome.status is Status.PASSED, "\n" + text_of(Result(name, outcome))


@pytest.mark.parametrize("state", STATES)
def test_the_same_over_ipv6(state: str) -> None:
    """TCP does not care what carries it; an MTU larger by 20 gives the same MSS."""
    mode = Mode(options=(*EXACT.options, ("ip_version", "ipv6"), ("mtu", "1520")))
    ipv4_only = {"rcv-source-quench"}
    for path in sorted((SCRIPTS / state).glob("*.pkt")):
        if path.stem not in ipv4_only:
            outcome = run_text(path.read_text(), mode)
            assert outcome.status is Status.PASSED, "\n" + text_of(Result(path.name, outcome))


def test_the_grid_has_no_empty_state() -> None:
    counts = Counter(path.parent.name for path in FOUND)
    assert all(counts[state] >= 10 for state in STATES), counts
    assert len(FOUND) >= 250


def test_every_script_names_its_clause() -> None:
    """It begins with a comment that cites what the script is about."""
    cited = re.compile(r"\A(?://[^\n]*\n)*?//[^\n]*\[(?:RFC \d+|POSIX|Linux|FreeBSD)[^\]]*\]")
    silent = [str(path) for path in FOUND if not cited.match(path.read_text())]
    assert silent == []


def test_scripts_can_fail() -> None:
    """A script with a wrong expectation fails, whatever line is changed to another number."""
    text = (SCRIPTS / "established" / "call-send.pkt").read_text()
    assert run_text(text.replace("P. 1:101(100)", "P. 1:100(99)")).status is Status.FAILED
    assert run_text(text.replace("ack 1\n", "ack 2\n")).status is Status.FAILED
