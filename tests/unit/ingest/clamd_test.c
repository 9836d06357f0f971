/* Asking a scanner that behaves, and many that do not. */
#include "ingest/clamd.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"

static char folder[] = "/tmp/carrel-clamd-XXXXXX";

/* What the next connections do, one character each. */
struct scanner {
    pthread_t thread;
    int listener;
    const char *plan;
    char path[96];
    size_t got; /* bytes of the file, of the last INSTREAM */
    bool framed;
};

static bool read_exactly(int fd, void *out, size_t n)
{
    char *p = out;
    while (n > 0) {
        ssize_t got = recv(fd, p, n, 0);
        if (got <= 0) {
            return false;
        }
        p += got;
        n -= (size_t)got;
    }
    return true;
}

static void read_stream(struct scanner *s, int fd)
{
    static char piece[1 << 17];
    s->got = 0;
    s->framed = false;
    for (;;) {
        unsigned char head[4];
        if (!read_exactly(fd, head, 4)) {
            return;
        }
        size_t n = (size_t)head[0] << 24 | (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];
        if (n == 0) {
            s->framed = true;
            return;
        }
        if (n > sizeof piece || !read_exactly(fd, piece, n)) {
            return;
        }
        s->got += n;
    }
}

static void answer(int fd, const char *text)
{
    (void)!send(fd, text, strlen(text) + 1, MSG_NOSIGNAL);
}

static void *serve(void *data)
{
    struct scanner *s = data;
    for (const char *act = s->plan; *act != '\0'; act++) {
        char command[16] = "";
        int fd = accept(s->listener, NULL, NULL);
        if (fd < 0) {
            break;
        }
        for (size_t i = 0; i < sizeof command && read_exactly(fd, command + i, 1); i++) {
            if (command[i] == '\0') {
                break;
            }
        }
        if (*act == 'p') {
            answer(fd, strcmp(command, "zPING") == 0 ? "PONG" : "?");
        } else if (*act == 'h') { /* hangs, until the other side goes */
            char one;
            while (recv(fd, &one, 1, 0) > 0) {
            }
        } else if (*act == 'c') {
            char some[100];
            (void)read_exactly(fd, some, sizeof some);
        } else if (*act == 'w') {
            answer(fd, "220 mail ready");
        } else if (*act == 'q') {
            (void)shutdown(fd, SHUT_RDWR);
        } else if (*act == 'e') {
            answer(fd, "stream: OK");
        } else if (*act == 'l') {
            char some[100];
            (void)read_exactly(fd, some, sizeof some);
            answer(fd, "INSTREAM size limit exceeded. ERROR");
        } else {
            read_stream(s, fd);
            static const char *const answers[] = {"stream: OK",
                                                  "stream: Win.Test.EICAR_HDB-1 FOUND",
                                                  "stream: OK FOUND",
                                                  "HTTP/1.1 200 OK",
                                                  "stream:  FOUND",
                                                  "stream: \033[31m\"x FOUND",
                                                  "stream: Can't allocate memory ERROR",
                                                  "INSTREAM size limit exceeded. ERROR"};
            if (*act >= '0' && *act <= '7') {
                answer(fd, answers[*act - '0']);
            } else if (*act == 'x') { /* without end */
                static const char noise[4096] = {'x'};
                char filled[sizeof noise];
                memset(filled, 'x', sizeof filled);
                while (send(fd, filled, sizeof filled, MSG_NOSIGNAL) > 0) {
                }
            }
        }
        close(fd);
    }
    return NULL;
}

static void begin(struct scanner *s, const char *plan)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    memset(s, 0, sizeof *s);
    s->plan = plan;
    snprintf(s->path, sizeof s->path, "%s/clamd", folder);
    snprintf(a.sun_path, sizeof a.sun_path, "%s", s->path);
    s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(s->listener, 8), 0);
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void end(struct scanner *s)
{
    (void)shutdown(s->listener, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->listener);
    unlink(s->path);
}

static int file_with(size_t size)
{
    int fd = memfd_create("file", MFD_CLOEXEC);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    return fd;
}

static enum clamd_verdict ask(const char *plan, size_t size, struct scanner *s, char *name,
                              struct error *err)
{
    int64_t patience =
        strchr(plan, 'h') != NULL ? 2000 : 60000; /* a busy scanner is none that hangs */
    struct clamd c = {.address = s->path, .timeout_ms = patience, .cancel = -1};
    int fd = file_with(size);
    begin(s, plan);
    enum clamd_verdict v = clamd_scan(&c, fd, name, err);
    end(s);
    close(fd);
    return v;
}

