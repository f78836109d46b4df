/* The end of the road: say what is wrong, with registers and a symbolised backtrace, and stop. */
#pragma once

#include <stdint.h>

struct trap_frame;

_Noreturn void panic(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same for a trap that the kernel itself caused. */
_Noreturn void panic_trap(struct trap_frame *frame);
void backtrace(uintptr_t frame_pointer);

#define assert(condition) \
    ((condition) ? (void)0 : panic("assertion failed: %s, %s:%d", #condition, __FILE__, __LINE__))
