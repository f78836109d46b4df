"""Guest code as text, by capstone, which is loaded when the first instruction is wanted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

LONGEST_BYTES: Final = 15  # an x86 instruction [SDM 2 2.3.11]


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction at a virtual address; ``text`` is Intel syntax."""

    address: int
    code: bytes
    text: str

    def __str__(self) -> str:
        return f"{self.address:08x}  {self.code.hex(' '):<24}  {self.text}"


@cache
def _decoder() -> Any:
    import capstone

    return capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_32)


def disassemble(fetch: Callable[[int, int], bytes], address: int, count: int) -> list[Instruction]:
    """Up to ``count`` instructions from ``address`` on.

    ``fetch(address, length)`` gives as many bytes of the guest as are mapped. What cannot be
    decoded appears as one ``.byte`` and decoding goes on behind it; unmapped memory ends it.
    """
    found: list[Instruction] = []
    while len(found) < count:
        code = fetch(address, LONGEST_BYTES)
        if not code:
            break
        decoded = next(_decoder().disasm_lite(code, address, 1), None)
        if decoded is None:
            found.append(Instruction(address, code[:1], f".byte {code[0]:#04x}"))
            address += 1
        else:
            _, size, mnemonic, operands = decoded
            found.append(Instruction(address, code[:size], f"{mnemonic} {operands}".rstrip()))
            address += size
        address &= 0xFFFFFFFF
    return found
