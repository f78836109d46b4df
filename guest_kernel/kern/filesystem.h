/* What paths mean: the initrd, which is read-only, /tmp, which is kept in memory, and /proc, whose
 * files the kernel writes when they are opened. Names are whole paths without the first slash. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct file;
struct node;

/* Copies `path` to `name` without slashes around it. */
void name_of_path(char *name, const char *path);
/* The last part of `name` if it lies in the directory `in` and not deeper, else NULL. */
const char *name_inside(const char *in, const char *name);
/* An entry for getdents64: bytes written, -EINVAL if `room` is too small, or -EFAULT. */
int put_entry(uintptr_t user, size_t room, const char *name, uint32_t index, bool is_directory);

/* open(2): 0 and a new file, or a negative errno. */
int filesystem_open(const char *path, uint32_t flags, struct file **made);

/* /tmp. `name` begins with "tmp". */
int tmpfs_open(const char *name, uint32_t flags, struct file **made);
int tmpfs_mkdir(const char *name);
int tmpfs_remove(const char *name, bool is_directory);
/* A file without a name that reads what is printed to it now. NULL: no memory. */
struct file *tmpfs_text(void);
void tmpfs_print(struct file *file, const char *format, ...) __attribute__((format(printf, 2, 3)));

int proc_open(const char *name, struct file **made);
