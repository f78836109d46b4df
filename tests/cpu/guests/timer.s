# Work in ring 3 and system calls, interrupted by a timer: what a trace is compared over.
# Loaded at 1 MiB in 8 MiB of RAM; entered at _start in flat 32-bit protected mode, paging off.
# System calls (int 0x80) leave for the host by OUT 0x20; after 3,000 of them OUT 0xF4 ends it.

.set COUNT, 0x300000      # system calls
.set TICKS, 0x300004      # timer interrupts
.set SUM, 0x300008

.code32
.globl _start
_start:
    mov $0x320000, %esp
    lgdt gdtr
    ljmp $8, $1f
1:  mov $0x23, %eax
    mov %eax, %ds
    mov %eax, %es
    mov $0x10, %eax
    mov %eax, %ss
    movl $0x320000, tss+4
    movl $0x10, tss+8
    movl $tss, %eax
    mov %ax, gdt+40+2
    shr $16, %eax
    movb %al, gdt+40+4
    mov $0x28, %eax
    ltr %ax
    mov $timer, %eax
    mov $idt+0x20*8, %edi
    mov $0x8e00, %edx
    call gate
    mov $system_call, %eax
    mov $idt+0x80*8, %edi
    mov $0xee00, %edx
    call gate
    lidt idtr
    push $0x23
    push $0x328000
    push $0x202
    push $0x1b
    push $user
    iret

gate:
    mov %ax, (%edi)
    movw $8, 2(%edi)
    mov %dx, 4(%edi)
    shr $16, %eax
    mov %ax, 6(%edi)
    ret

timer:
    push %eax
    incl TICKS
    mov COUNT, %eax
    imul $2654435761, %eax
    xor %eax, SUM
    pop %eax
    iret

system_call:
    push %eax
    incl COUNT
    cmpl $3000, COUNT
    jae 2f
    test $63, %al
    jnz 1f
    out %al, $0x20
1:  pop %eax
    iret
2:  xor %eax, %eax
    out %al, $0xf4
    cli
    hlt

user:
    xor %eax, %eax
1:  inc %eax
    mov %eax, %ecx
    and $31, %ecx
    inc %ecx
2:  rol $3, %ebx
    add %ecx, %ebx
    push %ebx
    pop %esi
    dec %ecx
    jnz 2b
    xor %ebx, SUM
    int $0x80
    jmp 1b

.balign 8
gdt: .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00cffb000000ffff, 0x00cff3000000ffff
    .quad 0x0000890000000067
gdtr: .word 47
    .long gdt
idtr: .word 2047
    .long idt
.balign 16
tss: .fill 26, 4, 0
.balign 16
idt: .fill 256, 8, 0
