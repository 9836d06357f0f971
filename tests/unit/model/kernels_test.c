/* Every set of kernels gives the bits of the scalar one, over random shapes; the scalar one is
 * compared with sums in double precision. A set that this processor lacks is said and left out. */
#include "model/kernels.h"

#include <math.h>

#include "base/half.h"
#include "model/attend.h"
#include "model/matmul.h"
#include "model/pack.h"
#include "model/quant.h"
#include "tests/unit/test.h"

static uint64_t state_of_random = 42;

static uint32_t random_u32(void)
{
    state_of_random = state_of_random * 6364136223846793005U + 1442695040888963407U;
    return (uint32_t)(state_of_random >> 33);
}

static float random_float(void)
{
    return (float)random_u32() / 1073741824.0F - 1.0F; /* -1 to 1 */
}

static void random_floats(float *x, size_t n, float scale)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = random_float() * scale;
    }
}

static const char *const names[] = {"scalar", "avx2", "avx512"};

static const struct kernels *set(size_t i)
{
    const struct kernels *k = kernels_named(names[i]);
    if (k == NULL) {
        print_message("this processor has no %s: left out\n", names[i]);
    }
    return k;
}

/* ---- matrices ---- */

/* Where a block's halves are; random bytes everywhere else. */
static void put_scales(enum tensor_type type, unsigned char *block)
{
    static const struct {
        enum tensor_type type;
        int at[2];
    } places[] = {
        {TENSOR_Q4_0, {0, -1}},   {TENSOR_Q4_1, {0, 2}},    {TENSOR_Q5_0, {0, -1}},
        {TENSOR_Q5_1, {0, 2}},    {TENSOR_Q8_0, {0, -1}},   {TENSOR_Q2_K, {80, 82}},
        {TENSOR_Q3_K, {108, -1}}, {TENSOR_Q4_K, {0, 2}},    {TENSOR_Q5_K, {0, 2}},
        {TENSOR_Q6_K, {208, -1}}, {TENSOR_IQ4_NL, {0, -1}}, {TENSOR_IQ4_XS, {0, -1}},
    };
    for (size_t i = 0; i < COUNT_OF(places); i++) {
        for (int k = 0; places[i].type == type && k < 2 && places[i].at[k] >= 0; k++) {
            uint16_t h = half_from_float(random_float() * 0.01F);
            memcpy(block + places[i].at[k], &h, sizeof h);
        }
    }
}

static struct matrix random_matrix(enum tensor_type type, uint32_t columns, uint32_t rows)
{
    const struct tensor_type_info *info = tensor_type_info(type);
    struct matrix w = {.type = type, .columns = columns, .rows = rows};
    w.row_bytes = (size_t)columns / info->block_values * info->block_bytes;
    unsigned char *data = malloc(w.row_bytes * rows);
    assert_non_null(data);
    w.data = data;
    if (info->block_values == 1) {
        float *row = malloc(columns * sizeof *row);
        for (uint32_t r = 0; r < rows; r++) {
            random_floats(row, columns, 0.1F);
            assert_true(quant_encode(type, row, columns, data + r * w.row_bytes));
        }
        free(row);
        return w;
    }
    for (size_t i = 0; i < w.row_bytes * rows; i++) {
        data[i] = (unsigned char)random_u32();
    }
    for (size_t i = 0; i < w.row_bytes * rows; i += info->block_bytes) {
        put_scales(type, data + i);
    }
    return w;
}

/* What a set makes of it, for n vectors. */
static void run_matrix(const struct kernels *k, struct pool *pool, const struct matrix *w,
                       const float *x, uint32_t n, const float *bias, float *y)
{
    struct matmul *m = NULL;
    struct error err;
    struct product p = {w, bias, y};
    struct matmul_room room = {
        .tokens = n, .widest = w->columns, .quantized = true, .floats = true};
    assert_int_equal(matmul_new(k, pool, &room, &m, &err), STATUS_OK);
    matmul_run(m, x, n, &p, 1);
    matmul_free(m);
}

/* x as the kernels see it: rounded to bytes by blocks of 32. */
static void round_activations(const float *x, size_t n, float *out)
{
    for (size_t b = 0; b < n; b += 32) {
        float most = 0;
        for (size_t i = b; i < b + 32; i++) {
            most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
        }
        for (size_t i = b; i < b + 32; i++) {
            out[i] = most > 0 ? rintf(x[i] * (127.0F / most)) * (most / 127.0F) : 0;
        }
    }
}

