/* The provider of sockets that are the hypervisor's: each function is one hypercall. */
#include "boot/multiboot.h"
#include "kern/errno.h"
#include "net/paravirt/paravirt.h"

/* The two ways to write an address, its family and length checked. In a sockaddr the port is in
 * network byte order and the address stands at 4, or behind sin6_flowinfo at 8. */
static void to_endpoint(struct leulo_endpoint *to, const struct sockaddr_storage *from) {
    bool is_6 = from->ss_family == AF_INET6;

    *to = (struct leulo_endpoint){
        .family = from->ss_family,
        .port = __builtin_bswap16(((const struct sockaddr_in *)from)->sin_port)};
    memcpy(to->address, (const char *)from + (is_6 ? 8 : 4), is_6 ? 16 : 4);
}

static void from_endpoint(struct sockaddr_storage *to, const struct leulo_endpoint *from) {
    bool is_6 = from->family == LEULO_AF_INET6;

    *to = (struct sockaddr_storage){.ss_family = is_6 ? AF_INET6 : AF_INET};
    ((struct sockaddr_in *)to)->sin_port = __builtin_bswap16(from->port);
    memcpy((char *)to + (is_6 ? 8 : 4), from->address, 16); /* of IPv4 the rest is zero */
}

static void paravirt_close(struct socket *s) {
    call.handle = s->handle;
    hypercall(LEULO_OP_CLOSE);
    socket_unregister(s);
}

static int paravirt_open(struct socket *s, int family, int type, int protocol) {
    int result = socket_register(s);

    if (result < 0)
        return result;
    call.args[0] = (uint32_t)family;
    call.args[1] = (uint32_t)type;
    call.args[2] = (uint32_t)protocol;
    result = hypercall(LEULO_OP_SOCKET);
    if (result < 0) {
        socket_unregister(s);
        return result;
    }
    s->handle = call.handle;
    call.events = WANTED;
    call.cookie = s->index;
    call.flags = LEULO_FLAG_EDGE;
    result = socket_call(s, LEULO_OP_SUBSCRIBE);
    if (result < 0)
        paravirt_close(s);
    return result;
}

static int paravirt_bind(struct socket *s, const struct sockaddr_storage *address) {
    to_endpoint(&call.local, address);
    return socket_call(s, LEULO_OP_BIND);
}

static int paravirt_listen(struct socket *s, int backlog) {
    call.args[0] = backlog < 0 ? 0 : (uint32_t)backlog;
    return socket_call(s, LEULO_OP_LISTEN);
}

static int paravirt_connect(struct socket *s, const struct sockaddr_storage *address) {
    to_endpoint(&call.peer, address);
    return socket_call(s, LEULO_OP_CONNECT);
}

/* The new socket is subscribed by the same call, and the answer tells both masks. */
static int paravirt_accept(struct socket *s, struct socket *made, struct sockaddr_storage *peer) {
    int result = socket_register(made);

    if (result < 0)
        return result;
    call.handle = s->handle;
    call.events = WANTED;
    call.cookie = made->index;
    call.flags = LEULO_FLAG_EDGE;
    result = hypercall(LEULO_OP_ACCEPT);
    if (result < 0) {
        net_update(s, call.events); /* still the listener's */
        socket_unregister(made);
        return result;
    }
    made->handle = call.handle;
    made->mask = call.events;
    net_update(s, (uint32_t)call.args[0]);
    from_endpoint(peer, &call.peer);
    return 0;
}

static int paravirt_name(struct socket *s, bool of_peer, struct sockaddr_storage *address) {
    int result = socket_call(s, of_peer ? LEULO_OP_GETPEERNAME : LEULO_OP_GETSOCKNAME);

    from_endpoint(address, of_peer ? &call.peer : &call.local);
    return result;
}

static int option_call(struct socket *s, unsigned op, int level, int name, const void *value,
                       socklen_t bytes) {
    call.args[0] = (uint32_t)level;
    call.args[1] = (uint32_t)name;
    call.args[2] = (uintptr_t)value;
    call.args[3] = bytes;
    return socket_call(s, op);
}

