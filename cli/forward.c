/* One start's output, forwarded line by line with the service's name before it, until its end. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/list.h"
#include "cli/supervisor.h"

struct forward {
    struct forward *next;
    struct supervisor *sup;
    struct child *child;
    uv_pipe_t pipe;
    struct lines lines;
    bool paused;
    bool was_paused; /* since it was last asked */
    bool hidden;     /* --quiet: the present line is not shown */
    char chunk[65536];
};

static const int colours[PEER_COUNT] = {
    [PEER_VECTORSTORE] = 33, [PEER_EMBED] = 35, [PEER_RETRIEVE] = 36, [PEER_GENERATE] = 32,
    [PEER_INGEST] = 34,      [PEER_SERVE] = 96, [PEER_EGRESS] = 93};

/* Is this one of our own lines below a warning? What other code prints is always shown. */
static bool is_chatter(struct str line)
{
    return memmem(line.ptr, line.len, " level=info ", 12) != NULL ||
           memmem(line.ptr, line.len, " level=debug ", 13) != NULL;
}

static void remember(struct child *c, struct str line)
{
    size_t n = line.len < sizeof(c->last_line) - 1 ? line.len : sizeof(c->last_line) - 1;

    if (n == 0 || is_chatter(line)) {
        return;
    }
    memcpy(c->last_line, line.ptr, n);
    c->last_line[n] = '\0';
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)c->last_line[i] < ' ' || (unsigned char)c->last_line[i] >= 0x7f) {
            c->last_line[i] = '?'; /* it travels in messages that refuse bad UTF-8 */
        }
    }
}

/* Control characters could drive the terminal: shown, not sent. */
static void put_clean(struct buf *out, struct str line)
{
    size_t from = 0;

    for (size_t i = 0; i < line.len; i++) {
        unsigned char c = (unsigned char)line.ptr[i];
        if ((c < ' ' && c != '\t') || c == 0x7f) {
            buf_append(out, line.ptr + from, i - from);
            buf_printf(out, "\\x%02x", c);
            from = i + 1;
        }
    }
    buf_append(out, line.ptr + from, line.len - from);
}

static void on_line(void *data, struct str line, bool continued, bool more)
{
    struct forward *f = data;
    struct buf out;
    enum peer p = f->child->peer;

    if (!continued) {
        f->hidden = f->sup->config->quiet && is_chatter(line);
        remember(f->child, line);
    }
    if (f->hidden) {
        return;
    }
    buf_init(&out, (size_t)8 * LINES_MAX);
    if (!continued && f->sup->colour) {
        buf_printf(&out, "\x1b[%dm%-11s |\x1b[0m ", colours[p], peer_name(p));
    } else {
        buf_printf(&out, "%-11s %c ", peer_name(p), continued ? '+' : '|');
    }
    put_clean(&out, line);
    buf_z(&out, more ? " ...\n" : "\n");
    if (buf_status(&out) == STATUS_OK) {
        (void)sink_write(&f->sup->sink, buf_view(&out));
    }
    buf_deinit(&out);
}

static void on_closed(uv_handle_t *h)
{
    struct forward *f = container_of(h, struct forward, pipe);
    struct supervisor *s = f->sup;

    for (struct forward **p = &s->forwards; *p != NULL; p = &(*p)->next) {
        if (*p == f) {
            *p = f->next;
            break;
        }
    }
    free(f);
    supervisor_closed_one(s);
}

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *out)
{
    struct forward *f = container_of(h, struct forward, pipe);

    (void)hint;
    *out = uv_buf_init(f->chunk, sizeof(f->chunk));
}

static void finish(struct forward *f)
{
    if (!uv_is_closing((uv_handle_t *)&f->pipe)) {
        lines_end(&f->lines, on_line, f);
        uv_close((uv_handle_t *)&f->pipe, on_closed);
    }
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *b)
{
    struct forward *f = container_of(stream, struct forward, pipe);

    if (n < 0) {
        finish(f);
        return;
    }
    lines_feed(&f->lines, b->base, (size_t)n, on_line, f);
    if (sink_write(&f->sup->sink, STR(""))) {
        (void)uv_read_stop(stream);
        f->paused = f->was_paused = true;
    }
}

void forward_start(struct child *c, int fd)
{
    struct supervisor *s = c->sup;
    struct forward *f = calloc(1, sizeof(*f));

    if (f == NULL || uv_pipe_init(s->loop, &f->pipe, 0) != 0) {
        free(f);
        (void)close(fd);
        supervisor_say(s, "out of memory: the lines of %s are not shown until it starts again",
                       peer_name(c->peer));
        return;
    }
    f->sup = s;
    f->child = c;
    lines_init(&f->lines);
    f->next = s->forwards;
    s->forwards = f;
    if (uv_pipe_open(&f->pipe, fd) != 0) {
        (void)close(fd);
        finish(f);
        return;
    }
    if (uv_read_start((uv_stream_t *)&f->pipe, on_alloc, on_read) != 0) {
        finish(f);
    }
}

bool forward_was_paused(const struct child *c)
{
    bool was = false;

    for (struct forward *f = c->sup->forwards; f != NULL; f = f->next) {
        if (f->child == c) {
            was = was || f->paused || f->was_paused;
            f->was_paused = false;
        }
    }
    return was;
}

void forward_resume_all(struct supervisor *s)
{
    for (struct forward *f = s->forwards; f != NULL; f = f->next) {
        if (f->paused && !uv_is_closing((uv_handle_t *)&f->pipe)) {
            f->paused = false;
            (void)uv_read_start((uv_stream_t *)&f->pipe, on_alloc, on_read);
        }
    }
}

void forward_close_all(struct supervisor *s)
{
    for (struct forward *f = s->forwards; f != NULL; f = f->next) {
        finish(f);
    }
}
