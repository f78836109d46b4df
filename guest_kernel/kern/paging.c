/* PAE paging [SDM 3 4.4]: three levels of 64-bit entries, the only 32-bit format with an NX bit.
 * The kernel's map is one to one; its own image is in 4 KiB pages, so that code is read-only and
 * everything else cannot be executed, the rest of RAM in 2 MiB pages. */
#include "kern/paging.h"
#include "boot/multiboot.h"
#include "kern/cpu.h"
#include "kern/errno.h"
#include "kern/layout.h"
#include "kern/mem.h"
#include "kern/panic.h"
#include "kern/thread.h"

#define PRESENT 1ull
#define WRITABLE 2ull
#define USER 4ull
#define LARGE 0x80ull
#define SHARED 0x200ull /* ours, ignored by the CPU: the page belongs to no space */
#define ADDRESS 0x000FFFFFFFFFF000ull
#define LARGE_BYTES 0x200000u
#define ENTRIES 512u

#define CR0_PG_WP 0x80010000u
#define CR0_EM 0x4u
#define CR4_PAE 0x20u
#define MSR_EFER 0xC0000080u
#define EFER_NXE 0x800u
#define CPUID_PAE 0x40u
#define CPUID_NX 0x100000u

static uint64_t kernel_directory[ENTRIES] __attribute__((aligned(4096)));
static struct address_space kernel_space;
static uint64_t no_execute; /* the NX bit, 0 on a CPU without it */

