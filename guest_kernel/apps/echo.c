/* echo: sends back what it gets [RFC 862].
 *
 * What cannot be sent back yet is kept, and nothing more is read from that client until it is
 * gone: so a client that never reads costs one buffer, and TCP's window stops it. */
#include "server.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>

#define BUFFER_BYTES (64 << 10)
#define DATAGRAMS_AT_ONCE 64 /* then the connections get their turn */
#define FIRST_PORT_OF_CLIENTS 1024

struct client {
    struct connection c;
    char *buffer; /* bytes [sent, filled) are to be sent back; NULL: none */
    size_t sent, filled;
};

/* One buffer serves all clients that keep up; a slow one takes it away with what is in it, so
 * that nothing is ever copied. */
static char *spare;

static void release(struct client *e) {
    if (spare)
        free(e->buffer);
    else
        spare = e->buffer;
    e->buffer = NULL;
}

static void closed(struct connection *c) {
    struct client *e = (struct client *)c;

    if (e->buffer)
        release(e);
}

static void ready(struct connection *c, short events) {
    struct client *e = (struct client *)c;

    (void)events;
    if (!e->buffer) {
        e->buffer = spare ? spare : malloc(BUFFER_BYTES);
        spare = NULL;
        ssize_t got = e->buffer ? recv(c->fd, e->buffer, BUFFER_BYTES, 0) : 0;
        if (got <= 0) { /* the client has finished, or failed */
            if (got < 0 && is_would_block())
                release(e);
            else
                connection_close(c);
            return;
        }
        e->sent = 0;
        e->filled = (size_t)got;
    }
    ssize_t gone = send(c->fd, e->buffer + e->sent, e->filled - e->sent, MSG_NOSIGNAL);
    if (gone < 0 && !is_would_block()) {
        connection_close(c);
        return;
    }
    e->sent += gone > 0 ? (size_t)gone : 0;
    if (e->sent == e->filled)
        release(e);
    connection_want(c, e->buffer ? POLLOUT : POLLIN);
}

/* What comes from a server's port is not sent back: two that echo would never end. */
static void datagrams(int fd) {
    static char buffer[64 << 10];
    struct sockaddr_in6 from;
    ssize_t got = 0;

    for (int i = 0; i < DATAGRAMS_AT_ONCE && got >= 0; i++) {
        socklen_t length = sizeof from;
        got = recvfrom(fd, buffer, sizeof buffer, 0, (struct sockaddr *)&from, &length);
        if (got >= 0 && ntohs(from.sin6_port) >= FIRST_PORT_OF_CLIENTS)
            sendto(fd, buffer, (size_t)got, 0, (struct sockaddr *)&from, length);
    }
}

int main(int argc, char **argv) {
    static const struct service echo = {
        "echo", 7, sizeof(struct client), POLLIN, ready, closed, 0, datagrams};

    return serve(&echo, argc, argv);
}
