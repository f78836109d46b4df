/* The heap: one list of blocks in address order, first fit, neighbours joined when freed
 * [POSIX malloc]. Simple to read; fast enough, since servers keep and re-use what they allocate. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define UNIT 16              /* sizes and addresses are multiples of it */
#define GROW_BYTES (64 << 10) /* least that is asked of the kernel at once */

struct block {          /* in front of every piece of memory given out */
    size_t size;        /* bytes, this head included */
    struct block *next; /* next free block; of a block in use: IN_USE */
    uint32_t pad[2];
};
#define IN_USE ((struct block *)0xA110CA7E)

static struct block *free_blocks; /* in address order */

/* Puts a block into the free list and joins it with a neighbour it touches. */
static void insert(struct block *b) {
    struct block **link = &free_blocks, *before = NULL;

    while (*link && *link < b) {
        before = *link;
        link = &before->next;
    }
    b->next = *link;
    *link = b;
    if (b->next && (char *)b + b->size == (char *)b->next) {
        b->size += b->next->size;
        b->next = b->next->next;
    }
    if (before && (char *)before + before->size == (char *)b) {
        before->size += b->size;
        before->next = b->next;
    }
}

static int grow(size_t size) {
    size = (size + GROW_BYTES - 1) & ~(size_t)(GROW_BYTES - 1);
    struct block *b = sbrk((intptr_t)size);

    if (b == (void *)-1)
        return -1;
    b->size = size;
    insert(b);
    return 0;
}

void *malloc(size_t size) {
    if (size > (size_t)1 << 30) {
        errno = ENOMEM;
        return NULL;
    }
    size = (size + sizeof(struct block) + UNIT - 1) & ~(size_t)(UNIT - 1);
    for (;;) {
        for (struct block **link = &free_blocks; *link; link = &(*link)->next) {
            struct block *b = *link;
            if (b->size < size)
                continue;
            if (b->size < size + 2 * UNIT) { /* all of it */
                *link = b->next;
            } else { /* its end: the list stays as it is */
                b->size -= size;
                b = (struct block *)((char *)b + b->size);
                b->size = size;
            }
            b->next = IN_USE;
            return b + 1;
        }
        if (grow(size) < 0)
            return NULL;
    }
}

void free(void *memory) {
    struct block *b = (struct block *)memory - 1;

    if (!memory)
        return;
    if (b->next != IN_USE) /* freed twice, or written over */
        __builtin_trap(); /* the kernel shows where */
    insert(b);
}

void *calloc(size_t count, size_t size) {
    void *memory = size && count > ((size_t)1 << 30) / size ? NULL : malloc(count * size);

    if (memory)
        memset(memory, 0, count * size);
    return memory;
}

void *realloc(void *old, size_t size) {
    size_t had = old ? ((struct block *)old - 1)->size - sizeof(struct block) : 0;

    if (old && size <= had)
        return old;
    void *memory = malloc(size);
    if (memory && old) {
        memcpy(memory, old, had);
        free(old);
    }
    return memory;
}
