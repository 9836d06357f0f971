/* From a file to chunks: a copy, its hash, what the store knows, the extractor, the chunker. */
#include <stdio.h>

#include "base/clock.h"
#include "ingest/erase.h"
#include "ingest/formats/detect.h"
#include "ingest/job_internal.h"
#include "ingest/meta.h"
#include "ingest/queue.h"
#include "ingest/recut.h"

/* ---- snapshot, lookup ---- */

static void on_has_reply(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct job *j = data;
    const Vs__HasContentReply *reply = vs_has_content_reply(m);
    j->known = reply != NULL && reply->present;
    j->stored_chunks = reply != NULL && reply->has_chunks ? reply->chunks : 0;
}

void job_want_extract(struct job *j)
{
    struct ingest *in = j->t->in;
    if (j->format == NULL) {
        (void)error_set(
            &j->err, STATUS_UNSUPPORTED,
            "this kind of file cannot be read (text, Markdown, HTML, PDF, pictures, Office and "
            "OpenDocument files, books, RTF, CSV, JSON, XML, mail, archives, "
            "notebooks, reStructuredText, AsciiDoc, Org, subtitles and source code can)");
        job_remove(j);
        return;
    }
    j->phase = JOB_WAIT_EXTRACT;
    list_push(j->large ? &in->want_extractor_large : &in->want_extractor, &j->link);
    job_extract_next(in);
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
    j->known = j->known && j->stored_chunks > 0 && j->format != NULL && !j->known_was_wrong;
    if (job_is_container(j)) {
        job_look_inside(j);
    } else if (j->known) {
        job_put(j);
    } else {
        job_want_bytes(j);
    }
}

static void start_lookup(struct job *j)
{
    j->phase = JOB_LOOKUP;
    Vs__HasContentRequest m = VS__HAS_CONTENT_REQUEST__INIT;
    m.hash.data = j->snap.hash;
    m.hash.len = sizeof j->snap.hash;
    m.pipeline = j->pipeline;
    struct rpc_options o;
    job_options(j, &o);
    struct rpc_callbacks cb = {.on_reply = on_has_reply, .on_finish = on_has_end};
    j->request = vs_has_content(job_store(j), &o, &m, &cb, j);
    if (j->request == NULL) {
        job_store_unasked(j);
    }
}

void job_put_unknown(struct job *j)
{
    j->known = false;
    j->known_was_wrong = true;
    job_want_bytes(j);
}

static void snapshot_work(void *data)
{
    struct job *j = data;
    const struct ingest *in = j->t->in;
    int root = follow_root(j->t->follow);
    j->err = (struct error){.code = STATUS_OK};
    disk_view_release(&j->folders);
    enum status s = disk_look(j->t->disk, path_folder(j->row.path), &j->folders, &j->err);
    if (s == STATUS_OK) {
        s = snapshot_take(root, j->row.path, &j->row.stamp,
                          (uint64_t)in->settings->ingest.max_file_bytes, in->svc->home, &j->snap,
                          &j->err);
    }
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
        job_remove(j);
        return;
    case STATUS_FORBIDDEN:
        (void)error_set(&j->err, STATUS_FORBIDDEN,
                        "Carrel may not read this file: give its user the right to");
        job_remove(j);
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
    job_retry_counted(j);
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
        job_remove(j);
    } else {
        start_lookup(j);
    }
}

void job_look_up(struct job *j)
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
        j->format = j->folders.place == MAILDIR_MAIL
                        ? "eml"
                        : format_detect(name, j->snap.head, j->snap.head_len);
        job_scan(j);
    }
}

enum status job_snapshot(struct job *j)
{
    j->phase = JOB_SNAPSHOT;
    j->in_lane = true;
    enum status s =
        lane_submit_for(&j->t->in->work, &j->effort, snapshot_work, snapshot_done, j, &j->err);
    j->in_lane = s == STATUS_OK;
    return s;
}

/* ---- extract, chunk ---- */

static void chunk_work(void *data)
{
    struct job *j = data;
    struct chunk_options o;
    recut_options(j->t->in->settings, j->row.collection, &o);
    j->err = (struct error){.code = STATUS_OK};
    j->err.code = chunk_document((const Ex__Block *const *)j->blocks, j->n_blocks, &o, &j->arena,
                                 &j->doc, &j->err);
    if (j->err.code == STATUS_OK) {
        j->err.code = chunk_table_write(&j->doc, &j->arena, &j->table, &j->err);
    }
}

