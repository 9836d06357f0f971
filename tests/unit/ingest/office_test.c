/* Workbooks, presentations and Word files (Office Open XML), made here: what is read of them, and
 * that whatever is done to them ends with text or with a reason. */
#include "tests/unit/ingest/package.h"

#include "ingest/formats/numbering.h"
#include "ingest/formats/xlsx_format.h"

#define REL(id, type, target)                                                                      \
    "<Relationship Id=\"" id                                                                       \
    "\" Type=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships/" type          \
    "\" Target=\"" target "\"/>"
#define RELS(all)                                                                                  \
    "<Relationships xmlns=\"http://schemas.openxmlformats.org/package/2006/relationships\">" all   \
    "</Relationships>"
#define S_NS "xmlns=\"http://schemas.openxmlformats.org/spreadsheetml/2006/main\""
#define R_NS "xmlns:r=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships\""
#define A_NS "xmlns:a=\"http://schemas.openxmlformats.org/drawingml/2006/main\""
#define P_NS "xmlns:p=\"http://schemas.openxmlformats.org/presentationml/2006/main\""
#define CORE                                                                                       \
    "<cp:coreProperties xmlns:cp=\"c\" xmlns:dc=\"d\"><dc:title>The &amp; title</dc:title>"        \
    "</cp:coreProperties>"

/* ---- workbooks ---- */

/* clang-format off */
#define CHART                                                                                      \
    "<c:chartSpace xmlns:c=\"c\" " A_NS "><c:chart><c:title><c:tx><c:rich><a:p><a:r><a:t>"         \
    "Ducks </a:t></a:r><a:r><a:t>seen</a:t></a:r></a:p></c:rich></c:tx></c:title><c:ser><c:tx>"    \
    "<c:strRef><c:f>S!A1</c:f><c:strCache><c:pt idx=\"0\"><c:v>wild</c:v></c:pt></c:strCache>"     \
    "</c:strRef></c:tx><c:cat><c:strCache><c:pt idx=\"0\"><c:v>2019</c:v></c:pt><c:pt idx=\"2\">"  \
    "<c:v>2021</c:v></c:pt></c:strCache></c:cat><c:val><c:numCache><c:formatCode>"                 \
    "0</c:formatCode><c:pt idx=\"0\"><c:v>120</c:v></c:pt><c:pt idx=\"2\"><c:v>150</c:v></c:pt>"   \
    "<c:pt idx=\"99999\"><c:v>9</c:v></c:pt></c:numCache></c:val></c:ser></c:chart>"               \
    "</c:chartSpace>"

static const char *const workbook[] = {
    "docProps/core.xml",
        CORE,
    "xl/_rels/workbook.xml.rels",
        RELS(
            REL("r1", "worksheet", "worksheets/a.xml")
            REL("r2", "worksheet", "/xl/worksheets/b.xml")
            REL("r3", "sharedStrings", "strings.xml") REL("r4", "styles", "styles.xml")),
    "xl/strings.xml",
        "<sst " S_NS "><si><t>Year</t></si><si><r><t>Duc</t></r><r><t>ks_x000D_seen</t></r><rPh>"
        "<t>no</t></rPh></si><si><t>_x005F_x</t></si></sst>",
    "xl/styles.xml",
        "<styleSheet " S_NS "><numFmts><numFmt numFmtId=\"170\" formatCode=\"[$-F]dd/mm/yy;@\"/>"
        "</numFmts><cellStyleXfs><xf numFmtId=\"9\"/></cellStyleXfs><cellXfs><xf numFmtId=\"0\"/>"
        "<xf numFmtId=\"170\"/><xf numFmtId=\"10\"/><xf numFmtId=\"22\"/></cellXfs></styleSheet>",
    "xl/worksheets/a.xml",
        "<worksheet " S_NS "><sheetData><row><c r=\"A1\" t=\"s\"><v>0</v></c><c r=\"C1\" t=\"s\">"
        "<v>1</v></c></row><row/><row><c r=\"A3\" s=\"1\"><v>45351</v></c><c r=\"B3\" s=\"2\"><v>"
        "0.125</v></c><c r=\"C3\" s=\"3\"><v>1.5</v></c><c r=\"D3\"><f>1+1</f><v>"
        "0.30000000000000004</v></c><c r=\"E3\" t=\"b\"><v>1</v></c><c r=\"F3\" t=\"e\"><v>"
        "#N/A</v></c><c r=\"G3\" t=\"inlineStr\"><is><t>in line</t></is></c><c r=\"H3\" t=\"s\">"
        "<v>99</v></c></row><row><c t=\"s\"><v>2</v></c><c r=\"XFD4\"><v>7</v></c></row>"
        "</sheetData></worksheet>",
    "xl/worksheets/_rels/a.xml.rels",
        RELS(REL("r1", "comments", "../comments1.xml") REL("r2", "drawing", "../drawings/d.xml")),
    "xl/comments1.xml",
        "<comments " S_NS "><authors><author>Nobody</author></authors><commentList>"
        "<comment ref=\"C1\"><text><r><t>Counted </t></r><r><t>twice.</t></r></text></comment>"
        "</commentList></comments>",
    "xl/drawings/d.xml",
        "<xdr:wsDr xmlns:xdr=\"x\" " A_NS "><xdr:sp><xdr:txBody><a:p><a:r><a:t>In a box</a:t>"
        "</a:r></a:p></xdr:txBody></xdr:sp></xdr:wsDr>",
    "xl/drawings/_rels/d.xml.rels",
        RELS(REL("r1", "chart", "../charts/c.xml")),
    "xl/charts/c.xml",
        CHART,
    "xl/worksheets/b.xml",
        "<worksheet " S_NS "><sheetData/></worksheet>",
    NULL,
};
/* clang-format on */

