"""An idle connection stays small, and a crowd of timers is no slow tick.

Memory is counted in bytes allocated and timers in calls, so that neither depends on the machine.
"""

from __future__ import annotations

import pytest

import leulo.tcp.tcb
from leulo.bench import idle
from leulo.bench.beside import Ours
from leulo.bench.peer import Peer
from leulo.tcp.timers import Timed
from leulo.units import NS_PER_MS, NS_PER_S

IS_COMPILED = leulo.tcp.tcb.__file__.endswith(".so")


def test_an_idle_connection_holds_no_more_memory_than_wanted() -> None:
    goal = idle.GOAL_COMPILED_BYTES if IS_COMPILED else idle.GOAL_INTERPRETED_BYTES
    assert idle.allocated_bytes(1_000) < goal * 3 // 4  # so that a burst of tables is no surprise


@pytest.mark.parametrize(("resident", "code"), [(1.0, 0), (1e9, 1)])
def test_more_memory_than_wanted_fails(
    resident: float, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["idle"])
    monkeypatch.setattr(idle, "resident_bytes", lambda: resident)
    monkeypatch.setattr(idle, "allocated_bytes", lambda: 1.0)
    monkeypatch.setattr(idle, "timer_steps", lambda spread_ns: idle.Steps(0.0, 0.0, 1))
    assert idle.main() == code
    assert ("missed: " in capsys.readouterr().out.splitlines()[-1]) == bool(code)


def test_idle_connections_have_empty_buffers_and_nothing_in_flight() -> None:
    side = Ours("answer", 65_535)
    idle.open_idle(Peer(side), 200)
    counters = side.stack.counters()
    assert counters["tcp_connections"] == 200
    assert counters["tcp_buffered_bytes"] == counters["tcp_half_open"] == 0
    assert all(
        tcb.snd_una == tcb.snd_max == tcb.snd_end for tcb in side.stack.engine.connections.values()
    )


def test_a_crowd_of_timers_due_at_once_is_worked_off_in_small_steps() -> None:
    """100,000 of them: no call takes more than a share, none is lost, and each is due until it
    was served."""
    stack = Ours("answer", 0).stack
    timers = stack.engine.timers
    for _ in range(100_000):
        timers.arm(Timed(stack.engine.new_serial()), NS_PER_S)
    steps = 0
    while timers:
        before = len(timers)
        assert stack.next_deadline() == NS_PER_S
        stack.advance(NS_PER_S + NS_PER_MS)
        assert 0 < before - len(timers) <= 1_000
        steps += 1
    assert steps == 100


def test_time_wait_forgets_a_crowd_in_small_steps() -> None:
    from leulo.bench.peer import closed_by_us

    side = Ours("answer_and_close", 65_535)
    peer = Peer(side)
    work = closed_by_us(peer, 50)
    while len(side.stack.engine.time_wait) < 6_000:
        next(work)
        peer.now_ns -= NS_PER_S  # no time passes, so that all are over at once
    late = peer.now_ns + 200 * NS_PER_S
    side.stack.advance(late)
    assert len(side.stack.engine.time_wait) == 1_000
    assert (side.stack.next_deadline() or late) <= late
    side.stack.advance(late)
    assert len(side.stack.engine.time_wait) == 0
