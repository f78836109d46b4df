# Each feature that CPUID advertises works; each that it does not is refused. A line says only
# whether the two agree, so that CPUs with different features can be compared.
    .include "case.inc"
    .text

# FEATURE name, leaf, register, bit; code that uses it: EAX is 1 where advertised and usable, or
# hidden and #UD. Otherwise the CPU lies, and EAX says how.
    .macro FEATURE name, leaf, register, bit, code:vararg
    CASE cpuid_\name, 0, 3
    mov $\leaf, %eax
    cpuid
    bt $\bit, %\register
    sbb %ebp, %ebp                      # -1: advertised
    mov %ebp, advertised
    mov $1f, %eax
    call on_ud
    xor %eax, %eax
    mov $P_USER, %esi
    mov $P_USER, %edi
    \code
    cmpl $0, advertised
    mov $1, %eax
    jne 2f
    mov $0xbad, %eax                    # it works, and is hidden
    jmp 2f
1:  cmpl $0, advertised
    mov $1, %eax
    je 2f
    mov $0xdead, %eax                   # it is advertised, and #UD
2:  xor %ebx, %ebx
    xor %ecx, %ecx
    xor %edx, %edx
    xor %esi, %esi
    xor %edi, %edi
    xor %ebp, %ebp
    mov $case_stack_top, %esp
    DONE
    .endm

    FEATURE fpu, 1, edx, 0, fld1
    FEATURE tsc, 1, edx, 4, rdtsc
    FEATURE cx8, 1, edx, 8, cmpxchg8b (%esi)
    FEATURE sep, 1, edx, 11, call use_sep
    FEATURE cmov, 1, edx, 15, cmovz %eax, %ebx
    FEATURE clflush, 1, edx, 19, clflush (%esi)
    FEATURE mmx, 1, edx, 23, call use_mmx
    FEATURE fxsr, 1, edx, 24, fxsave (%esi)
    FEATURE sse, 1, edx, 25, addps %xmm0, %xmm0
    FEATURE sse2, 1, edx, 26, paddq %xmm0, %xmm0
    FEATURE sse3, 1, ecx, 0, haddps %xmm0, %xmm0
    FEATURE pclmul, 1, ecx, 1, pclmulqdq $0, %xmm0, %xmm0
    FEATURE ssse3, 1, ecx, 9, pabsb %xmm0, %xmm0
    FEATURE monitor, 1, ecx, 3, call use_monitor
    FEATURE sse41, 1, ecx, 19, pmulld %xmm0, %xmm0
    FEATURE sse42, 1, ecx, 20, crc32b %al, %ebx
    FEATURE movbe, 1, ecx, 22, movbe (%esi), %eax
    FEATURE popcnt, 1, ecx, 23, popcnt %eax, %ebx
    FEATURE aes, 1, ecx, 25, aesenc %xmm0, %xmm0
    FEATURE xsave, 1, ecx, 26, call use_xsave
    FEATURE rdrand, 1, ecx, 30, rdrand %eax
    FEATURE rdtscp, 0x80000001, edx, 27, rdtscp
    FEATURE syscall, 0x80000001, edx, 11, call use_syscall

    CASE cpuid_pae_nx, 0                # NX is advertised, and EFER.NXE can be set
    mov $0x80000001, %eax
    cpuid
    bt $20, %edx
    setc %bl
    movzbl %bl, %esi
    mov $0xc0000080, %ecx
    rdmsr
    bt $11, %eax
    setc %al
    movzbl %al, %eax
    xor %ebx, %ebx
    xor %ecx, %ecx
    xor %edx, %edx
    DONE
    CASE cpuid_user, 3
    xor %eax, %eax
    cpuid
    xor %eax, %eax
    xor %ebx, %ebx
    xor %ecx, %ecx
    xor %edx, %edx
    DONE
    CASE cpuid_beyond_highest, 0        # no crash
    mov $0x7fffffff, %eax
    cpuid
    xor %eax, %eax
    xor %ebx, %ebx
    xor %ecx, %ecx
    xor %edx, %edx
    DONE
    CASE msr_unknown, 0
    mov $0x12345678, %ecx
    rdmsr
    DONE

on_ud:                                  # #UD goes on at EAX
    mov %eax, resume
    mov $ud_handler, %eax
    mov %ax, idt+6*8
    shr $16, %eax
    mov %ax, idt+6*8+6
    ret
gp_handler:
    add $4, %esp
ud_handler:
    push %eax
    mov %ss:resume, %eax
    mov %eax, 4(%esp)
    pop %eax
    iret
use_mmx:
    paddb %mm0, %mm0
    emms
    ret
use_sep:                                # SYSENTER_CS is null: #GP where SEP is there
    mov $gp_handler, %eax
    mov %ax, idt+13*8
    shr $16, %eax
    mov %ax, idt+13*8+6
    cmpl $0, advertised
    je 1f
    movl $2f, resume
1:  sysenter
2:  ret
use_syscall:                            # EFER.SCE is off: #UD although advertised
    mov $0, %eax
    cmpl $0, advertised
    jne 1f
    .byte 0x0f, 0x05
1:  ret
use_monitor:
    mov %cs, %eax
    test $3, %al
    jnz 1f
    xor %ecx, %ecx
    xor %edx, %edx
    mov %esi, %eax
    monitor %eax, %ecx, %edx
    ret
1:  cmpl $0, advertised
    jne 2f
    ud2
2:  ret
use_xsave:                              # CR4.OSXSAVE is off: #UD although advertised
    cmpl $0, advertised
    jne 1f
    xgetbv
1:  ret
    .data
    .balign 4
advertised: .long 0
resume: .long 0
