/* Finding everything that names a data subject, in this order: the trash is walked (a lane); the
 * store looks through every content and version, step by step, and says of which files of the trash
 * it has the text; the journal gives the paths of what is not in the store, and what could not be
 * read at all. What is not known is told, never passed over. */
#include <stdio.h>
#include <string.h>

#include "base/db.h"
#include "ingest/documents.h"
#include "ingest/erase_ask.h"
#include "ingest/erase_files.h"
#include "vectorstore/vectorstore_rpc.h"

#define HASHES_BATCH 4096U

/* ---- what was found ---- */

static struct found *found_of(struct asking *q, const char *document, struct str path,
                              struct error *err)
{
    struct found *f = map_get(&q->by_document, str_from(document));
    if (f != NULL) {
        return f;
    }
    if (q->n_found == ERASURE_DOCUMENTS_MAX) {
        (void)error_set(err, STATUS_TOO_LARGE,
                        "more than %u documents name the subject, or cannot be searched for it: "
                        "say a more exact identifier",
                        ERASURE_DOCUMENTS_MAX);
        return NULL;
    }
    f = arena_alloc(&q->arena, sizeof *f);
    char *copy = arena_strndup(&q->arena, path.ptr, path.len);
    if (f == NULL || copy == NULL) {
        (void)error_set(err, STATUS_NO_MEMORY, "out of memory");
        return NULL;
    }
    *f = (struct found){.path = {.ptr = copy, .len = path.len}};
    (void)snprintf(f->document, sizeof f->document, "%s", document);
    if (map_put(&q->by_document, str_from(f->document), f, NULL) != STATUS_OK) {
        (void)error_set(err, STATUS_NO_MEMORY, "out of memory");
        return NULL;
    }
    q->found[q->n_found++] = f;
    return f;
}

static enum status take_found(struct asking *q, const Vs__FindSubjectReply__Item *m,
                              struct error *err)
{
    struct str path = {.ptr = (const char *)m->path.data, .len = m->path.len};
    struct found *f = found_of(q, m->document, path, err);
    if (f == NULL) {
        return err->code;
    }
    f->passages += m->passages;
    f->current = f->current || (m->current && m->passages > 0);
    f->named = f->named || m->name;
    f->unread = f->unread || m->unread;
    return STATUS_OK;
}

/* ---- the store ---- */

static void find_next(struct asking *q);

static void on_found(struct rpc_request *r, const ProtobufCMessage *msg, void *data)
{
    (void)r;
    struct asking *q = data;
    const Vs__FindSubjectReply *reply = vs_find_subject_reply(msg);
    enum status s = STATUS_OK;
    for (size_t i = 0; reply != NULL && i < reply->n_items && s == STATUS_OK; i++) {
        s = take_found(q, reply->items[i], &q->store_err);
    }
    if (reply != NULL && s == STATUS_OK && reply->n_stored != q->hashes_asked) {
        s = error_set(&q->store_err, STATUS_CORRUPT,
                      "the store was asked about %zu files of the trash and told of %zu",
                      q->hashes_asked, reply->n_stored);
    }
    for (size_t i = 0; reply != NULL && s == STATUS_OK && i < reply->n_stored; i++) {
        q->trash[q->trash_asked++].stored = reply->stored[i];
    }
    q->hashes_asked = 0; /* a second reply to one question has nothing to tell */
    if (reply != NULL && !q->cursor.done) {
        subject_cursor_take(&q->cursor, reply);
    }
    q->store_err.code = s;
}

static void on_find_end(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct asking *q = data;
    q->request = NULL;
    if (err->code != STATUS_OK || q->store_err.code != STATUS_OK) {
        asking_end(q, err->code != STATUS_OK ? err : &q->store_err);
    } else if (q->cursor.done && q->trash_asked == q->n_trash) {
        asking_found(q);
    } else {
        find_next(q);
    }
}

static void find_next(struct asking *q)
{
    Vs__FindSubjectRequest m = VS__FIND_SUBJECT_REQUEST__INIT;
    ProtobufCBinaryData marks[SUBJECTS_MAX];
    uint8_t packed[SUBJECTS_MAX][SUBJECT_MARK_BYTES];
    size_t hashes = q->n_trash - q->trash_asked;
    hashes = hashes < HASHES_BATCH ? hashes : HASHES_BATCH;
    m.key.data = (uint8_t *)(uintptr_t)erasing_key(q->t->erasing);
    m.key.len = KEYED_KEY_BYTES;
    m.marks = marks;
    m.n_marks = q->cursor.done ? 0 : subject_messages(q->marks, q->n_marks, packed, marks);
    subject_cursor_ask(&q->cursor, &m);
    m.hashes = arena_array(&q->arena, hashes + 1, sizeof *m.hashes);
    for (; m.hashes != NULL && m.n_hashes < hashes; m.n_hashes++) {
        m.hashes[m.n_hashes] = (ProtobufCBinaryData){
            .data = q->trash[q->trash_asked + m.n_hashes].hash, .len = SHA256_BYTES};
    }
    q->hashes_asked = m.n_hashes;
    struct rpc_options o = {.tenant = q->t->id};
    struct rpc_callbacks cb = {.on_reply = on_found, .on_finish = on_find_end};
    q->store_err = (struct error){.code = STATUS_OK};
    q->request = m.hashes == NULL ? NULL
                                  : vs_find_subject(service_client(q->t->in->svc, PEER_VECTORSTORE),
                                                    &o, &m, &cb, q);
    if (q->request == NULL) {
        struct error err;
        (void)error_set(&err, STATUS_NO_MEMORY, "out of memory");
        asking_end(q, &err);
    }
}

