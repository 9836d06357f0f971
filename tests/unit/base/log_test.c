#include "tests/unit/test.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/log.h"

/* What fn writes to stderr. */
static char *captured(void (*fn)(void))
{
    char path[] = "/tmp/carrel-log-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    int old = dup(STDERR_FILENO);
    assert_true(dup2(fd, STDERR_FILENO) >= 0);
    fn();
    assert_true(dup2(old, STDERR_FILENO) >= 0);
    (void)close(old);
    off_t len = lseek(fd, 0, SEEK_END);
    char *text = calloc(1, (size_t)len + 1);
    assert_non_null(text);
    assert_int_equal(pread(fd, text, (size_t)len, 0), len);
    (void)close(fd);
    (void)unlink(path);
    return text;
}

static void hostile(void)
{
    LOG_INFO("a value", LOG_STR("doc", "x\nlevel=error forged=\"yes\"\x1b[31m"), LOG_INT("n", -5), LOG_END);
}

static void test_values_cannot_forge_lines_or_fields(void **state)
{
    (void)state;
    char *text = captured(hostile);
    assert_int_equal(strchr(text, '\n') - text, (ptrdiff_t)strlen(text) - 1); /* one line */
    assert_non_null(strstr(text, "doc=\"x\\nlevel=error forged=\\\"yes\\\"\\x1b[31m\" n=-5\n"));
    assert_non_null(strstr(text, "svc=test msg=\"a value\""));
    free(text);
}

static void levels(void)
{
    LOG_DEBUG("hidden", LOG_END);
    LOG_ERROR("shown", LOG_END);
}

static void test_levels(void **state)
{
    (void)state;
    char *text = captured(levels);
    assert_null(strstr(text, "hidden"));
    assert_non_null(strstr(text, "msg=shown"));
    free(text);
    enum log_level l;
    assert_true(log_level_parse("warn", &l));
    assert_int_equal(l, LOG_LEVEL_WARN);
    assert_false(log_level_parse("loud", &l));
}

static void flood(void)
{
    for (int i = 0; i < 500; i++) {
        LOG_INFO("flood", LOG_END);
    }
}

static void test_a_call_site_cannot_flood(void **state)
{
    (void)state;
    char *text = captured(flood);
    int lines = 0;
    for (const char *p = text; *p != '\0'; p++) {
        lines += *p == '\n';
    }
    assert_in_range(lines, 50, 100); /* 100: when a second turned meanwhile */
    free(text);
}

static char big[5000];

static void oversized(void)
{
    LOG_INFO("big", LOG_STR("v", big), LOG_STR("after", "x"), LOG_END);
}

static void test_a_long_line_is_cut_and_stays_one_line(void **state)
{
    (void)state;
    memset(big, 'b', sizeof big - 1);
    char *text = captured(oversized);
    size_t len = strlen(text);
    assert_in_range(len, 10, 2048);
    assert_int_equal(text[len - 1], '\n');
    free(text);
}

int main(void)
{
    log_init("test", LOG_LEVEL_INFO);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_cannot_forge_lines_or_fields),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_a_call_site_cannot_flood),
        cmocka_unit_test(test_a_long_line_is_cut_and_stays_one_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
