/* Rows of the stores (tenant_run) -> where some expire and are neither the caller's nor is he an
 * administrator: which of them show him documents -> refused, or noted as used (tenant_run). */
#include "serve/file_search.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "serve/api.h"
#include "serve/api_vector_stores.h"
#include "serve/chat_translate.h"
#include "serve/search_request.h"
#include "serve/tenant_run.h"
#include "serve/vector_store_id.h"
#include "vectorstore/vectorstore_rpc.h"

enum status file_search_read(const struct json *body, struct arena *a, struct file_search *out,
                             struct error *err)
{
    const struct json *tools = jsonr_get(body, "tools");
    for (size_t i = 0; i < jsonr_len(tools); i++) {
        const struct json *tool = jsonr_at(tools, i);
        const struct json *ids =
            jsonr_is(tool, "type", "file_search") ? jsonr_get(tool, "vector_store_ids") : NULL;
        for (size_t k = 0; k < jsonr_len(ids); k++) {
            struct str id = jsonr_str(jsonr_at(ids, k));
            const char *name = id.ptr == NULL ? NULL : vector_store_collection(id, a);
            if (name == NULL || out->n == FILE_SEARCH_STORES_MAX) {
                return error_set(err, STATUS_INVALID,
                                 "tools: vector_store_ids must be at most %d ids of vector stores",
                                 FILE_SEARCH_STORES_MAX);
            }
            out->collections[out->n++] = name;
        }
    }
    return STATUS_OK;
}

static void go_on(struct request *q, struct file_search *f)
{
    q->op = f->op;
    f->then(q, f);
}

static enum status touch(sqlite3 *db, void *data, struct error *err)
{
    const struct file_search *f = data;
    enum status s = STATUS_OK;
    for (size_t i = 0; i < f->n_rows && s == STATUS_OK; i++) {
        s = f->seen[i] ? stores_touch(db, f->rows[i].collection, clock_wall_ms(), err) : s;
    }
    return s;
}

static void on_touched(struct request *q, const struct error *err)
{
    if (err->code != STATUS_OK) {
        api_fail(q, err);
        return;
    }
    go_on(q, q->op);
}

static void judge(struct request *q, struct file_search *f)
{
    int64_t now = clock_wall_ms();
    for (size_t i = 0; i < f->n_rows; i++) {
        if (f->seen[i] && store_expired(&f->rows[i], now)) {
            char id[VECTOR_STORE_ID_CAP], text[VECTOR_STORE_ID_CAP + 64];
            vector_store_id(str_from(f->rows[i].collection), id);
            (void)snprintf(text, sizeof text, "The vector store %s has expired.", id);
            api_error(q, 400, "tools", "expired", text);
            return;
        }
    }
    tenant_run(q, touch, f, on_touched);
}

static void on_facets(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    struct file_search *f = q->op;
    const Vs__FacetsReply *r = vs_facets_reply(m);
    if (r == NULL) {
        api_fail(q, err);
        return;
    }
    for (size_t i = 0; i < r->n_collections; i++) {
        for (size_t k = 0; k < f->n_rows; k++) {
            f->seen[k] =
                f->seen[k] || (r->collections[i]->documents > 0 &&
                               strcmp(r->collections[i]->value, f->rows[k].collection) == 0);
        }
    }
    judge(q, f);
}

static enum status find_rows(sqlite3 *db, void *data, struct error *err)
{
    struct file_search *f = data;
    enum status s = STATUS_OK;
    f->n_rows = 0;
    for (size_t i = 0; i < f->n && s == STATUS_OK; i++) {
        bool found = false;
        struct store_row *row = &f->rows[f->n_rows];
        s = stores_get(db, f->collections[i], f->q->arena, row, &found, err);
        f->n_rows += s == STATUS_OK && found && row->days > 0;
    }
    return s;
}

static void on_rows(struct request *q, const struct error *err)
{
    struct file_search *f = q->op;
    Vs__FacetsRequest ask = VS__FACETS_REQUEST__INIT;
    Vs__Filter filter = VS__FILTER__INIT;
    char *names[FILE_SEARCH_STORES_MAX];
    size_t n = 0, kept = 0;
    if (err->code != STATUS_OK) {
        api_fail(q, err);
        return;
    }
    for (size_t i = 0; i < f->n_rows; i++) {
        if (!auth_held_out(q->who, f->rows[i].collection)) {
            f->rows[kept++] = f->rows[i];
        }
    }
    f->n_rows = kept;
    for (size_t i = 0; i < f->n_rows; i++) {
        f->seen[i] = q->who->admin || strcmp(f->rows[i].user, q->who->user) == 0;
        if (!f->seen[i]) {
            names[n++] = pb_text(f->rows[i].collection);
        }
    }
    if (f->n_rows == 0) {
        go_on(q, f);
    } else if (n == 0) {
        judge(q, f);
    } else {
        filter.collections = names;
        filter.n_collections = n;
        ask.filter = &filter;
        ask.has_limit = true;
        ask.limit = FILE_SEARCH_STORES_MAX;
        api_unary(q, PEER_VECTORSTORE, &vs_facets_method, 0, &ask.base, on_facets);
    }
}

void file_search_use(struct request *q, struct file_search *f,
                     void (*then)(struct request *q, struct file_search *f))
{
    f->q = q;
    f->op = q->op;
    f->then = then;
    q->op = f;
    tenant_run(q, find_rows, f, on_rows);
}
