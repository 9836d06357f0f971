/* What tests of formats that are a zip archive of XML parts do: make one, attack its main part. */
#ifndef CARREL_TESTS_INGEST_PACKAGE_H
#define CARREL_TESTS_INGEST_PACKAGE_H

#include "tests/unit/ingest/damage.h"

static inline void expect_refusal(extract_fn extract, const char *const *parts, enum status code,
                                  const char *words)
{
    struct buf b;
    struct error err = {0};
    make_docx(parts, &b);
    assert_int_equal(outcome(extract, buf_view(&b), &err), code);
    if (strstr(err.text, words) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", err.text, words);
    }
    buf_deinit(&b);
}

/* The parts, and one more. */
static inline void make_with(const char *const *others, const char *name, const char *part,
                             struct buf *out)
{
    const char *parts[32];
    size_t n = 0;
    for (; others[n] != NULL; n++) {
        parts[n] = others[n];
    }
    parts[n] = name;
    parts[n + 1] = part;
    parts[n + 2] = NULL;
    make_docx(parts, out);
}

/* Cut anywhere and with any bits turned over it is read or refused with a reason. */
static inline void harm(extract_fn extract, struct str whole)
{
    char *copy = malloc(whole.len + 1);
    uint64_t random = 7;
    assert_non_null(copy);
    for (size_t i = 0; i < 16; i++) {
        struct error err = {0};
        enum status s = outcome(extract, (struct str){whole.ptr, whole.len * i / 16}, &err);
        assert_true(s != STATUS_OK && err.text[0] != '\0');
    }
    for (size_t i = 0; i < 400; i++) {
        memcpy(copy, whole.ptr, whole.len);
        for (size_t k = 0; k < 1 + i % 4; k++) {
            random = random * UINT64_C(6364136223846793005) + 1442695040888963407U;
            copy[(random >> 33) % whole.len] ^= (char)(1U << (random >> 30 & 7));
        }
        survive(extract, (struct str){copy, whole.len});
    }
    free(copy);
}

#define BOMB                                                                                       \
    "<!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;\">]><x>&b;</x>"
#define DEEP_STEP "<a><a><a><a><a><a><a><a><a><a>"
#define DEEP_100                                                                                   \
    DEEP_STEP DEEP_STEP DEEP_STEP DEEP_STEP DEEP_STEP DEEP_STEP DEEP_STEP DEEP_STEP DEEP_STEP      \
        DEEP_STEP
#define DEEP "<x>" DEEP_100 DEEP_100 DEEP_100

/* The part that the format cannot do without: a bomb of entities, of nesting, of bytes. */
static inline void attack(extract_fn extract, const char *const *others, const char *part)
{
    const char *parts[32];
    size_t n = 0;
    char *zeros = malloc((size_t)48 << 20);
    assert_non_null(zeros);
    for (; others[n] != NULL; n++) {
        parts[n] = others[n];
    }
    parts[n] = part;
    parts[n + 2] = NULL;
    parts[n + 1] = BOMB;
    expect_refusal(extract, parts, STATUS_INVALID, "entities");
    parts[n + 1] = DEEP;
    expect_refusal(extract, parts, STATUS_INVALID, "deep");
    memset(zeros, ' ', ((size_t)48 << 20) - 1);
    memcpy(zeros, "<x>", 3);
    zeros[((size_t)48 << 20) - 1] = '\0';
    parts[n + 1] = zeros;
    expect_refusal(extract, parts, STATUS_TOO_LARGE, "unpacks to");
    free(zeros);
    expect_refusal(extract, others, STATUS_INVALID, "missing");
}

#endif
