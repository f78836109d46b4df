/* Where bodies come from: files, and /bytes/N.
 *
 * Small files are read once and kept: the initrd does not change. (On a host, a changed file is
 * seen after a restart.) Big ones are sent by the kernel, sendfile. */
#include "httpd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEPT_FILES 64
#define KEPT_BYTES (64 << 10) /* of one file */
#define BYTES_MOST (1ull << 40)

extern const char *document_root;

static struct kept {
    char path[PATH_BYTES];
    struct body body;
} *kept[KEPT_FILES];
static int kept_count;

static const struct media plain = MEDIA("text/plain");

static const struct media *type_of(const char *path) {
    static const struct {
        const char *ending;
        struct media media;
    } types[] = {
        {".html", MEDIA("text/html; charset=utf-8")}, {".css", MEDIA("text/css; charset=utf-8")},
        {".svg", MEDIA("image/svg+xml")},             {".txt", MEDIA("text/plain; charset=utf-8")},
        {".js", MEDIA("text/javascript")},            {".png", MEDIA("image/png")},
        {".json", MEDIA("application/json")},
    };
    static const struct media unknown = MEDIA("application/octet-stream");
    const char *dot = strrchr(path, '.');

    for (size_t i = 0; dot && i < sizeof types / sizeof *types; i++)
        if (!strcmp(dot, types[i].ending))
            return &types[i].media;
    return &unknown;
}

/* An empty body with room for a head. */
static char nothing[HEAD_ROOM];

/* Reads a whole small file into memory: 0, or -1. */
static int read_file(struct body *body) {
    char *memory = malloc(HEAD_ROOM + (size_t)body->size);
    size_t filled = 0;

    if (!memory)
        return -1;
    while (filled < body->size) {
        ssize_t got = read(body->fd, memory + HEAD_ROOM + filled, (size_t)body->size - filled);
        if (got <= 0) {
            free(memory);
            return -1;
        }
        filled += (size_t)got;
    }
    body->data = memory + HEAD_ROOM;
    body->kind = MEMORY;
    return 0;
}

static int find_file(struct body *body, const char *path) {
    char name[PATH_BYTES + 64];
    struct stat about;

    for (int i = 0; i < kept_count; i++)
        if (!strcmp(kept[i]->path, path)) {
            *body = kept[i]->body;
            return 0;
        }
    size_t length = strlen(path);
    int is_directory = path[length - 1] == '/';
    snprintf(name, sizeof name, "%s%s%s", document_root, path, is_directory ? "index.html" : "");
    int fd = open(name, O_RDONLY);
    if (fd < 0)
        return errno == EMFILE ? 503 : 404;
    if (fstat(fd, &about) < 0 || !S_ISREG(about.st_mode)) {
        close(fd);
        return 404;
    }
    *body = (struct body){FILE_PART, type_of(name), (uint64_t)about.st_size, nothing + HEAD_ROOM,
                          fd};
    struct kept *k = body->size <= KEPT_BYTES && kept_count < KEPT_FILES ? malloc(sizeof *k) : NULL;
    if (!k)
        return 0;
    if (read_file(body) < 0) { /* no memory to keep it: sendfile, from its beginning */
        lseek(fd, 0, SEEK_SET);
        free(k);
        return 0;
    }
    close(fd);
    memcpy(k->path, path, length + 1);
    k->body = *body;
    kept[kept_count++] = k;
    return 0;
}

/* /bytes/N: lines of 16 bytes, each its own offset as 15 hexadecimal digits and a line feed.
 *
 * Lines are made in blocks of 64 KiB. In a block the last four digits are always the same, and
 * the upper eleven are alike in all its lines. So going on to a later block means writing the one
 * digit that changed into each of 4,096 lines, not 64 KiB. Block 0 stands by itself and has room
 * for a head in front; later ones share a window, in which as many lie side by side. */
#define LINE_BYTES 16
#define BLOCK_BYTES (64 << 10)
#define UPPER_DIGITS 11
#define WINDOW_BLOCKS 4

