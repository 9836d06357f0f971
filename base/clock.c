#include "base/clock.h"

#include <stdio.h>
#include <time.h>

static int64_t read_us(clockid_t id)
{
    struct timespec t;
    (void)clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t clock_monotonic_ms(void)
{
    return read_us(CLOCK_MONOTONIC) / 1000;
}

int64_t clock_monotonic_us(void)
{
    return read_us(CLOCK_MONOTONIC);
}

int64_t clock_thread_cpu_us(void)
{
    return read_us(CLOCK_THREAD_CPUTIME_ID);
}

int64_t clock_wall_ms(void)
{
    return read_us(CLOCK_REALTIME) / 1000;
}

void clock_format_utc(int64_t wall_ms, char out[25])
{
    time_t s = (time_t)(wall_ms / 1000);
    int ms = (int)(wall_ms % 1000);
    struct tm tm;
    char date[20] = "1970-01-01T00:00:00";
    if (gmtime_r(&s, &tm) != NULL) {
        (void)strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm);
    }
    (void)snprintf(out, 25, "%s.%03dZ", date, ms < 0 || ms > 999 ? 0 : ms);
}