static void chunk_done(void *data)
{
    struct job *j = data;
    j->in_lane = false;
    if (j->cancelled) {
        job_finish(j, OUTCOME_HELD);
    } else if (j->err.code == STATUS_NO_MEMORY) {
        job_retry_counted(j);
    } else if (j->err.code != STATUS_OK) {
        job_remove(j);
    } else if (j->doc.n_chunks == 0) {
        (void)error_set(&j->err, STATUS_UNSUPPORTED, "no text was found in it");
        job_remove(j);
    } else {
        j->stored_chunks = (uint32_t)j->doc.n_chunks;
        job_encode(j);
    }
}

void job_chunk(struct job *j)
{
    j->phase = JOB_CHUNK;
    j->in_lane = true;
    if (lane_submit_for(&j->t->in->work, &j->effort, chunk_work, chunk_done, j, &j->err) !=
        STATUS_OK) {
        j->in_lane = false;
        job_finish(j, OUTCOME_HELD);
    }
}

static void on_extracted(const struct error *err, const struct extracted *out, void *data)
{
    struct job *j = data;
    struct ingest *in = j->t->in;
    j->extraction = NULL;
    job_extract_ended(j);
    if (j->unpacking != NULL) {
        unpacking_bind(j->unpacking, NULL);
    }
    in->extracted_bytes -= j->extracted; /* of a reading before */
    j->extracted = j->arena.used;
    in->extracted_bytes += j->extracted;
    job_extract_next(in);
    if (err != NULL && err->code != STATUS_OK) {
        j->err = *err;
        if (err->code == STATUS_DISK_FULL) {
            queue_hold(j->t->queue, HOLD_DISK_FULL,
                       "the disk is full: free some space, the queue then goes on");
            job_finish(j, OUTCOME_HELD);
        } else if (status_retryable(err->code) && err->code != STATUS_DEADLINE) {
            job_retry_counted(j);
        } else {
            job_remove(j);
        }
        return;
    }
    j->info = meta_settle(out->document, out->blocks, out->n_blocks, clock_wall_ms(), &j->arena);
    if (j->info == NULL) {
        (void)error_set(&j->err, STATUS_NO_MEMORY, "out of memory");
        job_retry_counted(j);
        return;
    }
    j->blocks = out->blocks;
    j->n_blocks = out->n_blocks;
    if (j->known) { /* only what lies in it was wanted */
        job_put(j);
        return;
    }
    if (out->n_unread == 0 && !job_names_as_text(j)) {
        (void)error_set(&j->err, STATUS_NO_MEMORY, "out of memory");
        job_retry_counted(j);
        return;
    }
    if (out->n_unread > 0) {
        job_ocr(j, out);
    } else {
        job_chunk(j);
    }
}

static void job_extract(struct job *j)
{
    struct ingest *in = j->t->in;
    int fd = -1;
    j->phase = JOB_EXTRACT;
    if (snapshot_reopen(j->snap.fd, &fd, &j->err) != STATUS_OK) {
        job_retry_counted(j);
        return;
    }
    j->extraction = job_is_container(j) ? job_unpack(j, fd, on_extracted)
                                        : extractor_start(in->pool, fd, j->format, &j->arena,
                                                          on_extracted, j, &j->err);
    extraction_for(j->extraction, &j->effort);
    if (j->extraction == NULL && j->err.code == STATUS_BUSY) {
        j->counted = false;
        job_finish(j, OUTCOME_RETRY);
        return;
    }
    if (j->extraction == NULL) {
        job_retry_counted(j);
        return;
    }
    in->extracting += !j->large;
    in->extracting_large += j->large;
    in->extractions++;
}

void job_extract_ended(const struct job *j)
{
    j->t->in->extracting -= !j->large;
    j->t->in->extracting_large -= j->large;
}

static bool may_extract(const struct ingest *in, bool large)
{
    return large ? in->extracting_large < in->extracting_max &&
                       in->extracted_bytes < INGEST_EXTRACTED_BYTES &&
                       !list_empty(&in->want_extractor_large)
                 : in->extracting < in->extracting_max &&
                       in->extracted_bytes < INGEST_EXTRACTED_BYTES + INGEST_EXTRACTED_SMALL &&
                       !list_empty(&in->want_extractor);
}

/* Both kinds are handed on: the pool takes them by turns. */
void job_extract_next(struct ingest *in)
{
    for (int large = 0; large < 2; large++) {
        struct list *from = large ? &in->want_extractor_large : &in->want_extractor;
        while (may_extract(in, large)) {
            struct job *j = list_entry(from->next, struct job, link);
            list_remove(&j->link);
            job_extract(j);
        }
    }
}
