/* The terminal: input is handed over line by line, with echo and backspace, ^U takes back the line;
 * ^C kills the foreground group of processes, ^D at the beginning of a line is the end of the file. */
#include "kern/console.h"
#include "drv/uart.h"
#include "kern/errno.h"
#include "kern/file.h"
#include "kern/mem.h"
#include "kern/process.h"
#include "kern/uapi.h"

#define RING 1024u /* a power of two */
#define WRITE_MOST 65536u /* bytes at once: nothing else runs meanwhile */
#define CONTROL(c) ((c) & 0x1F)
#define DELETE 0x7F

/* Counts run free. [read, ready) are finished lines, [ready, end) the line being typed. */
static char ring[RING];
static uint32_t read_count, ready_count, end_count;
static int foreground;
static struct wait_queue readers;
static struct file *terminal;

static void echo(char c) {
    if (c == '\n')
        uart_put('\r');
    uart_put(c);
}

static void line_is_ready(void) {
    ready_count = end_count;
    wake_all(&readers);
    if (terminal)
        poll_wake(terminal);
}

void console_input(char c) {
    if (c == '\r')
        c = '\n';
    if (c == CONTROL('C')) {
        kprintf("^C\n");
        end_count = ready_count;
        if (foreground)
            process_kill(-foreground, SIGINT);
    } else if (c == '\b' || c == DELETE || c == CONTROL('U')) {
        uint32_t kept = c == CONTROL('U') ? ready_count : end_count - 1;
        for (; end_count != ready_count && end_count != kept; end_count--)
            kprintf("\b \b");
    } else if (end_count - read_count >= RING - (c == '\n' ? 0 : 1)) {
        uart_put('\a'); /* full; the last place is kept for the end of the line */
    } else if (c == '\n' || c == CONTROL('D') || c == '\t' || (unsigned char)c >= ' ') {
        ring[end_count++ % RING] = c;
        if (c != CONTROL('D'))
            echo(c);
        if (c == '\n' || c == CONTROL('D'))
            line_is_ready();
    }
}

static ssize_t console_read(struct file *file, uintptr_t user, size_t bytes) {
    size_t done = 0;

    while (read_count == ready_count) {
        if (file->flags & O_NONBLOCK)
            return -EAGAIN;
        int result = sleep_on(&readers, FOREVER);
        if (result < 0)
            return result;
    }
    while (done < bytes && read_count != ready_count) {
        char c = ring[read_count % RING];
        if (c == CONTROL('D')) { /* ends this read; alone it is the end of the file */
            read_count++;
            break;
        }
        if (copyout(user + done, &c, 1) < 0)
            return -EFAULT;
        read_count++;
        done++;
        if (c == '\n')
            break;
    }
    return (ssize_t)done;
}

static ssize_t console_write(struct file *file, uintptr_t user, size_t bytes) {
    char piece[128];

    (void)file;
    if (bytes > WRITE_MOST)
        bytes = WRITE_MOST;
    for (size_t done = 0; done < bytes;) {
        size_t length = bytes - done < sizeof piece ? bytes - done : sizeof piece;
        if (copyin(piece, user + done, length) < 0)
            return done ? (ssize_t)done : -EFAULT;
        for (size_t i = 0; i < length; i++)
            echo(piece[i]);
        done += length;
    }
    return (ssize_t)bytes;
}

static uint32_t console_poll(struct file *file) {
    (void)file;
    return POLLOUT | (read_count != ready_count ? POLLIN : 0);
}

static int console_ioctl(struct file *file, uint32_t request, uintptr_t user) {
    const struct process *caller = process_current();

    (void)file;
    if (request != TIOCSPGRP)
        return -ENOTTY;
    if (foreground && foreground != caller->group && !(caller->ignored & 1u << SIGINT))
        return -EPERM;
    return copyin(&foreground, user, sizeof foreground);
}

static const struct file_ops console_ops = {.mode = S_IFCHR,
                                            .read = console_read,
                                            .write = console_write,
                                            .poll = console_poll,
                                            .ioctl = console_ioctl};

struct file *console_open(void) {
    return terminal = file_new(&console_ops, NULL, O_RDWR);
}
