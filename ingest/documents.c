#include "ingest/documents.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "ingest/erase.h"
#include "ingest/migrate.h"
#include "ingest/queue.h"

#define LIST_PAGE 128

struct tenant *documents_tenant(struct rpc_call *call)
{
    struct ingest *in = service_state(call);
    struct tenant *t = tenant_find(in, rpc_call_tenant(call));
    if (t == NULL) {
        /* serve signs for nobody that it does not know: it was made a moment ago */
        in->tenants_due = 0;
        rpc_call_finish(call, STATUS_UNAVAILABLE,
                        "this tenant is still being set up: try again in a moment");
        return NULL;
    }
    if (in->closing) {
        rpc_call_finish(call, STATUS_UNAVAILABLE, NULL);
        return NULL;
    }
    if (journal_lane_full(&t->journal)) {
        rpc_call_finish(call, STATUS_BUSY, NULL);
        return NULL;
    }
    return t;
}

/* "a,b" as a list; false: out of memory. */
static bool split(const char *text, size_t len, struct arena *a, char ***out, size_t *n)
{
    size_t most = 1;
    for (size_t i = 0; i < len; i++) {
        most += text[i] == ',';
    }
    *n = 0;
    *out = arena_array(a, most, sizeof **out);
    for (size_t at = 0; *out != NULL && at < len; at++) {
        size_t end = at;
        while (end < len && text[end] != ',') {
            end++;
        }
        (*out)[*n] = arena_strndup(a, text + at, end - at);
        if ((*out)[(*n)++] == NULL) {
            return false;
        }
        at = end;
    }
    return *out != NULL;
}

/* What the store was told, as rules_write wrote it: readers|label|tags|date. */
static bool access_state(const char *access, struct arena *a, Ig__DocumentState *out)
{
    const char *label = access == NULL ? NULL : strchr(access, '|');
    const char *tags = label == NULL ? NULL : strchr(label + 1, '|');
    const char *date = tags == NULL ? NULL : strchr(tags + 1, '|');
    if (date == NULL) {
        return true;
    }
    if (date[1] != '\0') { /* a rule's date goes before the document's own */
        out->date_wall_ms = strtoll(date + 1, NULL, 10);
    }
    out->label = arena_strndup(a, label + 1, (size_t)(tags - label) - 1);
    return out->label != NULL &&
           split(access, (size_t)(label - access), a, &out->readers, &out->n_readers) &&
           split(tags + 1, (size_t)(date - tags) - 1, a, &out->tags, &out->n_tags);
}

bool document_state(const struct tenant *t, const struct file_row *row, struct arena *a,
                    Ig__DocumentState *out)
{
    static const char *const states[] = {"queued", "ready", "failed", "excluded"};
    ig__document_state__init(out);
    const char *error = row->error;
    const char *state = states[row->state];
    if (row->state == FILE_QUEUED && queue_is_working(t->queue, row->id)) {
        state = "working";
        error = "";
    } else if (row->state == FILE_QUEUED && error[0] == '\0') {
        error = queue_held(t->queue);
    }
    out->document = arena_strdup(a, row->document);
    out->path.data = (uint8_t *)arena_strndup(a, row->path.ptr, row->path.len);
    out->path.len = row->path.len;
    out->collection = arena_strdup(a, row->collection);
    out->state = arena_strdup(a, state);
    out->chunks = row->chunks;
    if (error[0] != '\0') {
        char shown[512]; /* an error cut to length may end inside a character */
        path_show(str_from(error), shown, sizeof shown);
        out->error = arena_strdup(a, shown);
    }
    out->size = row->stamp.size;
    out->modified_wall_ms = row->stamp.mtime_ns / 1000000;
    out->changed_wall_ms = row->changed_ms;
    out->has_attempts = out->has_pages = 1;
    out->attempts = row->attempts;
    out->pages = row->pages;
    out->format = arena_strdup(a, row->format);
    out->title = arena_strdup(a, row->title);
    char reading[64];
    queue_reading(t->queue, row->id, reading, sizeof reading);
    if (state[0] == 'w' && reading[0] != '\0') {
        out->reading = arena_strdup(a, reading);
    }
    out->author = arena_strdup(a, row->author);
    out->language = arena_strdup(a, row->language);
    out->has_date_wall_ms = 1;
    out->date_wall_ms = row->dated ? row->own_ms : out->modified_wall_ms;
    if (row->hashed) {
        out->has_hash = 1;
        out->hash.data = (uint8_t *)arena_strndup(a, (const char *)row->hash, SHA256_BYTES);
        out->hash.len = SHA256_BYTES;
    }
    out->has_away = out->away = disk_is_away(t->disk, row->path);
    if (row->note[0] != '\0') {
        out->note = arena_strdup(a, row->note);
    }
    out->has_members = out->has_members_done = row->members > 0;
    out->members = row->members;
    out->members_done = row->members_done;
    if (row->parent_document != NULL) {
        out->parent = arena_strdup(a, row->parent_document);
    }
    return access_state(row->access, a, out) && out->document != NULL && out->path.data != NULL &&
           out->collection != NULL && out->state != NULL && out->author != NULL &&
           out->language != NULL && (!row->hashed || out->hash.data != NULL) &&
           (row->note[0] == '\0' || out->note != NULL) &&
           (row->parent_document == NULL || out->parent != NULL) &&
           (error[0] == '\0' || out->error != NULL) && out->format != NULL && out->title != NULL;
}

