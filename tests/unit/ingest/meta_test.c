/* What is kept of what documents say of themselves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "ingest/meta.h"

#define NOW INT64_C(1795000000000) /* November 2026 */

static void test_titles(void **state)
{
    static const char *const good[] = {"Handbook",
                                       "Staff handbook 2024",
                                       "Document management",
                                       "Über uns",
                                       "報告書",
                                       "What is a scan?",
                                       "Dr. No",
                                       "Version 2.0"};
    static const char *const bad[] = {"",
                                      "  ",
                                      "1",
                                      "12.3",
                                      "Microsoft Word - Document1",
                                      "Microsoft Word - Handbook.doc",
                                      "Document1",
                                      "document (2)",
                                      "Unbenannt",
                                      "Untitled-1",
                                      "[Untitled]",
                                      "PowerPoint-Präsentation",
                                      "Folie 1",
                                      "handbook.docx",
                                      "C:\\tmp\\x",
                                      "/home/x/y",
                                      "file:///x",
                                      "Mappe1",
                                      "_",
                                      "...",
                                      "Vorlage",
                                      "(anonymous)"};
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        if (meta_title_worthless(str_from(good[i]))) {
            fail_msg("%s is a title", good[i]);
        }
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (!meta_title_worthless(str_from(bad[i]))) {
            fail_msg("%s is no title", bad[i]);
        }
    }
}

static void test_languages(void **state)
{
    static const char *const pairs[][2] = {{"de", "de"},  {"de-AT", "de"},  {"EN_us", "en"},
                                           {"deu", "de"}, {"eng-GB", "en"}, {"xxx", ""},
                                           {"", ""},      {"english", ""},  {"d", ""},
                                           {"d1", ""},    {"../", ""}};
    char out[3];
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        meta_language(pairs[i][0], out);
        assert_string_equal(out, pairs[i][1]);
    }
    meta_language(NULL, out);
    assert_string_equal(out, "");
}

static void test_settled(void **state)
{
    struct arena a;
    Ex__Document d = EX__DOCUMENT__INIT;
    Ex__Block blocks[3] = {EX__BLOCK__INIT, EX__BLOCK__INIT, EX__BLOCK__INIT};
    Ex__Block *list[3] = {&blocks[0], &blocks[1], &blocks[2]};
    static const char *const texts[3] = {"Some text", "Document1", "The real\ttitle"};
    (void)state;
    arena_init(&a, 1 << 20);
    for (size_t i = 0; i < 3; i++) {
        blocks[i].kind = i == 0 ? EX__BLOCK__KIND__PARAGRAPH : EX__BLOCK__KIND__HEADING;
        blocks[i].text =
            (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)texts[i], .len = strlen(texts[i])};
    }
    d.format = (char *)(uintptr_t) "docx";
    d.title = (char *)(uintptr_t) "Microsoft Word - Document1";
    d.author = (char *)(uintptr_t) "Windows User; Anna Berg;  ; 12 ;(anonymous); "
                                   "ARRAY(0x2c7cf020);Carl Dahl";
    d.language = (char *)(uintptr_t) "de-DE";
    d.has_created_ms = d.has_modified_ms = 1;
    d.created_ms = INT64_C(1158364800000); /* Excel's template */
    d.modified_ms = NOW;
    const Ex__Document *m = meta_settle(&d, list, 3, NOW, &a);
    assert_non_null(m);
    assert_string_equal(m->title, "The real title");
    assert_string_equal(m->author, "Anna Berg; Carl Dahl");
    assert_string_equal(m->language, "de");
    assert_false(m->has_created_ms);
    assert_true(m->has_modified_ms && m->modified_ms == NOW);
    int64_t own = 0;
    assert_true(
        meta_own_date(m->has_modified_ms, m->modified_ms, m->has_created_ms, m->created_ms, &own));
    assert_true(own == NOW);
    static const int64_t odd[] = {INT64_C(-2208988800001), INT64_C(4070908800000), 0};
    for (size_t i = 0; i < 3; i++) {
        d.modified_ms = odd[i];
        m = meta_settle(&d, list, 1, NOW, &a);
        assert_non_null(m);
        assert_false(m->has_modified_ms);
        assert_string_equal(m->title, "");
    }
    d.modified_ms = NOW + INT64_C(31536000000); /* next year */
    m = meta_settle(&d, list, 1, NOW, &a);
    assert_non_null(m);
    assert_true(m->has_modified_ms);
    m = meta_settle(NULL, NULL, 0, NOW, &a);
    assert_non_null(m);
    arena_reset(&a);
}

/* What is cut for its length ends with a whole character. */
static void test_long_ones_are_cut_between_characters(void **state)
{
    char many[2 * 600 + 2] = "x";
    struct arena a;
    (void)state;
    arena_init(&a, 1U << 20);
    for (size_t i = 0; i < 600; i++) {
        memcpy(many + 1 + 2 * i, "\u00E4", 3);
    }
    Ex__Document d = EX__DOCUMENT__INIT;
    d.title = d.author = d.keywords = many;
    const Ex__Document *m = meta_settle(&d, NULL, 0, NOW, &a);
    assert_non_null(m);
    assert_int_equal(strlen(m->title), 299);
    assert_int_equal(strlen(m->author), 999);
    assert_int_equal(strlen(m->keywords), 999);
    arena_reset(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_titles),
        cmocka_unit_test(test_languages),
        cmocka_unit_test(test_settled),
        cmocka_unit_test(test_long_ones_are_cut_between_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
