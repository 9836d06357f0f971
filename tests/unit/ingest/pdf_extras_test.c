/* What is read from a PDF's own objects: outline, links, fields, comments, attachments, and where
 * they stand on a page that is turned or does not begin at 0,0. */
#include "tests/unit/test.h"

#include "ingest/formats/pdf_extras.h"
#include "tests/unit/ingest/fixtures.h"

static enum status play(const struct tool_runner *r,
                        enum status (*on_data)(void *data, struct str piece, struct error *err),
                        void *data, struct error *err)
{
    return on_data(data, str_from(r->data), err);
}

#define WORD(x0, x1, y0, y1, text)                                                                 \
    "<word xMin=\"" x0 "\" yMin=\"" y0 "\" xMax=\"" x1 "\" yMax=\"" y1 "\">" text "</word>"
#define LINE(y0, y1, words)                                                                        \
    "<line xMin=\"72\" yMin=\"" y0 "\" xMax=\"300\" yMax=\"" y1 "\">" words "</line>"
#define BLOCK(lines) "<block xMin=\"72\" yMin=\"10\" xMax=\"300\" yMax=\"20\">" lines "</block>"

static char page_text[] = "<html><body><doc><page width=\"600\" height=\"800\"><flow>" BLOCK(
    LINE("100", "110",
         WORD("72", "100", "100", "110", "1.2") WORD("105", "160", "100", "110", "Getting"))
        LINE("112", "122", WORD("72", "100", "112", "122", "Started"))
            LINE("124", "134",
                 WORD("72", "100", "124", "134", "Read") WORD("105", "160", "124", "134", "the")
                     WORD("165", "200", "124", "134", "manual")))
    BLOCK(LINE("200", "210", WORD("72", "100", "200", "210", "Order")))
        BLOCK(LINE("300", "320", WORD("72", "100", "300", "320", "Larger"))) "</flow></page>"
                                                                             "</doc></body></html>";

#define HEAD "%PDF-1.7\n1 0 obj <</Type/Catalog/Pages 2 0 R/Outlines 5 0 R/Names 9 0 R>> endobj\n"
#define TAIL "trailer <</Root 1 0 R/Info 20 0 R>>\n"

static void expect(const char *pdf, const char *text)
{
    struct collected c;
    struct error err = {0};
    struct tool_runner r = {.run = play, .data = page_text};
    collected_init(&c);
    assert_int_equal(collect(pdf_extract, str_from(pdf), &r, &c, &err), STATUS_OK);
    assert_string_equal(collected_text(&c), text);
    collected_deinit(&c);
}

static const char full[] = HEAD
    "2 0 obj <</Kids[3 0 R]/Count 1/MediaBox[0 0 600 800]>> endobj\n"
    "3 0 obj <</Type/Page/Parent 2 0 R/Annots[11 0 R 12 0 R 13 0 R 14 0 R]>> endobj\n"
    /* an object stream holds the outline; its entries lead by name and by place */
    "4 0 obj <</Type/ObjStm/N 3/First 15/Length 1>> stream\n"
    "5 0 6 27 7 126 <</First 6 0 R/Last 7 0 R>>"
    "<</Title<FEFF00470065007400740069006E006700200053007400610072007400650064>"
    "/Dest(start)/Next 7 0 R>><</Title(Order)/Dest[3 0 R/XYZ 0 600 null]>>endstream endobj\n"
    "9 0 obj <</Dests 10 0 R/EmbeddedFiles<</Names[(a)15 0 R]>>>> endobj\n"
    "10 0 obj <</Kids[<</Names[(x)[3 0 R]]>>]/Names[(start)<</D[3 0 R/FitH 705]>>]>> endobj\n"
    "11 0 obj <</Subtype/Link/Rect[72 665 201 677]/A<</S/URI/URI(https://example.org/m)>>>> "
    "endobj\n"
    "12 0 obj <</Subtype/Widget/Rect[72 590 100 600]/T(number)/V(A-17)/Parent 16 0 R>> endobj\n"
    "13 0 obj <</Subtype/Text/T(Ann)/Contents(Is \\(this\\) right\\077)/Rect[0 0 9 9]>> endobj\n"
    "14 0 obj <</Subtype/Widget/T(empty)/FT/Tx>> endobj\n"
    "15 0 obj <</F(plan.txt)/Desc(The plan)/EF<</F 17 0 R>>>> endobj\n"
    "16 0 obj <</T(order)/FT/Tx/Kids[12 0 R]>> endobj\n"
    "17 0 obj <</Length 4>> stream\nplan\nendstream endobj\n"
    "20 0 obj <</Title(T)/Author(A. B.)/CreationDate(D:20240531120000Z)>> endobj\n" TAIL;

