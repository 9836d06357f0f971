/* Opening: the architecture's row says which tensors to expect; each is found by name and its shape
 * compared with the file's own numbers. */
#include "model/model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "model/opening.h"
#include "model/quant.h"

#define CONTEXT_DEFAULT 2048U

static const struct architecture *const architectures[] = {
    &arch_llama,  &arch_qwen2, &arch_qwen3, &arch_qwen3moe, &arch_gemma2,
    &arch_gemma3, &arch_phi3,  &arch_bert,  &arch_nomic,
};

/* ---- numbers ---- */

static bool key_of(const struct opening *o, const char *name, char out[96])
{
    int n = snprintf(out, 96, "%s.%s", o->a->name, name);
    return n > 0 && n < 96;
}

uint32_t opening_number(struct opening *o, const char *name, uint32_t fallback)
{
    char key[96];
    uint32_t v = fallback;
    bool found = key_of(o, name, key) && gguf_u32(o->m->file, key, &v);
    if (!found && fallback == 0 && o->s == STATUS_OK) {
        o->s = error_set(o->err, STATUS_INVALID, "the file does not say %s", key);
    }
    return found ? v : fallback;
}

float opening_real(const struct opening *o, const char *name, float fallback)
{
    char key[96];
    float v = fallback;
    (void)(key_of(o, name, key) && gguf_f32(o->m->file, key, &v));
    return v;
}

static void read_rope(struct opening *o)
{
    struct model *m = o->m;
    char key[96];
    struct str kind = STR("");
    m->rope_width = opening_number(o, "rope.dimension_count", m->info.head_width);
    m->rope_halves = o->a->rope_halves;
    m->ropes[0] = (struct rope){
        .base = opening_real(o, "rope.freq_base", 10000.0F), .scale = 1, .magnitude = 1};
    m->ropes[1] = m->ropes[0];
    m->n_ropes = 1;
    if (key_of(o, "rope.scaling.type", key) && gguf_string(m->file, key, &kind) &&
        str_eq(kind, STR("linear"))) {
        m->ropes[0].scale = opening_real(o, "rope.scaling.factor", 1);
    } else if (kind.len > 0 && !str_eq(kind, STR("none")) && !str_eq(kind, STR("longrope"))) {
        o->s = error_set(o->err, STATUS_UNSUPPORTED, "rope scaling \"%.*s\" is not supported",
                         kind.len > 32 ? 32 : (int)kind.len, kind.ptr);
    }
}

static void read_shape(struct opening *o)
{
    struct model *m = o->m;
    struct model_info *i = &m->info;
    i->encoder = o->a->encoder;
    i->layers = opening_number(o, "block_count", 0);
    i->width = opening_number(o, "embedding_length", 0);
    i->feed_forward = opening_number(o, "feed_forward_length", 0);
    i->heads = opening_number(o, "attention.head_count", 0);
    i->kv_heads = opening_number(o, "attention.head_count_kv", i->heads);
    i->context = opening_number(o, "context_length", CONTEXT_DEFAULT);
    bool some = i->layers > 0 && i->width > 0 && i->feed_forward > 0 && i->heads > 0 &&
                i->kv_heads > 0 && i->context > 0;
    if (o->s == STATUS_OK &&
        (!some || i->layers > MODEL_LAYERS_MAX || i->width > 65536 || i->heads > 1024 ||
         i->feed_forward > 1048576 || i->heads % i->kv_heads != 0 || i->context > (1U << 28))) {
        o->s = error_set(o->err, STATUS_INVALID,
                         "the model's shape makes no sense (%u layers of %u)", i->layers, i->width);
    }
    if (o->s != STATUS_OK) {
        return;
    }
    i->head_width = opening_number(o, "attention.key_length", i->width / i->heads);
    i->value_width = opening_number(o, "attention.value_length", i->width / i->heads);
    i->vocabulary = tokenizer_size(m->tokenizer);
    i->pooling =
        (enum model_pooling)opening_number(o, "pooling_type", o->a->encoder ? POOLING_MEAN : 9);
    i->pooling = i->pooling > POOLING_RANK ? POOLING_NONE : i->pooling;
    m->epsilon = opening_real(
        o, o->a->encoder ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon",
        1e-5F);
    m->embedding_scale = 1;
    m->attention_scale = 1.0F / sqrtf((float)i->head_width);
    read_rope(o);
    if (o->a->numbers != NULL && o->s == STATUS_OK) {
        o->a->numbers(o);
    }
    if (i->head_width == 0 || i->head_width > 1024 || i->value_width == 0 ||
        i->value_width > 1024 || m->rope_width > i->head_width || m->rope_width % 2 != 0 ||
        !(m->ropes[0].scale > 0)) {
        o->s = error_set(o->err, STATUS_INVALID, "the heads' shape makes no sense (%u wide)",
                         i->head_width);
    }
}

