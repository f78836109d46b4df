/* ping: asks a host for echoes and says how long each took [RFC 792] [RFC 4443].
 *
 *     ping [-c COUNT] [-i SECONDS] [-s BYTES] HOST
 *
 * Until ^C without -c; -i may have a fraction. As there are no signal handlers, two processes share
 * the work: the one that ^C ends asks, and tells its tally to the other through a pipe after each
 * step; that one prints the last it has heard. Ends with status 0 if any echo came, 1 if none. */
#include "client.h"
#include "names.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define ECHO_REQUEST 8 /* of ICMP, and of ICMPv6 */
#define ECHO_REQUEST_6 128
#define BYTES_MOST 65507
#define RECENT 256 /* requests whose time is remembered */
#define PATIENCE_MS 1000 /* with the last one */

struct echo {
    uint8_t type, code;
    uint16_t checksum, identifier, sequence; /* both filled in by the socket, then ours */
    uint8_t data[BYTES_MOST];
};

struct tally {
    unsigned sent, received, duplicates, errors;
    uint64_t least_us, most_us, sum_us, sum_of_squares, began_ns, ended_ns;
};

static struct options {
    unsigned count, interval_ms, bytes;
} options = {0, 1000, 56};

static struct echo request, reply;
static struct tally tally;
static uint64_t sent_ns[RECENT]; /* 0: answered */

static void print_ms(const char *before, uint64_t us) {
    printf("%s%llu.%03u", before, (unsigned long long)(us / 1000), (unsigned)(us % 1000));
}

static void count_reply(ssize_t got, const char *address) {
    unsigned sequence = ntohs(reply.sequence);
    uint64_t *sent = &sent_ns[sequence % RECENT], us = (now_ns() - *sent) / 1000;
    char time[32] = " (DUP!)", *damage = "";

    if (memcmp(reply.data, request.data, options.bytes) || (size_t)got != options.bytes + 8)
        damage = ", but what came back is not what was sent";
    if (*sent) {
        snprintf(time, sizeof time, " time=%u.%03u ms", (unsigned)(us / 1000), (unsigned)(us % 1000));
        *sent = 0;
        if (!tally.received++ || us < tally.least_us)
            tally.least_us = us;
        if (us > tally.most_us)
            tally.most_us = us;
        tally.sum_us += us;
        tally.sum_of_squares += us * us;
    } else {
        tally.duplicates++;
    }
    printf("%d bytes from %s: icmp_seq=%u%s%s\n", (int)got, address, sequence, time, damage);
}

/* Takes what comes until `until`; with `is_last`, only until nothing is missing. */
static void listen_until(int fd, uint64_t until, int is_last, int report, const char *address) {
    struct pollfd wanted = {fd, POLLIN, 0};

    for (uint64_t now; (now = now_ns()) < until;) {
        if (is_last && tally.received + tally.errors >= tally.sent)
            return;
        if (poll(&wanted, 1, (int)((until - now + 999999) / 1000000)) <= 0)
            continue;
        ssize_t got = recv(fd, &reply, sizeof reply, MSG_DONTWAIT);
        if (got >= 8) {
            count_reply(got, address);
        } else if (got < 0 && errno != EAGAIN) {
            tally.errors++;
            printf("no answer to icmp_seq=%u: %s\n", tally.sent, strerror(errno));
        }
        tally.ended_ns = now_ns();
        write(report, &tally, sizeof tally);
    }
}

static int ask(int fd, int report, const char *address) {
    uint64_t next = tally.began_ns = now_ns();

    for (unsigned i = 0; i < options.bytes; i++)
        request.data[i] = (uint8_t)i;
    while (!options.count || tally.sent < options.count) {
        unsigned sequence = ++tally.sent;
        request.sequence = htons((uint16_t)sequence);
        tally.ended_ns = sent_ns[sequence % RECENT] = now_ns();
        if (send(fd, &request, options.bytes + 8, 0) < 0) {
            tally.errors++;
            printf("icmp_seq=%u was not sent: %s\n", sequence, strerror(errno));
        }
        write(report, &tally, sizeof tally);
        next += options.interval_ms * 1000000ull;
        if (sequence == options.count)
            listen_until(fd, now_ns() + PATIENCE_MS * 1000000ull, 1, report, address);
        else
            listen_until(fd, next, 0, report, address);
    }
    return 0;
}

