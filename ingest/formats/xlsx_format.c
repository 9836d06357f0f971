#include "ingest/formats/xlsx_format.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SERIAL_MAX 2958466.0 /* the first day of the year 10000 */

enum xlsx_format xlsx_builtin_format(uint32_t id)
{
    if (id == 9 || id == 10) {
        return XLSX_PERCENT;
    }
    if (id == 22) {
        return XLSX_DATE_TIME;
    }
    if (id == 46) {
        return XLSX_ELAPSED;
    }
    if ((id >= 18 && id <= 21) || id == 45 || id == 47) {
        return XLSX_TIME;
    }
    bool date = (id >= 14 && id <= 17) || (id >= 27 && id <= 36) || (id >= 50 && id <= 58);
    return date ? XLSX_DATE : XLSX_NUMBER;
}

enum xlsx_format xlsx_custom_format(struct str code)
{
    bool date = false;
    bool time = false;
    bool month = false;
    bool elapsed = false;
    bool percent = false;
    for (size_t i = 0; i < code.len && code.ptr[i] != ';'; i++) {
        char c = code.ptr[i];
        if (c == '\\' || c == '_' || c == '*') {
            i++;
        } else if (c == '"' || c == '[') {
            char closes = c == '"' ? '"' : ']';
            size_t from = ++i;
            while (i < code.len && code.ptr[i] != closes) {
                i++;
            }
            bool unit = i - from <= 2 && i > from && strchr("hHmMsS", code.ptr[from]) != NULL;
            elapsed = elapsed || (c == '[' && unit);
        } else {
            date = date || strchr("yYdD", c) != NULL;
            time = time || strchr("hHsS", c) != NULL;
            month = month || c == 'm' || c == 'M';
            percent = percent || c == '%';
        }
    }
    return elapsed         ? XLSX_ELAPSED
           : date && time  ? XLSX_DATE_TIME
           : time          ? XLSX_TIME
           : date || month ? XLSX_DATE
           : percent       ? XLSX_PERCENT
                           : XLSX_NUMBER;
}

/* Days since 1970 to a date of the Gregorian calendar (Hinnant, "chrono-compatible low-level date
 * algorithms", civil_from_days). */
static void civil(int64_t days, int64_t *year, unsigned *month, unsigned *day)
{
    int64_t z = days + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t of_era = z - era * 146097;
    int64_t yoe = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t doy = of_era - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    *day = (unsigned)(doy - (153 * mp + 2) / 5 + 1);
    *month = (unsigned)(mp < 10 ? mp + 3 : mp - 9);
    *year = yoe + era * 400 + (*month <= 2);
}

static void show_date(struct buf *out, int64_t serial, bool since_1904)
{
    int64_t year;
    unsigned month, day;
    /* serial 60 is 29 February 1900, which never was: before it one day is missing */
    int64_t days = since_1904 ? serial - 24107 : serial - 25569 + (serial < 60);
    civil(days, &year, &month, &day);
    buf_printf(out, "%04lld-%02u-%02u", (long long)year, month, day);
}

static void show_time(struct buf *out, int64_t seconds)
{
    buf_printf(out, "%02lld:%02lld", (long long)(seconds / 3600), (long long)(seconds / 60 % 60));
    if (seconds % 60 != 0) {
        buf_printf(out, ":%02lld", (long long)(seconds % 60));
    }
}

void xlsx_show(struct buf *out, struct str value, enum xlsx_format format, bool since_1904)
{
    char z[64];
    char *end = NULL;
    if (value.len == 0 || value.len >= sizeof z) {
        buf_str(out, value);
        return;
    }
    memcpy(z, value.ptr, value.len);
    z[value.len] = '\0';
    double v = strtod(z, &end);
    if (*end != '\0' || !isfinite(v)) {
        buf_str(out, value);
        return;
    }
    bool dated = format != XLSX_NUMBER && format != XLSX_PERCENT;
    if (dated && (v < 0 || v >= SERIAL_MAX)) {
        format = XLSX_NUMBER;
    }
    double at =
        format == XLSX_NUMBER || format == XLSX_PERCENT ? 0 : v; /* others may be any size */
    int64_t day = (int64_t)at;
    int64_t seconds = (int64_t)llround((at - (double)day) * 86400);
    if (seconds == 86400) { /* a rounded midnight */
        day++;
        seconds = 0;
    }
    switch (format) {
    case XLSX_NUMBER:
        buf_printf(out, "%.15g", v);
        break;
    case XLSX_PERCENT:
        buf_printf(out, "%.10g%%", v * 100);
        break;
    case XLSX_DATE:
        show_date(out, day, since_1904);
        break;
    case XLSX_DATE_TIME:
        show_date(out, day, since_1904);
        buf_char(out, ' ');
        show_time(out, seconds);
        break;
    case XLSX_TIME:
        show_time(out, seconds);
        break;
    case XLSX_ELAPSED:
        show_time(out, day * 86400 + seconds);
        break;
    }
}
