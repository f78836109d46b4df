# Every exception that ring 0 or 3 can provoke, and what nests.
    .include "case.inc"
    .text

    CASE int_80, 0, 3
    mov $0x1234, %eax
    int $0x80
    CASE int3, 0, 3
    int3
    CASE int_3_long, 0, 3
    .byte 0xcd, 3
    CASE into, 0, 3
    mov $0x7fffffff, %eax
    inc %eax
    into
    CASE into_not, 0, 3
    xor %eax, %eax
    into
    DONE
    CASE int_gate_of_ring_0, 0, 3
    int $0x31
    CASE int_beyond_idt, 0
    sub $8, %esp
    movw $0x30*8-1, (%esp)
    movl $idt, 2(%esp)
    lidt (%esp)
    int $0x31
    CASE divide, 0, 3
    div %ecx
    CASE divide_overflow, 0, 3
    mov $5, %edx
    mov $2, %ecx
    div %ecx
    CASE idiv_most_negative, 0, 3
    mov $0x80000000, %eax
    cdq
    mov $-1, %ecx
    idiv %ecx
    CASE aam_zero, 0, 3
    .byte 0xd4, 0
    CASE bound, 0, 3
    movl $10, P_USER
    movl $20, P_USER+4
    mov $21, %eax
    bound %eax, P_USER
    CASE bound_inside, 0, 3
    movl $10, P_USER
    movl $20, P_USER+4
    mov $20, %eax
    bound %eax, P_USER
    DONE
    CASE ud2, 0, 3
    ud2
    CASE lock_register, 0, 3
    .byte 0xf0, 0x01, 0xc0
    CASE lock_mov, 0, 3
    .byte 0xf0, 0x89, 0x00
    CASE lea_register, 0, 3
    .byte 0x8d, 0xc0
    CASE mov_to_cs, 0, 3
    .byte 0x8e, 0xc8
    CASE mov_cr1, 0
    .byte 0x0f, 0x20, 0xc8
    CASE too_long, 0, 3
    .fill 15, 1, 0x66
    nop
    CASE longest, 0, 3
    .fill 14, 1, 0x66
    nop
    DONE
    CASE sysenter_hidden, 0, 3
    sysenter
    CASE sysexit_hidden, 0, 3
    sysexit
    CASE syscall_hidden, 0, 3
    .byte 0x0f, 0x05
    CASE vmcall, 0, 3
    .byte 0x0f, 0x01, 0xc1
    CASE rsm, 0
    .byte 0x0f, 0xaa

    # What only ring 0 may.
    .irp name, cli, sti, hlt, clts, invd, wbinvd, rdmsr, wrmsr
    CASE \name\()_user, 3
    \name
    DONE
    .endr
    CASE in_user, 3
    in $0x20, %al
    CASE in_dx_user, 3
    mov $0x3fd, %edx
    in %dx, %al
    CASE out_user, 3
    out %al, $0x21
    CASE out_dx_user, 3
    mov $0x3f8, %edx
    mov $0x58, %al
    out %al, %dx
    CASE insb_user, 3
    mov $0x60, %edx
    mov $P_USER, %edi
    insb
    CASE outsb_user, 3
    mov $0x3f8, %edx
    mov $P_USER, %esi
    outsb
    CASE lgdt_user, 3
    lgdt P_USER
    CASE lidt_user, 3
    lidt P_USER
    CASE ltr_user, 3
    ltr %ax
    CASE lldt_user, 3
    lldt %ax
    CASE lmsw_user, 3
    lmsw %ax
    CASE mov_cr0_user, 3
    mov %cr0, %eax
    CASE mov_to_cr3_user, 3
    mov %eax, %cr3
    CASE mov_cr4_user, 3
    mov %cr4, %eax
    CASE mov_dr_user, 3
    mov %dr7, %eax
    CASE invlpg_user, 3
    invlpg P_USER
    CASE popf_user_keeps_if_and_iopl, 3
    push $0x3202
    popf
    pushf
    pop %eax
    and $0x3202, %eax
    DONE
    CASE smsw_user, 3
    smsw %eax
    and $1, %eax
    DONE
    CASE sgdt_user, 3
    sgdt P_USER
    movzwl P_USER, %eax
    DONE
    CASE rdtsc_user_forbidden, 0
    mov %cr4, %eax
    or $4, %eax
    mov %eax, %cr4
    call to_user
    rdtsc

    # Delivery that fails.
    CASE gate_not_present, 0, 3
    andl $~0x8000, idt+6*8+4
    ud2
    CASE gate_not_present_int, 0, 3
    andl $~0x8000, idt+0x80*8+4
    int $0x80
    CASE gate_wrong_type, 0, 3
    movl $0xec00, idt+0x80*8+4
    int $0x80
    CASE gate_null_selector, 0, 3
    movw $0, idt+6*8+2
    ud2
    CASE gate_selector_beyond, 0, 3
    movw $BEYOND, idt+6*8+2
    ud2
    CASE gate_selector_data, 0, 3
    movw $KDATA, idt+6*8+2
    ud2
    CASE gate_selector_absent, 0, 3
    movw $NOCODE, idt+6*8+2
    ud2
    CASE gate_outward, 0
    movw $UCODE, idt+6*8+2
    ud2
    CASE gate_conforming, 0, 3
    movw $CONFORM, idt+6*8+2
    mov $conforming_end, %eax
    mov %ax, idt+6*8
    shr $16, %eax
    mov %ax, idt+6*8+6
    xor %eax, %eax
    ud2
