/* Opening: the architecture's row says which tensors to expect; each is found by name and its shape
 * compared with the file's own numbers. */
#include "model/model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/model_internal.h"
#include "model/quant.h"

#define CONTEXT_DEFAULT 2048U

struct architecture {
    const char *name;
    bool encoder;
    bool rope_halves;
};

static const struct architecture architectures[] = {
    {"llama", false, false},
    {"qwen2", false, true},
    {"qwen3", false, true},
    {"bert", true, false},
};

struct opening {
    struct model *m;
    const struct architecture *a;
    struct error *err;
    enum status s;
};

/* ---- numbers ---- */

static bool key_of(const struct opening *o, const char *name, char out[96])
{
    int n = snprintf(out, 96, "%s.%s", o->a->name, name);
    return n > 0 && n < 96;
}

static uint32_t number(struct opening *o, const char *name, uint32_t fallback)
{
    char key[96];
    uint32_t v = fallback;
    bool found = key_of(o, name, key) && gguf_u32(o->m->file, key, &v);
    if (!found && fallback == 0 && o->s == STATUS_OK) {
        o->s = error_set(o->err, STATUS_INVALID, "the file does not say %s", key);
    }
    return found ? v : fallback;
}

static float real(const struct opening *o, const char *name, float fallback)
{
    char key[96];
    float v = fallback;
    (void)(key_of(o, name, key) && gguf_f32(o->m->file, key, &v));
    return v;
}

static void read_shape(struct opening *o)
{
    struct model_info *i = &o->m->info;
    i->encoder = o->a->encoder;
    i->layers = number(o, "block_count", 0);
    i->width = number(o, "embedding_length", 0);
    i->feed_forward = number(o, "feed_forward_length", 0);
    i->heads = number(o, "attention.head_count", 0);
    i->kv_heads = number(o, "attention.head_count_kv", i->heads);
    i->context = number(o, "context_length", CONTEXT_DEFAULT);
    if (o->s == STATUS_OK && (i->layers > MODEL_LAYERS_MAX || i->width > 65536 || i->heads > 1024 ||
                              i->heads == 0 || i->kv_heads == 0 || i->feed_forward > 1048576 ||
                              i->heads % i->kv_heads != 0 || i->context > (1U << 28))) {
        o->s = error_set(o->err, STATUS_INVALID,
                         "the model's shape makes no sense (%u layers of %u)", i->layers, i->width);
    }
    if (o->s != STATUS_OK) {
        return;
    }
    i->head_width = number(o, "attention.key_length", i->width / i->heads);
    i->value_width = number(o, "attention.value_length", i->width / i->heads);
    i->vocabulary = tokenizer_size(o->m->tokenizer);
    i->pooling = (enum model_pooling)number(o, "pooling_type", o->a->encoder ? POOLING_MEAN : 9);
    i->pooling = i->pooling > POOLING_RANK ? POOLING_NONE : i->pooling;
    o->m->epsilon =
        real(o, o->a->encoder ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon",
             1e-5F);
    o->m->rope_base = real(o, "rope.freq_base", 10000.0F);
    o->m->rope_width = number(o, "rope.dimension_count", i->head_width);
    o->m->rope_halves = o->a->rope_halves;
    o->m->rope_scale = 1;
    char key[96];
    struct str kind = STR("");
    if (key_of(o, "rope.scaling.type", key) && gguf_string(o->m->file, key, &kind) &&
        str_eq(kind, STR("linear"))) {
        o->m->rope_scale = real(o, "rope.scaling.factor", 1);
    } else if (kind.len > 0 && !str_eq(kind, STR("none"))) {
        o->s = error_set(o->err, STATUS_UNSUPPORTED, "rope scaling \"%.*s\" is not supported",
                         kind.len > 32 ? 32 : (int)kind.len, kind.ptr);
    }
    if (i->head_width == 0 || i->head_width > 1024 || i->value_width == 0 ||
        i->value_width > 1024 || o->m->rope_width > i->head_width || o->m->rope_width % 2 != 0 ||
        !(o->m->rope_scale > 0)) {
        o->s = error_set(o->err, STATUS_INVALID, "the heads' shape makes no sense (%u wide)",
                         i->head_width);
    }
}