static void test_verdicts(void **state)
{
    static const struct {
        const char *plan; /* the question, then the ping that follows a bad answer */
        size_t size;
        enum clamd_verdict verdict;
        const char *text; /* the name, or part of the reason */
    } cases[] = {
        {"0", 10, CLAMD_CLEAN, ""},
        {"0", 300000, CLAMD_CLEAN, ""},
        {"1", 70000, CLAMD_FOUND, "Win.Test.EICAR_HDB-1"},
        {"2", 10, CLAMD_FOUND, "OK"},
        {"5", 10, CLAMD_FOUND, "_[31m\"x"},
        {"7", 10, CLAMD_TOO_LARGE, ""},
        {"l", 9000000, CLAMD_TOO_LARGE, ""},
        {"3p", 10, CLAMD_FAILED, "HTTP/1.1"},
        {"4p", 10, CLAMD_FAILED, "scanner said"},
        {"6p", 10, CLAMD_FAILED, "allocate"},
        {"cp", 300000, CLAMD_FAILED, "hung up"},
        {"ep", 9000000, CLAMD_FAILED, ""}, /* clean, said before all was seen */
        {"hp", 10, CLAMD_FAILED, "does not answer"},
        {"xp", 10, CLAMD_FAILED, "without end"},
        {"cq", 300000, CLAMD_DOWN, "hung up"},
        {"3w", 10, CLAMD_DOWN, "no malware scanner"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct scanner s;
        struct error err = {0};
        char name[CLAMD_NAME_CAP];
        enum clamd_verdict v = ask(cases[i].plan, cases[i].size, &s, name, &err);
        const char *text = v == CLAMD_FOUND ? name : err.text;
        if (v != cases[i].verdict || strstr(text, cases[i].text) == NULL) {
            fail_msg("%s: %d \"%s\"", cases[i].plan, (int)v, text);
        }
        if (v == CLAMD_CLEAN) { /* all of it was sent, in the protocol's frames */
            assert_true(s.framed);
            assert_int_equal(s.got, cases[i].size);
        }
    }
}

static void test_nobody_there(void **state)
{
    struct error err = {0};
    char name[CLAMD_NAME_CAP];
    struct clamd c = {.address = "/nonexistent/clamd", .timeout_ms = 400, .cancel = -1};
    int fd = file_with(10);
    (void)state;
    assert_int_equal(clamd_scan(&c, fd, name, &err), CLAMD_DOWN);
    assert_non_null(strstr(err.text, "cannot be reached"));
    c.address = "127.0.0.1:1";
    assert_int_equal(clamd_scan(&c, fd, name, &err), CLAMD_DOWN);
    c.address = "192.0.2.1:3310"; /* nobody's, and not of a local network */
    assert_int_equal(clamd_scan(&c, fd, name, &err), CLAMD_DOWN);
    assert_non_null(strstr(err.text, "local network"));
    close(fd);
}

static void test_cancel(void **state)
{
    struct scanner s;
    struct error err = {0};
    char name[CLAMD_NAME_CAP];
    int wake[2];
    (void)state;
    assert_int_equal(pipe(wake), 0);
    begin(&s, "h");
    struct clamd c = {.address = s.path, .timeout_ms = 60000, .cancel = wake[0]};
    int fd = file_with(10);
    assert_int_equal(write(wake[1], "x", 1), 1);
    int64_t before = clock_monotonic_ms();
    assert_int_equal(clamd_scan(&c, fd, name, &err), CLAMD_DOWN);
    assert_true(clock_monotonic_ms() - before < 20000);
    end(&s);
    close(fd);
    close(wake[0]);
    close(wake[1]);
}

static void test_addresses(void **state)
{
    (void)state;
    assert_true(clamd_address_valid("/run/clamav/clamd.ctl"));
    assert_true(clamd_address_valid("127.0.0.1:3310"));
    assert_true(clamd_address_valid("[::1]:3310"));
    assert_true(clamd_address_valid("scanner.lan:3310"));
    assert_false(clamd_address_valid("scanner"));
    assert_false(clamd_address_valid("scanner:"));
    assert_false(clamd_address_valid(":3310"));
    assert_false(clamd_address_valid("http://scanner:3310"));
    assert_false(clamd_address_valid("scanner:99999"));
    assert_false(clamd_address_valid("a b:1"));
}

static int set_up(void **state)
{
    (void)state;
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verdicts),
        cmocka_unit_test(test_nobody_there),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_addresses),
    };
    return cmocka_run_group_tests_name("clamd", tests, set_up, tear_down);
}
