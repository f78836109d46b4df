# Segment registers, far transfers, call gates, LDT and IRET with every kind of bad selector.
    .include "case.inc"
    .text

    .macro LOAD selector, register=fs
    mov $\selector, %eax
    mov %eax, %\register
    mov %fs:0x10, %ebx
    xor %ebx, %ebx
    DONE
    .endm
    .macro IRET_TO cs, ss, flags=2, eip=1f
    push $\ss
    push $case_stack_top
    push $\flags
    push $\cs
    push $\eip
    iret
1:  xor %edi, %edi
    mov %cs, %edi
    DONE
    .endm

    CASE load_null_data, 0, 3
    xor %eax, %eax
    mov %eax, %fs
    DONE
    CASE use_null_data, 0, 3
    xor %eax, %eax
    mov %eax, %fs
    mov %fs:P_USER, %ebx
    DONE
    CASE load_beyond, 0, 3
    LOAD BEYOND
    CASE load_beyond_ldt, 0, 3
    LOAD 0x0f
    CASE load_absent, 0, 3
    LOAD ABSENT
    CASE load_kernel_data, 0, 3
    LOAD KDATA
    CASE load_execute_only, 0, 3
    LOAD EXECUTE
    CASE load_tss, 0, 3
    LOAD TSS
    CASE load_conforming_as_data, 0, 3
    LOAD CONFORM
    CASE load_null_ss, 0, 3
    xor %eax, %eax
    mov %eax, %ss
    DONE
    CASE load_ss_wrong_rpl, 0
    mov $UDATA, %eax
    mov %eax, %ss
    DONE
    CASE load_ss_readonly, 0
    mov $READONLY, %eax
    mov %eax, %ss
    DONE
    CASE load_ss_absent, 0
    mov $ABSENT, %eax
    mov %eax, %ss
    DONE
    CASE write_readonly_segment, 0, 3
    mov $READONLY|3, %eax
    mov %eax, %fs
    movl $1, %fs:P_USER
    DONE
    CASE write_code_segment, 0, 3
    movl $1, %cs:P_USER
    DONE
    CASE limit_data, 0, 3
    mov $SMALL|3, %eax
    mov %eax, %fs
    mov %fs:0x1000, %ebx
    xor %ebx, %ebx
    DONE
    CASE limit_expand_down, 0, 3
    mov $DOWN|3, %eax
    mov %eax, %fs
    mov %fs:0x10, %ebx
    xor %ebx, %ebx
    DONE
    CASE base_applies, 0, 3
    movl $0x4321, P_USER+0x20
    mov $BASED|3, %eax
    mov %eax, %fs
    mov %fs:0x20, %ebx
    DONE
    CASE accessed_bit_set, 0
    mov $SMALL, %eax
    andl $~0x100, gdt+7*8+4
    mov %eax, %fs
    mov gdt+7*8+4, %ebx
    and $0x100, %ebx
    DONE
    CASE ldt_not_loaded, 0, 3
    mov $0x0c, %eax
    mov %eax, %fs
    DONE
    CASE ldt_loaded, 0
    mov $LDT, %eax
    lldt %ax
    movl $0x55, P_USER
    mov $0x0c, %eax
    mov %eax, %fs
    mov %fs:0, %ebx
    DONE
    CASE lldt_wrong_type, 0
    mov $KDATA, %eax
    lldt %ax
    CASE lldt_absent, 0
    andl $~0x8000, gdt+6*8+4
    mov $LDT, %eax
    lldt %ax
    CASE ltr_busy, 0
    mov $TSS, %eax
    ltr %ax
    CASE ltr_wrong_type, 0
    mov $KDATA, %eax
    ltr %ax
    CASE ltr_null, 0
    xor %eax, %eax
    ltr %ax
    CASE lar_lsl_verr_verw, 0, 3
    mov $UDATA, %eax
    lar %eax, %ebx
    and $0x00f0ff00, %ebx               # the others are undefined
    lsl %eax, %ecx
    verw %ax
    setz %dl
    mov $READONLY|3, %eax
    verw %ax
    setz %dh
    mov $EXECUTE|3, %eax
    verr %ax
    setz %al
    DONE
    CASE lar_not, 0, 3
    mov $BEYOND, %eax
    lar %eax, %ebx
    setz %bl
    xor %eax, %eax
    DONE
    CASE arpl, 0, 3
    mov $0x08, %eax
    mov $3, %ecx
    arpl %cx, %ax
    setz %bl
    DONE
    CASE str_sldt, 0, 3
    str %eax
    sldt %ebx
    DONE

    CASE jmp_far, 0
    ljmp $KCODE, $1f
