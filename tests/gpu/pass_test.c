/* Whole models on the emulated device: logits beside the processor's, the same bits however a
 * prompt is sliced and whoever is beside it, tokens as the sampler takes them, and the first layers
 * alone on the device. With CARREL_CUDA_PLUG_IN in the environment, a plug-in's path: on a real one
 * (run.sh). */
#include <dlfcn.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/backend.h"
#include "model/cuda/cuda.h"
#include "model/plan.h"
#include "tests/fixture/model_writer.h"
#include "tests/unit/test.h"

#define TOKENS 24U
#define CONTEXT 64U
#define PASS 32U

struct rig {
    struct model *m;
    struct backend *cpu, *gpu;
    uint32_t vocabulary;
};

static const struct gpu_ops *device(void)
{
    const char *path = getenv("CARREL_CUDA_PLUG_IN");
    union {
        void *object;
        const struct gpu_ops *(*function)(void);
    } symbol = {.function = carrel_cuda};
    if (path != NULL) {
        void *h = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        symbol.object = h == NULL ? NULL : dlsym(h, GPU_SYMBOL);
    }
    if (symbol.object == NULL) {
        fail_msg("%s", dlerror());
    }
    return symbol.function();
}

static void write_model(const char *dir, const struct model_writer *w, char path[256])
{
    struct error err;
    (void)snprintf(path, 256, "%s/%s.gguf", dir, w->architecture);
    assert_int_equal(model_write_file(w, path, &err), STATUS_OK);
}

static void open_rig_for(struct rig *r, const char *dir, const char *name, enum tensor_type type,
                         enum tensor_type kv, uint32_t gpu_layers, uint32_t context)
{
    char path[256];
    struct error err = {0};
    struct model_writer w = model_writer_small(name, type);
    w.context = context > w.context ? context : w.context;
    struct backend_options o = {.tokens = PASS,
                                .sequences = 4,
                                .context = context,
                                .kv_type = kv,
                                .choices = 4,
                                .gpu_layers = gpu_layers};
    write_model(dir, &w, path);
    assert_int_equal(model_open(path, &r->m, &err), STATUS_OK);
    assert_int_equal(backend_open_cpu(r->m, &o, &r->cpu, &err), STATUS_OK);
    if (cuda_open_with(device(), NULL, r->m, &o, &r->gpu, &err) != STATUS_OK) {
        fail_msg("%s: %s", name, err.text);
    }
    r->vocabulary = model_info(r->m)->vocabulary;
}

static void open_rig(struct rig *r, const char *dir, const char *name, enum tensor_type type,
                     enum tensor_type kv, uint32_t gpu_layers)
{
    open_rig_for(r, dir, name, type, kv, gpu_layers, CONTEXT);
}

static void close_rig(struct rig *r)
{
    backend_close(r->gpu);
    backend_close(r->cpu);
    model_close(r->m);
}

static void tokens_of(uint32_t first, uint32_t n, uint32_t *out)
{
    for (uint32_t i = 0; i < n; i++) {
        out[i] = i == 0 ? 1 : 259 + (first + i * 7) % 61;
    }
}

static void pass(struct backend *b, const struct model_piece *pieces, size_t n, float *logits)
{
    struct error err = {0};
    if (backend_forward(b, pieces, n, logits, &err) != STATUS_OK) {
        fail_msg("%s", err.text);
    }
}

/* All logits of one text, `slice` tokens a pass. */
static void run_sliced(struct rig *r, struct backend *b, uint32_t slice, float *logits)
{
    struct kv_sequence s = {0};
    struct error err;
    uint32_t tokens[TOKENS];
    tokens_of(0, TOKENS, tokens);
    assert_int_equal(kv_reserve(b->keys, &s, TOKENS, &err), STATUS_OK);
    for (uint32_t at = 0; at < TOKENS; at += slice) {
        struct model_piece p = {&s, tokens + at, TOKENS - at < slice ? TOKENS - at : slice, true};
        pass(b, &p, 1, logits + (size_t)at * r->vocabulary);
    }
    kv_release(b->keys, &s);
}

