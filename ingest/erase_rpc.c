/* The questions about erasures. Erase itself: find the rows, ask the store what they are made of
 * and who else has it, then write the whole down in one transaction; what follows is erase.c's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ingest/documents.h"
#include "ingest/erase.h"
#include "ingest/holds.h"
#include "ingest/queue.h"
#include "vectorstore/vectorstore_rpc.h"

#define ASK_ARENA ((size_t)64 << 20)
#define INSPECT_BATCH 64U
#define TRACES_MAX 65536U
#define LIST_MAX 200U

struct asked_item {
    struct erasure_item item;
    Ig__EraseCopy *copies;
    size_t n_copies;
    uint8_t (*earlier)[SHA256_BYTES]; /* contents of its versions */
    size_t n_earlier;
};

struct asking {
    struct journal_op op;
    struct rpc_call *call;
    struct tenant *t;
    struct arena arena;
    struct rpc_request *request;
    const char *by;
    char **documents; /* as asked for */
    size_t n_documents;
    struct str path;
    Ig__EraseRequest__Copies copies;
    bool dry_run;
    struct asked_item *items; /* grows while copies are found */
    size_t n, inspected, until;
    struct trace *traces;
    size_t n_traces;
    struct error store_err;
    struct erasure e;
};

static void asking_end(struct asking *q, const struct error *err)
{
    struct rpc_call *call = q->call;
    struct error e = *err;
    arena_reset(&q->arena);
    free(q);
    rpc_call_fail(call, &e);
}

/* ---- finding the rows ---- */

static bool among(const struct asking *q, const char *document)
{
    for (size_t i = 0; i < q->n; i++) {
        if (strcmp(q->items[i].item.document, document) == 0) {
            return true;
        }
    }
    return false;
}

static enum status add(struct asking *q, const char *document, struct str path, uint64_t size,
                       struct error *err)
{
    if (q->n == ERASURE_DOCUMENTS_MAX) {
        return error_set(err, STATUS_TOO_LARGE,
                         "more than %u documents: erase them folder by folder",
                         ERASURE_DOCUMENTS_MAX);
    }
    struct asked_item *it = &q->items[q->n++];
    *it = (struct asked_item){0};
    (void)snprintf(it->item.document, sizeof it->item.document, "%s", document);
    it->item.size = size;
    it->item.path.ptr = arena_strndup(&q->arena, path.ptr, path.len);
    it->item.path.len = path.len;
    return it->item.path.ptr == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory")
                                     : STATUS_OK;
}

static enum status refuse_held(struct asking *q, struct journal *j, struct error *err)
{
    struct hold *holds = NULL;
    size_t n = 0;
    enum status s = hold_list(j, &q->arena, &holds, &n, err);
    for (size_t i = 0; i < q->n && n > 0 && s == STATUS_OK; i++) {
        const struct erasure_item *it = &q->items[i].item;
        const struct hold *h = hold_over(holds, n, it->document, it->path);
        s = h == NULL ? STATUS_OK : hold_refuse(h, it->path, err);
    }
    return s;
}

static enum status run_find(struct journal *j, struct journal_op *op, struct error *err)
{
    struct asking *q = container_of(op, struct asking, op);
    enum status s = STATUS_OK;
    q->n = 0;
    for (size_t i = 0; i < q->n_documents && s == STATUS_OK; i++) {
        struct file_row r;
        s = journal_get(j, q->documents[i], &q->arena, &r, err);
        if (s == STATUS_OK && !among(q, r.document)) {
            s = add(q, r.document, r.path, r.stamp.size, err);
        }
    }
    if (s == STATUS_OK && q->path.len > 0) {
        struct file_row *rows;
        size_t n = 0;
        s = journal_below(j, q->path, ERASURE_DOCUMENTS_MAX, &q->arena, &rows, &n, err);
        for (size_t i = 0; i < n && s == STATUS_OK; i++) {
            if (!among(q, rows[i].document)) {
                s = add(q, rows[i].document, rows[i].path, rows[i].stamp.size, err);
            }
        }
    }
    if (s == STATUS_OK && q->n == 0) {
        s = error_set(err, STATUS_NOT_FOUND, "no document is there");
    }
    return s == STATUS_OK ? refuse_held(q, j, err) : s;
}

/* ---- what they are made of ---- */

static void inspect_next(struct asking *q);

static struct asked_item *item_of(struct asking *q, const char *document)
{
    for (size_t i = q->inspected; i < q->until; i++) {
        if (strcmp(q->items[i].item.document, document) == 0) {
            return &q->items[i];
        }
    }
    return NULL;
}