conforming_end:
    mov %cs, %eax
    int $0x42
    CASE gate_trap_keeps_if, 0
    movb $0x8f, idt+6*8+5
    sti
    ud2
    CASE gate_interrupt_clears_if, 0
    movb $0xee, idt+0x80*8+5
    mov $1f, %eax
    mov %ax, idt+0x80*8
    shr $16, %eax
    mov %ax, idt+0x80*8+6
    sti
    int $0x80
1:  pushf
    pop %eax
    and $0x200, %eax
    mov 8(%esp), %ebx
    and $0x200, %ebx
    DONE
    CASE gate_16_bit, 0             # a frame of words; the gate has 16 bits of offset [SDM 3 6.11]
    movb $0x86, idt+6*8+5
    movw $0x8000, idt+6*8
    movw $0, idt+6*8+6
    movb $0xe9, 0x8000              # jmp 1f
    movl $1f-0x8005, 0x8001
2:  ud2
1:  movzwl (%esp), %eax
    sub $2b, %eax
    movzwl %ax, %eax
    movzwl 2(%esp), %ebx
    movzwl 4(%esp), %ecx
    and $0x7700, %ecx
    DONE
    CASE nested_np_gp, 0, 3         # contributory twice: #DF
    andl $~0x8000, idt+13*8+4
    mov $0xf8, %eax
    mov %ax, %fs
    CASE nested_de_gp, 0, 3
    movl $0, idt+0*8+4
    div %ecx
    CASE nested_pf_pf, 0            # the gate of #PF lies on a page that is not there
    mov $idt, %esi
    mov $P_LAST+0x1000-14*8, %edi
    mov $14*2, %ecx
    rep movsl
    xor %esi, %esi
    xor %edi, %edi
    lidt idtr_absent
    mov P_ABSENT, %eax
    CASE nested_pf_gp, 0, 3
    movl $0, idt+14*8+4
    mov P_ABSENT, %eax
    CASE nested_ud_pf, 0            # benign, then #PF: the second is served
    call idt_half_absent
    ud2
    CASE nested_ud_pf_user, 0
    call idt_half_absent
    call to_user
    ud2
    CASE nested_int_pf, 0
    call idt_half_absent
    int $5
    CASE ends_user_stack_absent, 3
    movl $P_ABSENT+0x80, tss+4
    ud2
    CASE ends_user_int_stack_absent, 3
    movl $P_ABSENT+0x80, tss+4
    int $0x80
    # A bad stack of ring 0: #TS, which is handled in ring 3 because it could not be elsewhere.
    .macro BAD_STACK name, selector
    CASE tss_\name, 3
    movl $\selector, tss+8
    mov $ts_in_ring_3, %eax
    mov %ax, idt+10*8
    shr $16, %eax
    mov %ax, idt+10*8+6
    movw $UCODE, idt+10*8+2
    xor %eax, %eax
    ud2
    .endm
    BAD_STACK null_stack, 0
    BAD_STACK stack_of_ring_3, UDATA
    BAD_STACK stack_wrong_rpl, KDATA+1
    BAD_STACK stack_code, KCODE
    BAD_STACK stack_readonly, READONLY
    BAD_STACK stack_absent, ABSENT
    BAD_STACK stack_beyond, BEYOND
    CASE ends_tss_null_stack, 3
    movl $0, tss+8
    ud2
    CASE ends_tss_too_short, 0
    mov $tss, %eax
    movb $4, gdt+5*8
    movb $0x89, gdt+5*8+5
    mov $TSS, %eax
    ltr %ax
    xor %eax, %eax
    call to_user
    ud2
    CASE stack_switch, 3
    mov %esp, %ebp
    sub $case_stack_top, %ebp
    int $0x80
    CASE ends_triple_pf, 0
    lidt idtr_nothing
    mov P_ABSENT, %eax
    CASE ends_triple_ud, 0
    lidt idtr_nothing
    ud2
    CASE ends_triple_no_stack, 0
    mov $P_ABSENT+0x100, %esp
    ud2

# Return to the caller in ring 3, with the caller's stack.
    .globl to_user
to_user:
    pop %eax
    mov %esp, %ecx
    mov $UDATA, %edx
    mov %edx, %ds
    mov %edx, %es
    mov %edx, %fs
    mov %edx, %gs
    push $UDATA
    push %ecx
    push $2
    push $UCODE
    push %eax
    xor %eax, %eax
    xor %ecx, %ecx
    xor %edx, %edx
    iret

ts_in_ring_3:
    movl $KDATA, tss+8
    pop %eax
    movzbl (%esp), %ebx                 # EIP's low byte: cases are aligned to 16
    and $15, %ebx
    mov 4(%esp), %ecx
    mov 8(%esp), %edx
    and $0x7700, %edx
    DONE

idt_half_absent:                    # vectors below 8 have their gates on a page that is not there
    mov $idt+8*8, %esi
    mov $P_NX, %edi
    mov $32, %ecx
    rep movsl
    xor %esi, %esi
    xor %edi, %edi
    lidt idtr_half
    ret

    .data
    .balign 8
    .word 0
idtr_half:
    .word 0x7ff
    .long P_NX-8*8
    .word 0
idtr_absent:
    .word 0x7ff
    .long P_LAST+0x1000-14*8
    .word 0
idtr_nothing:
    .word 0
    .long 0
