/* Which vector stores there are and how many files each has.
 *
 * Rows (tenant_run) -> what the caller may read of each collection, counted by the store -> what
 * is not ready, from ingest's list, for administrators -> sizes, where there is not too much to
 * count -> rows for collections that came by the watched folder (tenant_run). */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "serve/api_vector_stores.h"
#include "serve/search_request.h"
#include "serve/tenant_run.h"

#define FACETS_MAX 256
#define SIZES_MAX 50000 /* documents, where all stores are listed; one is always counted */
#define DAY_MS INT64_C(86400000)

static void next_step(struct request *q);

static struct store_entry *entry_of(struct stores *s, const char *collection)
{
    for (size_t i = 0; i < s->n; i++) {
        if (strcmp(s->entries[i].row.collection, collection) == 0) {
            return &s->entries[i];
        }
    }
    if (s->n == s->cap) {
        size_t cap = s->cap == 0 ? 64 : 2 * s->cap;
        struct store_entry *grown = arena_array(s->q->arena, cap, sizeof *grown);
        if (grown == NULL) {
            s->failed = true;
            return NULL;
        }
        if (s->n > 0) {
            memcpy(grown, s->entries, s->n * sizeof *grown);
        }
        s->entries = grown;
        s->cap = cap;
    }
    struct store_entry *e = &s->entries[s->n];
    *e = (struct store_entry){
        .row = {.collection = arena_strdup(s->q->arena, collection), .user = "", .metadata = "{}"}};
    e->row.name = e->row.collection;
    s->failed = s->failed || e->row.collection == NULL;
    s->n += !s->failed;
    return s->failed ? NULL : e;
}

static enum status read_rows(sqlite3 *db, void *data, struct error *err)
{
    struct stores *s = data;
    bool found = false;
    if (s->collection == NULL) {
        return stores_all(db, s->q->arena, &s->rows, &s->n_rows, err);
    }
    enum status st = stores_get(db, s->collection, s->q->arena, &s->row, &found, err);
    s->rows = &s->row;
    s->n_rows = found;
    return st;
}

static void on_rows(struct request *q, const struct error *err)
{
    struct stores *s = q->op;
    if (err->code != STATUS_OK) {
        api_fail(q, err);
        return;
    }
    for (size_t i = 0; i < s->n_rows; i++) {
        bool told = !auth_held_out(q->who, s->rows[i].collection);
        struct store_entry *e = told ? entry_of(s, s->rows[i].collection) : NULL;
        if (e != NULL) {
            e->row = s->rows[i];
            e->has_row = true;
        }
    }
    next_step(q);
}

static void on_facets(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    struct stores *s = q->op;
    const Vs__FacetsReply *r = vs_facets_reply(m);
    if (r == NULL) {
        api_fail(q, err);
        return;
    }
    for (size_t i = 0; i < r->n_collections; i++) {
        const char *name = r->collections[i]->value;
        struct store_entry *e = name[0] == '\0' || strlen(name) > 255 ? NULL : entry_of(s, name);
        if (e != NULL) {
            e->completed = r->collections[i]->documents;
        }
    }
    next_step(q);
}

static void on_states(struct request *q, const ProtobufCMessage *m)
{
    struct stores *s = q->op;
    const Ig__ListReply *r = ig_list_reply(m);
    for (size_t i = 0; r != NULL && i < r->n_documents; i++) {
        const Ig__DocumentState *d = r->documents[i];
        struct store_entry *e = d->collection[0] == '\0' ? NULL : entry_of(s, d->collection);
        if (e != NULL) {
            e->failed += strcmp(d->state, "failed") == 0;
            e->in_progress += strcmp(d->state, "failed") != 0;
        }
    }
}

static void on_states_end(struct request *q, const struct error *err)
{
    if (err->code != STATUS_OK && err->code != STATUS_UNAVAILABLE) { /* then what is ready counts */
        api_fail(q, err);
        return;
    }
    next_step(q);
}

static void ask_states(struct request *q, const char *state)
{
    const struct stores *s = q->op;
    Ig__ListRequest ask = IG__LIST_REQUEST__INIT;
    struct api_call how = {.on_reply = on_states, .on_finish = on_states_end};
    char *collection = pb_text(s->collection);
    ask.collections = &collection;
    ask.n_collections = s->collection != NULL;
    ask.state = pb_text(state);
    (void)api_start(q, PEER_INGEST, &ig_list_method, 0, &ask.base, &how);
}

static void on_sizes(struct request *q, const ProtobufCMessage *m)
{
    struct stores *s = q->op;
    const Vs__ListReply *r = vs_list_reply(m);
    for (size_t i = 0; r != NULL && i < r->n_documents; i++) {
        const char *name = r->documents[i]->location->collection;
        struct store_entry *e = name[0] == '\0' ? NULL : entry_of(s, name);
        if (e != NULL) {
            e->bytes += (int64_t)r->documents[i]->size;
        }
    }
}

static bool countable(const struct stores *s)
{
    uint64_t all = 0;
    for (size_t i = 0; i < s->n; i++) {
        all += s->entries[i].completed;
    }
    return all > 0 && (s->collection != NULL || all <= SIZES_MAX);
}

static void ask_sizes(struct request *q)
{
    const struct stores *s = q->op;
    Vs__ListRequest ask = VS__LIST_REQUEST__INIT;
    Vs__Filter filter = VS__FILTER__INIT;
    struct api_call how = {.on_reply = on_sizes, .on_finish = on_states_end};
    char *collection = pb_text(s->collection);
    filter.collections = &collection;
    filter.n_collections = s->collection != NULL;
    ask.filter = &filter; /* all of them, a page at a time */
    (void)api_start(q, PEER_VECTORSTORE, &vs_list_method, 0, &ask.base, &how);
}

