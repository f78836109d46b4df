/* Physical pages, first fit, and the kernel's heap on top of them: blocks of one power of two to a
 * page, each size with its list of free blocks; what is larger gets pages of its own. */
#include "boot/multiboot.h"
#include "kern/layout.h"
#include "kern/mem.h"
#include "kern/panic.h"

/* State of a page. For a heap allocation in pages of its own the first one holds their number. */
#define FREE 0
#define TAKEN 1
#define SLAB 0x4000u /* | log2 of the block size */
#define LARGE 0x8000u /* | pages */
#define LARGE_MAX 0x7FFFu
#define MIN_SHIFT 4
#define MAX_SHIFT 11

struct block {
    struct block *next;
};

static uint16_t *state; /* one for each page of RAM */
static unsigned first, last, hint, free_count;
static struct block *free_blocks[MAX_SHIFT + 1];

void page_init(void) {
    uintptr_t start = (uintptr_t)kernel_end;

    if (boot_info.initrd_end > start)
        start = (boot_info.initrd_end + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
    last = boot_info.ram_end / PAGE_BYTES;
    state = (uint16_t *)start;
    first = (start + last * sizeof *state + PAGE_BYTES - 1) / PAGE_BYTES;
    if (first + 256 > last)
        panic("%u KiB of RAM are too few: the kernel and its files need %u KiB",
              boot_info.ram_end / 1024, (first + 256) * (PAGE_BYTES / 1024));
    memset(state, 0, last * sizeof *state);
    hint = first;
    free_count = last - first;
}

unsigned pages_free(void) {
    return free_count;
}

/* The first free page at or after `from` that begins `count` free ones; 0: none before `end`. */
static unsigned find(unsigned from, unsigned end, unsigned count) {
    unsigned run = 0;

    for (unsigned page = from; page < end; page++) {
        run = state[page] == FREE ? run + 1 : 0;
        if (run == count)
            return page + 1 - count;
    }
    return 0;
}

void *page_alloc(unsigned count) {
    unsigned page = 0;

    if (!count || count > free_count)
        return NULL;
    page = find(hint, last, count);
    if (!page)
        page = find(first, last, count);
    if (!page)
        return NULL;
    for (unsigned i = 0; i < count; i++)
        state[page + i] = TAKEN;
    hint = page + count;
    free_count -= count;
    return memset((void *)(page * PAGE_BYTES), 0, count * PAGE_BYTES);
}

void page_free(void *pages, unsigned count) {
    unsigned page = (uintptr_t)pages / PAGE_BYTES;

    assert(page >= first && page + count <= last);
    for (unsigned i = 0; i < count; i++) {
        assert(state[page + i] != FREE);
        state[page + i] = FREE;
    }
    if (page < hint)
        hint = page;
    free_count += count;
}

void *kmalloc(size_t bytes) {
    if (bytes > 1u << MAX_SHIFT) {
        unsigned pages = (bytes + PAGE_BYTES - 1) / PAGE_BYTES;
        void *block = pages <= LARGE_MAX ? page_alloc(pages) : NULL;
        if (block)
            state[(uintptr_t)block / PAGE_BYTES] = (uint16_t)(LARGE | pages);
        return block;
    }
    unsigned shift = bytes <= 1u << MIN_SHIFT ? MIN_SHIFT : 32 - (unsigned)__builtin_clz(bytes - 1);
    if (!free_blocks[shift]) {
        char *page = page_alloc(1);
        if (!page)
            return NULL;
        state[(uintptr_t)page / PAGE_BYTES] = (uint16_t)(SLAB | shift);
        for (unsigned at = 0; at < PAGE_BYTES; at += 1u << shift) {
            struct block *block = (struct block *)(page + at);
            block->next = free_blocks[shift];
            free_blocks[shift] = block;
        }
    }
    struct block *block = free_blocks[shift];
    free_blocks[shift] = block->next;
    return memset(block, 0, 1u << shift);
}

void kfree(void *pointer) {
    struct block *block = pointer;

    if (!block)
        return;
    unsigned kind = state[(uintptr_t)block / PAGE_BYTES];
    if (kind & LARGE) {
        page_free(block, kind & LARGE_MAX);
    } else {
        assert(kind & SLAB);
        block->next = free_blocks[kind & 0xF];
        free_blocks[kind & 0xF] = block;
    }
}
