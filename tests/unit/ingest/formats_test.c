/* The parsers that work on memory: what honest documents give, and what hostile ones do not. */
#include "tests/unit/ingest/damage.h"

#include "ingest/formats/bbox.h"
#include "ingest/formats/layout.h"
#include "ingest/utf8.h"

static void test_text(void **state)
{
    (void)state;
    expect(text_extract, STR("One line\nand another.\n\n  \nSecond.\r\n\r\nThird"), "",
           "P One line\nand another.\nP Second.\nP Third\n");
    expect(text_extract,
           STR("\xEF\xBB\xBF"
               "caf\u00E9"),
           "", "P caf\u00E9\n");
    expect(text_extract, STR("\xFF\xFEh\0i\0"), "", "P hi\n");
    expect(text_extract, STR("\0h\0e\0l\0l\0o\0 \0y\0o\0u"), "", "P hello you\n");
    expect(text_extract, STR("old Mac\r\rtext here"), "", "P old Mac\nP text here\n");
    expect(text_extract, STR("na\u00EFve caf\u00E9 \xC3\x28 \xFF end"), "",
           "P na\u00EFve caf\u00E9 \uFFFD( \uFFFD end\n");
    expect(text_extract,
           STR("Le caf\xE9 d'\xE0 c\xF4t\xE9 est tr\xE8s agr\xE9"
               "able, l'\xE9t\xE9 aussi."),
           "",
           "P Le caf\u00E9 d'\u00E0 c\u00F4t\u00E9 est tr\u00E8s agr\u00E9"
           "able, l'\u00E9t\u00E9 aussi.\n");
    expect_failure(text_extract, STR("\x01\x02\0\0\0\x03text\0\0\0\0\x05"), STATUS_INVALID,
                   "not text");
    expect_failure(text_extract, STR("  \n \n\t\n"), STATUS_INVALID, "no text");
}

static void test_large_text(void **state)
{
    struct collected c;
    struct buf b;
    struct error err = {0};
    (void)state;
    buf_init(&b, 64U << 20);
    for (int i = 0; i < 600000; i++) { /* no blank line, no newline: 9 MB in one paragraph */
        buf_z(&b, "stra\u00DFe w\u00F6rter ");
    }
    collected_init(&c);
    assert_int_equal(collect(text_extract, buf_view(&b), NULL, &c, &err), STATUS_OK);
    size_t total = 0;
    for (size_t i = 0; i < c.n; i++) {
        struct str s = {(char *)c.blocks[i]->text.data, c.blocks[i]->text.len};
        assert_true(s.len <= EMIT_BLOCK_MAX);
        assert_null(memmem(s.ptr, s.len, "\uFFFD", 3)); /* no character was cut */
        total += s.len;
    }
    assert_true(total + 64 * c.n >= b.len - 1);
    collected_deinit(&c);
    buf_deinit(&b);
}

static void test_markdown(void **state)
{
    (void)state;
    expect(
        markdown_extract,
        STR("---\ntitle: \"Guide\"\n---\n# First\n\nSome *text* with [a link](http://x) &amp; "
            "`code`.\n\n"
            "- one\n- two\n  - three\n\n> said\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```c\nint "
            "x;\n```\n\n"
            "<div>raw <b>html</b></div>\n"),
        "Guide",
        "H1 First\nP Some text with a link & code.\nL one\nL two\nL three\nQ said\nT1 a | b\nT 1 "
        "| 2\n"
        "C int x;\nP raw html\n");
    expect(markdown_extract, STR("Setext\n===\n\npara\nwrapped"), "Setext",
           "H1 Setext\nP para wrapped\n");
    expect(markdown_extract, STR("# Hi\n\n\xFF\xFE bad"), "Hi", "H1 Hi\nP \u00FF\u00FE bad\n");
}

