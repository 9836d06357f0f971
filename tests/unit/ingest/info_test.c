/* What documents say of themselves: authors, dates, keywords, languages, pages, by format. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "ingest/formats/dates.h"
#include "ingest/formats/fields.h"
#include "tests/unit/ingest/fixtures.h"

typedef enum status (*extract_fn)(const struct extract_input *in, struct emitter *e,
                                  struct error *err);

#define MAY_31_NOON INT64_C(1717156800000) /* 2024-05-31T12:00:00Z */
#define MAY_31 INT64_C(1717113600000)

static void test_dates(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {
        {"2024-05-31T12:00:00Z", MAY_31_NOON},
        {"2024-05-31T14:00:00+02:00", MAY_31_NOON},
        {"2024-05-31T12:00:00.123456Z", MAY_31_NOON},
        {" 2024-05-31 12:00:00 ", MAY_31_NOON},
        {"D:20240531120000Z", MAY_31_NOON},
        {"D:20240531140000+02'00'", MAY_31_NOON},
        {"D:20240531070000-05'00", MAY_31_NOON},
        {"Fri, 31 May 2024 12:00:00 +0000", MAY_31_NOON},
        {"Fri, 31 May 2024 05:00:00 -0700 (PDT)", MAY_31_NOON},
        {"31 May 24 12:00:00 GMT", MAY_31_NOON},
        {"Fri May 31 12:00:00 2024", MAY_31_NOON},
        {"Fri May 31 12:00:00 2024 UTC", MAY_31_NOON},
        {"2024-05-31", MAY_31},
        {"2024/05/31", MAY_31},
        {"20240531", MAY_31},
        {"May 31, 2024", MAY_31},
        {"31 May 2024", MAY_31},
        {"2024-05", INT64_C(1714521600000)},
        {"2024", INT64_C(1704067200000)},
        {"D:2024", INT64_C(1704067200000)},
        {"May 2024", INT64_C(1714521600000)},
        {"1969-12-31T23:59:59Z", -1000},
        {"1900-01-01", INT64_C(-2208988800000)},
    };
    static const char *const bad[] = {"",
                                      "today",
                                      "0000-00-00",
                                      "2024-13-01",
                                      "2024-05-32",
                                      "D:",
                                      "31.05.",
                                      "12:00",
                                      "0001-01-01T00:00:00",
                                      "2024-05-31T25:00:00Z",
                                      "May",
                                      "Monday",
                                      "99999999999999999999"};
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        int64_t ms = 1;
        if (!date_read(str_from(good[i].text), &ms) || ms != good[i].ms) {
            fail_msg("%s: %lld instead of %lld", good[i].text, (long long)ms,
                     (long long)good[i].ms);
        }
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int64_t ms;
        if (date_read(str_from(bad[i]), &ms)) {
            fail_msg("%s was taken for a date", bad[i]);
        }
    }
}

static void test_people(void **state)
{
    static const char *const pairs[][2] = {{"Anna Berg <anna@example.org>", "Anna Berg"},
                                           {"\"Berg, Anna\" <a@b>", "Berg, Anna"},
                                           {"anna@example.org", "anna@example.org"},
                                           {"<anna@example.org>", "anna@example.org"},
                                           {"anna@example.org (Anna Berg)", "Anna Berg"},
                                           {"Anna (Berg)", "Anna (Berg)"},
                                           {"<", ""},
                                           {"", ""}};
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        struct str s = field_person(str_from(pairs[i][0]));
        assert_int_equal(s.len, strlen(pairs[i][1]));
        assert_memory_equal(s.ptr, pairs[i][1], s.len);
    }
}

struct said {
    const char *title, *author, *keywords, *language;
    int64_t created_ms, modified_ms;
    uint32_t pages;
};

static void expect(extract_fn f, struct str data, const struct said *said)
{
    struct collected c;
    struct error err = {0};
    collected_init(&c);
    if (collect(f, data, NULL, &c, &err) != STATUS_OK) {
        fail_msg("%s", err.text);
    }
    assert_string_equal(c.title, said->title);
    assert_string_equal(c.author, said->author);
    assert_string_equal(c.keywords, said->keywords == NULL ? "" : said->keywords);
    assert_string_equal(c.language, said->language == NULL ? "" : said->language);
    assert_int_equal(c.created_ms, said->created_ms);
    assert_int_equal(c.modified_ms, said->modified_ms);
    assert_int_equal(c.pages, said->pages);
    collected_deinit(&c);
}

