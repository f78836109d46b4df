/* Runs as init: provokes the kernel and prints a line a check, "ok NAME" or "FAILED NAME ...".
 * test_kernel_semantics.py builds it, boots it and reads the lines. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kern/syscall.h"

#define KERNEL_ADDRESS ((void *)0x100000)
#define UNMAPPED ((void *)0x80000000)

static int failures;

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
    check(found == 35, "directory", found); /* these two, and tmp and proc */
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
    wanted = (struct pollfd){open("/bin/init", O_RDONLY), POLLIN, 0};
    check(poll(&wanted, 1, -1) == 1 && wanted.revents == POLLIN, "poll-file", wanted.revents);
    close(wanted.fd);
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

/* A pipe: order, its end, its fullness, a writer without a reader, and who waits for it. */
static void write_into_nothing(void)
{
    int ends[2];

    pipe2(ends, 0);
    close(ends[0]);
    write(ends[1], "x", 1);
}

static void write_into_nothing_ignoring(void)
{
    signal(SIGPIPE, SIG_IGN);
    write_into_nothing();
    _exit(errno);
}

static void pipes(void)
{
    static char block[20000], back[20000];
    int ends[2], status;

    for (unsigned i = 0; i < sizeof block; i++)
        block[i] = (char)(i * 7 + i / 251);
    check(pipe2(ends, 0) == 0, "pipe", ends[0]);
    pid_t writer = fork();
    if (writer == 0) {
        close(ends[0]);
        for (int i = 0; i < 10; i++)
            write(ends[1], block, sizeof block);
        _exit(5);
    }
    close(ends[1]);
    size_t got = 0, at;
    int same = 1;
    for (ssize_t n; (n = read(ends[0], back, 777)) > 0; got += (size_t)n)
        for (at = 0; at < (size_t)n; at++)
            same &= back[at] == block[(got + at) % sizeof block];
    check(same && got == 10 * sizeof block, "pipe-stream", (long)got);
    check(waitpid(writer, &status, 0) == writer && status == 5 << 8, "pipe-writer", status);
    fails(write(ends[0], "x", 1), EBADF, "pipe-write-to-reader");
    close(ends[0]);

    pipe2(ends, O_NONBLOCK);
    fails(read(ends[0], back, 1), EAGAIN, "pipe-empty");
    check(write(ends[1], block, sizeof block) == 16384, "pipe-full", 0);
    fails(write(ends[1], block, 1), EAGAIN, "pipe-more-than-full");
    read(ends[0], back, 4000);
    fails(write(ends[1], block, 4096), EAGAIN, "pipe-all-or-nothing");
    struct pollfd wanted[2] = {{ends[0], POLLIN, 0}, {ends[1], POLLOUT, 0}};
    check(poll(wanted, 2, -1) == 1 && wanted[0].revents == POLLIN, "pipe-poll", wanted[1].revents);
    close(ends[1]);
    check(poll(wanted, 1, -1) == 1 && wanted[0].revents == (POLLIN | POLLHUP), "pipe-hang-up",
          wanted[0].revents);
    close(ends[0]);
    check(child(write_into_nothing) == SIGPIPE, "sigpipe", 0);
    check(child(write_into_nothing_ignoring) == EPIPE << 8, "sigpipe-ignored", 0);
    fails(pipe2(UNMAPPED, 0), EFAULT, "pipe-unmapped");
    fails(pipe2(ends, 1), EINVAL, "pipe-flags");
}

static int watch(int epoll, int operation, int fd, unsigned events, unsigned data)
{
    struct epoll_event event = {events, {.u32 = data}};

    return epoll_ctl(epoll, operation, fd, &event);
}