static void test_all(void **state)
{
    struct collected c;
    struct error err = {0};
    struct tool_runner r = {.run = play, .data = page_text};
    (void)state;
    collected_init(&c);
    assert_int_equal(collect(pdf_extract, STR(full), &r, &c, &err), STATUS_OK);
    assert_string_equal(
        collected_text(&c),
        "H1 1.2 Getting Started\nP Read the manual\nH1 Order\nH2 Larger\n"
        "T order.number: A-17\nN Ann: Is (this) right?\n"
        "N Read the manual <https://example.org/m>\nN attached: plan.txt: The plan\n");
    assert_string_equal(c.title, "T");
    assert_string_equal(c.author, "A. B.");
    assert_true(c.created_ms == INT64_C(1717156800000));
    const Ex__Line *l = c.blocks[4]->lines[0];
    assert_true(l->x0 == 72 && l->x1 == 100 && l->y0 == 200 && l->y1 == 210);
    collected_deinit(&c);
}

/* Without an outline, and with what must not be read. */
static void test_little(void **state)
{
    static const char plain[] = "P 1.2 Getting Started Read the manual\nP Order\nH1 Larger\n";
    (void)state;
    expect("", plain);
    expect("%PDF-1.4 nothing of the kind", plain);
    expect(HEAD "5 0 obj <</First 6 0 R>> endobj 6 0 obj <</Title(Order)/Dest[3 0 R]>> endobj\n"
                "2 0 obj <</Kids[3 0 R]>> endobj 3 0 obj <</Type/Page>> endobj\n"
                "trailer <</Root 1 0 R/Encrypt 8 0 R>>",
           plain);
    expect(HEAD "5 0 obj <</First 6 0 R>> endobj 6 0 obj <</Title(Order)/Dest[3 0 R]>> endobj\n"
                "2 0 obj <</Kids[3 0 R]>> endobj 3 0 obj <</Type/Page>> endobj\n",
           "P 1.2 Getting Started Read the manual\nH1 Order\nH2 Larger\n");
}

/* Trees that lead into themselves, lengths that lie, values that do not end. */
static void test_hostile(void **state)
{
    static const char plain[] = "P 1.2 Getting Started Read the manual\nP Order\nH1 Larger\n";
    (void)state;
    expect(HEAD
           "2 0 obj <</Kids[2 0 R 3 0 R 2 0 R]>> endobj 3 0 obj <</Kids[2 0 R 3 0 R]>> endobj\n"
           "5 0 obj <</First 6 0 R>> endobj\n"
           "6 0 obj <</Title(Loop)/First 6 0 R/Next 6 0 R/Dest(x)>> endobj\n"
           "9 0 obj <</Dests 10 0 R>> endobj 10 0 obj <</Kids[10 0 R 10 0 R]>> endobj\n" TAIL,
           plain);
    expect(HEAD "2 0 obj 7 0 R endobj 7 0 obj 2 0 R endobj 5 0 obj <<<<<<[[[((((\n" TAIL, plain);
    expect(HEAD
           "4 0 obj <</Type/ObjStm/N 999999999/First 4/Length 99999>> stream\n5 9 endstream\n"
           "6 0 obj <</Length -5>> stream endstream 4294967295 0 obj 99999999999 0 obj << >>\n",
           plain);
    struct buf many; /* dictionaries none of which ends */
    buf_init(&many, 16U << 20);
    buf_z(&many, HEAD);
    for (unsigned i = 0; i < 100000; i++) {
        buf_printf(&many, "%u 0 obj <<", i + 2);
    }
    buf_z(&many, TAIL);
    expect(buf_view(&many).ptr, plain);
    buf_deinit(&many);
}

/* The place of (200, 300) on a page of 400 by 600 whose corner is 100, 20. */
static void test_turned(void **state)
{
    static const struct {
        const char *turn;
        float x, y;
    } cases[] = {{"0", 100, 320}, {"90", 280, 100}, {"180", 300, 280}, {"-90", 320, 300}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct arena a;
        struct pdf_objects f;
        struct pdf_extras x;
        char text[1024];
        (void)snprintf(text, sizeof text,
                       "1 0 obj <</Type/Catalog/Pages 2 0 R>> endobj "
                       "2 0 obj <</Kids[3 0 R]/MediaBox[500 620 100 20]/Rotate %s>> endobj "
                       "3 0 obj <</Annots[<</Subtype/Text/Contents(c)/Rect[200 300 210 310]>>]>> "
                       "endobj",
                       cases[i].turn);
        arena_init(&a, 8 << 20);
        assert_true(pdf_objects_open(&f, str_from(text), &a));
        assert_true(pdf_extras_read(&f, &x));
        assert_int_equal(x.n_pages, 1);
        const struct bbox *b = &x.extras->box;
        assert_true(b->x0 == cases[i].x || b->x1 == cases[i].x);
        assert_true(b->y0 == cases[i].y || b->y1 == cases[i].y);
        assert_true(b->x1 - b->x0 == 10 && b->y1 - b->y0 == 10);
        arena_reset(&a);
    }
}