/* The largest difference, as a share of the largest logit. */
static float apart(const float *a, const float *b, size_t n)
{
    float most = 0;
    float scale = 1e-6F;
    for (size_t i = 0; i < n; i++) {
        float d = fabsf(a[i] - b[i]);
        most = d > most || isnan(d) ? d : most;
        scale = fabsf(a[i]) > scale ? fabsf(a[i]) : scale;
    }
    return most / scale;
}

/* Activations beside 8-bit weights are rounded to bytes: where one lies at a border, the two sides
 * round it apart, which is what the bound allows for. */
static void test_logits(void **state)
{
    static const struct {
        const char *name;
        enum tensor_type type, kv;
    } rows[] = {{"llama", TENSOR_F32, TENSOR_F16},   {"llama", TENSOR_Q8_0, TENSOR_Q8_0},
                {"qwen2", TENSOR_Q4_0, TENSOR_F16},  {"qwen3", TENSOR_F16, TENSOR_F16},
                {"gemma2", TENSOR_Q8_0, TENSOR_F16}, {"gemma3", TENSOR_F32, TENSOR_F16},
                {"phi3", TENSOR_Q8_0, TENSOR_F16},   {"mixtral", TENSOR_Q8_0, TENSOR_F16},
                {"qwen3moe", TENSOR_F32, TENSOR_F16}};
    char dir[64];
    (void)state;
    test_folder(dir);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct rig r;
        open_rig(&r, dir, rows[i].name, rows[i].type, rows[i].kv, BACKEND_LAYERS_FIT);
        size_t n = (size_t)TOKENS * r.vocabulary;
        float *want = calloc(n, sizeof *want);
        float *got = calloc(n, sizeof *got);
        run_sliced(&r, r.cpu, TOKENS, want);
        run_sliced(&r, r.gpu, TOKENS, got);
        float far = apart(want, got, n);
        print_message("%-9s %s: %g apart, %s\n", rows[i].name, tensor_type_info(rows[i].type)->name,
                      (double)far, r.gpu->name);
        assert_true(far < 2e-3F);
        free(want);
        free(got);
        close_rig(&r);
    }
    test_folder_remove(dir);
}

static const char *const some[] = {"llama", "gemma2", "mixtral"};

static void test_slices(void **state)
{
    static const uint32_t slices[] = {1, 7, 16};
    char dir[64];
    (void)state;
    test_folder(dir);
    for (size_t i = 0; i < COUNT_OF(some); i++) {
        struct rig r;
        open_rig(&r, dir, some[i], TENSOR_Q8_0, TENSOR_F16, BACKEND_LAYERS_FIT);
        size_t n = (size_t)TOKENS * r.vocabulary;
        float *want = calloc(n, sizeof *want);
        float *got = calloc(n, sizeof *got);
        run_sliced(&r, r.gpu, TOKENS, want);
        for (size_t k = 0; k < COUNT_OF(slices); k++) {
            memset(got, 0, n * sizeof *got);
            run_sliced(&r, r.gpu, slices[k], got);
            assert_memory_equal(got, want, n * sizeof *got);
        }
        free(want);
        free(got);
        close_rig(&r);
    }
    test_folder_remove(dir);
}

/* A text that goes on from another's beginning, beside two others of which one is being read: the
 * bits that it has alone. */
