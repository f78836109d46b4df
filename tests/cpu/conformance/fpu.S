# FPU and SSE: state across saves, #NM, #MF, #XM.
    .include "case.inc"
    .text

    .macro CR0 set=0, clear=0
    mov %cr0, %eax
    or $\set, %eax
    and $~\clear, %eax
    mov %eax, %cr0
    xor %eax, %eax
    .endm

    CASE fninit_state, 0, 3
    fninit
    fnstcw P_USER
    fnstsw P_USER+2
    mov P_USER, %eax
    fnstenv P_USER
    movzwl P_USER+8, %ebx
    DONE
    CASE fpu_adds, 0, 3
    fld1
    fld1
    faddp
    fistpl P_USER
    mov P_USER, %eax
    DONE
    CASE fpu_ts_is_nm, 0
    CR0 8
    fld1
    CASE fpu_ts_user, 0
    CR0 8
    call to_user
    fld1
    CASE fpu_em_is_nm, 0
    CR0 4
    fld1
    CASE sse_ts_is_nm, 0
    CR0 8
    xorps %xmm0, %xmm0
    CASE sse_em_is_ud, 0
    CR0 4
    xorps %xmm0, %xmm0
    CASE mmx_ts_is_nm, 0
    CR0 8
    pxor %mm0, %mm0
    CASE sse_without_osfxsr, 0
    mov %cr4, %eax
    and $~0x200, %eax
    mov %eax, %cr4
    xor %eax, %eax
    xorps %xmm0, %xmm0
    CASE wait_ts_without_mp, 0
    CR0 8, 2
    fwait
    DONE
    CASE wait_ts_with_mp, 0
    CR0 10
    fwait
    CASE clts_ends_ts, 0
    CR0 8
    clts
    fld1
    mov %cr0, %eax
    and $8, %eax
    DONE
    CASE fxsave_fxrstor, 0, 3
    fninit
    fldpi
    mov $0x11223344, %eax
    movd %eax, %xmm3
    pshufd $0, %xmm3, %xmm3
    fxsave P_USER
    fninit
    fldz
    xorps %xmm3, %xmm3
    fxrstor P_USER
    fstps P_USER+0x400
    mov P_USER+0x400, %ecx
    movd %xmm3, %ebx
    movzbl P_USER+4, %edx
    mov P_USER+24, %esi                 # MXCSR
    xor %eax, %eax
    DONE
    CASE fxsave_unaligned, 0, 3
    fxsave P_USER+8
    CASE fsave_frstor, 0, 3
    fninit
    fldl2e
    fnsave P_USER
    fldz
    frstor P_USER
    fstps P_USER+0x400
    mov P_USER+0x400, %eax
    DONE
    CASE fpu_stack_overflow_flags, 0, 3
    .rept 9
    fld1
    .endr
    fnstsw %ax
    DONE
    CASE fpu_error_is_mf, 0
    CR0 0x20
    movw $0x37b, P_USER                 # divide by zero not masked
    fldcw P_USER
    fld1
    fldz
    fdivrp
    inc %ebx
    fwait
    inc %ebx
    DONE
    CASE fpu_divide_masked, 0, 3
    fld1
    fldz
    fdivrp
    fnstsw %ax
    fstps P_USER
    mov P_USER, %ebx
    DONE
    CASE sse_divide_is_xm, 0, 3
    movl $0x1d80, P_USER
    ldmxcsr P_USER
    mov $0x3f800000, %eax
    movd %eax, %xmm0
    xorps %xmm1, %xmm1
    divss %xmm1, %xmm0
    movd %xmm0, %ebx
    DONE
    CASE sse_divide_masked, 0, 3
    mov $0x3f800000, %eax
    movd %eax, %xmm0
    xorps %xmm1, %xmm1
    divss %xmm1, %xmm0
    movd %xmm0, %ebx
    stmxcsr P_USER
    mov P_USER, %ecx
    DONE
    CASE ldmxcsr_reserved, 0, 3
    movl $0x80011f80, P_USER
    ldmxcsr P_USER
    DONE
    CASE movaps_unaligned, 0, 3
    movaps P_USER+4, %xmm0
    DONE
    CASE movaps_absent, 0, 3
    movaps P_ABSENT, %xmm0
    CASE sse_rounding, 0, 3
    movl $0x3f80, P_USER                # down
    ldmxcsr P_USER
    mov $0x40300000, %eax               # 2.75
    movd %eax, %xmm0
    cvtss2si %xmm0, %ebx
    movl $0x5f80, P_USER                # up
    ldmxcsr P_USER
    cvtss2si %xmm0, %ecx
    xor %eax, %eax
    DONE
    CASE sse_across_interrupt, 0
    mov $0x5566, %eax
    movd %eax, %xmm7
    int $0x20
    movd %xmm7, %ebx
    xor %eax, %eax
    DONE
    CASE mmx_shares_x87, 0, 3
    fninit
    mov $0x1357, %eax
    movd %eax, %mm2
    movd %mm2, %ebx
    fnstenv P_USER
    movzwl P_USER+8, %ecx
    emms
    fnstenv P_USER
    movzwl P_USER+8, %edx
    xor %eax, %eax
    DONE
