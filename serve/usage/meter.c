#include "serve/usage/meter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KEY_CAP (2 * METER_NAME_CAP + 2)

static const char *const kinds[METER_KINDS] = {"key", "user", "team", "tenant"};

const char *meter_kind_name(enum meter_kind k)
{
    return kinds[k];
}

bool meter_kind_read(struct str name, enum meter_kind *out)
{
    for (int i = 0; i < METER_KINDS; i++) {
        if (str_eq(name, str_from(kinds[i]))) {
            *out = (enum meter_kind)i;
            return true;
        }
    }
    return false;
}

/* ---- days and months ---- */

int64_t meter_month(int64_t wall_ms)
{
    time_t at = (time_t)(wall_ms / 1000);
    struct tm tm;
    return gmtime_r(&at, &tm) == NULL ? 0 : ((int64_t)tm.tm_year + 1900) * 12 + tm.tm_mon;
}

int64_t meter_month_start(int64_t month)
{
    struct tm tm = {.tm_year = (int)(month / 12) - 1900, .tm_mon = (int)(month % 12), .tm_mday = 1};
    return (int64_t)timegm(&tm) * 1000;
}

static int64_t day_of(int64_t wall_ms)
{
    return wall_ms / METER_DAY_MS;
}

static int64_t day_left_ms(int64_t wall_ms)
{
    return METER_DAY_MS - wall_ms % METER_DAY_MS;
}

void meter_roll(struct meter_subject *s, int64_t wall_ms)
{
    int64_t day = day_of(wall_ms);
    int64_t month = meter_month(wall_ms);
    if (day + 1 == s->day) {
        return; /* the clock was set back a little: yesterday does not come again */
    }
    if (day != s->day) {
        s->tokens = day > s->day ? 0 : s->tokens;
        s->upload_bytes = day > s->day ? 0 : s->upload_bytes;
        s->day = day;
    }
    if (month != s->month) {
        s->micro = month > s->month ? 0 : s->micro;
        s->month = month;
    }
}

/* ---- subjects ---- */

void meter_init(struct meter *m, const struct meter_defaults *d)
{
    *m = (struct meter){.defaults = *d};
    map_init(&m->subjects);
}

void meter_deinit(struct meter *m)
{
    size_t pos = 0;
    struct str key;
    void *value;
    while (map_next(&m->subjects, &pos, &key, &value)) {
        free(value);
    }
    map_deinit(&m->subjects);
}

/* Kind, tenant and name, none of which holds a NUL. */
static struct str key_of(char out[KEY_CAP], enum meter_kind kind, const char *tenant,
                         const char *name)
{
    int n = snprintf(out, KEY_CAP, "%c%.*s%c%.*s", "kugt"[kind], METER_NAME_CAP - 1, tenant, '\0',
                     METER_NAME_CAP - 1, name);
    return (struct str){out, n < 0 ? 0 : (size_t)n};
}

int64_t meter_limit_of(const struct meter *m, const struct meter_subject *s, enum meter_limit which)
{
    return s->limits[which] == METER_INHERIT ? m->defaults.limits[s->kind][which]
                                             : s->limits[which];
}

static bool idle(const struct meter *m, const struct meter_subject *s, int64_t now_ms)
{
    bool today = s->day >= m->day && (s->tokens > 0 || s->upload_bytes > 0);
    bool this_month = s->month >= m->month && s->micro > 0;
    return s->kind != METER_TENANT && !s->own && !s->dirty && s->in_flight == 0 && !today &&
           !this_month && now_ms - s->filled_ms > 60000;
}

/* Seldom: once in as many new subjects as it frees. */
static void make_room(struct meter *m, int64_t now_ms)
{
    struct map kept;
    size_t pos = 0;
    struct str key;
    void *value;
    bool ok = true;
    map_init(&kept);
    while (ok && map_next(&m->subjects, &pos, &key, &value)) {
        ok = idle(m, value, now_ms) || map_put(&kept, key, value, NULL) == STATUS_OK;
    }
    pos = 0;
    while (ok && map_next(&m->subjects, &pos, &key, &value)) {
        if (idle(m, value, now_ms)) {
            free(value);
        }
    }
    if (ok) {
        map_deinit(&m->subjects);
        m->subjects = kept;
    } else {
        map_deinit(&kept);
    }
}

struct meter_subject *meter_subject(struct meter *m, enum meter_kind kind, const char *tenant,
                                    const char *name, int64_t now_ms)
{
    char text[KEY_CAP];
    struct str key = key_of(text, kind, tenant, name);
    struct meter_subject *s = map_get(&m->subjects, key);
    if (s != NULL) {
        return s;
    }
    if (m->subjects.len >= METER_SUBJECTS_MAX) {
        make_room(m, now_ms);
    }
    s = m->subjects.len >= METER_SUBJECTS_MAX ? NULL : calloc(1, sizeof *s);
    if (s == NULL) {
        return NULL;
    }
    (void)snprintf(s->tenant, sizeof s->tenant, "%s", tenant);
    (void)snprintf(s->name, sizeof s->name, "%s", name);
    s->kind = kind;
    for (int i = 0; i < METER_LIMITS; i++) {
        s->limits[i] = METER_INHERIT;
    }
    s->bucket = (double)meter_limit_of(m, s, METER_REQUESTS);
    s->filled_ms = now_ms;
    if (map_put(&m->subjects, key, s, NULL) != STATUS_OK) {
        free(s);
        return NULL;
    }
    m->tenants += kind == METER_TENANT;
    return s;
}

