# Code that changes, string instructions that fault halfway, atomics, time.
    .include "case.inc"
    .text

    CASE smc_same_page, 0, 3
    mov $P_CODE, %ecx
    movl $0x00c340c3, P_CODE            # ret; inc eax; ret
    call *%ecx
    movl $0xc34040, P_CODE              # inc eax twice
    call *%ecx
    DONE
    CASE smc_next_instruction, 0, 3
    mov $P_CODE, %ecx
    movl $0x400505c6, P_CODE            # movb $0x43, next; inc eax
    movl $P_CODE+7, P_CODE+2
    movb $0x43, P_CODE+6
    movb $0x40, P_CODE+7
    movb $0xc3, P_CODE+8
    call *%ecx
    DONE
    CASE smc_loop, 0, 3                 # each turn writes the constant of the next
    mov $P_CODE, %ecx
    movb $0x05, P_CODE                  # add eax, imm32; ret
    movb $0xc3, P_CODE+5
    mov $16, %edx
1:  mov %edx, P_CODE+1
    call *%ecx
    dec %edx
    jnz 1b
    DONE
    CASE smc_alias, 0                   # through another mapping, then CR3
    mov $P_USER, %ecx
    movl $0xc340, P_ALIAS
    call *%ecx
    movl $0xc343, P_ALIAS
    mov %cr3, %edx
    mov %edx, %cr3
    xor %edx, %edx
    call *%ecx
    DONE
    CASE smc_alias_at_once, 0, 3        # through another mapping, without
    mov $P_USER, %ecx
    movl $0xc340, P_ALIAS
    call *%ecx
    movl $0xc343, P_ALIAS
    call *%ecx
    DONE
    CASE smc_rep_movs, 0, 3
    movl $0xc340, P_CODE
    mov $P_CODE, %edx
    call *%edx
    movl $0xc343, P_LAST
    mov $P_LAST, %esi
    mov $P_CODE, %edi
    mov $4, %ecx
    rep movsb
    call *%edx
    DONE

    CASE rep_movs_source_ends, 0, 3
    mov $P_LAST2+0xff8, %esi
    mov $P_USER, %edi
    mov $0x20, %ecx
    rep movsb
    CASE rep_movs_target_ends, 0, 3
    mov $P_USER, %esi
    mov $P_LAST2+0xff4, %edi
    mov $0x20, %ecx
    rep movsl
    CASE rep_stos_ends, 0, 3
    mov $P_LAST2+0xff9, %edi
    mov $0x20, %ecx
    rep stosb
    CASE rep_stos_straddles, 0, 3
    mov $P_LAST2+0xff6, %edi
    mov $0x20, %ecx
    rep stosl
    CASE rep_stos_backward, 0, 3
    std
    mov $P_NX+8, %edi
    mov $0x20, %ecx
    rep stosl
    CASE rep_lods_ends, 0, 3
    mov $P_LAST+0xffc, %esi
    mov $3, %ecx
    rep lodsb
    DONE
    CASE repe_cmps_ends, 0, 3
    mov $P_LAST+0xffc, %esi
    mov $P_USER, %edi
    mov $9, %ecx
    repe cmpsb
    CASE repne_scas, 0, 3
    movb $7, P_USER+5
    mov $7, %al
    mov $P_USER, %edi
    mov $20, %ecx
    repne scasb
    DONE
    CASE rep_restart, 0                 # the handler maps the page, the instruction goes on
    mov $map_and_go, %eax
    mov %ax, idt+14*8
    shr $16, %eax
    mov %ax, idt+14*8+6
    mov $P_READONLY, %esi
    mov $P_READONLY+0xffc, %edi
    movl $0x600007|0xc000, pages_table+2*8
    invlpg P_READONLY
    mov $0xa5a5a5a5, %eax
    mov $4, %ecx
    rep stosl
    mov P_ABSENT, %ebx
    mov P_READONLY+0xffc, %edx
    xor %eax, %eax
    DONE
    CASE rep_zero, 0, 3
    mov $P_ABSENT, %edi
    rep stosb
    DONE
    CASE rep_outs, 0                    # two bytes that nobody reads
    mov $0x80, %edx
    mov $P_USER, %esi
    mov $2, %ecx
    rep outsb
    DONE
    CASE rep_ins_ends, 0
    mov $0x20, %edx
    mov $P_LAST2+0xffe, %edi
    mov $5, %ecx
    rep insb

    CASE xchg_memory, 0, 3
    movl $5, P_USER
    mov $6, %eax
    xchg %eax, P_USER
    mov P_USER, %ebx
    DONE
    CASE xchg_readonly, 0, 3            # the register stays
    mov $6, %eax
    xchg %eax, P_READONLY
    CASE xadd_readonly, 0, 3
    mov $6, %eax
    lock xadd %eax, P_READONLY
    CASE cmpxchg_fails_but_writes, 0, 3 # compares unequal: still a write
    mov $6, %eax
    lock cmpxchg %ebx, P_READONLY
    CASE cmpxchg8b, 0, 3
    movl $1, P_USER
    movl $2, P_USER+4
    mov $1, %eax
    mov $2, %edx
    mov $3, %ebx
    mov $4, %ecx
    lock cmpxchg8b P_USER
    setz %al
    mov P_USER+4, %edx
    DONE
    CASE lock_inc_many, 0, 3
    mov $20000, %ecx
