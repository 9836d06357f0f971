#include "ingest/job.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/half.h"
#include "base/log.h"
#include "ingest/erase.h"
#include "ingest/queue.h"

#define ENCODE_BATCH 64
#define RETRY_FIRST_MS 1000
#define RETRY_MAX_MS 300000
#define ARENA_BASE ((size_t)256 << 20)

static void extract_next(struct ingest *in);
static void start_encode(struct job *j);

static struct rpc_client *store_of(const struct job *j)
{
    return service_client(j->t->in->svc, PEER_VECTORSTORE);
}

void job_options(const struct job *j, struct rpc_options *o)
{
    *o = (struct rpc_options){.tenant = j->t->id, .priority = 1};
}

/* ---- the end ---- */

static void answer_deletes(const struct job *j)
{
    if (j->row.op != FILE_OP_TRASH && j->row.op != FILE_OP_EXCLUDE) {
        return;
    }
    list_for_each_safe(it, &j->t->deletes)
    {
        struct delete_waiter *w = list_entry(it, struct delete_waiter, link);
        if (strcmp(w->document, j->row.document) != 0) {
            continue;
        }
        list_remove(&w->link);
        *rpc_call_data(w->call) = NULL;
        if (j->outcome == OUTCOME_REMOVED || j->outcome == OUTCOME_EXCLUDED) {
            Ig__DeleteReply reply = IG__DELETE_REPLY__INIT;
            reply.trashed = j->outcome == OUTCOME_REMOVED;
            reply.excluded = j->outcome == OUTCOME_EXCLUDED;
            ig_delete_return(w->call, &reply);
        } else {
            struct error err = j->err;
            (void)error_prefix(&err, "marked for removal, which will be finished later");
            err.code = err.code == STATUS_OK ? STATUS_UNAVAILABLE : err.code;
            rpc_call_fail(w->call, &err);
        }
        free(w);
    }
}

static void job_end(struct job *j)
{
    struct ingest *in = j->t->in;
    in->active--;
    in->active_bytes -= j->charged;
    answer_deletes(j);
    queue_job_ended(j->t->queue, j);
    if (j->snap.fd >= 0) {
        (void)close(j->snap.fd);
    }
    in->extracted_bytes -= j->extracted;
    access_view_release(&j->view);
    arena_reset(&j->arena);
    free(j);
    extract_next(in);
    queues_pump(in);
}

static enum status run_record(struct journal *jl, struct journal_op *op, struct error *err)
{
    struct job *j = container_of(op, struct job, op);
    const struct file_row *r = &j->row;
    struct job_result result;
    if ((j->outcome == OUTCOME_DONE || j->outcome == OUTCOME_MOVED) && j->access != NULL) {
        enum status s = journal_applied(jl, r->id, j->access, err);
        if (s != STATUS_OK) {
            return s;
        }
    }
    switch (j->outcome) {
    case OUTCOME_DONE:
        result = (struct job_result){
            .hash = j->snap.hash,
            .format = j->format,
            .title = j->info != NULL && j->info->title != NULL ? j->info->title : r->title,
            .pages = j->info != NULL && j->info->has_pages ? j->info->pages : r->pages,
            .chunks = j->stored_chunks,
        };
        return journal_done(jl, r->id, r->wanted, &result, err);
    case OUTCOME_MOVED:
        return journal_moved_done(jl, r->id, r->wanted, err);
    case OUTCOME_REMOVED:
        return journal_removed(jl, r->id, r->wanted, false, err);
    case OUTCOME_EXCLUDED:
        return journal_removed(jl, r->id, r->wanted, true, err);
    case OUTCOME_FAILED:
        return journal_failed(jl, r->id, r->wanted, j->err.text, err);
    case OUTCOME_RETRY:
    case OUTCOME_CHANGED:
        return journal_retry(jl, r->id, r->wanted, j->err.text, j->retry_at_ms, j->counted, err);
    case OUTCOME_REQUEUE:
        return journal_requeue(jl, r->id, err);
    case OUTCOME_HELD:
        break;
    }
    return STATUS_OK;
}

