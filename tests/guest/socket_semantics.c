/* Prints what the socket calls answer, one line a question. Built with the guest's libc it runs in
 * the guest and on Linux alike, and must print the same: Linux is the judge. All connections are
 * within the machine, to 127.0.0.1. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SO_TYPE /* options that no application of the guest asks for */
#define SO_TYPE 3
#define SO_ACCEPTCONN 30
#endif

static char big[1 << 20];
static struct sockaddr_in server;

static void say(const char *what, long result) {
    if (result < 0) printf("%s: %s\n", what, strerror(errno));
    else printf("%s: %ld\n", what, result);
}

/* The readiness of a socket after at most `ms`, of what everybody agrees on. */
static int mask(int fd, int ms) {
    struct pollfd p = {fd, POLLIN | POLLOUT, 0};
    poll(&p, 1, ms);
    return p.revents;
}

static int stream(void) {
    return socket(AF_INET, SOCK_STREAM, 0);
}

static int to_server(int fd) {
    return connect(fd, (struct sockaddr *)&server, sizeof server);
}

static int option(int fd, int level, int name) {
    int value = -1;
    socklen_t size = sizeof value;
    int result = getsockopt(fd, level, name, &value, &size);
    return result < 0 ? result : value;
}

static void wait_for(int fd, short events) {
    struct pollfd p = {fd, events, 0};
    poll(&p, 1, 5000);
}

static void unconnected(void) {
    int s = stream(), one = 1;
    char byte;

    say("recv before connect", recv(s, &byte, 1, 0));
    say("send before connect", send(s, "x", 1, MSG_NOSIGNAL));
    say("accept before listen", accept(s, NULL, NULL));
    say("shutdown before connect", shutdown(s, SHUT_WR));
    say("type", option(s, SOL_SOCKET, SO_TYPE));
    say("accepts", option(s, SOL_SOCKET, SO_ACCEPTCONN));
    say("nodelay set", setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one));
    say("nodelay", option(s, IPPROTO_TCP, TCP_NODELAY));
    say("unknown option", setsockopt(s, IPPROTO_TCP, 12345, &one, sizeof one));
    say("bind to nothing", bind(s, (struct sockaddr *)&server, 4));
    server.sin_addr.s_addr = htonl(0xcb007105); /* 203.0.113.5 */
    say("bind elsewhere", bind(s, (struct sockaddr *)&server, sizeof server));
    say("bad pointer", connect(s, (struct sockaddr *)16, sizeof server));
    say("close", close(s));
    say("closed", listen(s, 1));
    say("no socket", listen(STDOUT_FILENO, 1));
    say("no such family", socket(77, SOCK_STREAM, 0));
    say("no such type", socket(AF_INET, 9, 0));
}

static int listener(void) {
    socklen_t size = sizeof server;
    int l = stream(), other = stream();

    server = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    say("bind", bind(l, (struct sockaddr *)&server, sizeof server));
    say("listen", listen(l, 10));
    say("name", getsockname(l, (struct sockaddr *)&server, &size));
    say("size of a name", (long)size);
    say("port was chosen", server.sin_port != 0);
    say("accepts", option(l, SOL_SOCKET, SO_ACCEPTCONN));
    say("bind in use", bind(other, (struct sockaddr *)&server, sizeof server));
    close(other);
    say("idle listener", mask(l, 0));
    fcntl(l, F_SETFL, O_NONBLOCK);
    say("nothing to accept", accept(l, NULL, NULL));
    return l;
}

/* A connected pair. */
static void pair(int l, int *a, int *b) {
    *a = stream();
    if (to_server(*a) < 0) say("connect", -1);
    wait_for(l, POLLIN);
    *b = accept(l, NULL, NULL);
    if (*b < 0) say("accept", -1);
}

static void names(int l) {
    struct sockaddr_in a_name, b_peer;
    socklen_t size = sizeof a_name, peer_size = sizeof b_peer;
    int a, b;

    pair(l, &a, &b);
    getsockname(a, (struct sockaddr *)&a_name, &size);
    say("peer", getpeername(b, (struct sockaddr *)&b_peer, &peer_size));
    say("both sides agree", a_name.sin_port == b_peer.sin_port &&
                                a_name.sin_addr.s_addr == b_peer.sin_addr.s_addr);
    say("connect again", to_server(a));
    close(a);
    close(b);
}

