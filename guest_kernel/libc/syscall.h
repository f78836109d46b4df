/* The door into the kernel (crt0.S). Only the libc includes this. */
#pragma once

#include "kern/syscall.h"

long system_call(long number, ...);
long checked(long result); /* -errno becomes -1 with errno set */

/* Every argument is one 32-bit word; missing ones are whatever lies on the stack, which the
 * kernel does not look at. */
#define CALL(name, ...) checked(system_call(SYS_##name, ##__VA_ARGS__))
