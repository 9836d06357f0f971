/* POST /v1/rerank: how much texts say about a query, best first, as Cohere's and Jina's clients ask
 * for it. An imported reranker reads query and text together; without one the tenant's encoder
 * compares their vectors. The answer's "model" says which it was. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "embed/embed_rpc.h"
#include "serve/api.h"
#include "serve/http/jsonw.h"
#include "serve/models.h"
#include "serve/request.h"
#include "serve/search_request.h"
#include "serve/service.h"
#include "vectorstore/vectorstore_rpc.h"

#define TEXTS_MAX 1000
#define TEXT_BYTES_MAX ((size_t)256 * 1024)
#define CALL_TEXTS_MAX 64
#define CALL_BYTES_MAX ((size_t)2 * 1024 * 1024)

struct rerank {
    struct str query;
    ProtobufCBinaryData *texts;
    size_t n, done, top_n;
    bool return_texts, objects;
    double *scores;
    size_t *order;
    const char *encoder, *model; /* model: that scored */
    float *query_vector;
    size_t dimensions;
    uint64_t tokens;
};

static int by_score(const void *a, const void *b, void *data)
{
    const struct rerank *r = data;
    size_t i = *(const size_t *)a, k = *(const size_t *)b;
    return r->scores[i] > r->scores[k] ? -1 : r->scores[i] < r->scores[k] ? 1 : i < k ? -1 : 1;
}

static void answer(struct request *q)
{
    struct rerank *r = q->op;
    struct jsonw w;
    for (size_t i = 0; i < r->n; i++) {
        r->order[i] = i;
    }
    qsort_r(r->order, r->n, sizeof *r->order, by_score, r);
    api_object_begin(q, &w);
    jsonw_field_z(&w, "object", "list");
    jsonw_field_z(&w, "model", r->model);
    jsonw_key(&w, "results");
    jsonw_open(&w, '[');
    for (size_t i = 0; i < r->n && i < r->top_n; i++) {
        struct str text = {(const char *)r->texts[r->order[i]].data, r->texts[r->order[i]].len};
        jsonw_open(&w, '{');
        jsonw_field_int(&w, "index", (int64_t)r->order[i]);
        jsonw_field_double(&w, "relevance_score", r->scores[r->order[i]]);
        if (r->return_texts) {
            jsonw_key(&w, "document");
            jsonw_open(&w, '{');
            jsonw_field_str(&w, "text", text);
            jsonw_close(&w, '}');
        }
        jsonw_close(&w, '}');
    }
    jsonw_close(&w, ']');
    jsonw_key(&w, "usage");
    jsonw_open(&w, '{');
    jsonw_field_int(&w, "prompt_tokens", (int64_t)r->tokens);
    jsonw_field_int(&w, "total_tokens", (int64_t)r->tokens);
    jsonw_close(&w, '}');
    api_object_end(q, 200, &w);
}

/* How many of the next texts go into one call. */
static size_t next_texts(const struct rerank *r)
{
    size_t n = 0, bytes = 0;
    while (r->done + n < r->n && n < CALL_TEXTS_MAX &&
           (n == 0 || bytes + r->texts[r->done + n].len <= CALL_BYTES_MAX)) {
        bytes += r->texts[r->done + n++].len;
    }
    return n;
}

static void changed(struct request *q)
{
    api_error(q, 503, NULL, "server_error", "The model changed in between: send it again.");
}

/* ---- by an imported reranker ---- */

static void read_next(struct request *q);

static void on_read(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    struct rerank *r = q->op;
    const Em__RerankReply *reply = em_rerank_reply(m);
    if (reply == NULL) {
        api_fail(q, err);
        return;
    }
    if (reply->n_scores == 0 || reply->n_scores > next_texts(r)) {
        changed(q);
        return;
    }
    for (size_t i = 0; i < reply->n_scores; i++) { /* logits */
        r->scores[r->done++] = 1 / (1 + exp(-(double)reply->scores[i]));
    }
    r->tokens += reply->tokens;
    r->model = reply->model;
    fair_add_embedded(q, reply->model, reply->tokens);
    if (r->done == r->n) {
        answer(q);
    } else {
        read_next(q);
    }
}

static void read_next(struct request *q)
{
    struct rerank *r = q->op;
    Em__RerankRequest ask = EM__RERANK_REQUEST__INIT;
    ask.query = pb_bytes(r->query);
    ask.passages = r->texts + r->done;
    ask.n_passages = next_texts(r);
    api_unary(q, PEER_EMBED, &em_rerank_method, 0, &ask.base, on_read);
}

/* ---- by the encoder ---- */

static void encode_next(struct request *q);

static bool taken(struct request *q, const Em__EncodeReply *reply, size_t n,
                  const struct error *err)
{
    struct rerank *r = q->op;
    if (reply == NULL) {
        api_fail(q, err);
        return false;
    }
    if (reply->dimensions == 0 || reply->n_vectors != n * reply->dimensions ||
        (r->query_vector != NULL && reply->dimensions != r->dimensions)) {
        changed(q);
        return false;
    }
    r->tokens += reply->tokens;
    fair_add_embedded(q, reply->encoder[0] == '\0' ? MODEL_HASHED : reply->encoder, reply->tokens);
    return true;
}

static void on_texts(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    struct rerank *r = q->op;
    const Em__EncodeReply *reply = em_encode_reply(m);
    size_t n = next_texts(r);
    if (!taken(q, reply, n, err)) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        double dot = 0;
        for (size_t k = 0; k < r->dimensions; k++) {
            dot += (double)r->query_vector[k] * (double)reply->vectors[i * r->dimensions + k];
        }
        r->scores[r->done++] = dot;
    }
    if (r->done == r->n) {
        answer(q);
    } else {
        encode_next(q);
    }
}

