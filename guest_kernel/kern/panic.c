/* A panic page: what happened, the registers, who called whom, where to look. */
#include "kern/panic.h"
#include "boot/multiboot.h"
#include "kern/console.h"
#include "kern/cpu.h"
#include "kern/layout.h"
#include "kern/mem.h"
#include "kern/power.h"
#include "kern/process.h"
#include "kern/trap.h"

#define MAX_FRAMES 16
#define STATUS_FAULT 0x103 /* no process can end with it */

/* symbols.bin: the numbers of functions and of lines, then for each function its address and the
 * offset of its name from the table's start, then for each line its address and the offset of its
 * file's name << 14 | number; both sorted by address; then the names. */
struct symbol {
    uint32_t address, name;
};

static const struct symbol *last_before(const struct symbol *symbol, uint32_t count,
                                        uintptr_t address) {
    const struct symbol *found = NULL;

    for (; count-- && symbol->address <= address; symbol++)
        found = symbol;
    return found;
}

static void print_place(uintptr_t address) {
    const uint32_t *counts = (const uint32_t *)symbols_start;
    const struct symbol *symbols = (const struct symbol *)(counts + 2), *function, *line;

    kprintf("%08x  ", address);
    if (address < (uintptr_t)kernel_start || address >= (uintptr_t)kernel_text_end
        || !(function = last_before(symbols, counts[0], address))) {
        kprintf("?\n");
        return;
    }
    kprintf("%s+0x%x", symbols_start + function->name, address - function->address);
    line = last_before(symbols + counts[0], counts[1], address);
    if (line && line->name & 0x3FFF)
        kprintf("  %s:%u", symbols_start + (line->name >> 14), line->name & 0x3FFF);
    kprintf("\n");
}

/* EBP points to the caller's EBP, above it lies the return address; the kernel is built so. */
void backtrace(uintptr_t frame_pointer) {
    kprintf("called from:\n");
    for (int depth = 0; depth < MAX_FRAMES; depth++) {
        const uintptr_t *frame = (const uintptr_t *)frame_pointer;
        if (frame_pointer % 4 || frame_pointer < (uintptr_t)kernel_rodata_end
            || frame_pointer >= (uintptr_t)kernel_end || is_stack_guard(frame_pointer)
            || is_stack_guard(frame_pointer + 4) || !frame[1])
            break;
        kprintf("  ");
        print_place(frame[1] - 1); /* the call, not what follows it */
        if (frame[0] <= frame_pointer) /* stacks grow downwards: callers lie above */
            break;
        frame_pointer = frame[0];
    }
}

static void begin(void) {
    static int panics;

    __asm__ volatile("cli");
    if (panics++) /* while printing a panic */
        power_off(STATUS_FAULT);
    kprintf("\n*** kernel panic: ");
}

static _Noreturn void end(void) {
    const struct process *process = process_current();

    if (process)
        kprintf("while %s[%d] ran\n", process->name, process->pid);
    kprintf("look up an address: addr2line -e guest.elf -fi ADDRESS\n");
    power_off(STATUS_FAULT);
}

void panic(const char *format, ...) {
    va_list arguments;

    begin();
    va_start(arguments, format);
    kvprintf(format, arguments);
    va_end(arguments);
    kprintf("\n");
    backtrace((uintptr_t)__builtin_frame_address(0));
    end();
}

/* -fsanitize-trap puts `ud1 kind(%eax), %eax` where behaviour is undefined: 0F B9 40 kind, or
 * 0F B9 00 for kind 0. The kinds are those of LLVM's SanitizerHandler, in its order. */
static const char *undefined_kind(const uint8_t *code) {
    static const char *const kinds[] = {
        "integer addition overflow", "builtin unreachable reached", "CFI check failed",
        "integer division overflow", "dynamic type cache miss", "float cast overflow",
        "wrong function type", "implicit conversion", "invalid builtin", "invalid ObjC cast",
        "value no bool or enum allows", "missing return", "integer multiplication overflow",
        "integer negation overflow", "nullability argument", "nullability return",
        "non-null argument is null", "non-null return is null", "index out of bounds",
        "pointer overflow", "shift out of bounds", "integer subtraction overflow",
        "type mismatch: null or misaligned pointer", "alignment assumption",
        "bad size of a variable-length array"};

    if ((uintptr_t)code < (uintptr_t)kernel_start || (uintptr_t)code + 4 > (uintptr_t)kernel_text_end
        || code[0] != 0x0F || code[1] != 0xB9 || (code[2] & 0xBF))
        return NULL;
    unsigned kind = code[2] ? code[3] : 0;
    return kind < sizeof kinds / sizeof *kinds ? kinds[kind] : "undefined behaviour";
}

void panic_trap(struct trap_frame *frame) {
    const char *undefined = frame->vector == 6 ? undefined_kind((const uint8_t *)frame->eip) : NULL;

    begin();
    kprintf(undefined ? "undefined behaviour: %s" : "%s",
            undefined ? undefined : trap_name(frame->vector));
    trap_say_error(frame);
    if (frame->vector == 8)
        kprintf(", address %08x", read_cr2());
    if (frame->vector == 14 || frame->vector == 8)
        kprintf(is_stack_guard(read_cr2())  ? ": stack overrun"
                : read_cr2() < PAGE_BYTES ? ": null pointer" : "");
    kprintf("\nat ");
    print_place(frame->eip);
    kprintf("eax %08x  ebx %08x  ecx %08x  edx %08x\nesi %08x  edi %08x  ebp %08x  esp %08x\n"
            "eflags %08x  cr2 %08x  cr3 %08x\n",
            frame->eax, frame->ebx, frame->ecx, frame->edx, frame->esi, frame->edi, frame->ebp,
            frame->kernel_esp, frame->eflags, read_cr2(), read_cr3());
    backtrace(frame->ebp);
    end();
}

/* The task behind vector 8 (kern/segments.c): on its own stack, so it works when no other does. */
void double_fault(void) {
    struct trap_frame frame;

    double_fault_state(&frame);
    panic_trap(&frame);
}
