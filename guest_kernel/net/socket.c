/* Sockets as files: blocking, O_NONBLOCK, poll. Which TCP is below, only net_init() knows.
 *
 * Every call that may have to wait is the same loop: if the kept mask says that it can go on, ask
 * the provider; if it could not after all, sleep until the mask rises. Interrupts are off between
 * looking and sleeping, so no wake-up is lost. */
#include "net/socket.h"

#include "kern/console.h"
#include "kern/errno.h"
#include "kern/process.h"
#include "net/provider.h"

#define TYPE_MASK 0xf
#define SEND_FLAGS (MSG_DONTWAIT | MSG_NOSIGNAL | MSG_MORE)
#define RECEIVE_FLAGS (MSG_DONTWAIT | MSG_NOSIGNAL | MSG_PEEK | MSG_WAITALL)
#define WAIT_FLAGS (MSG_WAITALL | MSG_PEEK) /* a look at the data never waits for all of it */
#define CAN_RECEIVE (POLLIN | POLLRDHUP | POLLHUP | POLLERR) /* data, its end, or an error */
#define CAN_SEND (POLLOUT | POLLHUP | POLLERR)

static const struct provider *provider; /* NULL: no network */
uint8_t net_name_server[4];

void net_init(const char *wanted) {
    bool is_known = !*wanted || !strcmp(wanted, "paravirt");

    if (is_known)
        provider = paravirt_probe();
    if (!provider)
        kprintf("net: %s: sockets answer ENETDOWN\n",
                is_known ? "no hypercall gate" : "net= names what this kernel does not have");
}

void net_update(struct socket *s, uint32_t mask) {
    uint32_t risen = mask & ~s->mask;

    s->mask = mask;
    if (risen) {
        wake_all(&s->waiters);
        if (s->file)
            poll_wake(s->file);
    }
}

static struct socket *socket_of(struct file *file) {
    return file->data;
}

/* Sleep until the mask rises, or a while for memory if that is `why` it cannot go on: 0, `why` if this
 * call must not wait, or -EINTR. */
static int wait(struct file *file, int flags, int why) {
    if (file->flags & O_NONBLOCK || flags & MSG_DONTWAIT)
        return why;
    int woken = sleep_on(&socket_of(file)->waiters, why == -ENOBUFS ? 10000000 : FOREVER);
    return woken == -ETIMEDOUT ? 0 : woken;
}

/* A file for `s`, which belongs to it from now on, also on failure. */
static int make_file(struct socket *s, int flags, struct file **made) {
    *made = file_new(&socket_ops, s, (uint32_t)(flags & SOCK_NONBLOCK) | O_RDWR);
    if (*made) {
        s->file = *made;
        return 0;
    }
    provider->close(s);
    kfree(s);
    return -ENOMEM;
}

int sock_socket(int family, int type, int protocol, struct file **made) {
    if (!provider)
        return -ENETDOWN;
    if (type & ~(TYPE_MASK | SOCK_NONBLOCK))
        return -EINVAL;
    struct socket *s = kmalloc(sizeof *s);
    if (!s)
        return -ENOMEM;
    s->is_datagram = (type & TYPE_MASK) == SOCK_DGRAM;
    int result = provider->open(s, family, type & TYPE_MASK, protocol);
    if (result < 0) {
        kfree(s);
        return result;
    }
    return make_file(s, type, made);
}

/* Is the address as long as its family says? */
static int check(const struct sockaddr_storage *address, socklen_t bytes) {
    if (bytes < sizeof address->ss_family)
        return -EINVAL;
    if (address->ss_family == AF_INET)
        return bytes < sizeof(struct sockaddr_in) ? -EINVAL : 0;
    if (address->ss_family == AF_INET6)
        return bytes < sizeof(struct sockaddr_in6) ? -EINVAL : 0;
    return -EAFNOSUPPORT;
}

static socklen_t length_of(const struct sockaddr_storage *address) {
    return address->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                          : sizeof(struct sockaddr_in);
}

int sock_bind(struct file *file, const struct sockaddr_storage *address, socklen_t bytes) {
    int result = check(address, bytes);

    return result < 0 ? result : provider->bind(socket_of(file), address);
}

int sock_listen(struct file *file, int backlog) {
    struct socket *s = socket_of(file);
    int result = provider->listen(s, backlog);

    if (result == 0)
        s->is_listening = true;
    return result;
}

int sock_connect(struct file *file, const struct sockaddr_storage *address, socklen_t bytes) {
    struct socket *s = socket_of(file);
    int result = check(address, bytes);

    while (result == 0) {
        result = provider->connect(s, address);
        if (result == 0 || result == -EINPROGRESS)
            s->is_connected = true;
        if (result != -EINPROGRESS && result != -EALREADY)
            return result;
        for (int waited = 0; !(s->mask & CAN_SEND);)
            if ((waited = wait(file, 0, -EAGAIN)) < 0)
                return waited == -EAGAIN ? result : waited;
        result = 0; /* decided: asked again, the provider tells how */
    }
    return result;
}

int sock_accept(struct file *file, int flags, struct file **made, struct sockaddr_storage *peer,
                socklen_t *bytes) {
    struct socket *s = socket_of(file), *accepted = NULL;
    int result;

    if (flags & ~SOCK_NONBLOCK)
        return -EINVAL;
    for (;;) {
        if (s->mask & CAN_RECEIVE || !s->is_listening) {
            if (!accepted && !(accepted = kmalloc(sizeof *accepted)))
                return -ENOMEM;
            result = provider->accept(s, accepted, peer);
            if (result != -EAGAIN)
                break;
        }
        if ((result = wait(file, 0, -EAGAIN)) < 0)
            break;
    }
    if (result < 0) {
        kfree(accepted);
        return result;
    }
    accepted->is_connected = true;
    *bytes = length_of(peer);
    return make_file(accepted, flags, made);
}

