/* /v1/vector_stores: create, list, get, change, delete. Format: OpenAI API reference, "Vector
 * stores". */
#include "serve/api_vector_stores.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text/text.h"
#include "serve/api.h"
#include "serve/search_request.h"
#include "serve/tenant_run.h"
#include "vectorstore/vectorstore_rpc.h"

#define NAME_MAX_BYTES 120 /* of a collection made here */
#define NAMES_TRIED 50
#define DELETE_MAX 10000

const char *stores_collection(struct request *q)
{
    const char *c = vector_store_collection(q->match.params[0], q->arena);
    return c != NULL && auth_held_out(q->who, c) ? NULL : c;
}

struct stores *stores_new(struct request *q, bool with_id)
{
    struct stores *s = arena_alloc(q->arena, sizeof *s);
    if (s == NULL) {
        api_out_of_memory(q);
        return NULL;
    }
    s->q = q;
    s->attach.fd = -1;
    if (with_id) {
        s->collection = stores_collection(q);
        if (s->collection == NULL) {
            api_error(q, 404, NULL, "not_found", "There is no such vector store.");
            return NULL;
        }
    }
    q->op = s;
    return s;
}

/* ---- the list, and one ---- */

static size_t place_of(const struct stores *s, const char *id)
{
    for (size_t i = 0; i < s->n; i++) {
        char other[VECTOR_STORE_ID_CAP];
        vector_store_id(str_from(s->entries[i].row.collection), other);
        if (strcmp(id, other) == 0) {
            return i;
        }
    }
    return SIZE_MAX;
}

static void tell_list(struct request *q)
{
    const struct stores *s = q->op;
    size_t from = 0, to = s->n; /* in order of time */
    size_t after = s->page.after == NULL ? SIZE_MAX : place_of(s, s->page.after);
    size_t before = s->page.before == NULL ? SIZE_MAX : place_of(s, s->page.before);
    char first[VECTOR_STORE_ID_CAP] = "", last[VECTOR_STORE_ID_CAP] = "";
    struct jsonw w;
    size_t low = s->page.ascending ? after : before, high = s->page.ascending ? before : after;
    from = low == SIZE_MAX ? from : low + 1;
    to = high == SIZE_MAX ? to : high;
    size_t all = to > from ? to - from : 0;
    size_t n = all < s->page.limit ? all : s->page.limit;
    api_object_begin(q, &w);
    page_begin(&w);
    for (size_t i = 0; i < n; i++) {
        const struct store_entry *e = &s->entries[s->page.ascending ? from + i : to - 1 - i];
        vector_store_id(str_from(e->row.collection), last);
        if (i == 0) {
            memcpy(first, last, sizeof first);
        }
        store_json(&w, e);
    }
    page_end(&w, n > 0 ? first : NULL, n > 0 ? last : NULL, all > n);
    api_object_end(q, 200, &w);
}

void api_vector_stores_list(struct request *q)
{
    struct stores *s = stores_new(q, false);
    if (s != NULL && page_query_read(q, PAGE_LIMIT_MAX, 20, &s->page)) {
        stores_survey(q, tell_list);
    }
}

static void tell_one(struct request *q)
{
    const struct stores *s = q->op;
    struct jsonw w;
    if (s->n == 0) {
        api_error(q, 404, NULL, "not_found", "There is no such vector store.");
        return;
    }
    jsonw_init(&w, &q->out);
    store_json(&w, &s->entries[0]);
    api_json(q, 200, &q->out);
}

void api_vector_store_get(struct request *q)
{
    if (stores_new(q, true) != NULL) {
        stores_survey(q, tell_one);
    }
}

/* ---- creation ---- */

/* A folder's name for the store's: no slash, not hidden, not too long. */
static const char *folder_name(struct request *q, const char *name)
{
    char *to = arena_strdup(q->arena, name);
    size_t n = 0;
    if (to == NULL) {
        return NULL;
    }
    for (const char *p = to; *p != '\0'; p++) {
        bool bad = *p == '/' || *p == '\\' || (n == 0 && (*p == '.' || *p == ' ' || *p == '~'));
        if (!bad || n > 0) {
            to[n++] = *p;
            to[n - 1] = *p == '/' || *p == '\\' ? '-' : *p;
        }
    }
    while (n > NAME_MAX_BYTES) { /* whole characters */
        do {
            n--;
        } while (n > 0 && ((unsigned char)to[n] & 0xC0) == 0x80);
    }
    while (n > 0 && (to[n - 1] == ' ' || to[n - 1] == '.')) {
        n--;
    }
    to[n] = '\0';
    if (n > 0) {
        return to;
    }
    char id[ID_CAP];
    id_new(id);
    return arena_printf(q->arena, "store-%.8s", id);
}

