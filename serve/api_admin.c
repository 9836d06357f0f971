/* How the appliance is: /api/health for anybody (up or down, no more), /api/status for
 * administrators, /metrics for Prometheus. All of it by asking each service how it is. */
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/rpc/health_rpc.h"
#include "serve/api.h"
#include "serve/http/jsonw.h"
#include "serve/request.h"
#include "serve/service.h"

#define ASK_TIMEOUT_MS 1500
#define HEALTH_FRESH_MS 500

static const enum peer asked[] = {PEER_VECTORSTORE, PEER_EMBED, PEER_RETRIEVE, PEER_GENERATE,
                                  PEER_INGEST};
#define ASKED_N (sizeof asked / sizeof asked[0])

struct asking {
    size_t next;
    const Rpc__HealthReply *replies[ASKED_N]; /* NULL: it does not answer */
    const char *errors[ASKED_N];
    void (*then)(struct request *q);
};

static void ask_next(struct request *q);

static void on_health(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    struct asking *a = q->op;
    a->replies[a->next] = rpc_health_reply(m);
    if (m == NULL) {
        a->errors[a->next] = arena_strdup(q->arena, err->text);
    }
    a->next++;
    ask_next(q);
}

/* One after another: five short calls, and one slow service costs its time-out only. */
static void ask_next(struct request *q)
{
    struct asking *a = q->op;
    if (a->next == ASKED_N) {
        a->then(q);
        return;
    }
    Rpc__HealthRequest ask = RPC__HEALTH_REQUEST__INIT;
    api_unary(q, asked[a->next], &rpc_health_method, ASK_TIMEOUT_MS, &ask.base, on_health);
}

static void ask_all(struct request *q, void (*then)(struct request *q))
{
    struct asking *a = arena_alloc(q->arena, sizeof *a);
    if (a == NULL) {
        api_out_of_memory(q);
        return;
    }
    a->then = then;
    q->op = a;
    ask_next(q);
}

/* ---- status ---- */

/* While it cannot be written nothing is answered, and here is why. */
static void audit_json(struct request *q, struct jsonw *w, bool told, bool *all)
{
    struct audit_state a;
    audit_state(q->serve->audit, &a);
    *all = *all && !a.failing;
    jsonw_key(w, "audit");
    jsonw_open(w, '{');
    jsonw_field_bool(w, "written", !a.failing);
    jsonw_field_bool(w, "signed", !a.not_signed);
    jsonw_field_int(w, "groups", (int64_t)a.groups);
    jsonw_field_int(w, "failures", (int64_t)a.failures);
    jsonw_field_z(w, "last_error", told ? a.error : "");
    if (a.anchoring) {
        jsonw_field_int(w, "anchored", a.anchored_wall_ms / 1000);
        jsonw_field_z(w, "anchor_error", told ? a.anchor_error : "");
    }
    jsonw_close(w, '}');
}

static void write_status(struct request *q)
{
    const struct asking *a = q->op;
    struct jsonw w;
    bool all = true;
    bool told = api_watches_appliance(q);
    jsonw_init(&w, &q->out);
    jsonw_open(&w, '{');
    jsonw_key(&w, "services");
    jsonw_open(&w, '[');
    for (size_t i = 0; i < ASKED_N; i++) {
        const Rpc__HealthReply *r = a->replies[i];
        all = all && r != NULL;
        jsonw_open(&w, '{');
        jsonw_field_z(&w, "name", peer_name(asked[i]));
        jsonw_field_bool(&w, "up", r != NULL);
        if (r != NULL) {
            jsonw_field_z(&w, "build", r->build);
            jsonw_field_int(&w, "up_since", r->up_since_wall_ms / 1000);
            jsonw_field_int(&w, "queue", told && r->has_queue ? r->queue : 0);
            jsonw_field_z(&w, "detail", told ? r->detail : "");
            jsonw_field_z(&w, "last_error", told ? r->last_error : "");
        } else {
            jsonw_field_z(&w, "last_error", a->errors[i]);
        }
        jsonw_close(&w, '}');
    }
    jsonw_close(&w, ']');
    audit_json(q, &w, told, &all);
    jsonw_field_z(&w, "status", all ? "ok" : "degraded");
    api_object_end(q, 200, &w);
}

void api_status(struct request *q)
{
    ask_all(q, write_status);
}

/* ---- metrics ---- */

