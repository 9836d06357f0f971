/* What tests of parsers do with samples: look at what comes out, and damage them. */
#ifndef CARREL_TESTS_INGEST_DAMAGE_H
#define CARREL_TESTS_INGEST_DAMAGE_H

#include "tests/unit/test.h"

#include "tests/unit/ingest/fixtures.h"

typedef enum status (*extract_fn)(const struct extract_input *in, struct emitter *e,
                                  struct error *err);

static inline void expect(extract_fn f, struct str data, const char *title, const char *text)
{
    struct collected c;
    struct error err = {0};
    collected_init(&c);
    if (collect(f, data, NULL, &c, &err) != STATUS_OK) {
        fail_msg("%s", err.text);
    }
    assert_string_equal(collected_text(&c), text);
    assert_string_equal(c.title, title);
    collected_deinit(&c);
}

static inline void expect_failure(extract_fn f, struct str data, enum status code,
                                  const char *words)
{
    struct collected c;
    struct error err = {0};
    collected_init(&c);
    assert_int_equal(collect(f, data, NULL, &c, &err), code);
    if (strstr(err.text, words) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", err.text, words);
    }
    collected_deinit(&c);
}

static inline enum status pass_over(void *data, const Ex__Piece *piece, struct error *err)
{
    (void)data, (void)piece, (void)err;
    return STATUS_OK;
}

/* What becomes of a document; what is read of it is passed over. */
static inline enum status outcome(extract_fn f, struct str data, struct error *err)
{
    struct arena arena;
    struct emitter e;
    arena_init(&arena, (size_t)64 << 20);
    emit_init(&e, (size_t)64 << 20, pass_over, NULL);
    struct extract_input in = {
        .fd = -1, .data = data, .arena = &arena, .max_bytes = (size_t)64 << 20};
    enum status s = f(&in, &e, err);
    if (s == STATUS_OK) {
        s = emit_finish(&e, err);
    }
    emit_deinit(&e);
    arena_reset(&arena);
    return s;
}

/* Read, or refused with a reason; nothing else. */
static inline void survive(extract_fn f, struct str data)
{
    struct error err = {0};
    assert_true(outcome(f, data, &err) == STATUS_OK || err.text[0] != '\0');
}

/* Cut at every sixteenth; every bit of its first bytes, and some of the others, turned round. */
static inline void damage(extract_fn f, struct str good)
{
    char *copy = malloc(good.len + 1);
    assert_non_null(copy);
    for (size_t i = 0; i < 16; i++) {
        memcpy(copy, good.ptr, good.len * i / 16);
        survive(f, (struct str){copy, good.len * i / 16});
    }
    for (size_t bit = 0; bit < good.len * 8; bit += bit < 1024 ? 1 : 61) {
        memcpy(copy, good.ptr, good.len);
        copy[bit / 8] = (char)(copy[bit / 8] ^ (1 << bit % 8));
        survive(f, (struct str){copy, good.len});
    }
    free(copy);
}

#endif
