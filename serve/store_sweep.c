/* A round: the tenants that there are, one after another; of each the rows of files in expired
 * stores, some at a time:
 *
 *   ingest: is its document still here, and by the attaching?  no -> only the row goes
 *   lane:   has the store's time not been set anew meanwhile?
 *   audit:  "act" is durable -> ingest: to the trash -> lane: the row goes -> audit: "close"
 *
 * A kill at any point leaves a row, which the next round finds again. */
#include "serve/store_sweep.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/audit/record.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/service.h"
#include "ingest/ingest_rpc.h"
#include "serve/answers.h"
#include "serve/api_vector_stores.h"
#include "serve/audit/audit.h"
#include "serve/auth.h"
#include "serve/files.h"
#include "serve/http/jsonw.h"
#include "serve/search_request.h"

#define FIRST_MS 4000
#define EVERY_MS 3600000
#define ROWS_AT_ONCE 256 /* of a tenant */
#define TIMES 8          /* a tenant, in a round */
#define ARENA_MAX ((size_t)16 << 20)
/* A document that was there so long before it was attached came by the folder. The disk's clock and
 * ours differ by a little. */
#define BEFORE_MS 10000

struct store_sweep {
    struct service *svc;
    const struct auth *auth;
    struct answers *answers;
    struct audit *audit;
    uv_timer_t timer;
    char (*tenants)[65]; /* of this round */
    size_t n, at;
    unsigned times; /* the tenant was looked at in this round */
    /* of the tenant */
    struct arena arena;
    struct attached_file *rows;
    size_t n_rows, row, removed;
    /* of the row */
    char call[ID_CAP];
    bool opened; /* its "act" is durable, its "close" not asked for */
    int64_t started_ms;
    bool here, ours, still;
    struct error said; /* ingest's */
    struct rpc_request *rpc;
    bool pending; /* on a lane, or with the audit */
    bool stopped, timer_closed;
    void (*closed)(void *data);
    void *data;
};

static void next_tenant(struct store_sweep *s);
static void next_row(struct store_sweep *s);

static void maybe_closed(struct store_sweep *s)
{
    if (!s->timer_closed || s->pending) {
        return;
    }
    void (*closed)(void *) = s->closed;
    void *data = s->data;
    arena_reset(&s->arena);
    free(s->tenants);
    free(s);
    closed(data);
}

/* false: it is to end. */
static bool back(struct store_sweep *s)
{
    bool stopped = s->stopped;
    s->pending = false;
    if (stopped) {
        maybe_closed(s); /* s may be gone */
    }
    return !stopped;
}

static void give_up(struct store_sweep *s, const struct error *err)
{
    LOG_WARN("what expired vector stores hold could not be taken out",
             LOG_STR("tenant", s->tenants[s->at]), LOG_STR("err", err->text), LOG_END);
    s->at++;
    s->times = 0;
    next_tenant(s);
}

static void on_lane(struct store_sweep *s, answers_work_fn work, answers_done_fn done)
{
    s->pending = true;
    answers_run(s->answers, s->tenants[s->at], work, done, s);
}

static bool end_act(struct store_sweep *s, const char *outcome);

static void ask_ingest(struct store_sweep *s, const struct rpc_method *method,
                       const ProtobufCMessage *ask, const struct rpc_callbacks *callbacks)
{
    struct rpc_client *client = service_client(s->svc, PEER_INGEST);
    struct rpc_options o = {.tenant = s->tenants[s->at], .priority = 1, .wait_for_ready = true};
    s->rpc = client == NULL ? NULL : rpc_client_start(client, method, &o, ask, callbacks, s);
    if (s->rpc == NULL) {
        struct error err;
        (void)error_set(&err, STATUS_UNAVAILABLE, "ingest cannot be asked");
        s->said = err;
        if (!s->opened || !end_act(s, "failed")) {
            give_up(s, &err);
        }
    }
}

/* ---- the row goes ---- */

static enum status drop_row(sqlite3 *db, void *data, struct error *err)
{
    const struct store_sweep *s = data;
    const struct attached_file *f = &s->rows[s->row];
    return attached_remove(db, f->collection, f->file, err);
}

/* The document stays, with what people said of it: it is nobody's file any more. */
static enum status keep_row(sqlite3 *db, void *data, struct error *err)
{
    const struct store_sweep *s = data;
    struct attached_file own = s->rows[s->row];
    enum status st = drop_row(db, data, err);
    own.file = own.document;
    own.batch = "";
    return st == STATUS_OK ? attached_put(db, &own, err) : st;
}

