/* Office files made to cost far more than their size: tables of formats, styles and items that are
 * asked for again and again, text that is shown often and never counts. */
#include "tests/unit/ingest/damage.h"

static enum status outcome_of(extract_fn extract, const char *const *parts, struct error *err)
{
    struct buf b;
    make_docx(parts, &b);
    enum status s = outcome(extract, buf_view(&b), err);
    buf_deinit(&b);
    return s;
}

/* "before", the piece n times, "after". */
static void add(struct buf *b, const char *before, const char *piece, size_t n, const char *after)
{
    buf_z(b, before);
    for (size_t i = 0; i < n; i++) {
        buf_z(b, piece);
    }
    buf_z(b, after);
}

static const char *text_of(struct buf *b)
{
    buf_char(b, '\0');
    assert_int_equal(buf_status(b), STATUS_OK);
    return b->ptr;
}

#define SHEETS                                                                                     \
    "xl/workbook.xml",                                                                             \
        "<workbook xmlns:r=\"x/relationships\"><sheets><sheet name=\"s\" r:id=\"r\"/></sheets>"    \
        "</workbook>",                                                                             \
        "xl/_rels/workbook.xml.rels",                                                              \
        "<R><Relationship Id=\"r\" Type=\"/worksheet\" Target=\"s.xml\"/></R>"

static void test_many_formats(void **state)
{
    struct buf styles;
    struct error err = {0};
    (void)state;
    buf_init(&styles, (size_t)64 << 20);
    add(&styles, "<s>", "<numFmt numFmtId=\"200\" formatCode=\"0\"/>", 100000, "<cellXfs>");
    add(&styles, "", "<xf numFmtId=\"3\"/>", 60000, "</cellXfs></s>");
    const char *const parts[] = {
        SHEETS, "xl/styles.xml", text_of(&styles), "xl/s.xml", "<w><row><c><v>1</v></c></row></w>",
        NULL};
    assert_int_equal(outcome_of(xlsx_extract, parts, &err), STATUS_OK);
    buf_deinit(&styles);
}

static void test_blank_strings(void **state)
{
    struct buf strings, sheet;
    struct error err = {0};
    (void)state;
    buf_init(&strings, (size_t)64 << 20);
    buf_init(&sheet, (size_t)64 << 20);
    add(&strings, "<s><si><t>", "          ", 100000, "</t></si></s>");
    add(&sheet, "<w>", "<row><c t=\"s\"><v>0</v></c></row>", 50000, "</w>");
    const char *const parts[] = {SHEETS,     "xl/sharedStrings.xml", text_of(&strings),
                                 "xl/s.xml", text_of(&sheet),        NULL};
    assert_int_equal(outcome_of(xlsx_extract, parts, &err), STATUS_TOO_LARGE);
    assert_non_null(strstr(err.text, "more text"));
    buf_deinit(&strings);
    buf_deinit(&sheet);
}

static void test_many_styles(void **state)
{
    struct buf b;
    struct error err = {0};
    (void)state;
    buf_init(&b, (size_t)64 << 20);
    buf_z(&b, "<office:d xmlns:text=\"xmlns:text:1.0\" xmlns:office=\"xmlns:office:1.0\" "
              "xmlns:style=\"xmlns:style:1.0\">");
    for (unsigned i = 0; i < 16000; i++) {
        buf_printf(&b, "<style:style style:name=\"s%u\" style:parent-style-name=\"s%u\"/>", i,
                   i < 15 ? i + 1 : i);
    }
    add(&b, "<office:text>", "<text:p text:style-name=\"s0\">a</text:p>", 50000,
        "</office:text></office:d>");
    const char *const parts[] = {"content.xml", text_of(&b), NULL};
    assert_int_equal(outcome_of(odf_extract, parts, &err), STATUS_OK);
    buf_deinit(&b);
}

#define W "xmlns:w=\"http://schemas.openxmlformats.org/wordprocessingml/2006/main\""

static void test_many_word_styles(void **state)
{
    struct buf styles, lists, body;
    struct error err = {0};
    (void)state;
    buf_init(&styles, (size_t)64 << 20);
    buf_init(&lists, (size_t)64 << 20);
    buf_init(&body, (size_t)64 << 20);
    buf_z(&styles, "<w:styles " W ">");
    buf_z(&lists, "<w:numbering " W "><w:abstractNum w:abstractNumId=\"1\"/>");
    for (unsigned i = 0; i < 16000; i++) {
        buf_printf(&styles, "<w:style w:styleId=\"s%u\"><w:basedOn w:val=\"s%u\"/></w:style>", i,
                   i + 1);
        buf_printf(&lists, "<w:num w:numId=\"%u\"><w:abstractNumId w:val=\"1\"/></w:num>", i + 1);
    }
    buf_z(&styles, "</w:styles>");
    buf_z(&lists, "</w:numbering>");
    add(&body, "<w:document " W "><w:body>",
        "<w:p><w:pPr><w:pStyle w:val=\"s0\"/><w:numPr><w:ilvl w:val=\"0\"/><w:numId "
        "w:val=\"1\"/></w:numPr></w:pPr><w:r><w:t>a</w:t></w:r></w:p>",
        100000, "</w:body></w:document>");
    const char *const parts[] = {"word/styles.xml",
                                 text_of(&styles),
                                 "word/numbering.xml",
                                 text_of(&lists),
                                 "word/document.xml",
                                 text_of(&body),
                                 NULL};
    assert_int_equal(outcome_of(docx_extract, parts, &err), STATUS_OK);
    buf_deinit(&styles);
    buf_deinit(&lists);
    buf_deinit(&body);
}

