#include "tests/peer/engine.h"

#include <dlfcn.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* llama.h of llama.cpp 0.5.0, what of it is needed: structs passed by value change between
 * releases, so engine_open asks for this one and looks at the defaults it gives. */
struct llama_model_params {
    void *devices;
    const void *buffer_overrides;
    int32_t n_gpu_layers;
    int split_mode, load_mode, lazy_mode;
    int32_t main_gpu;
    const float *tensor_split;
    void *progress, *progress_data;
    const void *value_overrides;
    bool vocab_only, check_tensors, use_extra_bufts, no_host, no_alloc, load_mtp;
};

struct llama_context_params {
    uint32_t n_ctx, n_batch, n_ubatch, n_seq_max, n_rs_seq, n_outputs_max, n_outputs_max_per_seq;
    int32_t n_threads, n_threads_batch;
    int ctx_type, rope_scaling_type, pooling_type, attention_type, flash_attn_type;
    float rope_freq_base, rope_freq_scale, yarn_ext_factor, yarn_attn_factor, yarn_beta_fast,
        yarn_beta_slow;
    uint32_t yarn_orig_ctx;
    float defrag_thold;
    void *evaluated, *evaluated_data;
    int type_k, type_v;
    void *abort, *abort_data;
    bool embeddings, offload_kqv, no_perf, op_offload, swa_full, kv_unified;
    void *samplers;
    size_t n_samplers;
    void *other;
};

struct llama_batch {
    int32_t n_tokens;
    int32_t *token;
    float *embd;
    int32_t *pos;
    int32_t *n_seq_id;
    int32_t **seq_id;
    int8_t *logits;
};

struct llama_model_quantize_params {
    int32_t nthread;
    int ftype, output_tensor_type, token_embedding_type;
    bool allow_requantize, quantize_output_tensor, only_copy, pure, keep_split, dry_run;
    const void *imatrix, *kv_overrides, *tt_overrides;
    const int32_t *prune_layers;
    size_t max_buf_size;
};

typedef void (*log_fn)(int level, const char *text, void *data);

struct engine {
    void *library;
    const char *(*version)(void);
    void (*load_kernels)(const char *folder);
    void (*start)(void);
    void (*set_log)(log_fn fn, void *data);
    struct llama_model_params (*model_defaults)(void);
    struct llama_context_params (*context_defaults)(void);
    struct llama_model_quantize_params (*quantize_defaults)(void);
    void *(*model_load)(const char *path, struct llama_model_params p);
    void (*model_free)(void *model);
    void *(*context_new)(void *model, struct llama_context_params p);
    void (*context_free)(void *context);
    const void *(*model_vocabulary)(const void *model);
    int32_t (*vocabulary_size)(const void *vocabulary);
    int32_t (*model_width)(const void *model);
    void *(*memory)(const void *context);
    void (*memory_clear)(void *memory, bool data);
    int32_t (*decode)(void *context, struct llama_batch batch);
    void (*synchronize)(void *context);
    float *(*logits)(void *context, int32_t i);
    float *(*vector)(void *context, int32_t sequence);
    int32_t (*tokenize)(const void *vocabulary, const char *text, int32_t len, int32_t *out,
                        int32_t most, bool affix, bool specials);
    uint32_t (*quantize)(const char *in, const char *out,
                         const struct llama_model_quantize_params *p);
};

static const struct {
    const char *name;
    size_t at;
} functions[] = {
    {"llama_version", offsetof(struct engine, version)},
    {"ggml_backend_load_all_from_path", offsetof(struct engine, load_kernels)},
    {"llama_backend_init", offsetof(struct engine, start)},
    {"llama_log_set", offsetof(struct engine, set_log)},
    {"llama_model_default_params", offsetof(struct engine, model_defaults)},
    {"llama_context_default_params", offsetof(struct engine, context_defaults)},
    {"llama_model_quantize_default_params", offsetof(struct engine, quantize_defaults)},
    {"llama_model_load_from_file", offsetof(struct engine, model_load)},
    {"llama_model_free", offsetof(struct engine, model_free)},
    {"llama_init_from_model", offsetof(struct engine, context_new)},
    {"llama_free", offsetof(struct engine, context_free)},
    {"llama_model_get_vocab", offsetof(struct engine, model_vocabulary)},
    {"llama_vocab_n_tokens", offsetof(struct engine, vocabulary_size)},
    {"llama_model_n_embd", offsetof(struct engine, model_width)},
    {"llama_get_memory", offsetof(struct engine, memory)},
    {"llama_memory_clear", offsetof(struct engine, memory_clear)},
    {"llama_decode", offsetof(struct engine, decode)},
    {"llama_synchronize", offsetof(struct engine, synchronize)},
    {"llama_get_logits_ith", offsetof(struct engine, logits)},
    {"llama_get_embeddings_seq", offsetof(struct engine, vector)},
    {"llama_tokenize", offsetof(struct engine, tokenize)},
    {"llama_model_quantize", offsetof(struct engine, quantize)},
};

