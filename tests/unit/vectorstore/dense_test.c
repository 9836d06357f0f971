/* One vector segment: what it finds against a plain scan, with and without filters, and damaged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/vectorstore/ok.h"
#include "vectorstore/dense.h"

#define DIMS 48U
#define ROWS 12000U
#define TOPICS 60U
#define LISTS 80U
#define QUESTIONS 60U
#define K 10U

struct fixture {
    char dir[64], path[96];
    float *unit;      /* ROWS x DIMS, as fp16 rounds them */
    uint16_t *rows;   /* the same */
    uint64_t n, hide; /* rows given; every hide-th is gone on later passes, 0: none */
    unsigned passes;
};

static uint32_t rng = 1;

static float next_random(void)
{
    rng ^= rng << 13;
    rng ^= rng >> 17;
    rng ^= rng << 5;
    return (float)rng / 4294967296.0F - 0.5F;
}

static void unit_of(float *v)
{
    double sum = 0;
    for (uint32_t i = 0; i < DIMS; i++) {
        sum += (double)v[i] * (double)v[i];
    }
    for (uint32_t i = 0; i < DIMS; i++) {
        v[i] = (float)((double)v[i] / sqrt(sum));
    }
}

static float topics[TOPICS][DIMS];

/* Near a topic, half of them between two. */
static void draw(float *v)
{
    size_t a = (size_t)((next_random() + 0.5F) * (TOPICS - 1));
    size_t b = (size_t)((next_random() + 0.5F) * (TOPICS - 1));
    float second = next_random() > 0 ? next_random() + 0.5F : 0;
    for (uint32_t i = 0; i < DIMS; i++) {
        v[i] = topics[a][i] + 0.7F * second * topics[b][i] + 0.35F * next_random();
    }
    unit_of(v);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    (void)snprintf(f->dir, sizeof f->dir, "/tmp/carrel-test-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    (void)snprintf(f->path, sizeof f->path, "%s/segment", f->dir);
    f->unit = calloc(ROWS, DIMS * sizeof *f->unit);
    f->rows = calloc(ROWS, DIMS * sizeof *f->rows);
    assert_non_null(f->unit);
    assert_non_null(f->rows);
    rng = 1;
    for (size_t i = 0; i < TOPICS; i++) {
        for (size_t j = 0; j < DIMS; j++) {
            topics[i][j] = next_random();
        }
    }
    for (size_t i = 0; i < ROWS; i++) {
        draw(f->unit + i * DIMS);
        for (size_t j = 0; j < DIMS; j++) {
            f->rows[i * DIMS + j] = half_from_float(f->unit[i * DIMS + j]);
            f->unit[i * DIMS + j] = half_to_float(f->rows[i * DIMS + j]);
        }
    }
    f->n = ROWS;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    (void)unlink(f->path);
    assert_int_equal(rmdir(f->dir), 0); /* nothing else is left behind */
    free(f->unit);
    free(f->rows);
    free(f);
    return 0;
}

/* Row i has number i + 1 and chunk i. */
static enum status each(void *data, dense_visit visit, void *visit_data, struct error *err)
{
    struct fixture *f = data;
    enum status s = STATUS_OK;
    f->passes++;
    for (size_t i = 0; i < f->n && s == STATUS_OK; i++) {
        if (f->hide == 0 || f->passes < 3 || i % f->hide != 0) {
            s = visit((int64_t)i + 1, (chunk_no)i, f->rows + i * DIMS, visit_data, err);
        }
    }
    return s;
}

static enum status go_on(void *data, struct error *err)
{
    (void)data;
    (void)err;
    return STATUS_OK;
}

static enum status give_up(void *data, struct error *err)
{
    (void)data;
    return error_set(err, STATUS_CANCELLED, "enough");
}

static enum status write_segment(struct fixture *f, uint32_t lists, struct error *err)
{
    uint64_t n = 0;
    const struct dense_source source = {
        .dimensions = DIMS, .n = f->n, .data = f, .each = each, .pause = go_on};
    f->passes = 0;
    enum status s = dense_write(f->path, &source, lists, &n, err);
    if (s == STATUS_OK) {
        assert_int_equal(n, f->n);
    }
    return s;
}

static struct visible *see(size_t every, size_t from)
{
    struct visible *v = calloc(1, sizeof *v + (ROWS / 64 + 1) * sizeof v->bits[0]);
    assert_non_null(v);
    atomic_init(&v->refs, 1);
    v->limit = ROWS;
    for (size_t i = from; i < ROWS; i += every) {
        v->bits[i / 64] |= (uint64_t)1 << (i % 64);
        v->count++;
    }
    return v;
}

static enum status find(const struct dense *s, const char *cpu, const float *q,
                        const struct visible *visible, const _Atomic bool *cancelled, uint32_t k,
                        struct best *best, struct error *err)
{
    static struct dense_query query;
    struct candidates c = {.cap = dense_candidates(k)};
    const struct dot *dot = dot_named(cpu);
    c.heap = calloc(c.cap, sizeof *c.heap);
    assert_non_null(c.heap);
    dense_query_init(&query, dot == NULL ? dot_choose() : dot, q, DIMS, visible, ROWS, cancelled,
                     k);
    enum status st = dense_scan(s, 0, &query, &c, err);
    if (st == STATUS_OK) {
        st = dense_rescore(s, &query, c.heap, c.n, best, err);
    }
    free(c.heap);
    qsort(best->hits, best->n, sizeof *best->hits, best_compare);
    return st;
}

static void exact(const struct fixture *f, const float *q, const struct visible *visible,
                  struct best *best)
{
    for (size_t i = 0; i < ROWS; i++) {
        float sum = 0;
        for (size_t j = 0; j < DIMS; j++) {
            sum += q[j] * f->unit[i * DIMS + j];
        }
        if (visible_has(visible, (chunk_no)i)) {
            best_offer(best, (chunk_no)i, sum);
        }
    }
    qsort(best->hits, best->n, sizeof *best->hits, best_compare);
}

/* Share of the true best that are found; every answer is full. */
static double recall(const struct fixture *f, const struct dense *s, const char *cpu,
                     const struct visible *visible, uint32_t k)
{
    struct error err;
    size_t found = 0;
    size_t all = 0;
    rng = 99;
    for (size_t i = 0; i < QUESTIONS; i++) {
        float q[DIMS];
        struct vector_hit x[100];
        struct vector_hit y[100];
        struct best bx = {.hits = x, .k = k};
        struct best by = {.hits = y, .k = k};
        draw(q);
        OK(find(s, cpu, q, visible, NULL, k, &bx, &err));
        exact(f, q, visible, &by);
        assert_int_equal(bx.n, by.n);
        for (size_t j = 0; j < by.n; j++) {
            for (size_t m = 0; m < bx.n; m++) {
                found += x[m].chunk == y[j].chunk ? 1 : 0;
            }
            assert_true(j == 0 || !best_worse(x[j - 1], x[j])); /* in order */
        }
        all += by.n;
    }
    return (double)found / (double)all;
}

static void a_flat_segment_finds_what_a_scan_finds(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct dense *s = NULL;
    struct visible *all = see(1, 0);
    struct visible *some = see(3, 1);
    OK(write_segment(f, 1, &err));
    OK(dense_open(f->path, NULL, &s, &err));
    assert_int_equal(dense_count(s), ROWS);
    assert_int_equal(dense_dimensions(s), DIMS);
    assert_true(recall(f, s, "scalar", all, K) >= 0.999);
    assert_true(recall(f, s, "avx2", all, K) >= 0.999);
    assert_true(recall(f, s, "avx512", all, K) >= 0.999);
    assert_true(recall(f, s, "avx512", some, 100) >= 0.999);
    _Atomic bool cancelled = true;
    struct vector_hit x[K];
    struct best best = {.hits = x, .k = K};
    assert_int_equal(find(s, "scalar", f->unit, all, &cancelled, K, &best, &err), STATUS_CANCELLED);
    OK(dense_check(s, NULL, &err));
    dense_drop(s);
    free(all);
    free(some);
}

/* A reader who may see a thousandth gets as full and as good an answer as one who sees all. */
static void lists_keep_the_recall_they_were_calibrated_for(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct dense *s = NULL;
    OK(write_segment(f, LISTS, &err));
    OK(dense_open(f->path, NULL, &s, &err));
    assert_int_equal(dense_lists(s), LISTS);
    uint32_t probes = dense_probes(s, K);
    assert_true(probes >= 1 && probes < LISTS / 2);
    assert_true(dense_probes(s, 100) >= probes);
    assert_true(dense_probes(s, 1000) <= LISTS);
    static const size_t every[] = {1, 2, 5, 10, 50, 200, 1000};
    for (size_t i = 0; i < sizeof every / sizeof every[0]; i++) {
        struct visible *v = see(every[i], every[i] / 2);
        double r = recall(f, s, "avx512", v, K);
        double r100 = recall(f, s, "avx2", v, 100);
        print_message("1 in %zu visible: recall@10 %.3f, @100 %.3f\n", every[i], r, r100);
        assert_true(r >= 0.95);
        assert_true(r100 >= 0.92);
        free(v);
    }
    struct visible *none = see(ROWS, ROWS);
    assert_true(isnan(recall(f, s, "avx2", none, K))); /* nothing of nothing */
    free(none);
    dense_drop(s);
}

struct patience {
    const struct fixture *f;
    unsigned asked, training, until;
};

static enum status run_out(void *data, struct error *err)
{
    struct patience *p = data;
    p->asked++;
    p->training += p->f->passes == 1 ? 1 : 0; /* the sample is taken, nothing is placed yet */
    return p->asked == p->until ? error_set(err, STATUS_CANCELLED, "enough") : STATUS_OK;
}

/* Clustering looks up from its work after every slice of the sample, and ends where it is told to.
 */
static void making_lists_can_be_stopped(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct patience p = {.f = f};
    uint64_t n = 0;
    const struct dense_source source = {
        .dimensions = DIMS, .n = f->n, .data = f, .each = each, .pause = run_out, .pause_data = &p};
    f->passes = 0;
    OK(dense_write(f->path, &source, LISTS, &n, &err));
    unsigned slices = p.training;
    assert_true(slices >= 8 * 3); /* eight rounds over 3,200 rows, 1,024 at a time */
    assert_int_equal(unlink(f->path), 0);
    for (unsigned until = 1; until <= slices; until += 5) {
        p = (struct patience){.f = f, .until = until};
        f->passes = 0;
        assert_int_equal(dense_write(f->path, &source, LISTS, &n, &err), STATUS_CANCELLED);
        assert_int_equal(p.asked, until); /* not once more */
        assert_int_equal(f->passes, 1);
        assert_int_not_equal(access(f->path, F_OK), 0);
    }
}

static void rows_that_go_away_meanwhile_leave_empty_places(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct dense *s = NULL;
    struct visible *all = see(1, 0);
    struct visible *gone = see(7, 0);
    f->hide = 7;
    OK(write_segment(f, LISTS, &err)); /* passes 1 and 2 see them, 3 does not */
    OK(dense_open(f->path, NULL, &s, &err));
    struct vector_hit x[100];
    struct best best = {.hits = x, .k = 100};
    OK(find(s, "avx512", f->unit, gone, NULL, 100, &best, &err));
    assert_int_equal(best.n, 0);
    OK(find(s, "avx512", f->unit + DIMS, all, NULL, 100, &best, &err));
    assert_int_equal(best.n, 100);
    assert_int_equal(x[0].chunk, 1);
    dense_drop(s);
    free(all);
    free(gone);
}

static void damage_is_found_when_it_is_touched(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct dense *s = NULL;
    struct visible *all = see(1, 0);
    struct vector_hit x[K];
    struct best best = {.hits = x, .k = K};
    struct stat st;
    assert_int_equal(dense_open(f->path, NULL, &s, &err), STATUS_NOT_FOUND);
    OK(write_segment(f, 1, &err));
    assert_int_equal(stat(f->path, &st), 0);
    int fd = open(f->path, O_RDWR);
    assert_true(fd >= 0);
    char c = 0;
    assert_int_equal(pread(fd, &c, 1, st.st_size / 4), 1); /* among the codes */
    c = (char)(c ^ 4);
    assert_int_equal(pwrite(fd, &c, 1, st.st_size / 4), 1);
    OK(dense_open(f->path, NULL, &s, &err));
    assert_int_equal(find(s, "avx2", f->unit, all, NULL, K, &best, &err), STATUS_CORRUPT);
    assert_int_equal(dense_check(s, NULL, &err), STATUS_CORRUPT);
    dense_drop(s);
    assert_int_equal(ftruncate(fd, st.st_size - 100), 0);
    assert_int_equal(dense_open(f->path, NULL, &s, &err), STATUS_CORRUPT);
    assert_int_equal(close(fd), 0);
    free(all);
}

static void writing_refuses_what_it_cannot_do(void **state)
{
    struct fixture *f = *state;
    struct error err;
    uint64_t n = 0;
    struct dense_source source = {
        .dimensions = DIMS, .n = f->n, .data = f, .each = each, .pause = give_up};
    assert_int_equal(dense_write(f->path, &source, 1, &n, &err), STATUS_CANCELLED);
    source.pause = go_on;
    source.n = f->n - 1; /* more come than were announced */
    assert_int_equal(dense_write(f->path, &source, 1, &n, &err), STATUS_CONFLICT);
    source.dimensions = 0;
    assert_int_equal(dense_write(f->path, &source, 1, &n, &err), STATUS_INVALID);
    source.dimensions = DIMS;
    source.n = 5;
    f->n = 0;
    assert_int_equal(dense_write(f->path, &source, 1, &n, &err), STATUS_NOT_FOUND);
    assert_int_equal(dense_lists_for(100000, 384), 1);
    assert_true(dense_lists_for(1000000, 384) > 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_flat_segment_finds_what_a_scan_finds, setup, teardown),
        cmocka_unit_test_setup_teardown(lists_keep_the_recall_they_were_calibrated_for, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(making_lists_can_be_stopped, setup, teardown),
        cmocka_unit_test_setup_teardown(rows_that_go_away_meanwhile_leave_empty_places, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(damage_is_found_when_it_is_touched, setup, teardown),
        cmocka_unit_test_setup_teardown(writing_refuses_what_it_cannot_do, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
