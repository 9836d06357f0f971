/* Every architecture, type and pooling beside llama.cpp on the same seeded file and the same tokens
 * (tests/peer/engine.h), within the gates of docs/benchmarks.md. Skipped, with the reason, where
 * the peer's package is not installed. */
#include <math.h>

#include "base/file.h"
#include "model/model.h"
#include "tests/fixture/model_writer.h"
#include "tests/peer/engine.h"
#include "tests/unit/test.h"

#define TOKENS 48U
#define TOKENS_FROM 259U /* of the fixture's vocabulary, behind special and byte tokens */
#define SKIPPED 77

/* Largest difference of 32-bit logits; mean divergence and the margin above which the first choice
 * must be the peer's, of quantised ones; cosine of vectors. */
#define GATE_LOGIT 0.01
#define GATE_DIVERGENCE 0.003
#define GATE_MARGIN 0.5
#define GATE_COSINE 0.9999
#define GATE_PERPLEXITY 0.005
#define WINDOW 512U

static struct engine *engine;

struct difference {
    double largest, divergence;
    size_t
        other_choices; /* first choices that differ though the peer's margin exceeds the gate's */
};

struct model_file {
    char dir[64];
    char path[128];
};

static void write_file(struct model_file *f, const struct model_writer *w)
{
    struct error err;
    test_folder(f->dir);
    (void)snprintf(f->path, sizeof f->path, "%s/model.gguf", f->dir);
    assert_int_equal(model_write_file(w, f->path, &err), STATUS_OK);
}

static void tokens_of(uint32_t vocabulary, uint32_t *out)
{
    for (uint32_t i = 0; i < TOKENS; i++) {
        out[i] = i == 0 ? 1 : TOKENS_FROM + i * 7919 % (vocabulary - TOKENS_FROM);
    }
}

static float *floats(size_t n)
{
    float *p = calloc(n + 1, sizeof *p);
    assert_non_null(p);
    return p;
}

static struct model *open_model(const char *path, struct workspace **w)
{
    struct model *m = NULL;
    struct error err = {0};
    if (model_open(path, &m, &err) != STATUS_OK) {
        fail_msg("%s", err.text);
    }
    assert_int_equal(workspace_new(m, TOKENS, w, &err), STATUS_OK);
    return m;
}

/* TOKENS rows of logits. */
static float *our_logits(const char *path, const uint32_t *tokens)
{
    struct workspace *w = NULL;
    struct model *m = open_model(path, &w);
    struct kv_pool *pool = NULL;
    struct kv_sequence sequence = {0};
    struct kv_shape shape = model_kv_shape(m, TENSOR_F32);
    struct error err = {0};
    float *out = floats((size_t)TOKENS * model_info(m)->vocabulary);
    assert_int_equal(kv_pool_new(&shape, TOKENS / KV_PAGE, &pool, &err), STATUS_OK);
    assert_int_equal(kv_reserve(pool, &sequence, TOKENS, &err), STATUS_OK);
    struct model_piece piece = {&sequence, tokens, TOKENS, true};
    assert_int_equal(model_forward(m, w, pool, &piece, 1, out, &err), STATUS_OK);
    kv_release(pool, &sequence);
    kv_pool_free(pool);
    workspace_free(w);
    model_close(m);
    return out;
}

static struct engine_run *open_peer(const char *path, bool vectors)
{
    struct engine_options o = {.context = 256,
                               .batch = TOKENS,
                               .sequences = 1,
                               .threads = 1,
                               .vectors = vectors,
                               .exact = true};
    struct engine_run *r = engine_run_open(engine, path, &o);
    if (r == NULL) {
        fail_msg("the peer does not load %s", path);
    }
    return r;
}

static void pass_peer(struct engine_run *r, const uint32_t *tokens)
{
    struct engine_token list[TOKENS];
    for (uint32_t i = 0; i < TOKENS; i++) {
        list[i] = (struct engine_token){tokens[i], i, 0, true};
    }
    assert_true(engine_pass(r, list, TOKENS));
}