static enum status take_copies(struct asking *q, struct asked_item *it,
                               const Vs__EraseInspectReply__Item *m, struct error *err)
{
    enum status s = STATUS_OK;
    it->copies = arena_array(&q->arena, m->n_copies + 1, sizeof *it->copies);
    if (it->copies == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < m->n_copies && s == STATUS_OK; i++) {
        const Vs__EraseInspectReply__Copy *c = m->copies[i];
        struct str path = {.ptr = (const char *)c->path.data, .len = c->path.len};
        if (q->copies == IG__ERASE_REQUEST__COPIES__ALL) {
            s = among(q, c->document) ? STATUS_OK : add(q, c->document, path, it->item.size, err);
            continue;
        }
        Ig__EraseCopy *copy = &it->copies[it->n_copies++];
        ig__erase_copy__init(copy);
        copy->document = arena_strdup(&q->arena, c->document);
        copy->path.data = (uint8_t *)arena_strndup(&q->arena, path.ptr, path.len);
        copy->path.len = path.len;
        if (copy->document == NULL || copy->path.data == NULL) {
            s = error_set(err, STATUS_NO_MEMORY, "out of memory");
        }
    }
    return s;
}

static enum status take_item(struct asking *q, const Vs__EraseInspectReply__Item *m,
                             struct error *err)
{
    struct asked_item *it = item_of(q, m->document);
    if (it == NULL) {
        return STATUS_OK;
    }
    it->item.chunks = m->chunks;
    it->item.versions = m->versions;
    it->item.has_hash = m->has_hash && m->hash.len == SHA256_BYTES;
    if (it->item.has_hash) {
        memcpy(it->item.hash, m->hash.data, SHA256_BYTES);
    }
    for (size_t i = 0; i < m->n_traces && q->n_traces < TRACES_MAX; i++) {
        if (m->traces[i]->keyed.len == TRACE_KEYED_BYTES) {
            struct trace *t = &q->traces[q->n_traces++];
            t->roll = m->traces[i]->roll;
            memcpy(t->keyed, m->traces[i]->keyed.data, TRACE_KEYED_BYTES);
        }
    }
    it->earlier = arena_array(&q->arena, m->n_earlier + 1, sizeof *it->earlier);
    for (size_t i = 0; it->earlier != NULL && i < m->n_earlier; i++) {
        if (m->earlier[i].len == SHA256_BYTES) {
            memcpy(it->earlier[it->n_earlier++], m->earlier[i].data, SHA256_BYTES);
        }
    }
    return it->earlier == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory")
                               : take_copies(q, it, m, err);
}

static void on_inspected(struct rpc_request *r, const ProtobufCMessage *msg, void *data)
{
    (void)r;
    struct asking *q = data;
    const Vs__EraseInspectReply *reply = vs_erase_inspect_reply(msg);
    enum status s = STATUS_OK;
    for (size_t i = 0; reply != NULL && i < reply->n_items && s == STATUS_OK; i++) {
        s = take_item(q, reply->items[i], &q->store_err);
    }
    q->store_err.code = s;
}

static void decide(struct asking *q);

static void on_inspect_end(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct asking *q = data;
    q->request = NULL;
    if (err->code != STATUS_OK || q->store_err.code != STATUS_OK) {
        asking_end(q, err->code != STATUS_OK ? err : &q->store_err);
        return;
    }
    q->inspected = q->until;
    if (q->inspected < q->n) {
        inspect_next(q);
    } else {
        decide(q);
    }
}

static void inspect_next(struct asking *q)
{
    char *list[INSPECT_BATCH];
    Vs__EraseInspectRequest m = VS__ERASE_INSPECT_REQUEST__INIT;
    m.documents = list;
    m.has_key = q->dry_run ? 0 : 1;
    m.key.data = (uint8_t *)(uintptr_t)erasing_key(q->t->erasing);
    m.key.len = KEYED_KEY_BYTES;
    for (q->until = q->inspected; q->until < q->n && m.n_documents < INSPECT_BATCH; q->until++) {
        list[m.n_documents++] = q->items[q->until].item.document;
    }
    struct rpc_options o = {.tenant = q->t->id};
    struct rpc_callbacks cb = {.on_reply = on_inspected, .on_finish = on_inspect_end};
    q->store_err = (struct error){.code = STATUS_OK};
    q->request = vs_erase_inspect(service_client(q->t->in->svc, PEER_VECTORSTORE), &o, &m, &cb, q);
    if (q->request == NULL) {
        struct error err;
        (void)error_set(&err, STATUS_NO_MEMORY, "out of memory");
        asking_end(q, &err);
    }
}

