# Entry, exception stubs, and how a case is entered and left.

    .section .multiboot, "a"
    .balign 4
    .long 0x1badb002, 0, -0x1badb002

    .text
    .globl _start, run_case, leave_case, stubs, saved_esp, gate_target, case_stack_top
_start:
    mov $stack_top, %esp
    xor %ebp, %ebp
    push %ebx
    push %eax
    call kernel_main
1:  hlt
    jmp 1b

# void run_case(entry, ring): returns when leave_case is called.
run_case:
    pusha
    mov %esp, saved_esp
    mov 36(%esp), %eax
    mov 40(%esp), %ebx
    test %ebx, %ebx
    jz 1f
    mov $0x23, %ecx
    mov %ecx, %ds
    mov %ecx, %es
    mov %ecx, %fs
    mov %ecx, %gs
    push $0x23
    push $case_stack_top
    push $2
    push $0x1b
    jmp 2f
1:  mov $case_stack_top, %esp
    push $2
    push $0x08
2:  push %eax
    xor %eax, %eax
    xor %ebx, %ebx
    xor %ecx, %ecx
    xor %edx, %edx
    xor %esi, %esi
    xor %edi, %edi
    xor %ebp, %ebp
    iret

leave_case:
    mov saved_esp, %esp
    popa
    ret

# What GATE3 leads to: ends the case in ring 0.
gate_target:
    mov %cs, %edi
    mov %ss, %esi
    mov (%esp), %ebp            # EIP of the caller
    sub $case_gate_call, %ebp
    int $0x42

# One stub for each vector: error code (or 0) and vector, then all registers.
    .balign 16
stubs:
    .set vector, 0
    .rept 256
    .balign 16
    .if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17)
    push $0
    .endif
    push $vector
    jmp common
    .set vector, vector+1
    .endr

common:
    pusha
    push %ds
    push %es
    mov %cr2, %eax
    push %eax
    mov $0x10, %eax
    mov %eax, %ds
    mov %eax, %es
    cld
    mov %esp, %eax
    push %eax
    call trap
    add $8, %esp
    pop %es
    pop %ds
    popa
    add $8, %esp
    iret

    .bss
    .balign 4096
    .skip 8192
stack_top:
    .skip 8192
    .globl ring0_stack_top
ring0_stack_top:
    .skip 8192
case_stack_top:
    .skip 64
saved_esp: .skip 4
