/* Traps: interrupts go to their handlers, a page fault of copy_user becomes EFAULT, a fault of a
 * program kills it, a fault of the kernel is a panic. */
#include "kern/trap.h"
#include "drv/pic.h"
#include "kern/console.h"
#include "kern/irq.h"
#include "kern/mem.h"
#include "kern/panic.h"
#include "kern/process.h"
#include "kern/uapi.h"

#define PAGE_FAULT 14
#define FAULT_PRESENT 1u
#define FAULT_WRITE 2u
#define FAULT_FETCH 16u

extern const char copy_user[], copy_user_end[], copy_user_fault[];
int attention;
static irq_handler handlers[PIC_LINES];

static const char *const names[] = {
    "divide error", "debug", "NMI", "breakpoint", "overflow", "bound", "invalid instruction",
    "no floating point here", "double fault", "coprocessor overrun", "invalid TSS",
    "segment not present", "stack fault", "general protection", "page fault", "reserved",
    "floating point", "alignment", "machine check", "SIMD floating point"};

const char *trap_name(uint32_t vector) {
    return vector < sizeof names / sizeof *names ? names[vector] : "unexpected trap";
}

void irq_register(unsigned n, irq_handler handler) {
    assert(n < PIC_LINES && !handlers[n]);
    handlers[n] = handler;
    pic_unmask(n);
}

static int signal_of(uint32_t vector) {
    switch (vector) {
    case 0: case 16: case 19: return SIGFPE;
    case 1: case 3: return SIGTRAP;
    case 6: case 7: return SIGILL;
    default: return SIGSEGV;
    }
}

/* What the error code says: of an access, or of the entry of a table that was no good. */
void trap_say_error(const struct trap_frame *frame) {
    uint32_t error = frame->error;

    if (frame->vector == PAGE_FAULT)
        kprintf(": %s %08x, which is %s",
                error & FAULT_FETCH ? "execution of" : error & FAULT_WRITE ? "write to" : "read of",
                read_cr2(), error & FAULT_PRESENT ? "protected" : "not mapped");
    else if (frame->vector >= 10 && frame->vector <= 13 && error)
        kprintf(": entry %u of the %s%s", error >> 3, error & 2 ? "IDT" : error & 4 ? "LDT" : "GDT",
                error & 1 ? ", on the way to a handler" : "");
}

/* A program did what it may not: one line on the console, and its end. */
static void kill_program(const struct trap_frame *frame) {
    struct process *process = process_current();

    kprintf("%s[%d]: %s at %08x", process->name, process->pid, trap_name(frame->vector), frame->eip);
    trap_say_error(frame);
    kprintf("; killed\n");
    process_exit(signal_of(frame->vector));
}

/* On the way back to user mode with `attention` set. */
void trap_attend(void) {
    attention = 0;
    if (process_current()->kill_signal)
        process_exit(process_current()->kill_signal);
    thread_yield();
}

void trap(struct trap_frame *frame) {
    uint32_t vector = frame->vector;

    if (vector >= VECTOR_IRQ && vector < VECTOR_IRQ + PIC_LINES) {
        unsigned n = vector - VECTOR_IRQ;
        if (handlers[n]) /* none: the PIC's spurious 7 and 15 */
            handlers[n]();
    } else if (is_from_user(frame)) {
        kill_program(frame);
    } else if (vector == PAGE_FAULT && frame->eip >= (uintptr_t)copy_user
               && frame->eip < (uintptr_t)copy_user_end) {
        frame->eip = (uintptr_t)copy_user_fault;
    } else {
        panic_trap(frame);
    }
    if (attention && is_from_user(frame))
        trap_attend();
}
