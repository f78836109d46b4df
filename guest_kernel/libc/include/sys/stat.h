#pragma once

#include "kern/uapi.h"

#define S_ISREG(mode) (((mode) & S_IFMT) == S_IFREG)
#define S_ISDIR(mode) (((mode) & S_IFMT) == S_IFDIR)

int mkdir(const char *path, unsigned mode);
int fstat(int fd, struct stat *about);
