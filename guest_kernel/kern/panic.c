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
#define STATUS_FAULT 3 /* the machine's exit status after a panic */

/* symbols.bin: the number of functions, then for each its address and the offset of its name from
 * the table's start, sorted by address; then the names. */
struct symbol {
    uint32_t address, name;
};

const char *symbol_at(uintptr_t address, uint32_t *offset) {
    const uint32_t *count = (const uint32_t *)symbols_start;
    const struct symbol *symbol = (const struct symbol *)(count + 1), *found = NULL;

    if (address < (uintptr_t)kernel_start || address >= (uintptr_t)kernel_text_end
        || symbols_end - symbols_start < 4)
        return "?";
    for (uint32_t i = 0; i < *count && symbol[i].address <= address; i++)
        found = &symbol[i];
    if (!found)
        return "?";
    *offset = address - found->address;
    return symbols_start + found->name;
}

static void print_place(uintptr_t address) {
    uint32_t offset = 0;
    const char *name = symbol_at(address, &offset);

    kprintf("%08x  %s+0x%x\n", address, name, offset);
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
    if (undefined)
        kprintf("undefined behaviour: %s", undefined);
    else
        kprintf("%s, error code %x", trap_name(frame->vector), frame->error);
    if (frame->vector == 14 || frame->vector == 8)
        kprintf(", address %08x%s", read_cr2(), is_stack_guard(read_cr2()) ? ": stack overrun"
                                                : read_cr2() < PAGE_BYTES  ? ": null pointer" : "");
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
