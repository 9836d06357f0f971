/* GET /v1/models, /v1/models/{id}: what can be asked for. carrel-embed is an alias that changes
 * with every published fit; each fit is listed by its own name as well. */
#include "embed/embed_rpc.h"
#include "generate/generate_rpc.h"
#include "serve/api.h"
#include "serve/chat_request.h"
#include "serve/http/jsonw.h"
#include "serve/http/url.h"
#include "serve/models.h"
#include "serve/request.h"
#include "serve/service.h"
#include "vectorstore/vectorstore_rpc.h"

#define MODELS_MAX 64
#define CREATED 1767225600 /* 2026-01-01: the field is required and says nothing here */

struct models {
    const char *names[MODELS_MAX];
    size_t n;
    const char *published;            /* what carrel-embed stands for; NULL: not known now */
    const Ge__DescribeReply *writers; /* NULL: not known now */
    struct str wanted;                /* ptr NULL: all */
};

static void add(struct models *m, const char *name)
{
    if (name == NULL || name[0] == '\0') {
        return;
    }
    for (size_t i = 0; i < m->n; i++) {
        if (strcmp(m->names[i], name) == 0) {
            return;
        }
    }
    if (m->n < MODELS_MAX) {
        m->names[m->n++] = name;
    }
}

/* Who writes the answers, and what could. */
static void write_engines(struct jsonw *w, const Ge__DescribeReply *d, bool told)
{
    jsonw_field_z(w, "answers", d->default_engine);
    jsonw_key(w, "engines");
    jsonw_open(w, '[');
    for (size_t i = 0; i < d->n_engines; i++) {
        jsonw_open(w, '{');
        jsonw_field_z(w, "name", d->engines[i]->name);
        jsonw_field_z(w, "model", d->engines[i]->model);
        jsonw_field_bool(w, "ready", d->engines[i]->ready);
        if (told && d->engines[i]->detail != NULL) {
            jsonw_field_z(w, "detail", d->engines[i]->detail);
        }
        jsonw_close(w, '}');
    }
    jsonw_close(w, ']');
}

static void write_model(struct jsonw *w, const struct models *m, const char *name, bool told)
{
    jsonw_open(w, '{');
    jsonw_field_z(w, "id", name);
    jsonw_field_z(w, "object", "model");
    jsonw_field_int(w, "created", CREATED);
    jsonw_field_z(w, "owned_by", "carrel");
    if (strcmp(name, MODEL_EMBED) == 0 && m->published != NULL) {
        jsonw_field_z(w, "alias_of", m->published[0] == '\0' ? MODEL_HASHED : m->published);
    }
    if (strcmp(name, MODEL_CHAT) == 0 && m->writers != NULL) {
        write_engines(w, m->writers, told);
    }
    jsonw_close(w, '}');
}

static void answer(struct request *q)
{
    const struct models *m = q->op;
    bool told = api_runs_appliance(q);
    struct jsonw w;
    jsonw_init(&w, &q->out);
    if (m->wanted.ptr != NULL) {
        const char *found = NULL;
        struct str collection;
        for (size_t i = 0; i < m->n; i++) {
            if (str_eq(m->wanted, str_from(m->names[i]))) {
                found = m->names[i];
            }
        }
        if (found == NULL && chat_model(m->wanted, &collection)) {
            found = arena_strndup(q->arena, m->wanted.ptr, m->wanted.len);
        }
        if (found == NULL) {
            api_error(q, 404, "model", "model_not_found", "The model does not exist here.");
            return;
        }
        write_model(&w, m, found, told);
    } else {
        jsonw_open(&w, '{');
        jsonw_field_z(&w, "object", "list");
        jsonw_key(&w, "data");
        jsonw_open(&w, '[');
        for (size_t i = 0; i < m->n; i++) {
            write_model(&w, m, m->names[i], told);
        }
        jsonw_close(&w, ']');
        jsonw_close(&w, '}');
    }
    api_json(q, 200, &q->out);
}

static void on_engines(struct request *q, const ProtobufCMessage *message, const struct error *err)
{
    (void)err;
    struct models *m = q->op;
    m->writers = ge_describe_reply(message);
    answer(q);
}

/* Any service may be down: what is known is listed all the same. */
static void on_encoders(struct request *q, const ProtobufCMessage *message, const struct error *err)
{
    (void)err;
    struct models *m = q->op;
    const Em__ListEncodersReply *reply = em_list_encoders_reply(message);
    for (size_t i = 0; reply != NULL && i < reply->n_encoders; i++) {
        add(m, reply->encoders[i]->name);
    }
    Ge__DescribeRequest ask = GE__DESCRIBE_REQUEST__INIT;
    api_unary(q, PEER_GENERATE, &ge_describe_method, 0, &ask.base, on_engines);
}

/* What the store has is there to be asked for whether embed holds it in memory or not. */
static void on_stored(struct request *q, const ProtobufCMessage *message, const struct error *err)
{
    (void)err;
    struct models *m = q->op;
    const Vs__ListEncodersReply *reply = vs_list_encoders_reply(message);
    m->published = reply == NULL ? NULL : "";
    for (size_t i = 0; reply != NULL && i < reply->n_encoders; i++) {
        const Vs__ListEncodersReply__Item *e = reply->encoders[i];
        bool published = strcmp(e->state, "published") == 0;
        if (published || strcmp(e->state, "kept") == 0) {
            add(m, arena_strdup(q->arena, e->name));
        }
        if (published) {
            m->published = arena_strdup(q->arena, e->name);
        }
    }
    Em__ListEncodersRequest ask = EM__LIST_ENCODERS_REQUEST__INIT;
    api_unary(q, PEER_EMBED, &em_list_encoders_method, 0, &ask.base, on_encoders);
}

static void begin(struct request *q, struct str wanted)
{
    struct models *m = arena_alloc(q->arena, sizeof *m);
    if (m == NULL) {
        api_out_of_memory(q);
        return;
    }
    m->wanted = wanted;
    q->op = m;
    add(m, MODEL_CHAT);
    add(m, q->serve->settings->generate.model); /* for a conversation without documents */
    add(m, MODEL_EMBED);
    add(m, MODEL_HASHED);
    Vs__ListEncodersRequest ask = VS__LIST_ENCODERS_REQUEST__INIT;
    api_unary(q, PEER_VECTORSTORE, &vs_list_encoders_method, 0, &ask.base, on_stored);
}

void api_models(struct request *q)
{
    begin(q, (struct str){0});
}

void api_model(struct request *q)
{
    struct str wanted;
    if (url_decode(q->match.params[0], false, q->arena, &wanted, NULL) != STATUS_OK) {
        api_error(q, 404, "model", "model_not_found", "The model does not exist here.");
        return;
    }
    begin(q, wanted);
}
