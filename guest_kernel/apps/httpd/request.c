/* The text of a request [RFC 9112 2, 3, 9]. It comes from a stranger: nothing is believed. */
#include "httpd.h"

#include <string.h>

static int hex(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static const char is_special[256] = {
    ['\0'] = 1, [' '] = 1, ['%'] = 1, ['?'] = 1, ['#'] = 1, ['.'] = 1};
#define IS_SPECIAL(c) is_special[(unsigned char)(c)]
#define ARE_SPECIAL(s) (IS_SPECIAL(s[0]) | IS_SPECIAL(s[1]) | IS_SPECIAL(s[2]) | IS_SPECIAL(s[3]))

/* Decodes the path of a target in origin or absolute form, without its query, and refuses to leave
 * the tree [RFC 9112 3.2, RFC 3986 2.1]. At `end` is a space. Returns 0 or an HTTP status. */
static int decode_path(char *path, const char *from, const char *end) {
    char *to = path, *limit = path + PATH_BYTES - 16; /* room for a file's name after a '/' */
    int has_dots = 0;

    if (end - from > 7 && is_word(from, "http://", 7))
        for (from += 7; from < end && *from != '/';)
            from++;
    if (from < end && *from != '/')
        return 400;
    for (;; from++) {
        /* At `end` is a space and behind it a version, so that there always are four to look at. */
        for (; to + 4 <= limit && !ARE_SPECIAL(from); to += 4, from += 4)
            memcpy(to, from, 4);
        for (; to < limit && !IS_SPECIAL(*from); from++)
            *to++ = *from;
        unsigned char c = (unsigned char)*from;
        if (from == end || c == '?' || c == '#')
            break;
        if (c == '%') {
            if (end - from < 3 || hex(from[1]) < 0 || hex(from[2]) < 0)
                return 400;
            c = (unsigned char)(hex(from[1]) << 4 | hex(from[2]));
            from += 2;
        } else if (c == ' ') {
            return 400;
        }
        if (!c)
            return 400;
        if (to == limit)
            return 414;
        has_dots |= c == '.' && to > path && to[-1] == '.';
        *to++ = (char)c;
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
    const char *version = end - 9, *target;

    if (end - line < 4 || !BEGINS_WITH(line, "GET "))
        target = memchr(line, ' ', (size_t)(end - line));
    else
        target = line + 3;
    if (!target || version <= target || !BEGINS_WITH(version, " HTTP/") || version[7] != '.')
        return 400;
    if (version[6] != '1')
        return 505;
    r->is_http10 = version[8] == '0';
    r->keep_alive = !r->is_http10;
    size_t name = (size_t)(target - line);
    if (name == 3 && BEGINS_WITH(line, "GET"))
        r->method = GET;
    else if (name == 4 && BEGINS_WITH(line, "HEAD"))
        r->method = HEAD;
    else
        return 405;
    return decode_path(r->path, target + 1, version);
}

static int is_blank(char c) {
    return c == ' ' || c == '\t';
}

/* Does the comma-separated list [p, end) hold `word`, whatever its case? */
ALWAYS int has_word(const char *p, const char *end, const char *word, size_t length) {
    if ((size_t)(end - p) == length && is_word(p, word, length))
        return 1; /* most lists are one word */
    for (const char *comma; p < end; p = comma + 1) {
        if (!(comma = memchr(p, ',', (size_t)(end - p))))
            comma = end;
        const char *stop = comma;
        while (p < stop && is_blank(*p))
            p++;
        while (stop > p && is_blank(stop[-1]))
            stop--;
        if ((size_t)(stop - p) == length && is_word(p, word, length))
            return 1;
    }
    return 0;
}

/* If the line is the field `name`, gives where its value begins. */
ALWAYS const char *value_of(const char *line, const char *end, const char *name, size_t length) {
    if ((size_t)(end - line) <= length || line[length] != ':' || !is_word(line, name, length))
        return NULL;
    for (line += length + 1; line < end && is_blank(*line);)
        line++;
    return line;
}

#define HAS_WORD(from, end, word) has_word(from, end, word, sizeof(word) - 1)
#define VALUE_OF(line, end, name) value_of(line, end, name, sizeof(name) - 1)

/* One field. Few matter: the first letter is looked at first. Returns 0 or an HTTP status. */
ALWAYS int take_field(struct request *r, const char *line, const char *end, int *has_host) {
    const char *value;

    switch (*line | 0x20) {
    case ' ':
    case '\t' | 0x20:
        return 400; /* a folded line: obsolete, and a way to smuggle [RFC 9112 5.2] */
    case 'h':
        *has_host |= VALUE_OF(line, end, "host") != NULL;
        break;
    case 'c':
        if ((value = VALUE_OF(line, end, "connection"))) {
            if (HAS_WORD(value, end, "close"))
                r->keep_alive = 0;
            else if (HAS_WORD(value, end, "keep-alive"))
                r->keep_alive = 1;
        } else if ((value = VALUE_OF(line, end, "content-length"))) {
            while (value < end && *value == '0')
                value++;
            if (value < end) /* nothing here takes a body */
                return 413;
        }
        break;
    case 't':
        if (VALUE_OF(line, end, "transfer-encoding"))
            return 413;
    }
    return 0;
}

int request_parse(struct request *r, const char *text, size_t bytes) {
    const char *line = text, *limit = text + bytes;
    int status = 0, has_host = 0, lines = 0;

    for (;;) {
        int is_empty = limit - line >= 2 && BEGINS_WITH(line, "\r\n");
        const char *feed = is_empty ? line + 1 : memchr(line, '\n', (size_t)(limit - line));
        if (!feed) /* its end is not there yet; if it is too long already, it never will be */
            return bytes >= REQUEST_BYTES ? -431 : 0;
        const char *end = feed > line && feed[-1] == '\r' ? feed - 1 : feed;

        if (end > line) {
            if (!lines++)
                status = parse_request_line(r, line, end);
            else if (!status)
                status = take_field(r, line, end, &has_host);
        } else if (lines) { /* the empty line; before a request they do no harm */
            if (!status && !has_host && !r->is_http10)
                status = 400; /* [RFC 9112 3.2] */
            return status ? -status : (int)(feed + 1 - text);
        }
        line = feed + 1;
    }
}
