/* In the order in which things happen to an extraction: queued (perhaps), launched, its output read
 * piece by piece, ended (its pipe closed and its process gone), settled (the one callback), freed
 * when all its handles are closed. A limit, a crash and a cancel all go the same way: the child is
 * killed and the rest follows. */
#include "ingest/extractor.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/log.h"
#include "base/sandbox/sandbox.h"
#include "base/tessdata.h"
#include "ingest/piece.h"
#include "ingest/utf8.h"

#define QUEUE_MAX 256
#define RENDERS_AT_ONCE 2 /* beside the workers: somebody is waiting for the page */
#define PAGES_MAX 100000U
#define RENDER_MAX (80U * 1024 * 1024)
#define STDERR_KEPT 400
#define ARGS_MAX 24
#define CHILD_TAG 0x3A /* how a packed piece begins that is a child's, and nothing else */

enum phase { QUEUED, RUNNING, ENDED };

struct lane_of { /* extractions and renderings each have their own */
    struct list queue;
    size_t queued, running, at_once;
};

struct extractor_pool {
    uv_loop_t *loop;
    char *program;
    int64_t memory_mb, cpu_s, wall_s, output_mb, processes, open_files, max_file_bytes;
    struct lane_of extracts, renders;
    struct list running;
    size_t live;       /* extractions not yet freed */
    char bytes[65536]; /* what a read fills; its callback follows at once */
    uv_timer_t handle; /* makes on_closed come later even when nothing runs */
    bool closing, handle_closed;
    void (*on_closed)(void *data);
    void *closed_data;
};

struct extraction {
    struct extractor_pool *pool;
    struct lane_of *lane;
    struct list link; /* in the lane's queue or the pool's running list */
    enum phase phase;
    int fd;
    const char *format; /* as format_detect names it; NULL: a page is read or drawn */
    uint32_t page, dpi;
    char languages[TESSDATA_LIST]; /* "": drawn, not read */
    uint32_t min_confidence;
    bool picture;
    uv_process_t process;
    uv_pipe_t out, errs;
    uv_timer_t timer;
    unsigned open_handles;
    bool exited, out_ended, cancelled;
    int64_t exit_code;
    int signal;
    struct buf in; /* a piece that is not all there */
    uint64_t total;
    char errs_kept[STDERR_KEPT + 1];
    size_t errs_len;
    bool done_seen, failed; /* the last piece; err holds why */
    struct error err;
    struct arena *arena; /* the caller's; &own for a rendering */
    struct arena own;
    struct extracted result;
    size_t cap_blocks, cap_unread;
    bool unpacks, paused; /* paused: its output is not read */
    struct extract_members members;
    struct buf png;
    float width, height;
    extract_done_fn done;
    render_done_fn rendered;
    void *data;
};

static void pump(struct lane_of *lane);

static void go_on(struct extraction *x);

