#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "embed/encode.h"

static const char *const passages[] = {
    "The train leaves the station in the morning. Trains run every hour.",
    "A railway station in the north, with trains to the coast every hour.",
    "The morning train to the coast leaves from the station.",
    "Every station on the railway has a clock, and trains leave on the hour.",
    "Die Bäckerei verkauft Brot und Brötchen. Das Brot ist frisch aus dem Ofen.",
    "Frisches Brot aus dem Ofen der Bäckerei, und Brötchen am Morgen.",
    "In der Bäckerei ist das Brot am Morgen frisch, die Brötchen auch.",
    "Der Ofen der Bäckerei ist heiß, das Brot und die Brötchen sind frisch.",
};
#define N (sizeof passages / sizeof *passages)

static double length(const float *v, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)v[i] * (double)v[i];
    }
    return sqrt(sum);
}

static double dot(const float *a, const float *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)a[i] * (double)b[i];
    }
    return sum;
}

static struct encode_text text(const char *t)
{
    return (struct encode_text){.text = str_from(t), .title = STR("")};
}

static void test_hashed_stems(void **state)
{
    (void)state;
    struct encode_scratch *s = NULL;
    struct error err = {0};
    assert_int_equal(encode_scratch_new(&s, &err), STATUS_OK);
    float a[ENCODE_HASHED_DIMENSIONS], b[ENCODE_HASHED_DIMENSIONS], c[ENCODE_HASHED_DIMENSIONS];
    size_t words = 0;
    struct encode_text one = text(passages[0]), two = text(passages[2]), none = text(" ... ");
    assert_int_equal(encode_one(s, NULL, &one, false, a, &words, &err), STATUS_OK);
    assert_true(words >= 10);
    assert_int_equal(encode_one(s, NULL, &two, false, b, &words, &err), STATUS_OK);
    assert_int_equal(encode_one(s, NULL, &none, true, c, &words, &err), STATUS_OK);
    assert_true(fabs(length(a, ENCODE_HASHED_DIMENSIONS) - 1) < 1e-5);
    assert_true(dot(a, b, ENCODE_HASHED_DIMENSIONS) > .2);
    assert_true(length(c, ENCODE_HASHED_DIMENSIONS) < 1e-9);
    encode_scratch_free(s);
}

static void test_queries_of_several_languages(void **state)
{
    (void)state;
    struct encode_scratch *s = NULL;
    struct error err = {0};
    assert_int_equal(encode_scratch_new(&s, &err), STATUS_OK);
    struct lsa_fit_options options = {.dimensions = 4, .min_document_frequency = 3, .seed = 1};
    struct lsa_fit *fit = NULL;
    assert_int_equal(lsa_fit_new(&options, &fit, &err), STATUS_OK);
    for (size_t i = 0; i < N; i++) {
        struct encode_text t = text(passages[i]);
        assert_int_equal(encode_into_fit(s, fit, &t, &err), STATUS_OK);
    }
    uint8_t *blob;
    size_t len;
    assert_int_equal(lsa_fit_solve(fit, NULL, NULL, &blob, &len, &err), STATUS_OK);
    lsa_fit_free(fit);
    struct lsa_model *m = NULL;
    assert_int_equal(lsa_open(blob, len, &m, &err), STATUS_OK);
    struct lsa_info info;
    lsa_describe(m, &info);
    assert_int_equal(info.n_languages, 2);
    float v[N][4], q[4];
    size_t words = 0;
    for (size_t i = 0; i < N; i++) {
        struct encode_text t = text(passages[i]);
        assert_int_equal(encode_one(s, m, &t, false, v[i], &words, &err), STATUS_OK);
        assert_true(fabs(length(v[i], 4) - 1) < 1e-5);
    }
    struct {
        const char *query;
        size_t first, last; /* passages that must be closer than all others */
    } cases[] = {{"trains", 0, 4}, {"frische Brote", 4, 8}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct encode_text t = text(cases[i].query);
        assert_int_equal(encode_one(s, m, &t, true, q, &words, &err), STATUS_OK);
        for (size_t j = 0; j < N; j++) {
            bool wanted = j >= cases[i].first && j < cases[i].last;
            assert_true(wanted == (dot(q, v[j], 4) > .5));
        }
    }
    lsa_close(m);
    encode_scratch_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_hashed_stems),
                                       cmocka_unit_test(test_queries_of_several_languages)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
