/* Printing to a file descriptor: formatted on the stack, then one write. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_BYTES 1024 /* what is longer is cut */

int dprintf(int fd, const char *format, ...) {
    char line[LINE_BYTES];
    va_list a;

    va_start(a, format);
    int length = vsnprintf(line, sizeof line, format, a);
    va_end(a);
    return (int)write(fd, line, length < LINE_BYTES ? (size_t)length : LINE_BYTES - 1);
}

void perror(const char *what) {
    dprintf(STDERR_FILENO, "%s: %s\n", what, strerror(errno));
}
