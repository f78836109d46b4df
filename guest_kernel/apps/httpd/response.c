/* The head of an answer, and sending it with its body [RFC 9112 4]. */
#include "httpd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <time.h>

#define FILE_PART_BYTES (1 << 20) /* of one sendfile: then the others get their turn */

/* A head is written from its end to its beginning, so that it ends where its body begins; a literal's
 * length is known here, so it becomes a few moves. */
ALWAYS char *prepend_bytes(char *to, const char *from, size_t count) {
    return memcpy(to - count, from, count);
}
#define PREPEND(to, text) prepend_bytes(to, text, sizeof(text) - 1)

static char *prepend_number(char *to, uint64_t n) {
    for (; n >> 32; n /= 10) /* 64-bit division is slow here, so only where it is needed */
        *--to = (char)('0' + n % 10);
    uint32_t small = (uint32_t)n;
    do
        *--to = (char)('0' + small % 10);
    while (small /= 10);
    return to;
}

#define DATE_BYTES 37 /* "\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT" */
#define KNOWN_TIME 1000000000 /* less is no time of day, but seconds since boot */

/* The field Date, made anew each second [RFC 9110 5.6.7, 6.6.1]; the calendar from days by the rule
 * of 400 years of 146,097 days, counted from March so that leap days come last. */
static const char *date_field(time_t now) {
    static char field[64]; /* more than it needs: compilers do not know how long a year is */
    static time_t made;

    if (now != made) {
        unsigned days = (unsigned)now / 86400, second = (unsigned)now % 86400;
        unsigned day = days + 719468, era = day / 146097, of_era = day % 146097;
        unsigned year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
        unsigned of_year = of_era - (365 * year + year / 4 - year / 100);
        unsigned month = (5 * of_year + 2) / 153; /* 0: March */
        snprintf(field, sizeof field, "\r\nDate: %.3s, %02u %.3s %04u %02u:%02u:%02u GMT",
                 &"ThuFriSatSunMonTueWed"[days % 7 * 3], of_year - (153 * month + 2) / 5 + 1,
                 &"MarAprMayJunJulAugSepOctNovDecJanFeb"[month * 3],
                 year + era * 400 + (month >= 10), second / 3600, second / 60 % 60, second % 60);
        made = now;
    }
    return field;
}

void response_start(struct response *r, int status, const struct request *request) {
    if (status != 200)
        body_error(&r->body, status);
    r->is_last = !request || !request->keep_alive;
    r->to_send = request && request->method == HEAD ? 0 : r->body.size;
    r->sent = 0;
    r->is_active = 1;

    char *p = PREPEND(r->body.data, "\r\n\r\n");
    if (r->is_last)
        p = PREPEND(p, "\r\nConnection: close");
    else if (request->is_http10)
        p = PREPEND(p, "\r\nConnection: keep-alive");
    if (status == 405)
        p = PREPEND(p, "\r\nAllow: GET, HEAD");
    p = PREPEND(prepend_number(p, r->body.size), "\r\nContent-Length: ");
    p = prepend_bytes(p, r->body.type->name, r->body.type->bytes);
    p = PREPEND(p, "\r\nServer: leulo\r\nContent-Type: ");
    time_t now = time(NULL);
    if (now >= KNOWN_TIME)
        p = prepend_bytes(p, date_field(now), DATE_BYTES);
    if (status == 200)
        p = PREPEND(p, "HTTP/1.1 200 OK");
    else /* the error page says it in the same words, and a line feed */
        p = PREPEND(prepend_bytes(p, r->body.data, (size_t)r->body.size - 1), "HTTP/1.1 ");
    r->head_bytes = (int)(r->body.data - p);
}

/* The next piece: head and first bytes of the body at once, or more of the body. */
static ssize_t send_piece(struct response *r, int fd) {
    uint64_t at = r->sent - (uint64_t)r->head_bytes; /* in the body, once the head has gone */
    size_t count;
    char *data;

    if (r->sent < (uint64_t)r->head_bytes) {
        data = r->body.data - r->head_bytes;
        if (r->head) /* others used this place meanwhile */
            memcpy(data, r->head, (size_t)r->head_bytes);
        data += r->sent;
        count = r->head_bytes - (size_t)r->sent;
        if (r->body.kind == FILE_PART)
            return send(fd, data, count, MSG_NOSIGNAL | (r->to_send ? MSG_MORE : 0));
        size_t beside = 0;
        if (r->to_send && r->body.kind == BYTES)
            body_bytes_at(0, r->to_send, &beside);
        else
            beside = (size_t)r->to_send;
        count += beside;
    } else if (r->body.kind == FILE_PART) {
        uint64_t left = r->to_send - at;
        count = left < FILE_PART_BYTES ? (size_t)left : FILE_PART_BYTES;
        return sendfile(fd, r->body.fd, NULL, count);
    } else if (r->body.kind == BYTES) {
        data = body_bytes_at(at, r->to_send, &count);
    } else {
        data = r->body.data + at;
        count = (size_t)(r->to_send - at);
    }
    return send(fd, data, count, MSG_NOSIGNAL);
}

void response_end(struct response *r) {
    body_release(&r->body);
    if (r->head)
        free(r->head);
    r->head = NULL;
    r->is_active = 0;
}

int response_send(struct response *r, int fd) {
    uint64_t total = (uint64_t)r->head_bytes + r->to_send;
    ssize_t gone = send_piece(r, fd);

    if (gone == 0 || (gone < 0 && !is_would_block())) /* 0: a file that became shorter */
        return -1;
    r->sent += gone > 0 ? (uint64_t)gone : 0;
    if (r->sent >= total) {
        response_end(r);
        return 1;
    }
    if (r->sent < (uint64_t)r->head_bytes && !r->head) { /* others will use its place */
        if (!(r->head = malloc(HEAD_ROOM)))
            return -1;
        memcpy(r->head, r->body.data - r->head_bytes, (size_t)r->head_bytes);
    }
    return 0;
}