static uint64_t root(uint64_t square) {
    uint64_t found = 0;

    for (uint64_t bit = 1u << 31; bit; bit >>= 1)
        if ((found | bit) * (found | bit) <= square)
            found |= bit;
    return found;
}

static int print_statistics(const char *address) {
    unsigned lost = tally.sent > tally.received ? tally.sent - tally.received : 0;

    printf("\n--- %s ping statistics ---\n%u packets transmitted, %u received", address, tally.sent,
           tally.received);
    if (tally.duplicates)
        printf(", +%u duplicates", tally.duplicates);
    if (tally.errors)
        printf(", +%u errors", tally.errors);
    printf(", %u%% packet loss, time %ums\n", tally.sent ? lost * 100 / tally.sent : 0,
           (unsigned)((tally.ended_ns - tally.began_ns) / 1000000));
    if (!tally.received)
        return 1;
    uint64_t mean = tally.sum_us / tally.received;
    print_ms("rtt min/avg/max/mdev = ", tally.least_us);
    print_ms("/", mean);
    print_ms("/", tally.most_us);
    print_ms("/", root(tally.sum_of_squares / tally.received - mean * mean));
    printf(" ms\n");
    return 0;
}

/* "2", "0.2": milliseconds, at least one; 0 if it is no number. */
static unsigned milliseconds(const char *text) {
    char *end;
    unsigned long long ms = strtoull(text, &end, 10) * 1000;

    if (*end == '.')
        for (unsigned scale = 100; *++end >= '0' && *end <= '9'; scale /= 10)
            ms += (unsigned)(*end - '0') * scale;
    return *end || end == text || *text == '-' || ms > 3600000 ? 0 : (unsigned)(ms ? ms : 1);
}

/* Fills `options`: the address, or NULL. */
static const char *read_arguments(int argc, char **argv) {
    char *end = "";
    int i = 1;

    for (; i + 1 < argc && argv[i][0] == '-' && !*end; i += 2) {
        if (!strcmp(argv[i], "-i")) {
            if (!(options.interval_ms = milliseconds(argv[i + 1])))
                return NULL;
            continue;
        }
        unsigned long long number = strtoull(argv[i + 1], &end, 10);
        if (end == argv[i + 1] || argv[i + 1][0] == '-')
            return NULL;
        if (!strcmp(argv[i], "-c") && number && number <= 1000000000)
            options.count = (unsigned)number;
        else if (!strcmp(argv[i], "-s") && number <= BYTES_MOST)
            options.bytes = (unsigned)number;
        else
            return NULL;
    }
    return i + 1 == argc && !*end && argv[i][0] != '-' ? argv[i] : NULL;
}

int main(int argc, char **argv) {
    const char *address = read_arguments(argc, argv);
    struct sockaddr_storage to;
    int ends[2];

    if (!address) {
        dprintf(STDERR_FILENO, "ping: write: ping [-c COUNT] [-i SECONDS] [-s BYTES] HOST\n");
        return 2;
    }
    socklen_t bytes = find_address("ping", &to, address, 0);
    if (!bytes)
        return 2;
    if (*address == '[' || ((struct sockaddr_in *)&to)->sin_port) {
        dprintf(STDERR_FILENO, "ping: %s is not an address without a port: write 10.0.2.2 or host.example\n",
                address);
        return 2;
    }
    int is_ipv6 = to.ss_family == AF_INET6;
    request.type = is_ipv6 ? ECHO_REQUEST_6 : ECHO_REQUEST;
    int fd = socket(to.ss_family, SOCK_DGRAM, is_ipv6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, bytes) < 0 || pipe2(ends, 0) < 0) {
        dprintf(STDERR_FILENO, "ping: %s: %s\n", address, strerror(errno));
        return 2;
    }
    printf("PING %s %u(%u) bytes of data.\n", address, options.bytes,
           options.bytes + 8 + (is_ipv6 ? 40 : 20));
    signal(SIGINT, SIG_IGN);
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGINT, SIG_DFL);
        close(ends[0]);
        return ask(fd, ends[1], address);
    }
    close(ends[1]);
    if (pid < 0) {
        perror("ping");
        return 2;
    }
    for (struct tally heard; read(ends[0], &heard, sizeof heard) == sizeof heard;)
        tally = heard;
    waitpid(pid, NULL, 0);
    return print_statistics(address);
}
