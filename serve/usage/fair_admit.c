/* May a request go on, and the headers and refusals that tell its client. Names and forms of the
 * headers are OpenAI's; what clients do with them is in docs/decisions/fair-use.md. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/money.h"
#include "serve/request.h"
#include "serve/service.h"
#include "serve/usage/fair_internal.h"

#define TEXT_CAP 400

const char *fair_key(const struct request *q)
{
    return q->who->key[0] == '\0' ? q->who->user : q->who->key; /* signed in: no key */
}

void fair_money(char out[FAIR_MONEY_CAP], int64_t micro, const char *currency)
{
    char amount[MONEY_CAP];
    money_text(amount, micro);
    (void)snprintf(out, FAIR_MONEY_CAP, "%s %s", amount, currency);
}

/* "250ms", "1s", "1.5s", "6m0s", "23h4m10s": as OpenAI writes them. */
static void duration(char out[32], int64_t ms)
{
    int64_t s = (ms + 999) / 1000;
    if (ms < 1000) {
        (void)snprintf(out, 32, "%dms", (int)(ms < 0 ? 0 : ms));
    } else if (ms < 60000 && ms % 1000 < 100) {
        (void)snprintf(out, 32, "%ds", (int)(ms / 1000));
    } else if (ms < 60000) {
        (void)snprintf(out, 32, "%d.%ds", (int)(ms / 1000), (int)(ms % 1000 / 100));
    } else if (s < 3600) {
        (void)snprintf(out, 32, "%dm%ds", (int)(s / 60), (int)(s % 60));
    } else {
        (void)snprintf(out, 32, "%" PRId64 "h%dm%ds", s / 3600, (int)(s / 60 % 60), (int)(s % 60));
    }
}

static void number_header(struct http_request *r, const char *name, int64_t n)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%" PRId64, n);
    http_header(r, name, text);
}

static void room_headers(struct http_request *r, const struct meter_room *room,
                         const char *const names[3])
{
    char text[32];
    if (room->limit > 0) {
        number_header(r, names[0], room->limit);
        number_header(r, names[1], room->left);
        duration(text, room->reset_ms);
        http_header(r, names[2], text);
    }
}

static void headers(struct request *q, const struct meter_decision *d)
{
    static const char *const requests[3] = {"x-ratelimit-limit-requests",
                                            "x-ratelimit-remaining-requests",
                                            "x-ratelimit-reset-requests"};
    static const char *const tokens[3] = {
        "x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"};
    room_headers(q->http, &d->requests, requests);
    room_headers(q->http, &d->tokens, tokens);
}

/* "This key", "The team \"law\"", ... */
static void whose(char out[128], const struct meter_subject *s)
{
    static const char *const names[METER_KINDS] = {"This key", "This user", "The team",
                                                   "This tenant"};
    if (s == NULL) {
        (void)snprintf(out, 128, "This appliance");
    } else if (s->kind == METER_TEAM) {
        (void)snprintf(out, 128, "The team \"%s\"", s->name);
    } else {
        (void)snprintf(out, 128, "%s", names[s->kind]);
    }
}

static void refusal_text(struct request *q, const struct meter_decision *d, char out[TEXT_CAP])
{
    char who[128];
    char money[FAIR_MONEY_CAP];
    whose(who, d->by);
    switch (d->verdict) {
    case METER_NO_REQUESTS:
        (void)snprintf(out, TEXT_CAP,
                       "%s has made its %" PRId64 " requests for this minute: try again shortly.",
                       who, d->limit);
        return;
    case METER_NO_TOKENS:
        (void)snprintf(out, TEXT_CAP,
                       "%s has used its %" PRId64 " tokens of today. They come back at 00:00 UTC; "
                       "an administrator can raise the limit (carrel limits).",
                       who, d->limit);
        return;
    case METER_NO_STREAMS:
        (void)snprintf(out, TEXT_CAP,
                       "%" PRId64 " answers are being written for %c%s, which is as many as it may "
                       "have at once: try again when one has ended.",
                       d->limit, who[0] == 'T' ? 't' : who[0], who + 1);
        return;
    case METER_NO_UPLOAD:
        (void)snprintf(out, TEXT_CAP,
                       "%s would upload more than its %" PRId64
                       " bytes of today. They come back at "
                       "00:00 UTC; an administrator can raise the limit (carrel limits).",
                       who, d->limit);
        return;
    case METER_NO_BUDGET:
        fair_money(money, d->limit, fair_prices(q->serve->fair)->currency);
        (void)snprintf(out, TEXT_CAP,
                       "%s has used up its budget of %s for this month. Searching and reading go "
                       "on; an administrator can raise the budget (carrel limits).",
                       who, money);
        return;
    case METER_NO_SHARE:
        (void)snprintf(out, TEXT_CAP,
                       "%s has %" PRId64 " requests at work, which is its part of this appliance: "
                       "try again when one has ended.",
                       who, d->limit);
        return;
    case METER_OK:
    case METER_FULL:
    case METER_NO_MEMORY:
        break;
    }
    (void)snprintf(out, TEXT_CAP, "More keys and users ask than can be counted: try again later.");
}

