/* The time of day, from a page that the kernel keeps: no system call. */
#include <time.h>

time_t time(time_t *now) {
    time_t seconds = *(const volatile time_t *)TIME_PAGE;

    if (now)
        *now = seconds;
    return seconds;
}
