#include "ingest/chunk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "ingest/sentence.h"
#include "ingest/utf8.h"

static const struct chunk_options options = {200, 380, 400};

#define BLOCKS_MAX 600

struct doc {
    struct arena arena;
    const Ex__Block *blocks[BLOCKS_MAX];
    size_t n;
    struct chunked_document out;
};

static void doc_init(struct doc *d)
{
    memset(d, 0, sizeof *d);
    arena_init(&d->arena, 256U << 20);
}

static Ex__Block *add(struct doc *d, Ex__Block__Kind kind, uint32_t level, const char *text)
{
    Ex__Block *b = arena_alloc(&d->arena, sizeof *b);
    assert_non_null(b);
    ex__block__init(b);
    b->kind = kind;
    b->has_level = level > 0;
    b->level = level;
    b->text.data = (uint8_t *)arena_strdup(&d->arena, text);
    b->text.len = strlen(text);
    assert_true(d->n < BLOCKS_MAX);
    d->blocks[d->n++] = b;
    return b;
}

static char *many(struct doc *d, const char *unit, size_t times)
{
    struct buf b;
    buf_init(&b, 64U << 20);
    for (size_t i = 0; i < times; i++) {
        buf_z(&b, unit);
    }
    char *z = arena_strndup(&d->arena, buf_view(&b).ptr, b.len);
    buf_deinit(&b);
    assert_non_null(z);
    return z;
}

static size_t byte_at(struct str s, uint32_t point)
{
    size_t i = 0;
    for (uint32_t k = 0; k < point && i < s.len; k++) {
        size_t n;
        (void)utf8_next(s.ptr + i, s.ptr + s.len, &n);
        i += n;
    }
    return i;
}

static size_t words_in(struct str s)
{
    size_t words = 0;
    bool in = false;
    for (size_t i = 0; i < s.len;) {
        size_t n;
        uint32_t c = utf8_next(s.ptr + i, s.ptr + s.len, &n);
        bool space = utf8_is_space(c) || utf8_is_unspaced(c);
        words += !space && !in;
        in = !space;
        i += n;
    }
    return words;
}

/* What must hold of every document: ranges and texts agree, chunks are in order, do not overlap,
 * cover all that is neither blank nor furniture, and keep the limit. */
static void check(struct doc *d)
{
    struct error err = {0};
    if (chunk_document(d->blocks, d->n, &options, &d->arena, &d->out, &err) != STATUS_OK) {
        fail_msg("%s", err.text);
    }
    struct str text = d->out.text;
    uint32_t at = 0;
    struct buf kept, expected;
    buf_init(&kept, 128U << 20);
    buf_init(&expected, 128U << 20);
    for (size_t i = 0; i < d->out.n_chunks; i++) {
        const struct chunk *k = &d->out.chunks[i];
        assert_true(k->start >= at && k->end > k->start);
        size_t from = byte_at(text, k->start), to = byte_at(text, k->end);
        assert_int_equal(to - from, k->text.len);
        assert_memory_equal(text.ptr + from, k->text.ptr, k->text.len);
        assert_true(words_in(k->text) <= options.max_words);
        assert_true(utf8_count(k->text) <= options.max_words * 42);
        at = k->end;
        buf_str(&kept, k->text);
    }
    for (size_t i = 0; i < d->n; i++) {
        if (d->blocks[i]->kind != EX__BLOCK__KIND__FURNITURE) {
            utf8_clean(&expected,
                       (struct str){(char *)d->blocks[i]->text.data, d->blocks[i]->text.len});
        }
    }
    struct buf *bufs[] = {&kept, &expected};
    for (size_t b = 0; b < 2; b++) { /* spaces aside */
        size_t n = 0;
        for (size_t i = 0; i < bufs[b]->len;) {
            size_t len;
            uint32_t c = utf8_next(bufs[b]->ptr + i, bufs[b]->ptr + bufs[b]->len, &len);
            if (!utf8_is_space(c)) {
                memmove(bufs[b]->ptr + n, bufs[b]->ptr + i, len);
                n += len;
            }
            i += len;
        }
        bufs[b]->len = n;
    }
    assert_int_equal(kept.len, expected.len);
    if (kept.len > 0) {
        assert_memory_equal(kept.ptr, expected.ptr, kept.len);
    }
    buf_deinit(&kept);
    buf_deinit(&expected);
}

