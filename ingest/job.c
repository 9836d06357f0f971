#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "ingest/job_internal.h"
#include "ingest/queue.h"
#include "ingest/quota.h"
#include "ingest/recut.h"
#include "ingest/turns.h"

#define RETRY_FIRST_MS 1000
#define RETRY_MAX_MS 300000
#define ARENA_BASE ((size_t)256 << 20)

struct rpc_client *job_store(const struct job *j)
{
    return service_client(j->t->in->svc, PEER_VECTORSTORE);
}

void job_options(struct job *j, struct rpc_options *o)
{
    *o = (struct rpc_options){.tenant = j->t->id, .priority = 1, .effort = &j->effort};
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
    bool settled = j->outcome != OUTCOME_HELD && j->outcome != OUTCOME_RETRY &&
                   j->outcome != OUTCOME_CHANGED && j->outcome != OUTCOME_WAITS;
    settled = settled && (j->outcome != OUTCOME_MOVED || j->row.op != FILE_OP_MOVE_PUT);
    if (j->row.parent != 0 && settled) {
        held_drop(&j->t->held, j->row.id);
    }
    unpacking_free(j->unpacking);
    in->active--;
    in->active_large -= j->large;
    in->large_ended += j->large;
    in->active_bytes -= j->large ? j->charged : 0;
    j->t->quota_pending -= j->charged;
    if (j->outcome == OUTCOME_DONE) {
        j->t->counts.bytes += j->charged;
        j->t->counted_late = true;
    }
    answer_deletes(j);
    queue_job_ended(j->t->queue, j);
    if (j->snap.fd >= 0) {
        (void)close(j->snap.fd);
    }
    in->extracted_bytes -= j->extracted;
    access_view_release(&j->view);
    disk_view_release(&j->folders);
    job_recut_free(j);
    struct recut *recut = j->t->recut;
    if (j->row.op == FILE_OP_RECUT) {
        recut_ended(recut, j);
    } else if (j->outcome == OUTCOME_MOVED) {
        recut_look(recut); /* perhaps into a collection that is cut otherwise */
    }
    effort_end(&j->effort);
    arena_reset(&j->arena);
    free(j);
    job_extract_next(in);
    queues_pump(in);
    recut_go(recut);
}

const char *job_notes(struct arena *a, const char *one, const char *other)
{
    bool first = one != NULL && one[0] != '\0', second = other != NULL && other[0] != '\0';
    const char *both = first && second ? arena_printf(a, "%s; %s", one, other) : NULL;
    return both != NULL ? both : first || other == NULL ? one : other;
}

static enum status run_record(struct journal *jl, struct journal_op *op, struct error *err)
{
    struct job *j = container_of(op, struct job, op);
    const struct file_row *r = &j->row;
    struct job_result result;
    enum status noted = journal_worked(jl, r, j->outcome == OUTCOME_DONE, j->cpu_us, err);
    if (noted != STATUS_OK) {
        return noted;
    }
    if (j->outcome == OUTCOME_FAILED && r->access == NULL) {
        /* no store has it, but lists and events tell of it: only to who could have read it */
        const char *access = NULL;
        struct error why; /* where it cannot be told who might, nobody is told */
        if (access_judge_row(&j->view, r, &j->arena, &access, &why) != STATUS_OK) {
            access = "nobody|||";
        }
        enum status s = journal_applied(jl, r->id, access, err);
        if (s != STATUS_OK) {
            return s;
        }
    }
    if ((j->outcome == OUTCOME_DONE || j->outcome == OUTCOME_MOVED) && j->access != NULL) {
        enum status s = journal_applied(jl, r->id, j->access, err);
        if (s != STATUS_OK) {
            return s;
        }
    }
    switch (j->outcome) {
    case OUTCOME_DONE:
        if (r->op == FILE_OP_RECUT) {
            return journal_cut_done(jl, r->id, r->wanted, j->pipeline, j->stored_chunks, err);
        }
        if (j->unpacking == NULL) {
            enum status s =
                journal_not_unpacked(jl, r->id, job_is_container(j) && j->container.same, err);
            if (s != STATUS_OK) {
                return s;
            }
        }
        result = (struct job_result){
            .hash = j->snap.hash,
            .format = j->format,
            .title = j->stored.title != NULL ? j->stored.title : r->title,
            .author = j->stored.author != NULL ? j->stored.author : r->author,
            .language = j->stored.language != NULL ? j->stored.language : r->language,
            .dated = j->stored.title != NULL ? j->stored.dated : r->dated,
            .own_ms = j->stored.title != NULL ? j->stored.own_ms : r->own_ms,
            .pages = j->stored.title != NULL ? j->stored.pages : r->pages,
            .chunks = j->stored_chunks,
            .note = job_notes(&j->arena, j->note,
                              j->unpacking == NULL ? NULL : unpacking_notes(j->unpacking)),
            .cut = j->pipeline,
        };
        return journal_done(jl, r->id, r->wanted, &result, err);
    case OUTCOME_MOVED:
        if (r->op == FILE_OP_MOVE_PUT) {
            return journal_moved_put(jl, r->id, r->wanted, err);
        }
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
    case OUTCOME_WAITS:
        return journal_member_waits(jl, r, j->retry_at_ms, err);
    case OUTCOME_HELD:
        break;
    }
    return STATUS_OK;
}

