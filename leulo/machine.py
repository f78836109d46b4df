"""One virtual machine: wiring only.

RAM, CPU, chips, the TCP engine and the hypercalls that join it to the guest are made here and
connected; what each does is in its own file. It must not know of other machines, of the host's
loop or of the network beyond its own port on the switch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final, Protocol

from leulo.bus import Bus
from leulo.clock import Clock, VirtualClock
from leulo.config import MachineConfig
from leulo.costs import Costs
from leulo.cpu import TSC_HZ, Cpu
from leulo.devices.debug_console import DebugConsole
from leulo.devices.debug_exit import DebugExit
from leulo.devices.gate import Gate
from leulo.devices.keyboard import Keyboard
from leulo.devices.pci import ConfigPorts, PciBus, host_bridge
from leulo.devices.pic import Pic
from leulo.devices.pit import Pit
from leulo.devices.power import ResetControl, SleepControl, SystemControlA
from leulo.devices.rtc import Rtc
from leulo.devices.uart import Uart
from leulo.errors import LeuloBug
from leulo.hypercalls import Hypercalls, Limits, MachineInfo
from leulo.hypercalls.abi import EVENT_IRQ, GATE_MAGIC, GATE_PORT
from leulo.hypercalls.counted import CountedCalls
from leulo.links.base import Offload
from leulo.links.switch import Port
from leulo.loader.multiboot import Boot, load
from leulo.machine_events import Console, DebugText, PortExit
from leulo.memory import Memory
from leulo.net.dhcp import Lease
from leulo.stack import Stack, StackConfig
from leulo.tcp.config import PRESETS
from leulo.trace import Trace
from leulo.units import NS_PER_MS, NS_PER_S

PIT_IRQ: Final = 0
UART_IRQ: Final = 4
RTC_IRQ: Final = 8

_ACK_PATIENCE_NS: Final = 10 * NS_PER_MS  # a guest that runs may answer: the ACK rides on that


class _Ports:
    """The port bus as the CPU sees it where exits are charged or watched.

    In virtual time every exit ends the run at the next block, so that whatever it brought about
    (a deadline, a segment to send, an interrupt) happens there, however long the quantum is.
    """

    def __init__(self, machine: Machine, bus: Bus, clock: Clock, trace: Trace, costs: Costs):
        self._machine = machine
        self._bus = bus
        self._clock = clock
        self._virtual = clock if isinstance(clock, VirtualClock) else None
        self._costs = costs
        self._exits = trace.channel(PortExit)

    def read(self, address: int, width: int) -> int:
        value = self._bus.read(address, width)
        self._after("in", address, width, value)
        return value

    def write(self, address: int, width: int, value: int) -> None:
        self._bus.write(address, width, value)
        self._after("out", address, width, value)

    def _after(self, direction: str, port: int, width: int, value: int) -> None:
        if self._exits.active:
            name = self._machine.config.name
            now = self._clock.now_ns()
            self._exits.emit(PortExit(now, name, direction, port, width, value))
        if self._virtual is not None:
            costs = self._costs
            self._virtual.charge(costs.hypercall_ns if port == GATE_PORT else costs.port_ns)
            self._machine.cpu.limit(0)


class _Chip(Protocol):
    """A chip that time makes do something."""

    def next_deadline(self) -> int | None: ...

    def advance(self, now_ns: int) -> None: ...


class Machine:
    """A guest with its hardware and its TCP engine.

    ``console`` takes what the serial port sends, ``debug`` what the debug console does.
    ``random_bits(n)`` gives n random bits: the engine's secrets come from nowhere else.
    ``stopwatch`` (host nanoseconds), if given, turns accounting on from the start, ticks by
    privilege level included.
    """

    def __init__(
        self,
        config: MachineConfig,
        clock: Clock,
        trace: Trace,
        *,
        offload: Offload,
        console: Callable[[bytes], None],
        debug: Callable[[bytes], None] | None = None,
        random_bits: Callable[[int], int],
        epoch_s: int,
        costs: Costs | None = None,
        stopwatch: Callable[[], int] | None = None,
    ) -> None:
        self.config = config
        self.offload = offload
        self.exit_status: int | None = None
        self.port: Port
        self._clock = clock
        self._console = console
        self._console_events = trace.channel(Console)
        self._debug = debug
        self._debug_events = trace.channel(DebugText)
        self._counted: CountedCalls | None = None
        self._image: tuple[bytes, str] | None = None
        self._wants_reset = False
        self.boot: Boot | None = None

        self.memory = Memory(config.memory_bytes)
        self.ports = Bus("port")
        virtual = isinstance(clock, VirtualClock)
        watched = virtual or trace.channel(PortExit).active
        target = _Ports(self, self.ports, clock, trace, costs or Costs()) if watched else self.ports
        self.mmio = Bus("mmio")
        self.cpu = Cpu(
            self.memory,
            target,
            self.mmio,
            clock=clock,
            deliverer=config.cpu,
            doors=None if watched else self.ports.doors,
        )
        self.stack = Stack(_stack_config(config, offload), random_bits, trace)

        self.pic = Pic(self.cpu)
        self.pit = Pit(clock, self.pic.line(PIT_IRQ))
        self.uart = Uart(clock, self.pic.line(UART_IRQ), self._print)
        self.rtc = Rtc(clock, epoch_s, self.pic.line(RTC_IRQ))
        self._chips: tuple[_Chip, ...] = (self.pit, self.rtc, self.uart)
        self.pci = PciBus()
        self.pci.attach(0, host_bridge())
        self.reset_control = ResetControl(self._reset)
        self.pci_config = ConfigPorts(self.pci, self.reset_control)
        self.system_control = SystemControlA(self._reset)
        self.debug_console = DebugConsole(self._print_debug)
        self.hypercalls = Hypercalls(
            self.stack, self.memory, self.pic.line(EVENT_IRQ), clock, trace,
            Limits(max_sockets=config.quotas.sockets, max_events=config.quotas.events),
            _machine_info(config, epoch_s),
        )  # fmt: skip
        self.stack.on_address = self._take_lease
        self.addressed: Callable[[Lease | None], None] = lambda lease: None  # for the host
        self.unanswered: Callable[[], None] = lambda: None  # nobody leases an address, yet
        if self.stack.dhcp is not None:
            self.stack.dhcp.client.on_silence = lambda: self.unanswered()
        self.gate = Gate(GATE_MAGIC, self.hypercalls.call)
        self.ports.attach(0x20, 2, "PIC 1", self.pic.primary)
        self.ports.attach(0xA0, 2, "PIC 2", self.pic.secondary)
        self.ports.attach(0x40, 4, "PIT", self.pit)
        self.ports.attach(0x61, 1, "PIT speaker gate", self.pit.speaker)
        self.ports.attach(0x4D0, 2, "PIC edge/level", self.pic.elcr)
        self.ports.attach(0x64, 1, "keyboard", Keyboard(self._reset))
        self.ports.attach(0x70, 2, "RTC", self.rtc)
        self.ports.attach(0x92, 1, "system control A", self.system_control)
        self.ports.attach(0xE9, 1, "debug console", self.debug_console)
        self.ports.attach(0xF4, 1, "debug exit", DebugExit(self._power_off))
        self.ports.attach(0x3F8, 8, "UART COM1", self.uart)
        self.ports.attach(GATE_PORT, 1, "hypercall gate", self.gate)
        self.ports.doors[GATE_PORT] = self.hypercalls.call
        self.ports.attach(0x604, 2, "QEMU power off", SleepControl(lambda: self._power_off(0)))
        self.ports.attach(0xB004, 2, "Bochs power off", SleepControl(lambda: self._power_off(0)))
        self.ports.attach(0xCF8, 8, "PCI configuration", self.pci_config)
        self.pic.reset()  # lines that are high from the start are no edges
        if stopwatch is not None:
            self.count_exits(stopwatch)

    # ------------------------------------------------------------ life

    def load(self, image: bytes, name: str) -> None:
        """Put the image into RAM and the CPU at its entry. Raises ImageError."""
        self._image = (image, name)
        self._begin()

    def _begin(self) -> None:
        if self._image is None:
            raise LeuloBug("a machine begins before it has an image")
        image, name = self._image
        words = f"net={self.config.mode} {self.config.append}".strip()
        self.boot = load(self.memory, image, name=name, command_line=words)
        self.cpu.flush()
        self.cpu.reset(self.boot.entry, self.boot.eax, self.boot.ebx)

    def _reset(self) -> None:
        """The reset line was pulsed: begin again, once the exit that did it is over."""
        self._wants_reset = True
        self.cpu.stop()

    def begin_again(self) -> None:
        """Chips, CPU and RAM as at power-on; every connection is aborted. Raises ImageError."""
        self._wants_reset = False
        self.hypercalls.reset()
        for chip in (
            self.pit, self.uart, self.rtc, self.pic, self.pci_config, self.reset_control,
            self.system_control, self.debug_console,
        ):  # fmt: skip
            chip.reset()
        self.memory.clear()
        self._begin()

    @property
    def wants_reset(self) -> bool:
        """Whether the guest has asked for `begin_again`."""
        return self._wants_reset

    def close(self) -> None:
        """Free the emulated CPU."""
        self.cpu.close()

    def _power_off(self, status: int) -> None:
        self.exit_status = status
        self.cpu.stop()

    # ------------------------------------------------------------ for the host's loop

    def is_runnable(self) -> bool:
        """Whether the CPU has something to execute: it is not halted, or an interrupt waits."""
        return self.cpu.is_runnable()

    def next_deadline(self) -> int | None:
        """When a chip or the engine next has something to do, in the host's nanoseconds."""
        earliest = self.stack.next_deadline()
        if self.is_runnable():  # an interrupt that follows another waits for the CPU, not for time
            due = self.pic.next_deadline()
            if due is not None:
                return due
        # The hypercalls have one only while they hold back an interrupt of a storm.
        for part in (self.pit, self.rtc, self.uart, self.hypercalls):
            due = part.next_deadline()
            if due is not None and (earliest is None or due < earliest):
                earliest = due
        return earliest

    def serve(self, now_ns: int) -> None:
        """Between quanta: timers that are due, then events for the guest."""
        if self.pic.waits_behind:
            self.pic.advance(now_ns)
        stack = self.stack
        for chip in self._chips:
            due = chip.next_deadline()
            if due is not None and due <= now_ns:
                chip.advance(now_ns)
                stack.engine.set_time(now_ns)  # perhaps its interrupt is all that wakes the guest
        due = stack.next_deadline()
        if due is not None and due <= now_ns:
            stack.advance(now_ns)
        self.hypercalls.deliver()
        if stack.holds_acks and not self.is_runnable():
            stack.release_acks(now_ns)

    # ------------------------------------------------------------ console

    def _take_lease(self, lease: Lease | None) -> None:
        """A DHCP server has given an address, or it is over: a guest's next HELLO tells it."""
        info = self.hypercalls.session.info
        if lease is None:
            info = replace(info, address=bytes(4), prefix_length=0, gateway=None, dns=None)
        else:
            info = replace(
                info, address=lease.address, prefix_length=lease.prefix_length,
                gateway=lease.gateway, dns=lease.dns,
            )  # fmt: skip
        self.hypercalls.session.info = info
        self.addressed(lease)

    def _print(self, data: bytes) -> None:
        if self._console_events.active:
            text = data.decode("latin-1")
            self._console_events.emit(Console(self._clock.now_ns(), self.config.name, text))
        self._console(data)

    def _print_debug(self, data: bytes) -> None:
        if self._debug_events.active:
            text = data.decode("latin-1")
            self._debug_events.emit(DebugText(self._clock.now_ns(), self.config.name, text))
        if self._debug is not None:
            self._debug(data)

    def console_input(self, data: bytes) -> int:
        """Give typed bytes to the serial port; returns how many it took."""
        return self.uart.receive(data)

    def flush_console(self) -> None:
        """Let out what the serial port and the debug console still hold."""
        self.uart.flush()
        self.debug_console.flush()

    # ------------------------------------------------------------ reports

    def count_exits(self, stopwatch: Callable[[], int]) -> None:
        """Count exits by device, hypercalls by operation and ticks by level, and time the
        calls, from now on; not from inside an exit."""
        if self._counted is None:
            self.cpu.count_levels()
            self.ports.count_accesses()
            self.mmio.count_accesses()
            self._counted = CountedCalls(self.hypercalls.call, self.memory, stopwatch)
            self.gate.sink = self._counted.call

    @property
    def is_counting(self) -> bool:
        """Whether `count_exits` was asked for."""
        return self._counted is not None

    @property
    def hypercall_ns(self) -> int:
        """What hypercalls took, since they are counted."""
        return self._counted.ns if self._counted is not None else 0

    def explain_shutdown(self) -> str:
        """What led to a triple fault, for a person."""
        fault = self.cpu.shutdown
        return str(fault) if fault is not None else ""

    def counters(self) -> dict[str, int]:
        """Everything this machine has counted, by dotted name."""
        by_line = {f"irq_{irq}": count for irq, count in enumerate(self.pic.by_line)}
        levels = {f"ticks_cpl_{level}": ticks for level, ticks in self.cpu.level_ticks.items()}
        groups = {
            "cpu": {"ticks": self.cpu.ticks, "exceptions": self.cpu.exceptions, **levels},
            "pic": {"interrupts": self.pic.interrupts, "spurious": self.pic.spurious, **by_line},
            "exits.port": self.ports.counters(),
            "exits.mmio": self.mmio.counters(),
            "tcp": self.stack.counters(),
            "hypercalls": self.hypercalls.counters(),
        }
        if self._counted is not None:
            groups["exits.hypercall"] = self._counted.counters()
            groups["bytes"] = {"sent": self._counted.sent, "received": self._counted.received}
        return {
            f"{group}.{name}": value
            for group, values in groups.items()
            for name, value in values.items()
        }


