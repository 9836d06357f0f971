#include "ingest/queue.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/settings/hours.h"
#include "ingest/job.h"
#include "ingest/turns.h"
#include "ingest/recut.h"

#define TAKE_ROWS 256
#define ENDED_MAX 256
#define NEWEST 100
#define TAKE_BYTES (4U << 20)
#define RECORD_RETRY_MS 1000
#define HOLD_SHORT_MS 200
#define HOLD_FIRST_MS 250
#define HOLD_MAX_MS 5000

struct queue {
    struct tenant *t;
    uv_timer_t timer;
    struct map active; /* row number -> job */
    struct list unrecorded;

    struct arena arena; /* the page: rows taken and not yet started. The lane's while taking */
    struct file_row *rows;
    size_t n_rows, next_row;
    struct taken { /* the lane's */
        struct file_row *rows;
        size_t n;
        int64_t next_ms;
    } taken;
    int64_t ended[ENDED_MAX]; /* rows whose jobs ended while taking: the page may show them as they
                                 were */
    size_t n_ended;
    bool taking, stale, wanted, closing, timer_closed;
    bool passed_over;     /* rows of the page that wait until a large one has ended, */
    uint64_t large_ended; /* after so many */
    struct journal_op take;

    bool paused;            /* by a person: only removals and moves go on */
    struct take_limits may; /* of the page being taken */
    int64_t heavy_s;        /* until heavy work may go on; 0: now */
    char waits[120];        /* for what, for people; "" nothing */

    bool held;
    enum queue_hold hold_kind;
    int64_t hold_until; /* monotonic */
    int64_t hold_ms;
    char why[200];
};

static struct str row_key(const int64_t *row)
{
    return (struct str){.ptr = (const char *)row, .len = sizeof *row};
}

static void queue_pump(struct queue *q);

static void on_timer(uv_timer_t *timer)
{
    struct queue *q = container_of(timer, struct queue, timer);
    struct list again;
    list_init(&again);
    while (!list_empty(&q->unrecorded)) {
        struct list *it = q->unrecorded.next;
        list_remove(it);
        list_push(&again, it);
    }
    while (!list_empty(&again)) {
        struct job *j = list_entry(again.next, struct job, link);
        list_remove(&j->link);
        job_record(j);
    }
    q->wanted = true;
    queue_pump(q);
}

static void wake_in(struct queue *q, int64_t ms)
{
    uint64_t wait = ms < 1 ? 1 : (uint64_t)ms;
    if (q->closing ||
        (uv_is_active((uv_handle_t *)&q->timer) && uv_timer_get_due_in(&q->timer) <= wait)) {
        return;
    }
    (void)uv_timer_start(&q->timer, on_timer, wait, 0);
}

struct queue *queue_new(struct tenant *t)
{
    struct queue *q = calloc(1, sizeof *q);
    if (q == NULL) {
        return NULL;
    }
    q->t = t;
    q->wanted = true;
    map_init(&q->active);
    list_init(&q->unrecorded);
    arena_init(&q->arena, TAKE_BYTES);
    (void)uv_timer_init(t->in->loop, &q->timer);
    return q;
}

/* ---- taking rows ---- */

static enum status run_take(struct journal *j, struct journal_op *op, struct error *err)
{
    struct queue *q = container_of(op, struct queue, take);
    arena_reset(&q->arena);
    return journal_take(j, clock_wall_ms(), &q->may, TAKE_ROWS, &q->arena, &q->taken.rows,
                        &q->taken.n, &q->taken.next_ms, err);
}

static bool ended_meanwhile(const struct queue *q, int64_t row)
{
    for (size_t i = 0; i < q->n_ended; i++) {
        if (q->ended[i] == row) {
            return true;
        }
    }
    return false;
}

static void take_done(struct journal_op *op)
{
    struct queue *q = container_of(op, struct queue, take);
    q->taking = false;
    if (op->err.code != STATUS_OK) {
        LOG_ERROR("the journal cannot be read", LOG_STR("tenant", q->t->id),
                  LOG_STR("err", op->err.text), LOG_END);
        wake_in(q, RECORD_RETRY_MS);
        return;
    }
    if (q->stale) {
        q->wanted = true;
    } else {
        q->rows = q->taken.rows;
        for (size_t i = 0; i < q->taken.n; i++) {
            if (!ended_meanwhile(q, q->rows[i].id)) {
                q->rows[q->n_rows++] = q->rows[i];
            }
        }
        q->wanted = q->wanted || q->n_ended > 0;
    }
    if (q->taken.next_ms > 0) {
        int64_t wait = q->taken.next_ms - clock_wall_ms();
        wake_in(q, wait < 600000 ? wait : 600000);
    }
    queue_pump(q);
    recut_go(q->t->recut);
}

