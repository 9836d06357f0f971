/* A slot is a tenant and a reason. It is taken by the first refusal, which is written at once; what
 * comes while its time runs is counted in it, and written when the time is over; a slot whose time
 * ran out with nothing counted is free. What finds no slot is counted in the last one. A record
 * that cannot be written stays counted. */
#include "serve/audit/refused.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/audit/record.h"
#include "base/clock.h"
#include "base/log.h"
#include "serve/api.h"
#include "serve/http/jsonw.h"
#include "serve/request.h"

#define SLOTS 256
#define SOURCES 8
#define TICK_MS 1000

struct source { /* who knocked; the texts are cut to their room */
    char from[64], user[64], name[128], route[96];
    const char *verb;
    int64_t times;
};

struct slot {
    char tenant[65];
    char code[48]; /* "": free */
    int status;
    int64_t since_ms;      /* the time that runs, monotonic */
    int64_t first_wall_ms; /* of those that are counted */
    int64_t times, others, writing;
    struct source sources[SOURCES];
    size_t n_sources;
};

struct refused {
    struct audit *audit;
    int64_t every_ms;
    uv_timer_t tick;
    bool closing, timer_closed;
    unsigned writing;
    void (*on_closed)(void *data);
    void *closed_data;
    struct slot slots[SLOTS];
};

struct write {
    struct refused *f;
    struct slot *slot;
    int64_t times;
};

static void over(struct refused *f)
{
    if (f->closing && f->timer_closed && f->writing == 0) {
        void (*closed)(void *) = f->on_closed;
        void *data = f->closed_data;
        free(f);
        closed(data);
    }
}

static void on_written(const struct error *err, void *data)
{
    struct write *w = data;
    struct refused *f = w->f;
    w->slot->writing -= w->times;
    if (err->code != STATUS_OK) { /* told again later; who it was is forgotten */
        w->slot->times += w->times;
        w->slot->others += w->times;
    }
    f->writing--;
    free(w);
    over(f);
}

static struct audit_item *item_of(const struct slot *s)
{
    struct audit_item *i = audit_item_new(s->tenant, "refused");
    struct jsonw w;
    if (i == NULL) {
        return NULL;
    }
    audit_field_z(&i->fields, "reason", s->code);
    audit_field_int(&i->fields, "status", s->status);
    audit_field_int(&i->fields, "times", s->times);
    audit_field_int(&i->fields, "since", s->first_wall_ms);
    jsonw_init(&w, &i->text);
    jsonw_open(&w, '{');
    jsonw_key(&w, "by");
    jsonw_open(&w, '[');
    for (size_t k = 0; k < s->n_sources; k++) {
        const struct source *o = &s->sources[k];
        char what[128];
        (void)snprintf(what, sizeof what, "%s %s", o->verb, o->route);
        jsonw_open(&w, '{');
        jsonw_field_z(&w, "from", o->from);
        if (o->user[0] != '\0') {
            jsonw_field_z(&w, "user", o->user);
            jsonw_field_z(&w, "name", o->name);
        }
        jsonw_field_z(&w, "what", what);
        jsonw_field_int(&w, "times", o->times);
        jsonw_close(&w, '}');
    }
    jsonw_close(&w, ']');
    if (s->others > 0) {
        jsonw_field_int(&w, "others", s->others);
    }
    jsonw_close(&w, '}');
    return i;
}

static void put(struct refused *f, struct slot *s)
{
    struct write *w = calloc(1, sizeof *w);
    struct audit_item *i = w == NULL ? NULL : item_of(s);
    if (i == NULL) {
        free(w);
        return; /* the tick tries again */
    }
    *w = (struct write){.f = f, .slot = s, .times = s->times};
    s->writing += s->times;
    s->times = s->others = 0;
    s->n_sources = 0;
    f->writing++;
    audit_put(f->audit, i, on_written, w);
}

