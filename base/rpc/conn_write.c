/* The way out of a connection. See conn.h for the order of things. */
#include <stdlib.h>

#include "base/rpc/conn.h"

#define WRITE_BUFS 64
#define WRITE_BYTES ((size_t)256 * 1024) /* of interactive frames a write */
#define WRITE_BACKGROUND_BYTES                                                                     \
    ((size_t)64 * 1024)                  /* of background frames a write: slower, never starved */
#define TURN_BYTES ((size_t)1024 * 1024) /* a turn, then other handles have theirs */
#define TLS_OUT_MAX ((size_t)16 * 1024 * 1024)

static void on_flush_idle(uv_idle_t *h)
{
    rpc_conn_flush(h->data);
}

static void on_flush_check(uv_check_t *h)
{
    rpc_conn_flush(h->data);
}

void rpc_conn_write_init(struct rpc_conn *c)
{
    list_init(&c->queue[0]);
    list_init(&c->queue[1]);
    list_init(&c->sending);
    buf_init(&c->tls_sending, TLS_OUT_MAX);
    (void)uv_idle_init(c->hello_timer.loop, &c->flush_idle);
    (void)uv_check_init(c->hello_timer.loop, &c->flush_check);
    c->flush_idle.data = c;
    c->flush_check.data = c;
}

static void free_frames(struct list *l)
{
    list_for_each_safe(it, l)
    {
        list_remove(it);
        free(list_entry(it, struct out_frame, link));
    }
}

void rpc_conn_write_deinit(struct rpc_conn *c)
{
    free_frames(&c->queue[0]);
    free_frames(&c->queue[1]);
    free_frames(&c->sending);
    buf_deinit(&c->tls_sending);
}

void rpc_conn_flush_soon(struct rpc_conn *c)
{
    bool may_write = !c->writing && c->phase != CONN_CONNECTING;
    if (c->phase != CONN_CLOSING && (may_write || c->queued > CONN_QUEUE_HARD)) {
        (void)uv_idle_start(&c->flush_idle, on_flush_idle);
        (void)uv_check_start(&c->flush_check, on_flush_check);
    }
}

static void flush_stop(struct rpc_conn *c)
{
    (void)uv_idle_stop(&c->flush_idle);
    (void)uv_check_stop(&c->flush_check);
}

bool rpc_conn_full(struct rpc_conn *c)
{
    c->was_full = c->was_full || c->queued > CONN_QUEUE_MAX;
    return c->was_full;
}

bool rpc_conn_send(struct rpc_conn *c, struct out_frame *f, uint32_t background)
{
    if (f == NULL || c->phase == CONN_CLOSING) {
        free(f);
        return false;
    }
    list_push(&c->queue[background == 0 ? 0 : 1], &f->link);
    c->queued += f->len;
    rpc_conn_flush_soon(c);
    return true;
}

bool rpc_conn_send_message(struct rpc_conn *c, const Rpc__FrameHeader *h,
                           const ProtobufCMessage *body, uint32_t background)
{
    return rpc_conn_send(c, frame_encode(h, body), background);
}

/* Moves frames of the queues into `sending`, up to the limits; returns how many are there. */
static unsigned gather(struct rpc_conn *c, uv_buf_t bufs[WRITE_BUFS])
{
    unsigned n = 0;
    size_t bytes = 0;
    for (int q = 0; q < 2; q++) {
        size_t limit = bytes + (q == 0 ? WRITE_BYTES : WRITE_BACKGROUND_BYTES);
        /* a few slots stay for the background */
        unsigned slots = q == 0 ? WRITE_BUFS - 8 : WRITE_BUFS;
        while (!list_empty(&c->queue[q]) && n < slots && bytes < limit) {
            struct out_frame *f = list_entry(c->queue[q].next, struct out_frame, link);
            list_remove(&f->link);
            list_push(&c->sending, &f->link);
            bufs[n++] = uv_buf_init((char *)f->data, (unsigned)f->len);
            bytes += f->len;
        }
    }
    return n;
}

/* Frees the frames that `n` written bytes cover and cuts the next one; returns the bufs that
 * remain. */
static unsigned advance(struct rpc_conn *c, size_t n, uv_buf_t bufs[WRITE_BUFS])
{
    unsigned left = 0;
    c->queued -= n;
    list_for_each_safe(it, &c->sending)
    {
        struct out_frame *f = list_entry(it, struct out_frame, link);
        size_t rest = f->len - f->sent;
        if (n >= rest) {
            n -= rest;
            list_remove(it);
            free(f);
            continue;
        }
        f->sent += n;
        n = 0;
        bufs[left++] = uv_buf_init((char *)f->data + f->sent, (unsigned)(f->len - f->sent));
    }
    return left;
}

static void fail(struct rpc_conn *c, int rc)
{
    struct error why;
    error_set(&why, STATUS_UNAVAILABLE, "writing: %s", uv_strerror(rc));
    rpc_conn_close(c, &why);
}

