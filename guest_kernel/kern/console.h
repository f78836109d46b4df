/* The console: kernel messages, and the terminal that file descriptors 0, 1 and 2 are. */
#pragma once

#include <stdarg.h>
#include <stddef.h>

/* As printf; works from the first line of C on. */
void kprintf(const char *format, ...) __attribute__((format(printf, 1, 2)));
void kvprintf(const char *format, va_list arguments);
/* libc/printf.c */
int snprintf(char *to, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));
int vsnprintf(char *to, size_t size, const char *format, va_list arguments);

struct file *console_open(void);
/* One byte from the line, called by the UART's interrupt. */
void console_input(char c);
