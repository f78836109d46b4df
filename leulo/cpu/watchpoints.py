"""Data watchpoints of the debug registers, which libunicorn has left out of its x86 [SDM 3 17.2].

The engine still does all around them: it calls on writes to DR0-3 and DR7, marks the pages of its
TLB that hold a watched byte, and comes by at every access to such a page alone, so that others
cost nothing. But the four functions that it calls are empty in libunicorn. Here they are, put into
the table of addresses through which the library calls them:

* ``insert``, ``remove``: a register begins or ceases to watch. The watchpoint (address, length, and
  flags at 0x1c) is kept in the upper half of the vector registers, of which our CPU has none.
* ``matches``: is a watched byte on this page?
* ``check``: an access to such a page. On a match the instruction is abandoned and executed again in
  a block of its own (what says so survives a stop just there); then the access is noted and the
  engine asked to raise its debug exception behind that block, which goes to `thunks` as
  breakpoints do. A store that is not aligned is looked at as the one that it is.

As in `thunks`, hexadecimal bytes, what they say, why; a test compares. The self-test watches a
word.
"""

from __future__ import annotations

import ctypes
import struct
from functools import cache
from typing import Final

from leulo.cpu import layout, library, thunks

LISTING: Final = """
insert:
    ; (cpu, address, length, flags, where the register keeps its pointer)
    4c89c0                 mov rax, r8
    4829f8                 sub rax, rdi
    482da89f0000           sub rax, 0x9fa8                       ; 8 times its number
    488d84c788910000       lea rax, [rdi + rax*8 + 0x9188]       ; its watchpoint
    488930                 mov qword ptr [rax], rsi
    48895008               mov qword ptr [rax + 8], rdx
    89481c                 mov dword ptr [rax + 0x1c], ecx
    498900                 mov qword ptr [r8], rax
    ; pages are looked up anew, and this one is marked
    4883ec08               sub rsp, 8
    ff15d50b0000           call qword ptr [rip + 0xbd5]          ; tlb_flush(cpu)
    4883c408               add rsp, 8
    31c0                   xor eax, eax
    c3                     ret
remove:
    ; (cpu, watchpoint)
    ff25c80b0000           jmp qword ptr [rip + 0xbc8]           ; tlb_flush(cpu)
matches:
    ; (cpu, address, length): which accesses to the page are to be looked at
    31c0                   xor eax, eax
    4c8d8788910000         lea r8, [rdi + 0x9188]
    4c8d8fa89f0000         lea r9, [rdi + 0x9fa8]
    b904000000             mov ecx, 4
    4d3901                 cmp qword ptr [r9], r8
    7518                   jne 0x6a
    4d8b10                 mov r10, qword ptr [r8]
    4929f2                 sub r10, rsi
    4939d2                 cmp r10, rdx
    7209                   jb 0x66                               ; it begins inside
    49f7da                 neg r10
    4d3b5008               cmp r10, qword ptr [r8 + 8]
    7304                   jae 0x6a
    410b401c               or eax, dword ptr [r8 + 0x1c]
    4983c040               add r8, 0x40
    4983c108               add r9, 8
    ffc9                   dec ecx
    75d7                   jne 0x4d
    83e003                 and eax, 3
    c3                     ret
check:
    ; (cpu, address, length, attributes, 1: read or 2: write, place in the translated code)
    ; a store that is not aligned, on one page, is asked about as if it were on two: from where it
    ; begins on with a negative length, and then from the page's first byte to its end
    4885d2                 test rdx, rdx
    7f08                   jg 0x87
    4889b798920000         mov qword ptr [rdi + 0x9298], rsi
    c3                     ret
    488b8798920000         mov rax, qword ptr [rdi + 0x9298]
    48c7879892000000000000 mov qword ptr [rdi + 0x9298], 0
    4989c2                 mov r10, rax
    4981e200f0ffff         and r10, 0xfffffffffffff000
    4939f2                 cmp r10, rsi
    750e                   jne 0xb6
    4885c0                 test rax, rax
    7409                   je 0xb6
    4801f2                 add rdx, rsi
    4889c6                 mov rsi, rax
    4829c2                 sub rdx, rax
    53                     push rbx
    55                     push rbp
    4154                   push r12
    4889fb                 mov rbx, rdi
    4c89cd                 mov rbp, r9
    4531e4                 xor r12d, r12d                        ; which registers match
    4531d2                 xor r10d, r10d
    4489d1                 mov ecx, r10d
    c1e106                 shl ecx, 6
    488d8c0f88910000       lea rcx, [rdi + rcx + 0x9188]
    4a398cd7a89f0000       cmp qword ptr [rdi + r10*8 + 0x9fa8], rcx
    751e                   jne 0xfc
    4485411c               test dword ptr [rcx + 0x1c], r8d
    7418                   je 0xfc
    4c8b19                 mov r11, qword ptr [rcx]
    4929f3                 sub r11, rsi
    4939d3                 cmp r11, rdx
    7209                   jb 0xf8
    49f7db                 neg r11
    4c3b5908               cmp r11, qword ptr [rcx + 8]
    7304                   jae 0xfc
    450fabd4               bts r12d, r10d
    41ffc2                 inc r10d
    4183fa04               cmp r10d, 4
    72c1                   jb 0xc6
    4585e4                 test r12d, r12d
    0f84d4000000           je 0x1e2
    4885ed                 test rbp, rbp
    7457                   je 0x16a                              ; not from translated code
    488b83a8810000         mov rax, qword ptr [rbx + 0x81a8]
    488bb800030000         mov rdi, qword ptr [rax + 0x300]
    4889ee                 mov rsi, rbp
    ff15de0a0000           call qword ptr [rip + 0xade]          ; tcg_tb_lookup
    4885c0                 test rax, rax
    743b                   je 0x16a
    6683781601             cmp word ptr [rax + 0x16], 1          ; instructions of the block
    7434                   je 0x16a
    ; again, in a block of its own, so that the trap comes behind it
    c7431801000000         mov dword ptr [rbx + 0x18], 1
    4889df                 mov rdi, rbx
    4889ee                 mov rsi, rbp
    ba01000000             mov edx, 1
    ff15c20a0000           call qword ptr [rip + 0xac2]          ; cpu_restore_state
    8b83d08a0000           mov eax, dword ptr [rbx + 0x8ad0]
    0383288b0000           add eax, dword ptr [rbx + 0x8b28]     ; CS's base
    48898388920000         mov qword ptr [rbx + 0x9288], rax
    4889df                 mov rdi, rbx
    ff15ae0a0000           call qword ptr [rip + 0xaae]          ; cpu_loop_exit_noexc
    48838b88920000ff       or qword ptr [rbx + 0x9288], 0xffffffffffffffff
    4883bb6881000000       cmp qword ptr [rbx + 0x8168], 0
    7528                   jne 0x1a4                             ; an earlier access too
    81a3a49100003fffffff   and dword ptr [rbx + 0x91a4], 0xffffff3f ; no hit yet
    81a3e49100003fffffff   and dword ptr [rbx + 0x91e4], 0xffffff3f
    81a3249200003fffffff   and dword ptr [rbx + 0x9224], 0xffffff3f
    81a3649200003fffffff   and dword ptr [rbx + 0x9264], 0xffffff3f
    4531d2                 xor r10d, r10d
    450fa3d4               bt r12d, r10d
    731c                   jae 0x1c9
    4489d1                 mov ecx, r10d
    c1e106                 shl ecx, 6
    488d8c0b88910000       lea rcx, [rbx + rcx + 0x9188]
    81491cc0000000         or dword ptr [rcx + 0x1c], 0xc0       ; hit
    48898b68810000         mov qword ptr [rbx + 0x8168], rcx
    41ffc2                 inc r10d
    4183fa04               cmp r10d, 4
    72d5                   jb 0x1a7
    814b1c80000000         or dword ptr [rbx + 0x1c], 0x80       ; CPU_INTERRUPT_DEBUG
    66c783428a0000ffff     mov word ptr [rbx + 0x8a42], 0xffff   ; seen behind this block
    415c                   pop r12
    5d                     pop rbp
    5b                     pop rbx
    c3                     ret
"""