static const char book[] =
    "<workbook " S_NS " " R_NS "><sheets><sheet name=\"Counts\" sheetId=\"1\" r:id=\"r1\"/>"
    "<sheet name=\"Empty\" sheetId=\"2\" r:id=\"r2\"/><sheet name=\"Lost\" r:id=\"r9\"/></sheets>"
    "</workbook>";

static void test_workbook(void **state)
{
    struct buf b;
    struct buf row;
    (void)state;
    make_with(workbook, "xl/workbook.xml", book, &b);
    buf_init(&row, 4096);
    buf_z(&row, "H1 Counts\nT Year |  | Ducks seen\n"
                "T 2024-02-29 | 12.5% | 1900-01-01 12:00 | 0.3 | TRUE | #N/A | in line\nT _x");
    for (size_t i = 0; i < 65; i++) { /* the gap is bounded */
        buf_z(&row, " | ");
    }
    buf_z(&row,
          "7\nN C1: Counted twice.\nP In a box\nK Ducks seen\nT  | wild\nT 2019 | 120\nT 2021 "
          "| 150\n");
    expect(xlsx_extract, buf_view(&b), "The & title", row.ptr);
    harm(xlsx_extract, buf_view(&b));
    buf_deinit(&row);
    buf_deinit(&b);
    attack(xlsx_extract, workbook, "xl/workbook.xml");
}

static void shows(const char *value, const char *code, const char *expected)
{
    struct buf b;
    buf_init(&b, 256);
    xlsx_show(&b, str_from(value), xlsx_custom_format(str_from(code)), false);
    buf_char(&b, '\0');
    assert_string_equal(b.ptr, expected);
    buf_deinit(&b);
}

static void test_number_formats(void **state)
{
    (void)state;
    shows("45351", "yyyy-mm-dd", "2024-02-29");
    shows("1", "dd.mm.yyyy", "1900-01-01");
    shows("59", "d/m/yy", "1900-02-28");
    shows("61", "d/m/yy", "1900-03-01");
    shows("45351.5", "yyyy-mm-dd hh:mm", "2024-02-29 12:00");
    shows("45351.9999999", "yyyy hh:mm", "2024-03-01 00:00");
    shows("0.75", "h:mm AM/PM", "18:00");
    shows("1.25", "[h]:mm:ss", "30:00");
    shows("0.07", "0.00%", "7%");
    shows("12", "\"day\" 0", "12");
    shows("12", "[Red]0;[Blue]-0", "12");
    shows("45351", "mmm", "2024-02-29");
    shows("-5", "yyyy", "-5");
    shows("1e300", "yyyy", "1e+300");
    shows("nan", "0", "nan");
    shows("12x", "0", "12x");
    shows("", "0", "");
    assert_int_equal(xlsx_builtin_format(14), XLSX_DATE);
    assert_int_equal(xlsx_builtin_format(46), XLSX_ELAPSED);
    struct buf b;
    buf_init(&b, 64);
    xlsx_show(&b, STR("0"), XLSX_DATE, true);
    assert_true(str_eq(buf_view(&b), STR("1904-01-01")));
    buf_deinit(&b);
}

