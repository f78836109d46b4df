# Hardware interrupts: when they are taken, and what they wake.
    .include "case.inc"
    .text

# Let IRQ 0 come once: waits, with IF=0, until the PIC holds it.
irq_waits:
    mov $0x30, %al                  # counter 0, mode 0
    out %al, $0x43
    mov $50, %al
    out %al, $0x40
    mov $0, %al
    out %al, $0x40
    mov $0xfe, %al
    out %al, $0x21
1:  mov $0x0a, %al                  # read IRR
    out %al, $0x20
    in $0x20, %al
    test $1, %al
    jz 1b
    xor %eax, %eax
    ret

    CASE irq_masked_by_if, 0
    call irq_waits
    nop
    nop
    DONE
    CASE irq_after_sti_shadow, 0
    call irq_waits
    sti
    inc %eax
    inc %ebx
    inc %ecx
    DONE
    CASE irq_sti_cli, 0             # the shadow ends behind CLI: nothing is taken
    call irq_waits
    sti
    cli
    inc %eax
    DONE
    CASE irq_sti_sti, 0
    call irq_waits
    sti
    sti
    inc %eax
    inc %ebx
    DONE
    CASE irq_mov_ss_shadow, 0
    call irq_waits
    mov %ss, %edx
    push $0x202
    sti
    popf
    mov %edx, %ss
    inc %eax
    inc %ebx
    DONE
    CASE irq_pop_ss_shadow, 0
    call irq_waits
    push %ss
    push $0x202
    sti
    pop %edx
    pop %ss
    inc %eax
    inc %ebx
    DONE
    CASE irq_sti_then_mov_ss, 0
    call irq_waits
    mov %ss, %edx
    sti
    mov %edx, %ss
    inc %eax
    inc %ebx
    DONE
    CASE irq_after_popf, 0
    call irq_waits
    push $0x202
    popf
    inc %eax
    inc %ebx
    DONE
    CASE irq_after_iret, 0
    call irq_waits
    push $0x202
    push $KCODE
    push $1f
    iret
1:  inc %eax
    DONE
    CASE irq_on_entry_to_ring_3, 0
    call irq_waits
    push $UDATA
    lea 4(%esp), %ecx
    push %ecx
    push $0x202
    push $UCODE
    push $1f
    mov $UDATA, %ecx
    mov %ecx, %ds
    iret
1:  xor %ecx, %ecx
    inc %eax
    DONE
    CASE irq_in_a_loop_of_ring_3, 0
    mov $0x30, %al
    out %al, $0x43
    mov $200, %al
    out %al, $0x40
    mov $0, %al
    out %al, $0x40
    mov $0xfe, %al
    out %al, $0x21
    push $UDATA
    lea 4(%esp), %ecx
    push %ecx
    push $0x202
    push $UCODE
    push $1f
    mov $UDATA, %ecx
    mov %ecx, %ds
    iret
1:  cmpl $0, irqs
    je 1b
    movl $0, irqs
    xor %ecx, %ecx
    xor %eax, %eax
    DONE
    CASE irq_wakes_hlt, 0
    mov $0x30, %al
    out %al, $0x43
    mov $200, %al
    out %al, $0x40
    mov $0, %al
    out %al, $0x40
    mov $0xfe, %al
    out %al, $0x21
    xor %eax, %eax
    sti
    hlt
    inc %ebx
    DONE
    CASE irq_waiting_wakes_hlt_at_once, 0
    call irq_waits
    sti
    hlt
    inc %ebx
    DONE
    CASE irq_in_rep, 0              # the instruction goes on where it was
    cld
    mov $0x30, %al
    out %al, $0x43
    mov $20, %al
    out %al, $0x40
    mov $0, %al
    out %al, $0x40
    mov $0xfe, %al
    out %al, $0x21
    sti
1:  mov $0x5a, %al
    mov $P_USER, %edi
    mov $0x1000, %ecx
    rep stosb
    cmpl $0, irqs
    je 1b
    cli
    movl $0, irqs
    sub $P_USER, %edi
    movzbl P_USER, %eax
    movzbl P_USER+0xfff, %ebx
    DONE
    CASE irq_withdrawn_by_mask, 0
    call irq_waits
    mov $0xff, %al
    out %al, $0x21
    sti
    nop
    nop
    cli
    xor %eax, %eax
    DONE
    CASE irq_with_trap_gate, 0
    movb $0x8f, idt+0x20*8+5
    call irq_waits
    sti
    nop
    inc %ebx
    cli
    DONE
    CASE irq_whose_gate_is_absent, 0
    andl $~0x8000, idt+0x20*8+4
    call irq_waits
    sti
    nop
    inc %ebx
    CASE int_20_is_no_irq, 0        # a software interrupt through the timer's gate
    int $0x20
    mov irqs, %eax
    DONE
