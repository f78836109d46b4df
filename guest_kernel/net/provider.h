/* What a provider of sockets gives: TCP in the hypervisor (net/paravirt), or in this kernel.
 *
 * A provider never sleeps: what can't be done now is -EAGAIN. It keeps `mask` up to date, and
 * net/socket.c sleeps and tries again. All functions return 0 or a count, or a negative errno, and
 * run with interrupts off. Addresses were checked to be as long as their family says. */
#pragma once

#include <stdbool.h>

#include "kern/file.h"
#include "kern/mem.h"
#include "kern/thread.h"

/* One run of system calls needs so many pieces of memory at most; more is a short count. */
#define PIECES_MOST 64

struct socket {
    uint32_t mask; /* POLL... bits that are up: net_update() changes them */
    struct wait_queue waiters;
    struct file *file; /* NULL until it has one */
    bool is_listening;
    bool is_connected; /* or on the way to it */
    bool is_datagram;
    uint32_t handle;   /* the provider's own */
    uint32_t index;    /* the provider's own */
};

struct provider {
    int (*open)(struct socket *s, int family, int type, int protocol);
    void (*close)(struct socket *s);
    int (*bind)(struct socket *s, const struct sockaddr_storage *address);
    int (*listen)(struct socket *s, int backlog);
    /* 0, -EINPROGRESS (POLLOUT or POLLERR will tell), or an error */
    int (*connect)(struct socket *s, const struct sockaddr_storage *address);
    /* `made` is a zeroed socket to fill. */
    int (*accept)(struct socket *s, struct socket *made, struct sockaddr_storage *peer);
    int (*name)(struct socket *s, bool of_peer, struct sockaddr_storage *address);
    int (*getsockopt)(struct socket *s, int level, int name, void *value, socklen_t *bytes);
    int (*setsockopt)(struct socket *s, int level, int name, const void *value, socklen_t bytes);
    int (*shutdown)(struct socket *s, int how);
    /* Of a datagram, all pieces together; `to` NULL: the connected side. Streams ignore it. */
    ssize_t (*send)(struct socket *s, const struct piece *pieces, int count, int flags,
                    const struct sockaddr_storage *to);
    /* Of the kernel's own memory, for sendfile: what lies in the initrd stays as it is for ever. */
    ssize_t (*send_kernel)(struct socket *s, const struct piece *piece, int flags);
    /* `from`, if given, gets a datagram's sender. */
    ssize_t (*receive)(struct socket *s, const struct piece *pieces, int count, int flags,
                       struct sockaddr_storage *from);
};

/* The socket's readiness is `mask` now; whoever waits for a bit that rose is woken. */
void net_update(struct socket *s, uint32_t mask);

/* Looks for the provider's machinery and says in one line what it found, and fills net_name_server;
 * NULL: it is not here. */
const struct provider *paravirt_probe(void);