/* ---- presentations ---- */

/* clang-format off */
#define AP(text) "<a:p><a:r><a:t>" text "</a:t></a:r></a:p>"
#define SP(ph, paragraphs)                                                                         \
    "<p:sp><p:nvSpPr><p:nvPr>" ph "</p:nvPr></p:nvSpPr><p:txBody>" paragraphs "</p:txBody></p:sp>"

static const char *const presentation[] = {
    "docProps/core.xml",
        CORE,
    "ppt/_rels/presentation.xml.rels",
        RELS(REL("r1", "slide", "slides/one.xml") REL("r2", "slide", "slides/two.xml")),
    "ppt/slides/two.xml",
        "<p:sld " P_NS " " A_NS "><p:cSld><p:spTree>"
        SP("<p:ph type=\"body\"/>",
            "<a:p><a:pPr lvl=\"0\"><a:buAutoNum type=\"romanUcPeriod\" startAt=\"3\"/></a:pPr>"
            "<a:r><a:t>third</a:t></a:r></a:p><a:p><a:pPr lvl=\"1\">"
            "<a:buAutoNum type=\"alphaLcParenBoth\"/></a:pPr><a:r><a:t>below</a:t></a:r></a:p>"
            "<a:p><a:pPr><a:buAutoNum type=\"romanUcPeriod\" startAt=\"3\"/></a:pPr><a:r><a:t>"
            "fourth</a:t></a:r></a:p>" AP("First point") "<a:p><a:pPr><a:buNone/></a:pPr><a:r>"
            "<a:t>No point</a:t></a:r></a:p>")
        SP("<p:ph type=\"title\"/>", AP("Second slide")) SP("<p:ph type=\"sldNum\"/>", AP("2"))
        SP("",
            "<a:p><a:r><a:t>A box</a:t></a:r><a:br/><a:fld><a:t>of two lines</a:t></a:fld></a:p>")
        "<p:graphicFrame><a:tbl><a:tr><a:tc>" AP("a") AP("b") "</a:tc><a:tc>" AP("c") "</a:tc>"
        "</a:tr><a:tr><a:tc/><a:tc/></a:tr></a:tbl></p:graphicFrame></p:spTree></p:cSld></p:sld>",
    "ppt/slides/_rels/two.xml.rels",
        RELS(
            REL("r1", "notesSlide", "../notes/n.xml") REL("r2", "comments", "../comments/c.xml")
            REL("r3", "diagramData", "../diagrams/d.xml") REL("r4", "slideLayout", "../l.xml")),
    "ppt/notes/n.xml",
        "<p:notes " P_NS " " A_NS ">" SP("<p:ph type=\"sldImg\"/>", "")
        SP("<p:ph type=\"body\"/>", AP("Say it slowly.")) SP("<p:ph type=\"sldNum\"/>", AP("2"))
        "</p:notes>",
    "ppt/comments/c.xml",
        "<p:cmLst " P_NS "><p:cm><p:pos/><p:text>Is that so?</p:text></p:cm></p:cmLst>",
    "ppt/diagrams/d.xml",
        "<d:dataModel xmlns:d=\"http://schemas.openxmlformats.org/drawingml/2006/diagram\" " A_NS
        "><d:ptLst><d:pt><d:t>" AP("In a diagram") "</d:t></d:pt></d:ptLst></d:dataModel>",
    "ppt/l.xml",
        "<p:sldLayout " P_NS " " A_NS ">" SP("", AP("Click here")) "</p:sldLayout>",
    "ppt/slides/one.xml",
        "<p:sld " P_NS " " A_NS ">" SP("<p:ph type=\"ctrTitle\"/>", AP("First slide")) "</p:sld>",
    NULL,
};
/* clang-format on */

