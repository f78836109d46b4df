"""Boots the guest kernel with one test program as its first process, in virtual time, without a
network: only what the machine holds itself."""

from __future__ import annotations

import os
import random
from pathlib import Path

from freestanding import build_for_guest

from leulo.clock import VirtualClock
from leulo.config import MachineConfig
from leulo.host import Host
from leulo.image import pack_cpio
from leulo.links.base import Offload
from leulo.links.poller import Poller
from leulo.loader.multiboot import load
from leulo.machine import Machine
from leulo.outcome import Ending
from leulo.trace import Trace

LONGEST_NS = 60_000_000_000


def run_as_init(source: Path, folder: Path, kernel: Path) -> tuple[str, int | None]:
    """What the program of one file prints on the console, and its exit status (None: it did not
    come to its end)."""
    program = folder / "check"
    build_for_guest([source], program)
    initrd = pack_cpio({"bin/check": program.read_bytes()})
    console = bytearray()
    clock, poller, rng = VirtualClock(), Poller(), random.Random(1)
    try:
        host = Host(clock, poller, timeout_ns=LONGEST_NS)
        machine = Machine(
            MachineConfig(seed=1),
            clock,
            Trace(),
            offload=Offload(checksum=True, tso_bytes=65_535),
            console=console.extend,
            random_bits=rng.getrandbits,
            epoch_s=0,
        )
        host.add(machine)
        image = kernel.read_bytes()
        machine.load(image, os.fspath(kernel))
        boot = load(
            machine.memory,
            image,
            name=os.fspath(kernel),
            command_line="net=paravirt init=/bin/check",
            modules=[(initrd, "initrd")],
        )
        machine.cpu.reset(boot.entry, boot.eax, boot.ebx)
        outcome = host.run()
    finally:
        poller.close()
    text = console.decode("latin-1").replace("\r\n", "\n")
    is_over = outcome.ending in (Ending.POWER_OFF, Ending.FAILED)
    return text, machine.exit_status if is_over else None
