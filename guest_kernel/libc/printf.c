/* vsnprintf: %d %u %x %p %c %s %% with flags '-' and '0', width, precision, '*' and the lengths
 * hh h l ll z. No floating point. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct out {
    char *to;
    size_t size, used; /* used counts what would have been written, as C asks */
};

/* How a conversion is to look. */
struct form {
    int left, zero, width, precision; /* precision -1: none was given */
};

static void put(struct out *o, const char *text, int count) {
    for (; count > 0; count--, o->used++)
        if (o->used + 1 < o->size)
            o->to[o->used] = *text++;
}

static void repeat(struct out *o, char c, int count) {
    for (; count > 0; count--)
        put(o, &c, 1);
}

/* Text of `length` with a sign or prefix, `zeros` zeros between them, padded to the width. */
static void put_field(struct out *o, const struct form *f, const char *sign, const char *text,
                      int length, int zeros) {
    int pad = f->width - (int)strlen(sign) - length - zeros;

    if (!f->left)
        repeat(o, ' ', pad);
    put(o, sign, (int)strlen(sign));
    repeat(o, '0', zeros);
    put(o, text, length);
    if (f->left)
        repeat(o, ' ', pad);
}

static void put_number(struct out *o, struct form *f, const char *sign, unsigned long long value,
                       unsigned base) {
    char digits[24], *end = digits + sizeof digits, *p = end;

    for (; value >> 32; value /= base) /* 64-bit division only where it is needed */
        *--p = "0123456789abcdef"[value % base];
    for (unsigned small = (unsigned)value; small; small /= base)
        *--p = "0123456789abcdef"[small % base];
    int length = (int)(end - p), least = f->precision < 0 ? 1 : f->precision;
    if (f->zero && !f->left && f->precision < 0 && f->width - (int)strlen(sign) > least)
        least = f->width - (int)strlen(sign);
    put_field(o, f, sign, p, length, least > length ? least - length : 0);
}

static int read_number(const char **format, va_list *a) {
    int n = 0;

    if (**format == '*') {
        (*format)++;
        return va_arg(*a, int);
    }
    while (**format >= '0' && **format <= '9')
        n = n * 10 + *(*format)++ - '0';
    return n;
}

static void convert(struct out *o, const char **format, va_list *a) {
    struct form f = {.precision = -1};
    int longs = 0;

    for (; **format == '-' || **format == '0'; ++*format)
        *(**format == '-' ? &f.left : &f.zero) = 1;
    f.width = read_number(format, a);
    if (**format == '.') {
        ++*format;
        f.precision = read_number(format, a);
    }
    for (; **format == 'l' || **format == 'z' || **format == 'h'; ++*format)
        longs += **format == 'l'; /* int, long and size_t are alike on i386 */

    char kind = *(*format)++, c;
    if (kind == 'd') {
        long long n = longs >= 2 ? va_arg(*a, long long) : va_arg(*a, int);
        unsigned long long size = n < 0 ? -(unsigned long long)n : (unsigned long long)n;
        put_number(o, &f, n < 0 ? "-" : "", size, 10);
    } else if (kind == 'u' || kind == 'x') {
        put_number(o, &f, "", longs >= 2 ? va_arg(*a, unsigned long long) : va_arg(*a, unsigned),
                   kind == 'u' ? 10 : 16);
    } else if (kind == 'p') {
        f.precision = 8;
        put_number(o, &f, "0x", (uintptr_t)va_arg(*a, void *), 16);
    } else if (kind == 'c') {
        c = (char)va_arg(*a, int);
        put_field(o, &f, "", &c, 1, 0);
    } else if (kind == 's') {
        const char *s = va_arg(*a, const char *);
        int length = 0;
        for (s = s ? s : "(null)"; (f.precision < 0 || length < f.precision) && s[length];)
            length++;
        put_field(o, &f, "", s, length, 0);
    } else if (kind) {
        put(o, &kind, 1); /* "%%" */
    } else {
        --*format; /* the format ends in the middle */
    }
}

int vsnprintf(char *to, size_t size, const char *format, va_list arguments) {
    struct out o = {to, size, 0};
    va_list a;

    va_copy(a, arguments);
    while (*format)
        if (*format == '%') {
            format++;
            convert(&o, &format, &a);
        } else {
            put(&o, format++, 1);
        }
    va_end(a);
    if (size)
        to[o.used < size ? o.used : size - 1] = 0;
    return (int)o.used;
}

int snprintf(char *to, size_t size, const char *format, ...) {
    va_list a;
    int length;

    va_start(a, format);
    length = vsnprintf(to, size, format, a);
    va_end(a);
    return length;
}