static void data(int l) {
    char text[16] = "";
    int a, b;

    pair(l, &a, &b);
    say("idle", mask(b, 0));
    say("nothing there", recv(b, text, 5, MSG_DONTWAIT));
    say("send", send(a, "hello", 5, 0));
    wait_for(b, POLLIN);
    say("readable", mask(b, 0));
    say("peek", recv(b, text, 15, MSG_PEEK));
    say("first part", recv(b, text, 2, 0));
    say("rest", read(b, text + 2, 13));
    printf("text: %s\n", text);
    if (fork() == 0) { /* two parts, some time apart */
        write(a, "wai", 3);
        struct pollfd nothing = {-1, 0, 0};
        poll(&nothing, 1, 50);
        write(a, "ting", 4);
        _exit(0);
    }
    memset(text, 0, sizeof text);
    say("all", recv(b, text, 7, MSG_WAITALL));
    printf("text: %s\n", text);
    waitpid(-1, NULL, 0);
    say("half close", shutdown(a, SHUT_WR));
    say("send after it", send(a, "x", 1, MSG_NOSIGNAL));
    say("end", recv(b, text, 5, 0));
    say("end again", recv(b, text, 5, 0));
    say("ended", mask(b, 0));
    say("other way", send(b, "back", 4, 0));
    say("arrives", recv(a, text, 5, 0));
    close(b);
    say("then ends", recv(a, text, 5, 0));
    say("hung up", mask(a, 1000) & (POLLIN | POLLHUP));
    close(a);
}

static void full(int l) {
    long sent = 0, got = 0;
    ssize_t n;
    int a, b;

    pair(l, &a, &b);
    fcntl(a, F_SETFL, O_NONBLOCK);
    for (;;) { /* until both buffers are full, and stay so */
        n = send(a, big, sizeof big, 0);
        if (n > 0) sent += n;
        else if (mask(a, 100) == 0) break;
    }
    say("full", n);
    say("writable", mask(a, 0));
    while (got < sent && (n = recv(b, big, sizeof big, 0)) > 0)
        got += n;
    say("all arrived", got == sent);
    wait_for(a, POLLOUT);
    say("writable again", mask(a, 0));
    close(a);
    close(b);
}

static void blocking_transfer(int l) {
    const long total = 8 << 20;
    long got = 0;
    int a, b, status;
    ssize_t n;

    pair(l, &a, &b);
    if (fork() == 0) { /* write blocks until all is taken, so that each is one call */
        close(b);
        for (long sent = 0; sent < total; sent += n)
            if ((n = write(a, big, sizeof big)) != sizeof big) _exit(1);
        _exit(0);
    }
    close(a);
    while ((n = read(b, big, 77777)) > 0)
        got += n;
    waitpid(-1, &status, 0);
    say("writer", WEXITSTATUS(status));
    say("reader", got);
    close(b);
}

/* Buffers whose pages lie anywhere: one over a border of 2 MiB, one page by page between a file's. */
static void scattered(int l) {
    const long total = 3 << 20, room = 100 * 4096;
    char *from = sbrk(total), *to = sbrk(0);
    int file = open("/tmp/between", O_CREAT | O_RDWR | O_TRUNC, 0600), a, b, status;
    long got = 0, wrong = 0;
    ssize_t n = 0;

    for (long i = 0; i < room; i += 4096) {
        sbrk(4096);
        write(file, big, 4096);
    }
    for (long i = 0; i < total; i++)
        from[i] = (char)((unsigned long)i * 2654435761u >> 24);
    pair(l, &a, &b);
    if (fork() == 0)
        _exit(write(a, from, (size_t)total) != total);
    close(a);
    for (long at = 0; (n = read(b, to + at, (size_t)(room - at))) > 0; at = (at + 1237) % 4096) {
        for (long i = 0; i < n; i++)
            wrong += to[at + i] != (char)((unsigned long)(got + i) * 2654435761u >> 24);
        got += n;
    }
    waitpid(-1, &status, 0);
    say("scattered writer", WEXITSTATUS(status));
    say("scattered reader", got);
    say("wrong bytes", wrong);
    close(b);
    close(file);
    unlink("/tmp/between");
}

static void refused(void) {
    struct sockaddr_in saved = server;
    int s = stream();

    server.sin_port = htons(1); /* nobody listens */
    say("refused", to_server(s));
    close(s);
    s = stream();
    fcntl(s, F_SETFL, O_NONBLOCK);
    int result = to_server(s);
    say("later", result < 0 && (errno == EINPROGRESS || errno == ECONNREFUSED));
    if (errno == EINPROGRESS) {
        wait_for(s, POLLOUT);
        say("its error", option(s, SOL_SOCKET, SO_ERROR) == ECONNREFUSED);
    } else
        say("its error", 1);
    say("error is told once", option(s, SOL_SOCKET, SO_ERROR));
    close(s);
    server = saved;
}

