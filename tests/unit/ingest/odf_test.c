/* OpenDocument texts, sheets and presentations, made here: what is read of them, and that whatever
 * is done to them ends with text or with a reason. */
#include "tests/unit/ingest/package.h"

/* clang-format off */
#define ODF_NS                                                                                     \
    "xmlns:office=\"urn:oasis:names:tc:opendocument:xmlns:office:1.0\" "                           \
    "xmlns:text=\"urn:oasis:names:tc:opendocument:xmlns:text:1.0\" "                               \
    "xmlns:table=\"urn:oasis:names:tc:opendocument:xmlns:table:1.0\" "                             \
    "xmlns:draw=\"urn:oasis:names:tc:opendocument:xmlns:drawing:1.0\" "                            \
    "xmlns:style=\"urn:oasis:names:tc:opendocument:xmlns:style:1.0\" "                             \
    "xmlns:presentation=\"urn:oasis:names:tc:opendocument:xmlns:presentation:1.0\" "               \
    "xmlns:dc=\"http://purl.org/dc/elements/1.1/\""
#define TP(text) "<text:p>" text "</text:p>"
#define META "<office:meta><dc:title>Ducks</dc:title><dc:language>en-GB</dc:language></office:meta>"
#define STYLES                                                                                     \
    "<office:styles>"                                                                              \
    "<style:style style:name=\"Kapitel\" style:parent-style-name=\"Heading_20_2\"/>"               \
    "<style:style style:name=\"Heading_20_2\" style:default-outline-level=\"2\"/>"                 \
    "</office:styles><office:master-styles><style:master-page><style:header>" TP("Every page")     \
    "</style:header>" TP("Click to add") "</style:master-page></office:master-styles>"
#define TEXT_BODY                                                                                  \
    "<office:body><office:text><text:tracked-changes><text:changed-region>" TP("deleted")          \
    "</text:changed-region></text:tracked-changes><text:h text:outline-level=\"1\">"               \
    "Birds</text:h><text:p text:style-name=\"Kapitel\">Ducks</text:p><text:p>"                     \
    "One<text:s text:c=\"2\"/>two\n   three<text:tab/>four<text:line-break/>five<text:note>"       \
    "<text:note-citation>1</text:note-citation><text:note-body>" TP("A footnote.")                 \
    "</text:note-body></text:note> six<office:annotation><dc:creator>Nobody</dc:creator>"          \
    TP("A comment.") "</office:annotation><draw:frame><draw:text-box>" TP("In a box")              \
    "</draw:text-box></draw:frame>.</text:p><text:list><text:list-item>" TP("item") "<text:list>"  \
    "<text:list-item>" TP("below") "</text:list-item></text:list></text:list-item></text:list>"    \
    "<table:table table:name=\"T\"><table:table-row><table:table-cell>" TP("a") TP("b")            \
    "</table:table-cell><table:table-cell><table:table><table:table-row><table:table-cell>"        \
    TP("inner") "</table:table-cell></table:table-row></table:table></table:table-cell>"           \
    "</table:table-row></table:table>" TP("") TP("The end.") "</office:text></office:body>"
/* clang-format on */
#define TEXT_READ                                                                                  \
    "H1 Birds\nF Every page\nH2 Ducks\nP One two three four\nfive six.\nN A footnote.\n"           \
    "N A comment.\nP In a box\nL item\nL below\nT a b | inner\nP The end.\n"

static void test_open_text(void **state)
{
    struct buf b;
    static const char *const parts[] = {
        "mimetype",   "application/vnd.oasis.opendocument.text",
        "meta.xml",   "<office:document-meta " ODF_NS ">" META "</office:document-meta>",
        "styles.xml", "<office:document-styles " ODF_NS ">" STYLES "</office:document-styles>",
        NULL};
    static const char flat[] = "<?xml version=\"1.0\"?><office:document " ODF_NS
                               ">" META STYLES TEXT_BODY "</office:document>";
    (void)state;
    make_with(parts, "content.xml",
              "<office:document-content " ODF_NS ">" TEXT_BODY "</office:document-content>", &b);
    expect(odf_extract, buf_view(&b), "Ducks", TEXT_READ);
    expect(odf_extract, STR(flat), "Ducks", TEXT_READ);
    harm(odf_extract, buf_view(&b));
    harm(odf_extract, (struct str){flat, sizeof flat - 1});
    buf_deinit(&b);
    attack(odf_extract, parts, "content.xml");
    static const char *const locked[] = {
        "META-INF/manifest.xml",
        "<m:manifest xmlns:m=\"m\"><m:file-entry><m:encryption-data/></m:file-entry></m:manifest>",
        "content.xml", "garbage", NULL};
    expect_refusal(odf_extract, locked, STATUS_UNSUPPORTED, "password");
}

#define LI(inside) "<text:list-item>" inside "</text:list-item>"