static void test_html(void **state)
{
    (void)state;
    expect(html_extract,
           STR("<!doctype html><html lang=de><head><title>The "
               "page</title><style>p{}</style></head><body>"
               "<nav><a href=/>Home</a></nav><h1>Head</h1><p>One <b>bold</b> word.<p>Two<br>lines"
               "<ul><li>a<li>b</ul><table><tr><th>k<th>v<tr><td>1<td>2</table><pre>  x\n y</pre>"
               "<div hidden>never</div><p style='display: none'>nor this</p><!-- nor this -->"
               "<script>evil()</script><blockquote>said</blockquote><footer>foot</footer></body></"
               "html>"),
           "The page",
           "H1 Head\nP One bold word.\nP Two\nlines\nL a\nL b\nT1 k | v\nT 1 | 2\nC   x\n y\nQ "
           "said\n");
    expect(html_extract,
           STR("<p>Text.<aside class=related><p>More pages</aside><aside class='admonition "
               "caution'><p>Hot!</aside><aside role=note><p>Closed on Fridays.</aside>"),
           "", "P Text.\nP Hot!\nP Closed on Fridays.\n");
    expect(html_extract, STR("<meta charset=iso-8859-1><p>caf\xE9"), "", "P caf\u00E9\n");
    expect(html_extract, STR("<meta charset=iso-8859-1><p>caf\u00E9 is UTF-8"), "",
           "P caf\u00E9 is UTF-8\n");
    expect(html_extract, STR("<p>nul\0here &#0; &amp; &euro;"), "", "P nulhere & \u20AC\n");
    expect_failure(html_extract, STR("<nav>x</nav><script>y</script>"), STATUS_INVALID, "no text");
}

static void test_hostile_html(void **state)
{
    struct collected c;
    struct error err = {0};
    struct buf b;
    (void)state;
    buf_init(&b, 64U << 20);
    for (int i = 0; i < 100000; i++) {
        buf_z(&b, "<div>");
    }
    buf_z(&b, "needle");
    expect(html_extract, buf_view(&b), "", "P needle\n");
    buf_reset(&b);
    buf_z(&b, "<p title='");
    for (int i = 0; i < 400000; i++) {
        buf_z(&b, "long attribute ");
    }
    buf_z(&b, "'>after");
    expect(html_extract, buf_view(&b), "", "P after\n");
    buf_reset(&b);
    for (int i = 0; i < 5000; i++) {
        buf_z(&b, "<table><tr><td>");
    }
    buf_z(&b, "deep");
    collected_init(&c);
    assert_int_equal(collect(html_extract, buf_view(&b), NULL, &c, &err), STATUS_OK);
    collected_deinit(&c);
    buf_deinit(&b);
}

#define P(text) "<w:p><w:r><w:t>" text "</w:t></w:r></w:p>"

static const char styles[] =
    "<w:styles xmlns:w=\"http://schemas.openxmlformats.org/wordprocessingml/2006/main\">"
    "<w:style w:styleId=\"Kop1\"><w:name w:val=\"heading 1\"/></w:style>"
    "<w:style w:styleId=\"Eigen\"><w:name w:val=\"Mine\"/><w:basedOn w:val=\"Kop1\"/></w:style>"
    "<w:style w:styleId=\"Deep\"><w:name w:val=\"Deep\"/><w:pPr><w:outlineLvl "
    "w:val=\"2\"/></w:pPr></w:style>"
    "</w:styles>";

