"""One instance of libunicorn: opened, its layout proven, RAM and the hole above it mapped.

It owns the handle and views of the structures behind it. What runs, and what an exit means, is
``core``'s; this file knows no ports, interrupts or time.
"""

from __future__ import annotations

import ctypes
import mmap
from functools import cache
from typing import Final

from leulo.cpu import cpuid, layout, library
from leulo.memory import PAGE_BYTES, Memory

TRANSLATION_BYTES: Final = 64 << 20
PHYSICAL_BITS: Final = 40  # what the CPU's page tables can express and its CPUID says
# Beyond the reach of the guest's page tables: where the engine reads a posted vector.
_VECTOR_PAGE: Final = 1 << PHYSICAL_BITS


@cache
def _prove_code() -> None:
    layout.prove_code()


class Engine:
    """A handle with RAM at zero. ``state`` is a memoryview of CPUState and the registers in it.

    Raises `EnvironmentProblem` if this libunicorn is not the one we know.
    """

    def __init__(self, memory: Memory) -> None:
        self.handle: ctypes.c_void_p = ctypes.c_void_p()
        lib = library.load()
        _prove_code()
        library.check(
            lib.uc_open(library.ARCH_X86, library.MODE_32, ctypes.byref(self.handle)), "open"
        )
        library.control(self.handle, library.CTL_CPU_MODEL, library.MODEL_QEMU64)
        library.control(self.handle, library.CTL_TCG_BUFFER_SIZE, TRANSLATION_BYTES)
        library.control(self.handle, library.CTL_TLB_TYPE, library.TLB_CPU)
        library.control(self.handle, library.CTL_USE_EXITS, 1)  # and none given: 0 is an address

        self._anchor = ctypes.c_char.from_buffer(memory.mapping)  # keeps the RAM where it is
        self._map(0, memory.size, ctypes.addressof(self._anchor), library.PROT_ALL)
        # Not ctypes' own buffer: the engine wants it aligned to a page.
        self._vector_page = mmap.mmap(-1, PAGE_BYTES)
        vector_anchor = ctypes.c_char.from_buffer(self._vector_page)
        self._map(_VECTOR_PAGE, PAGE_BYTES, ctypes.addressof(vector_anchor), library.PROT_READ)

        self.cpu = layout.cpu_address(self.handle)
        self.env = self.cpu + layout.CPU_ENV
        layout.prove_state(self.handle)
        self._raw = (ctypes.c_ubyte * (layout.CPU_ENV + layout.ENV_BYTES)).from_address(self.cpu)
        self.state: memoryview = memoryview(self._raw).cast("B")
        self.state32: memoryview = self.state.cast("I")
        self.state64: memoryview = self.state.cast("Q")
        self.vector: memoryview = memoryview(self._vector_page)[layout.VMCB_VECTOR :][:4].cast("I")
        self.state64[(layout.CPU_ENV + layout.ENV_VM_VMCB) // 8] = _VECTOR_PAGE
        # Exit requests are honoured at the start of a block only. Otherwise the engine looks after
        # every load and store, and executes the abandoned instruction again when it goes on.
        self._byte(layout.UC_NO_EXIT_REQUEST).value = 1
        cpuid.limit(self)

    def _map(self, address: int, size: int, host: int, rights: int) -> None:
        library.check(
            library.load().uc_mem_map_ptr(self.handle, address, size, rights, host),
            f"map {size} bytes at {address:#x}",
        )

    def _byte(self, offset: int) -> ctypes.c_ubyte:
        return ctypes.c_ubyte.from_address((self.handle.value or 0) + offset)

    def map_hole(self, start: int, read: int, write: int) -> None:
        """Hand every physical address from ``start`` on to two C functions (offset from it)."""
        size = (1 << PHYSICAL_BITS) - start
        library.check(
            library.load().uc_mmio_map(self.handle, start, size, read, None, write, None),
            "map the hole above RAM",
        )

    def set_stop_interrupt(self, function: int) -> None:
        """Which exceptions go to the hook for invalid instructions: uc.stop_interrupt."""
        place = (self.handle.value or 0) + layout.UC_STOP_INTERRUPT
        ctypes.c_uint64.from_address(place).value = function

    def write_register(self, number: int, value: int) -> None:
        """Through the public call, so that what the engine derives from it follows."""
        cell = ctypes.c_uint64(value)
        library.check(
            library.load().uc_reg_write(self.handle, number, ctypes.byref(cell)),
            f"register {number}",
        )

    def read_register(self, number: int) -> int:
        """Through the public call: 2 us, but flags are computed also in the middle of a run."""
        cell = ctypes.c_uint64()
        library.check(
            library.load().uc_reg_read(self.handle, number, ctypes.byref(cell)),
            f"register {number}",
        )
        return cell.value

    def flush(self) -> None:
        """Forget translated code and address translations."""
        library.control(self.handle, library.CTL_TLB_FLUSH)
        library.control(self.handle, library.CTL_TB_FLUSH)

    def close(self) -> None:
        """Free the instance; every view of it raises ValueError from now on."""
        if self.handle:
            for view in (self.state64, self.state32, self.state, self.vector):
                view.release()
            library.load().uc_close(self.handle)
            self.handle = ctypes.c_void_p()
            del self._anchor  # the RAM may be closed now