static void reset(int l) {
    struct linger hard = {1, 0};
    char byte;
    int a, b;

    pair(l, &a, &b);
    say("linger", setsockopt(a, SOL_SOCKET, SO_LINGER, &hard, sizeof hard));
    close(a);
    wait_for(b, POLLIN);
    say("reset shows", mask(b, 0) & (POLLIN | POLLOUT | POLLERR | POLLHUP));
    say("reset", recv(b, &byte, 1, 0));
    say("then the end", recv(b, &byte, 1, 0));
    say("and a broken pipe", send(b, "x", 1, MSG_NOSIGNAL));
    close(b);
}

static void sleeping_accept(int l) {
    int status;

    fcntl(l, F_SETFL, 0);
    if (fork() == 0) {
        struct pollfd nothing = {-1, 0, 0};
        poll(&nothing, 1, 50); /* the parent sleeps meanwhile */
        int s = stream();
        _exit(to_server(s) < 0 || write(s, "w", 1) != 1);
    }
    char byte = 0;
    int b = accept(l, NULL, NULL);
    say("woken by a connection", b > 0);
    say("woken by data", recv(b, &byte, 1, 0));
    say("woken by the end", recv(b, &byte, 1, 0));
    waitpid(-1, &status, 0);
    say("client", WEXITSTATUS(status));
    close(b);
}

static void datagrams(void) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in from;
    socklen_t size = sizeof at, from_size = sizeof from;
    int s = socket(AF_INET, SOCK_DGRAM, 0), c = socket(AF_INET, SOCK_DGRAM, 0), status;
    char text[100];

    say("datagram type", option(s, SOL_SOCKET, SO_TYPE));
    say("datagram listen", listen(s, 1));
    say("datagram bind", bind(s, (struct sockaddr *)&at, sizeof at));
    say("datagram name", getsockname(s, (struct sockaddr *)&at, &size));
    say("datagram port", ntohs(at.sin_port) > 1023);
    say("datagram to nobody", send(c, "x", 1, 0));
    say("datagram to half an address", sendto(c, "x", 1, 0, (struct sockaddr *)&at, 4));
    say("datagram too long", sendto(c, big, 65508, 0, (struct sockaddr *)&at, sizeof at));
    say("nothing there", recv(s, text, sizeof text, MSG_DONTWAIT));
    say("one datagram", sendto(c, "abcdef", 6, 0, (struct sockaddr *)&at, sizeof at));
    say("an empty one", sendto(c, "", 0, 0, (struct sockaddr *)&at, sizeof at));
    say("a long one", sendto(c, big, 65507, 0, (struct sockaddr *)&at, sizeof at));
    wait_for(s, POLLIN);
    say("datagram shows", mask(s, 0));
    say("datagram looked at", recv(s, text, 3, MSG_PEEK));
    say("datagram cut", recvfrom(s, text, 3, 0, (struct sockaddr *)&from, &from_size));
    say("its text", memcmp(text, "abc", 3));
    say("its sender", from.sin_addr.s_addr == htonl(INADDR_LOOPBACK) && from_size == sizeof from);
    wait_for(s, POLLIN);
    say("the empty one", recv(s, text, sizeof text, 0));
    wait_for(s, POLLIN);
    say("the long one", recv(s, big, sizeof big, MSG_WAITALL));
    say("nobody connected", getpeername(s, (struct sockaddr *)&at, &size));
    say("answer to the sender", connect(s, (struct sockaddr *)&from, sizeof from));
    say("answer", write(s, "yes", 3));
    say("answer read by who sleeps", read(c, text, sizeof text));
    say("shutdown", shutdown(s, SHUT_RD));
    close(s);
    say("to a closed port", connect(c, (struct sockaddr *)&at, sizeof at));
    say("sent", send(c, "x", 1, 0));
    wait_for(c, POLLERR);
    say("refusal shows", mask(c, 0) & (POLLERR | POLLIN));
    say("refusal", recv(c, text, sizeof text, MSG_DONTWAIT));
    say("refusal once", recv(c, text, sizeof text, MSG_DONTWAIT));
    if (fork() == 0) {
        struct pollfd nothing = {-1, 0, 0};
        poll(&nothing, 1, 50);
        int k = socket(AF_INET, SOCK_DGRAM, 0);
        size = sizeof from;
        getsockname(c, (struct sockaddr *)&from, &size);
        bind(k, (struct sockaddr *)&at, sizeof at);
        _exit(sendto(k, "wake", 4, 0, (struct sockaddr *)&from, sizeof from) != 4);
    }
    say("woken by a datagram", recv(c, text, sizeof text, 0));
    waitpid(-1, &status, 0);
    say("sender", WEXITSTATUS(status));
    close(c);
}

int main(void) {
    server.sin_family = AF_INET;
    unconnected();
    int l = listener();
    names(l);
    data(l);
    full(l);
    blocking_transfer(l);
    scattered(l);
    refused();
    reset(l);
    sleeping_accept(l);
    datagrams();
    printf("done\n");
    return 0;
}
