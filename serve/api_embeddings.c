/* POST /v1/embeddings, and Ollama's POST /api/embed: texts to vectors, in calls of at most 256
 * texts to embed. */
#include <math.h>
#include <stdio.h>

#include "base/clock.h"
#include "embed/embed_rpc.h"
#include "serve/api.h"
#include "serve/http/jsonw.h"
#include "serve/models.h"
#include "serve/request.h"
#include "serve/search_request.h"
#include "serve/service.h"
#include "vectorstore/vectorstore_rpc.h"

#define INPUTS_MAX 2048
#define INPUT_BYTES_MAX ((size_t)256 * 1024)
#define CALL_TEXTS_MAX 256
#define CALL_BYTES_MAX ((size_t)2 * 1024 * 1024)

struct embeddings {
    ProtobufCBinaryData *texts;
    size_t n, done;
    const char *encoder; /* of embed; NULL until known */
    char answered[80];
    size_t dimensions, wanted; /* wanted 0: all */
    float *vectors;
    uint64_t tokens, cut;
    bool base64, truncate;
    bool ollama;
    int64_t started_ms;
};

static void base64(struct buf *out, const uint8_t *p, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < len; i += 3) {
        size_t n = len - i < 3 ? len - i : 3;
        unsigned v =
            (unsigned)p[i] << 16 | (n > 1 ? (unsigned)p[i + 1] << 8 : 0) | (n > 2 ? p[i + 2] : 0);
        char four[4] = {digits[v >> 18], digits[v >> 12 & 63], n > 1 ? digits[v >> 6 & 63] : '=',
                        n > 2 ? digits[v & 63] : '='};
        buf_append(out, four, 4);
    }
}

/* The first `wanted` numbers, of length 1 again. */
static size_t shorten(float *v, size_t n, size_t wanted)
{
    if (wanted == 0 || wanted >= n) {
        return n;
    }
    double sum = 0;
    for (size_t i = 0; i < wanted; i++) {
        sum += (double)v[i] * (double)v[i];
    }
    for (size_t i = 0; sum > 0 && i < wanted; i++) {
        v[i] = (float)((double)v[i] / sqrt(sum));
    }
    return wanted;
}

static void vector(struct jsonw *w, const float *v, size_t n)
{
    jsonw_open(w, '[');
    for (size_t k = 0; k < n; k++) {
        jsonw_double(w, (double)v[k]);
    }
    jsonw_close(w, ']');
}

static void answer_ollama(struct request *q)
{
    struct embeddings *e = q->op;
    struct jsonw w;
    api_object_begin(q, &w);
    jsonw_field_z(&w, "model", e->answered);
    jsonw_key(&w, "embeddings");
    jsonw_open(&w, '[');
    for (size_t i = 0; i < e->n; i++) {
        float *v = e->vectors + i * e->dimensions;
        vector(&w, v, shorten(v, e->dimensions, e->wanted));
    }
    jsonw_close(&w, ']');
    jsonw_field_int(&w, "total_duration", (clock_monotonic_ms() - e->started_ms) * 1000000);
    jsonw_field_int(&w, "load_duration", 0);
    jsonw_field_int(&w, "prompt_eval_count", (int64_t)e->tokens);
    api_object_end(q, 200, &w);
}

static void answer(struct request *q)
{
    struct embeddings *e = q->op;
    struct jsonw w;
    if (e->ollama) {
        answer_ollama(q);
        return;
    }
    jsonw_init(&w, &q->out);
    jsonw_open(&w, '{');
    jsonw_field_z(&w, "object", "list");
    jsonw_key(&w, "data");
    jsonw_open(&w, '[');
    for (size_t i = 0; i < e->n; i++) {
        float *v = e->vectors + i * e->dimensions;
        size_t n = shorten(v, e->dimensions, e->wanted);
        jsonw_open(&w, '{');
        jsonw_field_z(&w, "object", "embedding");
        jsonw_field_int(&w, "index", (int64_t)i);
        jsonw_key(&w, "embedding");
        if (e->base64) { /* little-endian float32, as this machine has them */
            buf_char(w.out, '"');
            base64(w.out, (const uint8_t *)v, n * sizeof *v);
            buf_char(w.out, '"');
            w.comma = true;
        } else {
            vector(&w, v, n);
        }
        jsonw_close(&w, '}');
    }
    jsonw_close(&w, ']');
    jsonw_field_z(&w, "model", e->answered);
    jsonw_key(&w, "usage");
    jsonw_open(&w, '{');
    jsonw_field_int(&w, "prompt_tokens", (int64_t)e->tokens);
    jsonw_field_int(&w, "total_tokens", (int64_t)e->tokens);
    jsonw_close(&w, '}');
    if (e->cut > 0) {
        jsonw_key(&w, "carrel");
        jsonw_open(&w, '{');
        jsonw_field_int(&w, "truncated", (int64_t)e->cut);
        jsonw_close(&w, '}');
    }
    api_object_end(q, 200, &w);
}

