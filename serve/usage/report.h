/* A month's report: who used what, what part of the whole that was, what stood idle and what to
 * change. Sums are of whole numbers and add up exactly: requests to keys, users, teams, models and
 * days, each of them to the total, and the total with storage to the cost.
 *
 * Blocks: reads the tenants' databases. On a lane, with copies of what the loop thread knows. */
#ifndef CARREL_SERVE_USAGE_REPORT_H
#define CARREL_SERVE_USAGE_REPORT_H

#include "base/buf.h"
#include "serve/usage/books.h"
#include "serve/usage/prices.h"

#define REPORT_ROWS_MAX ((size_t)20000) /* key and model; more is TOO_LARGE */
#define REPORT_TENANTS "*"

enum report_amount { /* BOOKS_AMOUNTS in their order, after the number of requests */
                     REPORT_REQUESTS,
                     REPORT_PROMPT,
                     REPORT_COMPLETION,
                     REPORT_EMBEDDING,
                     REPORT_CPU,
                     REPORT_GPU,
                     REPORT_UPLOAD,
                     REPORT_MICRO,
                     REPORT_EXTERNAL,
                     REPORT_GUESSED, /* of that */
                     REPORT_AMOUNTS
};
_Static_assert(REPORT_AMOUNTS == BOOKS_AMOUNTS + 1, "one for the requests");

struct report_name {
    char id[METER_NAME_CAP], name[METER_NAME_CAP];
};

struct report_ask {
    const char *home;
    char tenant[METER_NAME_CAP]; /* REPORT_TENANTS: all of them */
    bool appliance;              /* tells what stood idle, which needs the sums of all tenants */
    int64_t month, wall_ms;      /* meter.h; now */
    struct prices prices;
    const struct report_name *names; /* of users and keys; sorted by id */
    size_t n_names;
    const struct meter_subject *budgets; /* limits are those that count; some have a budget */
    size_t n_budgets;
    int64_t warn_percent;
    const char *local_model; /* generate.model; "" none */
    unsigned cores;
};

struct report_row {
    char tenant[METER_NAME_CAP], team[METER_NAME_CAP], user[METER_NAME_CAP], key[METER_NAME_CAP];
    char model[USAGE_MODEL_CAP];
    int64_t n[REPORT_AMOUNTS];
};

struct report_day {
    int64_t day;
    int64_t n[REPORT_AMOUNTS];
};

struct report_stored {
    char tenant[METER_NAME_CAP], collection[256];
    int64_t bytes, documents;              /* of the last sample of the month */
    int64_t micro;                         /* of all its days */
    int64_t found;                         /* requests that found something in it */
    int64_t read, read_cpu_us, read_micro; /* documents of it, in the month; in `rows` as well */
};

struct report {
    const struct report_ask *ask;
    struct report_row *rows;
    size_t n_rows, rows_cap;
    struct report_day days[31];
    size_t n_days;
    struct report_stored *stored;
    size_t n_stored, stored_cap;
    int64_t total[REPORT_AMOUNTS];
    int64_t stored_micro;
    int64_t all_cpu_us, all_gpu_us; /* of all tenants */
    int64_t from_ms, to_ms;         /* of the month, as far as it has come */
    int64_t since_ms;               /* from_ms, or later when this appliance is new */
    size_t tenants;
};

extern const char *const report_amounts[REPORT_AMOUNTS];

enum status report_read(const struct report_ask *ask, struct report *out,
                        struct error *err) MUST_CHECK;
void report_free(struct report *r);
/* report_write.c */
void report_json(const struct report *r, struct buf *out);
void report_csv(const struct report *r, struct buf *out);
/* report_advice.c: what to change, as members of an open JSON array. */
struct jsonw;
void report_advice(const struct report *r, struct jsonw *w);
/* The name of a user or key; the id where it has none any more. */
const char *report_name_of(const struct report_ask *a, const char *id);
/* "2026-11" */
void report_month_name(int64_t month, char out[16]);

#endif