static void on_written(uv_write_t *req, int status)
{
    struct rpc_conn *c = container_of(req, struct rpc_conn, write);
    c->writing = false;
    uv_buf_t none[WRITE_BUFS];
    if (c->tls == NULL) {
        size_t left = 0;
        list_for_each(it, &c->sending)
        {
            struct out_frame *f = list_entry(it, struct out_frame, link);
            left += f->len - f->sent;
        }
        (void)advance(c, left, none);
    }
    buf_reset(&c->tls_sending);
    if (c->phase == CONN_CLOSING) {
        return;
    }
    if (status < 0) {
        fail(c, status);
        return;
    }
    rpc_conn_flush_soon(c);
    if (c->was_full && c->queued <= CONN_QUEUE_LOW) {
        c->was_full = false;
        c->ops->on_drained(c);
    }
}

/* false: stop for now (a write is under way, or the connection is gone) */
static bool write_bufs(struct rpc_conn *c, uv_buf_t *bufs, unsigned n, size_t *turn)
{
    size_t total = 0;
    for (unsigned i = 0; i < n; i++) {
        total += bufs[i].len;
    }
    int done = uv_try_write(&c->io.stream, bufs, n);
    if (done < 0 && done != UV_EAGAIN) {
        fail(c, done);
        return false;
    }
    size_t written = done < 0 ? 0 : (size_t)done;
    *turn += written;
    if (c->tls == NULL) {
        n = advance(c, written, bufs);
    } else {
        bufs[0] = uv_buf_init(bufs[0].base + written, (unsigned)(total - written));
    }
    if (written == total) {
        buf_reset(&c->tls_sending);
        return true;
    }
    int rc = uv_write(&c->write, &c->io.stream, bufs, n, on_written);
    if (rc != 0) {
        fail(c, rc);
        return false;
    }
    c->writing = true;
    return false;
}

/* Plaintext frames into the engine, its ciphertext into one buffer. */
static bool encrypt(struct rpc_conn *c, uv_buf_t bufs[WRITE_BUFS], unsigned *n)
{
    struct error err;
    uv_buf_t left[WRITE_BUFS];
    unsigned frames = tls_engine_established(c->tls) ? gather(c, bufs) : 0;
    size_t bytes = 0;
    for (unsigned i = 0; i < frames; i++) {
        if (tls_engine_write(c->tls, bufs[i].base, bufs[i].len, &err) != STATUS_OK) {
            rpc_conn_close(c, &err);
            return false;
        }
        bytes += bufs[i].len;
    }
    (void)advance(c, bytes, left);
    tls_engine_output(c->tls, &c->tls_sending);
    if (buf_status(&c->tls_sending) != STATUS_OK) {
        error_set(&err, STATUS_NO_MEMORY, "writing: out of memory");
        rpc_conn_close(c, &err);
        return false;
    }
    bufs[0] = uv_buf_init(c->tls_sending.ptr, (unsigned)c->tls_sending.len);
    *n = c->tls_sending.len == 0 ? 0 : 1;
    return true;
}

void rpc_conn_flush(struct rpc_conn *c)
{
    uv_buf_t bufs[WRITE_BUFS];
    size_t turn = 0;
    while (!c->writing && c->phase != CONN_CLOSING) {
        unsigned n = 0;
        if (c->tls == NULL) {
            n = gather(c, bufs);
        } else if (!encrypt(c, bufs, &n)) {
            return;
        }
        if (n == 0) {
            break;
        }
        if (!write_bufs(c, bufs, n, &turn)) {
            break;
        }
        if (turn >= TURN_BYTES) {
            return; /* the idle handle is still on: more in the next turn */
        }
    }
    if (c->phase == CONN_CLOSING) {
        return;
    }
    flush_stop(c);
    if (c->queued > CONN_QUEUE_HARD) {
        struct error why;
        error_set(&why, STATUS_UNAVAILABLE, "the peer does not read: %zu bytes wait", c->queued);
        rpc_conn_close(c, &why);
    } else if (c->was_full && c->queued <= CONN_QUEUE_LOW) {
        c->was_full = false;
        c->ops->on_drained(c);
    }
}

void rpc_conn_flush_last(struct rpc_conn *c)
{
    uv_buf_t bufs[WRITE_BUFS];
    if (c->writing || c->phase == CONN_CONNECTING) {
        return;
    }
    for (;;) {
        unsigned n = 0;
        size_t total = 0;
        if (c->tls != NULL) {
            struct error err;
            unsigned frames = tls_engine_established(c->tls) ? gather(c, bufs) : 0;
            for (unsigned i = 0; i < frames; i++) {
                if (tls_engine_write(c->tls, bufs[i].base, bufs[i].len, &err) != STATUS_OK) {
                    return;
                }
            }
            if (frames == 0) {
                tls_engine_goodbye(c->tls);
            }
            tls_engine_output(c->tls, &c->tls_sending);
            bufs[0] = uv_buf_init(c->tls_sending.ptr, (unsigned)c->tls_sending.len);
            n = c->tls_sending.len == 0 || buf_status(&c->tls_sending) != STATUS_OK ? 0 : 1;
        } else {
            n = gather(c, bufs);
        }
        for (unsigned i = 0; i < n; i++) {
            total += bufs[i].len;
        }
        if (n == 0 || uv_try_write(&c->io.stream, bufs, n) != (int)total) {
            return; /* a full socket: whoever does not read gets no goodbye */
        }
        buf_reset(&c->tls_sending);
        list_for_each_safe(it, &c->sending)
        {
            list_remove(it);
            free(list_entry(it, struct out_frame, link));
        }
    }
}