static void encode_next(struct request *q);

static void on_encoded(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    struct embeddings *e = q->op;
    const Em__EncodeReply *reply = em_encode_reply(m);
    if (reply == NULL) {
        if (err->code == STATUS_NOT_FOUND) {
            api_error(q, 404, "model", "model_not_found", "This encoder is not known any more.");
        } else if (err->code == STATUS_TOO_LARGE) { /* as OpenAI calls it */
            api_error(q, 400, "input", "context_length_exceeded", err->text);
        } else {
            api_fail(q, err);
        }
        return;
    }
    if (e->vectors == NULL && reply->dimensions > 0) {
        e->dimensions = reply->dimensions;
        e->vectors = arena_array(q->arena, e->n * e->dimensions, sizeof *e->vectors);
        (void)snprintf(e->answered, sizeof e->answered, "%s",
                       reply->encoder[0] == '\0' ? MODEL_HASHED : reply->encoder);
    }
    size_t count = reply->dimensions == 0 ? 0 : reply->n_vectors / reply->dimensions;
    if (e->vectors == NULL || reply->dimensions != e->dimensions || count == 0 ||
        count > e->n - e->done) {
        api_error(q, 503, NULL, "server_error", "The encoder changed in between: send it again.");
        return;
    }
    memcpy(e->vectors + e->done * e->dimensions, reply->vectors, reply->n_vectors * sizeof(float));
    e->done += count;
    e->tokens += reply->tokens;
    e->cut += reply->has_cut ? reply->cut : 0;
    fair_add_embedded(q, e->answered, reply->tokens);
    if (e->done == e->n) {
        answer(q);
    } else {
        encode_next(q);
    }
}

static void encode_next(struct request *q)
{
    struct embeddings *e = q->op;
    Em__EncodeRequest ask = EM__ENCODE_REQUEST__INIT;
    size_t bytes = 0;
    ask.encoder = pb_text(e->encoder);
    ask.kind = EM__ENCODE_REQUEST__KIND__PASSAGE;
    ask.texts = e->texts + e->done;
    ask.has_whole = ask.has_first = true;
    ask.whole = !e->truncate;
    ask.first = (uint32_t)e->done;
    while (e->done + ask.n_texts < e->n && ask.n_texts < CALL_TEXTS_MAX &&
           (ask.n_texts == 0 || bytes + ask.texts[ask.n_texts].len <= CALL_BYTES_MAX)) {
        bytes += ask.texts[ask.n_texts++].len;
    }
    api_unary(q, PEER_EMBED, &em_encode_method, 0, &ask.base, on_encoded);
}

static void on_status(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    struct embeddings *e = q->op;
    const Vs__StatusReply *reply = vs_status_reply(m);
    if (reply == NULL) {
        api_fail(q, err);
        return;
    }
    e->encoder = reply->encoder;
    encode_next(q);
}

