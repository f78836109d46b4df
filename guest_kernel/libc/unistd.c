/* What POSIX names and one system call (calls.S) gives only almost. */
#include <errno.h>
#include <stdlib.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

int errno;
char **environ;

void *brk(void *end); /* as the kernel has it: the end there is now */
int execve(const char *path, char *const argv[], char *const envp[]);
int ioctl(int fd, unsigned long request, ...);
int reboot4(unsigned magic, unsigned magic2, int command, int status);

int execv(const char *path, char *const argv[]) {
    return execve(path, argv, environ);
}

int tcsetpgrp(int fd, pid_t pid) {
    return ioctl(fd, TIOCSPGRP, &pid);
}

int reboot(int command) {
    return reboot4(REBOOT_MAGIC1, REBOOT_MAGIC2, command, 0); /* two numbers against accidents */
}

unsigned sleep(unsigned seconds) {
    struct timespec wanted = {(time_t)seconds, 0};

    nanosleep(&wanted, NULL);
    return 0;
}

void *sbrk(intptr_t increment) {
    static char *end;
    char *old = end ? end : brk(NULL), *wanted = old + increment;

    if (increment && brk(wanted) != wanted) {
        errno = ENOMEM;
        return (void *)-1;
    }
    end = wanted;
    return old;
}

void exit(int status) {
    _exit(status); /* no streams to flush: see stdio.h */
}

int accept(int fd, struct sockaddr *address, socklen_t *length) {
    return accept4(fd, address, length, 0);
}

ssize_t send(int fd, const void *buffer, size_t count, int flags) {
    return sendto(fd, buffer, count, flags, NULL, 0);
}

ssize_t recv(int fd, void *buffer, size_t count, int flags) {
    return recvfrom(fd, buffer, count, flags, NULL, NULL);
}
