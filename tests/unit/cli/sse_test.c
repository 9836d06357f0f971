#include "cli/sse.h"

#include "tests/unit/test.h"

static void record(void *data, const char *text)
{
    buf_z(data, text);
    buf_char(data, ';');
}

static void test_events_cut_anywhere(void **state)
{
    (void)state;
    const char text[] = ": hello\r\n\r\ndata: {\"a\":1}\r\n\r\nevent: x\ndata:two\n\ndata: "
                        "[DONE]\n\ndata: unfinished";

    for (size_t step = 1; step < sizeof(text); step++) {
        struct sse s;
        struct buf out;
        sse_init(&s);
        buf_init(&out, 4096);
        for (size_t i = 0; i < sizeof(text) - 1; i += step) {
            size_t n = sizeof(text) - 1 - i < step ? sizeof(text) - 1 - i : step;
            assert_true(sse_feed(&s, text + i, n, record, &out));
        }
        assert_string_equal(out.ptr, "{\"a\":1};two;[DONE];");
        sse_deinit(&s);
        buf_deinit(&out);
    }
}

static void test_a_line_without_end_is_refused(void **state)
{
    (void)state;
    static char block[1 << 20];
    struct sse s;
    struct buf out;
    bool ok = true;

    memset(block, 'd', sizeof(block));
    sse_init(&s);
    buf_init(&out, 16);
    for (int i = 0; i < 9 && ok; i++) {
        ok = sse_feed(&s, block, sizeof(block), record, &out);
    }
    assert_false(ok);
    sse_deinit(&s);
    buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events_cut_anywhere),
        cmocka_unit_test(test_a_line_without_end_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
