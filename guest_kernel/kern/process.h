/* Processes: an address space, open files, one thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "kern/thread.h"

struct file;
struct trap_frame;

struct process {
    uint64_t pdpt[4] __attribute__((aligned(32))); /* page directory pointers: CR3 points here */
    int pid;                                       /* 0: the slot is free */
    struct process *parent;
    struct thread *thread;
    uintptr_t brk_start, brk_end; /* heap: [brk_start, brk_end) */
    struct file **files;          /* by descriptor; `files_size` places, NULL: closed */
    int files_size;
    int files_low;   /* no free descriptor below this one */
    int kill_signal; /* not 0: die on the way back to user mode */
    bool is_zombie;
    int status; /* for waitpid */
    struct wait_queue children;
    char name[16];
};

/* The running process; NULL in a kernel thread. */
static inline struct process *process_current(void) {
    return current->process;
}
