#include "tests/unit/ingest/ole_fixtures.h"

#include <stdint.h>

#include "tests/unit/ingest/little_endian.h"

/* ---- Word ---- */

#define PAGE 512U /* of the tables of formatted runs */
#define TEXT_AT 0x800U
#define STYLE_HEADING 1U
#define STYLE_LIST 2U

struct para {
    const char *text; /* its mark included */
    uint32_t style;
    const char *change; /* property changes, */
    size_t n_change;
};

#define IN_TABLE "\x16\x24\x01"
#define ROW_END "\x16\x24\x01\x17\x24\x01"

static const struct para paras[] = {
    {"Fox title\r", STYLE_HEADING, "", 0},
    {"The quick \x93"
     "brown\x94 fox.\r",
     0, "", 0},
    {"See \x13 HYPERLINK \"http://fox.example/\" \x14the den\x15 now\x02.\r", 0, "", 0},
    {"Shown SECRET shown.\r", 0, "", 0},
    {"Name\x07", 0, IN_TABLE, 3},
    {"Age\x07", 0, IN_TABLE, 3},
    {"\x07", 0, ROW_END, 6},
    {"Reynard\x07", 0, IN_TABLE, 3},
    {"seven\x07", 0, IN_TABLE, 3},
    {"\x07", 0, ROW_END, 6},
    {"An item\r", STYLE_LIST, "", 0},
    {"Another\r", STYLE_LIST, "", 0},
    /* stories behind the body: a footnote, a header */
    {"\x02 A note on dens.\r", 0, "", 0},
    {"A header\r", 0, "", 0},
};
#define N_PARAS (sizeof paras / sizeof paras[0])
#define N_BODY 12U

static uint32_t position_of(size_t paragraph)
{
    uint32_t n = 0;
    for (size_t i = 0; i < paragraph; i++) {
        n += (uint32_t)strlen(paras[i].text);
    }
    return n;
}

/* The page of paragraphs' properties: offsets, then where each lies, then those from the end on. */
static void put_paragraph_page(struct buf *b)
{
    size_t from = b->len, low = 510;
    zeros(b, PAGE);
    for (size_t i = 0; i <= N_PARAS; i++) {
        set32(b, from + i * 4, TEXT_AT + position_of(i));
    }
    for (size_t i = 0; i < N_PARAS; i++) {
        size_t n = 2 + paras[i].n_change;
        low = (low - (n + 2)) & ~(size_t)1;
        b->ptr[from + (N_PARAS + 1) * 4 + i * 13] = (char)(low / 2);
        b->ptr[from + low] = '\0';
        b->ptr[from + low + 1] = (char)((n + 1) / 2);
        set16(b, from + low + 2, paras[i].style);
        memcpy(b->ptr + from + low + 4, paras[i].change, paras[i].n_change);
    }
    b->ptr[from + 511] = (char)N_PARAS;
}

/* SECRET is hidden. */
static void put_character_page(struct buf *b)
{
    uint32_t secret = TEXT_AT + position_of(3) + 6, end = TEXT_AT + position_of(N_PARAS);
    size_t from = b->len;
    zeros(b, PAGE);
    set32(b, from, TEXT_AT);
    set32(b, from + 4, secret);
    set32(b, from + 8, secret + 7);
    set32(b, from + 12, end);
    b->ptr[from + 17] = (char)(400 / 2);
    memcpy(b->ptr + from + 400, "\x03\x3C\x08\x01", 4);
    b->ptr[from + 511] = 3;
}

static void put_style(struct buf *b, uint32_t id, const char *name, const char *changes, size_t n)
{
    size_t from = b->len;
    put16(b, 0);
    put16(b, id);
    put16(b, 1 | 0xFFF0); /* of paragraphs, based on none */
    put16(b, 2);
    zeros(b, 4);
    put16(b, (uint32_t)strlen(name));
    put_wide(b, name);
    put16(b, 0);
    put16(b, (uint32_t)(2 + n));
    put16(b, 0);
    buf_append(b, changes, n);
    pad(b, 2);
    set16(b, from, (uint32_t)(b->len - from - 2));
}

