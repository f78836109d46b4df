/* Kernel messages: libc's vsnprintf formats them (libc/printf.c is part of the kernel), the serial
 * port takes them. */
#include "drv/uart.h"
#include "kern/console.h"

void kvprintf(const char *format, va_list arguments) {
    char text[256]; /* what is longer is cut */

    vsnprintf(text, sizeof text, format, arguments);
    for (const char *at = text; *at; at++) {
        if (*at == '\n')
            uart_put('\r');
        uart_put(*at);
    }
}

void kprintf(const char *format, ...) {
    va_list arguments;

    va_start(arguments, format);
    kvprintf(format, arguments);
    va_end(arguments);
}