void serve_metrics(const struct serve *s, struct buf *out)
{
    struct http_stats st;
    struct audit_state audit;
    http_server_stats(s->http, &st);
    audit_state(s->audit, &audit);
    metrics_write_head(out, "carrel_serve_http_requests_total", "counter",
                       "Answers by class of status.");
    for (int i = 0; i < STATUS_CLASSES; i++) {
        char class_name[8];
        (void)snprintf(class_name, sizeof class_name, i == 0 ? "gone" : "%dxx", i);
        struct metric_label label = {"class", class_name};
        metrics_write_sample(out, "carrel_serve_http_requests_total", &label, 1,
                             (double)s->by_class[i]);
    }
    const struct {
        const char *name;
        const char *kind;
        const char *help;
        double value;
    } rows[] = {
        {"carrel_serve_http_requests_in_flight", "gauge", "Requests being worked on.",
         (double)st.requests_in_flight},
        {"carrel_serve_http_connections", "gauge", "Connections open.", (double)st.connections},
        {"carrel_serve_http_connections_total", "counter", "Connections taken.",
         (double)st.connections_total},
        {"carrel_serve_http_connections_refused_total", "counter", "Connections over a limit.",
         (double)st.refused_total},
        {"carrel_serve_http_malformed_total", "counter", "Requests that were not HTTP.",
         (double)st.malformed_total},
        {"carrel_serve_http_read_bytes_total", "counter", "Bytes read.", (double)st.bytes_in},
        {"carrel_serve_http_written_bytes_total", "counter", "Bytes written.",
         (double)st.bytes_out},
        {"carrel_serve_answers_total", "counter", "Questions answered.", (double)s->answers_total},
        {"carrel_serve_audit_groups_total", "counter", "Groups of records synced.",
         (double)audit.groups},
        {"carrel_serve_audit_failures_total", "counter", "Groups that could not be written.",
         (double)audit.failures},
        {"carrel_serve_audit_failing", "gauge", "1 while the audit cannot be written.",
         audit.failing ? 1 : 0},
        {"carrel_serve_uploads_total", "counter", "Files taken.", (double)s->uploads_total},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        metrics_write_head(out, rows[i].name, rows[i].kind, rows[i].help);
        metrics_write_sample(out, rows[i].name, NULL, 0, rows[i].value);
    }
    webhooks_metrics(s->webhooks, out);
    fair_metrics(s->fair, out);
}

static void write_metrics(struct request *q)
{
    const struct asking *a = q->op;
    struct buf *b = &q->out;
    metrics_write_head(b, "carrel_service_up", "gauge", "1 while the service answers.");
    for (size_t i = 0; i < ASKED_N; i++) {
        struct metric_label label = {"service", peer_name(asked[i])};
        metrics_write_sample(b, "carrel_service_up", &label, 1, a->replies[i] != NULL);
    }
    serve_metrics(q->serve, b);
    for (size_t i = 0; i < ASKED_N; i++) {
        if (a->replies[i] != NULL && a->replies[i]->has_metrics) {
            buf_append(b, a->replies[i]->metrics.data, a->replies[i]->metrics.len);
        }
    }
    http_respond_buf(q->http, 200, "text/plain; version=0.0.4; charset=utf-8", b);
}

void api_metrics(struct request *q)
{
    if (!api_watches_appliance(q)) {
        api_error(
            q, 403, NULL, "forbidden",
            "Only administrators and machines of the tenant \"main\" see the figures of all.");
        return;
    }
    ask_all(q, write_metrics);
}

/* ---- health ---- */

static void say_health(struct request *q, bool up)
{
    http_respond(q->http, up ? 200 : 503, JSON_TYPE,
                 up ? STR("{\"status\":\"ok\"}") : STR("{\"status\":\"down\"}"));
}

static void on_vital(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    (void)err;
    struct serve *s = q->serve;
    bool first = q->op == NULL;
    if (m != NULL && first) { /* the store answers; now what searches in it */
        Rpc__HealthRequest ask = RPC__HEALTH_REQUEST__INIT;
        q->op = s;
        api_unary(q, PEER_RETRIEVE, &rpc_health_method, ASK_TIMEOUT_MS, &ask.base, on_vital);
        return;
    }
    s->health_up = m != NULL;
    s->health_ms = clock_monotonic_ms();
    say_health(q, s->health_up);
}

/* Up means: a search would be answered. Anybody may ask, so the answer is kept for a moment. */
void api_health(struct request *q)
{
    if (clock_monotonic_ms() - q->serve->health_ms < HEALTH_FRESH_MS) {
        say_health(q, q->serve->health_up);
        return;
    }
    Rpc__HealthRequest ask = RPC__HEALTH_REQUEST__INIT;
    api_unary(q, PEER_VECTORSTORE, &rpc_health_method, ASK_TIMEOUT_MS, &ask.base, on_vital);
}
