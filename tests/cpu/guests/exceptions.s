# Exceptions and interrupts in ring 0 and 3, each written to a log for the host to compare.
# Loaded at 1 MiB in 8 MiB of RAM; entered at _start in flat 32-bit protected mode.
# The host answers OUT to port 0x10: 1 posts vector 0x21, 2 posts 0x22, 3 posts 0x23.

.set LOG, 0x300000        # count, then at +32 entries: vector error eip cs eflags esp cr2 handler's esp
.set RESUME, 0x300004     # where a faulting CASE goes on
.set BREAKPOINT, 0x300008 # DR6 as the #DB handler saw it
.set KERNEL_STACK, 0x320000
.set RING0_STACK, 0x318000
.set USER_STACK, 0x328000
.set READ_ONLY, 0x330000
.set DATA, 0x331000       # no-execute, like everything from 0x180000 on
.set SUPERVISOR, 0x332000
.set ABSENT, 0x333000
.set PDPT, 0x200000
.set PD, 0x201000
.set PT, 0x202000

.macro CASE name, code:vararg
    movl $after_\name, RESUME
at_\name: \code
after_\name:
.endm

.code32
.globl _start
_start:
    mov $RING0_STACK, %esp
    lgdt gdtr
    ljmp $8, $1f
1:  mov $0x10, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    movl $KERNEL_STACK, tss+4
    movl $0x10, tss+8
    movl $tss, %eax          # the TSS lies below 16 MiB
    mov %ax, gdt+40+2
    shr $16, %eax
    movb %al, gdt+40+4
    mov $0x28, %eax
    ltr %ax

    # IDT: interrupt gates of ring 0, but 3, 4, 0x81 and
    # 0x80 (a trap gate) are open to ring 3; 0x40 is absent
    mov $stubs, %eax
    mov $idt, %edi
    mov $256, %ecx
2:  mov %eax, %edx
    mov %ax, (%edi)
    movw $8, 2(%edi)
    movw $0x8e00, 4(%edi)
    shr $16, %edx
    mov %dx, 6(%edi)
    add $8, %edi
    add $16, %eax
    loop 2b
    movb $0xee, idt+3*8+5
    movb $0xee, idt+4*8+5
    movb $0xef, idt+0x80*8+5
    movb $0xee, idt+0x81*8+5
    movb $0x0e, idt+0x40*8+5
    lidt idtr

    # identity map of 8 MiB, user and writable, NX from 0x180000 on
    movl $PD+1, PDPT
    mov $PT+7, %eax
    mov $PD, %edi
    mov $4, %ecx
3:  mov %eax, (%edi)
    add $0x1000, %eax
    add $8, %edi
    loop 3b
    mov $7, %eax
    mov $PT, %edi
    mov $2048, %ecx
4:  mov %eax, (%edi)
    cmp $0x180000, %eax
    jb 5f
    movl $0x80000000, 4(%edi)
5:  add $0x1000, %eax
    add $8, %edi
    loop 4b
    andl $~2, PT + (READ_ONLY >> 12) * 8
    andl $~4, PT + (SUPERVISOR >> 12) * 8
    movl $0, PT + (ABSENT >> 12) * 8
    mov %cr4, %eax
    or $0x20, %eax
    mov %eax, %cr4
    mov $0xC0000080, %ecx
    rdmsr
    or $0x800, %eax
    wrmsr
    mov $PDPT, %eax
    mov %eax, %cr3
    mov %cr0, %eax
    or $0x80010000, %eax
    mov %eax, %cr0
    jmp ring0

ring0:
    CASE k_ud, ud2
    CASE k_int80, int $0x80
    CASE k_int3, int3
    xor %ecx, %ecx
    CASE k_div, div %ecx
    CASE k_absent, movl $1, ABSENT+4
    mov $0x7777, %eax
    CASE k_selector, mov %eax, %fs
    CASE k_readonly, movb $1, READ_ONLY+8
    mov $DATA, %eax
    CASE k_execute, jmp *%eax
    CASE k_nogate, int $0x40
    CASE k_icebp, .byte 0xf1
    CASE k_vmcall, vmcall
    CASE k_sysenter, sysenter
    mov $0x174, %ecx                # IA32_SYSENTER_CS: with it SYSEXIT would go to ring 3
    mov $8, %eax
    xor %edx, %edx
    wrmsr
    CASE k_sysexit, sysexit
    CASE k_syscall, syscall
    CASE k_step, call step
    mov $at_k_break, %eax
    mov %eax, %dr0
    mov $1, %eax
    mov %eax, %dr7
    CASE k_break, nop
    xor %eax, %eax
    mov %eax, %dr7

    # an interrupt posted with IF=1 comes at the next block
    sti
    nop
    mov $1, %al
    out %al, $0x10
    jmp at_irq_next
