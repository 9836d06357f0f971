#ifndef CARREL_BASE_CLOCK_H
#define CARREL_BASE_CLOCK_H

#include <stdint.h>

int64_t clock_monotonic_ms(void); /* for deadlines and durations */
int64_t clock_monotonic_us(void);
int64_t clock_thread_cpu_us(void); /* of the calling thread: what it cost so far */
int64_t clock_wall_ms(void); /* Unix time; for records shown to people */
/* "2026-11-21T07:00:00.123Z" into out[25]. */
void clock_format_utc(int64_t wall_ms, char out[25]);

#endif
