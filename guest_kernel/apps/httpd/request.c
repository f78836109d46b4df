/* The text of a request [RFC 9112 2, 3, 9]. It comes from a stranger: nothing is believed. */
#include "httpd.h"

#include <string.h>
#include <strings.h>

static int hex(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes the path of a target in origin or absolute form, without its query, and refuses to leave
 * the tree [RFC 9112 3.2, RFC 3986 2.1]. Returns 0 or an HTTP status. */
static int decode_path(char *path, const char *from, const char *end) {
    char *to = path;
    int has_dots = 0;

    if (end - from > 7 && !strncasecmp(from, "http://", 7))
        for (from += 7; from < end && *from != '/';)
            from++;
    if (from < end && *from != '/')
        return 400;
    for (; from < end && *from != '?' && *from != '#'; from++) {
        char c = *from;
        if (c == '%') {
            if (end - from < 3 || hex(from[1]) < 0 || hex(from[2]) < 0)
                return 400;
            c = (char)(hex(from[1]) << 4 | hex(from[2]));
            from += 2;
        }
        if (!c)
            return 400;
        if (to == path + PATH_BYTES - 16) /* leaves room for a file's name after a '/' */
            return 414;
        has_dots |= c == '.' && to > path && to[-1] == '.';
        *to++ = c;
    }
    if (to == path)
        *to++ = '/';
    *to = 0;
    for (const char *p = path; has_dots && (p = strstr(p, "/.."));)
        if (!*(p += 3) || *p == '/')
            return 404;
    return 0;
}

/* "METHOD target HTTP/1.x" */
static int parse_request_line(struct request *r, const char *line, const char *end) {
    const char *target = memchr(line, ' ', (size_t)(end - line));
    const char *version = target ? memchr(target + 1, ' ', (size_t)(end - target - 1)) : NULL;

    if (!version || end - version != 9 || memcmp(version, " HTTP/", 6) || version[7] != '.')
        return 400;
    if (version[6] != '1')
        return 505;
    r->is_http10 = version[8] == '0';
    r->keep_alive = !r->is_http10;
    size_t name = (size_t)(target - line);
    if (name == 3 && !memcmp(line, "GET", 3))
        r->method = GET;
    else if (name == 4 && !memcmp(line, "HEAD", 4))
        r->method = HEAD;
    else
        return 405;
    return decode_path(r->path, target + 1, version);
}

/* Does the comma-separated list [p, end) hold `word`, whatever its case? */
static int has_word(const char *p, const char *end, const char *word) {
    size_t length = strlen(word);

    while (p < end) {
        while (p < end && (*p == ' ' || *p == '\t' || *p == ','))
            p++;
        const char *start = p;
        while (p < end && *p != ',' && *p != ' ' && *p != '\t')
            p++;
        if ((size_t)(p - start) == length && !strncasecmp(start, word, length))
            return 1;
    }
    return 0;
}

/* If the line is the field `name`, gives where its value begins. */
static const char *value_of(const char *line, const char *end, const char *name) {
    size_t length = strlen(name);

    if ((size_t)(end - line) <= length || line[length] != ':' || strncasecmp(line, name, length))
        return NULL;
    for (line += length + 1; line < end && (*line == ' ' || *line == '\t');)
        line++;
    return line;
}

int request_parse(struct request *r, const char *text, size_t bytes) {
    const char *line = text, *limit = text + bytes, *value;
    int status = 0, has_host = 0, lines = 0;

    for (;;) {
        const char *feed = memchr(line, '\n', (size_t)(limit - line));
        if (!feed) /* its end is not there yet; if it is too long already, it never will be */
            return bytes >= REQUEST_BYTES ? -431 : 0;
        const char *end = feed > line && feed[-1] == '\r' ? feed - 1 : feed;

        if (end == line && lines) { /* the empty line */
            if (!status && !has_host && !r->is_http10)
                status = 400; /* [RFC 9112 3.2] */
            return status ? -status : (int)(feed + 1 - text);
        }
        if (end > line && lines++ == 0) { /* empty lines before a request do no harm */
            status = parse_request_line(r, line, end);
        } else if (end > line && (*line == ' ' || *line == '\t')) {
            status = 400; /* a folded line: obsolete, and a way to smuggle [RFC 9112 5.2] */
        } else if (end > line && !status) {
            switch (*line | 0x20) { /* few fields matter: look at the first letter first */
            case 'h':
                has_host |= value_of(line, end, "Host") != NULL;
                break;
            case 'c':
                if ((value = value_of(line, end, "Connection"))) {
                    if (has_word(value, end, "close"))
                        r->keep_alive = 0;
                    else if (has_word(value, end, "keep-alive"))
                        r->keep_alive = 1;
                } else if ((value = value_of(line, end, "Content-Length"))) {
                    while (value < end && *value == '0')
                        value++;
                    if (value < end) /* nothing here takes a body */
                        status = 413;
                }
                break;
            case 't':
                if (value_of(line, end, "Transfer-Encoding"))
                    status = 413;
                break;
            }
        }
        line = feed + 1;
    }
}
