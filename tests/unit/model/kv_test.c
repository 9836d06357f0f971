/* Keys and values as bytes (Q8_0): near those kept as floats, the same bits in every set of
 * kernels and however a prompt is sliced. */
#include "model/kv.h"

#include <math.h>

#include "model/attend.h"
#include "model/model.h"
#include "tests/fixture/model_writer.h"
#include "tests/unit/test.h"

static uint64_t state_of_random = 7;

static uint32_t random_u32(void)
{
    state_of_random = state_of_random * 6364136223846793005U + 1442695040888963407U;
    return (uint32_t)(state_of_random >> 33);
}

static void random_floats(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)random_u32() / 1073741824.0F - 1.0F; /* -1 to 1 */
    }
}

/* ---- attention over a pool's pages ---- */

#define HEADS 2U
#define KEYS 45U
#define WIDEST 96U

struct filled {
    struct kv_pool *pool;
    struct kv_sequence sequence;
    uint32_t head;
};

static void page_of(const void *data, uint32_t page, const void **keys, const void **values)
{
    const struct filled *f = data;
    kv_page(f->pool, &f->sequence, 1, f->head, page, keys, values);
}

static void fill(struct filled *f, enum tensor_type type, uint32_t key_width, uint32_t value_width,
                 const float *keys, const float *values)
{
    struct kv_shape shape = {.layers = 2,
                             .key_width = key_width * HEADS,
                             .value_width = value_width * HEADS,
                             .heads = HEADS,
                             .type = type};
    struct error err;
    *f = (struct filled){0};
    assert_int_equal(kv_pool_new(&shape, 4, &f->pool, &err), STATUS_OK);
    assert_int_equal(kv_reserve(f->pool, &f->sequence, KEYS, &err), STATUS_OK);
    for (uint32_t t = 0; t < KEYS; t++) {
        kv_put(f->pool, &f->sequence, 1, t, keys + (size_t)t * HEADS * WIDEST,
               values + (size_t)t * HEADS * WIDEST);
    }
}

static void empty(struct filled *f)
{
    kv_release(f->pool, &f->sequence);
    kv_pool_free(f->pool);
}

static void attend_with(const struct kernels *k, const struct filled *f, uint32_t key_width,
                        uint32_t value_width, const float *q, float *out)
{
    static float room_q[WIDEST * KERNEL_TILE];
    static float room_out[WIDEST * KERNEL_TILE];
    struct attend_room room = {.q = room_q, .out = room_out};
    struct attend_job job = {.n = 5,
                             .key_width = key_width,
                             .value_width = value_width,
                             .scale = 1.0F / sqrtf((float)key_width),
                             .form = kv_form(f->pool),
                             .page = page_of,
                             .data = f};
    for (uint32_t i = 0; i < job.n; i++) {
        job.q_at[i] = q + (size_t)i * WIDEST;
        job.out_at[i] = out + (size_t)i * WIDEST;
        job.sees[i] = KEYS - 5 * i;
        job.from[i] = 3 * i;
    }
    attend_run(k, &job, &room);
}

static void bytes_are_near_and_the_same_bits(void **state)
{
    (void)state;
    static const char *const sets[] = {"scalar", "avx2", "avx512"};
    static const uint32_t widths[][2] = {{64, 64}, {80, 96}, {7, 33}, {32, 16}, {96, 80}, {1, 1}};
    static float keys[KEYS * HEADS * WIDEST];
    static float values[KEYS * HEADS * WIDEST];
    static float q[5 * WIDEST];
    static float exact[5 * WIDEST];
    static float out[3][5 * WIDEST];
    for (size_t w = 0; w < COUNT_OF(widths); w++) {
        struct filled floats;
        struct filled bytes;
        random_floats(keys, COUNT_OF(keys));
        random_floats(values, COUNT_OF(values));
        random_floats(q, COUNT_OF(q));
        fill(&floats, TENSOR_F32, widths[w][0], widths[w][1], keys, values);
        fill(&bytes, TENSOR_Q8_0, widths[w][0], widths[w][1], keys, values);
        for (uint32_t head = 0; head < HEADS; head++) {
            floats.head = bytes.head = head;
            memset(out, 0, sizeof out);
            attend_with(&kernels_scalar, &floats, widths[w][0], widths[w][1], q, exact);
            for (size_t s = 0; s < COUNT_OF(sets); s++) {
                const struct kernels *k = kernels_named(sets[s]);
                if (k == NULL) {
                    print_message("this processor has no %s: left out\n", sets[s]);
                    continue;
                }
                attend_with(k, &bytes, widths[w][0], widths[w][1], q, out[s]);
                assert_memory_equal(out[s], out[0], sizeof out[0]);
            }
            for (uint32_t i = 0; i < 5; i++) {
                for (uint32_t d = 0; d < widths[w][1]; d++) {
                    /* a byte is at most 1/254 of its block's largest off */
                    assert_float_equal(out[0][i * WIDEST + d], exact[i * WIDEST + d], 0.01);
                }
            }
        }
        empty(&floats);
        empty(&bytes);
    }
}

