"""The host's loop does not sleep while a machine has frames that it has not been told of."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

from tcp_segments import TcpRepr

from leulo.clock import RealClock
from leulo.config import MachineConfig
from leulo.host import Host
from leulo.links.base import Offload
from leulo.machine import Machine
from leulo.net.wire.ipv4 import Ipv4Repr
from leulo.outcome import Ending, Outcome
from leulo.tcp.header import ACK, RST
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
    """Never sleeps. What would be a sleep is shown to ``look``."""

    def __init__(self) -> None:
        self.look: Callable[[], None] = lambda: None

    def wait(self, timeout_ns: int | None) -> int:
        if timeout_ns != 0:
            self.look()
        return 0

    def wake(self) -> None:
        """Nobody sleeps."""


class RefusingLink:
    """Answers before `transmit` returns, as a gateway in this process does: ARP, and a SYN by a
    reset."""

    name, mtu, offload = "refusing", 1500, Offload(True, 65_535)

    def __init__(self) -> None:
        self.has_refused = False

    def attach(self, deliver: Callable[[Sequence[bytes]], None]) -> None:
        self.deliver = deliver

    def transmit(self, frames: Sequence[Sequence[bytes]], now_ns: int) -> None:
        for frame in map(b"".join, frames):
            mac = frame[16:22]
            if frame[22:24] == b"\x08\x06" and frame[48:52] == NEIGHBOUR:
                answer = b"\0\1\x08\0\6\4\0\2" + NEIGHBOURS_MAC + NEIGHBOUR + frame[32:42]
                self.deliver([bytes(10) + mac + NEIGHBOURS_MAC + b"\x08\x06" + answer])
            elif frame[22:24] == b"\x08\x00":
                port, sequence = struct.unpack_from("!H2xI", frame, 44)
                reset = TcpRepr(80, port, 0, sequence + 1 & 0xFFFFFFFF, RST | ACK, 0)
                segment = reset.emit(NEIGHBOUR, frame[36:40])
                packet = Ipv4Repr(NEIGHBOUR, frame[36:40], 6, len(segment)).emit() + segment
                self.has_refused = True
                self.deliver([bytes(10) + mac + NEIGHBOURS_MAC + b"\x08\x00" + packet])

    def next_deadline(self) -> None:
        """Nothing waits for time."""

    def advance(self, now_ns: int) -> None:
        """Nothing waits for time."""


def test_answer_that_comes_at_once_is_told_before_any_sleep() -> None:
    clock = RealClock(lambda: 0)
    poller, link = HandPoller(), RefusingLink()
    host = Host(clock, poller)
    machine = Machine(
        MachineConfig(has_ipv6=False), clock, Trace(), offload=Offload(True, 65535),
        console=lambda _: None, random_bits=lambda _: 0, epoch_s=0,
    )  # fmt: skip
    machine.load(image(), "sleeper")
    host.add(machine)
    host.connect(link)
    socket = machine.stack.socket(2, 1)
    assert not isinstance(socket, int)
    socket.owner = object()  # it wants to be told
    untold: list[bool] = []

    def look() -> None:
        if link.has_refused:
            untold.append(bool(machine.stack.engine.ready))
            host.finish(Outcome(Ending.POWER_OFF))

    looks: list[int] = []

    def attend() -> None:
        looks.append(1)
        if len(looks) == 2:  # the guest has halted by now
            socket.connect(NEIGHBOUR, 80)

    poller.look = look
    host.attend = attend
    assert host.run().ending is Ending.POWER_OFF
    assert untold == [False]
