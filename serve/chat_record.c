#include "serve/chat_record.h"

#include "base/clock.h"
#include "base/log.h"
#include "serve/chat_responses.h"
#include "serve/http/jsonw.h"
#include "serve/logprobs.h"
#include "serve/passage.h"
#include "serve/request.h"
#include "serve/search_request.h"

/* ---- what was said, as JSON ---- */

static const char *take_text(struct chat *c, struct buf *b)
{
    const char *copy =
        buf_status(b) == STATUS_OK ? arena_strndup(&c->http->arena, b->ptr, b->len) : NULL;
    buf_deinit(b);
    return copy;
}

const char *chat_search_json(struct chat *c)
{
    struct buf b;
    struct jsonw w;
    buf_init(&b, 4096);
    jsonw_init(&w, &b);
    jsonw_open(&w, '{');
    search_models(&w, c->found);
    if (chat_rewritten(c)[0] != '\0') {
        jsonw_field_z(&w, "rewritten", chat_rewritten(c));
    }
    jsonw_close(&w, '}');
    return take_text(c, &b);
}

static const char *route_json(struct chat *c, const Ge__Route *route)
{
    struct buf b;
    struct jsonw w;
    buf_init(&b, 8192);
    jsonw_init(&w, &b);
    jsonw_open(&w, '{');
    jsonw_field_z(&w, "verdict", route->verdict);
    jsonw_field_z(&w, "rule", route->rule);
    jsonw_field_z(&w, "reason", route->reason);
    jsonw_field_z(&w, "strictest_label", route->strictest_label);
    jsonw_field_z(&w, "destination", route->destination);
    jsonw_close(&w, '}');
    return take_text(c, &b);
}

/* "earlier-answers:2 marks:1"; "none": all of it left as it was. */
static void note_masks(struct chat *c, const Ge__ChatReply *m)
{
    struct buf b;
    int64_t sum = 0;
    buf_init(&b, 256);
    for (size_t i = 0; i < m->n_masks; i++) {
        buf_printf(&b, "%s%s:%u", i == 0 ? "" : " ", m->masks[i]->kind, m->masks[i]->count);
        sum += m->masks[i]->count;
    }
    buf_z(&b, m->n_masks == 0 ? "none" : "");
    c->q->audit.masks = take_text(c, &b);
    c->q->audit.masked = sum;
}

void chat_note_route(struct chat *c, const Ge__ChatReply *m)
{
    struct audit_call *a = &c->q->audit;
    c->route_json = route_json(c, m->route);
    a->route = c->route_json;
    a->verdict = arena_strdup(&c->http->arena, m->route->verdict);
    a->rule = m->route->rule == NULL ? NULL : arena_strdup(&c->http->arena, m->route->rule);
    if (m->has_left && m->left) {
        note_masks(c, m);
    }
}

const char *chat_logprobs_json(struct chat *c, const Ge__ChatReply *m)
{
    struct buf b;
    buf_init(&b, CHAT_ANSWER_MAX);
    logprobs_write(&b, m);
    return take_text(c, &b);
}

static const char *passages_json(struct chat *c)
{
    struct buf b;
    struct jsonw w;
    buf_init(&b, (size_t)1024 * 1024);
    jsonw_init(&w, &b);
    jsonw_open(&w, '[');
    for (size_t i = 0; c->found != NULL && i < c->found->n_passages; i++) {
        passage_named(&w, (int64_t)i + 1, c->found->passages[i]->passage);
    }
    jsonw_close(&w, ']');
    return take_text(c, &b);
}

static const char *cited_json(struct chat *c)
{
    struct buf b;
    struct jsonw w;
    buf_init(&b, 16384);
    jsonw_init(&w, &b);
    jsonw_open(&w, '[');
    for (size_t i = 0; i < c->n_cited; i++) {
        jsonw_int(&w, c->cited[i].number);
    }
    jsonw_close(&w, ']');
    return take_text(c, &b);
}

static void call_names(struct jsonw *w, const struct chat_call *calls, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        jsonw_str(w, str_from(calls[i].name));
    }
}

/* Which functions, not with what: arguments may hold what the passages say. */
static const char *calls_json(struct chat *c)
{
    struct buf b;
    struct jsonw w;
    size_t n = c->n_calls;
    buf_init(&b, 65536);
    jsonw_init(&w, &b);
    jsonw_open(&w, '[');
    for (size_t i = 0; i < c->n_over; i++) { /* of every answer, where several were asked for */
        n += c->over[i].n_calls;
        call_names(&w, c->over[i].calls, c->over[i].n_calls);
    }
    call_names(&w, c->calls, c->n_calls);
    jsonw_close(&w, ']');
    const char *names = take_text(c, &b);
    return n == 0 ? NULL : names;
}

