/* Threads: a kernel stack each, run in turn. User code is preempted by the tick; kernel code runs
 * until it sleeps, yields or returns to user mode. Precondition of everything here: interrupts
 * are off (see irq.h). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "kern/time.h"

#define MAX_THREADS 32
#define THREAD_STACK_BYTES 8192u

struct process;
struct trap_frame;

enum thread_state { THREAD_FREE, THREAD_READY, THREAD_RUNNING, THREAD_SLEEPING };

struct wait_queue {
    struct thread *first; /* linked by thread.queue_next */
};

struct thread {
    uint32_t esp; /* saved stack pointer while it does not run */
    enum thread_state state;
    struct thread *run_next;   /* run queue */
    struct thread *queue_next; /* wait queue */
    struct wait_queue *queue;  /* where it sleeps, or NULL */
    uint64_t wake_ns;          /* time that ends the sleep */
    int wake_result;           /* what sleep_on() returns */
    struct process *process;   /* NULL: the idle thread */
    uintptr_t stack_top;
};

extern struct thread *current;

/* Sleep until wake_all(queue) (0), `timeout_ns` is over (-ETIMEDOUT; FOREVER: never) or the process
 * is killed (-EINTR: give up at once). A timeout is seen at the next tick. Look again at what you
 * waited for after every return. */
int sleep_on(struct wait_queue *queue, uint64_t timeout_ns);
/* Every sleeper of `queue` becomes ready. From interrupt handlers too. */
void wake_all(struct wait_queue *queue);
/* Let the others go first. */
void thread_yield(void);
/* For the rest of the kernel itself. */
void thread_init(void);
_Noreturn void thread_idle(void); /* the boot thread ends here and runs when no other can */
/* A thread that enters user mode as `frame` says, in `process`; NULL: no slot. */
struct thread *thread_start(struct process *process, const struct trap_frame *frame);
_Noreturn void thread_exit(void);
void thread_interrupt(struct thread *thread); /* end its sleep with -EINTR */
void thread_tick(uint64_t now_ns); /* from the timer: end sleeps that have lasted */
bool is_stack_guard(uintptr_t address); /* the page below a kernel stack */
