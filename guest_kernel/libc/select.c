/* select(), on poll [POSIX select]. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/select.h>

#define READS (POLLIN | POLLHUP | POLLERR) /* what makes read() return at once */
#define WRITES (POLLOUT | POLLERR)

int select(int count, fd_set *readable, fd_set *writable, fd_set *failed, struct timeval *timeout) {
    int used = 0, ready = 0;

    if (count < 0 || count > FD_SETSIZE
        || (timeout && (timeout->tv_sec < 0 || timeout->tv_usec < 0))) {
        errno = EINVAL;
        return -1;
    }
    struct pollfd *polled = malloc((size_t)count * sizeof *polled);
    if (!polled)
        return -1;
    for (int fd = 0; fd < count; fd++) {
        short events = (readable && FD_ISSET(fd, readable) ? POLLIN : 0)
                       | (writable && FD_ISSET(fd, writable) ? POLLOUT : 0);
        if (events)
            polled[used++] = (struct pollfd){fd, events, 0};
    }
    int ms = !timeout ? -1 : timeout->tv_sec > 1000000 ? 1000000000
             : timeout->tv_sec * 1000 + (timeout->tv_usec + 999) / 1000;
    int result = poll(polled, (nfds_t)used, ms);
    for (int i = 0; i < used && result > 0; i++)
        if (polled[i].revents & POLLNVAL) {
            errno = EBADF;
            result = -1;
        }
    fd_set *const sets[] = {readable, writable, failed};
    for (int i = 0; i < 3; i++)
        if (result >= 0 && sets[i])
            FD_ZERO(sets[i]);
    for (int i = 0; i < used && result >= 0; i++) {
        const struct pollfd *p = &polled[i];
        if (p->events & POLLIN && p->revents & READS) {
            FD_SET(p->fd, readable);
            ready++;
        }
        if (p->events & POLLOUT && p->revents & WRITES) {
            FD_SET(p->fd, writable);
            ready++;
        }
    }
    free(polled);
    return result < 0 ? -1 : ready;
}
