/* Runs as init: provokes the kernel and prints a line a check, "ok NAME" or "FAILED NAME ...".
 * test_kernel_semantics.py builds it, boots it and reads the lines. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kern/syscall.h"

#define KERNEL_ADDRESS ((void *)0x100000)
#define UNMAPPED ((void *)0x80000000)

static int failures;

/* System calls that libc has no name for. */
static long raw(long number, long a, long b, long c)
{
    long result;

    __asm__ volatile("int $0x80" : "=a"(result) : "0"(number), "b"(a), "c"(b), "d"(c) : "memory");
    if (result >= 0 || result < -4095)
        return result;
    errno = (int)-result;
    return -1;
}

static int kill(pid_t pid, int signal)
{
    return (int)raw(SYS_kill, pid, signal, 0);
}

static void check(int good, const char *name, long got)
{
    if (good)
        printf("ok %s\n", name);
    else
        printf("FAILED %s: got %ld, errno %d\n", name, got, errno);
    failures += !good;
}

/* The status of a child that runs `body`. */
static int child(void (*body)(void))
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        body();
        _exit(99);
    }
    return waitpid(pid, &status, 0) == pid ? status : -1;
}

static void dies_of(int signal, void (*body)(void), const char *name)
{
    int status = child(body);

    check(status == signal, name, status);
}

static void null_read(void) { *(volatile int *)NULL; }
static void null_call(void)
{
    void (*volatile nothing)(void) = NULL;
    nothing();
}
static void kernel_read(void) { *(volatile int *)KERNEL_ADDRESS; }
static void kernel_write(void) { *(volatile int *)KERNEL_ADDRESS = 1; }
static void text_write(void) { *(volatile char *)(void *)text_write = 0; }
static void constant_write(void) { *(volatile char *)(void *)"constant" = 0; }
static void stack_run(void)
{
    char code[] = {(char)0xC3};
    ((void (*)(void))(void *)code)();
}
static void heap_run(void)
{
    char *code = malloc(1);
    *code = (char)0xC3;
    ((void (*)(void))(void *)code)();
}
static void port_in(void) { __asm__ volatile("inb $0x60, %%al" : : : "eax"); }
static void port_out(void) { __asm__ volatile("outl %%eax, %%dx" : : "d"(0x5E0), "a"(0)); }
static void interrupts_off(void) { __asm__ volatile("cli"); }
static void halt(void) { __asm__ volatile("hlt"); }
static void break_point(void) { __asm__ volatile("int3"); }
static void interrupt_gate(void) { __asm__ volatile("int $0x20"); }
static void invalid(void) { __asm__ volatile("ud2"); }
static void floating(void) { __asm__ volatile("fld1"); }
static void divide(void) { __asm__ volatile("xorl %%ecx, %%ecx; divl %%ecx" : : : "eax", "ecx", "edx"); }
static void control_register(void) { __asm__ volatile("movl %%cr3, %%eax" : : : "eax"); }
static void stack_overrun(void) { __asm__ volatile("1: pushl %eax; jmp 1b"); }
static void bad_stack_call(void)
{
    /* The kernel never uses the user's stack: a system call works without one. */
    __asm__ volatile("movl $0x1000, %%esp; movl $1, %%eax; movl $7, %%ebx; int $0x80" : : : "memory");
}
static void own_segments(void)
{
    __asm__ volatile("pushl %%ds; popl %%eax; xorl %%eax, %%eax; movl %%eax, %%es; movl %%eax, %%ds;"
                     "movl $1, %%eax; movl $8, %%ebx; int $0x80" : : : "eax", "memory");
}

static void traps(void)
{
    dies_of(SIGSEGV, null_read, "null-read");
    dies_of(SIGSEGV, null_call, "null-call");
    dies_of(SIGSEGV, kernel_read, "kernel-read");
    dies_of(SIGSEGV, kernel_write, "kernel-write");
    dies_of(SIGSEGV, text_write, "text-write");
    dies_of(SIGSEGV, constant_write, "constant-write");
    dies_of(SIGSEGV, stack_run, "stack-run");
    dies_of(SIGSEGV, heap_run, "heap-run");
    dies_of(SIGSEGV, port_in, "port-in");
    dies_of(SIGSEGV, port_out, "port-out");
    dies_of(SIGSEGV, interrupts_off, "cli");
    dies_of(SIGSEGV, halt, "hlt");
    dies_of(SIGTRAP, break_point, "int3");
    dies_of(SIGSEGV, interrupt_gate, "irq-by-int");
    dies_of(SIGILL, invalid, "ud2");
    dies_of(SIGILL, floating, "floating-point");
    dies_of(SIGFPE, divide, "divide");
    dies_of(SIGSEGV, control_register, "control-register");
    dies_of(SIGSEGV, stack_overrun, "stack-overrun");
    dies_of(7 << 8, bad_stack_call, "call-without-stack");
    dies_of(8 << 8, own_segments, "call-without-segments");
}

