/* tesseract's table of words, and what a page's blocks become. The tool is played. */
#include "ingest/formats/ocr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ingest/formats/ocr_words.h"

#define HEAD                                                                                       \
    "level\tpage_num\tblock_num\tpar_num\tline_num\tword_"                                         \
    "num\tleft\ttop\twidth\theight\tconf\ttext\n"                                                  \
    "1\t1\t0\t0\t0\t0\t0\t0\t1000\t2000\t-1\t\n"

struct seen {
    char text[8][256];
    Ex__Block block[8];
    Ex__Line line[64];
    size_t n, n_lines;
};

struct played {
    const char *tsv;
    size_t piece; /* bytes at once */
};

static enum status play(const struct tool_runner *r,
                        enum status (*on_data)(void *data, struct str piece, struct error *err),
                        void *data, struct error *err)
{
    const struct played *p = r->data;
    size_t len = strlen(p->tsv);
    for (size_t at = 0; at < len; at += p->piece) {
        struct str piece = {p->tsv + at, len - at < p->piece ? len - at : p->piece};
        enum status s = on_data(data, piece, err);
        if (s != STATUS_OK) {
            return s;
        }
    }
    return STATUS_OK;
}

static enum status keep(void *data, const Ex__Piece *piece, struct error *err)
{
    struct seen *s = data;
    (void)err;
    for (size_t i = 0; i < piece->n_blocks; i++) {
        const Ex__Block *b = piece->blocks[i];
        assert_true(s->n < 8);
        assert_true(b->text.len < sizeof s->text[0]);
        memcpy(s->text[s->n], b->text.data, b->text.len);
        s->block[s->n++] = *b;
        for (size_t k = 0; k < b->n_lines && s->n_lines < 64; k++) {
            s->line[s->n_lines++] = *b->lines[k];
        }
    }
    return STATUS_OK;
}

static enum status read_page(const char *tsv, size_t piece, float least, struct seen *out,
                             struct error *err)
{
    struct played p = {tsv, piece};
    struct tool_runner r = {.run = play, .data = &p};
    struct ocr_options o = {.page = 3, .scale = 0.5F, .min_confidence = least};
    struct arena a;
    struct emitter e;
    memset(out, 0, sizeof *out);
    arena_init(&a, 32U << 20);
    emit_init(&e, 1U << 20, keep, out);
    enum status s = ocr_page(&r, &o, &a, &e, err);
    if (s == STATUS_OK) {
        s = emit_finish(&e, err);
    }
    emit_deinit(&e);
    arena_reset(&a);
    return s;
}

static const char page[] = HEAD "2\t1\t1\t0\t0\t0\t100\t100\t400\t60\t-1\t\n"
                                "5\t1\t1\t1\t1\t1\t100\t100\t400\t60\t95.5\tInvoice\n"
                                "5\t1\t2\t1\t1\t1\t100\t300\t80\t20\t90\tThe\n"
                                "5\t1\t2\t1\t1\t2\t200\t300\t100\t20\t91\tinforma-\n"
                                "5\t1\t2\t1\t2\t1\t100\t330\t60\t20\t92\ttion\n"
                                "5\t1\t2\t1\t2\t2\t170\t330\t60\t20\t12\txqz\n"
                                "5\t1\t2\t1\t2\t3\t240\t330\t60\t20\t40\t|\n"
                                "5\t1\t2\t1\t2\t4\t310\t330\t90\t20\t93\tfür\n"
                                "5\t1\t2\t2\t1\t1\t100\t400\t90\t20\t94\tSecond.\n";

static void test_words_become_blocks(void **state)
{
    (void)state;
    struct seen s;
    struct error err = {0};
    /* whatever the pieces are that the pipe gives */
    for (size_t piece = 1; piece < sizeof page + 40; piece += piece < 40 ? 1 : 37) {
        assert_int_equal(read_page(page, piece, 30, &s, &err), STATUS_OK);
        assert_int_equal(s.n, 3);
        assert_string_equal(s.text[0], "Invoice");
        assert_int_equal(s.block[0].kind, EX__BLOCK__KIND__HEADING);
        assert_string_equal(s.text[1], "The information für");
        assert_int_equal(s.block[1].kind, EX__BLOCK__KIND__PARAGRAPH);
        assert_string_equal(s.text[2], "Second.");
        assert_int_equal(s.block[1].page, 3);
        assert_true(s.block[1].has_confidence && s.block[1].confidence > 91 &&
                    s.block[1].confidence < 92);
    }
    /* a box a word, in points; a divided word has two, side by side in the text */
    const Ex__Line *the = &s.line[1], *informa = &s.line[2], *tion = &s.line[3], *fur = &s.line[4];
    assert_int_equal(the->start, 0);
    assert_int_equal(the->end, 3);
    assert_int_equal(informa->start, 4);
    assert_int_equal(informa->end, 11);
    assert_int_equal(tion->start, 11);
    assert_int_equal(tion->end, 15);
    assert_int_equal(fur->start, 16);
    assert_int_equal(fur->end, 19); /* code points */
    assert_true(informa->x0 == 100 && informa->y0 == 150 && informa->x1 == 150 &&
                informa->y1 == 160);
    assert_int_equal(informa->page, 3);
}