/* ---- the records ---- */

void chat_writing(struct chat *c)
{
    http_request_hold(c->http);
    c->writing++;
}

void chat_written(struct chat *c, const struct error *err)
{
    struct http_request *http = c->http;
    if (err->code != STATUS_OK && !c->unwritten) {
        c->unwritten = true;
        LOG_ERROR("the record of an answer could not be written", LOG_STR("req", http->id),
                  LOG_STR("err", err->text), LOG_END);
    }
    if (--c->writing == 0) {
        c->concluded(c);
        if (c->writing == 0) { /* it may have more to write */
            buf_deinit(&c->text);
        }
    }
    http_request_release(http);
}

static void on_recorded(const struct error *err, struct buf *json, void *data)
{
    (void)json;
    chat_written(data, err);
}

static void on_audited(struct request *q, const struct error *err)
{
    chat_written(q->op, err);
}

static void note_close(struct chat *c, struct request *q, const char *outcome)
{
    struct audit_call *a = &q->audit;
    a->outcome = outcome;
    a->status = c->failure->code == STATUS_OK ? 200 : status_http(c->failure->code);
    a->answer = buf_status(&c->text) == STATUS_OK ? buf_view(&c->text) : STR("");
    if (c->n_over > 0) { /* several answers: one after the other */
        struct buf all;
        buf_init(&all, CHAT_ANSWER_MAX * 2);
        for (size_t i = 0; i < c->n_over; i++) {
            buf_str(&all, c->over[i].text);
            buf_z(&all, "\n\n");
        }
        buf_str(&all, a->answer);
        const char *text = take_text(c, &all);
        a->answer = text == NULL ? a->answer : str_from(text);
    }
    if (a->state == AUDIT_CALL_OPENING && a->answer.len > 0) {
        /* the client left: the close waits for the open, and our text may be gone by then */
        const char *copy = arena_strndup(&c->http->arena, a->answer.ptr, a->answer.len);
        a->answer = copy == NULL ? STR("") : (struct str){copy, a->answer.len};
    }
    a->cited = c->record->cited;
    a->calls = c->record->calls;
    a->error = c->failure->text;
    a->engine = c->engine;
    a->model = c->model;
    a->search_ms = c->search_ms;
    a->first_ms = c->first_ms;
    a->prompt_tokens = c->prompt_tokens;
    a->completion_tokens = c->completion_tokens;
    a->marks_removed = c->marks_removed;
}

void chat_record(struct chat *c, const char *outcome, void (*then)(struct chat *c))
{
    if (c->recorded) {
        return;
    }
    struct request *q = c->q;
    c->recorded = true;
    c->concluded = then;
    c->record = arena_alloc(&c->http->arena, sizeof *c->record);
    if (c->record == NULL) {
        c->unwritten = true;
        then(c);
        return;
    }
    *c->record = (struct answer_record){
        .id = c->id,
        .tenant = q->who->tenant,
        .user = q->who->user,
        .question = c->ask.question.ptr,
        .asked_model = c->ask.model,
        .engine = c->engine,
        .model = c->model,
        .route = c->route_json,
        .search = c->search_json,
        .passages = passages_json(c),
        .cited = cited_json(c),
        .calls = calls_json(c),
        .outcome = outcome,
        .error = c->failure->text,
        .note = c->note,
        .created_wall_ms = c->created_wall_ms,
        .search_ms = c->search_ms,
        .first_ms = c->first_ms,
        .total_ms = clock_monotonic_ms() - c->started_ms,
        .marks_removed = c->marks_removed,
        .prompt_tokens = c->prompt_tokens,
        .completion_tokens = c->completion_tokens,
        .turns_expired_ms = responses_expired_ms(q->serve->settings->responses.keep_days),
    };
    struct http_request *http = c->http;
    note_close(c, q, outcome);
    /* both may be over at once */
    http_request_hold(http);
    http_request_hold(http);
    http_request_hold(http);
    c->writing = 2;
    answers_write(q->serve->answers, c->record, on_recorded, c);
    if (c->opened) {
        audit_close_now(q, on_audited);
    } else { /* what the gate writes with the error is enough */
        const struct error none = {.code = STATUS_OK};
        chat_written(c, &none);
    }
    http_request_release(http);
}
