/* GET /v1/vector_stores/{id}/files: a page of the documents of a collection, by the time at which
 * the file was last changed.
 *
 * Where the page begins (tenant_run: which document that is; then that document) -> all documents
 * of the collection go by and those of the page are kept -> their rows (tenant_run). */
#include <string.h>

#include "base/clock.h"
#include "serve/api.h"
#include "serve/api_vector_stores.h"
#include "serve/search_request.h"
#include "serve/tenant_run.h"

#define NAME_CAP 512
#define ERROR_CAP 200
#define OWN_MAX 1000

/* Where something stands in the order. */
struct place {
    int64_t ms;
    char document[ID_CAP];
};

struct candidate {
    struct place place;
    struct store_file file; /* its strings are below, or literals */
    char path[NAME_CAP], error[ERROR_CAP];
    struct attached_file row;
    bool has_row;
};

struct listing {
    struct stores stores;
    const char *filter; /* a status; NULL: all */
    struct place after, before;
    bool has_after, has_before, failed;
    unsigned cursor; /* which is being looked up */
    struct candidate *kept;
    size_t n;
    struct attached_file *own; /* of a caller who is no administrator: what he attached */
    size_t n_own, next_own;
};

static int compare(const struct listing *l, const struct place *a, const struct place *b)
{
    int c = a->ms != b->ms ? (a->ms < b->ms ? -1 : 1) : strcmp(a->document, b->document);
    return l->stores.page.ascending ? c : -c;
}

static void keep_text(char *to, size_t cap, struct str text)
{
    size_t n = text.len < cap - 1 ? text.len : cap - 1;
    while (n < text.len && n > 0 && ((unsigned char)text.ptr[n] & 0xC0) == 0x80) {
        n--;
    }
    memcpy(to, text.ptr, n);
    to[n] = '\0';
}

/* Into its place among those kept, if it belongs to the page. */
static void consider(struct listing *l, const struct store_file *f)
{
    struct place p = {.ms = f->created_wall_ms};
    size_t max = l->stores.page.limit + 1, at;
    keep_text(p.document, sizeof p.document, str_from(f->document));
    if ((l->filter != NULL && strcmp(l->filter, f->status) != 0) ||
        (l->has_after && compare(l, &p, &l->after) <= 0) ||
        (l->has_before && compare(l, &p, &l->before) >= 0) ||
        (l->n == max && compare(l, &p, &l->kept[max - 1].place) >= 0)) {
        return;
    }
    for (at = l->n; at > 0 && compare(l, &p, &l->kept[at - 1].place) < 0; at--) {
    }
    if (at > 0 && compare(l, &p, &l->kept[at - 1].place) == 0) {
        return; /* it was there already */
    }
    size_t moved = l->n < max ? l->n - at : max - 1 - at;
    memmove(&l->kept[at + 1], &l->kept[at], moved * sizeof *l->kept);
    l->n += l->n < max;
    struct candidate *c = &l->kept[at];
    *c = (struct candidate){.place = p, .file = *f};
    keep_text(c->path, sizeof c->path, f->path);
    keep_text(c->error, sizeof c->error, str_from(f->error == NULL ? "" : f->error));
}

/* ---- the end ---- */

static enum status find_rows(sqlite3 *db, void *data, struct error *err)
{
    struct listing *l = data;
    enum status s = STATUS_OK;
    for (size_t i = 0; i < l->n && s == STATUS_OK; i++) {
        s = attached_get(db, l->stores.collection, l->kept[i].place.document, l->stores.q->arena,
                         &l->kept[i].row, &l->kept[i].has_row, err);
    }
    return s;
}

static void on_rows(struct request *q, const struct error *err)
{
    struct listing *l = q->op;
    struct jsonw w;
    if (err->code != STATUS_OK) {
        api_fail(q, err);
        return;
    }
    size_t n = l->n < l->stores.page.limit ? l->n : l->stores.page.limit;
    api_object_begin(q, &w);
    page_begin(&w);
    for (size_t i = 0; i < n; i++) {
        struct candidate *c = &l->kept[i];
        c->file.id = c->file.document = c->place.document;
        c->file.collection = l->stores.collection;
        c->file.path = str_from(c->path);
        c->file.error = c->error[0] == '\0' ? NULL : c->error;
        if (c->has_row) {
            store_file_row(&c->row, &c->file);
        }
        store_file_json(&w, &c->file);
    }
    page_end(&w, n > 0 ? l->kept[0].file.id : NULL, n > 0 ? l->kept[n - 1].file.id : NULL,
             l->n > n);
    api_object_end(q, 200, &w);
}

