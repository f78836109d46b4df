/* Time from the tick and the time-stamp counter. */
#include "kern/time.h"
#include "drv/pit.h"
#include "kern/power.h"
#include "kern/thread.h"
#include "kern/uapi.h"

/* ns = base_ns + (counter - base_tsc) * scale >> shift; scale 0: the rate is not known. */
static uint64_t ticks, base_ns, base_tsc;
static uint32_t scale;
static unsigned shift;

/* Every process has this page, read-only: reading the time costs it no system call. */
static union {
    volatile time_t seconds;
    char page[4096];
} calendar __attribute__((aligned(4096)));
static uint64_t epoch_ns;

static void tick(void) {
    uint64_t now = time_now_ns();

    ticks++;
    calendar.seconds = (time_t)((epoch_ns + now) / 1000000000u);
    thread_tick(now);
}

void time_set_calendar(uint64_t unix_ns) {
    epoch_ns = unix_ns - time_now_ns();
}

uint64_t time_calendar_ns(void) {
    return epoch_ns ? epoch_ns + time_now_ns() : 0;
}

const void *time_page(void) {
    return calendar.page;
}

void time_init(void) {
    pit_start(TICKS_PER_S, tick);
    if (!power_is_leulo()) /* Leulo tells the rate in its first hypercall: saves 10 ms */
        time_set_tsc_hz(pit_measure_tsc());
}

void time_set_tsc_hz(uint64_t hz) {
    uint64_t now = time_now_ns(), ns_per_s = 1000000000u;

    if (!hz)
        return;
    for (shift = 32; shift && (ns_per_s << shift) / hz > UINT32_MAX; shift--)
        ;
    scale = (uint32_t)((ns_per_s << shift) / hz);
    base_tsc = rdtsc();
    base_ns = now;
}

uint64_t time_now_ns(void) {
    if (!scale)
        return ticks * TICK_NS;
    uint64_t passed = rdtsc() - base_tsc;
    uint64_t high = (passed >> 32) * scale, low = (uint32_t)passed * (uint64_t)scale;
    return base_ns + (high << (32 - shift)) + (low >> shift);
}
