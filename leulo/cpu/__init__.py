"""The emulated x86 CPU: run slices, exceptions, interrupts, page walk, disassembly.

The only package that uses unicorn, and only through its C library. It knows guest RAM, two buses
and a clock. Read ``core`` first, then ``thunks`` for what runs at every block of guest code.
"""

from leulo.cpu.core import TSC_HZ, Cpu, Exit
from leulo.cpu.exits import ExitTarget
from leulo.cpu.faults import Fault
from leulo.cpu.selftest import SelfTest, self_test

__all__ = ["TSC_HZ", "Cpu", "Exit", "ExitTarget", "Fault", "SelfTest", "self_test"]