static void near_double(const struct matrix *w, const float *x, uint32_t n, const float *bias,
                        const float *y)
{
    bool floats = tensor_type_info(w->type)->block_values == 1 || w->kind == PACK_NONE;
    float *row = malloc(w->columns * sizeof *row);
    float *seen = malloc(w->columns * sizeof *seen);
    for (uint32_t t = 0; t < n; t++) {
        memcpy(seen, x + (size_t)t * w->columns, w->columns * sizeof *seen);
        if (!floats) {
            round_activations(x + (size_t)t * w->columns, w->columns, seen);
        }
        for (uint32_t r = 0; r < w->rows; r++) {
            double sum = 0;
            double size = 0;
            quant_decode(w->type, (const unsigned char *)w->data + r * w->row_bytes, w->columns,
                         row);
            for (uint32_t i = 0; i < w->columns; i++) {
                sum += (double)row[i] * (double)seen[i];
                size += fabs((double)row[i] * (double)seen[i]);
            }
            sum += bias == NULL ? 0 : (double)bias[r];
            double got = (double)y[(size_t)t * w->rows + r];
            if (fabs(got - sum) > 4e-6 * size + 1e-6) {
                fail_msg("%s %u x %u, row %u: %.9g, not %.9g", tensor_type_info(w->type)->name,
                         w->columns, w->rows, r, got, sum);
            }
        }
    }
    free(row);
    free(seen);
}

static void one_shape(enum tensor_type type, uint32_t columns, uint32_t rows, uint32_t n,
                      struct pool *pool)
{
    struct matrix w = random_matrix(type, columns, rows);
    struct matrix *all[] = {&w};
    struct pack *pack = NULL;
    struct error err;
    size_t bytes = (size_t)n * rows * sizeof(float);
    float *x = malloc((size_t)n * columns * sizeof *x);
    float *bias = malloc(rows * sizeof *bias);
    float *expected = malloc(bytes);
    float *y = malloc(bytes);
    assert_int_equal(pack_new(all, 1, pool, &pack, &err), STATUS_OK);
    random_floats(x, (size_t)n * columns, 3);
    random_floats(bias, rows, 1);
    bool biased = random_u32() % 2 == 0;
    run_matrix(&kernels_scalar, NULL, &w, x, n, biased ? bias : NULL, expected);
    near_double(&w, x, n, biased ? bias : NULL, expected);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        const struct kernels *k = kernels_named(names[i]);
        if (k != NULL) {
            memset(y, 0xAA, bytes);
            run_matrix(k, pool, &w, x, n, biased ? bias : NULL, y);
            assert_memory_equal(y, expected, bytes);
            /* the last vector alone */
            run_matrix(k, NULL, &w, x + (size_t)(n - 1) * columns, 1, biased ? bias : NULL, y);
            assert_memory_equal(y, expected + (size_t)(n - 1) * rows, rows * sizeof *y);
        }
    }
    pack_free(pack);
    free(x);
    free(bias);
    free(expected);
    free(y);
    union {
        const void *from;
        void *to;
    } data = {.from = w.data};
    free(data.to);
}

static void products_are_the_same_bits(void **state)
{
    (void)state;
    static const enum tensor_type types[] = {TENSOR_F32,  TENSOR_F16,    TENSOR_BF16,  TENSOR_Q8_0,
                                             TENSOR_Q4_0, TENSOR_Q4_1,   TENSOR_Q5_0,  TENSOR_Q5_1,
                                             TENSOR_Q4_K, TENSOR_Q5_K,   TENSOR_Q6_K,  TENSOR_Q3_K,
                                             TENSOR_Q2_K, TENSOR_IQ4_NL, TENSOR_IQ4_XS};
    struct pool *pool = NULL;
    struct error err;
    assert_int_equal(pool_new(2, &pool, &err), STATUS_OK);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        (void)set(i);
    }
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        uint32_t block = tensor_type_info(types[i])->block_values;
        for (uint32_t n = 1; n < 20; n += 1 + random_u32() % 4) {
            uint32_t columns = block == 1 ? 1 + random_u32() % 90 : block * (1 + random_u32() % 3);
            one_shape(types[i], columns, 1 + random_u32() % 40, n, pool);
        }
    }
    pool_free(pool);
}

