/* The formats that are text: what honest files give, what damaged ones do not. */
#include "tests/unit/test.h"

#include "tests/unit/ingest/damage.h"

static void fill(struct buf *b, const char *unit, size_t n)
{
    buf_init(b, (size_t)256 << 20);
    for (size_t i = 0; i < n; i++) {
        buf_z(b, unit);
    }
}

/* ---- plain text ---- */

static void test_struck_twice(void **state)
{
    (void)state;
    expect(text_extract,
           STR("N\bNA\bAM\bME\bE\n  _\bi_\bt, word\b\b\b\b____ and \u00E9\b\u00E9t\u00E9\b\n"), "",
           "P NAME\n  it, word and \u00E9t\u00E9\n");
}

static void test_encodings(void **state)
{
    (void)state;
    /* kana in Shift_JIS: many pairs of bytes happen to be UTF-8 */
    expect(
        text_extract,
        STR("\x8C\x5F\x96\xF1\x8F\x91\x82\xCC\x93\xE0\x97\x65\x82\xC9\x82\xC2\x82\xA2\x82\xC4\x81"
            "\x41\x8D\x62\x82\xC6\x89\xB3\x82\xCD\x88\xC8\x89\xBA\x82\xCC\x92\xCA\x82\xE8\n"),
        "",
        "P "
        "\u5951\u7D04\u66F8\u306E\u5185\u5BB9\u306B\u3064\u3044\u3066\u3001\u7532\u3068\u4E59\u306F"
        "\u4EE5\u4E0B\u306E\u901A\u308A\n");
    /* Czech of Windows is no ISO 8859-2, which has control codes where these letters are */
    expect(text_extract,
           STR("Smlouva byla uzav\xF8"
               "ena mezi stranami v Brn\xEC. P\xF8\xEDli\x9A \x9Elu\x9Dou\xE8k\xFD "
               "k\xF9\xF2 \xFAp\xECl \xEF\xE1"
               "belsk\xE9 \xF3"
               "dy.\n"),
           "",
           "P Smlouva byla uzav\u0159ena mezi stranami v Brn\u011B. P\u0159\u00EDli\u0161 "
           "\u017Elu\u0165ou\u010Dk\u00FD k\u016F\u0148 \u00FAp\u011Bl \u010F\u00E1"
           "belsk\u00E9 "
           "\u00F3"
           "dy.\n");
}

/* ---- csv ---- */

/* Of a table's rows those that name the columns say so. */
static void header_rows(enum status (*extract)(const struct extract_input *in, struct emitter *e,
                                               struct error *err),
                        const char *text, const char *levels)
{
    struct collected c;
    struct error err = {0};
    size_t n = 0;
    collected_init(&c);
    assert_int_equal(collect(extract, str_from(text), NULL, &c, &err), STATUS_OK);
    for (size_t i = 0; i < c.n; i++) {
        if (c.blocks[i]->kind == EX__BLOCK__KIND__TABLE_ROW) {
            assert_true(levels[n] != '\0');
            assert_int_equal(c.blocks[i]->level, levels[n++] - '0');
        }
    }
    assert_int_equal(levels[n], '\0');
    collected_deinit(&c);
}

static void test_header_rows(void **state)
{
    (void)state;
    header_rows(markdown_extract, "| a | b |\n|---|---|\n| c | d |\n| e | f |\n", "100");
    header_rows(html_extract, "<p>Text.<table><tr><th>a<th>b<tr><th>c<td>d<tr><td>e<td>f</table>",
                "100");
}

