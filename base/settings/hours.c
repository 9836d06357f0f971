#include "base/settings/hours.h"

#define DAY_MINUTES (24 * 60)

/* "HH:MM"; -1: it is none. */
static int minutes(const char *p)
{
    for (int i = 0; i < 5; i++) {
        if (i == 2 ? p[i] != ':' : p[i] < '0' || p[i] > '9') {
            return -1;
        }
    }
    int h = (p[0] - '0') * 10 + p[1] - '0';
    int m = (p[3] - '0') * 10 + p[4] - '0';
    return h > 23 || m > 59 ? -1 : h * 60 + m;
}

bool hours_parse(struct str text, struct hours *out)
{
    *out = (struct hours){0};
    if (text.len == 0) {
        return true;
    }
    if (text.len != 11 || text.ptr[5] != '-') {
        return false;
    }
    *out = (struct hours){.from = minutes(text.ptr), .to = minutes(text.ptr + 6)};
    return out->from >= 0 && out->to >= 0 && out->from != out->to;
}

int64_t hours_until(const struct hours *h, const struct tm *local)
{
    int now = local->tm_hour * 60 + local->tm_min;
    bool within = h->from == h->to  ? true
                  : h->from < h->to ? now >= h->from && now < h->to
                                    : now >= h->from || now < h->to;
    int wait = (h->from - now + DAY_MINUTES) % DAY_MINUTES;
    return within ? 0 : (int64_t)wait * 60 - local->tm_sec;
}