# What the pieces call, in the order of the data behind them.
_CALLED: Final = (
    "tlb_flush_x86_64", "tcg_tb_lookup_x86_64", "cpu_restore_state_x86_64",
    "cpu_loop_exit_noexc_x86_64",
)  # fmt: skip
_DR: Final = (layout.CPU_ENV + layout.ENV_DR) // 8
_EIP: Final = (layout.CPU_ENV + layout.ENV_EIP) // 8
_HIT: Final = layout.CPU_WATCHPOINT_HIT // 8
_FLAGS: Final = (layout.CPU_ENV + layout.ENV_UNUSED_XMM + 0x1C) // 4  # of four, 64 bytes apart
HIT_FLAGS: Final = 0xC0  # in a watchpoint's flags: it was read, it was written


# What is replaced: by which piece, and where it is called, in which exported function.
_CALLS: Final = {
    "watchpoint_insert": ("insert", layout.UPDATE_DR7, 0x128),  # by way of hw_breakpoint_insert
    "watchpoint_remove_by_ref": ("remove", "helper_set_dr_x86_64", 0x142),
    "watchpoint_address_matches": ("matches", "tlb_set_page_with_attrs_x86_64", 0x10A),
    "check_watchpoint": ("check", "probe_access_x86_64", 0x1E9),
}
_IN_BREAKPOINT_INSERT: Final = 0xB5


@cache
def install() -> None:
    """Put them in, for every CPU of the process. Raises `EnvironmentProblem`."""
    code, labels = thunks.assemble(LISTING)
    data = struct.pack("<4Q", *map(library.address_of, _CALLED))
    base = thunks.map_code(code, data)
    for name, (piece, caller, place) in _CALLS.items():
        function = f"cpu_{name}_x86_64"
        slot = _slot(library.address_of(caller) + place, function)
        if slot.value != library.address_of(function):
            raise layout.problem(f"{caller} does not call {function}")
        slot.value = base + labels[piece]


def take_hits(state32: memoryview, state64: memoryview) -> int:
    """For `portable`: the registers that the engine's debug exception is about, a bit each, enabled
    or not; a watchpoint is not pending any more."""
    dr7, eip = state64[_DR + 7], state64[_EIP]
    is_watched, state64[_HIT] = state64[_HIT] != 0, 0
    hits = 0
    for number in range(4):
        if dr7 >> 16 + 4 * number & 3:
            is_hit = is_watched and state32[_FLAGS + 16 * number] & HIT_FLAGS
        else:
            is_hit = state64[_DR + number] == eip
        hits |= bool(is_hit) << number
    return hits


def _slot(call: int, name: str) -> ctypes.c_uint64:
    """Where the library keeps the address of ``name`` for the call at ``call``."""
    target = thunks.target_of_call(call, name)
    if name.endswith("insert_x86_64"):
        target = thunks.target_of_call(target + _IN_BREAKPOINT_INSERT, name)
    return ctypes.c_uint64.from_address(thunks.slot_of_stub(target, name))
