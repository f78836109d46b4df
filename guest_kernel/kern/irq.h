/* Interrupt requests.
 *
 * Kernel code runs with interrupts off: from the entry of a system call or an interrupt until iret,
 * sleep_on() or the idle loop. So an interrupt handler never finds a system call half done and
 * nothing in the kernel needs a lock. irq_save() is there for code that runs before that holds. */
#pragma once

#include "kern/cpu.h"

/* Called with interrupts off and the PIC already acknowledged. It must not sleep; it may wake. */
typedef void (*irq_handler)(void);

/* Give IRQ `n` (0-15) a handler and unmask it. Each line has at most one. */
void irq_register(unsigned n, irq_handler handler);

/* Interrupts off; returns the flags to give back to irq_restore(). */
static inline uint32_t irq_save(void) {
    uint32_t flags = eflags();
    __asm__ volatile("cli" : : : "memory");
    return flags;
}
static inline void irq_restore(uint32_t flags) {
    if (flags & EFLAGS_IF) __asm__ volatile("sti" : : : "memory");
}
