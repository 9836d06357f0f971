/* A request's life and its body. The answer is in response.c. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "serve/http/conn.h"

#define LAST_WORDS_MS 2000

struct http_request *request_new(struct http_conn *c)
{
    struct http_request *r = calloc(1, sizeof *r);
    if (r == NULL) {
        return NULL;
    }
    struct http_server *s = c->server;
    r->conn = c;
    r->server = s;
    r->refs = 1;
    r->head = http_parser_head(c->parser);
    r->close_after = !r->head->keep_alive;
    r->no_body = r->head->verb == VERB_HEAD;
    r->started_ms = clock_monotonic_ms();
    r->deadline_ms = r->started_ms + s->limits.request_timeout_ms;
    arena_init(&r->arena, HTTP_ARENA_MAX);
    arena_init(&r->asked, HTTP_ARENA_MAX);
    buf_init(&r->body, s->limits.max_body_bytes);
    buf_init(&r->headers, 16384);
    id_new(r->id);
    memcpy(r->peer, c->peer, sizeof r->peer);
    s->stats.requests_in_flight++;
    return r;
}

struct http_request *http_request_detached(struct http_server *s,
                                           void (*sink)(void *data, int status, struct str body),
                                           void *data)
{
    struct http_request *r = calloc(1, sizeof *r);
    if (r == NULL) {
        return NULL;
    }
    arena_init(&r->arena, HTTP_ARENA_MAX);
    arena_init(&r->asked, HTTP_ARENA_MAX);
    struct http_head *head = arena_alloc(&r->arena, sizeof *head);
    if (head == NULL) {
        free(r);
        return NULL;
    }
    head->verb = VERB_POST;
    r->head = head;
    r->server = s;
    r->refs = 1;
    r->detached = true;
    r->sink = sink;
    r->sink_data = data;
    r->body_state = BODY_COMPLETE;
    r->started_ms = clock_monotonic_ms();
    r->deadline_ms = r->started_ms + s->limits.request_timeout_ms;
    buf_init(&r->body, s->limits.max_body_bytes);
    buf_init(&r->headers, 16384);
    id_new(r->id);
    return r;
}

void http_request_hold(struct http_request *r)
{
    r->refs++;
}

void http_request_release(struct http_request *r)
{
    if (--r->refs == 0) {
        buf_deinit(&r->body);
        buf_deinit(&r->headers);
        buf_deinit(&r->kept.body);
        arena_reset(&r->asked);
        arena_reset(&r->arena);
        free(r);
    }
}

/* The request leaves its connection, however it ended. */
static void detach(struct http_request *r)
{
    struct http_server *s = r->server;
    r->conn = NULL;
    r->head = NULL;
    r->on_drain = NULL;
    r->answer = ANSWER_OVER;
    s->stats.requests_in_flight -= r->detached ? 0 : 1;
    s->cb.on_done(r, r->status, s->cb.data);
    http_request_release(r);
}

void request_abort(struct http_request *r)
{
    r->conn = NULL;
    void (*on_abort)(struct http_request *) = r->on_abort;
    r->on_abort = NULL;
    if (on_abort != NULL) {
        on_abort(r);
    }
    detach(r);
}

void http_request_drop(struct http_request *r)
{
    r->sink = NULL;
    request_abort(r);
}

void request_sink(struct http_request *r, int status, struct str body)
{
    void (*sink)(void *, int, struct str) = r->sink;
    r->sink = NULL;
    r->on_abort = NULL;
    r->answer = ANSWER_OVER;
    r->status = status;
    r->bytes_out = body.len;
    sink(r->sink_data, status, body);
    detach(r);
}

/* Called by the response side when its last byte is queued. */
void request_answered(struct http_request *r)
{
    struct http_conn *c = r->conn;
    r->on_abort = NULL;
    conn_answered(c);
    detach(r);
}

/* What was said in time, or is said now, may have to be recorded before it goes out. */
static void allow_last_words(struct http_request *r)
{
    r->last_words = true;
    r->close_after = true;
    r->deadline_ms = clock_monotonic_ms() + LAST_WORDS_MS;
}

void request_fail(struct http_request *r, int status, const char *type, const char *message)
{
    if (request_kept(r) && !r->last_words) {
        allow_last_words(r);
        return;
    }
    void (*on_fail)(struct http_request *, const char *) = r->on_fail;
    r->on_fail = NULL;
    if (r->answer == ANSWER_STREAM && on_fail != NULL && !r->conn->closing) {
        allow_last_words(r);
        on_fail(r, message);
        return;
    }
    void (*on_abort)(struct http_request *) = r->on_abort;
    r->on_abort = NULL;
    http_request_hold(r);
    if (on_abort != NULL) {
        on_abort(r);
    }
    r->close_after = true;
    if (r->answer == ANSWER_NONE) {
        http_respond_error(r, status, type, NULL, NULL, message);
        if (request_kept(r)) {
            allow_last_words(r);
        }
    } else {
        http_stream_cut(r);
    }
    http_request_release(r);
}

/* ---- the body
 * ---------------------------------------------------------------------------------------- */

static void say_continue(struct http_request *r)
{
    if (r->head->expects_continue && r->conn->in.len == 0) {
        static const char line[] = "HTTP/1.1 100 Continue\r\n\r\n";
        conn_write_copy(r->conn, line, sizeof line - 1);
    }
}

static size_t collect(struct http_request *r, const char *p, size_t len)
{
    buf_append(&r->body, p, len);
    return len;
}

void request_body_end(struct http_request *r)
{
    r->body_state = BODY_COMPLETE;
    if (r->on_collected == NULL) {
        if (r->on_body_end != NULL) {
            r->on_body_end(r);
        }
    } else if (buf_status(&r->body) != STATUS_OK) {
        http_respond_error(r, 503, "server_error", NULL, NULL, "Out of memory: try again shortly.");
    } else {
        r->on_collected(r, buf_view(&r->body));
    }
}

static void want_body(struct http_request *r, size_t max)
{
    r->body_max = max;
    if (r->head->has_length && r->head->length > max) {
        if (r->head->expects_continue) {
            r->close_after = true;
        }
        http_respond_error(r, 413, "invalid_request_error", NULL, "too_large",
                           "The body is larger than allowed here.");
    } else if (r->body_state == BODY_COMPLETE) {
        request_body_end(r);
    } else {
        say_continue(r);
        r->body_state = BODY_WANTED;
        r->conn->read_ms = r->body_since_ms = clock_monotonic_ms();
        conn_kick(r->conn);
    }
}

void http_body_collect(struct http_request *r, size_t max,
                       void (*done)(struct http_request *r, struct str body))
{
    r->on_collected = done;
    r->on_body = collect;
    if (max < r->body.max) {
        r->body.max = max;
    }
    want_body(r, r->body.max);
}

void http_body_forget(struct http_request *r)
{
    buf_deinit(&r->body);
}

void http_asked_forget(struct http_request *r)
{
    arena_reset(&r->asked);
}

void http_head_forget(struct http_request *r)
{
    if (r->conn != NULL) {
        http_parser_forget(r->conn->parser);
    }
}

void http_body_stream(struct http_request *r, size_t max)
{
    want_body(r, max);
}

void http_body_resume(struct http_request *r)
{
    if (r->conn != NULL && r->body_state == BODY_PAUSED) {
        r->body_state = BODY_WANTED;
        r->conn->read_ms = clock_monotonic_ms();
        r->body_since_ms += r->conn->read_ms - r->paused_ms;
        conn_kick(r->conn);
    }
}
