/* One connection of the web server: requests in, answers out, in order. */
#include "httpd.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define IDLE_S 30 /* a client that says and takes nothing for so long loses its connection */
#define LINGER_BYTES (1 << 20) /* thrown away after a refusal, at most */

const char *document_root = "/www";

struct client {
    struct connection c;
    char *saved; /* input that waits: half a request, or whole ones behind an unfinished answer */
    size_t saved_bytes;
    int discarded; /* bytes thrown away since the last answer has gone; 0: it has not */
    struct response response;
};

/* All clients read into one buffer, behind what the client had saved. */
static char input[REQUEST_BYTES] __attribute__((aligned(4096)));

static void closed(struct connection *c) {
    struct client *h = (struct client *)c;

    if (h->saved)
        free(h->saved);
    if (h->response.is_active)
        response_end(&h->response);
}

/* The last answer has gone. With input unread or on its way, close() would reset the connection,
 * and the client could lose the answer; so end our direction and wait for the client to end its
 * own [RFC 9112 9.6]. */
static void linger(struct client *h) {
    shutdown(h->c.fd, SHUT_WR);
    h->discarded = 1;
    connection_want(&h->c, POLLIN);
}

/* Keeps these bytes of `input` for later: 0, or -1. */
static int save(struct client *h, const char *from, size_t bytes) {
    if (!bytes && !h->saved)
        return 0;
    char *saved = bytes ? realloc(h->saved, bytes) : NULL;

    if (bytes && !saved)
        return -1;
    if (bytes)
        memcpy(saved, from, bytes);
    else
        free(h->saved);
    h->saved = saved;
    h->saved_bytes = bytes;
    return 0;
}

/* Answers the requests in text[0, bytes) until one is not whole, or an answer cannot go at once;
 * the rest is saved. */
static void answer(struct client *h, const char *text, size_t bytes) {
    struct response *r = &h->response;
    struct request request;
    size_t used = 0;

    while (!r->is_active && used < bytes) {
        int length = request_parse(&request, text + used, bytes - used);
        if (length == 0)
            break;
        if (length < 0) {
            response_start(r, -length, NULL);
            used = bytes;
        } else {
            int status = body_find(&r->body, request.path);
            response_start(r, status ? status : 200, &request);
            used += (size_t)length;
        }
        int done = response_send(r, h->c.fd);
        if (done < 0) {
            connection_close(&h->c);
            return;
        }
        if (done && r->is_last) {
            if (length < 0 || used < bytes)
                linger(h);
            else
                connection_close(&h->c);
            return;
        }
    }
    if (save(h, text + used, bytes - used) < 0)
        connection_close(&h->c);
    else
        connection_want(&h->c, r->is_active ? POLLOUT : POLLIN);
}

static void ready(struct connection *c, short events) {
    struct client *h = (struct client *)c;
    struct response *r = &h->response;

    (void)events;
    if (r->is_active) { /* go on with the answer, then with what came behind its request */
        int done = response_send(r, c->fd);
        if (done < 0)
            connection_close(c);
        else if (done && r->is_last)
            linger(h);
        else if (done && h->saved_bytes)
            answer(h, memcpy(input, h->saved, h->saved_bytes), h->saved_bytes);
        else if (done)
            connection_want(c, POLLIN);
        return;
    }
    size_t before = h->discarded ? 0 : h->saved_bytes;
    ssize_t got = recv(c->fd, input + before, sizeof input - before, 0);
    if (got <= 0) {
        if (got == 0 || !is_would_block())
            connection_close(c);
    } else if (h->discarded) {
        h->discarded += (int)got;
        if (h->discarded > LINGER_BYTES)
            connection_close(c);
    } else {
        if (before)
            memcpy(input, h->saved, before);
        answer(h, input, before + (size_t)got);
    }
}

int main(int argc, char **argv) {
    static const struct service httpd = {"httpd", 80,     sizeof(struct client), POLLIN, ready,
                                         closed,  IDLE_S, NULL};

    if (argc > 2)
        document_root = argv[2];
    return serve(&httpd, argc, argv);
}