static void fail(struct extraction *x, const struct error *why)
{
    if (!x->failed) {
        x->failed = true;
        x->err = *why;
    }
    go_on(x); /* to the end of its output */
    if (x->phase == RUNNING && !x->exited) {
        /* the child leads a session of its own once it is shut in; the tool beside it dies with it
         * anyhow */
        (void)kill(-x->process.pid, SIGKILL);
        (void)uv_process_kill(&x->process, SIGKILL);
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

/* Why a child that said nothing went. */
static void explain_end(struct extraction *x)
{
    struct error e = {0};
    if (x->signal == SIGXCPU) {
        error_set(&e, STATUS_TOO_LARGE, "it needed more than %lld s of processor time",
                  (long long)x->pool->cpu_s);
    } else if (x->signal == SIGKILL) {
        error_set(&e, STATUS_TOO_LARGE, "it needed more memory or processor time than allowed");
    } else if (x->signal != 0) {
        error_set(&e, STATUS_INVALID, "the extractor crashed on it (signal %d)", x->signal);
    } else {
        error_set(&e, STATUS_INVALID, "the extractor failed on it (exit status %lld)",
                  (long long)x->exit_code);
    }
    LOG_WARN("extractor ended badly", LOG_STR("err", e.text),
             LOG_STR("format", x->format != NULL         ? x->format
                               : x->languages[0] != '\0' ? "ocr"
                                                         : "render"),
             LOG_STR("stderr", x->errs_kept), LOG_END);
    fail(x, &e);
}

static void settle(struct extraction *x)
{
    struct lane_of *lane = x->lane;
    x->phase = ENDED;
    list_remove(&x->link);
    lane->running--;
    if (!x->failed && !x->done_seen) {
        explain_end(x);
    }
    const struct error *why = x->failed ? &x->err : NULL;
    uv_handle_t *handles[] = {(uv_handle_t *)&x->process, (uv_handle_t *)&x->out,
                              (uv_handle_t *)&x->errs, (uv_handle_t *)&x->timer};
    for (size_t i = 0; i < sizeof handles / sizeof handles[0]; i++) {
        uv_close(handles[i], on_handle_closed);
    }
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

static void on_exit_of_child(uv_process_t *process, int64_t code, int sig)
{
    struct extraction *x = container_of(process, struct extraction, process);
    x->exited = true;
    x->exit_code = code;
    x->signal = sig;
    maybe_ended(x);
}

static void on_wall_time(uv_timer_t *t)
{
    struct extraction *x = container_of(t, struct extraction, timer);
    struct error e;
    error_set(&e, STATUS_DEADLINE, "it took longer than %lld s", (long long)x->pool->wall_s);
    fail(x, &e);
}

/* --- reading --- */

/* The child has read what a stranger wrote, so what it says is checked like any input. */
static bool is_sound(const Ex__Block *b)
{
    struct str s = {b->text.len == 0 ? "" : (const char *)b->text.data, b->text.len};
    const char *end = s.ptr + s.len;
    if ((unsigned)b->kind < EX__BLOCK__KIND__PARAGRAPH ||
        (unsigned)b->kind > EX__BLOCK__KIND__NOTE ||
        (b->has_level && (b->level < 1 || b->level > 6))) {
        return false;
    }
    for (const char *p = s.ptr; p < end;) {
        size_t n;
        uint32_t c = utf8_next(p, end, &n);
        if (c == UTF8_BAD || c == 0) {
            return false;
        }
        p += n;
    }
    for (size_t i = 0; i < b->n_lines; i++) {
        if (b->lines[i]->start > b->lines[i]->end || b->lines[i]->end > s.len) {
            return false;
        }
    }
    return true;
}

static enum status keep_blocks(struct extraction *x, Ex__Piece *piece, struct error *err)
{
    struct extracted *r = &x->result;
    if (r->n_blocks + piece->n_blocks > x->cap_blocks) {
        size_t cap = (r->n_blocks + piece->n_blocks) * 2;
        Ex__Block **grown = arena_array(x->arena, cap, sizeof(Ex__Block *));
        if (grown == NULL) {
            return error_set(err, STATUS_TOO_LARGE,
                             "it holds too much text for the memory allowed");
        }
        if (r->n_blocks > 0) {
            memcpy(grown, r->blocks, r->n_blocks * sizeof(Ex__Block *));
        }
        r->blocks = grown;
        x->cap_blocks = cap;
    }
    for (size_t i = 0; i < piece->n_blocks; i++) {
        if (!is_sound(piece->blocks[i])) {
            return error_set(err, STATUS_PROTOCOL, "the extractor gave a malformed answer");
        }
        r->blocks[r->n_blocks++] = piece->blocks[i];
    }
    return STATUS_OK;
}

/* In order and each once, so that whoever reads them need not look. */
static enum status keep_unread(struct extraction *x, const Ex__Piece *piece, struct error *err)
{
    struct extracted *r = &x->result;
    if (r->n_unread + piece->n_unread > x->cap_unread) {
        size_t cap = (r->n_unread + piece->n_unread) * 2;
        Ex__UnreadPage **grown = arena_array(x->arena, cap, sizeof(Ex__UnreadPage *));
        if (grown == NULL) {
            return error_set(err, STATUS_TOO_LARGE, "it has too many pages for the memory allowed");
        }
        if (r->n_unread > 0) {
            memcpy(grown, r->unread, r->n_unread * sizeof(Ex__UnreadPage *));
        }
        r->unread = grown;
        x->cap_unread = cap;
    }
    for (size_t i = 0; i < piece->n_unread; i++) {
        Ex__UnreadPage *u = piece->unread[i];
        uint32_t before = r->n_unread == 0 ? 0 : r->unread[r->n_unread - 1]->page;
        if (u->page <= before || u->page > PAGES_MAX || !(u->width > 0 && u->height > 0)) {
            return error_set(err, STATUS_PROTOCOL, "the extractor gave a malformed answer");
        }
        r->unread[r->n_unread++] = u;
    }
    return STATUS_OK;
}

static enum status take_child(struct extraction *x, const Ex__Child *c, struct error *err)
{
    if (!x->unpacks) {
        return error_set(err, STATUS_PROTOCOL, "the extractor gave a malformed answer");
    }
    return x->members.take(x->members.data, c, err);
}

static void take_notes(struct extraction *x, const Ex__Piece *piece)
{
    for (size_t i = 0; i < piece->n_notes && x->unpacks; i++) {
        struct buf clean;
        buf_init(&clean, 4096);
        utf8_clean(&clean, str_from(piece->notes[i]));
        if (buf_status(&clean) == STATUS_OK && clean.len > 0) {
            x->members.note(x->members.data, clean.ptr);
        }
        buf_deinit(&clean);
    }
}

static enum status take_piece(struct extraction *x, Ex__Piece *piece, struct error *err)
{
    if (piece->child != NULL) {
        return take_child(x, piece->child, err);
    }
    take_notes(x, piece);
    if (piece->document != NULL) {
        x->result.document = piece->document;
    }
    if (piece->page_size != NULL) {
        x->width = piece->page_size->width_points;
        x->height = piece->page_size->height_points;
    }
    if (piece->has_png) {
        buf_append(&x->png, piece->png.data, piece->png.len);
    }
    if (piece->failure != NULL) {
        struct buf clean;
        buf_init(&clean, 4096);
        utf8_clean(&clean, str_from(piece->failure->text));
        enum status s = status_from_wire((int)(piece->failure->status & 0xFFFF));
        s = error_set(err, s == STATUS_OK ? STATUS_INTERNAL : s, "%.*s", STR_ARG(buf_view(&clean)));
        buf_deinit(&clean);
        return s;
    }
    x->done_seen = x->done_seen || (piece->has_done && piece->done);
    if (buf_status(&x->png) != STATUS_OK) {
        return error_set(err, STATUS_TOO_LARGE, "the page's picture is too large");
    }
    enum status s = keep_unread(x, piece, err);
    return s == STATUS_OK ? keep_blocks(x, piece, err) : s;
}

static enum status take_bytes(struct extraction *x, const char *p, size_t len, struct error *err)
{
    x->total += len;
    /* the text is capped by the child; boxes and framing may be as much again, and some */
    uint64_t most = (uint64_t)x->pool->output_mb * 4 * 1024 * 1024 + RENDER_MAX;
    if (x->unpacks) { /* members beside it, with their heads */
        most += x->members.bytes + x->members.bytes / 8 + x->members.members * 4096;
    }
    if (x->total > most) {
        return error_set(err, STATUS_TOO_LARGE, "it holds more than %lld MB of text",
                         (long long)x->pool->output_mb);
    }
    buf_append(&x->in, p, len);
    if (buf_status(&x->in) != STATUS_OK) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    size_t used = 0;
    enum status s = STATUS_OK;
    while (s == STATUS_OK && x->in.len - used >= PIECE_HEAD) {
        uint32_t n = piece_length(x->in.ptr + used);
        if (n > PIECE_MAX) {
            return error_set(err, STATUS_PROTOCOL, "the extractor gave a malformed answer");
        }
        if (x->in.len - used - PIECE_HEAD < n) {
            break;
        }
        ProtobufCAllocator allocator;
        const uint8_t *body = (const uint8_t *)x->in.ptr + used + PIECE_HEAD;
        bool child = n > 0 && body[0] == CHILD_TAG; /* taken at once: nothing of it stays */
        if (x->rendered != NULL || child) {
            arena_reset(&x->own);
        }
        arena_protobuf(child ? &x->own : x->arena, &allocator);
        Ex__Piece *piece = ex__piece__unpack(&allocator, n, body);
        bool full = piece == NULL && x->arena->used + 4 * (size_t)n > x->arena->max;
        s = piece != NULL ? take_piece(x, piece, err)
            : full
                ? error_set(err, STATUS_TOO_LARGE, "it holds too much text for the memory allowed")
                : error_set(err, STATUS_PROTOCOL, "the extractor gave a malformed answer");
        used += PIECE_HEAD + n;
    }
    buf_consume(&x->in, used);
    return s;
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *out)
{
    struct extraction *x = h->data;
    (void)suggested;
    *out = uv_buf_init(x->pool->bytes, sizeof x->pool->bytes);
}

static void on_out(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
    struct extraction *x = s->data;
    if (n > 0 && !x->failed) {
        struct error e;
        if (take_bytes(x, b->base, (size_t)n, &e) != STATUS_OK) {
            fail(x, &e);
        } else if (x->unpacks && x->members.settle(x->members.data)) {
            x->paused = true;
            (void)uv_read_stop(s);
        }
    }
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
        (void)uv_read_start((uv_stream_t *)&x->out, on_alloc, on_out);
    }
}

void extractor_go_on(struct extraction *x)
{
    go_on(x);
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

static void add_text(struct arguments *a, const char *text)
{
    (void)snprintf(a->text[a->n], sizeof a->text[a->n], "%s", text);
    a->list[a->n] = a->text[a->n];
    a->n++;
}

static void fill_arguments(struct extraction *x, struct arguments *a)
{
    const struct extractor_pool *p = x->pool;
    memset(a, 0, sizeof *a);
    (void)snprintf(a->text[0], sizeof a->text[0], "carrel-extract");
    a->list[a->n++] = a->text[0];
    if (x->format != NULL) {
        (void)snprintf(a->text[a->n], sizeof a->text[a->n], "--format=%s", x->format);
        a->list[a->n] = a->text[a->n];
        a->n++;
    } else {
        add_number(a, x->languages[0] != '\0' ? "ocr" : "render", x->page);
        add_number(a, "dpi", x->dpi);
    }
    if (x->languages[0] != '\0') {
        add_text(a, "--languages");
        a->list[a->n++] = x->languages;
    }
    if (x->min_confidence > 0) {
        add_number(a, "min-confidence", x->min_confidence);
    }
    if (x->picture) {
        add_text(a, "--picture");
    }
    add_number(a, "memory-mb", p->memory_mb);
    add_number(a, "cpu-s", p->cpu_s);
    add_number(a, "output-mb", p->output_mb);
    add_number(a, "open-files", p->open_files);
    add_number(a, "processes", p->processes);
    if (x->unpacks) {
        add_number(a, "members", (int64_t)x->members.members);
        add_number(a, "unpacked-kb", (int64_t)(x->members.bytes >> 10));
    }
}

static int spawn(struct extraction *x)
{
    struct arguments args;
    char *no_environment[] = {NULL};
    uv_stdio_container_t stdio[3] = {
        {.flags = UV_INHERIT_FD, .data.fd = x->fd},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&x->out},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&x->errs},
    };
    uv_process_options_t o = {
        .exit_cb = on_exit_of_child,
        .file = x->pool->program,
        .args = args.list,
        .env = no_environment,
        .cwd = "/",
        .stdio_count = 3,
        .stdio = stdio,
    };
    fill_arguments(x, &args);
    return uv_spawn(x->pool->loop, &x->process, &o);
}

static enum status launch(struct extraction *x, struct error *err)
{
    struct extractor_pool *p = x->pool;
    (void)uv_pipe_init(p->loop, &x->out, 0);
    (void)uv_pipe_init(p->loop, &x->errs, 0);
    (void)uv_timer_init(p->loop, &x->timer);
    x->process.data = x->out.data = x->errs.data = x->timer.data = x;
    int rc = spawn(x);
    x->process.data = x; /* uv_spawn initialises the handle, also when it fails */
    x->open_handles = 4;
    close(x->fd);
    x->fd = -1;
    if (rc != 0) {
        uv_close((uv_handle_t *)&x->process, on_handle_closed);
        uv_close((uv_handle_t *)&x->out, on_handle_closed);
        uv_close((uv_handle_t *)&x->errs, on_handle_closed);
        uv_close((uv_handle_t *)&x->timer, on_handle_closed);
        return error_set(err, STATUS_UNAVAILABLE, "the extractor could not be started: %s: %s",
                         p->program, uv_strerror(rc));
    }
    x->phase = RUNNING;
    x->lane->running++;
    list_push(&p->running, &x->link);
    (void)uv_read_start((uv_stream_t *)&x->out, on_alloc, on_out);
    (void)uv_read_start((uv_stream_t *)&x->errs, on_alloc, on_errs);
    (void)uv_timer_start(&x->timer, on_wall_time, (uint64_t)p->wall_s * 1000, 0);
    return STATUS_OK;
}

/* Launch what waits while there is room. */
static void pump(struct lane_of *lane)
{
    while (lane->running < lane->at_once && !list_empty(&lane->queue)) {
        struct extraction *x = container_of(lane->queue.next, struct extraction, link);
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
    if (lane->running >= lane->at_once) {
        list_push(&lane->queue, &x->link);
        lane->queued++;
        return x;
    }
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
    }
    x->format = format;
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
    x->page = q->page;
    x->dpi = q->dpi;
    x->min_confidence = q->min_confidence > 100 ? 100 : q->min_confidence;
    x->picture = q->picture;
    (void)snprintf(x->languages, sizeof x->languages, "%s", q->languages);
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
    x->picture = picture;
    x->page = page == 0 ? 1 : page;
    x->dpi = dpi < 36 ? 36 : dpi > 200 ? 200 : dpi;
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
    list_init(&p->extracts.queue);
    list_init(&p->renders.queue);
    p->extracts.at_once = settings->ingest.workers > 0 ? (size_t)settings->ingest.workers : 1;
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
    struct lane_of *lanes[] = {&p->extracts, &p->renders};
    for (size_t i = 0; i < 2; i++) {
        while (!list_empty(&lanes[i]->queue)) {
            extractor_cancel(container_of(lanes[i]->queue.next, struct extraction, link));
        }
    }
    for (struct list *l = p->running.next; l != &p->running; l = l->next) {
        extractor_cancel(container_of(l, struct extraction, link));
    }
    uv_close((uv_handle_t *)&p->handle, on_pool_handle_closed);
}
