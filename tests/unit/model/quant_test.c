#include "model/quant.h"

#include <math.h>

#include "tests/unit/model/quant_blocks.h"
#include "tests/unit/test.h"

#define VALUES 256

static uint64_t hash_floats(const float *f, size_t n)
{
    const unsigned char *p = (const unsigned char *)f;
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < n * sizeof *f; i++) {
        h = (h ^ p[i]) * UINT64_C(0x100000001b3);
    }
    return h;
}

static size_t from_hex(const char *hex, unsigned char *out)
{
    size_t n = strlen(hex) / 2;
    for (size_t i = 0; i < n; i++) {
        char two[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
        out[i] = (unsigned char)strtoul(two, NULL, 16);
    }
    return n;
}

/* Bit for bit what the reference engine reads from the same blocks. */
static void blocks_are_read_as_ggml_does(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(quant_blocks); i++) {
        const struct quant_block *b = &quant_blocks[i];
        unsigned char row[1024];
        float y[VALUES];
        uint64_t bytes = 0;
        assert_true(tensor_bytes(b->type, VALUES, &bytes));
        assert_int_equal(from_hex(b->bytes, row), bytes);
        quant_decode(b->type, row, VALUES, y);
        if (hash_floats(y, VALUES) != b->hash) {
            fail_msg("%s: %.9g .. %.9g, not %.9g .. %.9g", tensor_type_info(b->type)->name,
                     (double)y[0], (double)y[VALUES - 1], (double)b->first, (double)b->last);
        }
    }
}

/* The same values as the blocks above were made of. */
static void make_values(float *x)
{
    for (uint64_t i = 0; i < VALUES; i++) {
        double v = (double)((i * UINT64_C(2654435761) + 12345) % 65536) / 32768.0 - 1.0;
        x[i] = (float)(v * (double)(1 + i % 7));
    }
}

static void blocks_are_written_as_ggml_does(void **state)
{
    (void)state;
    static const enum tensor_type types[] = {TENSOR_F16,  TENSOR_BF16, TENSOR_Q8_0,
                                             TENSOR_Q4_0, TENSOR_Q5_0, TENSOR_Q6_K};
    float x[VALUES];
    make_values(x);
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        unsigned char ours[1024];
        unsigned char theirs[1024];
        size_t n = 0;
        for (size_t j = 0; j < COUNT_OF(quant_blocks); j++) {
            n = quant_blocks[j].type == types[i] ? from_hex(quant_blocks[j].bytes, theirs) : n;
        }
        assert_true(n > 0);
        assert_true(quant_encode(types[i], x, VALUES, ours));
        assert_memory_equal(ours, theirs, n);
    }
    assert_false(quant_encode(TENSOR_Q5_K, x, VALUES, x));
}

static double distance(const unsigned char *row, const float *x)
{
    float y[VALUES];
    double sum = 0;
    quant_decode(TENSOR_Q4_K, row, VALUES, y);
    for (size_t i = 0; i < VALUES; i++) {
        sum += ((double)y[i] - (double)x[i]) * ((double)y[i] - (double)x[i]);
    }
    return sqrt(sum / VALUES);
}

/* Its tries compare sums that another rounding can turn: as near as ggml's, not the same bytes. */
static void q4_k_is_as_near_as_ggmls(void **state)
{
    (void)state;
    float x[VALUES];
    unsigned char ours[144];
    unsigned char theirs[1024];
    make_values(x);
    assert_true(quant_encode(TENSOR_Q4_K, x, VALUES, ours));
    for (size_t j = 0; j < COUNT_OF(quant_blocks); j++) {
        if (quant_blocks[j].type == TENSOR_Q4_K) {
            assert_int_equal(from_hex(quant_blocks[j].bytes, theirs), sizeof ours);
        }
    }
    assert_true(distance(ours, x) < distance(theirs, x) * 1.01);
    float zeros[VALUES] = {0};
    assert_true(quant_encode(TENSOR_Q4_K, zeros, VALUES, ours));
    assert_true(distance(ours, zeros) <= 0);
}

/* IQ4_XS, which the reference engine does not write without an importance matrix: a block made by
 * hand. */
static void iq4_xs_by_hand(void **state)
{
    (void)state;
    unsigned char b[136] = {0};
    float y[VALUES];
    b[1] = 0x3C; /* d = 1 */
    b[2] = 0x02; /* upper two bits of the first scale: 2 */
    b[4] = 0x03; /* lower four: 3 -> 35 - 32 = 3; the second: 0 - 32 */
    b[8] = 0xF0; /* value 0: curve 0 = -127; value 16: curve 15 = 113 */
    quant_decode(TENSOR_IQ4_XS, b, VALUES, y);
    assert_float_equal(y[0], -381.0F, 0);
    assert_float_equal(y[16], 339.0F, 0);
    assert_float_equal(y[32], 4064.0F, 0); /* -32 x -127 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_read_as_ggml_does),
        cmocka_unit_test(blocks_are_written_as_ggml_does),
        cmocka_unit_test(q4_k_is_as_near_as_ggmls),
        cmocka_unit_test(iq4_xs_by_hand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
