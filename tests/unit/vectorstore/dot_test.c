/* The kernels: every variant that this processor has gives what the scalar one gives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "vectorstore/dot.h"

#define MOST_DIMENSIONS 4096U
#define ROWS 11U

static const char *const names[] = {"scalar", "avx2", "avx512"};
static uint32_t rng = 7;

static uint32_t next_random(void)
{
    rng ^= rng << 13;
    rng ^= rng >> 17;
    rng ^= rng << 5;
    return rng;
}

/* Each buffer ends where its allocation ends, so that a sanitizer sees a byte read too far, and
 * starts off any alignment. */
static void same_sums(const struct dot *scalar, const struct dot *fast, size_t d, size_t n,
                      int extreme)
{
    int8_t *q = malloc(d);
    uint8_t *rows = malloc(1 + d * n);
    int32_t want[ROWS];
    int32_t got[ROWS];
    assert_non_null(q);
    assert_non_null(rows);
    for (size_t i = 0; i < d; i++) {
        q[i] = extreme != 0 ? (int8_t)(127 * extreme) : (int8_t)((int)(next_random() % 255) - 127);
    }
    for (size_t i = 0; i < d * n; i++) {
        rows[1 + i] = extreme != 0 ? 255 : (uint8_t)(1 + next_random() % 255);
    }
    scalar->codes(q, rows + 1, d, n, want);
    fast->codes(q, rows + 1, d, n, got);
    for (size_t i = 0; i < n; i++) {
        if (want[i] != got[i]) {
            print_error("%s: %zu dimensions, row %zu of %zu\n", fast->name, d, i, n);
        }
        assert_int_equal(got[i], want[i]);
    }
    free(q);
    free(rows);
}

static void byte_sums_are_equal_bit_for_bit(void **state)
{
    (void)state;
    const struct dot *scalar = dot_named("scalar");
    assert_non_null(scalar);
    for (size_t v = 0; v < sizeof names / sizeof names[0]; v++) {
        const struct dot *fast = dot_named(names[v]);
        if (fast == NULL) {
            print_message("this processor has no %s: skipped\n", names[v]);
            continue;
        }
        for (size_t d = 1; d <= MOST_DIMENSIONS; d += d < 200 ? 1 : 1 + next_random() % 61) {
            same_sums(scalar, fast, d, 1 + next_random() % ROWS, 0);
        }
        same_sums(scalar, fast, MOST_DIMENSIONS, ROWS, 1); /* the largest sums there are */
        same_sums(scalar, fast, MOST_DIMENSIONS, ROWS, -1);
        same_sums(scalar, fast, MOST_DIMENSIONS - 1, 3, -1);
    }
}

static void half_sums_agree(void **state)
{
    (void)state;
    const struct dot *scalar = dot_named("scalar");
    for (size_t v = 0; v < sizeof names / sizeof names[0]; v++) {
        const struct dot *fast = dot_named(names[v]);
        for (size_t d = 1; d <= MOST_DIMENSIONS && fast != NULL; d += d < 80 ? 1 : 97) {
            float *q = calloc(d, sizeof *q);
            uint16_t *row = calloc(d, sizeof *row);
            double magnitude = 0;
            assert_non_null(q);
            assert_non_null(row);
            for (size_t i = 0; i < d; i++) {
                q[i] = (float)next_random() / 4294967296.0F - 0.5F;
                row[i] = half_from_float((float)next_random() / 4294967296.0F - 0.5F);
                magnitude += fabs((double)q[i] * (double)half_to_float(row[i]));
            }
            double off = fabs((double)fast->half(q, row, d) - (double)scalar->half(q, row, d));
            assert_true(off <= 1e-5 * magnitude + 1e-7);
            free(q);
            free(row);
        }
    }
}

static void half_floats_round_trip(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x10000; h++) {
        float f = half_to_float((uint16_t)h);
        if (!isnan(f)) {
            assert_int_equal(half_from_float(f), h);
        }
    }
    assert_int_equal(half_from_float(1e9F), 0x7c00);
}

static void codes_keep_a_row_to_half_a_step(void **state)
{
    (void)state;
    float q[37];
    uint16_t row[37];
    uint8_t codes[37];
    int8_t query[37];
    for (size_t i = 0; i < 37; i++) {
        q[i] = (float)i - 18.5F;
        row[i] = half_from_float(q[i]);
    }
    float scale = dot_encode_half(row, 37, codes);
    float query_scale = dot_encode_query(q, 37, query);
    for (size_t i = 0; i < 37; i++) {
        assert_true(fabsf((float)(codes[i] - DOT_BIAS) * scale - q[i]) <= scale * 0.501F);
        assert_true(fabsf((float)query[i] * query_scale - q[i]) <= query_scale * 0.501F);
    }
    memset(row, 0, sizeof row);
    assert_true(dot_encode_half(row, 37, codes) == 0);
    assert_int_equal(codes[36], DOT_BIAS);
}

static void a_variant_can_be_named(void **state)
{
    (void)state;
    assert_null(dot_named("abacus"));
    assert_int_equal(setenv("CARREL_CPU", "scalar", 1), 0);
    assert_string_equal(dot_choose()->name, "scalar");
    assert_int_equal(setenv("CARREL_CPU", "abacus", 1), 0); /* then the best there is */
    assert_non_null(dot_named(dot_choose()->name));
    assert_int_equal(unsetenv("CARREL_CPU"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(byte_sums_are_equal_bit_for_bit),
        cmocka_unit_test(half_sums_agree),
        cmocka_unit_test(half_floats_round_trip),
        cmocka_unit_test(codes_keep_a_row_to_half_a_step),
        cmocka_unit_test(a_variant_can_be_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