static const char show[] = "<p:presentation " P_NS " " R_NS "><p:sldIdLst><p:sldId id=\"9\" "
                           "r:id=\"r1\"/><p:sldId id=\"3\" r:id=\"r2\"/><p:sldId id=\"4\" "
                           "r:id=\"none\"/></p:sldIdLst></p:presentation>";

static void test_presentation(void **state)
{
    struct buf b;
    struct collected c;
    struct error err = {0};
    (void)state;
    make_with(presentation, "ppt/presentation.xml", show, &b);
    expect(pptx_extract, buf_view(&b), "The & title",
           "H1 First slide\nH1 Second slide\nL III. third\nL (a) below\nL IV. fourth\nL First "
           "point\nP No point\n"
           "P A box\nof two lines\nT a b | c\nP In a diagram\nN Say it slowly.\n"
           "N Is that so?\nF 2\n");
    collected_init(&c);
    assert_int_equal(collect(pptx_extract, buf_view(&b), NULL, &c, &err), STATUS_OK);
    assert_int_equal(c.pages, 3);
    assert_int_equal(c.blocks[0]->page, 1);
    assert_int_equal(c.blocks[1]->page, 2);
    assert_int_equal(c.blocks[0]->unit, 1);
    assert_int_equal(c.blocks[1]->unit, 2);
    assert_int_equal(c.blocks[c.n - 1]->unit, 2);
    assert_int_equal(c.blocks[1]->unit_kind, EX__BLOCK__UNIT__SLIDE);
    collected_deinit(&c);
    harm(pptx_extract, buf_view(&b));
    buf_deinit(&b);
    attack(pptx_extract, presentation, "ppt/presentation.xml");
}

/* ---- Word ---- */

/* clang-format off */
#define W(text) "<w:p><w:r><w:t>" text "</w:t></w:r></w:p>"
#define ITEM(level, list, text)                                                                    \
    "<w:p><w:pPr><w:numPr><w:ilvl w:val=\"" level "\"/><w:numId w:val=\"" list                     \
    "\"/></w:numPr></w:pPr><w:r><w:t>" text "</w:t></w:r></w:p>"
#define LEVEL(n, format, text)                                                                     \
    "<w:lvl w:ilvl=\"" n "\"><w:start w:val=\"1\"/><w:numFmt w:val=\"" format                      \
    "\"/><w:lvlText w:val=\"" text "\"/></w:lvl>"

static const char *const word[] = {
    "_rels/.rels",
        RELS(REL("r1", "officeDocument", "word/document2.xml")),
    "word/_rels/document2.xml.rels",
        RELS(
            REL("r1", "styles", "s.xml") REL("r2", "numbering", "n.xml")
            REL("r3", "header", "h1.xml") REL("r4", "comments", "c.xml")
            REL("r5", "footer", "f1.xml")),
    "word/s.xml",
        "<w:styles xmlns:w=\"w\"><w:style w:styleId=\"H1\"><w:name w:val=\"heading 1\"/><w:pPr>"
        "<w:numPr><w:numId w:val=\"1\"/></w:numPr></w:pPr></w:style><w:style w:styleId=\"H2\">"
        "<w:name w:val=\"heading 2\"/><w:basedOn w:val=\"H1\"/><w:pPr><w:numPr>"
        "<w:ilvl w:val=\"1\"/></w:numPr></w:pPr></w:style></w:styles>",
    "word/n.xml",
        "<w:numbering xmlns:w=\"w\"><w:abstractNum w:abstractNumId=\"7\">"
        LEVEL("0", "upperRoman", "Article %1:") LEVEL("1", "decimal", "%1.%2") "</w:abstractNum>"
        "<w:abstractNum w:abstractNumId=\"8\">" LEVEL("0", "decimal", "%1.")
        LEVEL("1", "lowerLetter", "%2)") LEVEL("2", "bullet", "o") "</w:abstractNum>"
        "<w:num w:numId=\"1\"><w:abstractNumId w:val=\"7\"/></w:num><w:num w:numId=\"2\">"
        "<w:abstractNumId w:val=\"8\"/></w:num><w:num w:numId=\"3\">"
        "<w:abstractNumId w:val=\"8\"/><w:lvlOverride w:ilvl=\"0\"><w:startOverride w:val=\"1\"/>"
        "</w:lvlOverride></w:num></w:numbering>",
    "word/h1.xml",
        "<w:hdr xmlns:w=\"w\">" W("Confidential") "</w:hdr>",
    "word/f1.xml",
        "<w:ftr xmlns:w=\"w\">" W("Page") "</w:ftr>",
    "word/c.xml",
        "<w:comments xmlns:w=\"w\"><w:comment w:author=\"Nobody\">" W("Is that so?")
        "</w:comment></w:comments>",
    NULL,
};