struct engine_run {
    struct engine *engine;
    void *model, *context;
    const void *vocabulary;
    uint32_t batch;
    int32_t *ids, *positions, *counts, *sequences;
    int32_t **sequence_of;
    int8_t *wanted;
};

static void quiet(int level, const char *text, void *data)
{
    (void)level;
    (void)text;
    (void)data;
}

static bool find_functions(struct engine *e, char reason[256])
{
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        void *f = dlsym(e->library, functions[i].name);
        if (f == NULL) {
            (void)snprintf(reason, 256, "the engine has no %s", functions[i].name);
            return false;
        }
        memcpy((char *)e + functions[i].at, &f, sizeof f);
    }
    return true;
}

/* The defaults lie where the structs above say. */
static bool layout_is_known(struct engine *e, char reason[256])
{
    if (strncmp(e->version(), ENGINE_VERSION, sizeof ENGINE_VERSION - 1) != 0) {
        (void)snprintf(reason, 256, "the engine is llama.cpp %s, not %s", e->version(),
                       ENGINE_VERSION);
        return false;
    }
    struct llama_model_params m = e->model_defaults();
    struct llama_context_params c = e->context_defaults();
    struct llama_model_quantize_params q = e->quantize_defaults();
    bool good = !m.vocab_only && m.use_extra_bufts && c.n_ctx == 512 && c.n_batch == 2048 &&
                c.pooling_type == -1 && c.type_k == 1 && c.type_v == 1 && !c.embeddings &&
                c.n_samplers == 0 && !q.pure && q.quantize_output_tensor;
    if (!good) {
        (void)snprintf(reason, 256, "the engine's structs are not those of llama.cpp %s",
                       ENGINE_VERSION);
    }
    return good;
}

bool engine_open(const char *modules, struct engine **out, char reason[256])
{
    char folder[512];
    char pattern[600];
    glob_t found = {0};
    struct engine *e = calloc(1, sizeof *e);
    (void)snprintf(folder, sizeof folder, "%s/@node-llama-cpp/linux-x64/bins/linux-x64", modules);
    (void)snprintf(pattern, sizeof pattern, "%s/libllama.v*.so", folder);
    bool good = e != NULL && glob(pattern, 0, NULL, &found) == 0;
    if (!good) {
        (void)snprintf(reason, 256, "node-llama-cpp is not installed in %.180s", modules);
    } else {
        e->library = dlopen(found.gl_pathv[0], RTLD_NOW | RTLD_LOCAL);
        good = e->library != NULL;
        if (!good) {
            (void)snprintf(reason, 256, "%.250s", dlerror());
        }
    }
    good = good && find_functions(e, reason) && layout_is_known(e, reason);
    globfree(&found);
    if (!good) {
        engine_close(e);
        return false;
    }
    e->set_log(quiet, NULL);
    e->load_kernels(folder);
    e->start();
    *out = e;
    return true;
}

/* The library stays: it keeps threads and registers that do not like to be unloaded. */
void engine_close(struct engine *e)
{
    free(e);
}

static bool make_room(struct engine_run *r, uint32_t batch)
{
    r->batch = batch;
    r->ids = calloc(batch, sizeof *r->ids);
    r->positions = calloc(batch, sizeof *r->positions);
    r->counts = calloc(batch, sizeof *r->counts);
    r->sequences = calloc(batch, sizeof *r->sequences);
    r->sequence_of = calloc(batch, sizeof *r->sequence_of);
    r->wanted = calloc(batch, sizeof *r->wanted);
    return r->ids != NULL && r->positions != NULL && r->counts != NULL && r->sequences != NULL &&
           r->sequence_of != NULL && r->wanted != NULL;
}