/* ---- the trash ---- */

static void trash_work(void *data)
{
    struct asking *q = data;
    q->store_err.code = erase_trash_look(q->t->in->svc->home, q->t->id, q->set, &q->arena,
                                         &q->trash, &q->n_trash, &q->store_err);
}

static void trash_done(void *data)
{
    struct asking *q = data;
    if (q->store_err.code != STATUS_OK) {
        struct error err = q->store_err;
        asking_end(q, &err);
    } else if (q->t->in->closing) {
        struct error err;
        (void)error_set(&err, STATUS_UNAVAILABLE, "ingest is closing");
        asking_end(q, &err);
    } else {
        find_next(q);
    }
}

void erase_find(struct asking *q)
{
    struct error err;
    q->found = arena_array(&q->arena, ERASURE_DOCUMENTS_MAX, sizeof *q->found);
    q->unsearched = arena_array(&q->arena, UNSEARCHED_MAX, sizeof *q->unsearched);
    q->store_err = (struct error){.code = STATUS_OK};
    enum status s = q->found == NULL || q->unsearched == NULL
                        ? error_set(&err, STATUS_NO_MEMORY, "out of memory")
                        : lane_submit(&q->t->in->work, trash_work, trash_done, q, &err);
    if (s != STATUS_OK) {
        asking_end(q, &err);
    }
}

/* ---- the journal, and what comes out ---- */

static enum status unsearched(struct asking *q, const char *document, struct str path,
                              const char *why, struct error *err)
{
    q->unsearched_count++;
    if (q->n_unsearched == UNSEARCHED_MAX) {
        return STATUS_OK;
    }
    Ig__Unsearched *u = &q->unsearched[q->n_unsearched++];
    ig__unsearched__init(u);
    u->document = arena_strdup(&q->arena, document);
    u->path.data = (uint8_t *)arena_strndup(&q->arena, path.ptr, path.len);
    u->path.len = path.len;
    u->why = arena_strdup(&q->arena, why);
    return u->document == NULL || u->path.data == NULL || u->why == NULL
               ? error_set(err, STATUS_NO_MEMORY, "out of memory")
               : STATUS_OK;
}

/* A row of the journal: its path may name the subject; what the store has no text of is not known.
 */
static enum status take_row(struct asking *q, const char *document, struct str path, uint64_t size,
                            enum file_state state, struct str why, struct error *err)
{
    static const char *const reasons[] = {"it waits to be read", "", "it could not be read",
                                          "it was deleted where the file must stay"};
    bool named = subject_in(q->set, path);
    struct found *f = map_get(&q->by_document, str_from(document));
    if (f == NULL && named) {
        f = found_of(q, document, path, err);
        if (f == NULL) {
            return err->code;
        }
    }
    if (f != NULL) {
        f->size = size;
        f->named = f->named || named;
        f->path =
            (struct str){.ptr = arena_strndup(&q->arena, path.ptr, path.len), .len = path.len};
        if (f->path.ptr == NULL) {
            return error_set(err, STATUS_NO_MEMORY, "out of memory");
        }
    }
    if (state != FILE_READY && (f == NULL || (f->passages == 0 && !f->named && !f->unread))) {
        char text[300];
        (void)snprintf(text, sizeof text, "%s%s%.*s", reasons[state & 3], why.len > 0 ? ": " : "",
                       (int)(why.len < 200 ? why.len : 200), why.len > 0 ? why.ptr : "");
        return unsearched(q, document, path, text, err);
    }
    return STATUS_OK;
}

static enum status read_rows(struct asking *q, struct journal *j, struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    enum status s = db_prepare(journal_db(j),
                               "SELECT document,coalesce(path,x''),size,state,coalesce(error,'')"
                               " FROM files",
                               &st, err);
    while (s == STATUS_OK && (s = db_row(st, &row, err)) == STATUS_OK && row) {
        struct str id = db_column(st, 0);
        char document[ID_CAP];
        (void)snprintf(document, sizeof document, "%.*s",
                       (int)(id.len < ID_CAP ? id.len : ID_CAP - 1), id.ptr);
        struct str path = db_column(st, 1);
        s = take_row(q, document, path, (uint64_t)sqlite3_column_int64(st, 2),
                     (enum file_state)sqlite3_column_int(st, 3), db_column(st, 4), err);
    }
    (void)sqlite3_finalize(st);
    return s;
}