static void found_done(struct journal_op *op)
{
    struct asking *q = container_of(op, struct asking, op);
    if (op->err.code != STATUS_OK) {
        asking_end(q, &op->err);
    } else if (q->t->in->closing) {
        struct error err;
        (void)error_set(&err, STATUS_UNAVAILABLE, "ingest is closing");
        asking_end(q, &err);
    } else {
        inspect_next(q);
    }
}

/* ---- answering, beginning ---- */

static void answer(struct asking *q)
{
    Ig__EraseReply reply = IG__ERASE_REPLY__INIT;
    Ig__EraseItem *items = arena_array(&q->arena, q->n + 1, sizeof *items);
    reply.items = arena_array(&q->arena, q->n + 1, sizeof *reply.items);
    for (size_t i = 0; items != NULL && reply.items != NULL && i < q->n; i++) {
        struct asked_item *it = &q->items[i];
        ig__erase_item__init(&items[i]);
        items[i].document = it->item.document;
        items[i].path.data = (uint8_t *)(uintptr_t)it->item.path.ptr;
        items[i].path.len = it->item.path.len;
        items[i].size = it->item.size;
        items[i].chunks = it->item.chunks;
        items[i].versions = it->item.versions;
        items[i].copies = arena_array(&q->arena, it->n_copies + 1, sizeof *items[i].copies);
        for (size_t k = 0; items[i].copies != NULL && k < it->n_copies; k++) {
            items[i].copies[items[i].n_copies++] = &it->copies[k];
        }
        reply.items[reply.n_items++] = &items[i];
    }
    reply.erasure = q->dry_run ? NULL : q->e.id;
    struct rpc_call *call = q->call;
    ig_erase_return(call, &reply);
    arena_reset(&q->arena);
    free(q);
}

static enum status run_begin(struct journal *j, struct journal_op *op, struct error *err)
{
    struct asking *q = container_of(op, struct asking, op);
    struct erasure_item *list = arena_array(&q->arena, q->n + 1, sizeof *list);
    if (list == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < q->n; i++) {
        list[i] = q->items[i].item;
    }
    const uint8_t *key = erasing_key(q->t->erasing);
    id_new(q->e.id);
    q->e.by = q->by;
    enum status s = refuse_held(q, j, err); /* copies may have come in, and holds too */
    if (s == STATUS_OK) {
        s = erasure_begin(j, &q->e, list, q->n, q->traces, q->n_traces, key, err);
    }
    for (size_t i = 0; i < q->n && s == STATUS_OK; i++) {
        for (size_t k = 0; k < q->items[i].n_earlier && s == STATUS_OK; k++) {
            uint8_t keyed[KEYED_BYTES];
            keyed_hash(key, q->items[i].earlier[k], SHA256_BYTES, keyed);
            s = erasure_ban(j, q->e.id, keyed, err);
        }
    }
    return s;
}

static void begun_done(struct journal_op *op)
{
    struct asking *q = container_of(op, struct asking, op);
    struct tenant *t = q->t;
    if (op->err.code != STATUS_OK) {
        asking_end(q, &op->err);
        return;
    }
    answer(q);
    queue_changed(t->queue);
    erasing_changed(t->erasing);
}

/* A content that other documents have too: it dies only with all of them. */
static size_t settle_copies(struct asking *q, const struct asked_item **first)
{
    size_t n = 0;
    for (size_t i = 0; i < q->n; i++) {
        struct asked_item *it = &q->items[i];
        size_t outside = 0;
        for (size_t k = 0; k < it->n_copies; k++) {
            if (!among(q, it->copies[k].document)) {
                it->copies[outside++] = it->copies[k];
            }
        }
        it->n_copies = outside;
        it->item.content_stays = outside > 0;
        if (outside > 0 && n++ == 0) {
            *first = it;
        }
    }
    return n;
}

static void decide(struct asking *q)
{
    const struct asked_item *it = NULL;
    size_t shared = settle_copies(q, &it);
    if (q->dry_run) {
        answer(q);
        return;
    }
    if (shared > 0 && it != NULL && q->copies != IG__ERASE_REQUEST__COPIES__KEEP) {
        struct error err;
        char here[200];
        char there[200];
        struct str other = {.ptr = (const char *)it->copies[0].path.data,
                            .len = it->copies[0].path.len};
        path_show(it->item.path, here, sizeof here);
        path_show(other, there, sizeof there);
        (void)error_set(
            &err, STATUS_CONFLICT,
            "%s lies under another path too (%s, %zu in all): erase all copies "
            "(--all-copies), or only this place and let the content stay (--keep-copies)",
            here, there, it->n_copies);
        asking_end(q, &err);
        return;
    }
    q->op.run = run_begin;
    q->op.done = begun_done;
    journal_submit(&q->t->journal, &q->op);
}

