/* See names.h. One question in one datagram, and what comes back is believed only if it repeats the
 * question; nothing is kept. What an answer says of other names (its aliases) is skipped: name servers
 * that answer programs put the address behind them. */
#include "names.h"
#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define NAME_BYTES 254 /* of text, with its end; a label of it may have 63 [RFC 1035 2.3.4] */
#define HEAD_BYTES 12
#define ANSWER_BYTES 1500
#define TYPE_A 1
#define TYPE_AAAA 28
#define CLASS_IN 1
#define ATTEMPTS 2
#define PATIENCE_MS 5000 /* a relay needs 4.5 s to find that nobody answers */
#define LOOKS_MOST 20 /* at answers to other questions, too; more is an attack */

static const char no_address[] = "it has no address";

static unsigned number(const uint8_t *at) {
    return (unsigned)at[0] << 8 | at[1];
}

/* Labels of letters, digits, - and _, the last one not a number: that is an address gone wrong. */
static int is_name(const char *text) {
    int length = 0, is_number = 1;

    if (strlen(text) >= NAME_BYTES)
        return 0;
    for (; *text; text++) {
        char letter = *text | 0x20;
        int is_digit = *text >= '0' && *text <= '9';
        if (*text == '.' && length) {
            if (text[1]) /* one behind the last label is allowed */
                length = 0, is_number = 1;
            continue;
        }
        is_number &= is_digit;
        if (++length > 63
            || !(is_digit || (letter >= 'a' && letter <= 'z') || *text == '-' || *text == '_'))
            return 0;
    }
    return length && !is_number;
}

/* The first address behind "nameserver" in a file as resolv.conf(5) tells. */
static socklen_t name_server(struct sockaddr_storage *to) {
    char text[1024] = "", *key = NULL; /* of the line; two bytes of it stay zero */
    int fd = open("/etc/resolv.conf", O_RDONLY);
    socklen_t bytes = 0;

    if (fd < 0)
        fd = open("/proc/resolv.conf", O_RDONLY);
    read(fd, text, sizeof text - 2);
    close(fd);
    for (char *word = text, *end; *word && !bytes; word = end + 1) {
        end = word + strcspn(word, " \t\r\n");
        int is_last = *end == '\n';
        *end = 0;
        if (key && !strcmp(key, "nameserver"))
            bytes = parse_address(to, word, 53);
        key = is_last ? NULL : key || !*word ? key : word;
    }
    return bytes;
}

/* How many bytes it has. */
static size_t write_question(uint8_t *to, const char *name, unsigned type) {
    uint8_t *at = to + HEAD_BYTES;
    uint64_t id = now_ns() / 1000; /* who would guess has to guess the socket's port, too */

    /* The server may ask others, and there is one question. */
    memcpy(to, (uint8_t[HEAD_BYTES]){(uint8_t)(id >> 8), (uint8_t)id, 1, 0, 0, 1}, HEAD_BYTES);
    for (size_t length; *name; at += length, name += length + (name[length] == '.')) {
        length = strcspn(name, ".");
        *at++ = (uint8_t)length;
        memcpy(at, name, length);
    }
    memcpy(at, (uint8_t[]){0, 0, (uint8_t)type, 0, CLASS_IN}, 5);
    return (size_t)(at + 5 - to);
}

/* Where the name at `at` ends; perhaps beyond the end. */
static size_t behind_name(const uint8_t *answer, size_t at, size_t bytes) {
    while (at < bytes && answer[at] && answer[at] < 0xc0)
        at += 1u + answer[at];
    return at + (at < bytes && answer[at] ? 2 : 1); /* the rest stands elsewhere, or here it ends */
}

/* The first address of the question's type, into `to`, which keeps its port: NULL, or why not. */
static const char *read_answer(const uint8_t *answer, size_t bytes, size_t at, unsigned type,
                               struct sockaddr_storage *to) {
    unsigned code = answer[3] & 15, wanted = type == TYPE_A ? 4 : 16;
    uint16_t port = ((struct sockaddr_in *)to)->sin_port; /* in IPv6's it is there, too */

    if (code)
        return code == 3 ? "there is no such host" : "the name server does not know";
    for (unsigned count = number(answer + 6); count; count--) {
        at = behind_name(answer, at, bytes);
        if (at + 10 > bytes || at + 10 + number(answer + at + 8) > bytes)
            break;
        const uint8_t *record = answer + at;
        at += 10 + number(record + 8);
        if (number(record) != type || number(record + 2) != CLASS_IN || number(record + 8) != wanted)
            continue;
        *to = (struct sockaddr_storage){.ss_family = type == TYPE_A ? AF_INET : AF_INET6};
        ((struct sockaddr_in *)to)->sin_port = port;
        memcpy((uint8_t *)to + (type == TYPE_A ? 4 : 8), record + 10, wanted);
        return NULL;
    }
    return no_address;
}

static const char *ask(int fd, const char *name, unsigned type, struct sockaddr_storage *to) {
    uint8_t question[HEAD_BYTES + NAME_BYTES + 5], answer[ANSWER_BYTES];
    size_t length = write_question(question, name, type);
    struct pollfd wanted = {fd, POLLIN, 0};

    for (int sent = 0, looks = 0; looks < LOOKS_MOST; looks++) {
        if (poll(&wanted, 1, sent ? PATIENCE_MS : 0) <= 0) {
            if (sent++ == ATTEMPTS)
                break;
            if (send(fd, question, length, 0) < 0)
                return strerror(errno);
            continue;
        }
        ssize_t got = recv(fd, answer, sizeof answer, MSG_DONTWAIT);
        if (got < 0 && errno != EAGAIN)
            return strerror(errno);
        if (got >= (ssize_t)length && answer[2] & 0x80 && !memcmp(answer, question, 2)
            && !memcmp(answer + HEAD_BYTES, question + HEAD_BYTES, length - HEAD_BYTES))
            return read_answer(answer, (size_t)got, length, type, to);
    }
    return "the name server does not answer";
}

/* NULL, or why there is no address. */
static const char *look_up(struct sockaddr_storage *to, const char *name) {
    struct sockaddr_storage server;
    socklen_t bytes = name_server(&server);
    const char *why;

    if (!bytes)
        return "no name server is known";
    int fd = socket(server.ss_family, SOCK_DGRAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&server, bytes) < 0)
        why = strerror(errno);
    else if ((why = ask(fd, name, TYPE_A, to)) == no_address)
        why = ask(fd, name, TYPE_AAAA, to);
    close(fd);
    return why;
}

socklen_t find_address(const char *program, struct sockaddr_storage *to, const char *text, int port) {
    char host[NAME_BYTES], any[16];
    socklen_t bytes = parse_address(to, text, port);
    size_t length = strcspn(text, ":");

    if (bytes)
        return bytes;
    snprintf(host, length < sizeof host ? length + 1 : 1, "%s", text);
    snprintf(any, sizeof any, "0.0.0.0%s", text + length); /* for the port */
    if (!is_name(host) || !parse_address(to, any, port)) {
        dprintf(STDERR_FILENO,
                "%s: %s is not an address, nor a name: write 10.0.2.2, host.example:80 or [fd00::2]:80\n",
                program, text);
        return 0;
    }
    const char *why = look_up(to, host);
    if (why)
        dprintf(STDERR_FILENO, "%s: %s: %s\n", program, host, why);
    return why ? 0 : sizeof *to;
}
