/* Small seeded models. The expected logits and vectors are llama.cpp 0.5.0's on the same files
 * (32-bit keys and values, flash attention off). */
#include "model/model.h"

#include <float.h>
#include <math.h>

#include "model/quantize.h"
#include "tests/fixture/model_writer.h"
#include "tests/unit/model/model_golden.h"
#include "tests/unit/test.h"

#define TOKENS 40U
#define VOCABULARY 320U

static struct model_writer writer(const char *name, enum tensor_type type)
{
    return model_writer_small(name, type);
}

static void write_model(const char *dir, const struct model_writer *w, char path[256])
{
    struct error err;
    (void)snprintf(path, 256, "%s/%s.gguf", dir, w->architecture);
    assert_int_equal(model_write_file(w, path, &err), STATUS_OK);
}

static void tokens_of(uint32_t first, uint32_t *out)
{
    for (uint32_t i = 0; i < TOKENS; i++) {
        out[i] = i == 0 ? 1 : 259 + (first + i * 7) % 61;
    }
}

struct run {
    struct model *m;
    struct workspace *w;
    struct kv_pool *pool;
    uint32_t vocabulary;
};

static void open_run(struct run *r, const char *path, enum tensor_type kv)
{
    struct error err = {0};
    if (model_open(path, &r->m, &err) != STATUS_OK) {
        fail_msg("%s", err.text);
    }
    struct kv_shape shape = model_kv_shape(r->m, kv);
    assert_int_equal(workspace_new(r->m, 256, &r->w, &err), STATUS_OK);
    assert_int_equal(kv_pool_new(&shape, 64, &r->pool, &err), STATUS_OK);
    r->vocabulary = model_info(r->m)->vocabulary;
}

static void close_run(struct run *r)
{
    kv_pool_free(r->pool);
    workspace_free(r->w);
    model_close(r->m);
}

/* Logits of all tokens, `slice` a pass. */
static void run_sliced(struct run *r, const uint32_t *tokens, uint32_t slice, float *logits)
{
    struct kv_sequence s = {0};
    struct error err;
    assert_int_equal(kv_reserve(r->pool, &s, TOKENS, &err), STATUS_OK);
    for (uint32_t at = 0; at < TOKENS; at += slice) {
        struct model_piece p = {&s, tokens + at, TOKENS - at < slice ? TOKENS - at : slice, true};
        assert_int_equal(
            model_forward(r->m, r->w, r->pool, &p, 1, logits + (size_t)at * r->vocabulary, &err),
            STATUS_OK);
    }
    kv_release(r->pool, &s);
}

/* Pooling by the first or the last token, and the score of a classification head, on the same
 * tokens. */
static void poolings_agree_with_the_reference(void **state)
{
    (void)state;
    char dir[64];
    char path[256];
    struct error err;
    test_folder(dir);
    for (size_t g = 0; g < COUNT_OF(pooling_golden); g++) {
        struct run r;
        uint32_t tokens[TOKENS];
        float values[64];
        struct model_writer w = writer(pooling_golden[g].architecture, TENSOR_F32);
        w.pooling = pooling_golden[g].pooling;
        w.unigram = pooling_golden[g].unigram;
        w.kv_heads = strstr(w.architecture, "bert") != NULL ? w.heads : w.kv_heads;
        w.head = pooling_golden[g].pooling == POOLING_RANK;
        write_model(dir, &w, path);
        open_run(&r, path, TENSOR_F32);
        tokens_of(0, tokens);
        assert_int_equal(model_info(r.m)->pooling, (enum model_pooling)pooling_golden[g].pooling);
        if (w.head) {
            assert_int_equal(model_embed(r.m, r.w, tokens, TOKENS, values, &err), STATUS_INVALID);
            assert_int_equal(model_rank(r.m, r.w, tokens, TOKENS, TOKENS, values, &err), STATUS_OK);
        } else {
            assert_int_equal(model_rank(r.m, r.w, tokens, TOKENS, TOKENS, values, &err),
                             STATUS_INVALID);
            assert_int_equal(model_embed(r.m, r.w, tokens, TOKENS, values, &err), STATUS_OK);
        }
        for (size_t i = 0; i < (w.head ? 1 : MODEL_GOLDEN_VALUES); i++) {
            if (fabsf(values[i] - pooling_golden[g].values[i]) > pooling_golden[g].tolerance) {
                fail_msg("%s pooling %u, value %zu: %.7g, not %.7g", pooling_golden[g].architecture,
                         pooling_golden[g].pooling, i, (double)values[i],
                         (double)pooling_golden[g].values[i]);
            }
        }
        close_run(&r);
    }
    test_folder_remove(dir);
}

