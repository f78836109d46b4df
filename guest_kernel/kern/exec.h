/* From an ELF file in the initrd to a process that can run. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct process;
struct trap_frame;

#define MAX_STRINGS 96

/* The strings a program starts with, argv's and then envp's. */
struct arguments {
    unsigned argument_count, count; /* of argv; of both */
    unsigned used;
    uint16_t at[MAX_STRINGS];
    char text[3072];
};

/* Collect them from user memory. 0, -EFAULT or -E2BIG. */
int exec_arguments(struct arguments *arguments, uintptr_t argv, uintptr_t envp);
/* Give `process` a new address space with the program at `path`; the old one, if any, is dropped
 * once nothing can fail. An empty argv becomes { path }. 0 with `frame` set to the program's
 * beginning, or -ENOENT, -ENOEXEC, -ENOMEM, -E2BIG with nothing changed. */
int exec_load(const char *path, struct arguments *arguments, struct process *process,
              struct trap_frame *frame);
