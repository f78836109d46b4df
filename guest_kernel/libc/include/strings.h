#pragma once

#include <stddef.h>

int strncasecmp(const char *a, const char *b, size_t count);