static void test_csv(void **state)
{
    (void)state;
    expect(csv_extract, STR("name,city,age\r\n\"Ann, Dr.\",\"Bonn\r\nam Rhein\",41\r\nBo,,7\r\n"),
           "", "T name: Ann, Dr. | city: Bonn am Rhein | age: 41\nT name: Bo | age: 7\n");
    expect(csv_extract, STR("a;b\n1,5;\"say \"\"ha\"\" to\"\n2;x\n"), "",
           "T a: 1,5 | b: say \"ha\" to\nT a: 2 | b: x\n");
    expect(csv_extract, STR("Staff of 2024\n\nname\tage\nAnn\t4\n"), "",
           "P Staff of 2024\nT name: Ann | age: 4\n");
    expect(csv_extract, STR("sep=;\r\na;b\r\n1,5;2,5\r\n"), "", "T a: 1,5 | b: 2,5\n");
    expect(csv_extract, STR("1,2\n3,4\n"), "", "T 1 | 2\nT 3 | 4\n");
    expect(csv_extract, STR("one\ntwo\n"), "", "T one\nT two\n");
    expect(csv_extract, STR("a,b\nx,\"never closed\ny,z\n"), "",
           "T a: x | b: \"never closed\nT a: y | b: z\n");
    expect(csv_extract, STR("\xFF\xFEn\0,\0m\0\n\0x\0,\0\xE9\0\n\0"), "", "T n: x | m: \u00E9\n");
    expect(csv_extract, STR("only,names\n"), "", "T only\nT names\n");
    expect_failure(csv_extract, STR(" , ,\n,,\n"), STATUS_INVALID, "no text");
}

static void test_hostile_csv(void **state)
{
    struct buf b;
    (void)state;
    damage(csv_extract,
           STR("name,city,age\r\n\"Ann, Dr.\",\"Bo\"\"nn\r\nam Rhein\",41\r\nBo,,7\r\n"));
    fill(&b, "\"", 2000000); /* marks that close nothing */
    survive(csv_extract, buf_view(&b));
    buf_deinit(&b);
    fill(&b, "x\",\"y", 400000);
    survive(csv_extract, buf_view(&b));
    buf_deinit(&b);
    fill(&b, "c,", 1000000); /* a record of a million fields */
    survive(csv_extract, buf_view(&b));
    buf_deinit(&b);
}

/* ---- json ---- */

static void test_json(void **state)
{
    (void)state;
    expect(
        json_extract,
        STR("{\"name\":\"Carrel\",\"id\":12345678901234567890,\"ok\":true,\"none\":null,"
            "\"limits\":{\"max\":1.10,\"deep\":{\"x\":\"y\"}},\"tags\":[\"a\",\"b\"],"
            "\"people\":[{\"n\":\"Ann\",\"at\":{\"city\":\"Bonn\"},\"k\":[1,2]},{\"n\":\"Bo\"}]}"),
        "",
        "P name: Carrel\nid: 12345678901234567890\nok: true\n"
        "H1 limits\nP max: 1.10\nH2 deep\nP x: y\n"
        "H1 tags\nL a\nL b\n"
        "H1 people\nT n: Ann | at.city: Bonn | k: 1 | k: 2\nT n: Bo\n");
    expect(json_extract,
           STR("{\"a\":1}\n{\"a\":{\"b\":2}}\n\n{\"a\":\"\\u00e9\\ud83d\\ude00\\n!\"}\n"), "",
           "T a: 1\nT a.b: 2\nT a: \u00E9\U0001F600 !\n");
    expect(json_extract, STR("[]\n[1,[2,[\"x\"]]]"), "", "L 1\nL 2\nL x\n");
    /* what is none is text */
    expect(json_extract, STR("{\"a\":1,\nand then it breaks"), "",
           "P {\"a\":1,\nand then it breaks\n");
    expect_failure(json_extract, STR("{\"a\":null,\"b\":[]}"), STATUS_INVALID, "no text");
}

static void test_hostile_json(void **state)
{
    struct buf b;
    (void)state;
    damage(json_extract,
           STR("{\"name\":\"C\\u00e9\",\"l\":{\"m\":1.1e5},\"p\":[{\"n\":\"A\"},{\"n\":[1]}]}"));
    fill(&b, "[", 1000000);
    survive(json_extract, buf_view(&b));
    buf_deinit(&b);
    fill(&b, "{\"key\":", 1000000);
    survive(json_extract, buf_view(&b));
    buf_deinit(&b);
    fill(&b, "{\"a\":[{\"b\":1}]}", 200000);
    survive(json_extract, buf_view(&b));
    buf_deinit(&b);
}