static void test_docx(void **state)
{
    static const char body[] =
        W_OPEN "<w:p><w:pPr><w:pStyle w:val=\"Eigen\"/></w:pPr><w:r><w:t>Chapter</w:t></w:r></w:p>"
               "<w:p><w:pPr><w:pStyle w:val=\"Deep\"/></w:pPr><w:r><w:t>Section</w:t></w:r></w:p>"
               "<w:p><w:r><w:t xml:space=\"preserve\">Hello "
               "</w:t></w:r><w:hyperlink><w:r><w:t>link</w:t></w:r>"
               "</w:hyperlink><w:del><w:r><w:delText>gone</w:delText><w:t>gone</w:t></w:r></w:del>"
               "<w:ins><w:r><w:t> new</w:t></w:r></w:ins><w:r><w:tab/><w:t>&lt;tab&gt;</w:t></w:r>"
               "<w:r><w:rPr><w:vanish/></w:rPr><w:t>hidden</w:t></w:r></w:p>"
               "<w:p><w:pPr><w:numPr><w:numId "
               "w:val=\"3\"/></w:numPr></w:pPr><w:r><w:t>item</w:t></w:r></w:p>"
               "<w:tbl><w:tr><w:tc>" P("a")
                   P("b") "</w:tc><w:tc>" P("c") "</w:tc></w:tr></w:tbl>" P("end") W_CLOSE;
    static const char notes[] = "<w:footnotes xmlns:w=\"x\"><w:footnote w:type=\"separator\">" P(
        "skip") "</w:footnote><w:footnote>" P("A note.") "</w:footnote></w:footnotes>";
    static const char core[] =
        "<cp:coreProperties xmlns:cp=\"c\" xmlns:dc=\"d\"><dc:title>The &amp; title"
        "</dc:title></cp:coreProperties>";
    const char *parts[] = {"docProps/core.xml",
                           core,
                           "word/styles.xml",
                           styles,
                           "word/document.xml",
                           body,
                           "word/footnotes.xml",
                           notes,
                           NULL};
    struct buf b;
    (void)state;
    make_docx(parts, &b);
    expect(docx_extract, buf_view(&b), "The & title",
           "H1 Chapter\nH3 Section\nP Hello link new <tab>\nL item\nT a b | c\nP end\nN A note.\n");
    /* cut anywhere, it fails with a reason or is read, and nothing else */
    for (size_t i = 1; i < 16; i++) {
        struct collected c;
        struct error err = {0};
        collected_init(&c);
        enum status s = collect(docx_extract, (struct str){b.ptr, b.len * i / 16}, NULL, &c, &err);
        assert_true(s == STATUS_INVALID && err.text[0] != '\0');
        collected_deinit(&c);
    }
    buf_deinit(&b);
}

static void expect_docx_failure(const char *body, enum status code, const char *words)
{
    const char *parts[] = {"word/document.xml", body, NULL};
    struct buf b;
    make_docx(parts, &b);
    expect_failure(docx_extract, buf_view(&b), code, words);
    buf_deinit(&b);
}

