/* Page tables: the kernel's own map, and the address space of a process. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The four page directory pointers that CR3 names, one for each GiB: kernel, user, user, nothing. */
struct address_space {
    uint64_t pointers[4];
} __attribute__((aligned(32)));

/* Build the kernel's map and turn paging on. */
void paging_init(void);
/* Data pages are not executable. False: the CPU has no NX bit. */
bool paging_has_nx(void);
void paging_use_kernel(void); /* the map without any user space */

/* 0, or -ENOMEM. */
int space_create(struct address_space *space);
void space_destroy(struct address_space *space);
int space_copy(struct address_space *to, const struct address_space *from);
/* New zeroed pages to read and write at [start, end), rounded out to pages; those already there
 * stay. Physically neighbouring where memory allows. 0, or -ENOMEM. */
int space_map(struct address_space *space, uintptr_t start, uintptr_t end);
/* Pages of the kernel's at [start, end), read-only, not copied by fork and never freed. `kernel`
 * has the same offset in its page as `start`. 0, -ENOMEM, or -ENOEXEC: something is there. */
int space_share(struct address_space *space, uintptr_t start, uintptr_t end, const void *kernel,
                bool is_executable);
/* Forget the pages that begin inside [start, end). */
void space_unmap(struct address_space *space, uintptr_t start, uintptr_t end);
/* Pages that belong to this space alone. */
unsigned space_pages(const struct address_space *space);
/* Where [user, user + bytes), which is in user space, lies in physical memory: as much of it as lies
 * behind each other there, and not across a border of 2 MiB, is *length bytes. NULL: its first page is
 * not mapped, or `write` and not writable. */
void *space_run(const struct address_space *space, uintptr_t user, size_t bytes, bool write,
                size_t *length);
/* The space that user addresses mean from now on. Free of cost if it already is. */
void space_use(const struct address_space *space);
