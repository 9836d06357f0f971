#include "cli/sink.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#include "tests/unit/test.h"

static void count(void *data)
{
    atomic_fetch_add((atomic_int *)data, 1);
}

/* A reader that does not read fills the pipe, then the buffer; nothing blocks us and nothing is
 * lost. */
static void test_a_stalled_reader_loses_nothing(void **state)
{
    (void)state;
    static struct sink s;
    static char line[1024];
    int fds[2];
    atomic_int drained = 0;
    size_t sent = 0;
    size_t got = 0;
    char chunk[65536];

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_int_equal(sink_open(&s, fds[1], count, &drained, NULL), STATUS_OK);
    memset(line, 'z', sizeof(line));
    while (!sink_write(&s, (struct str){.ptr = line, .len = sizeof(line)})) {
        sent += sizeof(line);
        assert_true(sent <= 2 * SINK_HIGH);
    }
    sent += sizeof(line);
    assert_true(sent >= SINK_HIGH);
    assert_int_equal(atomic_load(&drained), 0);
    while (got < sent) {
        ssize_t n = read(fds[0], chunk, sizeof(chunk));
        assert_true(n > 0);
        got += (size_t)n;
    }
    for (int i = 0; i < 60000 && atomic_load(&drained) == 0; i++) {
        (void)usleep(1000);
    }
    assert_int_equal(atomic_load(&drained), 1);
    assert_false(sink_write(&s, STR("after\n")));
    assert_true(sink_close(&s, 60000));
    (void)close(fds[0]);
    (void)close(fds[1]);
}

static void test_closing_gives_up_on_a_stalled_reader(void **state)
{
    (void)state;
    static struct sink s; /* stays: its thread is stuck until the process ends */
    static char block[1 << 20];
    int fds[2];
    atomic_int drained = 0;

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_int_equal(sink_open(&s, fds[1], count, &drained, NULL), STATUS_OK);
    (void)sink_write(&s, (struct str){.ptr = block, .len = sizeof(block)});
    assert_false(sink_close(&s, 100));
}

static void test_nobody_reads_any_more(void **state)
{
    (void)state;
    static struct sink s;
    int fds[2];
    atomic_int drained = 0;

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    (void)close(fds[0]);
    assert_int_equal(sink_open(&s, fds[1], count, &drained, NULL), STATUS_OK);
    (void)sink_write(&s, STR("into the void\n"));
    assert_true(sink_close(&s, 60000));
    (void)close(fds[1]);
}

int main(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_stalled_reader_loses_nothing),
        cmocka_unit_test(test_nobody_reads_any_more),
        cmocka_unit_test(test_closing_gives_up_on_a_stalled_reader),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    (void)fflush(NULL);
    _exit(rc); /* the stuck thread of the last test still holds its buffer */
}
