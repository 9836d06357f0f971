/* retrieve.Search, in the order things happen:
 *
 *   search_on_request -> vectorstore.SearchText  \
 *                        embed.Encode -> vectorstore.SearchVector  } at once
 *   both ended        -> fuse -> vectorstore.Fetch [-> embed.Rerank] -> fold [->
 * vectorstore.Explain]
 *                     -> reply
 *
 * The encoder's name comes from a cache of what the tenant last had; SearchText's reply corrects
 * it, and the dense side is then begun again (once). The dense side never fails a search: what was
 * missing is a note. */
#include "base/clock.h"
#include "base/log.h"
#include "retrieve/search_internal.h"

#define TOP_K_MAX 200U
#define WIDEN_MAX 3U
#define QUERY_BYTES_MAX ((size_t)64 * 1024)
#define EARLIER_MAX 16

/* ---- ends ---- */

void search_drop(struct rpc_request **r)
{
    if (*r != NULL) {
        rpc_request_cancel(*r);
        *r = NULL;
    }
}

void search_finish(struct search *s, enum status status)
{
    struct retrieve *r = s->r;
    search_drop(&s->text_rpc);
    search_drop(&s->second_rpc);
    search_drop(&s->dense_rpc);
    search_drop(&s->fetch_rpc);
    rerank_ask_stop(&s->rerank);
    search_drop(&s->explain_rpc);
    r->searches++;
    int64_t took_us = clock_monotonic_us() - s->started_us;
    r->total_us += (uint64_t)took_us;
    LOG_DEBUG("search", LOG_STR("tenant", s->tenant), LOG_STR("status", status_name(status)),
              LOG_INT("dur_us", took_us), LOG_INT("passages", s->reply.n_passages), LOG_END);
    if (s->call == NULL) {
        s->error.code = status;
        s->job.done(s->job.data, &s->error, &s->reply);
    } else if (status == STATUS_OK) {
        rt_search_return(s->call, &s->reply);
    } else {
        r->failed += status != STATUS_CANCELLED;
        s->error.code = status;
        rpc_call_fail(s->call, &s->error);
    }
    retrieve_call_over(r);
}

void search_fail(struct search *s, const struct error *err)
{
    s->error = *err;
    search_finish(s, err->code);
}

void search_no_memory(struct search *s)
{
    search_finish(s, error_set(&s->error, STATUS_NO_MEMORY, "search: out of memory"));
}

void search_note(struct search *s, char *text)
{
    if (text != NULL && s->reply.n_notes < NOTES_MAX) {
        s->notes[s->reply.n_notes++] = text;
    }
}

void search_on_cancel(struct rpc_call *call)
{
    struct search *s = *rpc_call_data(call);
    search_finish(s, error_set(&s->error, STATUS_CANCELLED, "search: the caller went away"));
}

/* ---- copies: messages are gone when their callback returns ---- */

bool search_copy(struct arena *a, const void *p, size_t len, struct str *out)
{
    char *copy = arena_strndup(a, p == NULL ? "" : p, len);
    *out = (struct str){copy, len};
    return copy != NULL;
}

ProtobufCMessage *search_copy_message(const ProtobufCMessage *m, struct arena *a)
{
    ProtobufCAllocator allocator;
    arena_protobuf(a, &allocator);
    size_t len = protobuf_c_message_get_packed_size(m);
    uint8_t *bytes = arena_alloc(a, len + 1);
    if (bytes == NULL) {
        return NULL;
    }
    protobuf_c_message_pack(m, bytes);
    return protobuf_c_message_unpack(m->descriptor, &allocator, len, bytes);
}

/* ---- start ---- */

static enum status check(const char *tenant, const Rt__SearchRequest *q, struct error *err)
{
    if (tenant[0] == '\0') {
        return error_set(err, STATUS_INVALID, "search: the call names no tenant");
    }
    if (q->query.len == 0) {
        return error_set(err, STATUS_INVALID, "search: the query is empty");
    }
    if (q->query.len > QUERY_BYTES_MAX) {
        return error_set(err, STATUS_TOO_LARGE,
                         "search: a query of %zu bytes; at most %zu are taken", q->query.len,
                         QUERY_BYTES_MAX);
    }
    if (q->n_earlier > EARLIER_MAX || q->n_collections > 256) {
        return error_set(
            err, STATUS_TOO_LARGE,
            "search: %zu earlier turns and %zu collections; at most %d and 256 are taken",
            q->n_earlier, q->n_collections, EARLIER_MAX);
    }
    for (size_t i = 0; i < q->n_earlier; i++) {
        if (q->earlier[i].len > QUERY_BYTES_MAX) {
            return error_set(err, STATUS_TOO_LARGE, "search: an earlier turn of %zu bytes",
                             q->earlier[i].len);
        }
    }
    if (q->filter != NULL && q->filter->n_collections > 0 && q->n_collections > 0) {
        return error_set(err, STATUS_INVALID, "search: collections in the filter and beside it");
    }
    if (q->widen > WIDEN_MAX) {
        return error_set(err, STATUS_INVALID, "search: widen is %u; at most %u is possible",
                         q->widen, WIDEN_MAX);
    }
    if (q->top_k > TOP_K_MAX) {
        return error_set(err, STATUS_INVALID, "search: top_k is %u; at most %u is possible",
                         q->top_k, TOP_K_MAX);
    }
    return STATUS_OK;
}

