#include "generate/service.h"

#include <stdlib.h>

#include "base/log.h"
#include "generate/chat.h"
#include "generate/egress/egress.h"
#include "generate/route.h"

static void describe_one(struct engine *e, Ge__DescribeReply__Engine *out)
{
    struct engine_description d;
    e->ops->describe(e, &d);
    ge__describe_reply__engine__init(out);
    out->name = (char *)(uintptr_t)d.name; /* packing only reads them */
    out->model = (char *)(uintptr_t)d.model;
    out->detail = (char *)(uintptr_t)d.detail;
    out->ready = d.ready;
}

static void on_describe(struct rpc_call *call, const ProtobufCMessage *m)
{
    (void)m;
    const struct generate *g = service_state(call);
    Ge__DescribeReply__Engine items[3];
    Ge__DescribeReply__Engine *list[3] = {&items[0], &items[1], &items[2]};
    Ge__DescribeReply reply = GE__DESCRIBE_REPLY__INIT;
    enum route_engine configured = ROUTE_ENGINE_AUTO;
    describe_one(g->extractive, &items[reply.n_engines++]);
    bool upstream = false;
    bool local = false;
    if (g->local != NULL) {
        describe_one(g->local, &items[reply.n_engines]);
        local = items[reply.n_engines++].ready;
    }
    if (g->upstream != NULL) {
        describe_one(g->upstream, &items[reply.n_engines]);
        upstream = items[reply.n_engines++].ready;
    }
    (void)route_engine_parse(g->svc->settings->generate.engine, &configured);
    reply.engines = list;
    const char *first = local && configured != ROUTE_ENGINE_UPSTREAM   ? "local"
                        : upstream && configured != ROUTE_ENGINE_LOCAL ? "upstream"
                        : local                                        ? "local"
                                                                       : "extractive";
    reply.default_engine =
        (char *)(uintptr_t)(configured == ROUTE_ENGINE_EXTRACTIVE ? "extractive" : first);
    ge_describe_return(call, &reply);
}

/* ---- life ---- */

static void on_engine_closed(void *data)
{
    struct generate *g = data;
    if (--g->engines_open > 0) {
        return;
    }
    struct service *svc = g->svc;
    svc->state = NULL;
    free(g);
    service_closed(svc);
}

static void close_engines(struct generate *g)
{
    struct engine *upstream = g->upstream;
    struct engine *local = g->local;
    g->engines_open = 1U + (upstream != NULL) + (local != NULL);
    if (local != NULL) { /* never closed before it returns */
        local->ops->close(local, on_engine_closed, g);
    }
    g->extractive->ops->close(g->extractive, on_engine_closed, g); /* may free g */
    if (upstream != NULL) {
        upstream->ops->close(upstream, on_engine_closed, g);
    }
}

void generate_chat_over(struct generate *g)
{
    g->n_calls--;
    if (g->stopping && g->n_calls == 0) {
        close_engines(g);
    }
}

static enum status open_upstream(struct generate *g, struct error *err)
{
    struct service *svc = g->svc;
    char socket[4096];
    if (svc->settings->generate.upstream.url[0] == '\0') {
        return STATUS_OK;
    }
    enum status s = egress_socket_path(svc->home, socket, sizeof socket, err);
    return s != STATUS_OK
               ? s
               : upstream_engine_new(svc->loop, svc->settings, socket, &g->upstream, err);
}

static enum status open_local(struct generate *g, struct error *err)
{
    struct service *svc = g->svc;
    return svc->settings->generate.model[0] == '\0'
               ? STATUS_OK
               : local_engine_new(svc->loop, svc->home, svc->settings, &g->local, err);
}

static enum status generate_open(struct service *svc, struct error *err)
{
    struct generate *g = calloc(1, sizeof *g);
    if (g == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    g->svc = svc;
    list_init(&g->chats);
    /* the upstream first: only it can fail for a reason of the configuration, and nothing is open
     * then */
    enum status s = open_upstream(g, err);
    s = s != STATUS_OK ? s : extractive_engine_new(svc->loop, svc->settings, &g->extractive, err);
    s = s != STATUS_OK ? s : open_local(g, err);
    if (s != STATUS_OK) {
        free(g);
        return s;
    }
    svc->state = g;
    return STATUS_OK;
}

static void generate_health(struct service *svc, struct service_health *out)
{
    const struct generate *g = svc->state;
    if (g == NULL) {
        return;
    }
    struct engine_description d = {.name = "extractive", .detail = "quoted sentences"};
    if (g->local != NULL) {
        g->local->ops->describe(g->local, &d);
        local_engine_metrics(g->local, out->metrics);
    } else if (g->upstream != NULL) {
        g->upstream->ops->describe(g->upstream, &d);
    }
    out->queue = (uint32_t)g->n_calls;
    if (g->local != NULL && d.ready) {
        (void)snprintf(out->detail, sizeof out->detail, "%.80s, %.70s", d.model, d.detail);
    } else {
        (void)snprintf(out->detail, sizeof out->detail, "%s: %.120s", d.name, d.detail);
    }
    buf_printf(out->metrics,
               "# TYPE carrel_generate_answers_total counter\n"
               "carrel_generate_answers_total %llu\n"
               "# TYPE carrel_generate_refused_total counter\n"
               "carrel_generate_refused_total %llu\n"
               "# TYPE carrel_generate_failed_total counter\n"
               "carrel_generate_failed_total %llu\n"
               "# TYPE carrel_generate_external_total counter\n"
               "carrel_generate_external_total %llu\n"
               "# TYPE carrel_generate_modelled_total counter\n"
               "carrel_generate_modelled_total %llu\n"
               "# TYPE carrel_generate_held_back_total counter\n"
               "carrel_generate_held_back_total %llu\n"
               "# TYPE carrel_generate_fallbacks_total counter\n"
               "carrel_generate_fallbacks_total %llu\n"
               "# TYPE carrel_generate_marks_removed_total counter\n"
               "carrel_generate_marks_removed_total %llu\n",
               (unsigned long long)g->answers, (unsigned long long)g->refused,
               (unsigned long long)g->failed, (unsigned long long)g->external,
               (unsigned long long)g->modelled, (unsigned long long)g->held_back,
               (unsigned long long)g->fallbacks, (unsigned long long)g->marks_removed);
}

static void generate_close(struct service *svc)
{
    struct generate *g = svc->state;
    g->stopping = true;
    g->n_calls++; /* keeps the engines open until the line below the stops */
    chat_stop_all(g);
    generate_chat_over(g);
}

static const struct rpc_handler handlers[] = {
    {.method = &ge_chat_method,
     .on_request = chat_on_request,
     .on_ready = chat_on_ready,
     .on_cancel = chat_on_cancel},
    {.method = &ge_describe_method, .on_request = on_describe},
};

const struct service_definition generate_definition = {
    .self = PEER_GENERATE,
    .handlers = handlers,
    .n_handlers = sizeof handlers / sizeof *handlers,
    .open = generate_open,
    .health = generate_health,
    .close = generate_close,
};
