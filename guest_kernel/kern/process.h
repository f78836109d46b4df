/* Processes: an address space, open files, one thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "kern/paging.h"
#include "kern/thread.h"

#define MAX_PROCESSES (MAX_THREADS - 1)
#define MAX_FILES 4096
#define STACK_BYTES 0x10000u /* user stack, below USER_TOP */

struct file;
struct trap_frame;

struct process {
    struct address_space space;
    int pid; /* 0: the slot is free */
    struct process *parent;
    struct thread *thread;
    uintptr_t brk_start, brk_end; /* heap: [brk_start, brk_end) */
    struct file **files;          /* by descriptor; `files_size` places, NULL: closed */
    int files_size;
    int files_low;   /* no free descriptor below this one */
    int group;       /* of processes: who gets the same ^C */
    uint32_t ignored; /* signals, a bit each */
    uint32_t ticks;  /* of the timer while it ran */
    int kill_signal; /* not 0: die on the way back to user mode */
    bool is_zombie;
    int status; /* for waitpid */
    struct wait_queue children;
    char name[16];
};

/* The running process; NULL in the idle thread. */
static inline struct process *process_current(void) {
    return current->process;
}

/* Make the first process run the program that `words` begin with ("PATH,argument,..."); panics if
 * it cannot. */
void process_start_init(const char *words);
/* The running process goes on in a copy too: the child's pid, in the child 0. */
int process_fork(const struct trap_frame *frame);
/* Replace the running program; on success `frame` is where the new one begins. argv and envp are
 * user addresses, 0: empty. */
int process_exec(const char *path, uintptr_t argv, uintptr_t envp, struct trap_frame *frame);
/* pid of a dead child (-1: any; less: of the group -pid) and its status; `is_waiting`: sleep until there is one, else 0. */
int process_wait(int pid, bool is_waiting, int *status);
_Noreturn void process_exit(int status);
/* To a process, or to the group -pid (0: one's own): 0, -ESRCH, or -EINVAL. Who does not ignore the
 * signal dies at the next way out of the kernel; init only by its own faults. */
int process_kill(int pid, int signal);
/* setpgid(2): 0, or -ESRCH. */
int process_set_group(int pid, int group);
/* Slot n, perhaps a free one (pid 0); NULL behind the last. */
const struct process *process_in_slot(unsigned n);
/* Move the end of the heap; answers the end there is then. */
uintptr_t process_brk(uintptr_t end);
