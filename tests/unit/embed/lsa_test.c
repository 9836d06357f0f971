#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/half.h"
#include "embed/lsa.h"
#include "embed/lsa_fit.h"

#define DIMENSIONS 16
#define PASSAGES 120
#define WORDS 24

/* Passage i speaks about subject i % 4: words "s<subject>w<k>", and a few that all share. */
static void word(size_t passage, size_t k, char out[32])
{
    if (k % 4 == 0) {
        (void)snprintf(out, 32, "shared%zu", k % 8);
    } else {
        (void)snprintf(out, 32, "s%zuw%zu", passage % 4, (passage * 7 + k * 5) % 11);
    }
}

static struct lsa_fit *collect(size_t passages, size_t rows_max)
{
    struct lsa_fit_options options = {
        .dimensions = DIMENSIONS, .min_document_frequency = 3, .seed = 1, .rows_max = rows_max};
    struct lsa_fit *fit = NULL;
    struct error err = {0};
    assert_int_equal(lsa_fit_new(&options, &fit, &err), STATUS_OK);
    for (size_t i = 0; i < passages; i++) {
        for (size_t k = 0; k < WORDS; k++) {
            char w[32];
            word(i, k, w);
            assert_int_equal(lsa_fit_word(fit, str_from(w), &err), STATUS_OK);
        }
        char rare[32];
        (void)snprintf(rare, sizeof rare, "rare%zu", i / 2);
        assert_int_equal(lsa_fit_word(fit, str_from(rare), &err), STATUS_OK);
        assert_int_equal(lsa_fit_passage(fit, i % 3 == 0 ? "de" : "en", &err), STATUS_OK);
    }
    return fit;
}

static uint8_t *fit_blob(size_t *len)
{
    struct lsa_fit *fit = collect(PASSAGES, 0);
    struct error err = {0};
    uint8_t *blob = NULL;
    assert_int_equal(lsa_fit_solve(fit, NULL, NULL, &blob, len, &err), STATUS_OK);
    lsa_fit_free(fit);
    return blob;
}

static struct lsa_model *open_model(void)
{
    size_t len;
    uint8_t *blob = fit_blob(&len);
    struct lsa_model *m = NULL;
    struct error err = {0};
    assert_int_equal(lsa_open(blob, len, &m, &err), STATUS_OK);
    return m;
}

static void fold_passage(const struct lsa_model *m, size_t passage, uint32_t readings, float *out)
{
    struct lsa_bag bag;
    struct error err = {0};
    lsa_bag_init(&bag);
    for (uint32_t r = 0; r < readings; r++) {
        for (size_t k = 0; k < WORDS; k++) {
            char w[32];
            word(passage, k, w);
            assert_int_equal(lsa_bag_add(&bag, m, str_from(w), r, &err), STATUS_OK);
        }
    }
    lsa_fold(m, &bag, out);
    lsa_bag_deinit(&bag);
}

static double cosine(const float *a, const float *b)
{
    double dot = 0;
    for (size_t i = 0; i < DIMENSIONS; i++) {
        dot += (double)a[i] * (double)b[i];
    }
    return dot;
}

static void test_says_what_it_is(void **state)
{
    (void)state;
    struct lsa_model *m = open_model();
    struct lsa_info info;
    lsa_describe(m, &info);
    assert_int_equal(info.dimensions, DIMENSIONS);
    assert_int_equal(info.passages, PASSAGES);
    assert_int_equal(info.n_languages, 2);
    assert_string_equal(info.languages[0], "en");
    assert_string_equal(info.languages[1], "de");
    assert_int_equal(strncmp(info.encoder, "carrel-lsa-", 11), 0);
    assert_int_equal(strlen(info.encoder), 27);
    lsa_close(m);
}

static void test_rare_words_stay_out(void **state)
{
    (void)state;
    struct lsa_model *m = open_model();
    struct lsa_bag bag;
    struct error err = {0};
    float v[DIMENSIONS];
    lsa_bag_init(&bag);
    assert_int_equal(lsa_bag_add(&bag, m, STR("rare5"), 0, &err), STATUS_OK);
    lsa_fold(m, &bag, v);
    for (size_t i = 0; i < DIMENSIONS; i++) {
        assert_true(v[i] == 0.0F);
    }
    lsa_bag_deinit(&bag);
    lsa_close(m);
}

static void test_subjects_lie_together(void **state)
{
    (void)state;
    struct lsa_model *m = open_model();
    float a[DIMENSIONS], b[DIMENSIONS], c[DIMENSIONS];
    fold_passage(m, 0, 1, a);
    fold_passage(m, 4, 1, b); /* the same subject, other words */
    fold_passage(m, 1, 1, c);
    assert_true(fabs(cosine(a, a) - 1) < 1e-5);
    assert_true(cosine(a, b) > cosine(a, c) + .3);
    lsa_close(m);
}

static void test_readings_count_once(void **state)
{
    (void)state;
    struct lsa_model *m = open_model();
    float once[DIMENSIONS], thrice[DIMENSIONS];
    fold_passage(m, 2, 1, once);
    fold_passage(m, 2, 3, thrice);
    assert_memory_equal(once, thrice, sizeof once);
    lsa_close(m);
}