static void log_outcome(const struct job *j)
{
    struct ingest *in = j->t->in;
    if (j->outcome == OUTCOME_DONE && j->row.op == FILE_OP_RECUT) {
        LOG_DEBUG("document cut anew", LOG_STR("tenant", j->t->id), LOG_STR("doc", j->row.document),
                  LOG_INT("chunks", j->stored_chunks), LOG_END);
    } else if (j->outcome == OUTCOME_DONE) {
        in->jobs_done++;
        in->bytes_done += j->row.stamp.size;
        in->chunks_done += j->stored_chunks;
        pace_done(&j->t->pace, clock_monotonic_ms(), j->row.stamp.size, j->stored_chunks);
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
        follow_touch(j->t->follow, file_row_real(&j->row), false);
    }
    if (j->outcome == OUTCOME_REQUEUE || j->outcome == OUTCOME_WAITS) {
        struct queue *q = j->t->queue;
        job_end(j);
        queue_changed(q);
        return;
    }
    job_end(j);
}

void job_record(struct job *j)
{
    if (j->outcome == OUTCOME_FAILED && j->row.access == NULL) {
        access_look(j->t->in);
        access_view_release(&j->view);
        j->view = access_view_take(j->t);
    }
    j->in_lane = true;
    j->cpu_us = effort_cpu_us(&j->effort);
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
        const struct settings *st = j->t->in->settings;
        int64_t wait = j->err.code == STATUS_UNAVAILABLE ? st->ingest.poll_s * 1000
                                                         : st->ingest.settle_ms + 1000;
        j->retry_at_ms = clock_wall_ms() + wait;
        j->counted = false;
    }
    if (j->outcome == OUTCOME_HELD) {
        job_end(j);
    } else if (j->outcome == OUTCOME_DONE && j->unpacking != NULL) {
        job_write_members(j);
    } else {
        job_record(j);
    }
}

void job_retry_counted(struct job *j)
{
    j->counted = true;
    job_finish(j, OUTCOME_RETRY);
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
            job_remove(j);
            return;
        }
        job_retry_counted(j);
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
    job_retry_counted(j);
}

void job_store_unasked(struct job *j)
{
    struct error err = {0};
    (void)error_set(&err, STATUS_NO_MEMORY, "out of memory");
    job_store_failed(j, &err);
}

static void look_work(void *data)
{
    struct job *j = data;
    j->err = (struct error){.code = STATUS_OK};
    disk_view_release(&j->folders);
    j->err.code = disk_look(j->t->disk, path_folder(file_row_real(&j->row)), &j->folders, &j->err);
    if (j->err.code == STATUS_OK) {
        j->err.code = access_share(&j->view, file_row_real(&j->row), &j->arena, &j->share, &j->err);
    }
}

enum status job_look(struct job *j, void (*done)(void *data))
{
    access_view_release(&j->view);
    j->view = access_view_take(j->t);
    j->share = (struct share_readers){.asked = false};
    enum status s = lane_submit_for(&j->t->in->work, &j->effort, look_work, done, j, &j->err);
    j->in_lane = s == STATUS_OK;
    return s;
}

