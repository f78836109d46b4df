/* The read-only file system: a cpio archive in memory. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct file;
struct stat;

/* Read the archive's table of contents; panics if it is damaged. */
void initrd_init(void);
/* The content of a regular file at the beginning of a page, there to stay as it is, so that it can
 * be mapped into address spaces; NULL: no such file, or no memory. */
const char *initrd_pages(const char *path, size_t *bytes);
/* -ENOENT, -ENOTDIR, -EROFS, -ENOMEM, or 0 and a new file. */
int initrd_open(const char *path, uint32_t flags, struct file **made);
/* Is it a file opened here? Then its content (NULL for a directory) and length. */
int initrd_content(const struct file *file, const char **data, uint32_t *bytes);
/* Directory entries from file->offset on, as getdents64 wants them: bytes written, or -errno. */
int initrd_entries(struct file *file, uintptr_t user, size_t bytes);
