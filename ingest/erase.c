#include "ingest/erase.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/db.h"
#include "base/erased.h"
#include "base/log.h"
#include "ingest/documents.h"
#include "ingest/erase_files.h"
#include "ingest/migrate.h"
#include "ingest/queue.h"
#include "serve/serve_rpc.h"
#include "vectorstore/vectorstore_rpc.h"

/* The phases are those of enum erasure_phase, in that order. on_step_done runs after each was
 * written down and loads the next; whatever fails is written down too and tried again later. */

#define ARENA_BYTES ((size_t)64 << 20)
#define HIDE_BATCH 256U
#define RETRY_FIRST_MS 1000
#define RETRY_MAX_MS 60000
#define WAIT_MS 100
#define VERIFY_MAX 3
#define AGAIN_PLACE "times verified again"

struct erasing {
    struct tenant *t;
    uv_timer_t timer;
    bool started, timer_closed, closing, stale;
    bool busy; /* a call, an operation or a lane's work is under way */
    bool bans;
    uint8_t key[KEYED_KEY_BYTES];
    struct rpc_request *request;
    struct journal_op op;

    struct arena arena; /* of the erasure under way */
    struct erasure e;
    bool open; /* e is there */
    struct erasure_item *items;
    size_t n_items;
    struct trace *traces;
    size_t n_traces;
    struct erasure_place *places;
    size_t n_places;

    size_t hidden;  /* HIDE: documents told to the store */
    int64_t n;      /* what the phase has removed so far */
    uint32_t freed; /* HIDE: contents without a place since */
    bool begun;     /* the phase's first call was made */
    bool waiting_fit;
    char clean[128]; /* FIT: the one that stays */
    char **fits;     /* those that go */
    size_t n_fits;
    Vs__ScrubRequest__Step scrub;
    bool scrub_done;
    uint32_t forgotten;
    bool forgotten_clean;
    bool store_clean; /* FILES: the store's file is done */
    uint32_t trashed;
    struct erase_scan scan;
    char *certificate;
    struct error err; /* of a lane's work */
    /* what is to be written down */
    enum erasure_phase next;
    const char *place;
    char doing[160];
};

const char *erasure_phase_name(enum erasure_phase p)
{
    static const char *const names[] = {
        "taking the documents out of search",
        "deleting the files",
        "removing texts, chunks and vectors",
        "removing words from the index",
        "writing vector segments anew",
        "fitting the encoder anew",
        "removing answers",
        "cleaning the databases",
        "looking through every file",
        "done",
    };
    return (unsigned)p < sizeof names / sizeof names[0] ? names[p] : "?";
}

static void go_on(struct erasing *z);

/* ---- opening ---- */

struct listed {
    struct journal *j;
    struct arena a;
    const uint8_t *key;
    char erasure[ID_CAP]; /* being gathered */
    char seen[ID_CAP];    /* of the last line */
    bool known;           /* the journal has it */
    struct erasure_item *items;
    uint8_t (*keyed)[KEYED_BYTES];
    size_t n, begun;
};

static enum status path_of(struct journal *j, const char *document, struct arena *a,
                           struct str *out, struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    *out = STR("");
    enum status s = db_prepare(journal_db(j),
                               "SELECT path FROM files WHERE document=?1 AND path"
                               " IS NOT NULL",
                               &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_text(st, 1, document, -1, SQLITE_STATIC);
        s = db_row(st, &row, err);
    }
    if (s == STATUS_OK && row) {
        struct str path = db_column(st, 0);
        out->ptr = arena_strndup(a, path.ptr, path.len);
        out->len = path.len;
        s = out->ptr == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory") : STATUS_OK;
    }
    (void)sqlite3_finalize(st);
    return s;
}

