/* What is made of words with places: rows of tables, and what only looks like some. */
#include "tests/unit/test.h"

#include "tests/unit/ingest/fixtures.h"

struct cell {
    float x, y;
    const char *text; /* after a # of larger type; its words are set apart by a blank of 3 points, a
                         letter takes 5 */
};

static enum status play(const struct tool_runner *r,
                        enum status (*on_data)(void *data, struct str piece, struct error *err),
                        void *data, struct error *err)
{
    return on_data(data, buf_view(r->data), err);
}

static void put_cell(struct buf *b, const struct cell *c, float height)
{
    float x = c->x;
    buf_printf(b,
               "<block xMin=\"%.2f\" yMin=\"%.2f\" xMax=\"%.2f\" yMax=\"%.2f\"><line xMin=\"%.2f\" "
               "yMin=\"%.2f\" xMax=\"%.2f\" yMax=\"%.2f\">",
               (double)x, (double)c->y, (double)(x + 5 * (float)strlen(c->text)),
               (double)(c->y + height), (double)x, (double)c->y,
               (double)(x + 5 * (float)strlen(c->text)), (double)(c->y + height));
    for (const char *p = c->text; *p != '\0';) {
        size_t n = strcspn(p, " ");
        buf_printf(b, "<word xMin=\"%.2f\" yMin=\"%.2f\" xMax=\"%.2f\" yMax=\"%.2f\">%.*s</word>",
                   (double)x, (double)c->y, (double)(x + 5 * (float)n), (double)(c->y + height),
                   (int)n, p);
        x += 5 * (float)n + 3;
        p += n + (p[n] == ' ');
    }
    buf_z(b, "</line></block>");
}

/* A page of the cells, each a block of its own as pdftotext would give them. */
static void read_page(const struct cell *cells, size_t n, struct collected *c)
{
    struct buf b;
    struct error err = {0};
    struct tool_runner r = {.run = play, .data = &b};
    buf_init(&b, 1 << 20);
    buf_z(&b, "<html><body><doc><page width=\"595\" height=\"842\"><flow>");
    for (size_t i = 0; i < n; i++) {
        struct cell cell = cells[i];
        bool large = cell.text[0] == '#';
        cell.text += large;
        put_cell(&b, &cell, large ? 12 : 10);
    }
    buf_z(&b, "</flow></page></doc></body></html>");
    collected_init(c);
    assert_int_equal(collect(pdf_extract, STR(""), &r, c, &err), STATUS_OK);
    buf_deinit(&b);
}

static void expect(const struct cell *cells, size_t n, const char *text)
{
    struct collected c;
    read_page(cells, n, &c);
    assert_string_equal(collected_text(&c), text);
    collected_deinit(&c);
}

#define EXPECT(cells, text) expect(cells, sizeof(cells) / sizeof(cells)[0], text)

/* Columns come one after the other, as pdftotext gives them; a cell of two lines stands about one
 * of one, an empty one keeps its place. */
static void test_rows(void **state)
{
    static const struct cell cells[] = {
        {72, 100, "Thresholds in the table below"},
        {72, 150, "Carbon dioxide"},
        {72, 164, "Chlorine and inorganic"},
        {72, 176, "compounds"},
        {72, 190, "Methane"},
        {250, 120, "to air"},
        {250, 132, "kg/year"},
        {250, 150, "100 million"},
        {250, 170, "10 000"},
        {400, 120, "to water"},
        {400, 132, "kg/year"},
        {400, 150, "-"},
        {400, 170, "40"},
        {400, 190, "7"},
    };
    struct collected c;
    (void)state;
    EXPECT(cells, "P Thresholds in the table below\nT | to air kg/year | to water kg/year\n"
                  "T Carbon dioxide | 100 million | -\n"
                  "T Chlorine and inorganic compounds | 10 000 | 40\nT Methane |  | 7\n");
    read_page(cells, sizeof cells / sizeof cells[0], &c);
    const Ex__Block *b = c.blocks[2];
    assert_int_equal(b->n_lines, 3);
    assert_true(b->lines[1]->x0 > 249 && b->lines[1]->x0 < 251);
    assert_int_equal(b->lines[1]->start, strlen("Carbon dioxide | "));
    assert_int_equal(b->lines[1]->end, strlen("Carbon dioxide | 100 million"));
    collected_deinit(&c);
}

