"""The host's loop tells a machine what has come before it sleeps and before a timer expires."""

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
from leulo.tcp.header import ACK, RST, SYN
from leulo.tcp.state import State
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
    """Never sleeps. What would be a sleep is shown to ``look``; ``read`` brings what has come."""

    def __init__(self) -> None:
        self.look: Callable[[], None] = lambda: None
        self.read: Callable[[], int] = lambda: 0

    def wait(self, timeout_ns: int | None) -> int:
        if timeout_ns != 0:
            self.look()
        return self.read()

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


class LateLink(RefusingLink):
    """Accepts a SYN, but behind a hundred frames of others, and when all of them are there the
    SYN's timer has expired, too."""

    _READS = 64  # as of a TAP

    def __init__(self, pass_time: Callable[[], None]) -> None:
        super().__init__()
        self.backlog: list[bytes] = []
        self.pass_time = pass_time
        self.syns = 0

    def transmit(self, frames: Sequence[Sequence[bytes]], now_ns: int) -> None:
        for frame in map(b"".join, frames):
            if frame[22:24] != b"\x08\x00":
                super().transmit([(frame,)], now_ns)
            elif frame[57] & SYN:
                self.syns += 1
                port, sequence = struct.unpack_from("!H2xI", frame, 44)
                segment = TcpRepr(80, port, 1, sequence + 1 & 0xFFFFFFFF, SYN | ACK, 1000).emit(
                    NEIGHBOUR, frame[36:40]
                )
                packet = Ipv4Repr(NEIGHBOUR, frame[36:40], 6, len(segment)).emit() + segment
                answer = bytes(10) + frame[16:22] + NEIGHBOURS_MAC + b"\x08\x00" + packet
                others = bytes(10) + bytes(6) + NEIGHBOURS_MAC + b"\x88\xb5" + bytes(46)
                self.backlog += [others] * 100 + [answer]
                self.pass_time()

    def read(self) -> int:
        frames = self.backlog[: self._READS]
        del self.backlog[: self._READS]
        if frames:
            self.deliver(frames)
        return len(frames) > 0


def sleeper(clock: RealClock, poller: HandPoller, link: RefusingLink) -> tuple[Host, Machine]:
    host = Host(clock, poller)
    machine = Machine(
        MachineConfig(has_ipv6=False), clock, Trace(), offload=Offload(True, 65535),
        console=lambda _: None, random_bits=lambda _: 0, epoch_s=0,
    )  # fmt: skip
    machine.load(image(), "sleeper")
    host.add(machine)
    host.connect(link)
    return host, machine


def test_answer_that_comes_at_once_is_told_before_any_sleep() -> None:
    poller, link = HandPoller(), RefusingLink()
    host, machine = sleeper(RealClock(lambda: 0), poller, link)
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


def test_what_has_come_is_taken_in_before_a_timer_says_that_it_has_not() -> None:
    now_ns = [0]

    def pass_time() -> None:
        now_ns[0] += 1_500_000_000

    poller, link = HandPoller(), LateLink(pass_time)
    poller.read = link.read
    host, machine = sleeper(RealClock(lambda: now_ns[0]), poller, link)
    socket = machine.stack.socket(2, 1)
    assert not isinstance(socket, int)
    looks: list[int] = []

    def attend() -> None:
        looks.append(1)
        if len(looks) == 2:
            socket.connect(NEIGHBOUR, 80)
        elif socket.state is State.ESTABLISHED or len(looks) > 20:
            host.finish(Outcome(Ending.POWER_OFF))

    host.attend = attend
    host.run()
    assert socket.state is State.ESTABLISHED
    assert link.syns == 1