/* ---- tensors ---- */

static const struct gguf_tensor *find(struct opening *o, const char *name, uint64_t columns,
                                      uint64_t rows, bool optional)
{
    if (o->s != STATUS_OK) {
        return NULL;
    }
    const struct gguf_tensor *t = gguf_find_tensor(o->m->file, str_from(name));
    if (t == NULL) {
        if (!optional) {
            o->s = error_set(o->err, STATUS_INVALID, "tensor %s is missing", name);
        }
        return NULL;
    }
    if (t->dimensions[0] != columns || t->dimensions[1] != rows || t->dimensions[2] != 1 ||
        t->dimensions[3] != 1) {
        o->s =
            error_set(o->err, STATUS_INVALID,
                      "tensor %s is %llu x %llu, not %llu x %llu as the model's numbers say", name,
                      (unsigned long long)t->dimensions[0], (unsigned long long)t->dimensions[1],
                      (unsigned long long)columns, (unsigned long long)rows);
        return NULL;
    }
    return t;
}

static struct matrix matrix(struct opening *o, const char *name, uint32_t columns, uint32_t rows,
                            bool optional)
{
    struct matrix w = {.columns = columns, .rows = rows};
    uint64_t bytes = 0;
    const struct gguf_tensor *t = find(o, name, columns, rows, optional);
    if (t != NULL && (t->type == TENSOR_I8 || t->type == TENSOR_I32 ||
                      !tensor_bytes(t->type, columns, &bytes))) {
        o->s = error_set(o->err, STATUS_UNSUPPORTED, "tensor %s: %s weights are not supported",
                         name, tensor_type_info(t->type)->name);
        t = NULL;
    }
    if (t != NULL) {
        w.type = t->type;
        w.data = t->data;
        w.row_bytes = (size_t)bytes;
    }
    return w;
}

/* Norms and biases are stored as F32, or the file is refused. */
static const float *vector(struct opening *o, const char *name, uint32_t n, bool optional)
{
    const struct gguf_tensor *t = find(o, name, n, 1, optional);
    if (t != NULL && t->type != TENSOR_F32) {
        o->s = error_set(o->err, STATUS_UNSUPPORTED, "tensor %s must be F32", name);
        return NULL;
    }
    return t == NULL ? NULL : t->data;
}

static const char *in_layer(uint32_t layer, const char *what, char out[96])
{
    (void)snprintf(out, 96, "blk.%u.%s", layer, what);
    return out;
}

static void open_layer(struct opening *o, uint32_t n)
{
    char b[96];
    struct layer *l = &o->m->layers[n];
    const struct model_info *i = &o->m->info;
    bool e = i->encoder;
    uint32_t keys = i->kv_heads * i->head_width;
    uint32_t values = i->kv_heads * i->value_width;
    uint32_t queries = i->heads * i->head_width;
    l->query = matrix(o, in_layer(n, "attn_q.weight", b), i->width, queries, false);
    l->key = matrix(o, in_layer(n, "attn_k.weight", b), i->width, keys, false);
    l->value = matrix(o, in_layer(n, "attn_v.weight", b), i->width, values, false);
    l->output =
        matrix(o, in_layer(n, "attn_output.weight", b), i->heads * i->value_width, i->width, false);
    l->query_bias = vector(o, in_layer(n, "attn_q.bias", b), queries, !e);
    l->key_bias = vector(o, in_layer(n, "attn_k.bias", b), keys, !e);
    l->value_bias = vector(o, in_layer(n, "attn_v.bias", b), values, !e);
    l->output_bias = vector(o, in_layer(n, "attn_output.bias", b), i->width, !e);
    l->query_norm = vector(o, in_layer(n, "attn_q_norm.weight", b), i->head_width, true);
    l->key_norm = vector(o, in_layer(n, "attn_k_norm.weight", b), i->head_width, true);
    l->attention_norm = vector(
        o, in_layer(n, e ? "attn_output_norm.weight" : "attn_norm.weight", b), i->width, false);
    l->attention_norm_bias = vector(o, in_layer(n, "attn_output_norm.bias", b), i->width, !e);
    l->feed_forward_norm = vector(
        o, in_layer(n, e ? "layer_output_norm.weight" : "ffn_norm.weight", b), i->width, false);
    l->feed_forward_norm_bias = vector(o, in_layer(n, "layer_output_norm.bias", b), i->width, !e);
    l->gate = matrix(o, in_layer(n, "ffn_gate.weight", b), i->width, i->feed_forward, e);
    l->up = matrix(o, in_layer(n, "ffn_up.weight", b), i->width, i->feed_forward, false);
    l->down = matrix(o, in_layer(n, "ffn_down.weight", b), i->feed_forward, i->width, false);
    l->up_bias = vector(o, in_layer(n, "ffn_up.bias", b), i->feed_forward, !e);
    l->down_bias = vector(o, in_layer(n, "ffn_down.bias", b), i->width, !e);
}

