/* What is written FAISS reads, and what FAISS writes is read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <faiss/c_api/IndexFlat_c.h>
#include <faiss/c_api/Index_c.h>
#include <faiss/c_api/index_io_c.h>
#include <unistd.h>

#include "cli/faiss_file.h"

#define D 5U
#define N 7U

static float rows[N * D];
static char dir[64], path[96];

static int setup(void **state)
{
    (void)state;
    (void)snprintf(dir, sizeof dir, "/tmp/carrel-test-XXXXXX");
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/vectors.faiss", dir);
    for (size_t i = 0; i < N * D; i++) {
        rows[i] = (float)i / 3 - 4;
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    (void)unlink(path);
    assert_int_equal(rmdir(dir), 0); /* nothing else is left behind */
    return 0;
}

static void faiss_reads_what_is_written(void **state)
{
    (void)state;
    struct error err;
    struct faiss_file f;
    FaissIndex *index = NULL;
    float *xb = NULL;
    size_t size = 0;
    assert_int_equal(faiss_file_create(path, D, &f, &err), STATUS_OK);
    assert_int_equal(faiss_file_add(&f, rows, 3, &err), STATUS_OK);
    assert_int_equal(faiss_file_add(&f, rows + (size_t)3 * D, N - 3, &err), STATUS_OK);
    assert_int_not_equal(access(path, F_OK), 0); /* not before it is whole */
    assert_int_equal(faiss_file_finish(&f, &err), STATUS_OK);
    faiss_file_close(&f);
    assert_int_equal(faiss_read_index_fname(path, 0, &index), 0);
    assert_int_equal(faiss_Index_d(index), D);
    assert_int_equal(faiss_Index_ntotal(index), N);
    faiss_IndexFlat_xb(index, &xb, &size);
    assert_int_equal(size, N * D);
    assert_memory_equal(xb, rows, sizeof rows);
    float distance = 0;
    idx_t label = -1;
    assert_int_equal(faiss_Index_search(index, 1, rows + (size_t)(N - 1) * D, 1, &distance, &label),
                     0);
    assert_int_equal(label, N - 1); /* by inner product the longest */
    faiss_Index_free(index);
}

static void what_faiss_writes_is_read(void **state)
{
    (void)state;
    struct error err;
    struct faiss_file f;
    FaissIndexFlat *index = NULL;
    float row[D];
    assert_int_equal(faiss_IndexFlat_new_with(&index, D, METRIC_L2), 0);
    assert_int_equal(faiss_Index_add(index, N, rows), 0);
    assert_int_equal(faiss_write_index_fname(index, path), 0);
    faiss_Index_free(index);
    assert_int_equal(faiss_file_open(path, &f, &err), STATUS_OK);
    assert_int_equal(f.dimensions, D);
    assert_int_equal(f.n, N);
    for (size_t i = 0; i < N; i++) {
        assert_int_equal(faiss_file_next(&f, row, &err), STATUS_OK);
        assert_memory_equal(row, rows + i * D, sizeof row);
    }
    assert_int_equal(faiss_file_next(&f, row, &err), STATUS_CORRUPT);
    faiss_file_close(&f);
    assert_int_equal(truncate(path, 60), 0);
    assert_int_equal(faiss_file_open(path, &f, &err), STATUS_OK);
    assert_int_equal(faiss_file_next(&f, row, &err), STATUS_CORRUPT);
    faiss_file_close(&f);
    assert_int_equal(truncate(path, 20), 0);
    assert_int_equal(faiss_file_open(path, &f, &err), STATUS_CORRUPT);
    FILE *other = fopen(path, "wb");
    assert_non_null(other);
    for (int i = 0; i < 50; i++) {
        assert_true(fputs("IxSQ", other) >= 0);
    }
    assert_int_equal(fclose(other), 0);
    assert_int_equal(faiss_file_open(path, &f, &err), STATUS_INVALID);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(faiss_file_open(path, &f, &err), STATUS_NOT_FOUND);
}

static void what_is_not_finished_leaves_nothing(void **state)
{
    (void)state;
    struct error err;
    struct faiss_file f;
    assert_int_equal(faiss_file_create(path, D, &f, &err), STATUS_OK);
    assert_int_equal(faiss_file_add(&f, rows, 2, &err), STATUS_OK);
    faiss_file_close(&f);
    assert_int_not_equal(access(path, F_OK), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(faiss_reads_what_is_written, setup, teardown),
        cmocka_unit_test_setup_teardown(what_faiss_writes_is_read, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_not_finished_leaves_nothing, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
