"""SSE as the manual has it where the engine's code generator falls short [SDM 1 11].

The engine of libunicorn lets aligned moves and operands in memory lie anywhere, never tells MXCSR
what arithmetic has raised, lets the approximations (RCPPS and its like) raise, and gives MXCSR's
flush-to-zero to the x87. All of that is mended while code is *translated*, so other code costs
nothing, and however it comes to be executed it is right. Functions of the translator are replaced
in the table of addresses through which the library calls them, for every CPU of the process:

* ``load``, ``store``: 16 bytes are two operations of 8. The first of the two is asked to have an
  address aligned to 16, a check that is in the lookup of the TLB anyway, unless the instruction is
  one of those that take any address. What fails it comes to ``unaligned``, and is #GP(0).
* STMXCSR and FXSAVE call ``fold`` first: flags of the arithmetic (softfloat's own) go to MXCSR.
  ``status``: MXCSR was loaded, by LDMXCSR, FXRSTOR or the host; the flags are now those.
* ``helper`` puts functions of ours in the place of the engine's into what is translated.

DE is never set: the arithmetic does not say that an operand was denormal. As in `thunks`,
hexadecimal bytes, what they say, why; a test compares. The self-test executes some of it.
"""

from __future__ import annotations

import ctypes
import struct
from functools import cache
from typing import Final

from leulo.cpu import layout, library, thunks

