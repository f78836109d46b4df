"""Does this emulator do what we build on? A few milliseconds, once per process.

A guest of 124 bytes takes a fault, a fault with an error code, a software and a hardware interrupt,
is asked to stop in the middle of an instruction that stores, halts, wakes, and runs for an exact
number of ticks; another of 61 has a word watched while it writes to it; one of 52 divides zero by
zero and has an aligned move go astray. Every figure is compared; a CPU is not made where one of
them differs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from leulo.cpu import library
from leulo.cpu.core import Cpu, Exit
from leulo.cpu.delivery import Deliverer
from leulo.errors import EnvironmentProblem, LeuloBug
from leulo.memory import Memory

_RAM_BYTES: Final = 0x10000
_CODE: Final = 0x1000
_IDT: Final = 0x2000
_GATES: Final = {1: 0x3038, 0x80: 0x1041, 6: 0x1043, 13: 0x1049, 0x20: 0x104F}
_TIMER: Final = 0x20
WATCHING: Final = 0x3000
VECTORS: Final = 0x3080

# 1000        lgdt [gdtr]; lidt [idtr]; mov esp, 0x6000; ljmp 8:1f
# 101a  1:    mov eax, 0x10; mov ss, eax; mov ds, eax; mov es, eax
# 1025        int 0x80
# 1027        ud2
# 1029        mov eax, 0x77; mov gs, eax       ; #GP(0x74): beyond the GDT
# 1030        inc dword [0x100000]             ; MMIO, whose write asks for a stop
# 1036        sti; nop; out 0x10, al; nop; jmp 2f   ; the write posts an interrupt
# 103d  2:    hlt
# 103e  3:    inc ecx; jmp 3b
# 1041  soft: inc ebx; iret
# 1043  ud:   add dword [esp], 2; inc esi; iret
# 1049  gp:   pop ebp; add dword [esp], 2; iret
# 104f  irq:  inc edi; iret
# 1058  gdt:  0, code, data    1070 gdtr: 23, gdt    1076 idtr: 0x407, 0x2000
_PROGRAM: Final = bytes.fromhex(
    "0f0115701000000f011d76100000bc00600000ea1a1000000800b8100000008ed08ed88ec0"
    "cd800f0bb8770000008ee8ff0500001000fb90e61090eb00f441ebfd"
    "43cf8304240246cf5d83042402cf47cf8db42600000000"
    "0000000000000000ffff0000009bcf00ffff00000093cf00"
    "170058100000070400200000"
)

# 3000        lgdt [gdtr]; lidt [idtr]; mov esp, 0x6000
# 3013        mov eax, 0x4000; mov dr0, eax; mov eax, 0xd0401; mov dr7, eax   ; its writes
# 3023        xor edx, edx; mov ecx, [0x4000]; inc dword [0x4000]; mov ecx, [0x4000]; hlt
# 3038  db:   inc edx; mov esi, [esp]; iret
_WATCH: Final = bytes.fromhex(
    "0f0115701000000f011d76100000bc00600000b8004000000f23c0b801040d000f23f8"
    "31d28b0d00400000ff05004000008b0d00400000f4428b3424cf"
)

# 3080        lgdt [gdtr]; lidt [idtr]; mov esp, 0x6000; mov eax, 0x600; mov cr4, eax
# 309b        xorps xmm0, xmm0; divss xmm0, xmm0; stmxcsr [0x4000]
# 30a9        mov esi, 0x4004; mov ebp, esp
# 30b0        movaps xmm0, [esi]       ; #GP(0); "gp" goes on two bytes later, at 06: push es
# 30b3        hlt
_SSE: Final = bytes.fromhex(
    "0f0115701000000f011d76100000bc00600000b8000600000f22e0"
    "0f57c0f30f5ec00fae1d00400000be0440000089e50f2806f4"
)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing the emulator must do."""

    name: str
    expected: object
    found: object

    @property
    def is_good(self) -> bool:
        return self.expected == self.found


@dataclass(frozen=True, slots=True)
class SelfTest:
    """What was looked at; ``problem`` is a sentence if the emulator cannot be used at all."""

    checks: tuple[Check, ...]
    problem: str = ""

    @property
    def is_good(self) -> bool:
        return not self.problem and all(check.is_good for check in self.checks)

    def text(self) -> str:
        """A sentence: all is well, or what is wrong."""
        if self.problem:
            return self.problem
        bad = [f"{c.name}: expected {c.expected}, found {c.found}" for c in self.checks
               if not c.is_good]  # fmt: skip
        if bad:
            return "the emulated CPU fails its self-test (" + "; ".join(bad) + ")"
        return f"the emulated CPU passes its self-test ({len(self.checks)} checks)"


