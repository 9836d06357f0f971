/* The malware scanner (ingest.scanner) is asked about every file before anything else looks at it,
 * also about those whose content the store knows: what scanners know changes.
 *
 *   let in by a person? -> on;  else ask clamd:
 *   clean -> on;  found -> written down, out of the store, moved away if so configured, failed;
 *   does not answer -> the queue waits and says so;  too large for it -> failed
 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "ingest/clamd.h"
#include "ingest/job_internal.h"
#include "ingest/quarantine.h"
#include "ingest/queue.h"

static void submit(struct job *j,
                   enum status (*run)(struct journal *, struct journal_op *, struct error *),
                   void (*done)(struct journal_op *))
{
    j->in_lane = true;
    j->op.run = run;
    j->op.done = done;
    journal_submit(&j->t->journal, &j->op);
}

/* ---- found ---- */

static bool moves_away(const struct job *j)
{
    return strcmp(j->t->in->settings->ingest.quarantine, "move") == 0;
}

static void say_found(struct job *j)
{
    (void)error_set(&j->err, STATUS_FORBIDDEN,
                    "quarantined: %.100s (`carrel quarantine list` shows it)", j->malware);
}

static void found_end(struct job *j)
{
    say_found(j);
    job_finish(j, OUTCOME_FAILED);
}

static enum status run_stays(struct journal *jl, struct journal_op *op, struct error *err)
{
    return quarantine_stays(jl, container_of(op, struct job, op)->quarantine, err);
}

static void stays_done(struct journal_op *op)
{
    struct job *j = container_of(op, struct job, op);
    j->in_lane = false;
    if (op->err.code != STATUS_OK) {
        job_finish(j, OUTCOME_HELD); /* once more, from the beginning */
    } else {
        found_end(j);
    }
}

static void move_work(void *data)
{
    struct job *j = data;
    int root = follow_root(j->t->follow);
    j->err = (struct error){.code = STATUS_OK};
    j->err.code = root < 0 ? error_set(&j->err, STATUS_UNAVAILABLE, "the watched folder is missing")
                           : quarantine_take(root, j->t->in->svc->home, j->t->id, j->quarantine,
                                             j->row.path, j->row.stamp.ino, &j->err);
}

static void move_done(void *data)
{
    struct job *j = data;
    j->in_lane = false;
    if (j->err.code == STATUS_OK) {
        found_end(j);
        return;
    }
    LOG_WARN("a file could not be moved to quarantine", LOG_STR("tenant", j->t->id),
             LOG_STR("doc", j->row.document), LOG_STR("err", j->err.text), LOG_END);
    submit(j, run_stays, stays_done);
}

/* The book first: a file that has been moved is always in it. */
static enum status run_add(struct journal *jl, struct journal_op *op, struct error *err)
{
    struct job *j = container_of(op, struct job, op);
    struct quarantined q = {
        .path = j->row.path,
        .name = j->malware,
        .size = j->row.stamp.size,
        .moved = moves_away(j),
    };
    memcpy(q.document, j->row.document, sizeof q.document);
    memcpy(q.hash, j->snap.hash, sizeof q.hash);
    enum status s = quarantine_add(jl, &q, err);
    memcpy(j->quarantine, q.id, sizeof j->quarantine);
    return s;
}

static void add_done(struct journal_op *op)
{
    struct job *j = container_of(op, struct job, op);
    j->in_lane = false;
    if (op->err.code != STATUS_OK || j->cancelled) {
        job_finish(j, OUTCOME_HELD);
    } else if (!moves_away(j)) {
        found_end(j);
    } else {
        j->in_lane = true;
        if (lane_submit_for(&j->t->in->work, &j->effort, move_work, move_done, j, &j->err) !=
            STATUS_OK) {
            j->in_lane = false;
            job_finish(j, OUTCOME_HELD);
        }
    }
}

void job_quarantine(struct job *j)
{
    submit(j, run_add, add_done);
}

/* ---- asking ---- */

static void scan_work(void *data)
{
    struct job *j = data;
    const struct ingest *in = j->t->in;
    struct clamd c = {
        .address = in->settings->ingest.scanner,
        .timeout_ms = in->settings->ingest.scanner_timeout_s * 1000,
        .cancel = in->scan_cancel,
    };
    j->err = (struct error){.code = STATUS_OK};
    j->scanned = clamd_scan(&c, j->snap.fd, j->malware, &j->err);
}

static void scan_done(void *data)
{
    struct job *j = data;
    char why[200];
    j->in_lane = false;
    if (j->cancelled) {
        job_finish(j, OUTCOME_HELD);
        return;
    }
    switch (j->scanned) {
    case CLAMD_CLEAN:
        job_look_up(j);
        return;
    case CLAMD_FOUND:
        LOG_WARN("the malware scanner found something", LOG_STR("tenant", j->t->id),
                 LOG_STR("doc", j->row.document), LOG_STR("found", j->malware), LOG_END);
        say_found(j);
        job_remove(j); /* an earlier version leaves search; then job_quarantine */
        return;
    case CLAMD_TOO_LARGE:
        (void)error_set(&j->err, STATUS_TOO_LARGE,
                        "the malware scanner takes no file of this size (StreamMaxLength in "
                        "clamd.conf), so it is not read");
        job_remove(j);
        return;
    case CLAMD_DOWN:
        (void)snprintf(why, sizeof why, "waiting for the malware scanner: %.150s", j->err.text);
        queue_hold(j->t->queue, HOLD_DOWN, why);
        job_finish(j, OUTCOME_HELD);
        return;
    case CLAMD_FAILED:
        break;
    }
    (void)snprintf(why, sizeof why, "%.199s", j->err.text);
    (void)error_set(&j->err, STATUS_UNAVAILABLE, "not checked for malware: %s", why);
    job_retry_counted(j);
}

static enum status run_allowed(struct journal *jl, struct journal_op *op, struct error *err)
{
    struct job *j = container_of(op, struct job, op);
    return quarantine_allows(jl, j->snap.hash, &j->allowed, err);
}

static void allowed_done(struct journal_op *op)
{
    struct job *j = container_of(op, struct job, op);
    j->in_lane = false;
    if (op->err.code != STATUS_OK || j->cancelled) {
        job_finish(j, OUTCOME_HELD);
    } else if (j->allowed) {
        job_look_up(j);
    } else {
        j->in_lane = true;
        if (lane_submit_for(&j->t->in->scanner, &j->effort, scan_work, scan_done, j, &j->err) !=
            STATUS_OK) {
            j->in_lane = false;
            job_finish(j, OUTCOME_HELD);
        }
    }
}

void job_scan(struct job *j)
{
    j->malware[0] = '\0';
    if (j->t->in->settings->ingest.scanner[0] == '\0') {
        job_look_up(j);
        return;
    }
    j->phase = JOB_SCAN;
    submit(j, run_allowed, allowed_done);
}
