"""From a checked configuration to a running host: opens what the flags name, joins it, runs it.

This is the only place where the host's clock and randomness enter; everything below is given
them. Whatever was opened is closed again, in the reverse order, however the run ends.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from leulo.cli import messages
from leulo.cli.events import JsonLines, LogLines, check_counters, check_glob, write_counters
from leulo.cli.images import read_image
from leulo.cli.terminal import Terminal
from leulo.clock import Clock, RealClock, VirtualClock
from leulo.config import MachineConfig, RunConfig
from leulo.costs import Costs
from leulo.errors import EXIT_ENVIRONMENT, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, EXIT_PIPE
from leulo.host import Host
from leulo.hypercalls.events import TraceMark
from leulo.links import LinkContext, open_link
from leulo.links.base import Offload
from leulo.links.poller import Poller
from leulo.machine import Machine
from leulo.net.dhcp import Lease
from leulo.outcome import Ending, Outcome
from leulo.trace import Trace

if TYPE_CHECKING:
    from leulo.links.serial import SerialEnd

VIRTUAL_EPOCH_S: Final = 946_684_800  # 2000-01-01: what the guest's calendar shows at tick 0
# What the engine may leave to the switch, whose links do themselves what theirs cannot.
_ENGINE_OFFLOAD: Final = Offload(checksum=True, tso_bytes=65_535)


def boot(machine_config: MachineConfig, run_config: RunConfig) -> int:
    """Run one machine until something ends it; returns the exit code of ``leulo boot``.

    Raises LeuloError for everything that a person can put right.
    """
    began_ns = time.monotonic_ns()
    with ExitStack() as cleanup:
        session = _Session(machine_config, run_config, cleanup)
        outcome = session.run()
        status = session.exit_code(outcome)
        counters = session.counters()
        ended_ns = session.host.clock.now_ns()
        explanation = outcome.explanation or session.loss()
    if run_config.counters is not None:
        write_counters(run_config.counters, counters)
    took_ns = time.monotonic_ns() - began_ns
    if run_config.json:
        ending = "ENDED" if session.terminal.quit_asked else outcome.ending.name
        report = messages.json_report(
            ending,
            status,
            outcome.guest_status,
            explanation or session.client_report(),
            took_ns,
            counters,
        )
        _tell(session.terminal, report)
        return status
    if run_config.accounting:
        _tell(session.terminal, messages.counters_table(counters, ended_ns).rstrip("\n"))
    client = session.client_report()
    if client:
        _tell(session.terminal, f"leulo: {client}")
    _tell(session.terminal, messages.farewell(counters, took_ns))
    why = "ended from the console" if session.terminal.quit_asked else outcome.ending.value
    _tell(session.terminal, messages.reason(why, explanation))
    return status


class _Session:
    """One machine on one host, with its console and everything that was asked for beside it."""

    def __init__(self, machine: MachineConfig, run: RunConfig, cleanup: ExitStack) -> None:
        self._serial: SerialEnd | None = None
        self._debug_bytes_lost = 0
        ready = messages.Ready(machine, run.ready_fd)
        image, image_name = read_image(machine.image, machine.www, machine.memory_bytes)
        clock, costs, epoch_s = _clock_of(run)
        # CPU time: neither sleep nor what other programs take is in the account.
        stopwatch = time.thread_time_ns if run.is_accounting else None
        random_bits = _random_bits(machine.seed)
        trace = Trace()
        if run.counters is not None:
            check_counters(run.counters)
        writer = None
        if run.trace is not None:
            writer = JsonLines(run.trace)
            cleanup.callback(writer.close)
            trace.subscribe("*", writer)
        for glob in run.log:
            trace.subscribe(glob, LogLines(sys.stderr))

        poller = Poller()
        cleanup.callback(poller.close)
        link = open_link(
            str(machine.net),
            LinkContext(
                clock=clock,
                poller=poller,
                trace=trace,
                random_bits=random_bits,
                guest_address=machine.address,
                prefix_length=machine.prefix_length,
                gateway=machine.gateway,
                dns=machine.dns,
                mtu=machine.mtu,
                publish=machine.publish,
                host_loopback=machine.host_loopback,
            ),
        )
        cleanup.callback(link.close)
        self.host = Host(
            clock,
            poller,
            quantum_ns=run.quantum_ns,
            timeout_ns=run.timeout_ns,
            max_ticks=run.max_ticks,
            stopwatch=stopwatch,
        )
        self._link = link
        self.machine = Machine(
            machine,
            clock,
            trace,
            offload=_ENGINE_OFFLOAD,
            console=self._print,
            debug=self._print_debug,
            random_bits=random_bits,
            epoch_s=epoch_s,
            costs=costs,
            stopwatch=stopwatch,
        )
        _check_globs(run.log, trace, str(machine.net))
        self.host.add(self.machine)
        self.host.connect(link)
        if run.pcap is not None:
            from leulo.links.capture import Capture

            epoch_ns = 0 if clock.is_virtual else time.time_ns() - clock.now_ns()
            capture = Capture(run.pcap, clock, epoch_ns)
            cleanup.callback(capture.close)
            self.host.switch.watch(capture.record)
            trace.subscribe(TraceMark.NAME, lambda mark: capture.comment(mark.text))
        finished = getattr(link, "on_finished", None)
        if finished is not None:
            finished(lambda: self.host.finish(Outcome(Ending.FINISHED)))
        self.machine.load(image, image_name)

        for line in messages.banner(machine, run):
            messages.say(sys.stderr, line)
        self.terminal = Terminal(
            poller,
            self.machine.console_input,
            interrupt=self.host.interrupt,
            quit_run=self.host.interrupt,
            counters=self._live_counters,
            reads=run.serial.kind == "stdio",
        )
        self._write = self.terminal.write
        self.host.attend = self.terminal.pump
        if run.serial.kind != "stdio":
            from leulo.links.serial import open_serial

            serial = open_serial(run.serial, poller, self.machine.console_input)
            cleanup.callback(serial.close)
            self._serial = serial
            self._write = serial.write
            self.host.attend = serial.pump
            messages.say(sys.stderr, f"leulo: the serial port is on {serial.where}")

        if writer is not None:
            writer.begin()  # nothing refuses the run any more

        def listening(address: bytes, port: int) -> None:
            line = ready.on_listening(address, port)
            if line is not None:
                _tell(self.terminal, line)

        def addressed(lease: Lease | None) -> None:
            _tell(self.terminal, messages.leased(lease))
            line = ready.on_addressed(lease)
            if line is not None:
                _tell(self.terminal, line)

        self.machine.hypercalls.listening = listening
        self.machine.addressed = addressed
        self.machine.unanswered = lambda: _tell(self.terminal, messages.NO_LEASE_YET)

    def run(self) -> Outcome:
        with self.terminal:
            return self.host.run()

    def exit_code(self, outcome: Outcome) -> int:
        """The outcome's, but the escape key ends a run as switching it off does."""
        if outcome.ending is Ending.INTERRUPTED:
            if self.terminal.lost is not None and not self.terminal.interrupted:
                is_gone = isinstance(self.terminal.lost, BrokenPipeError)
                return EXIT_PIPE if is_gone else EXIT_ENVIRONMENT
            return EXIT_OK if self.terminal.quit_asked else EXIT_INTERRUPTED
        if outcome.ending is Ending.FINISHED and self._link.counters().get("requests_failed"):
            return EXIT_FAILED
        return outcome.exit_code

    def loss(self) -> str:
        """Why nobody sees the console any more; empty if somebody does."""
        lost = self.terminal.lost
        return f"the console cannot be written: {lost.strerror}" if lost is not None else ""

    def client_report(self) -> str:
        """How the simulated wire's client fared; empty where there is none."""
        report = getattr(self._link, "report", None)
        return str(report()) if report is not None else ""

    def counters(self) -> dict[str, int]:
        """Those of machine, link and switch, and where the time went if that was asked for."""
        counters = self.machine.counters()
        groups: dict[str, dict[str, int]] = {
            "link": self._link.counters(),
            "switch": self.host.switch.counters(),
            "host": self.host.counters(),
            "debug": {"bytes_lost": self._debug_bytes_lost},
        }
        if self._serial is not None:
            groups["serial"] = self._serial.counters()
        groups["account"] = self.host.account_counters()
        for group, values in groups.items():
            counters.update({f"{group}.{name}": value for name, value in values.items()})
        return counters

    def _live_counters(self) -> str:
        """What Ctrl-A c shows; the first time begins to count what costs something, if
        nobody had."""
        text = messages.counters_table(self.counters(), self.host.clock.now_ns())
        if not self.machine.is_counting:
            self.machine.count_exits(time.thread_time_ns)
            self.host.keep_account(time.thread_time_ns)
            text += "Exits, bytes, ticks by level and times are counted from now on: look again.\n"
        return text

    def _print(self, data: bytes) -> None:
        self._write(data)

    def _print_debug(self, data: bytes) -> None:
        """What a guest says there may be lost, but it never holds up the host."""
        if not messages.has_room(sys.stderr):
            self._debug_bytes_lost += len(data)
            return
        text = "".join(c if c.isprintable() else "?" for c in data.decode("latin-1").rstrip("\n"))
        _tell(self.terminal, f"debug: {text}")


