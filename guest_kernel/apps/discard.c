/* discard: throws away what it gets [RFC 863]. */
#include "server.h"

#include <sys/socket.h>

static char sink[256 << 10] __attribute__((aligned(4096)));

static void ready(struct connection *c, short events) {
    (void)events;
    ssize_t got = recv(c->fd, sink, sizeof sink, 0);
    if (got == 0 || (got < 0 && !is_would_block()))
        connection_close(c);
}

static void datagrams(int fd) {
    for (int i = 0; i < 64 && recv(fd, sink, sizeof sink, 0) >= 0; i++)
        ;
}

int main(int argc, char **argv) {
    static const struct service discard = {"discard", 9, sizeof(struct connection), POLLIN, ready,
                                           NULL, 0, datagrams};

    return serve(&discard, argc, argv);
}