static void tell(struct request *q)
{
    tenant_run(q, find_rows, q->op, on_rows);
}

/* ---- what he attached himself and is not ready ---- */

static void next_own(struct request *q);

static void on_own(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    struct listing *l = q->op;
    const Ig__GetReply *r = ig_get_reply(m);
    struct store_file f;
    (void)err; /* what cannot be told now is left out */
    if (r != NULL && strcmp(r->document->state, "ready") != 0) {
        store_file_of_state(r->document, &f);
        consider(l, &f);
    }
    next_own(q);
}

static void next_own(struct request *q)
{
    struct listing *l = q->op;
    Ig__GetRequest ask = IG__GET_REQUEST__INIT;
    while (l->next_own < l->n_own) {
        const struct attached_file *r = &l->own[l->next_own++];
        if (r->document[0] != '\0' && strcmp(r->user, q->who->user) == 0 &&
            clock_wall_ms() - r->created_wall_ms < INT64_C(86400000)) {
            ask.document = pb_text(r->document);
            api_unary(q, PEER_INGEST, &ig_get_method, 0, &ask.base, on_own);
            return;
        }
    }
    tell(q);
}

static enum status find_own(sqlite3 *db, void *data, struct error *err)
{
    struct listing *l = data;
    return attached_list(db, l->stores.collection, OWN_MAX, l->stores.q->arena, &l->own, &l->n_own,
                         err);
}

static void on_own_rows(struct request *q, const struct error *err)
{
    if (err->code != STATUS_OK) {
        api_fail(q, err);
        return;
    }
    next_own(q);
}

/* ---- the walk ---- */

static void on_states(struct request *q, const ProtobufCMessage *m)
{
    const Ig__ListReply *r = ig_list_reply(m);
    for (size_t i = 0; r != NULL && i < r->n_documents; i++) {
        struct store_file f;
        store_file_of_state(r->documents[i], &f);
        consider(q->op, &f);
    }
}

static void on_documents(struct request *q, const ProtobufCMessage *m)
{
    const Vs__ListReply *r = vs_list_reply(m);
    for (size_t i = 0; r != NULL && i < r->n_documents; i++) {
        struct store_file f;
        store_file_of_document(r->documents[i], &f);
        consider(q->op, &f);
    }
}

static void on_walked(struct request *q, const struct error *err)
{
    if (err->code != STATUS_OK) {
        api_fail(q, err);
    } else if (q->who->admin) {
        tell(q);
    } else {
        tenant_run(q, find_own, q->op, on_own_rows);
    }
}

static void walk(struct request *q)
{
    struct listing *l = q->op;
    char *collection = pb_text(l->stores.collection);
    if (q->who->admin) {
        Ig__ListRequest ask = IG__LIST_REQUEST__INIT;
        struct api_call how = {.on_reply = on_states, .on_finish = on_walked};
        ask.collections = &collection;
        ask.n_collections = 1;
        (void)api_start(q, PEER_INGEST, &ig_list_method, 0, &ask.base, &how);
    } else {
        Vs__ListRequest ask = VS__LIST_REQUEST__INIT;
        Vs__Filter filter = VS__FILTER__INIT;
        struct api_call how = {.on_reply = on_documents, .on_finish = on_walked};
        filter.collections = &collection;
        filter.n_collections = 1;
        ask.filter = &filter;
        (void)api_start(q, PEER_VECTORSTORE, &vs_list_method, 0, &ask.base, &how);
    }
}

/* ---- where it begins ---- */

static void next_cursor(struct request *q);