static float *peer_logits(const char *path, const uint32_t *tokens)
{
    struct engine_run *r = open_peer(path, false);
    size_t n = engine_vocabulary(r);
    float *out = floats(TOKENS * n);
    pass_peer(r, tokens);
    for (uint32_t i = 0; i < TOKENS; i++) {
        memcpy(out + i * n, engine_logits(r, i), n * sizeof *out);
    }
    engine_run_close(r);
    return out;
}

static double log_sum(const float *logits, uint32_t n)
{
    double most = -INFINITY;
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        most = (double)logits[i] > most ? (double)logits[i] : most;
    }
    for (uint32_t i = 0; i < n; i++) {
        sum += exp((double)logits[i] - most);
    }
    return most + log(sum);
}

static uint32_t first_choice(const float *logits, uint32_t n)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < n; i++) {
        best = logits[i] > logits[best] ? i : best;
    }
    return best;
}

static double margin(const float *logits, uint32_t n)
{
    uint32_t best = first_choice(logits, n);
    double second = -INFINITY;
    for (uint32_t i = 0; i < n; i++) {
        second = i != best && (double)logits[i] > second ? (double)logits[i] : second;
    }
    return (double)logits[best] - second;
}

static struct difference compare(const float *reference, const float *other, uint32_t vocabulary)
{
    struct difference d = {0};
    for (uint32_t t = 0; t < TOKENS; t++) {
        const float *a = reference + (size_t)t * vocabulary;
        const float *b = other + (size_t)t * vocabulary;
        double sum_a = log_sum(a, vocabulary);
        double sum_b = log_sum(b, vocabulary);
        for (uint32_t i = 0; i < vocabulary; i++) {
            double apart = fabs((double)a[i] - (double)b[i]);
            double p = (double)a[i] - sum_a;
            d.largest = apart > d.largest || isnan(apart) ? apart : d.largest;
            d.divergence += exp(p) * (p - ((double)b[i] - sum_b)) / TOKENS;
        }
        if (first_choice(a, vocabulary) != first_choice(b, vocabulary) &&
            margin(a, vocabulary) > GATE_MARGIN) {
            d.other_choices++;
        }
    }
    return d;
}

static void decoders_agree(void **state)
{
    (void)state;
    static const char *const names[] = {"llama",    "mixtral", "qwen2",  "qwen3",
                                        "qwen3moe", "gemma2",  "gemma3", "phi3"};
    static const enum tensor_type types[] = {TENSOR_F32, TENSOR_F16, TENSOR_Q8_0};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        for (size_t k = 0; k < COUNT_OF(types); k++) {
            struct model_file f;
            struct model_writer w = model_writer_small(names[i], types[k]);
            uint32_t tokens[TOKENS];
            w.feed_forward = 128; /* whole blocks for half of it too, which an expert has */
            write_file(&f, &w);
            tokens_of(w.vocabulary, tokens);
            float *theirs = peer_logits(f.path, tokens);
            float *ours = our_logits(f.path, tokens);
            struct difference d = compare(theirs, ours, w.vocabulary);
            print_message("%-9s %-5s largest difference %.2g, mean divergence %.2g\n", names[i],
                          tensor_type_info(types[k])->name, d.largest, d.divergence);
            if (types[k] == TENSOR_F32) {
                assert_true(d.largest <= GATE_LOGIT);
            }
            assert_true(d.divergence <= GATE_DIVERGENCE);
            assert_int_equal(d.other_choices, 0);
            free(ours);
            free(theirs);
            test_folder_remove(f.dir);
        }
    }
}

/* Files that the peer itself rounded. Where the gate is narrower than what the peer's own rounding
 * of activations costs it, we must be no further than it from the same weights run exactly. */
