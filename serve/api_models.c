/* GET /v1/models, /v1/models/{id}, and Ollama's GET /api/tags, /api/ps, POST /api/show: what can be
 * asked for. carrel-embed is an alias that changes
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
    enum { AS_OPENAI, AS_TAGS, AS_SHOW } as;
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

/* As Ollama tells of a model. What it tells of files is not for clients to know here. */
static void details(struct jsonw *w, const char *name)
{
    bool embeds = model_is_encoder(str_from(name));
    jsonw_key(w, "details");
    jsonw_open(w, '{');
    jsonw_field_z(w, "parent_model", "");
    jsonw_field_z(w, "format", "gguf");
    jsonw_field_z(w, "family", embeds ? "carrel-embed" : "carrel");
    jsonw_key(w, "families");
    jsonw_open(w, '[');
    jsonw_str(w, str_from(embeds ? "carrel-embed" : "carrel"));
    jsonw_close(w, ']');
    jsonw_field_z(w, "parameter_size", "");
    jsonw_field_z(w, "quantization_level", "");
    jsonw_close(w, '}');
}

static void write_tag(struct jsonw *w, const char *name)
{
    jsonw_open(w, '{');
    jsonw_field_z(w, "name", name);
    jsonw_field_z(w, "model", name);
    jsonw_field_z(w, "modified_at", "2026-01-01T00:00:00Z");
    jsonw_field_int(w, "size", 0);
    jsonw_field_z(w, "digest", "");
    details(w, name);
    jsonw_close(w, '}');
}

static void write_show(struct jsonw *w, const struct models *m, const char *name)
{
    bool embeds = model_is_encoder(str_from(name));
    jsonw_open(w, '{');
    jsonw_field_z(w, "modelfile", "");
    jsonw_field_z(w, "parameters", "");
    jsonw_field_z(w, "template", "");
    details(w, name);
    jsonw_key(w, "model_info");
    jsonw_open(w, '{');
    jsonw_field_z(w, "general.architecture", embeds ? "carrel-embed" : "carrel");
    jsonw_close(w, '}');
    jsonw_key(w, "capabilities");
    jsonw_open(w, '[');
    jsonw_str(w, embeds ? STR("embedding") : STR("completion"));
    if (!embeds && m->writers != NULL && strcmp(m->writers->default_engine, "extractive") != 0) {
        jsonw_str(w, STR("tools"));
    }
    jsonw_close(w, ']');
    jsonw_field_z(w, "modified_at", "2026-01-01T00:00:00Z");
    jsonw_close(w, '}');
}

static const char *find(struct request *q, const struct models *m)
{
    struct str collection;
    for (size_t i = 0; i < m->n; i++) {
        if (str_eq(m->wanted, str_from(m->names[i]))) {
            return m->names[i];
        }
    }
    return chat_model(m->wanted, &collection)
               ? arena_strndup(q->arena, m->wanted.ptr, m->wanted.len)
               : NULL;
}

static void answer(struct request *q)
{
    const struct models *m = q->op;
    bool told = api_runs_appliance(q);
    struct jsonw w;
    jsonw_init(&w, &q->out);
    if (m->wanted.ptr != NULL) {
        const char *found = find(q, m);
        if (found == NULL) {
            api_error(q, 404, "model", "model_not_found", "The model does not exist here.");
            return;
        }
        if (m->as == AS_SHOW) {
            write_show(&w, m, found);
        } else {
            write_model(&w, m, found, told);
        }
    } else {
        jsonw_open(&w, '{');
        if (m->as == AS_OPENAI) {
            jsonw_field_z(&w, "object", "list");
        }
        jsonw_key(&w, m->as == AS_TAGS ? "models" : "data");
        jsonw_open(&w, '[');
        for (size_t i = 0; i < m->n; i++) {
            if (m->as == AS_TAGS) {
                write_tag(&w, m->names[i]);
            } else {
                write_model(&w, m, m->names[i], told);
            }
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

static void begin(struct request *q, struct str wanted, int as)
{
    struct models *m = arena_alloc(q->arena, sizeof *m);
    if (m == NULL) {
        api_out_of_memory(q);
        return;
    }
    m->wanted = wanted;
    m->as = as;
    q->op = m;
    add(m, MODEL_CHAT);
    add(m, q->serve->settings->generate.model); /* for a conversation without documents */
    add(m, MODEL_EMBED);
    add(m, MODEL_HASHED);
    add(m, MODEL_RERANK);
    Vs__ListEncodersRequest ask = VS__LIST_ENCODERS_REQUEST__INIT;
    api_unary(q, PEER_VECTORSTORE, &vs_list_encoders_method, 0, &ask.base, on_stored);
}

void api_models(struct request *q)
{
    begin(q, (struct str){0}, AS_OPENAI);
}

void api_model(struct request *q)
{
    struct str wanted;
    if (url_decode(q->match.params[0], false, q->arena, &wanted, NULL) != STATUS_OK) {
        api_error(q, 404, "model", "model_not_found", "The model does not exist here.");
        return;
    }
    begin(q, wanted, AS_OPENAI);
}

void api_ollama_tags(struct request *q)
{
    begin(q, (struct str){0}, AS_TAGS);
}

/* Which models are in memory is the appliance's to know. */
void api_ollama_ps(struct request *q)
{
    struct jsonw w;
    api_object_begin(q, &w);
    jsonw_key(&w, "models");
    jsonw_open(&w, '[');
    jsonw_close(&w, ']');
    api_object_end(q, 200, &w);
}

static void on_show(struct request *q, const struct json *body)
{
    struct str name = jsonr_str(jsonr_get(body, "model"));
    name = name.ptr == NULL ? jsonr_str(jsonr_get(body, "name")) : name;
    if (name.ptr == NULL) {
        api_error(q, 400, "model", "invalid", "model is missing");
        return;
    }
    if (str_ends(name, STR(":latest"))) {
        name.len -= strlen(":latest");
    }
    begin(q, name, AS_SHOW);
}

void api_ollama_show(struct request *q)
{
    api_read_json(q, on_show);
}

void api_ollama_version(struct request *q)
{
    struct jsonw w;
    api_object_begin(q, &w);
    jsonw_field_z(&w, "version", CARREL_VERSION);
    api_object_end(q, 200, &w);
}
