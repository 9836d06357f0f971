/* service_main as the supervisor sees it: this program starts itself as a service and looks on. */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/rpc/health_rpc.h"
#include "base/service.h"
#include "tests/unit/test.h"

/* ---- the service */

static enum status on_open(struct service *svc, struct error *err)
{
    char cwd[256];
    if (getenv("SERVICE_TEST_REFUSES") != NULL) {
        return error_set(err, STATUS_CORRUPT, "the test wants no start");
    }
    if (getcwd(cwd, sizeof cwd) == NULL || strcmp(cwd, svc->home) != 0) {
        return error_set(err, STATUS_INTERNAL, "not in its home");
    }
    svc->state = svc;
    metric_add(
        metrics_counter(service_metrics(svc), "carrel_embed_test_total", "Of the test.", NULL, 0),
        42);
    error_set(err, STATUS_IO, "something went wrong once");
    service_note_error(svc, err);
    return service_client(svc, PEER_INGEST) != NULL ? STATUS_OK : STATUS_NO_MEMORY;
}

static void on_health(struct service *svc, struct service_health *out)
{
    (void)svc;
    out->queue = 7;
    (void)snprintf(out->detail, sizeof out->detail, "all is well");
    metrics_write_head(out->metrics, "carrel_embed_own", "gauge", "Own.");
    metrics_write_sample(out->metrics, "carrel_embed_own", NULL, 0, 1.5);
}

static void on_close(struct service *svc)
{
    if (getenv("SERVICE_TEST_HANGS") == NULL) {
        service_closed(svc);
    }
}

static const struct service_definition definition = {
    .self = PEER_EMBED, .open = on_open, .health = on_health, .close = on_close};

/* ---- the onlooker */

struct fixture {
    char home[64];
    struct identity ids[PEER_COUNT];
    int stderr_fd;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    if (f == NULL) {
        return 1;
    }
    test_folder(f->home);
    identity_make(f->ids);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    test_folder_remove(f->home);
    free(f);
    return 0;
}

/* The service's standard error becomes readable at *log; its identity is `as`. */
static pid_t start_as_user(const struct fixture *f, enum peer as, const char *user, int *log)
{
    int boot[2], out[2];
    uint8_t record[IDENTITY_RECORD_BYTES];
    identity_encode(&f->ids[as], record);
    assert_int_equal(pipe2(boot, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    assert_int_equal(write(boot[1], record, sizeof record), (ssize_t)sizeof record);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)dup2(out[1], STDERR_FILENO);
        if (boot[0] == 3) {
            (void)fcntl(3, F_SETFD, 0);
        } else {
            (void)dup2(boot[0], 3);
        }
        execl("/proc/self/exe", "carrel-embed", "--home", f->home, user == NULL ? NULL : "--user",
              user, (char *)NULL);
        _exit(127);
    }
    (void)close(boot[0]);
    (void)close(boot[1]);
    (void)close(out[1]);
    *log = out[0];
    return pid;
}

static pid_t start(const struct fixture *f, enum peer as, int *log)
{
    return start_as_user(f, as, NULL, log);
}

/* Reads log lines until one holds `text`; false at the end of the log. */
static bool log_says(int log, const char *text)
{
    char seen[16384];
    size_t n = 0;
    while (n < sizeof seen - 1) {
        ssize_t got = read(log, seen + n, sizeof seen - 1 - n);
        if (got <= 0) {
            break;
        }
        n += (size_t)got;
        seen[n] = '\0';
        if (strstr(seen, text) != NULL) {
            return true;
        }
    }
    return false;
}

static int exit_code(pid_t pid)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

struct asked {
    bool done;
    enum status code;
    char detail[64], error[64];
    char metrics[4096];
    uint32_t queue;
};

static void on_reply(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct asked *a = data;
    const Rpc__HealthReply *h = rpc_health_reply(m);
    assert_string_equal(h->service, "embed");
    assert_true(clock_wall_ms() - h->up_since_wall_ms < 30000);
    a->queue = h->queue;
    (void)snprintf(a->detail, sizeof a->detail, "%s", h->detail);
    (void)snprintf(a->error, sizeof a->error, "%s", h->last_error);
    (void)snprintf(a->metrics, sizeof a->metrics, "%.*s", (int)h->metrics.len,
                   (const char *)h->metrics.data);
}

