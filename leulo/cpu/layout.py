"""Where libunicorn 2.1.4 keeps the CPU: offsets, and the proof that this build has them there.

Unicorn's public calls neither deliver an exception nor tell its error code, so we read and write
the emulator's own structures. A wrong offset would corrupt memory silently, hence two proofs:

* `prove_code` finds the offsets in the machine code of exported functions (what the library
  itself uses) and compares them with the constants here, before anything is dereferenced;
* `prove_state` writes a sentinel into every register through the public calls and reads each
  back through the offsets.

Names are those of the library's source: ``uc`` is its handle (struct uc_struct), ``cpu`` the
CPUState behind it, ``env`` the CPUX86State inside that.
"""

from __future__ import annotations

import ctypes
import struct
from typing import Final

from leulo.cpu import library
from leulo.errors import EnvironmentProblem

# In uc.
UC_STOP_INTERRUPT: Final = 0xE0
UC_CPU: Final = 0x1B8
UC_NO_EXIT_REQUEST: Final = 0x7F2

# In cpu.
CPU_NEXT_BLOCK: Final = 0x18  # instructions of the next block, once; -1: as many as there are
CPU_INTERRUPT_REQUEST: Final = 0x1C
CPU_WATCHPOINT_HIT: Final = 0x8168
CPU_HALTED: Final = 0x8198
CPU_EXCEPTION_INDEX: Final = 0x81A0
CPU_CLASS: Final = 0x81B0
CLASS_UNALIGNED: Final = 0x18  # in that: what is called for an address that is not aligned
CPU_ICOUNT_HIGH: Final = 0x8A42  # negative: leave at the start of the next block
CPU_ENV: Final = 0x8A50

INTERRUPT_VIRQ: Final = 0x100  # bit in interrupt_request: a vector waits at vm_vmcb + 0x64
VMCB_VECTOR: Final = 0x64

# In env.
ENV_REGS: Final = 0x00  # eight (and eight unused) of 8 bytes, in the order of their encoding
ENV_EIP: Final = 0x80
ENV_EFLAGS: Final = 0x88  # complete between runs; during one the arithmetic flags are elsewhere
ENV_CC_SRC: Final = 0x98
ENV_CC_OP: Final = 0xA8
ENV_DF: Final = 0xAC
ENV_HFLAGS: Final = 0xB0
ENV_HFLAGS2: Final = 0xB4
ENV_SEGMENTS: Final = 0xB8  # ES CS SS DS FS GS LDT TR GDT IDT
SEGMENT_BYTES: Final = 24  # selector at 0, base at 8, limit at 16, flags at 20
ENV_CR: Final = 0x1A8
ENV_EFER: Final = 0x250
ENV_FPSTT: Final = 0x25C
ENV_FPUS: Final = 0x260
ENV_FPUC: Final = 0x262
ENV_FPTAGS: Final = 0x264
ENV_FPREGS: Final = 0x270
ENV_FP_FLAGS: Final = 0x30A
ENV_FP_FLUSH: Final = 0x30C  # whether results that are denormal become zero
ENV_SSE_FLAGS: Final = 0x32A
ENV_SSE_FLUSH: Final = 0x32C
ENV_MXCSR: Final = 0x330
ENV_XMM: Final = 0x338  # 64 bytes each, of which we have 16
# As many again, which it never touches: watchpoints of DR0 to DR3, 64 bytes each, and then
ENV_UNUSED_XMM: Final = ENV_XMM + 16 * 64
ENV_ALONE: Final = ENV_UNUSED_XMM + 256  # linear EIP of what is to be executed alone, or -1
ENV_ALONE_TICKS: Final = ENV_ALONE + 8  # TICKS when a fetch asked for that
ENV_STORE: Final = ENV_ALONE + 16  # where a store begins whose second half is asked for next, or 0
ENV_MSRS: Final = 0x12C0
ENV_MSRS_END: Final = 0x14D0
ENV_ERROR_CODE: Final = 0x1508
ENV_EXCEPTION_IS_INT: Final = 0x150C
ENV_EXCEPTION_NEXT_EIP: Final = 0x1510
ENV_DR: Final = 0x1518
ENV_WATCHPOINTS: Final = 0x1558  # pointers, of DR0 to DR3
ENV_OLD_EXCEPTION: Final = 0x1578
ENV_VM_VMCB: Final = 0x1580
ENV_CPUID_LEVEL: Final = 0x15E4
ENV_CPUID_XLEVEL: Final = 0x15E8
ENV_FEATURES: Final = 0x1600
ENV_CPUID_MODEL: Final = 0x1820
ENV_MTRRS: Final = 0x18B0
ENV_MTRRS_END: Final = 0x1990
ENV_BYTES: Final = 0x1B60

