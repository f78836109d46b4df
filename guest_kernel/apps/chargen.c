/* chargen: sends lines of characters until the client goes, and throws away what it gets
 * [RFC 864]. Each line holds 72 of the 95 printing characters and begins one character further
 * than the line before. */
#include "server.h"

#include <string.h>
#include <sys/socket.h>

#define FIRST ' '
#define LAST '~'
#define CHARACTERS 95 /* from FIRST to LAST */
#define LINE_BYTES 74                          /* 72, carriage return, line feed */
#define PERIOD_BYTES (CHARACTERS * LINE_BYTES) /* then all lines come again */
#define PERIODS 10

struct client {
    struct connection c;
    size_t at; /* next byte to send, in the period */
};

static char pattern[PERIODS * PERIOD_BYTES] __attribute__((aligned(4096)));

static void fill_pattern(void) {
    char *p = pattern;

    for (int line = 0; line < CHARACTERS; line++) {
        char c = (char)(FIRST + line);
        for (int column = 0; column < LINE_BYTES - 2; column++) {
            *p++ = c;
            c = c == LAST ? FIRST : c + 1;
        }
        *p++ = '\r';
        *p++ = '\n';
    }
    for (int i = 1; i < PERIODS; i++)
        memcpy(pattern + i * PERIOD_BYTES, pattern, PERIOD_BYTES);
}

static void ready(struct connection *c, short events) {
    struct client *e = (struct client *)c;

    if (events & ~POLLOUT) { /* input, its end, or an error */
        static char sink[4096];
        ssize_t got = recv(c->fd, sink, sizeof sink, 0);
        if (got == 0 || (got < 0 && !is_would_block())) {
            connection_close(c);
            return;
        }
    }
    if (events & POLLOUT) {
        ssize_t gone = send(c->fd, pattern + e->at, sizeof pattern - e->at, MSG_NOSIGNAL);
        if (gone < 0 && !is_would_block())
            connection_close(c);
        else if (gone > 0)
            e->at = (e->at + (size_t)gone) % PERIOD_BYTES;
    }
}

int main(int argc, char **argv) {
    static const struct service chargen = {
        "chargen", 19, sizeof(struct client), POLLIN | POLLOUT, ready, NULL, 0, NULL};

    fill_pattern();
    return serve(&chargen, argc, argv);
}
