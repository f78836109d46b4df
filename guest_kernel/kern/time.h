/* Time: the PIT's 100 ticks a second drive scheduling and timeouts; the CPU's time-stamp counter
 * gives the nanoseconds in between. */
#pragma once

#include <stdint.h>

#define TICKS_PER_S 100u
#define TICK_NS 10000000u
#define FOREVER UINT64_MAX

void time_init(void);
/* Nanoseconds since boot; never goes back. */
uint64_t time_now_ns(void);
/* The counter's rate, if somebody knows it (HELLO's answer does): saves the calibration. */
void time_set_tsc_hz(uint64_t hz);
