/* /api/quarantine: what the malware scanner found, and letting something in all the same. */
#include "ingest/ingest_rpc.h"
#include "serve/api.h"
#include "serve/http/jsonw.h"
#include "serve/passage.h"
#include "serve/request.h"
#include "serve/search_request.h"

static void file_json(struct jsonw *w, const Ig__Quarantined *f)
{
    jsonw_open(w, '{');
    jsonw_field_z(w, "id", f->id);
    jsonw_field_z(w, "document", f->document);
    jsonw_key(w, "path");
    jsonw_path(w, str_of_bytes(f->path));
    jsonw_field_z(w, "found", f->name);
    jsonw_field_int(w, "size", (int64_t)f->size);
    jsonw_field_int(w, "at", f->found_wall_ms / 1000);
    jsonw_field_bool(w, "moved", f->moved);
    if (f->has_released_wall_ms) {
        jsonw_field_int(w, "released", f->released_wall_ms / 1000);
        jsonw_field_z(w, "released_by", f->released_by == NULL ? "" : f->released_by);
    }
    jsonw_close(w, '}');
}

static void on_listed(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    const Ig__ListQuarantineReply *reply = ig_list_quarantine_reply(m);
    struct jsonw w;
    if (api_object(q, reply, err, &w)) {
        jsonw_key(&w, "files");
        jsonw_open(&w, '[');
        for (size_t i = 0; i < reply->n_files; i++) {
            file_json(&w, reply->files[i]);
        }
        jsonw_close(&w, ']');
        api_object_end(q, 200, &w);
    }
}

void api_quarantine_list(struct request *q)
{
    Ig__ListQuarantineRequest ask = IG__LIST_QUARANTINE_REQUEST__INIT;
    api_unary(q, PEER_INGEST, &ig_list_quarantine_method, 0, &ask.base, on_listed);
}

static void on_released(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    struct jsonw w;
    if (ig_release_quarantine_reply(m) == NULL) {
        api_fail(q, err);
        return;
    }
    jsonw_init(&w, &q->out);
    jsonw_open(&w, '{');
    jsonw_field_bool(&w, "released", true);
    api_object_end(q, 200, &w);
}

void api_quarantine_release(struct request *q)
{
    Ig__ReleaseQuarantineRequest ask = IG__RELEASE_QUARANTINE_REQUEST__INIT;
    const char *id = api_id(q, 0);
    if (id != NULL) {
        ask.id = pb_text(id);
        api_unary(q, PEER_INGEST, &ig_release_quarantine_method, 0, &ask.base, on_released);
    }
}
