/* /api/encoders: administrators see which encoders are stored, have candidates made, and choose the
 * one that is searched with. */
#include "base/log.h"
#include "ingest/ingest_rpc.h"
#include "serve/api.h"
#include "serve/http/jsonw.h"
#include "serve/http/url.h"
#include "serve/request.h"
#include "serve/search_request.h"
#include "serve/service.h"
#include "vectorstore/vectorstore_rpc.h"

static void interval(struct jsonw *w, const char *key, const Vs__Comparison__Interval *i)
{
    if (i != NULL) {
        api_interval(w, key, i->mean, i->low, i->high);
    }
}

static void comparison(struct jsonw *w, const Vs__Comparison *c)
{
    jsonw_key(w, "comparison");
    jsonw_open(w, '{');
    jsonw_field_z(w, "against", c->against);
    jsonw_field_z(w, "verdict", c->verdict);
    jsonw_field_int(w, "at", c->at_wall_ms / 1000);
    if (c->has_questions) {
        jsonw_field_int(w, "questions", c->questions);
    }
    interval(w, "ndcg_10", c->ndcg_10);
    interval(w, "recall_5", c->recall_5);
    interval(w, "recall_20", c->recall_20);
    if (c->why != NULL) {
        jsonw_field_z(w, "why", c->why);
    }
    jsonw_close(w, '}');
}

static void on_build_state(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    const Vs__ListEncodersReply *reply = q->op;
    const Ig__BuildEncoderReply *build = ig_build_encoder_reply(m);
    struct jsonw w;
    (void)err; /* ingest is down: what is stored is told all the same */
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
        jsonw_field_int(&w, "missing", e->has_missing ? e->missing : 0);
        jsonw_field_z(&w, "intent", e->intent == NULL ? "" : e->intent);
        if (e->comparison != NULL) {
            comparison(&w, e->comparison);
        }
        jsonw_close(&w, '}');
    }
    jsonw_close(&w, ']');
    jsonw_field_bool(&w, "gate", q->serve->svc->settings->encoder.gate);
    jsonw_field_bool(&w, "making", build != NULL && build->wanted);
    jsonw_field_z(&w, "doing", build == NULL ? "" : build->doing);
    jsonw_field_z(&w, "last", build == NULL ? "" : build->last);
    api_object_end(q, 200, &w);
}

static void on_listed(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    const Vs__ListEncodersReply *reply = vs_list_encoders_reply(m);
    if (reply == NULL) {
        api_fail(q, err);
        return;
    }
    ProtobufCAllocator allocator;
    size_t len = vs__list_encoders_reply__get_packed_size(reply);
    uint8_t *packed = arena_alloc(q->arena, len + 1);
    arena_protobuf(q->arena, &allocator);
    if (packed != NULL) {
        (void)vs__list_encoders_reply__pack(reply, packed);
        q->op = vs__list_encoders_reply__unpack(&allocator, len, packed);
    }
    if (packed == NULL || q->op == NULL) {
        api_out_of_memory(q);
        return;
    }
    Ig__BuildEncoderRequest ask = IG__BUILD_ENCODER_REQUEST__INIT;
    api_unary(q, PEER_INGEST, &ig_build_encoder_method, 0, &ask.base, on_build_state);
}

void api_encoders_list(struct request *q)
{
    Vs__ListEncodersRequest ask = VS__LIST_ENCODERS_REQUEST__INIT;
    api_unary(q, PEER_VECTORSTORE, &vs_list_encoders_method, 0, &ask.base, on_listed);
}

/* ---- candidates ---- */

static void on_building(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    const Ig__BuildEncoderReply *reply = ig_build_encoder_reply(m);
    struct jsonw w;
    if (!api_object(q, reply, err, &w)) {
        return;
    }
    jsonw_field_bool(&w, "making", reply->wanted);
    jsonw_field_z(&w, "doing", reply->doing);
    jsonw_field_z(&w, "last", reply->last);
    api_object_end(q, 200, &w);
}

