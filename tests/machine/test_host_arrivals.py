"""The host's loop does not sleep while a machine has frames that it has not been told of."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

import pytest

from leulo.clock import Clock, RealClock, VirtualClock
from leulo.config import MachineConfig
from leulo.host import Host
from leulo.links.base import Offload
from leulo.machine import Machine
from leulo.outcome import Ending, Outcome
from leulo.trace import Trace

ENTRY = 0x100020
SLEEPS_FOR_EVER = b"\xfa\xf4"  # cli; hlt
NEIGHBOUR, NEIGHBOURS_MAC = bytes((10, 0, 2, 2)), b"\x02\0\0\0\0\2"


def image() -> bytes:
    """A multiboot kernel that halts at once."""
    header = struct.pack("<3I", 0x1BADB002, 0, -0x1BADB002 & 0xFFFFFFFF)
    code = header.ljust(0x20, b"\0") + SLEEPS_FOR_EVER
    elf = struct.pack(
        "<16sHHIIIIIHHHHHH", b"\x7fELF\1\1\1", 2, 3, 1, ENTRY, 52, 0, 0, 52, 32, 1, 0, 0, 0
    )
    segment = struct.pack("<8I", 1, 96, ENTRY & ~0xFF, ENTRY & ~0xFF, len(code), len(code), 7, 16)
    return (elf + segment).ljust(96, b"\0") + code


class HandPoller:
    """Remembers how long it was to wait, and never does."""

    def __init__(self) -> None:
        self.waits: list[int | None] = []

    def wait(self, timeout_ns: int | None) -> int:
        self.waits.append(timeout_ns)
        return 0

    def wake(self) -> None:
        """Nobody sleeps."""


class AnsweringLink:
    """Answers an ARP request before `transmit` returns, as a gateway in this process does; ends the
    run at the first IPv4 packet."""

    name, mtu, offload = "answering", 1500, Offload(True, 65_535)

    def __init__(self, host: Host) -> None:
        self.host = host

    def attach(self, deliver: Callable[[Sequence[bytes]], None]) -> None:
        self.deliver = deliver

    def transmit(self, frames: Sequence[Sequence[bytes]], now_ns: int) -> None:
        for frame in map(b"".join, frames):
            if frame[22:24] == b"\x08\x00":
                self.host.finish(Outcome(Ending.POWER_OFF))
            elif frame[22:24] == b"\x08\x06" and frame[48:52] == NEIGHBOUR:
                asker = frame[32:42]
                answer = b"\0\1\x08\0\6\4\0\2" + NEIGHBOURS_MAC + NEIGHBOUR + asker
                head = bytes(10) + asker[:6] + NEIGHBOURS_MAC + b"\x08\x06"
                self.deliver([head + answer])

    def next_deadline(self) -> None:
        return None

    def advance(self, now_ns: int) -> None:
        """Nothing waits for time."""


@pytest.mark.parametrize("clock", [RealClock(lambda: 0), VirtualClock(1, 1)])
def test_answer_that_comes_at_once_is_told_before_any_sleep(clock: Clock) -> None:
    poller = HandPoller()
    host = Host(clock, poller)
    machine = Machine(
        MachineConfig(has_ipv6=False), clock, Trace(), offload=Offload(True, 65535),
        console=lambda _: None, random_bits=lambda _: 0, epoch_s=0,
    )  # fmt: skip
    machine.load(image(), "sleeper")
    host.add(machine)
    host.connect(AnsweringLink(host))
    socket = machine.stack.socket(2, 1)
    assert not isinstance(socket, int)
    socket.connect(NEIGHBOUR, 80)  # its SYN waits for the neighbour's address
    began_ns = clock.now_ns()
    assert host.run().ending is Ending.POWER_OFF
    assert all(wait == 0 for wait in poller.waits)
    assert clock.now_ns() - began_ns < 1_000  # a handful of instructions
