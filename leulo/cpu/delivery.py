"""How exceptions and interrupts reach the guest's handlers.

``Delivery`` is the seam; ``Native`` lets the engine's own x86 code do it, called from the machine
code of ``thunks``. It keeps no state of its own beyond the INTR pin: the offer lies in the
engine's interrupt_request, which the engine clears when it takes the vector.
"""

from __future__ import annotations

import ctypes
from typing import Final, Protocol

from leulo.cpu import control, layout, library, thunks
from leulo.cpu.control import Control
from leulo.cpu.engine import Engine

_REQUEST: Final = layout.CPU_INTERRUPT_REQUEST // 4


class Delivery(Protocol):
    """What the CPU asks of a deliverer."""

    name: str
    pending: bool  # a vector is offered and not yet taken

    def offer(self, vector: int) -> None: ...

    def withdraw(self) -> None: ...


class Native:
    """Delivery by the engine's x86_cpu_do_interrupt: CPL, stack switch, error codes, #DF."""

    name = "native"

    def __init__(self, engine: Engine, shared: Control) -> None:
        words = shared.words
        words[control.CPU] = engine.cpu
        words[control.ENV] = engine.env
        words[control.KICK] = engine.cpu + layout.CPU_ICOUNT_HIGH
        words[control.EMU_STOP] = library.address_of(layout.EMU_STOP)
        words[control.DELIVER] = library.address_of(layout.DELIVER)
        words[control.RAISE] = library.address_of(layout.RAISE)
        words[control.BREAKPOINT] = library.address_of(layout.BREAKPOINT)
        code = thunks.install()
        handle, data = engine.handle, shared.address

        def hook(kind: int, piece: str, instruction: int = 0) -> None:
            library.add_hook(handle, kind, code[piece], data, instruction)

        hook(library.HOOK_BLOCK, "block")
        hook(library.HOOK_INTR, "interrupt")
        hook(library.HOOK_INSN_INVALID, "invalid")
        hook(library.HOOK_INSN, "out", library.INSN_OUT)
        hook(library.HOOK_INSN, "in", library.INSN_IN)
        hook(library.HOOK_INSN, "undefined", library.INSN_SYSENTER)
        hook(library.HOOK_INSN, "undefined", library.INSN_SYSCALL)
        engine.set_stop_interrupt(code["stops"])
        self._state32 = engine.state32
        self._vector = engine.vector

    @property
    def pending(self) -> bool:
        return self._state32[_REQUEST] & layout.INTERRUPT_VIRQ != 0

    def offer(self, vector: int) -> None:
        """Offer a vector at INTR; it is taken where IF=1 and no STI shadow lies [SDM 3 6.8]."""
        self._vector[0] = vector
        self._state32[_REQUEST] |= layout.INTERRUPT_VIRQ

    def withdraw(self) -> None:
        self._state32[_REQUEST] &= ~layout.INTERRUPT_VIRQ & 0xFFFFFFFF


def hook_tsc(engine: Engine, shared: Control, *, host: bool) -> None:
    """RDTSC counts nanoseconds: of the host's monotonic clock, or of ticks by their ratio."""
    if host:
        libc = ctypes.CDLL(None)
        address = ctypes.cast(libc.clock_gettime, ctypes.c_void_p).value or 0
        shared.words[control.CLOCK] = address
    piece = "clock_tsc" if host else "tick_tsc"
    code = thunks.install()[piece]
    library.add_hook(engine.handle, library.HOOK_INSN, code, shared.address, library.INSN_RDTSC)