static void put_styles(struct buf *b)
{
    put16(b, 18);
    put16(b, 3);
    put16(b, 10);
    zeros(b, 14);
    put_style(b, 0, "Normal", "", 0);
    put_style(b, 1, "Titre 1", "", 0);
    put_style(b, 0xFFE, "Points", "\x0B\x46\x01\x00", 4);
}

/* One scheme of one level, "(a)", and one list of it. */
static void put_lists(struct buf *main, struct buf *table)
{
    set32(main, 0x2E2, (uint32_t)table->len);
    set32(main, 0x2E6, 2 + 28);
    put16(table, 1);
    put32(table, 7);
    zeros(table, 22);
    put16(table, 1); /* simple */
    put32(table, 3); /* the level: begins with c */
    put8(table, 4);
    zeros(table, 23);
    put16(table, 3);
    put16(table, '(');
    put16(table, 0);
    put16(table, ')');
    set32(main, 0x2EA, (uint32_t)table->len);
    set32(main, 0x2EE, 4 + 16);
    put32(table, 1);
    put32(table, 7);
    zeros(table, 12);
}

void make_doc(struct buf *out)
{
    struct buf main, table;
    uint32_t all = position_of(N_PARAS), body = position_of(N_BODY);
    uint32_t note = position_of(N_BODY + 1) - body;
    uint32_t split = position_of(1); /* the first paragraph is a piece of its own, in UTF-16 */
    buf_init(&main, 1U << 20);
    buf_init(&table, 1U << 20);
    zeros(&main, TEXT_AT);
    for (size_t i = 0; i < N_PARAS; i++) {
        buf_z(&main, paras[i].text);
    }
    uint32_t wide_at = (uint32_t)main.len;
    put_wide(&main, "Fox title\r");
    pad(&main, PAGE);
    uint32_t page = (uint32_t)(main.len / PAGE);
    put_paragraph_page(&main);
    put_character_page(&main);
    /* the page knows the 8-bit offsets only: a second one for the first paragraph */
    size_t second = main.len;
    zeros(&main, PAGE);
    set32(&main, second, wide_at);
    set32(&main, second + 4, wide_at + 2 * split);
    main.ptr[second + 8] = (char)(400 / 2);
    memcpy(main.ptr + second + 400, "\x00\x01\x01\x00", 4);
    main.ptr[second + 511] = 1;

    set16(&main, 0, 0xA5EC);
    set16(&main, 2, 0xC1);
    set16(&main, 10, 0x0200);
    set32(&main, 0x4C, body);
    set32(&main, 0x50, note);
    set32(&main, 0x54, all - body - note);
    struct {
        uint32_t at, from;
    } parts[] = {{0xA2, 0}, {0x1A2, 0}, {0x102, 0}, {0xFA, 0}, {0xAA, 0}, {0xB2, 0}};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        parts[i].from = (uint32_t)table.len;
        if (parts[i].at == 0xA2) {
            put_styles(&table);
        } else if (parts[i].at == 0x1A2) {
            put8(&table, 2);
            put32(&table, 3 * 4 + 2 * 8);
            put32(&table, 0);
            put32(&table, split);
            put32(&table, all);
            put16(&table, 0);
            put32(&table, wide_at);
            put16(&table, 0);
            put16(&table, 0);
            put32(&table, 0x40000000 | (TEXT_AT + split) * 2);
            put16(&table, 0);
        } else if (parts[i].at == 0x102) {
            put32(&table, TEXT_AT);
            put32(&table, wide_at);
            put32(&table, wide_at + 2 * split);
            put32(&table, page);
            put32(&table, page + 2);
        } else if (parts[i].at == 0xFA) {
            put32(&table, TEXT_AT);
            put32(&table, wide_at);
            put32(&table, page + 1);
        } else if (parts[i].at == 0xAA) {
            put32(&table, position_of(2) + 48); /* the note's mark */
            put32(&table, body);
            put16(&table, 1);
        } else {
            put32(&table, 0);
            put32(&table, note);
            put32(&table, note);
        }
        set32(&main, parts[i].at, parts[i].from);
        set32(&main, parts[i].at + 4, (uint32_t)table.len - parts[i].from);
    }
    put_lists(&main, &table);
    const struct cfb_stream streams[] = {{"WordDocument", buf_view(&main)},
                                         {"1Table", buf_view(&table)}};
    make_cfb(streams, 2, out);
    buf_deinit(&main);
    buf_deinit(&table);
}

