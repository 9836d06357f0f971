/* In the order in which things happen to an extraction: queued (perhaps), launched, its output read
 * piece by piece, ended (its pipe closed and its reader gone), settled (the one callback), freed
 * when all its handles are closed. A limit, a crash and a cancel all go the same way: the reader is
 * killed and the rest follows. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/sandbox/sandbox.h"
#include "ingest/extractor_internal.h"
#include "ingest/piece.h"
#include "ingest/turns.h"

#define QUEUE_MAX 256
#define RENDERS_AT_ONCE 2 /* beside the workers: somebody is waiting for the page */
#define ARGS_MAX 20
#define STOP_HEARD_MS 5000 /* so long a starter has to end a reader that is to be stopped */

static void pump(struct lane_of *lane);

static void go_on(struct extraction *x);
static void on_wall_time(uv_timer_t *t);

/* Its starter does not do what it was told, so that its place would be taken for ever. */
static void on_unheard(uv_timer_t *t)
{
    struct extraction *x = container_of(t, struct extraction, timer);
    if (x->phase == RUNNING && !x->exited) {
        starter_kill(&x->reader);
    }
}

static void fail(struct extraction *x, const struct error *why)
{
    if (!x->failed) {
        x->failed = true;
        x->err = *why;
    }
    go_on(x); /* to the end of its output */
    if (x->phase == RUNNING && !x->exited) {
        starter_stop(&x->reader);
        (void)uv_timer_start(&x->timer, on_unheard, STOP_HEARD_MS, 0);
    }
}

/* --- the end --- */

static void maybe_closed(struct extractor_pool *p)
{
    if (p->closing && p->handle_closed && p->live == 0) {
        void (*on_closed)(void *) = p->on_closed;
        void *data = p->closed_data;
        free(p->program);
        free(p);
        if (on_closed != NULL) {
            on_closed(data);
        }
    }
}

static void free_extraction(struct extraction *x)
{
    struct extractor_pool *p = x->pool;
    if (x->fd >= 0) {
        close(x->fd);
    }
    effort_use_drop(&x->use);
    buf_deinit(&x->in);
    buf_deinit(&x->png);
    arena_reset(&x->own);
    free(x);
    p->live--;
    maybe_closed(p);
}

static void on_handle_closed(uv_handle_t *h)
{
    struct extraction *x = h->data;
    if (--x->open_handles == 0) {
        free_extraction(x);
    }
}

static void close_handles(struct extraction *x)
{
    uv_handle_t *handles[] = {(uv_handle_t *)&x->out, (uv_handle_t *)&x->errs,
                              (uv_handle_t *)&x->timer};
    for (size_t i = 0; i < sizeof handles / sizeof handles[0]; i++) {
        uv_close(handles[i], on_handle_closed);
    }
}

/* Why a child that said nothing went. */
static void explain_end(struct extraction *x)
{
    struct error e = {0};
    if (x->end.lost) {
        error_set(&e, STATUS_UNAVAILABLE, "the process that reads documents went away");
    } else if (x->err.text[0] != '\0') { /* the reader could not even be started */
        error_set(&e, STATUS_UNAVAILABLE, "the extractor could not be started: %.200s",
                  x->err.text);
    } else if (x->end.signal == SIGXCPU) {
        error_set(&e, STATUS_TOO_LARGE,
                  "it needed more than %lld s of processor time (extract.cpu_s in carrel.yaml)",
                  (long long)x->pool->cpu_s);
    } else if (x->end.signal == SIGKILL) {
        error_set(&e, STATUS_TOO_LARGE,
                  "it needed more memory or processor time than allowed (extract.memory_mb, "
                  "extract.cpu_s in carrel.yaml)");
    } else if (x->end.signal != 0) {
        error_set(&e, STATUS_INVALID,
                  "the extractor crashed on it (signal %d): save it anew with a current program",
                  x->end.signal);
    } else {
        error_set(&e, STATUS_INVALID, "the extractor failed on it (exit status %lld)",
                  (long long)x->end.exit_code);
    }
    LOG_WARN("extractor ended badly", LOG_STR("err", e.text),
             LOG_STR("format", x->task.format != NULL ? x->task.format
                               : x->task.has_ocr      ? "ocr"
                                                      : "render"),
             LOG_STR("stderr", x->errs_kept), LOG_END);
    fail(x, &e);
}

