"""A machine for kernel tests: our CPU and the chips the kernel drives, no network, no host loop.

Virtual time, so that every run is the same; QEMU runs the same image as the independent judge.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from leulo.bus import Bus
from leulo.clock import VirtualClock
from leulo.cpu import Cpu, Exit
from leulo.devices.debug_exit import DebugExit
from leulo.devices.keyboard import Keyboard
from leulo.devices.pic import Pic
from leulo.devices.pit import Pit
from leulo.devices.uart import Uart
from leulo.loader.multiboot import load
from leulo.memory import Memory
from leulo.units import MIB, NS_PER_S, NS_PER_US

RESTARTED = -1
NEVER = 1 << 62
_MOST_TICKS_AT_ONCE = 10_000_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: the status of the debug exit (None: it did not), and the console."""

    status: int | None
    console: str

    @property
    def lines(self) -> list[str]:
        return self.console.replace("\r", "").splitlines()


class _CostlyPorts:
    """Ports whose every access takes a microsecond: a loop that waits for a port comes to an end.

    Each also ends the run, so that a deadline it brought about is seen.
    """

    cpu: Cpu

    def __init__(self, bus: Bus, clock: VirtualClock) -> None:
        self._bus = bus
        self._clock = clock

    def read(self, address: int, width: int) -> int:
        self._clock.charge(NS_PER_US)
        self.cpu.limit(0)
        return self._bus.read(address, width)

    def write(self, address: int, width: int, value: int) -> None:
        self._clock.charge(NS_PER_US)
        self.cpu.limit(0)
        self._bus.write(address, width, value)


def run(
    image: Path,
    *,
    append: str = "",
    initrd: Path | None = None,
    typed: str = "",
    memory_bytes: int = 16 * MIB,
    seconds: int = 30,
) -> Outcome:
    """Run until the guest switches itself off, at most ``seconds`` of virtual time.

    ``typed`` is sent line by line, each when the shell's prompt has appeared.
    """
    memory, ports, clock = Memory(memory_bytes), Bus("port"), VirtualClock()
    costly = _CostlyPorts(ports, clock)
    costly.cpu = cpu = Cpu(memory, costly, Bus("mmio"), clock=clock)
    clock.drive(lambda: cpu.ticks)
    console = bytearray()
    ended: list[int] = []

    def end(status: int) -> None:
        ended.append(status)
        cpu.stop()

    pic = Pic(cpu)
    pit, uart = Pit(clock, pic.line(0)), Uart(clock, pic.line(4), console.extend)
    ports.attach(0x20, 2, "PIC 1", pic.primary)
    ports.attach(0xA0, 2, "PIC 2", pic.secondary)
    ports.attach(0x40, 4, "PIT", pit)
    ports.attach(0x61, 1, "PIT speaker gate", pit.speaker)
    ports.attach(0x64, 1, "keyboard", Keyboard(lambda: end(RESTARTED)))
    ports.attach(0xF4, 1, "debug exit", DebugExit(end))
    ports.attach(0x3F8, 8, "UART", uart)
    modules = [(initrd.read_bytes(), initrd.name)] if initrd else []
    boot = load(
        memory, image.read_bytes(), name=image.name, command_line=f"guest.img {append}",
        modules=modules,
    )  # fmt: skip
    cpu.flush()
    cpu.reset(boot.entry, boot.eax, boot.ebx)
    waiting = typed.splitlines(keepends=True)
    prompts, typing = 0, b""
    while not ended and clock.now_ns() < seconds * NS_PER_S:
        now = clock.now_ns()
        pit.advance(now)
        uart.advance(now)
        if waiting and console.count(b"leulo$ ") > prompts:
            prompts += 1
            typing += waiting.pop(0).encode()
        typing = typing[uart.receive(typing) :] if typing else b""
        due = min(when for when in (pit.next_deadline(), uart.next_deadline(), NEVER) if when)
        left = cpu.run(max(1, min(clock.ticks_until(due), _MOST_TICKS_AT_ONCE)))
        if left is Exit.HALT:
            due = min(when for when in (pit.next_deadline(), uart.next_deadline(), NEVER) if when)
            clock.skip_to(due)
        elif left is Exit.SHUTDOWN:
            break
    uart.flush()
    cpu.close()
    return Outcome(ended[0] if ended else None, console.decode("latin-1"))


def run_qemu(
    image: Path, *, cpu: str = "qemu32,+nx", append: str = "", initrd: Path | None = None,
    typed: str = "", more: Sequence[str] = (),
) -> Outcome:  # fmt: skip
    """The same on QEMU; its isa-debug-exit turns status n into the exit code 2n + 1."""
    command = [
        *("qemu-system-i386", "-cpu", cpu, "-m", "16", "-kernel", str(image), "-append", append),
        *("-nographic", "-no-reboot", "-nic", "none", *more),
        *("-device", "isa-debug-exit,iobase=0xf4,iosize=4"),
        *(("-initrd", str(initrd)) if initrd else ()),
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            console = b""
            waiting = typed.splitlines(keepends=True)
            while byte := process.stdout.read(1):
                console += byte
                if waiting and console.endswith(b"leulo$ "):
                    process.stdin.write(waiting.pop(0).encode())
                    process.stdin.flush()
            code = process.wait(10)
        finally:
            process.kill()
    return Outcome(code // 2 if code % 2 else None, console.decode("latin-1"))
