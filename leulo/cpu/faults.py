"""A double or triple fault as a page that a person can act on.

The chain of exceptions is noted by the machine code that delivers them; this module reads it and
says which one led to the next and, from the tables in guest memory, what most likely was wrong.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from leulo.cpu import control
from leulo.cpu.disasm import Instruction, disassemble
from leulo.cpu.paging import Unmapped, walk
from leulo.cpu.registers import CR0_PG, Registers
from leulo.memory import BadAddress, Memory

# [SDM 3 6.3]
NAMES: Final = {
    0: "#DE divide error",
    1: "#DB debug",
    2: "NMI",
    3: "#BP breakpoint",
    4: "#OF overflow",
    5: "#BR bound range",
    6: "#UD invalid opcode",
    7: "#NM device not available",
    8: "#DF double fault",
    10: "#TS invalid TSS",
    11: "#NP segment not present",
    12: "#SS stack-segment fault",
    13: "#GP general protection",
    14: "#PF page fault",
    16: "#MF x87 error",
    17: "#AC alignment check",
    18: "#MC machine check",
    19: "#XM SIMD error",
}
_WITH_ERROR_CODE: Final = frozenset((8, 10, 11, 12, 13, 14, 17))
_PAGE_FAULT: Final = 14
_INSTRUCTIONS: Final = 4
_GATE_BYTES: Final = 8

Symbolize = Callable[[int], str | None]


@dataclass(frozen=True, slots=True)
class Link:
    """One exception of the chain, as it was when its delivery began."""

    vector: int
    error_code: int
    eip: int
    cr2: int
    esp: int

    def describe(self) -> str:
        """One line: which, why, where."""
        name = NAMES.get(self.vector, f"vector {self.vector:#04x}")
        if self.vector == _PAGE_FAULT:
            return f"{name} at EIP {self.eip:08x}: {_page_fault(self.error_code, self.cr2)}"
        code = f", error code {self.error_code:#x}" if self.vector in _WITH_ERROR_CODE else ""
        return f"{name} at EIP {self.eip:08x}{code}"


@dataclass(frozen=True, slots=True)
class Fault:
    """Everything known of a fault the guest could not handle, in plain data."""

    title: str
    chain: tuple[Link, ...]
    cause: str
    registers: dict[str, int]
    code: tuple[Instruction, ...]

    def text(self, symbolize: Symbolize = lambda _address: None) -> str:
        """The page. ``symbolize`` names an address of the guest's code, or returns None."""
        r = self.registers

        def place(address: int) -> str:
            name = symbolize(address)
            return f"{address:08x} ({name})" if name else f"{address:08x}"

        lines = [self.title]
        lines += [
            f"  {'then ' if at else ''}{link.describe()}" for at, link in enumerate(self.chain)
        ]
        lines += [
            f"  likely cause: {self.cause}",
            f"  EIP {place(r['eip'])}  CPL {r['cpl']}  ESP {r['esp']:08x}  CR2 {r['cr2']:08x}",
            f"  EAX {r['eax']:08x}  EBX {r['ebx']:08x}  ECX {r['ecx']:08x}  EDX {r['edx']:08x}",
            f"  ESI {r['esi']:08x}  EDI {r['edi']:08x}  EBP {r['ebp']:08x}  EFL {r['eflags']:08x}",
            f"  CR0 {r['cr0']:08x}  CR3 {r['cr3']:08x}  CR4 {r['cr4']:08x}",
        ]
        lines += [f"  {'>' if at == 0 else ' '} {line}" for at, line in enumerate(self.code)]
        if not self.code:
            lines.append("    (no code is mapped at EIP)")
        return "\n".join(lines)


def _page_fault(error_code: int, cr2: int) -> str:
    """A page fault's error code in words [SDM 3 4.7]."""
    what = "fetch" if error_code & 16 else "write" if error_code & 2 else "read"
    why = "a reserved bit is set" if error_code & 8 else (
        "the page forbids it" if error_code & 1 else "the page is not present"
    )  # fmt: skip
    return f"{what} of {cr2:08x} by CPL {3 if error_code & 4 else 0}, {why}"


def read_chain(words: memoryview, first: int, depth: int) -> tuple[Link, ...]:
    """The links noted from word ``first`` on; the oldest are overwritten beyond four."""
    links = []
    for number in range(max(0, depth - control.CHAIN_ENTRIES), depth):
        at = first + number % control.CHAIN_ENTRIES * control.CHAIN_WORDS
        vector, error = struct.unpack("<Ii", struct.pack("<q", words[at]))
        eip, cr2, esp = (int(word) & 0xFFFFFFFF for word in words[at + 1 : at + 4])
        links.append(Link(vector, error, eip, cr2, esp))
    return tuple(links)


def explain(
    title: str,
    chain: Sequence[Link],
    registers: Registers,
    memory: Memory,
    fetch: Callable[[int, int], bytes],
    cause: str | None = None,
) -> Fault:
    """Gather the page from the state as it is now."""
    state = registers.as_dict()
    return Fault(
        title,
        tuple(chain),
        cause or _likely_cause(chain, registers, memory),
        state,
        tuple(disassemble(fetch, state["eip"], _INSTRUCTIONS)),
    )


def _likely_cause(chain: Sequence[Link], registers: Registers, memory: Memory) -> str:
    """Why the first exception's handler could not be entered: gate, stack, or tables."""
    if not chain:
        return "an exception was raised while a double fault was being delivered"
    vector = chain[0].vector
    _, base, limit, _ = registers.segment("idt")
    gate_at = base + vector * _GATE_BYTES
    if vector * _GATE_BYTES + _GATE_BYTES - 1 > limit:
        return f"the IDT ends at {limit + 1:#x} bytes and has no gate for vector {vector:#04x}"
    found = walk(registers, memory, gate_at)
    if isinstance(found, Unmapped):
        return f"the IDT at {base:08x} is not mapped: {found.reason}"
    try:
        gate = memory.read(found.physical, _GATE_BYTES)
    except BadAddress:
        return f"the IDT at {base:08x} is not in RAM"
    low, selector, _, access, high = struct.unpack("<HHBBH", gate)
    if not access & 0x80:
        return f"the gate of vector {vector:#04x} in the IDT at {base:08x} is not present"
    handler = high << 16 | low
    if registers.cpl == 0:
        esp = (chain[0].esp - 4) & 0xFFFFFFFF
        stack = walk(registers, memory, esp)
        if isinstance(stack, Unmapped):
            return f"the stack at {esp:08x} is not mapped: {stack.reason}"
        if not stack.is_writable:
            return f"the stack at {esp:08x} is on a page that cannot be written"
    elif registers.tr & 0xFFFC == 0:
        return "there is no TSS, so no stack for a handler outside ring 3"
    target = walk(registers, memory, handler)
    if isinstance(target, Unmapped) and registers.cr0 & CR0_PG:
        return f"the handler at {handler:08x} is not mapped: {target.reason}"
    return f"the handler {selector:#x}:{handler:08x} could not be entered: look at GDT, TSS, stack"
