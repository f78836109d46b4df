/* httpd: a small web server, HTTP/1.1 [RFC 9110, RFC 9112].
 *
 *   main.c      one connection: bytes in, requests, answers, bytes out
 *   request.c   the text of a request
 *   response.c  the head of an answer, and sending it with its body
 *   body.c      where bodies come from: files, and /bytes/N
 *
 * The aim is one recv and one send for a request: a head and the beginning of its body lie side by
 * side in memory, so that they leave together. */
#pragma once

#include "../server.h"
#include "../words.h"

#include <stdint.h>

#define REQUEST_BYTES 8192 /* of a request's head, at most */
#define PATH_BYTES 256     /* of a path, decoded, at most */
#define HEAD_ROOM 256      /* of an answer's head, at most */

enum method { GET, HEAD };

struct request {
    enum method method;
    int is_http10;
    int keep_alive; /* may the connection go on after this one? */
    char path[PATH_BYTES];
};

/* Parses the request at `text`. Returns its length; 0 if its end is not there yet; or a negative
 * HTTP status to answer with, after which the connection cannot go on. */
int request_parse(struct request *request, const char *text, size_t bytes);

/* A media type, for Content-Type [RFC 9110 8.3.1]. */
struct media {
    const char *name;
    size_t bytes; /* of the name */
};
#define MEDIA(name) {name, sizeof(name) - 1}

/* The body of an answer. `data` has HEAD_ROOM free bytes in front of it. */
struct body {
    enum { MEMORY, FILE_PART, BYTES } kind;
    const struct media *type;
    uint64_t size;
    char *data; /* its beginning; BYTES: all that does not change; FILE_PART: nothing */
    int fd;     /* FILE_PART: for sendfile; the body owns it */
};

/* Finds what `path` names: 0, or an HTTP status. */
int body_find(struct body *body, const char *path);
/* The page that says what went wrong. */
void body_error(struct body *body, int status);
void body_release(struct body *body);
/* BYTES: where the bytes from `offset` on lie, and how many follow there (not past the end). Good
 * until the next call. */
char *body_bytes_at(uint64_t offset, uint64_t end, size_t *count);

struct response {
    struct body body;
    uint64_t to_send; /* bytes of the body (none for HEAD) */
    uint64_t sent;    /* bytes of head and body together */
    int is_active;
    int is_last; /* the connection ends after it */
    int head_bytes;
    char *head; /* a copy, if it could not go at once; NULL: it lies in front of the body */
};

/* `status` 200: the body that was found. `request` may be NULL when it made no sense. */
void response_start(struct response *response, int status, const struct request *request);
/* Gives up what an answer holds that has not gone. */
void response_end(struct response *response);
/* Sends what goes. 1: all of it has gone; 0: wait for POLLOUT; -1: the connection is dead. */
int response_send(struct response *response, int fd);