/* ---- mail ---- */

#define MAIL                                                                                       \
    "From: =?utf-8?Q?Anna_M=C3=BCller?= <anna@example.org>\r\n"                                    \
    "To: Bo\r\n <bo@example.org>\r\n"                                                              \
    "Subject: =?iso-8859-1?B?TeRy?= =?iso-8859-1?Q?z?= plan\r\n"                                   \
    "MIME-Version: 1.0\r\n"                                                                        \
    "Content-Type: multipart/mixed; boundary=\"outer=\"\r\n\r\n"                                   \
    "preamble\r\n--outer=\r\n"                                                                     \
    "Content-Type: multipart/alternative; boundary=inner\r\n\r\n"                                  \
    "--inner\r\nContent-Type: text/plain; charset=utf-8\r\n"                                       \
    "Content-Transfer-Encoding: quoted-printable\r\n\r\n"                                          \
    "Gr=C3=BC=\r\n=C3=9Fe.\r\n\r\n> What was said\r\n> before.\r\nAnd an answer.\r\n"              \
    "--inner\r\nContent-Type: text/html\r\n\r\n<p>not this one</p>\r\n--inner--\r\n"               \
    "--outer=\r\nContent-Type: application/pdf; name=\"x.pdf\"\r\n"                                \
    "Content-Disposition: attachment; filename*=UTF-8''M%C3%A4rz.pdf\r\n"                          \
    "Content-Transfer-Encoding: base64\r\n\r\nJVBERi0=\r\n"                                        \
    "--outer=\r\nContent-Type: message/rfc822\r\n\r\nSubject: Within\r\n\r\nDeep words.\r\n"       \
    "--outer=--\r\nepilogue\r\n"

static void test_mail(void **state)
{
    (void)state;
    expect(eml_extract, STR(MAIL), "M\u00E4rz plan",
           "H1 M\u00E4rz plan\n"
           "P From: Anna M\u00FCller <anna@example.org>\nTo: Bo <bo@example.org>\n"
           "P Gr\u00FC\u00DF"
           "e.\nQ What was said\nbefore.\nP And an answer.\n"
           "K Attachment: M\u00E4rz.pdf\nH3 Within\nP Deep words.\n");
    expect(eml_extract,
           STR("Subject: flowing\nContent-Type: text/plain; format=flowed\n\nOne \nline.\n\nTwo\n"),
           "flowing", "H1 flowing\nP One line.\nP Two\n");
    expect(eml_extract,
           STR("Subject: page\nContent-Type: text/html; charset=iso-8859-1\n"
               "Content-Transfer-Encoding: base64\n\nPGgxPkjpbGxvPC9oMT48cD5ieWU8L3A+\n"),
           "page", "H1 page\nH1 H\u00E9llo\nP bye\n");
    expect(
        mbox_extract,
        STR("From a@b Mon\nSubject: one\n\nFirst.\nFrom here it goes on.\n\nFrom c@d Tue\nSubject: "
            "two\n\nSecond.\n"),
        "", "H1 one\nP First.\nFrom here it goes on.\nH1 two\nP Second.\n");
    expect_failure(eml_extract, STR("hello\nworld\n"), STATUS_INVALID, "header of a mail");
    expect_failure(mbox_extract, STR("hello\nworld\n"), STATUS_INVALID, "header of a mail");
}

static void test_hostile_mail(void **state)
{
    struct buf b;
    (void)state;
    damage(eml_extract, STR(MAIL));
    damage(mbox_extract, STR("From a@b Mon\n" MAIL "\nFrom c@d Tue\nSubject: two\n\nSecond.\n"));
    buf_init(&b, (size_t)64 << 20);
    for (int i = 0; i < 3000; i++) { /* ever deeper, each with its own boundary */
        char part[128];
        (void)snprintf(part, sizeof part,
                       "Subject: x\nContent-Type: multipart/mixed; boundary=b%d\n\n--b%d\n", i, i);
        buf_z(&b, part);
    }
    survive(eml_extract, buf_view(&b));
    buf_deinit(&b);
    fill(&b, "Content-Type: message/rfc822\n\n", 100000);
    survive(eml_extract, buf_view(&b));
    buf_deinit(&b);
    fill(&b, "Subject: =?utf-8?Q?", 100000);
    survive(eml_extract, buf_view(&b));
    buf_deinit(&b);
    buf_init(&b, (size_t)64 << 20);
    buf_z(&b, "Subject: many\nContent-Type: multipart/mixed; boundary=b\n\n");
    for (int i = 0; i < 200000; i++) {
        buf_z(&b, "--b\n\nword\n");
    }
    survive(eml_extract, buf_view(&b));
    buf_deinit(&b);
}

