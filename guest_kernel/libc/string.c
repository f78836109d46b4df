/* Bytes in memory. Free of system calls and of state, so the kernel is built with this file too. */
#include <stdint.h>
#include <string.h>

/* The loops below must not become calls of the functions they are. clang leaves them alone. */
#ifndef __clang__
#pragma GCC optimize("no-tree-loop-distribute-patterns")
#endif

/* Where an instruction is emulated, each turn of a loop, and of REP, costs as much as some ten
 * instructions; so these go by words, several in a turn. x86 reads a word at any address. */
typedef uint32_t __attribute__((may_alias, aligned(1))) word;

#define EACH_BYTE 0x01010101u
/* Not zero if one of the word's bytes is zero: then the lowest bit set belongs to the first of them. */
#define ZERO_BYTE(w) (((w) - EACH_BYTE) & ~(w) & 0x80808080u)
#define INDEX_OF(bits) ((unsigned)__builtin_ctz(bits) / 8)

#define MOVE(type) (*(type *)d = *(const type *)s, d += sizeof(type), s += sizeof(type))
#define FILL(type) (*(type *)d = (type)value, d += sizeof(type))

void *(memcpy)(void *restrict to, const void *restrict from, size_t count) {
    char *d = to;
    const char *s = from;

    for (; count >= 32; count -= 32)
        for (int i = 0; i < 8; i++)
            MOVE(word);
    for (; count >= 8; count -= 8)
        MOVE(word), MOVE(word);
    if (count & 4)
        MOVE(word);
    for (count &= 3; count; count--)
        MOVE(char);
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

void *(memset)(void *to, int byte, size_t count) {
    char *d = to;
    uint32_t value = (unsigned char)byte * EACH_BYTE;

    for (; count >= 32; count -= 32)
        for (int i = 0; i < 8; i++)
            FILL(word);
    for (; count >= 8; count -= 8)
        FILL(word), FILL(word);
    if (count & 4)
        FILL(word);
    for (count &= 3; count; count--)
        FILL(char);
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
    uint32_t wanted = (unsigned char)byte * EACH_BYTE;

    for (; count >= 8; p += 8, count -= 8) {
        uint32_t one = *(const word *)p ^ wanted, two = *(const word *)(p + 4) ^ wanted;
        uint32_t bits = ZERO_BYTE(one), more = ZERO_BYTE(two);
        if (bits | more)
            return (void *)(bits ? p + INDEX_OF(bits) : p + 4 + INDEX_OF(more));
    }
    for (; count; count--, p++)
        if (*p == (unsigned char)byte)
            return (void *)p;
    return NULL;
}

size_t strlen(const char *s) {
    const char *end = s;

    for (; (uintptr_t)end % 4; end++) /* an aligned word does not reach into another page */
        if (!*end)
            return (size_t)(end - s);
    uint32_t bits;
    for (; !(bits = ZERO_BYTE(*(const word *)end)); end += 4)
        ;
    return (size_t)(end - s) + INDEX_OF(bits);
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
