/* Word, Excel and PowerPoint of 1997 to 2003: what honest files give, what damaged ones do not. */
#include "tests/unit/test.h"

#include "tests/unit/ingest/damage.h"
#include "tests/unit/ingest/ole_fixtures.h"

static void test_doc(void **state)
{
    struct buf b;
    (void)state;
    buf_init(&b, 1U << 20);
    make_doc(&b);
    expect(ole_extract, buf_view(&b), "",
           "H1 Fox title\n"
           "P The quick \u201Cbrown\u201D fox.\n"
           "P See the den (http://fox.example/) now.\n"
           "N A note on dens.\n"
           "P Shown shown.\n"
           "T Name | Age\n"
           "T Reynard | seven\n"
           "L (c) An item\n"
           "L (d) Another\n"
           "F A header\n");
    buf_deinit(&b);
}

static void test_xls(void **state)
{
    struct buf b;
    (void)state;
    buf_init(&b, 1U << 20);
    make_xls(&b);
    expect(ole_extract, buf_view(&b), "",
           "H1 Pond\n"
           "T Year |  | Ducks se\u20AC\n"
           "T 2018-04-10 | 3.25 | mixed\n"
           "T  | #DIV/0! | 1e+300\n"
           "H1 Lake\n"
           "T ok\n"
           "N A comment\n");
    buf_deinit(&b);
}

static void test_ppt(void **state)
{
    struct buf b;
    (void)state;
    buf_init(&b, 1U << 20);
    make_ppt(&b);
    expect(ole_extract, buf_view(&b), "",
           "H1 Foxes\n"
           "L First point\n"
           "L Second point\n"
           "P A box\n"
           "N Say it slowly\n"
           "H1 Dens\n");
    buf_deinit(&b);
}

static void test_msg(void **state)
{
    struct buf b;
    struct collected c;
    struct error err = {0};
    (void)state;
    buf_init(&b, 1U << 20);
    make_msg(&b);
    expect(ole_extract, buf_view(&b), "Foxes",
           "H1 Foxes\n"
           "P From: Ann Berg <ann@example.org>\nTo: Bo <bo@example.org>\nCc: Cy\n"
           "Date: Wed, 28 Feb 2024 21:45:00 +0000\n"
           "P \u043B\u0438\u0441\u0430\n"
           "Q asked before\n"
           "K Attachment: den.txt\n"
           "H2 Within\n"
           "P hello world\n");
    collected_init(&c);
    assert_int_equal(collect(ole_extract, buf_view(&b), NULL, &c, &err), STATUS_OK);
    assert_string_equal(c.author, "Ann Berg");
    assert_int_equal(c.created_ms, 1709156700000);
    collected_deinit(&c);
    buf_deinit(&b);
}

struct children {
    struct buf text;
};

static enum status on_child(void *data, const Ex__Piece *piece, struct error *err)
{
    struct children *c = data;
    (void)err;
    if (piece->child != NULL && piece->child->has_name) {
        buf_append(&c->text, piece->child->name.data, piece->child->name.len);
        buf_char(&c->text, '=');
    }
    if (piece->child != NULL && piece->child->has_data) {
        buf_append(&c->text, piece->child->data.data, piece->child->data.len);
    }
    return STATUS_OK;
}

/* What is attached to a message is a document of its own. */
static void test_msg_children(void **state)
{
    struct buf b;
    struct arena arena;
    struct emitter e;
    struct error err = {0};
    struct children c;
    (void)state;
    buf_init(&b, 1U << 20);
    buf_init(&c.text, 65536);
    make_msg(&b);
    arena_init(&arena, 1U << 24);
    emit_init(&e, 1U << 20, on_child, &c);
    emit_children_allow(&e, 10, 1U << 20);
    struct extract_input in = {
        .fd = -1, .data = buf_view(&b), .arena = &arena, .max_bytes = 1U << 20};
    assert_int_equal(ole_extract(&in, &e, &err), STATUS_OK);
    assert_int_equal(emit_finish(&e, &err), STATUS_OK);
    assert_string_equal(c.text.ptr, "den.txt=In the attached den.");
    emit_deinit(&e);
    arena_reset(&arena);
    buf_deinit(&b);
    buf_deinit(&c.text);
}

