/* Numbers from text [POSIX strtoull]. */
#include <errno.h>
#include <stdlib.h>

static int digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20; /* lower case */
    return c >= 'a' && c <= 'z' ? c - 'a' + 10 : 99;
}

unsigned long long strtoull(const char *s, char **end, int base) {
    unsigned long long value = 0;
    const char *start = s;
    int negative, overflow = 0;

    while (*s == ' ' || (*s >= '\t' && *s <= '\r'))
        s++;
    negative = *s == '-';
    if (*s == '-' || *s == '+')
        s++;
    if ((base == 0 || base == 16) && *s == '0' && (s[1] | 0x20) == 'x' && digit(s[2]) < 16) {
        s += 2;
        base = 16;
    }
    if (base == 0)
        base = *s == '0' ? 8 : 10;
    if (digit(*s) < base)
        start = NULL; /* there is a number */
    for (int next; (next = digit(*s)) < base; s++) {
        if (value >> 58 && value > (~0ull - (unsigned)next) / (unsigned)base)
            overflow = 1;
        value = value * (unsigned)base + (unsigned)next;
    }
    if (end)
        *end = (char *)(start ? start : s);
    if (overflow) {
        errno = ERANGE;
        return ~0ull;
    }
    return negative ? -value : value;
}

int atoi(const char *s) {
    return (int)strtoull(s, NULL, 10);
}