/* Activations that are zeros, huge, or no numbers at all. */
static void odd_activations(void **state)
{
    (void)state;
    float x[64] = {0};
    unsigned char expected[2 * PANEL_BLOCK_BYTES(1)];
    unsigned char panel[2 * PANEL_BLOCK_BYTES(1)];
    static const float odd[] = {0, 1e-38F, 3e38F, INFINITY, -INFINITY, NAN, -NAN, 1e-30F};
    for (size_t v = 0; v < COUNT_OF(odd); v++) {
        for (size_t at = 0; at < 64; at += 9) {
            random_floats(x, 64, 1);
            x[at] = odd[v];
            kernels_scalar.quantize(x, 64, 64, 1, 1, expected);
            for (size_t i = 1; i < COUNT_OF(names); i++) {
                const struct kernels *k = kernels_named(names[i]);
                if (k != NULL) {
                    k->quantize(x, 64, 64, 1, 1, panel);
                    /* the bytes; a scale that is no number has many patterns */
                    assert_memory_equal(panel + 20, expected + 20, 32);
                    assert_memory_equal(panel + PANEL_BLOCK_BYTES(1) + 20,
                                        expected + PANEL_BLOCK_BYTES(1) + 20, 32);
                }
            }
        }
    }
}

/* ---- attention ---- */

struct room {
    float keys[3][KERNEL_KEYS * 80];
    float values[3][KERNEL_KEYS * 96];
};

static void page_of(const void *data, uint32_t page, const void **keys, const void **values)
{
    const struct room *r = data;
    *keys = r->keys[page];
    *values = r->values[page];
}

static void exact_attention(const struct room *r, const struct attend_job *job, uint32_t i,
                            const float *got)
{
    double weights[48];
    double sum = 0;
    double most = -1e300;
    for (uint32_t t = job->from[i]; t < job->sees[i]; t++) {
        weights[t] = 0;
        for (uint32_t d = 0; d < job->key_width; d++) {
            weights[t] += (double)job->q_at[i][d] * (double)r->keys[t / 16][d * 16 + t % 16];
        }
        weights[t] *= (double)job->scale;
        if (job->cap > 0) {
            weights[t] = (double)job->cap * tanh(weights[t] / (double)job->cap);
        }
        most = weights[t] > most ? weights[t] : most;
    }
    for (uint32_t t = job->from[i]; t < job->sees[i]; t++) {
        weights[t] = exp(weights[t] - most);
        sum += weights[t];
    }
    for (uint32_t d = 0; d < job->value_width; d++) {
        double value = 0;
        for (uint32_t t = job->from[i]; t < job->sees[i]; t++) {
            uint32_t padded = ATTEND_PADDED(job->value_width);
            value += weights[t] / sum * (double)r->values[t / 16][t % 16 * padded + d];
        }
        assert_float_equal(got[d], value, 1e-5);
    }
}

static void attention_is_the_same_bits(void **state)
{
    (void)state;
    static struct room r;
    static float q[KERNEL_TILE][80];
    static float out[KERNEL_TILE][96];
    static float expected[KERNEL_TILE][96];
    static float room_q[80 * KERNEL_TILE];
    static float room_out[96 * KERNEL_TILE];
    struct attend_room room = {.q = room_q, .out = room_out};
    for (int round = 0; round < 60; round++) {
        struct attend_job job = {.n = 1 + random_u32() % KERNEL_TILE,
                                 .key_width = 1 + random_u32() % 80,
                                 .value_width = 1 + random_u32() % 96,
                                 .scale = 0.3F,
                                 .cap = round % 3 == 0 ? 1.5F : 0,
                                 .page = page_of,
                                 .data = &r};
        random_floats(r.keys[0], sizeof r.keys / sizeof(float), 1);
        random_floats(r.values[0], sizeof r.values / sizeof(float), 1);
        random_floats(q[0], sizeof q / sizeof(float), 2);
        for (uint32_t i = 0; i < job.n; i++) {
            job.q_at[i] = q[i];
            job.sees[i] = 1 + random_u32() % 48;
            job.from[i] = round % 2 == 0 ? 0 : random_u32() % job.sees[i];
            job.out_at[i] = expected[i];
        }
        attend_run(&kernels_scalar, &job, &room);
        for (uint32_t i = 0; i < job.n; i++) {
            exact_attention(&r, &job, i, expected[i]);
        }
        for (size_t s = 1; s < COUNT_OF(names); s++) {
            const struct kernels *k = kernels_named(names[s]);
            for (uint32_t i = 0; k != NULL && i < job.n; i++) {
                /* among the others, and alone */
                struct attend_job alone = job;
                alone.n = 1;
                alone.q_at[0] = q[i];
                alone.sees[0] = job.sees[i];
                alone.from[0] = job.from[i];
                alone.out_at[0] = out[i];
                attend_run(k, &alone, &room);
                assert_memory_equal(out[i], expected[i], job.value_width * sizeof(float));
                job.out_at[i] = out[i];
            }
            if (k != NULL) {
                memset(out, 0xAA, sizeof out);
                attend_run(k, &job, &room);
                for (uint32_t i = 0; i < job.n; i++) {
                    assert_memory_equal(out[i], expected[i], job.value_width * sizeof(float));
                }
            }
        }
    }
}

