"""The program that puts ``--net user`` beside slirp judges what it has measured."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

TOOL = Path(__file__).resolve().parents[2] / "tools" / "bench_slirp.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_slirp", TOOL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_bulk_below_four_times_slirp_fails_and_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    tool = load()
    rates = {tool.FROM_GUEST: 6.4, tool.TO_GUEST: 4.0, "connections/s": 0.9}
    assert tool.judge(rates) == 0
    assert capsys.readouterr().out == ""
    assert tool.judge({**rates, tool.FROM_GUEST: 3.9}) == 1
    assert capsys.readouterr().out == "missed: from the guest 3.90 times slirp instead of 4\n"