/* ---- rtf ---- */

#define RTF                                                                                        \
    "{\\rtf1\\ansi\\ansicpg1250\\deff0\\uc1{\\fonttbl{\\f0\\fcharset238 "                          \
    "Arial;}{\\f1\\fcharset128 "                                                                   \
    "Mincho;}}{\\colortbl;\\red0;}{\\stylesheet{\\s0 Normal;}{\\s3\\b heading 2;}}"                \
    "{\\info{\\title The title}{\\author Nobody}}{\\header top of page\\par}"                      \
    "\\pard\\s3 A head\\par\\pard\\s0 Za\\'bf\\'f3\\'b3\\u263?w {\\f1 \\'93\\'fa\\'96\\'7b} "      \
    "\\emdash{\\v hidden}{\\*\\unknown gone} end{\\footnote A note.}.\\par"                        \
    "{\\pard{\\listtext 1.\\tab}\\ls1 An item\\par}"                                               \
    "\\trowd\\cellx1\\cellx2\\pard\\intbl one\\par two\\cell three\\cell\\row\\pard "              \
    "{\\field{\\*\\fldinst HYPERLINK \"http://x.org\"}{\\fldrslt Site}}\\line \\u-10179?\\u-8704?" \
    "{\\pict\\bin3 }}x}\\par}"

static void test_rtf(void **state)
{
    (void)state;
    expect(rtf_extract, STR(RTF), "The title",
           "F top of page\nH2 A head\nP Za\u017C\u00F3\u0142\u0107w \u65E5\u672C \u2014 end.\n"
           "N A note.\nL An item\nT one two | three\nP Site (http://x.org)\n\U0001F600\n");
    expect(rtf_extract, STR("{\\rtf1 plain words"), "", "P plain words\n");
    expect_failure(rtf_extract, STR("no rtf"), STATUS_INVALID, "does not begin");
    expect_failure(rtf_extract, STR("{\\rtf1 {\\*\\x only hidden}}"), STATUS_INVALID, "no text");
}

static void test_hostile_rtf(void **state)
{
    struct buf b;
    (void)state;
    damage(rtf_extract, STR(RTF));
    fill(&b, "{", 100000);
    memcpy(b.ptr, "{\\rtf1 ", 7);
    expect_failure(rtf_extract, buf_view(&b), STATUS_INVALID, "nested deeper");
    buf_deinit(&b);
    fill(&b, "{\\rtf1 a\\bin999999999 \\u99999 \\'f\\f9999999 \\s-5 \\fcharset128 \\ansicpg99999}",
         9);
    survive(rtf_extract, buf_view(&b));
    buf_deinit(&b);
    fill(&b, "{\\rtf1\\cell ", 10000);
    survive(rtf_extract, buf_view(&b));
    buf_deinit(&b);
}

/* ---- xml ---- */

#define JATS                                                                                       \
    "<?xml version=\"1.0\"?><!DOCTYPE article PUBLIC \"-//NLM\" \"nowhere.dtd\"><article>"         \
    "<front><article-title>On <i>birds</i></article-title></front><body><sec><title>One</title>"   \
    "<p><b>Bold</b> at first, CO<sub>2</sub>, and <unknown>more</unknown>&nbsp;here.</p>"          \
    "<list><list-item><p>item</p></list-item></list>"                                              \
    "<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td><b>2</b></td></tr></table>"             \
    "<sec><title>Two</title><p>x &lt; y<![CDATA[ & "                                               \
    "z]]></p><fn><p>noted</p></fn></sec></sec></body></article>"

