/* The conformance kernel: enters each case, catches what it provokes, and prints one line about it.
 *
 * It knows nothing of what is right: the same image runs on Leulo's two deliverers and on QEMU, and
 * tools/conformance.py compares the lines. The cases are the assembly files beside this one. */

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

struct frame {
    u32 cr2, es, ds;
    u32 edi, esi, ebp, unused, ebx, edx, ecx, eax;
    u32 vector, error, eip, cs, eflags, esp, ss; /* the last two only from ring 3 */
};

struct test {
    const char *name;
    u32 entry, ring;
};

extern const struct test cases_start[], cases_end[];
extern u8 stubs[], gate_target[], case_stack_top[], ring0_stack_top[];
extern void run_case(u32 entry, u32 ring);
extern void leave_case(void) __attribute__((noreturn));

#define PRESENT 1u
#define WRITABLE 2u
#define USER 4u
#define LARGE 0x80u
#define NX (1ull << 63)
#define PAGES 0xc00000u
#define FRAMES 0x600000u /* where the pages of the table lie */
#define FIRST_IRQ 0x20

u64 gdt[32] __attribute__((aligned(16)));
u64 idt[256] __attribute__((aligned(16)));
u32 tss[27], tss_other[27];
u64 ldt[4];
u64 pointers[4] __attribute__((aligned(32)));
u64 directory[512] __attribute__((aligned(4096)));
u64 pages_table[512] __attribute__((aligned(4096)));
u32 directory32[1024] __attribute__((aligned(4096)));
/* Cases read these, and set what they want to find in their line. */
volatile u32 irqs, irq_at, irq_sp;
static u32 entry, ring, nested, has_nx;

