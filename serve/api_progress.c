/* /api/progress: how far the documents are, and whether new ones are read. */
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

/* For readers: what they may find. What waits or has failed would tell of documents that they may
 * not. */
static void on_counted(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    const Vs__FacetsReply *reply = vs_facets_reply(m);
    struct jsonw w;
    if (api_object(q, reply, err, &w)) {
        jsonw_field_int(&w, "queued", 0);
        jsonw_field_int(&w, "working", 0);
        jsonw_field_int(&w, "ready", reply->documents);
        jsonw_field_int(&w, "failed", 0);
        api_object_end(q, 200, &w);
    }
}

void api_progress(struct request *q)
{
    if (!q->who->admin) {
        Vs__FacetsRequest count = VS__FACETS_REQUEST__INIT;
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
