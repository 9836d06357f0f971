/* One request gives the same tokens and the same logits, bit for bit, whatever runs beside it and
 * however it is cut: alone and among fifteen others, with prompt slices of 1, 7, 64 and 512 tokens,
 * with and without a prefix hit, after its pages were evicted and computed again, with one thread
 * and with two. */
#include "model/model.h"

#include "model/quantize.h"
#include "model/sampler.h"
#include "tests/fixture/model_writer.h"
#include "tests/unit/test.h"

#define PROMPT 530U
#define ANSWER 12U
#define ALL (PROMPT + ANSWER)
#define OTHERS 15U
#define SLICE_MAX 512U
#define FEW 64U
#define VOCABULARY 320U
#define PAGES ((OTHERS + 2) * (ALL + 64) / KV_PAGE + 64)

struct machine {
    struct model *m;
    struct pool *threads;
    struct workspace *w[2];   /* one thread, two */
    struct kv_pool *pools[2]; /* for passes of 512 tokens, of 64 */
    struct kv_pool *kv;       /* the one in use */
};

struct answer {
    uint32_t tokens[ALL];
    float logits[(size_t)ALL * VOCABULARY];
};

struct conditions {
    uint32_t slice, threads, others;
    uint32_t prefix; /* tokens of the prompt that another sequence holds already */
};

/* What runs beside: prompts of several lengths, then a token a pass. */
struct others {
    struct kv_sequence s[OTHERS];
    uint32_t tokens[OTHERS][SLICE_MAX];
    uint32_t done[OTHERS];
};

static uint32_t token_at(uint32_t text, uint32_t i)
{
    return 259 + (text * 13 + i * 7 + i * i % 11) % 61;
}

static void open_machine(struct machine *r, const char *path, enum tensor_type kv)
{
    struct error err = {0};
    if (model_open(path, &r->m, &err) != STATUS_OK) {
        fail_msg("%s", err.text);
    }
    struct kv_shape shape = model_kv_shape(r->m, kv);
    assert_int_equal(model_info(r->m)->vocabulary, VOCABULARY);
    assert_int_equal(pool_new(2, &r->threads, &err), STATUS_OK);
    assert_int_equal(workspace_new_with(r->m, 1024, NULL, &r->w[0], &err), STATUS_OK);
    assert_int_equal(workspace_new_with(r->m, 1024, r->threads, &r->w[1], &err), STATUS_OK);
    for (uint32_t i = 0; i < 2; i++) { /* the rings of layers with a window are as long */
        shape.pass_tokens = i == 0 ? SLICE_MAX : FEW;
        assert_int_equal(kv_pool_new(&shape, PAGES, &r->pools[i], &err), STATUS_OK);
    }
}

static void close_machine(struct machine *r)
{
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(kv_pool_left(r->pools[i]), PAGES);
        kv_pool_free(r->pools[i]);
    }
    workspace_free(r->w[0]);
    workspace_free(r->w[1]);
    pool_free(r->threads);
    model_close(r->m);
}

/* The others' part of the next pass, in front of and behind ours. */
static void add_others(struct machine *r, struct others *o, uint32_t n, struct model_piece *pieces)
{
    struct error err;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t more = o->done[i] == 0 ? 1 + i * 3 : 1;
        for (uint32_t k = 0; k < more; k++) {
            o->tokens[i][k] = token_at(i + 1, o->done[i] + k);
        }
        assert_int_equal(kv_reserve(r->kv, &o->s[i], more, &err), STATUS_OK);
        pieces[i < n / 2 ? i : i + 1] =
            (struct model_piece){&o->s[i], o->tokens[i], more, i % 4 == 0};
        o->done[i] += more;
    }
}

/* Logits come in the pieces' order: how many rows before piece `at`. */
static size_t rows_before(const struct model_piece *pieces, uint32_t at)
{
    size_t rows = 0;
    for (uint32_t i = 0; i < at; i++) {
        rows += pieces[i].every_logit ? pieces[i].n : 1;
    }
    return rows;
}