static void test_hostile_docx(void **state)
{
    struct buf b;
    (void)state;
    expect_docx_failure(
        "<!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;\">]><x>&b;</x>",
        STATUS_INVALID, "entities");
    expect_docx_failure("<!DOCTYPE x SYSTEM \"file:///etc/passwd\"><x/>", STATUS_INVALID,
                        "entities");
    expect_docx_failure(W_OPEN "<w:p><w:r><w:t>cut", STATUS_INVALID, "malformed");
    buf_init(&b, 128U << 20);
    for (int i = 0; i < 10000; i++) {
        buf_z(&b, "<w:p>");
    }
    expect_docx_failure(buf_view(&b).ptr, STATUS_INVALID, "deep");
    buf_reset(&b);
    buf_z(&b, W_OPEN);
    for (int i = 0; i < 20000; i++) { /* 40 MB of the same, 1000 to 1 */
        buf_z(&b, P("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                    "aaaaaaaaaaaaaa"));
        for (int k = 0; k < 40; k++) {
            buf_z(&b, "                                                  ");
        }
    }
    buf_z(&b, W_CLOSE);
    expect_docx_failure(buf_view(&b).ptr, STATUS_TOO_LARGE, "unpacks to");
    buf_deinit(&b);
    expect_failure(docx_extract, STR("\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1"), STATUS_UNSUPPORTED,
                   "password");
    expect_failure(docx_extract, STR("PK\x03\x04"), STATUS_INVALID, "damaged");
    expect_failure(docx_extract, STR("hello"), STATUS_INVALID, "no Word file");
    const char *none[] = {"mimetype", "x", NULL};
    make_docx(none, &b);
    expect_failure(docx_extract, buf_view(&b), STATUS_INVALID, "word/document.xml");
    buf_deinit(&b);
}

/* pdftotext's part is played by a string. */
struct played {
    const char *text;
    size_t step;
};

static enum status play(const struct tool_runner *r,
                        enum status (*on_data)(void *data, struct str piece, struct error *err),
                        void *data, struct error *err)
{
    const struct played *p = r->data;
    size_t len = strlen(p->text);
    enum status s = STATUS_OK;
    for (size_t i = 0; i < len && s == STATUS_OK; i += p->step) {
        s = on_data(data, (struct str){p->text + i, len - i < p->step ? len - i : p->step}, err);
    }
    return s;
}

#define WORD(x, y, h, text)                                                                        \
    "<word xMin=\"" x "\" yMin=\"" y "\" xMax=\"300\" yMax=\"" h "\">" text "</word>"
#define LINE(y, h, words)                                                                          \
    "<line xMin=\"72\" yMin=\"" y "\" xMax=\"300\" yMax=\"" h "\">" words "</line>"
#define BLOCK(y, h, lines)                                                                         \
    "<block xMin=\"72\" yMin=\"" y "\" xMax=\"300\" yMax=\"" h "\">" lines "</block>"
#define PAGE(blocks)                                                                               \
    "<page width=\"595\" height=\"842\"><flow>" BLOCK(                                             \
        "20", "30",                                                                                \
        LINE("20", "30", WORD("72", "20", "30", "Acme") WORD("9", "20", "30", "Report"))) blocks   \
        "</flow></page>"
#define ONE_LINE(y, h, text) BLOCK(y, h, LINE(y, h, WORD("72", y, h, text)))

static const char bbox_text[] =
    "<!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 Transitional//EN\" \"x.dtd\">"
    "<html "
    "xmlns=\"http://www.w3.org/1999/xhtml\"><head><title>T&amp;A</title></head><body><doc>" PAGE(
        ONE_LINE("50", "70", "Big") BLOCK("100", "122",
                                          LINE("100", "110", WORD("72", "100", "110", "informa-"))
                                              LINE("112", "122", WORD("72", "112", "122", "tion"))))
        PAGE(BLOCK("100", "122",
                   LINE("100", "110",
                        WORD("72", "100", "110", "caf\u00E9") WORD("90", "100", "110", "well-known")
                            WORD("99", "100", "110", "well-"))
                       LINE("112", "122", WORD("72", "112", "122", "known\x01"))))
            PAGE(BLOCK("100", "122",
                       LINE("100", "110",
                            WORD("72", "100", "110", "\u2022") WORD("80", "100", "110", "item"))
                           LINE("112", "122",
                                WORD("72", "112", "122", "\u05D2\u05D1\u05D0")
                                    WORD("80", "112", "122", "\u2022")))) "</doc></body></html>";

/* A font whose space has no character. */
static void test_bbox_spaces(void **state)
{
    static const char text[] =
        "<html><body><doc><page width=\"595\" height=\"842\"><flow>" ONE_LINE(
            "100", "110", "two\x02words,\x02\x02three\x02") "</flow></page></doc></body></html>";
    struct collected c;
    struct error err = {0};
    struct played p = {text, 7};
    struct tool_runner r = {.run = play, .data = &p};
    (void)state;
    collected_init(&c);
    assert_int_equal(collect(pdf_extract, STR(""), &r, &c, &err), STATUS_OK);
    assert_string_equal(collected_text(&c), "P two words, three\n");
    collected_deinit(&c);
}

static void test_bbox(void **state)
{
    (void)state;
    for (size_t step = 1; step < 4000; step = step * 3 + 1) {
        struct collected c;
        struct error err = {0};
        struct played p = {bbox_text, step};
        struct tool_runner r = {.run = play, .data = &p};
        collected_init(&c);
        assert_int_equal(collect(pdf_extract, STR(""), &r, &c, &err), STATUS_OK);
        assert_string_equal(collected_text(&c),
                            "H1 Big\nP information\nP caf\u00E9 well-known well-known\nL item\n"
                            "L \u05D0\u05D1\u05D2\nF Acme Report\nF Acme Report\nF Acme Report\n");
        assert_string_equal(c.title, "T&A");
        assert_int_equal(c.pages, 3);
        const Ex__Block *joined = c.blocks[1];
        assert_int_equal(joined->n_lines, 2);
        assert_int_equal(joined->lines[0]->end, 7);
        assert_int_equal(joined->lines[1]->start, 7);
        assert_int_equal(joined->lines[1]->end, 11);
        assert_int_equal(joined->page, 1);
        assert_true(joined->lines[1]->y0 > 111 && joined->lines[1]->y0 < 113);
        collected_deinit(&c);
    }
}

#define PLACED(x0, x1, y0, y1, text)                                                               \
    "<word xMin=\"" x0 "\" yMin=\"" y0 "\" xMax=\"" x1 "\" yMax=\"" y1 "\">" text "</word>"

/* An index belongs to its letter; a word that is set close is one all the same, and so are turned
 * ones. */
static void test_bbox_indices(void **state)
{
    static const char text[] = "<html><body><doc><page width=\"595\" height=\"842\"><flow>" BLOCK(
        "100", "110",
        LINE("100", "110",
             PLACED("72", "77", "100", "110", "x") PLACED("77.2", "80", "104", "111", "12")
                 PLACED("82", "90", "100", "110", "of") PLACED("91", "99", "100", "110", "all"))
            LINE("200", "300",
                 PLACED("72", "82", "200", "240", "up") PLACED(
                     "72", "82", "245", "290", "wards"))) "</flow></page></doc></body></html>";
    struct collected c;
    struct error err = {0};
    struct played p = {text, 1000};
    struct tool_runner r = {.run = play, .data = &p};
    (void)state;
    collected_init(&c);
    assert_int_equal(collect(pdf_extract, STR(""), &r, &c, &err), STATUS_OK);
    assert_non_null(strstr(collected_text(&c), "x12 of all"));
    assert_non_null(strstr(collected_text(&c), "up wards"));
    collected_deinit(&c);
}

/* Attributes without end cost libxml2 half a minute; honest tags stay as they are. */
static void test_html_many_attributes(void **state)
{
    struct buf page;
    struct collected c;
    struct error err = {0};
    (void)state;
    buf_init(&page, 16U << 20);
    buf_z(&page,
          "<p class='it\"s' title=\"a > b\">Before <a href=http://x.example/y>it's</a></p><p ");
    for (int i = 0; i < 100000; i++) {
        buf_printf(&page, "a%d=\"x>\" ", i);
    }
    buf_z(&page, ">Behind</p>");
    collected_init(&c);
    assert_int_equal(collect(html_extract, buf_view(&page), NULL, &c, &err), STATUS_OK);
    assert_string_equal(collected_text(&c), "P Before it's\nP Behind\n");
    collected_deinit(&c);
    buf_deinit(&page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_html_many_attributes),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_large_text),
        cmocka_unit_test(test_markdown),
        cmocka_unit_test(test_html),
        cmocka_unit_test(test_hostile_html),
        cmocka_unit_test(test_docx),
        cmocka_unit_test(test_hostile_docx),
        cmocka_unit_test(test_bbox),
        cmocka_unit_test(test_bbox_spaces),
        cmocka_unit_test(test_bbox_indices),
    };
    return cmocka_run_group_tests_name("formats", tests, NULL, NULL);
}
