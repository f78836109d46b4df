/* Bytes in memory. Free of system calls and of state, so the kernel is built with this file too. */
#include <string.h>
#include <strings.h>

/* The loops below must not become calls of the functions they are. clang leaves them alone. */
#ifndef __clang__
#pragma GCC optimize("no-tree-loop-distribute-patterns")
#endif

void *memcpy(void *restrict to, const void *restrict from, size_t count) {
    void *d = to;
    size_t words = count / 4, rest = count % 4;

    __asm__ volatile("rep movsl" : "+D"(d), "+S"(from), "+c"(words) : : "memory");
    __asm__ volatile("rep movsb" : "+D"(d), "+S"(from), "+c"(rest) : : "memory");
    return to;
}

void *memmove(void *to, const void *from, size_t count) {
    char *d = to;
    const char *s = from;

    if ((size_t)(d - s) >= count) /* also when d is below s: upwards is safe */
        return memcpy(to, from, count);
    while (count--)
        d[count] = s[count];
    return to;
}

void *memset(void *to, int byte, size_t count) {
    void *d = to;
    size_t words = count / 4, rest = count % 4;
    unsigned value = (unsigned char)byte * 0x01010101u;

    __asm__ volatile("rep stosl" : "+D"(d), "+c"(words) : "a"(value) : "memory");
    __asm__ volatile("rep stosb" : "+D"(d), "+c"(rest) : "a"(value) : "memory");
    return to;
}

int memcmp(const void *a, const void *b, size_t count) {
    const unsigned char *p = a, *q = b;

    for (; count; count--, p++, q++)
        if (*p != *q)
            return *p - *q;
    return 0;
}

void *memchr(const void *in, int byte, size_t count) {
    const unsigned char *p = in;

    for (; count; count--, p++)
        if (*p == (unsigned char)byte)
            return (void *)p;
    return NULL;
}

size_t strlen(const char *s) {
    const char *end = s;

    while (*end)
        end++;
    return (size_t)(end - s);
}

int strncmp(const char *a, const char *b, size_t count) {
    for (; count; count--, a++, b++)
        if (*a != *b || !*a)
            return (unsigned char)*a - (unsigned char)*b;
    return 0;
}

int strcmp(const char *a, const char *b) {
    return strncmp(a, b, (size_t)-1);
}

static int lower(unsigned char c) {
    return c >= 'A' && c <= 'Z' ? c + 'a' - 'A' : c;
}

int strncasecmp(const char *a, const char *b, size_t count) {
    for (; count; count--, a++, b++)
        if ((*a != *b && lower(*a) != lower(*b)) || !*a)
            return lower(*a) - lower(*b);
    return 0;
}

char *strchr(const char *s, int c) {
    for (; *s != (char)c; s++)
        if (!*s)
            return NULL;
    return (char *)s;
}

char *strrchr(const char *s, int c) {
    const char *found = NULL;

    do
        if (*s == (char)c)
            found = s;
    while (*s++);
    return (char *)found;
}

char *strstr(const char *in, const char *what) {
    size_t length = strlen(what);

    for (; *in || !length; in++)
        if (!strncmp(in, what, length))
            return (char *)in;
    return NULL;
}

size_t strcspn(const char *s, const char *reject) {
    const char *end = s;

    while (*end && !strchr(reject, *end))
        end++;
    return (size_t)(end - s);
}