/* One pass of n tokens of ours beside the others; their logits to out. */
static void pass(struct machine *r, const struct conditions *c, struct others *o,
                 struct kv_sequence *s, const uint32_t *tokens, uint32_t n, float *out)
{
    static float logits[(size_t)(SLICE_MAX + 1024) * VOCABULARY];
    struct model_piece pieces[OTHERS + 1];
    struct error err;
    uint32_t ours = c->others / 2;
    add_others(r, o, c->others, pieces);
    assert_int_equal(kv_reserve(r->kv, s, n, &err), STATUS_OK);
    pieces[ours] = (struct model_piece){s, tokens, n, true};
    assert_int_equal(
        model_forward(r->m, r->w[c->threads - 1], r->kv, pieces, c->others + 1, logits, &err),
        STATUS_OK);
    memcpy(out, logits + rows_before(pieces, ours) * VOCABULARY,
           (size_t)n * VOCABULARY * sizeof *out);
}

static void answer(struct machine *r, const struct conditions *c, struct answer *a)
{
    static const struct sampler_options options = {.temperature = .9F,
                                                   .top_k = 40,
                                                   .top_p = .95F,
                                                   .repetition_penalty = 1.1F,
                                                   .window = 32,
                                                   .seed = 7};
    static struct others beside;
    struct kv_sequence s = {0};
    struct kv_sequence holder = {0};
    struct conditions alone = {SLICE_MAX, 1, 0, 0};
    struct sampler *sampler = NULL;
    struct error err;
    memset(&beside, 0, sizeof beside);
    memset(a, 0, sizeof *a);
    for (uint32_t i = 0; i < PROMPT; i++) {
        a->tokens[i] = i == 0 ? 1 : token_at(0, i);
    }
    r->kv = r->pools[c->slice <= FEW ? 1 : 0];
    for (uint32_t at = 0; at < c->prefix; at += FEW) {
        uint32_t n = c->prefix - at < FEW ? c->prefix - at : FEW;
        pass(r, &alone, &beside, &holder, a->tokens + at, n, a->logits + (size_t)at * VOCABULARY);
    }
    if (c->prefix > 0) {
        assert_int_equal(kv_fork(r->kv, &holder, c->prefix, &s, &err), STATUS_OK);
    }
    for (uint32_t at = c->prefix; at < PROMPT; at += c->slice) {
        uint32_t n = PROMPT - at < c->slice ? PROMPT - at : c->slice;
        pass(r, c, &beside, &s, a->tokens + at, n, a->logits + (size_t)at * VOCABULARY);
    }
    assert_int_equal(sampler_new(&options, VOCABULARY, &sampler, &err), STATUS_OK);
    for (uint32_t i = 0; i < ANSWER; i++) {
        const float *last = a->logits + (size_t)(PROMPT + i - 1) * VOCABULARY;
        a->tokens[PROMPT + i] = sampler_pick(sampler, last, NULL, i);
        sampler_accept(sampler, a->tokens[PROMPT + i]);
        pass(r, c, &beside, &s, a->tokens + PROMPT + i, 1,
             a->logits + (size_t)(PROMPT + i) * VOCABULARY);
    }
    sampler_free(sampler);
    kv_release(r->kv, &s);
    kv_release(r->kv, &holder);
    for (uint32_t i = 0; i < OTHERS; i++) {
        kv_release(r->kv, &beside.s[i]);
    }
}

static void same(const struct answer *wanted, const struct answer *got, const char *what,
                 const struct conditions *c)
{
    if (memcmp(wanted, got, sizeof *wanted) != 0) {
        for (uint32_t i = 0; i < ALL; i++) {
            size_t row = (size_t)i * VOCABULARY;
            if (wanted->tokens[i] != got->tokens[i] ||
                memcmp(wanted->logits + row, got->logits + row, VOCABULARY * sizeof(float)) != 0) {
                fail_msg("%s, slices of %u, %u threads, %u others, prefix %u: token %u differs",
                         what, c->slice, c->threads, c->others, c->prefix, i);
            }
        }
    }
}

