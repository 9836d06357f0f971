/* /api/progress: how far the documents are, and whether new ones are read. */
#include <string.h>

#include "ingest/ingest_rpc.h"
#include "serve/api.h"
#include "serve/http/jsonw.h"
#include "serve/json.h"
#include "serve/request.h"
#include "vectorstore/vectorstore_rpc.h"

static void on_progress(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    const Ig__ProgressReply *reply = ig_progress_reply(m);
    struct jsonw w;
    if (!api_object(q, reply, err, &w)) {
        return;
    }
    jsonw_field_int(&w, "queued", reply->queued);
    jsonw_field_int(&w, "working", reply->working);
    jsonw_field_int(&w, "ready", reply->ready);
    jsonw_field_int(&w, "failed", reply->failed);
    jsonw_field_bool(&w, "paused", reply->paused);
    jsonw_field_int(&w, "waiting_bytes", (int64_t)reply->waiting_bytes);
    jsonw_field_int(&w, "pages", (int64_t)reply->pages);
    jsonw_field_int(&w, "chunks", (int64_t)reply->chunks);
    jsonw_field_int(&w, "bytes", (int64_t)reply->bytes);
    if (reply->has_recut_left) {
        jsonw_field_int(&w, "recut_left", reply->recut_left);
    }
    if (reply->has_quota_bytes) {
        jsonw_field_int(&w, "quota_bytes", (int64_t)reply->quota_bytes);
        jsonw_field_int(&w, "without_room", reply->without_room);
    }
    if (reply->has_files_per_s) {
        jsonw_field_double(&w, "files_per_second", reply->files_per_s);
        jsonw_field_double(&w, "chunks_per_second", reply->chunks_per_s);
    }
    if (reply->has_left_s) {
        jsonw_field_int(&w, "seconds_left", reply->left_s);
    }
    if (reply->doing != NULL && reply->doing[0] != '\0') {
        jsonw_field_z(&w, "doing", reply->doing);
    }
    api_object_end(q, 200, &w);
}

/* For all but administrators: what they may find; and who puts documents in, what of those he may
 * read waits or has failed. */
struct counting {
    int64_t ready, queued, working, failed;
};

static void tell_counts(struct request *q)
{
    const struct counting *c = q->op;
    struct jsonw w;
    api_object_begin(q, &w);
    jsonw_field_int(&w, "queued", c->queued);
    jsonw_field_int(&w, "working", c->working);
    jsonw_field_int(&w, "ready", c->ready);
    jsonw_field_int(&w, "failed", c->failed);
    api_object_end(q, 200, &w);
}

static void on_unready(struct request *q, const ProtobufCMessage *m)
{
    const Ig__ListReply *reply = ig_list_reply(m);
    struct counting *c = q->op;
    for (size_t i = 0; reply != NULL && i < reply->n_documents; i++) {
        const char *state = reply->documents[i]->state;
        c->queued += strcmp(state, "queued") == 0;
        c->working += strcmp(state, "working") == 0;
        c->failed += strcmp(state, "failed") == 0;
    }
}

static void on_unready_end(struct request *q, const struct error *err)
{
    if (err->code == STATUS_OK || err->code == STATUS_UNAVAILABLE) {
        tell_counts(q); /* while ingest is down nothing is worked on */
    } else {
        api_fail(q, err);
    }
}

static void on_counted(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    const Vs__FacetsReply *reply = vs_facets_reply(m);
    struct counting *c = q->op;
    if (reply == NULL) {
        api_fail(q, err);
        return;
    }
    c->ready = reply->documents;
    if ((q->who->scopes & SCOPE_INGEST) == 0) {
        tell_counts(q);
        return;
    }
    Ig__ListRequest ask = IG__LIST_REQUEST__INIT;
    struct api_call how = {.on_reply = on_unready, .on_finish = on_unready_end};
    ask.has_unready = ask.unready = true;
    (void)api_start(q, PEER_INGEST, &ig_list_method, 0, &ask.base, &how);
}

void api_progress(struct request *q)
{
    if (!q->who->admin) {
        Vs__FacetsRequest count = VS__FACETS_REQUEST__INIT;
        struct counting *c = arena_alloc(q->arena, sizeof *c);
        if (c == NULL) {
            api_out_of_memory(q);
            return;
        }
        *c = (struct counting){.ready = 0};
        q->op = c;
        api_unary(q, PEER_VECTORSTORE, &vs_facets_method, 0, &count.base, on_counted);
        return;
    }
    Ig__ProgressRequest ask = IG__PROGRESS_REQUEST__INIT;
    api_unary(q, PEER_INGEST, &ig_progress_method, 0, &ask.base, on_progress);
}

/* ---- pause ---- */

static void on_paused(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    const Ig__PauseReply *reply = ig_pause_reply(m);
    struct jsonw w;
    if (api_object(q, reply, err, &w)) {
        jsonw_field_bool(&w, "paused", reply->paused);
        api_object_end(q, 200, &w);
    }
}

static void on_body(struct request *q, const struct json *body)
{
    Ig__PauseRequest ask = IG__PAUSE_REQUEST__INIT;
    struct error err;
    bool paused = false;
    enum status s = jsonr_bool(body, "paused", false, &paused, &err);
    if (s == STATUS_OK && jsonr_get(body, "paused") == NULL) {
        s = error_set(&err, STATUS_INVALID, "paused must be true or false");
    }
    if (s != STATUS_OK) {
        api_fail(q, &err);
        return;
    }
    ask.has_paused = 1;
    ask.paused = paused;
    api_unary(q, PEER_INGEST, &ig_pause_method, 0, &ask.base, on_paused);
}

void api_progress_pause(struct request *q)
{
    api_read_json(q, on_body);
}