static void test_many_items(void **state)
{
    struct buf b;
    struct error err = {0};
    (void)state;
    buf_init(&b, (size_t)64 << 20);
    add(&b, "<p>", "", 0, "");
    for (unsigned i = 0; i < 32000; i++) {
        buf_printf(&b, "<item id=\"i%u\" href=\"gone\" media-type=\"text/html\"/>", i);
    }
    buf_z(&b, "<item id=\"a\" href=\"a.html\" media-type=\"text/html\"/>"
              "<item id=\"a\" href=\"b.html\" media-type=\"text/html\"/>");
    add(&b, "", "<itemref idref=\"zz\"/>", 32000, "<itemref idref=\"a\"/></p>");
    const char *const parts[] = {"META-INF/container.xml",
                                 "<c><rootfile full-path=\"a.opf\"/></c>",
                                 "a.opf",
                                 text_of(&b),
                                 "a.html",
                                 "<html><p>The first is meant.</p></html>",
                                 NULL};
    assert_int_equal(outcome_of(epub_extract, parts, &err), STATUS_OK);
    buf_deinit(&b);
}

/* One after the other they are compared with all before: half a million would take minutes. */
static void test_many_attributes(void **state)
{
    static const char *const forms[] = {" a", " xmlns:a"};
    (void)state;
    for (size_t k = 0; k < COUNT_OF(forms); k++) {
        struct buf b;
        struct error err = {0};
        buf_init(&b, (size_t)64 << 20);
        buf_z(&b, "<w:document " W "><w:body");
        for (unsigned i = 0; i < 500000; i++) {
            buf_printf(&b, "%s%u='u'", forms[k], i);
        }
        buf_z(&b, "/></w:document>");
        const char *const parts[] = {"word/document.xml", text_of(&b), NULL};
        assert_int_equal(outcome_of(docx_extract, parts, &err), STATUS_INVALID);
        assert_non_null(strstr(err.text, "more attributes"));
        buf_deinit(&b);
    }
}

/* Whole in one step of the parser, in scope for all that stands in them; and what is honest. */
static void test_some_attributes(void **state)
{
    (void)state;
    for (unsigned n = 400; n <= 600; n += 200) {
        struct buf b;
        struct error err = {0};
        buf_init(&b, (size_t)1 << 20);
        buf_z(&b, "<w:document " W "><w:body><w:p");
        for (unsigned i = 0; i < n; i++) {
            buf_printf(&b, " a%u=\"it's > 1 \"", i);
        }
        buf_z(&b, "><w:r><w:t>a</w:t></w:r></w:p></w:body></w:document>");
        const char *const parts[] = {"word/document.xml", text_of(&b), NULL};
        assert_int_equal(outcome_of(docx_extract, parts, &err),
                         n < 512 ? STATUS_OK : STATUS_INVALID);
        buf_deinit(&b);
    }
}

static void test_nested_namespaces(void **state)
{
    struct buf b;
    struct error err = {0};
    (void)state;
    buf_init(&b, (size_t)8 << 20);
    buf_z(&b, "<w:document " W ">");
    for (unsigned i = 0; i < 200; i++) {
        buf_z(&b, "<w:body");
        for (unsigned k = 0; k < 200; k++) {
            buf_printf(&b, " xmlns:a%ux%u='u'", i, k);
        }
        buf_z(&b, ">");
    }
    const char *const parts[] = {"word/document.xml", text_of(&b), NULL};
    assert_int_equal(outcome_of(docx_extract, parts, &err), STATUS_INVALID);
    assert_non_null(strstr(err.text, "more attributes"));
    buf_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_formats),    cmocka_unit_test(test_blank_strings),
        cmocka_unit_test(test_many_styles),     cmocka_unit_test(test_many_word_styles),
        cmocka_unit_test(test_many_items),      cmocka_unit_test(test_many_attributes),
        cmocka_unit_test(test_some_attributes), cmocka_unit_test(test_nested_namespaces),
    };
    return cmocka_run_group_tests_name("costly office files", tests, NULL, NULL);
}