struct meter_subject *meter_next_dirty(struct meter *m, size_t *pos)
{
    struct str key;
    void *value;
    while (map_next(&m->subjects, pos, &key, &value)) {
        struct meter_subject *s = value;
        if (s->dirty) {
            s->dirty = false;
            return s;
        }
    }
    return NULL;
}

/* ---- a request comes in ---- */

static void fill(struct meter_subject *s, int64_t per_minute, int64_t now_ms)
{
    double grown = s->bucket + (double)(now_ms - s->filled_ms) * (double)per_minute / 60000.0;
    s->bucket = grown > (double)per_minute ? (double)per_minute : grown;
    s->filled_ms = now_ms;
}

/* The least left is what the client is told. */
static void narrow(struct meter_room *room, int64_t limit, int64_t left, int64_t reset_ms)
{
    left = left < 0 ? 0 : left;
    if (room->limit == 0 || left < room->left) {
        *room = (struct meter_room){limit, left, reset_ms};
    }
}

static void refuse(struct meter_decision *out, enum meter_verdict why,
                   const struct meter_subject *by, int64_t limit, int64_t retry_ms)
{
    if (out->verdict == METER_OK) {
        out->verdict = why;
        out->by = by;
        out->limit = limit;
        out->retry_ms = retry_ms;
    }
}

static void look_at_rate(const struct meter *m, struct meter_subject *s, int64_t now_ms,
                         struct meter_decision *out)
{
    int64_t limit = meter_limit_of(m, s, METER_REQUESTS);
    if (limit <= 0) {
        return;
    }
    fill(s, limit, now_ms);
    if (s->bucket < 1.0) {
        refuse(out, METER_NO_REQUESTS, s, limit,
               (int64_t)((1.0 - s->bucket) * 60000.0 / (double)limit) + 1);
    }
    narrow(&out->requests, limit, (int64_t)s->bucket,
           (int64_t)(((double)limit - s->bucket) * 60000.0 / (double)limit));
}

static void look_at_day(const struct meter *m, struct meter_subject *s, unsigned uses,
                        int64_t body_bytes, int64_t wall_ms, struct meter_decision *out)
{
    int64_t left_ms = day_left_ms(wall_ms);
    int64_t tokens = meter_limit_of(m, s, METER_TOKENS);
    int64_t upload = meter_limit_of(m, s, METER_UPLOAD);
    int64_t budget = meter_limit_of(m, s, METER_BUDGET);
    if (tokens > 0) {
        if ((uses & METER_USES_TOKENS) != 0 && s->tokens >= tokens) {
            refuse(out, METER_NO_TOKENS, s, tokens, left_ms);
        }
        narrow(&out->tokens, tokens, tokens - s->tokens, left_ms);
    }
    if (upload > 0 && (uses & METER_USES_UPLOAD) != 0 &&
        (s->upload_bytes >= upload || body_bytes > upload - s->upload_bytes)) {
        refuse(out, METER_NO_UPLOAD, s, upload, left_ms);
    }
    if (budget > 0 && (uses & METER_USES_MONEY) != 0 && s->micro >= budget) {
        refuse(out, METER_NO_BUDGET, s, budget, meter_month_start(s->month + 1) - wall_ms);
    }
}

static void look_at_now(const struct meter *m, const struct meter_subject *s, unsigned uses,
                        struct meter_decision *out)
{
    int64_t streams = meter_limit_of(m, s, METER_STREAMS);
    if ((uses & METER_USES_STREAM) != 0 && streams > 0 && s->streams >= streams) {
        refuse(out, METER_NO_STREAMS, s, streams, 1000);
    }
    if (s->kind != METER_TENANT || m->tenants < 2) {
        return;
    }
    if (m->defaults.tenant_share > 0 && s->in_flight >= m->defaults.tenant_share) {
        refuse(out, METER_NO_SHARE, s, m->defaults.tenant_share, 1000);
    }
    if ((uses & METER_USES_STREAM) != 0 && m->defaults.answer_share > 0 &&
        s->streams >= m->defaults.answer_share) {
        refuse(out, METER_NO_SHARE, s, m->defaults.answer_share, 1000);
    }
}

/* The team that an administrator said, of the key before the user, or else the group. */
static const char *team_of(const struct meter_ticket *t, const struct meter_who *who)
{
    if (t->who[METER_KEY]->team[0] != '\0') {
        return t->who[METER_KEY]->team;
    }
    if (t->who[METER_USER]->team[0] != '\0') {
        return t->who[METER_USER]->team;
    }
    return who->team == NULL ? "" : who->team;
}