static int paravirt_getsockopt(struct socket *s, int level, int name, void *value,
                               socklen_t *bytes) {
    int result = option_call(s, LEULO_OP_GETSOCKOPT, level, name, value, *bytes);

    if (result < 0)
        return result;
    *bytes = (socklen_t)result;
    return 0;
}

static int paravirt_setsockopt(struct socket *s, int level, int name, const void *value,
                               socklen_t bytes) {
    return option_call(s, LEULO_OP_SETSOCKOPT, level, name, value, bytes);
}

static int paravirt_shutdown(struct socket *s, int how) {
    call.args[0] = (uint32_t)how;
    return socket_call(s, LEULO_OP_SHUTDOWN);
}

/* The bytes are not copied here: the hypervisor takes them from, or puts them into, the pages of
 * the process. */
static ssize_t transfer(struct socket *s, unsigned op, const struct piece *pieces, int count,
                        int flags) {
    _Static_assert(sizeof(struct piece) == sizeof(struct leulo_iovec), "pieces are an iovec");

    if (count == 1) {
        call.args[0] = pieces->address;
        call.args[1] = pieces->length;
    } else {
        call.args[0] = (uintptr_t)pieces;
        call.args[1] = (uint32_t)count;
        flags |= LEULO_FLAG_IOVEC;
    }
    call.flags = (uint32_t)flags;
    return socket_call(s, op);
}

static ssize_t paravirt_send(struct socket *s, const struct piece *pieces, int count, int flags,
                             const struct sockaddr_storage *to) {
    if (!s->is_datagram)
        return transfer(s, LEULO_OP_SEND, pieces, count, flags);
    call.peer = (struct leulo_endpoint){0};
    if (to)
        to_endpoint(&call.peer, to);
    return transfer(s, LEULO_OP_SENDTO, pieces, count, flags);
}

/* The initrd never changes, so its bytes need not be copied when they are queued: the hypervisor
 * sends them from where they lie, as the other side takes them. */
#define LENT_LEAST 4096u /* less is copied: cheaper than to keep account of it */
static uint32_t archive; /* its buffer; 0: none */

void archive_register(void) {
    call.args[0] = boot_info.initrd_start;
    call.args[1] = boot_info.initrd_end - boot_info.initrd_start;
    call.flags = 0;
    archive = hypercall(LEULO_OP_BUFFER_REGISTER) == 0 ? call.handle : 0;
}

static ssize_t paravirt_send_kernel(struct socket *s, const struct piece *piece, int flags) {
    if (!archive || s->is_datagram || piece->length < LENT_LEAST
        || piece->address < boot_info.initrd_start
        || piece->address + piece->length > boot_info.initrd_end)
        return paravirt_send(s, piece, 1, flags, NULL);
    call.args[0] = archive;
    call.args[1] = piece->address - boot_info.initrd_start;
    call.args[2] = piece->length;
    call.flags = (uint32_t)flags;
    return socket_call(s, LEULO_OP_SENDFILE);
}

static ssize_t paravirt_receive(struct socket *s, const struct piece *pieces, int count, int flags,
                                struct sockaddr_storage *from) {
    if (!s->is_datagram)
        return transfer(s, LEULO_OP_RECV, pieces, count, flags);
    ssize_t result = transfer(s, LEULO_OP_RECVFROM, pieces, count, flags);
    if (from)
        from_endpoint(from, &call.peer);
    return result;
}

const struct provider paravirt = {
    .open = paravirt_open,
    .close = paravirt_close,
    .bind = paravirt_bind,
    .listen = paravirt_listen,
    .connect = paravirt_connect,
    .accept = paravirt_accept,
    .name = paravirt_name,
    .getsockopt = paravirt_getsockopt,
    .setsockopt = paravirt_setsockopt,
    .shutdown = paravirt_shutdown,
    .send = paravirt_send,
    .send_kernel = paravirt_send_kernel,
    .receive = paravirt_receive,
};