class _Ports:
    """Every write posts the timer's interrupt."""

    def __init__(self) -> None:
        self.cpu: Cpu

    def read(self, _address: int, _width: int) -> int:
        return 0

    def write(self, _address: int, _width: int, _value: int) -> None:
        self.cpu.post(_TIMER)


class _Mmio:
    """Counts writes, and asks the engine to stop at each."""

    def __init__(self) -> None:
        self.cpu: Cpu
        self.writes = 0

    def read(self, _address: int, _width: int) -> int:
        return 0

    def write(self, _address: int, _width: int, _value: int) -> None:
        self.writes += 1
        self.cpu.stop()
        library.load().uc_emu_stop(self.cpu.engine_handle)


_running = False
_passed: set[str] = set()


def ensure(deliverer: Deliverer = "native") -> None:
    """Run the self-test unless it has passed in this process. Raises `EnvironmentProblem`."""
    if deliverer in _passed or _running:
        return
    result = self_test(deliverer)
    if not result.is_good:
        raise EnvironmentProblem(result.text())


def self_test(deliverer: Deliverer = "native") -> SelfTest:
    """Look at the emulator; for the start of a process and for ``leulo doctor``."""
    global _running
    _running = True
    try:
        result = SelfTest(tuple(_checks(deliverer)))
    except (EnvironmentProblem, LeuloBug) as error:
        result = SelfTest((), str(error))
    finally:
        _running = False
    if result.is_good:
        _passed.add(deliverer)
    else:
        _passed.discard(deliverer)
    return result


def prepare(memory: Memory) -> None:
    """Put the guests and their interrupt table there."""
    memory.write(_CODE, _PROGRAM)
    memory.write(WATCHING, _WATCH)
    memory.write(VECTORS, _SSE)
    for vector, handler in _GATES.items():
        gate = handler | 8 << 16 | 0x8E00 << 32
        memory.write(_IDT + 8 * vector, gate.to_bytes(8, "little"))


def _checks(deliverer: Deliverer) -> list[Check]:
    memory = Memory(_RAM_BYTES)
    prepare(memory)
    ports, mmio = _Ports(), _Mmio()
    cpu = Cpu(memory, ports, mmio, deliverer=deliverer)
    ports.cpu = mmio.cpu = cpu
    try:
        cpu.reset(_CODE, 0, 0)
        registers = cpu.registers
        plenty = 10_000
        checks = [
            Check("a stop inside a store", Exit.STOP, cpu.run(plenty)),
            Check("a software interrupt", 1, registers.ebx),
            Check("an invalid opcode", 1, registers.esi),
            Check("an error code", 0x74, registers.ebp),
            Check("a halt", Exit.HALT, cpu.run(plenty)),
            Check("the store, once", 1, mmio.writes),
            Check("a hardware interrupt", 1, registers.edi),
            Check("its acknowledge", True, cpu.taken()),
        ]
        cpu.post(_TIMER)
        began = cpu.ticks
        checks += [
            Check("a spent budget", Exit.BUDGET, cpu.run(3000)),
            Check("a wake from HLT", 2, registers.edi),
            Check("the place of the stop", (3002, 1000), (cpu.ticks - began, registers.ecx)),
            Check("one more block", Exit.BUDGET, cpu.run(1)),
            Check("its cost", (3005, 1001), (cpu.ticks - began, registers.ecx)),
        ]
        cpu.reset(WATCHING, 0, 0)
        checks += [
            Check("the end of a watch", Exit.HALT, cpu.run(plenty)),
            Check("a watched write", (1, 0x3031), (registers.edx, registers.esi)),
        ]
        cpu.reset(VECTORS, 0, 0)
        checks += [
            Check("the end of SSE", Exit.HALT, cpu.run(plenty)),
            Check("MXCSR's flags", 0x1F81, int.from_bytes(memory.read(0x4000, 4), "little")),
            Check("an aligned move", 0, registers.ebp),
        ]
    finally:
        cpu.close()
        del ports.cpu, mmio.cpu
    return checks