/* Large ones leave places for small ones, and take memory by turns. */
static bool waits_for_large(struct queue *q, const struct file_row *row)
{
    const struct ingest *in = q->t->in;
    bool waits = row->op == FILE_OP_PUT && row->stamp.size >= TURN_LARGE_BYTES &&
                 in->active_large > 0 &&
                 (in->active_large >= INGEST_ACTIVE_LARGE ||
                  in->active_bytes + row->stamp.size > INGEST_ACTIVE_BYTES);
    if (waits) {
        q->passed_over = true;
        q->large_ended = in->large_ended;
    }
    return waits;
}

static bool may_start(const struct queue *q)
{
    const struct ingest *in = q->t->in;
    if (in->active >= INGEST_ACTIVE_MAX) {
        return false;
    }
    if (q->held) { /* one probe at a time */
        return q->active.len == 0 && clock_monotonic_ms() >= q->hold_until;
    }
    return true;
}

/* What may be read now, by the person who paused it and the hours of heavy work. */
static void set_limits(struct queue *q)
{
    const struct settings *s = q->t->in->settings;
    struct hours hours;
    struct tm local;
    time_t now = time(NULL);
    q->may = (struct take_limits){.most_bytes = q->paused ? -1 : INT64_MAX};
    q->waits[0] = '\0';
    q->heavy_s = 0;
    if (q->paused) {
        (void)snprintf(q->waits, sizeof q->waits, "paused: `carrel queue resume` lets it go on");
    } else if (hours_parse(str_from(s->ingest.backlog_hours), &hours) &&
               localtime_r(&now, &local) != NULL) {
        q->heavy_s = hours_until(&hours, &local);
    }
    if (q->heavy_s > 0) {
        bool many = q->t->counts.queued > (uint64_t)s->ingest.backlog_files;
        q->may = (struct take_limits){.most_bytes = s->ingest.backlog_file_bytes,
                                      .newest = many ? NEWEST : 0};
        (void)snprintf(q->waits, sizeof q->waits, "large files%s wait for %.5s",
                       many ? " and the backlog" : "", s->ingest.backlog_hours);
        wake_in(q, (q->heavy_s < 600 ? q->heavy_s : 600) * 1000);
    }
}

static void queue_pump(struct queue *q)
{
    if (q->closing) {
        return;
    }
    if (q->passed_over && q->large_ended != q->t->in->large_ended) {
        q->passed_over = false;
        q->wanted = true;
    }
    while (!q->taking && q->next_row < q->n_rows) {
        const struct file_row *row = &q->rows[q->next_row];
        if (map_get(&q->active, row_key(&row->id)) != NULL) {
            q->next_row++;
            continue;
        }
        if (waits_for_large(q, row)) { /* those behind it need not */
            q->next_row++;
            continue;
        }
        if (!may_start(q)) {
            if (q->held && q->active.len == 0) {
                wake_in(q, q->hold_until - clock_monotonic_ms());
            }
            return;
        }
        struct job *j = job_start(q->t, row);
        if (j == NULL) {
            wake_in(q, RECORD_RETRY_MS);
            return;
        }
        q->next_row++;
        if (map_put(&q->active, row_key(&j->row.id), j, NULL) != STATUS_OK) {
            job_cancel(j); /* ends by itself, and is not in the map then */
            return;
        }
        job_begin(j);
    }
    if (!q->taking && q->wanted && q->t->in->active < INGEST_ACTIVE_MAX) {
        q->taking = true;
        q->wanted = false;
        q->stale = false;
        q->n_rows = q->next_row = q->n_ended = 0;
        set_limits(q);
        q->take.run = run_take;
        q->take.done = take_done;
        journal_submit(&q->t->journal, &q->take);
    }
}

void queue_changed(struct queue *q)
{
    q->wanted = true;
    q->stale = true;
    if (!q->taking) {
        q->n_rows = q->next_row = 0;
    }
    tenant_counts_stale(q->t);
    queue_pump(q);
}

void queues_pump(struct ingest *in)
{
    if (list_empty(&in->tenants)) {
        return;
    }
    struct list *first = in->tenants.next; /* each tenant begins in turn */
    list_remove(first);
    list_push(&in->tenants, first);
    list_for_each(it, &in->tenants)
    {
        struct tenant *t = list_entry(it, struct tenant, link);
        if (t->queue != NULL) {
            queue_pump(t->queue);
        }
    }
}

/* ---- what jobs say ---- */

