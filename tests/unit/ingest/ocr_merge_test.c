/* Pages read from pictures among those with text; what counts as a page without text; how large a
 * picture is. */
#include "ingest/ocr_merge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ingest/formats/unread.h"
#include "ingest/legible.h"

#define BLOCKS 64

struct made {
    Ex__Block block[BLOCKS];
    Ex__Block *list[BLOCKS];
    size_t n;
};

static size_t make(struct made *m, Ex__Block__Kind kind, uint32_t page, const char *text)
{
    assert_true(m->n < BLOCKS);
    Ex__Block *b = &m->block[m->n];
    ex__block__init(b);
    b->kind = kind;
    b->has_page = page != 0;
    b->page = page;
    b->text.data = (uint8_t *)(uintptr_t)text;
    b->text.len = strlen(text);
    m->list[m->n] = b;
    return m->n++;
}

#define BODY EX__BLOCK__KIND__PARAGRAPH
#define FURNITURE EX__BLOCK__KIND__FURNITURE

static void expect(Ex__Block **out, size_t n, const char *const *texts, size_t n_texts)
{
    assert_int_equal(n, n_texts);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(out[i]->text.len, strlen(texts[i]));
        assert_memory_equal(out[i]->text.data, texts[i], out[i]->text.len);
    }
}

static void test_order(void **state)
{
    (void)state;
    struct made layer = {.n = 0}, read = {.n = 0};
    struct arena a;
    struct error err = {0};
    Ex__Block **out;
    size_t n;
    arena_init(&a, 1U << 20);
    make(&layer, BODY, 0, "Before any page");
    make(&layer, BODY, 1, "Page one has text");
    make(&layer, BODY, 2, "stamp");
    make(&layer, BODY, 4, "A chart with few words");
    make(&layer, BODY, 5, "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD garbled");
    make(&layer, BODY, 6, "Page six has text");
    make(&layer, FURNITURE, 1, "Annual report");
    make(&layer, EX__BLOCK__KIND__NOTE, 6, "A note behind all");
    make(&read, BODY, 2, "The second page was a scan of many words");
    make(&read, BODY, 2, "in two paragraphs");
    make(&read, BODY, 4, "A chart wlth few word");
    make(&read, BODY, 5, "The fifth is garbled no more");
    make(&read, BODY, 9, "After all pages");
    const struct ocr_page_blocks pages[] = {
        {2, &read.list[0], 2}, {3, NULL, 0},          {4, &read.list[2], 1},
        {5, &read.list[3], 1}, {9, &read.list[4], 1},
    };
    assert_int_equal(ocr_merge(layer.list, layer.n, pages, 5, &a, &out, &n, &err), STATUS_OK);
    static const char *const want[] = {
        "Before any page",
        "Page one has text",
        "The second page was a scan of many words",
        "in two paragraphs",
        "A chart with few words", /* the layer is exact, the picture says no more */
        "The fifth is garbled no more",
        "Page six has text",
        "After all pages",
        "Annual report",
        "A note behind all",
    };
    expect(out, n, want, sizeof want / sizeof want[0]);
    assert_int_equal(ocr_merge(NULL, 0, pages, 0, &a, &out, &n, &err), STATUS_OK);
    assert_int_equal(n, 0);
    arena_reset(&a);
}

static void test_unsure(void **state)
{
    (void)state;
    struct made layer = {.n = 0}, read = {.n = 0};
    struct arena a;
    struct error err = {0};
    Ex__Block **out;
    size_t n;
    arena_init(&a, 1U << 20);
    make(&layer, BODY, 1, "\xE3\x81\x82\xE3\x81\x84");
    make(&read, BODY, 1, "HUDA TWOL ABRAC ADABRA what is no letter of ours");
    make(&read, BODY, 2, "Hardly legible, yet all there is");
    for (size_t i = 0; i < 2; i++) {
        read.block[i].has_confidence = 1;
        read.block[i].confidence = 31;
    }
    const struct ocr_page_blocks pages[] = {{1, &read.list[0], 1}, {2, &read.list[1], 1}};
    assert_int_equal(ocr_merge(layer.list, layer.n, pages, 2, &a, &out, &n, &err), STATUS_OK);
    static const char *const want[] = {"\xE3\x81\x82\xE3\x81\x84",
                                       "Hardly legible, yet all there is"};
    expect(out, n, want, 2);
    arena_reset(&a);
}

static void test_running_heads(void **state)
{
    (void)state;
    struct made read = {.n = 0};
    struct ocr_page_blocks pages[4];
    struct arena a;
    struct error err = {0};
    Ex__Block **out;
    size_t n;
    char text[4][3][40];
    arena_init(&a, 1U << 20);
    for (uint32_t p = 0; p < 4; p++) {
        pages[p] = (struct ocr_page_blocks){p + 1, &read.list[read.n], 3};
        snprintf(text[p][0], sizeof text[p][0], "Acme report");
        snprintf(text[p][1], sizeof text[p][1], "What stands on page %c only", (char)('a' + p));
        snprintf(text[p][2], sizeof text[p][2], "page %u of 4", p + 1);
        for (size_t i = 0; i < 3; i++) {
            make(&read, BODY, p + 1, text[p][i]);
        }
    }
    assert_int_equal(ocr_merge(NULL, 0, pages, 4, &a, &out, &n, &err), STATUS_OK);
    assert_int_equal(n, 12);
    for (size_t i = 0; i < 12; i++) { /* the bodies, then what repeats */
        assert_int_equal(out[i]->kind == FURNITURE, i >= 4);
    }
    assert_memory_equal(out[2]->text.data, "What stands on page c", 21);
    arena_reset(&a);
}

static void test_legible(void **state)
{
    (void)state;
    struct legible l = {0};
    legible_count(&l, STR("Z\xC3\xBCrich 8001, \xE6\x97\xA5\xE6\x9C\xAC"));
    assert_int_equal(l.letters, 12);
    assert_int_equal(l.signs, 1);
    assert_false(legible_garbled(&l));
    legible_count(&l, STR("\xEE\x80\x80\xEF\xBF\xBD\xEF\xBF\xBD")); /* private use, unknown */
    assert_int_equal(l.bad, 3);
    assert_true(legible_garbled(&l));
    assert_int_equal(legible_worth(&l), 6);
}

static bool unread(const char *text, float y)
{
    struct bbox_line line = {.text = {text, strlen(text)}};
    struct bbox_block block = {.lines = &line, .box = {50, y, 300, y + 12}};
    struct bbox_page page = {
        .width = 600, .height = 800, .blocks = text[0] == '\0' ? NULL : &block};
    return page_is_unread(&page);
}

static void test_pages_without_text(void **state)
{
    (void)state;
    assert_true(unread("", 0));
    assert_true(unread("Page 7", 400));
    assert_false(unread("A page with some words on it, not many.", 400));
    assert_true(unread("Downloaded from the library of the university on the first of May", 10));
    assert_true(unread("Downloaded from the library of the university on the first of May", 780));
    assert_true(unread("\xEE\x80\x81\xEE\x80\x82\xEE\x80\x83\xEE\x80\x84\xEE\x80\x85\xEE\x80\x86 "
                       "some of these letters nobody knows",
                       400));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_unsure),
        cmocka_unit_test(test_running_heads),
        cmocka_unit_test(test_legible),
        cmocka_unit_test(test_pages_without_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
