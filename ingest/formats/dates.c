#include "ingest/formats/dates.h"

#include <strings.h>

#define DATE_BYTES 100U
#define DAY_S INT64_C(86400)

/* Days since 1970-01-01 of the Gregorian calendar, by Hinnant's days_from_civil. */
static int64_t days_of(int64_t y, int64_t m, int64_t d)
{
    y -= m <= 2 ? 1 : 0;
    int64_t era = y / 400;
    int64_t yoe = y - era * 400;
    int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

bool date_make(int64_t year, int64_t month, int64_t day, int64_t hour, int64_t minute,
               int64_t second, int64_t *ms)
{
    static const int64_t lengths[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (year < 1000 || year > 9999 || month < 1 || month > 12 || day < 1 ||
        day > lengths[month - 1] || hour < 0 || hour > 24 || minute < 0 || minute > 59 ||
        second < 0 || second > 60) {
        return false;
    }
    *ms = (days_of(year, month, day) * DAY_S + hour * 3600 + minute * 60 + second) * 1000;
    return true;
}

struct scan {
    const char *p, *end;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Between least and most digits; -1: there are fewer. */
static int64_t number(struct scan *s, int least, int most)
{
    int64_t n = 0;
    int k = 0;
    while (k < most && s->p + k < s->end && is_digit(s->p[k])) {
        n = n * 10 + (s->p[k] - '0');
        k++;
    }
    if (k < least) {
        return -1;
    }
    s->p += k;
    return n;
}

static bool take(struct scan *s, const char *any)
{
    if (s->p < s->end && *s->p != '\0' && strchr(any, *s->p) != NULL) {
        s->p++;
        return true;
    }
    return false;
}

/* "+0200", "+02:00", "+02'00'", "-05": seconds east of Greenwich; 0 where none stands there. */
static int64_t zone(struct scan *s)
{
    bool west = s->p < s->end && *s->p == '-';
    if (!take(s, "+-")) {
        return 0;
    }
    int64_t hours = number(s, 2, 2);
    (void)take(s, ":'");
    int64_t minutes = number(s, 2, 2);
    hours = hours < 0 || hours > 24 ? 0 : hours;
    minutes = minutes < 0 || minutes > 59 ? 0 : minutes;
    int64_t seconds = hours * 3600 + minutes * 60;
    return west ? -seconds : seconds;
}

static bool read_numbers(struct scan s, int64_t *ms)
{
    int64_t part[6] = {0, 1, 1, 0, 0, 0};
    static const char *const before[6] = {"", "-/.", "-/.", "T t", ":", ":"};
    part[0] = number(&s, 4, 4);
    for (int i = 1; i < 6; i++) {
        bool divided = take(&s, before[i]);
        int64_t n = number(&s, divided && i < 4 ? 1 : 2, 2);
        if (n < 0) {
            break; /* "2024", "2024-05", "D:202405" */
        }
        /* a year with 00 for what is not known */
        part[i] = n == 0 && (i == 1 || i == 2) ? 1 : n;
    }
    if (take(&s, ".,")) {
        (void)number(&s, 1, 9);
    }
    while (take(&s, " ")) {
    }
    int64_t east = zone(&s);
    if (!date_make(part[0], part[1], part[2], part[3], part[4], part[5], ms)) {
        return false;
    }
    *ms -= east * 1000;
    return true;
}

/* 1 to 12; 0: it begins like no month. */
static int64_t month_of(const char *p, size_t n)
{
    static const char names[] = "janfebmaraprmayjunjulaugsepoctnovdec";
    for (size_t i = 0; i < 12 && n >= 3; i++) {
        if (strncasecmp(p, names + 3 * i, 3) == 0) {
            return (int64_t)i + 1;
        }
    }
    return 0;
}

/* Words in whatever order: a month's name, a day, a year, a time, a zone. */
static bool read_words(struct scan s, int64_t *ms)
{
    int64_t year = -1, month = 0, day = -1, time[3] = {0, 0, 0}, east = 0;
    bool timed = false;
    while (s.p < s.end) {
        const char *from = s.p;
        if (is_letter(*s.p)) {
            while (s.p < s.end && is_letter(*s.p)) {
                s.p++;
            }
            month = month == 0 ? month_of(from, (size_t)(s.p - from)) : month;
        } else if (is_digit(*s.p)) {
            int64_t n = number(&s, 1, 4);
            if (!timed && s.p < s.end && *s.p == ':' && n < 25) {
                timed = true;
                time[0] = n;
                for (int i = 1; i < 3 && take(&s, ":"); i++) {
                    int64_t more = number(&s, 1, 2);
                    time[i] = more < 0 ? 0 : more;
                }
            } else if (s.p - from <= 2 && day < 0) {
                day = n;
            } else if (year < 0) { /* two digits: RFC 5322, 4.3 */
                year = s.p - from > 2 ? n : n < 50 ? 2000 + n : 1900 + n;
            }
        } else if (timed && year >= 0 && (*s.p == '+' || *s.p == '-')) {
            east = zone(&s);
        } else {
            s.p++;
        }
    }
    if (month == 0 || year < 0 ||
        !date_make(year, month, day < 0 ? 1 : day, time[0], time[1], time[2], ms)) {
        return false;
    }
    *ms -= east * 1000;
    return true;
}

bool date_read(struct str text, int64_t *ms)
{
    struct scan s = {.p = text.ptr, .end = text.ptr + text.len};
    while (s.p < s.end && (*s.p == ' ' || *s.p == '\t' || *s.p == '\r' || *s.p == '\n')) {
        s.p++;
    }
    if (s.p == NULL || s.end - s.p > (ptrdiff_t)DATE_BYTES) {
        return false;
    }
    if (s.end - s.p > 2 && s.p[0] == 'D' && s.p[1] == ':') {
        s.p += 2;
    }
    bool numbers = s.end - s.p >= 4;
    for (int i = 0; numbers && i < 4; i++) {
        numbers = is_digit(s.p[i]);
    }
    return numbers ? read_numbers(s, ms) : s.p < s.end && read_words(s, ms);
}
