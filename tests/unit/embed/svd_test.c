#include <lapacke.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "embed/svd.h"

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525U + 1013904223U;
    return *state >> 8;
}

struct sparse {
    struct svd_matrix m;
    size_t *start;
    uint32_t *col;
    float *value;
    double *dense; /* column-major */
};

/* A matrix with a falling spectrum: sums of a few patterns and some noise. */
static struct sparse make(size_t rows, size_t cols, size_t rank, uint32_t seed)
{
    struct sparse s = {0};
    s.start = calloc(rows + 1, sizeof *s.start);
    s.col = calloc(rows * cols, sizeof *s.col);
    s.value = calloc(rows * cols, sizeof *s.value);
    s.dense = calloc(rows * cols, sizeof *s.dense);
    assert_non_null(s.start);
    assert_non_null(s.col);
    assert_non_null(s.value);
    assert_non_null(s.dense);
    size_t n = 0;
    for (size_t r = 0; r < rows; r++) {
        for (size_t c = 0; c < cols; c++) {
            if (next_random(&seed) % 3 != 0 && (rank == 0 || (r % rank) == (c % rank))) {
                float v = (float)(next_random(&seed) % 1000) / 250;
                s.col[n] = (uint32_t)c;
                s.value[n++] = v;
                s.dense[c * rows + r] = (double)v;
            }
        }
        s.start[r + 1] = n;
    }
    s.m = (struct svd_matrix){
        .n_rows = rows, .n_cols = cols, .start = s.start, .col = s.col, .value = s.value};
    return s;
}

static void drop(struct sparse *s)
{
    free(s->start);
    free(s->col);
    free(s->value);
    free(s->dense);
}

static void agrees_with_lapack(size_t rows, size_t cols, size_t k, size_t rank, double tolerance)
{
    struct sparse s = make(rows, cols, rank, (uint32_t)(rows * 31 + cols));
    struct svd_lapack *lapack = NULL;
    struct error err = {0};
    assert_int_equal(svd_lapack_open(&lapack, &err), STATUS_OK);
    float *v = calloc(cols * k, sizeof *v), *sigma = calloc(k, sizeof *sigma);
    assert_int_equal(svd_right(lapack, &s.m, k, 7, NULL, NULL, v, sigma, &err), STATUS_OK);
    size_t small = rows < cols ? rows : cols;
    double *exact = calloc(small, sizeof *exact);
    lapack_int info = LAPACKE_dgesdd(LAPACK_COL_MAJOR, 'N', (lapack_int)rows, (lapack_int)cols, s.dense,
                                     (lapack_int)rows, exact, NULL, 1, NULL, 1);
    assert_int_equal(info, 0);
    for (size_t j = 0; j < k; j++) {
        double want = j < small ? exact[j] : 0;
        /* sigma^2 is what float arithmetic carries: small values are lost below the largest's rounding */
        double loss = tolerance * exact[0] + (want < 1e-3 * exact[0] ? 1e-3 * exact[0] : 0);
        if (fabs((double)sigma[j] - want) > loss) {
            fail_msg("%zux%zu: singular value %zu is %g, LAPACK says %g", rows, cols, j,
                     (double)sigma[j], want);
        }
        for (size_t i = 0; i <= j; i++) {
            double dot = 0;
            for (size_t c = 0; c < cols; c++) {
                dot += (double)v[c * k + i] * (double)v[c * k + j];
            }
            double wanted = i == j && sigma[j] > 0 ? 1 : 0;
            assert_true(fabs(dot - wanted) < 1e-3);
        }
    }
    free(exact);
    free(v);
    free(sigma);
    svd_lapack_close(lapack);
    drop(&s);
}

static void test_agrees_with_dense_svd(void **state)
{
    (void)state;
    agrees_with_lapack(40, 30, 10, 0, 1e-4); /* fewer than k + oversampling: exact */
    agrees_with_lapack(30, 40, 40, 0, 1e-4); /* k above the rank: zeros */
    agrees_with_lapack(200, 120, 20, 5, 2e-2);
    agrees_with_lapack(120, 300, 5, 3, 2e-2);
    agrees_with_lapack(3, 2, 2, 0, 1e-4);
}

static void test_same_seed_same_result(void **state)
{
    (void)state;
    struct sparse s = make(150, 90, 4, 3);
    struct svd_lapack *lapack = NULL;
    struct error err = {0};
    assert_int_equal(svd_lapack_open(&lapack, &err), STATUS_OK);
    float v[2][90 * 8], sigma[2][8];
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(svd_right(lapack, &s.m, 8, 5, NULL, NULL, v[i], sigma[i], &err), STATUS_OK);
    }
    assert_memory_equal(v[0], v[1], sizeof v[0]);
    assert_memory_equal(sigma[0], sigma[1], sizeof sigma[0]);
    svd_lapack_close(lapack);
    drop(&s);
}

static bool stop_at_once(float done, void *data)
{
    (void)done;
    ++*(int *)data;
    return false;
}

static void test_progress_can_stop_it(void **state)
{
    (void)state;
    struct sparse s = make(50, 50, 0, 3);
    struct svd_lapack *lapack = NULL;
    struct error err = {0};
    assert_int_equal(svd_lapack_open(&lapack, &err), STATUS_OK);
    float v[50 * 4], sigma[4];
    int calls = 0;
    assert_int_equal(svd_right(lapack, &s.m, 4, 5, stop_at_once, &calls, v, sigma, &err),
                     STATUS_CANCELLED);
    assert_int_equal(calls, 1);
    svd_lapack_close(lapack);
    drop(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_agrees_with_dense_svd),
                                       cmocka_unit_test(test_same_seed_same_result),
                                       cmocka_unit_test(test_progress_can_stop_it)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