/* RoBERTa's head: score = output . tanh(dense . x) over the first token; either part may be absent.
 */
static void open_head(struct opening *o)
{
    struct model *m = o->m;
    uint32_t d = m->info.width;
    m->rank_dense = matrix(o, "cls.weight", d, d, true);
    m->rank_dense_bias = vector(o, "cls.bias", d, true);
    m->rank_out = matrix(o, "cls.output.weight", d, 1, true);
    m->rank_out_bias = vector(o, "cls.output.bias", 1, true);
    m->info.ranks = m->rank_out.data != NULL;
    if (o->s == STATUS_OK && m->info.pooling == POOLING_RANK && !m->info.ranks) {
        o->s = error_set(o->err, STATUS_INVALID, "tensor cls.output.weight is missing");
    }
    m->info.pooling = m->info.ranks ? POOLING_RANK : m->info.pooling;
}

static void open_tensors(struct opening *o)
{
    struct model *m = o->m;
    const struct model_info *i = &m->info;
    m->embedding = matrix(o, "token_embd.weight", i->width, i->vocabulary, false);
    if (i->encoder) {
        const struct gguf_tensor *types = gguf_find_tensor(m->file, STR("token_types.weight"));
        m->positions = matrix(o, "position_embd.weight", i->width, i->context, false);
        m->first_norm = vector(o, "token_embd_norm.weight", i->width, false);
        m->first_norm_bias = vector(o, "token_embd_norm.bias", i->width, false);
        open_head(o);
        if (o->s == STATUS_OK && types != NULL) {
            if (types->type != TENSOR_F32 || types->dimensions[0] != i->width) {
                o->s = error_set(o->err, STATUS_INVALID, "token_types.weight has a wrong shape");
            }
            m->token_types[0] = types->data;
            m->token_types[1] =
                types->dimensions[1] > 1 ? m->token_types[0] + i->width : m->token_types[0];
        }
    } else {
        m->last_norm = vector(o, "output_norm.weight", i->width, false);
        m->weights->head = matrix(o, "output.weight", i->width, i->vocabulary, true);
        m->weights->head = m->weights->head.data == NULL ? m->embedding : m->weights->head;
        m->rope_factors = vector(o, "rope_freqs.weight", m->rope_width / 2, true);
    }
    m->layers = calloc((size_t)i->layers + 1, sizeof *m->layers);
    if (m->layers == NULL && o->s == STATUS_OK) {
        o->s = error_set(o->err, STATUS_NO_MEMORY, "out of memory");
    }
    for (uint32_t n = 0; n < i->layers && o->s == STATUS_OK; n++) {
        open_layer(o, n);
    }
}

static void count_weights(struct model *m)
{
    for (size_t i = 0; i < gguf_tensors(m->file); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(m->file, i);
        m->info.parameters +=
            t->dimensions[0] * t->dimensions[1] * t->dimensions[2] * t->dimensions[3];
        m->info.weight_bytes += t->bytes;
    }
}