#define CORE                                                                                       \
    "<cp:coreProperties xmlns:cp=\"c\" xmlns:dc=\"d\" xmlns:t=\"t\"><dc:title>The "                \
    "title</dc:title>"                                                                             \
    "<dc:subject>Birds</dc:subject><dc:creator>Anna Berg;Carl Dahl</dc:creator><cp:keywords>duck"  \
    "</cp:keywords><cp:lastModifiedBy>Eva</cp:lastModifiedBy><t:created>2024-05-31T12:00:00Z"      \
    "</t:created><t:modified>2024-05-31T00:00:00Z</t:modified></cp:coreProperties>"

static void test_office(void **state)
{
    const char *const parts[] = {"docProps/core.xml",
                                 CORE,
                                 "docProps/app.xml",
                                 "<Properties><Pages>7</Pages><Words>3</Words></Properties>",
                                 "word/document.xml",
                                 W_OPEN "<w:p><w:r><w:t>Text.</w:t></w:r></w:p>" W_CLOSE,
                                 NULL};
    struct buf b;
    (void)state;
    make_docx(parts, &b);
    expect(docx_extract, buf_view(&b),
           &(struct said){.title = "The title",
                          .author = "Anna Berg; Carl Dahl",
                          .keywords = "Birds; duck",
                          .created_ms = MAY_31_NOON,
                          .modified_ms = MAY_31,
                          .pages = 7});
    buf_deinit(&b);
}

static void test_open(void **state)
{
    static const char flat[] =
        "<?xml version=\"1.0\"?><o:document "
        "xmlns:o=\"urn:oasis:names:tc:opendocument:xmlns:office:1.0\" "
        "xmlns:text=\"urn:oasis:names:tc:opendocument:xmlns:text:1.0\" xmlns:dc=\"dc\" "
        "xmlns:meta=\"urn:oasis:names:tc:opendocument:xmlns:meta:1.0\"><o:meta>"
        "<dc:creator>Eva</dc:creator><meta:initial-creator>Anna Berg</meta:initial-creator>"
        "<dc:date>2024-05-31T12:00:00</dc:date><meta:creation-date>2024-05-31</meta:creation-date>"
        "<meta:keyword>duck</meta:keyword><meta:keyword>goose</meta:keyword><dc:title>T</dc:title>"
        "<dc:language>de</dc:language></o:meta><o:body><o:text><text:p>One.</text:p></o:text></"
        "o:body>"
        "</o:document>";
    (void)state;
    expect(odf_extract, STR(flat),
           &(struct said){.title = "T",
                          .author = "Anna Berg",
                          .keywords = "duck; goose",
                          .language = "de",
                          .created_ms = MAY_31,
                          .modified_ms = MAY_31_NOON});
}

static void test_book(void **state)
{
    const char *const parts[] = {
        "META-INF/container.xml",
        "<container><rootfiles><rootfile full-path=\"a.opf\"/></rootfiles></container>",
        "a.opf",
        "<package xmlns:dc=\"d\"><metadata><dc:title>Book</dc:title><dc:creator>Anna "
        "Berg</dc:creator>"
        "<dc:creator>Carl "
        "Dahl</dc:creator><dc:date>2024-05-31</dc:date><dc:subject>Birds</dc:subject>"
        "<dc:language>en</dc:language><meta "
        "property=\"dcterms:modified\">2024-05-31T12:00:00Z</meta>"
        "</metadata><manifest><item id=\"c\" href=\"c.xhtml\" "
        "media-type=\"application/xhtml+xml\"/>"
        "</manifest><spine><itemref idref=\"c\"/></spine></package>",
        "c.xhtml",
        "<html><body><p>Text.</p></body></html>",
        NULL};
    struct buf b;
    (void)state;
    make_docx(parts, &b);
    expect(epub_extract, buf_view(&b),
           &(struct said){.title = "Book",
                          .author = "Anna Berg; Carl Dahl",
                          .keywords = "Birds",
                          .language = "en",
                          .created_ms = MAY_31,
                          .modified_ms = MAY_31_NOON});
    buf_deinit(&b);
}