static void settle(struct extraction *x)
{
    struct lane_of *lane = x->lane;
    x->phase = ENDED;
    list_remove(&x->link);
    lane->running_small -= !x->large;
    lane->running_large -= x->large;
    if (!x->failed && !x->done_seen) {
        explain_end(x);
    }
    const struct error *why = x->failed ? &x->err : NULL;
    close_handles(x);
    if (!x->cancelled && x->rendered != NULL) {
        x->rendered(why, why == NULL ? buf_view(&x->png) : STR(""), x->width, x->height, x->data);
    } else if (!x->cancelled) {
        x->done(why, why == NULL ? &x->result : NULL, x->data);
    }
    pump(lane);
}

static void maybe_ended(struct extraction *x)
{
    if (x->phase == RUNNING && x->exited && x->out_ended) {
        settle(x);
    }
}

static void on_reader_ended(struct started *s, const struct reader_end *end)
{
    struct extraction *x = container_of(s, struct extraction, reader);
    x->exited = true;
    x->end = *end;
    effort_use_add(&x->use, end->cpu_us);
    if (!x->failed) {
        (void)snprintf(x->err.text, sizeof x->err.text, "%s", end->error);
    }
    maybe_ended(x);
}

static void on_wall_time(uv_timer_t *t)
{
    struct extraction *x = container_of(t, struct extraction, timer);
    uint64_t wall_ms = (uint64_t)x->pool->wall_s * 1000;
    struct error e;
    if (!x->large) { /* small by its size alone */
        x->large = true;
        x->lane->running_small--;
        x->lane->running_large++;
        if (wall_ms > TURN_LARGE_MS) {
            (void)uv_timer_start(t, on_wall_time, wall_ms - TURN_LARGE_MS, 0);
            pump(x->lane);
            return;
        }
    }
    error_set(&e, STATUS_DEADLINE, "it took longer than %lld s (extract.wall_s in carrel.yaml)",
              (long long)x->pool->wall_s);
    fail(x, &e);
}

/* --- reading --- */

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *out)
{
    struct extraction *x = h->data;
    (void)suggested;
    *out = uv_buf_init(x->pool->bytes, sizeof x->pool->bytes);
}

static void on_out(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
    struct extraction *x = s->data;
    effort_enter(&x->use);
    if (n > 0 && !x->failed) {
        struct error e;
        if (extraction_take(x, b->base, (size_t)n, &e) != STATUS_OK) {
            fail(x, &e);
        } else if (x->unpacks && x->members.settle(x->members.data)) {
            x->paused = true;
            x->left_ms = uv_timer_get_due_in(&x->timer); /* waiting is not its fault */
            (void)uv_timer_stop(&x->timer);
            (void)uv_read_stop(s);
        }
    }
    effort_leave(&x->use);
    if (n < 0) {
        (void)uv_read_stop(s);
        x->out_ended = true;
        maybe_ended(x);
    }
}

static void on_errs(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
    struct extraction *x = s->data;
    size_t room = STDERR_KEPT - x->errs_len;
    if (n > 0 && room > 0) {
        size_t take = (size_t)n < room ? (size_t)n : room;
        memcpy(x->errs_kept + x->errs_len, b->base, take);
        x->errs_len += take;
        x->errs_kept[x->errs_len] = '\0';
    }
    if (n < 0) {
        (void)uv_read_stop(s);
    }
}

static void go_on(struct extraction *x)
{
    if (x->paused) {
        x->paused = false;
        (void)uv_timer_start(&x->timer, on_wall_time, x->left_ms, 0);
        (void)uv_read_start((uv_stream_t *)&x->out, on_alloc, on_out);
    }
}

void extractor_go_on(struct extraction *x)
{
    go_on(x);
}

void extraction_for(struct extraction *x, struct effort *e)
{
    if (x != NULL) {
        effort_use_init(&x->use, e);
    }
}

void extractor_fail(struct extraction *x, const struct error *why)
{
    fail(x, why);
}

/* --- the start --- */

struct arguments {
    char text[ARGS_MAX][24];
    char *list[ARGS_MAX + 1];
    size_t n;
};

static void add_number(struct arguments *a, const char *name, int64_t value)
{
    (void)snprintf(a->text[a->n], sizeof a->text[a->n], "--%s", name);
    a->list[a->n] = a->text[a->n];
    a->n++;
    (void)snprintf(a->text[a->n], sizeof a->text[a->n], "%lld", (long long)value);
    a->list[a->n] = a->text[a->n];
    a->n++;
}