static void on_tick(uv_timer_t *t)
{
    struct refused *f = t->data;
    int64_t now = clock_monotonic_ms();
    for (size_t i = 0; i < SLOTS; i++) {
        struct slot *s = &f->slots[i];
        if (s->code[0] == '\0' || now - s->since_ms < f->every_ms) {
            continue;
        }
        if (s->times > 0) {
            s->since_ms = now;
            put(f, s);
        } else if (s->writing == 0) {
            s->code[0] = '\0';
        }
    }
}

static struct slot *slot_of(struct refused *f, const char *tenant, int status, const char *code)
{
    struct slot *empty = NULL;
    for (size_t i = 0; i < SLOTS - 1; i++) {
        struct slot *s = &f->slots[i];
        if (s->code[0] == '\0') {
            empty = empty == NULL ? s : empty;
        } else if (s->status == status && strcmp(s->code, code) == 0 &&
                   strcmp(s->tenant, tenant) == 0) {
            return s;
        }
    }
    if (empty == NULL) { /* more tenants and reasons at once than are told apart */
        empty = &f->slots[SLOTS - 1];
        if (empty->code[0] != '\0') {
            return empty;
        }
        tenant = API_OPERATORS;
        code = "more";
    }
    *empty = (struct slot){.status = status};
    (void)snprintf(empty->code, sizeof empty->code, "%s", code);
    (void)snprintf(empty->tenant, sizeof empty->tenant, "%s", tenant);
    return empty;
}

static void add_source(struct slot *s, const struct request *q, const struct principal *who)
{
    struct source o = {.times = 1, .verb = "?"};
    (void)snprintf(o.from, sizeof o.from, "%s", q->http->peer);
    (void)snprintf(o.route, sizeof o.route, "%s", q->http->route == NULL ? "" : q->http->route);
    if (q->match.route != NULL) {
        o.verb = verb_name(q->match.route->verb);
    }
    if (who != NULL) {
        (void)snprintf(o.user, sizeof o.user, "%s", who->user);
        (void)snprintf(o.name, sizeof o.name, "%s", who->name);
    }
    for (size_t i = 0; i < s->n_sources; i++) {
        struct source *k = &s->sources[i];
        if (strcmp(k->from, o.from) == 0 && strcmp(k->user, o.user) == 0 &&
            strcmp(k->name, o.name) == 0 && strcmp(k->route, o.route) == 0) {
            k->times++;
            return;
        }
    }
    if (s->n_sources < SOURCES) {
        s->sources[s->n_sources++] = o;
    } else {
        s->others++;
    }
}

void refused_note(struct refused *f, const struct request *q, int status, const char *code)
{
    const struct principal *who = q->who != NULL ? q->who : q->refused;
    if (f == NULL || f->closing) {
        return;
    }
    struct slot *s = slot_of(f, who == NULL ? API_OPERATORS : who->tenant, status,
                             code == NULL ? "refused" : code);
    if (s->times == 0) {
        s->first_wall_ms = clock_wall_ms();
    }
    s->times++;
    add_source(s, q, who);
    if (s->since_ms == 0) {
        s->since_ms = clock_monotonic_ms();
        put(f, s);
    }
}

static void on_timer_closed(uv_handle_t *h)
{
    struct refused *f = h->data;
    f->timer_closed = true;
    over(f);
}

void refused_close(struct refused *f, void (*on_closed)(void *data), void *data)
{
    f->on_closed = on_closed;
    f->closed_data = data;
    f->closing = true;
    for (size_t i = 0; i < SLOTS; i++) {
        if (f->slots[i].times > 0) {
            put(f, &f->slots[i]);
        }
    }
    uv_close((uv_handle_t *)&f->tick, on_timer_closed);
}

enum status refused_open(uv_loop_t *loop, struct audit *audit, int64_t every_ms,
                         struct refused **out, struct error *err)
{
    struct refused *f = calloc(1, sizeof *f);
    if (f == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    f->audit = audit;
    f->every_ms = every_ms;
    (void)uv_timer_init(loop, &f->tick);
    f->tick.data = f;
    (void)uv_timer_start(&f->tick, on_tick, TICK_MS, TICK_MS);
    *out = f;
    return STATUS_OK;
}