static void types_agree(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int type; /* the peer's number for files */
        bool pure;
    } cases[] = {{"F16", 1, true},     {"BF16", 32, true},   {"Q8_0", 7, true},
                 {"Q4_0", 2, true},    {"Q4_1", 3, true},    {"Q5_0", 8, true},
                 {"Q5_1", 9, true},    {"Q2_K", 10, true},   {"Q3_K", 12, true},
                 {"Q4_K", 14, true},   {"Q5_K", 16, true},   {"Q6_K", 18, true},
                 {"IQ4_NL", 25, true}, {"IQ4_XS", 30, true}, {"Q4_K_M", 15, false}};
    struct model_writer w = model_writer_small("llama", TENSOR_F32);
    struct model_file f;
    uint32_t tokens[TOKENS];
    w.width = 256;
    w.feed_forward = 512;
    w.vocabulary = 1024;
    write_file(&f, &w);
    tokens_of(w.vocabulary, tokens);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char rounded[160];
        char exact[160];
        (void)snprintf(rounded, sizeof rounded, "%s/%s.gguf", f.dir, cases[i].name);
        (void)snprintf(exact, sizeof exact, "%s/exact.gguf", f.dir);
        assert_true(engine_quantize(engine, f.path, rounded, cases[i].type, cases[i].pure));
        assert_true(engine_quantize(engine, rounded, exact, 0, true));
        float *theirs = peer_logits(rounded, tokens);
        float *ours = our_logits(rounded, tokens);
        float *truth = peer_logits(exact, tokens);
        struct difference d = compare(theirs, ours, w.vocabulary);
        struct difference we = compare(truth, ours, w.vocabulary);
        struct difference they = compare(truth, theirs, w.vocabulary);
        print_message("%-6s mean divergence from the peer %.2g; from its weights run exactly: ours "
                      "%.2g, the peer's %.2g\n",
                      cases[i].name, d.divergence, we.divergence, they.divergence);
        assert_true(d.divergence <= GATE_DIVERGENCE || we.divergence <= they.divergence);
        assert_int_equal(d.other_choices, 0);
        free(ours);
        free(theirs);
        free(truth);
    }
    test_folder_remove(f.dir);
}

/* Windows of 512 tokens one behind the other, of which the second half is foretold. */
static double peer_perplexity(const char *path, const char *text)
{
    struct engine_options o = {
        .context = WINDOW, .batch = WINDOW, .sequences = 1, .threads = 1, .exact = true};
    struct engine_token list[WINDOW];
    struct buf file;
    struct error err;
    double sum = 0;
    size_t counted = 0;
    struct engine_run *r = engine_run_open(engine, path, &o);
    assert_non_null(r);
    uint32_t vocabulary = engine_vocabulary(r);
    buf_init(&file, (size_t)1 << 24);
    assert_int_equal(file_read(text, &file, &err), STATUS_OK);
    int32_t *ids = calloc(3 * file.len + 16, sizeof *ids);
    assert_non_null(ids);
    int64_t n = engine_tokenize(r, file.ptr, file.len, true, ids);
    for (int64_t at = 0; at + WINDOW <= n; at += WINDOW) {
        for (uint32_t i = 0; i < WINDOW; i++) {
            uint32_t id = (uint32_t)(i == 0 ? ids[0] : ids[at + i]);
            list[i] = (struct engine_token){id, i, 0, i >= WINDOW / 2};
        }
        engine_forget(r);
        assert_true(engine_pass(r, list, WINDOW));
        for (uint32_t i = WINDOW / 2; i + 1 < WINDOW; i++) {
            const float *logits = engine_logits(r, i);
            sum += log_sum(logits, vocabulary) - (double)logits[list[i + 1].id];
            counted++;
        }
    }
    free(ids);
    buf_deinit(&file);
    engine_run_close(r);
    assert_true(counted > 0);
    return exp(sum / (double)counted);
}

/* `carrel model eval` beside the perplexity of the peer's logits, counted the same way. */
static void perplexity_agrees(void **state)
{
    (void)state;
    static const enum tensor_type types[] = {TENSOR_F32, TENSOR_Q8_0};
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        struct model_file f;
        struct model_writer w = model_writer_small("llama", types[i]);
        char command[512];
        struct buf printed;
        struct error err;
        double ours = 0;
        w.context = 2 * WINDOW;
        write_file(&f, &w);
        (void)snprintf(command, sizeof command,
                       "%s/carrel model eval %s %s/docs/architecture.md --json >%s/printed",
                       CARREL_BIN_DIR, f.path, CARREL_SOURCE_DIR, f.dir);
        assert_int_equal(system(command), 0);
        buf_init(&printed, 4096);
        (void)snprintf(command, sizeof command, "%s/printed", f.dir);
        assert_int_equal(file_read(command, &printed, &err), STATUS_OK);
        assert_int_equal(sscanf(printed.ptr, "{\"perplexity\": %lf", &ours), 1);
        buf_deinit(&printed);
        double theirs = peer_perplexity(f.path, CARREL_SOURCE_DIR "/docs/architecture.md");
        print_message("perplexity %s: ours %.4f, the peer's %.4f\n",
                      tensor_type_info(types[i])->name, ours, theirs);
        assert_true(fabs(ours / theirs - 1) < GATE_PERPLEXITY);
        test_folder_remove(f.dir);
    }
}