static void fill_arguments(const struct extractor_pool *p, struct arguments *a)
{
    memset(a, 0, sizeof *a);
    (void)snprintf(a->text[0], sizeof a->text[0], "carrel-extract");
    (void)snprintf(a->text[1], sizeof a->text[1], "--serve");
    a->list[0] = a->text[0];
    a->list[1] = a->text[1];
    a->n = 2;
    add_number(a, "memory-mb", p->memory_mb);
    add_number(a, "cpu-s", p->cpu_s);
    add_number(a, "output-mb", p->output_mb);
    add_number(a, "open-files", p->open_files);
    add_number(a, "processes", p->processes);
}

static void on_starter_freed(void *data)
{
    struct extractor_pool *p = data;
    p->live--;
    maybe_closed(p);
}

/* One that still takes tasks is at hand afterwards. */
static enum status have_starter(struct extractor_pool *p, struct error *err)
{
    struct arguments args;
    if (p->starter != NULL && starter_spent(p->starter)) {
        starter_retire(p->starter, false);
        p->starter = NULL;
    }
    if (p->starter != NULL) {
        return STATUS_OK;
    }
    fill_arguments(p, &args);
    enum status s =
        starter_new(p->loop, p->program, args.list, on_starter_freed, p, &p->starter, err);
    p->live += s == STATUS_OK;
    return s;
}

static enum status hand_over(struct extraction *x, struct error *err)
{
    struct extractor_pool *p = x->pool;
    int out[2] = {-1, -1};
    int errs[2] = {-1, -1};
    enum status s = have_starter(p, err);
    if (s == STATUS_OK && (pipe2(out, O_CLOEXEC) != 0 || pipe2(errs, O_CLOEXEC) != 0)) {
        s = error_errno(err, errno, "a pipe for the reader");
    }
    if (s == STATUS_OK) {
        const int fds[] = {x->fd, out[1], errs[1]};
        x->reader.ended = on_reader_ended;
        s = starter_run(p->starter, &x->task, fds, &x->reader, err);
        if (s != STATUS_OK) { /* it has gone, and its end is not heard of yet */
            starter_retire(p->starter, true);
            p->starter = NULL;
            s = have_starter(p, err);
            s = s == STATUS_OK ? starter_run(p->starter, &x->task, fds, &x->reader, err) : s;
        }
    }
    if (s == STATUS_OK) { /* pipes just made: it cannot fail */
        (void)uv_pipe_open(&x->out, out[0]);
        (void)uv_pipe_open(&x->errs, errs[0]);
        out[0] = errs[0] = -1;
    }
    for (size_t i = 0; i < 2; i++) {
        if (out[i] >= 0) {
            close(out[i]);
        }
        if (errs[i] >= 0) {
            close(errs[i]);
        }
    }
    return s;
}

static enum status launch(struct extraction *x, struct error *err)
{
    struct extractor_pool *p = x->pool;
    (void)uv_pipe_init(p->loop, &x->out, 0);
    (void)uv_pipe_init(p->loop, &x->errs, 0);
    (void)uv_timer_init(p->loop, &x->timer);
    x->out.data = x->errs.data = x->timer.data = x;
    x->open_handles = 3;
    enum status s = hand_over(x, err);
    close(x->fd);
    x->fd = -1;
    if (s != STATUS_OK) {
        close_handles(x);
        return s;
    }
    x->phase = RUNNING;
    x->lane->running_small += !x->large;
    x->lane->running_large += x->large;
    list_push(&p->running, &x->link);
    (void)uv_read_start((uv_stream_t *)&x->out, on_alloc, on_out);
    (void)uv_read_start((uv_stream_t *)&x->errs, on_alloc, on_errs);
    uint64_t wall_ms = (uint64_t)p->wall_s * 1000;
    bool looked_at = !x->large && wall_ms > TURN_LARGE_MS;
    (void)uv_timer_start(&x->timer, on_wall_time, looked_at ? TURN_LARGE_MS : wall_ms, 0);
    return STATUS_OK;
}