static void test_xml(void **state)
{
    (void)state;
    expect(
        xml_extract, STR(JATS), "On birds",
        "H1 On birds\nH2 One\nP Bold at first, CO2, and more \u00A0here.\nP item\nT a | b\nT 1 | "
        "2\nH3 Two\nP x < y & z\nP noted\n");
    expect(xml_extract,
           STR("<people at='now'><person id='1' born='1950'><name>Ann</name><home><city>Bonn</city>"
               "</home></person><person><name>Bo</name></person></people>"),
           "", "T people.at: now\nT person.born: 1950 | name: Ann | home.city: Bonn\nT name: Bo\n");
    expect(xml_extract,
           STR("<rss><channel><item><title>News</title><description>&lt;p&gt;One "
               "&lt;b&gt;two&lt;/b&gt;&lt;/p&gt;</description></item></channel></rss>"),
           "News", "H1 News\nP One two\n");
    expect(xml_extract, STR("\xFF\xFE<\0a\0>\0\xE9\0<\0/\0a\0>\0"), "", "T a: \u00E9\n");
    expect_failure(xml_extract, STR("no xml"), STATUS_INVALID, "no text");
    expect_failure(
        xml_extract,
        STR("<!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;\">]><x>&b;</x>"),
        STATUS_INVALID, "no text");
    expect_failure(xml_extract, STR("<!DOCTYPE x [<!ENTITY a SYSTEM \"/etc/passwd\">]><x>&a;</x>"),
                   STATUS_INVALID, "no text");
}

static void test_hostile_xml(void **state)
{
    struct buf b;
    (void)state;
    damage(xml_extract, STR(JATS));
    fill(&b, "<a>", 500000);
    survive(xml_extract, buf_view(&b));
    buf_deinit(&b);
    fill(&b, "<a b='c'>x<b/>", 200000);
    survive(xml_extract, buf_view(&b));
    buf_deinit(&b);
    buf_init(&b, (size_t)16 << 20);
    buf_z(&b, "<p");
    for (unsigned i = 0; i < 500000; i++) { /* each would be compared with all before it */
        buf_printf(&b, " a%u='1'", i);
    }
    buf_z(&b, ">text</p>");
    expect_failure(xml_extract, buf_view(&b), STATUS_INVALID, "more attributes");
    buf_deinit(&b);
}

/* ---- code ---- */

#define SOURCE                                                                                     \
    "/* What it does. */\n#include <stdio.h>\n\nstatic int a;\n\n/* Adds. */\nint add(int x)\n{\n" \
    "    return x + a;\n}\n\nint sub(int x)\n{\n    return x - a;\n}\n"

static void test_code(void **state)
{
    (void)state;
    expect(code_extract, STR(SOURCE), "",
           "H1 static int a;\n"
           "C /* What it does. */\n#include <stdio.h>\n\nstatic int a;\n"
           "H1 int add(int x)\nC /* Adds. */\nint add(int x)\n{\n    return x + a;\n}\n"
           "H1 int sub(int x)\nC int sub(int x)\n{\n    return x - a;\n}\n");
    expect(code_extract, STR("int f()\n{\n}\n# one\n@x(1)\n@y(2)\ndef g():\n    pass\n"), "",
           "H1 int f()\nC int f()\n{\n}\nH1 def g():\nC # one\n@x(1)\n@y(2)\ndef g():\n    "
           "pass\n");
    expect(
        code_extract,
        STR("import os\n\nclass A:\n    def f(self):\n        pass\n\n    # second\n    def "
            "g(self):\n        pass\n"),
        "",
        "H1 class A:\nC import os\n\nclass A:\nH1 def f(self):\nC     def f(self):\n        pass\n"
        "H1 def g(self):\nC     # second\n    def g(self):\n        pass\n");
}