static void on_build_body(struct request *q, const struct json *body)
{
    Ig__BuildEncoderRequest ask = IG__BUILD_ENCODER_REQUEST__INIT;
    struct error err;
    struct str name = {0};
    int64_t dimensions = 0;
    enum status s = jsonr_string(body, "encoder", &name, &err);
    if (s == STATUS_OK) {
        s = jsonr_int(body, "dimensions", 8, 1024, 0, &dimensions, &err);
    }
    if (s != STATUS_OK) {
        api_fail(q, &err);
        return;
    }
    ask.has_action = 1;
    ask.action = IG__BUILD_ENCODER_REQUEST__ACTION__START;
    ask.encoder = pb_text(name.ptr);
    ask.has_dimensions = dimensions > 0;
    ask.dimensions = (uint32_t)dimensions;
    api_unary(q, PEER_INGEST, &ig_build_encoder_method, 0, &ask.base, on_building);
}

void api_encoder_build(struct request *q)
{
    api_read_json(q, on_build_body);
}

void api_encoder_cancel(struct request *q)
{
    Ig__BuildEncoderRequest ask = IG__BUILD_ENCODER_REQUEST__INIT;
    ask.has_action = 1;
    ask.action = IG__BUILD_ENCODER_REQUEST__ACTION__CANCEL;
    api_unary(q, PEER_INGEST, &ig_build_encoder_method, 0, &ask.base, on_building);
}

static void on_removed(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    struct jsonw w;
    if (!api_object(q, m, err, &w)) {
        return;
    }
    jsonw_field_bool(&w, "removed", true);
    api_object_end(q, 200, &w);
}

void api_encoder_remove(struct request *q)
{
    Vs__RemoveEncoderRequest ask = VS__REMOVE_ENCODER_REQUEST__INIT;
    struct str name;
    if (url_decode(q->match.params[0], false, q->arena, &name, NULL) != STATUS_OK) {
        api_error(q, 404, NULL, "not_found", "There is no such encoder.");
    } else {
        ask.encoder = pb_text(name.ptr);
        api_unary(q, PEER_VECTORSTORE, &vs_remove_encoder_method, 0, &ask.base, on_removed);
    }
}

/* ---- promotion ---- */

static void on_promoted(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    const Vs__PromoteReply *reply = vs_promote_reply(m);
    struct jsonw w;
    if (!api_object(q, reply, err, &w)) {
        return;
    }
    jsonw_field_z(&w, "encoder", reply->encoder);
    jsonw_field_bool(&w, "published", reply->now);
    jsonw_field_int(&w, "missing", reply->missing);
    jsonw_field_bool(&w, "comparing", reply->has_comparing && reply->comparing);
    api_object_end(q, reply->now ? 200 : 202, &w);
}

static void on_body(struct request *q, const struct json *body)
{
    Vs__PromoteRequest ask = VS__PROMOTE_REQUEST__INIT;
    struct error err;
    struct str name;
    bool force = false;
    if (jsonr_string(body, "encoder", &name, &err) != STATUS_OK ||
        jsonr_bool(body, "force", false, &force, &err) != STATUS_OK) {
        api_fail(q, &err);
        return;
    }
    bool named = name.ptr != NULL && name.len > 0;
    ask.encoder = pb_text(name.ptr);
    ask.has_compare = 1;
    ask.compare = named && !force && q->serve->svc->settings->encoder.gate;
    LOG_INFO("an encoder is to be published", LOG_STR("tenant", q->who->tenant),
             LOG_STR("user", q->who->user), LOG_STR("encoder", named ? name.ptr : "the last one"),
             LOG_STR("compared", ask.compare ? "first"
                                 : force     ? "not: forced"
                                             : "not"),
             LOG_END);
    api_unary(q, PEER_VECTORSTORE, &vs_promote_method, 0, &ask.base, on_promoted);
}

void api_encoder_promote(struct request *q)
{
    api_read_json(q, on_body);
}
