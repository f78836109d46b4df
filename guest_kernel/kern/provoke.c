/* `provoke=NAME` on the command line makes the kernel fail in a known way, to see (and to test) what
 * it then says. */
#include "kern/layout.h"
#include "kern/mem.h"
#include "kern/panic.h"

void provoke(const char *name); /* from kern/main.c */

/* `volatile` hides from the compiler what it would otherwise refuse or leave out. */
static int *volatile nowhere;
static volatile int zero, most = INT32_MAX, sink;

static int overrun(int depth) {
    volatile char room[512];

    room[0] = (char)depth;
    return most ? overrun(depth + 1) + room[0] : 0;
}

void provoke(const char *name) {
    static uint8_t code[] = {0xC3};
    void (*volatile data)(void) = (void (*)(void))(uintptr_t)code;

    if (!strcmp(name, "null-pointer"))
        *nowhere = 1;
    else if (!strcmp(name, "write-code"))
        *(volatile char *)kernel_start = 0;
    else if (!strcmp(name, "execute-data"))
        data();
    else if (!strcmp(name, "stack-overrun"))
        sink = overrun(0);
    else if (!strcmp(name, "division"))
        sink = most / zero;
    else if (!strcmp(name, "overflow")) /* seen only if the kernel is built with sanitize */
        sink = most + 1;
    else if (!strcmp(name, "double-free"))
        page_free(kernel_end, 1);
    else if (*name)
        panic("provoke=%s is unknown", name);
}
