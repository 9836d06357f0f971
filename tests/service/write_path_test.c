/* The whole write path: carrel-ingest, carrel-vectorstore and carrel-embed as processes, killed one
 * after another while files come, change and go. Afterwards the store holds exactly what the folder
 * holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "ingest/ingest_rpc.h"
#include "tests/service/one_service.h"
#include "vectorstore/vectorstore_rpc.h"

#define FILES 150
#define PATIENCE_MS 90000

enum { STORE, EMBED, INGEST, PARTS };
static const struct {
    const char *binary, *socket;
    enum peer peer;
} parts[PARTS] = {
    {"carrel-vectorstore", "vectorstore.sock", PEER_VECTORSTORE},
    {"carrel-embed", "embed.sock", PEER_EMBED},
    {"carrel-ingest", "ingest.sock", PEER_INGEST},
};

struct world {
    uv_loop_t loop;
    uv_timer_t timer;
    struct one_service home;       /* owns the folder and the identities */
    struct one_service one[PARTS]; /* the same, with one process each */
    struct rpc_client *ingest, *store;
    int closed;
};

static void start(struct world *w, int part)
{
    char socket[128];
    (void)snprintf(socket, sizeof socket, "%s/run/%s", w->home.home, parts[part].socket);
    (void)unlink(socket);
    w->one[part] = w->home;
    one_service_start(&w->one[part], parts[part].binary, parts[part].peer, parts[part].socket);
}

static void pull_the_plug(struct world *w, int part)
{
    assert_int_equal(kill(w->one[part].pids[0], SIGKILL), 0);
    assert_int_equal(waitpid(w->one[part].pids[0], NULL, 0), w->one[part].pids[0]);
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    (void)signal(SIGPIPE, SIG_IGN);
    assert_int_equal(uv_loop_init(&w->loop), 0);
    assert_int_equal(uv_timer_init(&w->loop, &w->timer), 0);
    one_service_home(&w->home, "ingest:\n  settle_ms: 100\nencoder:\n  first_fit_chunks: 50\n");
    for (int i = 0; i < PARTS; i++) {
        start(w, i);
    }
    w->ingest = one_service_client(&w->home, &w->loop, PEER_SERVE, PEER_INGEST);
    w->store = one_service_client(&w->home, &w->loop, PEER_SERVE, PEER_VECTORSTORE);
    *state = w;
    return 0;
}

static void on_closed(void *data)
{
    ((struct world *)data)->closed++;
}