static struct {
    char unused[4096 - HEAD_ROOM], head[HEAD_ROOM];
    char block[BLOCK_BYTES];
} start __attribute__((aligned(4096)));
static char window[WINDOW_BLOCKS][BLOCK_BYTES] __attribute__((aligned(4096)));

static void write_digits(char *to, uint64_t value, int count) {
    while (count--) {
        to[count] = "0123456789abcdef"[value & 15];
        value >>= 4;
    }
}

/* The lines of a fresh block: all zero but the digits that never change. */
static void prepare_block(char *block) {
    for (uint32_t at = 0; at < BLOCK_BYTES; at += LINE_BYTES) {
        write_digits(block + at, at, LINE_BYTES - 1);
        block[at + LINE_BYTES - 1] = '\n';
    }
}

/* Makes `block` the one that begins at number * 64 KiB. */
static void turn_block(char *block, uint64_t number) {
    char upper[UPPER_DIGITS];

    write_digits(upper, number, UPPER_DIGITS);
    for (int i = 0; i < UPPER_DIGITS; i++)
        if (block[i] != upper[i])
            for (char *line = block; line < block + BLOCK_BYTES; line += 4 * LINE_BYTES) {
                line[i] = upper[i];
                line[i + LINE_BYTES] = upper[i];
                line[i + 2 * LINE_BYTES] = upper[i];
                line[i + 3 * LINE_BYTES] = upper[i];
            }
}

char *body_bytes_at(uint64_t offset, uint64_t end, size_t *count) {
    uint64_t number = offset / BLOCK_BYTES;
    size_t within = (size_t)(offset % BLOCK_BYTES);
    char *block;
    uint64_t there;

    if (!number) {
        block = start.block;
        there = BLOCK_BYTES - within;
    } else {
        size_t place = (size_t)(number % WINDOW_BLOCKS);
        block = window[place];
        there = (WINDOW_BLOCKS - place) * BLOCK_BYTES - within;
        for (uint64_t left = end - offset + within; place < WINDOW_BLOCKS; place++, number++) {
            turn_block(window[place], number);
            if (left <= BLOCK_BYTES)
                break;
            left -= BLOCK_BYTES;
        }
    }
    *count = (size_t)(there < end - offset ? there : end - offset);
    return block + within;
}

static int find_bytes(struct body *body, const char *number) {
    uint64_t size = 0;

    if (!*number)
        return 404;
    for (; *number; number++) {
        unsigned digit = (unsigned)*number - '0';
        size = size * 10 + digit;
        if (digit > 9 || size > BYTES_MOST)
            return 404;
    }
    if (!start.block[0]) {
        prepare_block(start.block);
        for (int i = 0; i < WINDOW_BLOCKS; i++)
            prepare_block(window[i]);
    }
    *body = (struct body){BYTES, &plain, size, start.block, -1};
    return 0;
}

int body_find(struct body *body, const char *path) {
    if (BEGINS_WITH(path, "/bytes/"))
        return find_bytes(body, path + 7);
    return find_file(body, path);
}

void body_error(struct body *body, int status) {
    static struct {
        int status;
        char head[HEAD_ROOM], words[40];
    } pages[] = {
        {400, "", "400 Bad Request\n"},
        {404, "", "404 Not Found\n"},
        {405, "", "405 Method Not Allowed\n"},
        {413, "", "413 Content Too Large\n"},
        {414, "", "414 URI Too Long\n"},
        {431, "", "431 Request Header Fields Too Large\n"},
        {503, "", "503 Service Unavailable\n"},
        {505, "", "505 HTTP Version Not Supported\n"},
    };
    int i = 0;

    while (pages[i].status != status)
        i++;
    *body = (struct body){MEMORY, &plain, strlen(pages[i].words), pages[i].words, -1};
}

void body_release(struct body *body) {
    if (body->kind == FILE_PART)
        close(body->fd);
    body->kind = MEMORY;
}
