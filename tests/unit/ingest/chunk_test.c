#include "ingest/chunk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "ingest/utf8.h"

static const struct chunk_options usual = {200, 380, 400, 0};

#define BLOCKS_MAX 600

struct doc {
    struct chunk_options options;
    struct arena arena;
    const Ex__Block *blocks[BLOCKS_MAX];
    size_t n;
    struct chunked_document out;
    size_t *byte_of; /* of each of its text's points, and of its end */
    uint32_t points;
};

static void doc_init(struct doc *d)
{
    memset(d, 0, sizeof *d);
    d->options = usual;
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

/* Where each code point of the text begins, looked up once: a search from its beginning for each
 * range would cost more than all else here. */
static void index_points(struct doc *d)
{
    struct str s = d->out.text;
    uint32_t points = 0;
    d->byte_of = arena_array(&d->arena, s.len + 1, sizeof *d->byte_of);
    assert_non_null(d->byte_of);
    for (size_t i = 0; i < s.len;) {
        size_t n;
        d->byte_of[points++] = i;
        (void)utf8_next(s.ptr + i, s.ptr + s.len, &n);
        i += n;
    }
    d->byte_of[points] = s.len;
    d->points = points;
}

static size_t byte_at(const struct doc *d, uint32_t point)
{
    return d->byte_of[point < d->points ? point : d->points];
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

/* Text without its white space. */
static void without_spaces(struct buf *b)
{
    size_t n = 0;
    for (size_t i = 0; i < b->len;) {
        size_t len;
        uint32_t c = utf8_next(b->ptr + i, b->ptr + b->len, &len);
        if (!utf8_is_space(c)) {
            memmove(b->ptr + n, b->ptr + i, len);
            n += len;
        }
        i += len;
    }
    b->len = n;
}

static void same_without_spaces(struct buf *kept, struct buf *expected)
{
    without_spaces(kept);
    without_spaces(expected);
    assert_int_equal(kept->len, expected->len);
    if (kept->len > 0) {
        assert_memory_equal(kept->ptr, expected->ptr, kept->len);
    }
}

/* The block that holds this code point of the text. */
static const struct chunk_block *block_at(const struct chunked_document *d, uint32_t point)
{
    for (size_t i = 0; i < d->n_blocks; i++) {
        if (point >= d->blocks[i].start && point < d->blocks[i].end) {
            return &d->blocks[i];
        }
    }
    return NULL;
}

static void check_chunk(const struct doc *d, const struct chunk *k)
{
    struct str text = d->out.text;
    size_t from = byte_at(d, k->start), to = byte_at(d, k->end);
    assert_int_equal(to - from, k->text.len);
    assert_memory_equal(text.ptr + from, k->text.ptr, k->text.len);
    assert_true(words_in(k->text) <= d->options.max_words);
    assert_true(utf8_count(k->text) <= d->options.max_words * 42);
    const struct chunk_block *first = block_at(&d->out, k->start);
    const struct chunk_block *last = block_at(&d->out, k->end - 1);
    assert_non_null(first);
    assert_non_null(last);
    assert_int_equal(first->unit, last->unit);
    assert_string_equal(k->unit, first->unit == 0 ? "" : d->out.units[first->unit - 1]);
}

/* The same chunks again out of the stored table. */
static void check_stored(struct doc *d)
{
    struct error err = {0};
    struct str table;
    struct chunked_document again = {
        .text = d->out.text, .boxes = d->out.boxes, .n_boxes = d->out.n_boxes};
    assert_int_equal(chunk_table_write(&d->out, &d->arena, &table, &err), STATUS_OK);
    assert_int_equal(chunk_table_read(table, &d->arena, &again, &err), STATUS_OK);
    assert_int_equal(chunk_cut(&again, &d->options, &d->arena, &err), STATUS_OK);
    assert_int_equal(again.n_chunks, d->out.n_chunks);
    for (size_t i = 0; i < again.n_chunks; i++) {
        const struct chunk *a = &again.chunks[i], *b = &d->out.chunks[i];
        assert_int_equal(a->start, b->start);
        assert_int_equal(a->end, b->end);
        assert_int_equal(a->page, b->page);
        assert_int_equal(a->page_end, b->page_end);
        assert_string_equal(a->heading_path, b->heading_path);
        assert_string_equal(a->context, b->context);
        assert_string_equal(a->unit, b->unit);
    }
}

/* What must hold of every document: ranges and texts agree, chunks are in order, overlap by no more
 * than was asked, cover all that is neither blank nor furniture, keep the limit, join no two units.
 */
static void check(struct doc *d)
{
    struct error err = {0};
    if (chunk_document(d->blocks, d->n, &d->options, &d->arena, &d->out, &err) != STATUS_OK) {
        fail_msg("%s", err.text);
    }
    struct str text = d->out.text;
    uint32_t begun = 0, at = 0;
    index_points(d);
    struct buf kept, expected;
    buf_init(&kept, 128U << 20);
    buf_init(&expected, 128U << 20);
    for (size_t i = 0; i < d->out.n_chunks; i++) {
        const struct chunk *k = &d->out.chunks[i];
        check_chunk(d, k);
        assert_true(i == 0 || (k->start > begun && k->end > at));
        uint32_t fresh = k->start > at ? k->start : at;
        size_t from = byte_at(d, fresh), to = byte_at(d, k->end);
        size_t again = from - byte_at(d, k->start);
        assert_true(words_in((struct str){k->text.ptr, again}) <= d->options.overlap_words);
        buf_append(&kept, text.ptr + from, to - from);
        begun = k->start;
        at = k->end;
    }
    for (size_t i = 0; i < d->n; i++) {
        if (d->blocks[i]->kind != EX__BLOCK__KIND__FURNITURE) {
            utf8_clean(&expected,
                       (struct str){(char *)d->blocks[i]->text.data, d->blocks[i]->text.len});
        }
    }
    same_without_spaces(&kept, &expected);
    buf_deinit(&kept);
    buf_deinit(&expected);
    check_stored(d);
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

/* A table that is split says its columns again, beside the text. */
static void test_a_split_table_repeats_its_header(void **state)
{
    struct doc d;
    (void)state;
    doc_init(&d);
    add(&d, EX__BLOCK__KIND__HEADING, 1, "Prices");
    add(&d, EX__BLOCK__KIND__PARAGRAPH, 0, "These hold. All parts in stock:");
    add(&d, EX__BLOCK__KIND__TABLE_ROW, 0, "Part | Price");
    for (int i = 0; i < 150; i++) {
        add(&d, EX__BLOCK__KIND__TABLE_ROW, 0, "Bolt of steel | 12.50");
    }
    add(&d, EX__BLOCK__KIND__PARAGRAPH, 0, many(&d, "Something else follows. ", 70));
    check(&d);
    assert_true(d.out.n_chunks > 3);
    assert_string_equal(d.out.chunks[0].context, "");
    assert_true(str_starts(d.out.chunks[0].text, STR("Prices\n\nThese hold.")));
    assert_string_equal(d.out.chunks[1].context, "All parts in stock:\nPart | Price");
    assert_true(str_starts(d.out.chunks[1].text, STR("Bolt")));
    assert_string_equal(d.out.chunks[d.out.n_chunks - 1].context, "");
    d.n = 0; /* rows that name their columns themselves */
    for (int i = 0; i < 150; i++) {
        add(&d, EX__BLOCK__KIND__TABLE_ROW, 0, "part: bolt | kind: steel");
    }
    check(&d);
    assert_true(d.out.n_chunks > 1);
    assert_string_equal(d.out.chunks[1].context, "");
    d.n = 0; /* figures from the first row on: nothing names the columns */
    for (int i = 0; i < 150; i++) {
        add(&d, EX__BLOCK__KIND__TABLE_ROW, 0, "Lyon | 1990 | 12 | 14");
    }
    check(&d);
    assert_true(d.out.n_chunks > 1);
    assert_string_equal(d.out.chunks[1].context, "");
    arena_reset(&d.arena);
}

static void test_what_leads_in_stays_with_it(void **state)
{
    struct doc d;
    (void)state;
    doc_init(&d);
    add(&d, EX__BLOCK__KIND__PARAGRAPH, 0, many(&d, "Before it. ", 80));
    add(&d, EX__BLOCK__KIND__PARAGRAPH, 0, "For the journey you need:");
    add(&d, EX__BLOCK__KIND__LIST_ITEM, 0, many(&d, "a passport and ", 20));
    add(&d, EX__BLOCK__KIND__LIST_ITEM, 0, many(&d, "a ticket and ", 20));
    check(&d);
    assert_int_equal(d.out.n_chunks, 2);
    assert_true(str_starts(d.out.chunks[1].text, STR("For the journey")));
    assert_string_equal(d.out.chunks[1].context, "");
    d.n = 0;
    add(&d, EX__BLOCK__KIND__PARAGRAPH, 0, "It takes long. You need:");
    for (int i = 0; i < 30; i++) {
        add(&d, EX__BLOCK__KIND__LIST_ITEM, 0, many(&d, "a passport and ", 5));
    }
    check(&d);
    assert_true(d.out.n_chunks > 1);
    assert_string_equal(d.out.chunks[1].context, "You need:");
    d.n = 0; /* a caption above, and one below */
    add(&d, EX__BLOCK__KIND__PARAGRAPH, 0, many(&d, "Before it. ", 80));
    add(&d, EX__BLOCK__KIND__CAPTION, 0, many(&d, "Table of the parts ", 8));
    add(&d, EX__BLOCK__KIND__TABLE_ROW, 0, "Part | Price");
    add(&d, EX__BLOCK__KIND__TABLE_ROW, 0, many(&d, "bolt ", 100));
    check(&d);
    assert_int_equal(d.out.n_chunks, 2);
    assert_true(str_starts(d.out.chunks[1].text, STR("Table of the parts")));
    d.n = 0;
    add(&d, EX__BLOCK__KIND__TABLE_ROW, 0, many(&d, "bolt ", 190));
    add(&d, EX__BLOCK__KIND__CAPTION, 0, many(&d, "Table of the parts ", 8));
    check(&d);
    assert_int_equal(d.out.n_chunks, 1);
    arena_reset(&d.arena);
}

static void test_code_is_cut_at_lines(void **state)
{
    struct doc d;
    (void)state;
    doc_init(&d);
    add(&d, EX__BLOCK__KIND__CODE, 0, many(&d, "call(a, b); next. And so on;\n", 100));
    check(&d);
    assert_true(d.out.n_chunks > 1);
    for (size_t i = 0; i < d.out.n_chunks; i++) {
        assert_true(str_starts(d.out.chunks[i].text, STR("call(")));
        assert_true(str_ends(d.out.chunks[i].text, STR("on;")));
    }
    arena_reset(&d.arena);
}

static Ex__Block *add_in(struct doc *d, uint32_t unit, Ex__Block__Unit kind, const char *name,
                         Ex__Block__Kind what, const char *text)
{
    Ex__Block *b = add(d, what, what == EX__BLOCK__KIND__HEADING ? 1 : 0, text);
    b->has_unit = b->has_unit_kind = b->has_unit_name = true;
    b->unit = unit;
    b->unit_kind = kind;
    b->unit_name.data = (uint8_t *)arena_strdup(&d->arena, name);
    b->unit_name.len = strlen(name);
    return b;
}

static void test_units(void **state)
{
    struct doc d;
    (void)state;
    doc_init(&d);
    /* a slide that fits is one chunk, though it is above the target; small ones are not put
     * together */
    add_in(&d, 1, EX__BLOCK__UNIT__SLIDE, "", EX__BLOCK__KIND__HEADING, "Plan");
    add_in(&d, 1, EX__BLOCK__UNIT__SLIDE, "", EX__BLOCK__KIND__PARAGRAPH, many(&d, "word ", 180));
    add_in(&d, 1, EX__BLOCK__UNIT__SLIDE, "", EX__BLOCK__KIND__PARAGRAPH, many(&d, "word ", 180));
    add_in(&d, 2, EX__BLOCK__UNIT__SLIDE, "", EX__BLOCK__KIND__HEADING, "Costs");
    add_in(&d, 3, EX__BLOCK__UNIT__SLIDE, "", EX__BLOCK__KIND__PARAGRAPH, "They rise.");
    add_in(&d, 4, EX__BLOCK__UNIT__SHEET, "Q3\n2026", EX__BLOCK__KIND__PARAGRAPH, "12");
    add_in(&d, 5, EX__BLOCK__UNIT__MESSAGE, "Re: offer", EX__BLOCK__KIND__PARAGRAPH, "We accept.");
    add(&d, EX__BLOCK__KIND__PARAGRAPH, 0, "Of none.");
    check(&d);
    assert_int_equal(d.out.n_chunks, 6);
    assert_string_equal(d.out.chunks[0].unit, "slide 1");
    assert_string_equal(d.out.chunks[1].unit, "slide 2");
    assert_string_equal(d.out.chunks[3].unit, "sheet Q3 2026");
    assert_string_equal(d.out.chunks[4].unit, "message Re: offer");
    assert_string_equal(d.out.chunks[5].unit, "");
    arena_reset(&d.arena);
}

static void test_overlap(void **state)
{
    struct doc d;
    (void)state;
    doc_init(&d);
    d.options.overlap_words = 30;
    for (int i = 0; i < 3; i++) {
        add(&d, EX__BLOCK__KIND__HEADING, 1, "Chapter");
        add(&d, EX__BLOCK__KIND__PARAGRAPH, 0, many(&d, "This one has six words. ", 100));
    }
    check(&d);
    size_t reaching = 0;
    for (size_t i = 1; i < d.out.n_chunks; i++) {
        const struct chunk *k = &d.out.chunks[i], *before = k - 1;
        bool heading = str_starts(k->text, STR("Chapter"));
        assert_true(heading ? k->start > before->end : k->start < before->end);
        assert_true(heading || str_starts(k->text, STR("This")));
        reaching += !heading;
    }
    assert_true(reaching > 3);
    arena_reset(&d.arena);
}

/* Thai has no stops and no spaces between words: cut at its spaces, and if need be at whole
 * characters. */
static void test_thai(void **state)
{
    struct doc d;
    (void)state;
    doc_init(&d);
    add(&d, EX__BLOCK__KIND__PARAGRAPH, 0,
        many(&d,
             "\u0E20\u0E32\u0E29\u0E32\u0E44\u0E17\u0E22\u0E40\u0E1B\u0E47\u0E19\u0E20\u0E32\u0E29"
             "\u0E32 ",
             200));
    check(&d);
    assert_true(d.out.n_chunks > 2);
    for (size_t i = 0; i < d.out.n_chunks; i++) {
        assert_true(str_starts(d.out.chunks[i].text, STR("\u0E20\u0E32\u0E29\u0E32\u0E44")));
    }
    d.n = 0; /* no space at all: a vowel sign stays on its letter */
    add(&d, EX__BLOCK__KIND__PARAGRAPH, 0, many(&d, "\u0E17\u0E35\u0E48", 1000));
    check(&d);
    for (size_t i = 0; i < d.out.n_chunks; i++) {
        assert_true(str_starts(d.out.chunks[i].text, STR("\u0E17\u0E35\u0E48")));
    }
    arena_reset(&d.arena);
}

/* Random documents out of awkward pieces, with units, pages and boxes, under several settings; the
 * property must hold of each. */
static void random_block(struct doc *d, unsigned *seed, int round, uint32_t unit)
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
        "\u0E17\u0E35\u0E48 \u0E17",
        "! ",
        "to be done: ",
        "cell | cell "};
    struct buf b;
    buf_init(&b, 1U << 20);
    int length = rand_r(seed) % (round % 7 == 0 ? 2000 : 60);
    for (int k = 0; k < length; k++) {
        buf_z(&b, pieces[(size_t)rand_r(seed) % (sizeof pieces / sizeof pieces[0])]);
    }
    int kind = 1 + rand_r(seed) % 9;
    Ex__Block *block =
        add(d, (Ex__Block__Kind)kind, kind == 2 ? 1 + (uint32_t)(rand_r(seed) % 6) : 0,
            b.ptr == NULL ? "" : b.ptr);
    block->has_unit = block->has_unit_kind = unit != 0;
    block->unit = unit;
    block->unit_kind = (Ex__Block__Unit)(1 + unit % 4);
    if (rand_r(seed) % 3 == 0) {
        block->has_page = true;
        block->page = 1 + unit;
        Ex__Line *l = arena_alloc(&d->arena, sizeof *l);
        Ex__Line **list = arena_alloc(&d->arena, sizeof(Ex__Line *));
        assert_true(l != NULL && list != NULL);
        ex__line__init(l);
        l->page = block->page;
        l->start = (uint32_t)(rand_r(seed) % 10);
        l->end = l->start + (uint32_t)(rand_r(seed) % 100);
        list[0] = l;
        block->lines = list;
        block->n_lines = 1;
    }
    buf_deinit(&b);
}

static void check_boxes(const struct doc *d)
{
    size_t box = 0;
    for (size_t i = 0; i < d->out.n_blocks; i++) {
        const struct chunk_block *b = &d->out.blocks[i];
        for (size_t k = 0; k < b->n_boxes; k++, box++) {
            assert_true(d->out.boxes[box].start >= b->start && d->out.boxes[box].end <= b->end);
        }
    }
    assert_int_equal(box, d->out.n_boxes);
}

static void test_property(void **state)
{
    static const struct chunk_options settings[] = {
        {200, 380, 400, 0}, {200, 380, 400, 60}, {40, 80, 60, 30}, {20, 40, 50, 10}};
    unsigned seed = 12345;
    (void)state;
    for (int round = 0; round < 80; round++) {
        struct doc d;
        doc_init(&d);
        d.options = settings[(size_t)round % 4];
        size_t n = 1 + (size_t)(rand_r(&seed) % 40);
        uint32_t unit = round % 3 == 0 ? 1 : 0;
        for (size_t i = 0; i < n; i++) {
            random_block(&d, &seed, round, unit);
            unit += unit != 0 && rand_r(&seed) % 4 == 0;
        }
        check(&d);
        check_boxes(&d);
        arena_reset(&d.arena);
    }
}

static void test_a_damaged_table_is_refused(void **state)
{
    struct doc d;
    struct error err = {0};
    struct str table;
    (void)state;
    doc_init(&d);
    add_in(&d, 1, EX__BLOCK__UNIT__SHEET, "Q3", EX__BLOCK__KIND__PARAGRAPH, "Some text.");
    add(&d, EX__BLOCK__KIND__PARAGRAPH, 0, "And more of it.");
    check(&d);
    assert_int_equal(chunk_table_write(&d.out, &d.arena, &table, &err), STATUS_OK);
    struct chunked_document again = {.text = {d.out.text.ptr, d.out.text.len - 3}};
    assert_int_equal(chunk_table_read(table, &d.arena, &again, &err), STATUS_CORRUPT);
    for (size_t i = 0; i < table.len; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            char *bent = arena_strndup(&d.arena, table.ptr, table.len);
            assert_non_null(bent);
            bent[i] = (char)(bent[i] ^ (1 << bit));
            again = (struct chunked_document){.text = d.out.text};
            if (chunk_table_read((struct str){bent, table.len}, &d.arena, &again, &err) ==
                STATUS_OK) {
                assert_int_equal(chunk_cut(&again, &usual, &d.arena, &err), STATUS_OK);
            }
        }
    }
    arena_reset(&d.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_structure),
        cmocka_unit_test(test_short_sections_share),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_pages_and_boxes),
        cmocka_unit_test(test_a_chunk_ends_with_its_page),
        cmocka_unit_test(test_a_split_table_repeats_its_header),
        cmocka_unit_test(test_what_leads_in_stays_with_it),
        cmocka_unit_test(test_code_is_cut_at_lines),
        cmocka_unit_test(test_units),
        cmocka_unit_test(test_overlap),
        cmocka_unit_test(test_thai),
        cmocka_unit_test(test_property),
        cmocka_unit_test(test_a_damaged_table_is_refused),
    };
    return cmocka_run_group_tests_name("chunk", tests, NULL, NULL);
}
