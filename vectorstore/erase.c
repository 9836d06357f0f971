/* Erasure on the store's side. Three things: what a document is made of (inspect, which changes
 * nothing), its leaving search (erase, one small transaction), and the scrubbing of every file from
 * what is dead, in bounded steps that ingest's journal drives and may repeat after a crash.
 *
 * A store that is opened looks at the tenant's list of erasures first: where a backup from before
 * was put back, what it names leaves search before the first question is answered. */
#include <stdio.h>
#include <string.h>

#include "base/erased.h"
#include "base/log.h"
#include "base/trace.h"
#include "vectorstore/catalogue_query.h"
#include "vectorstore/store_internal.h"

#define INSPECT_MAX 256U
#define COPIES_MAX 64U
#define TRACES_MAX 64U        /* of one file */
#define ITEM_TRACES_MAX 2048U /* of one document with its versions */
#define DROP_VECTORS 1024U

/* ---- catalogue ---- */

enum status catalogue_versions_count(struct catalogue *c, const char *document, int64_t *n,
                                     struct error *err)
{
    struct query q = query(c, Q_VERSION_COUNT, err);
    put_z(&q, document);
    return one_int(&q, n);
}

enum status catalogue_versions_contents(struct catalogue *c, const char *document, int64_t *out,
                                        size_t *n, struct error *err)
{
    struct query q = query(c, Q_VERSION_CONTENTS, err);
    put_z(&q, document);
    *n = 0;
    while (*n < VERSION_CONTENTS_MAX && next(&q)) {
        out[(*n)++] = col_int(&q, 0);
    }
    return done(&q);
}

enum status catalogue_versions_forget(struct catalogue *c, const char *document, struct error *err)
{
    struct query q = query(c, Q_VERSION_FORGET, err);
    put_z(&q, document);
    return run(&q);
}

enum status catalogue_versions_forget_content(struct catalogue *c, int64_t content,
                                              struct error *err)
{
    return run_int(c, Q_VERSION_FORGET_CONTENT, content, err);
}

enum status catalogue_scrub(struct catalogue *c, bool whole, bool *done, struct error *err)
{
    return db_scrub(c->db, whole, done, err);
}

/* ---- inspect ---- */

struct inspecting {
    struct arena *a;
    Vs__EraseInspectReply__Item *item;
};

