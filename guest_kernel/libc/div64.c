/* Division of 64-bit numbers. On i386 the compiler calls these by name; libgcc is never linked,
 * so that every compiler gives the same image. The kernel is built with this file too. */
#include <stdint.h>

/* n / d and the rest, by schoolbook: at most one DIV for each 32-bit digit of n where the divisor
 * is short, else bit by bit (a divisor past 2^32 is rare, and then the quotient is short). */
uint64_t __udivmoddi4(uint64_t n, uint64_t d, uint64_t *rest) {
    uint32_t high = (uint32_t)(n >> 32), low = (uint32_t)n, short_d = (uint32_t)d;
    uint64_t quotient;

    if (!(d >> 32)) {
        uint32_t q_high = high / short_d, r = high % short_d, q_low; /* d == 0 faults, as it must */
        __asm__("divl %4" : "=a"(q_low), "=d"(r) : "0"(low), "1"(r), "rm"(short_d));
        if (rest)
            *rest = r;
        return (uint64_t)q_high << 32 | q_low;
    }
    uint64_t r = high; /* the quotient has 32 bits at most: d's high word is not zero */
    quotient = 0;
    for (int i = 31; i >= 0; i--) {
        int carry = r >> 63 != 0;
        r = r << 1 | (low >> i & 1);
        quotient <<= 1;
        if (carry || r >= d) {
            r -= d;
            quotient |= 1;
        }
    }
    if (rest)
        *rest = r;
    return quotient;
}

uint64_t __udivdi3(uint64_t n, uint64_t d) {
    return __udivmoddi4(n, d, 0);
}

uint64_t __umoddi3(uint64_t n, uint64_t d) {
    uint64_t rest;

    __udivmoddi4(n, d, &rest);
    return rest;
}

static uint64_t size_of(int64_t x) {
    return x < 0 ? -(uint64_t)x : (uint64_t)x;
}

int64_t __divdi3(int64_t n, int64_t d) {
    uint64_t q = __udivmoddi4(size_of(n), size_of(d), 0);

    return (int64_t)((n < 0) != (d < 0) ? -q : q);
}

int64_t __divmoddi4(int64_t n, int64_t d, int64_t *rest) {
    int64_t q = __divdi3(n, d);

    *rest = n - q * d; /* has the sign of n */
    return q;
}

int64_t __moddi3(int64_t n, int64_t d) {
    return n - __divdi3(n, d) * d;
}