static void test_hostile_code(void **state)
{
    struct buf b;
    (void)state;
    damage(code_extract, STR(SOURCE));
    fill(&b, "// never ends, ", 500000);
    buf_z(&b, "\nint f(void)\n{\n}\n");
    survive(code_extract, buf_view(&b));
    buf_deinit(&b);
    fill(&b, "# x\ndef f():\n", 200000);
    survive(code_extract, buf_view(&b));
    buf_deinit(&b);
}

/* ---- reStructuredText ---- */

#define RST                                                                                        \
    "=====\nGuide\n=====\n\nFirst part\n----------\n\nSome *words*, ``code``, a `link "            \
    "<http://x>`_ and :ref:`this`.\nThey go on.\n\n- one\n- two\n  more\n\n1. first\n\nAn "        \
    "example::\n\n    x = *y*\n\n      z\n\nAfter.\n\n.. a comment\n   goes on\n\n.. "             \
    "code-block:: c\n   :linenos:\n\n   int x;\n\n.. note:: Take care.\n\n.. [1] At the foot.\n\n" \
    "+---+---+\n| a | b |\n+===+===+\n| 1 | 2 |\n+---+---+\n\n===  ====\nk    v\n===  ====\nx    " \
    "y z\n===  ====\n\nSecond part\n-----------\n\nEnd.\n"

static void test_rst(void **state)
{
    (void)state;
    expect(rst_extract, STR(RST), "Guide",
           "H1 Guide\nH2 First part\nP Some words, code, a link and this.\nThey go on.\nL one\nL "
           "two\nmore\nL first\nP An example:\nC     x = *y*\n\n      z\nP After.\nC    int x;\nP "
           "Take care.\nN At the foot.\nT1 a | b\nT 1 | 2\nT1 k | v\nT x | y z\nH2 Second part\nP "
           "End.\n");
}

#define RST_TABLES                                                                                 \
    "=====  =====\nGr\u00F6\u00DFe  b\nc      d\n=====  =====\n\nA paragraph under the table.\n\n" \
    ".. table:: Sales\n\n   ======  =====\n   \u00DCnder   Long and on\n   ======  =====\n   "     \
    "\u00DC\u00DF\u00F6     first line\n           second line\n\n   x       y\n   ======  "       \
    "=====\n\n"                                                                                    \
    "+---+-----+\n| a | bbb |\n| A | ccc |\n+===+=====+\n| 1 | two |\n|   | ten |\n+---+-----+\n"  \
    "| 2 | six |\n+---+-----+\n"

static void test_rst_tables(void **state)
{
    (void)state;
    expect(
        rst_extract, STR(RST_TABLES), "",
        "T Gr\u00F6\u00DFe | b\nT c | d\nP A paragraph under the table.\nP Sales\nT1 \u00DCnder | "
        "Long and on\nT \u00DC\u00DF\u00F6 | first line second line\nT x | y\nT1 a A | bbb "
        "ccc\nT 1 | two ten\nT 2 | six\n");
    header_rows(rst_extract, RST_TABLES, "00100100");
}

static void test_rst_directives(void **state)
{
    (void)state;
    expect(rst_extract,
           STR(".. function:: foo(x)\n   :noindex:\n\n   :param x: its length\n   :returns: its "
               "width\n\n.. math:: \\int_0^1 x\n\nEnd.\n"),
           "", "P foo(x)\nP :param x: its length\n:returns: its width\nC \\int_0^1 x\nP End.\n");
}

static void test_hostile_rst(void **state)
{
    struct buf b;
    (void)state;
    damage(rst_extract, STR(RST));
    fill(&b, "==\n", 300000);
    survive(rst_extract, buf_view(&b));
    buf_deinit(&b);
    fill(&b, "`", 300000);
    survive(rst_extract, buf_view(&b));
    buf_deinit(&b);
    fill(&b, "=", 1000000); /* a border far wider than its many rows */
    buf_z(&b, " ==\n");
    for (size_t i = 0; i < 250000; i++) {
        buf_z(&b, "a b\n");
    }
    survive(rst_extract, buf_view(&b));
    buf_deinit(&b);
}

/* ---- AsciiDoc ---- */