static void agrees_with_the_reference(void **state)
{
    (void)state;
    char dir[64];
    char path[256];
    test_folder(dir);
    for (size_t g = 0; g < COUNT_OF(model_golden); g++) {
        struct run r;
        uint32_t tokens[TOKENS];
        struct model_writer w = writer(model_golden[g].architecture, model_golden[g].type);
        float *logits = calloc((size_t)TOKENS * VOCABULARY, sizeof *logits);
        write_model(dir, &w, path);
        open_run(&r, path, TENSOR_F32);
        tokens_of(0, tokens);
        if (model_info(r.m)->encoder) {
            struct error err;
            assert_int_equal(model_embed(r.m, r.w, tokens, TOKENS, logits, &err), STATUS_OK);
        } else {
            run_sliced(&r, tokens, TOKENS, logits);
        }
        const float *last =
            model_info(r.m)->encoder ? logits : logits + (size_t)(TOKENS - 1) * r.vocabulary;
        for (size_t i = 0; i < MODEL_GOLDEN_VALUES; i++) {
            if (fabsf(last[i] - model_golden[g].values[i]) > model_golden[g].tolerance) {
                fail_msg("%s %s, value %zu: %.7g, not %.7g", model_golden[g].architecture,
                         tensor_type_info(model_golden[g].type)->name, i, (double)last[i],
                         (double)model_golden[g].values[i]);
            }
        }
        free(logits);
        close_run(&r);
    }
    test_folder_remove(dir);
}

/* One request alone, in slices, among others, behind a shared beginning, after its pages were lost:
 * the same bits. */
static void answers_are_the_same_bits(void **state)
{
    (void)state;
    static const char *const architectures[] = {"llama",  "qwen2", "qwen3",   "gemma2",
                                                "gemma3", "phi3",  "mixtral", "qwen3moe"};
    char dir[64];
    char path[256];
    struct error err;
    test_folder(dir);
    for (size_t a = 0; a < COUNT_OF(architectures); a++) {
        struct run r;
        uint32_t tokens[TOKENS];
        struct model_writer w = writer(architectures[a], a == 1 ? TENSOR_Q8_0 : TENSOR_F16);
        size_t bytes = (size_t)TOKENS * VOCABULARY * sizeof(float);
        float *alone = malloc(bytes);
        float *other = malloc(bytes);
        write_model(dir, &w, path);
        open_run(&r, path, a == 2 ? TENSOR_F32 : a % 3 == 0 ? TENSOR_Q8_0 : TENSOR_F16);
        tokens_of(0, tokens);
        run_sliced(&r, tokens, TOKENS, alone);
        static const uint32_t slices[] = {1, 7, 16, 33};
        for (size_t i = 0; i < COUNT_OF(slices); i++) {
            run_sliced(&r, tokens, slices[i], other);
            assert_memory_equal(alone, other, bytes);
        }
        /* with other threads */
        struct pool *threads = NULL;
        struct workspace *own = r.w;
        assert_int_equal(pool_new(3, &threads, &err), STATUS_OK);
        for (uint32_t i = 0; i < 2; i++) {
            assert_int_equal(workspace_new_with(r.m, 256, i == 0 ? NULL : threads, &r.w, &err),
                             STATUS_OK);
            run_sliced(&r, tokens, 19, other);
            assert_memory_equal(alone, other, bytes);
            workspace_free(r.w);
        }
        r.w = own;
        pool_free(threads);
        /* among three others, whose lengths differ, in one pass */
        struct kv_sequence s[4] = {{0}};
        uint32_t others[4][TOKENS];
        struct model_piece pieces[4];
        float *last = calloc((size_t)4 * r.vocabulary, sizeof *last);
        for (uint32_t i = 0; i < 4; i++) {
            tokens_of(i == 2 ? 0 : i + 11, others[i]);
            pieces[i] = (struct model_piece){&s[i], others[i], i == 2 ? TOKENS : 5 + i * 9, false};
            assert_int_equal(kv_reserve(r.pool, &s[i], pieces[i].n, &err), STATUS_OK);
        }
        assert_int_equal(model_forward(r.m, r.w, r.pool, pieces, 4, last, &err), STATUS_OK);
        const float *end = alone + (size_t)(TOKENS - 1) * r.vocabulary;
        assert_memory_equal(end, last + (size_t)2 * r.vocabulary, r.vocabulary * sizeof(float));
        /* behind 21 tokens of the first one's pages: the sixth page is shared, then copied */
        struct kv_sequence fork = {0};
        uint32_t before = kv_pool_left(r.pool);
        assert_int_equal(kv_fork(r.pool, &s[2], 21, &fork, &err), STATUS_OK);
        assert_int_equal(kv_pool_left(r.pool), before);
        assert_int_equal(kv_reserve(r.pool, &fork, TOKENS - 21, &err), STATUS_OK);
        struct model_piece rest = {&fork, tokens + 21, TOKENS - 21, false};
        assert_int_equal(model_forward(r.m, r.w, r.pool, &rest, 1, last, &err), STATUS_OK);
        assert_memory_equal(end, last, r.vocabulary * sizeof(float));
        for (uint32_t i = 0; i < 4; i++) {
            kv_release(r.pool, &s[i]);
        }
        kv_release(r.pool, &fork);
        assert_int_equal(kv_pool_left(r.pool), 64);
        free(alone);
        free(other);
        free(last);
        close_run(&r);
    }
    test_folder_remove(dir);
}

