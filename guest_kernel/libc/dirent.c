/* Reading a directory, on getdents64. */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

ssize_t getdents64(int fd, void *block, size_t bytes);

struct directory {
    int fd;
    size_t at, filled; /* in `block`, which holds whole entries */
    char block[2048] __attribute__((aligned(8)));
};

DIR *opendir(const char *path) {
    int fd = open(path, O_RDONLY | O_DIRECTORY);
    DIR *d = fd < 0 ? NULL : malloc(sizeof *d);

    if (d) {
        d->fd = fd;
        d->at = d->filled = 0;
    } else if (fd >= 0)
        close(fd);
    return d;
}

/* The next entry, good until the next call. */
struct dirent *readdir(DIR *d) {
    if (d->at == d->filled) {
        ssize_t got = getdents64(d->fd, d->block, sizeof d->block);
        if (got <= 0)
            return NULL;
        d->at = 0;
        d->filled = (size_t)got;
    }
    struct dirent *entry = (struct dirent *)(d->block + d->at);
    d->at += entry->d_reclen;
    return entry;
}

int closedir(DIR *d) {
    int result = close(d->fd);

    free(d);
    return result;
}
