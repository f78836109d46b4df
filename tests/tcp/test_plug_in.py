"""Protects: a congestion control from outside works, on the compiled engine too."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path
from typing import ClassVar

import pytest
from tcp_world import dial, listen, make_stack
from test_cubic import MSS, connection

from leulo.tcp import congestion
from leulo.tcp.congestion.base import CongestionControl
from leulo.tcp.tcb import Tcb

_TCP_CONGESTION = 6, 13


class Eager(CongestionControl):
    """A segment for every acknowledgement."""

    name: ClassVar[str] = "eager"

    def on_ack(self, tcb: Tcb, acked: int, now_ns: int) -> None:
        tcb.cwnd += tcb.mss


def test_an_interpreted_algorithm_serves_a_connection() -> None:
    tcb = connection(10)
    tcb.congestion = Eager()
    tcb.congestion.on_ack(tcb, MSS, 0)
    assert tcb.cwnd == 11 * MSS
    tcb.congestion.on_loss(tcb, 11 * MSS, 0)  # the base's own verb
    assert tcb.ssthresh == 11 * MSS // 2
    assert tcb.congestion.save() == {"name": "eager"}


class Unfinished(CongestionControl):
    """What cannot be made without knowing more."""

    name: ClassVar[str] = "unfinished"

    def __init__(self, rate: int) -> None:
        self.rate = rate


class NoAlgorithm:
    """What an entry point must not lead to."""


def test_an_installed_algorithm_is_chosen_by_its_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And one that is no good is no reason to stop: the name may come from a guest."""
    (tmp_path / "broken_algorithm.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)

    def entry_points(group: str) -> list[EntryPoint]:
        assert group == "leulo.congestion"
        return [
            EntryPoint("eager", f"{__name__}:Eager", group),
            EntryPoint("none", f"{__name__}:NoAlgorithm", group),
            EntryPoint("gone", "no_such_package:Gone", group),
            EntryPoint("broken", "broken_algorithm:Broken", group),
            EntryPoint("unfinished", f"{__name__}:Unfinished", group),
            EntryPoint("lazy", f"{__name__}:Eager", group),  # saved by its own name, not found
        ]

    monkeypatch.setattr("importlib.metadata.entry_points", entry_points)
    monkeypatch.setattr(congestion, "_installed", None)
    a, b = make_stack(1), make_stack(2)
    listen(b, 80)
    socket = dial(a, b.address, 80)
    assert socket.setsockopt(*_TCP_CONGESTION, b"eager") == 0
    assert socket.getsockopt(*_TCP_CONGESTION) == b"eager".ljust(16, b"\0")
    assert socket.tcb is not None and isinstance(socket.tcb.congestion, Eager)
    for name in (b"none", b"gone", b"broken", b"unfinished", b"lazy", b"nonsense"):
        assert socket.setsockopt(*_TCP_CONGESTION, name) == -2
    assert "eager" in congestion.names() and "none" not in congestion.names()
