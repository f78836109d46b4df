/* Open files: whatever a descriptor can name (console, initrd file, socket). */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kern/uapi.h"

struct file;

/* What a kind of file can do; NULL: it cannot (-EINVAL, or the errno POSIX wants). A `user` address
 * lies in user space for the whole length, but may not be mapped: use copyin, copyout or
 * user_pieces. Counts may be short. read and write block unless O_NONBLOCK is in file->flags. */
struct file_ops {
    uint16_t mode; /* S_IF... */
    ssize_t (*read)(struct file *file, uintptr_t user, size_t bytes);
    ssize_t (*write)(struct file *file, uintptr_t user, size_t bytes);
    /* For sendfile. From: the content at `offset`, as much as lies in one piece of kernel memory: its
     * bytes, 0 at the end. To: send kernel memory, which may change afterwards. */
    uint32_t (*content)(struct file *file, uint32_t offset, const char **data);
    ssize_t (*send_kernel)(struct file *file, const void *data, size_t bytes);
    uint32_t (*size)(struct file *file);                               /* NULL: no lseek */
    int (*entries)(struct file *file, uintptr_t user, size_t bytes); /* of a directory: getdents64 */
    uint32_t (*poll)(struct file *file); /* POLL... bits that are up now; NULL: it never waits */
    int (*ioctl)(struct file *file, uint32_t request, uintptr_t user);
    void (*close)(struct file *file); /* the last descriptor is gone; `file` is freed after it */
};

struct file {
    const struct file_ops *ops;
    void *data; /* belongs to the kind of file */
    uint32_t offset;
    uint32_t flags; /* O_... */
    int references;
    uint32_t pollers;      /* who looked at it in poll(2), a bit each: whom to wake */
    struct watch *watches; /* which epolls are told of it */
};

/* A new file with one reference, which file_put() gives back; NULL: no memory. */
struct file *file_new(const struct file_ops *ops, void *data, uint32_t flags);
void file_get(struct file *file);
void file_put(struct file *file);

/* Descriptors of the running process. file_install takes over the caller's reference: the lowest
 * free descriptor, or -EMFILE with the file put. file_of: NULL for a bad descriptor. */
int file_install(struct file *file);
struct file *file_of(int descriptor);
int file_close(int descriptor); /* 0, or -EBADF */
/* The file gets this descriptor; what had it is closed. The descriptor, or -EBADF. */
int file_install_at(struct file *file, int descriptor);

/* Call whenever the file's poll mask may have risen: who polls it looks again. */
void poll_wake(struct file *file);
/* The file is closed: no epoll watches it any more. */
void poll_forget(struct file *file);