static void try_name(struct request *q);

static void on_created(struct request *q)
{
    stores_survey(q, tell_one);
}

static void on_attached(struct request *q)
{
    const struct attach *a = &((struct stores *)q->op)->attach;
    for (size_t i = 0; i < a->n; i++) { /* the store is there; which file is not, is said */
        if (a->items[i].err.code != STATUS_OK) {
            api_fail(q, &a->items[i].err);
            return;
        }
    }
    on_created(q);
}

static enum status add_row(sqlite3 *db, void *data, struct error *err)
{
    struct stores *s = data;
    return stores_add(db, &s->row, err);
}

static void on_row(struct request *q, const struct error *err)
{
    struct stores *s = q->op;
    if (err->code == STATUS_CONFLICT) {
        try_name(q);
    } else if (err->code != STATUS_OK) {
        api_fail(q, err);
    } else {
        s->attach.collection = s->collection;
        s->attach.batch = "";
        attach_run(q, on_attached);
    }
}

static void on_taken(struct request *q, const ProtobufCMessage *m)
{
    struct stores *s = q->op;
    const Ig__ListReply *r = ig_list_reply(m);
    s->taken = s->taken || (r != NULL && r->n_documents > 0);
}

static void on_taken_end(struct request *q, const struct error *err)
{
    struct stores *s = q->op;
    if (err->code != STATUS_OK) {
        api_fail(q, err);
    } else if (s->taken) {
        try_name(q);
    } else {
        tenant_run(q, add_row, s, on_row);
    }
}

/* A collection of that name may be there: a new store is empty, so it gets another. */
static void try_name(struct request *q)
{
    struct stores *s = q->op;
    Ig__ListRequest ask = IG__LIST_REQUEST__INIT;
    struct api_call how = {.on_reply = on_taken, .on_finish = on_taken_end};
    s->tries++;
    s->collection = s->tries == 1 ? s->name : arena_printf(q->arena, "%s (%u)", s->name, s->tries);
    if (s->tries > NAMES_TRIED) {
        api_error(q, 409, "name", "conflict", "There are many vector stores of this name.");
        return;
    }
    if (s->collection == NULL) {
        api_out_of_memory(q);
        return;
    }
    s->taken = false;
    s->row.collection = s->collection;
    char *collection = pb_text(s->collection);
    ask.collections = &collection;
    ask.n_collections = 1;
    ask.has_limit = true;
    ask.limit = 1;
    (void)api_start(q, PEER_INGEST, &ig_list_method, 0, &ask.base, &how);
}

/* name, metadata and expires_after, what is absent as it was. */
static enum status read_store(struct request *q, const struct json *body, struct store_row *row,
                              struct error *err)
{
    struct str name;
    int64_t days = 0;
    enum status s = jsonr_string(body, "name", &name, err);
    if (s == STATUS_OK && name.ptr != NULL && name.len > 0) {
        if (!api_name_ok(name, 255) || !text_utf8_valid(name)) {
            return error_set(err, STATUS_INVALID, "name must be 1 to 255 bytes without controls");
        }
        row->name = arena_strndup(q->arena, name.ptr, name.len);
    }
    if (s == STATUS_OK && jsonr_get(body, "metadata") != NULL) {
        s = read_attributes(q, jsonr_get(body, "metadata"), "metadata", true, &row->metadata, err);
    }
    if (s == STATUS_OK && jsonr_get(body, "expires_after") != NULL) {
        s = read_expiry(body, "days", 1, 365, &days, err);
        row->days = days;
    }
    return s == STATUS_OK && row->name == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory")
                                               : s;
}

