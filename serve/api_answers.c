/* GET /api/answers/{id}: the record of an answer, for its asker and for administrators. */
#include "serve/api.h"
#include "serve/request.h"
#include "serve/service.h"

static void on_read(const struct error *err, struct buf *json, void *data)
{
    struct request *q = data;
    struct http_request *http = q->http;
    if (!http_request_gone(http)) {
        if (err->code == STATUS_OK) {
            api_json(q, 200, json);
        } else {
            api_fail(q, err);
        }
    }
    http_request_release(http);
}

void api_answer(struct request *q)
{
    const char *id = api_id(q, 0);
    if (id != NULL) {
        http_request_hold(q->http);
        answers_read(q->serve->answers, q->who->tenant, q->who->user, q->who->admin, id, on_read,
                     q);
    }
}
