/* The event ring: the hypervisor puts in which sockets' readiness has risen, and interrupts if the
 * ring is armed. So poll(2) is answered from masks kept here, without a hypercall. */
#include "kern/errno.h"
#include "kern/irq.h"
#include "net/paravirt/paravirt.h"

#define RING_BYTES 16384 /* four pages: about a thousand events */

static volatile struct leulo_ring *ring;
static volatile struct leulo_event *entries;
static uint32_t entries_mask;

/* Sockets by index; an event's cookie is the index. An event may outlive its socket, so its handle
 * has to fit as well: a handle never comes again. */
static struct socket **sockets;
static uint32_t *free_indices, free_count, sockets_most;

static void drain(void) {
    while (ring->tail != ring->head) {
        volatile struct leulo_event *event = &entries[ring->tail & entries_mask];
        uint32_t index = (uint32_t)event->cookie;
        struct socket *s = index < sockets_most ? sockets[index] : NULL;
        if (s && s->handle == event->handle)
            net_update(s, event->mask);
        ring->tail++;
    }
}

static void interrupt(void) {
    do {
        drain();
        while (ring->overflow) { /* some did not fit; there is room now, but perhaps not for all */
            hypercall(LEULO_OP_EVENTS_ACK);
            drain();
        }
        ring->armed = 1; /* from here on an event interrupts again; those that came before, don't */
    } while (ring->tail != ring->head);
}

int events_init(uint32_t max_sockets, uint32_t max_events) {
    uint32_t count = 1;

    sockets_most = max_sockets;
    sockets = kmalloc(max_sockets * sizeof *sockets);
    free_indices = kmalloc(max_sockets * sizeof *free_indices);
    ring = page_alloc(RING_BYTES / PAGE_BYTES);
    if (!sockets || !free_indices || !ring)
        return -ENOMEM;
    for (uint32_t i = 0; i < max_sockets; i++)
        free_indices[free_count++] = max_sockets - 1 - i;

    while (2 * count <= max_events &&
           2 * count * sizeof *entries <= RING_BYTES - sizeof(struct leulo_ring))
        count *= 2;
    entries = (volatile struct leulo_event *)(ring + 1);
    entries_mask = count - 1;
    call.args[0] = (uintptr_t)ring;
    call.args[1] = count;
    if (hypercall(LEULO_OP_EVENTS_SETUP) < 0)
        return -ENOMEM;
    irq_register(LEULO_EVENT_IRQ, interrupt);
    ring->armed = 1;
    return 0;
}

int socket_register(struct socket *s) {
    if (!free_count)
        return -EMFILE;
    s->index = free_indices[--free_count];
    sockets[s->index] = s;
    return 0;
}

void socket_unregister(struct socket *s) {
    sockets[s->index] = NULL;
    free_indices[free_count++] = s->index;
}