static void log_outcome(const struct job *j)
{
    struct ingest *in = j->t->in;
    if (j->outcome == OUTCOME_DONE) {
        in->jobs_done++;
        in->bytes_done += j->row.stamp.size;
        in->chunks_done += j->stored_chunks;
        LOG_DEBUG("document ready", LOG_STR("tenant", j->t->id), LOG_STR("doc", j->row.document),
                  LOG_INT("chunks", j->stored_chunks), LOG_END);
    } else if (j->outcome == OUTCOME_FAILED) {
        in->jobs_failed++;
        LOG_INFO("document failed", LOG_STR("tenant", j->t->id), LOG_STR("doc", j->row.document),
                 LOG_STR("status", status_name(j->err.code)), LOG_STR("err", j->err.text), LOG_END);
    } else if (j->outcome == OUTCOME_RETRY) {
        in->jobs_retried++;
        LOG_WARN("document will be tried again", LOG_STR("tenant", j->t->id),
                 LOG_STR("doc", j->row.document), LOG_INT("attempt", j->row.attempts + 1),
                 LOG_STR("err", j->err.text), LOG_END);
    }
}

static void record_done(struct journal_op *op)
{
    struct job *j = container_of(op, struct job, op);
    j->in_lane = false;
    if (op->err.code != STATUS_OK && !j->cancelled) {
        LOG_WARN("a result could not be written down, will be tried again",
                 LOG_STR("tenant", j->t->id), LOG_STR("doc", j->row.document),
                 LOG_STR("err", op->err.text), LOG_END);
        queue_retry_record(j->t->queue, j);
        return;
    }
    log_outcome(j);
    if (j->outcome == OUTCOME_CHANGED && j->row.path.len > 0 && !j->cancelled) {
        follow_touch(j->t->follow, j->row.path, false);
    }
    if (j->outcome == OUTCOME_REQUEUE) {
        struct queue *q = j->t->queue;
        job_end(j);
        queue_changed(q);
        return;
    }
    job_end(j);
}

void job_record(struct job *j)
{
    j->in_lane = true;
    j->op.run = run_record;
    j->op.done = record_done;
    journal_submit(&j->t->journal, &j->op);
}

void job_finish(struct job *j, enum job_outcome outcome)
{
    j->outcome = j->cancelled ? OUTCOME_HELD : outcome;
    j->phase = JOB_RECORD;
    if (j->outcome == OUTCOME_RETRY && j->counted &&
        (int64_t)j->row.attempts + 1 >= j->t->in->settings->ingest.max_attempts) {
        j->outcome = OUTCOME_FAILED;
    }
    if (j->outcome == OUTCOME_RETRY) {
        int64_t wait = RETRY_MAX_MS;
        if (j->row.attempts < 8) {
            wait = (int64_t)RETRY_FIRST_MS << j->row.attempts;
        }
        j->retry_at_ms = clock_wall_ms() + wait;
    } else if (j->outcome == OUTCOME_CHANGED) {
        /* by then it has been looked at again, under a new sequence number if it did change */
        j->retry_at_ms = clock_wall_ms() + j->t->in->settings->ingest.settle_ms + 1000;
        j->counted = false;
    }
    if (j->outcome == OUTCOME_HELD) {
        job_end(j);
    } else {
        job_record(j);
    }
}

static void retry_counted(struct job *j)
{
    j->counted = true;
    job_finish(j, OUTCOME_RETRY);
}

/* The file cannot be read, for good: what the store still has of it is out of date and leaves
 * search. */
static void start_remove(struct job *j);

static void fail_for_good(struct job *j)
{
    start_remove(j);
}

/* ---- the store ---- */