static inline void outb(u16 port, u8 value) {
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline u8 inb(u16 port) {
    u8 value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static void put(char c) {
    while (!(inb(0x3fd) & 0x20)) {
    }
    outb(0x3f8, (u8)c);
}

static void puts(const char *text) {
    while (*text)
        put(*text++);
}

static void put_hex(u32 value) {
    int shift = 28;
    while (shift && !(value >> shift))
        shift -= 4;
    for (; shift >= 0; shift -= 4)
        put("0123456789abcdef"[value >> shift & 15]);
}

/* A name and a number; zero is left out. */
static void field(const char *name, u32 value) {
    if (value) {
        put(' ');
        puts(name);
        put('=');
        put_hex(value);
    }
}

/* An address as a distance where it can be one, so that a line survives a change elsewhere. */
static void place(const char *name, u32 value) {
    u32 top = (u32)case_stack_top, inner = (u32)ring0_stack_top;
    put(' ');
    puts(name);
    put('=');
    if (value - entry < 0x800) {
        put('+');
        value -= entry;
    } else if (top - value < 0x1000) {
        puts("top-");
        value = top - value;
    } else if (inner - value < 0x1000) {
        puts("ring0-");
        value = inner - value;
    } else if (value - 0x100000 < 0x100000) {
        puts("kernel");
        return;
    }
    put_hex(value);
}

static u64 segment(u32 base, u32 limit, u32 access, u32 flags) {
    return (u64)(base >> 24) << 56 | (u64)flags << 52 | (u64)(limit >> 16 & 15) << 48 |
           (u64)access << 40 | (u64)(base & 0xffffff) << 16 | (limit & 0xffff);
}

static u64 gate(u32 offset, u32 selector, u32 access) {
    return (u64)(offset >> 16) << 48 | (u64)access << 40 | selector << 16 | (offset & 0xffff);
}

static void reload(u64 *table, u32 bytes, int is_idt) {
    struct {
        u16 limit;
        u32 base;
    } __attribute__((packed)) pointer = {(u16)(bytes - 1), (u32)table};
    if (is_idt)
        __asm__ volatile("lidt %0" : : "m"(pointer));
    else
        __asm__ volatile("lgdt %0" : : "m"(pointer));
}

static void segments_anew(void) {
    gdt[0] = 0;
    gdt[1] = segment(0, 0xfffff, 0x9b, 12);
    gdt[2] = segment(0, 0xfffff, 0x93, 12);
    gdt[3] = segment(0, 0xfffff, 0xfb, 12);
    gdt[4] = segment(0, 0xfffff, 0xf3, 12);
    gdt[5] = segment((u32)tss, sizeof tss - 1, 0x89, 0);
    gdt[6] = segment((u32)ldt, sizeof ldt - 1, 0x82, 0);
    gdt[7] = segment(0, 0xfff, 0xf3, 4);
    gdt[8] = segment(0, 0xfff, 0xf7, 4);
    gdt[9] = segment(0, 0xfffff, 0x73, 12);
    gdt[10] = segment(0, 0xfffff, 0xf1, 12);
    gdt[11] = segment(0, 0xfffff, 0xf9, 12);
    gdt[12] = segment(0, 0xfffff, 0x9f, 12);
    gdt[13] = gate((u32)gate_target, 8, 0xec);
    gdt[14] = gate((u32)gate_target, 8, 0x8c);
    gdt[15] = segment(PAGES, 0xffff, 0xf3, 4);
    gdt[16] = segment(0, 0xfffff, 0x7b, 12);
    gdt[17] = gate((u32)gate_target, 8, 0x6c);
    ldt[1] = segment(PAGES, 0xffff, 0xf3, 4);
    reload(gdt, 18 * 8, 0);
    __asm__ volatile("ljmp $8, $1f\n1:\n"
                     "mov %0, %%ds\nmov %0, %%es\nmov %0, %%fs\nmov %0, %%gs\nmov %0, %%ss\n"
                     : : "r"(0x10));
    tss[1] = (u32)ring0_stack_top;
    tss[2] = 0x10;
    tss[25] = sizeof tss << 16; /* no I/O permission bitmap */
    __asm__ volatile("ltr %w0\nlldt %w1" : : "r"(0x28), "r"(0));
    for (int i = 0; i < 256; i++) {
        int dpl = i == 3 || i == 4 || i == 0x42 || i == 0x80 ? 3 : 0;
        idt[i] = gate((u32)stubs + 16 * (u32)i, 8, 0x8e | (u32)dpl << 5);
    }
    reload(idt, sizeof idt, 1);
}

static void pages_anew(void) {
    static const u16 rights[13] = {7, 3, 5, 0, 7, 1, 7, 7, 7, 0, 7, 7, 7};
    u32 cr0, cr4;
    __asm__ volatile("mov %%cr0, %0\nmov %%cr4, %1" : "=r"(cr0), "=r"(cr4));
    __asm__ volatile("mov %0, %%cr0" : : "r"(cr0 & 0x7ffffff1u));
    for (u32 i = 0; i < 512; i++) {
        directory[i] = (u64)i << 21 | LARGE | USER | WRITABLE | PRESENT;
        pages_table[i] = 0;
    }
    for (u32 i = 0; i < 13; i++) {
        volatile u32 *page = (volatile u32 *)(FRAMES + (i << 12));
        for (u32 at = 0; at < 1024; at++)
            page[at] = 0;
        pages_table[i] = (FRAMES + (i << 12)) | rights[i];
    }
    if (has_nx)
        pages_table[4] |= NX;
    pages_table[6] = FRAMES | 7;
    pages_table[7] |= 1ull << 50;
    directory[PAGES >> 21] = (u32)pages_table | 7;
    directory[8] = 0x800000 | LARGE | USER | WRITABLE | PRESENT;
    pointers[0] = (u32)directory | PRESENT;
    for (u32 i = 0; i < 1024; i++)
        directory32[i] = i << 22 | LARGE | USER | WRITABLE | PRESENT;
    /* PAE and OSFXSR and OSXMMEXCPT; NXE; paging and WP, no TS, EM, MP, AM */
    __asm__ volatile("mov %0, %%cr4\nmov %1, %%cr3" : : "r"(0x620), "r"(pointers));
    if (has_nx)
        __asm__ volatile("wrmsr" : : "a"(0x800), "d"(0), "c"(0xc0000080));
    __asm__ volatile("mov %0, %%cr0" : : "r"(0x80010033));
}

static void all_anew(void) {
    __asm__ volatile("cli");
    pages_anew();
    segments_anew();
    __asm__ volatile("mov %0, %%dr7\nmov %0, %%dr0\nmov %0, %%dr1\nmov %0, %%dr2\nmov %0, %%dr3\n"
                     "mov %1, %%dr6\nfninit" : : "r"(0), "r"(0xffff0ff0));
    static const u32 mxcsr = 0x1f80;
    __asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
    /* PIC: vectors 0x20 and 0x28, all masked, nothing in service; PIT: counter 0 stopped */
    static const u8 words[][2] = {{0x20, 0x11}, {0xa0, 0x11}, {0x21, 0x20}, {0xa1, 0x28},
                                  {0x21, 4},    {0xa1, 2},    {0x21, 1},    {0xa1, 1},
                                  {0x21, 0xff}, {0xa1, 0xff}, {0x43, 0x30}};
    for (u32 i = 0; i < sizeof words / 2; i++)
        outb(words[i][0], words[i][1]);
    irqs = irq_at = irq_sp = 0;
    nested = 0;
}

static void report(const struct frame *f, u32 sp) {
    u32 dr6 = 0;
    if (f->vector == 0x42) {
        puts(" done");
    } else {
        field("vector", f->vector);
        if (!f->vector)
            puts(" vector=0");
        field("error", f->error);
        place("at", f->eip);
    }
    if (f->vector == 14)
        place("cr2", f->cr2);
    if (f->vector == 1) {
        __asm__ volatile("mov %%dr6, %0" : "=r"(dr6));
        field("dr6", dr6 & 0xf00f);
    }
    field("cs", f->cs == (ring ? 0x1bu : 8u) ? 0 : f->cs);
    place("sp", sp);
    field("flags", f->eflags & 0x00247700); /* RF has cases of its own */
    field("eax", f->eax);
    field("ebx", f->ebx);
    field("ecx", f->ecx);
    field("edx", f->edx);
    field("esi", f->esi);
    field("edi", f->edi);
    field("ebp", f->ebp);
    field("irqs", irqs);
    if (irqs) {
        place("irq_at", irq_at);
        place("irq_sp", irq_sp);
    }
}

void trap(struct frame *f) {
    u32 sp = f->cs & 3 ? f->esp : (u32)&f->esp;
    if (f->vector >= FIRST_IRQ && f->vector < FIRST_IRQ + 16) {
        irqs++;
        irq_at = f->eip;
        irq_sp = sp;
        outb(0x20, 0x20);
        return;
    }
    if (nested++) { /* the kernel itself is wrong */
        puts(" BROKEN\n");
        outb(0xf4, 1);
    }
    report(f, sp);
    leave_case();
}

/* Is the name the word's, which ends at a blank? */
static int is(const char *name, const char *word) {
    while (*name && *name == *word)
        name++, word++;
    return !*name && (!*word || *word == ' ');
}

/* The words: only=NAME, or without=NAME. */
void kernel_main(u32 magic, const u32 *info) {
    const char *words = magic == 0x2badb002 && info[0] & 4 ? (const char *)info[4] : "";
    const char *only = 0, *without = 0;
    for (const char *at = words; *at; at++)
        if (at[0] == 'o' && at[1] == 'n' && at[2] == 'l' && at[3] == 'y' && at[4] == '=')
            only = at + 5;
        else if (at[0] == 'o' && at[1] == 'u' && at[2] == 't' && at[3] == '=')
            without = at + 4;
    u32 leaf = 0x80000001, features;
    __asm__ volatile("cpuid" : "+a"(leaf), "=d"(features) : : "ebx", "ecx");
    has_nx = features >> 20 & 1;
    outb(0x3f9, 0);
    outb(0x3fb, 3);
    for (const struct test *t = cases_start; t < cases_end; t++) {
        const char *a = t->name;
        /* names that begin with "ends_" end the machine: only if asked for */
        int is_last = a[0] == 'e' && a[1] == 'n' && a[2] == 'd' && a[3] == 's' && a[4] == '_';
        if (only ? !is(a, only) : is_last || (without && is(a, without)))
            continue;
        entry = t->entry;
        ring = t->ring;
        all_anew();
        puts(t->name);
        put('@');
        put_hex(ring);
        while (!(inb(0x3fd) & 0x40)) { /* the case may end the machine */
        }
        run_case(entry, ring);
        put('\n');
    }
    all_anew();
    puts("end\n");
    outb(0xf4, 0);
    for (;;)
        __asm__ volatile("hlt");
}