static enum status add_copy(struct inspecting *in, struct str document, struct str where,
                            struct error *err)
{
    Vs__EraseInspectReply__Item *item = in->item;
    Vs__EraseInspectReply__Copy *copy = arena_alloc(in->a, sizeof *copy);
    char *path = arena_strndup(in->a, where.ptr, where.len);
    if (copy == NULL || path == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    vs__erase_inspect_reply__copy__init(copy);
    copy->document = arena_strndup(in->a, document.ptr, document.len);
    copy->path = (ProtobufCBinaryData){.data = (uint8_t *)path, .len = where.len};
    item->copies[item->n_copies++] = copy;
    return copy->document == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory") : STATUS_OK;
}

static enum status take_copy(const struct doc_place *l, void *data, struct error *err)
{
    struct inspecting *in = data;
    bool other = l->current && strcmp(l->document, in->item->document) != 0;
    return other && in->item->n_copies < COPIES_MAX
               ? add_copy(in, str_from(l->document), l->path, err)
               : STATUS_OK;
}

/* A document that stood on this content before, where a hold keeps that. */
static enum status take_held_copy(struct str document, struct str path, const char *hold,
                                  void *data, struct error *err)
{
    (void)hold;
    struct inspecting *in = data;
    for (size_t i = 0; i < in->item->n_copies; i++) {
        if (str_eq(document, str_from(in->item->copies[i]->document))) {
            return STATUS_OK;
        }
    }
    return in->item->n_copies < COPIES_MAX ? add_copy(in, document, path, err) : STATUS_OK;
}

/* held_visit: the first one. data: char[ID_CAP]. */
static enum status take_hold(struct str document, struct str path, const char *hold, void *data,
                             struct error *err)
{
    (void)document;
    (void)path;
    (void)err;
    char *out = data;
    if (out[0] == '\0') {
        (void)snprintf(out, ID_CAP, "%s", hold);
    }
    return STATUS_OK;
}

/* "": no hold keeps the content for another document. */
static enum status held_elsewhere(struct catalogue *c, int64_t content, const char *document,
                                  char hold[ID_CAP], struct error *err)
{
    hold[0] = '\0';
    return catalogue_held_elsewhere(c, content, document, take_hold, hold, err);
}

/* A file that is missing has nothing to be traced. */
static enum status trace_file(struct store *s, const struct content *k, enum blob_kind kind,
                              const uint8_t *key, struct arena *a,
                              Vs__EraseInspectReply__Item *item, struct error *err)
{
    struct trace found[TRACES_MAX];
    struct blob_view v;
    size_t n = 0;
    enum status st = blob_look(&s->blobs, k->hash, k->pipeline, kind, &v, err);
    if (st == STATUS_OK && v.data.len >= TRACE_BYTES) {
        n = traces_take(key, v.data, TRACES_MAX, found);
    }
    blob_looked(&v);
    for (size_t i = 0; i < n && item->n_traces < ITEM_TRACES_MAX; i++) {
        Vs__Trace *t = arena_alloc(a, sizeof *t);
        uint8_t *keyed = arena_alloc(a, sizeof found[i].keyed);
        if (t == NULL || keyed == NULL) {
            return error_set(err, STATUS_NO_MEMORY, "out of memory");
        }
        vs__trace__init(t);
        memcpy(keyed, found[i].keyed, sizeof found[i].keyed);
        t->roll = found[i].roll;
        t->keyed = (ProtobufCBinaryData){.data = keyed, .len = sizeof found[i].keyed};
        item->traces[item->n_traces++] = t;
    }
    return st;
}

static enum status trace_content(struct store *s, const struct content *k, const uint8_t *key,
                                 struct arena *a, Vs__EraseInspectReply__Item *item,
                                 struct error *err)
{
    enum status st = key == NULL ? STATUS_OK : trace_file(s, k, BLOB_TEXT, key, a, item, err);
    return st == STATUS_OK && key != NULL ? trace_file(s, k, BLOB_ORIGINAL, key, a, item, err) : st;
}

static enum status copy_hash(const struct content *k, struct arena *a, ProtobufCBinaryData *out,
                             struct error *err)
{
    out->data = (uint8_t *)arena_strndup(a, (const char *)k->hash, SHA256_BYTES);
    out->len = SHA256_BYTES;
    return out->data == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory") : STATUS_OK;
}

static enum status inspect_content(struct store *s, struct catalogue *c, int64_t content,
                                   const uint8_t *key, struct arena *a,
                                   Vs__EraseInspectReply__Item *item, struct error *err)
{
    struct content k;
    struct inspecting in = {.a = a, .item = item};
    enum status st = catalogue_content_by_pk(c, content, a, &k, err);
    if (st == STATUS_OK) {
        item->chunks = k.chunks;
        item->has_hash = 1;
        st = copy_hash(&k, a, &item->hash, err);
    }
    if (st == STATUS_OK) {
        st = catalogue_places(c, content, take_copy, &in, err);
    }
    if (st == STATUS_OK) {
        st = catalogue_held_elsewhere(c, content, item->document, take_held_copy, &in, err);
    }
    return st == STATUS_OK ? trace_content(s, &k, key, a, item, err) : st;
}

/* What the document was before, where that is still kept and neither somebody else's today nor
 * held for somebody else. */
static enum status inspect_versions(struct store *s, struct catalogue *c, int64_t current,
                                    const uint8_t *key, struct arena *a,
                                    Vs__EraseInspectReply__Item *item, struct error *err)
{
    int64_t contents[VERSION_CONTENTS_MAX];
    size_t n = 0;
    enum status st = catalogue_versions_contents(c, item->document, contents, &n, err);
    item->earlier = arena_array(a, n + 1, sizeof *item->earlier);
    if (st == STATUS_OK && item->earlier == NULL) {
        st = error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < n && st == STATUS_OK; i++) {
        struct content k;
        char hold[ID_CAP] = "";
        bool located = contents[i] == current;
        if (!located) {
            st = catalogue_content_located(c, contents[i], &located, err);
        }
        if (st == STATUS_OK && !located) {
            st = held_elsewhere(c, contents[i], item->document, hold, err);
        }
        if (st != STATUS_OK || located || hold[0] != '\0') {
            continue;
        }
        st = catalogue_content_by_pk(c, contents[i], a, &k, err);
        if (st == STATUS_OK) {
            st = copy_hash(&k, a, &item->earlier[item->n_earlier], err);
            item->n_earlier += st == STATUS_OK ? 1 : 0;
        }
        if (st == STATUS_OK) {
            st = trace_content(s, &k, key, a, item, err);
        }
        st = st == STATUS_NOT_FOUND ? STATUS_OK : st;
    }
    return st;
}

static enum status inspect_one(struct store *s, struct catalogue *c, const char *document,
                               const uint8_t *key, struct arena *a, Vs__EraseInspectReply *out,
                               struct error *err)
{
    struct location l;
    int64_t versions = 0;
    char hold[ID_CAP] = "";
    enum status st = catalogue_location_get(c, str_from(document), a, &l, err);
    if (st == STATUS_NOT_FOUND) {
        return STATUS_OK;
    }
    if (st == STATUS_OK) {
        st = catalogue_held_of(c, document, take_hold, hold, err);
    }
    Vs__EraseInspectReply__Item *item = arena_alloc(a, sizeof *item);
    if (st == STATUS_OK && item == NULL) {
        st = error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    if (st == STATUS_OK) {
        vs__erase_inspect_reply__item__init(item);
        item->document = (char *)(uintptr_t)l.document;
        item->path =
            (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)l.path.ptr, .len = l.path.len};
        item->copies = arena_array(a, COPIES_MAX, sizeof(void *));
        item->traces = arena_array(a, ITEM_TRACES_MAX, sizeof(void *));
        st = item->copies == NULL || item->traces == NULL
                 ? error_set(err, STATUS_NO_MEMORY, "out of memory")
                 : catalogue_versions_count(c, document, &versions, err);
        item->versions = (uint32_t)versions;
        item->hold = hold[0] == '\0' ? NULL : arena_strdup(a, hold);
    }
    if (st == STATUS_OK && l.content != 0) {
        st = inspect_content(s, c, l.content, key, a, item, err);
    }
    if (st == STATUS_OK) {
        st = inspect_versions(s, c, l.content, key, a, item, err);
    }
    if (st == STATUS_OK) {
        out->items[out->n_items++] = item;
    }
    return st;
}

enum status store_erase_inspect(struct store *s, const Vs__EraseInspectRequest *m, struct arena *a,
                                Vs__EraseInspectReply *out, struct error *err)
{
    struct reader *r = NULL;
    struct catalogue_state state;
    const uint8_t *key = m->has_key ? m->key.data : NULL;
    if (m->n_documents > INSPECT_MAX || (m->has_key && m->key.len != KEYED_KEY_BYTES)) {
        return error_set(err, STATUS_INVALID, "at most %u documents, and a key of %d bytes",
                         INSPECT_MAX, KEYED_KEY_BYTES);
    }
    out->items = arena_array(a, m->n_documents + 1, sizeof(void *));
    enum status st = out->items == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory")
                                        : reader_take(s, &r, &state, err);
    for (size_t i = 0; i < m->n_documents && st == STATUS_OK; i++) {
        st = inspect_one(s, r->db, m->documents[i], key, a, out, err);
    }
    reader_give(s, r);
    return st;
}

/* ---- erase ---- */

enum held_asks {
    HELD_REFUSES, /* what a hold keeps is not to be erased: CONFLICT */
    HELD_STAYS,   /* for whom it is held it stays: the document leaves it all the same */
};

struct erasing {
    struct store *s;
    struct catalogue_state state;
    uint32_t freed;
};

static enum status refuse_held(const char *document, const char *hold, struct error *err)
{
    return error_set(err, STATUS_CONFLICT, "the legal hold %s keeps a version that %s has or had",
                     hold, document);
}

/* In the writer's transaction: a content that lost a place. Without another one it dies at once;
 * no version of whatever document keeps it, but one that is held. */
static enum status erase_content(struct erasing *z, const char *document, int64_t content,
                                 enum held_asks held, struct error *err)
{
    struct store *s = z->s;
    char hold[ID_CAP] = "";
    bool located = false;
    enum status st = catalogue_content_located(s->writer, content, &located, err);
    if (st == STATUS_OK && !located) {
        st = held_elsewhere(s->writer, content, document, hold, err);
    }
    if (st == STATUS_OK && hold[0] != '\0' && held == HELD_REFUSES) {
        st = refuse_held(document, hold, err);
    }
    if (st == STATUS_OK && !located && hold[0] == '\0') {
        st = catalogue_versions_forget_content(s->writer, content, err);
        z->freed++;
    }
    return st == STATUS_OK ? content_unlocated(s, &z->state, content, err) : st;
}

/* The same: the row stays for its sequence, for a put may be on its way. A content that it had
 * before stays where a hold keeps it for another document, as where another stands on it. */
static enum status erase_one(struct erasing *z, const char *document, uint64_t sequence,
                             enum held_asks held, bool *was_there, struct error *err)
{
    struct store *s = z->s;
    struct arena a;
    struct location old = {0};
    int64_t contents[VERSION_CONTENTS_MAX];
    size_t n = 0;
    arena_init(&a, (size_t)1024 * 1024);
    enum status st = catalogue_location_get(s->writer, str_from(document), &a, &old, err);
    st = st == STATUS_NOT_FOUND ? STATUS_OK : st;
    if (st == STATUS_OK) {
        st = catalogue_versions_contents(s->writer, document, contents, &n, err);
    }
    *was_there = old.content != 0 || n > 0 || old.path.len > 0;
    if (st == STATUS_OK) {
        st = catalogue_versions_forget(s->writer, document, err);
    }
    if (st == STATUS_OK) {
        struct location gone = {.document = document,
                                .source = "",
                                .collection = "",
                                .label = "",
                                .path = STR(""),
                                .readers = STR(""),
                                .tags = STR(""),
                                .sequence = old.sequence > sequence ? old.sequence : sequence};
        st = catalogue_location_set(s->writer, &gone, err);
    }
    if (st == STATUS_OK && old.content != 0) {
        z->state.documents--;
        st = erase_content(z, document, old.content, held, err);
    }
    for (size_t i = 0; i < n && st == STATUS_OK; i++) {
        if (contents[i] != old.content) {
            st = erase_content(z, document, contents[i], HELD_STAYS, err);
        }
    }
    arena_reset(&a);
    return st;
}

static void tell_counts(struct store *s, const struct catalogue_state *state)
{
    atomic_store(&s->documents, (uint32_t)state->documents);
    atomic_store(&s->chunks, (uint32_t)state->visible);
}

/* Its own versions may be held where it stood before: whoever asks was not refused for that. */
static enum status check_own(struct store *s, const char *document, struct error *err)
{
    char hold[ID_CAP] = "";
    enum status st = catalogue_held_of(s->writer, document, take_hold, hold, err);
    return st == STATUS_OK && hold[0] != '\0' ? refuse_held(document, hold, err) : st;
}

enum status store_erase(struct store *s, const Vs__EraseRequest *m, Vs__EraseReply *out,
                        struct error *err)
{
    struct erasing z = {.s = s};
    enum status st = catalogue_begin_write(s->writer, &z.state, err);
    if (st == STATUS_OK && !atomic_load(&s->holds_known)) {
        st = error_set(err, STATUS_UNAVAILABLE,
                       "the store has not been told yet what is under a legal hold");
    } else if (st == STATUS_OK && m->n_content_stays > 0 && m->n_content_stays != m->n_documents) {
        st = error_set(err, STATUS_INVALID, "an erasure: for each document, or for none");
    }
    for (size_t i = 0; i < m->n_documents && st == STATUS_OK; i++) {
        bool there = false;
        bool stays = m->n_content_stays > 0 && m->content_stays[i];
        st = check_own(s, m->documents[i], err);
        if (st == STATUS_OK) {
            st = erase_one(&z, m->documents[i], m->sequence, stays ? HELD_STAYS : HELD_REFUSES,
                           &there, err);
        }
        out->locations += there ? 1 : 0;
    }
    z.state.generation++;
    if (st == STATUS_OK) {
        st = catalogue_commit(s->writer, &z.state, err);
    }
    catalogue_end(s->writer);
    if (st == STATUS_OK) {
        out->contents = z.freed;
        tell_counts(s, &z.state);
    }
    return st;
}

/* ---- once more, at the opening ---- */

struct again {
    struct erasing z;
    uint32_t n;
};

/* Nobody could refuse it: it was erased before. What the store as it is says is held for other
 * documents stays. */
static enum status erase_listed(const struct erased *e, void *data, struct error *err)
{
    struct again *again = data;
    struct catalogue *c = again->z.s->writer;
    struct arena a;
    struct location l;
    bool there = false;
    if (e->subject) {
        return STATUS_OK; /* answers' matter */
    }
    arena_init(&a, (size_t)1024 * 1024);
    enum status st = catalogue_location_get(c, str_from(e->document), &a, &l, err);
    if (st == STATUS_OK && (l.content != 0 || l.path.len > 0)) { /* not erased since */
        st = erase_one(&again->z, e->document, e->sequence, HELD_STAYS, &there, err);
        again->n++;
    }
    arena_reset(&a);
    return st == STATUS_NOT_FOUND ? STATUS_OK : st;
}

enum status erase_again(struct store *s, struct error *err)
{
    char home[sizeof s->dir];
    struct again again = {.z = {.s = s}};
    memcpy(home, s->dir, sizeof home);
    char *tenant = strrchr(home, '/');
    if (tenant == NULL) {
        return STATUS_OK;
    }
    *tenant++ = '\0';
    char *folder = strrchr(home, '/'); /* home/tenants/<id> */
    if (folder == NULL || strcmp(folder, "/tenants") != 0) {
        return STATUS_OK;
    }
    *folder = '\0';
    enum status st = catalogue_begin_write(s->writer, &again.z.state, err);
    if (st == STATUS_OK) {
        st = erased_read(home, tenant, erase_listed, &again, err);
    }
    if (st == STATUS_OK && again.n > 0) {
        again.z.state.generation++;
        st = catalogue_commit(s->writer, &again.z.state, err);
        LOG_WARN("documents that had been erased were here again, and are not any more",
                 LOG_STR("tenant", tenant), LOG_INT("documents", again.n), LOG_END);
    }
    catalogue_end(s->writer);
    return st;
}

/* ---- scrub ---- */

static enum status scrub_contents(struct store *s, Vs__ScrubReply *out, struct error *err)
{
    struct arena a;
    struct content k;
    bool gone = false;
    arena_init(&a, (size_t)1024 * 1024);
    enum status st = catalogue_content_unsettled(s->writer, CONTENT_DEAD, &a, &k, err);
    if (st == STATUS_NOT_FOUND) {
        out->done = true;
        st = STATUS_OK;
    } else if (st == STATUS_OK) {
        st = content_shrink(s, &k, &gone, err);
        out->n = gone ? 1 : 0;
    }
    arena_reset(&a);
    return st;
}

enum status store_purge_vectors(struct store *s, uint32_t *n, struct error *err)
{
    struct arena a;
    struct catalogue_state state;
    struct encoder e = {0};
    arena_init(&a, (size_t)1024 * 1024);
    *n = 0;
    store_purge_waits(s, false);
    enum status st = sealer_open(s, err);
    while (st == STATUS_OK) {
        size_t rewritten = 0;
        st = catalogue_begin_read(s->sealer, &state, err);
        if (st == STATUS_OK) {
            st = catalogue_encoder_after(s->sealer, e.pk, &a, &e, err);
        }
        catalogue_end(s->sealer);
        if (st == STATUS_OK) {
            st = vectors_purge(s->vectors, s->sealer, &e, &rewritten, err);
            *n += (uint32_t)rewritten;
        }
    }
    arena_reset(&a);
    return st == STATUS_NOT_FOUND ? STATUS_OK : st;
}

/* Removes some vectors of the encoder, in the end the encoder and its fit. */
static enum status drop_encoder(struct store *s, struct encoder *e, Vs__ScrubReply *out,
                                struct error *err)
{
    struct catalogue_state state;
    int64_t n = 0;
    char path[1300];
    enum status st = catalogue_begin_write(s->writer, &state, err);
    if (st == STATUS_OK && e->state != ENCODER_RETIRED) {
        e->state = ENCODER_RETIRED; /* no search may begin with it from here on */
        e->retired_ms = 0;
        st = catalogue_encoder_set(s->writer, e, err);
    }
    if (st == STATUS_OK) {
        st = catalogue_vectors_delete_some(s->writer, e->pk, DROP_VECTORS, &n, err);
    }
    if (st == STATUS_OK && n == 0) {
        st = catalogue_encoder_delete(s->writer, e->pk, err);
        out->n = 1;
    }
    if (st == STATUS_OK) {
        state.generation++;
        st = catalogue_commit(s->writer, &state, err);
    }
    catalogue_end(s->writer);
    if (st == STATUS_OK && n == 0) {
        struct arena a;
        arena_init(&a, (size_t)1024 * 1024);
        (void)snprintf(path, sizeof path, "%s/encoder/%s", s->dir, e->name);
        blob_remove(path);
        st = content_forget_segments(s, &a, err);
        arena_reset(&a);
    }
    return st;
}

static enum status scrub_encoders(struct store *s, const Vs__ScrubRequest *m, Vs__ScrubReply *out,
                                  struct error *err)
{
    struct arena a;
    struct encoder e = {0};
    arena_init(&a, (size_t)1024 * 1024);
    enum status st = STATUS_NOT_FOUND;
    for (size_t i = 0; i < m->n_encoders && st == STATUS_NOT_FOUND; i++) {
        st = catalogue_encoder_by_name(s->writer, str_from(m->encoders[i]), &a, &e, err);
    }
    if (st == STATUS_OK) {
        st = drop_encoder(s, &e, out, err);
    } else if (st == STATUS_NOT_FOUND) {
        out->done = true;
        st = STATUS_OK;
    }
    arena_reset(&a);
    return st;
}

enum status store_scrub(struct store *s, const Vs__ScrubRequest *m, Vs__ScrubReply *out,
                        struct error *err)
{
    bool more = false;
    bool done = false;
    enum status st = STATUS_OK;
    switch (m->step) {
    case VS__SCRUB_REQUEST__STEP__CONTENTS:
        return scrub_contents(s, out, err);
    case VS__SCRUB_REQUEST__STEP__POSTINGS:
        st = index_purge_all(s, m->has_begin && m->begin, &more, err);
        out->done = st == STATUS_OK && !more;
        return st;
    case VS__SCRUB_REQUEST__STEP__ENCODERS:
        return scrub_encoders(s, m, out, err);
    case VS__SCRUB_REQUEST__STEP__FILE:
        st = catalogue_scrub(s->writer, m->has_whole && m->whole, &done, err);
        out->done = done;
        return st;
    case _VS__SCRUB_REQUEST__STEP_IS_INT_SIZE:
        break;
    }
    return error_set(err, STATUS_INVALID, "scrub: no such step");
}
