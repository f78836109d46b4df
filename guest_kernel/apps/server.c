/* The event loop of the servers; see server.h. */
#define _GNU_SOURCE /* accept4, on the host */
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ACCEPTS_AT_ONCE 256 /* then the connections get their turn */
#define EVENTS_AT_ONCE 64

static const struct service *service;

static int epoll, listener, is_full; /* is_full: no connection is accepted until one closes */
static int datagrams;                /* the socket of UDP */
static struct connection *connections;
static unsigned closed; /* connections, so far */

static int watch(int operation, int fd, int events, void *what) {
    struct epoll_event event = {.events = (uint32_t)events, .data.ptr = what};

    return epoll_ctl(epoll, operation, fd, &event);
}

static struct connection *connection_open(int fd) {
    struct connection *c = calloc(1, service->connection_bytes);

    if (!c)
        return NULL;
    c->fd = fd;
    c->wanted = service->wanted;
    c->is_active = c->is_new = 1;
    c->next = connections;
    c->link = &connections;
    if (c->next)
        c->next->link = &c->next;
    connections = c;
    return c;
}

void connection_want(struct connection *c, short events) {
    if (c->wanted != events && !c->is_new)
        watch(EPOLL_CTL_MOD, c->fd, events, c);
    c->wanted = events;
}

void connection_close(struct connection *c) {
    if (service->closed)
        service->closed(c);
    close(c->fd); /* epoll forgets it */
    closed++;
    *c->link = c->next;
    if (c->next)
        c->next->link = c->link;
    if (is_full)
        watch(EPOLL_CTL_MOD, listener, POLLIN, NULL);
    is_full = 0;
    free(c);
}

static void rest(void) {
    struct timespec tick = {0, 10000000};

    nanosleep(&tick, NULL);
}

int is_would_block(void) {
    if (errno == ENOBUFS) { /* the quota of all connections is spent; acknowledgements free some */
        rest();
        return 1;
    }
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

/* Up to `most` connections that wait, into `fresh`: how many. */
static int accept_some(struct connection **fresh, int most) {
    int count = 0;

    for (int i = 0; i < most; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
        if (fd >= 0 && (fresh[count] = connection_open(fd))) {
            count++;
            continue;
        }
        if (fd >= 0) { /* no memory: the client learns it at once */
            close(fd);
            continue;
        }
        if (errno == ECONNABORTED || errno == EINTR) /* this one is gone; there may be others */
            continue;
        if (is_would_block())
            break;
        if (!connections) { /* others have all files: look again later */
            rest();
            break;
        }
        watch(EPOLL_CTL_MOD, listener, 0, NULL); /* until one closes */
        is_full = 1;
        break;
    }
    return count;
}

/* A client often has said all it wants by the time that it is accepted: it is served at once, and
 * epoll need not know of those that are done with by then. */
static void accept_all(void) {
    struct connection *fresh[ACCEPTS_AT_ONCE];
    int count = accept_some(fresh, ACCEPTS_AT_ONCE);

    for (int i = 0; i < count; i++) {
        struct connection *c = fresh[i];
        unsigned before = closed;
        service->ready(c, c->wanted);
        if (closed != before) /* it closes nobody but itself */
            continue;
        c->is_new = 0;
        if (watch(EPOLL_CTL_ADD, c->fd, c->wanted, c) < 0)
            connection_close(c);
    }
}

/* Closes those on which nothing has happened since the last look. */
static void close_idle(void) {
    for (struct connection *c = connections, *next; c; c = next) {
        next = c->next;
        if (c->is_active)
            c->is_active = 0;
        else
            connection_close(c);
    }
}

/* A socket of that type at that port, which is filled in if it was 0; -1 with errno. */
static int open_socket(int type, unsigned short *port) {
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons(*port)};
    socklen_t length = sizeof address;
    int one = 1, fd = socket(AF_INET6, type, 0); /* takes IPv4 too */

    if (fd < 0) { /* there is no IPv6: all zero is every address of IPv4 as well */
        address.sin6_family = AF_INET;
        fd = socket(AF_INET, type, 0);
    }
    if (fd < 0)
        return -1;
    if (type == SOCK_STREAM)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
        (type == SOCK_STREAM && listen(fd, SOMAXCONN) < 0) ||
        fcntl(fd, F_SETFL, O_NONBLOCK) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &length) < 0)
        return -1;
    *port = ntohs(address.sin6_port);
    return fd;
}

static int open_all(unsigned short *port) {
    epoll = epoll_create1(0);
    listener = open_socket(SOCK_STREAM, port);
    if (epoll < 0 || listener < 0 || watch(EPOLL_CTL_ADD, listener, POLLIN, NULL) < 0)
        return -1;
    if (!service->datagrams)
        return 0;
    datagrams = open_socket(SOCK_DGRAM, port);
    return datagrams < 0 ? -1 : watch(EPOLL_CTL_ADD, datagrams, POLLIN, &datagrams);
}

int serve(const struct service *what, int argc, char **argv) {
    service = what;
    unsigned short port = argc > 1 ? (unsigned short)atoi(argv[1]) : service->port;
    int idle_ms = service->idle_s ? service->idle_s * 1000 : -1;
    time_t looked = time(NULL);

    signal(SIGPIPE, SIG_IGN); /* a client that is gone is an error number, here */
    if (open_all(&port) < 0) {
        dprintf(STDERR_FILENO, "%s: port %d: %s\n", service->name, port, strerror(errno));
        return 1;
    }
    dprintf(STDOUT_FILENO, "%s: port %d\n", service->name, port);
    for (;;) {
        struct epoll_event ready[EVENTS_AT_ONCE];
        int count = epoll_wait(epoll, ready, EVENTS_AT_ONCE, connections ? idle_ms : -1);
        for (int i = 0; i < count; i++) { /* each is there once, and closes nobody but itself */
            struct connection *c = ready[i].data.ptr;
            if ((void *)c == &datagrams) {
                service->datagrams(datagrams);
            } else if (c) {
                c->is_active = 1;
                service->ready(c, (short)ready[i].events);
            } else {
                accept_all();
            }
        }
        if (service->idle_s && time(NULL) - looked >= service->idle_s) {
            looked = time(NULL);
            close_idle();
        }
    }
}
