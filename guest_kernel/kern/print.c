/* kprintf: the few conversions that the kernel needs. */
#include "drv/uart.h"
#include "kern/console.h"
#include "kern/mem.h"

/* Where characters go: a buffer with room for `size`, or the serial port if `to` is NULL. */
struct sink {
    char *to;
    size_t size, used;
};

static void put(struct sink *sink, char c)
{
    if (sink->to) {
        if (sink->used + 1 < sink->size)
            sink->to[sink->used] = c;
    } else {
        if (c == '\n')
            uart_put('\r');
        uart_put(c);
    }
    sink->used++;
}

static void put_number(struct sink *sink, uint64_t value, unsigned base, int width, char fill)
{
    char digits[20];
    int count = 0;

    do {
        digits[count++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value);
    while (width-- > count)
        put(sink, fill);
    while (count)
        put(sink, digits[--count]);
}

static void format_to(struct sink *sink, const char *format, va_list arguments)
{
    for (; *format; format++) {
        if (*format != '%') {
            put(sink, *format);
            continue;
        }
        char fill = *++format == '0' ? '0' : ' ';
        int width = 0, longs = 0;
        for (; *format >= '0' && *format <= '9'; format++)
            width = width * 10 + *format - '0';
        for (; *format == 'l'; format++)
            longs++;
        if (*format == 's') {
            const char *text = va_arg(arguments, const char *);
            for (width -= (int)strlen(text); *text; text++)
                put(sink, *text);
            while (width-- > 0)
                put(sink, ' ');
        } else if (*format == 'c') {
            put(sink, (char)va_arg(arguments, int));
        } else if (*format == 'd' || *format == 'u' || *format == 'x' || *format == 'p') {
            uint64_t value = longs > 1 ? va_arg(arguments, uint64_t) : va_arg(arguments, uint32_t);
            if (*format == 'd' && (int64_t)(value << (longs > 1 ? 0 : 32)) < 0) {
                put(sink, '-');
                value = longs > 1 ? -value : (uint32_t)-(uint32_t)value;
            }
            put_number(sink, value, *format == 'x' || *format == 'p' ? 16 : 10, width, fill);
        } else {
            put(sink, *format);
            if (!*format)
                return;
        }
    }
}

void kvprintf(const char *format, va_list arguments)
{
    struct sink sink = {NULL, 0, 0};

    format_to(&sink, format, arguments);
}

void kprintf(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    kvprintf(format, arguments);
    va_end(arguments);
}

int ksnprintf(char *to, size_t size, const char *format, ...)
{
    struct sink sink = {to, size, 0};
    va_list arguments;

    va_start(arguments, format);
    format_to(&sink, format, arguments);
    va_end(arguments);
    if (size)
        to[sink.used < size ? sink.used : size - 1] = 0;
    return (int)sink.used;
}