static void pages_take_what_is_said(void **state)
{
    (void)state;
    struct kv_shape shape = {.layers = 3, .key_width = 256, .value_width = 256, .heads = 4};
    enum tensor_type type = TENSOR_F16;
    shape.type = TENSOR_F32;
    assert_int_equal(kv_group_bytes(&shape, 0), 3 * KV_PAGE * 512 * 4);
    shape.type = TENSOR_F16;
    assert_int_equal(kv_group_bytes(&shape, 0), 3 * KV_PAGE * 512 * 2);
    shape.type = TENSOR_Q8_0;
    assert_int_equal(kv_group_bytes(&shape, 0), 3 * KV_PAGE * 512 / 32 * 34);
    assert_true(kv_type_parse("q8_0", &type));
    assert_int_equal(type, TENSOR_Q8_0);
    assert_string_equal(kv_type_name(type), "q8_0");
    assert_false(kv_type_parse("q4_0", &type));
}

/* ---- a model's logits ---- */

#define TOKENS 70U

struct run {
    struct model *m;
    struct workspace *w;
};

static void open_run(struct run *r, const char *dir, const struct model_writer *w)
{
    char path[256];
    struct error err = {0};
    (void)snprintf(path, sizeof path, "%s/m.gguf", dir);
    assert_int_equal(model_write_file(w, path, &err), STATUS_OK);
    if (model_open(path, &r->m, &err) != STATUS_OK) {
        fail_msg("%s", err.text);
    }
    assert_int_equal(workspace_new(r->m, TOKENS, &r->w, &err), STATUS_OK);
}

static void close_run(struct run *r)
{
    workspace_free(r->w);
    model_close(r->m);
}

static void tokens_of(uint32_t *out)
{
    for (uint32_t i = 0; i < TOKENS; i++) {
        out[i] = i == 0 ? 1 : 259 + i * 7 % 61;
    }
}

static void read_all(const struct run *r, enum tensor_type type, uint32_t slice, float *logits)
{
    struct kv_shape shape = model_kv_shape(r->m, type);
    uint32_t vocabulary = model_info(r->m)->vocabulary;
    struct kv_pool *pool = NULL;
    struct kv_sequence s = {0};
    struct error err;
    uint32_t tokens[TOKENS];
    tokens_of(tokens);
    assert_int_equal(kv_pool_new(&shape, TOKENS / KV_PAGE + 1, &pool, &err), STATUS_OK);
    assert_int_equal(kv_reserve(pool, &s, TOKENS, &err), STATUS_OK);
    for (uint32_t at = 0; at < TOKENS; at += slice) {
        struct model_piece p = {&s, tokens + at, TOKENS - at < slice ? TOKENS - at : slice, true};
        assert_int_equal(
            model_forward(r->m, r->w, pool, &p, 1, logits + (size_t)at * vocabulary, &err),
            STATUS_OK);
    }
    kv_release(pool, &s);
    kv_pool_free(pool);
}

/* Kullback and Leibler's distance of two rows of logits. */
static double distance(const float *p, const float *q, uint32_t n)
{
    double p_sum = 0;
    double q_sum = 0;
    double d = 0;
    for (uint32_t i = 0; i < n; i++) {
        p_sum += exp((double)p[i]);
        q_sum += exp((double)q[i]);
    }
    for (uint32_t i = 0; i < n; i++) {
        d += exp((double)p[i]) / p_sum * ((double)p[i] - log(p_sum) - (double)q[i] + log(q_sum));
    }
    return d;
}