at_irq_next:
    nop
    # one posted with IF=0 comes after the instruction that follows STI
    cli
    mov $2, %al
    out %al, $0x10
    jmp 1f
1:  nop
    jmp 1f
1:  sti
    inc %edx
at_irq_shadow:
    nop
    # HLT waits for one
    mov $3, %al
    cli
    out %al, $0x10
    sti
    hlt
at_irq_halt:
    cli
    push $0x23
    push $USER_STACK
    push $0x202
    push $0x1b
    push $user
    iret

step:
    pushf
    orl $0x100, (%esp)
    popf
    nop
at_stepped:
    ret

user:
    CASE u_int80, int $0x80
    CASE u_ud, ud2
    xor %ecx, %ecx
    CASE u_div, div %ecx
    CASE u_int3, int3
    CASE u_cli, cli
    CASE u_hlt, hlt
    CASE u_in, in $0x60, %al
    CASE u_out, out %al, $0x10
    CASE u_absent_read, movl ABSENT+8, %eax
    CASE u_absent_write, movl $1, ABSENT+12
    CASE u_readonly, movb $1, READ_ONLY+16
    CASE u_supervisor, movb SUPERVISOR+20, %al
    mov $DATA+32, %eax
    CASE u_execute, jmp *%eax
    mov $0x33, %eax
    CASE u_selector, mov %ax, %fs
    CASE u_gate, int $0x31
    CASE u_cr0, mov %cr0, %eax
    CASE u_lgdt, lgdt gdtr
    mov $5, %eax
    CASE u_bound, bound %eax, limits
    mov $0x7fffffff, %eax
    add $1, %eax
    CASE u_into, into
    CASE u_icebp, .byte 0xf1
    CASE u_vmcall, vmcall
    CASE u_sysenter, sysenter
    CASE u_sysexit, sysexit
    CASE u_syscall, syscall
    CASE u_rdmsr, rdmsr
    CASE u_absent_stack, call lost_stack
    CASE u_done, int $0x81
hang: jmp hang

lost_stack:
    mov %esp, %ebx
    mov $ABSENT+64, %esp
at_push:
    push %eax
    jmp after_u_absent_stack

common:
    pusha
    mov LOG, %eax
    shl $5, %eax
    lea LOG+32(%eax), %edi
    mov 32(%esp), %edx
    mov %edx, (%edi)
    mov 36(%esp), %ebx
    mov %ebx, 4(%edi)
    mov 40(%esp), %ebx
    mov %ebx, 8(%edi)
    mov 44(%esp), %ebx
    mov %ebx, 12(%edi)
    mov 48(%esp), %ebx
    mov %ebx, 16(%edi)
    mov 52(%esp), %ebx
    mov %ebx, 20(%edi)
    mov %cr2, %ebx
    mov %ebx, 24(%edi)
    lea 40(%esp), %ebx
    mov %ebx, 28(%edi)
    incl LOG
    cmp $0x81, %edx
    je finished
    cmp $1, %edx
    jne 1f
    mov %dr6, %ebx
    mov %ebx, BREAKPOINT
    andl $~0x100, 48(%esp)
    orl $0x10000, 48(%esp)
    jmp 2f
1:  cmp $32, %edx
    jae 2f
    cmp $3, %edx
    je 2f
    cmp $4, %edx
    je 2f
    mov RESUME, %ebx
    mov %ebx, 40(%esp)
    cmp $14, %edx
    jne 2f
    cmpl $ABSENT+60, 24(%edi)
    jne 2f
    mov $USER_STACK, %ebx      # the user's stack was lost: give it back
    mov %ebx, 52(%esp)
2:  popa
    add $8, %esp
    iret
finished:
    cli
    hlt

.balign 16
stubs:
.set vector, 0
.rept 256
    .balign 16
    .if vector == 8 || (vector >= 10 && vector <= 14) || vector == 17
    .else
    push $0
    .endif
    push $vector
    jmp common
    .set vector, vector + 1
.endr
.balign 8
gdt: .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00cffb000000ffff, 0x00cff3000000ffff
    .quad 0x0000890000000067
gdtr: .word 47
    .long gdt
idtr: .word 2047
    .long idt
limits: .long 1, 2
.balign 16
tss: .fill 26, 4, 0
.balign 16
idt: .fill 256, 8, 0