/* ---- the call ---- */

static bool copy_request(struct asking *q, const Ig__EraseRequest *r)
{
    const struct caller *who = rpc_call_caller(q->call);
    q->by = arena_strdup(&q->arena, who == NULL ? "the appliance" : who->user);
    q->items = arena_array(&q->arena, ERASURE_DOCUMENTS_MAX, sizeof *q->items);
    q->traces = arena_array(&q->arena, TRACES_MAX, sizeof *q->traces);
    q->documents = arena_array(&q->arena, r->n_documents + 1, sizeof *q->documents);
    if (q->by == NULL || q->items == NULL || q->traces == NULL || q->documents == NULL) {
        return false;
    }
    for (size_t i = 0; i < r->n_documents; i++) {
        q->documents[q->n_documents] = arena_strdup(&q->arena, r->documents[i]);
        if (q->documents[q->n_documents++] == NULL) {
            return false;
        }
    }
    if (r->has_path) {
        size_t len = r->path.len;
        while (len > 0 && r->path.data[len - 1] == '/') {
            len--;
        }
        q->path.ptr = arena_strndup(&q->arena, (const char *)r->path.data, len);
        q->path.len = len;
    }
    q->copies = r->has_copies ? r->copies : IG__ERASE_REQUEST__COPIES__ASK;
    q->dry_run = r->has_dry_run && r->dry_run;
    return q->path.len == 0 || q->path.ptr != NULL;
}

bool erase_may(struct rpc_call *call)
{
    const struct caller *who = rpc_call_caller(call);
    if (who != NULL && who->admin) {
        return true;
    }
    rpc_call_finish(call, STATUS_FORBIDDEN, "only an administrator may erase");
    return false;
}

void erase_ask(struct rpc_call *call, const ProtobufCMessage *m)
{
    const Ig__EraseRequest *r = ig_erase_request(m);
    struct tenant *t = erase_may(call) ? documents_tenant(call) : NULL;
    if (t == NULL) {
        return;
    }
    if (r == NULL || r->n_documents > ERASURE_DOCUMENTS_MAX ||
        (r->n_documents == 0 && (!r->has_path || r->path.len == 0)) ||
        (r->has_path && r->path.len > INGEST_PATH_MAX)) {
        rpc_call_finish(call, STATUS_INVALID, "say which documents, or which path");
        return;
    }
    struct asking *q = calloc(1, sizeof *q);
    if (q == NULL) {
        rpc_call_finish(call, STATUS_NO_MEMORY, NULL);
        return;
    }
    q->call = call;
    q->t = t;
    arena_init(&q->arena, ASK_ARENA);
    if (!copy_request(q, r)) {
        struct error err;
        (void)error_set(&err, STATUS_NO_MEMORY, "out of memory");
        asking_end(q, &err);
        return;
    }
    q->op.run = run_find;
    q->op.done = found_done;
    journal_submit(&t->journal, &q->op);
}

/* ---- looking at them ---- */

struct looking {
    struct journal_op op;
    struct rpc_call *call;
    struct tenant *t;
    struct arena arena;
    char id[ID_CAP];
    struct erasure *list;
    size_t n;
    uint32_t allowed;
};

static struct looking *look(struct rpc_call *call, const char *id)
{
    struct tenant *t = erase_may(call) ? documents_tenant(call) : NULL;
    if (t == NULL) {
        return NULL;
    }
    struct looking *l = id == NULL || id_valid(id) ? calloc(1, sizeof *l) : NULL;
    if (l == NULL) {
        bool bad = id != NULL && !id_valid(id);
        rpc_call_finish(call, bad ? STATUS_NOT_FOUND : STATUS_NO_MEMORY,
                        bad ? "there is no erasure with this id" : NULL);
        return NULL;
    }
    l->call = call;
    l->t = t;
    arena_init(&l->arena, ASK_ARENA);
    (void)snprintf(l->id, sizeof l->id, "%s", id == NULL ? "" : id);
    return l;
}

static void looking_end(struct looking *l)
{
    arena_reset(&l->arena);
    free(l);
}

