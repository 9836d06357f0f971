/* /api/holds: administrators put documents, folders or collections under a legal hold. */
#include "ingest/ingest_rpc.h"
#include "serve/api.h"
#include "serve/http/jsonw.h"
#include "serve/passage.h"
#include "serve/request.h"
#include "serve/search_request.h"

static void hold_json(struct jsonw *w, const Ig__Hold *h)
{
    jsonw_open(w, '{');
    jsonw_field_z(w, "id", h->id);
    jsonw_key(w, h->kind);
    jsonw_path(w, str_of_bytes(h->target));
    jsonw_field_z(w, "reason", h->reason);
    jsonw_field_z(w, "by", h->by);
    jsonw_field_int(w, "created", h->created_wall_ms / 1000);
    jsonw_close(w, '}');
}

static void on_added(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    const Ig__AddHoldReply *reply = ig_add_hold_reply(m);
    struct jsonw w;
    if (reply == NULL) {
        api_fail(q, err);
        return;
    }
    jsonw_init(&w, &q->out);
    hold_json(&w, reply->hold);
    api_json(q, 201, &q->out);
}

static void on_body(struct request *q, const struct json *body)
{
    static const char *const kinds[] = {"document", "path", "collection"};
    Ig__AddHoldRequest ask = IG__ADD_HOLD_REQUEST__INIT;
    struct error err;
    struct str reason;
    size_t n = 0;
    enum status s = jsonr_string(body, "reason", &reason, &err);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0] && s == STATUS_OK; i++) {
        struct str target;
        s = jsonr_string(body, kinds[i], &target, &err);
        if (s == STATUS_OK && target.ptr != NULL) {
            ask.kind = pb_text(kinds[i]);
            ask.target = pb_bytes(target);
            n++;
        }
    }
    if (s == STATUS_OK && (n != 1 || reason.ptr == NULL)) {
        s = error_set(&err, STATUS_INVALID,
                      "a hold needs one of document, path and collection, and a reason");
    }
    if (s != STATUS_OK) {
        api_fail(q, &err);
        return;
    }
    ask.reason = pb_text(reason.ptr);
    api_unary(q, PEER_INGEST, &ig_add_hold_method, 0, &ask.base, on_added);
}

void api_hold_add(struct request *q)
{
    api_read_json(q, on_body);
}

static void on_listed(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    const Ig__ListHoldsReply *reply = ig_list_holds_reply(m);
    struct jsonw w;
    if (api_object(q, reply, err, &w)) {
        jsonw_key(&w, "holds");
        jsonw_open(&w, '[');
        for (size_t i = 0; i < reply->n_holds; i++) {
            hold_json(&w, reply->holds[i]);
        }
        jsonw_close(&w, ']');
        api_object_end(q, 200, &w);
    }
}

void api_holds_list(struct request *q)
{
    Ig__ListHoldsRequest ask = IG__LIST_HOLDS_REQUEST__INIT;
    api_unary(q, PEER_INGEST, &ig_list_holds_method, 0, &ask.base, on_listed);
}

static void on_removed(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    struct jsonw w;
    if (ig_remove_hold_reply(m) == NULL) {
        api_fail(q, err);
        return;
    }
    jsonw_init(&w, &q->out);
    jsonw_open(&w, '{');
    jsonw_field_bool(&w, "removed", true);
    api_object_end(q, 200, &w);
}

void api_hold_remove(struct request *q)
{
    Ig__RemoveHoldRequest ask = IG__REMOVE_HOLD_REQUEST__INIT;
    const char *id = api_id(q, 0);
    if (id != NULL) {
        ask.hold = pb_text(id);
        api_unary(q, PEER_INGEST, &ig_remove_hold_method, 0, &ask.base, on_removed);
    }
}
