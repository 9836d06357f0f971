#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "generate/cite.h"

static const struct {
    uint32_t n_passages;
    const char *in;
    const char *out;
    const char *citations; /* "number@start-end " each */
    uint32_t removed;
} rows[] = {
    {3, "", "", "", 0},
    {3, "No marks at all.", "No marks at all.", "", 0},
    {3, "Yes [1].", "Yes [1].", "1@4-7 ", 0},
    {3, "Both [1][3].", "Both [1][3].", "1@5-8 3@8-11 ", 0},
    {3, "Both [1, 3].", "Both [1][3].", "1@5-8 3@8-11 ", 0},
    {3, "Both [1;3 ,2].", "Both [1][3][2].", "1@5-8 3@8-11 2@11-14 ", 0},
    {3, "Bad [4].", "Bad.", "", 1},
    {3, "Bad[0] one.", "Bad one.", "", 1},
    {3, "Mixed [2, 9].", "Mixed [2].", "2@6-9 ", 1},
    {3, "Huge [99999999999999999999].", "Huge.", "", 1},
    {3, "Leading zero [01].", "Leading zero [1].", "1@13-16 ", 0},
    {3, "Größe [2] übrig [3]", "Größe [2] übrig [3]", "2@6-9 3@16-19 ", 0},
    {3, "[1]", "[1]", "1@0-3 ", 0},
    {3, "[7]", "", "", 1},
    {3, "An array a[i] and [see 1] and [].", "An array a[i] and [see 1] and [].", "", 0},
    {3, "[ , ] stays", "[ , ] stays", "", 0},
    {3, "Open [1", "Open [1", "", 0},
    {3, "Open [", "Open [", "", 0},
    {3, "Twice [[2]]", "Twice [[2]]", "2@7-10 ", 0},
    {3, "Space at the end ", "Space at the end ", "", 0},
    {3, "two  [1]  [8]  x", "two  [1]   x", "1@5-8 ", 1},
    {3, "line\n[2]\nend", "line\n[2]\nend", "2@5-8 ", 0},
    {3, "[1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1]", "[1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1]", "", 0},
    {3, "[                                                          1]",
     "[                                                          1]", "", 0},
    {0, "Code a[1] and [2].", "Code a[1] and [2].", "", 0},
};

static void check(size_t row, const struct cite *c, struct buf *out, size_t cut)
{
    char text[512];
    size_t n = 0;
    text[0] = '\0';
    for (size_t i = 0; i < c->n_citations; i++) {
        n += (size_t)snprintf(text + n, sizeof text - n, "%u@%u-%u ", c->citations[i].number,
                              c->citations[i].start, c->citations[i].end);
    }
    if (strcmp(buf_view(out).ptr, rows[row].out) != 0 || strcmp(text, rows[row].citations) != 0 ||
        c->removed != rows[row].removed) {
        fail_msg("\"%s\" cut at %zu: \"%s\" with %sand %u removed", rows[row].in, cut,
                 buf_view(out).ptr, text, c->removed);
    }
}

static void test_every_cut_gives_the_same(void **state)
{
    (void)state;
    for (size_t row = 0; row < sizeof rows / sizeof *rows; row++) {
        size_t len = strlen(rows[row].in);
        for (size_t cut = 0; cut <= len; cut++) {
            struct cite c;
            struct buf out;
            cite_init(&c, rows[row].n_passages);
            buf_init(&out, 4096);
            cite_add(&c, rows[row].in, cut, &out);
            cite_add(&c, rows[row].in + cut, len - cut, &out);
            cite_end(&c, &out);
            check(row, &c, &out, cut);
            buf_deinit(&out);
        }
        struct cite c; /* and byte by byte, never holding more than it may */
        struct buf out;
        cite_init(&c, rows[row].n_passages);
        buf_init(&out, 4096);
        for (size_t i = 0; i < len; i++) {
            cite_add(&c, rows[row].in + i, 1, &out);
            assert_true(c.held_len <= CITE_HELD_MAX);
        }
        cite_end(&c, &out);
        check(row, &c, &out, len);
        buf_deinit(&out);
    }
}

static void test_citations_are_bounded(void **state)
{
    (void)state;
    struct cite c;
    struct buf out;
    cite_init(&c, 1);
    buf_init(&out, 65536);
    for (size_t i = 0; i < CITE_CITATIONS_MAX + 50; i++) {
        cite_add(&c, "[1]", 3, &out);
    }
    cite_end(&c, &out);
    assert_int_equal(c.n_citations, CITE_CITATIONS_MAX);
    assert_int_equal(out.len, 3 * (CITE_CITATIONS_MAX + 50));
    buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_cut_gives_the_same),
                                       cmocka_unit_test(test_citations_are_bounded)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