static void on_row_gone(const struct error *err, struct buf *json, void *data)
{
    struct store_sweep *s = data;
    (void)json;
    if (!back(s)) {
        return;
    }
    if (err->code != STATUS_OK) {
        give_up(s, err);
        return;
    }
    s->row++;
    next_row(s);
}

/* ---- removal ---- */

static void on_told(const struct error *err, void *data)
{
    struct store_sweep *s = data;
    (void)err; /* then the record says that it was interrupted */
    if (!back(s)) {
        return;
    }
    if (s->said.code == STATUS_OK || s->said.code == STATUS_NOT_FOUND) {
        s->removed++;
        on_lane(s, drop_row, on_row_gone);
    } else {
        LOG_WARN("a document of an expired vector store could not be taken out",
                 LOG_STR("tenant", s->tenants[s->at]),
                 LOG_STR("document", s->rows[s->row].document), LOG_STR("err", s->said.text),
                 LOG_END);
        s->row++;
        next_row(s);
    }
}

/* false: out of memory */
static bool end_act(struct store_sweep *s, const char *outcome)
{
    struct audit_item *i = audit_item_new(s->tenants[s->at], "close");
    s->opened = false;
    if (i == NULL) {
        return false;
    }
    audit_field_z(&i->fields, "call", s->call);
    audit_field_z(&i->fields, "outcome", outcome);
    audit_field_int(&i->fields, "ms", clock_monotonic_ms() - s->started_ms);
    s->pending = true;
    audit_put(s->audit, i, on_told, s);
    return true;
}

static void on_deleted(struct rpc_request *r, const struct error *err, void *data)
{
    struct store_sweep *s = data;
    (void)r;
    s->rpc = NULL;
    s->said = *err;
    if (!end_act(s, err->code == STATUS_OK ? "done" : "failed")) {
        struct error e;
        (void)error_set(&e, STATUS_NO_MEMORY, "out of memory");
        give_up(s, &e);
    }
}

static void on_recorded(const struct error *err, void *data)
{
    static const struct rpc_callbacks callbacks = {.on_finish = on_deleted};
    struct store_sweep *s = data;
    s->opened = err->code == STATUS_OK;
    if (s->stopped && s->opened && end_act(s, "cancelled")) {
        return;
    }
    if (!back(s)) {
        return;
    }
    if (err->code != STATUS_OK) { /* nothing is done that is not in the audit */
        give_up(s, err);
        return;
    }
    Ig__DeleteRequest ask = IG__DELETE_REQUEST__INIT;
    ask.document = pb_text(s->rows[s->row].document);
    ask_ingest(s, &ig_delete_method, &ask.base, &callbacks);
}

static void record(struct store_sweep *s)
{
    const struct attached_file *f = &s->rows[s->row];
    struct audit_item *i = audit_item_new(s->tenants[s->at], "act");
    char store[VECTOR_STORE_ID_CAP];
    struct jsonw w;
    if (i == NULL) {
        struct error err;
        (void)error_set(&err, STATUS_NO_MEMORY, "out of memory");
        give_up(s, &err);
        return;
    }
    id_new(s->call);
    s->started_ms = clock_monotonic_ms();
    audit_field_z(&i->fields, "call", s->call);
    audit_field_z(&i->fields, "what", "a vector store expired");
    audit_field_z(&i->fields, "act", "document.delete");
    vector_store_id(str_from(f->collection), store);
    jsonw_init(&w, &i->text);
    jsonw_open(&w, '{');
    jsonw_field_z(&w, "by", "appliance");
    jsonw_field_z(&w, "vector_store", store);
    jsonw_field_z(&w, "collection", f->collection);
    jsonw_field_z(&w, "document", f->document);
    jsonw_field_z(&w, "file", f->file);
    jsonw_close(&w, '}');
    buf_append(&i->documents, f->document, strlen(f->document) + 1);
    i->n_documents = 1;
    s->pending = true;
    audit_put(s->audit, i, on_recorded, s);
}

/* ---- is it to go? ---- */

static enum status look_again(sqlite3 *db, void *data, struct error *err)
{
    struct store_sweep *s = data;
    const struct attached_file *f = &s->rows[s->row];
    struct store_row row;
    struct attached_file now;
    bool found = false, attached = false;
    enum status st = stores_get(db, f->collection, &s->arena, &row, &found, err);
    st = st == STATUS_OK ? attached_get(db, f->collection, f->file, &s->arena, &now, &attached, err)
                         : st;
    s->still = st == STATUS_OK && found && store_expired(&row, clock_wall_ms()) && attached &&
               strcmp(now.document, f->document) == 0;
    return st;
}

