/* The event loop of the servers; see server.h. */
#define _GNU_SOURCE /* accept4, on the host */
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ACCEPTS_AT_ONCE 256 /* then the connections get their turn */

static const struct service *service;

/* The poll table and, beside it, whose entry it is. Entry 0 is the listener. Entries are dense:
 * the last one moves into a gap. */
static struct pollfd *polled;
static struct connection **connections;
static int used, size;

static int grow(void) {
    int bigger = size ? 2 * size : 64;
    struct pollfd *p = realloc(polled, (size_t)bigger * sizeof *p);

    if (!p)
        return -1;
    polled = p;
    struct connection **c = realloc(connections, (size_t)bigger * sizeof *c);
    if (!c)
        return -1;
    connections = c;
    size = bigger;
    return 0;
}

static struct connection *connection_open(int fd) {
    struct connection *c;

    if ((used == size && grow() < 0) || !(c = calloc(1, service->connection_bytes)))
        return NULL;
    c->fd = fd;
    c->slot = used;
    connections[used] = c;
    polled[used] = (struct pollfd){.fd = fd, .events = service->wanted};
    used++;
    return c;
}

void connection_want(struct connection *c, short events) {
    polled[c->slot].events = events;
}

void connection_close(struct connection *c) {
    if (service->closed)
        service->closed(c);
    close(c->fd);
    used--;
    polled[c->slot] = polled[used];
    connections[c->slot] = connections[used];
    connections[c->slot]->slot = c->slot;
    polled[0].events = POLLIN; /* there is room for one more */
    free(c);
}

int is_would_block(void) {
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

static void accept_all(void) {
    for (int i = 0; i < ACCEPTS_AT_ONCE; i++) {
        int fd = accept4(polled[0].fd, NULL, NULL, SOCK_NONBLOCK);
        if (fd >= 0 && connection_open(fd))
            continue;
        if (fd >= 0) { /* no memory: the client learns it at once */
            close(fd);
            continue;
        }
        if (errno == ECONNABORTED || errno == EINTR) /* this one is gone; there may be others */
            continue;
        if (!is_would_block() && used > 1) /* out of files or buffers: wait until one closes */
            polled[0].events = 0;
        return;
    }
}

static int open_listener(unsigned short port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    socklen_t length = sizeof address;
    int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, SOMAXCONN) < 0 ||
        fcntl(fd, F_SETFL, O_NONBLOCK) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &length) < 0)
        return -1;
    dprintf(STDOUT_FILENO, "%s: port %d\n", service->name, ntohs(address.sin_port));
    return fd;
}

int serve(const struct service *what, int argc, char **argv) {
    service = what;
    unsigned short port = argc > 1 ? (unsigned short)atoi(argv[1]) : service->port;
    int listener = open_listener(port);

    if (listener < 0 || grow() < 0) {
        dprintf(STDERR_FILENO, "%s: port %d: %s\n", service->name, port, strerror(errno));
        return 1;
    }
    polled[0] = (struct pollfd){.fd = listener, .events = POLLIN};
    connections[0] = NULL;
    used = 1;

    for (;;) {
        int ready = poll(polled, (nfds_t)used, -1);
        /* Downwards: closing moves the last entry into the gap, and that one had its turn; a new
         * connection is put behind those that are looked at. The listener comes last. */
        for (int i = used - 1; i >= 0 && ready > 0; i--) {
            short events = polled[i].revents;
            if (!events)
                continue;
            ready--;
            if (i)
                service->ready(connections[i], events);
            else
                accept_all();
        }
    }
}