1:  DONE
    CASE jmp_far_null, 0, 3
    ljmp $0, $1f
1:  DONE
    CASE jmp_far_data, 0, 3
    ljmp $UDATA, $1f
1:  DONE
    CASE jmp_far_absent, 0, 3
    ljmp $NOCODE, $1f
1:  DONE
    CASE jmp_far_inward, 3
    ljmp $KCODE, $1f
1:  DONE
    CASE jmp_far_outward, 0
    ljmp $UCODE, $1f
1:  DONE
    CASE jmp_far_conforming, 0, 3
    ljmp $CONFORM, $1f
1:  mov %cs, %ebx
    DONE
    CASE jmp_far_beyond, 0, 3
    ljmp $BEYOND, $1f
1:  DONE
    CASE call_far_and_back, 0
    lcall $KCODE, $1f
    inc %ebx
    DONE
1:  inc %eax
    lret
    CASE retf_outward, 0
    push $UDATA
    push $case_stack_top
    push $UCODE
    push $1f
    lret
1:  mov %cs, %eax
    mov %ds, %ebx
    DONE
    CASE retf_inward, 3
    push $KCODE
    push $1f
    lret
1:  DONE
    .globl case_gate_call
    CASE gate_call, 0, 3
    lcall $GATE3|3, $0
    CASE gate_call_ring_0_only, 0, 3
    lcall $GATE0|3, $0
    CASE gate_call_absent, 0, 3
    lcall $GATE_ABSENT|3, $0
    CASE gate_jump, 3
    ljmp $GATE3|3, $0

    CASE iret_same, 0
    push $2
    push $KCODE
    push $1f
    iret
1:  inc %eax
    DONE
    CASE iret_outward, 0
    IRET_TO UCODE, UDATA
    CASE iret_clears_kernel_segments, 0
    mov $KDATA, %eax
    mov %eax, %gs
    push $UDATA
    push $case_stack_top
    push $2
    push $UCODE
    push $1f
    iret
1:  mov %gs, %ebx
    mov %ds, %ecx
    DONE
    CASE iret_null_cs, 0, 3
    IRET_TO 0, UDATA
    CASE iret_beyond_cs, 0, 3
    IRET_TO BEYOND, UDATA
    CASE iret_data_cs, 0, 3
    IRET_TO UDATA, UDATA
    CASE iret_absent_cs, 0, 3
    IRET_TO NOCODE|3, UDATA
    CASE iret_inward, 3
    IRET_TO KCODE, KDATA
    CASE iret_wrong_dpl, 0
    IRET_TO KCODE|3, UDATA
    CASE iret_null_ss, 0
    IRET_TO UCODE, 0
    CASE iret_ss_wrong_rpl, 0
    IRET_TO UCODE, UDATA-3
    CASE iret_ss_readonly, 0
    IRET_TO UCODE, READONLY|3
    CASE iret_ss_absent, 0
    andl $~0x8000, gdt+4*8+4
    IRET_TO UCODE, UDATA
    CASE iret_to_absent_page, 0
    IRET_TO UCODE, UDATA, 2, P_ABSENT+4
    CASE iret_flags_of_ring_3, 3
    push $UDATA
    push %esp
    push $0x3202
    push $UCODE
    push $1f
    iret
1:  pushf
    pop %eax
    and $0x3200, %eax
    DONE
    CASE iret_iopl_lets_ring_3_cli, 0
    push $UDATA
    push $case_stack_top
    push $0x3002
    push $UCODE
    push $1f
    iret
1:  cli
    pushf
    pop %eax
    and $0x3200, %eax
    DONE
    CASE iret_stack_absent, 3
    mov $P_ABSENT, %esp
    iret
    CASE iret_nt, 0                     # NT: a return to another task; its link is null
    pushf
    orl $0x4000, (%esp)
    popf
    iret
    CASE alignment_off_by_default, 0, 3
    pushf
    orl $0x40000, (%esp)
    popf
    mov P_USER+1, %eax
    DONE
    CASE alignment_check, 0
    mov %cr0, %eax
    or $0x40000, %eax
    mov %eax, %cr0
    call to_user
    pushf
    orl $0x40000, (%esp)
    popf
    mov P_USER+1, %eax
    DONE
    CASE alignment_not_in_ring_0, 0
    mov %cr0, %eax
    or $0x40000, %eax
    mov %eax, %cr0
    pushf
    orl $0x40000, (%esp)
    popf
    mov P_USER+1, %eax
    DONE
