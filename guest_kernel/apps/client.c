/* See client.h. */
#include "client.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

int parse_address(struct sockaddr_in *to, const char *text, int port) {
    uint32_t address = 0;
    char *end;

    for (int i = 0; i < 4; i++) {
        unsigned long long part = strtoull(text, &end, 10);
        if (end == text || part > 255 || *text == '-' || (i < 3 && *end != '.'))
            return -1;
        address = address << 8 | (uint32_t)part;
        text = end + 1;
    }
    if (*end == ':') {
        unsigned long long given = strtoull(text, &end, 10);
        if (end == text || given > 65535 || *text == '-')
            return -1;
        port = (int)given;
    }
    *to = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to->sin_addr.s_addr = htonl(address);
    return *end ? -1 : 0;
}

int connect_to(const char *name, const char *address, int port) {
    struct sockaddr_in to;

    if (parse_address(&to, address, port) < 0) {
        dprintf(STDERR_FILENO, "%s: %s is not an address: write 10.0.2.2 or 10.0.2.2:80\n", name,
                address);
        return -1;
    }
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) < 0) {
        dprintf(STDERR_FILENO, "%s: %s: %s\n", name, address, strerror(errno));
        if (fd >= 0)
            close(fd);
        return -1;
    }
    return fd;
}

uint64_t now_ns(void) {
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void print_speed(const char *what, uint64_t bytes, uint64_t ns) {
    uint64_t us = ns / 1000 ? ns / 1000 : 1, tenths = bytes * 10 / us;

    dprintf(STDERR_FILENO, "%s: %llu bytes in %llu.%03u ms, %llu.%u MB/s\n", what,
            (unsigned long long)bytes, (unsigned long long)(us / 1000), (unsigned)(us % 1000),
            (unsigned long long)(tenths / 10), (unsigned)(tenths % 10));
}