static void open_architecture(struct opening *o)
{
    struct str name = STR("");
    (void)gguf_string(o->m->file, "general.architecture", &name);
    for (size_t i = 0; i < sizeof architectures / sizeof architectures[0]; i++) {
        if (str_eq(name, str_from(architectures[i].name))) {
            o->a = &architectures[i];
        }
    }
    if (o->a == NULL) {
        o->s = error_set(o->err, STATUS_UNSUPPORTED,
                         "the architecture \"%.*s\" is not supported; built in are llama, qwen2, "
                         "qwen3 and bert",
                         name.len > 64 ? 64 : (int)name.len, name.ptr);
        return;
    }
    (void)snprintf(o->m->info.architecture, sizeof o->m->info.architecture, "%s", o->a->name);
    struct str title = STR("");
    (void)gguf_string(o->m->file, "general.name", &title);
    (void)snprintf(o->m->info.name, sizeof o->m->info.name, "%.*s",
                   title.len > 120 ? 120 : (int)title.len, title.ptr);
    o->s = tokenizer_new(o->m->file, &o->m->tokenizer, o->err);
}

enum status model_open(const char *path, struct model **out, struct error *err)
{
    struct opening o = {.err = err};
    o.m = calloc(1, sizeof *o.m);
    struct weights *weights = calloc(1, sizeof *weights);
    if (o.m == NULL || weights == NULL) {
        free(o.m);
        free(weights);
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    (void)pthread_mutex_init(&weights->lock, NULL);
    o.m->weights = weights;
    o.s = gguf_open(path, &o.m->file, err);
    if (o.s != STATUS_OK) {
        model_close(o.m);
        return o.s;
    }
    open_architecture(&o);
    if (o.s == STATUS_OK) {
        read_shape(&o);
    }
    if (o.s == STATUS_OK) {
        open_tensors(&o);
    }
    if (o.s != STATUS_OK) {
        model_close(o.m);
        (void)error_prefix(err, "%s", path);
        return o.s;
    }
    count_weights(o.m);
    *out = o.m;
    return STATUS_OK;
}

void model_close(struct model *m)
{
    if (m != NULL) {
        tokenizer_free(m->tokenizer);
        gguf_close(m->file);
        pack_free(m->weights->pack);
        (void)pthread_mutex_destroy(&m->weights->lock);
        free(m->weights);
        free(m->layers);
        free(m);
    }
}

const struct model_info *model_info(const struct model *m)
{
    return &m->info;
}

const struct tokenizer *model_tokenizer(const struct model *m)
{
    return m->tokenizer;
}

const struct gguf *model_file(const struct model *m)
{
    return m->file;
}

struct kv_shape model_kv_shape(const struct model *m, enum tensor_type type)
{
    return (struct kv_shape){.layers = m->info.layers,
                             .key_width = m->info.kv_heads * m->info.head_width,
                             .value_width = m->info.kv_heads * m->info.value_width,
                             .heads = m->info.kv_heads,
                             .type = type};
}

void matrix_row(const struct matrix *w, uint32_t row, float *out)
{
    quant_decode(w->type, (const unsigned char *)w->data + row * w->row_bytes, w->columns, out);
}

/* ---- weights for the kernels ---- */

#define LAYER_MATRICES 7

static enum status pack_all(const struct model *m, struct pool *pool, struct error *err)
{
    size_t n = (size_t)m->info.layers * LAYER_MATRICES + 1;
    struct matrix **all = calloc(n, sizeof *all);
    if (all == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    size_t at = 0;
    for (uint32_t i = 0; i < m->info.layers; i++) {
        struct layer *l = &m->layers[i];
        struct matrix *of_layer[LAYER_MATRICES] = {&l->query, &l->key, &l->value, &l->output,
                                                   &l->gate,  &l->up,  &l->down};
        memcpy(all + at, of_layer, sizeof of_layer);
        at += LAYER_MATRICES;
    }
    all[at++] = &m->weights->head;
    enum status s = pack_new(all, at, pool, &m->weights->pack, err);
    free(all);
    return s;
}

enum status model_pack(const struct model *m, struct pool *pool, struct error *err)
{
    enum status s = STATUS_OK;
    (void)pthread_mutex_lock(&m->weights->lock);
    if (m->weights->pack == NULL) {
        s = pack_all(m, pool, err);
    }
    (void)pthread_mutex_unlock(&m->weights->lock);
    return s;
}

uint64_t model_packed_bytes(const struct model *m)
{
    (void)pthread_mutex_lock(&m->weights->lock);
    uint64_t bytes = m->weights->pack == NULL ? 0 : pack_bytes(m->weights->pack);
    (void)pthread_mutex_unlock(&m->weights->lock);
    return bytes;
}
