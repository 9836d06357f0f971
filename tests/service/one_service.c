#include "tests/service/one_service.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/file.h"

#define PATIENCE_MS 60000

void one_service_home(struct one_service *s, const char *yaml)
{
    *s = (struct one_service){.home = "/tmp/carrel-one-XXXXXX"};
    assert_non_null(mkdtemp(s->home));
    char path[128];
    (void)snprintf(path, sizeof path, "%s/run", s->home);
    assert_int_equal(mkdir(path, 0700), 0);
    if (yaml != NULL) {
        (void)snprintf(path, sizeof path, "%s/carrel.yaml", s->home);
        assert_int_equal(file_write_atomic(path, yaml, strlen(yaml), 0600, NULL), STATUS_OK);
    }
    identity_make(s->all);
}

void one_service_start(struct one_service *s, const char *binary, enum peer peer, const char *socket)
{
    uint8_t record[IDENTITY_RECORD_BYTES];
    int ends[2];
    char path[512];
    assert_true(s->n_pids < 2);
    identity_encode(&s->all[peer], record);
    assert_int_equal(pipe(ends), 0);
    (void)snprintf(path, sizeof path, CARREL_BIN_DIR "/%s", binary);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)close(ends[1]);
        if (ends[0] != 3) {
            (void)dup2(ends[0], 3);
            (void)close(ends[0]);
        }
        (void)execl(path, binary, "--home", s->home, "--boot-fd", "3", (char *)NULL);
        _exit(127);
    }
    (void)close(ends[0]);
    assert_int_equal(write(ends[1], record, sizeof record), sizeof record);
    (void)close(ends[1]);
    s->pids[s->n_pids++] = pid;
    (void)snprintf(path, sizeof path, "%s/run/%s", s->home, socket);
    int64_t end = clock_monotonic_ms() + PATIENCE_MS;
    while (access(path, F_OK) != 0) {
        assert_int_equal(waitpid(pid, NULL, WNOHANG), 0); /* it must not have ended */
        assert_true(clock_monotonic_ms() < end);
        (void)usleep(5000);
    }
}

static void remove_tree(const char *path)
{
    char command[160];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", path);
    assert_int_equal(system(command), 0);
}

void one_service_stop(struct one_service *s)
{
    for (size_t i = 0; i < s->n_pids; i++) {
        assert_int_equal(kill(s->pids[i], SIGTERM), 0);
    }
    for (size_t i = 0; i < s->n_pids; i++) {
        int status = 0;
        int64_t end = clock_monotonic_ms() + PATIENCE_MS;
        while (waitpid(s->pids[i], &status, WNOHANG) == 0) {
            if (clock_monotonic_ms() >= end) {
                (void)kill(s->pids[i], SIGKILL);
                fail_msg("process %zu did not stop when asked to", i);
            }
            (void)usleep(5000);
        }
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
            fail_msg("process %zu ended with status %d", i, status);
        }
    }
    remove_tree(s->home);
}

struct rpc_client *one_service_client(struct one_service *s, uv_loop_t *loop, enum peer self,
                                      enum peer target)
{
    char address[160];
    struct rpc_client *c = NULL;
    struct error err = {0};
    (void)snprintf(address, sizeof address, "unix:%s/run/%s.sock", s->home, peer_name(target));
    assert_int_equal(rpc_client_new(loop, &s->all[self], target, address, NULL, &c, &err), STATUS_OK);
    return c;
}

static void on_late(uv_timer_t *t)
{
    *(bool *)t->data = true;
}

void one_service_until(uv_loop_t *loop, const bool *flag)
{
    uv_timer_t timer;
    bool late = false;
    (void)uv_timer_init(loop, &timer);
    timer.data = &late;
    (void)uv_timer_start(&timer, on_late, PATIENCE_MS, 0);
    while (!*flag && !late) {
        (void)uv_run(loop, UV_RUN_ONCE);
    }
    uv_close((uv_handle_t *)&timer, NULL);
    (void)uv_run(loop, UV_RUN_NOWAIT);
    assert_true(*flag);
}
