# Single step, breakpoints and watchpoints.
    .include "case.inc"
    .text

    .macro STEP
    pushf
    orl $0x100, (%esp)
    popf
    .endm
    # Count #DB instead of ending at the first; DR6's bits are gathered.
    .macro COUNT_DB
    mov $count_db, %eax
    mov %ax, idt+1*8
    shr $16, %eax
    mov %ax, idt+1*8+6
    movl $0, steps
    movl $0, dr6_seen
    xor %eax, %eax
    .endm
    .macro REPORT_DB
    pushf
    andl $~0x100, (%esp)
    popf
    mov steps, %eax
    mov dr6_seen, %ebx
    and $0xf00f, %ebx
    xor %edx, %edx
    DONE
    .endm

    CASE step_one, 0, 3
    STEP
    nop
    nop
    CASE step_counts, 0
    COUNT_DB
    STEP
    nop
    nop
    nop
    REPORT_DB
    CASE step_rep_each_turn, 0
    COUNT_DB
    mov $3, %ecx
    mov $P_USER, %edi
    STEP
    rep stosb
    REPORT_DB
    CASE step_over_int, 0           # INT clears TF; the step comes behind IRET
    COUNT_DB
    mov $1f, %edx
    mov %dx, idt+0x80*8
    shr $16, %edx
    mov %dx, idt+0x80*8+6
    STEP
    int $0x80
    nop
    REPORT_DB
1:  iret
    CASE step_mov_ss, 0
    mov %ss, %edx
    STEP
    mov %edx, %ss
    inc %ecx
    inc %ecx
    CASE step_pushf_shows_tf, 0
    COUNT_DB
    STEP
    pushf
    pop %ecx
    and $0x100, %ecx
    REPORT_DB
    CASE step_branch, 0, 3
    STEP
    jmp 1f
    nop
1:  nop
    CASE step_fault_wins, 0, 3
    STEP
    ud2
    CASE step_user_iret_sets_tf, 0
    push $UDATA
    lea 4(%esp), %ecx
    push %ecx
    push $0x102
    push $UCODE
    push $1f
    iret
1:  nop
    nop
    CASE icebp, 0, 3
    .byte 0xf1
    CASE break_on_instruction, 0
    mov $1f, %eax
    mov %eax, %dr0
    mov $0x401, %eax
    mov %eax, %dr7
    xor %eax, %eax
    nop
1:  inc %eax
    DONE
    CASE break_second_register, 0
    mov $1f, %eax
    mov %eax, %dr3
    mov $0x4c0, %eax
    mov %eax, %dr7
    xor %eax, %eax
    nop
1:  inc %eax
    DONE
    CASE break_disabled, 0
    mov $1f, %eax
    mov %eax, %dr0
    mov $0x400, %eax
    mov %eax, %dr7
    xor %eax, %eax
1:  inc %eax
    DONE
    CASE break_in_ring_3, 0
    mov $1f, %eax
    mov %eax, %dr1
    mov $0x404, %eax
    mov %eax, %dr7
    call to_user
    nop