def _stack_config(config: MachineConfig, offload: Offload) -> StackConfig:
    quotas = config.quotas
    return StackConfig(
        name=config.name,
        mac=config.mac,
        address=config.address,
        prefix_length=config.prefix_length,
        gateway=config.gateway,
        mtu=config.mtu,
        checksum=offload.checksum,
        tso_bytes=offload.tso_bytes,
        has_ipv6=config.has_ipv6,
        address6=config.address6,
        prefix_length6=config.prefix_length6,
        gateway6=config.gateway6,
        is_dhcp=config.is_dhcp,
        tcp=replace(
            PRESETS[config.tcp_preset],
            buffers_max=quotas.buffers_bytes,
            connections_max=quotas.connections,
            half_open_max=quotas.half_open,
            ack_patience_ns=_ACK_PATIENCE_NS,
        ),
    )


def _machine_info(config: MachineConfig, epoch_s: int) -> MachineInfo:
    # The gateway of user networking leases what is configured, so its name server is known before.
    has_name_server = not config.is_dhcp or config.net.kind == "user"
    return MachineInfo(
        address=bytes(4) if config.is_dhcp else config.address,
        prefix_length=0 if config.is_dhcp else config.prefix_length,
        gateway=None if config.is_dhcp else config.gateway,
        dns=config.dns if has_name_server else None,
        mac=config.mac,
        mtu=config.mtu,
        tsc_hz=TSC_HZ,
        epoch_ns=epoch_s * NS_PER_S,
        has_ipv6=config.has_ipv6,
    )