static void on_create_json(struct request *q, const struct json *body)
{
    struct stores *s = stores_new(q, false);
    struct error err;
    if (s == NULL) {
        return;
    }
    s->row = (struct store_row){.name = "",
                                .metadata = "{}",
                                .user = q->who->user,
                                .created_wall_ms = clock_wall_ms(),
                                .active_wall_ms = clock_wall_ms()};
    enum status st = read_store(q, body, &s->row, &err);
    if (st == STATUS_OK) {
        st = attach_read(q, body, &err);
    }
    if (st != STATUS_OK) {
        api_fail(q, &err);
        return;
    }
    s->row.user = arena_strdup(q->arena, q->who->user);
    s->name = folder_name(q, s->row.name);
    if (s->row.user == NULL || s->name == NULL) {
        api_out_of_memory(q);
        return;
    }
    if (s->row.name[0] == '\0') {
        s->row.name = s->name;
    }
    try_name(q);
}

void api_vector_store_create(struct request *q)
{
    if (q->who->n_collections > 0) {
        api_error(q, 403, NULL, "forbidden",
                  "This key is held to collections: it makes no others.");
        return;
    }
    api_read_json(q, on_create_json);
}

/* ---- change ---- */

static bool attached_here(const struct attached_file *f)
{
    return f->document[0] != '\0' && strcmp(f->document, f->file) != 0;
}

/* When it expires, what was attached goes: so whoever sets that is one who may delete it. */
static enum status all_own(sqlite3 *db, const struct stores *s, struct error *err)
{
    const char *user = s->q->who->user;
    struct attached_file *rows = NULL;
    size_t n = 0;
    bool own = strcmp(s->row.user, user) == 0;
    enum status st = attached_list(db, s->collection, DELETE_MAX, s->q->arena, &rows, &n, err);
    for (size_t i = 0; i < n && st == STATUS_OK && own; i++) {
        own = !attached_here(&rows[i]) || strcmp(rows[i].user, user) == 0;
    }
    return st == STATUS_OK && !own
               ? error_set(err, STATUS_CONFLICT,
                           "The vector store is another's, or holds files that others attached: "
                           "only an administrator lets it expire.")
               : st;
}

static enum status put_row(sqlite3 *db, void *data, struct error *err)
{
    struct stores *s = data;
    enum status st = s->sooner && !s->q->who->admin ? all_own(db, s, err) : STATUS_OK;
    s->row.active_wall_ms = clock_wall_ms();
    return st == STATUS_OK ? stores_put(db, &s->row, err) : st;
}

static void on_put(struct request *q, const struct error *err)
{
    if (err->code != STATUS_OK) {
        api_fail(q, err);
        return;
    }
    stores_survey(q, tell_one);
}

static void change(struct request *q)
{
    struct stores *s = q->op;
    struct error err;
    if (s->n == 0) {
        tell_one(q);
        return;
    }
    s->row = s->entries[0].row;
    const struct json *expires = jsonr_get(q->body, "expires_after");
    if (read_store(q, q->body, &s->row, &err) != STATUS_OK) {
        api_fail(q, &err);
        return;
    }
    s->row.days = expires == NULL && jsonr_has(q->body, "expires_after") ? 0 : s->row.days;
    int64_t before = s->entries[0].row.days;
    s->sooner = s->row.days > 0 && (before == 0 || s->row.days < before);
    if (s->sooner && !auth_may(q->who, q->match.route->roles, SCOPE_MANAGE)) {
        api_refuse(q, q->match.route->roles, SCOPE_MANAGE);
        return;
    }
    tenant_run(q, put_row, s, on_put);
}

static void on_change_json(struct request *q, const struct json *body)
{
    (void)body; /* q's, read again when the store is known */
    if (stores_new(q, true) != NULL) {
        stores_survey(q, change);
    }
}

void api_vector_store_change(struct request *q)
{
    api_read_json(q, on_change_json);
}

/* ---- deletion: what was attached here goes to the trash ---- */

struct removal {
    struct attached_file *rows;
    size_t n, at, others;
};

static enum status find_rows(sqlite3 *db, void *data, struct error *err)
{
    struct stores *s = data;
    struct removal *r = s->removal;
    return attached_list(db, s->collection, DELETE_MAX + 1, s->q->arena, &r->rows, &r->n, err);
}

static enum status drop_store(sqlite3 *db, void *data, struct error *err)
{
    const struct stores *s = data;
    return stores_remove(db, s->collection, err);
}

static void on_store_dropped(struct request *q, const struct error *err)
{
    const struct stores *s = q->op;
    char id[VECTOR_STORE_ID_CAP];
    if (err->code != STATUS_OK) {
        api_fail(q, err);
        return;
    }
    vector_store_id(str_from(s->collection), id);
    api_deleted(q, "vector_store.deleted", id);
}

static void remove_next(struct request *q);