#define ADOC                                                                                       \
    "= Guide\n:toc:\n\n// a comment\n== Part *one*\n\nSome *bold*, _slanted_ and `code`, "         \
    "https://x.org[a site], link:y.html[more] and <<id,there>>.\n\n.The list\n* one\n** two\n. "   \
    "three\n\n[source,c]\n----\nint *x;\n\ny\n----\n\n____\nSaid.\n____\n\n|===\n|a "              \
    "|b\n\n|1\n|2\n"                                                                               \
    "|===\n\nimage::x.png[A picture]\n\n////\nnot this\n////\n\n2 * 3 is a_b_c.\n"

static void test_asciidoc(void **state)
{
    (void)state;
    expect(
        asciidoc_extract, STR(ADOC), "Guide",
        "H1 Guide\nH2 Part one\nP Some bold, slanted and code, a site, more and there.\nK The "
        "list\nL one\nL two\nL three\nC int *x;\n\ny\nQ Said.\nT a | b\nT 1 | 2\nK A picture\nP 2 "
        "* 3 is a_b_c.\n");
}

/* What one sign was searched for without success is not searched again, and not passed over. */
static void test_open_asciidoc(void **state)
{
    (void)state;
    expect(asciidoc_extract,
           STR("link:a link:b[two] and << x <<y,z>> > <<w>, https://c https://d[four]\n"), "",
           "P link:a two and z > <<w>, https://c four\n");
}

static void test_hostile_asciidoc(void **state)
{
    struct buf b;
    (void)state;
    damage(asciidoc_extract, STR(ADOC));
    fill(&b, "link:", 200000);
    survive(asciidoc_extract, buf_view(&b));
    buf_deinit(&b);
    fill(&b, "<<", 1000000);
    survive(asciidoc_extract, buf_view(&b));
    buf_deinit(&b);
    fill(&b, "|===\n|a |b\n", 100000);
    survive(asciidoc_extract, buf_view(&b));
    buf_deinit(&b);
}

/* ---- subtitles ---- */

#define VTT                                                                                        \
    "WEBVTT\n\nNOTE by nobody\n\n00:11.000 --> 00:13.000\n<v Ann>We are "                          \
    "<i>here</i>\n\n2\n00:13.000 "                                                                 \
    "--> 00:16.000 align:left\n<v Ann>at last.\n- 1 < 2\n\n00:17.000 --> 00:18.000\n<v.loud "      \
    "Bo>Yes!\n"

static void test_subtitles(void **state)
{
    (void)state;
    expect(subtitles_extract, STR(VTT), "", "P Ann: We are here at last. - 1 < 2\nP Bo: Yes!\n");
    expect(subtitles_extract,
           STR("1\r\n00:00:01,000 --> 00:00:02,000\r\nFirst\r\nline.\r\n\r\n2\r\n00:00:03,000 --> "
               "00:00:04,000\r\n<b>Second.</b>\r\n"),
           "", "P First line. Second.\n");
    expect_failure(subtitles_extract, STR("WEBVTT\n\nNOTE nothing\n"), STATUS_INVALID, "no text");
}

static void test_hostile_subtitles(void **state)
{
    struct buf b;
    (void)state;
    damage(subtitles_extract, STR(VTT));
    fill(&b, "-->\n<<<<<<<< <v x>y\n", 100000);
    survive(subtitles_extract, buf_view(&b));
    buf_deinit(&b);
}

