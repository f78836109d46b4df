"""Machine code between libunicorn and the CPU: what must not enter Python, or could not.

Each piece is called by libunicorn with the address of a `control.Control` as its user data, and
with nothing else of ours: one page of code, written once, serves every CPU of the process and is
never unmapped. The listing below is the code itself: hexadecimal bytes, what they say, why. A test
disassembles the bytes and compares.

A fault while an exception is being delivered leaves by longjmp over the frames between; that is
allowed over these, and would be a crash over Python's. Calling convention: System V AMD64; rdi is
``uc`` throughout.

* ``block``: at the start of every block of translated code. The budget is tested first and only
  then charged, so that where a run stops never moves the clock. A block that is about to be left
  for an interrupt is not charged either: it comes here again.
  ``block_levels`` stands in for it where ticks are wanted by privilege level too.
* ``fetch``: a page fault on the page behind the one that the block begins in, perhaps for an
  instruction that the block would have come to later. The engine is asked for one instruction at
  a time, once at each; what faults then is told with its own EIP.
* ``interrupt``, ``invalid``, ``deliver``: exceptions and software interrupts go through the
  guest's IDT [SDM 3 6.12]; #UD and breakpoints arrive by way of ``invalid`` because ``stops`` says
  so (a breakpoint that the engine's own handler does not recognise would otherwise hang it). Each
  costs 16 ticks, so a storm of faults that never completes an instruction still uses up its budget.
* ``out``, ``in``: port I/O is for CPL 0 alone, whatever IOPL and the TSS say; ``undefined``:
  SYSENTER and SYSCALL, which we do not have.
* ``aborts``: instead of libunicorn's calls of abort(). The only one that a guest is known to
  reach is for a ring change without a TSS (LTR of a null selector); it becomes #TS.
* ``tick_tsc``, ``clock_tsc``: RDTSC in nanoseconds, of executed code or of the host's clock.
"""

from __future__ import annotations

import ctypes
import mmap
import struct
from functools import cache
from typing import Final

from leulo.cpu import layout, library
from leulo.errors import EnvironmentProblem

PAGE_BYTES: Final = 4096
DATA: Final = 0xC00  # in the page: three addresses that ``aborts`` reads
EXCEPTION_TICKS: Final = 16

