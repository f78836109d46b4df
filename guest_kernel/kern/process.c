/* Processes: made by fork, ended by exit or a signal, collected by waitpid. */
#include "kern/process.h"
#include "kern/console.h"
#include "kern/errno.h"
#include "kern/exec.h"
#include "kern/file.h"
#include "kern/mem.h"
#include "kern/panic.h"
#include "kern/power.h"
#include "kern/trap.h"
#include "kern/uapi.h"

#define FIRST_FILES 16

static struct process processes[MAX_PROCESSES];
static struct process *init;
static int last_pid;

static struct process *new_process(struct process *parent) {
    for (struct process *process = processes; process < processes + MAX_PROCESSES; process++)
        if (!process->pid) {
            *process = (struct process){.parent = parent, .files_size = FIRST_FILES};
            if (parent)
                process->files_size = parent->files_size;
            process->files = kmalloc((size_t)process->files_size * sizeof *process->files);
            if (!process->files)
                return NULL;
            process->pid = ++last_pid;
            process->group = parent ? parent->group : process->pid;
            process->ignored = parent ? parent->ignored : 0;
            return process;
        }
    return NULL;
}

/* Give back everything but the slot: the parent may still ask for the status. */
static void release(struct process *process) {
    for (int i = 0; i < process->files_size; i++)
        if (process->files[i])
            file_put(process->files[i]);
    kfree(process->files);
    process->files = NULL;
    process->files_size = 0;
    paging_use_kernel();
    if (process->space.pointers[1])
        space_destroy(&process->space);
}

/* "PATH,argument,...": commas, because a blank ends a word of the command line. */
static void split_words(struct arguments *arguments, const char *words) {
    arguments->count = 1;
    do {
        bool is_end = *words == ',' && arguments->count < MAX_STRINGS;
        arguments->text[arguments->used++] = is_end ? 0 : *words;
        if (is_end)
            arguments->at[arguments->count++] = (uint16_t)arguments->used;
    } while (*words++);
    arguments->argument_count = arguments->count;
}

void process_start_init(const char *words) {
    struct trap_frame frame;
    struct process *process = init = new_process(NULL);
    struct arguments *arguments = kmalloc(sizeof *arguments);
    struct file *console = console_open();

    if (!process || !arguments || !console)
        panic("no memory for the first process");
    split_words(arguments, words);
    int result = exec_load(arguments->text, arguments, process, &frame);
    if (result < 0)
        panic("cannot start %s (error %d): is it in the initrd? See init= on the command line",
              arguments->text, -result);
    kfree(arguments);
    console->references = 3;
    for (int i = 0; i < 3; i++)
        process->files[i] = console;
    process->thread = thread_start(process, &frame);
}

int process_fork(const struct trap_frame *frame) {
    struct process *parent = process_current(), *child = new_process(parent);
    struct trap_frame child_frame = *frame;

    if (!child)
        return -EAGAIN;
    memcpy(child->name, parent->name, sizeof child->name);
    child->brk_start = parent->brk_start;
    child->brk_end = parent->brk_end;
    for (int i = 0; i < parent->files_size; i++)
        if ((child->files[i] = parent->files[i]))
            file_get(child->files[i]);
    child_frame.eax = 0;
    if (space_create(&child->space) == 0 && space_copy(&child->space, &parent->space) == 0)
        child->thread = thread_start(child, &child_frame);
    if (!child->thread) {
        release(child);
        space_use(&parent->space);
        child->pid = 0;
        return -ENOMEM;
    }
    return child->pid;
}

int process_exec(const char *path, uintptr_t argv, uintptr_t envp, struct trap_frame *frame) {
    struct process *process = process_current();
    struct arguments *arguments = kmalloc(sizeof *arguments);
    int result = arguments ? exec_arguments(arguments, argv, envp) : -ENOMEM;

    if (result == 0)
        result = exec_load(path, arguments, process, frame);
    kfree(arguments);
    return result;
}

_Noreturn void process_exit(int status) {
    struct process *process = process_current();

    if (process == init) {
        uint32_t code = status & 0x7F ? 128u + (status & 0x7F) : (uint32_t)status >> 8;
        kprintf("%s has ended with status %u: power off\n", process->name, code);
        power_off(code);
    }
    release(process);
    for (struct process *child = processes; child < processes + MAX_PROCESSES; child++)
        if (child->pid && child->parent == process)
            child->parent = init;
    process->is_zombie = true;
    process->status = status;
    process->thread = NULL;
    wake_all(&process->parent->children);
    wake_all(&init->children); /* perhaps it has just been given zombies */
    thread_exit();
}

int process_wait(int pid, bool is_waiting, int *status) {
    struct process *parent = process_current();

    for (;;) {
        bool has_child = false;
        for (struct process *child = processes; child < processes + MAX_PROCESSES; child++) {
            if (!child->pid || child->parent != parent || (pid > 0 && child->pid != pid)
                || (pid < -1 && child->group != -pid))
                continue;
            has_child = true;
            if (child->is_zombie) {
                int dead = child->pid;
                *status = child->status;
                child->pid = 0;
                return dead;
            }
        }
        if (!has_child)
            return -ECHILD;
        if (!is_waiting)
            return 0;
        int result = sleep_on(&parent->children, FOREVER);
        if (result < 0)
            return result;
    }
}

/* Signals that end nobody: SIGCHLD, SIGCONT, SIGURG, SIGWINCH; and those that would stop a process,
 * which this kernel can't. */
#define HARMLESS (1u << 17 | 1u << 18 | 1u << 23 | 1u << 28)
#define STOPPING (1u << 19 | 1u << 20 | 1u << 21 | 1u << 22)

int process_kill(int pid, int signal) {
    int result = -ESRCH, group = pid < 0 ? -pid : pid ? 0 : process_current()->group;

    if ((unsigned)signal >= 32 || 1u << signal & STOPPING)
        return -EINVAL;
    for (struct process *process = processes; process < processes + MAX_PROCESSES; process++) {
        if (!process->pid || process->is_zombie
            || (group ? process->group != group : process->pid != pid))
            continue;
        result = 0;
        if (signal && process != init && !(1u << signal & (process->ignored | HARMLESS))) {
            process->kill_signal = signal;
            thread_interrupt(process->thread);
        }
    }
    return result;
}

int process_set_group(int pid, int group) {
    for (struct process *process = processes; process < processes + MAX_PROCESSES; process++)
        if (process->pid && process->pid == (pid ? pid : process_current()->pid)
            && (process == process_current() || process->parent == process_current())) {
            process->group = group ? group : process->pid;
            return 0;
        }
    return -ESRCH;
}

const struct process *process_in_slot(unsigned n) {
    return n < MAX_PROCESSES ? &processes[n] : NULL;
}

uintptr_t process_brk(uintptr_t end) {
    struct process *process = process_current();
    uintptr_t now = process->brk_end;

    if (end < process->brk_start || end > USER_TOP - 2 * STACK_BYTES)
        return now;
    if (end > now && space_map(&process->space, now, end) < 0) {
        space_unmap(&process->space, now, end);
        return now;
    }
    if (end < now)
        space_unmap(&process->space, end, now);
    return process->brk_end = end;
}
