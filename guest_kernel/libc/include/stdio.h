/* Formatted output without streams: every printf is one write, so lines of several programs on
 * the console do not mix. */
#pragma once

#include <stdarg.h>
#include <stddef.h>

#define PRINTF(f, first) __attribute__((format(printf, f, first)))

int vsnprintf(char *to, size_t size, const char *format, va_list arguments);
int snprintf(char *to, size_t size, const char *format, ...) PRINTF(3, 4);
int dprintf(int fd, const char *format, ...) PRINTF(2, 3);
#define printf(...) dprintf(1, __VA_ARGS__)
void perror(const char *what);
