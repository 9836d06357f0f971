/* GET /openapi.json: the description of every address here. Made once, at the first question. */
#include <stdlib.h>

#include "base/log.h"
#include "serve/api.h"
#include "serve/openapi.h"
#include "serve/request.h"
#include "serve/service.h"

#define OPENAPI_BYTES ((size_t)8 * 1024 * 1024)

void api_openapi(struct request *q)
{
    struct serve *s = q->serve;
    if (s->openapi.len == 0) {
        struct error err;
        buf_init(&s->openapi, OPENAPI_BYTES);
        if (openapi_build(openapi_fragments, openapi_fragments_n, serve_routes, serve_routes_n,
                          CARREL_VERSION, &s->openapi, &err) != STATUS_OK) {
            buf_deinit(&s->openapi);
            api_fail(q, &err);
            return;
        }
    }
    http_header(q->http, "Cache-Control", "no-cache");
    http_respond(q->http, 200, JSON_TYPE, buf_view(&s->openapi));
}
