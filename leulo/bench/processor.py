"""How fast the emulated CPU executes, and how fast it goes to the hypervisor and back."""

from __future__ import annotations

import random
import time
from typing import Final

from leulo.bench import guests
from leulo.bench.guests import Guest
from leulo.clock import RealClock
from leulo.config import MachineConfig, NetSpec
from leulo.errors import LeuloError
from leulo.links.base import Offload
from leulo.machine import Machine
from leulo.trace import Trace

_QUANTUM_TICKS: Final = 1 << 30
_WORK_TURNS: Final = 2_000_000
_CALL_TURNS: Final = 20_000


def millions_of_instructions(seconds: float) -> float:
    """Guest instructions a second, in millions, over runs that take about so long together."""
    count, took_ns = _repeat(guests.arithmetic(_WORK_TURNS), seconds)
    return count * guests.WORK_INSTRUCTIONS * 1e3 / took_ns


def hypercalls(seconds: float) -> float:
    """Hypercalls a second by a guest that does nothing else."""
    count, took_ns = _repeat(guests.hypercalls(_CALL_TURNS), seconds)
    return count * 1e9 / took_ns


def run_to_end(guest: Guest, name: str) -> tuple[Machine, int]:
    """Run a guest until it switches itself off: (the machine, ns). Raises LeuloError if not."""
    machine = Machine(
        MachineConfig(net=NetSpec("none"), publish=(), seed=0),
        RealClock(time.monotonic_ns),
        Trace(),
        offload=Offload(checksum=True, tso_bytes=0),
        console=lambda data: None,
        random_bits=random.Random(0).getrandbits,
        epoch_s=0,
    )
    machine.load(guest.image, name)
    began = time.monotonic_ns()
    while machine.exit_status is None:
        before = machine.cpu.ticks
        machine.cpu.run(_QUANTUM_TICKS)
        if machine.cpu.ticks == before:
            raise LeuloError(f"the guest {name!r} stopped before its end: {machine.cpu.registers}")
    return machine, time.monotonic_ns() - began


def _repeat(guest: Guest, seconds: float) -> tuple[int, int]:
    """(turns, ns) of as many runs as fit; the first, which translates the code, does not count."""
    run_to_end(guest, "benchmark")
    turns = took_ns = 0
    while took_ns < seconds * 1e9:
        took_ns += run_to_end(guest, "benchmark")[1]
        turns += guest.turns
    return turns, took_ns