/* ---- Excel ---- */

static size_t record(struct buf *b, uint32_t type)
{
    put16(b, type);
    put16(b, 0);
    return b->len;
}

static void close_record(struct buf *b, size_t from)
{
    set16(b, from - 2, (uint32_t)(b->len - from));
}

static void cell(struct buf *b, uint32_t type, uint32_t row, uint32_t column, uint32_t style,
                 const void *data, size_t n)
{
    size_t r = record(b, type);
    put16(b, row);
    put16(b, column);
    put16(b, style);
    buf_append(b, data, n);
    close_record(b, r);
}

static void begin_part(struct buf *b, uint32_t kind)
{
    size_t r = record(b, 0x809);
    put16(b, 0x600);
    put16(b, kind);
    zeros(b, 12);
    close_record(b, r);
}

static void end_part(struct buf *b)
{
    close_record(b, record(b, 0x0A));
}

static size_t sheet_name(struct buf *b, const char *name)
{
    size_t r = record(b, 0x85);
    put32(b, 0);
    put16(b, 0);
    put8(b, (uint32_t)strlen(name));
    put8(b, 0);
    buf_z(b, name);
    close_record(b, r);
    return r;
}

static void put_book(struct buf *b)
{
    /* a date in the second style; strings, the second cut in two with its width changing */
    for (uint32_t i = 0; i < 2; i++) {
        size_t r = record(b, 0xE0);
        put16(b, 0);
        put16(b, i == 0 ? 0 : 14);
        zeros(b, 16);
        close_record(b, r);
    }
    size_t r = record(b, 0xFC);
    put32(b, 3);
    put32(b, 3);
    put16(b, 4);
    put8(b, 0);
    buf_z(b, "Year");
    put16(b, 9);
    put8(b, 0);
    buf_z(b, "Duck");
    close_record(b, r);
    r = record(b, 0x3C);
    put8(b, 1);
    put_wide(b, "s se");
    put16(b, 0x20AC);
    put16(b, 2);
    put8(b, 8); /* with runs of fonts */
    put16(b, 1);
    buf_z(b, "ok");
    put32(b, 0);
    close_record(b, r);
}

void make_xls(struct buf *out)
{
    struct buf b;
    const double number = 3.25, huge = 1e300; /* beyond any date */
    buf_init(&b, 1U << 20);
    begin_part(&b, 5);
    size_t first = sheet_name(&b, "Pond"), second = sheet_name(&b, "Lake");
    put_book(&b);
    end_part(&b);
    set32(&b, first, (uint32_t)b.len);
    begin_part(&b, 0x10);
    cell(&b, 0xFD, 0, 0, 0, "\0\0\0\0", 4);
    cell(&b, 0xFD, 0, 2, 0, "\1\0\0\0", 4);
    cell(&b, 0x27E, 1, 0, 1, "\x02\xA3\x02\x00", 4); /* 43200 as a date: (43200 << 2) | 2 */
    cell(&b, 0x203, 1, 1, 0, &number, 8);
    cell(&b, 0x06, 1, 2, 0, "\0\0\0\0\0\0\xFF\xFF\0\0\0\0\0\0", 14);
    size_t r = record(&b, 0x207);
    put16(&b, 5);
    put8(&b, 0);
    buf_z(&b, "mixed");
    close_record(&b, r);
    cell(&b, 0x205, 2, 1, 0, "\x07\x01", 2);
    cell(&b, 0x203, 2, 2, 1, &huge, 8);
    end_part(&b);
    set32(&b, second, (uint32_t)b.len);
    begin_part(&b, 0x10);
    cell(&b, 0xFD, 4, 0, 0, "\2\0\0\0", 4);
    r = record(&b, 0x1B6);
    zeros(&b, 10);
    put16(&b, 9);
    zeros(&b, 6);
    close_record(&b, r);
    r = record(&b, 0x3C);
    put8(&b, 0);
    buf_z(&b, "A comment");
    close_record(&b, r);
    end_part(&b);
    zeros(&b, 4096); /* so that it lies in big sectors */
    const struct cfb_stream streams[] = {{"Workbook", buf_view(&b)}};
    make_cfb(streams, 1, out);
    buf_deinit(&b);
}