LISTING: Final = """
block:
    488b01                 mov rax, qword ptr [rcx]
    483b4108               cmp rax, qword ptr [rcx + 8]
    7d09                   jge 0x12
    ; only 32 bits of an int argument are defined
    89d2                   mov edx, edx
    4801d0                 add rax, rdx                          ; charge the block
    488901                 mov qword ptr [rcx], rax
    c3                     ret
    ; what was to be executed alone still is, however often the run is cut here
    4c8b5128               mov r10, qword ptr [rcx + 0x28]
    458b9a80000000         mov r11d, dword ptr [r10 + 0x80]      ; EIP
    45039ad8000000         add r11d, dword ptr [r10 + 0xd8]      ; CS's base
    4d399a38080000         cmp qword ptr [r10 + 0x838], r11
    750c                   jne 0x39
    4c8b5120               mov r10, qword ptr [rcx + 0x20]
    41c7421801000000       mov dword ptr [r10 + 0x18], 1         ; one instruction
    4c8b4110               mov r8, qword ptr [rcx + 0x10]
    4d89c1                 mov r9, r8
    ; with a barrier: a request after this is seen at the next block
    4c874908               xchg qword ptr [rcx + 8], r9
    4883791800             cmp qword ptr [rcx + 0x18], 0
    7510                   jne 0x5b
    4c39c0                 cmp rax, r8
    7d0b                   jge 0x5b
    ; neither: an interrupt was posted inside an exit
    4c8b4930               mov r9, qword ptr [rcx + 0x30]
    ; look for interrupts, then come here again
    6641c701ffff           mov word ptr [r9], 0xffff
    c3                     ret
    ff6138                 jmp qword ptr [rcx + 0x38]            ; uc_emu_stop(uc)
interrupt:
    83fe0e                 cmp esi, 0xe                          ; #PF?
    740b                   je 0x6e
    53                     push rbx
    4889d3                 mov rbx, rdx
    e8c3000000             call 0x12f
    5b                     pop rbx
    c3                     ret
fetch:
    4c8b4a28               mov r9, qword ptr [rdx + 0x28]
    418b8180000000         mov eax, dword ptr [r9 + 0x80]        ; EIP
    410381d8000000         add eax, dword ptr [r9 + 0xd8]        ; CS's base
    89c1                   mov ecx, eax
    81e100f0ffff           and ecx, 0xfffff000
    81c100100000           add ecx, 0x1000
    458b81b8010000         mov r8d, dword ptr [r9 + 0x1b8]       ; CR2
    4181e000f0ffff         and r8d, 0xfffff000
    4439c1                 cmp ecx, r8d
    ; not the page behind the one that the block begins in
    75c2                   jne 0x63
    49398138080000         cmp qword ptr [r9 + 0x838], rax
    7510                   jne 0xba
    488b0a                 mov rcx, qword ptr [rdx]
    492b8940080000         sub rcx, qword ptr [r9 + 0x840]
    4883f90f               cmp rcx, 0xf                          ; the longest instruction
    ; it was tried by itself just now: this instruction faults
    7ea9                   jle 0x63
    49898138080000         mov qword ptr [r9 + 0x838], rax
    488b0a                 mov rcx, qword ptr [rdx]
    49898940080000         mov qword ptr [r9 + 0x840], rcx
    488b4a20               mov rcx, qword ptr [rdx + 0x20]
    c7411801000000         mov dword ptr [rcx + 0x18], 1         ; one instruction
    41c78178150000ffffffff mov dword ptr [r9 + 0x1578], 0xffffffff ; it has not been raised
    c3                     ret
invalid:
    53                     push rbx
    4889f3                 mov rbx, rsi
    488b4320               mov rax, qword ptr [rbx + 0x20]
    81b8a081000002000100   cmp dword ptr [rax + 0x81a0], 0x10002 ; EXCP_DEBUG?
    752d                   jne 0x123
    57                     push rdi
    4883ec08               sub rsp, 8
    4889c7                 mov rdi, rax
    ; does not return if a debug register matches
    ff5350                 call qword ptr [rbx + 0x50]
    4883c408               add rsp, 8
    5f                     pop rdi
    ; a breakpoint in a segment with a base, which it misses: #DB
    488b4320               mov rax, qword ptr [rbx + 0x20]
    488b5328               mov rdx, qword ptr [rbx + 0x28]
    c780a081000001000000   mov dword ptr [rax + 0x81a0], 1
    ; no error code, not a software interrupt
    48c7820815000000000000 mov qword ptr [rdx + 0x1508], 0
    e807000000             call 0x12f
    b801000000             mov eax, 1                            ; handled
    5b                     pop rbx
    c3                     ret
deliver:
    55                     push rbp
    4c8b4328               mov r8, qword ptr [rbx + 0x28]
    4c8b4b20               mov r9, qword ptr [rbx + 0x20]
    49838838080000ff       or qword ptr [r8 + 0x838], 0xffffffffffffffff
    ; note it in the chain of what is being delivered
    488b8388000000         mov rax, qword ptr [rbx + 0x88]
    83e003                 and eax, 3
    c1e005                 shl eax, 5
    488d8403a0000000       lea rax, [rbx + rax + 0xa0]
    48ff8388000000         inc qword ptr [rbx + 0x88]
    48ff8390000000         inc qword ptr [rbx + 0x90]
    418bb1a0810000         mov esi, dword ptr [r9 + 0x81a0]
    89f5                   mov ebp, esi                          ; the vector
    418b8808150000         mov ecx, dword ptr [r8 + 0x1508]
    8930                   mov dword ptr [rax], esi
    894804                 mov dword ptr [rax + 4], ecx          ; the error code
    498b88b8010000         mov rcx, qword ptr [r8 + 0x1b8]
    48894810               mov qword ptr [rax + 0x10], rcx       ; CR2
    498b4820               mov rcx, qword ptr [r8 + 0x20]
    48894818               mov qword ptr [rax + 0x18], rcx       ; ESP
    418b8880000000         mov ecx, dword ptr [r8 + 0x80]
    4183b80c15000000       cmp dword ptr [r8 + 0x150c], 0
    7415                   je 0x1b1
    ; a software interrupt: EIP back at the instruction, in case its
    ffc9                   dec ecx
    ; delivery faults; INT3 and INTO have one byte, INT n two
    83fe03                 cmp esi, 3
    7407                   je 0x1aa
    83fe04                 cmp esi, 4
    7402                   je 0x1aa
    ffc9                   dec ecx
    49898880000000         mov qword ptr [r8 + 0x80], rcx
    48894808               mov qword ptr [rax + 8], rcx          ; EIP
    488b0b                 mov rcx, qword ptr [rbx]
    4883c110               add rcx, 0x10
    48890b                 mov qword ptr [rbx], rcx
    483b4b10               cmp rcx, qword ptr [rbx + 0x10]
    7d07                   jge 0x1cc
    48837b1800             cmp qword ptr [rbx + 0x18], 0
    7403                   je 0x1cf
    ; uc_emu_stop(uc): faults may follow each other without a block
    ff5338                 call qword ptr [rbx + 0x38]
    83fd08                 cmp ebp, 8
    7524                   jne 0x1f8
    ; a double fault: keep how it came about
    488b8388000000         mov rax, qword ptr [rbx + 0x88]
    48898398000000         mov qword ptr [rbx + 0x98], rax
    488db3a0000000         lea rsi, [rbx + 0xa0]
    488dbb20010000         lea rdi, [rbx + 0x120]
    b910000000             mov ecx, 0x10
    f348a5                 rep movsq qword ptr [rdi], qword ptr [rsi]
    488b7b20               mov rdi, qword ptr [rbx + 0x20]
    ; does not return if the delivery faults
    ff5340                 call qword ptr [rbx + 0x40]
    48c7838800000000000000 mov qword ptr [rbx + 0x88], 0
    5d                     pop rbp
    c3                     ret
stops:
    31c0                   xor eax, eax
    83fe06                 cmp esi, 6                            ; #UD
    7409                   je 0x21c
    81fe02000100           cmp esi, 0x10002                      ; EXCP_DEBUG
    7401                   je 0x21c
    c3                     ret
    ffc0                   inc eax
    c3                     ret
out:
    498b4028               mov rax, qword ptr [r8 + 0x28]
    f680b000000003         test byte ptr [rax + 0xb0], 3         ; CPL
    750a                   jne 0x236
    89f7                   mov edi, esi
    89d6                   mov esi, edx
    89ca                   mov edx, ecx
    41ff6058               jmp qword ptr [r8 + 0x58]             ; (port, width, value)
    4883ec08               sub rsp, 8
    4889c7                 mov rdi, rax
    be0d000000             mov esi, 0xd
    31d2                   xor edx, edx
    41ff5048               call qword ptr [r8 + 0x48]            ; #GP(0); does not return
in:
    488b4128               mov rax, qword ptr [rcx + 0x28]
    f680b000000003         test byte ptr [rax + 0xb0], 3
    7507                   jne 0x25c
    89f7                   mov edi, esi
    89d6                   mov esi, edx
    ff6160                 jmp qword ptr [rcx + 0x60]            ; (port, width)
    4883ec08               sub rsp, 8
    4889c7                 mov rdi, rax
    be0d000000             mov esi, 0xd
    31d2                   xor edx, edx
    ff5148                 call qword ptr [rcx + 0x48]
undefined:
    4883ec08               sub rsp, 8
    488b7e28               mov rdi, qword ptr [rsi + 0x28]
    4889f0                 mov rax, rsi
    be06000000             mov esi, 6
    31d2                   xor edx, edx
    ff5048                 call qword ptr [rax + 0x48]           ; #UD; does not return
clock_tsc:
    53                     push rbx
    4883ec10               sub rsp, 0x10
    4889f3                 mov rbx, rsi
    bf01000000             mov edi, 1                            ; CLOCK_MONOTONIC
    4889e6                 mov rsi, rsp
    ff9380000000           call qword ptr [rbx + 0x80]
    4869042400ca9a3b       imul rax, qword ptr [rsp], 0x3b9aca00
    4803442408             add rax, qword ptr [rsp + 8]
    4889de                 mov rsi, rbx
    4883c410               add rsp, 0x10
    5b                     pop rbx
    eb0b                   jmp 0x2ba
tick_tsc:
    488b06                 mov rax, qword ptr [rsi]
    48f76668               mul qword ptr [rsi + 0x68]
    48f77670               div qword ptr [rsi + 0x70]
    48034678               add rax, qword ptr [rsi + 0x78]
    488b4e28               mov rcx, qword ptr [rsi + 0x28]
    89c2                   mov edx, eax
    48c1e820               shr rax, 0x20
    488911                 mov qword ptr [rcx], rdx              ; EAX
    48894110               mov qword ptr [rcx + 0x10], rax       ; EDX
    ; do not read the host's counter too
    b801000000             mov eax, 1
    c3                     ret
aborts:
    ; where cpu_abort would have been returned to
    488b0524090000         mov rax, qword ptr [rip + 0x924]
    48390424               cmp qword ptr [rsp], rax
    7514                   jne 0x2f6
    4881c7508a0000         add rdi, 0x8a50                       ; its first argument, as env
    be0a000000             mov esi, 0xa
    31d2                   xor edx, edx
    ff2512090000           jmp qword ptr [rip + 0x912]           ; #TS(0); does not return
    ff2514090000           jmp qword ptr [rip + 0x914]           ; the C library's abort
block_levels:
    488b01                 mov rax, qword ptr [rcx]
    483b4108               cmp rax, qword ptr [rcx + 8]
    0f8d09fdffff           jge 0x12                              ; the slow path of ``block``
    89d2                   mov edx, edx
    4801d0                 add rax, rdx
    488901                 mov qword ptr [rcx], rax
    488b4128               mov rax, qword ptr [rcx + 0x28]
    8b80b0000000           mov eax, dword ptr [rax + 0xb0]
    83e003                 and eax, 3                            ; CPL
    480194c1a0010000       add qword ptr [rcx + rax*8 + 0x1a0], rdx
    c3                     ret
"""