static void epolls(void)
{
    struct epoll_event got[4];
    int a[2], b[2], epoll = epoll_create1(0), count;

    pipe2(a, 0);
    pipe2(b, 0);
    check(watch(epoll, EPOLL_CTL_ADD, a[0], EPOLLIN, 11) == 0, "epoll-add", epoll);
    watch(epoll, EPOLL_CTL_ADD, b[0], EPOLLIN | EPOLLET, 22);
    fails(watch(epoll, EPOLL_CTL_ADD, a[0], EPOLLIN, 1), EEXIST, "epoll-twice");
    fails(watch(epoll, EPOLL_CTL_MOD, a[1], EPOLLIN, 1), ENOENT, "epoll-unknown");
    fails(watch(epoll, EPOLL_CTL_ADD, 99, EPOLLIN, 1), EBADF, "epoll-bad-fd");
    fails(watch(epoll, EPOLL_CTL_ADD, epoll, EPOLLIN, 1), EPERM, "epoll-itself");
    int file = open("/tmp/watched", O_WRONLY | O_CREAT);
    fails(watch(epoll, EPOLL_CTL_ADD, file, EPOLLOUT, 1), EPERM, "epoll-file");
    close(file);
    unlink("/tmp/watched");
    fails(watch(epoll, 9, a[0], EPOLLIN, 1), EINVAL, "epoll-operation");
    fails(watch(a[0], EPOLL_CTL_ADD, b[0], EPOLLIN, 1), EINVAL, "epoll-of-pipe");
    fails(epoll_ctl(epoll, EPOLL_CTL_MOD, a[0], UNMAPPED), EFAULT, "epoll-unmapped");
    fails(epoll_wait(epoll, got, 0, 0), EINVAL, "epoll-no-room");
    check(epoll_wait(epoll, got, 4, 0) == 0, "epoll-nothing", 0);
    check(epoll_wait(epoll, got, 4, 30) == 0, "epoll-timeout", 0);
    write(a[1], "x", 1);
    write(b[1], "x", 1);
    fails(epoll_wait(epoll, UNMAPPED, 4, 0), EFAULT, "epoll-wait-unmapped");
    write(b[1], "y", 1);
    count = epoll_wait(epoll, got, 4, -1);
    check(count == 2 && got[0].data.u32 + got[1].data.u32 == 33 && got[0].events == EPOLLIN,
          "epoll-both", count);
    count = epoll_wait(epoll, got, 4, -1);
    check(count == 1 && got[0].data.u32 == 11, "epoll-edge-and-level", count);
    check(epoll_wait(epoll, got, 1, -1) == 1, "epoll-again", 0);
    write(b[1], "x", 1);
    count = epoll_wait(epoll, got, 1, -1) + epoll_wait(epoll, got + 1, 1, -1);
    check(got[0].data.u32 + got[1].data.u32 == 33, "epoll-in-turn", count);
    pid_t pid = fork();
    if (pid == 0) { /* what the parent sleeps on rises from another process */
        nanosleep(&(struct timespec){0, 30000000}, NULL);
        write(b[1], "x", 1);
        _exit(0);
    }
    watch(epoll, EPOLL_CTL_MOD, a[0], 0, 11);
    check(epoll_wait(epoll, got, 4, -1) == 1 && got[0].data.u32 == 22, "epoll-sleep", 0);
    waitpid(pid, NULL, 0);
    watch(epoll, EPOLL_CTL_MOD, a[0], EPOLLIN, 44);
    check(epoll_wait(epoll, got, 4, 0) == 1 && got[0].data.u32 == 44, "epoll-changed", 0);
    check(epoll_ctl(epoll, EPOLL_CTL_DEL, a[0], NULL) == 0, "epoll-delete", 0);
    close(b[0]); /* forgotten, although it is ready */
    check(epoll_wait(epoll, got, 4, 0) == 0, "epoll-closed", 0);
    watch(epoll, EPOLL_CTL_ADD, a[0], EPOLLIN, 1);
    close(epoll); /* with a watch on its list */
    write(a[1], "z", 1);
    int fds[3] = {a[0], a[1], b[1]};
    for (int i = 0; i < 3; i++)
        close(fds[i]);
}

static void selects(void)
{
    fd_set readable, writable;
    struct timeval soon = {0, 20000};
    int ends[2];

    pipe2(ends, 0);
    FD_ZERO(&readable);
    FD_ZERO(&writable);
    FD_SET(ends[0], &readable);
    check(select(ends[0] + 1, &readable, NULL, NULL, &soon) == 0 && !FD_ISSET(ends[0], &readable),
          "select-timeout", 0);
    FD_SET(ends[0], &readable);
    FD_SET(ends[1], &writable);
    write(ends[1], "x", 1);
    int count = select(ends[1] + 1, &readable, &writable, NULL, NULL);
    check(count == 2 && FD_ISSET(ends[0], &readable) && FD_ISSET(ends[1], &writable), "select",
          count);
    close(ends[0]);
    close(ends[1]);
    fails(select(ends[1] + 1, &readable, &writable, NULL, NULL), EBADF, "select-closed");
    fails(select(-1, NULL, NULL, NULL, NULL), EINVAL, "select-negative");
}

