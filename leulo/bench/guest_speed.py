"""What the CPU alone gives: instructions and hypercalls a second, without a kernel.

Both run a few bytes of machine code in real time, at the quantum of the run loop.
"""

from __future__ import annotations

from time import perf_counter_ns
from typing import Final

from leulo.bus import Bus
from leulo.clock import Clock, RealClock
from leulo.cpu import Cpu, Exit
from leulo.devices.gate import Gate
from leulo.hypercalls import Hypercalls, Limits, MachineInfo, abi
from leulo.irq import Line
from leulo.memory import Memory
from leulo.stack import Stack, StackConfig
from leulo.trace import Trace
from leulo.units import MIB, NS_PER_S

_CODE: Final = 0x10_0000
_CALL: Final = 0x20_0000
_HELLO: Final = 0x20_1000
_BUDGET_TICKS: Final = 400_000

# 1: add eax, ecx / xor edx, eax / lea ebx, [ebx+edx] / dec ecx / jnz 1b / mov ecx, N / jmp 1b
_LOOP: Final = bytes.fromhex("01c8 31c2 8d1c13 49 75f6 b900e1f505 ebef".replace(" ", ""))
_LOOP_INSNS: Final = 5
_LOOP_BYTES: Final = 10
# mov dx, 0x5e0 / mov eax, _CALL / 1: out dx, eax / jmp 1b
_CALLS: Final = bytes.fromhex("66bae005 b800002000 ef ebfd".replace(" ", ""))


def _cpu(memory: Memory, ports: Bus, clock: Clock, code: bytes) -> Cpu:
    cpu = Cpu(memory, ports, Bus("mmio"), clock=clock)
    memory.write(_CODE, code)
    cpu.flush()
    cpu.reset(_CODE, 0, 0)
    return cpu


def _run(cpu: Cpu, seconds: float) -> int:
    began = perf_counter_ns()
    end = began + int(seconds * NS_PER_S)
    while perf_counter_ns() < end:
        if cpu.run(_BUDGET_TICKS) is not Exit.BUDGET:
            raise RuntimeError("the benchmark's own loop stopped")
    return perf_counter_ns() - began


def mips(seconds: float = 0.5) -> int:
    """Million instructions a second of a tight loop, run in quanta."""
    cpu = _cpu(Memory(4 * MIB), Bus("port"), RealClock(perf_counter_ns), _LOOP)
    took_ns = _run(cpu, seconds)
    return cpu.ticks // _LOOP_BYTES * _LOOP_INSNS * 1000 // took_ns


def hypercalls_per_second(seconds: float = 0.5) -> int:
    """TIME hypercalls a second: OUT, the way into Python, dispatch and the answer."""
    memory = Memory(4 * MIB)
    clock = RealClock(perf_counter_ns)
    trace = Trace()
    address = bytes((10, 0, 2, 15))
    stack = Stack(
        StackConfig(name="bench", mac=bytes(6), address=address, prefix_length=24, gateway=None),
        lambda bits: 0,
        trace,
    )
    hypercalls = Hypercalls(
        stack, memory, Line(lambda level: None), clock, trace, Limits(),
        MachineInfo(address, 24, None, None, bytes(6)),
    )  # fmt: skip
    memory.write(_HELLO, abi.HELLO.size.to_bytes(4, "little") + b"\x01\0\0\0")
    for op, argument in ((abi.Op.HELLO, _HELLO), (abi.Op.TIME, 0)):
        memory.write(_CALL, bytes(abi.CALL_BYTES))
        memory.write(_CALL, op.to_bytes(2, "little") + abi.CALL_BYTES.to_bytes(2, "little"))
        memory.write(_CALL + abi.CALL.offset("args"), argument.to_bytes(8, "little"))
        hypercalls.call(_CALL)
    ports = Bus("port")
    calls = 0

    def count(where: int) -> None:
        nonlocal calls
        calls += 1
        hypercalls.call(where)

    ports.attach(abi.GATE_PORT, 4, "gate", Gate(count, abi.GATE_MAGIC))
    cpu = _cpu(memory, ports, clock, _CALLS)
    took_ns = _run(cpu, seconds)
    return calls * NS_PER_S // took_ns
