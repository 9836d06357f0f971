#include "cli/lines.h"

#include "base/buf.h"
#include "tests/unit/test.h"

static void record(void *data, struct str line, bool continued, bool more)
{
    struct buf *out = data;

    buf_z(out, continued ? "+" : "|");
    buf_str(out, line);
    buf_z(out, more ? "~" : "$");
}

static void test_pieces_of_any_size_give_the_same_lines(void **state)
{
    (void)state;
    const char text[] = "one\n\ntwo\r\nthree without end";

    for (size_t step = 1; step < sizeof(text); step++) {
        struct lines l;
        struct buf out;
        lines_init(&l);
        buf_init(&out, 4096);
        for (size_t i = 0; i < sizeof(text) - 1; i += step) {
            size_t n = sizeof(text) - 1 - i < step ? sizeof(text) - 1 - i : step;
            lines_feed(&l, text + i, n, record, &out);
        }
        lines_end(&l, record, &out);
        lines_end(&l, record, &out); /* nothing is given twice */
        assert_string_equal(out.ptr, "|one$|$|two\r$|three without end$");
        buf_deinit(&out);
    }
}

static void count_bytes(void *data, struct str line, bool continued, bool more)
{
    (void)continued;
    (void)more;
    *(size_t *)data += line.len;
}

static void test_a_long_line_comes_in_pieces(void **state)
{
    (void)state;
    static char text[3 * LINES_MAX + 7];
    struct lines l;
    size_t bytes = 0;

    memset(text, 'x', sizeof(text));
    lines_init(&l);
    lines_feed(&l, text, sizeof(text), count_bytes, &bytes);
    lines_feed(&l, "\n", 1, count_bytes, &bytes);
    assert_int_equal(bytes, sizeof(text));
    assert_false(l.inside);

    struct buf out;
    buf_init(&out, 1 << 20);
    lines_feed(&l, text, LINES_MAX + 1, record, &out);
    lines_feed(&l, "\nnext\n", 6, record, &out);
    assert_int_equal(out.ptr[0], '|');
    assert_non_null(strstr(out.ptr, "~+x$|next$"));
    buf_deinit(&out);
}

static void test_a_line_that_just_fits(void **state)
{
    (void)state;
    static char text[LINES_MAX + 1];
    struct lines l;
    struct buf out;

    memset(text, 'y', LINES_MAX);
    text[LINES_MAX] = '\n';
    lines_init(&l);
    buf_init(&out, 1 << 20);
    lines_feed(&l, text, sizeof(text), record, &out);
    assert_int_equal(out.len, LINES_MAX + 2);
    assert_int_equal(out.ptr[out.len - 1], '$');
    buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces_of_any_size_give_the_same_lines),
        cmocka_unit_test(test_a_long_line_comes_in_pieces),
        cmocka_unit_test(test_a_line_that_just_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