static bool make_context(struct engine_run *r, const struct engine_options *o)
{
    struct llama_context_params p = r->engine->context_defaults();
    p.n_ctx = o->context;
    p.n_batch = o->batch;
    p.n_ubatch = o->batch;
    p.n_seq_max = o->sequences;
    p.n_threads = (int32_t)o->threads;
    p.n_threads_batch = (int32_t)o->threads;
    p.embeddings = o->vectors;
    p.kv_unified = o->vectors && o->sequences > 1;
    if (o->exact) {
        p.type_k = 0; /* F32 */
        p.type_v = 0;
        p.flash_attn_type = 0;
    }
    r->context = r->engine->context_new(r->model, p);
    return r->context != NULL && make_room(r, o->batch);
}

struct engine_run *engine_run_open(struct engine *e, const char *path,
                                   const struct engine_options *o)
{
    struct engine_run *r = calloc(1, sizeof *r);
    if (r == NULL) {
        return NULL;
    }
    struct llama_model_params p = e->model_defaults();
    p.n_gpu_layers = 0;
    p.vocab_only = o->context == 0;
    p.use_extra_bufts = !o->exact;
    r->engine = e;
    r->model = e->model_load(path, p);
    if (r->model == NULL || (o->context > 0 && !make_context(r, o))) {
        engine_run_close(r);
        return NULL;
    }
    r->vocabulary = e->model_vocabulary(r->model);
    return r;
}

void engine_run_close(struct engine_run *r)
{
    if (r == NULL) {
        return;
    }
    if (r->context != NULL) {
        r->engine->context_free(r->context);
    }
    if (r->model != NULL) {
        r->engine->model_free(r->model);
    }
    free(r->ids);
    free(r->positions);
    free(r->counts);
    free(r->sequences);
    free(r->sequence_of);
    free(r->wanted);
    free(r);
}

uint32_t engine_vocabulary(const struct engine_run *r)
{
    return (uint32_t)r->engine->vocabulary_size(r->vocabulary);
}

uint32_t engine_width(const struct engine_run *r)
{
    return (uint32_t)r->engine->model_width(r->model);
}

void engine_forget(struct engine_run *r)
{
    void *memory = r->engine->memory(r->context);
    if (memory != NULL) {
        r->engine->memory_clear(memory, true);
    }
}

bool engine_pass(struct engine_run *r, const struct engine_token *tokens, uint32_t n)
{
    if (n > r->batch) {
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        r->ids[i] = (int32_t)tokens[i].id;
        r->positions[i] = (int32_t)tokens[i].position;
        r->counts[i] = 1;
        r->sequences[i] = (int32_t)tokens[i].sequence;
        r->sequence_of[i] = &r->sequences[i];
        r->wanted[i] = tokens[i].wanted ? 1 : 0;
    }
    struct llama_batch batch = {(int32_t)n, r->ids,         NULL,     r->positions,
                                r->counts,  r->sequence_of, r->wanted};
    bool good = r->engine->decode(r->context, batch) == 0;
    r->engine->synchronize(r->context);
    return good;
}

const float *engine_logits(struct engine_run *r, uint32_t i)
{
    return r->engine->logits(r->context, (int32_t)i);
}

const float *engine_vector(struct engine_run *r, uint32_t sequence)
{
    return r->engine->vector(r->context, (int32_t)sequence);
}

int64_t engine_tokenize(const struct engine_run *r, const char *text, size_t len, bool affix,
                        int32_t *out)
{
    int32_t n = r->engine->tokenize(r->vocabulary, text, (int32_t)len, out, 3 * (int32_t)len + 16,
                                    affix, false);
    return n < 0 ? -1 : n;
}

bool engine_quantize(struct engine *e, const char *in, const char *out, int type, bool pure)
{
    struct llama_model_quantize_params p = e->quantize_defaults();
    p.nthread = 2;
    p.ftype = type;
    p.pure = pure;
    p.allow_requantize = true;
    return e->quantize(in, out, &p) == 0;
}
