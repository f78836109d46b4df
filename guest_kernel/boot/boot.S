/* The first instructions. A multiboot loader leaves us in 32-bit protected mode with flat segments,
 * paging and interrupts off, EAX = 0x2BADB002 and EBX = the address of its information structure
 * [multiboot 1 3.2]. All that is needed before C is a stack; .bss is already zero. */
#define HEADER_MAGIC 0x1BADB002
#define HEADER_FLAGS 0x00000003         /* modules page-aligned; memory size wanted */

        .section .multiboot, "a", @progbits     /* kernel.ld puts it first [multiboot 1 3.1.1] */
        .balign 4
        .long   HEADER_MAGIC, HEADER_FLAGS, -(HEADER_MAGIC + HEADER_FLAGS)

        .text
        .globl  _start
_start: cld
        movl    $thread_stacks + 12288, %esp    /* the first thread's (kern/thread.c) */
        xorl    %ebp, %ebp              /* ends every backtrace */
        subl    $8, %esp                /* C wants ESP + 4 a multiple of 16 at a function's entry */
        pushl   %ebx
        pushl   %eax
        call    kernel_main             /* never returns */

        .section .note.GNU-stack, "", @progbits