static void test_neighbours(void **state)
{
    char dir[64];
    (void)state;
    test_folder(dir);
    for (size_t i = 0; i < COUNT_OF(some); i++) {
        struct rig r;
        struct error err;
        struct kv_sequence first = {0};
        struct kv_sequence s[3] = {{0}, {0}, {0}};
        uint32_t tokens[3][TOKENS];
        open_rig(&r, dir, some[i], TENSOR_F32, TENSOR_F16, BACKEND_LAYERS_FIT);
        size_t row = r.vocabulary;
        float *alone = calloc(TOKENS * row, sizeof *alone);
        float *logits = calloc(4 * row, sizeof *logits);
        run_sliced(&r, r.gpu, TOKENS, alone);
        for (uint32_t k = 0; k < 3; k++) {
            tokens_of(k * 5, TOKENS, tokens[k]);
        }
        /* 20 of the 24 tokens, then a fork in the middle of a page */
        assert_int_equal(kv_reserve(r.gpu->keys, &first, 20, &err), STATUS_OK);
        struct model_piece beginning = {&first, tokens[0], 20, false};
        pass(r.gpu, &beginning, 1, logits);
        assert_int_equal(kv_fork(r.gpu->keys, &first, 18, &s[0], &err), STATUS_OK);
        for (uint32_t k = 0; k < 3; k++) {
            assert_int_equal(kv_reserve(r.gpu->keys, &s[k], TOKENS, &err), STATUS_OK);
        }
        struct model_piece read[] = {{&s[1], tokens[1], 9, false}, {&s[2], tokens[2], 3, false}};
        pass(r.gpu, read, 2, logits);
        for (uint32_t at = 18; at < TOKENS; at++) {
            struct model_piece p[] = {{&s[1], tokens[1] + at - 9, 1, false},
                                      {&s[0], tokens[0] + at, 1, false},
                                      {&s[2], tokens[2] + 3, 2, false}};
            uint32_t n = at == 20 ? 3 : 2; /* once beside a slice of a prompt */
            pass(r.gpu, p, n, logits);
            assert_memory_equal(logits + row, alone + at * row, row * sizeof *logits);
        }
        /* the one it came from goes on as if nothing had been */
        assert_int_equal(kv_reserve(r.gpu->keys, &first, 1, &err), STATUS_OK);
        struct model_piece go_on = {&first, tokens[0] + 20, 1, false};
        pass(r.gpu, &go_on, 1, logits);
        assert_memory_equal(logits, alone + 20 * row, row * sizeof *logits);
        kv_release(r.gpu->keys, &first);
        for (uint32_t k = 0; k < 3; k++) {
            kv_release(r.gpu->keys, &s[k]);
        }
        free(alone);
        free(logits);
        close_rig(&r);
    }
    test_folder_remove(dir);
}

#define STEPS 7U

/* An answer of STEPS tokens, in steps of its own and beside a prompt. With `rows` each token is the
 * sampler's of the row that came along. Returns how many tokens came without a row: those that the
 * device's likeliest told. */
static uint32_t choose_answer(struct rig *r, const struct sampler_options *o,
                              const uint64_t *allowed, bool rows, uint32_t tokens[STEPS])
{
    struct sampler *sampler = NULL;
    struct kv_sequence s = {0};
    struct kv_sequence other = {0};
    struct error err;
    uint32_t token = 1;
    uint32_t told = 0;
    uint32_t text[2] = {5, 6};
    assert_int_equal(sampler_new(o, r->vocabulary, &sampler, &err), STATUS_OK);
    assert_int_equal(kv_reserve(r->gpu->keys, &s, TOKENS, &err), STATUS_OK);
    assert_int_equal(kv_reserve(r->gpu->keys, &other, 2 * TOKENS, &err), STATUS_OK);
    for (uint32_t step = 0; step < STEPS; step++) {
        struct model_piece p[] = {{&other, text, 2, false}, {&s, &token, 1, false}};
        struct backend_pick picks[2] = {{.wanted = false},
                                        {.sampler = sampler,
                                         .allowed = allowed,
                                         .step = step,
                                         .wanted = true,
                                         .logits_wanted = rows}};
        size_t from = step < 4 ? 1 : 0; /* alone, as a captured step is, and beside a prompt */
        assert_int_equal(backend_choose(r->gpu, p + from, 2 - from, picks + from, &err), STATUS_OK);
        token = picks[1].token;
        if (rows) {
            assert_non_null(picks[1].logits);
            assert_int_equal(token, sampler_pick(sampler, picks[1].logits, allowed, step));
        }
        assert_true(allowed == NULL || token % 3 == 0);
        sampler_accept(sampler, token);
        tokens[step] = token;
        told += picks[1].logits == NULL ? 1 : 0;
    }
    kv_release(r->gpu->keys, &s);
    kv_release(r->gpu->keys, &other);
    sampler_free(sampler);
    return told;
}

/* Every way of choosing: the token that the sampler takes of the same row, and the same again where
 * only the likeliest come back. */