static void encode_next(struct request *q)
{
    struct rerank *r = q->op;
    Em__EncodeRequest ask = EM__ENCODE_REQUEST__INIT;
    ask.encoder = pb_text(r->encoder);
    ask.kind = EM__ENCODE_REQUEST__KIND__PASSAGE;
    ask.texts = r->texts + r->done;
    ask.n_texts = next_texts(r);
    api_unary(q, PEER_EMBED, &em_encode_method, 0, &ask.base, on_texts);
}

static void on_query(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    struct rerank *r = q->op;
    const Em__EncodeReply *reply = em_encode_reply(m);
    if (!taken(q, reply, 1, err)) {
        return;
    }
    r->dimensions = reply->dimensions;
    r->query_vector = arena_array(q->arena, r->dimensions, sizeof *r->query_vector);
    if (r->query_vector == NULL) {
        api_out_of_memory(q);
        return;
    }
    memcpy(r->query_vector, reply->vectors, r->dimensions * sizeof *r->query_vector);
    r->model = reply->encoder[0] == '\0' ? MODEL_HASHED : reply->encoder;
    encode_next(q);
}

static void on_status(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    struct rerank *r = q->op;
    const Vs__StatusReply *reply = vs_status_reply(m);
    ProtobufCBinaryData text = pb_bytes(r->query);
    Em__EncodeRequest ask = EM__ENCODE_REQUEST__INIT;
    if (reply == NULL) {
        api_fail(q, err);
        return;
    }
    r->encoder = reply->encoder;
    ask.encoder = reply->encoder;
    ask.kind = EM__ENCODE_REQUEST__KIND__QUERY;
    ask.texts = &text;
    ask.n_texts = 1;
    api_unary(q, PEER_EMBED, &em_encode_method, 0, &ask.base, on_query);
}

/* ---- the request ---- */

static enum status read_texts(const struct json *list, struct rerank *r, struct arena *a,
                              struct error *err)
{
    size_t n = jsonr_len(list);
    if (jsonr_kind(list) != JSON_KIND_ARRAY || n == 0 || n > TEXTS_MAX) {
        return error_set(err, STATUS_INVALID, "documents must be an array of 1 to %d texts",
                         TEXTS_MAX);
    }
    r->texts = arena_array(a, n, sizeof *r->texts);
    r->scores = arena_array(a, n, sizeof *r->scores);
    r->order = arena_array(a, n, sizeof *r->order);
    if (r->texts == NULL || r->scores == NULL || r->order == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < n; i++) {
        const struct json *v = jsonr_at(list, i);
        struct str text = jsonr_str(jsonr_kind(v) == JSON_KIND_OBJECT ? jsonr_get(v, "text") : v);
        if (text.ptr == NULL || text.len > TEXT_BYTES_MAX) {
            return error_set(err, STATUS_INVALID,
                             "documents[%zu] must be a text of at most %zu bytes", i,
                             TEXT_BYTES_MAX);
        }
        r->texts[i] = pb_bytes(text);
    }
    r->n = n;
    return STATUS_OK;
}

static enum status read_request(struct request *q, const struct json *body, struct rerank *r,
                                const char **param, struct error *err)
{
    const char *reranker = q->serve->settings->reranker.model;
    Rt__SearchRequest check = RT__SEARCH_REQUEST__INIT;
    struct str model = {0};
    int64_t top_n = 0;
    *param = "model";
    enum status s = jsonr_string(body, "model", &model, err);
    if (s == STATUS_OK && model.ptr != NULL && !str_eq(model, STR(MODEL_RERANK)) &&
        (reranker[0] == '\0' || !str_eq(model, str_from(reranker)))) {
        s = error_set(err, STATUS_NOT_FOUND,
                      "The model does not exist here: use \"" MODEL_RERANK "\".");
    }
    if (s == STATUS_OK) {
        *param = "query";
        r->query = jsonr_str(jsonr_get(body, "query"));
        s = search_query(r->query, "query", &check, err);
    }
    if (s == STATUS_OK) {
        *param = "top_n";
        s = jsonr_int(body, "top_n", 1, TEXTS_MAX, TEXTS_MAX, &top_n, err);
        r->top_n = (size_t)top_n;
    }
    if (s == STATUS_OK) {
        *param = "return_documents";
        s = jsonr_bool(body, "return_documents", false, &r->return_texts, err);
    }
    if (s == STATUS_OK) {
        *param = "documents";
        s = read_texts(jsonr_get(body, "documents"), r, q->arena, err);
    }
    return s;
}

static void on_json(struct request *q, const struct json *body)
{
    struct rerank *r = arena_alloc(q->arena, sizeof *r);
    const char *param = NULL;
    struct error err;
    if (r == NULL) {
        api_out_of_memory(q);
        return;
    }
    enum status s = read_request(q, body, r, &param, &err);
    if (s != STATUS_OK) {
        api_error(q, status_http(s), param,
                  s == STATUS_NOT_FOUND ? "model_not_found" : status_name(s), err.text);
        return;
    }
    q->op = r;
    if (q->serve->settings->reranker.model[0] != '\0') {
        read_next(q);
        return;
    }
    Vs__StatusRequest ask = VS__STATUS_REQUEST__INIT;
    api_unary(q, PEER_VECTORSTORE, &vs_status_method, 0, &ask.base, on_status);
}

void api_rerank(struct request *q)
{
    api_read_json(q, on_json);
}