static uint32_t cpuid_edx(uint32_t leaf) {
    uint32_t eax = leaf & 0x80000000u, ebx, ecx = 0, edx;

    __asm__("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
    if (eax < leaf) /* leaf 0 and 0x80000000 tell the highest one */
        return 0;
    eax = leaf;
    __asm__("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
    return edx;
}

bool paging_has_nx(void) {
    return no_execute != 0;
}

static uint64_t rights_of(uintptr_t address) {
    if (address < PAGE_BYTES || is_stack_guard(address))
        return 0; /* catch null pointers and stacks that run over */
    if (address >= (uintptr_t)kernel_start && address < (uintptr_t)kernel_text_end)
        return PRESENT;
    if (address >= (uintptr_t)kernel_start && address < (uintptr_t)kernel_rodata_end)
        return PRESENT | no_execute;
    return PRESENT | WRITABLE | no_execute;
}

void paging_init(void) {
    if (!(cpuid_edx(1) & CPUID_PAE))
        panic("this CPU has no PAE; the kernel needs it (QEMU: -cpu qemu32,+nx)");
    if (cpuid_edx(0x80000001u) & CPUID_NX) {
        no_execute = 1ull << 63;
        __asm__ volatile("rdmsr; orl %1, %%eax; wrmsr"
                         : : "c"(MSR_EFER), "i"(EFER_NXE) : "eax", "edx");
    }
    for (uintptr_t at = 0; at < boot_info.ram_end; at += LARGE_BYTES) {
        uint64_t *directory = &kernel_directory[at / LARGE_BYTES];
        if (at >= (uintptr_t)kernel_end && at + LARGE_BYTES <= boot_info.ram_end) {
            *directory = at | PRESENT | WRITABLE | LARGE | no_execute;
            continue;
        }
        uint64_t *table = page_alloc(1);
        if (!table)
            panic("no memory for the kernel's page tables");
        *directory = (uintptr_t)table | PRESENT | WRITABLE;
        for (unsigned i = 0; i < ENTRIES && at + i * PAGE_BYTES < boot_info.ram_end; i++) {
            uint64_t rights = rights_of(at + i * PAGE_BYTES);
            table[i] = rights ? (at + i * PAGE_BYTES) | rights : 0;
        }
    }
    kernel_space.pointers[0] = (uintptr_t)kernel_directory | PRESENT;
    paging_use_kernel();
    /* WP: the kernel too may not write what is read-only. EM: floating point traps. */
    __asm__ volatile("movl %%cr4, %%eax; orl %0, %%eax; movl %%eax, %%cr4\n\t"
                     "movl %%cr0, %%eax; orl %1, %%eax; movl %%eax, %%cr0"
                     : : "i"(CR4_PAE), "i"(CR0_PG_WP | CR0_EM) : "eax", "memory");
}

void space_use(const struct address_space *space) {
    static const struct address_space *used;

    if (space == used)
        return;
    used = space;
    write_cr3((uintptr_t)space);
}

void paging_use_kernel(void) {
    space_use(&kernel_space);
}

static uint64_t *table_of(uint64_t entry) {
    return (uint64_t *)(uintptr_t)(entry & ADDRESS);
}

/* The entry of `user`'s page; NULL: no table for it. */
static uint64_t *entry_of(const struct address_space *space, uintptr_t user) {
    uint64_t directory = table_of(space->pointers[user >> 30])[(user >> 21) % ENTRIES];

    return directory & PRESENT ? &table_of(directory)[(user / PAGE_BYTES) % ENTRIES] : NULL;
}

/* The same, with the table made if need be; NULL: no memory. */
static uint64_t *entry_for(struct address_space *space, uintptr_t user) {
    uint64_t *directory = &table_of(space->pointers[user >> 30])[(user >> 21) % ENTRIES];

    if (!(*directory & PRESENT)) {
        void *table = page_alloc(1);
        if (!table)
            return NULL;
        *directory = (uintptr_t)table | PRESENT | WRITABLE | USER;
    }
    return entry_of(space, user);
}

int space_create(struct address_space *space) {
    char *directories = page_alloc(2);

    if (!directories)
        return -ENOMEM;
    space->pointers[0] = kernel_space.pointers[0];
    space->pointers[1] = (uintptr_t)directories | PRESENT;
    space->pointers[2] = (uintptr_t)(directories + PAGE_BYTES) | PRESENT;
    space->pointers[3] = 0;
    return 0;
}

void space_destroy(struct address_space *space) {
    space_unmap(space, USER_BASE, USER_TOP);
    for (unsigned i = 0; i < 2 * ENTRIES; i++) {
        uint64_t directory = table_of(space->pointers[1])[i]; /* both directories, neighbours */
        if (directory & PRESENT)
            page_free(table_of(directory), 1);
    }
    page_free(table_of(space->pointers[1]), 2);
}

int space_map(struct address_space *space, uintptr_t start, uintptr_t end) {
    unsigned ready = 0;
    char *pages = NULL;

    for (uintptr_t user = start & ~(PAGE_BYTES - 1); user < end; user += PAGE_BYTES) {
        uint64_t *entry = entry_for(space, user);
        if (entry && (*entry & PRESENT))
            continue;
        for (unsigned want = (end - user + PAGE_BYTES - 1) / PAGE_BYTES; !ready && want; want /= 2)
            if ((pages = page_alloc(want)))
                ready = want;
        if (!entry || !ready) {
            if (ready)
                page_free(pages, ready);
            return -ENOMEM;
        }
        *entry = (uintptr_t)pages | PRESENT | USER | WRITABLE | no_execute;
        pages += PAGE_BYTES;
        ready--;
    }
    if (ready)
        page_free(pages, ready);
    return 0;
}

int space_share(struct address_space *space, uintptr_t start, uintptr_t end, const void *kernel,
                bool is_executable) {
    uintptr_t page = (uintptr_t)kernel & ~(PAGE_BYTES - 1);

    for (uintptr_t user = start & ~(PAGE_BYTES - 1); user < end; user += PAGE_BYTES) {
        uint64_t *entry = entry_for(space, user);
        if (!entry)
            return -ENOMEM;
        if (*entry & PRESENT)
            return -ENOEXEC;
        *entry = page | PRESENT | USER | SHARED | (is_executable ? 0 : no_execute);
        page += PAGE_BYTES;
    }
    return 0;
}

void space_unmap(struct address_space *space, uintptr_t start, uintptr_t end) {
    start = (start + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
    for (uintptr_t user = start; user < end;) {
        uint64_t *entry = entry_of(space, user);
        if (!entry) {
            user = (user + LARGE_BYTES) & ~(LARGE_BYTES - 1);
            continue;
        }
        if (*entry & PRESENT) {
            if (!(*entry & SHARED))
                page_free(table_of(*entry), 1);
            *entry = 0;
            __asm__ volatile("invlpg (%0)" : : "r"(user) : "memory");
        }
        user += PAGE_BYTES;
    }
}

int space_copy(struct address_space *to, const struct address_space *from) {
    for (uintptr_t user = USER_BASE; user < USER_TOP;) {
        uint64_t *entry = entry_of(from, user), *copy;
        if (!entry) {
            user = (user + LARGE_BYTES) & ~(LARGE_BYTES - 1);
            continue;
        }
        if (*entry & SHARED) {
            if (!(copy = entry_for(to, user)))
                return -ENOMEM;
            *copy = *entry;
        } else if (*entry & PRESENT) {
            size_t page;
            uintptr_t end = user + PAGE_BYTES; /* map neighbours at once: they stay neighbours */
            for (uint64_t *next = entry + 1;
                 end % LARGE_BYTES && (*next & (PRESENT | SHARED)) == PRESENT; next++)
                end += PAGE_BYTES;
            if (space_map(to, user, end) < 0)
                return -ENOMEM;
            memcpy(space_run(to, user, PAGE_BYTES, false, &page), table_of(*entry), PAGE_BYTES);
        }
        user += PAGE_BYTES;
    }
    return 0;
}

unsigned space_pages(const struct address_space *space) {
    unsigned count = 0;

    for (uintptr_t user = USER_BASE; user < USER_TOP; user += PAGE_BYTES) {
        const uint64_t *entry = entry_of(space, user);
        if (!entry)
            user = (user | (LARGE_BYTES - 1)) - (PAGE_BYTES - 1);
        else
            count += (*entry & (PRESENT | SHARED)) == PRESENT;
    }
    return count;
}

/* Pages are looked at four at a time: each turn of a loop costs. */
#define DIFFERS(i) ((uint32_t)entry[i] ^ (neighbour + (i) * PAGE_BYTES))

void *space_run(const struct address_space *space, uintptr_t user, size_t bytes, bool write,
                size_t *length) {
    const uint64_t *entry = entry_of(space, user);
    /* RAM ends below 4 GiB: the lower half of an entry tells all that matters. */
    uint32_t rights = (uint32_t)(write ? PRESENT | WRITABLE : PRESENT), mask = rights | ~0xFFFu;
    size_t there = PAGE_BYTES - user % PAGE_BYTES, border = LARGE_BYTES - user % LARGE_BYTES;

    if (!entry || (*(const uint32_t *)entry & rights) != rights)
        return NULL;
    char *run = (char *)table_of(*entry) + user % PAGE_BYTES;
    uint32_t neighbour = *(const uint32_t *)entry & mask;
    *length = bytes < border ? bytes : border;
    for (; there + 4 * PAGE_BYTES <= *length
           && !((DIFFERS(1) | DIFFERS(2) | DIFFERS(3) | DIFFERS(4)) & mask); there += 4 * PAGE_BYTES)
        entry += 4, neighbour += 4 * PAGE_BYTES;
    while (there < *length && (*(const uint32_t *)++entry & mask) == (neighbour += PAGE_BYTES))
        there += PAGE_BYTES;
    if (there < *length)
        *length = there;
    return run;
}