def assemble(listing: str = LISTING) -> tuple[bytes, dict[str, int]]:
    """The listing's bytes, and where each label is in them."""
    code = bytearray()
    labels: dict[str, int] = {}
    for line in listing.splitlines():
        words = line.split(";")[0].split()
        if not words:
            continue
        if words[0].endswith(":"):
            labels[words[0][:-1]] = len(code)
        else:
            code += bytes.fromhex(words[0])
    return bytes(code), labels


def map_code(code: bytes, data: bytes) -> int:
    """The address of a page for good, executable and not writable: code, and data at `DATA`.

    Raises `EnvironmentProblem` where the system forbids making memory executable.
    """
    page = mmap.mmap(-1, PAGE_BYTES)
    page.write(code)
    page[DATA : DATA + len(data)] = data
    base = ctypes.addressof(ctypes.c_char.from_buffer(page))  # this also keeps it mapped
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    protect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    if protect(base, PAGE_BYTES, mmap.PROT_READ | mmap.PROT_EXEC):
        raise EnvironmentProblem(
            "the system refuses to make memory executable, and the emulated CPU needs that "
            f"(mprotect: error {ctypes.get_errno()})."
        )
    _pages.append(page)
    return base


@cache
def install() -> dict[str, int]:
    """Addresses of the pieces, by label; the page is made at the first call.

    Raises `EnvironmentProblem` as `map_code`, or on a library that is not ours.
    """
    code, labels = assemble()
    function = library.address_of("cpu_abort_x86_64")
    stub = target_of_call(function + 1, "abort")  # behind a push
    slot = ctypes.c_uint64.from_address(slot_of_stub(stub, "abort"))
    addresses = (
        function + 6,  # where that call returns to
        library.address_of(layout.RAISE),
        ctypes.cast(ctypes.CDLL(None).abort, ctypes.c_void_p).value or 0,
    )
    base = map_code(code, struct.pack("<3Q", *addresses))
    slot.value = base + labels["aborts"]
    return {name: base + offset for name, offset in labels.items()}


def target_of_call(address: int, name: str) -> int:
    """Where the ``call rel32`` at ``address``, which is to lead to ``name``, goes."""
    code = ctypes.string_at(address, 5)
    if code[:1] != b"\xe8":
        raise layout.problem(f"a call of {name} is not where it was")
    return address + 5 + int.from_bytes(code[1:], "little", signed=True)


def slot_of_stub(address: int, name: str) -> int:
    """The writable place that the stub ``jmp [rip + rel32]`` at ``address`` takes its target
    from."""
    code = ctypes.string_at(address, 6)
    if code[:2] != b"\xff\x25":
        raise layout.problem(f"the stub of {name} differs")
    return address + 6 + int.from_bytes(code[2:], "little", signed=True)


_pages: Final[list[mmap.mmap]] = []