static void test_texts(void **state)
{
    (void)state;
    expect(
        html_extract,
        STR("<html lang=en><head><title>Page</title><meta name=Author content='Anna Berg'>"
            "<meta property='article:published_time' content='2024-05-31T12:00:00Z'>"
            "<meta property='article:author' content='https://example.org/anna'>"
            "<meta http-equiv=last-modified content='Fri, 31 May 2024 00:00:00 GMT'>"
            "<meta name=keywords content='duck, goose,'></head><body><p>Text.</p></body></html>"),
        &(struct said){"Page", "Anna Berg", "duck; goose", "en", MAY_31_NOON, MAY_31, 0});
    expect(eml_extract,
           STR("From: =?utf-8?q?Anna_Berg?= <anna@example.org>\r\nDate: Fri, 31 May 2024 14:00:00 "
               "+0200\r\nSubject: Leave\r\n\r\nText.\r\n"),
           &(struct said){"Leave", "Anna Berg", NULL, NULL, MAY_31_NOON, 0, 0});
    expect(mbox_extract,
           STR("From a@b Fri May 31 12:00:00 2024\nFrom: a@b\nSubject: One\n\nText.\n"),
           &(struct said){"", "", NULL, NULL, 0, 0, 0});
    expect(
        rtf_extract,
        STR("{\\rtf1{\\info{\\title The title}{\\author Anna Berg}{\\keywords duck}{\\operator Eva}"
            "{\\creatim\\yr2024\\mo5\\dy31\\hr12\\min0}{\\revtim\\yr2024\\mo5\\dy31}"
            "{\\printim\\yr1999\\mo1\\dy1}}Text.\\par}"),
        &(struct said){"The title", "Anna Berg", "duck", NULL, MAY_31_NOON, MAY_31, 0});
    expect(
        markdown_extract,
        STR("---\ntitle: Guide\nauthor: [Anna Berg, \"Carl Dahl\"]\ndate: 2024-05-31\nlastmod: "
            "2024-05-31T12:00:00Z\ntags:\n  - duck\n  - goose\nlang: de\nother: x\n---\n\nText.\n"),
        &(struct said){"Guide", "Anna Berg; Carl Dahl", "duck; goose", "de", MAY_31, MAY_31_NOON,
                       0});
    expect(rst_extract,
           STR("Guide\n=====\n\n:Author: Anna Berg\n:Date: 2024-05-31\n:Version: 2\n\nText.\n"),
           &(struct said){"Guide", "Anna Berg", NULL, NULL, MAY_31, 0, 0});
    expect(
        asciidoc_extract,
        STR("= Guide\n:author: Anna Berg\n:revdate: 2024-05-31\n:keywords: duck, goose\n\nText.\n"),
        &(struct said){"Guide", "Anna Berg", "duck; goose", NULL, MAY_31, 0, 0});
}

static void test_xml(void **state)
{
    (void)state;
    expect(
        xml_extract,
        STR("<article><front><article-meta><title-group><article-title>Birds</article-title>"
            "</title-group><contrib-group><contrib contrib-type=\"author\"><name><surname>Berg"
            "</surname><given-names>Anna</given-names></name></contrib><contrib "
            "contrib-type=\"editor\"><name><surname>Editor</surname><given-names>E</given-names>"
            "</name></contrib></contrib-group><pub-date><day>31</day><month>5</month><year>2024"
            "</year></pub-date><kwd-group><kwd>duck</kwd></kwd-group></article-meta></front><body>"
            "<p>Text.</p></body><back><ref-list><ref><name><surname>Other</surname></name></ref>"
            "</ref-list></back></article>"),
        &(struct said){"Birds", "Anna Berg", "duck", NULL, MAY_31, 0, 0});
    expect(xml_extract,
           STR("<feed><title>News</title><author><name>Anna Berg</name></author><updated>"
               "2024-05-31T12:00:00Z</updated><entry><title>One</title><author><name>Guest</name>"
               "</author><updated>2001-01-01</updated><summary>Text.</summary></entry></feed>"),
           &(struct said){"News", "Anna Berg", NULL, NULL, 0, MAY_31_NOON, 0});
}

/* Lists stay within their bound, each name once; what comes late is told at the end. */
static enum status keep_last(void *data, const Ex__Piece *piece, struct error *err)
{
    char *author = data;
    (void)err;
    if (piece->document != NULL) {
        (void)snprintf(author, 2000, "%s",
                       piece->document->author == NULL ? "" : piece->document->author);
    }
    return STATUS_OK;
}

static void test_bounds(void **state)
{
    static char author[2000];
    struct emitter e;
    struct error err = {0};
    (void)state;
    emit_init(&e, 1 << 20, keep_last, author);
    emit_document(&e, "txt", STR(""), STR(""), 0);
    emit_text(&e, EX__BLOCK__KIND__PARAGRAPH, 0, STR("Text."));
    emit_author(&e, STR("Anna \t Berg\n; ;anna berg"));
    assert_string_equal(author, "");
    assert_int_equal(emit_finish(&e, &err), STATUS_OK);
    assert_string_equal(author, "Anna Berg");
    for (int i = 0; i < 500; i++) {
        char name[32];
        int n = snprintf(name, sizeof name, "Author %d\x01\xFF", i);
        emit_author(&e, (struct str){name, (size_t)n});
    }
    assert_int_equal(emit_finish(&e, &err), STATUS_OK);
    assert_true(strlen(author) > 900 && strlen(author) <= 1000);
    emit_deinit(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dates), cmocka_unit_test(test_people), cmocka_unit_test(test_office),
        cmocka_unit_test(test_open),  cmocka_unit_test(test_book),   cmocka_unit_test(test_texts),
        cmocka_unit_test(test_xml),   cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
