#include "serve/tenant_run.h"

#include <stdio.h>

#include "serve/answers.h"
#include "serve/service.h"

struct tenant_work {
    struct request *q;
    struct http_request *http;
    char tenant[65];
    tenant_work_fn work;
    tenant_done_fn then;
    void *data;
};

static enum status run(sqlite3 *db, void *data, struct error *err)
{
    struct tenant_work *w = data;
    return w->work(db, w->data, err);
}

static void on_done(const struct error *err, struct buf *json, void *data)
{
    (void)json;
    struct tenant_work *w = data;
    struct http_request *http = w->http;
    if (!http_request_gone(http)) {
        w->then(w->q, err);
    }
    http_request_release(http);
}

void tenant_run(struct request *q, tenant_work_fn work, void *data, tenant_done_fn then)
{
    struct tenant_work *w = arena_alloc(q->arena, sizeof *w);
    if (w == NULL) {
        api_out_of_memory(q);
        return;
    }
    w->q = q;
    w->http = q->http;
    w->work = work;
    w->then = then;
    w->data = data;
    (void)snprintf(w->tenant, sizeof w->tenant, "%s", q->who->tenant);
    http_request_hold(w->http);
    answers_run(q->serve->answers, w->tenant, run, on_done, w);
}
