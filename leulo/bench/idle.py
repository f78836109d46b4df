"""What an idle connection costs, and what many timers do: ``python -m leulo.bench.idle``.

Ten thousand connections are opened, asked once and answered; then nothing is in flight and every
buffer is empty. Their memory is what Python's allocators hold more than before, by connection, and
what the process has grown by. Then a hundred thousand timers are let expire in steps of a
millisecond, spread over two minutes and all at once, and the slowest step is told.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import tracemalloc
from dataclasses import dataclass
from statistics import median
from time import thread_time_ns
from typing import Final

from leulo import compiled
from leulo.bench.beside import Ours
from leulo.bench.peer import FLOWS, Peer, ask
from leulo.errors import EXIT_FAILED, EXIT_OK
from leulo.stack import Stack
from leulo.tcp.timers import Timed
from leulo.units import NS_PER_MS, NS_PER_S

CONNECTIONS: Final = 10_000
TIMERS: Final = 100_000
GOAL_INTERPRETED_BYTES: Final = 6 * 1024
GOAL_COMPILED_BYTES: Final = 4 * 1024
_SPREAD_NS: Final = 120 * NS_PER_S
_STEP_NS: Final = NS_PER_MS


def open_idle(peer: Peer, count: int) -> None:
    """Open ``count`` connections; each has asked, was answered, and has acknowledged that."""
    for _ in range(count // FLOWS):
        peer.open(FLOWS)
        peer.say(ask(peer), FLOWS)
        peer.say([flow.acknowledge(peer.now_ns) for flow in peer.flows], 0)


def allocated_bytes(count: int = CONNECTIONS) -> float:
    """Bytes a connection that Python's allocators hold, of ``count`` idle ones."""
    side = Ours("answer", 65_535)
    peer = Peer(side)
    open_idle(peer, FLOWS)  # what is made once is made before
    gc.collect()
    tracemalloc.start()
    try:
        open_idle(peer, count)
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return held / count


def resident_bytes(count: int = CONNECTIONS) -> float:
    """Bytes a connection by which the process grows."""
    side = Ours("answer", 65_535)
    peer = Peer(side)
    open_idle(peer, FLOWS)
    gc.collect()
    before = _resident()
    open_idle(peer, count)
    gc.collect()
    return (_resident() - before) / count


def _resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Steps:
    """CPU milliseconds of one `Stack.advance`."""

    median_ms: float
    worst_ms: float
    timers: int


def timer_steps(count: int = TIMERS, spread_ns: int = _SPREAD_NS) -> Steps:
    """The timers of ``count`` things expire, a millisecond at a time."""
    stack: Stack = Ours("answer", 0).stack
    engine = stack.engine
    for number in range(count):
        thing = Timed(engine.new_serial())
        # Any order, the same in every run: multiples of a number that has no divisor with it.
        engine.timers.arm(thing, NS_PER_S + number * 7_919 % count * spread_ns // count)
    gc.collect()
    gc.freeze()
    costs = []
    now_ns = NS_PER_S
    while engine.timers:
        began = thread_time_ns()
        stack.advance(now_ns)
        costs.append((thread_time_ns() - began) / 1e6)
        now_ns += _STEP_NS
    gc.unfreeze()
    return Steps(median(costs), max(costs), count)


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        prog="python -m leulo.bench.idle",
        description=__doc__,
        epilog="Exit codes: 0 an idle connection takes no more than wanted; 1 it takes more.",
    )
    parser.parse_args()
    resident = resident_bytes()  # first: afterwards there is free memory that it would get
    print(f"idle connection, {CONNECTIONS:,} of them: {allocated_bytes():,.0f} bytes allocated, "
          f"{resident:,.0f} bytes of the process (wanted: {GOAL_INTERPRETED_BYTES:,} "
          f"interpreted, {GOAL_COMPILED_BYTES:,} compiled)")  # fmt: skip
    for spread_ns, words in ((_SPREAD_NS, "over two minutes"), (0, "at the same moment")):
        steps = timer_steps(spread_ns=spread_ns)
        print(f"{steps.timers:,} timers {words}: a step of 1 ms takes {steps.median_ms:.3f} ms of "
              f"CPU, the worst {steps.worst_ms:.3f} ms")  # fmt: skip
    goal = GOAL_INTERPRETED_BYTES if compiled.running() is None else GOAL_COMPILED_BYTES
    if resident > goal:
        print(f"missed: {resident:,.0f} bytes of the process instead of {goal:,}")
        return EXIT_FAILED
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
