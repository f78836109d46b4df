#pragma once

#include "kern/uapi.h"

typedef int clockid_t;

int clock_gettime(clockid_t clock, struct timespec *now);
int nanosleep(const struct timespec *wanted, struct timespec *left);
