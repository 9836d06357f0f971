#include "ingest/erase.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/erased.h"
#include "base/log.h"
#include "ingest/documents.h"
#include "ingest/erase_internal.h"
#include "ingest/queue.h"

#define RETRY_FIRST_MS 1000
#define RETRY_MAX_MS 60000

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

/* ---- waiting ---- */

static void on_timer(uv_timer_t *timer)
{
    erasing_go_on(container_of(timer, struct erasing, timer));
}

void erasing_later(struct erasing *z, int64_t ms)
{
    if (!z->closing) {
        (void)uv_timer_start(&z->timer, on_timer, (uint64_t)(ms < 0 ? 0 : ms), 0);
    }
}

/* ---- writing down ---- */

void erasing_step_done(struct journal_op *op)
{
    struct erasing *z = container_of(op, struct erasing, op);
    z->busy = false;
    if (op->err.code != STATUS_OK) {
        LOG_WARN("an erasure could not be written down, will be tried again",
                 LOG_STR("tenant", z->t->id), LOG_STR("err", op->err.text), LOG_END);
        z->stale = true;
        erasing_later(z, RETRY_FIRST_MS);
        return;
    }
    z->stale = true;   /* read the book again */
    if (z->replaced) { /* what lies there now is no document of ours yet */
        z->replaced = false;
        follow_rescan(z->t->follow);
    }
    erasing_go_on(z);
}

static enum status run_step(struct journal *j, struct journal_op *op, struct error *err)
{
    struct erasing *z = container_of(op, struct erasing, op);
    enum status s = STATUS_OK;
    if (z->e.phase == ERASURE_SOURCES) {
        for (size_t i = 0; i < z->n_items && s == STATUS_OK; i++) {
            s = erasure_source(j, z->e.id, &z->items[i], err);
        }
        if (s == STATUS_OK && z->subject_set != NULL) {
            s = erasure_subject_mask(j, z->e.id, z->subject_set, z->items, z->n_items, err);
        }
        if (s == STATUS_OK && z->trashed > 0) {
            s = erasure_step(j, z->e.id, z->next, "files in the trash", z->trashed, err);
        }
    }
    return s == STATUS_OK ? erasure_step(j, z->e.id, z->next, z->place, z->n, err) : s;
}