int sock_name(struct file *file, bool of_peer, struct sockaddr_storage *address, socklen_t *bytes) {
    int result = provider->name(socket_of(file), of_peer, address);

    *bytes = length_of(address);
    return result;
}

int sock_getsockopt(struct file *file, int level, int name, void *value, socklen_t *bytes) {
    return provider->getsockopt(socket_of(file), level, name, value, bytes);
}

int sock_setsockopt(struct file *file, int level, int name, const void *value, socklen_t bytes) {
    return provider->setsockopt(socket_of(file), level, name, value, bytes);
}

int sock_shutdown(struct file *file, int how) {
    return provider->shutdown(socket_of(file), how);
}

/* Sends from user memory, or from the kernel's own. A stream that waits takes all [POSIX send]. */
static ssize_t send(struct file *file, uintptr_t from, bool is_user, size_t bytes, int flags,
                    const struct sockaddr_storage *to) {
    static struct piece pieces[PIECES_MOST]; /* nobody sleeps between filling and using it */
    struct socket *s = socket_of(file);
    size_t sent = 0;
    ssize_t result;

    if (flags & ~SEND_FLAGS) return -EOPNOTSUPP; /* a provider has flags of its own up there */
    for (;;) {
        result = -EAGAIN;
        if (s->mask & CAN_SEND || !s->is_connected) {
            int count = 1;
            size_t covered;
            if (is_user) {
                count =
                    user_pieces(from + sent, bytes - sent, false, pieces, PIECES_MOST, &covered);
                if (count >= 0 && s->is_datagram && covered < bytes)
                    count = -EFAULT; /* half a datagram is none */
                if (count < 0)
                    return sent ? (ssize_t)sent : count;
            } else {
                pieces[0] = (struct piece){from + sent, bytes - sent};
            }
            result = is_user ? provider->send(s, pieces, count, flags & MSG_MORE, to)
                             : provider->send_kernel(s, pieces, flags & MSG_MORE);
        }
        if (result >= 0) {
            sent += (size_t)result;
            if (sent == bytes || s->is_datagram || file->flags & O_NONBLOCK || flags & MSG_DONTWAIT)
                return (ssize_t)sent;
        } else if ((result != -EAGAIN && result != -ENOBUFS)
                   || (result = wait(file, flags, result)) < 0) {
            if (result == -EPIPE && !(flags & MSG_NOSIGNAL))
                process_kill(process_current()->pid, SIGPIPE);
            return sent ? (ssize_t)sent : result;
        }
    }
}

ssize_t sock_sendto(struct file *file, uintptr_t user, size_t bytes, int flags,
                    const struct sockaddr_storage *to, socklen_t to_bytes) {
    int result = to && socket_of(file)->is_datagram ? check(to, to_bytes) : 0;

    return result < 0 ? result : send(file, user, true, bytes, flags, to);
}

ssize_t sock_recvfrom(struct file *file, uintptr_t user, size_t bytes, int flags,
                      struct sockaddr_storage *from, socklen_t *from_bytes) {
    static struct piece pieces[PIECES_MOST];
    struct socket *s = socket_of(file);
    size_t received = 0;
    ssize_t result;

    if (flags & ~RECEIVE_FLAGS)
        return -EOPNOTSUPP;
    if (from)
        *from_bytes = 0; /* as Linux answers for a stream */
    for (;;) {
        result = -EAGAIN;
        if (s->mask & CAN_RECEIVE || !s->is_connected) {
            size_t covered;
            int count =
                user_pieces(user + received, bytes - received, true, pieces, PIECES_MOST, &covered);
            result = count < 0 ? count
                               : provider->receive(s, pieces, count, flags & MSG_PEEK, from);
        }
        if (from && result >= 0 && s->is_datagram)
            *from_bytes = length_of(from);
        if (result > 0)
            received += (size_t)result;
        if (result == 0 || received == bytes ||
            (received && (s->is_datagram || (flags & WAIT_FLAGS) != MSG_WAITALL)))
            return (ssize_t)received;
        if (result < 0 && (result != -EAGAIN || (result = wait(file, flags, result)) < 0))
            return received ? (ssize_t)received : result;
    }
}

static ssize_t socket_read(struct file *file, uintptr_t user, size_t bytes) {
    return sock_recvfrom(file, user, bytes, 0, NULL, NULL);
}

static ssize_t socket_write(struct file *file, uintptr_t user, size_t bytes) {
    return send(file, user, true, bytes, 0, NULL);
}

static ssize_t socket_send_kernel(struct file *file, const void *data, size_t bytes) {
    return send(file, (uintptr_t)data, false, bytes, 0, NULL);
}

static uint32_t socket_poll(struct file *file) {
    return socket_of(file)->mask;
}

static void socket_close(struct file *file) {
    provider->close(socket_of(file));
    kfree(file->data);
}

const struct file_ops socket_ops = {
    .mode = S_IFSOCK,
    .read = socket_read,
    .write = socket_write,
    .send_kernel = socket_send_kernel,
    .poll = socket_poll,
    .close = socket_close,
};