1:  inc %eax
    DONE
    CASE watch_write, 0
    mov $P_USER, %eax
    mov %eax, %dr0
    mov $0x000d0401, %eax
    mov %eax, %dr7
    xor %eax, %eax
    movl $1, P_USER
    inc %ebx
    DONE
    CASE watch_read, 0
    mov $P_USER, %eax
    mov %eax, %dr0
    mov $0x000f0401, %eax
    mov %eax, %dr7
    xor %eax, %eax
    mov P_USER, %ecx
    inc %ebx
    DONE
    CASE watch_elsewhere, 0
    mov $P_USER, %eax
    mov %eax, %dr0
    mov $0x000d0401, %eax
    mov %eax, %dr7
    xor %eax, %eax
    movl $1, P_USER+16
    inc %ebx
    DONE
    # WATCH bits, register, address: DR7's field of that register and its enabling bit.
    .macro WATCH number, field, address
    mov $\address, %eax
    mov %eax, %dr\number
    mov %dr7, %eax
    or $(\field << (16 + 4 * \number)) | (1 << (2 * \number)) | 0x400, %eax
    mov %eax, %dr7
    .endm
    .set WRITES_1, 1
    .set WRITES_2, 5
    .set WRITES_4, 13
    .set TOUCHES_1, 3
    .set TOUCHES_4, 15
    CASE watch_byte_in_the_middle, 0
    COUNT_DB
    WATCH 0, WRITES_1, P_USER+5
    movb $1, P_USER+4
    movb $1, P_USER+6
    movw $1, P_USER+6
    REPORT_DB
    CASE watch_byte_of_a_word, 0
    COUNT_DB
    WATCH 0, WRITES_1, P_USER+5
    movl $1, P_USER+2
    movl $1, P_USER+4
    movw $1, P_USER+4
    movw $1, P_USER+5
    movl $1, P_USER+6                   # the others lie beside it, aligned or not
    movl $1, P_USER+1
    movw $1, P_USER+3
    movw $1, P_USER+7
    movl $1, P_USER+8
    REPORT_DB
    CASE watch_beside_a_read, 0
    COUNT_DB
    WATCH 0, TOUCHES_1, P_USER+4
    mov P_USER+5, %ecx
    mov P_USER, %ecx
    mov P_USER+1, %ecx                  # the only one that reads it
    xor %ecx, %ecx
    REPORT_DB
    CASE watch_writes_not_reads, 0
    COUNT_DB
    WATCH 2, WRITES_2, P_USER+8
    mov P_USER+8, %ecx
    cmpb $0, P_USER+9
    REPORT_DB
    CASE watch_across_two_pages, 0
    COUNT_DB
    WATCH 1, TOUCHES_4, P_CODE2
    mov P_CODE2-2, %ecx
    mov P_CODE2-4, %ecx
    movl $0, P_CODE2-1
    REPORT_DB
    CASE watch_alias_is_another_address, 0
    COUNT_DB
    WATCH 0, TOUCHES_4, P_USER
    movl $1, P_ALIAS
    REPORT_DB
    CASE watch_four_registers, 0
    COUNT_DB
    WATCH 0, WRITES_1, P_USER
    WATCH 1, TOUCHES_1, P_USER+1
    WATCH 2, WRITES_2, P_USER+2
    WATCH 3, TOUCHES_4, P_KERNEL
    mov P_USER, %ecx
    movl $1, P_USER
    mov P_KERNEL, %ecx
    REPORT_DB
    CASE watch_hit_is_forgotten, 0
    COUNT_DB
    WATCH 0, WRITES_4, P_USER
    WATCH 1, WRITES_4, P_KERNEL
    movl $1, P_KERNEL
    movl $0, dr6_seen
    movl $1, P_USER
    REPORT_DB
    CASE watch_movs_both_sides, 0
    COUNT_DB
    WATCH 0, TOUCHES_1, P_USER+1
    WATCH 1, WRITES_4, P_KERNEL
    mov $P_USER, %esi
    mov $P_KERNEL, %edi
    movsl
    xor %esi, %esi
    xor %edi, %edi
    REPORT_DB
    CASE watch_ends_with_dr7, 0
    COUNT_DB
    WATCH 0, WRITES_4, P_USER
    movl $1, P_USER
    mov $0x400, %eax
    mov %eax, %dr7
    movl $1, P_USER
    REPORT_DB
    CASE watch_moves_with_dr0, 0
    COUNT_DB
    WATCH 0, WRITES_4, P_USER
    mov $P_KERNEL, %eax
    mov %eax, %dr0
    movl $1, P_USER
    movl $1, P_KERNEL
    REPORT_DB
    CASE watch_rep_each_turn, 0
    COUNT_DB
    WATCH 0, TOUCHES_4, P_USER+4
    mov $12, %ecx
    mov $P_USER, %edi
    rep stosb
    REPORT_DB
    CASE watch_push, 0
    mov %esp, %esi
    COUNT_DB
    WATCH 0, TOUCHES_4, P_KERNEL+64
    mov $P_KERNEL+68, %esp
    push $1
    mov %esi, %esp
    xor %esi, %esi
    REPORT_DB
    CASE watch_read_and_write_once, 0
    COUNT_DB
    WATCH 0, TOUCHES_4, P_USER
    incl P_USER
    lock incl P_USER
    xchg %ecx, P_USER
    xor %ecx, %ecx
    REPORT_DB
    CASE watch_in_a_loop, 0
    COUNT_DB
    WATCH 0, WRITES_4, P_USER
    mov $100, %ecx
1:  incl P_USER+64
    incl P_USER
    incl P_USER+128
    loop 1b
    mov P_USER+128, %ecx
    sub P_USER+64, %ecx
    REPORT_DB
    CASE watch_ring_3, 0
    WATCH 0, WRITES_4, P_USER
    xor %eax, %eax
    call to_user
    inc %eax
    movl $1, P_USER
    inc %eax
    DONE
    CASE watch_fault_wins, 0
    WATCH 0, WRITES_4, P_READONLY
    xor %eax, %eax
    call to_user
    movl $1, P_READONLY
    CASE watch_fpu, 0
    COUNT_DB
    WATCH 0, TOUCHES_4, P_USER+4
    fninit
    fld1
    fstpl P_USER
    fldl P_USER
    fninit
    REPORT_DB
    CASE dr_detect, 0               # general detect
    mov $0x2400, %eax
    mov %eax, %dr7
    mov %dr0, %eax
    DONE
    CASE dr_values, 0
    mov $0x12345678, %eax
    mov %eax, %dr2
    xor %eax, %eax
    mov %dr2, %ebx
    mov %dr7, %ecx
    mov %dr6, %edx
    DONE
    CASE dr4_with_de, 0
    mov %cr4, %eax
    or $8, %eax
    mov %eax, %cr4
    mov %dr4, %eax
    DONE
    CASE dr4_is_dr6, 0
    mov %dr4, %eax
    DONE

    # RF in the frame of an exception: set by a fault, clear otherwise [SDM 3 17.3.1.1].
    .macro RF_OF name, vector, place, code:vararg
    CASE rf_of_\name, 0
    mov $1f, %eax
    mov %ax, idt+\vector*8
    shr $16, %eax
    mov %ax, idt+\vector*8+6
    xor %eax, %eax
    \code
1:  mov \place(%esp), %eax
    and $0x10000, %eax
    mov $case_stack_top, %esp
    DONE
    .endm
    RF_OF invalid_opcode, 6, 8, ud2
    RF_OF page_fault, 14, 12, mov P_ABSENT, %ebx
    RF_OF protection, 13, 12, ljmp $0, $0
    RF_OF breakpoint, 3, 8, int3
    RF_OF overflow, 4, 8, int $4
    RF_OF software, 0x80, 8, int $0x80

count_db:
    incl %ss:steps
    push %eax
    mov %dr6, %eax
    or %eax, %ss:dr6_seen
    mov $0xffff0ff0, %eax
    mov %eax, %dr6
    pop %eax
    iret
    .data
    .balign 4
steps: .long 0
dr6_seen: .long 0