/* ---- the rest ---- */

#define LONGEST 130

struct line {
    float x[LONGEST], y[LONGEST], w[LONGEST], b[LONGEST];
};

static void apply(const struct kernels *k, int which, const struct line *in, size_t n, float *out)
{
    memcpy(out, in->x, n * sizeof *out);
    switch (which) {
    case 0:
        k->rms_norm(in->x, in->w, n, 1e-5F, out);
        break;
    case 1:
        k->layer_norm(in->x, in->w, in->b, n, 1e-5F, out);
        break;
    case 2:
        k->swiglu(out, in->y, n);
        break;
    case 3:
        k->gelu(out, n);
        break;
    case 4:
        k->rope(out, in->y, in->w, n / 2 * 2, n % 3 == 0);
        break;
    case 5:
        k->add(out, in->y, n);
        break;
    case 6:
        k->geglu(out, in->y, n);
        break;
    case 7:
        k->cap(out, n, 7.5F);
        break;
    default:
        out[0] = k->dot_f32(in->x, in->y, n);
        break;
    }
}

static double exactly(int which, const struct line *in, size_t n, size_t i)
{
    double sum = 0;
    double squares = 0;
    for (size_t k = 0; k < n; k++) {
        sum += (double)in->x[k];
        squares += (double)in->x[k] * (double)in->x[k];
    }
    double mean = sum / (double)n;
    double x = (double)in->x[i];
    double variance = squares / (double)n - mean * mean;
    switch (which) {
    case 0:
        return x / sqrt(squares / (double)n + 1e-5) * (double)in->w[i];
    case 1:
        return (x - mean) / sqrt(variance + 1e-5) * (double)in->w[i] + (double)in->b[i];
    case 2:
        return x / (1 + exp(-x)) * (double)in->y[i];
    case 3:
        return 0.5 * x * (1 + erf(x * 0.70710678118654752));
    case 6:
        return 0.5 * x * (1 + tanh(0.79788456080286536 * (x + 0.044715 * x * x * x))) *
               (double)in->y[i];
    case 7:
        return 7.5 * tanh(x / 7.5);
    default:
        return x + (double)in->y[i];
    }
}

static void lines_are_the_same_bits(void **state)
{
    (void)state;
    struct line in;
    float expected[LONGEST];
    float out[LONGEST];
    for (size_t n = 1; n < LONGEST; n += 1 + random_u32() % 3) {
        random_floats(in.x, sizeof in / sizeof(float), n % 5 == 0 ? 60 : 3);
        for (int which = 0; which < 9; which++) {
            size_t count = which == 8 ? 1 : n;
            apply(&kernels_scalar, which, &in, n, expected);
            for (size_t i = 0; i < n && (which < 4 || (which >= 5 && which < 8)); i++) {
                double e = exactly(which, &in, n, i);
                double bound = which == 1 ? 2e-4 : 4e-6; /* the variance above cancels */
                if (fabs((double)expected[i] - e) > bound * (1 + fabs(e))) {
                    fail_msg("%d of %zu at %zu: %.9g, not %.9g", which, n, i, (double)expected[i],
                             e);
                }
            }
            for (size_t s = 1; s < COUNT_OF(names); s++) {
                const struct kernels *k = kernels_named(names[s]);
                if (k != NULL) {
                    apply(k, which, &in, n, out);
                    assert_memory_equal(out, expected, count * sizeof(float));
                }
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_are_the_same_bits),
        cmocka_unit_test(odd_activations),
        cmocka_unit_test(attention_is_the_same_bits),
        cmocka_unit_test(lines_are_the_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
