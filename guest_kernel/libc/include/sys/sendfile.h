#pragma once

#include "kern/uapi.h"

ssize_t sendfile(int to, int from, off_t *offset, size_t count);