/* ---- tensors ---- */

static const struct gguf_tensor *find(struct opening *o, const char *name, uint64_t columns,
                                      uint64_t rows, uint64_t n, bool optional)
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
    if (t->dimensions[0] != columns || t->dimensions[1] != rows || t->dimensions[2] != n ||
        t->dimensions[3] != 1) {
        o->s =
            error_set(o->err, STATUS_INVALID,
                      "tensor %s is %llu x %llu x %llu, not %llu x %llu x %llu as the model's "
                      "numbers say",
                      name, (unsigned long long)t->dimensions[0],
                      (unsigned long long)t->dimensions[1], (unsigned long long)t->dimensions[2],
                      (unsigned long long)columns, (unsigned long long)rows, (unsigned long long)n);
        return NULL;
    }
    return t;
}

/* Rows from `first` on of the tensor's rows, counted through all its matrices. */
static struct matrix rows_of(struct opening *o, const char *name, const struct gguf_tensor *t,
                             uint32_t columns, uint64_t first, uint32_t rows)
{
    struct matrix w = {.columns = columns, .rows = rows};
    uint64_t bytes = 0;
    if (t != NULL && (t->type == TENSOR_I8 || t->type == TENSOR_I32 ||
                      !tensor_bytes(t->type, columns, &bytes))) {
        o->s = error_set(o->err, STATUS_UNSUPPORTED, "tensor %s: %s weights are not supported",
                         name, tensor_type_info(t->type)->name);
        t = NULL;
    }
    if (t != NULL) {
        w.type = t->type;
        w.data = (const unsigned char *)t->data + first * bytes;
        w.row_bytes = (size_t)bytes;
    }
    return w;
}

struct matrix opening_matrix(struct opening *o, const char *name, uint32_t columns, uint32_t rows,
                             bool optional)
{
    return rows_of(o, name, find(o, name, columns, rows, 1, optional), columns, 0, rows);
}

struct matrix opening_rows(struct opening *o, const char *name, uint32_t columns, uint32_t all,
                           uint32_t first, uint32_t rows)
{
    return rows_of(o, name, find(o, name, columns, all, 1, false), columns, first, rows);
}

struct matrix opening_slice(struct opening *o, const char *name, uint32_t columns, uint32_t rows,
                            uint32_t n, uint32_t which)
{
    return rows_of(o, name, find(o, name, columns, rows, n, false), columns, (uint64_t)which * rows,
                   rows);
}

const float *opening_vector(struct opening *o, const char *name, uint32_t n, bool optional)
{
    const struct gguf_tensor *t = find(o, name, n, 1, 1, optional);
    if (t != NULL && t->type != TENSOR_F32) {
        o->s = error_set(o->err, STATUS_UNSUPPORTED, "tensor %s must be F32", name);
        return NULL;
    }
    return t == NULL ? NULL : t->data;
}

const char *opening_name(uint32_t layer, const char *what, char out[96])
{
    (void)snprintf(out, 96, "blk.%u.%s", layer, what);
    return out;
}

void opening_attention(struct opening *o, struct layer *l, uint32_t n, bool biases)
{
    char b[96];
    const struct model_info *i = &o->m->info;
    uint32_t keys = i->kv_heads * i->head_width;
    uint32_t values = i->kv_heads * i->value_width;
    uint32_t queries = i->heads * i->head_width;
    l->query = opening_matrix(o, opening_name(n, "attn_q.weight", b), i->width, queries, false);
    l->key = opening_matrix(o, opening_name(n, "attn_k.weight", b), i->width, keys, false);
    l->value = opening_matrix(o, opening_name(n, "attn_v.weight", b), i->width, values, false);
    l->output = opening_matrix(o, opening_name(n, "attn_output.weight", b),
                               i->heads * i->value_width, i->width, false);
    l->query_bias = opening_vector(o, opening_name(n, "attn_q.bias", b), queries, !biases);
    l->key_bias = opening_vector(o, opening_name(n, "attn_k.bias", b), keys, !biases);
    l->value_bias = opening_vector(o, opening_name(n, "attn_v.bias", b), values, !biases);
    l->output_bias = opening_vector(o, opening_name(n, "attn_output.bias", b), i->width, !biases);
}

