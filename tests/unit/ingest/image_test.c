/* How large pictures are, by their heads; hostile ones too. */
#include "ingest/formats/image.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define B(literal)                                                                                 \
    {                                                                                              \
        literal, sizeof(literal) - 1                                                               \
    }

static const struct {
    const char *name;
    struct str head;
    uint32_t width, height;
} heads[] = {
    {"png", B("\x89PNG\r\n\x1A\n\0\0\0\rIHDR\0\0\x02\x58\0\0\x01\x90"), 600, 400},
    {"jpeg", B("\xFF\xD8\xFF\xE0\0\x04JF\xFF\xFF\xC4\0\x03x\xFF\xC0\0\x11\x08\x01\x90\x02\x58\x03"),
     600, 400},
    {"gif", B("GIF89a\x58\x02\x90\x01\xF7"), 600, 400},
    {"bmp", B("BM\0\0\0\0\0\0\0\0\0\0\0\0\x28\0\0\0\x58\x02\0\0\x70\xFE\xFF\xFF"), 600, 400},
    {"old bmp", B("BM\0\0\0\0\0\0\0\0\0\0\0\0\x0C\0\0\0\x58\x02\x90\x01"), 600, 400},
    {"webp", B("RIFF\0\0\0\0WEBPVP8 \0\0\0\0\0\0\0\x9D\x01\x2A\x58\x02\x90\x01"), 600, 400},
    {"lossless webp", B("RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2F\x57\xC2\x63\0"), 600, 400},
    {"extended webp", B("RIFF\0\0\0\0WEBPVP8X\0\0\0\0\0\0\0\0\x57\x02\0\x8F\x01\0"), 600, 400},
    {"pbm", B("P4\n# by hand\n 600\t400\n"), 600, 400},
    {"tiff",
     B("II*\0\x08\0\0\0\x02\0\0\x01\x03\0\x01\0\0\0\x58\x02\0\0\x01\x01\x04\0\x01\0\0\0\x90\x01\0\0"
       "\0\0\0\0"),
     600, 400},
    {"big-endian tiff",
     B("MM\0*\0\0\0\x08\0\x02\x01\0\0\x03\0\0\0\x01\x02\x58\0\0\x01\x01\0\x04\0\0\0\x01\0\0\x01\x90"
       "\0\0\0\0"),
     600, 400},
};
#define N (sizeof heads / sizeof heads[0])

static enum status look(struct str s, struct image *out, struct arena *a, struct error *err)
{
    /* in memory of just that size, so that a read beyond it is seen */
    char *copy = malloc(s.len == 0 ? 1 : s.len);
    assert_non_null(copy);
    memcpy(copy, s.ptr, s.len);
    arena_reset(a);
    enum status st = image_look((struct str){copy, s.len}, a, out, err);
    free(copy);
    if (st != STATUS_OK) {
        assert_true(err->text[0] != '\0');
    }
    return st;
}

static void test_sizes(void **state)
{
    (void)state;
    struct arena a;
    struct image image;
    struct error err = {0};
    arena_init(&a, 1U << 20);
    for (size_t i = 0; i < N; i++) {
        if (look(heads[i].head, &image, &a, &err) != STATUS_OK) {
            fail_msg("%s: %s", heads[i].name, err.text);
        }
        assert_int_equal(image.n, 1);
        assert_int_equal(image.frames[0].width, heads[i].width);
        assert_int_equal(image.frames[0].height, heads[i].height);
    }
    arena_reset(&a);
}

static void test_cut_and_bent(void **state)
{
    (void)state;
    struct arena a;
    struct image image;
    struct error err = {0};
    arena_init(&a, 1U << 20);
    for (size_t i = 0; i < N; i++) {
        for (size_t len = 0; len < heads[i].head.len; len++) {
            (void)!look((struct str){heads[i].head.ptr, len}, &image, &a, &err);
        }
        char *bent = malloc(heads[i].head.len);
        assert_non_null(bent);
        for (size_t at = 0; at < heads[i].head.len; at++) {
            for (unsigned bit = 0; bit < 8; bit++) {
                memcpy(bent, heads[i].head.ptr, heads[i].head.len);
                bent[at] = (char)(bent[at] ^ (1 << bit));
                (void)!look((struct str){bent, heads[i].head.len}, &image, &a, &err);
            }
        }
        free(bent);
    }
    arena_reset(&a);
}

static void test_too_large(void **state)
{
    (void)state;
    struct arena a;
    struct image image;
    struct error err = {0};
    arena_init(&a, 1U << 20);
    struct str bomb = B("\x89PNG\r\n\x1A\n\0\0\0\rIHDR\0\0\xEA\x60\0\0\xEA\x60");
    assert_int_equal(look(bomb, &image, &a, &err), STATUS_TOO_LARGE);
    assert_non_null(strstr(err.text, "60000 x 60000"));
    struct str wide = B("\x89PNG\r\n\x1A\n\0\0\0\rIHDR\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF");
    assert_int_equal(look(wide, &image, &a, &err), STATUS_TOO_LARGE);
    struct str none = B("\x89PNG\r\n\x1A\n\0\0\0\rIHDR\0\0\0\0\0\0\0\x01");
    assert_int_equal(look(none, &image, &a, &err), STATUS_INVALID);
    struct str text = B("This is no picture.");
    assert_int_equal(look(text, &image, &a, &err), STATUS_UNSUPPORTED);
    /* a chain of directories that leads back to its beginning */
    struct str ring =
        B("II*\0\x08\0\0\0\x02\0\0\x01\x03\0\x01\0\0\0\x58\x02\0\0\x01\x01\x04\0\x01\0"
          "\0\0\x90\x01\0\0\x08\0\0\0");
    assert_int_equal(look(ring, &image, &a, &err), STATUS_TOO_LARGE);
    arena_reset(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_cut_and_bent),
        cmocka_unit_test(test_too_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