#define RELATION(id, type, target)                                                                 \
    "<Relationship Id=\"" id "\" Type=\"http://x/relationships/" type "\" Target=\"" target "\"/>"
#define RELATIONS(list)                                                                            \
    "<Relationships xmlns=\"http://schemas.openxmlformats.org/package/2006/relationships\">" list  \
    "</Relationships>"

/* A binary workbook: a package whose parts are records. */
static void make_xlsb(struct buf *out)
{
    static const char book[] = "\x99\x01\x04\1\0\0\0" /* since 1904 */
                               "\x9C\x01\x1C\0\0\0\0\1\0\0\0\2\0\0\0r\0001\0"
                               "\4\0\0\0P\0o\0n\0d\0";
    static const char styles[] = "\x2C\x0E\xA4\0\4\0\0\0y\0y\0y\0y\0" /* 164: yyyy */
                                 "\xE9\x04\0"                         /* the cells' styles */
                                 "\x2F\4\0\0\0\0\x2F\4\0\0\xA4\0\xEA\x04\0"
                                 "\x2F\4\0\0\x09\0"; /* others' */
    static const char strings[] = "\x13\x0B\0\3\0\0\0F\0o\0x\0";
    static const char sheet[] = "\0\4\0\0\0\0"
                                "\7\x0C\0\0\0\0\0\0\0\0\0\0\0\0"       /* A1: the shared string */
                                "\6\x10\2\0\0\0\0\0\0\0\2\0\0\0d\0e\0" /* C1: a text */
                                "\0\4\1\0\0\0"
                                "\2\x0C\0\0\0\0\1\0\0\0\6\0\0\0"             /* A2: 1 as a date */
                                "\5\x10\1\0\0\0\0\0\0\0\0\0\0\0\0\0\x0A\x40" /* B2: 3.25 */
                                "\x0A\x09\2\0\0\0\0\0\0\0\1"  /* C2: TRUE, of a formula */
                                "\3\x09\3\0\0\0\0\0\0\0\x2A"; /* D2: an error */
    const struct package_part parts[] = {
        {"_rels/.rels", STR(RELATIONS(RELATION("a", "officeDocument", "xl/workbook.bin")))},
        {"xl/_rels/workbook.bin.rels",
         STR(RELATIONS(RELATION("r1", "worksheet", "s.bin") RELATION("r2", "styles", "t.bin")
                           RELATION("r3", "sharedStrings", "u.bin")))},
        {"xl/workbook.bin", {book, sizeof book - 1}},
        {"xl/s.bin", {sheet, sizeof sheet - 1}},
        {"xl/t.bin", {styles, sizeof styles - 1}},
        {"xl/u.bin", {strings, sizeof strings - 1}},
    };
    make_package(parts, sizeof parts / sizeof parts[0], out);
}

static void test_xlsb(void **state)
{
    struct buf b;
    (void)state;
    make_xlsb(&b);
    expect(xlsx_extract, buf_view(&b), "",
           "H1 Pond\nT Fox |  | de\nT 1904-01-02 | 3.25 | TRUE | #N/A\n");
    damage(xlsx_extract, buf_view(&b));
    buf_deinit(&b);
}

