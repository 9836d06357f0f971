/* /api/sources: where the tenant's documents are fetched from, and looking at one now. */
#include "ingest/ingest_rpc.h"
#include "serve/api.h"
#include "serve/http/jsonw.h"
#include "serve/json.h"
#include "serve/request.h"
#include "serve/search_request.h"

static void source_json(struct jsonw *w, const Ig__SourceState *s)
{
    jsonw_open(w, '{');
    jsonw_field_z(w, "name", s->name);
    jsonw_field_z(w, "kind", s->kind);
    jsonw_field_z(w, "url", s->url);
    jsonw_field_z(w, "folder", s->folder);
    jsonw_field_z(w, "state", s->state);
    jsonw_field_int(w, "files", (int64_t)s->files);
    jsonw_field_int(w, "failed", (int64_t)s->failed);
    jsonw_field_int(w, "gone", (int64_t)s->gone);
    jsonw_field_int(w, "bytes", (int64_t)s->bytes);
    jsonw_field_int(w, "passed_over", (int64_t)s->passed_over);
    if (s->has_listed) {
        jsonw_field_int(w, "listed", (int64_t)s->listed);
        jsonw_field_int(w, "fetched", (int64_t)s->fetched);
    }
    jsonw_field_int(w, "polls", (int64_t)s->polls);
    jsonw_field_int(w, "ended", s->ended_wall_ms / 1000);
    jsonw_field_int(w, "ok", s->ok_wall_ms / 1000);
    jsonw_field_int(w, "due", s->due_wall_ms / 1000);
    jsonw_field_z(w, "error", s->error);
    jsonw_field_z(w, "file_error", s->file_error);
    jsonw_close(w, '}');
}

static void on_listed(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    const Ig__ListSourcesReply *reply = ig_list_sources_reply(m);
    struct jsonw w;
    if (api_object(q, reply, err, &w)) {
        jsonw_key(&w, "sources");
        jsonw_open(&w, '[');
        for (size_t i = 0; i < reply->n_sources; i++) {
            source_json(&w, reply->sources[i]);
        }
        jsonw_close(&w, ']');
        api_object_end(q, 200, &w);
    }
}

void api_sources_list(struct request *q)
{
    Ig__ListSourcesRequest ask = IG__LIST_SOURCES_REQUEST__INIT;
    api_unary(q, PEER_INGEST, &ig_list_sources_method, 0, &ask.base, on_listed);
}

static void on_asked(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    const Ig__PollSourceReply *reply = ig_poll_source_reply(m);
    struct jsonw w;
    if (api_object(q, reply, err, &w)) {
        jsonw_field_int(&w, "polls", (int64_t)reply->polls);
        api_object_end(q, 202, &w);
    }
}

static void on_body(struct request *q, const struct json *body)
{
    Ig__PollSourceRequest ask = IG__POLL_SOURCE_REQUEST__INIT;
    struct error err;
    struct str name;
    enum status s = jsonr_string(body, "poll", &name, &err);
    if (s == STATUS_OK && name.ptr == NULL) {
        s = error_set(&err, STATUS_INVALID, "poll must name a source");
    }
    if (s != STATUS_OK) {
        api_fail(q, &err);
        return;
    }
    ask.name = pb_text(name.ptr);
    api_unary(q, PEER_INGEST, &ig_poll_source_method, 0, &ask.base, on_asked);
}

void api_sources_poll(struct request *q)
{
    api_read_json(q, on_body);
}