/* What passes within a minute is worth another try; clients are told not to make one otherwise:
 * x-should-retry is read by the official ones, insufficient_quota by LangChain, 402 by nobody who
 * would retry it. */
static void refuse(struct request *q, const struct meter_decision *d)
{
    char text[TEXT_CAP];
    int64_t retry_s = (d->retry_ms + 999) / 1000;
    bool budget = d->verdict == METER_NO_BUDGET;
    bool soon = retry_s <= 60;
    refusal_text(q, d, text);
    number_header(q->http, "Retry-After", retry_s < 1 ? 1 : retry_s);
    if (!soon) {
        http_header(q->http, "x-should-retry", "false");
    }
    if (d->verdict == METER_FULL || d->verdict == METER_NO_MEMORY) {
        api_error(q, 503, NULL, "busy", text);
    } else {
        api_note_refusal(q, budget ? 402 : 429,
                         soon ? "rate_limit_exceeded" : "insufficient_quota");
        http_respond_error(q->http, budget ? 402 : 429,
                           budget ? "insufficient_quota" : "rate_limit_error", NULL,
                           soon ? "rate_limit_exceeded" : "insufficient_quota", text);
    }
}

static void warn_header(struct request *q, int64_t wall_ms)
{
    struct fair *f = q->serve->fair;
    const struct meter_subject *s = meter_warning(fair_meter(f), &q->use.ticket, false, wall_ms);
    char who[128];
    char used[FAIR_MONEY_CAP];
    char of[FAIR_MONEY_CAP];
    char text[TEXT_CAP];
    if (s == NULL) {
        return;
    }
    whose(who, s);
    fair_money(used, s->micro, fair_prices(f)->currency);
    fair_money(of, meter_limit_of(fair_meter(f), s, METER_BUDGET), fair_prices(f)->currency);
    (void)snprintf(text, sizeof text, "%s has used %s of %s this month", who, used, of);
    http_header(q->http, "x-carrel-budget-warning", text);
}

/* What passes by itself while a job waits; what comes back tomorrow, or costs, does not. */
static bool passes(const struct meter_decision *d)
{
    return d->verdict == METER_NO_REQUESTS || d->verdict == METER_NO_STREAMS ||
           d->verdict == METER_NO_SHARE;
}

/* wait_ms NULL: whoever asks is told, and does not wait. */
static bool admit(struct request *q, int64_t *wait_ms)
{
    struct fair *f = q->serve->fair;
    const struct http_head *head = q->http->head;
    struct meter_who who = {
        .tenant = q->who->tenant,
        .user = q->who->user,
        .key = fair_key(q),
        .team = q->who->n_groups > 0 ? q->who->groups[0] : "",
        .body_bytes = head->has_length && head->length < INT64_MAX / 2 ? (int64_t)head->length : 0,
    };
    struct meter_decision d;
    int64_t wall_ms = clock_wall_ms();
    q->use.uses = fair_uses(q->match.route->pattern, head->verb == VERB_POST);
    meter_enter(fair_meter(f), &who, q->use.uses, clock_monotonic_ms(), wall_ms, &q->use.ticket,
                &d);
    if (wait_ms != NULL && passes(&d)) {
        *wait_ms = d.retry_ms < 1000 ? 1000 : d.retry_ms;
        return false;
    }
    headers(q, &d);
    if (d.verdict != METER_OK) {
        fair_note_refusal(f, d.verdict);
        refuse(q, &d);
        return false;
    }
    const struct meter_subject *team = q->use.ticket.who[METER_TEAM];
    (void)snprintf(q->use.team, sizeof q->use.team, "%s", team == NULL ? "" : team->name);
    warn_header(q, wall_ms);
    return true;
}

bool fair_admit(struct request *q)
{
    return admit(q, NULL);
}

bool fair_admit_later(struct request *q, int64_t *wait_ms)
{
    *wait_ms = 0;
    return admit(q, wait_ms);
}
