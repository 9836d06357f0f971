/* Dates as documents write them: ISO 8601 and its short forms (2024, 2024-05, 20240531T120000Z),
 * PDF's "D:20240531120000+02'00'", mail's (RFC 5322) and what programs print ("Fri May 31 12:00:00
 * 2024", "May 31, 2024"). What has no zone is taken as UTC. Pure; one pass. */
#ifndef CARREL_INGEST_FORMATS_DATES_H
#define CARREL_INGEST_FORMATS_DATES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

/* Milliseconds since 1970; false where it is no date, or none of the years 1000 to 9999. */
bool date_read(struct str s, int64_t *ms);
/* Of a day and a time that may be none: 0, false. */
bool date_make(int64_t year, int64_t month, int64_t day, int64_t hour, int64_t minute,
               int64_t second, int64_t *ms);

#endif
