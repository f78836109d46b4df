/* Memory: physical pages, the kernel's heap, address spaces, and the border to user memory.
 *
 * The kernel's virtual addresses ARE physical addresses (all RAM is mapped one to one below 1 GiB,
 * supervisor only), so the address of any kernel object can be handed to a device or a hypercall.
 * User space is 0x40000000 - 0xBFFFFFFF; a user page is present from the moment it is mapped, and
 * nothing is ever paged out. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE_BYTES 4096u
#define USER_BASE 0x40000000u
#define USER_TOP 0xC0000000u

/* Physical pages. `count` neighbouring pages, zeroed; NULL when there are none. */
void *page_alloc(unsigned count);
void page_free(void *pages, unsigned count);
unsigned pages_free(void);
void page_init(void); /* all RAM behind the kernel */

/* Kernel heap: 16-byte aligned, zeroed; NULL when memory is out. kfree(NULL) does nothing. */
void *kmalloc(size_t bytes);
void kfree(void *block);

/* Copies between kernel and user memory of the running process. They check the range and survive
 * a fault: 0, or -EFAULT with the target in part written. */
int copyin(void *kernel, uintptr_t user, size_t bytes);
int copyout(uintptr_t user, const void *kernel, size_t bytes);
/* A NUL-terminated string of at most `size` bytes with its NUL: its length, -EFAULT, or
 * -ENAMETOOLONG. */
int copyin_string(char *kernel, uintptr_t user, size_t size);
/* Is [user, user + bytes) inside user space? Says nothing about what is mapped there. */
static inline bool is_user_range(uintptr_t user, size_t bytes) {
    return user >= USER_BASE && user <= USER_TOP && bytes <= USER_TOP - user;
}

/* One run of physical memory; laid out like the hypercalls' iovec. */
struct piece {
    uint64_t address;
    uint64_t length;
};
/* The physical memory behind [user, user + bytes) of the running process, neighbours merged, for a
 * device or hypercall that reads it (`write` false) or writes it (true). Fills at most `max`
 * pieces and sets *covered to the bytes they cover (less than `bytes` only if `max` was too small).
 * Returns the number of pieces, or -EFAULT if any page is not the process's to read or write. */
int user_pieces(uintptr_t user, size_t bytes, bool write, struct piece *pieces, int max,
                size_t *covered);

void *memcpy(void *to, const void *from, size_t bytes);
void *memset(void *to, int value, size_t bytes);
void *memmove(void *to, const void *from, size_t bytes);
int memcmp(const void *a, const void *b, size_t bytes);
size_t strlen(const char *text);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t bytes);
/* As in libc/include/string.h. */
#define memcpy(...) __builtin_memcpy(__VA_ARGS__)
#define memset(...) __builtin_memset(__VA_ARGS__)