/* ---- List ---- */

struct listing {
    struct journal_op op;
    struct rpc_call *call;
    struct tenant *t;
    struct arena filter; /* collections, state */
    char **collections;
    size_t n_collections;
    const char *state;
    uint32_t left; /* 0: no limit */
    bool limited;
    char after[ID_CAP];
    struct arena page;
    struct file_row *rows;
    size_t n, next;
    bool reading, gone;
    bool unready; /* what is not ready, as far as the caller may read it */
    struct access_view view;
};

static void listing_free(struct listing *l)
{
    access_view_release(&l->view);
    arena_reset(&l->filter);
    arena_reset(&l->page);
    free(l);
}

/* What failed was judged when it did; what waits may have been another file, or nobody has looked.
 */
static void judge_page(struct listing *l)
{
    for (size_t i = 0; i < l->n; i++) {
        struct file_row *r = &l->rows[i];
        struct error why;
        const char *access = r->access;
        if ((r->state == FILE_QUEUED || access == NULL) &&
            access_judge_row(&l->view, r, &l->page, &access, &why) != STATUS_OK) {
            access = RULES_NOBODY "|||"; /* where it cannot be told who may, nobody is told */
        }
        r->access = access;
    }
}

static enum status run_page(struct journal *j, struct journal_op *op, struct error *err)
{
    struct listing *l = container_of(op, struct listing, op);
    arena_reset(&l->page);
    if (!l->unready) {
        return journal_list(j, l->after, LIST_PAGE, &l->page, &l->rows, &l->n, err);
    }
    enum status s = journal_list_unready(j, l->after, LIST_PAGE, &l->page, &l->rows, &l->n, err);
    if (s == STATUS_OK) {
        judge_page(l);
    }
    return s;
}

