/* vsnprintf: %d %i %u %x %X %p %c %s %% with flags '-' '0' '#', width, precision, '*' and the
 * lengths hh h l ll z. No floating point. Free of system calls: the kernel is built with it too. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct out {
    char *to;
    size_t size, used; /* used counts what would have been written, as C asks */
};

static void put(struct out *o, char c)
{
    if (o->used + 1 < o->size)
        o->to[o->used] = c;
    o->used++;
}

static void put_field(struct out *o, const char *sign, const char *text, int length, int zeros,
                      int width, int left, int zero_fill)
{
    int pad = width - (int)strlen(sign) - length - zeros;

    if (zero_fill && !left)
        for (; pad > 0; pad--)
            zeros++;
    for (; pad > 0 && !left; pad--)
        put(o, ' ');
    while (*sign)
        put(o, *sign++);
    while (zeros-- > 0)
        put(o, '0');
    while (length-- > 0)
        put(o, *text++);
    for (; pad > 0; pad--)
        put(o, ' ');
}

static int read_number(const char **format)
{
    int n = 0;

    while (**format >= '0' && **format <= '9')
        n = n * 10 + *(*format)++ - '0';
    return n;
}

/* Digits of `value`, the last one at end[-1]; gives their number. */
static int digits(char *end, unsigned long long value, unsigned base, int capital)
{
    char *p = end;
    unsigned small;

    while (value >> 32) { /* 64-bit division only where it is needed */
        *--p = "0123456789abcdef"[value % base];
        value /= base;
    }
    for (small = (unsigned)value; small; small /= base)
        *--p = "0123456789abcdef"[small % base];
    for (char *c = p; capital && c < end; c++)
        if (*c >= 'a')
            *c += 'A' - 'a';
    return (int)(end - p);
}

int vsnprintf(char *to, size_t size, const char *format, va_list a)
{
    struct out o = {to, size, 0};
    char number[24], *end = number + sizeof number;

    for (; *format; format++) {
        int left = 0, zero = 0, alternate = 0, width, precision = -1, longs = 0, length;
        const char *sign = "", *s;

        if (*format != '%') {
            put(&o, *format);
            continue;
        }
        for (;;) {
            char c = *++format;
            if (c == '-')
                left = 1;
            else if (c == '0')
                zero = 1;
            else if (c == '#')
                alternate = 1;
            else
                break;
        }
        width = *format == '*' ? format++, va_arg(a, int) : read_number(&format);
        if (*format == '.') {
            format++;
            precision = *format == '*' ? format++, va_arg(a, int) : read_number(&format);
        }
        for (; *format == 'l' || *format == 'z' || *format == 'h'; format++)
            longs += *format == 'l'; /* int, long and size_t are alike on i386 */

        unsigned long long value = 0;
        switch (*format) {
        case 'd':
        case 'i': {
            long long n = longs >= 2 ? va_arg(a, long long) : va_arg(a, int);
            sign = n < 0 ? "-" : "";
            value = n < 0 ? -(unsigned long long)n : (unsigned long long)n;
            length = digits(end, value, 10, 0);
            break;
        }
        case 'u':
        case 'x':
        case 'X':
            value = longs >= 2 ? va_arg(a, unsigned long long) : va_arg(a, unsigned);
            sign = alternate && value ? "0x" : "";
            length = digits(end, value, *format == 'u' ? 10 : 16, *format == 'X');
            break;
        case 'p':
            sign = "0x";
            precision = 8;
            length = digits(end, (uintptr_t)va_arg(a, void *), 16, 0);
            break;
        case 'c':
            number[0] = (char)va_arg(a, int);
            put_field(&o, "", number, 1, 0, width, left, 0);
            continue;
        case 's':
            s = va_arg(a, const char *);
            s = s ? s : "(null)";
            for (length = 0; (precision < 0 || length < precision) && s[length];)
                length++;
            put_field(&o, "", s, length, 0, width, left, 0);
            continue;
        default: /* also "%%" */
            if (*format)
                put(&o, *format);
            else
                format--;
            continue;
        }
        int least = precision < 0 ? 1 : precision; /* digits at least */
        put_field(&o, sign, end - length, length, least > length ? least - length : 0, width, left,
                  zero && precision < 0);
    }
    if (size)
        to[o.used < size ? o.used : size - 1] = 0;
    return (int)o.used;
}

int snprintf(char *to, size_t size, const char *format, ...)
{
    va_list a;
    int length;

    va_start(a, format);
    length = vsnprintf(to, size, format, a);
    va_end(a);
    return length;
}
