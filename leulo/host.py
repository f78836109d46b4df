"""A host: machines that share one physical CPU, their switch and link, and the run loop.

One thread owns everything here. Another thread or a signal handler may call `Host.interrupt`
and nothing else. The loop is the same on both clocks; what differs is when the engines are
served. In real time that is at every quantum's end, whatever machine is running, so an ACK never
waits for a guest. In virtual time nothing happens at a quantum's end: a machine stops exactly at
the next event, so the quantum's length cannot be seen in any result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Final, Protocol

from leulo.clock import Clock, VirtualClock
from leulo.config import DEFAULT_QUANTUM_NS
from leulo.cpu import Exit
from leulo.links.base import Link
from leulo.links.switch import Switch
from leulo.machine import Machine
from leulo.outcome import Ending, Outcome
from leulo.stack import DRAIN_FRAMES
from leulo.units import NS_PER_MS, NS_PER_US

SLICE_NS: Final = 6 * NS_PER_MS
MOST_QUANTA: Final = 5  # in a run, by the clock: ticks do not tell how long exits take
_TURNS_PER_LOOK: Final = 64  # virtual time asks the terminal this rarely
_BULK_BYTES: Final = 8_192  # a longer frame is part of a long stream
_BULK_LOOKS: Final = 3  # for more of it in a turn; 5 % less CPU time a byte than by one
_MANY_FRAMES: Final = 32  # in one look: a TAP takes in twice as many at a time, and may have more
_LATE_LOOKS: Final = 16  # before a timer that is due: a thousand frames from a TAP
_FIRST_TICKS_PER_US: Final = 1_000  # until a quantum has been measured
_BUDGET: Final = Exit.BUDGET  # looking a member up in its class costs as much as a call
_SHUTDOWN: Final = Exit.SHUTDOWN


@dataclass
class Account:
    """Where this program's own time went, in nanoseconds. Only kept when asked for."""

    guest_ns: int = 0
    hypercall_ns: int = 0
    engine_ns: int = 0
    link_ns: int = 0
    total_ns: int = 0


class Waiter(Protocol):
    """What the loop sleeps in: `leulo.links.poller.Poller`."""

    def wait(self, timeout_ns: int | None, /) -> int:
        """Serve what is ready, after at most so long (None: for ever); how much that was."""

    def wake(self) -> None:
        """End the wait under way, or the next one."""


