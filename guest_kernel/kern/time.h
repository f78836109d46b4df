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
/* Unix time now, if somebody knows it (the hypervisor does); 0: nobody has told. */
void time_set_calendar(uint64_t unix_ns);
uint64_t time_calendar_ns(void);
/* The page that programs see at TIME_PAGE: Unix time in seconds, or seconds since boot. */
const void *time_page(void);
/* The counter's rate, if somebody knows it (HELLO's answer does): saves the calibration. */
void time_set_tsc_hz(uint64_t hz);
