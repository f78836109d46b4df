#pragma once

#include "kern/uapi.h"

#define FD_SETSIZE 4096 /* as many files as a process can have */

typedef struct {
    uint32_t bits[FD_SETSIZE / 32];
} fd_set;

struct timeval {
    time_t tv_sec;
    int tv_usec;
};

#define FD_ZERO(set) (*(set) = (fd_set){0})
#define FD_SET(fd, set) ((set)->bits[(fd) / 32] |= 1u << (fd) % 32)
#define FD_CLR(fd, set) ((set)->bits[(fd) / 32] &= ~(1u << (fd) % 32))
#define FD_ISSET(fd, set) ((set)->bits[(fd) / 32] >> (fd) % 32 & 1)

/* `failed` never gets a member: there is no urgent data. Each set may be NULL. */
int select(int count, fd_set *readable, fd_set *writable, fd_set *failed, struct timeval *timeout);
