/* fetch: gets a file by HTTP and says how long it took [RFC 9112].
 *
 *     fetch http://10.0.2.2/page            the body goes to the output, figures to the console
 *     fetch -q 10.0.2.2:8080/bytes/1000000  figures only
 *     fetch http://[fd00::2]:8080/          over IPv6
 *     fetch http://host.example/page        a name server is asked for the address (names.h)
 *
 * The status must be 200; the body must be as long as Content-Length says, where it says so. Ends
 * with status 1 if not. */
#include "client.h"
#include "words.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROOM (64 << 10)

static char block[ROOM + 16]; /* a little more than its text, for is_word() */

static int fail(const char *why) {
    dprintf(STDERR_FILENO, "fetch: %s\n", why);
    return 1;
}

/* Fills `block` until the head's end is in it: where the body begins, or 0. */
static size_t read_head(int fd, size_t *filled) {
    for (*filled = 0; *filled < ROOM;) {
        ssize_t got = recv(fd, block + *filled, ROOM - *filled, 0);
        if (got <= 0)
            return 0;
        *filled += (size_t)got;
        block[*filled] = 0;
        const char *end = strstr(block, "\r\n\r\n");
        if (end)
            return (size_t)(end + 4 - block);
    }
    return 0;
}

/* The value of Content-Length in the head, or -1. */
static long long length_in(const char *head) {
    for (const char *line = head; (line = strstr(line, "\r\n")); line += 2)
        if (is_word(line + 2, "content-length:", 15))
            return (long long)strtoull(line + 17, NULL, 10);
    return -1;
}

static int get(int fd, const char *host, const char *path, int is_quiet) {
    uint64_t began = now_ns(), bytes;
    size_t filled;
    int length = snprintf(block, sizeof block,
                          "GET /%s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path, host);

    if (length > ROOM || send(fd, block, (size_t)length, MSG_NOSIGNAL) != length)
        return fail("the request could not be sent");
    size_t head = read_head(fd, &filled);
    if (!head)
        return fail("there came no answer");
    block[head - 1] = 0;
    long long wanted = length_in(block);
    int is_good = !strncmp(block, "HTTP/1.1 200 ", 13) || !strncmp(block, "HTTP/1.0 200 ", 13);
    if (!is_good) {
        block[strcspn(block, "\r\n")] = 0;
        return fail(block);
    }
    bytes = filled - head;
    if (!is_quiet)
        write(STDOUT_FILENO, block + head, filled - head);
    ssize_t got = 1;
    while ((wanted < 0 || bytes < (uint64_t)wanted) && (got = recv(fd, block, ROOM, 0)) > 0) {
        bytes += (uint64_t)got;
        if (!is_quiet && write(STDOUT_FILENO, block, (size_t)got) < 0)
            return fail("the output could not be written");
    }
    print_speed("fetch", bytes, now_ns() - began);
    if (got < 0 || (wanted >= 0 && bytes != (uint64_t)wanted))
        return fail("the body did not come whole");
    return 0;
}

int main(int argc, char **argv) {
    int is_quiet = argc > 2 && !strcmp(argv[1], "-q");
    const char *url = argc == 2 + is_quiet ? argv[1 + is_quiet] : "";
    char host[264]; /* a name, and a port */

    if (!strncmp(url, "http://", 7))
        url += 7;
    size_t length = strcspn(url, "/");
    if (!length || length >= sizeof host)
        return fail("write: fetch [-q] http://HOST[:PORT]/PATH");
    snprintf(host, length + 1, "%s", url);
    int fd = connect_to("fetch", host, 80);
    return fd < 0 ? 1 : get(fd, host, url[length] ? url + length + 1 : "", is_quiet);
}
