/* Pipes: a ring of bytes with an end to read and an end to write [POSIX pipe, write]. */
#include "kern/errno.h"
#include "kern/file.h"
#include "kern/mem.h"
#include "kern/process.h"
#include "kern/system_call.h"

#define RING 16384u      /* a power of two, and pages */
#define PIPE_BUF 4096u /* so many bytes are written at once or not at all */
enum { READER, WRITER };

struct pipe {
    char *ring;
    uint32_t read, written; /* counts run free */
    struct file *ends[2];   /* NULL: closed */
    struct wait_queue waiters;
};

static void changed(struct pipe *pipe) {
    wake_all(&pipe->waiters);
    for (int i = 0; i < 2; i++)
        if (pipe->ends[i])
            poll_wake(pipe->ends[i]);
}

/* 0 to look again, or why not. */
static int wait(struct file *file, struct pipe *pipe) {
    return file->flags & O_NONBLOCK ? -EAGAIN : sleep_on(&pipe->waiters, FOREVER);
}

/* From or to the ring at `count`, up to its end at most. */
static size_t piece(uint32_t count, size_t bytes) {
    return bytes < RING - count % RING ? bytes : RING - count % RING;
}

static ssize_t pipe_read(struct file *file, uintptr_t user, size_t bytes) {
    struct pipe *pipe = file->data;
    size_t done = 0;

    while (bytes && pipe->read == pipe->written) {
        int result = pipe->ends[WRITER] ? wait(file, pipe) : 0;
        if (result < 0 || !pipe->ends[WRITER])
            return result;
    }
    while (done < bytes && pipe->read != pipe->written) {
        size_t there = pipe->written - pipe->read;
        size_t length = piece(pipe->read, there < bytes - done ? there : bytes - done);
        if (copyout(user + done, pipe->ring + pipe->read % RING, length) < 0)
            return done ? (ssize_t)done : -EFAULT;
        pipe->read += length;
        done += length;
    }
    changed(pipe);
    return (ssize_t)done;
}

static ssize_t pipe_write(struct file *file, uintptr_t user, size_t bytes) {
    struct pipe *pipe = file->data;
    size_t done = 0;

    while (done < bytes) {
        size_t room = RING - (pipe->written - pipe->read);
        if (!pipe->ends[READER]) {
            process_kill(process_current()->pid, SIGPIPE);
            return done ? (ssize_t)done : -EPIPE;
        }
        if (room < (bytes <= PIPE_BUF ? bytes : 1)) {
            int result = wait(file, pipe);
            if (result < 0)
                return done ? (ssize_t)done : result;
            continue;
        }
        size_t length = piece(pipe->written, room < bytes - done ? room : bytes - done);
        if (copyin(pipe->ring + pipe->written % RING, user + done, length) < 0)
            return done ? (ssize_t)done : -EFAULT;
        pipe->written += length;
        done += length;
        if (bytes > PIPE_BUF || done == bytes) /* else the second piece is sure to fit */
            changed(pipe);
    }
    return (ssize_t)done;
}

static uint32_t pipe_poll(struct file *file) {
    const struct pipe *pipe = file->data;
    uint32_t filled = pipe->written - pipe->read;

    if (file == pipe->ends[READER])
        return (filled ? POLLIN : 0) | (pipe->ends[WRITER] ? 0 : POLLHUP);
    return (RING - filled >= PIPE_BUF ? POLLOUT : 0) | (pipe->ends[READER] ? 0 : POLLERR);
}

static void pipe_close(struct file *file) {
    struct pipe *pipe = file->data;

    pipe->ends[file == pipe->ends[WRITER]] = NULL;
    changed(pipe);
    if (!pipe->ends[READER] && !pipe->ends[WRITER]) {
        page_free(pipe->ring, RING / PAGE_BYTES);
        kfree(pipe);
    }
}

static const struct file_ops reader_ops = {
    .mode = S_IFIFO, .read = pipe_read, .poll = pipe_poll, .close = pipe_close};
static const struct file_ops writer_ops = {
    .mode = S_IFIFO, .write = pipe_write, .poll = pipe_poll, .close = pipe_close};

/* pipe2(int descriptors[2], flags) */
int sys_pipe2(struct trap_frame *frame) {
    struct pipe *pipe = kmalloc(sizeof *pipe);
    char *ring = page_alloc(RING / PAGE_BYTES);
    uint32_t flags = frame->ecx;
    int descriptors[2] = {-EINVAL, -1};

    if (pipe && ring && !(flags & ~(uint32_t)O_NONBLOCK)) {
        pipe->ring = ring;
        pipe->ends[READER] = file_new(&reader_ops, pipe, flags | O_RDONLY);
        pipe->ends[WRITER] = file_new(&writer_ops, pipe, flags | O_WRONLY);
    }
    if (!pipe || !pipe->ends[READER] || !pipe->ends[WRITER]) {
        if (pipe) {
            kfree(pipe->ends[READER]);
            kfree(pipe->ends[WRITER]);
        }
        kfree(pipe);
        if (ring)
            page_free(ring, RING / PAGE_BYTES);
        return flags & ~(uint32_t)O_NONBLOCK ? -EINVAL : -ENOMEM;
    }
    struct file *writer = pipe->ends[WRITER];
    descriptors[0] = file_install(pipe->ends[READER]);
    descriptors[1] = descriptors[0] < 0 ? -1 : file_install(writer);
    if (descriptors[0] < 0)
        file_put(writer);
    if (descriptors[1] >= 0 && copyout(frame->ebx, descriptors, sizeof descriptors) == 0)
        return 0;
    file_close(descriptors[0]);
    file_close(descriptors[1]);
    return descriptors[1] < 0 ? -EMFILE : -EFAULT;
}
