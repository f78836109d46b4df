/* ttcp: how fast is a stream?
 *
 *     ttcp -r [PORT]                 takes one connection and counts what comes
 *     ttcp -t HOST[:PORT] [MIB]   sends so much (16 MiB), until the other side has all
 */
#include "client.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PORT 5001

static char block[256 << 10] __attribute__((aligned(4096)));

static int fail(const char *what) {
    perror(what);
    return 1;
}

static int receive(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    uint64_t bytes = 0;
    ssize_t got;

    if (listener < 0)
        return fail("ttcp");
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 1) < 0)
        return fail("ttcp");
    dprintf(STDERR_FILENO, "ttcp: waits on port %d\n", port);
    int fd = accept(listener, NULL, NULL);
    uint64_t began = now_ns();
    if (fd < 0)
        return fail("ttcp");
    while ((got = recv(fd, block, sizeof block, 0)) > 0)
        bytes += (uint64_t)got;
    print_speed("ttcp: received", bytes, now_ns() - began);
    return got < 0 ? fail("ttcp") : 0;
}

static int transmit(const char *address, uint64_t bytes) {
    int fd = connect_to("ttcp", address, PORT);
    uint64_t began = now_ns();

    if (fd < 0)
        return 1;
    for (uint64_t left = bytes; left;) {
        size_t piece = left < sizeof block ? (size_t)left : sizeof block;
        ssize_t gone = send(fd, block, piece, MSG_NOSIGNAL);
        if (gone < 0)
            return fail("ttcp");
        left -= (uint64_t)gone;
    }
    shutdown(fd, SHUT_WR);
    while (recv(fd, block, sizeof block, 0) > 0) /* its end: the other side has everything */
        ;
    print_speed("ttcp: sent", bytes, now_ns() - began);
    return 0;
}

int main(int argc, char **argv) {
    if ((argc == 2 || (argc == 3 && atoi(argv[2]) > 0)) && !strcmp(argv[1], "-r"))
        return receive(argc > 2 ? atoi(argv[2]) : PORT);
    if (argc >= 3 && argc <= 4 && !strcmp(argv[1], "-t"))
        return transmit(argv[2], (argc > 3 ? strtoull(argv[3], NULL, 10) : 16) << 20);
    dprintf(STDERR_FILENO, "ttcp: write: ttcp -r [PORT], or ttcp -t HOST[:PORT] [MIB]\n");
    return 1;
}
