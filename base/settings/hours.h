/* Hours of the day in local time, "22:00-06:00": when heavy work may run. Pure. */
#ifndef CARREL_BASE_SETTINGS_HOURS_H
#define CARREL_BASE_SETTINGS_HOURS_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "base/str.h"

struct hours {
    int from, to; /* minutes of the day; equal: always */
};

/* "" is always; false: not two times such as 22:00-06:00. */
bool hours_parse(struct str text, struct hours *out);
/* Seconds until they begin, 0 within them. */
int64_t hours_until(const struct hours *h, const struct tm *local);

#endif