static void test_choices(void **state)
{
    struct logit_bias bias[] = {{270, 8}, {280, -100}};
    struct logit_bias twice[] = {{270, 1}, {270, 1}};
    const struct {
        struct sampler_options o;
        uint32_t told[2]; /* at least so many tokens by the likeliest alone; under a mask */
    } rows[] = {
        {{.temperature = 0, .top_p = 1, .repetition_penalty = 1}, {STEPS, STEPS}},
        {{.temperature = 1, .top_p = 1, .repetition_penalty = 1, .seed = 3}, {0, 0}},
        {{.temperature = .7F, .top_p = .9F, .top_k = 40, .repetition_penalty = 1.1F, .window = 64},
         {STEPS, STEPS}},
        {{.temperature = 1.3F, .top_p = .8F, .min_p = .05F, .repetition_penalty = 1, .seed = 9},
         {1, 1}},
        {{.temperature = .5F,
          .top_p = 1,
          .repetition_penalty = 1,
          .presence_penalty = .5F,
          .frequency_penalty = .3F,
          .window = 16,
          .biases = bias,
          .n_biases = 2},
         {1, 0}},
        /* two biases of one token: the host's */
        {{.temperature = 0, .top_p = 1, .repetition_penalty = 1, .biases = twice, .n_biases = 2},
         {0, 0}}};
    char dir[64];
    struct rig r;
    (void)state;
    test_folder(dir);
    open_rig(&r, dir, "llama", TENSOR_Q8_0, TENSOR_F16, BACKEND_LAYERS_FIT);
    uint64_t allowed[8] = {0};
    for (uint32_t t = 0; t < r.vocabulary; t += 3) {
        allowed[t / 64] |= UINT64_C(1) << t % 64;
    }
    for (size_t i = 0; i < 2 * COUNT_OF(rows); i++) {
        const uint64_t *mask = i < COUNT_OF(rows) ? NULL : allowed;
        uint32_t wanted[STEPS];
        uint32_t got[STEPS];
        const struct sampler_options *o = &rows[i % COUNT_OF(rows)].o;
        assert_int_equal(choose_answer(&r, o, mask, true, wanted), 0);
        uint32_t told = choose_answer(&r, o, mask, false, got);
        assert_memory_equal(got, wanted, sizeof got);
        print_message("choices %zu: %u of %u told by the likeliest\n", i, told, STEPS);
        assert_true(told >= rows[i % COUNT_OF(rows)].told[i / COUNT_OF(rows)]);
    }
    close_rig(&r);
    test_folder_remove(dir);
}

/* Two texts at once, whose next tokens the processor chooses. */
static void choose_beside(struct rig *r)
{
    const struct sampler_options o = {
        .temperature = 1, .top_p = 1, .repetition_penalty = 1, .seed = 5};
    struct sampler *sampler = NULL;
    struct kv_sequence s[2] = {{0}, {0}};
    struct error err;
    uint32_t text[4] = {1, 270, 275, 280};
    struct model_piece p[] = {{&s[0], text, 4, false}, {&s[1], text, 2, false}};
    struct backend_pick picks[2] = {{.wanted = true}, {.wanted = true, .step = 1}};
    assert_int_equal(sampler_new(&o, r->vocabulary, &sampler, &err), STATUS_OK);
    for (size_t i = 0; i < 2; i++) {
        picks[i].sampler = sampler;
        assert_int_equal(kv_reserve(r->gpu->keys, &s[i], 4, &err), STATUS_OK);
    }
    assert_int_equal(backend_choose(r->gpu, p, 2, picks, &err), STATUS_OK);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(picks[i].token, sampler_pick(sampler, picks[i].logits, NULL, i));
        assert_int_equal(s[i].length, i == 0 ? 4 : 2);
        kv_release(r->gpu->keys, &s[i]);
    }
    sampler_free(sampler);
}

/* The first layer on the device, the others and the head on the processor. */
static void test_some_layers(void **state)
{
    static const char *const names[] = {"qwen2", "gemma3"};
    char dir[64];
    (void)state;
    test_folder(dir);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct rig r;
        open_rig(&r, dir, names[i], TENSOR_F16, TENSOR_F16, i == 0 ? 1 : 4);
        assert_non_null(strstr(r.gpu->name, i == 0 ? "1 of 2 layers, " : "4 of 6 layers, "));
        size_t n = (size_t)TOKENS * r.vocabulary;
        float *want = calloc(n, sizeof *want);
        float *got = calloc(n, sizeof *got);
        float *sliced = calloc(n, sizeof *sliced);
        run_sliced(&r, r.cpu, TOKENS, want);
        run_sliced(&r, r.gpu, TOKENS, got);
        run_sliced(&r, r.gpu, 5, sliced);
        assert_true(apart(want, got, n) < 2e-3F);
        assert_memory_equal(got, sliced, n * sizeof *got);
        choose_beside(&r);
        free(want);
        free(got);
        free(sliced);
        close_rig(&r);
    }
    test_folder_remove(dir);
}