static void on_removed(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    struct stores *s = q->op;
    struct removal *r = s->removal;
    (void)m;
    if (err->code != STATUS_OK && err->code != STATUS_NOT_FOUND) {
        api_fail(q, err);
        return;
    }
    r->at++;
    remove_next(q);
}

static void remove_next(struct request *q)
{
    struct stores *s = q->op;
    struct removal *r = s->removal;
    Ig__DeleteRequest ask = IG__DELETE_REQUEST__INIT;
    while (r->at < r->n && !attached_here(&r->rows[r->at])) {
        r->at++;
    }
    if (r->at == r->n) {
        tenant_run(q, drop_store, s, on_store_dropped);
        return;
    }
    ask.document = pb_text(r->rows[r->at].document);
    api_unary(q, PEER_INGEST, &ig_delete_method, 0, &ask.base, on_removed);
}

static int by_document(const void *key, const void *row)
{
    return strcmp(key, ((const struct attached_file *)row)->document);
}

static void on_others(struct request *q, const ProtobufCMessage *m)
{
    struct stores *s = q->op;
    struct removal *r = s->removal;
    const Ig__ListReply *reply = ig_list_reply(m);
    for (size_t i = 0; reply != NULL && i < reply->n_documents; i++) {
        const Ig__DocumentState *d = reply->documents[i];
        const struct attached_file *row =
            r->n == 0 ? NULL : bsearch(d->document, r->rows, r->n, sizeof *row, by_document);
        /* a member goes with its archive */
        r->others += d->parent == NULL && (row == NULL || !attached_here(row));
    }
}

/* Before anything goes: a store that holds what its caller may not read is not his to delete. */
static void look_next(struct request *q);

static void on_may_read(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    struct stores *s = q->op;
    if (vs_get_document_reply(m) == NULL && err->code == STATUS_NOT_FOUND) {
        api_error(q, 409, NULL, "conflict",
                  "The vector store holds files that others attached: only an administrator "
                  "deletes it.");
    } else if (vs_get_document_reply(m) == NULL) {
        api_fail(q, err);
    } else {
        s->removal->at++;
        look_next(q);
    }
}

static void look_next(struct request *q)
{
    struct stores *s = q->op;
    struct removal *r = s->removal;
    Vs__GetDocumentRequest look = VS__GET_DOCUMENT_REQUEST__INIT;
    while (r->at < r->n && (q->who->admin || !attached_here(&r->rows[r->at]) ||
                            strcmp(r->rows[r->at].user, q->who->user) == 0)) {
        r->at++;
    }
    if (r->at == r->n) {
        r->at = 0;
        remove_next(q);
        return;
    }
    look.document = pb_text(r->rows[r->at].document);
    api_unary(q, PEER_VECTORSTORE, &vs_get_document_method, 0, &look.base, on_may_read);
}

static void on_others_end(struct request *q, const struct error *err)
{
    const struct stores *s = q->op;
    const struct removal *r = s->removal;
    if (err->code != STATUS_OK) {
        api_fail(q, err);
    } else if (r->others > 0 || r->n > DELETE_MAX) {
        api_error(q, 409, NULL, "conflict",
                  "The collection holds documents that came by the watched folder, or very many: "
                  "take those out first.");
    } else {
        look_next(q);
    }
}

static void on_rows(struct request *q, const struct error *err)
{
    const struct stores *s = q->op;
    Ig__ListRequest ask = IG__LIST_REQUEST__INIT;
    struct api_call how = {.on_reply = on_others, .on_finish = on_others_end};
    char *collection = pb_text(s->collection);
    if (err->code != STATUS_OK) {
        api_fail(q, err);
        return;
    }
    ask.collections = &collection;
    ask.n_collections = 1;
    ask.has_limit = true;
    ask.limit = DELETE_MAX + 1;
    (void)api_start(q, PEER_INGEST, &ig_list_method, 0, &ask.base, &how);
}

static void remove_store(struct request *q)
{
    struct stores *s = q->op;
    struct removal *r = arena_alloc(q->arena, sizeof *r);
    if (s->n == 0) {
        tell_one(q);
    } else if (r == NULL) {
        api_out_of_memory(q);
    } else {
        s->removal = r;
        tenant_run(q, find_rows, s, on_rows);
    }
}

void api_vector_store_delete(struct request *q)
{
    if (stores_new(q, true) != NULL) {
        stores_survey(q, remove_store);
    }
}
