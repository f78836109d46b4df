/* GDT, TSS and IDT. Segments are flat: protection is paging's business; they are only needed to
 * have two privilege levels [SDM 3 3.4.5, 6.11, 7.2.1]. */
#include "kern/cpu.h"
#include "kern/mem.h"
#include "kern/trap.h"

struct tss {
    uint32_t link, esp0, ss0, unused[4], cr3, eip, eflags, eax, ecx, edx, ebx, esp, ebp, esi, edi;
    uint32_t es, cs, ss, ds, fs, gs, ldt;
    uint16_t trap, io_map;
};
struct gate {
    uint16_t offset_low, selector;
    uint8_t zero, type;
    uint16_t offset_high;
};

#define GATE_TASK 0x85
#define GATE_INTERRUPT 0x8E
#define GATE_DPL3 0x60
#define SELECTOR_TSS 0x28
#define SELECTOR_DOUBLE_FAULT 0x30
#define VECTOR_DOUBLE_FAULT 8

extern const char trap_stubs[], syscall_entry[];
void double_fault(void);

static uint64_t gdt[7] = {
    0,
    0x00CF9A000000FFFF, /* kernel code */
    0x00CF92000000FFFF, /* kernel data */
    0x00CFFA000000FFFF, /* user code */
    0x00CFF2000000FFFF, /* user data */
};
static struct tss tss = {.ss0 = SELECTOR_KERNEL_DATA, .io_map = sizeof(struct tss)};
/* A double fault is mostly a kernel stack run over, so it gets a task, and stack, of its own. */
static uint8_t double_fault_stack[4096] __attribute__((aligned(16)));
static struct tss double_fault_tss = {.io_map = sizeof(struct tss), .eflags = 2};
static struct gate idt[256];

static uint64_t tss_descriptor(const struct tss *at) {
    uint64_t base = (uintptr_t)at;

    return (sizeof *at - 1) | (base & 0xFFFFFF) << 16 | 0x89ULL << 40 | (base >> 24) << 56;
}

static void set_gate(unsigned vector, const void *code, uint16_t selector, uint8_t type) {
    uintptr_t offset = (uintptr_t)code;

    idt[vector] = (struct gate){(uint16_t)offset, selector, 0, type, (uint16_t)(offset >> 16)};
}

void segments_init(void) {
    gdt[SELECTOR_TSS / 8] = tss_descriptor(&tss);
    gdt[SELECTOR_DOUBLE_FAULT / 8] = tss_descriptor(&double_fault_tss);
    struct {
        uint16_t limit;
        const void *base;
    } __attribute__((packed)) gdtr = {sizeof gdt - 1, gdt}, idtr = {sizeof idt - 1, idt};
    __asm__ volatile("lgdt %0\n\t"
                     "ljmp %1, $1f\n"
                     "1:\tmovl %2, %%ss\n\t"
                     "movl %3, %%ds\n\t"
                     "movl %3, %%es\n\t"
                     "movl %4, %%fs\n\t"
                     "movl %4, %%gs"
                     :
                     : "m"(gdtr), "i"(SELECTOR_KERNEL_CODE), "r"(SELECTOR_KERNEL_DATA),
                       "r"(SELECTOR_USER_DATA), "r"(0)
                     : "memory");

    for (unsigned vector = 0; vector < TRAP_VECTORS; vector++)
        set_gate(vector, trap_stubs + vector * STUB_BYTES, SELECTOR_KERNEL_CODE, GATE_INTERRUPT);
    set_gate(3, trap_stubs + 3 * STUB_BYTES, SELECTOR_KERNEL_CODE, GATE_INTERRUPT | GATE_DPL3);
    set_gate(VECTOR_SYSCALL, syscall_entry, SELECTOR_KERNEL_CODE, GATE_INTERRUPT | GATE_DPL3);
    set_gate(VECTOR_DOUBLE_FAULT, NULL, SELECTOR_DOUBLE_FAULT, GATE_TASK);

    double_fault_tss.cr3 = read_cr3();
    double_fault_tss.eip = (uintptr_t)double_fault;
    double_fault_tss.esp = (uintptr_t)double_fault_stack + sizeof double_fault_stack - 4;
    double_fault_tss.cs = SELECTOR_KERNEL_CODE;
    double_fault_tss.ss = SELECTOR_KERNEL_DATA;
    double_fault_tss.ds = double_fault_tss.es = SELECTOR_USER_DATA;
    __asm__ volatile("lidt %0; ltr %w1" : : "m"(idtr), "r"(SELECTOR_TSS) : "memory");
}

void set_trap_stack(uintptr_t top) {
    tss.esp0 = top;
}

/* The processor's state at the double fault, saved into the ordinary TSS by the task switch. */
void double_fault_state(struct trap_frame *frame) {
    *frame = (struct trap_frame){
        .edi = tss.edi, .esi = tss.esi, .ebp = tss.ebp, .kernel_esp = tss.esp, .ebx = tss.ebx,
        .edx = tss.edx, .ecx = tss.ecx, .eax = tss.eax, .vector = VECTOR_DOUBLE_FAULT,
        .eip = tss.eip, .cs = tss.cs, .eflags = tss.eflags};
}
