/* What the servers have in common: one process, one listening socket, many connections, perhaps a
 * socket of UDP, and epoll to learn which of them can go on, so that those with nothing to do cost
 * nothing. Nothing here ever blocks but epoll_wait() itself. */
#pragma once

#include <poll.h> /* the bits are those of epoll */
#include <stddef.h>

/* One client. A service puts this first in its own structure, which begins zeroed. */
struct connection {
    int fd;
    short wanted;   /* what it waits for */
    char is_active; /* something has happened since the last look for idle ones */
    char is_new;    /* epoll does not know it yet */
    struct connection *next, **link;
};

struct service {
    const char *name;
    unsigned short port;
    size_t connection_bytes; /* size of the service's own structure */
    short wanted;            /* what a new connection waits for: POLLIN, POLLOUT or both */
    /* Called when something wanted, an error or a hang-up is there, and once at the beginning,
     * when there may be nothing. It must not block. */
    void (*ready)(struct connection *c, short events);
    void (*closed)(struct connection *c); /* frees what hangs on it; may be NULL */
    int idle_s; /* a connection on which nothing happens for so long, or twice so long, is closed;
                   0: never */
    /* Called when datagrams are there for the same port of UDP; NULL: it has none. */
    void (*datagrams)(int fd);
};

/* Serves for ever; returns only when it could not begin. A port number in argv[1] replaces the
 * service's own; 0 lets the system choose. */
int serve(const struct service *service, int argc, char **argv);

void connection_want(struct connection *c, short events);
/* Ends the connection: what was sent before is still delivered. `c` is gone afterwards. */
void connection_close(struct connection *c);
/* Did the last socket call fail only because it would have had to wait? Where it failed for want of
 * memory, a little time has passed now. */
int is_would_block(void);