/* ---- PowerPoint ---- */

static size_t open_part(struct buf *b, uint32_t head, uint32_t type)
{
    put16(b, head);
    put16(b, type);
    put32(b, 0);
    return b->len;
}

static void close_part(struct buf *b, size_t from)
{
    set32(b, from - 4, (uint32_t)(b->len - from));
}

static void numbers(struct buf *b, uint32_t type, const uint32_t *list, size_t n)
{
    size_t r = open_part(b, 0, type);
    for (size_t i = 0; i < n; i++) {
        put32(b, list[i]);
    }
    close_part(b, r);
}

static void words(struct buf *b, uint32_t kind, const char *text)
{
    numbers(b, 0x0F9F, &kind, 1);
    size_t r = open_part(b, 0, 0x0FA8);
    buf_z(b, text);
    close_part(b, r);
}

/* A slide, or its notes: shapes with text of their own or a place in the outline. */
static void slide(struct buf *b, uint32_t type, uint32_t of, const uint32_t *places, size_t n,
                  uint32_t kind, const char *text)
{
    size_t whole = open_part(b, 0xF, type);
    uint32_t atom[] = {of, 0};
    if (type == 0x3F0) {
        numbers(b, 0x3F1, atom, 2);
    }
    size_t group = open_part(b, 0xF, 0xF003);
    for (size_t i = 0; i < n + 1; i++) {
        size_t shape = open_part(b, 0xF, 0xF004), box = open_part(b, 0xF, 0xF00D);
        if (i < n) {
            numbers(b, 0x0F9E, &places[i], 1);
        } else {
            words(b, kind, text);
        }
        close_part(b, box);
        close_part(b, shape);
    }
    close_part(b, group);
    close_part(b, whole);
}

void make_ppt(struct buf *out)
{
    struct buf b, user;
    uint32_t at[5], places[] = {0, 1};
    buf_init(&b, 1U << 20);
    buf_init(&user, 4096);
    at[0] = (uint32_t)b.len;
    size_t document = open_part(&b, 0xF, 0x3E8), list = open_part(&b, 0xF, 0xFF0);
    numbers(&b, 0x3F3, (const uint32_t[]){2, 0, 2, 256, 0}, 5);
    words(&b, 0, "Foxes");
    words(&b, 1, "First point\rSecond point");
    numbers(&b, 0x3F3, (const uint32_t[]){3, 0, 1, 257, 0}, 5);
    words(&b, 0, "Dens");
    close_part(&b, list);
    list = open_part(&b, 0x2F, 0xFF0);
    numbers(&b, 0x3F3, (const uint32_t[]){4, 0, 0, 256, 0}, 5);
    close_part(&b, list);
    close_part(&b, document);
    at[1] = (uint32_t)b.len;
    slide(&b, 0x3EE, 0, places, 2, 4, "A box");
    at[2] = (uint32_t)b.len;
    slide(&b, 0x3EE, 0, places, 1, 4, "*");
    at[3] = (uint32_t)b.len;
    slide(&b, 0x3F0, 256, NULL, 0, 2, "Say it slowly");
    at[4] = (uint32_t)b.len;
    size_t r = open_part(&b, 0, 0x1772);
    put32(&b, 1 | 4U << 20);
    for (size_t i = 0; i < 4; i++) {
        put32(&b, at[i]);
    }
    close_part(&b, r);
    uint32_t saving = (uint32_t)b.len;
    numbers(&b, 0x0FF5, (const uint32_t[]){0, 0x03000000, 0, at[4], 1, 5, 0}, 7);
    r = open_part(&user, 0, 0x0FF6);
    put32(&user, 0x14);
    put32(&user, 0xE391C05F);
    put32(&user, saving);
    close_part(&user, r);
    const struct cfb_stream streams[] = {{"Current User", buf_view(&user)},
                                         {"PowerPoint Document", buf_view(&b)}};
    make_cfb(streams, 2, out);
    buf_deinit(&b);
    buf_deinit(&user);
}