#define LONG 530U /* three parts of keys, more than a window and its ring */

/* Reads a long text but for its last three tokens. */
static void read_long(struct backend *b, const uint32_t *tokens, struct kv_sequence *s)
{
    struct error err;
    float logits[512];
    assert_int_equal(kv_reserve(b->keys, s, LONG, &err), STATUS_OK);
    for (uint32_t at = 0; at < LONG - 3;) {
        uint32_t n = LONG - 3 - at < PASS ? LONG - 3 - at : PASS;
        struct model_piece p = {s, tokens + at, n, false};
        pass(b, &p, 1, logits);
        at += n;
    }
}

/* The last three tokens of a long text, at once and one by one (as a step of answers is): the same
 * bits, and the processor's logits. */
static void test_long_texts(void **state)
{
    char dir[64];
    struct rig r;
    struct error err;
    struct kv_sequence s = {0};
    struct kv_sequence fork = {0};
    struct kv_sequence there = {0};
    uint32_t tokens[LONG];
    (void)state;
    test_folder(dir);
    open_rig_for(&r, dir, "gemma2", TENSOR_F16, TENSOR_F16, BACKEND_LAYERS_FIT, LONG + 30);
    size_t row = r.vocabulary;
    float *want = calloc(3 * row, sizeof *want);
    float *got = calloc(3 * row, sizeof *got);
    float *single = calloc(3 * row, sizeof *single);
    tokens_of(3, LONG, tokens);
    read_long(r.cpu, tokens, &there);
    read_long(r.gpu, tokens, &s);
    assert_int_equal(kv_fork(r.gpu->keys, &s, LONG - 3, &fork, &err), STATUS_OK);
    assert_int_equal(kv_reserve(r.gpu->keys, &fork, 3, &err), STATUS_OK);
    struct model_piece last[] = {{&there, tokens + LONG - 3, 3, true},
                                 {&s, tokens + LONG - 3, 3, true}};
    pass(r.cpu, &last[0], 1, want);
    pass(r.gpu, &last[1], 1, got);
    for (uint32_t t = 0; t < 3; t++) {
        struct model_piece one = {&fork, tokens + LONG - 3 + t, 1, false};
        pass(r.gpu, &one, 1, single + t * row);
    }
    assert_true(apart(want, got, 3 * row) < 2e-3F);
    assert_memory_equal(got, single, 3 * row * sizeof *got);
    kv_release(r.gpu->keys, &s);
    kv_release(r.gpu->keys, &fork);
    kv_release(r.cpu->keys, &there);
    free(want);
    free(got);
    free(single);
    close_rig(&r);
    test_folder_remove(dir);
}

static struct backend_options small_options(void)
{
    return (struct backend_options){.tokens = PASS,
                                    .sequences = 4,
                                    .context = CONTEXT,
                                    .kv_type = TENSOR_F16,
                                    .choices = 4,
                                    .gpu_layers = BACKEND_LAYERS_FIT};
}

static struct model *small_model(const char *dir, const char *name, enum tensor_type type)
{
    char path[256];
    struct error err = {0};
    struct model *m = NULL;
    struct model_writer w = model_writer_small(name, type);
    write_model(dir, &w, path);
    assert_int_equal(model_open(path, &m, &err), STATUS_OK);
    return m;
}