bool job_looked(struct job *j)
{
    j->in_lane = false;
    if (j->cancelled) {
        job_finish(j, OUTCOME_HELD);
        return false;
    }
    if (j->err.code == STATUS_NOT_FOUND || j->err.code == STATUS_UNAVAILABLE) {
        job_finish(j, OUTCOME_CHANGED);
        return false;
    }
    if (j->err.code != STATUS_OK) {
        job_retry_counted(j);
        return false;
    }
    return true;
}

bool job_rules_changed(struct job *j)
{
    access_look(j->t->in);
    struct access_view now = access_view_take(j->t);
    bool changed = now.set != j->view.set || now.broken != j->view.broken;
    access_view_release(&now);
    return changed;
}

/* Asked as late as can be: the rules that hold when the store is told. A change after this gives
 * the row a new sequence number, so that the store is told again. */
enum status job_location(struct job *j, Vs__Location *l, struct error *err)
{
    struct verdict *v = &j->verdict;
    struct buf text;
    if (j->unseen) {
        j->share = access_share_unseen(&j->view, j->err.code, &j->row);
    }
    access_judge(&j->view, &j->folders, &j->share, &j->row, v);
    if (j->unseen && j->row.access != NULL) {
        rules_narrow(v, j->row.access, &j->arena);
    }
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
    vs__location__init(l);
    l->document = (char *)(uintptr_t)j->row.document;
    l->path.data = (uint8_t *)(uintptr_t)j->row.path.ptr;
    l->path.len = j->row.path.len;
    l->source = (char *)(uintptr_t)(j->row.parent != 0 ? "member" : "watch");
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

/* ---- life ---- */

static bool copy_row(struct job *j, const struct file_row *row)
{
    j->row = *row;
    j->row.path.ptr = arena_strndup(&j->arena, row->path.ptr, row->path.len);
    j->row.collection = arena_strdup(&j->arena, row->collection);
    j->row.title = arena_strdup(&j->arena, row->title);
    j->row.author = arena_strdup(&j->arena, row->author);
    j->row.language = arena_strdup(&j->arena, row->language);
    j->row.format = arena_strdup(&j->arena, row->format);
    j->row.note = "";
    j->row.parent_document = NULL;
    j->row.error = "";
    j->row.access = row->access == NULL ? NULL : arena_strdup(&j->arena, row->access);
    return j->row.path.ptr != NULL && j->row.collection != NULL && j->row.title != NULL &&
           j->row.format != NULL && j->row.author != NULL && j->row.language != NULL &&
           (j->row.access != NULL || row->access == NULL);
}

static bool moves(enum file_op op)
{
    return op == FILE_OP_MOVE || op == FILE_OP_MOVE_PUT;
}

struct job *job_start(struct tenant *t, const struct file_row *row)
{
    struct job *j = calloc(1, sizeof *j);
    if (j == NULL) {
        return NULL;
    }
    effort_init(&j->effort);
    arena_init(&j->arena, ARENA_BASE + 3 * ((size_t)t->in->settings->extract.output_mb << 20));
    j->t = t;
    j->snap.fd = -1;
    list_init(&j->link);
    if (!copy_row(j, row)) {
        goto failed;
    }
    recut_pipeline(t->in->settings, j->row.collection, j->pipeline);
    bool room =
        row->op != FILE_OP_PUT || quota_check_file(t, row->stamp.size, &j->err) == STATUS_OK;
    if (row->op == FILE_OP_PUT && room) {
        j->charged = row->stamp.size;
        if ((row->parent != 0 ? job_member(j) : job_snapshot(j)) != STATUS_OK) {
            goto failed;
        }
    } else if (moves(row->op) && job_move(j) != STATUS_OK) {
        goto failed;
    } else if (row->op == FILE_OP_RECUT && job_recut(j) != STATUS_OK) {
        goto failed;
    }
    t->in->active++;
    j->large = j->charged >= TURN_LARGE_BYTES;
    t->in->active_large += j->large;
    t->in->active_bytes += j->large ? j->charged : 0;
    t->quota_pending += j->charged;
    j->leaves = !room || (row->op != FILE_OP_PUT && row->op != FILE_OP_RECUT && !moves(row->op));
    return j;
failed:
    access_view_release(&j->view);
    arena_reset(&j->arena);
    free(j);
    return NULL;
}

void job_begin(struct job *j)
{
    if (j->leaves) {
        job_remove(j);
    }
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
        job_extract_ended(j);
    }
    job_ocr_cancel(j);
    list_remove(&j->link);
    job_finish(j, OUTCOME_HELD);
}