static enum status begin_listed(struct listed *l, struct error *err)
{
    struct erasure e = {.by = "the list of erasures"};
    enum status s = STATUS_OK;
    if (l->n > 0) {
        memcpy(e.id, l->erasure, sizeof e.id);
        s = erasure_begin(l->j, &e, l->items, l->n, NULL, 0, l->key, err);
        for (size_t i = 0; i < l->n && s == STATUS_OK; i++) {
            if (!l->items[i].content_stays) {
                s = erasure_ban(l->j, e.id, l->keyed[i], err);
            }
        }
        l->begun++;
    }
    l->n = 0;
    return s;
}

static enum status take_listed(const struct erased *e, void *data, struct error *err)
{
    struct listed *l = data;
    enum status s = STATUS_OK;
    if (l->n > 0 && (strcmp(l->erasure, e->erasure) != 0 || l->n == ERASURE_DOCUMENTS_MAX)) {
        s = begin_listed(l, err);
        arena_reset(&l->a);
        l->items = NULL;
    }
    if (s == STATUS_OK && l->items == NULL) {
        l->items = arena_array(&l->a, ERASURE_DOCUMENTS_MAX, sizeof *l->items);
        l->keyed = arena_array(&l->a, ERASURE_DOCUMENTS_MAX, sizeof *l->keyed);
        if (l->items == NULL || l->keyed == NULL) {
            return error_set(err, STATUS_NO_MEMORY, "out of memory");
        }
    }
    if (s == STATUS_OK) {
        if (strcmp(l->seen, e->erasure) != 0) {
            memcpy(l->seen, e->erasure, sizeof l->seen);
            s = erasure_known(l->j, e->erasure, &l->known, err);
        }
        if (s != STATUS_OK || l->known) {
            return s;
        }
        memcpy(l->erasure, e->erasure, sizeof l->erasure);
        struct erasure_item *it = &l->items[l->n];
        *it = (struct erasure_item){.content_stays = !e->content};
        memcpy(it->document, e->document, sizeof it->document);
        memcpy(l->keyed[l->n], e->keyed, KEYED_BYTES);
        s = path_of(l->j, e->document, &l->a, &it->path, err);
        l->n++;
    }
    return s;
}

static enum status adopt_list(struct ingest *in, const char *tenant, struct journal *j,
                              const uint8_t *key, struct error *err)
{
    struct listed l = {.j = j, .key = key};
    arena_init(&l.a, ARENA_BYTES);
    enum status s = db_exec(journal_db(j), "BEGIN IMMEDIATE", err);
    if (s == STATUS_OK) {
        s = erased_read(in->svc->home, tenant, take_listed, &l, err);
    }
    if (s == STATUS_OK) {
        s = begin_listed(&l, err);
    }
    if (s == STATUS_OK) {
        s = db_exec(journal_db(j), "COMMIT", err);
    }
    if (s != STATUS_OK) {
        (void)sqlite3_exec(journal_db(j), "ROLLBACK", NULL, NULL, NULL);
    } else if (l.begun > 0) {
        LOG_WARN("erasures that the journal does not know are done again",
                 LOG_STR("tenant", tenant), LOG_INT("erasures", l.begun), LOG_END);
    }
    arena_reset(&l.a);
    return s;
}

