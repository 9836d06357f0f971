#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "generate/upstream/sse.h"

static bool collect(struct str event, void *data)
{
    struct buf *out = data;
    buf_char(out, '<');
    buf_str(out, event);
    buf_char(out, '>');
    return !str_eq(event, STR("stop"));
}

static const struct {
    const char *in;
    const char *out;
} rows[] = {
    {"data: a\n\ndata: b\n\n", "<a><b>"},
    {"data: a\r\n\r\ndata: b\r\n\r\n", "<a><b>"},
    {"data: a\r\rdata: b\r\r", "<a><b>"},
    {"data:a\n\n", "<a>"},
    {"data:  a\n\n", "< a>"},
    {"data: a\ndata: b\n\n", "<a\nb>"},
    {"data\n\n", "<>"},
    {": comment\nevent: x\nid: 1\ndata: a\n\n", "<a>"},
    {"\n\n\ndata: a\n\n\n", "<a>"},
    {"data: unfinished\n", ""},
    {"database: no\n\n", ""},
    {"data: stop\n\ndata: after\n\n", "<stop>"},
};

static void test_every_cut(void **state)
{
    (void)state;
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        size_t len = strlen(rows[r].in);
        for (size_t cut = 0; cut <= len; cut++) {
            struct sse s;
            struct buf out;
            struct error err = {0};
            sse_init(&s);
            buf_init(&out, 4096);
            assert_int_equal(sse_add(&s, rows[r].in, cut, collect, &out, &err), STATUS_OK);
            assert_int_equal(sse_add(&s, rows[r].in + cut, len - cut, collect, &out, &err), STATUS_OK);
            assert_string_equal(buf_view(&out).ptr, rows[r].out);
            buf_deinit(&out);
            sse_deinit(&s);
        }
    }
}

static void test_a_line_has_a_limit(void **state)
{
    (void)state;
    struct sse s;
    struct buf out;
    struct error err = {0};
    static char block[65536];
    memset(block, 'x', sizeof block);
    sse_init(&s);
    buf_init(&out, 4096);
    enum status status = STATUS_OK;
    for (int i = 0; i < 40 && status == STATUS_OK; i++) {
        status = sse_add(&s, block, sizeof block, collect, &out, &err);
    }
    assert_int_equal(status, STATUS_TOO_LARGE);
    buf_deinit(&out);
    sse_deinit(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_cut),
                                       cmocka_unit_test(test_a_line_has_a_limit)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