static void on_finish(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct asked *a = data;
    a->code = err->code;
    a->done = true;
}

static void ask(const struct fixture *f, enum peer as, struct asked *a)
{
    static const struct rpc_callbacks cb = {.on_reply = on_reply, .on_finish = on_finish};
    const struct rpc_options o = {.wait_for_ready = true, .timeout_ms = 60000};
    const struct settings unix_transport = {.rpc = {.transport = "unix"}};
    Rpc__HealthRequest q = RPC__HEALTH_REQUEST__INIT;
    uv_loop_t loop;
    struct rpc_client *c;
    struct error err;
    char address[256];
    *a = (struct asked){0};
    service_address(&unix_transport, f->home, PEER_EMBED, address, sizeof address);
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(rpc_client_new(&loop, &f->ids[as], PEER_EMBED, address, NULL, &c, &err),
                     STATUS_OK);
    assert_non_null(rpc_health(c, &o, &q, &cb, a));
    while (!a->done) {
        (void)uv_run(&loop, UV_RUN_ONCE);
    }
    rpc_client_close(c, NULL, NULL);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void test_life(void **state)
{
    struct fixture *f = *state;
    struct asked a;
    struct stat st;
    char path[128];
    int log;
    pid_t pid = start(f, PEER_EMBED, &log);
    assert_true(log_says(log, "msg=ready"));
    ask(f, PEER_SUPERVISOR, &a);
    assert_int_equal(a.code, STATUS_OK);
    assert_int_equal(a.queue, 7);
    assert_string_equal(a.detail, "all is well");
    assert_string_equal(a.error, "something went wrong once");
    assert_non_null(strstr(a.metrics, "\ncarrel_embed_test_total 42\n"));
    assert_non_null(strstr(a.metrics, "\ncarrel_embed_own 1.5\n"));
    assert_non_null(strstr(a.metrics, "\ncarrel_embed_rpc_calls_total 1\n"));
    ask(f, PEER_RETRIEVE, &a);
    assert_int_equal(a.code, STATUS_FORBIDDEN);
    (void)snprintf(path, sizeof path, "%s/run/embed.sock", f->home);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(kill(pid, SIGTERM), 0);
    assert_int_equal(exit_code(pid), 0);
    assert_int_equal(stat(path, &st), -1);
    (void)close(log);
}

static void test_refusals(void **state)
{
    struct fixture *f = *state;
    int log;
    pid_t pid = start(f, PEER_INGEST, &log); /* somebody else's identity */
    assert_true(log_says(log, "the identity handed over is that of ingest"));
    assert_int_equal(exit_code(pid), 1);
    (void)close(log);

    assert_int_equal(setenv("SERVICE_TEST_REFUSES", "1", 1), 0);
    pid = start(f, PEER_EMBED, &log);
    assert_int_equal(unsetenv("SERVICE_TEST_REFUSES"), 0);
    assert_true(log_says(log, "the test wants no start"));
    assert_int_equal(exit_code(pid), 1);
    (void)close(log);

    char settings[96];
    struct error err;
    (void)snprintf(settings, sizeof settings, "%s/carrel.yaml", f->home);
    assert_int_equal(file_write_atomic(settings, "nonsense: 1\n", 12, 0600, &err), STATUS_OK);
    pid = start(f, PEER_EMBED, &log);
    assert_true(log_says(log, "nonsense"));
    assert_int_equal(exit_code(pid), 1);
    (void)close(log);
}

static void test_second_signal(void **state)
{
    struct fixture *f = *state;
    int log;
    assert_int_equal(setenv("SERVICE_TEST_HANGS", "1", 1), 0);
    pid_t pid = start(f, PEER_EMBED, &log);
    assert_true(log_says(log, "msg=ready"));
    assert_int_equal(kill(pid, SIGTERM), 0);
    assert_true(log_says(log, "msg=closing"));
    assert_int_equal(kill(pid, SIGINT), 0);
    assert_int_equal(exit_code(pid), 128 + SIGINT);
    (void)close(log);

    /* Left alone, it meets the limit. */
    pid = start(f, PEER_EMBED, &log);
    assert_int_equal(unsetenv("SERVICE_TEST_HANGS"), 0);
    assert_true(log_says(log, "msg=ready"));
    int64_t since = clock_monotonic_ms();
    assert_int_equal(kill(pid, SIGTERM), 0);
    assert_int_equal(exit_code(pid), 3);
    assert_in_range(clock_monotonic_ms() - since, 4000, 60000);
    (void)close(log);
}

/* A supervisor that is killed takes the service with it. */
static void check_dies_with_parent(const struct fixture *f, const char *user)
{
    int log, pids[2];
    pid_t service = 0;
    assert_int_equal(pipe(pids), 0);
    /* The orphan becomes our child, so that its end can be waited for. */
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    pid_t supervisor = fork();
    if (supervisor == 0) {
        service = start_as_user(f, PEER_EMBED, user, &log);
        bool told = log_says(log, "msg=ready") &&
                    write(pids[1], &service, sizeof service) == (ssize_t)sizeof service;
        while (told) {
            (void)pause();
        }
        _exit(1);
    }
    assert_int_equal(read(pids[0], &service, sizeof service), (ssize_t)sizeof service);
    assert_int_equal(kill(supervisor, SIGKILL), 0);
    assert_int_equal(exit_code(supervisor), 1000 + SIGKILL);
    assert_int_equal(exit_code(service), 1000 + SIGKILL);
    (void)close(pids[0]);
    (void)close(pids[1]);
}

static void test_dies_with_its_parent(void **state)
{
    check_dies_with_parent(*state, NULL);
}

/* Started as root it becomes the user, all of it, and still dies with its parent. */
static void test_becomes_user(void **state)
{
    struct fixture *f = *state;
    const struct passwd *nobody = getpwnam("nobody");
    if (geteuid() != 0 || nobody == NULL) {
        skip(); /* only root can become somebody else */
    }
    struct asked a;
    struct stat st;
    char path[128], expected[128];
    char status[4096] = "";
    int log;
    uid_t uid = nobody->pw_uid;
    gid_t gid = nobody->pw_gid;
    assert_int_equal(chown(f->home, uid, gid), 0);
    pid_t pid = start_as_user(f, PEER_EMBED, "nobody", &log);
    assert_true(log_says(log, "msg=ready"));
    (void)snprintf(path, sizeof path, "/proc/%d/status", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0 && read(fd, status, sizeof status - 1) > 0);
    (void)close(fd);
    (void)snprintf(expected, sizeof expected, "Uid:\t%u\t%u\t%u\t%u\nGid:\t%u\t%u\t%u\t%u\n", uid,
                   uid, uid, uid, gid, gid, gid, gid);
    assert_non_null(strstr(status, expected));
    assert_non_null(strstr(status, "\nGroups:\t \n"));
    (void)snprintf(path, sizeof path, "%s/run/embed.sock", f->home);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_uid, uid);
    ask(f, PEER_SUPERVISOR, &a);
    assert_int_equal(a.code, STATUS_OK);
    assert_int_equal(kill(pid, SIGTERM), 0);
    assert_int_equal(exit_code(pid), 0);
    (void)close(log);

    pid = start_as_user(f, PEER_EMBED, "nobody-by-that-name", &log);
    assert_true(log_says(log, "not on this machine"));
    assert_int_equal(exit_code(pid), 1);
    (void)close(log);
    check_dies_with_parent(f, "nobody");
}

static void test_usage(void **state)
{
    (void)state;
    static const char *const wrong[][4] = {
        {NULL}, {"--home", NULL}, {"--boot-fd", "x", "--home", "/tmp"}, {"--what", "1", NULL}};
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        pid_t pid = fork();
        if (pid == 0) {
            int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
            (void)dup2(null, STDERR_FILENO);
            execl("/proc/self/exe", "carrel-embed", i == 0 ? "--help" : wrong[i][0], wrong[i][1],
                  wrong[i][1] == NULL ? NULL : wrong[i][2], wrong[i][3], (char *)NULL);
            _exit(127);
        }
        assert_int_equal(exit_code(pid), 2);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        return service_main(argc, argv, &definition);
    }
    log_init("test", LOG_LEVEL_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_usage),
        cmocka_unit_test_setup_teardown(test_life, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
        cmocka_unit_test_setup_teardown(test_second_signal, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dies_with_its_parent, setup, teardown),
        cmocka_unit_test_setup_teardown(test_becomes_user, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