void job_store_failed(struct job *j, const struct error *err)
{
    j->err = *err;
    j->request = NULL;
    struct queue *q = j->t->queue;
    char why[220];
    switch (err->code) {
    case STATUS_DISK_FULL:
        queue_hold(q, HOLD_DISK_FULL, "the disk is full: free some space, the queue then goes on");
        job_finish(j, OUTCOME_HELD);
        return;
    case STATUS_BUSY:
        queue_hold(q, HOLD_SHORT, err->text);
        job_finish(j, OUTCOME_HELD);
        return;
    case STATUS_UNAVAILABLE:
    case STATUS_CANCELLED:
    case STATUS_NO_MEMORY:
    case STATUS_PROTOCOL:
    case STATUS_UNAUTHENTICATED:
        (void)snprintf(why, sizeof why, "waiting for the store: %.180s", err->text);
        queue_hold(q, HOLD_DOWN, why);
        job_finish(j, OUTCOME_HELD);
        return;
    case STATUS_INVALID:
    case STATUS_TOO_LARGE:
    case STATUS_UNSUPPORTED:
        if (j->phase == JOB_PUT) {
            fail_for_good(j);
            return;
        }
        retry_counted(j);
        return;
    case STATUS_OK:
    case STATUS_FORBIDDEN:
    case STATUS_NOT_FOUND:
    case STATUS_CONFLICT:
    case STATUS_IO:
    case STATUS_CORRUPT:
    case STATUS_DEADLINE:
    case STATUS_INTERNAL:
    case STATUS_COUNT:
        break;
    }
    retry_counted(j);
}

/* Asked as late as can be: the rules that hold when the store is told. A change after this gives the row a new
 * sequence number, so that the store is told again. */