LISTING: Final = """
load:
    ; for (tcg_ctx, value, address, index, operation): which instruction is it called for?
    488b0424               mov rax, qword ptr [rsp]
    4c8d15850c0000         lea r10, [rip + 0xc85]
    ; what is being translated (DisasContext)
    4989d9                 mov r9, rbx
    493b02                 cmp rax, qword ptr [r10]
    741b                   je 0x2e
    4989e9                 mov r9, rbp
    493b4208               cmp rax, qword ptr [r10 + 8]
    7412                   je 0x2e
    493b4210               cmp rax, qword ptr [r10 + 0x10]
    740c                   je 0x2e
    493b4218               cmp rax, qword ptr [r10 + 0x18]
    7406                   je 0x2e
    493b4220               cmp rax, qword ptr [r10 + 0x20]
    7505                   jne 0x33
    e88d000000             call 0xc0
    ff25c70b0000           jmp qword ptr [rip + 0xbc7]            ; tcg_gen_qemu_ld_i64
store:
    488b0424               mov rax, qword ptr [rsp]
    483b057c0c0000         cmp rax, qword ptr [rip + 0xc7c]
    7417                   je 0x5d
    483b056b0c0000         cmp rax, qword ptr [rip + 0xc6b]
    7508                   jne 0x57
    4989e9                 mov r9, rbp
    e869000000             call 0xc0
    ff25ab0b0000           jmp qword ptr [rip + 0xbab]            ; tcg_gen_qemu_st_i64
flags:
    ; STMXCSR has MXCSR in a temporary, rsi, and is about to store it: a call of fold, and again
    57                     push rdi
    56                     push rsi
    52                     push rdx
    51                     push rcx
    4150                   push r8
    4883ec10               sub rsp, 0x10
    ; env, as an argument of operations
    488b87f0980000         mov rax, qword ptr [rdi + 0x98f0]
    4801f8                 add rax, rdi
    48890424               mov qword ptr [rsp], rax
    ; helper_emms, which has the same arguments
    488b35b40b0000         mov rsi, qword ptr [rip + 0xbb4]
    31d2                   xor edx, edx
    b901000000             mov ecx, 1
    4989e0                 mov r8, rsp
    488d0541010000         lea rax, [rip + 0x141]
    e81c010000             call 0x1ae
    488b7c2430             mov rdi, qword ptr [rsp + 0x30]
    488b542428             mov rdx, qword ptr [rsp + 0x28]
    4801fa                 add rdx, rdi
    488b0c24               mov rcx, qword ptr [rsp]
    41b830030000           mov r8d, 0x330                         ; MXCSR
    be47000000             mov esi, 0x47                          ; load 32 bits
    ff15640b0000           call qword ptr [rip + 0xb64]           ; tcg_gen_op3
    4883c410               add rsp, 0x10
    4158                   pop r8
    59                     pop rcx
    5a                     pop rdx
    5e                     pop rsi
    5f                     pop rdi
    eb97                   jmp 0x57
align:
    ; is it one that wants its 16 bytes aligned? then the operation says so
    57                     push rdi
    56                     push rsi
    52                     push rdx
    51                     push rcx
    53                     push rbx
    4154                   push r12
    4155                   push r13
    4150                   push r8
    ; prefixes: 1 REP, 8 operand size, 0x20 VEX
    458b692c               mov r13d, dword ptr [r9 + 0x2c]
    41f6c520               test r13b, 0x20
    0f8583000000           jne 0x15c
    4d8b6138               mov r12, qword ptr [r9 + 0x38]         ; where the instruction begins
    498b81f0010000         mov rax, qword ptr [r9 + 0x1f0]        ; uc
    488b98b8010000         mov rbx, qword ptr [rax + 0x1b8]
    488b83b0810000         mov rax, qword ptr [rbx + 0x81b0]      ; the CPU's class
    488d0d6f000000         lea rcx, [rip + 0x6f]
    48894818               mov qword ptr [rax + 0x18], rcx
    4881c3508a0000         add rbx, 0x8a50
    4889df                 mov rdi, rbx
    4c89e6                 mov rsi, r12
    ff15100b0000           call qword ptr [rip + 0xb10]           ; cpu_ldub_code
    49ffc4                 inc r12
    3c0f                   cmp al, 0xf                            ; a prefix?
    75ed                   jne 0x104
    4889df                 mov rdi, rbx
    4c89e6                 mov rsi, r12
    ff15fd0a0000           call qword ptr [rip + 0xafd]
    0fb6c0                 movzx eax, al
    3cf0                   cmp al, 0xf0                           ; LDDQU
    7432                   je 0x15c
    3c5a                   cmp al, 0x5a                           ; CVTPS2PD of 8 bytes
    7424                   je 0x152
    89c1                   mov ecx, eax
    81e1fe000000           and ecx, 0xfe
    83f910                 cmp ecx, 0x10                          ; MOVUPS, MOVUPD
    7421                   je 0x15c
    ; CVTPS2PI and CVTTPS2PI of 8 bytes
    83f92c                 cmp ecx, 0x2c
    7412                   je 0x152
    3ce6                   cmp al, 0xe6                           ; CVTDQ2PD of 8 bytes
    7406                   je 0x14a
    24ef                   and al, 0xef
    3c6f                   cmp al, 0x6f                           ; MOVDQU
    750e                   jne 0x158
    41f6c501               test r13b, 1
    750c                   jne 0x15c
    eb06                   jmp 0x158
    41f6c508               test r13b, 8
    7404                   je 0x15c
    800c2440               or byte ptr [rsp], 0x40                ; MO_ALIGN_16
    4158                   pop r8
    415d                   pop r13
    415c                   pop r12
    5b                     pop rbx
    59                     pop rcx
    5a                     pop rdx
    5e                     pop rsi
    5f                     pop rdi
    c3                     ret
unaligned:
    ; (cpu, address, kind, index, place in the translated code): #GP(0)
    4881c7508a0000         add rdi, 0x8a50
    be0d000000             mov esi, 0xd
    31d2                   xor edx, edx
    4c89c1                 mov rcx, r8
    ; raise_exception_err_ra; does not return
    ff25a90a0000           jmp qword ptr [rip + 0xaa9]
helper:
    ; for (tcg_ctx, function, result, number, arguments): is it one that has a stand-in?
    488d05ba0a0000         lea rax, [rip + 0xaba]
    41b905000000           mov r9d, 5
    483b30                 cmp rsi, qword ptr [rax]
    740f                   je 0x1a0
    4883c010               add rax, 0x10
    41ffc9                 dec r9d
    75f2                   jne 0x18c
    ff25700a0000           jmp qword ptr [rip + 0xa70]            ; tcg_gen_callN
    488b4008               mov rax, qword ptr [rax + 8]           ; where in this page
    4c8d1555feffff         lea r10, [rip - 0x1ab]
    4c01d0                 add rax, r10
emit:
    ; the call of rsi is emitted, and then altered to one of rax: the table has only the former
    50                     push rax
    56                     push rsi
    57                     push rdi
    ff15590a0000           call qword ptr [rip + 0xa59]
    5f                     pop rdi
    5e                     pop rsi
    5a                     pop rdx
    ; in the last operation, behind opcode and links
    488b8790730000         mov rax, qword ptr [rdi + 0x7390]
    4883c008               add rax, 8
    483930                 cmp qword ptr [rax], rsi
    75f7                   jne 0x1c1
    488910                 mov qword ptr [rax], rdx
    c3                     ret
fold:
    ; (env): what arithmetic has raised goes to MXCSR
    0fb6872a030000         movzx eax, byte ptr [rdi + 0x32a]
    89c1                   mov ecx, eax
    ; the bits of MXCSR: IE, ZE, OE, UE, PE
    83e13d                 and ecx, 0x3d
    84c0                   test al, al
    7903                   jns 0x1e1
    83c930                 or ecx, 0x30                           ; a result flushed to zero: UE, PE
    098f30030000           or dword ptr [rdi + 0x330], ecx
    c3                     ret
fxsave:
    ; (env, address)
    e8e1ffffff             call 0x1ce
    ff254d0a0000           jmp qword ptr [rip + 0xa4d]            ; helper_fxsave
status:
    ; (env): MXCSR was loaded
    57                     push rdi
    ; update_mxcsr_status: rounding, DAZ
    ff153e0a0000           call qword ptr [rip + 0xa3e]
    5f                     pop rdi
    8b8730030000           mov eax, dword ptr [rdi + 0x330]
    89c1                   mov ecx, eax
    83e13d                 and ecx, 0x3d
    888f2a030000           mov byte ptr [rdi + 0x32a], cl
    c1e80f                 shr eax, 0xf
    2401                   and al, 1
    88872c030000           mov byte ptr [rdi + 0x32c], al         ; FZ is of SSE
    c6870c03000000         mov byte ptr [rdi + 0x30c], 0          ; and not of x87
    c3                     ret
rcpps:
    ; (env, result, operand): approximations raise nothing
    488b052a0a0000         mov rax, qword ptr [rip + 0xa2a]
    eb19                   jmp 0x241
rcpss:
    488b05310a0000         mov rax, qword ptr [rip + 0xa31]
    eb10                   jmp 0x241
rsqrtps:
    488b05380a0000         mov rax, qword ptr [rip + 0xa38]
    eb07                   jmp 0x241
rsqrtss:
    488b053f0a0000         mov rax, qword ptr [rip + 0xa3f]
quiet:
    53                     push rbx
    4889fb                 mov rbx, rdi
    0fb68b2a030000         movzx ecx, byte ptr [rbx + 0x32a]
    51                     push rcx
    51                     push rcx
    ffd0                   call rax
    59                     pop rcx
    59                     pop rcx
    888b2a030000           mov byte ptr [rbx + 0x32a], cl
    5b                     pop rbx
    c3                     ret
"""