static void test_structure(void **state)
{
    struct doc d;
    (void)state;
    doc_init(&d);
    add(&d, EX__BLOCK__KIND__HEADING, 1, "Handbook");
    add(&d, EX__BLOCK__KIND__HEADING, 2, "Holidays");
    add(&d, EX__BLOCK__KIND__PARAGRAPH, 0, many(&d, "Everyone has thirty days a year. ", 30));
    add(&d, EX__BLOCK__KIND__HEADING, 2, "Travel");
    add(&d, EX__BLOCK__KIND__PARAGRAPH, 0, many(&d, "Trains are paid for. ", 40));
    add(&d, EX__BLOCK__KIND__HEADING, 1, "Annex");
    add(&d, EX__BLOCK__KIND__LIST_ITEM, 0, "one");
    add(&d, EX__BLOCK__KIND__LIST_ITEM, 0, "two");
    check(&d);
    assert_int_equal(d.out.n_chunks, 3);
    assert_string_equal(d.out.chunks[0].heading_path, "Handbook > Holidays");
    assert_string_equal(d.out.chunks[1].heading_path, "Handbook > Travel");
    assert_string_equal(d.out.chunks[2].heading_path, "Annex");
    assert_true(str_starts(d.out.chunks[0].text, STR("Handbook\n\nHolidays\n\nEveryone")));
    assert_true(str_starts(d.out.chunks[1].text, STR("Travel\n\nTrains")));
    assert_true(str_eq(d.out.chunks[2].text, STR("Annex\n\none\ntwo")));
    arena_reset(&d.arena);
}

static void test_short_sections_share(void **state)
{
    struct doc d;
    (void)state;
    doc_init(&d);
    add(&d, EX__BLOCK__KIND__HEADING, 1, "FAQ");
    for (int i = 0; i < 4; i++) {
        add(&d, EX__BLOCK__KIND__HEADING, 2, "Question");
        add(&d, EX__BLOCK__KIND__PARAGRAPH, 0, many(&d, "answer ", 30));
    }
    check(&d);
    assert_int_equal(d.out.n_chunks, 1);
    assert_string_equal(d.out.chunks[0].heading_path, "FAQ > Question");
    add(&d, EX__BLOCK__KIND__HEADING, 2, "Other");
    add(&d, EX__BLOCK__KIND__PARAGRAPH, 0, many(&d, "answer ", 30));
    check(&d);
    assert_int_equal(d.out.n_chunks, 1);
    assert_string_equal(d.out.chunks[0].heading_path, "FAQ");
    arena_reset(&d.arena);
}

static void test_sizes(void **state)
{
    struct doc d;
    (void)state;
    doc_init(&d);
    add(&d, EX__BLOCK__KIND__PARAGRAPH, 0, many(&d, "w ", 380)); /* whole, at the maximum */
    check(&d);
    assert_int_equal(d.out.n_chunks, 1);
    d.n = 0;
    add(&d, EX__BLOCK__KIND__PARAGRAPH, 0, many(&d, "w ", 1000)); /* no sentence in sight */
    check(&d);
    assert_int_equal(d.out.n_chunks, 5);
    d.n = 0;
    add(&d, EX__BLOCK__KIND__PARAGRAPH, 0, many(&d, "x", 100000)); /* one giant word */
    check(&d);
    assert_true(d.out.n_chunks >= 100000 / (380 * 40));
    d.n = 0;
    add(&d, EX__BLOCK__KIND__PARAGRAPH, 0,
        many(&d, "\u56FE\u4E66\u9986\u5728\u54EA\u91CC\u3002", 300));
    check(&d);
    for (size_t i = 0; i < d.out.n_chunks; i++) {
        assert_true(utf8_count(d.out.chunks[i].text) <= 400);
        assert_true(str_ends(d.out.chunks[i].text, STR("\u3002"))); /* cut at sentences */
    }
    arena_reset(&d.arena);
}

static void test_pages_and_boxes(void **state)
{
    struct doc d;
    (void)state;
    doc_init(&d);
    Ex__Line lines[2], *ptrs[2] = {&lines[0], &lines[1]};
    for (uint32_t i = 0; i < 2; i++) {
        ex__line__init(&lines[i]);
        lines[i].page = 4 + i;
        lines[i].x1 = 100;
        lines[i].start = i * 6;
        lines[i].end = i * 6 + 5;
    }
    add(&d, EX__BLOCK__KIND__PARAGRAPH, 0, "caf\u00E9");
    Ex__Block *b = add(&d, EX__BLOCK__KIND__PARAGRAPH, 0, "fir\u015Ft secon");
    b->has_page = true;
    b->page = 4;
    b->n_lines = 2;
    b->lines = ptrs;
    add(&d, EX__BLOCK__KIND__FURNITURE, 0, "page 4");
    check(&d);
    assert_int_equal(d.out.n_chunks, 1);
    assert_int_equal(d.out.chunks[0].page, 4);
    assert_int_equal(d.out.chunks[0].page_end, 5);
    assert_int_equal(d.out.n_boxes, 2);
    assert_int_equal(d.out.boxes[0].start, 6);
    assert_int_equal(d.out.boxes[1].start, 12);
    assert_int_equal(d.out.boxes[1].end, 17);
    assert_true(d.out.chunks[0].text.len <
                d.out.text.len); /* the foot is in the text, in no chunk */
    arena_reset(&d.arena);
}