static void replays(const char *path, const char *what, enum tensor_type kv, bool all)
{
    static const uint32_t slices[] = {512, 1, 7, 64};
    static const uint32_t prefixes[] = {0, 333}; /* in the middle of a page */
    struct machine r;
    struct answer *first = malloc(sizeof *first);
    struct answer *again = malloc(sizeof *again);
    assert_non_null(first);
    assert_non_null(again);
    open_machine(&r, path, kv);
    struct conditions alone = {SLICE_MAX, 1, 0, 0};
    answer(&r, &alone, first);
    /* its pages are gone, others' lie where they lay; computed again */
    struct conditions crowded = {64, 1, OTHERS, 0};
    answer(&r, &crowded, again);
    same(first, again, what, &crowded);
    answer(&r, &alone, again);
    same(first, again, what, &alone);
    for (uint32_t i = 0; i < COUNT_OF(slices) * 2 * 2 * COUNT_OF(prefixes); i++) {
        struct conditions c = {.slice = slices[i % 4],
                               .threads = 1 + i / 4 % 2,
                               .others = i / 8 % 2 * OTHERS,
                               .prefix = prefixes[i / 16]};
        /* slices of one among fifteen others take longest */
        if (!all && (c.slice == 1 || i % 3 == 1)) {
            continue;
        }
        answer(&r, &c, again);
        same(first, again, what, &c);
    }
    close_machine(&r);
    free(first);
    free(again);
}

static void write_model(const char *dir, const struct model_writer *w, char path[256])
{
    struct error err;
    (void)snprintf(path, 256, "%s/model.gguf", dir);
    assert_int_equal(model_write_file(w, path, &err), STATUS_OK);
}

/* Every condition with every other, for each way of keeping keys and values. */
static void all_conditions(void **state)
{
    (void)state;
    static const struct {
        enum tensor_type type;
        const char *name;
    } kept[] = {{TENSOR_F16, "llama, F16 keys"}, {TENSOR_Q8_0, "llama, Q8_0 keys"}};
    char dir[64];
    char path[256];
    struct model_writer w = model_writer_small("llama", TENSOR_Q8_0);
    test_folder(dir);
    w.context = 1024;
    write_model(dir, &w, path);
    for (size_t i = 0; i < COUNT_OF(kept); i++) {
        replays(path, kept[i].name, kept[i].type, true);
    }
    test_folder_remove(dir);
}

static void all_architectures(void **state)
{
    (void)state;
    static const char *const names[] = {"mixtral", "qwen2",  "qwen3", "qwen3moe",
                                        "gemma2",  "gemma3", "phi3"};
    static const enum tensor_type kept[] = {TENSOR_F16, TENSOR_Q8_0, TENSOR_F32};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        char dir[64];
        char path[256];
        struct model_writer w = model_writer_small(names[i], i % 2 == 0 ? TENSOR_F16 : TENSOR_F32);
        test_folder(dir);
        w.context = 1024;
        write_model(dir, &w, path);
        replays(path, names[i], kept[i % 3], false);
        test_folder_remove(dir);
    }
}

static void all_mixtures_of_types(void **state)
{
    (void)state;
    static const char *const types[] = {"Q4_0", "Q4_K_M", "Q6_K"};
    char dir[64];
    char path[256];
    char made[300];
    struct error err = {0};
    struct model_writer w = model_writer_small("llama", TENSOR_F32);
    test_folder(dir);
    w.context = 1024;
    w.width = 256;
    w.feed_forward = 512;
    write_model(dir, &w, path);
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        (void)snprintf(made, sizeof made, "%s/%s.gguf", dir, types[i]);
        assert_int_equal(model_quantize_file(path, made, types[i], &err), STATUS_OK);
        replays(made, types[i], TENSOR_Q8_0, false);
    }
    test_folder_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_conditions),
        cmocka_unit_test(all_architectures),
        cmocka_unit_test(all_mixtures_of_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
