/* The way into the kernel and out of it. Every vector has a stub that completes the CPU's frame to a
 * struct trap_frame (kern/trap.h); then C takes over, on the running thread's kernel stack, with
 * interrupts off (all gates are interrupt gates).
 *
 * DS and ES hold the user's flat data selector in kernel mode too: it serves ring 0 just as well,
 * and loading a segment register is slow. A program that changed them gets the flat ones back. */
#include "kern/trap.h"

        .macro  check_segments
        movw    %ds, %ax
        shll    $16, %eax
        movw    %es, %ax
        cmpl    $(SELECTOR_USER_DATA << 16 | SELECTOR_USER_DATA), %eax
        je      1f
        movw    $SELECTOR_USER_DATA, %ax
        movw    %ax, %ds
        movw    %ax, %es
1:
        .endm

        .text
        .balign 16
        .globl  syscall_entry
syscall_entry:                          /* int $0x80: apart, because it must be quick */
        pushl   $0
        pushl   $VECTOR_SYSCALL
        pushal
        check_segments
        cld
        pushl   %esp
        call    syscall_dispatch
        addl    $4, %esp
        popal
        addl    $8, %esp
        iret

        .balign 16
trap_common:
        pushal
        check_segments
        cld
        pushl   %esp
        call    trap
        addl    $4, %esp
        .globl  thread_begin            /* a new thread: switch_to() "returns" here */
thread_begin:
        popal
        addl    $8, %esp                /* vector, error code */
        iret

/* switch_to(uint32_t *save_esp, uint32_t load_esp): C's saved registers, then the stacks. */
        .globl  switch_to
switch_to:
        movl    4(%esp), %eax
        movl    8(%esp), %edx
        pushl   %ebx
        pushl   %esi
        pushl   %edi
        pushl   %ebp
        movl    %esp, (%eax)
        movl    %edx, %esp
        popl    %ebp
        popl    %edi
        popl    %esi
        popl    %ebx
        ret

/* copy_user(to, from, bytes): 0, or -EFAULT. A page fault inside it continues at
 * copy_user_fault (kern/trap.c), so nothing may be pushed between the two labels. */
        .globl  copy_user, copy_user_end, copy_user_fault
copy_user:
        pushl   %esi
        pushl   %edi
        movl    12(%esp), %edi
        movl    16(%esp), %esi
        movl    20(%esp), %edx
        movl    %edx, %ecx
        shrl    $2, %ecx
        rep movsl
        movl    %edx, %ecx
        andl    $3, %ecx
        rep movsb
        xorl    %eax, %eax
copy_user_end:
        popl    %edi
        popl    %esi
        ret
copy_user_fault:
        movl    $-14, %eax              /* -EFAULT */
        jmp     copy_user_end

/* The stubs. The CPU pushes an error code for 8, 10-14, 17 and 21 only [SDM 3 6.13]. */
        .balign STUB_BYTES
        .globl  trap_stubs
trap_stubs:
        .irp    vector, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27, \
                        28,29,30,31,32,33,34,35,36,37,38,39,40,41,42,43,44,45,46,47
        .balign STUB_BYTES
        .if     !(\vector == 8 || (\vector >= 10 && \vector <= 14) || \vector == 17 || \vector == 21)
        pushl   $0
        .endif
        pushl   $\vector
        jmp     trap_common
        .endr

        .section .note.GNU-stack, "", @progbits