void opening_experts(struct opening *o, struct layer *l, uint32_t n)
{
    char b[96];
    struct model *m = o->m;
    uint32_t d = m->info.width;
    uint32_t f = m->expert_width;
    l->router =
        opening_matrix(o, opening_name(n, "ffn_gate_inp.weight", b), d, m->info.experts, false);
    if (o->s != STATUS_OK) {
        return;
    }
    l->experts = calloc(m->info.experts, sizeof *l->experts);
    if (l->experts == NULL) {
        o->s = error_set(o->err, STATUS_NO_MEMORY, "out of memory");
    }
    for (uint32_t e = 0; e < m->info.experts && o->s == STATUS_OK; e++) {
        struct expert *x = &l->experts[e];
        x->gate =
            opening_slice(o, opening_name(n, "ffn_gate_exps.weight", b), d, f, m->info.experts, e);
        x->up =
            opening_slice(o, opening_name(n, "ffn_up_exps.weight", b), d, f, m->info.experts, e);
        x->down =
            opening_slice(o, opening_name(n, "ffn_down_exps.weight", b), f, d, m->info.experts, e);
    }
}

static void open_tensors(struct opening *o)
{
    struct model *m = o->m;
    const struct model_info *i = &m->info;
    m->embedding = opening_matrix(o, "token_embd.weight", i->width, i->vocabulary, false);
    if (!i->encoder) {
        m->last_norm = opening_vector(o, "output_norm.weight", i->width, false);
        m->weights->head = opening_matrix(o, "output.weight", i->width, i->vocabulary, true);
        m->weights->head = m->weights->head.data == NULL ? m->embedding : m->weights->head;
    }
    if (o->a->around != NULL) {
        o->a->around(o);
    }
    m->layers = calloc((size_t)i->layers + 1, sizeof *m->layers);
    if (m->layers == NULL && o->s == STATUS_OK) {
        o->s = error_set(o->err, STATUS_NO_MEMORY, "out of memory");
    }
    for (uint32_t n = 0; n < i->layers && o->s == STATUS_OK; n++) {
        o->a->layer(o, n);
    }
}

static void count_windows(struct model *m)
{
    for (uint32_t n = 0; n < m->info.layers; n++) {
        uint32_t window = m->layers[n].window;
        m->info.window = window > m->info.window ? window : m->info.window;
        m->info.window_layers += window > 0 ? 1 : 0;
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
        if (str_eq(name, str_from(architectures[i]->name))) {
            o->a = architectures[i];
        }
    }
    if (o->a == NULL) {
        o->s = error_set(o->err, STATUS_UNSUPPORTED,
                         "the architecture \"%.*s\" is not supported; built in are llama, qwen2, "
                         "qwen3, qwen3moe, gemma2, gemma3, phi3, bert and nomic-bert",
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
    count_windows(o.m);
    count_weights(o.m);
    o.s = weights_kinds(o.m, err);
    if (o.s != STATUS_OK) {
        model_close(o.m);
        return o.s;
    }
    *out = o.m;
    return STATUS_OK;
}

void model_close(struct model *m)
{
    if (m != NULL) {
        tokenizer_free(m->tokenizer);
        gguf_close(m->file);
        weights_free(m->weights);
        for (uint32_t n = 0; m->layers != NULL && n < m->info.layers; n++) {
            free(m->layers[n].experts);
        }
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
    struct kv_shape shape = {.layers = m->info.layers,
                             .key_width = m->info.kv_heads * m->info.head_width,
                             .value_width = m->info.kv_heads * m->info.value_width,
                             .heads = m->info.kv_heads,
                             .window = m->info.window,
                             .type = type};
    for (uint32_t n = 0; n < m->info.layers; n++) {
        shape.windowed[n / 64] |= (uint64_t)(m->layers[n].window > 0 ? 1 : 0) << n % 64;
    }
    return shape;
}

void matrix_row(const struct matrix *w, uint32_t row, float *out)
{
    quant_decode(w->type, (const unsigned char *)w->data + row * w->row_bytes, w->columns, out);
}