CC_OP_EFLAGS: Final = 1

# In the translator's contexts: DisasContext, of a block, and TCGContext, of a CPU.
DISAS_PREFIX: Final = 0x2C
DISAS_START: Final = 0x38  # of the instruction, linear
DISAS_ADDRESS: Final = 0xD8  # of its operand in memory, as a temporary
DISAS_UC: Final = 0x1F0
TCG_LAST: Final = 0x7390  # the operation emitted last: its links, behind which its arguments are
TCG_ENV: Final = 0x98F0
TCG_LOAD_32: Final = 0x47  # an operation

# Functions of the library that the machine code of ``thunks`` calls.
DELIVER: Final = "x86_cpu_do_interrupt_x86_64"
RAISE: Final = "raise_exception_err_x86_64"
BREAKPOINT: Final = "breakpoint_handler_x86_64"
TRANSLATOR: Final = "gen_intermediate_code_x86_64"  # what it calls lies before it
EMU_STOP: Final = "uc_emu_stop"
UPDATE_DR7: Final = "cpu_x86_update_dr7_x86_64"

# (function, where in it, opcode bytes, the offset that follows them in 4 bytes).
_EVIDENCE: Final = (
    ("helper_check_exit_request_x86_64", 0, "4c8b87", UC_CPU),
    ("helper_check_exit_request_x86_64", 7, "418b80", CPU_ICOUNT_HIGH - 2),
    ("check_exit_request_x86_64", 7, "80be", UC_NO_EXIT_REQUEST),
    ("do_interrupt_x86_hardirq_x86_64", 3, "4881ef", CPU_ENV),
    ("cpu_exec_x86_64", 421, "c743", 0xFFFFFF00 | CPU_NEXT_BLOCK),  # with the -1 behind it
    (BREAKPOINT, 11, "488b85", CPU_WATCHPOINT_HIT),
    (DELIVER, 1, "8bb7", CPU_EXCEPTION_INDEX),
    (DELIVER, 0x0A, "8b8f", CPU_ENV + ENV_ERROR_CODE),
    (DELIVER, 0x30, "8b97", CPU_ENV + ENV_EXCEPTION_IS_INT),
    (DELIVER, 0x36, "4c8b87", CPU_ENV + ENV_EXCEPTION_NEXT_EIP),
    (DELIVER, 0x45, "c783", CPU_ENV + ENV_OLD_EXCEPTION),
    ("x86_cpu_exec_interrupt_x86_64", 0x141, "488b85", CPU_ENV + ENV_VM_VMCB),
    ("helper_hlt_x86_64", 0x1D, "4801ab", ENV_EIP),
    ("helper_hlt_x86_64", 0x2B, "83a3", ENV_HFLAGS),
    ("helper_hlt_x86_64", 0x32, "c783", (CPU_HALTED - CPU_ENV) & 0xFFFFFFFF),
    (TRANSLATOR, -0x108BF, "488b87", DISAS_UC),
    (TRANSLATOR, -0x1086C, f"48894f{DISAS_START:02x}c747{DISAS_PREFIX:02x}", 0),
    (TRANSLATOR, -0x1C23C, "488b97", DISAS_ADDRESS),
    (TRANSLATOR, -0x1245, "41b8", ENV_MXCSR),
    (TRANSLATOR, -0x1238, "be", TCG_LOAD_32),
    (TRANSLATOR, -0x1233, "488b8f", TCG_ENV),
    ("tcg_emit_op_x86_64", 0x55, "488997", TCG_LAST),
    ("helper_le_stq_mmu_x86_64", 0xB0, "488b80", (CPU_CLASS - CPU_ENV) & 0xFFFFFFFF),
    ("update_mxcsr_status_x86_64", 0x45, "8887", ENV_FP_FLUSH),
    ("update_mxcsr_status_x86_64", 0x4B, "8897", ENV_SSE_FLUSH + 1),
)
_STOP_INTERRUPT_CODE: Final = bytes.fromhex("83fe060f94c0c3")  # cmp esi,6; sete al; ret