static void erasure_message(const struct erasure *e, bool certificate, Ig__Erasure *out)
{
    ig__erasure__init(out);
    out->id = (char *)(uintptr_t)e->id;
    out->created_wall_ms = e->created_ms;
    out->has_finished_wall_ms = e->finished_ms > 0;
    out->finished_wall_ms = e->finished_ms;
    out->by = (char *)(uintptr_t)e->by;
    out->step = (char *)(uintptr_t)erasure_phase_name(e->phase);
    out->error = e->error[0] == '\0' ? NULL : (char *)(uintptr_t)e->error;
    out->certificate =
        certificate && e->certificate[0] != '\0' ? (char *)(uintptr_t)e->certificate : NULL;
}

static enum status run_get(struct journal *j, struct journal_op *op, struct error *err)
{
    struct looking *l = container_of(op, struct looking, op);
    l->list = arena_alloc(&l->arena, sizeof *l->list);
    return l->list == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory")
                           : erasure_get(j, l->id, &l->arena, l->list, err);
}

static void get_done(struct journal_op *op)
{
    struct looking *l = container_of(op, struct looking, op);
    if (op->err.code != STATUS_OK) {
        rpc_call_fail(l->call, &op->err);
    } else {
        Ig__GetErasureReply reply = IG__GET_ERASURE_REPLY__INIT;
        Ig__Erasure e;
        erasure_message(l->list, true, &e);
        reply.erasure = &e;
        ig_get_erasure_return(l->call, &reply);
    }
    looking_end(l);
}

void erase_get(struct rpc_call *call, const ProtobufCMessage *m)
{
    const Ig__GetErasureRequest *r = ig_get_erasure_request(m);
    struct looking *l = look(call, r == NULL ? "" : r->erasure);
    if (l != NULL) {
        l->op.run = run_get;
        l->op.done = get_done;
        journal_submit(&l->t->journal, &l->op);
    }
}

static enum status run_list(struct journal *j, struct journal_op *op, struct error *err)
{
    struct looking *l = container_of(op, struct looking, op);
    arena_reset(&l->arena);
    return erasure_list(j, LIST_MAX, &l->arena, &l->list, &l->n, err);
}

static void list_done(struct journal_op *op)
{
    struct looking *l = container_of(op, struct looking, op);
    Ig__ListErasuresReply reply = IG__LIST_ERASURES_REPLY__INIT;
    Ig__Erasure list[LIST_MAX];
    Ig__Erasure *items[LIST_MAX];
    if (op->err.code != STATUS_OK) {
        rpc_call_fail(l->call, &op->err);
    } else {
        for (size_t i = 0; i < l->n; i++) {
            erasure_message(&l->list[i], false, &list[i]);
            items[i] = &list[i];
        }
        reply.erasures = items;
        reply.n_erasures = l->n;
        ig_list_erasures_return(l->call, &reply);
    }
    looking_end(l);
}

void erase_list(struct rpc_call *call, const ProtobufCMessage *m)
{
    (void)m;
    struct looking *l = look(call, NULL);
    if (l != NULL) {
        l->op.run = run_list;
        l->op.done = list_done;
        journal_submit(&l->t->journal, &l->op);
    }
}

static enum status run_allow(struct journal *j, struct journal_op *op, struct error *err)
{
    struct looking *l = container_of(op, struct looking, op);
    bool known = false;
    enum status s = erasure_known(j, l->id, &known, err);
    if (s == STATUS_OK && !known) {
        s = error_set(err, STATUS_NOT_FOUND, "there is no erasure with this id");
    }
    return s == STATUS_OK ? erasure_allow(j, l->id, &l->allowed, err) : s;
}

static void allow_done(struct journal_op *op)
{
    struct looking *l = container_of(op, struct looking, op);
    if (op->err.code != STATUS_OK) {
        rpc_call_fail(l->call, &op->err);
    } else {
        Ig__AllowErasedReply reply = IG__ALLOW_ERASED_REPLY__INIT;
        reply.contents = l->allowed;
        ig_allow_erased_return(l->call, &reply);
    }
    looking_end(l);
}

void erase_allow(struct rpc_call *call, const ProtobufCMessage *m)
{
    const Ig__AllowErasedRequest *r = ig_allow_erased_request(m);
    struct looking *l = look(call, r == NULL ? "" : r->erasure);
    if (l != NULL) {
        l->op.run = run_allow;
        l->op.done = allow_done;
        journal_submit(&l->t->journal, &l->op);
    }
}