static int teardown(void **state)
{
    struct world *w = *state;
    for (int i = PARTS - 1; i >= 0; i--) {
        assert_int_equal(kill(w->one[i].pids[0], SIGTERM), 0);
        int status = 0;
        assert_int_equal(waitpid(w->one[i].pids[0], &status, 0), w->one[i].pids[0]);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    one_service_stop(&w->home);
    rpc_client_close(w->ingest, on_closed, w);
    rpc_client_close(w->store, on_closed, w);
    uv_close((uv_handle_t *)&w->timer, NULL);
    assert_int_equal(uv_run(&w->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(w->closed, 2);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    free(w);
    return 0;
}

static void on_tick(uv_timer_t *t)
{
    (void)t;
}

static void spin(struct world *w, int64_t ms)
{
    int64_t end = clock_monotonic_ms() + ms;
    do {
        uv_update_time(&w->loop);
        (void)uv_timer_start(&w->timer, on_tick, 5, 0);
        (void)uv_run(&w->loop, UV_RUN_ONCE);
    } while (clock_monotonic_ms() < end);
}

static void path_of(const struct world *w, int i, char out[256])
{
    (void)snprintf(out, 256, "%s/watch/main/c%d/%d.md", w->home.home, i % 7, i);
}

static void write_number(struct world *w, int i, int version)
{
    static const char *const subjects[] = {"harbour", "orchard", "furnace", "library", "glacier",
                                           "theatre", "bakery",  "quarry",  "railway", "vineyard"};
    char path[256];
    char text[400];
    path_of(w, i, path);
    (void)snprintf(text, sizeof text,
                   "# The %s of house %d\n\nIt is run by %d people who know the %s and the %s. "
                   "Version %d of file %d.\n",
                   subjects[i % 10], i, i % 5 + 2, subjects[i * 7 % 10], subjects[i * 3 % 10],
                   version, i);
    char *slash = strrchr(path, '/');
    *slash = '\0';
    assert_int_equal(file_mkdirs(path, 0700, NULL), STATUS_OK);
    *slash = '/';
    assert_int_equal(file_write_atomic(path, text, strlen(text), 0600, NULL), STATUS_OK);
}

/* ---- asking ---- */

struct seen {
    bool done;
    struct error err;
    size_t documents, ready;
    uint32_t verified, problems, missing, chunks, encoder_fit;
    char problem[256], encoder[64], unready[256];
};

static void on_reply(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct seen *s = data;
    const Ig__ListReply *list = ig_list_reply(m);
    for (size_t i = 0; list != NULL && i < list->n_documents; i++) {
        const Ig__DocumentState *d = list->documents[i];
        s->documents++;
        if (strcmp(d->state, "ready") == 0 && d->chunks > 0) {
            s->ready++;
        } else {
            (void)snprintf(s->unready, sizeof s->unready, "%.*s: %s %s", (int)d->path.len,
                           (const char *)d->path.data, d->state, d->error == NULL ? "" : d->error);
        }
    }
    const Vs__VerifyReply *v = vs_verify_reply(m);
    if (v != NULL) {
        s->verified = v->documents;
        s->problems = v->problems;
        (void)snprintf(s->problem, sizeof s->problem, "%s", v->n_problem > 0 ? v->problem[0] : "");
    }
    const Vs__StatusReply *st = vs_status_reply(m);
    if (st != NULL) {
        s->chunks = st->chunks;
        s->missing = st->has_missing ? st->missing : 0;
        s->encoder_fit = st->fitted_on;
        (void)snprintf(s->encoder, sizeof s->encoder, "%s", st->encoder);
    }
}

static void on_finish(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct seen *s = data;
    s->err = *err;
    s->done = true;
}

static const struct rpc_callbacks callbacks = {.on_reply = on_reply, .on_finish = on_finish};
static const struct rpc_options patient = {
    .tenant = "main", .timeout_ms = 60000, .wait_for_ready = true};

static struct seen ask_list(struct world *w)
{
    struct seen s = {0};
    Ig__ListRequest q = IG__LIST_REQUEST__INIT;
    assert_non_null(ig_list(w->ingest, &patient, &q, &callbacks, &s));
    one_service_until(&w->loop, &s.done);
    return s;
}

static struct seen ask_status(struct world *w)
{
    struct seen s = {0};
    Vs__StatusRequest q = VS__STATUS_REQUEST__INIT;
    assert_non_null(vs_status(w->store, &patient, &q, &callbacks, &s));
    one_service_until(&w->loop, &s.done);
    return s;
}

static struct seen ask_verify(struct world *w)
{
    struct seen s = {0};
    Vs__VerifyRequest q = VS__VERIFY_REQUEST__INIT;
    assert_non_null(vs_verify(w->store, &patient, &q, &callbacks, &s));
    one_service_until(&w->loop, &s.done);
    return s;
}

struct texts {
    bool done;
    struct error err;
    char text[512];
    size_t len;
    char id[64];
    const char *path;
};

static void settle(struct world *w, size_t files)
{
    struct seen s = {0};
    int64_t end = clock_monotonic_ms() + PATIENCE_MS;
    while (clock_monotonic_ms() < end) {
        s = ask_list(w);
        if (s.err.code == STATUS_OK && s.documents == files && s.ready == files) {
            break;
        }
        spin(w, 50);
    }
    if (s.ready != files || s.documents != files) {
        fail_msg("%zu of %zu ready, %zu expected; %s; %s", s.ready, s.documents, files, s.unready,
                 s.err.text);
    }
    struct seen v = ask_verify(w);
    if (v.err.code != STATUS_OK || v.problems > 0 || v.verified != files) {
        fail_msg("verify: %u documents of %zu, %u problems: %s %s", v.verified, files, v.problems,
                 v.problem, v.err.text);
    }
}

/* ---- what the store says of one document ---- */

static void on_text(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct texts *t = data;
    const Ig__ListReply *list = ig_list_reply(m);
    for (size_t i = 0; list != NULL && i < list->n_documents; i++) {
        const Ig__DocumentState *d = list->documents[i];
        if (d->path.len == strlen(t->path) && memcmp(d->path.data, t->path, d->path.len) == 0) {
            (void)snprintf(t->id, sizeof t->id, "%s", d->document);
        }
    }
    const Vs__GetTextReply *text = vs_get_text_reply(m);
    if (text != NULL && text->has_text && t->len + text->text.len < sizeof t->text) {
        memcpy(t->text + t->len, text->text.data, text->text.len);
        t->len += text->text.len;
    }
}

static void on_text_end(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct texts *t = data;
    t->err = *err;
    t->done = true;
}

static void assert_version(struct world *w, int i, int version)
{
    static const struct rpc_callbacks cb = {.on_reply = on_text, .on_finish = on_text_end};
    char path[64];
    char wanted[64];
    (void)snprintf(path, sizeof path, "c%d/%d.md", i % 7, i);
    (void)snprintf(wanted, sizeof wanted, "Version %d of file %d.", version, i);
    struct texts t = {.path = path};
    Ig__ListRequest q = IG__LIST_REQUEST__INIT;
    assert_non_null(ig_list(w->ingest, &patient, &q, &cb, &t));
    one_service_until(&w->loop, &t.done);
    assert_true(t.id[0] != '\0');
    Vs__GetTextRequest g = VS__GET_TEXT_REQUEST__INIT;
    g.document = t.id;
    t.done = false;
    assert_non_null(vs_get_text(w->store, &patient, &g, &cb, &t));
    one_service_until(&w->loop, &t.done);
    assert_int_equal(t.err.code, STATUS_OK);
    if (strstr(t.text, wanted) == NULL) {
        fail_msg("%s: not \"%s\" but \"%s\"", path, wanted, t.text);
    }
}

/* ---- the test ---- */

static void kills_lose_and_double_nothing(void **state)
{
    struct world *w = *state;
    char path[256];
    unsigned seed = 20261121;
    int version[FILES] = {0};
    for (int i = 0; i < FILES; i++) {
        write_number(w, i, 0);
        if (i % 25 == 24) {
            int part = rand_r(&seed) % PARTS;
            spin(w, rand_r(&seed) % 200);
            pull_the_plug(w, part);
            spin(w, rand_r(&seed) % 200);
            start(w, part);
        }
    }
    settle(w, FILES);
    for (int i = 0; i < FILES; i += 3) { /* there and back: each is a change of its own */
        write_number(w, i, 1);
    }
    spin(w, 150);
    for (int part = 0; part < PARTS; part++) {
        pull_the_plug(w, part);
    }
    for (int i = 0; i < FILES; i += 3) {
        version[i] = i % 2 == 0 ? 0 : 2;
        write_number(w, i, version[i]);
    }
    int gone = 0;
    for (int i = 1; i < FILES; i += 10) { /* while all are off */
        path_of(w, i, path);
        gone += unlink(path) == 0;
    }
    for (int part = 0; part < PARTS; part++) {
        start(w, part);
    }
    spin(w, 400);
    settle(w, (size_t)(FILES - gone));
    for (int i = 0; i < FILES; i += 9) {
        if (i % 10 != 1) {
            assert_version(w, i, version[i]);
        }
    }
    struct seen s = {0};
    int64_t end = clock_monotonic_ms() + PATIENCE_MS;
    while (clock_monotonic_ms() < end) { /* the encoder comes after all that, with every vector */
        s = ask_status(w);
        if (s.encoder[0] != '\0' && s.missing == 0) {
            break;
        }
        spin(w, 100);
    }
    assert_true(s.encoder[0] != '\0');
    assert_int_equal(s.missing, 0);
    assert_true(s.encoder_fit >= 50);
    settle(w, (size_t)(FILES - gone));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(kills_lose_and_double_nothing, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