/* The phase has ended, after removing z->n things from place. */
void erasing_step(struct erasing *z, enum erasure_phase next, const char *place)
{
    z->next = next;
    z->place = place;
    z->busy = true;
    z->op.run = run_step;
    z->op.done = erasing_step_done;
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

void erasing_failed(struct erasing *z, const struct error *err)
{
    z->request = NULL;
    if (z->closing) {
        z->busy = false;
        return;
    }
    z->err = *err;
    if (z->subject_set != NULL) { /* whoever it comes from: lines and journal name nobody */
        (void)subject_masked(z->subject_set, str_from(err->text), z->err.text, sizeof z->err.text);
    }
    LOG_WARN("an erasure is held up, will be tried again", LOG_STR("tenant", z->t->id),
             LOG_STR("step", erasure_phase_name(z->e.phase)), LOG_STR("err", z->err.text), LOG_END);
    z->busy = true;
    z->op.run = run_failed;
    z->op.done = erasing_step_done;
    journal_submit(&z->t->journal, &z->op);
}

void erasing_no_memory(struct erasing *z)
{
    struct error err;
    (void)error_set(&err, STATUS_NO_MEMORY, "out of memory");
    erasing_failed(z, &err);
}

bool erasing_lane(struct erasing *z, lane_work_fn work, lane_done_fn done)
{
    struct error err;
    z->busy = true;
    z->err = (struct error){.code = STATUS_OK};
    if (lane_submit(&z->t->in->work, work, done, z, &err) != STATUS_OK) {
        erasing_failed(z, &err);
        return false;
    }
    return true;
}

bool erasing_lane_ended(struct erasing *z)
{
    z->busy = false;
    if (!z->closing && z->err.code != STATUS_OK) {
        struct error err = z->err;
        erasing_failed(z, &err);
        return false;
    }
    return !z->closing;
}

void erasing_called(struct erasing *z, struct rpc_request *request)
{
    z->busy = true;
    z->request = request;
    if (request == NULL) {
        erasing_no_memory(z);
    }
}

bool erasing_call_ended(struct erasing *z, const struct error *err)
{
    z->request = NULL;
    z->busy = false;
    if (err->code != STATUS_OK) {
        erasing_failed(z, err);
    }
    return err->code == STATUS_OK;
}

struct rpc_options erasing_options(const struct erasing *z)
{
    return (struct rpc_options){.tenant = z->t->id, .priority = 1};
}

struct erase_contents erasing_contents(const struct erasing *z)
{
    return (struct erase_contents){
        .key = z->key, .keyed = z->banned, .n = z->n_banned, .subject = z->subject_set};
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
    struct erase_contents contents = erasing_contents(z);
    z->n = 0;
    for (size_t i = 0; i < z->n_items && s == STATUS_OK; i++) {
        s = erase_source(root, &z->items[i], &contents, t->uploads > 0, &z->err);
        z->n += z->items[i].source == SOURCE_DELETED ? 1 : 0;
        z->replaced = z->replaced || z->items[i].source == SOURCE_REPLACED;
    }
    if (s == STATUS_OK) {
        s = erase_trash(t->in->svc->home, t->id, z->items, z->n_items, &contents, &z->trashed,
                        &z->err);
    }
    z->err.code = s;
}

static void sources_done(void *data)
{
    struct erasing *z = data;
    if (!erasing_lane_ended(z)) {
        return;
    }
    renders_forget(z->t->in->renders);
    erasing_step(z, ERASURE_CONTENTS, "files in the watched folder");
}

static void start_sources(struct erasing *z)
{
    bool working = false;
    for (size_t i = 0; i < z->n_items; i++) {
        working = queue_cancel(z->t->queue, z->items[i].document) || working;
    }
    if (working) {
        erasing_later(z, ERASE_WAIT_MS);
        return;
    }
    (void)erasing_lane(z, sources_work, sources_done);
}

/* ---- going on ---- */

static void dispatch(struct erasing *z)
{
    (void)snprintf(z->doing, sizeof z->doing, "erasing %zu documents: %s", z->n_items,
                   erasure_phase_name(z->e.phase));
    switch (z->e.phase) {
    case ERASURE_HIDE:
        erase_hide(z);
        return;
    case ERASURE_SOURCES:
        start_sources(z);
        return;
    case ERASURE_CONTENTS:
        erase_scrub(z, VS__SCRUB_REQUEST__STEP__CONTENTS);
        return;
    case ERASURE_POSTINGS:
        erase_scrub(z, VS__SCRUB_REQUEST__STEP__POSTINGS);
        return;
    case ERASURE_VECTORS:
        erase_vectors(z);
        return;
    case ERASURE_FIT:
        erase_fit(z);
        return;
    case ERASURE_ANSWERS:
        erase_answers(z);
        return;
    case ERASURE_FILES:
        if (z->store_clean) {
            erase_journal(z);
        } else {
            erase_scrub(z, VS__SCRUB_REQUEST__STEP__FILE);
        }
        return;
    case ERASURE_VERIFY:
        erase_prove(z);
        return;
    case ERASURE_DONE:
        return;
    }
}

static enum status run_load(struct journal *j, struct journal_op *op, struct error *err)
{
    struct erasing *z = container_of(op, struct erasing, op);
    arena_reset(&z->arena);
    subject_set_free(z->subject_set);
    z->subject_set = NULL;
    z->open = false;
    enum status s = erasure_open(j, &z->arena, &z->e, err);
    if (s == STATUS_NOT_FOUND) {
        return STATUS_OK;
    }
    if (s == STATUS_OK) {
        s = erasure_items(j, z->e.id, &z->arena, &z->items, &z->n_items, err);
    }
    if (s == STATUS_OK && z->e.phase == ERASURE_SOURCES) {
        s = erasure_stamps(j, z->e.id, z->items, z->n_items, err);
    }
    if (s == STATUS_OK) {
        s = erasure_bans(j, z->e.id, &z->arena, &z->banned, &z->n_banned, err);
    }
    if (s == STATUS_OK) {
        s = erasure_traces(j, z->e.id, &z->arena, &z->traces, &z->n_traces, err);
    }
    if (s == STATUS_OK) {
        s = erasure_places(j, z->e.id, &z->arena, &z->places, &z->n_places, err);
    }
    if (s == STATUS_OK) {
        s = erasure_subject_get(j, z->e.id, &z->arena, &z->subject, err);
    }
    if (s == STATUS_OK && z->subject.n_marks > 0) {
        z->subject_set = subject_set_new(z->key, z->subject.marks, z->subject.n_marks);
        s = z->subject_set != NULL ? STATUS_OK : error_set(err, STATUS_NO_MEMORY, "out of memory");
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
        erasing_later(z, RETRY_FIRST_MS);
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
        erasing_later(z, wait < RETRY_MAX_MS ? wait : RETRY_MAX_MS);
        return;
    }
    erasing_go_on(z);
}

void erasing_go_on(struct erasing *z)
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
        erasing_go_on(z);
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

size_t subject_messages(const struct subject_mark *list, size_t n,
                        uint8_t (*packed)[SUBJECT_MARK_BYTES], ProtobufCBinaryData *marks)
{
    for (size_t i = 0; i < n; i++) {
        subject_mark_pack(&list[i], packed[i]);
        marks[i] = (ProtobufCBinaryData){.data = packed[i], .len = SUBJECT_MARK_BYTES};
    }
    return n;
}

/* ---- life ---- */

enum status erasing_prepare(struct ingest *in, const char *tenant, struct journal *j,
                            struct erasing **out, struct error *err)
{
    struct erasing *z = calloc(1, sizeof *z);
    if (z == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    arena_init(&z->arena, ERASE_ARENA);
    enum status s = erased_key(in->svc->home, tenant, z->key, err);
    if (s == STATUS_OK) {
        s = erase_adopt(in, tenant, j, z->key, err);
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

void erasing_start(struct erasing *z, struct tenant *t)
{
    z->t = t;
    z->started = true;
    z->stale = true;
    (void)uv_timer_init(t->in->loop, &z->timer);
    erasing_later(z, 1);
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
        subject_set_free(z->subject_set);
        arena_reset(&z->arena);
        explicit_bzero(z->key, sizeof z->key);
        free(z);
    }
}