static void test_a_chunk_ends_with_its_page(void **state)
{
    struct doc d;
    (void)state;
    doc_init(&d);
    static const struct {
        Ex__Block__Kind kind;
        uint32_t page;
        const char *text;
    } blocks[] = {
        {EX__BLOCK__KIND__PARAGRAPH, 1, "On the first page."},
        {EX__BLOCK__KIND__PARAGRAPH, 1, "Still there."},
        {EX__BLOCK__KIND__PARAGRAPH, 2, "On the second."},
        {EX__BLOCK__KIND__HEADING, 2, "A heading at the foot"},
        {EX__BLOCK__KIND__PARAGRAPH, 3, "stays with its text."},
    };
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++) {
        Ex__Block *b = add(&d, blocks[i].kind, blocks[i].kind == EX__BLOCK__KIND__HEADING ? 1 : 0,
                           blocks[i].text);
        b->has_page = true;
        b->page = blocks[i].page;
    }
    check(&d);
    assert_int_equal(d.out.n_chunks, 3);
    assert_int_equal(d.out.chunks[0].page_end, 1);
    assert_int_equal(d.out.chunks[1].page, 2);
    assert_int_equal(d.out.chunks[1].page_end, 2);
    assert_int_equal(d.out.chunks[2].page_end, 3);
    arena_reset(&d.arena);
}

static void test_sentences(void **state)
{
    static const struct {
        const char *text;
        size_t n;
    } cases[] = {
        {"One. Two! Three?", 3},
        {"Dr. Smith met Mr. J. Doe. They left.", 2},
        {"Das gilt z.B. f\u00FCr alle. Am 3. M\u00E4rz auch.", 2},
        {"M. Dupont est l\u00E0. Voir p.ex. ceci.", 2},
        {"Costs 3.50 each. See e.g. this one.", 2},
        {"\u4ECA\u5929\u5F88\u597D\u3002\u660E\u5929\u5462\uFF1F\u597D\uFF01", 3},
        {"He said \u201CGo.\u201D Then he went.", 2},
        {"line one\nline two", 2},
        {"no end", 1},
    };
    (void)state;
    struct sentence_splitter *s;
    assert_int_equal(sentence_splitter_new(&s, NULL), STATUS_OK);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct str t = str_from(cases[i].text);
        size_t n = 0;
        for (size_t at = 0; at < t.len; n++) {
            size_t end = sentence_end(s, t, at);
            assert_true(end > at);
            at = end;
        }
        if (n != cases[i].n) {
            fail_msg("%s: %zu sentences, not %zu", cases[i].text, n, cases[i].n);
        }
    }
    sentence_splitter_free(s);
}

/* Random documents out of awkward pieces; the property must hold of each. */
static void test_property(void **state)
{
    static const char *const pieces[] = {
        "word ",
        "Sentence ends. ",
        "\u4E2D\u6587\u3002",
        "caf\u00E9 ",
        "\n",
        "\t ",
        "\u3000",
        "Dr. No. ",
        "averyveryveryverylongwordwithoutanyspacesatallthatgoesonandon",
        "1.2.3 ",
        "\xF0\x9F\x98\x80 ",
        "\xE2\x80",
        "e\u0301 ",
        "\u0E44\u0E17\u0E22",
        "! ",
        "| cell | "};
    unsigned seed = 12345;
    (void)state;
    for (int round = 0; round < 60; round++) {
        struct doc d;
        doc_init(&d);
        size_t n = 1 + (size_t)(rand_r(&seed) % 40);
        for (size_t i = 0; i < n; i++) {
            struct buf b;
            buf_init(&b, 1U << 20);
            int length = rand_r(&seed) % (round % 7 == 0 ? 2000 : 60);
            for (int k = 0; k < length; k++) {
                buf_z(&b, pieces[(size_t)rand_r(&seed) % (sizeof pieces / sizeof pieces[0])]);
            }
            int kind = 1 + rand_r(&seed) % 8;
            add(&d, (Ex__Block__Kind)kind, kind == 2 ? 1 + (uint32_t)(rand_r(&seed) % 6) : 0,
                b.ptr == NULL ? "" : b.ptr);
            buf_deinit(&b);
        }
        check(&d);
        arena_reset(&d.arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_structure),
        cmocka_unit_test(test_short_sections_share),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_pages_and_boxes),
        cmocka_unit_test(test_a_chunk_ends_with_its_page),
        cmocka_unit_test(test_sentences),
        cmocka_unit_test(test_property),
    };
    return cmocka_run_group_tests_name("chunk", tests, NULL, NULL);
}
