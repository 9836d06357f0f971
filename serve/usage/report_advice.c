/* What to change: plain rules over a month's report, each with the numbers that it goes by. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/money.h"
#include "serve/http/jsonw.h"
#include "serve/usage/report.h"

#define TEXT_CAP 500
#define GB 1e9
#define IDLE_DAYS 7       /* before that nothing is said of capacity */
#define HARDLY_USED 10    /* answers of a model in a month */
#define STORED_LEAST GB   /* bytes that nobody finds anything in */
#define NO_TEAM_SHARE 0.2 /* of the cost */

struct telling {
    struct jsonw *w;
    const struct report *r;
};

static void tell(const struct telling *t, const char *rule, const char *text)
{
    jsonw_open(t->w, '{');
    jsonw_field_z(t->w, "rule", rule);
    jsonw_field_z(t->w, "text", text);
    jsonw_close(t->w, '}');
}

struct amount {
    char text[MONEY_CAP];
};

static struct amount money(int64_t micro)
{
    struct amount a;
    money_text(a.text, micro);
    return a;
}

static double days_so_far(const struct report *r)
{
    return (double)(r->to_ms - r->from_ms) / (double)METER_DAY_MS;
}

/* Of them, those that this appliance has been there. */
static double days_there(const struct report *r)
{
    return (double)(r->to_ms - r->since_ms) / (double)METER_DAY_MS;
}

static const char *kind_text(enum meter_kind k)
{
    static const char *const names[METER_KINDS] = {"The key", "The user", "The team", "The tenant"};
    return names[k];
}

static bool asked_for(const struct report *r, const char *tenant)
{
    return strcmp(r->ask->tenant, REPORT_TENANTS) == 0 || strcmp(r->ask->tenant, tenant) == 0;
}

/* Budgets are of the month that runs. */
static void budgets(const struct telling *t)
{
    const struct report *r = t->r;
    bool running = meter_month(r->ask->wall_ms) == r->ask->month;
    double days = days_so_far(r);
    for (size_t i = 0; running && i < r->ask->n_budgets; i++) {
        const struct meter_subject *b = &r->ask->budgets[i];
        int64_t budget = b->limits[METER_BUDGET];
        char text[TEXT_CAP];
        if (budget <= 0 || !asked_for(r, b->tenant) || b->micro == 0) {
            continue;
        }
        double share = (double)b->micro / (double)budget;
        const char *name = b->kind == METER_TENANT ? b->tenant
                           : b->kind == METER_TEAM ? b->name
                                                   : report_name_of(r->ask, b->name);
        double whole = days > 0 ? days / share : 0; /* days that it lasts at this rate */
        if (share >= 1) {
            (void)snprintf(text, sizeof text,
                           "%s %s has used up its budget of %s %s: nothing that costs is done for "
                           "it until the month ends. Raise it, or look at what it was used for.",
                           kind_text(b->kind), name, money(budget).text, r->ask->prices.currency);
            tell(t, "budget_over", text);
        } else if (share * 100 >= (double)r->ask->warn_percent) {
            (void)snprintf(text, sizeof text,
                           "%s %s has used %.0f %% of its budget of %s %s after %.1f of %zu days; "
                           "at this rate it lasts %.1f days.",
                           kind_text(b->kind), name, share * 100, money(budget).text,
                           r->ask->prices.currency, days, r->n_days, whole);
            tell(t, "budget_near", text);
        } else if (days >= 3 && whole < (double)r->n_days) {
            (void)snprintf(text, sizeof text,
                           "%s %s has used %.0f %% of its budget of %s %s after %.1f of %zu days, "
                           "and at this rate will have used it up on day %.0f.",
                           kind_text(b->kind), name, share * 100, money(budget).text,
                           r->ask->prices.currency, days, r->n_days, whole);
            tell(t, "budget_pace", text);
        }
    }
}

static void local_model(const struct telling *t)
{
    const struct report *r = t->r;
    int64_t answers = 0;
    char text[TEXT_CAP];
    if (!r->ask->appliance || r->ask->local_model[0] == '\0' ||
        strcmp(r->ask->tenant, REPORT_TENANTS) != 0 || days_there(r) < IDLE_DAYS) {
        return;
    }
    for (size_t i = 0; i < r->n_rows; i++) {
        answers +=
            strcmp(r->rows[i].model, r->ask->local_model) == 0 ? r->rows[i].n[REPORT_REQUESTS] : 0;
    }
    if (answers < HARDLY_USED) {
        (void)snprintf(text, sizeof text,
                       "The model %s is loaded and wrote %" PRId64
                       " answers in %.0f days: without it "
                       "(generate.model) its memory is free for something else.",
                       r->ask->local_model, answers, days_so_far(r));
        tell(t, "model_idle", text);
    }
}