def _check_globs(globs: Sequence[str], trace: Trace, net: str) -> None:
    """Every part has its channels now: a glob that names none of the program's events is a
    mistake, one of events that this machine cannot have is told. Raises ConfigError."""
    here = [kind.NAME for kind in trace.kinds()]
    for glob in globs:
        if any(fnmatchcase(name, glob) for name in here):
            continue
        check_glob(glob)
        messages.say(sys.stderr, f"leulo: --log {glob}: there are none of these with --net {net}")


def _tell(terminal: Terminal, line: str) -> None:
    is_apart = not terminal.goes_with(sys.stderr.fileno())
    messages.say(sys.stderr, line, at_line_start=terminal.at_line_start or is_apart)
    terminal.at_line_start = True


def _clock_of(run: RunConfig) -> tuple[Clock, Costs, int]:
    costs = Costs()
    if run.clock == "virtual":
        return VirtualClock(costs.tick_num, costs.tick_den), costs, VIRTUAL_EPOCH_S
    return RealClock(time.monotonic_ns), costs, time.time_ns() // 10**9


def _random_bits(seed: int | None) -> Callable[[int], int]:
    """The host's randomness, or that of a seed: the same on every computer."""
    if seed is None:
        return _host_bits
    import random

    return random.Random(seed).getrandbits


def _host_bits(bits: int) -> int:
    data = os.urandom(bits + 7 >> 3)
    return int.from_bytes(data, "little") >> (-bits & 7)