static void test_lists(void **state)
{
    (void)state;
    static const char list[] = HEAD "5\t1\t1\t1\t1\t1\t100\t100\t80\t20\t90\tBring:\n"
                                    "5\t1\t1\t1\t2\t1\t100\t130\t10\t20\t20\t\u00A2\n"
                                    "5\t1\t1\t1\t2\t2\t130\t130\t80\t20\t90\tRope\n"
                                    "5\t1\t1\t1\t3\t1\t100\t160\t10\t20\t20\t*\n"
                                    "5\t1\t1\t1\t3\t2\t130\t160\t80\t20\t90\tBread\n"
                                    "5\t1\t1\t1\t4\t1\t130\t190\t80\t20\t90\tand\n"
                                    "5\t1\t1\t1\t5\t1\t103\t220\t10\t20\t70\te\n"
                                    "5\t1\t1\t1\t5\t2\t130\t220\t80\t20\t90\tEggs\n"
                                    "5\t1\t1\t1\t6\t1\t300\t250\t10\t20\t90\te\n"
                                    "5\t1\t1\t1\t6\t2\t330\t250\t80\t20\t90\tRoma\n"
                                    "5\t1\t2\t1\t1\t1\t100\t400\t10\t20\t90\t\u00A9\n"
                                    "5\t1\t2\t1\t1\t2\t130\t400\t80\t20\t90\t1999\n";
    struct seen s;
    struct error err = {0};
    assert_int_equal(read_page(list, 64, 10, &s, &err), STATUS_OK);
    static const char *const texts[] = {"Bring:", "Rope", "Bread and", "Eggs e Roma",
                                        "\u00A9 1999"};
    assert_int_equal(s.n, 5);
    for (size_t i = 0; i < s.n; i++) {
        assert_string_equal(s.text[i], texts[i]);
        assert_int_equal(s.block[i].kind == EX__BLOCK__KIND__LIST_ITEM, i >= 1 && i <= 3);
    }
}

static void test_confidence(void **state)
{
    (void)state;
    struct seen s;
    struct error err = {0};
    assert_int_equal(read_page(page, 4096, 0, &s, &err), STATUS_OK);
    assert_string_equal(s.text[1],
                        "The information xqz für"); /* a lone sign is dirt all the same */
    assert_int_equal(read_page(page, 4096, 99, &s, &err), STATUS_OK);
    assert_int_equal(s.n, 0);
    assert_int_equal(read_page(HEAD, 4096, 0, &s, &err),
                     STATUS_OK); /* an empty page is no failure */
    assert_int_equal(s.n, 0);
}

/* What a tool that was taken over might say. */
static void test_nonsense(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "5\t1\t1\t1\t1\t1\tnan\t0\t1\t1\t90\tword\n",
        "5\t1\t1\t1\t1\t1\t-5\t0\t1\t1\t90\tword\n",
        "5\t1\t1\t1\t1\t1\t1e30\t0\t1\t1\t90\tword\n",
        "5\t1\t1\t1\t1\t1\t0\t0\t1\t1\t90\n",
        "5\t1\t1\t1\t1\t1\t0\t0\t1\t1\t\tword\n",
        "5\t1\t1\t1\t1\t1\t0\t0\t1\t1\t90\t \n",
        "\t\t\t\t\t\t\t\t\t\t\t\n",
        "5",
        "",
    };
    struct seen s;
    struct error err = {0};
    char text[1024];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        snprintf(text, sizeof text, "%s%s", HEAD, rows[i]);
        assert_int_equal(read_page(text, 7, 0, &s, &err), STATUS_OK);
        assert_int_equal(s.n, 0);
    }
    /* boxes beyond the picture are cut to it, bad bytes do not get through */
    snprintf(text, sizeof text, "%s%s", HEAD,
             "5\t1\t1\t1\t1\t1\t900\t1990\t5000\t5000\t90\ta\xff\x01z\n");
    assert_int_equal(read_page(text, 7, 0, &s, &err), STATUS_OK);
    assert_int_equal(s.n, 1);
    assert_string_equal(s.text[0], "a\xEF\xBF\xBDz");
    assert_true(s.line[0].x1 == 500 && s.line[0].y1 == 1000);
    /* a row without end */
    char *row = malloc(OCR_ROW_MAX + 2);
    assert_non_null(row);
    memset(row, 'x', OCR_ROW_MAX + 1);
    row[OCR_ROW_MAX + 1] = '\0';
    assert_int_equal(read_page(row, 4096, 0, &s, &err), STATUS_INVALID);
    free(row);
}

static void test_too_many_words(void **state)
{
    (void)state;
    static const char word[] = "5\t1\t1\t1\t1\t1\t0\t0\t1\t1\t90\tw\n";
    struct ocr_words w;
    struct arena a;
    struct error err = {0};
    enum status s = STATUS_OK;
    size_t i = 0;
    arena_init(&a, 64U << 20);
    ocr_words_init(&w, &a);
    for (; i <= OCR_WORDS_MAX && s == STATUS_OK; i++) {
        s = ocr_words_feed(&w, (struct str){word, sizeof word - 1}, &err);
    }
    assert_int_equal(s, STATUS_TOO_LARGE);
    assert_int_equal(i, OCR_WORDS_MAX + 1);
    ocr_words_deinit(&w);
    arena_reset(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words_become_blocks), cmocka_unit_test(test_lists),
        cmocka_unit_test(test_confidence),          cmocka_unit_test(test_nonsense),
        cmocka_unit_test(test_too_many_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
