/* The hypercall gate: a port that takes the address of a descriptor. */
#include "kern/console.h"
#include "kern/cpu.h"
#include "kern/errno.h"
#include "kern/time.h"
#include "net/paravirt/paravirt.h"
#include "net/socket.h"

struct leulo_call call = {.size = sizeof call};

int hypercall(unsigned op) {
    call.op = (uint16_t)op;
    outl(LEULO_GATE_PORT, (uint32_t)(uintptr_t)&call); /* answered when this line is done */
    if (call.status == LEULO_STATUS_OK)
        return call.result;
    kprintf("net: hypercall %u refused with status %u\n", op, call.status);
    return -EIO;
}

int socket_call(struct socket *s, unsigned op) {
    call.handle = s->handle;
    int result = hypercall(op);
    net_update(s, call.events);
    return result;
}

static void say_address(const struct leulo_endpoint *e) {
    kprintf("%u.%u.%u.%u", e->address[0], e->address[1], e->address[2], e->address[3]);
}

const struct provider *paravirt_probe(void) {
    static struct leulo_hello hello = {.size = sizeof hello, .version = LEULO_VERSION};

    if (inl(LEULO_GATE_PORT) != LEULO_GATE_MAGIC)
        return NULL;
    call.args[0] = (uintptr_t)&hello;
    if (hypercall(LEULO_OP_HELLO) < 0)
        return NULL;
    if (hello.tsc_hz)
        time_set_tsc_hz(hello.tsc_hz);
    if (hypercall(LEULO_OP_TIME) == 0 && call.args[1])
        time_set_calendar(call.args[1]);
    if (events_init(hello.max_sockets, hello.max_events) < 0) {
        kprintf("net: no memory for %u sockets\n", hello.max_sockets);
        return NULL;
    }
    if (hello.features & LEULO_FEATURE_SENDFILE)
        archive_register();
    memcpy(net_name_server, hello.dns.address, sizeof net_name_server);
    kprintf("net: paravirt, TCP in the hypervisor, address ");
    say_address(&hello.address);
    kprintf("/%u, gateway ", hello.prefix_length);
    say_address(&hello.gateway);
    kprintf("\n");
    return &paravirt;
}
