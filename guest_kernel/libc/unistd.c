/* System calls about files, processes and time. */
#include "syscall.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int errno;
char **environ;

long checked(long result) {
    if ((unsigned long)result < -4095ul)
        return result;
    errno = (int)-result;
    return -1;
}

ssize_t read(int fd, void *buffer, size_t count) {
    return CALL(read, fd, buffer, count);
}

ssize_t write(int fd, const void *buffer, size_t count) {
    return CALL(write, fd, buffer, count);
}

int open(const char *path, int flags, ...) {
    return (int)CALL(open, path, flags, 0);
}

int close(int fd) {
    return (int)CALL(close, fd);
}

int fcntl(int fd, int command, ...) {
    va_list a;

    va_start(a, command);
    int value = va_arg(a, int);
    va_end(a);
    return (int)CALL(fcntl, fd, command, value);
}

int fstat(int fd, struct stat *about) {
    return (int)CALL(fstat, fd, about);
}

int tcsetpgrp(int fd, pid_t pid) {
    return (int)CALL(ioctl, fd, TIOCSPGRP, &pid);
}

int kill(pid_t pid, int signal) {
    return (int)CALL(kill, pid, signal);
}

off_t lseek(int fd, off_t offset, int whence) {
    return CALL(lseek, fd, offset, whence);
}

int poll(struct pollfd *fds, nfds_t count, int timeout_ms) {
    return (int)CALL(poll, fds, count, timeout_ms);
}

pid_t fork(void) {
    return (pid_t)CALL(fork);
}

int execv(const char *path, char *const argv[]) {
    return (int)CALL(execve, path, argv, environ);
}

pid_t getpid(void) {
    return (pid_t)CALL(getpid);
}

pid_t waitpid(pid_t pid, int *status, int options) {
    return (pid_t)CALL(waitpid, pid, status, options);
}

int reboot(int command) {
    return (int)CALL(reboot, REBOOT_MAGIC1, REBOOT_MAGIC2, command, 0);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    return (int)CALL(clock_gettime, clock, now);
}

int nanosleep(const struct timespec *wanted, struct timespec *left) {
    return (int)CALL(nanosleep, wanted, left);
}

unsigned sleep(unsigned seconds) {
    struct timespec wanted = {(time_t)seconds, 0};

    nanosleep(&wanted, NULL);
    return 0;
}

void *sbrk(intptr_t increment) {
    static char *end;

    if (!end)
        end = (char *)system_call(SYS_brk, 0);
    char *wanted = end + increment, *old = end;
    if (increment && (char *)system_call(SYS_brk, wanted) != wanted) {
        errno = ENOMEM;
        return (void *)-1;
    }
    end = wanted;
    return old;
}

void _exit(int status) {
    for (;;)
        system_call(SYS_exit, status);
}

void exit(int status) {
    _exit(status); /* no streams to flush: see stdio.h */
}

void abort(void) {
    __builtin_trap(); /* the kernel shows where */
}