static void vectors_agree(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint32_t pooling;
        enum tensor_type type;
    } cases[] = {{"bert", POOLING_MEAN, TENSOR_F32},       {"bert", POOLING_MEAN, TENSOR_F16},
                 {"bert", POOLING_CLS, TENSOR_F16},        {"bert", POOLING_LAST, TENSOR_F16},
                 {"xlm-r", POOLING_MEAN, TENSOR_F32},      {"xlm-r", POOLING_CLS, TENSOR_F16},
                 {"nomic-bert", POOLING_MEAN, TENSOR_F32}, {"nomic-bert", POOLING_MEAN, TENSOR_F16},
                 {"qwen3", POOLING_LAST, TENSOR_F32},      {"qwen3", POOLING_LAST, TENSOR_F16}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct model_file f;
        struct model_writer w = model_writer_small(cases[i].name, cases[i].type);
        struct workspace *space = NULL;
        struct error err = {0};
        uint32_t tokens[TOKENS];
        float ours[64];
        double both = 0;
        double left = 0;
        double right = 0;
        w.pooling = cases[i].pooling;
        write_file(&f, &w);
        tokens_of(w.vocabulary, tokens);
        struct model *m = open_model(f.path, &space);
        assert_int_equal(model_embed(m, space, tokens, TOKENS, ours, &err), STATUS_OK);
        struct engine_run *r = open_peer(f.path, true);
        pass_peer(r, tokens);
        const float *theirs = engine_vector(r, 0);
        assert_non_null(theirs);
        assert_int_equal(engine_width(r), w.width);
        for (uint32_t k = 0; k < w.width; k++) {
            both += (double)ours[k] * (double)theirs[k];
            left += (double)ours[k] * (double)ours[k];
            right += (double)theirs[k] * (double)theirs[k];
        }
        print_message("%-10s pooling %u %-4s cosine %.7f\n", cases[i].name, cases[i].pooling,
                      tensor_type_info(cases[i].type)->name, both / sqrt(left * right));
        assert_true(both / sqrt(left * right) >= GATE_COSINE);
        engine_run_close(r);
        workspace_free(space);
        model_close(m);
        test_folder_remove(f.dir);
    }
}

static void rerankers_agree(void **state)
{
    (void)state;
    static const char *const names[] = {"bert", "xlm-r"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct model_file f;
        struct model_writer w = model_writer_small(names[i], TENSOR_F32);
        struct workspace *space = NULL;
        struct error err = {0};
        uint32_t tokens[TOKENS];
        float score = 0;
        w.head = true;
        write_file(&f, &w);
        tokens_of(w.vocabulary, tokens);
        struct model *m = open_model(f.path, &space);
        /* the peer knows no second kind of token: all are of the first text */
        assert_int_equal(model_rank(m, space, tokens, TOKENS, TOKENS, &score, &err), STATUS_OK);
        struct engine_run *r = open_peer(f.path, true);
        pass_peer(r, tokens);
        print_message("%-6s reranker: score %.6f, the peer's %.6f\n", names[i], (double)score,
                      (double)engine_vector(r, 0)[0]);
        assert_true(fabsf(score - engine_vector(r, 0)[0]) < 1e-3F);
        engine_run_close(r);
        workspace_free(space);
        model_close(m);
        test_folder_remove(f.dir);
    }
}

int main(void)
{
    char reason[256] = "";
    if (!engine_open(CARREL_PEER_MODULES, &engine, reason)) {
        (void)printf("SKIPPED: the comparison with llama.cpp does not run: %s\n", reason);
        return SKIPPED;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decoders_agree),    cmocka_unit_test(types_agree),
        cmocka_unit_test(perplexity_agrees), cmocka_unit_test(vectors_agree),
        cmocka_unit_test(rerankers_agree),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    engine_close(engine);
    return failed;
}