static void logits_are_near_those_of_floats(void **state)
{
    (void)state;
    static const char *const architectures[] = {"llama", "qwen3", "gemma3"};
    char dir[64];
    test_folder(dir);
    for (size_t a = 0; a < COUNT_OF(architectures); a++) {
        struct model_writer w = {.architecture = architectures[a],
                                 .type = TENSOR_F32,
                                 .layers = 3,
                                 .width = 64,
                                 .feed_forward = 96,
                                 .heads = 4,
                                 .kv_heads = 2,
                                 .vocabulary = 320,
                                 .context = 128};
        struct run r;
        size_t n = (size_t)TOKENS * w.vocabulary;
        float *floats = malloc(n * sizeof *floats);
        float *bytes = malloc(n * sizeof *bytes);
        float *sliced = malloc(n * sizeof *sliced);
        double sum = 0;
        open_run(&r, dir, &w);
        read_all(&r, TENSOR_F32, TOKENS, floats);
        read_all(&r, TENSOR_Q8_0, TOKENS, bytes);
        read_all(&r, TENSOR_Q8_0, 7, sliced);
        assert_memory_equal(bytes, sliced, n * sizeof *bytes);
        assert_memory_not_equal(bytes, floats, n * sizeof *bytes);
        for (uint32_t t = 0; t < TOKENS; t++) {
            sum += distance(floats + (size_t)t * w.vocabulary, bytes + (size_t)t * w.vocabulary,
                            w.vocabulary);
        }
        assert_true(sum / TOKENS < 0.001);
        close_run(&r);
        free(floats);
        free(bytes);
        free(sliced);
    }
    test_folder_remove(dir);
}

/* ---- layers with a window ---- */

#define LONG 330U

static uint32_t room_of(const struct kv_shape *shape, uint32_t tokens)
{
    return kv_room_for(shape, 1, tokens).pages[1];
}

static void windows_take_a_ring(void **state)
{
    (void)state;
    struct kv_shape shape = {.layers = 6,
                             .key_width = 64,
                             .value_width = 64,
                             .type = TENSOR_F16,
                             .window = 512,
                             .windowed = {0x1F},
                             .pass_tokens = 256};
    assert_int_equal(kv_ring(&shape), 49); /* 767 tokens from any place in a page */
    assert_int_equal(room_of(&shape, 100), 7);
    assert_int_equal(room_of(&shape, 8192), 49);
    assert_int_equal(kv_room_for(&shape, 3, 8192).pages[0], 3 * 512);
    assert_int_equal(kv_room_for(&shape, 3, 8192).pages[1], 3 * 49);
    assert_int_equal(kv_group_bytes(&shape, 1), 5 * kv_group_bytes(&shape, 0));
    shape.pass_tokens = 0;
    assert_int_equal(room_of(&shape, 8192), 512);
}

/* Logits of the last token of each slice. */
static void read_long(const struct run *r, struct kv_pool *pool, struct kv_sequence *s,
                      const uint32_t *tokens, uint32_t end, uint32_t slice, float *last)
{
    struct error err = {0};
    while (s->length < end) {
        uint32_t left = end - s->length;
        struct model_piece p = {s, tokens + s->length, left < slice ? left : slice, false};
        if (model_forward(r->m, r->w, pool, &p, 1, last, &err) != STATUS_OK) {
            fail_msg("%s", err.text);
        }
    }
}