static void test_refusals(void **state)
{
    char dir[64];
    struct error err = {0};
    struct backend *b = NULL;
    struct backend_options o = small_options();
    (void)state;
    test_folder(dir);
    struct model *m = small_model(dir, "llama", TENSOR_Q8_0);
    o.sequences = 4096;
    o.context = 1U << 20;
    /* more than any device has: the plan's figures say so */
    assert_int_equal(cuda_open_with(device(), NULL, m, &o, &b, &err), STATUS_NO_MEMORY);
    assert_non_null(strstr(err.text, "2 layers need"));
    assert_non_null(strstr(err.text, "keys and values"));
    o = small_options();
    o.kv_type = TENSOR_F32;
    assert_int_equal(cuda_open_with(device(), NULL, m, &o, &b, &err), STATUS_UNSUPPORTED);
    o.kv_type = TENSOR_F16;
    assert_int_equal(cuda_open_with(device(), NULL, m, &o, &b, &err), STATUS_OK);
    struct kv_sequence s = {0};
    uint32_t token = model_info(m)->vocabulary;
    struct model_piece p = {&s, &token, 1, false};
    float logits[512];
    assert_int_equal(kv_reserve(b->keys, &s, 1, &err), STATUS_OK);
    assert_int_equal(backend_forward(b, &p, 1, logits, &err), STATUS_INVALID);
    assert_int_equal(s.length, 0);
    kv_release(b->keys, &s);
    backend_close(b);
    model_close(m);
    test_folder_remove(dir);
}

/* A device that says it has room and refuses what is past the limit, as one does that others use or
 * whose room lies in pieces. */
static uint64_t memory_limit, memory_used, memory_sizes[64];
static void *memory_given[64];
static uint32_t memory_refused;

static enum status allocate_some(struct gpu *g, uint64_t bytes, void **out, struct error *err)
{
    size_t n = 0;
    if (memory_used + bytes > memory_limit) {
        memory_refused++;
        return error_set(err, STATUS_NO_MEMORY, "the device is short of memory");
    }
    enum status s = device()->allocate(g, bytes, out, err);
    while (n < COUNT_OF(memory_given) && memory_given[n] != NULL) {
        n++;
    }
    if (s == STATUS_OK && *out != NULL) {
        assert_true(n < COUNT_OF(memory_given));
        memory_given[n] = *out;
        memory_sizes[n] = bytes;
        memory_used += bytes;
    }
    return s;
}

static void release_some(struct gpu *g, void *data)
{
    for (size_t n = 0; data != NULL && n < COUNT_OF(memory_given); n++) {
        if (memory_given[n] == data) {
            memory_given[n] = NULL;
            memory_used -= memory_sizes[n];
        }
    }
    device()->release(g, data);
}

/* What is refused though it was reckoned to fit: fewer layers, and where so many are asked for or
 * none would go, the plan's figures. */
static void test_refused_memory(void **state)
{
    char dir[64];
    struct error err = {0};
    struct rig r = {0};
    struct gpu_ops ops = *device();
    struct backend_options o = small_options();
    (void)state;
    test_folder(dir);
    ops.allocate = allocate_some;
    ops.release = release_some;
    memory_limit = UINT64_MAX;
    r.m = small_model(dir, "gemma3", TENSOR_F16);
    r.vocabulary = model_info(r.m)->vocabulary;
    assert_int_equal(backend_open_cpu(r.m, &o, &r.cpu, &err), STATUS_OK);
    assert_int_equal(cuda_open_with(&ops, NULL, r.m, &o, &r.gpu, &err), STATUS_OK);
    assert_non_null(strstr(r.gpu->name, "6 of 6 layers"));
    memory_limit = memory_used - 1;
    backend_close(r.gpu);
    assert_int_equal(memory_used, 0);
    memory_refused = 0;
    o.gpu_layers = 6; /* as a setting: those or none */
    assert_int_equal(cuda_open_with(&ops, NULL, r.m, &o, &r.gpu, &err), STATUS_NO_MEMORY);
    assert_non_null(strstr(err.text, "6 layers need"));
    assert_non_null(strstr(err.text, "keys and values"));
    assert_int_equal(memory_refused, 1);
    assert_int_equal(memory_used, 0);
    o.gpu_layers = BACKEND_LAYERS_FIT;
    assert_int_equal(cuda_open_with(&ops, NULL, r.m, &o, &r.gpu, &err), STATUS_OK);
    assert_non_null(strstr(r.gpu->name, "5 of 6 layers, "));
    assert_int_equal(memory_refused, 2);
    size_t n = (size_t)TOKENS * r.vocabulary;
    float *want = calloc(n, sizeof *want);
    float *got = calloc(n, sizeof *got);
    run_sliced(&r, r.cpu, TOKENS, want);
    run_sliced(&r, r.gpu, TOKENS, got);
    assert_true(apart(want, got, n) < 2e-3F);
    free(want);
    free(got);
    backend_close(r.gpu);
    memory_limit = 0;
    assert_int_equal(cuda_open_with(&ops, NULL, r.m, &o, &r.gpu, &err), STATUS_NO_MEMORY);
    assert_non_null(strstr(err.text, "1 layers need"));
    assert_int_equal(memory_refused, 8);
    assert_int_equal(memory_used, 0);
    backend_close(r.cpu);
    model_close(r.m);
    test_folder_remove(dir);
}