static void on_cursor_ms(struct request *q, const char *document, int64_t ms)
{
    struct listing *l = q->op;
    struct place *p = l->cursor == 1 ? &l->after : &l->before;
    *(l->cursor == 1 ? &l->has_after : &l->has_before) = true;
    p->ms = ms;
    keep_text(p->document, sizeof p->document, str_from(document));
    next_cursor(q);
}

static void on_cursor_state(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    const Ig__GetReply *r = ig_get_reply(m);
    if (r == NULL) {
        api_fail(q, err);
    } else {
        on_cursor_ms(q, r->document->document, r->document->modified_wall_ms);
    }
}

static void on_cursor_document(struct request *q, const ProtobufCMessage *m,
                               const struct error *err)
{
    const Vs__GetDocumentReply *r = vs_get_document_reply(m);
    if (r == NULL) {
        api_fail(q, err);
    } else {
        on_cursor_ms(q, r->document->location->document, r->document->location->modified_wall_ms);
    }
}

static enum status find_cursor(sqlite3 *db, void *data, struct error *err)
{
    struct listing *l = data;
    struct attached_file row;
    bool found = false;
    const char **id = l->cursor == 1 ? &l->stores.page.after : &l->stores.page.before;
    enum status s =
        attached_get(db, l->stores.collection, *id, l->stores.q->arena, &row, &found, err);
    *id = found && row.document[0] != '\0' ? row.document : *id;
    return s;
}

static void on_cursor(struct request *q, const struct error *err)
{
    struct listing *l = q->op;
    const char *id = l->cursor == 1 ? l->stores.page.after : l->stores.page.before;
    if (err->code != STATUS_OK) {
        api_fail(q, err);
    } else if (!id_valid(id)) {
        api_error(q, 400, "after", "invalid", "after and before name files of this store");
    } else if (q->who->admin) {
        Ig__GetRequest ask = IG__GET_REQUEST__INIT;
        ask.document = pb_text(id);
        api_unary(q, PEER_INGEST, &ig_get_method, 0, &ask.base, on_cursor_state);
    } else {
        Vs__GetDocumentRequest ask = VS__GET_DOCUMENT_REQUEST__INIT;
        ask.document = pb_text(id);
        api_unary(q, PEER_VECTORSTORE, &vs_get_document_method, 0, &ask.base, on_cursor_document);
    }
}

static void next_cursor(struct request *q)
{
    struct listing *l = q->op;
    l->cursor++;
    if (l->cursor == 1 && l->stores.page.after == NULL) {
        l->cursor++;
    }
    if (l->cursor > 2 || (l->cursor == 2 && l->stores.page.before == NULL)) {
        walk(q);
        return;
    }
    tenant_run(q, find_cursor, l, on_cursor);
}

static void on_store(struct request *q)
{
    const struct stores *s = q->op;
    if (s->n == 0) {
        api_error(q, 404, NULL, "not_found", "There is no such vector store.");
        return;
    }
    next_cursor(q);
}

void api_vector_store_files(struct request *q)
{
    static const char *const states[] = {"in_progress", "completed", "failed", "cancelled"};
    struct listing *l = arena_alloc(q->arena, sizeof *l);
    bool known = false;
    if (l == NULL) {
        api_out_of_memory(q);
        return;
    }
    l->stores.q = q;
    l->stores.attach.fd = -1;
    l->stores.collection = stores_collection(q);
    if (l->stores.collection == NULL) {
        api_error(q, 404, NULL, "not_found", "There is no such vector store.");
        return;
    }
    if (!page_query_read(q, PAGE_LIMIT_MAX, 20, &l->stores.page) ||
        !api_query(q, "filter", &l->filter)) {
        return;
    }
    for (size_t i = 0; l->filter != NULL && i < sizeof states / sizeof states[0]; i++) {
        known = known || strcmp(l->filter, states[i]) == 0;
    }
    if (l->filter != NULL && !known) {
        api_error(q, 400, "filter", "invalid",
                  "filter must be in_progress, completed, failed or cancelled");
        return;
    }
    l->kept = arena_array(q->arena, l->stores.page.limit + 2, sizeof *l->kept);
    if (l->kept == NULL) {
        api_out_of_memory(q);
        return;
    }
    q->op = l;
    stores_survey(q, on_store);
}