1:  lock incl P_USER
    incl P_USER+4
    dec %ecx
    jnz 1b
    mov P_USER, %eax
    mov P_USER+4, %ebx
    DONE
    CASE calls_many, 0, 3               # no block is executed twice, none left out
    mov $10000, %ecx
1:  call 2f
    add $1, %eax
    loop 1b
    DONE
2:  incl P_USER
    mov P_USER, %ebx
    ret
    CASE system_calls_many, 3
    mov $2000, %ecx
1:  int $0x20
    loop 1b
    DONE
    CASE interrupts_many, 0
    mov $2000, %ecx
1:  int $0x20
    loop 1b
    mov irqs, %eax
    movl $0, irqs
    DONE
    CASE push_esp, 0, 3
    mov %esp, %ebx
    push %esp
    pop %eax
    sub %ebx, %eax
    xor %ebx, %ebx
    DONE
    CASE pop_esp_relative, 0, 3
    movl $0x77, P_USER+4
    mov %esp, %ebp
    mov $P_USER+4, %esp
    popl -4(%esp)
    mov P_USER+4, %eax
    mov %ebp, %esp
    xor %ebp, %ebp
    DONE
    CASE enter_leave_absent, 3
    mov $P_NX+8, %esp
    enter $32, $0
    push $1
    DONE
    CASE tsc_goes_on, 0, 3
    rdtsc
    mov %eax, %esi
    mov %edx, %edi
    mov $10000, %ecx
1:  loop 1b
    rdtsc
    sub %esi, %eax
    sbb %edi, %edx
    setns %bl
    or %edx, %eax
    setnz %bh
    xor %eax, %eax
    xor %edx, %edx
    xor %esi, %esi
    xor %edi, %edi
    DONE
    CASE jump_to_zero_is_code, 0        # address 0 is an address
    movl $0x42cd, 0
    xor %eax, %eax
    jmp *%eax
    CASE flags_across_pushf, 0, 3
    stc
    pushf
    pop %eax
    and $1, %eax
    std
    pushf
    pop %ebx
    and $0x400, %ebx
    cld
    DONE
    CASE cmov_absent_reads_anyway, 0, 3
    test %eax, %eax
    cmovnz P_ABSENT, %eax
    DONE
    CASE bsf_zero_keeps, 0, 3
    mov $0x99, %eax
    xor %ebx, %ebx
    bsf %ebx, %eax
    setz %cl
    DONE
    CASE bt_far_bit, 0, 3
    mov $8*0x1000+3, %eax
    movl $8, P_USER+0x1000              # the next page, if it is there and writable
    bt %eax, P_USER
    setc %bl
    xor %eax, %eax
    DONE

map_and_go:
    push %eax
    mov pages_table+10*8, %eax
    mov %eax, pages_table+3*8
    invlpg P_ABSENT
    pop %eax
    add $4, %esp
    iret
