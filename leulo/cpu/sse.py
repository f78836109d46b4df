"""SSE as the manual has it where the engine's code generator falls short [SDM 1 11].

The engine of libunicorn lets aligned moves and operands in memory lie anywhere, never tells MXCSR
what arithmetic has raised, lets the approximations (RCPPS and its like) raise, and gives MXCSR's
flush-to-zero to the x87. All of that is mended while code is *translated*, so other code costs
nothing, and however it comes to be executed it is right. Functions of the translator are replaced
in the table of addresses through which the library calls them, for every CPU of the process:

* ``load``, ``store``: 16 bytes are two operations of 8. The first of the two is asked to have an
  address aligned to 16, a check that is in the lookup of the TLB anyway, unless the instruction is
  one of those that take any address. What fails it comes to ``unaligned``, and is #GP(0). Seven
  instructions for which the engine reads twice what they have read no more than that.
* STMXCSR and FXSAVE call ``fold`` first: flags of the arithmetic (softfloat's own) go to MXCSR.
  ``status``: MXCSR was loaded, by LDMXCSR, FXRSTOR or the host; the flags are now those.
* ``helper`` puts functions of ours in the place of the engine's into what is translated. One is not
  of SSE: ``sysexit`` is #UD, since CPUID has no SEP, and no hook of the library sees it.

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
    4c8d15950c0000         lea r10, [rip + 0xc95]
    ; what is being translated (DisasContext)
    4989d9                 mov r9, rbx
    493b02                 cmp rax, qword ptr [r10]
    7445                   je 0x58
    493b4208               cmp rax, qword ptr [r10 + 8]
    744e                   je 0x67
    4989e9                 mov r9, rbp
    493b4210               cmp rax, qword ptr [r10 + 0x10]
    7436                   je 0x58
    493b4218               cmp rax, qword ptr [r10 + 0x18]
    7430                   je 0x58
    493b4220               cmp rax, qword ptr [r10 + 0x20]
    742a                   je 0x58
    493b4228               cmp rax, qword ptr [r10 + 0x28]
    7424                   je 0x58
    493b4230               cmp rax, qword ptr [r10 + 0x30]
    742d                   je 0x67
    493b4238               cmp rax, qword ptr [r10 + 0x38]
    7537                   jne 0x77
    e8c7000000             call 0x10c
    c1e808                 shr eax, 8
    ; PUNPCKLBW, PUNPCKLWD, PUNPCKLDQ of MMX: 4 bytes
    83e860                 sub eax, 0x60
    83f802                 cmp eax, 2
    7727                   ja 0x77
    41b802000000           mov r8d, 2
    eb1f                   jmp 0x77
    e8af000000             call 0x10c
    3c01                   cmp al, 1
    7516                   jne 0x77
    4183c840               or r8d, 0x40                           ; MO_ALIGN_16
    eb10                   jmp 0x77
    e8a0000000             call 0x10c
    3c02                   cmp al, 2
    7507                   jne 0x77
    ; the first half again: there is no second
    498b91d8000000         mov rdx, qword ptr [r9 + 0xd8]
    ff25830b0000           jmp qword ptr [rip + 0xb83]            ; tcg_gen_qemu_ld_i64
store:
    488b0424               mov rax, qword ptr [rsp]
    483b05600c0000         cmp rax, qword ptr [rip + 0xc60]
    741f                   je 0xa9
    483b054f0c0000         cmp rax, qword ptr [rip + 0xc4f]
    7510                   jne 0xa3
    4989e9                 mov r9, rbp
    e871000000             call 0x10c
    3c01                   cmp al, 1
    7504                   jne 0xa3
    4183c840               or r8d, 0x40
    ff255f0b0000           jmp qword ptr [rip + 0xb5f]            ; tcg_gen_qemu_st_i64
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
    488b35680b0000         mov rsi, qword ptr [rip + 0xb68]
    31d2                   xor edx, edx
    b901000000             mov ecx, 1
    4989e0                 mov r8, rsp
    488d0564010000         lea rax, [rip + 0x164]
    e83f010000             call 0x21d
    488b7c2430             mov rdi, qword ptr [rsp + 0x30]
    488b542428             mov rdx, qword ptr [rsp + 0x28]
    4801fa                 add rdx, rdi
    488b0c24               mov rcx, qword ptr [rsp]
    41b830030000           mov r8d, 0x330                         ; MXCSR
    be47000000             mov esi, 0x47                          ; load 32 bits
    ff15180b0000           call qword ptr [rip + 0xb18]           ; tcg_gen_op3
    4883c410               add rsp, 0x10
    4158                   pop r8
    59                     pop rcx
    5a                     pop rdx
    5e                     pop rsi
    5f                     pop rdi
    eb97                   jmp 0xa3
kind:
    ; of a memory operand, in AL: 0 any address, 1 aligned, 2 not 16 bytes but 8; the opcode in AH
    57                     push rdi
    56                     push rsi
    52                     push rdx
    51                     push rcx
    4150                   push r8
    4151                   push r9
    53                     push rbx
    4154                   push r12
    4155                   push r13
    4155                   push r13
    ; prefixes: 1 REP, 8 operand size, 0x20 VEX
    458b692c               mov r13d, dword ptr [r9 + 0x2c]
    31c0                   xor eax, eax
    41f6c520               test r13b, 0x20
    0f859c000000           jne 0x1c7
    4d8b6138               mov r12, qword ptr [r9 + 0x38]         ; where the instruction begins
    498b81f0010000         mov rax, qword ptr [r9 + 0x1f0]        ; uc
    488b98b8010000         mov rbx, qword ptr [rax + 0x1b8]
    488b83b0810000         mov rax, qword ptr [rbx + 0x81b0]      ; the CPU's class
    488d0d8c000000         lea rcx, [rip + 0x8c]
    48894818               mov qword ptr [rax + 0x18], rcx
    4881c3508a0000         add rbx, 0x8a50
    4889df                 mov rdi, rbx
    4c89e6                 mov rsi, r12
    ff15be0a0000           call qword ptr [rip + 0xabe]           ; cpu_ldub_code
    49ffc4                 inc r12
    3c0f                   cmp al, 0xf                            ; a prefix?
    75ed                   jne 0x156
    4889df                 mov rdi, rbx
    4c89e6                 mov rsi, r12
    ff15ab0a0000           call qword ptr [rip + 0xaab]
    0fb6c0                 movzx eax, al
    c1e008                 shl eax, 8
    80fc5a                 cmp ah, 0x5a                           ; CVTPS2PD
    7435                   je 0x1b5
    89c1                   mov ecx, eax
    81e100fe0000           and ecx, 0xfe00
    81f900100000           cmp ecx, 0x1000                        ; MOVUPS, MOVUPD
    7437                   je 0x1c7
    81f9002c0000           cmp ecx, 0x2c00                        ; CVTPS2PI, CVTTPS2PI
    741d                   je 0x1b5
    89c1                   mov ecx, eax
    81e100ef0000           and ecx, 0xef00
    81f9006f0000           cmp ecx, 0x6f00                        ; MOVDQU
    7417                   je 0x1bf
    80fce6                 cmp ah, 0xe6                           ; CVTDQ2PD
    7518                   jne 0x1c5
    41f6c501               test r13b, 1
    7412                   je 0x1c5
    eb06                   jmp 0x1bb
    41f6c508               test r13b, 8
    750a                   jne 0x1c5
    b002                   mov al, 2
    eb08                   jmp 0x1c7
    41f6c501               test r13b, 1
    7502                   jne 0x1c7
    b001                   mov al, 1
    415d                   pop r13
    415d                   pop r13
    415c                   pop r12
    5b                     pop rbx
    4159                   pop r9
    4158                   pop r8
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
    ff253a0a0000           jmp qword ptr [rip + 0xa3a]
helper:
    ; for (tcg_ctx, function, result, number, arguments): is it one that has a stand-in?
    488d054b0a0000         lea rax, [rip + 0xa4b]
    41b906000000           mov r9d, 6
    483b30                 cmp rsi, qword ptr [rax]
    740f                   je 0x20f
    4883c010               add rax, 0x10
    41ffc9                 dec r9d
    75f2                   jne 0x1fb
    ff25010a0000           jmp qword ptr [rip + 0xa01]            ; tcg_gen_callN
    488b4008               mov rax, qword ptr [rax + 8]           ; where in this page
    4c8d15e6fdffff         lea r10, [rip - 0x21a]
    4c01d0                 add rax, r10
emit:
    ; the call of rsi is emitted, and then altered to one of rax: the table has only the former
    50                     push rax
    56                     push rsi
    57                     push rdi
    ff15ea090000           call qword ptr [rip + 0x9ea]
    5f                     pop rdi
    5e                     pop rsi
    5a                     pop rdx
    ; in the last operation, behind opcode and links
    488b8790730000         mov rax, qword ptr [rdi + 0x7390]
    4883c008               add rax, 8
    483930                 cmp qword ptr [rax], rsi
    75f7                   jne 0x230
    488910                 mov qword ptr [rax], rdx
    c3                     ret
fold:
    ; (env): what arithmetic has raised goes to MXCSR
    0fb6872a030000         movzx eax, byte ptr [rdi + 0x32a]
    89c1                   mov ecx, eax
    ; the bits of MXCSR: IE, ZE, OE, UE, PE
    83e13d                 and ecx, 0x3d
    84c0                   test al, al
    7903                   jns 0x250
    83c930                 or ecx, 0x30                           ; a result flushed to zero: UE, PE
    098f30030000           or dword ptr [rdi + 0x330], ecx
    c3                     ret
fxsave:
    ; (env, address)
    e8e1ffffff             call 0x23d
    ff25de090000           jmp qword ptr [rip + 0x9de]            ; helper_fxsave
status:
    ; (env): MXCSR was loaded
    57                     push rdi
    ; update_mxcsr_status: rounding, DAZ
    ff15cf090000           call qword ptr [rip + 0x9cf]
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
    488b05bb090000         mov rax, qword ptr [rip + 0x9bb]
    eb19                   jmp 0x2b0
rcpss:
    488b05c2090000         mov rax, qword ptr [rip + 0x9c2]
    eb10                   jmp 0x2b0
rsqrtps:
    488b05c9090000         mov rax, qword ptr [rip + 0x9c9]
    eb07                   jmp 0x2b0
rsqrtss:
    488b05d0090000         mov rax, qword ptr [rip + 0x9d0]
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
sysexit:
    ; (env, operand size): #UD, where it stands in the translated code
    be06000000             mov esi, 6
    31d2                   xor edx, edx
    488b0c24               mov rcx, qword ptr [rsp]
    ; raise_exception_err_ra; does not return
    ff254e090000           jmp qword ptr [rip + 0x94e]
"""

# The data behind the code, in this order. What the pieces call:
_CALLED: Final = (
    "tcg_gen_qemu_ld_i64", "tcg_gen_qemu_st_i64", "tcg_gen_callN", "tcg_gen_op3", "cpu_ldub_code",
    "raise_exception_err_ra", "helper_emms", "update_mxcsr_status",
)  # fmt: skip
# Functions that translated code calls, and in whose place it is to call the piece of that name:
_HELPERS: Final = ("fxsave", "rcpps", "rcpss", "rsqrtps", "rsqrtss", "sysexit")
# Where the translator calls for an operation on memory: offsets from _ANCHOR. Of 16 bytes in two
# halves, the first (four times at a place of its own) and the second; MMX's operand; a store of 16
# bytes, the first half, and STMXCSR's. _FUNCTION keeps what is translated in RBX, the others in
# RBP.
_FUNCTION: Final = (-0x1C221, -0x1C1C3)
_FIRSTS: Final = (-0x149A0, -0x14035, -0x13E3A, -0x126CD)
_SECOND: Final = -0x12667
_MMX: Final = -0x146D8
_LOADS: Final = (*_FUNCTION, *_FIRSTS, _SECOND, _MMX)
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