static void test_fit_is_deterministic(void **state)
{
    (void)state;
    size_t la, lb;
    uint8_t *a = fit_blob(&la), *b = fit_blob(&lb);
    assert_int_equal(la, lb);
    assert_memory_equal(a, b, la);
    free(a);
    free(b);
}

static void test_long_streams_are_sampled(void **state)
{
    (void)state;
    struct lsa_fit *fit = collect(1000, 64);
    assert_true(lsa_fit_rows(fit) >= 32 && lsa_fit_rows(fit) <= 64);
    struct error err = {0};
    uint8_t *blob;
    size_t len;
    assert_int_equal(lsa_fit_solve(fit, NULL, NULL, &blob, &len, &err), STATUS_OK);
    free(blob);
    lsa_fit_free(fit);
}

static void test_too_little_is_said(void **state)
{
    (void)state;
    struct lsa_fit *fit = collect(2, 0);
    struct error err = {0};
    uint8_t *blob;
    size_t len;
    assert_int_equal(lsa_fit_solve(fit, NULL, NULL, &blob, &len, &err), STATUS_INVALID);
    assert_non_null(strstr(err.text, "too few words"));
    lsa_fit_free(fit);
}

/* One line, again and again; where a passage begins and ends differs. */
static void test_one_line_repeated_is_no_fit(void **state)
{
    (void)state;
    struct lsa_fit_options options = {.dimensions = DIMENSIONS, .min_document_frequency = 3, .seed = 1};
    struct lsa_fit *fit = NULL;
    struct error err = {0};
    uint8_t *blob;
    size_t len;
    assert_int_equal(lsa_fit_new(&options, &fit, &err), STATUS_OK);
    for (size_t i = 0; i < 400; i++) {
        for (size_t k = 0; k < (i == 399 ? 7 : 120 + i % 3); k++) {
            char w[32];
            (void)snprintf(w, sizeof w, "line%zu", (i + k) % 12);
            assert_int_equal(lsa_fit_word(fit, str_from(w), &err), STATUS_OK);
        }
        assert_int_equal(lsa_fit_passage(fit, "en", &err), STATUS_OK);
    }
    assert_int_equal(lsa_fit_solve(fit, NULL, NULL, &blob, &len, &err), STATUS_INVALID);
    assert_non_null(strstr(err.text, "too much alike"));
    lsa_fit_free(fit);
}

static enum status reopen(const uint8_t *blob, size_t len, bool seal)
{
    uint8_t *copy = malloc(len == 0 ? 1 : len);
    assert_non_null(copy);
    memcpy(copy, blob, len);
    if (seal && len >= SHA256_BYTES) {
        sha256_of(copy, len - SHA256_BYTES, copy + len - SHA256_BYTES);
    }
    struct lsa_model *m = NULL;
    struct error err = {0};
    enum status s = lsa_open(copy, len, &m, &err);
    if (s == STATUS_OK) {
        lsa_close(m);
    } else {
        free(copy);
    }
    return s;
}

/* Every cut, and every byte of header and term table changed, with the checksum made good again: an open
 * model must be a safe one (the sanitizers watch), and most changes must be refused. */
static void test_damaged_blobs_are_refused(void **state)
{
    (void)state;
    size_t len;
    uint8_t *blob = fit_blob(&len);
    for (size_t cut = 0; cut < len; cut += cut < 600 ? 1 : 97) {
        assert_int_equal(reopen(blob, cut, false), STATUS_CORRUPT);
        assert_int_equal(reopen(blob, cut, true), STATUS_CORRUPT);
    }
    for (size_t at = 0; at < len; at += at < 600 ? 1 : 61) {
        blob[at] ^= 0xff;
        assert_int_equal(reopen(blob, len, false), STATUS_CORRUPT);
        enum status s = reopen(blob, len, true);
        bool header = at < 24 || (at >= 28 && at < 32);
        bool harmless = (at >= 20 && at < 24) || at >= 96 || (at >= 32 && at < 96);
        assert_true(s == STATUS_CORRUPT || s == STATUS_UNSUPPORTED || harmless || !header);
        blob[at] ^= 0xff;
    }
    assert_int_equal(reopen(blob, len, false), STATUS_OK);
    free(blob);
}

static void test_half_floats(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x10000; h++) { /* every finite half survives the way there and back */
        if (half_finite((uint16_t)h) && h != 0x8000) {
            assert_int_equal(half_from_float(half_to_float((uint16_t)h)), h);
        }
    }
    assert_int_equal(half_from_float(1.0F), 0x3c00);
    assert_int_equal(half_from_float(1e9F), 0x7bff);
    assert_int_equal(half_from_float(-65504.0F), 0xfbff);
    assert_int_equal(half_from_float(1e-9F), 0);
    assert_int_equal(half_from_float(1.0F + 0x1p-11F), 0x3c00); /* tie to even */
    assert_int_equal(half_from_float(1.0F + 0x3p-11F), 0x3c02);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_says_what_it_is),       cmocka_unit_test(test_rare_words_stay_out),
        cmocka_unit_test(test_subjects_lie_together), cmocka_unit_test(test_readings_count_once),
        cmocka_unit_test(test_fit_is_deterministic),  cmocka_unit_test(test_long_streams_are_sampled),
        cmocka_unit_test(test_too_little_is_said),    cmocka_unit_test(test_damaged_blobs_are_refused),
        cmocka_unit_test(test_one_line_repeated_is_no_fit), cmocka_unit_test(test_half_floats)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