/* A file made smaller answers nearly as the one it was made of. */
static void quantized_files_run(void **state)
{
    (void)state;
    static const char *const types[] = {"Q8_0", "Q4_0", "Q4_K", "Q6_K", "Q4_K_M"};
    char dir[64];
    char path[256];
    char made[300];
    struct error err = {0};
    test_folder(dir);
    struct model_writer w = writer("llama", TENSOR_F32);
    w.width = 256;
    w.feed_forward = 512;
    write_model(dir, &w, path);
    size_t n = (size_t)TOKENS * VOCABULARY;
    float *exact = calloc(n, sizeof *exact);
    float *got = calloc(n, sizeof *got);
    uint32_t tokens[TOKENS];
    struct run r;
    tokens_of(0, tokens);
    open_run(&r, path, TENSOR_F32);
    run_sliced(&r, tokens, TOKENS, exact);
    close_run(&r);
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        double both = 0;
        double left = 0;
        double right = 0;
        (void)snprintf(made, sizeof made, "%s/%s.gguf", dir, types[i]);
        if (model_quantize_file(path, made, types[i], &err) != STATUS_OK) {
            fail_msg("%s", err.text);
        }
        assert_int_equal(model_quantize_file(path, made, types[i], &err), STATUS_CONFLICT);
        open_run(&r, made, TENSOR_F32);
        run_sliced(&r, tokens, TOKENS, got);
        close_run(&r);
        for (size_t k = 0; k < n; k++) {
            both += (double)exact[k] * (double)got[k];
            left += (double)exact[k] * (double)exact[k];
            right += (double)got[k] * (double)got[k];
        }
        if (both / sqrt(left * right) < (i == 0 || i == 3 ? 0.99 : 0.9)) {
            fail_msg("%s: cosine of the logits %.4f", types[i], both / sqrt(left * right));
        }
    }
    assert_int_equal(model_quantize_file(path, "/nowhere/x", "Q3_K", &err), STATUS_INVALID);
    (void)snprintf(made, sizeof made, "%s/again.gguf", dir);
    (void)snprintf(path, sizeof path, "%s/Q8_0.gguf", dir);
    assert_int_equal(model_quantize_file(path, made, "Q4_0", &err), STATUS_INVALID);
    assert_non_null(strstr(err.text, "already"));
    (void)snprintf(made, sizeof made, "%s/own.gguf.part",
                   dir); /* where own.gguf would be written */
    assert_int_equal(rename(path, made), 0);
    (void)snprintf(path, sizeof path, "%s/own.gguf.part", dir);
    made[strlen(made) - 5] = '\0';
    assert_int_equal(model_quantize_file(path, made, "Q8_0", &err), STATUS_INVALID);
    assert_non_null(strstr(err.text, "another name"));
    open_run(&r, path, TENSOR_F32); /* it is whole */
    close_run(&r);
    free(exact);
    free(got);
    test_folder_remove(dir);
}