static void temporary(void)
{
    static char block[9000], back[9000];
    struct stat about;

    memset(block, 'q', sizeof block);
    fails(open("/tmp/none", O_RDONLY), ENOENT, "tmp-none");
    fails(open("/tmp/no/where", O_RDWR | O_CREAT), ENOENT, "tmp-no-folder");
    fails(open("/tmp", O_RDWR), EISDIR, "tmp-folder-to-write");
    int fd = open("/tmp/a", O_RDWR | O_CREAT | O_EXCL, 0644);
    check(write(fd, block, sizeof block) == sizeof block, "tmp-write", fd);
    fails(open("/tmp/a", O_RDWR | O_CREAT | O_EXCL), EEXIST, "tmp-exclusive");
    fails(open("/tmp/a/b", O_RDWR | O_CREAT), ENOTDIR, "tmp-in-file");
    check(lseek(fd, 20000, SEEK_SET) == 20000 && write(fd, "end", 3) == 3, "tmp-hole", 0);
    check(fstat(fd, &about) == 0 && S_ISREG(about.st_mode) && about.st_size == 20003, "tmp-size",
          about.st_size);
    lseek(fd, 8998, SEEK_SET);
    check(read(fd, back, 6) == 6 && !memcmp(back, "qq\0\0\0\0", 6), "tmp-zeros", 0);
    check(unlink("/tmp/a") == 0 && lseek(fd, -3, SEEK_END) == 20000 && read(fd, back, 9) == 3
          && !memcmp(back, "end", 3), "tmp-unlinked-lives", 0);
    close(fd);
    fails(unlink("/tmp/a"), ENOENT, "tmp-unlink-twice");
    check(mkdir("/tmp/d", 0755) == 0, "mkdir", 0);
    fails(mkdir("/tmp/d", 0755), EEXIST, "mkdir-twice");
    fails(unlink("/tmp/d"), EISDIR, "unlink-folder");
    fd = open("/tmp/d/f", O_WRONLY | O_CREAT | O_APPEND);
    fails(read(fd, back, 1), EBADF, "tmp-read-write-only");
    write(fd, "ab", 2);
    lseek(fd, 0, SEEK_SET);
    write(fd, "cd", 2);
    close(fd);
    fd = open("/tmp/d/f", O_RDONLY);
    check(read(fd, back, 9) == 4 && !memcmp(back, "abcd", 4), "tmp-append", 0);
    fails(write(fd, "x", 1), EBADF, "tmp-write-read-only");
    close(fd);
    close(open("/tmp/d/f", O_WRONLY | O_TRUNC));
    fd = open("/tmp/d/f", O_RDONLY);
    check(read(fd, back, 9) == 0, "tmp-truncate", 0);
    close(fd);
    fails(rmdir("/tmp/d"), ENOTEMPTY, "rmdir-full");
    check(unlink("/tmp/d/f") == 0 && rmdir("/tmp/d") == 0, "rmdir", 0);
    fails(rmdir("/tmp"), EBUSY, "rmdir-tmp");
    fails(unlink("/www/hello.txt"), EROFS, "unlink-initrd");
    fails(mkdir("/d", 0755), EROFS, "mkdir-initrd");
    /* Until memory is out: an error, and everything comes back. */
    static char large[65536];
    fd = open("/tmp/big", O_WRONLY | O_CREAT);
    ssize_t n;
    long total = 0;
    while ((n = write(fd, large, sizeof large)) == sizeof large)
        total += n;
    check(total > 1000000 && (n > 0 || errno == ENOSPC), "tmp-full", total);
    close(fd);
    pid_t pid = fork(); /* the kernel has kept enough for this */
    if (pid == 0)
        _exit(3);
    int status;
    waitpid(pid, &status, 0);
    check(status == 3 << 8, "tmp-full-fork", status);
    unlink("/tmp/big");
    fd = open("/tmp/big", O_WRONLY | O_CREAT);
    check(write(fd, large, sizeof large) == sizeof large, "tmp-room-again", 0);
    close(fd);
    unlink("/tmp/big");
    fd = open("/proc/processes", O_RDONLY);
    n = read(fd, back, sizeof back);
    check(n > 40 && back[n - 1] == '\n', "proc", n);
    close(fd);
}

static void groups(void)
{
    int status, ends[2];
    pid_t first = fork();

    if (first == 0) {
        setpgid(0, 0);
        if (fork() == 0)
            sleep(1000);
        sleep(1000);
    }
    setpgid(first, first);
    nanosleep(&(struct timespec){0, 30000000}, NULL);
    check(kill(-first, SIGTERM) == 0, "kill-group", 0);
    check(waitpid(-first, &status, 0) == first && status == SIGTERM, "group-ended", status);
    check(waitpid(-1, &status, 0) > 0 && status == SIGTERM, "group-child-ended", status);
    fails(kill(-first, SIGTERM), ESRCH, "kill-group-none");
    fails(kill(1, 19), EINVAL, "kill-stop");
    fails(kill(1, 77), EINVAL, "kill-number");
    check(kill(1, SIGTERM) == 0, "kill-init-is-harmless", 0);
    pipe2(ends, 0);
    check(dup2(ends[1], 40) == 40 && write(40, "x", 1) == 1, "dup2", 0);
    fails(dup2(99, 3), EBADF, "dup2-bad");
    fails(dup2(ends[0], 5000), EBADF, "dup2-too-high");
    fails(dup2(ends[0], -1), EBADF, "dup2-negative");
    close(40);
    close(ends[0]);
    close(ends[1]);
    time_t now = time(NULL);
    check(now >= 0 && now < 1000, "time-without-calendar", now);
    fails(clock_gettime(CLOCK_REALTIME, &(struct timespec){0}), EINVAL, "no-calendar");
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
    pipes();
    epolls();
    selects();
    temporary();
    groups();
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