static bool listed(char *const *list, size_t n, const char *document)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(list[i], document) == 0) {
            return true;
        }
    }
    return false;
}

static enum status sort_out(struct asking *q, const struct found *f, struct error *err)
{
    if (f->passages == 0 && !f->named) {
        return unsearched(q, f->document, f->path, "its text in the store cannot be read", err);
    }
    struct asked_item *it = NULL;
    if (listed(q->except, q->n_except, f->document)) {
        it = &q->kept[q->n_kept++];
        *it = (struct asked_item){.item = {.path = f->path, .size = f->size}};
        memcpy(it->item.document, f->document, sizeof it->item.document);
    } else {
        enum status s = asking_add(q, f->document, f->path, f->size, err);
        if (s != STATUS_OK) {
            return s;
        }
        it = &q->items[q->n - 1];
    }
    it->passages = f->passages;
    it->before = f->passages > 0 && !f->current;
    it->named = f->named;
    return STATUS_OK;
}

/* A file of the trash that no document of the store or journal stands for is one by itself. */
static enum status take_trash(struct asking *q, const struct erase_trash_file *t, struct error *err)
{
    if (!t->named && !t->plain && !t->stored) {
        return unsearched(q, "", t->path, "a file in the trash whose text is not stored", err);
    }
    for (size_t i = 0; i < q->n && t->named; i++) {
        if (!q->items[i].trash && str_eq(q->items[i].item.path, t->path)) {
            return STATUS_OK; /* goes with it */
        }
    }
    if (!t->named) {
        return STATUS_OK;
    }
    char id[ID_CAP];
    id_new(id);
    enum status s = asking_add(q, id, t->path, t->size, err);
    if (s == STATUS_OK) {
        struct asked_item *it = &q->items[q->n - 1];
        it->item.has_hash = true;
        memcpy(it->item.hash, t->hash, sizeof it->item.hash);
        it->item.source = SOURCE_TRASH;
        it->trash = true;
        it->stored = t->stored;
        it->passages = 1;
    }
    return s;
}

/* Those listed in the request must be those found. */
static enum status agree(const struct asking *q, struct error *err)
{
    size_t n = 0;
    for (size_t i = 0; i < q->n; i++) {
        n += q->items[i].trash ? 0 : 1;
        if (!q->items[i].trash &&
            !listed(q->documents, q->n_documents, q->items[i].item.document)) {
            return error_set(err, STATUS_CONFLICT,
                             "document %s names the subject too and was not in the list: look at "
                             "the preview again, or except it",
                             q->items[i].item.document);
        }
    }
    return n == q->n_documents
               ? STATUS_OK
               : error_set(err, STATUS_CONFLICT,
                           "%zu of the documents listed do not name the subject any more, or are "
                           "excepted: look at the preview again",
                           q->n_documents - n);
}

/* A mail that names the subject goes with what is attached to it, whether that does or not: it is
 * told of, and held it stops the whole. What is to stay cannot lie in a file that goes. */
static enum status take_members(struct asking *q, struct journal *j, struct error *err)
{
    size_t own = q->n;
    enum status s = STATUS_OK;
    for (size_t i = 0; i < own && s == STATUS_OK; i++) {
        struct file_row r;
        if (q->items[i].trash) {
            continue;
        }
        s = journal_get(j, q->items[i].item.document, &q->arena, &r, err);
        if (s == STATUS_OK) {
            s = asking_add_members(q, j, &r, err);
        } else if (s == STATUS_NOT_FOUND) { /* gone already: so are they */
            s = STATUS_OK;
        }
    }
    for (size_t i = own; i < q->n && s == STATUS_OK; i++) {
        if (listed(q->except, q->n_except, q->items[i].item.document)) {
            char shown[120];
            path_show(q->items[i].item.path, shown, sizeof shown);
            s = error_set(err, STATUS_CONFLICT,
                          "%s is to stay and lies in a file that is to go: except that one too",
                          shown);
        }
    }
    return s;
}

enum status erase_find_gather(struct asking *q, struct journal *j, struct error *err)
{
    q->n_unsearched = q->unsearched_count = q->n_kept = 0;
    q->kept = arena_array(&q->arena, q->n_except + 1, sizeof *q->kept);
    enum status s =
        q->kept == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory") : read_rows(q, j, err);
    for (size_t i = 0; i < q->n_found && s == STATUS_OK; i++) {
        s = sort_out(q, q->found[i], err);
    }
    s = s == STATUS_OK ? take_members(q, j, err) : s;
    for (size_t i = 0; i < q->n_trash && s == STATUS_OK; i++) {
        s = take_trash(q, &q->trash[i], err);
    }
    for (size_t i = 0; i < q->n_except && s == STATUS_OK; i++) {
        const struct found *f = map_get(&q->by_document, str_from(q->except[i]));
        if (f == NULL || (f->passages == 0 && !f->named)) {
            s = error_set(err, STATUS_NOT_FOUND,
                          "document %.40s, which is to stay, does not name the subject",
                          q->except[i]);
        }
    }
    return s == STATUS_OK && q->listed ? agree(q, err) : s;
}