/* What is locked, or none of these, is told as such. */
static void test_refused(void **state)
{
    struct buf b;
    char fib[0x200] = "\xEC\xA5\xC1";
    static const char book[] =
        "\x09\x08\x10\0\0\x06\x05\0\0\0\0\0\0\0\0\0\0\0\0\0\x2F\0\x02\0\1\0\0\0";
    static const char user[] = "\0\0\xF6\x0F\x14\0\0\0\x14\0\0\0\xDF\xC4\xD1\xF3\0\0\0\0";
    (void)state;
    fib[11] = 1;
    const struct {
        struct cfb_stream streams[2];
        enum status code;
        const char *words;
    } cases[] = {
        {{{"WordDocument", {fib, sizeof fib}}, {"x", {"", 0}}}, STATUS_UNSUPPORTED, "encrypted"},
        {{{"Workbook", {book, sizeof book}}, {"x", {"", 0}}}, STATUS_UNSUPPORTED, "encrypted"},
        {{{"Current User", {user, sizeof user}}, {"PowerPoint Document", {"x", 1}}},
         STATUS_UNSUPPORTED,
         "encrypted"},
        {{{"EncryptedPackage", {"x", 1}}, {"EncryptionInfo", {"x", 1}}},
         STATUS_UNSUPPORTED,
         "encrypted"},
        {{{"Something", {"x", 1}}, {"Else", {"x", 1}}}, STATUS_UNSUPPORTED, "neither Word, Excel"},
        {{{"WordDocument", {"x", 1}}, {"1Table", {"x", 1}}}, STATUS_INVALID, "damaged"},
        {{{"Workbook", {"x", 1}}, {"y", {"x", 1}}}, STATUS_INVALID, "damaged"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        buf_init(&b, 1U << 20);
        make_cfb(cases[i].streams, 2, &b);
        expect_failure(ole_extract, buf_view(&b), cases[i].code, cases[i].words);
        buf_deinit(&b);
    }
    expect_failure(ole_extract, STR("no compound file"), STATUS_INVALID, "1997 to 2003");
}

static void test_damaged(void **state)
{
    static void (*const makers[])(struct buf *) = {make_doc, make_xls, make_ppt, make_msg};
    (void)state;
    for (size_t i = 0; i < sizeof makers / sizeof makers[0]; i++) {
        struct buf b;
        buf_init(&b, 1U << 20);
        makers[i](&b);
        damage(ole_extract, buf_view(&b));
        buf_deinit(&b);
    }
}

/* Many pieces of text that are the same one: more comes out than is in the file. */
static void test_pieces_over_each_other(void **state)
{
    enum { PIECES = 4000, EACH = 60000 };
    struct buf main, table, b;
    struct collected c;
    struct error err = {0};
    (void)state;
    buf_init(&main, 1U << 20);
    buf_init(&table, 1U << 20);
    buf_init(&b, 4U << 20);
    for (size_t i = 0; i < 0x200 + EACH; i++) {
        buf_char(&main, i < 0x200 ? '\0' : 0x13); /* fields that open, and give out nothing */
    }
    memcpy(main.ptr, "\xEC\xA5\xC1", 4);
    uint32_t sizes[PIECES + 1];
    for (uint32_t i = 0; i <= PIECES; i++) {
        sizes[i] = i * EACH;
    }
    uint32_t all = sizes[PIECES], length = 5 + sizeof sizes + PIECES * 8;
    memcpy(main.ptr + 0x4C, &all, 4);
    memcpy(main.ptr + 0x1A6, &length, 4);
    length -= 5;
    buf_char(&table, 2);
    buf_append(&table, &length, 4);
    buf_append(&table, sizes, sizeof sizes);
    for (uint32_t i = 0; i < PIECES; i++) {
        uint32_t piece[] = {0x04000000, 0x00004000};
        buf_append(&table, piece, sizeof piece);
    }
    const struct cfb_stream streams[] = {{"WordDocument", buf_view(&main)},
                                         {"0Table", buf_view(&table)}};
    make_cfb(streams, 2, &b);
    collected_init(&c);
    assert_int_equal(collect(ole_extract, buf_view(&b), NULL, &c, &err), STATUS_INVALID);
    assert_non_null(strstr(err.text, "over itself"));
    collected_deinit(&c);
    buf_deinit(&main);
    buf_deinit(&table);
    buf_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_doc),
        cmocka_unit_test(test_xls),
        cmocka_unit_test(test_xlsb),
        cmocka_unit_test(test_ppt),
        cmocka_unit_test(test_msg),
        cmocka_unit_test(test_msg_children),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_pieces_over_each_other),
    };
    return cmocka_run_group_tests_name("ole", tests, NULL, NULL);
}
