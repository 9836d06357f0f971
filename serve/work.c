/* Blocking work of a request: on a lane of serve's own, the request held meanwhile. */
#include "base/lane.h"
#include "serve/request.h"
#include "serve/service.h"

struct work {
    struct request *q;
    enum status (*work)(void *op, struct error *err);
    void (*done)(struct request *q, const struct error *err);
    void *op;
    struct error err;
};

static void on_work(void *job)
{
    struct work *w = job;
    w->err.code = w->work(w->op, &w->err);
}

static void on_done(void *job)
{
    struct work *w = job; /* in the request's arena */
    struct http_request *http = w->q->http;
    struct serve *serve = w->q->serve;
    w->done(w->q, &w->err);
    http_request_release(http);
    serve_admin_done(serve);
}

void api_on_lane(struct request *q, struct lane *lane, void *op,
                 enum status (*work)(void *op, struct error *err),
                 void (*done)(struct request *q, const struct error *err))
{
    struct work *w = arena_alloc(q->arena, sizeof *w);
    if (w == NULL) {
        api_out_of_memory(q);
        return;
    }
    *w = (struct work){.q = q, .work = work, .done = done, .op = op};
    http_request_hold(q->http);
    if (lane_submit_for(lane, &q->effort, on_work, on_done, w, &w->err) != STATUS_OK) {
        http_request_release(q->http);
        api_fail(q, &w->err);
    }
}
