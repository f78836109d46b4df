/* The read-only file system: a cpio archive in memory. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct file;

/* Read the archive's table of contents; panics if it is damaged. */
void initrd_init(void);
/* The content of a regular file at the beginning of a page, there to stay as it is, so that it can
 * be mapped into address spaces; NULL: no such file, or no memory. */
const char *initrd_pages(const char *path, size_t *bytes);
/* `name` has no slashes around it. -ENOENT, -ENOTDIR, -EISDIR, -EROFS, -ENOMEM, or 0 and a file. */
int initrd_open(const char *name, uint32_t flags, struct file **made);
