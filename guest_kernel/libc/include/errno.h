#pragma once

#include "kern/errno.h"

extern int errno;

#define ERANGE 34 /* of strtol and its like; the kernel never gives it */