/* A collection that came by the folder gets the time at which it was first asked about. */
static enum status adopt(sqlite3 *db, void *data, struct error *err)
{
    struct stores *s = data;
    enum status st = STATUS_OK;
    for (size_t i = 0; i < s->n && st == STATUS_OK; i++) {
        struct store_entry *e = &s->entries[i];
        if (!e->has_row) {
            e->row.created_wall_ms = e->row.active_wall_ms = clock_wall_ms();
            st = stores_add(db, &e->row, err);
            st = st == STATUS_CONFLICT ? STATUS_OK : st; /* another asked at the same time */
        }
    }
    return st;
}

/* An empty one is its maker's and the administrators'. */
static bool visible(const struct request *q, const struct store_entry *e)
{
    if (e->completed + e->in_progress + e->failed > 0) {
        return true;
    }
    return e->has_row && e->row.user[0] != '\0' &&
           (q->who->admin || strcmp(e->row.user, q->who->user) == 0);
}

static int by_time(const void *a, const void *b)
{
    const struct store_entry *x = a, *y = b;
    if (x->row.created_wall_ms != y->row.created_wall_ms) {
        return x->row.created_wall_ms < y->row.created_wall_ms ? -1 : 1;
    }
    return strcmp(x->row.collection, y->row.collection);
}

static void finish(struct request *q)
{
    struct stores *s = q->op;
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (visible(q, &s->entries[i])) {
            s->entries[n++] = s->entries[i];
        }
    }
    s->n = n;
    if (n > 0) {
        qsort(s->entries, n, sizeof *s->entries, by_time);
    }
    s->then(q);
}

static void on_adopted(struct request *q, const struct error *err)
{
    if (err->code != STATUS_OK) {
        api_fail(q, err);
        return;
    }
    finish(q);
}

static void ask_facets(struct request *q)
{
    const struct stores *s = q->op;
    Vs__FacetsRequest ask = VS__FACETS_REQUEST__INIT;
    Vs__Filter filter = VS__FILTER__INIT;
    char *collection = pb_text(s->collection);
    filter.collections = &collection;
    filter.n_collections = s->collection != NULL;
    ask.filter = &filter;
    ask.has_limit = true;
    ask.limit = FACETS_MAX;
    api_unary(q, PEER_VECTORSTORE, &vs_facets_method, 0, &ask.base, on_facets);
}

static void next_step(struct request *q)
{
    static const char *const states[] = {"queued", "working", "failed"};
    struct stores *s = q->op;
    unsigned step = s->step++;
    bool missing = false;
    if (s->failed) {
        api_out_of_memory(q);
        return;
    }
    if (step == 0) {
        ask_facets(q);
    } else if (step <= 3 && q->who->admin) { /* ingest knows files, not readers */
        ask_states(q, states[step - 1]);
    } else if (step <= 4 && countable(s)) {
        s->step = 5;
        ask_sizes(q);
    } else {
        for (size_t i = 0; i < s->n; i++) {
            missing = missing || !s->entries[i].has_row;
        }
        if (missing) {
            tenant_run(q, adopt, s, on_adopted);
        } else {
            finish(q);
        }
    }
}

void stores_survey(struct request *q, void (*then)(struct request *q))
{
    struct stores *s = q->op;
    s->then = then;
    s->step = 0;
    s->n = 0;
    tenant_run(q, read_rows, s, on_rows);
}

bool store_expired(const struct store_row *r, int64_t now_ms)
{
    return r->days > 0 && r->active_wall_ms + r->days * DAY_MS <= now_ms;
}

void store_json(struct jsonw *w, const struct store_entry *e)
{
    char id[VECTOR_STORE_ID_CAP];
    const struct store_row *r = &e->row;
    bool expired = store_expired(r, clock_wall_ms());
    vector_store_id(str_from(r->collection), id);
    jsonw_open(w, '{');
    jsonw_field_z(w, "id", id);
    jsonw_field_z(w, "object", "vector_store");
    jsonw_field_int(w, "created_at", r->created_wall_ms / 1000);
    jsonw_field_z(w, "name", r->name);
    jsonw_field_int(w, "usage_bytes", e->bytes);
    jsonw_key(w, "file_counts");
    jsonw_open(w, '{');
    jsonw_field_int(w, "in_progress", e->in_progress);
    jsonw_field_int(w, "completed", e->completed);
    jsonw_field_int(w, "failed", e->failed);
    jsonw_field_int(w, "cancelled", 0);
    jsonw_field_int(w, "total", (int64_t)e->in_progress + e->completed + e->failed);
    jsonw_close(w, '}');
    jsonw_field_z(w, "status",
                  expired              ? "expired"
                  : e->in_progress > 0 ? "in_progress"
                                       : "completed");
    jsonw_key(w, "expires_after");
    if (r->days > 0) {
        jsonw_open(w, '{');
        jsonw_field_z(w, "anchor", "last_active_at");
        jsonw_field_int(w, "days", r->days);
        jsonw_close(w, '}');
        jsonw_field_int(w, "expires_at", (r->active_wall_ms + r->days * DAY_MS) / 1000);
    } else {
        jsonw_null(w);
        jsonw_field_z(w, "expires_at", NULL);
    }
    jsonw_field_int(w, "last_active_at", r->active_wall_ms / 1000);
    jsonw_key(w, "metadata");
    jsonw_raw(w, str_from(r->metadata));
    jsonw_key(w, "carrel");
    jsonw_open(w, '{');
    jsonw_field_z(w, "collection", r->collection);
    jsonw_field_bool(w, "usage_bytes_counted", e->completed == 0 || e->bytes > 0);
    jsonw_close(w, '}');
    jsonw_close(w, '}');
}