#define PAGE_OF(boxes, content)                                                                    \
    "1 0 obj <</Type/Catalog/Pages 2 0 R>> endobj 2 0 obj <</Kids[3 0 R]/Resources<<"              \
    "/ExtGState<</G<</ca 0>>>>/XObject<</I<</Subtype/Image>>>>>>>> endobj "                        \
    "3 0 obj <</MediaBox[0 0 600 800]" boxes "/Contents 4 0 R>> endobj "                           \
    "4 0 obj <<>> stream\n" content "\nendstream endobj"
#define SEEN "BT /F 10 Tf 72 692 Td (1.2 Getting) Tj 0 -12 Td (Started) Tj 0 -12 Td (Read the) Tj "

/* White, without opacity, tiny, off the CropBox: not in passages. On a painted ground, in rendering
 * mode 3 or with a page's picture alone: text like any. */
static void test_hidden(void **state)
{
    static const char seen[] = "P 1.2 Getting Started Read the manual\nP Order\nH1 Larger\n";
    static const char unseen[] = "P 1.2 Getting Started Read the\nH1 Larger\nF manual Order\n";
    (void)state;
    expect(PAGE_OF("", SEEN "1 g 93 0 Td (manual) Tj -93 -76 Td (Order) Tj "
                            "0 g 0 -108 Td (Larger) Tj ET"),
           unseen);
    expect(PAGE_OF("", SEEN "0 0 0 0 k 93 0 Td (manual) Tj ET q /G gs BT 1 0 0 1 72 592 Tm "
                            "(Order) Tj ET Q BT 72 484 Td (Larger) Tj ET"),
           "P 1.2 Getting Started Read the\nF manual Order Larger\n");
    expect(PAGE_OF("", SEEN "ET q 0.1 0 0 0.1 0 0 cm BT 1650 6680 Td (manual) Tj 720 5920 Td "
                            "ET BT 720 5920 Td (Order) Tj ET Q BT 72 484 Td (Larger) Tj ET"),
           unseen);
    expect(PAGE_OF("", "0 0 1 rg 0 500 600 300 re f " SEEN
                       "1 g 93 0 Td (manual) Tj -93 -76 Td (Order) Tj 0 g ET"),
           seen);
    expect(PAGE_OF("", SEEN "3 Tr 1 g 93 0 Td (manual) Tj -93 -76 Td (Order) Tj 0 g ET"), seen);
    expect(PAGE_OF("", "1 g " SEEN "0 -76 Td (Order) Tj 0 -108 Td (Larger) Tj ET /I Do"), seen);
    expect(PAGE_OF("/CropBox[0 0 600 600]", SEEN "ET"),
           "P Order\nH1 Larger\nF 1.2 Getting Started Read the manual\n");
}

/* A short line in bold type is a heading; a bold name before its value, a bold line within a
 * sentence, and bold type all over are none. */
static void test_bold(void **state)
{
#define FONTS "/Resources<</Font<</F<</BaseFont/Arial>>/B<</BaseFont/Arial-BoldMT>>>>>>"
    (void)state;
    expect(PAGE_OF(FONTS, "BT /B 10 Tf 72 692 Td (1.2 Getting) Tj 0 -12 Td (Started) Tj /F 10 Tf "
                          "0 -12 Td (Read the manual) Tj ET BT /F 9 Tf 72 592 Td (Order) Tj ET"),
           "H4 1.2 Getting Started\nP Read the manual\nP Order\nH1 Larger\n");
    expect(PAGE_OF(FONTS, "BT /F 10 Tf 72 692 Td (1.2 Getting) Tj /B 10 Tf 0 -12 Td (Started) Tj "
                          "/F 10 Tf 0 -12 Td (Read the manual) Tj ET"),
           "P 1.2 Getting Started\nP Read the manual\nP Order\nH1 Larger\n");
    expect(PAGE_OF(FONTS, "BT /B 10 Tf 72 692 Td (1.2 Getting) Tj 0 -12 Td (Started) Tj "
                          "0 -12 Td (Read the manual) Tj ET BT 72 592 Td (Order) Tj ET"),
           "P 1.2 Getting Started Read the manual\nP Order\nH1 Larger\n");
}

/* Every cut of the file. */
static void test_truncated(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof full; n++) {
        struct arena a;
        struct pdf_objects f;
        struct pdf_extras x;
        char *copy = malloc(n + 1); /* so that a step too far is seen */
        assert_non_null(copy);
        memcpy(copy, full, n);
        arena_init(&a, 8 << 20);
        if (pdf_objects_open(&f, (struct str){copy, n}, &a)) {
            assert_true(pdf_extras_read(&f, &x));
        }
        arena_reset(&a);
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all),       cmocka_unit_test(test_little),
        cmocka_unit_test(test_turned),    cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_truncated), cmocka_unit_test(test_hidden),
        cmocka_unit_test(test_bold),
    };
    return cmocka_run_group_tests_name("pdf_extras", tests, NULL, NULL);
}