static const char word_body[] =
    "<w:document xmlns:w=\"w\" xmlns:mc=\"m\"><w:body><w:p><w:pPr><w:pStyle w:val=\"H1\"/></w:pPr>"
    "<w:r><w:t>Scope</w:t></w:r></w:p><w:p><w:pPr><w:pStyle w:val=\"H1\"/></w:pPr><w:r><w:t>"
    "Terms</w:t></w:r></w:p><w:p><w:pPr><w:pStyle w:val=\"H2\"/></w:pPr><w:r><w:t>Price</w:t>"
    "</w:r></w:p>" ITEM("0", "2", "one") ITEM("1", "2", "below") ITEM("1", "2", "again")
    ITEM("2", "2", "dot") ITEM("0", "2", "two") ITEM("1", "2", "anew") ITEM("0", "3", "restarted")
    ITEM("0", "0", "none") "<w:p><w:r><w:t>Before </w:t></w:r><w:r><mc:AlternateContent>"
    "<mc:Choice><w:txbxContent>" W("In a box") "</w:txbxContent></mc:Choice><mc:Fallback>"
    W("In a box") "</mc:Fallback></mc:AlternateContent></w:r><w:moveFrom><w:r><w:t>away</w:t>"
    "</w:r></w:moveFrom><w:ins><w:r><w:t>after.</w:t></w:r></w:ins></w:p><w:tbl><w:tr><w:tc>"
    ITEM("0", "3", "cell") "</w:tc></w:tr><w:tr><w:trPr><w:del/></w:trPr><w:tc>" W("gone")
    "</w:tc></w:tr><w:tr><w:trPr><w:ins/></w:trPr><w:tc>" W("new") "</w:tc></w:tr></w:tbl>"
    "</w:body></w:document>";
/* clang-format on */

static void test_word(void **state)
{
    struct buf b;
    (void)state;
    make_with(word, "word/document2.xml", word_body, &b);
    expect(docx_extract, buf_view(&b), "Article I: Scope",
           "H1 Article I: Scope\nH1 Article II: Terms\nH2 II.1 Price\nL 1. one\nL a) below\n"
           "L b) again\nL dot\nL 2. two\nL a) anew\nL 1. restarted\nP none\n"
           "P Before after.\nP In a box\nT 2. cell\nT new\nN Is that so?\nF Confidential\n"
           "F Page\n");
    harm(docx_extract, buf_view(&b));
    buf_deinit(&b);
    attack(docx_extract, word, "word/document2.xml");
}

static void writes(uint32_t v, const char *format, const char *expected)
{
    struct buf b;
    buf_init(&b, 64);
    numbering_write(&b, v, numbering_format_of(str_from(format)));
    assert_true(str_eq(buf_view(&b), str_from(expected)));
    buf_deinit(&b);
}

static void test_numbers(void **state)
{
    (void)state;
    writes(12, "decimal", "12");
    writes(7, "decimalZero", "07");
    writes(26, "lowerLetter", "z");
    writes(28, "upperLetter", "BB");
    writes(1000000, "lowerLetter", "1000000");
    writes(1994, "lowerRoman", "mcmxciv");
    writes(4, "upperRoman", "IV");
    writes(0, "upperRoman", "0");
    writes(5000, "upperRoman", "5000");
    writes(3, "bullet", "");
    writes(3, "cardinalText", "3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_workbook),     cmocka_unit_test(test_number_formats),
        cmocka_unit_test(test_presentation), cmocka_unit_test(test_word),
        cmocka_unit_test(test_numbers),
    };
    return cmocka_run_group_tests_name("office", tests, NULL, NULL);
}