_REGISTERS: Final = (19, 22, 24, 21, 30, 20, 29, 23)  # UC_X86_REG_EAX, ECX, EDX, EBX, ESP, ...


def problem(what: str) -> EnvironmentProblem:
    """The sentence for a build of the library that is not ours."""
    return EnvironmentProblem(
        f"this build of libunicorn {library.VERSION} is not the one the emulated CPU knows "
        f"({what}): install the x86-64 Linux wheel of unicorn {library.VERSION} from PyPI."
    )


def prove_code() -> None:
    """Compare the offsets with the library's own machine code. Raises `EnvironmentProblem`."""
    for name, position, opcode, expected in _EVIDENCE:
        prefix = bytes.fromhex(opcode)
        code = ctypes.string_at(library.address_of(name) + position, len(prefix) + 4)
        if code != prefix + struct.pack("<I", expected):
            raise problem(f"{name} differs at byte {position}")


def cpu_address(handle: ctypes.c_void_p) -> int:
    """The CPUState behind an initialised handle; call after `prove_code`."""
    return ctypes.c_uint64.from_address((handle.value or 0) + UC_CPU).value


def prove_state(handle: ctypes.c_void_p) -> None:
    """Write sentinels through the public calls, find them through the offsets.

    The state of the CPU is lost, so this comes before a reset. Raises `EnvironmentProblem`.
    """
    write = library.load().uc_reg_write
    cpu = cpu_address(handle)
    env = cpu + CPU_ENV
    stop = ctypes.c_uint64.from_address((handle.value or 0) + UC_STOP_INTERRUPT).value
    if ctypes.string_at(stop, len(_STOP_INTERRUPT_CODE)) != _STOP_INTERRUPT_CODE:
        raise problem("uc.stop_interrupt")

    def found(register: int, value: int, offset: int, size: int) -> bool:
        data = value.to_bytes(16, "little")
        write(handle, register, ctypes.create_string_buffer(data, 16))
        return ctypes.string_at(env + offset, size) == data[:size]

    for index, register in enumerate(_REGISTERS):
        if not found(register, 0x51A70000 + 0x1111 * index, ENV_REGS + 8 * index, 8):
            raise problem(f"register {index}")
    for name, register, value, offset, size in _SENTINELS:
        if not found(register, value, offset, size):
            raise problem(name)
    for name, register, base, limit, offset in _TABLES:
        table = struct.pack("<HxxxxxxQIIxxxxxxxx", 0, base, limit, 0)
        write(handle, register, ctypes.create_string_buffer(table, 32))
        if ctypes.string_at(env + offset + 8, 12) != struct.pack("<QI", base, limit):
            raise problem(name)
    if struct.unpack("<I", ctypes.string_at(env + ENV_HFLAGS2, 4))[0] & ~0x80 != 1:
        raise problem("hflags2")  # GIF, alone: nothing else is on in a new CPU
    if ctypes.string_at(env + ENV_CPUID_MODEL, 16) != b"QEMU Virtual CPU":
        raise problem("cpuid model")
    if ctypes.c_uint64.from_address(env + ENV_BYTES - 8).value != handle.value:
        raise problem("end of the state")


_SENTINELS: Final = (
    ("eip", 26, 0x00C0FFEE, ENV_EIP, 8),
    ("cr2", 52, 0x0BADF00D, ENV_CR + 2 * 8, 8),
    ("cr3", 53, 0x00ABC000, ENV_CR + 3 * 8, 8),
    ("dr0", 66, 0x01234567, ENV_DR, 8),
    ("fpcw", 246, 0x037F, ENV_FPUC, 2),
    ("mxcsr", 249, 0x1F80, ENV_MXCSR, 4),
    ("xmm0", 122, 0x0F0E0D0C0B0A09080706050403020100, ENV_XMM, 16),
    ("xmm7", 129, 0x1F1E1D1C1B1A19181716151413121110, ENV_XMM + 7 * 64, 16),
)
_TABLES: Final = (
    ("gdtr", 243, 0x00123450, 0x77, ENV_SEGMENTS + 8 * SEGMENT_BYTES),
    ("idtr", 242, 0x00234560, 0x7FF, ENV_SEGMENTS + 9 * SEGMENT_BYTES),
)
