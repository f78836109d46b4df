#pragma once

#include "kern/uapi.h"

typedef int clockid_t;

int clock_gettime(clockid_t clock, struct timespec *now);
/* Unix time; seconds since boot, so a small number, if nobody has told the machine the time. */
time_t time(time_t *now);
int nanosleep(const struct timespec *wanted, struct timespec *left);
