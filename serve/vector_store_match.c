/* Filters over attributes, tried on the documents of collections.
 *
 * Rows with attributes (tenant_run), then every document goes by and those that the filters hold
 * of are noted. */
#include "serve/vector_store_match.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "serve/api_files.h"
#include "serve/attribute_filter.h"
#include "serve/passage.h"
#include "serve/search_request.h"
#include "serve/tenant_run.h"
#include "vectorstore/vectorstore_rpc.h"

static int by_id(const void *a, const void *b)
{
    return strcmp(a, b);
}

bool match_has(const struct match *m, const char *document)
{
    return m->n > 0 && bsearch(document, m->ids, m->n, sizeof *m->ids, by_id) != NULL;
}

static int by_document(const void *key, const void *row)
{
    return strcmp(key, ((const struct attached_file *)row)->document);
}

/* What every document has, under the names that results carry. */
static void document_attributes(struct jsonw *w, const Vs__DocumentInfo *d)
{
    jsonw_open(w, '{');
    jsonw_key(w, "filename");
    jsonw_path(w, path_name(str_of_bytes(d->location->path)));
    jsonw_key(w, "path");
    jsonw_path(w, str_of_bytes(d->location->path));
    jsonw_field_z(w, "collection", d->location->collection);
    jsonw_field_z(w, "format", d->format);
    jsonw_field_z(w, "label", d->location->label == NULL ? "" : d->location->label);
    jsonw_field_z(w, "author", d->author == NULL ? "" : d->author);
    jsonw_field_z(w, "language", d->language == NULL ? "" : d->language);
    jsonw_field_z(w, "title", d->title == NULL ? "" : d->title);
    jsonw_field_int(w, "bytes", (int64_t)d->size);
    jsonw_field_int(w, "created_at", d->location->modified_wall_ms / 1000);
    if (d->has_pages) {
        jsonw_field_int(w, "pages", d->pages);
    }
    if (d->has_date_ms) {
        day_field(w, "date", d->date_ms);
    }
    jsonw_close(w, '}');
}

static bool holds(const struct match *s, const Vs__DocumentInfo *d)
{
    const struct attached_file *row =
        s->n_rows == 0
            ? NULL
            : bsearch(d->location->document, s->rows, s->n_rows, sizeof *s->rows, by_document);
    struct json *own = NULL, *more = NULL;
    struct error err;
    struct buf b;
    struct jsonw w;
    buf_init(&b, 65536);
    jsonw_init(&w, &b);
    document_attributes(&w, d);
    bool good = (row == NULL || row->attributes[0] == '\0' ||
                 jsonr_read(str_from(row->attributes), &own, &err) == STATUS_OK) &&
                buf_status(&b) == STATUS_OK && jsonr_read(buf_view(&b), &more, &err) == STATUS_OK &&
                attribute_filter_holds(s->filters, own, more);
    jsonr_free(own);
    jsonr_free(more);
    buf_deinit(&b);
    return good;
}

static void note_match(struct match *s, const char *document)
{
    if (s->n == s->cap) {
        size_t cap = s->cap == 0 ? 256 : 2 * s->cap;
        char(*grown)[ID_CAP] = arena_array(s->q->arena, cap, sizeof *grown);
        if (grown == NULL) {
            s->full = true;
            return;
        }
        if (s->n > 0) {
            memcpy(grown, s->ids, s->n * sizeof *grown);
        }
        s->ids = grown;
        s->cap = cap;
    }
    (void)snprintf(s->ids[s->n++], ID_CAP, "%s", document);
}

static void on_documents(struct request *q, const ProtobufCMessage *m)
{
    struct match *s = q->op;
    const Vs__ListReply *r = vs_list_reply(m);
    for (size_t i = 0; r != NULL && i < r->n_documents && !s->full; i++) {
        s->walked++;
        if (holds(s, r->documents[i])) {
            note_match(s, r->documents[i]->location->document);
        }
    }
}

static void on_walked(struct request *q, const struct error *err)
{
    struct match *s = q->op;
    if (err->code != STATUS_OK) {
        api_fail(q, err);
    } else if (s->full || s->walked > MATCH_WALK_MAX) {
        api_error(q, 400, "filters", "too_large",
                  "There are more than 50000 files: filters cannot be tried on all.");
    } else {
        if (s->n > 0) {
            qsort(s->ids, s->n, sizeof *s->ids, by_id);
        }
        q->op = s->op;
        s->then(q, s);
    }
}

static int by_row(const void *a, const void *b)
{
    return strcmp(((const struct attached_file *)a)->document,
                  ((const struct attached_file *)b)->document);
}

static enum status find_attributes(sqlite3 *db, void *data, struct error *err)
{
    struct match *s = data;
    enum status st = STATUS_OK;
    for (size_t i = 0; i < s->n_collections && st == STATUS_OK; i++) {
        struct attached_file *rows = NULL;
        size_t n = 0;
        st = attached_list(db, s->collections[i], MATCH_WALK_MAX, s->q->arena, &rows, &n, err);
        struct attached_file *all =
            st == STATUS_OK ? arena_array(s->q->arena, s->n_rows + n + 1, sizeof *all) : NULL;
        if (st == STATUS_OK && all == NULL) {
            st = error_set(err, STATUS_NO_MEMORY, "out of memory");
        } else if (st == STATUS_OK) {
            if (s->n_rows > 0) {
                memcpy(all, s->rows, s->n_rows * sizeof *all);
            }
            if (n > 0) {
                memcpy(all + s->n_rows, rows, n * sizeof *all);
            }
            s->rows = all;
            s->n_rows += n;
        }
    }
    if (st == STATUS_OK && s->n_rows > 0) {
        qsort(s->rows, s->n_rows, sizeof *s->rows, by_row);
    }
    return st;
}

static void on_attributes(struct request *q, const struct error *err)
{
    const struct match *s = q->op;
    Vs__ListRequest ask = VS__LIST_REQUEST__INIT;
    Vs__Filter filter = VS__FILTER__INIT;
    struct api_call how = {.on_reply = on_documents, .on_finish = on_walked};
    char *collections[MATCH_COLLECTIONS_MAX];
    if (err->code != STATUS_OK) {
        api_fail(q, err);
        return;
    }
    for (size_t i = 0; i < s->n_collections; i++) {
        collections[i] = pb_text(s->collections[i]);
    }
    filter.collections = collections;
    filter.n_collections = s->n_collections;
    ask.filter = &filter;
    ask.has_limit = true;
    ask.limit = MATCH_WALK_MAX + 1;
    (void)api_start(q, PEER_VECTORSTORE, &vs_list_method, 0, &ask.base, &how);
}

void match_run(struct request *q, struct match *m, void (*then)(struct request *q, struct match *m))
{
    m->q = q;
    m->then = then;
    m->op = q->op;
    q->op = m;
    tenant_run(q, find_attributes, m, on_attributes);
}
