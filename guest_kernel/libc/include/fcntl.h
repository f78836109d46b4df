#pragma once

#include "kern/uapi.h"

int open(const char *path, int flags, ...);
int fcntl(int fd, int command, ...);
