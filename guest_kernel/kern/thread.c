/* Threads, and who runs next: a queue, first come, first served, a turn at most a tick long. */
#include "kern/thread.h"
#include "kern/errno.h"
#include "kern/irq.h"
#include "kern/mem.h"
#include "kern/panic.h"
#include "kern/process.h"
#include "kern/trap.h"

/* A guard page, never mapped, and then the stack: running over it is a double fault, not silence. */
struct stack {
    uint8_t guard[PAGE_BYTES];
    uint8_t bytes[THREAD_STACK_BYTES];
};
struct stack thread_stacks[MAX_THREADS] __attribute__((aligned(4096)));
_Static_assert(sizeof(struct stack) == 12288, "boot.S begins at the end of the first one");

static struct thread threads[MAX_THREADS];
struct thread *current = &threads[0]; /* the boot thread, later the idle thread */
static struct thread *run_first, **run_end = &run_first;

void switch_to(uint32_t *save_esp, uint32_t load_esp);
void thread_begin(void);

bool is_stack_guard(uintptr_t address) {
    uintptr_t offset = address - (uintptr_t)thread_stacks;

    return offset < sizeof thread_stacks && offset % sizeof(struct stack) < PAGE_BYTES;
}

void thread_init(void) {
    current->state = THREAD_RUNNING;
    current->stack_top = (uintptr_t)(&thread_stacks[0] + 1);
}

static void make_ready(struct thread *thread) {
    thread->state = THREAD_READY;
    thread->run_next = NULL;
    *run_end = thread;
    run_end = &thread->run_next;
}

/* Give the CPU to the next ready thread; the caller has put `current` where it belongs. */
static void schedule(void) {
    struct thread *previous = current, *next = run_first;

    if (next) {
        run_first = next->run_next;
        if (!run_first)
            run_end = &run_first;
    } else {
        next = &threads[0];
    }
    next->state = THREAD_RUNNING;
    if (next == previous)
        return;
    current = next;
    set_trap_stack(next->stack_top);
    if (next->process && next->process->kill_signal)
        attention = 1; /* an earlier way out has cleared it */
    if (next->process && next->process != previous->process) /* kernel threads use any space */
        space_use(&next->process->space);
    switch_to(&previous->esp, next->esp);
}

void thread_yield(void) {
    if (!run_first)
        return;
    if (current != &threads[0])
        make_ready(current);
    schedule();
}

_Noreturn void thread_idle(void) {
    for (;;) {
        thread_yield();
        /* STI takes effect after the next instruction, so no interrupt slips in before HLT. */
        __asm__ volatile("sti; hlt; cli" : : : "memory");
    }
}

static void leave_queue(struct thread *thread) {
    struct thread **link = &thread->queue->first;

    while (*link != thread)
        link = &(*link)->queue_next;
    *link = thread->queue_next;
    thread->queue = NULL;
}

int sleep_on(struct wait_queue *queue, uint64_t timeout_ns) {
    assert(!(eflags() & EFLAGS_IF) && current != &threads[0]);
    if (current->process && current->process->kill_signal)
        return -EINTR;
    current->wake_ns = timeout_ns == FOREVER ? FOREVER : time_now_ns() + timeout_ns;
    current->queue = queue;
    current->queue_next = queue->first;
    queue->first = current;
    current->state = THREAD_SLEEPING;
    current->wake_result = 0;
    schedule();
    return current->wake_result;
}

void wake_all(struct wait_queue *queue) {
    while (queue->first) {
        struct thread *thread = queue->first;
        leave_queue(thread);
        make_ready(thread);
        attention = 1; /* it need not wait for the next tick */
    }
}

static void end_sleep(struct thread *thread, int result) {
    leave_queue(thread);
    thread->wake_result = result;
    make_ready(thread);
    attention = 1;
}

void thread_interrupt(struct thread *thread) {
    attention = 1;
    if (thread->state == THREAD_SLEEPING)
        end_sleep(thread, -EINTR);
}

void thread_tick(uint64_t now_ns) {
    attention = 1;
    if (current->process)
        current->process->ticks++;
    for (struct thread *thread = threads; thread < threads + MAX_THREADS; thread++)
        if (thread->state == THREAD_SLEEPING && thread->wake_ns <= now_ns)
            end_sleep(thread, -ETIMEDOUT);
}

struct thread *thread_start(struct process *process, const struct trap_frame *frame) {
    unsigned n = 1;

    while (n < MAX_THREADS && threads[n].state != THREAD_FREE)
        n++;
    if (n == MAX_THREADS)
        return NULL;
    uintptr_t stack_top = (uintptr_t)(&thread_stacks[n] + 1);
    /* What switch_to pops: EBP (0 ends a backtrace), EDI, ESI, EBX, and where to go on. */
    uint32_t *esp = memcpy((void *)(stack_top - sizeof *frame), frame, sizeof *frame);
    memcpy(esp -= 5, (uint32_t[]){0, 0, 0, 0, (uintptr_t)thread_begin}, 20);
    threads[n] = (struct thread){(uintptr_t)esp, .process = process, .stack_top = stack_top};
    make_ready(&threads[n]);
    return &threads[n];
}

_Noreturn void thread_exit(void) {
    current->state = THREAD_FREE; /* nobody can take the slot before we are off its stack */
    schedule();
    panic("a dead thread runs");
}
