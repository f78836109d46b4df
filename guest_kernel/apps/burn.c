/* burn: a neighbour that takes a share of the CPU: busy for that part of each fifth of a second,
 * asleep for the rest.
 *
 *     burn [PERCENT [SECONDS]]   50 per cent, until it is ended */
#include "client.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define PERIOD_NS 200000000u /* many ticks of the timer long, since a sleep ends at a tick */

int main(int argc, char **argv) {
    int percent = argc > 1 ? atoi(argv[1]) : 50;
    uint64_t seconds = argc > 2 ? strtoull(argv[2], NULL, 10) : UINT32_MAX;

    if (percent < 1 || percent > 100 || argc > 3) {
        dprintf(STDERR_FILENO, "burn: write: burn [PERCENT [SECONDS]], 1 to 100 per cent\n");
        return 1;
    }
    uint64_t began = now_ns(), busy = 0, now;
    do {
        uint64_t start = now_ns(), end = start + PERIOD_NS / 100 * (unsigned)percent;
        while ((now = now_ns()) < end)
            ;
        busy += now - start;
        struct timespec pause = {0, (int)(PERIOD_NS / 100 * (unsigned)(100 - percent))};
        if (percent < 100)
            nanosleep(&pause, NULL);
        now = now_ns();
    } while (now - began < seconds * 1000000000u);
    dprintf(STDERR_FILENO, "burn: %u per cent of %u ms\n", (unsigned)(busy * 100 / (now - began)),
            (unsigned)((now - began) / 1000000));
    return 0;
}