static void windows_give_the_same_bits(const struct run *r, const uint32_t *tokens)
{
    static const uint32_t slices[] = {1, 7, 32};
    uint32_t vocabulary = model_info(r->m)->vocabulary;
    size_t bytes = vocabulary * sizeof(float);
    float *all = malloc(bytes);
    float *ring = malloc(bytes);
    struct kv_shape shape = model_kv_shape(r->m, TENSOR_F16);
    struct kv_pool *pool = NULL;
    struct kv_sequence s = {0};
    struct error err = {0};
    assert_int_equal(kv_pool_new(&shape, LONG / KV_PAGE + 1, &pool, &err), STATUS_OK);
    assert_int_equal(kv_reserve(pool, &s, LONG, &err), STATUS_OK);
    read_long(r, pool, &s, tokens, LONG, TOKENS, all);
    kv_release(pool, &s);
    kv_pool_free(pool);
    shape.pass_tokens = 32;
    for (size_t i = 0; i < COUNT_OF(slices); i++) {
        struct kv_room room = kv_room_for(&shape, 2, LONG);
        struct kv_sequence fork = {0};
        assert_int_equal(kv_pool_new_with(&shape, &room, NULL, &pool, &err), STATUS_OK);
        assert_true(kv_window_left(pool) < kv_pool_left(pool) / 2);
        assert_int_equal(kv_reserve(pool, &s, LONG, &err), STATUS_OK);
        assert_int_equal(kv_pass_most(pool, &s), 32);
        read_long(r, pool, &s, tokens, LONG, slices[i], ring);
        assert_memory_equal(ring, all, bytes);
        /* a copy of the window goes on to the same; further back it is forgotten */
        assert_false(kv_can_fork(pool, &s, 100));
        assert_int_equal(kv_fork(pool, &s, 100, &fork, &err), STATUS_NOT_FOUND);
        uint32_t left = kv_pool_left(pool);
        assert_int_equal(kv_fork(pool, &s, LONG - 9, &fork, &err), STATUS_OK);
        assert_int_equal(kv_pool_left(pool), left);
        assert_false(kv_can_fork(pool, &fork, 100));
        assert_int_equal(kv_reserve(pool, &fork, 9, &err), STATUS_OK);
        read_long(r, pool, &fork, tokens, LONG, slices[i], ring);
        assert_memory_equal(ring, all, bytes);
        kv_release(pool, &fork);
        kv_release(pool, &s);
        /* a short one shares its pages, until one of the two goes round */
        assert_int_equal(kv_reserve(pool, &s, 50, &err), STATUS_OK);
        read_long(r, pool, &s, tokens, 50, slices[i], ring);
        assert_int_equal(kv_fork(pool, &s, 40, &fork, &err), STATUS_OK);
        assert_int_equal(kv_window_left(pool), room.pages[1] - 4);
        assert_int_equal(kv_reserve(pool, &fork, LONG - 40, &err), STATUS_OK);
        read_long(r, pool, &fork, tokens, LONG, slices[i], ring);
        assert_memory_equal(ring, all, bytes);
        kv_release(pool, &fork);
        assert_int_equal(kv_reserve(pool, &s, LONG - 50, &err), STATUS_OK);
        read_long(r, pool, &s, tokens, LONG, slices[i], ring);
        assert_memory_equal(ring, all, bytes);
        assert_int_equal(kv_reserve(pool, &fork, LONG, &err), STATUS_OK);
        struct kv_sequence third = {0};
        assert_int_equal(kv_reserve(pool, &third, 17, &err), STATUS_BUSY);
        kv_release(pool, &fork);
        kv_release(pool, &s);
        assert_int_equal(kv_pool_left(pool), room.pages[0]);
        assert_int_equal(kv_window_left(pool), room.pages[1]);
        kv_pool_free(pool);
    }
    free(all);
    free(ring);
}

static void windows_forget_without_a_trace(void **state)
{
    (void)state;
    static const char *const architectures[] = {"gemma2", "gemma3"};
    char dir[64];
    uint32_t tokens[LONG];
    test_folder(dir);
    for (uint32_t i = 0; i < LONG; i++) {
        tokens[i] = 259 + i * 7 % 61;
    }
    for (size_t a = 0; a < COUNT_OF(architectures); a++) {
        struct model_writer w = {.architecture = architectures[a],
                                 .type = TENSOR_Q8_0,
                                 .layers = 7,
                                 .width = 64,
                                 .feed_forward = 96,
                                 .heads = 4,
                                 .kv_heads = 2,
                                 .vocabulary = 320,
                                 .context = 512};
        struct run r;
        open_run(&r, dir, &w);
        assert_true(model_info(r.m)->window > 0);
        windows_give_the_same_bits(&r, tokens);
        close_run(&r);
    }
    test_folder_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_are_near_and_the_same_bits),
        cmocka_unit_test(pages_take_what_is_said),
        cmocka_unit_test(logits_are_near_those_of_floats),
        cmocka_unit_test(windows_take_a_ring),
        cmocka_unit_test(windows_forget_without_a_trace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
