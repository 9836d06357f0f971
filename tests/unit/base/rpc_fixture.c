#include "tests/unit/base/rpc_fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"

/* ---- the other process */

pid_t start_server(const struct fixture *f)
{
    int p[2];
    char ready = 0;
    assert_int_equal(pipe2(p, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)dup2(p[1], 3);
        execl("/proc/self/exe", "rpc-server", "--server", f->folder, f->address, (char *)NULL);
        _exit(127);
    }
    (void)close(p[1]);
    ssize_t n = read(p[0], &ready, 1);
    (void)close(p[0]);
    assert_int_equal(n, 1);
    return pid;
}

void stop_server(pid_t pid)
{
    int status;
    assert_int_equal(kill(pid, SIGTERM), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0); /* no handle left, no leak */
}

static void on_alarm(uv_timer_t *t)
{
    (void)t;
    fprintf(stderr, "the loop waited for something that never came\n");
    abort();
}

struct rpc_client *new_client(struct fixture *f, const struct identity *as)
{
    struct rpc_client *c;
    struct error err;
    enum status s = rpc_client_new(&f->loop, as, PEER_VECTORSTORE, f->address, NULL, &c, &err);
    assert_int_equal(s, STATUS_OK);
    return c;
}

void on_closed(void *data)
{
    *(bool *)data = true;
}

void turn_until(struct fixture *f, const bool *done)
{
    while (!*done) {
        (void)uv_run(&f->loop, UV_RUN_ONCE);
    }
}

void close_client(struct fixture *f, struct rpc_client *c)
{
    bool closed = false;
    rpc_client_close(c, on_closed, &closed);
    turn_until(f, &closed);
}

int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct error err;
    char path[128];
    uint8_t record[IDENTITY_RECORD_BYTES];
    assert_non_null(f);
    test_folder(f->folder);
    (void)snprintf(f->address, sizeof f->address, "unix:%s/echo.sock", f->folder);
    identity_make(f->ids);
    identity_encode(&f->ids[PEER_VECTORSTORE], record);
    (void)snprintf(path, sizeof path, "%s/vectorstore.identity", f->folder);
    assert_int_equal(file_write_atomic(path, record, sizeof record, 0600, &err), STATUS_OK);
    f->server = start_server(f);
    assert_int_equal(uv_loop_init(&f->loop), 0);
    (void)uv_timer_init(&f->loop, &f->alarm);
    (void)uv_timer_start(&f->alarm, on_alarm, 250000, 0);
    f->client = new_client(f, &f->ids[PEER_RETRIEVE]);
    *state = f;
    return 0;
}

int teardown(void **state)
{
    struct fixture *f = *state;
    close_client(f, f->client);
    stop_server(f->server);
    uv_close((uv_handle_t *)&f->alarm, NULL);
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    test_folder_remove(f->folder);
    free(f);
    return 0;
}

/* ---- one call, waited for */

static void copy_text(char out[64], const char *z)
{
    (void)snprintf(out, 64, "%s", z == NULL ? "(none)" : z);
}

void on_reply(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    struct outcome *o = data;
    const Echo__EchoReply *e = echo_echo_reply(m);
    assert_non_null(e);
    assert_false(o->in_start);
    o->replies++;
    o->number = e->number;
    o->cancels = e->cancels;
    o->pid = e->pid;
    o->peer = e->peer;
    copy_text(o->text, e->text);
    copy_text(o->tenant, e->tenant);
    copy_text(o->user, e->user);
    if (o->stop_after_first) {
        rpc_request_pause(r);
    }
}

void on_finish(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct outcome *o = data;
    assert_false(o->in_start);
    assert_false(o->done);
    o->done = true;
    o->err = *err;
}

static const struct rpc_callbacks collect = {.on_reply = on_reply, .on_finish = on_finish};

struct rpc_request *start_method(struct rpc_client *c, const struct rpc_method *m,
                                 const struct rpc_options *opt, Echo__EchoRequest *q,
                                 struct outcome *o)
{
    *o = (struct outcome){.in_start = true};
    struct rpc_request *r = rpc_client_start(c, m, opt, q == NULL ? NULL : &q->base, &collect, o);
    assert_non_null(r);
    o->in_start = false;
    return r;
}

enum status call(struct fixture *f, struct rpc_client *c, const struct rpc_method *m,
                 const struct rpc_options *opt, uint32_t number, struct outcome *o)
{
    Echo__EchoRequest q = ECHO__ECHO_REQUEST__INIT;
    q.has_number = 1;
    q.number = number;
    (void)start_method(c, m, opt, &q, o);
    turn_until(f, &o->done);
    return o->err.code;
}

void assert_works(struct fixture *f, struct rpc_client *c)
{
    struct outcome o;
    assert_int_equal(call(f, c, &echo_echo_method, NULL, 4711, &o), STATUS_OK);
    assert_int_equal(o.number, 4711);
    assert_int_equal(o.peer, PEER_RETRIEVE);
}

/* ---- many calls */

static void many_on_reply(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct one_of_many *one = data;
    const Echo__EchoReply *e = echo_echo_reply(m);
    char text[32];
    (void)snprintf(text, sizeof text, "text %u", one->number);
    one->replies++;
    if (e->number != one->number || e->text == NULL || strcmp(e->text, text) != 0) {
        one->all->wrong++;
    }
}

static void many_on_finish(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct one_of_many *one = data;
    if (err->code != STATUS_OK || one->replies != 1) {
        one->all->wrong++;
    }
    one->all->done = ++one->all->finished == one->all->expected;
}

struct one_of_many *start_many(struct rpc_client *c, struct many *all, unsigned n)
{
    static const struct rpc_callbacks cb = {.on_reply = many_on_reply, .on_finish = many_on_finish};
    struct one_of_many *ones = calloc(n, sizeof *ones);
    assert_non_null(ones);
    *all = (struct many){.expected = n};
    for (unsigned i = 0; i < n; i++) {
        char text[32];
        Echo__EchoRequest q = ECHO__ECHO_REQUEST__INIT;
        ones[i] = (struct one_of_many){.all = all, .number = i * 7 + 1};
        (void)snprintf(text, sizeof text, "text %u", ones[i].number);
        q.has_number = 1;
        q.number = ones[i].number;
        q.text = text;
        assert_non_null(echo_echo(c, NULL, &q, &cb, &ones[i]));
    }
    return ones;
}

bool fixture_main(int argc, char **argv, int *exit_code)
{
    if (argc == 4 && strcmp(argv[1], "--server") == 0) {
        *exit_code = echo_service_run(argv[2], argv[3]);
        return true;
    }
    log_init("test", LOG_LEVEL_ERROR);
    (void)signal(SIGPIPE, SIG_IGN);
    return false;
}