static enum status read_inputs(const struct json *input, struct embeddings *e, struct arena *a,
                               struct error *err)
{
    bool list = jsonr_kind(input) == JSON_KIND_ARRAY;
    size_t n = list ? jsonr_len(input) : 1;
    if (n == 0 || n > INPUTS_MAX) {
        return error_set(err, STATUS_INVALID,
                         "input must be a string or an array of 1 to %d strings", INPUTS_MAX);
    }
    e->texts = arena_array(a, n, sizeof *e->texts);
    if (e->texts == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < n; i++) {
        const struct json *v = list ? jsonr_at(input, i) : input;
        struct str s = jsonr_str(v);
        enum json_kind k = jsonr_kind(v);
        if (s.ptr == NULL) {
            return error_set(err, STATUS_INVALID,
                             k == JSON_KIND_INT || k == JSON_KIND_ARRAY
                                 ? "input must be text: token ids mean nothing to this encoder"
                                 : "input must be a string or an array of strings");
        }
        if (s.len > INPUT_BYTES_MAX) {
            return error_set(err, STATUS_INVALID, "input[%zu] is longer than %zu bytes", i,
                             INPUT_BYTES_MAX);
        }
        e->texts[i] = pb_bytes(s);
    }
    e->n = n;
    return STATUS_OK;
}

static enum status read_request(const struct json *body, struct embeddings *e, struct arena *a,
                                const char **param, struct str *model, struct error *err)
{
    struct str format;
    int64_t wanted;
    *param = "model";
    enum status s = jsonr_string(body, "model", model, err);
    if (s == STATUS_OK && e->ollama && str_ends(*model, STR(":latest"))) {
        model->ptr = arena_strndup(a, model->ptr, model->len - strlen(":latest"));
        *model = str_from(model->ptr == NULL ? "" : model->ptr);
    }
    if (s == STATUS_OK && model->ptr == NULL) {
        s = error_set(err, STATUS_INVALID, "model is missing: use \"" MODEL_EMBED "\"");
    }
    if (s == STATUS_OK && !model_is_encoder(*model)) {
        s = error_set(err, STATUS_NOT_FOUND,
                      "The model does not exist here: use \"" MODEL_EMBED
                      "\" or one that GET /v1/models lists.");
    }
    if (s == STATUS_OK) {
        *param = "encoding_format";
        s = jsonr_string(body, "encoding_format", &format, err);
    }
    if (s == STATUS_OK && format.ptr != NULL) {
        e->base64 = str_eq(format, STR("base64"));
        if (!e->base64 && !str_eq(format, STR("float"))) {
            s = error_set(err, STATUS_INVALID, "encoding_format must be float or base64");
        }
    }
    if (s == STATUS_OK) {
        *param = "dimensions";
        s = jsonr_int(body, "dimensions", 1, 4096, 0, &wanted, err);
    }
    if (s == STATUS_OK) {
        *param = "truncate";
        s = jsonr_bool(body, "truncate", e->truncate, &e->truncate, err);
    }
    if (s == STATUS_OK) {
        e->wanted = (size_t)wanted;
        *param = "input";
        s = read_inputs(jsonr_get(body, "input"), e, a, err);
    }
    return s;
}

static void embed(struct request *q, const struct json *body, bool ollama)
{
    struct embeddings *e = arena_alloc(q->arena, sizeof *e);
    struct error err;
    const char *param;
    struct str model;
    if (e == NULL) {
        api_out_of_memory(q);
        return;
    }
    e->truncate = ollama || q->serve->settings->encoder.truncate; /* each as its clients know it */
    e->ollama = ollama;
    e->started_ms = clock_monotonic_ms();
    enum status s = read_request(body, e, q->arena, &param, &model, &err);
    if (s != STATUS_OK) {
        api_error(q, status_http(s), param,
                  s == STATUS_NOT_FOUND ? "model_not_found" : status_name(s), err.text);
        return;
    }
    q->op = e;
    if (str_eq(model, STR(MODEL_EMBED))) {
        Vs__StatusRequest ask = VS__STATUS_REQUEST__INIT;
        api_unary(q, PEER_VECTORSTORE, &vs_status_method, 0, &ask.base, on_status);
    } else {
        e->encoder = str_eq(model, STR(MODEL_HASHED)) ? "" : model.ptr;
        encode_next(q);
    }
}

static void on_json(struct request *q, const struct json *body)
{
    embed(q, body, false);
}

static void on_ollama(struct request *q, const struct json *body)
{
    embed(q, body, true);
}

void api_embeddings(struct request *q)
{
    api_read_json(q, on_json);
}

void api_ollama_embed(struct request *q)
{
    api_read_json(q, on_ollama);
}
