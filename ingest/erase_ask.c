/* Asking for an erasure: find the rows, ask the store what they are made of and who else has it,
 * then write the whole down in one transaction; what follows is erase.c's. */
#include "ingest/erase_ask.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ingest/documents.h"
#include "ingest/holds.h"
#include "ingest/queue.h"
#include "serve/serve_rpc.h"
#include "vectorstore/vectorstore_rpc.h"

#define ASK_ARENA ((size_t)64 << 20)
#define INSPECT_BATCH 64U
#define TRACES_MAX 65536U

static void asking_free(struct asking *q)
{
    subject_set_free(q->set);
    map_deinit(&q->by_document);
    arena_reset(&q->arena);
    free(q);
}

void asking_end(struct asking *q, const struct error *err)
{
    struct rpc_call *call = q->call;
    struct error e = *err;
    asking_free(q);
    rpc_call_fail(call, &e);
}

/* ---- finding the rows ---- */

static bool asking_has(const struct asking *q, const char *document)
{
    for (size_t i = 0; i < q->n; i++) {
        if (strcmp(q->items[i].item.document, document) == 0) {
            return true;
        }
    }
    return false;
}

enum status asking_add(struct asking *q, const char *document, struct str path, uint64_t size,
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

/* Where they stand, and, once the store has been asked, where they stood: it is told of a lifted
 * hold a moment later than the journal. */
static enum status refuse_held(struct asking *q, struct journal *j, struct error *err)
{
    struct hold *holds = NULL;
    size_t n = 0;
    enum status s = hold_list(j, &q->arena, &holds, &n, err);
    for (size_t i = 0; i < q->n && n > 0 && s == STATUS_OK; i++) {
        const struct erasure_item *it = &q->items[i].item;
        const struct hold *h = hold_over(holds, n, it->document, it->path);
        h = h == NULL && q->items[i].hold != NULL ? hold_named(holds, n, q->items[i].hold) : h;
        s = h == NULL ? STATUS_OK : hold_refuse(h, it->path, err);
    }
    return s;
}

static enum status add_row(struct asking *q, const struct file_row *r, struct error *err)
{
    return asking_has(q, r->document) ? STATUS_OK
                                      : asking_add(q, r->document, r->path, r->stamp.size, err);
}

enum status asking_add_members(struct asking *q, struct journal *j, const struct file_row *r,
                               struct error *err)
{
    struct file_row *rows = NULL;
    size_t n = 0;
    enum status s = journal_below(j, r->path, ERASURE_DOCUMENTS_MAX, &q->arena, &rows, &n, err);
    for (size_t i = 0; i < n && s == STATUS_OK; i++) {
        s = rows[i].parent == 0 ? STATUS_OK : add_row(q, &rows[i], err);
    }
    return s;
}

static bool has_path(const struct asking *q, struct str path)
{
    for (size_t i = 0; i < q->n; i++) {
        if (str_eq(q->items[i].item.path, path)) {
            return true;
        }
    }
    return false;
}

/* One document in an archive cannot be erased: the archive would still have it. */
static enum status refuse_members(struct asking *q, struct journal *j, struct error *err)
{
    struct str last = STR("");
    enum status s = STATUS_OK;
    for (size_t i = 0; i < q->n && s == STATUS_OK; i++) {
        struct file_row r;
        s = journal_get(j, q->items[i].item.document, &q->arena, &r, err);
        if (s != STATUS_OK || r.parent == 0 || str_eq(file_row_real(&r), last)) {
            s = s == STATUS_NOT_FOUND ? STATUS_OK : s;
            continue;
        }
        last = file_row_real(&r);
        if (!has_path(q, last)) {
            char shown[160];
            char real[160];
            path_show(r.path, shown, sizeof shown);
            path_show(last, real, sizeof real);
            s = error_set(
                err, STATUS_CONFLICT,
                "%s lies in the file %s, which would still have it: erase that file, with "
                "all that lies in it, or take it out of the file first",
                shown, real);
        }
    }
    return s;
}

static enum status run_find(struct journal *j, struct journal_op *op, struct error *err)
{
    struct asking *q = container_of(op, struct asking, op);
    enum status s = STATUS_OK;
    q->n = 0;
    if (q->set != NULL) {
        s = erase_find_gather(q, j, err);
        return s == STATUS_OK ? refuse_held(q, j, err) : s;
    }
    for (size_t i = 0; i < q->n_documents && s == STATUS_OK; i++) {
        struct file_row r;
        s = journal_get(j, q->documents[i], &q->arena, &r, err);
        if (s == STATUS_OK) {
            s = add_row(q, &r, err);
        }
        if (s == STATUS_OK) {
            s = asking_add_members(q, j, &r, err);
        }
    }
    if (s == STATUS_OK && q->path.len > 0) {
        struct file_row *rows;
        size_t n = 0;
        s = journal_below(j, q->path, ERASURE_DOCUMENTS_MAX, &q->arena, &rows, &n, err);
        for (size_t i = 0; i < n && s == STATUS_OK; i++) {
            s = add_row(q, &rows[i], err);
        }
    }
    if (s == STATUS_OK && q->n == 0) {
        s = error_set(err, STATUS_NOT_FOUND, "no document is there");
    }
    if (s == STATUS_OK) {
        s = refuse_members(q, j, err);
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
            s = asking_has(q, c->document) ? STATUS_OK
                                           : asking_add(q, c->document, path, it->item.size, err);
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
    it->hold = m->hold == NULL ? NULL : arena_strdup(&q->arena, m->hold);
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
    } else if (q->n > 0) {
        inspect_next(q);
    } else { /* answers may name the subject though no document does */
        decide(q);
    }
}

/* ---- answering, beginning ---- */

static Ig__EraseItem **item_messages(struct asking *q, struct asked_item *list, size_t n)
{
    Ig__EraseItem *items = arena_array(&q->arena, n + 1, sizeof *items);
    Ig__EraseItem **out = arena_array(&q->arena, n + 1, sizeof *out);
    for (size_t i = 0; items != NULL && out != NULL && i < n; i++) {
        struct asked_item *it = &list[i];
        Ig__EraseItem *m = out[i] = &items[i];
        ig__erase_item__init(m);
        m->document = it->item.document;
        m->path.data = (uint8_t *)(uintptr_t)it->item.path.ptr;
        m->path.len = it->item.path.len;
        m->size = it->item.size;
        m->chunks = it->item.chunks;
        m->versions = it->item.versions;
        m->copies = arena_array(&q->arena, it->n_copies + 1, sizeof *m->copies);
        for (size_t k = 0; m->copies != NULL && k < it->n_copies; k++) {
            m->copies[m->n_copies++] = &it->copies[k];
        }
        m->has_passages = m->has_earlier = m->has_name = m->has_trash = q->set != NULL;
        m->passages = it->passages;
        m->earlier = it->before;
        m->name = it->named;
        m->trash = it->trash;
    }
    return items == NULL ? NULL : out;
}

static void answer(struct asking *q)
{
    Ig__EraseReply reply = IG__ERASE_REPLY__INIT;
    struct error err;
    reply.items = item_messages(q, q->items, q->n);
    reply.kept = item_messages(q, q->kept, q->n_kept);
    reply.unsearched = arena_array(&q->arena, q->n_unsearched + 1, sizeof *reply.unsearched);
    if (reply.items == NULL || reply.kept == NULL || reply.unsearched == NULL) {
        (void)error_set(&err, STATUS_NO_MEMORY, "out of memory");
        asking_end(q, &err);
        return;
    }
    reply.n_items = q->n;
    reply.n_kept = q->n_kept;
    for (; reply.n_unsearched < q->n_unsearched; reply.n_unsearched++) {
        reply.unsearched[reply.n_unsearched] = &q->unsearched[reply.n_unsearched];
    }
    reply.has_unsearched_count = reply.has_answers = q->set != NULL;
    reply.unsearched_count = (uint32_t)q->unsearched_count;
    reply.answers = q->answers;
    reply.erasure = q->dry_run ? NULL : q->e.id;
    ig_erase_return(q->call, &reply);
    asking_free(q);
}

/* What stays is told with its path masked: the journal and the certificate name nobody. */
static enum status begin_subject(struct asking *q, struct journal *j, struct error *err)
{
    struct erasure_subject subject = {.marks = q->marks, .n_marks = q->n_marks};
    subject.kept = arena_array(&q->arena, q->n_kept + 1, sizeof *subject.kept);
    if (subject.kept == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    for (; subject.n_kept < q->n_kept; subject.n_kept++) {
        const struct erasure_item *it = &q->kept[subject.n_kept].item;
        struct erasure_kept *k = &subject.kept[subject.n_kept];
        char masked[INGEST_PATH_MAX + 64];
        memcpy(k->document, it->document, sizeof k->document);
        k->path.len = subject_masked(q->set, it->path, masked, sizeof masked);
        k->path.ptr = arena_strndup(&q->arena, masked, k->path.len);
        if (k->path.ptr == NULL) {
            return error_set(err, STATUS_NO_MEMORY, "out of memory");
        }
    }
    return erasure_subject_begin(j, q->e.id, &subject, err);
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
        s = refuse_members(q, j, err);
    }
    if (s == STATUS_OK) {
        s = erasure_begin(j, &q->e, list, q->n, q->traces, q->n_traces, key, err);
    }
    if (s == STATUS_OK && q->set != NULL) {
        s = begin_subject(q, j, err);
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
    held_clear(&t->held); /* what else waits there is unpacked again */
    queue_changed(t->queue);
    erasing_changed(t->erasing);
}

/* Does a document that goes take this content with it? */
static bool content_goes(const struct asking *q, const uint8_t hash[SHA256_BYTES])
{
    for (size_t i = 0; i < q->n; i++) {
        const struct asked_item *it = &q->items[i];
        bool goes = !it->trash && it->item.has_hash && !it->item.content_stays &&
                    memcmp(it->item.hash, hash, SHA256_BYTES) == 0;
        for (size_t k = 0; k < it->n_earlier && !goes; k++) {
            goes = memcmp(it->earlier[k], hash, SHA256_BYTES) == 0;
        }
        if (goes) {
            return true;
        }
    }
    return false;
}

/* A content that other documents have too: it dies only with all of them. What lies in the trash
 * goes from there in any case. */
static size_t settle_copies(struct asking *q, const struct asked_item **first)
{
    size_t n = 0;
    for (size_t i = 0; i < q->n; i++) {
        struct asked_item *it = &q->items[i];
        size_t outside = 0;
        for (size_t k = 0; k < it->n_copies; k++) {
            if (!asking_has(q, it->copies[k].document)) {
                it->copies[outside++] = it->copies[k];
            }
        }
        it->n_copies = outside;
        it->item.content_stays = outside > 0;
        if (outside > 0 && n++ == 0) {
            *first = it;
        }
    }
    for (size_t i = 0; i < q->n; i++) {
        struct asked_item *it = &q->items[i];
        it->item.content_stays =
            it->trash ? it->stored && !content_goes(q, it->item.hash) : it->item.content_stays;
    }
    return n;
}

static void begin_or_show(struct asking *q)
{
    if (q->dry_run) {
        answer(q);
        return;
    }
    q->op.run = run_begin;
    q->op.done = begun_done;
    journal_submit(&q->t->journal, &q->op);
}

static void on_counted(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct asking *q = data;
    const Se__ForgetReply *reply = se_forget_reply(m);
    q->answers = reply == NULL ? 0 : reply->answers;
}

static void on_count_end(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct asking *q = data;
    struct error nothing;
    q->request = NULL;
    if (err->code != STATUS_OK) {
        asking_end(q, err);
    } else if (!q->dry_run && q->n == 0 && q->answers == 0) {
        (void)error_set(&nothing, STATUS_NOT_FOUND,
                        "nothing that could be searched names the subject (%zu could not be)",
                        q->unsearched_count);
        asking_end(q, &nothing);
    } else {
        begin_or_show(q);
    }
}

/* How many answers name the subject, or were made from what goes. */
static void count_answers(struct asking *q)
{
    Se__ForgetRequest m = SE__FORGET_REQUEST__INIT;
    ProtobufCBinaryData marks[SUBJECTS_MAX];
    uint8_t packed[SUBJECTS_MAX][SUBJECT_MARK_BYTES];
    m.has_dry_run = m.dry_run = 1;
    m.has_key = 1;
    m.key.data = (uint8_t *)(uintptr_t)erasing_key(q->t->erasing);
    m.key.len = KEYED_KEY_BYTES;
    m.marks = marks;
    m.n_marks = subject_messages(q->marks, q->n_marks, packed, marks);
    m.documents = arena_array(&q->arena, q->n + 1, sizeof *m.documents);
    for (; m.documents != NULL && m.n_documents < q->n; m.n_documents++) {
        m.documents[m.n_documents] = q->items[m.n_documents].item.document;
    }
    struct rpc_options o = {.tenant = q->t->id};
    struct rpc_callbacks cb = {.on_reply = on_counted, .on_finish = on_count_end};
    q->request = m.documents == NULL
                     ? NULL
                     : se_forget(service_client(q->t->in->svc, PEER_SERVE), &o, &m, &cb, q);
    if (q->request == NULL) {
        struct error err;
        (void)error_set(&err, STATUS_NO_MEMORY, "out of memory");
        asking_end(q, &err);
    }
}

static void decide(struct asking *q)
{
    const struct asked_item *it = NULL;
    size_t shared = settle_copies(q, &it);
    if (q->set != NULL) { /* a copy that stays was excepted: so its content does */
        count_answers(q);
        return;
    }
    if (!q->dry_run && shared > 0 && it != NULL && q->copies != IG__ERASE_REQUEST__COPIES__KEEP) {
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
    begin_or_show(q);
}

/* ---- the call ---- */

static bool copy_list(struct asking *q, char **list, size_t n, char ***out, size_t *n_out)
{
    *out = arena_array(&q->arena, n + 1, sizeof **out);
    for (*n_out = 0; *out != NULL && *n_out < n; (*n_out)++) {
        (*out)[*n_out] = arena_strdup(&q->arena, list[*n_out]);
        if ((*out)[*n_out] == NULL) {
            return false;
        }
    }
    return *out != NULL;
}

static bool copy_request(struct asking *q, const Ig__EraseRequest *r)
{
    const struct caller *who = rpc_call_caller(q->call);
    q->by = arena_strdup(&q->arena, who == NULL ? "the appliance" : who->user);
    q->items = arena_array(&q->arena, ERASURE_DOCUMENTS_MAX, sizeof *q->items);
    q->traces = arena_array(&q->arena, TRACES_MAX, sizeof *q->traces);
    if (q->by == NULL || q->items == NULL || q->traces == NULL ||
        !copy_list(q, r->documents, r->n_documents, &q->documents, &q->n_documents) ||
        !copy_list(q, r->except, r->n_except, &q->except, &q->n_except)) {
        return false;
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
    q->listed = q->n_documents > 0 || (r->has_listed && r->listed);
    return q->path.len == 0 || q->path.ptr != NULL;
}

/* The identifiers are kept as marks only. */
static enum status take_subjects(struct asking *q, const Ig__EraseRequest *r, struct error *err)
{
    const uint8_t *key = erasing_key(q->t->erasing);
    enum status s = STATUS_OK;
    for (; q->n_marks < r->n_subjects && s == STATUS_OK; q->n_marks++) {
        s = subject_mark_make(key, str_from(r->subjects[q->n_marks]), &q->marks[q->n_marks], err);
    }
    if (s == STATUS_OK && q->n_marks > 0) {
        q->set = subject_set_new(key, q->marks, q->n_marks);
        s = q->set == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory") : STATUS_OK;
    }
    return s;
}

static bool sensible(const Ig__EraseRequest *r)
{
    bool path = r != NULL && r->has_path && r->path.len > 0;
    if (r == NULL || r->n_documents > ERASURE_DOCUMENTS_MAX ||
        r->n_except > ERASURE_DOCUMENTS_MAX || r->n_subjects > SUBJECTS_MAX ||
        (path && r->path.len > INGEST_PATH_MAX)) {
        return false;
    }
    return r->n_subjects > 0 ? !path && !r->has_copies
                             : r->n_except == 0 && (path || r->n_documents > 0);
}

/* The rows, and whether a hold is over one of them. */
void asking_found(struct asking *q)
{
    q->op.run = run_find;
    q->op.done = found_done;
    journal_submit(&q->t->journal, &q->op);
}

void erase_ask(struct rpc_call *call, const ProtobufCMessage *m)
{
    const Ig__EraseRequest *r = ig_erase_request(m);
    struct tenant *t = erase_may(call) ? documents_tenant(call) : NULL;
    if (t == NULL) {
        return;
    }
    if (!sensible(r)) {
        rpc_call_finish(call, STATUS_INVALID,
                        "say which documents, or which path, or which data subject (at most 64 "
                        "identifiers; without path and copies)");
        return;
    }
    struct asking *q = calloc(1, sizeof *q);
    if (q == NULL) {
        rpc_call_finish(call, STATUS_NO_MEMORY, NULL);
        return;
    }
    q->call = call;
    q->t = t;
    map_init(&q->by_document);
    arena_init(&q->arena, ASK_ARENA);
    struct error err;
    enum status s = copy_request(q, r) ? take_subjects(q, r, &err)
                                       : error_set(&err, STATUS_NO_MEMORY, "out of memory");
    if (s != STATUS_OK) {
        asking_end(q, &err);
    } else if (q->set != NULL) {
        erase_find(q);
    } else {
        asking_found(q);
    }
}