static void on_looked(const struct error *err, struct buf *json, void *data)
{
    struct store_sweep *s = data;
    (void)json;
    if (!back(s)) {
        return;
    }
    if (err->code != STATUS_OK) {
        give_up(s, err);
    } else if (s->still) {
        record(s);
    } else {
        s->row++;
        next_row(s);
    }
}

static void on_state(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    struct store_sweep *s = data;
    const struct attached_file *f = &s->rows[s->row];
    const Ig__GetReply *reply = ig_get_reply(m);
    (void)r;
    s->here = reply != NULL && strcmp(reply->document->collection, f->collection) == 0;
    s->ours = s->here && reply->document->modified_wall_ms > f->created_wall_ms - BEFORE_MS;
}

static void on_got(struct rpc_request *r, const struct error *err, void *data)
{
    struct store_sweep *s = data;
    (void)r;
    s->rpc = NULL;
    if (err->code != STATUS_OK && err->code != STATUS_NOT_FOUND) {
        give_up(s, err);
    } else if (s->ours) {
        on_lane(s, look_again, on_looked);
    } else {
        on_lane(s, s->here ? keep_row : drop_row, on_row_gone);
    }
}

static void next_row(struct store_sweep *s)
{
    static const struct rpc_callbacks callbacks = {.on_reply = on_state, .on_finish = on_got};
    if (s->row < s->n_rows) {
        Ig__GetRequest ask = IG__GET_REQUEST__INIT;
        ask.document = pb_text(s->rows[s->row].document);
        s->here = s->ours = false;
        ask_ingest(s, &ig_get_method, &ask.base, &callbacks);
        return;
    }
    if (s->removed > 0) {
        LOG_INFO("documents of expired vector stores went to the trash",
                 LOG_STR("tenant", s->tenants[s->at]), LOG_INT("documents", (int64_t)s->removed),
                 LOG_END);
    }
    bool more = s->n_rows == ROWS_AT_ONCE && s->removed > 0 && ++s->times < TIMES;
    if (!more) {
        s->at++;
        s->times = 0;
    }
    next_tenant(s);
}

/* ---- the tenants ---- */

static enum status find_rows(sqlite3 *db, void *data, struct error *err)
{
    struct store_sweep *s = data;
    return attached_expired(db, clock_wall_ms(), ROWS_AT_ONCE, &s->arena, &s->rows, &s->n_rows,
                            err);
}

static void on_found(const struct error *err, struct buf *json, void *data)
{
    struct store_sweep *s = data;
    (void)json;
    if (!back(s)) {
        return;
    }
    if (err->code != STATUS_OK) {
        give_up(s, err);
        return;
    }
    next_row(s);
}

static void next_tenant(struct store_sweep *s)
{
    arena_reset(&s->arena);
    s->rows = NULL;
    s->n_rows = s->row = s->removed = 0;
    if (s->at >= s->n) {
        free(s->tenants);
        s->tenants = NULL;
        s->n = s->at = 0;
        return;
    }
    on_lane(s, find_rows, on_found);
}

static void on_timer(uv_timer_t *t)
{
    struct store_sweep *s = t->data;
    if (s->tenants != NULL) {
        return; /* the round before still goes on */
    }
    s->tenants = auth_tenants(s->auth, &s->n);
    s->at = 0;
    s->times = 0;
    next_tenant(s);
}

enum status store_sweep_start(struct service *svc, const struct auth *auth, struct answers *answers,
                              struct audit *audit, struct store_sweep **out, struct error *err)
{
    struct store_sweep *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    *s = (struct store_sweep){.svc = svc, .auth = auth, .answers = answers, .audit = audit};
    arena_init(&s->arena, ARENA_MAX);
    s->timer.data = s;
    (void)uv_timer_init(svc->loop, &s->timer);
    (void)uv_timer_start(&s->timer, on_timer, FIRST_MS, EVERY_MS);
    *out = s;
    return STATUS_OK;
}

static void on_timer_closed(uv_handle_t *h)
{
    struct store_sweep *s = h->data;
    s->timer_closed = true;
    maybe_closed(s);
}

void store_sweep_stop(struct store_sweep *s, void (*closed)(void *data), void *data)
{
    if (s == NULL) {
        closed(data);
        return;
    }
    s->stopped = true;
    s->closed = closed;
    s->data = data;
    if (s->rpc != NULL) {
        rpc_request_cancel(s->rpc);
        s->rpc = NULL;
    }
    if (s->opened) { /* ingest may have done it or not */
        (void)end_act(s, "cancelled");
    }
    uv_close((uv_handle_t *)&s->timer, on_timer_closed);
}