void queue_hold(struct queue *q, enum queue_hold kind, const char *why)
{
    if (!q->held) {
        q->hold_ms = HOLD_FIRST_MS;
        LOG_WARN("the queue waits", LOG_STR("tenant", q->t->id), LOG_STR("why", why), LOG_END);
    } else if (clock_monotonic_ms() >= q->hold_until) {
        q->hold_ms = q->hold_ms * 2 < HOLD_MAX_MS ? q->hold_ms * 2 : HOLD_MAX_MS;
    }
    q->held = true;
    q->hold_kind = kind;
    q->hold_until = clock_monotonic_ms() + (kind == HOLD_SHORT ? HOLD_SHORT_MS : q->hold_ms);
    (void)snprintf(q->why, sizeof q->why, "%.199s", why);
    wake_in(q, q->hold_until - clock_monotonic_ms());
}

void queue_release(struct queue *q)
{
    if (q->held) {
        q->held = false;
        q->why[0] = '\0';
        LOG_INFO("the queue goes on", LOG_STR("tenant", q->t->id), LOG_END);
    }
}

const char *queue_held(const struct queue *q)
{
    bool waits = q->paused || (q->heavy_s > 0 && q->t->counts.queued > 0);
    return q->held && q->hold_kind != HOLD_SHORT ? q->why : waits ? q->waits : "";
}

void queue_pause(struct queue *q, bool paused)
{
    q->paused = paused;
    set_limits(q);
    queue_changed(q); /* rows taken before go by the limits as they were */
}

bool queue_paused(const struct queue *q)
{
    return q->paused;
}

void queue_job_ended(struct queue *q, struct job *j)
{
    if (map_get(&q->active, row_key(&j->row.id)) == j) {
        (void)map_remove(&q->active, row_key(&j->row.id));
    }
    if (j->outcome != OUTCOME_HELD) {
        tenant_counts_stale(q->t);
    }
    if (q->taking && q->n_ended < ENDED_MAX) {
        q->ended[q->n_ended++] = j->row.id;
    } else if (q->taking) {
        q->stale = true;
    } else if (q->next_row >= q->n_rows) { /* its row may wait again, changed meanwhile */
        q->wanted = true;
    }
}

bool queue_rests(const struct queue *q)
{
    bool held = q->held && clock_monotonic_ms() < q->hold_until; /* then one probe */
    return !q->closing && !q->taking && !q->wanted && !held && !q->paused && q->heavy_s == 0 &&
           q->active.len == 0 && q->next_row >= q->n_rows && q->t->in->active < INGEST_ACTIVE_MAX;
}

bool queue_adopt(struct queue *q, const struct file_row *row)
{
    struct job *j = job_start(q->t, row);
    if (j != NULL && map_put(&q->active, row_key(&j->row.id), j, NULL) != STATUS_OK) {
        job_cancel(j); /* ends by itself, and is not in the map then */
        j = NULL;
    }
    if (j != NULL) {
        job_begin(j);
    }
    return j != NULL;
}

void queue_retry_record(struct queue *q, struct job *j)
{
    list_push(&q->unrecorded, &j->link);
    wake_in(q, RECORD_RETRY_MS);
}

size_t queue_working(const struct queue *q)
{
    return q->active.len;
}

bool queue_is_working(const struct queue *q, int64_t row)
{
    return map_get(&q->active, row_key(&row)) != NULL;
}

void queue_reading(const struct queue *q, int64_t row, char *out, size_t cap)
{
    size_t pos = 0;
    struct str key;
    void *value;
    out[0] = '\0';
    if (row != 0) {
        const struct job *j = map_get(&q->active, row_key(&row));
        if (j != NULL) {
            job_reading(j, out, cap);
        }
        return;
    }
    while (out[0] == '\0' && map_next(&q->active, &pos, &key, &value)) {
        job_reading(value, out, cap);
    }
}

bool queue_cancel(struct queue *q, const char *document)
{
    size_t pos = 0;
    struct str key;
    void *value;
    while (map_next(&q->active, &pos, &key, &value)) {
        struct job *j = value;
        if (strcmp(j->row.document, document) == 0) {
            if (!j->cancelled) {
                job_cancel(j); /* it may end at once: the map is not looked at any further */
            }
            return true;
        }
    }
    return false;
}

/* ---- life ---- */

static void on_timer_closed(uv_handle_t *h)
{
    container_of(h, struct queue, timer)->timer_closed = true;
}

void queue_close(struct queue *q)
{
    q->closing = true;
    uv_close((uv_handle_t *)&q->timer, on_timer_closed);
    struct job *jobs[INGEST_ACTIVE_MAX];
    size_t n = 0;
    size_t pos = 0;
    struct str key;
    void *value;
    while (n < INGEST_ACTIVE_MAX && map_next(&q->active, &pos, &key, &value)) {
        jobs[n++] = value;
    }
    for (size_t i = 0; i < n; i++) {
        job_cancel(jobs[i]);
    }
}

bool queue_idle(const struct queue *q)
{
    return q->active.len == 0 && !q->taking && q->timer_closed;
}

void queue_free(struct queue *q)
{
    arena_reset(&q->arena);
    map_deinit(&q->active);
    free(q);
}