enum status erasing_prepare(struct ingest *in, const char *tenant, struct journal *j,
                            struct erasing **out, struct error *err)
{
    struct erasing *z = calloc(1, sizeof *z);
    if (z == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    arena_init(&z->arena, ARENA_BYTES);
    enum status s = erased_key(in->svc->home, tenant, z->key, err);
    if (s == STATUS_OK) {
        s = adopt_list(in, tenant, j, z->key, err);
    }
    if (s == STATUS_OK) {
        s = erasure_any_ban(j, &z->bans, err);
    }
    if (s != STATUS_OK) {
        erasing_free(z);
        return s;
    }
    *out = z;
    return STATUS_OK;
}

/* ---- waiting ---- */

static void on_timer(uv_timer_t *timer)
{
    go_on(container_of(timer, struct erasing, timer));
}

static void later(struct erasing *z, int64_t ms)
{
    if (!z->closing) {
        (void)uv_timer_start(&z->timer, on_timer, (uint64_t)(ms < 0 ? 0 : ms), 0);
    }
}

/* ---- writing down ---- */

static void on_step_done(struct journal_op *op)
{
    struct erasing *z = container_of(op, struct erasing, op);
    z->busy = false;
    if (op->err.code != STATUS_OK) {
        LOG_WARN("an erasure could not be written down, will be tried again",
                 LOG_STR("tenant", z->t->id), LOG_STR("err", op->err.text), LOG_END);
        z->stale = true;
        later(z, RETRY_FIRST_MS);
        return;
    }
    z->stale = true; /* read the book again */
    go_on(z);
}

static enum status run_step(struct journal *j, struct journal_op *op, struct error *err)
{
    struct erasing *z = container_of(op, struct erasing, op);
    enum status s = STATUS_OK;
    if (z->e.phase == ERASURE_SOURCES) {
        for (size_t i = 0; i < z->n_items && s == STATUS_OK; i++) {
            s = erasure_source(j, z->e.id, &z->items[i], err);
        }
        if (s == STATUS_OK && z->trashed > 0) {
            s = erasure_step(j, z->e.id, z->next, "files in the trash", z->trashed, err);
        }
    }
    return s == STATUS_OK ? erasure_step(j, z->e.id, z->next, z->place, z->n, err) : s;
}

/* The phase has ended, after removing z->n things from place. */
static void step(struct erasing *z, enum erasure_phase next, const char *place)
{
    z->next = next;
    z->place = place;
    z->busy = true;
    z->op.run = run_step;
    z->op.done = on_step_done;
    journal_submit(&z->t->journal, &z->op);
}

static enum status run_failed(struct journal *j, struct journal_op *op, struct error *err)
{
    struct erasing *z = container_of(op, struct erasing, op);
    uint32_t n = z->e.attempts < 6 ? z->e.attempts : 6;
    int64_t wait = (int64_t)RETRY_FIRST_MS << n;
    return erasure_failed(j, z->e.id, z->err.text,
                          clock_wall_ms() + (wait < RETRY_MAX_MS ? wait : RETRY_MAX_MS), err);
}

static void failed(struct erasing *z, const struct error *err)
{
    z->request = NULL;
    if (z->closing) {
        z->busy = false;
        return;
    }
    z->err = *err;
    LOG_WARN("an erasure is held up, will be tried again", LOG_STR("tenant", z->t->id),
             LOG_STR("step", erasure_phase_name(z->e.phase)), LOG_STR("err", err->text), LOG_END);
    z->busy = true;
    z->op.run = run_failed;
    z->op.done = on_step_done;
    journal_submit(&z->t->journal, &z->op);
}

static void no_memory(struct erasing *z)
{
    struct error err;
    (void)error_set(&err, STATUS_NO_MEMORY, "out of memory");
    failed(z, &err);
}

static bool lane(struct erasing *z, lane_work_fn work, lane_done_fn done)
{
    struct error err;
    z->busy = true;
    z->err = (struct error){.code = STATUS_OK};
    if (lane_submit(&z->t->in->work, work, done, z, &err) != STATUS_OK) {
        failed(z, &err);
        return false;
    }
    return true;
}

static struct rpc_options options(const struct erasing *z)
{
    return (struct rpc_options){.tenant = z->t->id, .priority = 1};
}

/* ---- HIDE ---- */

static void hide_next(struct erasing *z);

static void on_hidden(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct erasing *z = data;
    const Vs__EraseReply *reply = vs_erase_reply(m);
    z->n += reply == NULL ? 0 : reply->locations;
    z->freed += reply == NULL ? 0 : reply->contents;
}

static void on_hide_end(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct erasing *z = data;
    z->request = NULL;
    z->busy = false;
    if (err->code != STATUS_OK) {
        failed(z, err);
    } else if (z->hidden < z->n_items) {
        hide_next(z);
    } else {
        step(z, ERASURE_SOURCES, "places in search");
    }
}

static void hide_next(struct erasing *z)
{
    char *list[HIDE_BATCH];
    Vs__EraseRequest q = VS__ERASE_REQUEST__INIT;
    q.sequence = z->e.sequence;
    q.documents = list;
    while (z->hidden < z->n_items && q.n_documents < HIDE_BATCH) {
        list[q.n_documents++] = z->items[z->hidden++].document;
    }
    struct rpc_options o = options(z);
    struct rpc_callbacks cb = {.on_reply = on_hidden, .on_finish = on_hide_end};
    z->busy = true;
    z->request = vs_erase(service_client(z->t->in->svc, PEER_VECTORSTORE), &o, &q, &cb, z);
    if (z->request == NULL) {
        no_memory(z);
    }
}

/* Before anything goes the list knows of it: a backup put back at any moment is put right. */
static void list_work(void *data)
{
    struct erasing *z = data;
    struct erased *list = calloc(z->n_items + 1, sizeof *list);
    enum status s = STATUS_OK;
    if (list == NULL) {
        z->err.code = error_set(&z->err, STATUS_NO_MEMORY, "out of memory");
        return;
    }
    for (size_t i = 0; i < z->n_items; i++) {
        const struct erasure_item *it = &z->items[i];
        memcpy(list[i].erasure, z->e.id, ID_CAP);
        memcpy(list[i].document, it->document, ID_CAP);
        list[i].content = it->has_hash && !it->content_stays;
        if (list[i].content) {
            keyed_hash(z->key, it->hash, sizeof it->hash, list[i].keyed);
        }
        list[i].sequence = z->e.sequence;
        list[i].wall_ms = z->e.created_ms;
    }
    s = erased_append(z->t->in->svc->home, z->t->id, list, z->n_items, &z->err);
    z->err.code = s;
    free(list);
}

static void list_done(void *data)
{
    struct erasing *z = data;
    z->busy = false;
    if (z->closing) {
        return;
    }
    if (z->err.code != STATUS_OK) {
        struct error err = z->err;
        failed(z, &err);
    } else {
        hide_next(z);
    }
}

/* ---- SOURCES ---- */

static void sources_work(void *data)
{
    struct erasing *z = data;
    struct tenant *t = z->t;
    int root = follow_root(t->follow);
    enum status s = root < 0
                        ? error_set(&z->err, STATUS_UNAVAILABLE,
                                    "the watched folder is missing: its files cannot be deleted")
                        : STATUS_OK;
    z->n = 0;
    for (size_t i = 0; i < z->n_items && s == STATUS_OK; i++) {
        s = erase_source(root, &z->items[i], t->uploads > 0, &z->err);
        z->n += z->items[i].source == SOURCE_DELETED ? 1 : 0;
    }
    if (s == STATUS_OK) {
        s = erase_trash(t->in->svc->home, t->id, z->e.id, z->items, z->n_items, z->key,
                        &z->trashed, &z->err);
    }
    z->err.code = s;
}

static void sources_done(void *data)
{
    struct erasing *z = data;
    z->busy = false;
    if (z->closing) {
        return;
    }
    if (z->err.code != STATUS_OK) {
        struct error err = z->err;
        failed(z, &err);
        return;
    }
    renders_forget(z->t->in->renders);
    step(z, ERASURE_CONTENTS, "files in the watched folder");
}

static void start_sources(struct erasing *z)
{
    bool working = false;
    for (size_t i = 0; i < z->n_items; i++) {
        working = queue_cancel(z->t->queue, z->items[i].document) || working;
    }
    if (working) {
        later(z, WAIT_MS);
        return;
    }
    (void)lane(z, sources_work, sources_done);
}

/* ---- the store's steps ---- */

static void on_scrubbed(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct erasing *z = data;
    const Vs__ScrubReply *reply = vs_scrub_reply(m);
    z->scrub_done = reply != NULL && reply->done;
    z->n += reply == NULL ? 0 : reply->n;
}

static void scrub_next(struct erasing *z);
static void start_journal_scrub(struct erasing *z);

static void on_scrub_end(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct erasing *z = data;
    z->request = NULL;
    z->busy = false;
    if (err->code != STATUS_OK) {
        failed(z, err);
        return;
    }
    z->begun = true;
    if (!z->scrub_done) {
        if (z->scrub == VS__SCRUB_REQUEST__STEP__FILE) {
            later(z, WAIT_MS); /* a search holds the log */
        } else {
            scrub_next(z);
        }
        return;
    }
    switch (z->scrub) {
    case VS__SCRUB_REQUEST__STEP__CONTENTS:
        z->n = z->n > z->freed ? z->n : z->freed; /* housekeeping may have been quicker */
        step(z, ERASURE_POSTINGS, "contents");
        return;
    case VS__SCRUB_REQUEST__STEP__POSTINGS:
        step(z, ERASURE_VECTORS, NULL);
        return;
    case VS__SCRUB_REQUEST__STEP__ENCODERS:
        step(z, ERASURE_ANSWERS, "fits of the encoder");
        return;
    case VS__SCRUB_REQUEST__STEP__FILE:
        z->store_clean = true;
        start_journal_scrub(z);
        return;
    case _VS__SCRUB_REQUEST__STEP_IS_INT_SIZE:
        break;
    }
}

static void scrub_next(struct erasing *z)
{
    Vs__ScrubRequest q = VS__SCRUB_REQUEST__INIT;
    q.step = z->scrub;
    q.has_begin = 1;
    q.begin = !z->begun;
    if (z->scrub == VS__SCRUB_REQUEST__STEP__ENCODERS) {
        q.encoders = z->fits;
        q.n_encoders = z->n_fits;
    }
    struct rpc_options o = options(z);
    struct rpc_callbacks cb = {.on_reply = on_scrubbed, .on_finish = on_scrub_end};
    z->scrub_done = false;
    z->busy = true;
    z->request = vs_scrub(service_client(z->t->in->svc, PEER_VECTORSTORE), &o, &q, &cb, z);
    if (z->request == NULL) {
        no_memory(z);
    }
}

static void scrub(struct erasing *z, Vs__ScrubRequest__Step what)
{
    z->scrub = what;
    scrub_next(z);
}

/* ---- VECTORS ---- */

static void on_purged(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct erasing *z = data;
    const Vs__PurgeVectorsReply *reply = vs_purge_vectors_reply(m);
    z->n += reply == NULL ? 0 : reply->segments;
}

static void on_purge_end(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct erasing *z = data;
    z->request = NULL;
    z->busy = false;
    if (err->code != STATUS_OK) {
        failed(z, err);
    } else {
        step(z, ERASURE_FIT, "vector segments written anew");
    }
}

static void purge_vectors(struct erasing *z)
{
    Vs__PurgeVectorsRequest q = VS__PURGE_VECTORS_REQUEST__INIT;
    struct rpc_options o = options(z);
    struct rpc_callbacks cb = {.on_reply = on_purged, .on_finish = on_purge_end};
    z->busy = true;
    z->request = vs_purge_vectors(service_client(z->t->in->svc, PEER_VECTORSTORE), &o, &q, &cb, z);
    if (z->request == NULL) {
        no_memory(z);
    }
}

/* ---- FIT ---- */

static void on_fits(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct erasing *z = data;
    const Vs__ListEncodersReply *reply = vs_list_encoders_reply(m);
    z->n_fits = 0;
    z->fits = reply == NULL ? NULL : arena_array(&z->arena, reply->n_encoders + 1, sizeof *z->fits);
    for (size_t i = 0; z->fits != NULL && i < reply->n_encoders; i++) {
        const char *name = reply->encoders[i]->name;
        /* what is no fit of the tenant's text (fitted_on 0) knows none of its words */
        if (reply->encoders[i]->fitted_on > 0 && strcmp(name, z->clean) != 0) {
            z->fits[z->n_fits] = arena_strdup(&z->arena, name);
            z->n_fits += z->fits[z->n_fits] != NULL ? 1 : 0;
        }
    }
}

static void on_refitted(const char *name, void *data)
{
    struct erasing *z = data;
    z->waiting_fit = false;
    (void)snprintf(z->clean, sizeof z->clean, "%s", name);
    go_on(z);
}

static void on_fits_end(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct erasing *z = data;
    z->request = NULL;
    z->busy = false;
    if (err->code != STATUS_OK) {
        failed(z, err);
    } else if (z->fits == NULL) {
        no_memory(z);
    } else if (!z->begun) { /* fit anew, then list once more */
        z->begun = true;
        z->waiting_fit = true;
        migration_refit(z->t->migration, on_refitted, z);
    } else {
        z->n = 0;
        scrub(z, VS__SCRUB_REQUEST__STEP__ENCODERS);
    }
}

static void list_fits(struct erasing *z)
{
    Vs__ListEncodersRequest q = VS__LIST_ENCODERS_REQUEST__INIT;
    struct rpc_options o = options(z);
    struct rpc_callbacks cb = {.on_reply = on_fits, .on_finish = on_fits_end};
    z->fits = NULL;
    z->busy = true;
    z->request = vs_list_encoders(service_client(z->t->in->svc, PEER_VECTORSTORE), &o, &q, &cb, z);
    if (z->request == NULL) {
        no_memory(z);
    }
}

/* ---- ANSWERS ---- */

static void on_forgotten(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct erasing *z = data;
    const Se__ForgetReply *reply = se_forget_reply(m);
    z->n += reply == NULL ? 0 : reply->answers;
    z->forgotten_clean = reply != NULL && reply->done;
}

static void on_forget_end(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct erasing *z = data;
    z->request = NULL;
    z->busy = false;
    if (err->code != STATUS_OK) {
        failed(z, err);
    } else if (!z->forgotten_clean) {
        later(z, WAIT_MS);
    } else {
        step(z, ERASURE_FILES, "answers");
    }
}

static void start_answers(struct erasing *z)
{
    Se__ForgetRequest q = SE__FORGET_REQUEST__INIT;
    q.documents = arena_array(&z->arena, z->n_items + 1, sizeof *q.documents);
    if (q.documents == NULL) {
        no_memory(z);
        return;
    }
    for (size_t i = 0; i < z->n_items; i++) {
        q.documents[q.n_documents++] = z->items[i].document;
    }
    struct rpc_options o = options(z);
    struct rpc_callbacks cb = {.on_reply = on_forgotten, .on_finish = on_forget_end};
    z->forgotten_clean = false;
    z->busy = true;
    z->request = se_forget(service_client(z->t->in->svc, PEER_SERVE), &o, &q, &cb, z);
    if (z->request == NULL) {
        no_memory(z);
    }
}

/* ---- FILES: the store's database was cleaned, now the journal's own ---- */

static void journal_scrub_work(void *data)
{
    struct erasing *z = data;
    char path[PATH_MAX];
    sqlite3 *db = NULL;
    bool clean = false;
    int n = snprintf(path, sizeof path, "%s/tenants/%s/ingest.db", z->t->in->svc->home, z->t->id);
    enum status s = n < 0 || (size_t)n >= sizeof path
                        ? error_set(&z->err, STATUS_TOO_LARGE, "path too long")
                        : db_open(path, 0, NULL, 0, &db, &z->err);
    if (s == STATUS_OK) {
        s = db_scrub(db, &clean, &z->err);
    }
    db_close(db);
    if (s == STATUS_OK && !clean) {
        s = error_set(&z->err, STATUS_BUSY, "the journal is in use; cleaned again shortly");
    }
    z->err.code = s;
}

static void journal_scrub_done(void *data)
{
    struct erasing *z = data;
    z->busy = false;
    if (z->closing) {
        return;
    }
    if (z->err.code != STATUS_OK) {
        struct error err = z->err;
        failed(z, &err);
    } else {
        z->n = 0;
        step(z, ERASURE_VERIFY, NULL);
    }
}

static void start_journal_scrub(struct erasing *z)
{
    (void)lane(z, journal_scrub_work, journal_scrub_done);
}

/* ---- VERIFY ---- */

static int64_t verified_before(const struct erasing *z)
{
    for (size_t i = 0; i < z->n_places; i++) {
        if (strcmp(z->places[i].place, AGAIN_PLACE) == 0) {
            return z->places[i].n;
        }
    }
    return 0;
}

static void verify_work(void *data)
{
    struct erasing *z = data;
    const char *home = z->t->in->svc->home;
    enum status s = erase_verify(home, z->t->id, z->items, z->n_items, z->key, z->traces,
                                 z->n_traces, &z->scan, &z->err);
    if (s == STATUS_OK && (z->scan.n_residue == 0 || verified_before(z) >= VERIFY_MAX)) {
        s = erase_certificate(home, z->t->id, &z->e, z->items, z->n_items, z->places, z->n_places,
                              &z->scan, &z->certificate, &z->err);
    }
    z->err.code = s;
}

static enum status run_finish(struct journal *j, struct journal_op *op, struct error *err)
{
    struct erasing *z = container_of(op, struct erasing, op);
    return erasure_finish(j, z->e.id, z->certificate, err);
}

static void on_finished(struct journal_op *op)
{
    struct erasing *z = container_of(op, struct erasing, op);
    if (op->err.code == STATUS_OK) {
        LOG_INFO("erasure done", LOG_STR("tenant", z->t->id), LOG_STR("erasure", z->e.id),
                 LOG_INT("documents", z->n_items), LOG_INT("found", z->scan.n_residue), LOG_END);
    }
    free(z->certificate);
    z->certificate = NULL;
    on_step_done(op);
}

static void verify_done(void *data)
{
    struct erasing *z = data;
    z->busy = false;
    if (z->closing) {
        return;
    }
    if (z->err.code != STATUS_OK) {
        struct error err = z->err;
        failed(z, &err);
    } else if (z->certificate == NULL) {
        LOG_WARN("something of an erased document is still there: cleaned again",
                 LOG_STR("tenant", z->t->id), LOG_STR("file", z->scan.residue[0]), LOG_END);
        z->n = 1;
        step(z, ERASURE_CONTENTS, AGAIN_PLACE);
    } else {
        z->busy = true;
        z->op.run = run_finish;
        z->op.done = on_finished;
        journal_submit(&z->t->journal, &z->op);
    }
}

/* ---- going on ---- */

static void dispatch(struct erasing *z)
{
    (void)snprintf(z->doing, sizeof z->doing, "erasing %zu documents: %s", z->n_items,
                   erasure_phase_name(z->e.phase));
    switch (z->e.phase) {
    case ERASURE_HIDE:
        (void)lane(z, list_work, list_done);
        return;
    case ERASURE_SOURCES:
        start_sources(z);
        return;
    case ERASURE_CONTENTS:
        scrub(z, VS__SCRUB_REQUEST__STEP__CONTENTS);
        return;
    case ERASURE_POSTINGS:
        scrub(z, VS__SCRUB_REQUEST__STEP__POSTINGS);
        return;
    case ERASURE_VECTORS:
        purge_vectors(z);
        return;
    case ERASURE_FIT:
        list_fits(z);
        return;
    case ERASURE_ANSWERS:
        start_answers(z);
        return;
    case ERASURE_FILES:
        if (z->store_clean) {
            start_journal_scrub(z);
        } else {
            scrub(z, VS__SCRUB_REQUEST__STEP__FILE);
        }
        return;
    case ERASURE_VERIFY:
        (void)lane(z, verify_work, verify_done);
        return;
    case ERASURE_DONE:
        return;
    }
}

static enum status run_load(struct journal *j, struct journal_op *op, struct error *err)
{
    struct erasing *z = container_of(op, struct erasing, op);
    arena_reset(&z->arena);
    z->open = false;
    enum status s = erasure_open(j, &z->arena, &z->e, err);
    if (s == STATUS_NOT_FOUND) {
        return STATUS_OK;
    }
    if (s == STATUS_OK) {
        s = erasure_items(j, z->e.id, &z->arena, &z->items, &z->n_items, err);
    }
    if (s == STATUS_OK) {
        s = erasure_traces(j, z->e.id, &z->arena, &z->traces, &z->n_traces, err);
    }
    if (s == STATUS_OK) {
        s = erasure_places(j, z->e.id, &z->arena, &z->places, &z->n_places, err);
    }
    z->open = s == STATUS_OK;
    return s;
}

static void on_loaded(struct journal_op *op)
{
    struct erasing *z = container_of(op, struct erasing, op);
    z->busy = false;
    if (op->err.code != STATUS_OK) {
        z->stale = true;
        later(z, RETRY_FIRST_MS);
        return;
    }
    z->hidden = 0;
    z->freed = z->e.phase == ERASURE_HIDE ? 0 : z->freed;
    z->n = 0;
    z->begun = z->store_clean = z->waiting_fit = false;
    z->trashed = 0;
    if (!z->open) {
        z->doing[0] = '\0';
        return;
    }
    int64_t wait = z->e.due_ms - clock_wall_ms();
    if (wait > 0) {
        later(z, wait < RETRY_MAX_MS ? wait : RETRY_MAX_MS);
        return;
    }
    go_on(z);
}

static void go_on(struct erasing *z)
{
    if (z->closing || z->busy || z->waiting_fit) {
        return;
    }
    if (z->stale || !z->open) {
        z->stale = false;
        z->busy = true;
        z->op.run = run_load;
        z->op.done = on_loaded;
        journal_submit(&z->t->journal, &z->op);
        return;
    }
    dispatch(z);
}

void erasing_changed(struct erasing *z)
{
    z->bans = true;
    if (!z->open) {
        z->stale = true;
        go_on(z);
    }
}

const char *erasing_doing(const struct erasing *z)
{
    return z->doing;
}

bool erasing_bans(const struct erasing *z)
{
    return z->bans;
}

const uint8_t *erasing_key(const struct erasing *z)
{
    return z->key;
}

/* ---- life ---- */

void erasing_start(struct erasing *z, struct tenant *t)
{
    z->t = t;
    z->started = true;
    z->stale = true;
    (void)uv_timer_init(t->in->loop, &z->timer);
    later(z, 1);
}

static void on_timer_closed(uv_handle_t *h)
{
    container_of(h, struct erasing, timer)->timer_closed = true;
}

void erasing_close(struct erasing *z)
{
    z->closing = true;
    if (z->request != NULL) {
        rpc_request_cancel(z->request);
        z->request = NULL;
        z->busy = false;
    }
    uv_close((uv_handle_t *)&z->timer, on_timer_closed);
}

bool erasing_idle(const struct erasing *z)
{
    return !z->started || (z->timer_closed && !z->busy);
}

void erasing_free(struct erasing *z)
{
    if (z != NULL) {
        free(z->certificate);
        arena_reset(&z->arena);
        explicit_bzero(z->key, sizeof z->key);
        free(z);
    }
}