static void test_titles_between(void **state)
{
    static const struct cell cells[] = {
        {72, 100, "Month"}, {72, 114, "May"},    {72, 128, "June"}, {250, 100, "Gross"},
        {250, 114, "120"},  {250, 128, "130"},   {400, 100, "Net"}, {400, 114, "100"},
        {400, 128, "110"},  {72, 140, "#Days"},  {72, 154, "Day"},  {250, 154, "Rate"},
        {400, 154, "Sum"},  {72, 168, "Monday"}, {250, 168, "0.5"}, {400, 168, "60"},
    };
    (void)state;
    EXPECT(cells, "T Month | Gross | Net\nT May | 120 | 100\nT June | 130 | 110\n"
                  "H3 Days\nT Day | Rate | Sum\nT Monday | 0.5 | 60\n");
}

/* Names and their values. */
static void test_pairs(void **state)
{
    static const struct cell cells[] = {
        {72, 100, "Order:"}, {72, 114, "Contact:"},    {72, 128, "Region:"},
        {200, 100, "A-17"},  {200, 114, "S. Johnson"}, {200, 128, "North"},
    };
    (void)state;
    EXPECT(cells, "T Order: | A-17\nT Contact: | S. Johnson\nT Region: | North\n");
}

/* The halves of a page, a list and its marks: read one after the other. */
static void test_no_tables(void **state)
{
    static const struct cell halves[] = {
        {72, 100, "Roses are red and violets"},    {72, 112, "are blue as the poet has"},
        {72, 124, "said so often in his verse"},   {310, 100, "Another poem stands beside"},
        {310, 112, "it and goes on with its own"}, {310, 124, "lines to the end of the page"},
    };
    static const struct cell list[] = {
        {72, 100, "(a)"},  {72, 114, "(b)"},  {72, 128, "(c)"},
        {110, 100, "one"}, {110, 114, "two"}, {110, 128, "three"},
    };
    (void)state;
    EXPECT(halves, "P Roses are red and violets\nP are blue as the poet has\n"
                   "P said so often in his verse\nP Another poem stands beside\n"
                   "P it and goes on with its own\nP lines to the end of the page\n");
    EXPECT(list, "P (a)\nP (b)\nP (c)\nP one\nP two\nP three\n");
}

static void test_contents(void **state)
{
    static const struct cell cells[] = {
        {72, 100, "1.1 Security . . . . . . . 12"},
        {72, 112, "Index........ xiv"},
        {72, 124, "and so on ... 5"},
    };
    (void)state;
    EXPECT(cells, "T 1.1 Security | 12\nT Index | xiv\nP and so on ... 5\n");
}

/* Letters drawn as one are letters, also where a piece of the output ends within one. */
static void test_ligatures(void **state)
{
    static const struct cell cells[] = {{72, 100, "con\uFB01dent o\uFB03ce \uFB02y"}};
    (void)state;
    EXPECT(cells, "P confident office fly\n");
}

/* Heads of sections change every few pages: they stand where the page's numbers do. */
static void test_running_heads(void **state)
{
    static const char *const heads[] = {"Knots", "Knots", "Planes", "Planes", "Curves", "Curves"};
    struct buf b;
    struct error err = {0};
    struct collected c;
    struct tool_runner r = {.run = play, .data = &b};
    (void)state;
    buf_init(&b, 1 << 20);
    buf_z(&b, "<html><body><doc>");
    for (int i = 0; i < 6; i++) {
        char number[12], text[40];
        (void)snprintf(number, sizeof number, "%d", i + 1);
        (void)snprintf(text, sizeof text, "Text of the page %c", 'a' + i);
        const struct cell cells[] = {{72, 30, number},
                                     {300, 30, heads[i]},
                                     {72, 400, text},
                                     {72, 90, i < 2 ? "Proof" : text + 5}};
        buf_z(&b, "<page width=\"595\" height=\"842\"><flow>");
        for (size_t k = 0; k < 4; k++) {
            put_cell(&b, &cells[k], 10);
        }
        buf_z(&b, "</flow></page>");
    }
    buf_z(&b, "</doc></body></html>");
    collected_init(&c);
    assert_int_equal(collect(pdf_extract, STR(""), &r, &c, &err), STATUS_OK);
    for (size_t i = 0; i < c.n; i++) {
        const Ex__Block *k = c.blocks[i];
        bool head = k->lines[0]->y0 < 31;
        assert_int_equal(k->kind == EX__BLOCK__KIND__FURNITURE, head);
    }
    collected_deinit(&c);
    buf_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),          cmocka_unit_test(test_titles_between),
        cmocka_unit_test(test_pairs),         cmocka_unit_test(test_no_tables),
        cmocka_unit_test(test_contents),      cmocka_unit_test(test_ligatures),
        cmocka_unit_test(test_running_heads),
    };
    return cmocka_run_group_tests_name("pdf_layout", tests, NULL, NULL);
}