enum status job_location(struct job *j, Vs__Location *l, struct error *err)
{
    struct verdict *v = &j->verdict;
    struct buf text;
    access_look(j->t->in);
    access_view_release(&j->view);
    j->view = access_view_take(j->t);
    access_judge(&j->view, j->row.path, j->row.collection, v);
    buf_init(&text, 16384);
    rules_write(v, &text);
    struct str written = buf_view(&text);
    j->access = buf_status(&text) != STATUS_OK
                    ? NULL
                    : arena_strndup(&j->arena, written.len == 0 ? "" : written.ptr, written.len);
    buf_deinit(&text);
    if (j->access == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    j->t->had_rules = j->t->had_rules || j->access[0] != '\0';
    vs__location__init(l);
    l->document = (char *)(uintptr_t)j->row.document;
    l->path.data = (uint8_t *)(uintptr_t)j->row.path.ptr;
    l->path.len = j->row.path.len;
    l->source = (char *)(uintptr_t) "watch";
    l->collection = (char *)(uintptr_t)j->row.collection;
    l->sequence = j->row.wanted;
    l->modified_wall_ms = j->row.stamp.mtime_ns / 1000000;
    l->label = (char *)(uintptr_t)v->label;
    l->readers = (char **)(uintptr_t)v->readers;
    l->n_readers = v->n_readers;
    l->tags = (char **)(uintptr_t)v->tags;
    l->n_tags = v->n_tags;
    l->has_date_wall_ms = v->has_date;
    l->date_wall_ms = v->date_ms;
    return STATUS_OK;
}

/* ---- remove, trash ---- */

static void trash_work(void *data)
{
    struct job *j = data;
    struct tenant *t = j->t;
    int root = follow_root(t->follow);
    j->err = (struct error){.code = STATUS_OK};
    enum status s = root < 0
                        ? error_set(&j->err, STATUS_UNAVAILABLE, "the watched folder is missing")
                        : trash_move(root, t->in->svc->home, t->id, j->row.path, j->row.document,
                                     j->row.stamp.ino, &j->err);
    j->err.code = s;
}

static void trash_done(void *data)
{
    struct job *j = data;
    j->in_lane = false;
    if (j->err.code == STATUS_OK || j->err.code == STATUS_NOT_FOUND) {
        job_finish(j, OUTCOME_REMOVED);
    } else if (j->err.code == STATUS_FORBIDDEN) {
        job_finish(j, OUTCOME_EXCLUDED); /* it may not be moved: it must not come back either */
    } else {
        LOG_WARN("a deleted file could not be moved to the trash", LOG_STR("tenant", j->t->id),
                 LOG_STR("doc", j->row.document), LOG_STR("err", j->err.text), LOG_END);
        j->counted = false;
        job_finish(j, OUTCOME_RETRY);
    }
}

static void on_removed(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct job *j = data;
    j->request = NULL;
    if (err->code != STATUS_OK && err->code != STATUS_NOT_FOUND) {
        job_store_failed(j, err);
        return;
    }
    queue_release(j->t->queue);
    if (j->row.op == FILE_OP_TRASH) {
        j->phase = JOB_TRASH;
        j->in_lane = true;
        if (lane_submit(&j->t->in->work, trash_work, trash_done, j, &j->err) != STATUS_OK) {
            j->in_lane = false;
            job_finish(j, OUTCOME_HELD);
        }
    } else if (j->row.op == FILE_OP_EXCLUDE) {
        job_finish(j, OUTCOME_EXCLUDED);
    } else if (j->row.op == FILE_OP_REMOVE) {
        job_finish(j, OUTCOME_REMOVED);
    } else {
        job_finish(j, OUTCOME_FAILED);
    }
}

static void start_remove(struct job *j)
{
    j->phase = JOB_REMOVE;
    Vs__RemoveRequest m = VS__REMOVE_REQUEST__INIT;
    m.document = j->row.document;
    m.sequence = j->row.wanted;
    m.has_excluded = 1;
    m.excluded = j->row.op == FILE_OP_EXCLUDE;
    struct rpc_options o;
    job_options(j, &o);
    struct rpc_callbacks cb = {.on_finish = on_removed};
    j->request = vs_remove(store_of(j), &o, &m, &cb, j);
    if (j->request == NULL) {
        job_finish(j, OUTCOME_HELD);
    }
}

/* ---- move ---- */

static void on_move_end(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct job *j = data;
    j->request = NULL;
    if (err->code == STATUS_NOT_FOUND) {
        job_finish(j, OUTCOME_REQUEUE);
    } else if (err->code != STATUS_OK) {
        job_store_failed(j, err);
    } else {
        queue_release(j->t->queue);
        job_finish(j, OUTCOME_MOVED);
    }
}

static void start_move(struct job *j)
{
    j->phase = JOB_MOVE;
    Vs__Location l;
    if (job_location(j, &l, &j->err) != STATUS_OK) {
        job_finish(j, OUTCOME_HELD);
        return;
    }
    Vs__MoveRequest m = VS__MOVE_REQUEST__INIT;
    m.location = &l;
    struct rpc_options o;
    job_options(j, &o);
    struct rpc_callbacks cb = {.on_finish = on_move_end};
    j->request = vs_move(store_of(j), &o, &m, &cb, j);
    if (j->request == NULL) {
        job_finish(j, OUTCOME_HELD);
    }
}

/* ---- snapshot, lookup ---- */

static void on_has_reply(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct job *j = data;
    const Vs__HasContentReply *reply = vs_has_content_reply(m);
    j->known = reply != NULL && reply->present;
    j->stored_chunks = reply != NULL && reply->has_chunks ? reply->chunks : 0;
}

static void want_extract(struct job *j)
{
    struct ingest *in = j->t->in;
    if (j->format == NULL) {
        (void)error_set(&j->err, STATUS_UNSUPPORTED,
                        "this kind of file cannot be read (txt, md, html, pdf and docx can)");
        fail_for_good(j);
        return;
    }
    j->phase = JOB_WAIT_EXTRACT;
    list_push(&in->want_extractor, &j->link);
    extract_next(in);
}

static void on_has_end(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct job *j = data;
    j->request = NULL;
    if (err->code != STATUS_OK) {
        job_store_failed(j, err);
        return;
    }
    queue_release(j->t->queue);
    if (j->known && j->stored_chunks > 0 && j->format != NULL && !j->known_was_wrong) {
        job_put(j);
        return;
    }
    j->known = false;
    want_extract(j);
}

static void start_lookup(struct job *j)
{
    j->phase = JOB_LOOKUP;
    Vs__HasContentRequest m = VS__HAS_CONTENT_REQUEST__INIT;
    m.hash.data = j->snap.hash;
    m.hash.len = sizeof j->snap.hash;
    m.pipeline = j->t->in->pipeline;
    struct rpc_options o;
    job_options(j, &o);
    struct rpc_callbacks cb = {.on_reply = on_has_reply, .on_finish = on_has_end};
    j->request = vs_has_content(store_of(j), &o, &m, &cb, j);
    if (j->request == NULL) {
        job_finish(j, OUTCOME_HELD);
    }
}

void job_put_unknown(struct job *j)
{
    j->known = false;
    j->known_was_wrong = true;
    want_extract(j);
}

static void snapshot_work(void *data)
{
    struct job *j = data;
    const struct ingest *in = j->t->in;
    int root = follow_root(j->t->follow);
    j->err = (struct error){.code = STATUS_OK};
    enum status s = root < 0
                        ? error_set(&j->err, STATUS_UNAVAILABLE, "the watched folder is missing")
                        : snapshot_take(root, j->row.path, &j->row.stamp,
                                        (uint64_t)in->settings->ingest.max_file_bytes,
                                        in->svc->home, &j->snap, &j->err);
    j->err.code = s;
}

static void snapshot_failed(struct job *j)
{
    switch (j->err.code) {
    case STATUS_CONFLICT:
    case STATUS_NOT_FOUND:
    case STATUS_UNAVAILABLE:
        job_finish(j, OUTCOME_CHANGED);
        return;
    case STATUS_INVALID:
    case STATUS_TOO_LARGE:
        fail_for_good(j);
        return;
    case STATUS_FORBIDDEN:
        (void)error_set(&j->err, STATUS_FORBIDDEN,
                        "Carrel may not read this file: give its user the right to");
        fail_for_good(j);
        return;
    case STATUS_DISK_FULL:
        queue_hold(j->t->queue, HOLD_DISK_FULL,
                   "the disk is full: free some space, the queue then goes on");
        job_finish(j, OUTCOME_HELD);
        return;
    case STATUS_BUSY:
    case STATUS_NO_MEMORY:
        queue_hold(j->t->queue, HOLD_SHORT, j->err.text);
        job_finish(j, OUTCOME_HELD);
        return;
    case STATUS_OK:
    case STATUS_CANCELLED:
    case STATUS_UNAUTHENTICATED:
    case STATUS_UNSUPPORTED:
    case STATUS_IO:
    case STATUS_CORRUPT:
    case STATUS_PROTOCOL:
    case STATUS_DEADLINE:
    case STATUS_INTERNAL:
    case STATUS_COUNT:
        break;
    }
    retry_counted(j);
}

/* ---- what was erased does not come back ---- */

static enum status run_ban(struct journal *jl, struct journal_op *op, struct error *err)
{
    struct job *j = container_of(op, struct job, op);
    uint8_t keyed[KEYED_BYTES];
    keyed_hash(erasing_key(j->t->erasing), j->snap.hash, sizeof j->snap.hash, keyed);
    enum status s = erasure_of_hash(jl, keyed, j->banned_by, err);
    return s == STATUS_NOT_FOUND ? STATUS_OK : s;
}

static void ban_done(struct journal_op *op)
{
    struct job *j = container_of(op, struct job, op);
    j->in_lane = false;
    if (j->cancelled || op->err.code != STATUS_OK) {
        job_finish(j, OUTCOME_HELD);
    } else if (j->banned_by[0] != '\0') {
        (void)error_set(&j->err, STATUS_FORBIDDEN,
                        "this content was erased (erasure %s) and is not taken in again; "
                        "`carrel erase allow %s` lets it in",
                        j->banned_by, j->banned_by);
        fail_for_good(j);
    } else {
        start_lookup(j);
    }
}

static void check_ban(struct job *j)
{
    j->banned_by[0] = '\0';
    if (!erasing_bans(j->t->erasing)) {
        start_lookup(j);
        return;
    }
    j->in_lane = true;
    j->op.run = run_ban;
    j->op.done = ban_done;
    journal_submit(&j->t->journal, &j->op);
}

static void snapshot_done(void *data)
{
    struct job *j = data;
    j->in_lane = false;
    if (j->cancelled) {
        job_finish(j, OUTCOME_HELD);
    } else if (j->err.code != STATUS_OK) {
        snapshot_failed(j);
    } else {
        char name[256];
        struct str n = path_name(j->row.path);
        (void)snprintf(name, sizeof name, "%.*s", STR_ARG(n));
        j->format = extractor_format(name, j->snap.head, j->snap.head_len);
        check_ban(j);
    }
}

/* ---- extract, chunk ---- */

static void chunk_work(void *data)
{
    struct job *j = data;
    const struct settings *st = j->t->in->settings;
    struct chunk_options o = {
        .target_words = (uint32_t)st->chunk.target_words,
        .max_words = (uint32_t)st->chunk.max_words,
        .target_cjk_chars = (uint32_t)st->chunk.target_cjk_chars,
    };
    j->err = (struct error){.code = STATUS_OK};
    j->err.code = chunk_document((const Ex__Block *const *)j->blocks, j->n_blocks, &o, &j->arena,
                                 &j->doc, &j->err);
}

static void chunk_done(void *data)
{
    struct job *j = data;
    j->in_lane = false;
    if (j->cancelled) {
        job_finish(j, OUTCOME_HELD);
    } else if (j->err.code == STATUS_NO_MEMORY) {
        retry_counted(j);
    } else if (j->err.code != STATUS_OK) {
        fail_for_good(j);
    } else if (j->doc.n_chunks == 0) {
        (void)error_set(&j->err, STATUS_UNSUPPORTED,
                        "no text was found in it (a scan without a text layer cannot be read)");
        fail_for_good(j);
    } else {
        j->stored_chunks = (uint32_t)j->doc.n_chunks;
        start_encode(j);
    }
}

static void on_extracted(const struct error *err, const struct extracted *out, void *data)
{
    struct job *j = data;
    struct ingest *in = j->t->in;
    j->extraction = NULL;
    in->extracting--;
    j->extracted = j->arena.used;
    in->extracted_bytes += j->extracted;
    extract_next(in);
    if (err != NULL && err->code != STATUS_OK) {
        j->err = *err;
        if (err->code == STATUS_DISK_FULL) {
            queue_hold(j->t->queue, HOLD_DISK_FULL,
                       "the disk is full: free some space, the queue then goes on");
            job_finish(j, OUTCOME_HELD);
        } else if (status_retryable(err->code) && err->code != STATUS_DEADLINE) {
            retry_counted(j);
        } else {
            fail_for_good(j);
        }
        return;
    }
    j->info = out->document;
    j->blocks = out->blocks;
    j->n_blocks = out->n_blocks;
    j->phase = JOB_CHUNK;
    j->in_lane = true;
    if (lane_submit(&in->work, chunk_work, chunk_done, j, &j->err) != STATUS_OK) {
        j->in_lane = false;
        job_finish(j, OUTCOME_HELD);
    }
}

void job_extract(struct job *j)
{
    struct ingest *in = j->t->in;
    int fd = -1;
    j->phase = JOB_EXTRACT;
    if (snapshot_reopen(j->snap.fd, &fd, &j->err) != STATUS_OK) {
        retry_counted(j);
        return;
    }
    j->extraction = extractor_start(in->pool, fd, j->format, &j->arena, on_extracted, j, &j->err);
    if (j->extraction == NULL) {
        retry_counted(j);
        return;
    }
    in->extracting++;
}

static void extract_next(struct ingest *in)
{
    while (in->extracting < in->extracting_max && in->extracted_bytes < INGEST_EXTRACTED_BYTES &&
           !list_empty(&in->want_extractor)) {
        struct job *j = list_entry(in->want_extractor.next, struct job, link);
        list_remove(&j->link);
        job_extract(j);
    }
}

/* ---- encode: with embed down the document is stored without vectors, found by its words at once,
 * and gets its vectors from the migration when embed is back ---- */

static void encode_batch(struct job *j);

static void on_encoded(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct job *j = data;
    const Em__EncodeReply *reply = em_encode_reply(m);
    size_t n = j->doc.n_chunks - j->encoded;
    n = n < ENCODE_BATCH ? n : ENCODE_BATCH;
    if (reply == NULL || strcmp(reply->encoder, j->encoder) != 0 || reply->dimensions == 0 ||
        reply->dimensions > 8192 || reply->n_vectors != n * reply->dimensions ||
        (j->encoded > 0 && reply->dimensions != j->dimensions)) {
        j->encoder[0] = '\0';
        return;
    }
    if (j->vectors == NULL) {
        j->dimensions = reply->dimensions;
        j->vectors = arena_array(&j->arena, j->doc.n_chunks, (size_t)j->dimensions * 2);
    }
    if (j->vectors == NULL) {
        j->encoder[0] = '\0';
        return;
    }
    half_encode(reply->vectors, n * j->dimensions, j->vectors + j->encoded * j->dimensions * 2);
    j->encoded += n;
}

static void on_encode_end(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct job *j = data;
    j->request = NULL;
    if (err->code != STATUS_OK) {
        LOG_DEBUG("stored without vectors, they follow", LOG_STR("doc", j->row.document),
                  LOG_STR("err", err->text), LOG_END);
        j->encoder[0] = '\0';
    }
    if (j->encoder[0] == '\0' || j->encoded >= j->doc.n_chunks) {
        job_put(j);
    } else {
        encode_batch(j);
    }
}

static void encode_batch(struct job *j)
{
    ProtobufCBinaryData texts[ENCODE_BATCH];
    char *titles[ENCODE_BATCH];
    const char *title = j->info != NULL && j->info->title != NULL ? j->info->title : "";
    size_t n = 0;
    for (size_t i = j->encoded; i < j->doc.n_chunks && n < ENCODE_BATCH; i++, n++) {
        const struct chunk *c = &j->doc.chunks[i];
        const char *heading = c->heading_path == NULL ? "" : c->heading_path;
        texts[n].data = (uint8_t *)(uintptr_t)c->text.ptr;
        texts[n].len = c->text.len;
        titles[n] = arena_printf(&j->arena, "%s%s%s", title,
                                 title[0] != '\0' && heading[0] != '\0' ? "\n" : "", heading);
        if (titles[n] == NULL) {
            j->encoder[0] = '\0';
            job_put(j);
            return;
        }
    }
    Em__EncodeRequest m = EM__ENCODE_REQUEST__INIT;
    m.encoder = j->encoder;
    m.kind = EM__ENCODE_REQUEST__KIND__PASSAGE;
    m.texts = texts;
    m.n_texts = n;
    m.titles = titles;
    m.n_titles = n;
    struct rpc_options o;
    job_options(j, &o);
    struct rpc_callbacks cb = {.on_reply = on_encoded, .on_finish = on_encode_end};
    j->request = em_encode(service_client(j->t->in->svc, PEER_EMBED), &o, &m, &cb, j);
    if (j->request == NULL) {
        job_finish(j, OUTCOME_HELD);
    }
}

static void start_encode(struct job *j)
{
    j->phase = JOB_ENCODE;
    (void)snprintf(j->encoder, sizeof j->encoder, "%s", j->t->encoder);
    if (j->encoder[0] == '\0') {
        job_put(j);
    } else {
        encode_batch(j);
    }
}

/* ---- life ---- */

static bool copy_row(struct job *j, const struct file_row *row)
{
    j->row = *row;
    j->row.path.ptr = arena_strndup(&j->arena, row->path.ptr, row->path.len);
    j->row.collection = arena_strdup(&j->arena, row->collection);
    j->row.title = arena_strdup(&j->arena, row->title);
    j->row.format = "";
    j->row.error = "";
    return j->row.path.ptr != NULL && j->row.collection != NULL && j->row.title != NULL;
}

struct job *job_start(struct tenant *t, const struct file_row *row)
{
    struct job *j = calloc(1, sizeof *j);
    if (j == NULL) {
        return NULL;
    }
    arena_init(&j->arena, ARENA_BASE + 3 * ((size_t)t->in->settings->extract.output_mb << 20));
    j->t = t;
    j->snap.fd = -1;
    list_init(&j->link);
    if (!copy_row(j, row)) {
        goto failed;
    }
    if (row->op == FILE_OP_PUT) {
        j->phase = JOB_SNAPSHOT;
        j->charged = row->stamp.size;
        j->in_lane = true;
        if (lane_submit(&t->in->work, snapshot_work, snapshot_done, j, &j->err) != STATUS_OK) {
            goto failed;
        }
    }
    t->in->active++;
    t->in->active_bytes += j->charged;
    if (row->op == FILE_OP_MOVE) {
        start_move(j);
    } else if (row->op != FILE_OP_PUT) {
        start_remove(j);
    }
    return j;
failed:
    arena_reset(&j->arena);
    free(j);
    return NULL;
}

void job_cancel(struct job *j)
{
    j->cancelled = true;
    if (j->in_lane) {
        return; /* ends when the lane is done with it */
    }
    if (j->request != NULL) {
        rpc_request_cancel(j->request);
        j->request = NULL;
    }
    if (j->extraction != NULL) {
        extractor_cancel(j->extraction);
        j->extraction = NULL;
        j->t->in->extracting--;
    }
    list_remove(&j->link);
    job_finish(j, OUTCOME_HELD);
}