static bool find_all(struct meter *m, const struct meter_who *who, int64_t now_ms,
                     struct meter_ticket *t)
{
    bool found = false;
    t->who[METER_TENANT] = meter_subject(m, METER_TENANT, who->tenant, "", now_ms);
    if (t->who[METER_TENANT] == NULL) {
        return false;
    }
    t->who[METER_TENANT]->in_flight++; /* stays while the others are made */
    t->who[METER_USER] = meter_subject(m, METER_USER, who->tenant, who->user, now_ms);
    if (t->who[METER_USER] != NULL) {
        t->who[METER_USER]->in_flight++;
        t->who[METER_KEY] = meter_subject(m, METER_KEY, who->tenant, who->key, now_ms);
    }
    if (t->who[METER_KEY] != NULL) {
        t->who[METER_KEY]->in_flight++;
        const char *team = team_of(t, who);
        if (team[0] != '\0') {
            t->who[METER_TEAM] = meter_subject(m, METER_TEAM, who->tenant, team, now_ms);
        }
        t->who[METER_KEY]->in_flight--;
        found = team[0] == '\0' || t->who[METER_TEAM] != NULL;
    }
    t->who[METER_TENANT]->in_flight--;
    if (t->who[METER_USER] != NULL) {
        t->who[METER_USER]->in_flight--;
    }
    return found;
}

void meter_enter(struct meter *m, const struct meter_who *who, unsigned uses, int64_t now_ms,
                 int64_t wall_ms, struct meter_ticket *t, struct meter_decision *out)
{
    *out = (struct meter_decision){0};
    *t = (struct meter_ticket){0};
    m->day = day_of(wall_ms);
    m->month = meter_month(wall_ms);
    if (!find_all(m, who, now_ms, t)) {
        out->verdict = m->subjects.len >= METER_SUBJECTS_MAX ? METER_FULL : METER_NO_MEMORY;
        out->retry_ms = 60000;
        return;
    }
    for (int i = 0; i < METER_KINDS; i++) {
        if (t->who[i] != NULL) {
            meter_roll(t->who[i], wall_ms);
            look_at_rate(m, t->who[i], now_ms, out);
        }
    }
    for (int i = 0; i < METER_KINDS; i++) {
        if (t->who[i] != NULL) {
            look_at_day(m, t->who[i], uses, who->body_bytes, wall_ms, out);
            look_at_now(m, t->who[i], uses, out);
        }
    }
    if (out->verdict != METER_OK) {
        return;
    }
    t->held = true;
    t->stream = (uses & METER_USES_STREAM) != 0;
    for (int i = 0; i < METER_KINDS; i++) {
        struct meter_subject *s = t->who[i];
        if (s == NULL) {
            continue;
        }
        if (meter_limit_of(m, s, METER_REQUESTS) > 0) {
            s->bucket -= 1.0;
        }
        s->in_flight++;
        s->streams += t->stream;
    }
    out->requests.left -= out->requests.limit > 0;
}

void meter_charge(const struct meter_ticket *t, int64_t tokens, int64_t upload_bytes, int64_t micro,
                  int64_t wall_ms)
{
    if (!t->held || (tokens == 0 && upload_bytes == 0 && micro == 0)) {
        return;
    }
    for (int i = 0; i < METER_KINDS; i++) {
        struct meter_subject *s = t->who[i];
        if (s != NULL) {
            meter_roll(s, wall_ms);
            s->tokens += tokens;
            s->upload_bytes += upload_bytes;
            s->micro += micro;
            s->dirty = true;
        }
    }
}

int64_t meter_left(const struct meter *m, const struct meter_ticket *t, enum meter_limit which)
{
    int64_t least = INT64_MAX;
    for (int i = 0; t->held && i < METER_KINDS; i++) {
        const struct meter_subject *s = t->who[i];
        int64_t limit = s == NULL ? 0 : meter_limit_of(m, s, which);
        if (limit <= 0) {
            continue;
        }
        int64_t used = which == METER_BUDGET ? s->micro : s->tokens;
        int64_t left = used < limit ? limit - used : 0;
        least = left < least ? left : least;
    }
    return least;
}

void meter_leave(struct meter_ticket *t)
{
    for (int i = 0; t->held && i < METER_KINDS; i++) {
        struct meter_subject *s = t->who[i];
        if (s != NULL) {
            s->in_flight--;
            s->streams -= t->stream;
        }
    }
    *t = (struct meter_ticket){0};
}

const struct meter_subject *meter_warning(struct meter *m, const struct meter_ticket *t, bool once,
                                          int64_t wall_ms)
{
    for (int i = 0; t->held && i < METER_KINDS; i++) {
        struct meter_subject *s = t->who[i];
        int64_t budget = s == NULL ? 0 : meter_limit_of(m, s, METER_BUDGET);
        if (budget <= 0 || m->defaults.warn_percent <= 0) {
            continue;
        }
        meter_roll(s, wall_ms);
        /* a budget is below 10^15: no overflow */
        if (s->micro < budget / 100 * m->defaults.warn_percent +
                           budget % 100 * m->defaults.warn_percent / 100 ||
            (once && s->warned_month == s->month)) {
            continue;
        }
        if (once) {
            s->warned_month = s->month;
            s->dirty = true;
        }
        return s;
    }
    return NULL;
}