static void fails(long result, int error, const char *name)
{
    check(result == -1 && errno == error, name, result);
}

static void pointers(void)
{
    char b[8];
    int file = open("/bin/init", O_RDONLY);

    fails(write(1, KERNEL_ADDRESS, 4), EFAULT, "write-from-kernel");
    fails(write(1, NULL, 4), EFAULT, "write-from-null");
    fails(write(1, UNMAPPED, 4), EFAULT, "write-from-unmapped");
    fails(write(1, (void *)0xFFFFFFF0, 64), EFAULT, "write-wraps");
    fails(write(1, (void *)0x40000000, 0x80000001u), EFAULT, "write-past-user-space");
    fails(read(file, KERNEL_ADDRESS, 4), EFAULT, "read-to-kernel");
    fails(read(file, (void *)(long)text_write, 4), EFAULT, "read-to-text");
    fails(read(file, (void *)0xBFFFFFFC, 64), EFAULT, "read-past-top");
    fails(open(KERNEL_ADDRESS, 0), EFAULT, "path-in-kernel");
    fails(open(UNMAPPED, 0), EFAULT, "path-unmapped");
    fails(poll(UNMAPPED, 3, 0), EFAULT, "poll-unmapped");
    fails(execv("/bin/init", UNMAPPED), EFAULT, "exec-argv-unmapped");
    fails(clock_gettime(CLOCK_MONOTONIC, KERNEL_ADDRESS), EFAULT, "time-to-kernel");
    fails(write(99, b, 1), EBADF, "write-bad-fd");
    fails(read(-1, b, 1), EBADF, "read-negative-fd");
    fails(bind(1, (struct sockaddr *)b, sizeof b), ENOTSOCK, "bind-on-console");
    check(close(file) == 0, "close", 0);
    fails(close(file), EBADF, "close-twice");
}

static void files(void)
{
    char b[64];
    struct dirent *entry;
    int found = 0, file = open("/www/hello.txt", O_RDONLY), first, last, next;
    DIR *folder = opendir("/");

    check(read(file, b, sizeof b) == 6 && memcmp(b, "hello\n", 6) == 0, "read", 0);
    check(read(file, b, 1) == 0, "read-at-end", 0);
    check(lseek(file, -5, SEEK_END) == 1 && read(file, b, 2) == 2 && b[0] == 'e', "lseek", 0);
    fails(lseek(file, -1, SEEK_SET), EINVAL, "lseek-negative");
    fails(write(file, b, 1), EBADF, "write-read-only");
    fails(open("/www/hello.txt", O_RDWR), EROFS, "open-to-write");
    fails(open("/nothing", O_RDONLY), ENOENT, "open-nothing");
    fails(open("/www/hello.txt", O_DIRECTORY), ENOTDIR, "open-as-directory");
    fails(lseek(1, 0, SEEK_SET), ESPIPE, "lseek-console");
    while ((entry = readdir(folder)))
        found += !strcmp(entry->d_name, "bin") + !strcmp(entry->d_name, "www") * 2 + 8;
    check(found == 19, "directory", found);
    closedir(folder);
    for (last = first = file; (next = open("/www/hello.txt", O_RDONLY)) >= 0; last = next)
        ;
    check(last == 4095 && errno == EMFILE, "all-descriptors", last);
    close(1234);
    next = open("/www/hello.txt", O_RDONLY);
    check(next == 1234, "lowest-descriptor", next);
    while (last >= first)
        close(last--);
}

static void exit_with_sum(void)
{
    _exit(3);
}

