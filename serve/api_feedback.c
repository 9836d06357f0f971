/* POST /api/feedback: thumbs up or down for an answer of one's own, or for one of its passages.
 * GET: what came of answers and thumbs, for administrators. */
#include <stdlib.h>

#include "base/clock.h"
#include "serve/api.h"
#include "serve/feedback.h"
#include "serve/http/jsonw.h"
#include "serve/request.h"
#include "serve/service.h"

static void on_saved(const struct error *err, struct buf *json, void *data)
{
    const struct feedback *f = data;
    struct request *q = f->request;
    struct http_request *http = q->http;
    (void)json;
    if (!http_request_gone(http)) {
        if (err->code == STATUS_OK) {
            webhooks_wake(q->serve->webhooks, q->who->tenant);
            static const char *const names[] = {"down", "none", "up"};
            struct jsonw w;
            jsonw_init(&w, &q->out);
            jsonw_open(&w, '{');
            jsonw_field_z(&w, "verdict", names[f->verdict + 1]);
            api_object_end(q, 200, &w);
        } else {
            api_fail(q, err);
        }
    }
    http_request_release(http);
}

static enum status read_verdict(struct str word, int *out, struct error *err)
{
    if (str_eq(word, STR("up")) || str_eq(word, STR("down")) || str_eq(word, STR("none"))) {
        *out = word.ptr[0] == 'u' ? 1 : word.ptr[0] == 'd' ? -1 : 0;
        return STATUS_OK;
    }
    return error_set(err, STATUS_INVALID, "verdict must be up, down or none");
}

static enum status read_feedback(struct request *q, const struct json *body, struct feedback *out,
                                 struct error *err)
{
    struct str answer, verdict, comment;
    enum status s = jsonr_string(body, "answer", &answer, err);
    if (s == STATUS_OK) {
        s = jsonr_string(body, "verdict", &verdict, err);
    }
    if (s == STATUS_OK) {
        s = jsonr_string(body, "comment", &comment, err);
    }
    if (s == STATUS_OK) {
        s = jsonr_int(body, "passage", 1, 1000, 0, &out->passage, err);
    }
    if (s == STATUS_OK) {
        s = read_verdict(verdict, &out->verdict, err);
    }
    if (s != STATUS_OK) {
        return s;
    }
    if (answer.ptr == NULL || answer.len == 0 || answer.len > 64) {
        return error_set(err, STATUS_INVALID, "answer must be the id of an answer");
    }
    if (comment.ptr != NULL && comment.len > FEEDBACK_COMMENT_MAX) {
        return error_set(err, STATUS_INVALID, "comment must not be longer than %d bytes",
                         FEEDBACK_COMMENT_MAX);
    }
    out->answer = arena_strndup(q->arena, answer.ptr, answer.len);
    out->comment = arena_strndup(q->arena, comment.ptr == NULL ? "" : comment.ptr, comment.len);
    out->user = q->who->user;
    out->tenant = q->who->tenant;
    return out->answer == NULL || out->comment == NULL
               ? error_set(err, STATUS_NO_MEMORY, "out of memory")
               : STATUS_OK;
}

static void on_json(struct request *q, const struct json *body)
{
    struct error err;
    struct feedback *f = arena_alloc(q->arena, sizeof *f);
    if (f == NULL) {
        api_out_of_memory(q);
        return;
    }
    if (read_feedback(q, body, f, &err) != STATUS_OK) {
        api_fail(q, &err);
        return;
    }
    f->request = q;
    http_request_hold(q->http);
    answers_run(q->serve->answers, q->who->tenant, feedback_save, on_saved, f);
}

void api_feedback(struct request *q)
{
    api_read_json(q, on_json);
}

/* ---- GET ---- */

#define SUMMARY_BYTES ((size_t)1 << 20)
#define DAY_MS INT64_C(86400000)

static void on_summary(const struct error *err, struct buf *json, void *data)
{
    struct feedback_summary *f = data;
    struct request *q = f->request;
    struct http_request *http = q->http;
    (void)json;
    if (!http_request_gone(http)) {
        if (err->code == STATUS_OK) {
            api_json(q, 200, &f->json);
        } else {
            api_fail(q, err);
        }
    }
    buf_deinit(&f->json);
    free(f);
    http_request_release(http);
}

void api_feedback_summary(struct request *q)
{
    uint64_t days = 0;
    bool has = false;
    if (!api_query_number(q, "days", 3650, &has, &days)) {
        return;
    }
    struct feedback_summary *f = calloc(1, sizeof *f); /* its buffer outlives a client that left */
    if (f == NULL) {
        api_out_of_memory(q);
        return;
    }
    f->since_wall_ms = clock_wall_ms() - (has ? (int64_t)days : 90) * DAY_MS;
    f->request = q;
    buf_init(&f->json, SUMMARY_BYTES);
    http_request_hold(q->http);
    answers_run(q->serve->answers, q->who->tenant, feedback_summary, on_summary, f);
}
