"""The CPU of a machine: runs for an exact number of ticks, and tells why it stopped.

A tick is a byte of executed code: a block is charged whole when it begins, and each exception or
software interrupt counts 16. A run ends at the first block that begins with its ticks spent, so the
guest sees the same time however a run is cut into pieces. (One exception: where a block rewrites
itself the engine starts the rest of it anew, and a stop just there moves the count.) Exits (ports,
MMIO) are served inline by the targets; they may ask for `ticks`, `limit` the run, `stop` it or
`post` an interrupt.

It knows RAM, two buses and a clock: no devices, no machine. Read ``engine`` for what is below,
``delivery`` for exceptions and interrupts, ``thunks`` for what runs at every block.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from enum import Enum
from typing import Final

from leulo.clock import Clock, RealClock, VirtualClock
from leulo.cpu import control, layout, library, snapshot
from leulo.cpu.control import (
    AT_ONCE,
    DEPTH,
    FLAG_ERROR,
    FLAG_OFFER,
    FLAG_STOP,
    FLAGS,
    GRANT,
    LIMIT,
    TICKS,
    TSC_DEN,
    TSC_NUM,
    TSC_OFFSET,
)
from leulo.cpu.delivery import (
    Deliverer,
    hook_blocks,
    hook_instructions,
    hook_tsc,
    open_delivery,
)
from leulo.cpu.disasm import Instruction, disassemble
from leulo.cpu.engine import Engine
from leulo.cpu.exits import NEVER, Exits, ExitTarget
from leulo.cpu.faults import Fault, Link, explain, read_chain
from leulo.cpu.paging import Mapping, walk
from leulo.cpu.registers import FLAG_IF, Registers
from leulo.errors import LeuloBug
from leulo.memory import PAGE_BYTES, BadAddress, Memory
from leulo.state import State

TSC_HZ: Final = 1_000_000_000  # RDTSC counts nanoseconds in every mode

_EIP: Final = (layout.CPU_ENV + layout.ENV_EIP) // 8
_EFLAGS: Final = (layout.CPU_ENV + layout.ENV_EFLAGS) // 8
_HALTED: Final = layout.CPU_HALTED // 4
_REQUEST: Final = layout.CPU_INTERRUPT_REQUEST // 4
_ALONE: Final = (layout.CPU_ENV + layout.ENV_ALONE) // 8
_CS_BASE: Final = (layout.CPU_ENV + layout.ENV_SEGMENTS + layout.SEGMENT_BYTES + 8) // 8
_NOTHING: Final = (1 << 64) - 1
_MOST_TICKS: Final = 1 << 53
_CLOCK_MONOTONIC: Final = 1


def _no_time() -> int:
    """A virtual clock ends no run."""
    return 0


class Exit(Enum):
    """Why `Cpu.run` returned."""

    BUDGET = "budget"  # the ticks are spent
    STOP = "stop"  # somebody called stop()
    HALT = "halt"  # HLT, and no interrupt that would wake it
    SHUTDOWN = "shutdown"  # triple fault, or code fetched from where there is no RAM


# Looking a member up in its class costs as much as a call.
_BUDGET: Final = Exit.BUDGET
_HALT: Final = Exit.HALT


class Cpu:
    """An i386-compatible CPU with PAE and NX, executing from ``memory``.

    ``clock`` decides what RDTSC reads: a virtual clock's own time (by this CPU's ticks), or the
    host's monotonic clock shifted to agree with a real one; without a clock a tick is 1 ns.
    ``deliverer``: "portable" delivers exceptions and interrupts in Python, 50 times slower and with
    the same results. ``doors``: ports whose 32-bit OUTs go there and not to ``ports``.
    Raises `EnvironmentProblem` where the emulator cannot be used or fails its self-test.
    """

    def __init__(
        self,
        memory: Memory,
        ports: ExitTarget,
        mmio: ExitTarget,
        *,
        clock: Clock | None = None,
        deliverer: Deliverer = "native",
        doors: dict[int, Callable[[int], None]] | None = None,
    ) -> None:
        from leulo.cpu import selftest  # it makes CPUs itself

        selftest.ensure(deliverer)
        self._engine: Engine | None = None
        self._memory = memory
        self._control = control.Control()
        self._words = words = self._control.words
        real = clock if isinstance(clock, RealClock) else None
        self._start_ns = 0 if real is None else real.start_ns
        self._exits = Exits(
            ports, mmio, memory.size, words, {} if doors is None else doors,
            _no_time if real is None else real.monotonic_ns,
        )  # fmt: skip
        self._engine = engine = Engine(memory)
        engine.map_hole(memory.size, self._exits.load_address, self._exits.store_address)
        words[control.OUT] = self._exits.out_address
        words[control.IN] = self._exits.in_address
        hook_instructions(engine, self._control)
        self._block_hook = hook_blocks(engine, self._control, by_level=False)
        self._counts_levels = False
        self._delivery = open_delivery(deliverer, engine, self._control, memory, self._exits.fail)
        self._offer_bit = self._delivery.request_bit
        # The engine takes what ``native`` offers by itself.
        self._settle = None if deliverer == "native" else self._delivery.settle
        self._state32 = engine.state32
        self._state64 = engine.state64
        self._start = library.load().uc_emu_start
        self._handle = engine.handle
        self._offered = False
        self._taken = False
        self.shutdown: Fault | None = None
        self.registers = Registers(engine)

        words[TSC_NUM], words[TSC_DEN] = 1, 1
        self._virtual = clock if isinstance(clock, VirtualClock) else None
        if self._virtual is not None:
            self._set_ratio(self._virtual.num, self._virtual.den)
        self._real_clock = clock if clock is not None and self._virtual is None else None
        hook_tsc(engine, self._control, host=self._real_clock is not None)
        self._sync_tsc()
        self._initial = _power_on(engine)
        self.reset(0, 0, 0)

    # ------------------------------------------------------------ running

    @property
    def ticks(self) -> int:
        """Code bytes executed so far, including the block that an exit is in."""
        return int(self._words[TICKS])

    @property
    def exceptions(self) -> int:
        """Exceptions and software interrupts so far."""
        return int(self._words[control.EXCEPTIONS])

    @property
    def level_ticks(self) -> dict[int, int]:
        """Ticks by privilege level, without those of exceptions; empty if they are not counted."""
        if not self._counts_levels:
            return {}
        return {level: int(self._words[control.LEVELS + level]) for level in range(4)}

    def count_levels(self) -> None:
        """Keep `level_ticks` from now on, which costs some percent; not from inside an exit."""
        if self._counts_levels:
            return
        if self._engine is None or self._exits.is_running:
            raise LeuloBug("count_levels() was called from inside an exit, or after the end")
        library.remove_hook(self._handle, self._block_hook)
        self._block_hook = hook_blocks(self._engine, self._control, by_level=True)
        self._engine.flush()  # the old hook's address is in translated code
        self._counts_levels = True

    def run(self, budget_ticks: int, due_ns: int = NEVER) -> Exit:
        """Execute until the first block that begins at least ``budget_ticks`` from now, or by a
        real clock after an exit that was not over before ``due_ns``: ticks do not show how long
        exits take.

        An exception raised by a target ends the run at the next block and is raised here.
        """
        words, exits, start = self._words, self._exits, self._start
        if exits.is_running:
            raise LeuloBug("run() was called from inside an exit")
        if self._virtual is not None:
            self._sync_tsc()
        exits.due_ns[0] = due_ns + self._start_ns
        words[GRANT] = grant = words[TICKS] + budget_ticks
        words[LIMIT] = grant
        # A flag set from now on is followed by a write to LIMIT, after ours.
        requested: int = words[FLAGS]
        if requested and requested != FLAG_OFFER:
            return self._flagged()
        state32, state64 = self._state32, self._state64
        if self.shutdown is not None:
            return Exit.SHUTDOWN
        if state32[_HALTED] and not self.will_wake():
            return _HALT
        settle = self._settle
        while True:
            if settle is not None:
                settle()
                if words[DEPTH]:
                    return self._shut_down(0)
            try:
                exits.is_running = True
                status = start(self._handle, state64[_EIP], 0, 0, 0)
            finally:
                exits.is_running = False
            if settle is not None and not state32[_HALTED]:
                settle()
            if status or words[DEPTH]:
                return self._shut_down(status)
            requested = words[FLAGS]
            if requested and requested != FLAG_OFFER:
                return self._flagged()
            if not state32[_HALTED]:
                if words[TICKS] >= words[GRANT]:
                    return _BUDGET
                if settle is not None:
                    continue
                raise LeuloBug("the engine returned without a reason")
            if not (state32[_REQUEST] & self._offer_bit and state64[_EFLAGS] & FLAG_IF):
                return _HALT
            if words[TICKS] >= words[GRANT]:
                return _BUDGET
            words[LIMIT] = words[GRANT]

    def _flagged(self) -> Exit:
        """A request ended the run, or forbade it to begin."""
        words = self._words
        if words[FLAGS] & FLAG_ERROR:
            words[FLAGS] &= ~FLAG_ERROR
            error, self._exits.error = self._exits.error, None
            if error is not None:
                raise error
        words[FLAGS] &= ~FLAG_STOP
        return Exit.STOP

    def limit(self, ticks: int) -> None:
        """From inside an exit: end the run at most ``ticks`` from now (0: at the next block)."""
        self._exits.limit(ticks)

    def stop(self) -> None:
        """End the run at the next block, or the next run before it begins.

        For signal handlers, other threads and exits alike; a request is never lost.
        """
        words = self._words
        words[FLAGS] |= FLAG_STOP
        words[LIMIT] = AT_ONCE

    # ------------------------------------------------------------ INTR and HLT

    def post(self, vector: int | None) -> None:
        """Offer ``vector`` at INTR, or withdraw the offer (`leulo.irq.IntrPin`).

        Inside a run it is taken at the next block with IF=1. For the thread of the run only.
        """
        self._notice()
        if vector is None:
            self._offered = False
            self._delivery.withdraw()
            return
        if not 0 <= vector <= 255:
            raise ValueError(f"{vector} is not an interrupt vector")
        self._offered = True
        self._delivery.offer(vector)
        self._words[LIMIT] = AT_ONCE

    def taken(self) -> bool:
        """True once if an offered vector was taken since the last question."""
        self._notice()
        taken, self._taken = self._taken, False
        return taken

    def _notice(self) -> None:
        if self._offered and not self._state32[_REQUEST] & self._offer_bit:
            self._offered = False
            self._taken = True

    @property
    def halted(self) -> bool:
        """Whether the CPU is in HLT."""
        return bool(self._state32[_HALTED])

    def is_runnable(self) -> bool:
        """Whether there is something to execute: it is not in HLT, or an interrupt wakes it."""
        return not self._state32[_HALTED] or self.will_wake()

    def will_wake(self) -> bool:
        """Whether an interrupt is offered and IF=1, so that `run` gets past HLT."""
        return bool(self._state32[_REQUEST] & self._offer_bit and self._state64[_EFLAGS] & FLAG_IF)

    # ------------------------------------------------------------ time

    def _set_ratio(self, num: int, den: int) -> None:
        if not 0 < num <= 1024 * den or not 0 < den < 1 << 32:  # the quotient must fit 64 bits
            raise ValueError(f"{num}/{den} ns per tick is outside what the counter can do")
        self._words[TSC_NUM], self._words[TSC_DEN] = num, den

    def _sync_tsc(self) -> None:
        """What RDTSC adds to ticks x num // den (or to the host's monotonic clock)."""
        words = self._words
        if self._virtual is not None:
            own = words[TICKS] * words[TSC_NUM] // words[TSC_DEN]
            words[TSC_OFFSET] = self._virtual.now_ns() - own
        elif self._real_clock is not None:
            pair = (ctypes.c_int64 * 2)()
            ctypes.CDLL(None).clock_gettime(_CLOCK_MONOTONIC, pair)
            words[TSC_OFFSET] = self._real_clock.now_ns() - (pair[0] * TSC_HZ + pair[1])

    # ------------------------------------------------------------ state

    def reset(self, entry: int, eax: int, ebx: int) -> None:
        """The state a multiboot loader leaves: 32-bit protected mode, flat, paging and IF off.

        [multiboot 1 3.2]. The segments are cached only: there is no GDT, no IDT and no stack.
        Ticks go on counting, and a requested stop stays requested.
        """
        self._load_engine({**self._initial, "eip": entry, "eax": eax, "ebx": ebx})

    def _load_engine(self, state: State) -> None:
        snapshot.load(self._require(), state)
        self._state32[_HALTED] = 0
        self._delivery.withdraw()
        self._offered = self._taken = False
        self._words[DEPTH] = 0
        self._words[control.DOUBLE_DEPTH] = 0
        self._alone = _NOTHING
        self.shutdown = None

    def save(self) -> State:
        """The whole state as plain data; between runs only."""
        pending = self._delivery.pending
        return {
            "version": 2,
            "registers": snapshot.save(self._require()),
            "ticks": self.ticks,
            "tsc_offset_ns": int(self._words[TSC_OFFSET]),
            "halted": self.halted,
            "is_shut_down": self.shutdown is not None,
            "offered": self._delivery.vector if pending else None,
            "taken": self._taken or (self._offered and not pending),
            "alone": self._alone,
        }

    def load(self, state: State) -> None:
        """Take back what `save` gave, RAM having been restored first. Raises ValueError."""
        if state.get("version") != 2:
            raise ValueError(f"saved CPU has version {state.get('version')}, we read 2")
        ticks, offset, offered = state["ticks"], state["tsc_offset_ns"], state["offered"]
        if not isinstance(ticks, int) or not 0 <= ticks < _MOST_TICKS:
            raise ValueError("saved CPU: ticks are malformed")
        if not isinstance(offset, int) or not -(1 << 63) <= offset < 1 << 63:
            raise ValueError("saved CPU: tsc_offset_ns is malformed")
        alone = state["alone"]
        if not isinstance(alone, int) or not 0 <= alone <= _NOTHING:
            raise ValueError("saved CPU: alone is malformed")
        if offered is not None and (not isinstance(offered, int) or not 0 <= offered <= 255):
            raise ValueError("saved CPU: the offered vector is malformed")
        snapshot.check(state["registers"])
        self._load_engine(state["registers"])
        self._words[TICKS] = ticks
        self._words[TSC_OFFSET] = offset
        self._state32[_HALTED] = int(bool(state["halted"]))
        if state["is_shut_down"]:
            self.shutdown = self._explain("The saved machine had shut down", (), "see its log")
        if offered is not None:
            self.post(offered)
        self._taken = bool(state["taken"])
        self._alone = state["alone"]

    @property
    def _alone(self) -> int:
        """The linear address of the instruction that is to be executed in a block of its own, all
        ones for none: a data watchpoint or the end of a page made it so."""
        return int(self._state64[_ALONE])

    @_alone.setter
    def _alone(self, linear: int) -> None:
        state64 = self._state64
        state64[_ALONE] = linear
        is_here = (state64[_EIP] + state64[_CS_BASE]) & 0xFFFFFFFF == linear
        self._state32[layout.CPU_NEXT_BLOCK // 4] = 1 if is_here else 0xFFFFFFFF

    def flush(self) -> None:
        """Forget translated code: call after the host wrote code into RAM."""
        self._require().flush()

    # ------------------------------------------------------------ looking at the guest

    def translate(self, virtual: int) -> int | None:
        """The guest-physical address behind a virtual one, or None; no side effects."""
        found = walk(self.registers, self._memory, virtual)
        return found.physical if isinstance(found, Mapping) else None

    def read_virtual(self, address: int, length: int) -> bytes:
        """A copy of the guest's memory. Raises `BadAddress` unless all of it is mapped RAM."""
        data = self._fetch(address, length)
        if len(data) < length:
            raise BadAddress(f"{(address + len(data)) & 0xFFFFFFFF:#010x} is not mapped to RAM")
        return data

    def _fetch(self, address: int, length: int) -> bytes:
        """As much as is mapped."""
        data = b""
        while len(data) < length:
            at = address + len(data)
            physical = self.translate(at)
            size = min(length - len(data), PAGE_BYTES - at % PAGE_BYTES)
            if physical is None or physical + size > self._memory.size:
                break
            data += self._memory.view[physical : physical + size]
        return data

    def disassemble(self, address: int, count: int) -> list[Instruction]:
        """Up to ``count`` instructions at a virtual address; fewer where memory ends."""
        return disassemble(self._fetch, address, count)

    def double_fault(self) -> Fault | None:
        """How the last double fault that the guest's own handler took came about, if any did."""
        depth = int(self._words[control.DOUBLE_DEPTH])
        if not depth:
            return None
        chain = read_chain(self._words, control.DOUBLE_CHAIN, depth)
        return self._explain("The guest double-faulted", chain)

    def _shut_down(self, status: int) -> Exit:
        """The engine cannot go on: a triple fault, or a fetch from where there is no RAM."""
        words = self._words
        if words[FLAGS] & FLAG_ERROR:
            self._flagged()
        if words[DEPTH]:
            chain = read_chain(words, control.CHAIN, words[DEPTH])
            self.shutdown = self._explain("Triple fault: the guest's CPU shut down", chain)
        elif status in (library.ERROR_FETCH_UNMAPPED, library.ERROR_FETCH_PROT):
            cause = "a jump or return to a wrong address"
            title = "The guest's CPU fetched code from where there is no RAM"
            self.shutdown = self._explain(title, (), cause)
        else:
            raise LeuloBug(f"the engine stopped: {library.describe(status)}")
        return Exit.SHUTDOWN

    def _explain(self, title: str, chain: tuple[Link, ...], cause: str | None = None) -> Fault:
        return explain(title, chain, self.registers, self._memory, self._fetch, cause)

    # ------------------------------------------------------------ end

    def close(self) -> None:
        """Free the emulator. The CPU cannot be used any more, its RAM can."""
        if self._engine is not None:
            engine = self._require()
            self._engine = None
            engine.close()
            self._exits.close()

    def __del__(self) -> None:
        if getattr(self, "_engine", None) is not None:
            self.close()

    @property
    def engine_handle(self) -> ctypes.c_void_p:
        """libunicorn's handle, for the self-test alone."""
        return self._handle

    def _require(self) -> Engine:
        """The engine, for what may not be done while it runs."""
        if self._engine is None:
            raise ValueError("this CPU is closed")
        if self._exits.is_running:
            raise LeuloBug("the CPU's state was touched from inside an exit: stop() it first")
        return self._engine


_SEGMENT_CODE: Final = 0x00CF_9B00  # present, DPL 0, 32-bit, page-granular, execute/read, accessed
_SEGMENT_DATA: Final = 0x00CF_9300
_HFLAGS_FLAT: Final = 0xB0  # CS32, SS32, PE
_FPCW_INITIAL: Final = 0x37F
_MXCSR_INITIAL: Final = 0x1F80


def _power_on(engine: Engine) -> State:
    """The registers of a CPU that a multiboot loader has just put into protected mode."""
    state = snapshot.save(engine)
    for name, value in state.items():
        if name in ("version", "msrs", "mtrrs"):
            continue
        state[name] = bytes(len(value)) if isinstance(value, bytes) else 0
    for name in ("es", "ss", "ds", "fs", "gs"):
        state[f"{name}_selector"], state[f"{name}_flags"] = 0x10, _SEGMENT_DATA
        state[f"{name}_limit"] = 0xFFFFFFFF
    state["cs_selector"], state["cs_flags"], state["cs_limit"] = 8, _SEGMENT_CODE, 0xFFFFFFFF
    state["tr_flags"] = 0x8B00  # a busy 32-bit TSS of no length, as at a reset but for the length
    state["eflags"] = 2
    state["hflags"] = _HFLAGS_FLAT
    state["cr0"] = 0x11  # PE, ET
    state["fpcw"], state["mxcsr"] = _FPCW_INITIAL, _MXCSR_INITIAL
    state["fptags"] = bytes((1,) * 8)
    state["dr6"], state["dr7"] = 0xFFFF0FF0, 0x400
    return state