static void forks(void)
{
    enum { BYTES = 1 << 20, MANY = 40 };
    unsigned *heap = sbrk(BYTES);
    int status, made = 0, dead = 0;

    for (unsigned i = 0; i < BYTES / 4; i++)
        heap[i] = i * 2654435761u;
    status = child(exit_with_sum);
    check(status == 3 << 8, "exit-status", status);
    pid_t pid = fork();
    if (pid == 0) {
        unsigned bad = 0;
        for (unsigned i = 0; i < BYTES / 4; i++)
            bad += heap[i]++ != i * 2654435761u;
        _exit(bad ? 1 : 0);
    }
    waitpid(pid, &status, 0);
    unsigned bad = 0;
    for (unsigned i = 0; i < BYTES / 4; i++)
        bad += heap[i] != i * 2654435761u;
    check(status == 0 && !bad, "memory-is-copied", bad);
    for (int i = 0; i < 300; i++)
        if (child(exit_with_sum) != 3 << 8)
            break;
        else
            made++;
    check(made == 300, "forks-in-turn", made);
    for (made = 0; (pid = fork()) >= 0; made++)
        if (pid == 0) {
            nanosleep(&(struct timespec){0, 50000000}, NULL);
            _exit(0);
        }
    check(made > 5 && made < MANY && (errno == ENOMEM || errno == EAGAIN), "forks-at-once", made);
    while (waitpid(-1, &status, 0) > 0)
        dead++;
    check(dead == made && errno == ECHILD, "all-collected", dead);
    check(sbrk(-BYTES) != (void *)-1, "heap-shrinks", 0);
    status = child(null_read); /* still works */
    check(status == SIGSEGV, "after-all-that", status);
    check(sbrk(1 << 30) == (void *)-1, "heap-too-big", 0);
    check(malloc(100000) != NULL, "heap-after-that", 0);
}

static void spin(void)
{
    for (;;)
        ;
}

static void times(void)
{
    struct timespec a, b, pause = {0, 30000000};
    int status;
    pid_t first = fork(), second;

    if (first == 0)
        spin();
    second = fork();
    if (second == 0)
        spin();
    clock_gettime(CLOCK_MONOTONIC, &a);
    nanosleep(&pause, NULL); /* comes back though two others want the CPU for ever */
    clock_gettime(CLOCK_MONOTONIC, &b);
    long ms = (b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000;
    check(ms >= 29 && ms < 2000, "preempted", ms);
    check(waitpid(first, &status, WNOHANG) == 0, "wait-no-hang", 0);
    check(kill(first, SIGINT) == 0 && kill(second, SIGSEGV) == 0, "kill", 0);
    check(waitpid(first, &status, 0) == first && status == SIGINT, "killed-1", status);
    check(waitpid(second, &status, 0) == second && status == SIGSEGV, "killed-2", status);
    fails(kill(first, SIGINT), ESRCH, "kill-nobody");
    fails(waitpid(first, &status, 0), ECHILD, "wait-nobody");
    clock_gettime(CLOCK_MONOTONIC, &a);
    struct pollfd wanted = {0, POLLIN, 0};
    status = poll(&wanted, 1, 40);
    clock_gettime(CLOCK_MONOTONIC, &b);
    ms = (b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000;
    check(status == 0 && ms >= 39 && ms < 2000, "poll-timeout", ms);
    wanted = (struct pollfd){1, POLLOUT, 0};
    check(poll(&wanted, 1, -1) == 1 && wanted.revents == POLLOUT, "poll-ready", wanted.revents);
    wanted = (struct pollfd){77, POLLOUT, 0};
    check(poll(&wanted, 1, -1) == 1 && wanted.revents == POLLNVAL, "poll-bad-fd", wanted.revents);
    pid_t sleeper = fork();
    if (sleeper == 0)
        sleep(1000);
    nanosleep(&pause, NULL);
    kill(sleeper, SIGINT);
    check(waitpid(sleeper, &status, 0) == sleeper && status == SIGINT, "killed-asleep", status);
    fails(nanosleep(&(struct timespec){0, 1000000000}, NULL), EINVAL, "sleep-bad-time");
}

int main(int argc, char **argv)
{
    if (argc == 3) /* executed by itself, below */
        return !strcmp(argv[1], "two words") && !strcmp(argv[2], "") && !argv[3] ? 42 : 1;
    check(argc == 1 && !strcmp(argv[0], "/bin/init") && getpid() == 1, "init", argc);
    traps();
    pointers();
    files();
    forks();
    times();
    pid_t pid = fork();
    int status;
    if (pid == 0)
        execv(argv[0], (char *[]){"init", "two words", "", NULL});
    waitpid(pid, &status, 0);
    check(status == 42 << 8, "exec-arguments", status);
    fails(execv("/www/hello.txt", (char *[]){"x", NULL}), ENOEXEC, "exec-text");
    fails(execv("/www", (char *[]){"x", NULL}), ENOENT, "exec-directory");
    static char big[5000];
    memset(big, 'x', sizeof big - 1);
    fails(execv("/bin/init", (char *[]){big, NULL}), E2BIG, "exec-too-big");
    fails(socket(AF_INET, SOCK_STREAM, 0), ENETDOWN, "socket-without-network");
    printf("done, %d failures\n", failures);
    return failures ? 1 : 17;
}
