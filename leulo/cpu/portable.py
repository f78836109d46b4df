"""Exceptions and interrupts delivered in Python: the readable reference for ``native``.

What happens between an exception and the first instruction of its handler [SDM 3 6.12], step by
step, on a view of the engine's registers and on guest RAM; about 25 us each. No machine code of
ours and none of the engine's takes part in a delivery. A fault on the way is a Python exception
that leads to the next delivery, #DF or shutdown [SDM 3 6.15]. The order of reads and writes is that
of ``native``, so memory, accessed bits and ticks agree; the conformance kernel compares the two.

Refused readably: task gates, and exceptions in real mode. Not as in ``native``: a stack, table or
TSS outside RAM reads as ones and forgets writes; translated code on the stack's page stays.
Counting blocks, the ring check of port I/O and RDTSC remain the machine code of ``thunks``.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Final

from leulo.cpu import control, layout, library, thunks
from leulo.cpu.control import CHAIN, DEPTH, DOUBLE_CHAIN, DOUBLE_DEPTH, FLAGS, GRANT, LIMIT, TICKS
from leulo.cpu.engine import Engine
from leulo.cpu.fetch import Fetch
from leulo.cpu.registers import FLAG_TF, Registers
from leulo.cpu.supervisor import INVALID_TSS, PRESENT, Raised, Supervisor, base_of, limit_of
from leulo.cpu.supervisor import PAGE_FAULT as _PF
from leulo.cpu.watchpoints import take_hits
from leulo.errors import GuestFault
from leulo.memory import Memory

OFFER: Final = 1 << 30  # a bit of interrupt_request that the engine does not look at

_DE, _DB, _DF, _NP, _GP = 0, 1, 8, 11, 13
_CONTRIBUTORY: Final = frozenset((_DE, INVALID_TSS, _NP, 12, _GP))
_WITH_CODE: Final = frozenset((_DF, INVALID_TSS, _NP, 12, _GP, _PF, 17))
_DPL, _SYSTEM, _BIG = 13, 1 << 12, 1 << 22
_CODE, _CONFORMING, _WRITABLE = 1 << 11, 1 << 10, 1 << 9
_IF, _NT, _RF, _VM = 1 << 9, 1 << 14, 1 << 16, 1 << 17
_HF_INHIBIT, _HF_CS32, _HF_SS32, _HF_ADDSEG = 1 << 3, 1 << 4, 1 << 5, 1 << 6
_BREAKPOINT: Final = 0x10002  # the engine's EXCP_DEBUG

_ENV: Final = layout.CPU_ENV
_REQUEST: Final = layout.CPU_INTERRUPT_REQUEST // 4
_HFLAGS: Final = (_ENV + layout.ENV_HFLAGS) // 4
_EFLAGS: Final = (_ENV + layout.ENV_EFLAGS) // 8
_EIP: Final = (_ENV + layout.ENV_EIP) // 8
_ESP: Final = (_ENV + layout.ENV_REGS) // 8 + 4
_CR2: Final = (_ENV + layout.ENV_CR) // 8 + 2
_DR6: Final = (_ENV + layout.ENV_DR) // 8 + 6
_INDEX: Final = {"cs": 1, "ss": 2}

_INTERRUPT = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p)
_INVALID = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p, ctypes.c_void_p)


class Portable:
    """The deliverer. ``fail`` takes what must end the run (`Exits.fail`)."""

    name = "portable"
    request_bit = OFFER

    def __init__(
        self,
        engine: Engine,
        shared: control.Control,
        memory: Memory,
        fail: Callable[[BaseException], None],
    ) -> None:
        self._engine = engine
        self._words = shared.words
        self._flag_bytes = shared.words.cast("B")
        self._registers = Registers(engine)
        self._space = Supervisor(self._registers, memory)
        self._fetch = Fetch(engine, shared, self._registers)
        self._state32, self._state64 = engine.state32, engine.state64
        self.vector = 0
        self._stop = library.load().uc_emu_stop

        def interrupt(_uc: int, vector: int, _data: int) -> None:
            try:
                self._debug() if vector == _BREAKPOINT else self._exception(vector)
            except BaseException as error:
                fail(error)
                self._stop(engine.handle)

        def invalid(_uc: int, _data: int) -> bool:
            is_opcode = self._state32[layout.CPU_EXCEPTION_INDEX // 4] == 6
            interrupt(0, 6 if is_opcode else _BREAKPOINT, 0)
            return True

        self._callbacks = (_INTERRUPT(interrupt), _INVALID(invalid))
        kinds = (library.HOOK_INTR, library.HOOK_INSN_INVALID)
        for kind, callback in zip(kinds, self._callbacks, strict=True):
            address = ctypes.cast(callback, ctypes.c_void_p).value or 0
            library.add_hook(engine.handle, kind, address, 0)
        engine.set_stop_interrupt(thunks.install()["stops"])

    # ------------------------------------------------------------ the INTR pin

    @property
    def pending(self) -> bool:
        return self._state32[_REQUEST] & OFFER != 0

    def offer(self, vector: int) -> None:
        """While a vector is offered, the run stops at every block and `settle` looks at it."""
        self.vector = vector
        self._state32[_REQUEST] |= OFFER
        self._flag_bytes[8 * FLAGS + 1] = 1  # FLAG_OFFER; a byte, lest another thread's bit is lost

    def withdraw(self) -> None:
        self._state32[_REQUEST] &= ~OFFER
        self._flag_bytes[8 * FLAGS + 1] = 0

    def settle(self) -> None:
        """Between blocks: take the offer if the CPU listens, or look again a block later."""
        words, state32 = self._words, self._state32
        if not state32[_REQUEST] & OFFER:
            return
        self._flag_bytes[8 * FLAGS + 1] = 1
        if not self._state64[_EFLAGS] & _IF or state32[_HFLAGS] & _HF_INHIBIT:
            words[LIMIT] = min(words[GRANT], words[TICKS] + 1)
            return
        state32[layout.CPU_HALTED // 4] = 0  # it wakes
        try:
            self._enter(self.vector, 0, self._state64[_EIP], is_software=False, has_code=False)
        except Raised as fault:  # the offer stays
            self._deliver(fault.vector, fault.code, is_software=False)
        else:
            self.withdraw()
        words[LIMIT] = words[GRANT]
        if words[FLAGS]:
            words[LIMIT] = words[TICKS] + 1

    # ------------------------------------------------------------ exceptions

    def _exception(self, vector: int) -> None:
        """The engine raised ``vector``; behind a software interrupt EIP is the next instruction."""
        if vector == _PF and self._fetch.is_tried_alone():
            return
        at = _ENV // 4
        code = self._state32[at + layout.ENV_ERROR_CODE // 4]
        is_software = self._state32[at + layout.ENV_EXCEPTION_IS_INT // 4] != 0
        self._state32[at + layout.ENV_OLD_EXCEPTION // 4] = 0xFFFFFFFF  # we keep that account
        self._deliver(vector, code, is_software)

    def _debug(self) -> None:
        """A watchpoint or an instruction breakpoint: DR6 says which [SDM 3 17.2.3]."""
        state = self._state64
        if hit := take_hits(self._state32, state):
            state[_DR6] = state[_DR6] & ~0xF | hit
        self._deliver(_DB, 0, is_software=False)

    def _deliver(self, vector: int, code: int, is_software: bool) -> None:
        """One exception and whatever its delivery leads to."""
        state, words = self._state64, self._words
        before = None if is_software else vector
        resume = state[_EIP]
        if is_software:  # EIP back at the instruction, in case its delivery faults
            state[_EIP] = resume - (1 if vector in (3, 4) else 2)
        while True:
            self._note(vector, code)
            try:
                next_eip = resume if is_software else state[_EIP]
                self._enter(vector, code, next_eip, is_software, vector in _WITH_CODE)
            except Raised as fault:
                is_software = False
                if before == _DF:
                    self._stop(self._engine.handle)  # a third fault: shutdown, and DEPTH tells it
                    return
                vector, code = fault.vector, fault.code
                if (before in _CONTRIBUTORY and vector in _CONTRIBUTORY) or (
                    before == _PF and (vector in _CONTRIBUTORY or vector == _PF)
                ):
                    vector, code = _DF, 0
                if vector in _CONTRIBUTORY or vector in (_PF, _DF):
                    before = vector
            else:
                words[DEPTH] = 0
                return

    def _note(self, vector: int, code: int) -> None:
        """Charge for it, and keep it in the chain from which a fault is explained."""
        words, state = self._words, self._state64
        depth = words[DEPTH]
        at = CHAIN + depth % control.CHAIN_ENTRIES * control.CHAIN_WORDS
        words[at] = vector | (code & 0x7FFF_FFFF) << 32
        words[at + 1], words[at + 2], words[at + 3] = state[_EIP], state[_CR2], state[_ESP]
        words[DEPTH] = depth + 1
        words[control.EXCEPTIONS] += 1
        words[TICKS] += thunks.EXCEPTION_TICKS
        self._fetch.forget()
        if words[TICKS] >= words[GRANT] or words[FLAGS]:
            self._stop(self._engine.handle)
        if vector == _DF:
            words[DOUBLE_DEPTH] = depth + 1
            size = control.CHAIN_ENTRIES * control.CHAIN_WORDS
            words[DOUBLE_CHAIN : DOUBLE_CHAIN + size] = words[CHAIN : CHAIN + size]

    # ------------------------------------------------------------ one delivery

    def _enter(
        self, vector: int, code: int, next_eip: int, is_software: bool, has_code: bool
    ) -> None:
        """Through the gate, onto the handler's stack [SDM 3 6.12.1]. Raises Raised."""
        registers, state, state32 = self._registers, self._state64, self._state32
        if not registers.cr0 & 1:
            raise GuestFault("an exception in real mode: the portable deliverer cannot do that")
        _, table, limit, _ = registers.segment("idt")
        if vector * 8 + 7 > limit:
            raise Raised(_GP, vector * 8 + 2)
        low, high = (
            self._space.read(table + vector * 8, 4),
            self._space.read(table + vector * 8 + 4, 4),
        )
        kind = high >> 8 & 0x1F
        if kind == 5:
            raise GuestFault(
                f"vector {vector:#04x} leads to a task gate: the portable deliverer has no tasks"
            )
        if kind not in (6, 7, 14, 15):
            raise Raised(_GP, vector * 8 + 2)
        cpl = registers.cpl
        if is_software and high >> _DPL & 3 < cpl:
            raise Raised(_GP, vector * 8 + 2)
        if not high & PRESENT:
            raise Raised(_NP, vector * 8 + 2)
        selector, offset = low >> 16, high & 0xFFFF0000 | low & 0xFFFF
        if not selector & 0xFFFC:
            raise Raised(_GP, 0)
        cs = self._space.descriptor(selector, _GP)
        dpl = cs[1] >> _DPL & 3
        if not cs[1] & _SYSTEM or not cs[1] & _CODE or dpl > cpl:
            raise Raised(_GP, selector & 0xFFFC)
        if not cs[1] & PRESENT:
            raise Raised(_NP, selector & 0xFFFC)
        if cs[1] & _CONFORMING:
            dpl = cpl

        is_vm86 = state[_EFLAGS] & _VM != 0
        old_ss, base, _, ss_flags = registers.segment("ss")
        esp = old_esp = state[_ESP] & 0xFFFFFFFF
        ss = (0, ss_flags)
        new_ss = 0
        if dpl < cpl:
            new_ss, esp = self._space.stack_of(dpl)
            ss = self._space.descriptor(new_ss, INVALID_TSS) if new_ss & 0xFFFC else (0, 0)
            good = PRESENT | _SYSTEM | _WRITABLE
            if ss[1] & (good | _CODE) != good or new_ss & 3 != dpl or ss[1] >> _DPL & 3 != dpl:
                raise Raised(INVALID_TSS, new_ss & 0xFFFC)
            base = base_of(ss)
        elif is_vm86:
            raise Raised(_GP, selector & 0xFFFC)

        frame = []
        if dpl < cpl:
            if is_vm86:
                frame += [registers.gs, registers.fs, registers.ds, registers.es]
            frame += [old_ss, old_esp]
        frame += [registers.eflags, registers.cs, next_eip & 0xFFFFFFFF]
        if has_code and not is_software:
            frame.append(code)
        mask = 0xFFFFFFFF if ss[1] & _BIG else 0xFFFF
        size = 4 if kind & 8 else 2
        for value in frame:
            esp -= size
            self._space.write((base + (esp & mask)) & 0xFFFFFFFF, value, size)

        # Nothing fails from here on.
        flags = state[_EFLAGS] & ~(FLAG_TF | _VM | _RF | _NT)
        state[_EFLAGS] = flags if kind & 1 else flags & ~_IF
        if dpl < cpl:
            if is_vm86:
                for at in (0, 3, 4, 5):  # ES DS FS GS
                    place = (_ENV + layout.ENV_SEGMENTS + at * layout.SEGMENT_BYTES) // 4
                    for word in (0, 2, 4, 5):
                        state32[place + word] = 0
            self._load("ss", new_ss & ~3 | dpl, base, limit_of(ss), ss[1])
        state[_ESP] = state[_ESP] & ~mask & 0xFFFFFFFF | esp & mask
        self._load("cs", selector & ~3 | dpl, base_of(cs), limit_of(cs), cs[1])
        state[_EIP] = offset

    def _load(self, name: str, selector: int, base: int, limit: int, flags: int) -> None:
        """A segment register, and what the engine derives from it."""
        registers, words = self._registers, self._state32
        at = (_ENV + layout.ENV_SEGMENTS + _INDEX[name] * layout.SEGMENT_BYTES) // 4
        words[at], words[at + 2], words[at + 3] = selector, base, 0
        words[at + 4], words[at + 5] = limit, flags
        hidden = words[_HFLAGS]
        if name == "cs":
            hidden = hidden & ~_HF_CS32 | (_HF_CS32 if flags & _BIG else 0)
        elif name == "ss":
            hidden = hidden & ~3 | flags >> _DPL & 3
        hidden &= ~(_HF_SS32 | _HF_ADDSEG)
        if registers.segment("ss")[3] & _BIG:
            hidden |= _HF_SS32
        is_flat = not any(registers.segment(each)[1] for each in ("ds", "es", "ss"))
        if self._state64[_EFLAGS] & _VM or not hidden & _HF_CS32 or not is_flat:
            hidden |= _HF_ADDSEG
        words[_HFLAGS] = hidden
