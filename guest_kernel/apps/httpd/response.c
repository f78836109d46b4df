/* The head of an answer, and sending it with its body [RFC 9112 4]. */
#include "httpd.h"

#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

#define FILE_PART_BYTES (1 << 20) /* of one sendfile: then the others get their turn */

static char *append_bytes(char *to, const char *from, size_t count) {
    memcpy(to, from, count);
    return to + count;
}

/* A literal: its length is known here. */
#define APPEND(to, text) append_bytes(to, text, sizeof(text) - 1)

static char *append_number(char *to, uint64_t n) {
    char digits[20], *p = digits + sizeof digits;

    for (; n >> 32; n /= 10) /* 64-bit division is slow here, so only where it is needed */
        *--p = (char)('0' + n % 10);
    uint32_t small = (uint32_t)n;
    do
        *--p = (char)('0' + small % 10);
    while (small /= 10);
    return append_bytes(to, p, (size_t)(digits + sizeof digits - p));
}

void response_start(struct response *r, int status, const struct request *request) {
    if (status != 200)
        body_error(&r->body, status);
    r->is_last = !request || !request->keep_alive;
    r->to_send = request && request->method == HEAD ? 0 : r->body.size;
    r->sent = 0;
    r->is_active = 1;

    char *p = APPEND(r->head, "HTTP/1.1 ");
    if (status == 200)
        p = APPEND(p, "200 OK");
    else /* the error page says it in the same words, and a line feed */
        p = append_bytes(p, r->body.data, (size_t)r->body.size - 1);
    p = APPEND(p, "\r\nServer: leulo\r\nContent-Type: ");
    p = append_bytes(p, r->body.type, strlen(r->body.type));
    p = APPEND(p, "\r\nContent-Length: ");
    p = append_number(p, r->body.size);
    if (status == 405)
        p = APPEND(p, "\r\nAllow: GET, HEAD");
    if (r->is_last)
        p = APPEND(p, "\r\nConnection: close");
    else if (request->is_http10)
        p = APPEND(p, "\r\nConnection: keep-alive");
    p = APPEND(p, "\r\n\r\n");
    r->head_bytes = (int)(p - r->head);
}

/* The next piece: head and first bytes of the body at once, or more of the body. */
static ssize_t send_piece(struct response *r, int fd) {
    uint64_t at = r->sent - (uint64_t)r->head_bytes; /* in the body, once the head has gone */
    size_t count;
    char *data;

    if (r->sent < (uint64_t)r->head_bytes) {
        data = r->body.data - r->head_bytes;
        memcpy(data, r->head, (size_t)r->head_bytes); /* others used this place meanwhile */
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

int response_send(struct response *r, int fd) {
    uint64_t total = (uint64_t)r->head_bytes + r->to_send;
    ssize_t gone = send_piece(r, fd);

    if (gone == 0 || (gone < 0 && !is_would_block())) /* 0: a file that became shorter */
        return -1;
    r->sent += gone > 0 ? (uint64_t)gone : 0;
    if (r->sent < total)
        return 0;
    body_release(&r->body);
    r->is_active = 0;
    return 1;
}