static void test_org(void **state)
{
    (void)state;
    expect(
        org_extract,
        STR("#+TITLE: Foxes\n#+AUTHOR: Ann\n# a remark\n* TO"
            "DO [#A] Dens :wood:home:\n"
            ":PROPERTIES:\n:ID: 7\n:END:\nThey *dig* dens, see [[http://x.y][the page]]\nor "
            "~code~.\n\n"
            "- one\n  more of it\n- [X] two\n  1. three\n** Deep *\n| a | b |\n|---+---|\n| 1 |  "
            "|\n"
            "#+begin_src c\n* no heading\n  int x;\n#+end_src\n#+BEGIN_QUOTE\nSaid.\n#+END_QUOTE\n"
            ": fixed\n: more\n[fn:1] A note.\n#+begin_comment\nunseen\n#+end_comment\nLast "
            "2*3*4.\n"),
        "Foxes",
        "H1 Foxes\nH1 Dens\nP They dig dens, see the page\nor code.\nL one\nmore of it\nL two\n"
        "L three\nH2 Deep *\nT a | b\nT 1 | \nC * no heading\n  int x;\nQ Said.\n"
        "C fixed\nmore\nN A note.\nP Last 2*3*4.\n");
    damage(org_extract,
           STR("* A\n- b [[c][d]] *e*\n| f | g |\n#+begin_src\nh\n#+end_src\n:X:\n:END:\n"));
}

static void test_hostile_org(void **state)
{
    struct buf b;
    static const char *const units[] = {"*a /b _c ",     "[[",    "[[a][", "|",
                                        "#+begin_src\n", ":a:\n", "* :",   "\\\\"};
    (void)state;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        fill(&b, units[i], 200000);
        survive(org_extract, buf_view(&b));
        buf_deinit(&b);
    }
}

static void test_ipynb(void **state)
{
    static const char book[] =
        "{\"nbformat\": 4, \"metadata\": {\"title\": \"Foxes\"}, \"cells\": ["
        "{\"cell_type\": \"markdown\", \"source\": [\"# Dens\\n\", \"They *dig*.\"]},"
        "{\"cell_type\": \"code\", \"source\": \"x = 1\\nx\", \"outputs\": ["
        "{\"output_type\": \"stream\", \"text\": [\"\\u001b[31mred\\u001b[0m\\n\"]},"
        "{\"output_type\": \"execute_result\", \"data\": {\"text/plain\": \"1\", \"image/png\": "
        "\"AAAA\"}},"
        "{\"output_type\": \"error\", \"ename\": \"E\", \"evalue\": \"why\"}]},"
        "{\"cell_type\": \"raw\", \"source\": \"As it is.\"}]}";
    static const char third[] =
        "{\"worksheets\": [{\"cells\": [{\"cell_type\": \"heading\", \"level\": 2, \"source\": "
        "\"Old\"},"
        "{\"cell_type\": \"code\", \"input\": [\"y\"], \"outputs\": [{\"text\": [\"2\"]}]}]}]}";
    (void)state;
    expect(ipynb_extract, STR(book), "Foxes",
           "H1 Dens\nP They dig.\nC x = 1\nx\nC red\nC 1\nP E: why\nP As it is.\n");
    expect(ipynb_extract, STR(third), "", "H2 Old\nC y\nC 2\n");
    expect_failure(ipynb_extract, STR("{}"), STATUS_INVALID, "no text");
    damage(ipynb_extract, STR(book));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_org),
        cmocka_unit_test(test_hostile_org),
        cmocka_unit_test(test_ipynb),
        cmocka_unit_test(test_struck_twice),
        cmocka_unit_test(test_encodings),
        cmocka_unit_test(test_csv),
        cmocka_unit_test(test_hostile_csv),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_hostile_json),
        cmocka_unit_test(test_mail),
        cmocka_unit_test(test_hostile_mail),
        cmocka_unit_test(test_rtf),
        cmocka_unit_test(test_hostile_rtf),
        cmocka_unit_test(test_xml),
        cmocka_unit_test(test_hostile_xml),
        cmocka_unit_test(test_code),
        cmocka_unit_test(test_hostile_code),
        cmocka_unit_test(test_rst),
        cmocka_unit_test(test_rst_tables),
        cmocka_unit_test(test_rst_directives),
        cmocka_unit_test(test_hostile_rst),
        cmocka_unit_test(test_asciidoc),
        cmocka_unit_test(test_hostile_asciidoc),
        cmocka_unit_test(test_open_asciidoc),
        cmocka_unit_test(test_subtitles),
        cmocka_unit_test(test_hostile_subtitles),
        cmocka_unit_test(test_header_rows),
    };
    return cmocka_run_group_tests_name("text formats", tests, NULL, NULL);
}