static void bad_models_are_refused(void **state)
{
    (void)state;
    char dir[64];
    char path[256];
    struct error err = {0};
    struct model *m = NULL;
    test_folder(dir);
    struct model_writer w = writer("llama", TENSOR_F32);
    w.leave_out = "blk.1.ffn_up.weight";
    write_model(dir, &w, path);
    assert_int_equal(model_open(path, &m, &err), STATUS_INVALID);
    assert_non_null(strstr(err.text, "blk.1.ffn_up.weight is missing"));
    w = writer("llama", TENSOR_F32);
    w.architecture = "mamba";
    write_model(dir, &w, path);
    assert_int_equal(model_open(path, &m, &err), STATUS_UNSUPPORTED);
    assert_non_null(strstr(err.text, "\"mamba\""));
    w = writer("llama", TENSOR_F32);
    w.layers = 0;
    write_model(dir, &w, path);
    assert_int_equal(model_open(path, &m, &err), STATUS_INVALID);
    w = writer("llama", TENSOR_F32);
    w.heads = 3; /* 64 / 3 is no head's width */
    w.kv_heads = 3;
    write_model(dir, &w, path);
    assert_int_equal(model_open(path, &m, &err), STATUS_INVALID);
    test_folder_remove(dir);
}

/* Damaged weights give keys that are no numbers, or without end: kept as something. */
static void odd_keys_are_kept(void **state)
{
    (void)state;
    static const float odd[] = {NAN, INFINITY, -INFINITY, 1e-44F, FLT_MAX, -FLT_MAX, 0, 1};
    static const enum tensor_type types[] = {TENSOR_F32, TENSOR_F16, TENSOR_Q8_0};
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        struct kv_shape shape = {
            .layers = 1, .key_width = 64, .value_width = 64, .heads = 1, .type = types[i]};
        struct kv_pool *pool = NULL;
        struct kv_sequence s = {0};
        struct error err;
        assert_int_equal(kv_pool_new(&shape, 1, &pool, &err), STATUS_OK);
        assert_int_equal(kv_reserve(pool, &s, KV_PAGE, &err), STATUS_OK);
        for (uint32_t k = 0; k < COUNT_OF(odd); k++) {
            float values[64] = {0};
            values[k] = odd[k];
            values[40 + k] = -odd[k];
            kv_put(pool, &s, 0, k, values, values);
        }
        kv_release(pool, &s);
        kv_pool_free(pool);
    }
}

static void limits_hold(void **state)
{
    (void)state;
    char dir[64];
    char path[256];
    struct error err;
    struct run r;
    test_folder(dir);
    struct model_writer w = writer("llama", TENSOR_F32);
    write_model(dir, &w, path);
    open_run(&r, path, TENSOR_F32);
    struct kv_sequence s = {0};
    float *logits = calloc(r.vocabulary, sizeof *logits);
    assert_int_equal(kv_reserve(r.pool, &s, 64 * KV_PAGE + 1, &err), STATUS_BUSY);
    assert_int_equal(kv_pool_left(r.pool), 64);
    assert_int_equal(kv_reserve(r.pool, &s, 4, &err), STATUS_OK);
    uint32_t bad[2] = {5, 320};
    struct model_piece p = {&s, bad, 2, false};
    assert_int_equal(model_forward(r.m, r.w, r.pool, &p, 1, logits, &err), STATUS_INVALID);
    assert_int_equal(s.length, 0);
    assert_int_equal(model_embed(r.m, r.w, bad, 1, logits, &err), STATUS_INVALID);
    kv_release(r.pool, &s);
    free(logits);
    close_run(&r);
    test_folder_remove(dir);
}

int main(int argc, char **argv)
{
    if (argc ==
        4) { /* FILE ARCHITECTURE TYPE: writes a model, for making the expected values again */
        struct error err = {0};
        struct model_writer w = writer(argv[2], (enum tensor_type)strtoul(argv[3], NULL, 10));
        return model_write_file(&w, argv[1], &err) == STATUS_OK ? 0 : 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_the_reference),
        cmocka_unit_test(poolings_agree_with_the_reference),
        cmocka_unit_test(answers_are_the_same_bits),
        cmocka_unit_test(quantized_files_run),
        cmocka_unit_test(bad_models_are_refused),
        cmocka_unit_test(odd_keys_are_kept),
        cmocka_unit_test(limits_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