/* ---- Outlook ---- */

static void property(struct buf *b, uint32_t id, uint32_t type, uint64_t value)
{
    put16(b, type);
    put16(b, id);
    put32(b, 6);
    put32(b, (uint32_t)value);
    put32(b, (uint32_t)(value >> 32));
}

static struct str wide(struct buf *b, const char *ascii)
{
    buf_reset(b);
    put_wide(b, ascii);
    return buf_view(b);
}

void make_msg(struct buf *out)
{
    /* [MS-OXRTFCP] 4.1.1: "{\rtf1\ansi\ansicpg1252\pard hello world}" */
    static const char hello[] = "\x2d\0\0\0\x2b\0\0\0\x4c\x5a\x46\x75\xf1\xc5\xc7\xa7\x03\0\x0a\0"
                                "\x72\x63\x70\x67\x31\x32\x35\x42\x32\x0a\xf3\x20\x68\x65\x6c\x09"
                                "\0\x20\x62\x77\x05\xb0\x6c\x64\x7d\x0a\x80\x0f\xa0";
    struct buf head, first, second, inner, w[4];
    struct buf *const all[] = {&head, &first, &second, &inner, &w[0], &w[1], &w[2], &w[3]};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        buf_init(all[i], 65536);
    }
    zeros(&head, 32);
    property(&head, 0x0039, 0x40, 133536303000000000U); /* 2024-02-28 21:45 */
    property(&head, 0x3FFD, 3, 1251);
    zeros(&first, 8);
    property(&first, 0x0C15, 3, 1);
    zeros(&second, 8);
    property(&second, 0x0C15, 3, 2);
    zeros(&inner, 24);
    const struct cfb_stream streams[] = {
        {"__properties_version1.0", buf_view(&head)},
        {"__substg1.0_0037001F", wide(&w[0], "Foxes")},
        {"__substg1.0_0C1A001F", wide(&w[1], "Ann Berg")},
        {"__substg1.0_0C1F001E", STR("ann@example.org")},
        {"__substg1.0_1000001E", STR("\xEB\xE8\xF1\xE0\r\n\r\n> asked before\r\n")},
        {"__recip_version1.0_#00000001/__properties_version1.0", buf_view(&second)},
        {"__recip_version1.0_#00000001/__substg1.0_3001001E", STR("Cy")},
        {"__recip_version1.0_#00000000/__properties_version1.0", buf_view(&first)},
        {"__recip_version1.0_#00000000/__substg1.0_3001001E", STR("Bo")},
        {"__recip_version1.0_#00000000/__substg1.0_39FE001E", STR("bo@example.org")},
        {"__attach_version1.0_#00000000/__substg1.0_3707001F", wide(&w[2], "den.txt")},
        {"__attach_version1.0_#00000000/__substg1.0_37010102", STR("In the attached den.")},
        {"__attach_version1.0_#00000001/__substg1.0_3701000D/__properties_version1.0",
         buf_view(&inner)},
        {"__attach_version1.0_#00000001/__substg1.0_3701000D/__substg1.0_0037001F",
         wide(&w[3], "Within")},
        {"__attach_version1.0_#00000001/__substg1.0_3701000D/__substg1.0_10090102",
         {hello, sizeof hello - 1}},
    };
    make_cfb(streams, sizeof streams / sizeof streams[0], out);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        buf_deinit(all[i]);
    }
}