/* The layers that the GPU has not must have room on the processor's side. */
static void test_memory_of_the_rest(void **state)
{
    char dir[64];
    struct error err = {0};
    struct backend *b = NULL;
    struct backend_options o = small_options();
    (void)state;
    test_folder(dir);
    struct model *m = small_model(dir, "gemma3", TENSOR_Q8_0);
    o.gpu_layers = 4;
    o.memory = 1 << 12;
    assert_int_equal(cuda_open_with(device(), NULL, m, &o, &b, &err), STATUS_NO_MEMORY);
    assert_non_null(strstr(err.text, "4 of 6 layers fit on the GPU"));
    assert_non_null(strstr(err.text, "keys and values"));
    o.memory = UINT64_C(1) << 40;
    assert_int_equal(cuda_open_with(device(), NULL, m, &o, &b, &err), STATUS_OK);
    backend_close(b);
    o.memory = 1 << 12; /* nothing is left to it */
    o.gpu_layers = BACKEND_LAYERS_FIT;
    assert_int_equal(cuda_open_with(device(), NULL, m, &o, &b, &err), STATUS_OK);
    backend_close(b);
    /* every layer counts once */
    uint64_t left = plan_packed_from(m, 0);
    assert_int_equal(left, plan_packed_weights(m));
    uint64_t each = left - plan_packed_from(m, 1);
    assert_true(each > 0);
    assert_int_equal(plan_packed_from(m, 6), left - 6 * each);
    assert_int_equal(plan_packed_from(m, 12), left - 6 * each);
    model_close(m);
    test_folder_remove(dir);
}

static uint64_t wide_group(uint32_t type, uint32_t columns)
{
    (void)type;
    return (uint64_t)columns << 20;
}

/* Rows of which no group goes through the buffers, as a file may have them. */
static void test_wide_rows(void **state)
{
    char dir[64];
    struct error err = {0};
    struct backend *b = NULL;
    struct gpu_ops ops = *device();
    struct backend_options o = small_options();
    (void)state;
    test_folder(dir);
    struct model *m = small_model(dir, "llama", TENSOR_Q8_0);
    ops.group_bytes = wide_group;
    assert_int_equal(cuda_open_with(&ops, NULL, m, &o, &b, &err), STATUS_UNSUPPORTED);
    model_close(m);
    test_folder_remove(dir);
}

/* All pages of all for one text: the scratch is for the context that was asked for. */
static void test_longer_than_asked(void **state)
{
    struct rig r;
    char dir[64];
    struct kv_sequence s = {0};
    struct error err;
    uint32_t tokens[PASS];
    float *logits = calloc(512, sizeof *logits);
    (void)state;
    assert_non_null(logits);
    test_folder(dir);
    open_rig_for(&r, dir, "llama", TENSOR_Q8_0, TENSOR_F16, BACKEND_LAYERS_FIT, 256);
    tokens_of(0, PASS, tokens);
    struct model_piece p = {&s, tokens, PASS, false};
    assert_int_equal(kv_reserve(r.gpu->keys, &s, 512, &err), STATUS_OK);
    while (s.length < 256) {
        pass(r.gpu, &p, 1, logits);
    }
    assert_int_equal(backend_forward(r.gpu, &p, 1, logits, &err), STATUS_INVALID);
    assert_int_equal(s.length, 256);
    kv_release(r.gpu->keys, &s);
    close_rig(&r);
    free(logits);
    test_folder_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logits),
        cmocka_unit_test(test_slices),
        cmocka_unit_test(test_neighbours),
        cmocka_unit_test(test_choices),
        cmocka_unit_test(test_some_layers),
        cmocka_unit_test(test_long_texts),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_refused_memory),
        cmocka_unit_test(test_memory_of_the_rest),
        cmocka_unit_test(test_wide_rows),
        cmocka_unit_test(test_longer_than_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