/* Fills *s, but for its call, options and tenant. */
static void prepare(struct search *s, struct retrieve *r, struct arena *a, Rt__SearchRequest *copy)
{
    static char none[] = "";
    const struct settings *settings = r->svc->settings;
    *s =
        (struct search){.r = r,
                        .a = a,
                        .request = copy,
                        .filter = VS__FILTER__INIT,
                        .reply = RT__SEARCH_REPLY__INIT,
                        .top_k = copy->top_k > 0 ? copy->top_k : (uint32_t)settings->retrieve.top_k,
                        .limit = (uint32_t)settings->retrieve.candidates,
                        .started_us = clock_monotonic_us()};
    s->reply.encoder = copy->mode == RT__SEARCH_REQUEST__MODE__DENSE ? NULL : none;
    s->reply.notes = s->notes;
    s->limit = s->limit < s->top_k ? s->top_k : s->limit;
    if (copy->filter != NULL) {
        s->filter = *copy->filter;
    }
    if (s->filter.n_collections == 0) {
        s->filter.n_collections = copy->n_collections;
        s->filter.collections = copy->collections;
    }
}

/* The query is read; ends the search where nothing can be done. */
static void begin(struct search *s, bool impossible)
{
    static char none[] = "";
    bool started;
    s->r->n_calls++;
    if (impossible) {
        search_note(s,
                    arena_strdup(s->a, "nothing can be found: the conditions exclude each other"));
        s->reply.encoder = none;
        search_finish(s, STATUS_OK);
        return;
    }
    if (s->request->mode == RT__SEARCH_REQUEST__MODE__DENSE && s->job.encoder == NULL) {
        started = search_encoder_start(s);
    } else {
        started = s->request->mode == RT__SEARCH_REQUEST__MODE__DENSE ||
                  (search_text_start(s) && (!search_rewritten(s) || search_second_start(s)));
        const char *known =
            s->job.encoder != NULL ? s->job.encoder : encoder_known(s->r, s->tenant);
        if (started && search_wants_dense(s) && known[0] != '\0' &&
            strlen(known) < ENCODER_NAME_MAX) {
            memcpy(s->encoder, known, strlen(known) + 1);
            search_dense_start(s); /* text is running: ends the search only without memory */
            return;
        }
    }
    if (!started) {
        search_no_memory(s);
    }
}

struct search *search_start(struct retrieve *r, const struct search_job *job, struct error *err)
{
    struct search *s = arena_alloc(job->a, sizeof(*s));
    Rt__SearchRequest *copy =
        (Rt__SearchRequest *)(void *)search_copy_message(&job->request->base, job->a);
    bool impossible = false;
    if (s == NULL || copy == NULL) {
        (void)error_set(err, STATUS_NO_MEMORY, "search: out of memory");
        return NULL;
    }
    if (check(job->options.tenant, copy, err) != STATUS_OK) {
        return NULL;
    }
    prepare(s, r, job->a, copy);
    s->job = *job;
    s->tenant = job->options.tenant;
    s->options = job->options;
    if (interpret(r->text, copy, job->a, &s->filter, &s->ask, &s->reply.interpreted, &impossible,
                  err) != STATUS_OK) {
        return NULL;
    }
    begin(s, impossible);
    return s;
}

void search_cancel(struct search *s)
{
    search_finish(s, error_set(&s->error, STATUS_CANCELLED, "search: it was stopped"));
}

void search_on_request(struct rpc_call *call, const ProtobufCMessage *m)
{
    struct retrieve *r = service_state(call);
    const Rt__SearchRequest *q = rt_search_request(m);
    struct arena *a = rpc_call_arena(call);
    struct search *s = arena_alloc(a, sizeof(*s));
    struct error err = {.code = STATUS_OK};
    Rt__SearchRequest *copy = NULL;
    if (r == NULL || r->stopping) {
        (void)error_set(&err, STATUS_UNAVAILABLE, "retrieve is stopping");
    } else if (q == NULL) {
        (void)error_set(&err, STATUS_INVALID, "search: no request");
    } else if (check(rpc_call_tenant(call), q, &err) == STATUS_OK) {
        copy = (Rt__SearchRequest *)(void *)search_copy_message(m, a);
        if (s == NULL || copy == NULL) {
            (void)error_set(&err, STATUS_NO_MEMORY, "search: out of memory");
        }
    }
    if (err.code != STATUS_OK) {
        rpc_call_fail(call, &err);
        return;
    }
    prepare(s, r, a, copy);
    s->call = call;
    s->tenant = rpc_call_tenant(call);
    rpc_options_from_call(call, &s->options);
    bool impossible = false;
    if (interpret(r->text, copy, a, &s->filter, &s->ask, &s->reply.interpreted, &impossible,
                  &err) != STATUS_OK) {
        rpc_call_fail(call, &err);
        return;
    }
    *rpc_call_data(call) = s;
    begin(s, impossible);
}