static void test_open_lists(void **state)
{
    /* clang-format off */
    static const char text[] =
        "<office:document " ODF_NS "><office:styles><text:outline-style><text:outline-level-style "
        "text:level=\"1\" style:num-format=\"I\" style:num-suffix=\".\"/>"
        "<text:outline-level-style text:level=\"2\" style:num-format=\"1\" "
        "text:display-levels=\"2\"/></text:outline-style><text:list-style style:name=\"N\">"
        "<text:list-level-style-number text:level=\"1\" style:num-format=\"1\" "
        "style:num-suffix=\")\"/><text:list-level-style-number text:level=\"2\" "
        "style:num-format=\"a\" style:num-prefix=\"(\" style:num-suffix=\")\"/></text:list-style>"
        "<text:list-style style:name=\"B\"><text:list-level-style-bullet text:level=\"1\"/>"
        "</text:list-style></office:styles><office:body><office:text>"
        "<text:h text:outline-level=\"1\">First</text:h><text:h text:outline-level=\"2\">"
        "Part</text:h><text:h text:outline-level=\"1\" text:is-list-header=\"true\">"
        "Not counted</text:h><text:list text:style-name=\"N\">"
        LI(TP("one") TP("more of it") "<text:list>" LI(TP("below")) LI(TP("again")) "</text:list>")
        LI(TP("two") "<text:list>" LI(TP("anew")) "</text:list>") "</text:list>"
        "<text:list text:style-name=\"N\">" LI(TP("restarted")) "</text:list>"
        "<text:list text:style-name=\"N\" text:continue-numbering=\"true\">" LI(TP("continued"))
        "</text:list><text:list text:style-name=\"B\">" LI(TP("dot")) "</text:list></office:text>"
        "</office:body></office:document>";
    /* clang-format on */
    (void)state;
    expect(odf_extract, STR(text), "",
           "H1 I. First\nH2 I.1 Part\nH1 Not counted\nL 1) one\nL more of it\nL (a) below\n"
           "L (b) again\nL 2) two\nL (a) anew\nL 1) restarted\nL 2) continued\nL dot\n");
    harm(odf_extract, (struct str){text, sizeof text - 1});
}

static void test_open_sheet(void **state)
{
    /* clang-format off */
    static const char sheet[] =
        "<office:document " ODF_NS "><office:body><office:spreadsheet>"
        "<table:table table:name=\"Empty\"><table:table-row><table:table-cell/></table:table-row>"
        "</table:table><table:table table:name=\"Counts\">"
        "<table:table-row table:number-rows-repeated=\"1048576\">"
        "<table:table-cell table:number-columns-repeated=\"16384\"/></table:table-row>"
        "<table:table-row><table:table-cell table:number-columns-repeated=\"2\"/>"
        "<table:table-cell>" TP("2024") "<office:annotation>" TP("A guess.") "</office:annotation>"
        "</table:table-cell><table:covered-table-cell/><table:table-cell>" TP("12 %")
        "</table:table-cell></table:table-row></table:table></office:spreadsheet></office:body>"
        "</office:document>";
    /* clang-format on */
    (void)state;
    expect(odf_extract, STR(sheet), "", "H1 Counts\nT  |  | 2024 |  | 12 %\nN A guess.\n");
    harm(odf_extract, (struct str){sheet, sizeof sheet - 1});
}

static void test_open_controls(void **state)
{
    /* clang-format off */
    static const char text[] =
        "<office:document " ODF_NS " xmlns:loext=\"urn:org:documentfoundation:names:loext\">"
        "<office:body><office:text><text:p>Signed <loext:content-control loext:checkbox=\"true\">"
        "by Ann</loext:content-control> today, page <text:page-number>1</text:page-number>"
        ".</text:p></office:text></office:body></office:document>";
    /* clang-format on */
    static const char slide[] =
        "<office:document " ODF_NS "><office:body><office:presentation><draw:page><draw:frame>"
        "<draw:text-box><text:p>Shown</text:p><text:p><text:page-number>&lt;number&gt;"
        "</text:page-number></text:p></draw:text-box></draw:frame></draw:page>"
        "</office:presentation></office:body></office:document>";
    (void)state;
    expect(odf_extract, STR(text), "", "P Signed by Ann today, page 1.\n");
    expect(odf_extract, STR(slide), "", "P Shown\n");
}

static void test_open_presentation(void **state)
{
    /* clang-format off */
    static const char slides[] =
        "<office:document " ODF_NS "><office:body><office:presentation><draw:page>"
        "<draw:frame presentation:class=\"title\"><draw:text-box>" TP("A slide") "</draw:text-box>"
        "</draw:frame><draw:frame><draw:text-box><text:list><text:list-item>" TP("point")
        "</text:list-item></text:list></draw:text-box></draw:frame><draw:custom-shape>" TP("shape")
        "</draw:custom-shape><presentation:notes><draw:frame presentation:class=\"notes\">"
        "<draw:text-box>" TP("Slowly.") "</draw:text-box></draw:frame></presentation:notes>"
        "</draw:page></office:presentation></office:body></office:document>";
    /* clang-format on */
    (void)state;
    expect(odf_extract, STR(slides), "", "H1 A slide\nL point\nP shape\nN Slowly.\n");
    harm(odf_extract, (struct str){slides, sizeof slides - 1});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open_text),         cmocka_unit_test(test_open_lists),
        cmocka_unit_test(test_open_sheet),        cmocka_unit_test(test_open_controls),
        cmocka_unit_test(test_open_presentation),
    };
    return cmocka_run_group_tests_name("odf", tests, NULL, NULL);
}
