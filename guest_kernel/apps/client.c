/* See client.h. */
#include "client.h"
#include "names.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Four numbers below 256: where they end, or NULL. */
static const char *parse4(uint8_t *address, const char *text) {
    char *end;

    for (int i = 0; i < 4; i++, text = end + 1) {
        unsigned long long part = strtoull(text, &end, 10);
        if (end == text || part > 255 || *text == '-' || (i < 3 && *end != '.'))
            return NULL;
        address[i] = (uint8_t)part;
    }
    return end;
}

static int is_hexadecimal(char c) {
    return c && strchr("0123456789abcdefABCDEF", c);
}

/* Eight groups, or fewer with "::" for the zero ones [RFC 4291 2.2]: where they end, or NULL. */
static const char *parse6(uint8_t *address, const char *text) {
    uint8_t rest[16]; /* what is behind the "::" */
    int before = 0, behind = -1;

    for (int is_first = 1;; is_first = 0) {
        if (behind < 0 && text[0] == ':' && text[1] == ':') {
            behind = 0;
            text += 2;
            if (!is_hexadecimal(*text))
                break;
        } else if (!is_first && *text++ != ':') {
            text--;
            break;
        }
        char *end;
        unsigned long long group = strtoull(text, &end, 16);
        if (!is_hexadecimal(*text) || group > 0xffff || before + (behind > 0 ? behind : 0) == 16)
            return NULL;
        uint8_t *to = behind < 0 ? &address[before] : &rest[behind];
        to[0] = (uint8_t)(group >> 8);
        to[1] = (uint8_t)group;
        *(behind < 0 ? &before : &behind) += 2;
        text = end;
    }
    if (behind < 0)
        return before == 16 ? text : NULL;
    if (before + behind == 16)
        return NULL;
    memset(address + before, 0, (size_t)(16 - before));
    memcpy(address + 16 - behind, rest, (size_t)behind);
    return text;
}

socklen_t parse_address(struct sockaddr_storage *to, const char *text, int port) {
    struct sockaddr_in *in = (struct sockaddr_in *)to;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)to;
    int is_bracketed = *text == '[';
    const char *end = is_bracketed ? NULL : parse4((uint8_t *)&in->sin_addr, text);

    if (end) {
        in->sin_family = AF_INET;
    } else {
        *in6 = (struct sockaddr_in6){.sin6_family = AF_INET6};
        const uint8_t *address = in6->sin6_addr.s6_addr;
        if (!(end = parse6(in6->sin6_addr.s6_addr, text + is_bracketed))
            || (is_bracketed && *end++ != ']'))
            return 0;
        if (address[0] == 0xfe && (address[1] & 0xc0) == 0x80)
            in6->sin6_scope_id = 1; /* there is one link */
    }
    if (*end == ':') {
        char *last;
        unsigned long long given = strtoull(end + 1, &last, 10);
        if (last == end + 1 || given > 65535 || end[1] == '-')
            return 0;
        port = (int)given;
        end = last;
    }
    in->sin_port = htons((uint16_t)port); /* where it is in IPv6's too */
    return *end ? 0 : in->sin_family == AF_INET ? sizeof *in : sizeof *in6;
}

int connect_to(const char *name, const char *address, int port) {
    struct sockaddr_storage to;
    socklen_t bytes = find_address(name, &to, address, port);

    if (!bytes)
        return -1;
    int fd = socket(to.ss_family, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, bytes) < 0) {
        dprintf(STDERR_FILENO, "%s: %s: %s\n", name, address, strerror(errno));
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