static bool among(const char *name, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* As the store has it for what it holds: readers of the rules, collections of the key. */
static bool readable(const struct caller *c, const Ig__DocumentState *d)
{
    if (c == NULL ||
        (c->n_collections > 0 && !among(d->collection, c->collections, c->n_collections))) {
        return false;
    }
    for (size_t i = 0; i < d->n_readers; i++) {
        if (among(d->readers[i], c->groups, c->n_groups)) {
            return true;
        }
    }
    return c->admin || d->n_readers == 0;
}

static bool wanted(const struct listing *l, Ig__DocumentState *d)
{
    if (l->unready) {
        if (!readable(rpc_call_caller(l->call), d)) {
            return false;
        }
        d->n_readers = 0; /* for administrators only */
    }
    if (l->state != NULL && strcmp(l->state, d->state) != 0) {
        return false;
    }
    for (size_t i = 0; i < l->n_collections; i++) {
        if (strcmp(l->collections[i], d->collection) == 0) {
            return true;
        }
    }
    return l->n_collections == 0;
}

static void listing_end(struct listing *l, enum status s, const char *text)
{
    struct rpc_call *call = l->call;
    *rpc_call_data(call) = NULL;
    listing_free(l);
    rpc_call_finish(call, s, text);
}

static void page_done(struct journal_op *op);

static void read_page(struct listing *l)
{
    l->reading = true;
    l->op.run = run_page;
    l->op.done = page_done;
    journal_submit(&l->t->journal, &l->op);
}

/* Sends what is left of the page; BUSY stops it until on_ready. */
static void send_page(struct listing *l)
{
    struct arena a;
    arena_init(&a, 16 << 20);
    Ig__DocumentState states[LIST_PAGE];
    Ig__DocumentState *list[LIST_PAGE];
    size_t n = 0;
    bool memory = true;
    for (size_t i = 0; i < l->n && memory && !(l->limited && n >= l->left); i++) {
        memory = document_state(l->t, &l->rows[i], &a, &states[n]);
        if (memory && wanted(l, &states[n])) {
            list[n] = &states[n];
            n++;
        }
    }
    Ig__ListReply reply = IG__LIST_REPLY__INIT;
    reply.documents = list;
    reply.n_documents = n;
    enum status s = !memory  ? STATUS_NO_MEMORY
                    : n == 0 ? STATUS_OK
                             : ig_list_respond(l->call, &reply);
    arena_reset(&a);
    if (s == STATUS_BUSY) {
        return;
    }
    if (s != STATUS_OK) {
        listing_end(l, s, NULL);
        return;
    }
    l->left -= l->limited ? (uint32_t)n : 0;
    if (l->n < LIST_PAGE || (l->limited && l->left == 0)) {
        listing_end(l, STATUS_OK, NULL);
        return;
    }
    (void)snprintf(l->after, sizeof l->after, "%s", l->rows[l->n - 1].document);
    read_page(l);
}

static void page_done(struct journal_op *op)
{
    struct listing *l = container_of(op, struct listing, op);
    l->reading = false;
    if (l->gone) {
        listing_end(l, STATUS_CANCELLED, NULL);
    } else if (op->err.code != STATUS_OK) {
        listing_end(l, op->err.code, op->err.text);
    } else {
        send_page(l);
    }
}

void documents_list(struct rpc_call *call, const ProtobufCMessage *m)
{
    const Ig__ListRequest *q = ig_list_request(m);
    struct tenant *t = documents_tenant(call);
    if (t == NULL) {
        return;
    }
    if (q == NULL) {
        rpc_call_finish(call, STATUS_INVALID, NULL);
        return;
    }
    struct listing *l = calloc(1, sizeof *l);
    if (l == NULL) {
        rpc_call_finish(call, STATUS_NO_MEMORY, NULL);
        return;
    }
    l->call = call;
    l->t = t;
    l->view = access_view_take(t);
    arena_init(&l->filter, 1 << 20);
    arena_init(&l->page, 16 << 20);
    bool memory = true;
    l->n_collections = q->n_collections;
    l->collections = arena_array(&l->filter, q->n_collections + 1, sizeof *l->collections);
    memory = l->collections != NULL;
    for (size_t i = 0; i < q->n_collections && memory; i++) {
        l->collections[i] = arena_strdup(&l->filter, q->collections[i]);
        memory = l->collections[i] != NULL;
    }
    if (q->state != NULL && q->state[0] != '\0') {
        l->state = arena_strdup(&l->filter, q->state);
        memory = memory && l->state != NULL;
    }
    *rpc_call_data(call) = l;
    if (!memory) {
        listing_end(l, STATUS_NO_MEMORY, NULL);
        return;
    }
    l->unready = q->has_unready && q->unready;
    l->limited = q->has_limit && q->limit > 0;
    l->left = l->limited ? q->limit : 0;
    (void)snprintf(l->after, sizeof l->after, "%s", q->after == NULL ? "" : q->after);
    read_page(l);
}

void documents_list_ready(struct rpc_call *call)
{
    struct listing *l = *rpc_call_data(call);
    if (l != NULL && !l->reading) {
        send_page(l);
    }
}

void documents_list_cancel(struct rpc_call *call)
{
    struct listing *l = *rpc_call_data(call);
    if (l == NULL) {
        rpc_call_finish(call, STATUS_CANCELLED, NULL);
    } else if (l->reading) {
        l->gone = true;
    } else {
        listing_end(l, STATUS_CANCELLED, NULL);
    }
}

/* ---- Get, Delete ---- */

struct question {
    struct journal_op op;
    struct rpc_call *call;
    struct tenant *t;
    struct arena arena;
    struct file_row row;
    char document[ID_CAP];
    struct str path; /* in its arena; ptr NULL: by its id */
    int root;
    bool exclude;
};

static struct question *ask_about(struct rpc_call *call, const char *document)
{
    struct tenant *t = documents_tenant(call);
    if (t == NULL) {
        return NULL;
    }
    struct question *q = calloc(1, sizeof *q);
    if (q == NULL) {
        rpc_call_finish(call, STATUS_NO_MEMORY, NULL);
        return NULL;
    }
    q->call = call;
    q->t = t;
    q->root = follow_root(t->follow);
    arena_init(&q->arena, 1 << 20);
    (void)snprintf(q->document, sizeof q->document, "%s", document);
    return q;
}

static void question_free(struct question *q)
{
    arena_reset(&q->arena);
    free(q);
}

static struct question *ask(struct rpc_call *call, const char *document)
{
    struct question *q = ask_about(call, document == NULL ? "" : document);
    if (q != NULL && !id_valid(document == NULL ? "" : document)) {
        rpc_call_finish(call, STATUS_NOT_FOUND, "there is no document with this id");
        question_free(q);
        q = NULL;
    }
    return q;
}

static enum status run_get(struct journal *j, struct journal_op *op, struct error *err)
{
    struct question *q = container_of(op, struct question, op);
    return q->path.ptr != NULL ? journal_get_path(j, q->path, &q->arena, &q->row, err)
                               : journal_get(j, q->document, &q->arena, &q->row, err);
}

static void get_done(struct journal_op *op)
{
    struct question *q = container_of(op, struct question, op);
    Ig__DocumentState state;
    if (op->err.code != STATUS_OK) {
        rpc_call_fail(q->call, &op->err);
    } else if (!document_state(q->t, &q->row, &q->arena, &state)) {
        rpc_call_finish(q->call, STATUS_NO_MEMORY, NULL);
    } else {
        Ig__GetReply reply = IG__GET_REPLY__INIT;
        reply.document = &state;
        ig_get_return(q->call, &reply);
    }
    question_free(q);
}

void documents_get(struct rpc_call *call, const ProtobufCMessage *m)
{
    const Ig__GetRequest *r = ig_get_request(m);
    bool by_path = r != NULL && r->has_path;
    struct question *q = by_path ? ask_about(call, "") : ask(call, r == NULL ? NULL : r->document);
    if (q == NULL) {
        return;
    }
    if (by_path) {
        const char *path = arena_strndup(&q->arena, (const char *)r->path.data, r->path.len);
        if (path == NULL) {
            rpc_call_finish(call, STATUS_NO_MEMORY, NULL);
            question_free(q);
            return;
        }
        q->path = (struct str){path, r->path.len};
    }
    q->op.run = run_get;
    q->op.done = get_done;
    journal_submit(&q->t->journal, &q->op);
}

/* Can files be taken out of the folder that holds this one? */
static bool removable(int root, struct str path)
{
    int parent = -1;
    char name[256];
    struct statvfs fs;
    if (tree_open_parent(root, path, false, &parent, name, NULL) != STATUS_OK) {
        return true; /* it is gone, or the trash will say what is wrong */
    }
    char self[64];
    (void)snprintf(self, sizeof self, "/proc/self/fd/%d", parent);
    bool can = statvfs(self, &fs) != 0 || (fs.f_flag & ST_RDONLY) == 0;
    can = can && access(self, W_OK | X_OK) == 0;
    (void)close(parent);
    return can;
}

static enum status run_delete(struct journal *j, struct journal_op *op, struct error *err)
{
    struct question *q = container_of(op, struct question, op);
    enum status s = journal_get(j, q->document, &q->arena, &q->row, err);
    if (s == STATUS_OK) {
        q->exclude = q->root >= 0 && !removable(q->root, q->row.path);
        s = journal_delete(j, q->document, q->exclude, &q->arena, &q->row, err);
    }
    return s;
}

static void delete_done(struct journal_op *op)
{
    struct question *q = container_of(op, struct question, op);
    struct tenant *t = q->t;
    struct delete_waiter *w = op->err.code == STATUS_OK ? calloc(1, sizeof *w) : NULL;
    if (op->err.code != STATUS_OK) {
        rpc_call_fail(q->call, &op->err);
    } else if (w == NULL) {
        rpc_call_finish(q->call, STATUS_NO_MEMORY, NULL);
    } else if (rpc_call_cancelled(q->call)) {
        free(w);
        rpc_call_finish(q->call, STATUS_CANCELLED, NULL);
    } else {
        w->call = q->call;
        (void)snprintf(w->document, sizeof w->document, "%s", q->document);
        list_push(&t->deletes, &w->link);
        *rpc_call_data(q->call) = w;
    }
    bool marked = op->err.code == STATUS_OK;
    question_free(q);
    if (marked) {
        queue_changed(t->queue);
    }
}

void documents_delete(struct rpc_call *call, const ProtobufCMessage *m)
{
    const Ig__DeleteRequest *r = ig_delete_request(m);
    struct question *q = ask(call, r == NULL ? NULL : r->document);
    if (q != NULL) {
        q->op.run = run_delete;
        q->op.done = delete_done;
        journal_submit(&q->t->journal, &q->op);
    }
}

void documents_delete_cancel(struct rpc_call *call)
{
    struct delete_waiter *w = *rpc_call_data(call);
    if (w != NULL) { /* the removal goes on; only the answer is not wanted any more */
        list_remove(&w->link);
        free(w);
        rpc_call_finish(call, STATUS_CANCELLED, NULL);
    }
}
