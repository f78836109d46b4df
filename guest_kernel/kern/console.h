/* The console: kernel messages, and the terminal that file descriptors 0, 1 and 2 are. */
#pragma once

#include <stdarg.h>
#include <stddef.h>

/* %s %c %d %u %x %p, with ll, a width and a leading 0. Works from the first instruction of C on. */
void kprintf(const char *format, ...) __attribute__((format(printf, 1, 2)));
void kvprintf(const char *format, va_list arguments);
int ksnprintf(char *to, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));

struct file *console_open(void);
/* One byte from the line, called by the UART's interrupt. */
void console_input(char c);
