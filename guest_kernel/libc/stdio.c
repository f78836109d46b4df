/* Printing to a file descriptor: formatted on the stack, then one write. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_BYTES 1024 /* what is longer is cut */

static int print(int fd, const char *format, va_list a) {
    char line[LINE_BYTES];
    int length = vsnprintf(line, sizeof line, format, a);

    if (length > LINE_BYTES - 1)
        length = LINE_BYTES - 1;
    return (int)write(fd, line, (size_t)length);
}

int printf(const char *format, ...) {
    va_list a;
    int length;

    va_start(a, format);
    length = print(STDOUT_FILENO, format, a);
    va_end(a);
    return length;
}

int dprintf(int fd, const char *format, ...) {
    va_list a;
    int length;

    va_start(a, format);
    length = print(fd, format, a);
    va_end(a);
    return length;
}

void perror(const char *what) {
    dprintf(STDERR_FILENO, "%s: %s\n", what, strerror(errno));
}
