"""What the CPU costs on this computer: ``python tests/cpu/bench_cpu.py``. Best of several."""

from __future__ import annotations

import struct
import subprocess
import sys
import time
from collections.abc import Callable

from guest_images import BASE, Guest

from leulo.cpu import Cpu, Exit, self_test
from leulo.memory import Memory

FOREVER = 1 << 50


class Nothing:
    """A target that does nothing."""

    def read(self, address: int, width: int) -> int:
        return 0

    def write(self, address: int, width: int, value: int) -> None:
        pass


def best(measure: Callable[[], float], times: int = 5) -> float:
    return min(measure() for _ in range(times))


def loop(code: str, count: int) -> float:
    """Seconds for one pass of ``count`` of: mov ecx,count; 1: code; dec ecx; jnz 1b; hlt."""
    body = bytes.fromhex(code)
    back = (-len(body) - 3) & 0xFF
    program = b"\xb9" + struct.pack("<I", count) + body + b"\x49\x75" + bytes((back,)) + b"\xf4"
    memory = Memory(8 << 20)
    memory.write(BASE, program)
    cpu = Cpu(memory, Nothing(), Nothing())

    def once() -> float:
        cpu.reset(BASE, 0, 0)
        began = time.perf_counter()
        assert cpu.run(FOREVER) is Exit.HALT
        return (time.perf_counter() - began) / count

    return best(once)


def round_trip() -> float:
    cpu = Guest("eb00 ebfe").cpu

    def once() -> float:
        began = time.perf_counter()
        for _ in range(10_000):
            cpu.run(1)
        return (time.perf_counter() - began) / 10_000

    return best(once)


def int80(count: int = 200_000) -> float:
    """INT 0x80 from ring 3 to a handler that is IRET alone."""
    guest = Guest(
        "0f011500b00000 0f011d10b00000 b828000000 0f00d8 6a23 6800002000 6802000000 6a1b"
        "6800021000 cf"
    )
    memory = guest.memory
    flat = (0, 0x00CF9B000000FFFF, 0x00CF93000000FFFF, 0x00CFFB000000FFFF, 0x00CFF3000000FFFF)
    memory.write(0xA804, struct.pack("<II", 0x80000, 0x10))
    memory.write(0xB000, struct.pack("<HI", 47, 0xA000))
    memory.write(0xB010, struct.pack("<HI", 2047, 0x9000))
    memory.write(0x9000 + 0x80 * 8, struct.pack("<HHHH", 0x8000, 8, 0xEE00, 0))
    memory.write(0x9000 + 0x0D * 8, struct.pack("<HHHH", 0x8010, 8, 0xEE00, 0))
    memory.write(0x8000, b"\xcf")
    memory.write(0x8010, b"\xf4")  # the user's HLT: #GP
    user = b"\xb9" + struct.pack("<I", count) + bytes.fromhex("cd80 49 75fb f4")
    memory.write(BASE + 0x200, user)

    def once() -> float:
        # Written anew: LTR marks the TSS busy and refuses a busy one.
        memory.write(0xA000, struct.pack("<6Q", *flat, 0x0000890000000067 | 0xA800 << 16))
        guest.cpu.reset(BASE, 0, 0)
        guest.cpu.registers.esp = BASE
        before = guest.cpu.exceptions
        began = time.perf_counter()
        assert guest.cpu.run(FOREVER) is Exit.HALT
        assert guest.cpu.exceptions - before == count + 1
        return (time.perf_counter() - began) / count

    return best(once)


def made() -> float:
    memory = Memory(16 << 20)

    def once() -> float:
        began = time.perf_counter()
        Cpu(memory, Nothing(), Nothing()).close()
        return time.perf_counter() - began

    return best(once)


def fresh(statement: str) -> float:
    """Milliseconds that a statement takes in a new process, best of five."""
    script = (
        "import time; began = time.perf_counter(); "
        f"{statement}; print((time.perf_counter() - began) * 1e3)"
    )

    def once() -> float:
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        )
        return float(done.stdout)

    return best(once)


def main() -> None:
    assert self_test().is_good
    add8 = "01c8 31c2 01d3 8d3408 29f7 21fd"  # six instructions, and DEC and JNZ
    print(f"OUT to a target that does nothing   {loop('e610', 100_000) * 1e6:8.3f} us")
    print(f"IN                                  {loop('e410', 100_000) * 1e6:8.3f} us")
    print(f"MMIO store                          {loop('a300000090', 100_000) * 1e6:8.3f} us")
    print(f"MMIO load                           {loop('a100000090', 100_000) * 1e6:8.3f} us")
    print(f"RDTSC                               {loop('0f31', 100_000) * 1e6:8.3f} us")
    print(f"run(1) and back                     {round_trip() * 1e6:8.3f} us")
    print(f"INT 0x80 from ring 3 and IRET       {int80() * 1e6:8.3f} us")
    print(f"loop of 2 instructions              {2e-6 / loop('', 20_000_000):8.0f} MIPS")
    print(f"loop of 8 instructions              {8e-6 / loop(add8, 20_000_000):8.0f} MIPS")
    print(f"a CPU made and freed                {made() * 1e3:8.3f} ms")
    start = fresh("from leulo.cpu import self_test; assert self_test().is_good")
    print(f"import                              {fresh('import leulo.cpu'):8.1f} ms")
    print(f"import, load, self-test             {start:8.1f} ms")


if __name__ == "__main__":
    main()