class Host:
    """Machines, one switch, at most one uplink, and the loop that runs them."""

    def __init__(
        self,
        clock: Clock,
        poller: Waiter,
        *,
        quantum_ns: int = DEFAULT_QUANTUM_NS,
        timeout_ns: int | None = None,
        max_ticks: int | None = None,
        stopwatch: Callable[[], int] | None = None,
    ) -> None:
        """``stopwatch`` (host nanoseconds) turns accounting on; it never steers anything."""
        self.clock = clock
        self.poller = poller
        self.machines: list[Machine] = []
        self.switch = Switch()
        self.link: Link | None = None
        self.account = Account()
        self.quanta = 0  # runs of a machine
        self.rests = 0  # sleeps, or jumps of the virtual clock, with every machine halted
        self.woken = 0  # of these, ended by a descriptor rather than by a deadline
        self.idle_ns = 0  # spent in them, by the host's clock
        self.attend: Callable[[], None] = _nobody  # called at every look outside
        self._virtual = clock if isinstance(clock, VirtualClock) else None
        self._quantum_ns = quantum_ns
        self._timeout_ns = timeout_ns
        self._max_ticks = max_ticks
        self._stopwatch = stopwatch
        self._account_since = 0  # by the stopwatch
        self._is_looping = False
        self._outcome: Outcome | None = None
        self._interrupted = False
        self._running: Machine | None = None
        self._turn = 0
        self._turns = 0
        self._arrivals = 0  # frames that have come into machines since the last serve
        self._has_bulk = False  # and long ones among them
        self._slice_end_ns = 0
        self._is_measuring = True  # how many ticks a quantum is
        self._ticks_per_us = _FIRST_TICKS_PER_US
        self._quantum_ticks = max(1, quantum_ns * _FIRST_TICKS_PER_US // NS_PER_US)

    # ------------------------------------------------------------ building

    def add(self, machine: Machine) -> None:
        """Plug a machine's stack into the switch."""
        stack = machine.stack

        def receive(frames: Sequence[bytes], now_ns: int) -> None:
            self._arrivals += len(frames)
            if len(frames[-1]) > _BULK_BYTES:
                self._has_bulk = True
            if self._stopwatch:
                before = self._stopwatch()
                stack.input(frames, now_ns)
                self.account.engine_ns += self._stopwatch() - before
            else:
                stack.input(frames, now_ns)

        machine.port = self.switch.add_stack(machine.config.name, machine.offload, receive)
        self.machines.append(machine)
        if self._virtual is not None:
            self._virtual.drive(self.ticks)

    def connect(self, link: Link) -> None:
        """Make ``link`` the switch's uplink."""
        self.link = link
        self.switch.add_link(link, self.clock)

    def ticks(self) -> int:
        """Code bytes that all machines have executed, the block being executed included."""
        return sum(machine.cpu.ticks for machine in self.machines)

    # ------------------------------------------------------------ from outside

    def interrupt(self) -> None:
        """End the run within a quantum. Safe in a signal handler or another thread."""
        self._interrupted = True
        running = self._running
        if running is not None:
            running.cpu.stop()
        self.poller.wake()

    def finish(self, outcome: Outcome) -> None:
        """End the run with this outcome; the first one counts."""
        if self._outcome is None:
            self._outcome = outcome
        if self._running is not None:
            self._running.cpu.stop()

    # ------------------------------------------------------------ accounting

    def keep_account(self, stopwatch: Callable[[], int]) -> None:
        """Measure where the time goes from now on, if nobody does; not while a machine runs."""
        if self._stopwatch is None:
            self._stopwatch = stopwatch
            self._account_since = stopwatch()

    def account_counters(self) -> dict[str, int]:
        """Where the time went so far; empty if that is not measured."""
        if self._stopwatch is None:
            return {}
        if self._is_looping:
            self._settle()
        return asdict(self.account)

    def _settle(self) -> None:
        if self._stopwatch:
            now = self._stopwatch()
            self.account.total_ns += now - self._account_since
            self._account_since = now

    # ------------------------------------------------------------ the loop

    def run(self) -> Outcome:
        """Run until the guests, the budget or a person ends it."""
        if self._stopwatch:
            self._account_since = self._stopwatch()
        self._is_looping = True
        try:
            while (outcome := self._ended()) is None:
                machine = self._pick()
                if machine is not None:
                    self._execute(machine)
                    self._serve(0)
                else:
                    self._rest()
        finally:
            self._settle()
            self._is_looping = False
            for machine in self.machines:
                machine.flush_console()
        return outcome

    def _ended(self) -> Outcome | None:
        """The outcome, once there is one: somebody's, or that of a spent budget."""
        if self._outcome is None:
            if self._interrupted:
                self.finish(Outcome(Ending.INTERRUPTED))
            elif self._timeout_ns is not None and self.clock.now_ns() >= self._timeout_ns:
                self.finish(Outcome(Ending.TIMEOUT))
            elif self._max_ticks is not None and self.ticks() >= self._max_ticks:
                self.finish(Outcome(Ending.TICKS))
        return self._outcome

    def _pick(self) -> Machine | None:
        """Round robin: a machine keeps the CPU for its slice, or until it halts."""
        machines = self.machines
        if len(machines) == 1:
            return machines[0] if machines[0].is_runnable() else None
        now = self.clock.now_ns()
        for step in range(len(machines)):
            at = (self._turn + step) % len(machines)
            if not machines[at].is_runnable():
                continue
            if step == 0 and now >= self._slice_end_ns:
                continue
            if step:
                self._turn = at
                self._slice_end_ns = now + SLICE_NS
            return machines[at]
        if machines and machines[self._turn].is_runnable():  # alone: another slice
            self._slice_end_ns = now + SLICE_NS
            return machines[self._turn]
        return None

    def _execute(self, machine: Machine) -> None:
        self._running = machine
        self.quanta += 1
        if self._interrupted:  # it came while no machine was there to be stopped
            return
        before = served_before = 0
        if self._stopwatch:
            before, served_before = self._stopwatch(), machine.hypercall_ns
        if self._virtual is not None:
            exit_ = machine.cpu.run(self._virtual_budget(self._virtual))
        else:
            exit_ = self._run_real(machine)
        self._running = None
        if self._stopwatch:
            in_calls = machine.hypercall_ns - served_before
            self.account.hypercall_ns += in_calls
            self.account.guest_ns += self._stopwatch() - before - in_calls
        if exit_ is _SHUTDOWN:
            self.finish(Outcome(Ending.FAULT, machine.explain_shutdown()))
        elif machine.exit_status is not None:
            self.finish(Outcome.of_status(machine.exit_status))
        elif machine.wants_reset:
            machine.begin_again()

    def _run_real(self, machine: Machine) -> Exit:
        budget = self._quantum_ticks
        if self._max_ticks is not None:
            budget = min(budget, max(1, self._max_ticks - self.ticks()))
        started_ns = self.clock.now_ns()
        started_ticks = machine.cpu.ticks if self._is_measuring else 0
        exit_ = machine.cpu.run(budget, started_ns + MOST_QUANTA * self._quantum_ns)
        if exit_ is not _BUDGET:
            self._is_measuring = False
        elif not self._is_measuring:
            self._is_measuring = True  # who uses up one quantum may do so again
        elif (ticks := machine.cpu.ticks - started_ticks) >= budget:  # else an exit was too late
            took_us = max(1, (self.clock.now_ns() - started_ns) // NS_PER_US)
            self._ticks_per_us = max(1, (3 * self._ticks_per_us + ticks // took_us) // 4)
            self._quantum_ticks = max(1, self._quantum_ns * self._ticks_per_us // NS_PER_US)
        return exit_

    def _virtual_budget(self, clock: VirtualClock) -> int:
        """Ticks until something happens: a deadline, another machine's turn, the end."""
        budget = max(1, self._quantum_ns * clock.den // clock.num)
        deadline = self.next_deadline()
        if deadline is not None:
            budget = min(budget, clock.ticks_until(deadline))
        if self._timeout_ns is not None:
            budget = min(budget, clock.ticks_until(self._timeout_ns))
        if len(self.machines) > 1:
            budget = min(budget, clock.ticks_until(self._slice_end_ns))
        if self._max_ticks is not None:
            budget = min(budget, self._max_ticks - self.ticks())
        return max(1, budget)

    def _rest(self) -> None:
        """Nobody can run: sleep, or in virtual time jump, to what comes next."""
        for machine in self.machines:
            machine.flush_console()  # a prompt has no newline, and now there is time for it
        self._drain()  # what is sent now may bring deadlines of its own
        if self._arrivals:  # or answers at once, which may wake a guest
            self._serve(0)
            return
        deadline = self.next_deadline()
        if self._virtual is not None and deadline is None:
            self.finish(Outcome(Ending.DEAD))
            return
        if self._timeout_ns is not None:
            deadline = self._timeout_ns if deadline is None else min(deadline, self._timeout_ns)
        self.rests += 1
        before = self.clock.now_ns()
        if self._virtual is not None and deadline is not None:
            self._virtual.skip_to(deadline)
            self.idle_ns += self.clock.now_ns() - before
            self._serve(0)
        else:  # nothing is looked at again and again: what comes from outside is a descriptor
            self._serve(None if deadline is None else max(0, deadline - before))

    def next_deadline(self) -> int | None:
        """The earliest moment at which a device, an engine or the link has something to do."""
        earliest: int | None = None
        for machine in self.machines:
            due = machine.next_deadline()
            if due is not None and (earliest is None or due < earliest):
                earliest = due
        if self.link is not None:
            due = self.link.next_deadline()
            if due is not None and (earliest is None or due < earliest):
                earliest = due
        return earliest

    def counters(self) -> dict[str, int]:
        """What the loop has done."""
        return {
            "quanta": self.quanta,
            "rests": self.rests,
            "woken": self.woken,
            "idle_ns": self.idle_ns,
        }

    def _serve(self, wait_ns: int | None) -> None:
        """Between quanta: what the guests sent leaves, what has arrived goes in, timers fire.

        In real time the answers to what arrived leave at the next quantum's end, at most 0.2 ms
        on, so that the ACK, the guest's data and its FIN can share a segment; but what acknowledges
        bulk leaves before the guest runs, because a sender may keep no more on its way than two of
        the shortest round trips hold [BBR 4.2.3], and more of it is taken in, so that the guest is
        woken for more at a time. In virtual time they leave at this very moment, which is an event
        of its own, and so do another machine's answers to them.
        """
        self._drain()
        if self._virtual is None:
            self.attend()
            if wait_ns == 0 or self._arrivals:
                self.poller.wait(0)
            else:
                self._sleep(wait_ns)
            if self._arrivals >= _MANY_FRAMES:
                self._catch_up()
        else:  # only the escape key and signals come from outside; nothing there moves the clock
            self._turns += 1
            if self._turns % _TURNS_PER_LOOK == 0:
                self.attend()
                self.poller.wait(0)
        now = self.clock.now_ns()
        link = self.link
        if link is not None:
            due = link.next_deadline()
            if due is not None and due <= now:
                link.advance(now)
        looks = _BULK_LOOKS
        while True:
            self._arrivals = 0
            began = self._stopwatch() if self._stopwatch else 0
            for machine in self.machines:
                machine.serve(now)
            if self._stopwatch:
                self.account.engine_ns += self._stopwatch() - began
            if self._virtual is not None:
                self._drain()
            else:
                if not self._has_bulk:
                    break
                self._has_bulk = False
                self._drain()
                looks -= 1
                if not looks:
                    break
                self.poller.wait(0)
                now = self.clock.now_ns()
            if not self._arrivals:
                break

    def _catch_up(self) -> None:
        """Take in the rest of what has come before a timer says that it has not: after a pause that
        is more than one look takes."""
        now = self.clock.now_ns()
        for machine in self.machines:
            due = machine.stack.next_deadline()
            if due is not None and due <= now:
                looks = _LATE_LOOKS
                while looks and self.poller.wait(0):
                    looks -= 1
                return

    def _sleep(self, wait_ns: int | None) -> None:
        """Wait for a descriptor, at most so long (None: for ever), and account for it."""
        began = self.clock.now_ns()
        self.woken += self.poller.wait(wait_ns) > 0
        self.idle_ns += self.clock.now_ns() - began

    def _drain(self) -> None:
        """Move what the engines want to send to the switch, until they want no more."""
        for machine in self.machines:
            stack = machine.stack
            if not stack.has_output:
                continue
            count = DRAIN_FRAMES
            while count >= DRAIN_FRAMES or stack.has_loopback:  # else there was no more
                now = self.clock.now_ns()
                began = self._stopwatch() if self._stopwatch else 0
                frames = stack.drain(now)
                drained = self._stopwatch() if self._stopwatch else 0
                count = len(frames)
                machine.port.send(frames, now)
                if self._stopwatch:
                    self.account.engine_ns += drained - began
                    self.account.link_ns += self._stopwatch() - drained


def _nobody() -> None:
    """Nobody attends."""
