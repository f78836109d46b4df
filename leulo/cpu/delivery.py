"""How exceptions and interrupts reach the guest's handlers.

``Delivery`` is the seam. ``Native`` lets the engine's own x86 code do it, called from the machine
code of ``thunks``; ``portable`` does it in Python, to be read and compared with. Neither keeps
state beyond the INTR pin: an offer is a bit in the engine's interrupt_request, which is cleared
when the vector is taken.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Final, Literal, Protocol

from leulo.cpu import control, layout, library, sse, thunks, watchpoints
from leulo.cpu.control import Control
from leulo.cpu.engine import Engine
from leulo.cpu.portable import Portable
from leulo.memory import Memory

Deliverer = Literal["native", "portable"]

_REQUEST: Final = layout.CPU_INTERRUPT_REQUEST // 4


class Delivery(Protocol):
    """What the CPU asks of a deliverer."""

    @property
    def name(self) -> str: ...

    @property
    def request_bit(self) -> int:
        """The bit of interrupt_request that is set while a vector is offered and not taken."""

    @property
    def pending(self) -> bool: ...

    @property
    def vector(self) -> int:
        """The one offered last."""

    def offer(self, vector: int) -> None: ...

    def withdraw(self) -> None: ...

    def settle(self) -> None:
        """Between blocks, before and after the engine runs: take what the engine does not."""


class Native:
    """Delivery by the engine's x86_cpu_do_interrupt: CPL, stack switch, error codes, #DF."""

    name = "native"
    request_bit = layout.INTERRUPT_VIRQ

    def __init__(self, engine: Engine, shared: Control) -> None:
        shared.words[control.DELIVER] = library.address_of(layout.DELIVER)
        shared.words[control.BREAKPOINT] = library.address_of(layout.BREAKPOINT)
        code = thunks.install()
        for kind, piece in (
            (library.HOOK_INTR, "interrupt"),
            (library.HOOK_INSN_INVALID, "invalid"),
        ):
            library.add_hook(engine.handle, kind, code[piece], shared.address)
        engine.set_stop_interrupt(code["stops"])
        self._state32 = engine.state32
        self._vector = engine.vector

    @property
    def pending(self) -> bool:
        return self._state32[_REQUEST] & layout.INTERRUPT_VIRQ != 0

    @property
    def vector(self) -> int:
        return int(self._vector[0])

    def offer(self, vector: int) -> None:
        """Offer a vector at INTR; it is taken where IF=1 and no STI shadow lies [SDM 3 6.8]."""
        self._vector[0] = vector
        self._state32[_REQUEST] |= layout.INTERRUPT_VIRQ

    def withdraw(self) -> None:
        self._state32[_REQUEST] &= ~layout.INTERRUPT_VIRQ & 0xFFFFFFFF

    def settle(self) -> None:
        """The engine takes interrupts itself."""


def open_delivery(
    name: Deliverer,
    engine: Engine,
    shared: Control,
    memory: Memory,
    fail: Callable[[BaseException], None],
) -> Delivery:
    """The deliverer called ``name``; ``fail`` ends the run with an exception of Python's."""
    if name == "native":
        return Native(engine, shared)
    if name == "portable":
        return Portable(engine, shared, memory, fail)
    raise ValueError(f"{name!r} is not a deliverer: native or portable")


def hook_instructions(engine: Engine, shared: Control) -> None:
    """What every CPU has: port I/O for ring 0, no SYSENTER and SYSCALL, data watchpoints, all of
    SSE."""
    watchpoints.install()
    sse.install()
    words = shared.words
    words[control.CPU] = engine.cpu
    words[control.ENV] = engine.env
    words[control.KICK] = engine.cpu + layout.CPU_ICOUNT_HIGH
    words[control.EMU_STOP] = library.address_of(layout.EMU_STOP)
    words[control.RAISE] = library.address_of(layout.RAISE)
    code = thunks.install()
    for kind, piece, instruction in (
        (library.HOOK_INSN, "out", library.INSN_OUT),
        (library.HOOK_INSN, "in", library.INSN_IN),
        (library.HOOK_INSN, "undefined", library.INSN_SYSENTER),
        (library.HOOK_INSN, "undefined", library.INSN_SYSCALL),
    ):
        library.add_hook(engine.handle, kind, code[piece], shared.address, instruction)


def hook_blocks(engine: Engine, shared: Control, *, by_level: bool) -> int:
    """Charge blocks, by privilege level too if that is wanted; returns the hook."""
    piece = thunks.install()["block_levels" if by_level else "block"]
    return library.add_hook(engine.handle, library.HOOK_BLOCK, piece, shared.address)


def hook_tsc(engine: Engine, shared: Control, *, host: bool) -> None:
    """RDTSC counts nanoseconds: of the host's monotonic clock, or of ticks by their ratio."""
    if host:
        libc = ctypes.CDLL(None)
        address = ctypes.cast(libc.clock_gettime, ctypes.c_void_p).value or 0
        shared.words[control.CLOCK] = address
    piece = "clock_tsc" if host else "tick_tsc"
    code = thunks.install()[piece]
    library.add_hook(engine.handle, library.HOOK_INSN, code, shared.address, library.INSN_RDTSC)
