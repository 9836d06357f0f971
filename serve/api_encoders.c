/* /api/encoders: administrators see which fits are stored, and choose the one that is searched
 * with. */
#include "serve/api.h"
#include "serve/http/jsonw.h"
#include "serve/request.h"
#include "serve/search_request.h"
#include "vectorstore/vectorstore_rpc.h"

static void on_listed(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    const Vs__ListEncodersReply *reply = vs_list_encoders_reply(m);
    struct jsonw w;
    if (reply == NULL) {
        api_fail(q, err);
        return;
    }
    jsonw_init(&w, &q->out);
    jsonw_open(&w, '{');
    jsonw_key(&w, "encoders");
    jsonw_open(&w, '[');
    for (size_t i = 0; i < reply->n_encoders; i++) {
        const Vs__ListEncodersReply__Item *e = reply->encoders[i];
        jsonw_open(&w, '{');
        jsonw_field_z(&w, "name", e->name);
        jsonw_field_z(&w, "state", e->state);
        jsonw_field_int(&w, "dimensions", e->dimensions);
        jsonw_field_int(&w, "fitted_on", e->fitted_on);
        jsonw_field_int(&w, "vectors", e->vectors);
        jsonw_close(&w, '}');
    }
    jsonw_close(&w, ']');
    jsonw_close(&w, '}');
    api_json(q, 200, &q->out);
}

void api_encoders_list(struct request *q)
{
    Vs__ListEncodersRequest ask = VS__LIST_ENCODERS_REQUEST__INIT;
    api_unary(q, PEER_VECTORSTORE, &vs_list_encoders_method, 0, &ask.base, on_listed);
}

static void on_promoted(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    const Vs__PromoteReply *reply = vs_promote_reply(m);
    struct jsonw w;
    if (reply == NULL) {
        api_fail(q, err);
        return;
    }
    jsonw_init(&w, &q->out);
    jsonw_open(&w, '{');
    jsonw_field_z(&w, "encoder", reply->encoder);
    jsonw_field_bool(&w, "published", reply->now);
    jsonw_field_int(&w, "missing", reply->missing);
    jsonw_close(&w, '}');
    api_json(q, reply->now ? 200 : 202, &q->out);
}

static void on_body(struct request *q, const struct json *body)
{
    Vs__PromoteRequest ask = VS__PROMOTE_REQUEST__INIT;
    struct error err;
    struct str name;
    if (jsonr_string(body, "encoder", &name, &err) != STATUS_OK) {
        api_fail(q, &err);
        return;
    }
    ask.encoder = pb_text(name.ptr);
    api_unary(q, PEER_VECTORSTORE, &vs_promote_method, 0, &ask.base, on_promoted);
}

void api_encoder_promote(struct request *q)
{
    api_read_json(q, on_body);
}
