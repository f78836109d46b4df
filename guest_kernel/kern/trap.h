/* Traps: everything that makes the CPU enter the kernel. */
#pragma once

#define SELECTOR_KERNEL_CODE 0x08
#define SELECTOR_KERNEL_DATA 0x10
#define SELECTOR_USER_CODE 0x1B
#define SELECTOR_USER_DATA 0x23
#define VECTOR_IRQ 0x20
#define VECTOR_SYSCALL 0x80
#define TRAP_VECTORS 48 /* the CPU's and the PICs' */
#define STUB_BYTES 16   /* distance of the entry stubs of two vectors */

#ifndef __ASSEMBLER__
#include <stdint.h>

/* What trap_entry.S and the CPU leave on the kernel stack, lowest address first. */
struct trap_frame {
    uint32_t edi, esi, ebp, kernel_esp, ebx, edx, ecx, eax; /* pushal */
    uint32_t vector, error;
    uint32_t eip, cs, eflags; /* pushed by the CPU [SDM 3 6.12] */
    uint32_t esp, ss;         /* only if it came from user mode */
};

static inline int is_from_user(const struct trap_frame *frame) {
    return frame->cs & 3;
}

/* GDT, IDT and the TSS whose esp0 is the stack that traps from user mode begin on. */
void segments_init(void);
void set_trap_stack(uintptr_t top);
void double_fault_state(struct trap_frame *frame);

/* Somebody must look before user code goes on: the tick wants another thread to run, or a process
 * is to die. One word, so that the way out of a system call tests only this. */
extern int attention;

/* What to do then, before user mode. */
void trap_attend(void);
const char *trap_name(uint32_t vector);
void trap_say_error(const struct trap_frame *frame);
#endif
