/* TCP in the hypervisor. A socket of this kernel is a handle of the hypervisor's; see leulo/abi.h
 * and docs/reference/hypercalls.md for the calls.
 *
 *   gate.c     finding the gate, the descriptor, one hypercall
 *   events.c   the event ring and its interrupt
 *   sockets.c  the provider: each function is one hypercall */
#pragma once

#include "leulo/abi.h"
#include "net/provider.h"

/* The descriptor of the hypercall in hand. There is one CPU, interrupts are off in the kernel and
 * nothing sleeps between filling it and reading the answer, so one is enough. Its fields keep what
 * the last call left, so a call fills those that its operation reads; `reserved` stays zero. */
extern struct leulo_call call;

/* Carries out `call` with this operation: the socket's result, or -EIO (and a message) if the
 * hypervisor did not understand, which is a fault of this kernel. */
int hypercall(unsigned op);
/* The same on a socket, whose mask is then the answer's. */
int socket_call(struct socket *s, unsigned op);

/* Makes the table of sockets and the ring: 0, or -ENOMEM. */
int events_init(uint32_t max_sockets, uint32_t max_events);
/* Gives the socket a place in the table (`index`), so that events find it: 0, or -EMFILE. */
int socket_register(struct socket *s);
void socket_unregister(struct socket *s);

/* Lends the initrd's memory to the hypervisor, so that long pieces of it are sent from there. */
void archive_register(void);

/* What every socket subscribes to; errors and hang-ups come unasked. */
#define WANTED (LEULO_POLL_IN | LEULO_POLL_OUT)

extern const struct provider paravirt;