# The data behind the code, in this order. What the pieces call:
_CALLED: Final = (
    "tcg_gen_qemu_ld_i64", "tcg_gen_qemu_st_i64", "tcg_gen_callN", "tcg_gen_op3", "cpu_ldub_code",
    "raise_exception_err_ra", "helper_emms", "update_mxcsr_status",
)  # fmt: skip
# Functions that translated code calls, and in whose place it is to call the piece of that name:
_HELPERS: Final = ("fxsave", "rcpps", "rcpss", "rsqrtps", "rsqrtss")
# Where the translator calls for the first half of 16 bytes, and for STMXCSR's store; the first of
# the loads keeps what it translates in RBX, the others in RBP. All are offsets from _ANCHOR.
_LOADS: Final = (-0x1C221, -0x149A0, -0x14035, -0x13E3A, -0x126CD)
_STORES: Final = (-0x144D4, -0x11FE)
_CALL_BYTES: Final = 5

# What is replaced: by which piece, and where it is called, in which exported function.
_ANCHOR: Final = layout.TRANSLATOR.removesuffix("_x86_64")
_REPLACED: Final = (
    *(("load", "tcg_gen_qemu_ld_i64", _ANCHOR, site) for site in _LOADS),
    *(("store", "tcg_gen_qemu_st_i64", _ANCHOR, site) for site in _STORES),
    ("helper", "tcg_gen_callN", _ANCHOR, -0x1265),
    ("status", "update_mxcsr_status", "helper_fxrstor", 0x59),
)


@cache
def install() -> None:
    """Put them in, for every CPU of the process. Raises `EnvironmentProblem`."""
    code, labels = thunks.assemble(LISTING)
    slots = {piece: _slot(function, _address(caller) + place)
             for piece, function, caller, place in _REPLACED}  # fmt: skip
    data = [_address(name) for name in _CALLED]
    for name in _HELPERS:
        data += [_address(f"helper_{name}"), labels[name]]
    data += [_address(_ANCHOR) + site + _CALL_BYTES for site in (*_LOADS, *_STORES)]
    base = thunks.map_code(code, struct.pack(f"<{len(data)}Q", *data))
    for piece, slot in slots.items():
        slot.value = base + labels[piece]


def _address(name: str) -> int:
    return library.address_of(f"{name}_x86_64")


def _slot(name: str, call: int) -> ctypes.c_uint64:
    """Where the library keeps the address of ``name``, found by the call of it at ``call``."""
    slot = ctypes.c_uint64.from_address(
        thunks.slot_of_stub(thunks.target_of_call(call, name), name)
    )
    if slot.value != _address(name):
        raise layout.problem(f"{name} is not called where it was")
    return slot