static void external(const struct telling *t)
{
    const struct report *r = t->r;
    int64_t all = r->total[REPORT_MICRO] + r->stored_micro;
    char text[TEXT_CAP];
    if (r->total[REPORT_EXTERNAL] > 0 && r->total[REPORT_EXTERNAL] * 2 > all) {
        (void)snprintf(text, sizeof text,
                       "%s of %s %s (%.0f %%) went to the model elsewhere: a model of this "
                       "machine for some of these questions costs processor time only.",
                       money(r->total[REPORT_EXTERNAL]).text, money(all).text,
                       r->ask->prices.currency,
                       100.0 * (double)r->total[REPORT_EXTERNAL] / (double)all);
        tell(t, "external", text);
    }
}

static void no_team(const struct telling *t)
{
    const struct report *r = t->r;
    int64_t cost = 0;
    int64_t requests = 0;
    int64_t folders = 0; /* documents that nobody uploaded: no key could have a team */
    char text[TEXT_CAP];
    for (size_t i = 0; i < r->n_rows; i++) {
        bool nobodys = strcmp(r->rows[i].model, BOOKS_DOCUMENTS) == 0 && r->rows[i].user[0] == '\0';
        folders += nobodys ? r->rows[i].n[REPORT_MICRO] : 0;
        if (r->rows[i].team[0] == '\0' && !nobodys) {
            cost += r->rows[i].n[REPORT_MICRO];
            requests += r->rows[i].n[REPORT_REQUESTS];
        }
    }
    bool priced = r->total[REPORT_MICRO] > 0;
    double part = priced ? (double)cost : (double)requests;
    double whole = (double)(priced ? r->total[REPORT_MICRO] - folders : r->total[REPORT_REQUESTS]);
    if (requests > 0 && part >= NO_TEAM_SHARE * whole) {
        (void)snprintf(
            text, sizeof text,
            "%.0f %% of the %s (%" PRId64 " request%s) belongs to no team: give those keys "
            "a team (carrel limits set key ID team=NAME) or a group.",
            100.0 * part / whole, priced ? "cost" : "requests", requests, requests == 1 ? "" : "s");
        tell(t, "no_team", text);
    }
}

static void storage(const struct telling *t)
{
    const struct report *r = t->r;
    char text[TEXT_CAP];
    for (size_t i = 0; days_there(r) >= IDLE_DAYS && i < r->n_stored; i++) {
        const struct report_stored *s = &r->stored[i];
        if (s->found > 0 || (double)s->bytes < STORED_LEAST) {
            continue;
        }
        (void)snprintf(text, sizeof text,
                       "Nobody found anything in %.60s this month: %" PRId64
                       " documents of %.1f GB "
                       "that cost %s %s.",
                       s->collection[0] == '\0' ? "the top folder" : s->collection, s->documents,
                       (double)s->bytes / GB, money(s->micro).text, r->ask->prices.currency);
        tell(t, "storage_unused", text);
    }
}

static void capacity(const struct telling *t)
{
    const struct report *r = t->r;
    double us = (double)(r->to_ms - r->since_ms) * 1000 * r->ask->cores;
    double idle = us > 0 ? 1 - (double)r->all_cpu_us / us : 0;
    char text[TEXT_CAP];
    if (!r->ask->appliance || days_there(r) < IDLE_DAYS) {
        return;
    }
    if (idle > 0.95) {
        (void)snprintf(
            text, sizeof text,
            "The %u cores of this machine did nothing for requests and documents for "
            "%.1f %% of the time: it is larger than this use needs, or more people could use it.",
            r->ask->cores, idle * 100);
        tell(t, "cpu_idle", text);
    } else if (idle < 0.3) {
        (void)snprintf(text, sizeof text,
                       "Requests and documents kept the %u cores busy for %.0f %% of the time: "
                       "expect waiting at busy "
                       "hours; a smaller model, a GPU or more cores help.",
                       r->ask->cores, (1 - idle) * 100);
        tell(t, "cpu_busy", text);
    }
}

void report_advice(const struct report *r, struct jsonw *w)
{
    struct telling t = {w, r};
    budgets(&t);
    local_model(&t);
    external(&t);
    no_team(&t);
    storage(&t);
    capacity(&t);
}
