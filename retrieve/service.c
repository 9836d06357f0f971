/* Life of the service and what it remembers. */
#include "retrieve/service.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/snapshot_call.h"
#include "retrieve/evaluate.h"

const char *encoder_known(struct retrieve *r, const char *tenant)
{
    for (size_t i = 0; i < ENCODERS_KNOWN; i++) {
        if (r->known[i].used > 0 && strcmp(r->known[i].tenant, tenant) == 0) {
            r->known[i].used = ++r->tick;
            return r->known[i].encoder;
        }
    }
    return "";
}

void encoder_learn(struct retrieve *r, const char *tenant, const char *encoder)
{
    struct known_encoder *k = &r->known[0];
    if (strlen(encoder) >= ENCODER_NAME_MAX || strlen(tenant) >= sizeof(k->tenant)) {
        return;
    }
    for (size_t i = 0; i < ENCODERS_KNOWN; i++) {
        if (r->known[i].used > 0 && strcmp(r->known[i].tenant, tenant) == 0) {
            k = &r->known[i];
            break;
        }
        if (r->known[i].used < k->used) { /* free, or longest unused */
            k = &r->known[i];
        }
    }
    (void)snprintf(k->tenant, sizeof(k->tenant), "%s", tenant);
    (void)snprintf(k->encoder, sizeof(k->encoder), "%s", encoder);
    k->used = ++r->tick;
}

static void end_service(struct retrieve *r)
{
    struct service *svc = r->svc;
    evaluations_free(r->evaluations);
    text_analyzer_free(r->text);
    svc->state = NULL;
    free(r);
    service_closed(svc);
}

void retrieve_call_over(struct retrieve *r)
{
    r->n_calls--;
    if (r->stopping && r->n_calls == 0) {
        end_service(r);
    }
}

static enum status open_service(struct service *svc, struct error *err)
{
    struct retrieve *r = calloc(1, sizeof(*r));
    if (r == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "retrieve: out of memory");
    }
    enum status s = text_analyzer_new(&r->text, err);
    r->svc = svc;
    if (s == STATUS_OK) {
        s = evaluations_new(r, &r->evaluations, err);
    }
    if (s != STATUS_OK) {
        text_analyzer_free(r->text);
        free(r);
        return s;
    }
    svc->state = r;
    return STATUS_OK;
}

static void close_service(struct service *svc)
{
    struct retrieve *r = svc->state;
    r->n_calls++; /* until all are told to stop */
    r->stopping = true;
    evaluations_stop(r->evaluations);
    retrieve_call_over(r);
}

static void health(struct service *svc, struct service_health *out)
{
    const struct retrieve *r = svc->state;
    if (r == NULL) {
        return;
    }
    out->queue = r->n_calls;
    (void)snprintf(out->detail, sizeof(out->detail), "%llu searches, %llu without vectors",
                   (unsigned long long)r->searches, (unsigned long long)r->without_dense);
    if (out->metrics != NULL) {
        buf_printf(out->metrics,
                   "# TYPE carrel_retrieve_searches_total counter\n"
                   "carrel_retrieve_searches_total %llu\n"
                   "# TYPE carrel_retrieve_failed_total counter\n"
                   "carrel_retrieve_failed_total %llu\n"
                   "# TYPE carrel_retrieve_without_vectors_total counter\n"
                   "carrel_retrieve_without_vectors_total %llu\n"
                   "# TYPE carrel_retrieve_folded_total counter\n"
                   "carrel_retrieve_folded_total %llu\n"
                   "# TYPE carrel_retrieve_seconds_total counter\n"
                   "carrel_retrieve_seconds_total %.6f\n",
                   (unsigned long long)r->searches, (unsigned long long)r->failed,
                   (unsigned long long)r->without_dense, (unsigned long long)r->folded,
                   (double)r->total_us / 1e6);
    }
}

/* The tenant's evaluations, for a backup. */
static void on_snapshot(struct rpc_call *call, const ProtobufCMessage *m)
{
    static const Rt__SnapshotReply reply = RT__SNAPSHOT_REPLY__INIT;
    char to[PATH_MAX];
    char from[PATH_MAX];
    struct error err;
    const struct retrieve *r = service_state(call);
    const Rt__SnapshotRequest *q = rt_snapshot_request(m);
    const char *tenant = rpc_call_tenant(call);
    const char *home = r->svc->home;
    enum status s = q == NULL || tenant[0] == '\0'
                        ? error_set(&err, STATUS_INVALID, "snapshot: of which tenant?")
                        : snapshot_path(home, q->name, tenant, to, sizeof(to), &err);
    int n = snprintf(from, sizeof(from), "%s/tenants/%s/eval.db", home, tenant);
    if (s == STATUS_OK && (n < 0 || (size_t)n >= sizeof(from))) {
        s = error_set(&err, STATUS_TOO_LARGE, "%s: path too long", home);
    }
    if (s != STATUS_OK) {
        rpc_call_fail(call, &err);
        return;
    }
    snapshot_call(call, r->svc->loop, from, to, "eval.db", &reply.base);
}

static const struct rpc_handler handlers[] = {
    {.method = &rt_search_method, .on_request = search_on_request, .on_cancel = search_on_cancel},
    {.method = &rt_evaluate_method, .on_request = evaluate_on_request}, /* milliseconds */
    {.method = &rt_forget_method, .on_request = evaluate_forget},
    {.method = &rt_snapshot_method, .on_request = on_snapshot, .on_cancel = snapshot_call_cancel},
};

const struct service_definition retrieve_definition = {
    .self = PEER_RETRIEVE,
    .handlers = handlers,
    .n_handlers = sizeof(handlers) / sizeof(handlers[0]),
    .open = open_service,
    .health = health,
    .close = close_service,
};