static enum turn next_turn(const struct lane_of *lane)
{
    struct turns t = {
        .places = lane->at_once,
        .small = lane->running_small,
        .large = lane->running_large,
        .small_waits = !list_empty(&lane->small),
        .large_waits = !list_empty(&lane->large),
    };
    return turn_next(&t);
}

/* Launch what waits while there is room. */
static void pump(struct lane_of *lane)
{
    for (enum turn turn = next_turn(lane); turn != TURN_NONE; turn = next_turn(lane)) {
        struct list *from = turn == TURN_SMALL ? &lane->small : &lane->large;
        struct extraction *x = container_of(from->next, struct extraction, link);
        list_remove(&x->link);
        lane->queued--;
        struct error e;
        if (launch(x, &e) != STATUS_OK) {
            if (x->rendered != NULL) {
                x->rendered(&e, STR(""), 0, 0, x->data);
            } else {
                x->done(&e, NULL, x->data);
            }
        }
    }
}

static struct extraction *new_extraction(struct extractor_pool *p, struct lane_of *lane, int fd,
                                         struct error *err)
{
    struct extraction *x = NULL;
    struct stat st;
    if (p->closing) {
        error_set(err, STATUS_UNAVAILABLE, "the extractors are being stopped");
    } else if (lane->queued >= QUEUE_MAX) {
        error_set(err, STATUS_BUSY, "too many documents are waiting to be read");
    } else if (fstat(fd, &st) != 0) {
        error_errno(err, errno, "the document");
    } else if (!S_ISREG(st.st_mode)) {
        error_set(err, STATUS_UNSUPPORTED, "it is no ordinary file");
    } else if (st.st_size > p->max_file_bytes) {
        error_set(err, STATUS_TOO_LARGE, "it is larger than the limit of %lld MB",
                  (long long)(p->max_file_bytes >> 20));
    } else if ((x = calloc(1, sizeof *x)) == NULL) {
        error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    if (x == NULL) {
        close(fd);
        return NULL;
    }
    x->pool = p;
    x->lane = lane;
    x->fd = fd;
    x->large = (uint64_t)st.st_size >= TURN_LARGE_BYTES;
    ex__task__init(&x->task);
    list_init(&x->reader.link);
    buf_init(&x->in, PIECE_MAX + PIECE_HEAD + sizeof p->bytes);
    buf_init(&x->png, RENDER_MAX);
    arena_init(&x->own, RENDER_MAX);
    p->live++;
    return x;
}

/* NULL when it could not be started; the handles of the failed start go by themselves. */
static struct extraction *admit(struct extraction *x, struct error *err)
{
    struct lane_of *lane = x->lane;
    struct list *queue = x->large ? &lane->large : &lane->small;
    bool first = list_empty(queue);
    list_push(queue, &x->link);
    if (!first || next_turn(lane) != (x->large ? TURN_LARGE : TURN_SMALL)) {
        lane->queued++;
        return x;
    }
    list_remove(&x->link);
    return launch(x, err) == STATUS_OK ? x : NULL;
}

struct extraction *extractor_unpack(struct extractor_pool *p, int fd, const char *format,
                                    struct arena *a, const struct extract_members *members,
                                    extract_done_fn done, void *data, struct error *err)
{
    struct extraction *x = new_extraction(p, &p->extracts, fd, err);
    if (x == NULL) {
        return NULL;
    }
    x->unpacks = members != NULL;
    if (members != NULL) {
        x->members = *members;
        x->task.has_members = x->task.has_unpacked_kb = true;
        x->task.members = members->members;
        x->task.unpacked_kb = members->bytes >> 10;
    }
    union { /* protobuf-c packs from a pointer that is const in all but name */
        const char *in;
        char *out;
    } name = {format};
    x->task.format = name.out;
    x->arena = a;
    x->done = done;
    x->data = data;
    return admit(x, err);
}

struct extraction *extractor_ocr(struct extractor_pool *p, int fd, const struct ocr_request *q,
                                 struct arena *a, extract_done_fn done, void *data,
                                 struct error *err)
{
    struct extraction *x = new_extraction(p, &p->extracts, fd, err);
    if (x == NULL) {
        return NULL;
    }
    x->large = true; /* a page's picture takes seconds */
    x->task.has_ocr = x->task.has_dpi = x->task.has_min_confidence = x->task.has_picture = true;
    x->task.ocr = q->page;
    x->task.dpi = q->dpi;
    x->task.min_confidence = q->min_confidence > 100 ? 100 : q->min_confidence;
    x->task.picture = q->picture;
    (void)snprintf(x->languages, sizeof x->languages, "%s", q->languages);
    x->task.languages = x->languages;
    x->arena = a;
    x->done = done;
    x->data = data;
    return admit(x, err);
}

struct extraction *extractor_start(struct extractor_pool *p, int fd, const char *format,
                                   struct arena *a, extract_done_fn done, void *data,
                                   struct error *err)
{
    return extractor_unpack(p, fd, format, a, NULL, done, data, err);
}

struct extraction *extractor_render(struct extractor_pool *p, int fd, bool picture, uint32_t page,
                                    uint32_t dpi, render_done_fn done, void *data,
                                    struct error *err)
{
    struct extraction *x = new_extraction(p, &p->renders, fd, err);
    if (x == NULL) {
        return NULL;
    }
    x->task.has_page = x->task.has_dpi = x->task.has_picture = true;
    x->task.picture = picture;
    x->task.page = page == 0 ? 1 : page;
    x->task.dpi = dpi < 36 ? 36 : dpi > 200 ? 200 : dpi;
    x->arena = &x->own;
    x->rendered = done;
    x->data = data;
    return admit(x, err);
}

void extractor_cancel(struct extraction *x)
{
    if (x->phase == QUEUED) {
        list_remove(&x->link);
        x->lane->queued--;
        free_extraction(x);
        return;
    }
    struct error e;
    x->cancelled = true;
    error_set(&e, STATUS_CANCELLED, "cancelled");
    fail(x, &e);
}

static size_t cores(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 0;
    return n > 0 ? (size_t)n : 1;
}

size_t extractor_places(const struct settings *settings)
{
    return settings->ingest.workers > 0 ? (size_t)settings->ingest.workers : cores();
}

enum status extractor_pool_new(uv_loop_t *loop, const struct settings *settings,
                               const char *program, struct extractor_pool **out, struct error *err)
{
    struct extractor_pool *p = calloc(1, sizeof *p);
    if (p == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "extractor pool");
    }
    p->program = strdup(program);
    if (p->program == NULL) {
        free(p);
        return error_set(err, STATUS_NO_MEMORY, "extractor pool");
    }
    p->loop = loop;
    p->memory_mb = settings->extract.memory_mb;
    p->cpu_s = settings->extract.cpu_s;
    p->wall_s = settings->extract.wall_s;
    p->output_mb = settings->extract.output_mb;
    p->processes = settings->extract.processes;
    p->open_files = settings->extract.open_files;
    p->max_file_bytes = settings->ingest.max_file_bytes;
    list_init(&p->running);
    list_init(&p->extracts.small);
    list_init(&p->extracts.large);
    list_init(&p->renders.small);
    list_init(&p->renders.large);
    p->extracts.at_once = extractor_places(settings);
    p->renders.at_once = RENDERS_AT_ONCE;
    (void)uv_timer_init(loop, &p->handle);
    uv_unref((uv_handle_t *)&p->handle);
    if (sandbox_landlock_abi() == 0) {
        LOG_WARN("this kernel has no Landlock: extractors are held by seccomp and their user's "
                 "rights alone",
                 LOG_END);
    }
    *out = p;
    return STATUS_OK;
}

static void on_pool_handle_closed(uv_handle_t *h)
{
    struct extractor_pool *p = container_of(h, struct extractor_pool, handle);
    p->handle_closed = true;
    maybe_closed(p);
}

void extractor_pool_close(struct extractor_pool *p, void (*on_closed)(void *data), void *data)
{
    p->closing = true;
    p->on_closed = on_closed;
    p->closed_data = data;
    struct list *waiting[] = {&p->extracts.small, &p->extracts.large, &p->renders.small,
                              &p->renders.large};
    for (size_t i = 0; i < sizeof waiting / sizeof waiting[0]; i++) {
        while (!list_empty(waiting[i])) {
            extractor_cancel(container_of(waiting[i]->next, struct extraction, link));
        }
    }
    for (struct list *l = p->running.next; l != &p->running; l = l->next) {
        extractor_cancel(container_of(l, struct extraction, link));
    }
    if (p->starter != NULL) {
        starter_retire(p->starter, true);
        p->starter = NULL;
    }
    uv_close((uv_handle_t *)&p->handle, on_pool_handle_closed);
}
