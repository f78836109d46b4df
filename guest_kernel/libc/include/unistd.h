#pragma once

#include <sys/types.h>

#define STDIN_FILENO 0
#define STDOUT_FILENO 1
#define STDERR_FILENO 2

extern char **environ;

ssize_t read(int fd, void *buffer, size_t count);
ssize_t write(int fd, const void *buffer, size_t count);
int close(int fd);
off_t lseek(int fd, off_t offset, int whence);
int dup2(int fd, int wanted);
int pipe2(int fds[2], int flags);
int unlink(const char *path);
int rmdir(const char *path);
pid_t fork(void);
int execv(const char *path, char *const argv[]);
pid_t getpid(void);
int setpgid(pid_t pid, pid_t group);
int tcsetpgrp(int fd, pid_t group); /* the group that ^C on the console ends; 0: none */
unsigned sleep(unsigned seconds);
void *sbrk(intptr_t increment);
_Noreturn void _exit(int status);
