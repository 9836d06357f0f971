#include "tests/service/ingest_world.h"

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

static void on_closed(void *data)
{
    ((struct world *)data)->closed++;
}

void listen_as(struct world *w, enum peer p, const struct rpc_handler *h, size_t n,
               struct rpc_server **out)
{
    char address[160];
    struct error err = {0};
    assert_int_equal(rpc_server_new(&w->loop, &w->service.all[p], h, n, NULL, &w->store, out, &err),
                     STATUS_OK);
    (void)snprintf(address, sizeof address, "unix:%s/run/%s.sock", w->service.home, peer_name(p));
    assert_int_equal(rpc_server_listen(*out, address, &err), STATUS_OK);
}

void start_ingest(struct world *w)
{
    char socket[128];
    (void)snprintf(socket, sizeof socket, "%s/run/ingest.sock", w->service.home);
    (void)unlink(socket); /* a killed one leaves it */
    one_service_start(&w->service, "carrel-ingest", PEER_INGEST, "ingest.sock");
}

int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    assert_int_equal(uv_loop_init(&w->loop), 0);
    assert_int_equal(uv_timer_init(&w->loop, &w->timer), 0);
    map_init(&w->store.contents);
    one_service_home(&w->service, "ingest:\n  settle_ms: 100\nencoder:\n  first_fit_chunks: 10\n");
    (void)snprintf(w->watch, sizeof w->watch, "%s/watch/main", w->service.home);
    listen_as(w, PEER_VECTORSTORE, store_handlers, sizeof store_handlers / sizeof store_handlers[0],
              &w->vectorstore);
    start_ingest(w);
    w->serve = one_service_client(&w->service, &w->loop, PEER_SERVE, PEER_INGEST);
    *state = w;
    return 0;
}

int teardown(void **state)
{
    struct world *w = *state;
    int expected = 2;
    one_service_stop(&w->service);
    rpc_client_close(w->serve, on_closed, w);
    rpc_server_close(w->vectorstore, on_closed, w);
    if (w->embed != NULL) {
        rpc_server_close(w->embed, on_closed, w);
        expected++;
    }
    if (w->retrieve != NULL) {
        rpc_server_close(w->retrieve, on_closed, w);
        expected++;
    }
    uv_close((uv_handle_t *)&w->timer, NULL);
    assert_int_equal(uv_run(&w->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(w->closed, expected);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    size_t pos = 0;
    struct str key;
    void *value;
    while (map_next(&w->store.contents, &pos, &key, &value)) {
        content_free(value);
    }
    map_deinit(&w->store.contents);
    free(w);
    return 0;
}

void kill_ingest(struct world *w)
{
    pid_t pid = w->service.pids[--w->service.n_pids];
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

void write_file(struct world *w, const char *name, const char *content)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", w->watch, name);
    char *slash = strrchr(path, '/');
    *slash = '\0';
    assert_int_equal(file_mkdirs(path, 0700, NULL), STATUS_OK);
    *slash = '/';
    assert_int_equal(file_write_atomic(path, content, strlen(content), 0600, NULL), STATUS_OK);
}

static void on_tick(uv_timer_t *t)
{
    (void)t;
}

void spin(struct world *w, int64_t ms)
{
    int64_t end = clock_monotonic_ms() + ms;
    do {
        uv_update_time(&w->loop);
        (void)uv_timer_start(&w->timer, on_tick, 5, 0);
        (void)uv_run(&w->loop, UV_RUN_ONCE);
    } while (clock_monotonic_ms() < end);
}

/* ---- asking ingest ---- */

static void take_state(struct answer *a, const Ig__DocumentState *d)
{
    (void)snprintf(a->id, sizeof a->id, "%s", d->document);
    (void)snprintf(a->state, sizeof a->state, "%s", d->state);
    (void)snprintf(a->error, sizeof a->error, "%s", d->error == NULL ? "" : d->error);
    a->chunks = d->chunks;
}

static void on_answer(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct answer *a = data;
    const Ig__ListReply *list = ig_list_reply(m);
    for (size_t i = 0; list != NULL && i < list->n_documents; i++) {
        const Ig__DocumentState *d = list->documents[i];
        a->n++;
        if (a->wanted != NULL && d->path.len == strlen(a->wanted) &&
            memcmp(d->path.data, a->wanted, d->path.len) == 0) {
            take_state(a, d);
        }
    }
    const Ig__UploadReply *up = ig_upload_reply(m);
    if (up != NULL) {
        take_state(a, up->document);
    }
    const Ig__RenderReply *page = ig_render_reply(m);
    if (page != NULL) {
        a->width = page->has_width_points ? page->width_points : a->width;
        buf_append(&a->png, page->png.data, page->png.len);
    }
    const Ig__DeleteReply *del = ig_delete_reply(m);
    if (del != NULL) {
        a->trashed = del->trashed;
        a->excluded = del->excluded;
    }
}

static void on_answered(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct answer *a = data;
    a->err = *err;
    a->done = true;
}

const struct rpc_callbacks answers = {.on_reply = on_answer, .on_finish = on_answered};
const struct rpc_options patient = {.tenant = "main", .timeout_ms = 60000, .wait_for_ready = true};

struct answer list_for(struct world *w, const char *path)
{
    struct answer a = {.wanted = path};
    Ig__ListRequest q = IG__LIST_REQUEST__INIT;
    assert_non_null(ig_list(w->serve, &patient, &q, &answers, &a));
    one_service_until(&w->loop, &a.done);
    assert_int_equal(a.err.code, STATUS_OK);
    return a;
}

struct answer until_state(struct world *w, const char *path, const char *state)
{
    struct answer a = {0};
    int64_t end = clock_monotonic_ms() + PATIENCE_MS;
    while (clock_monotonic_ms() < end) {
        a = list_for(w, path);
        if (strcmp(a.state, state) == 0) {
            return a;
        }
        spin(w, 10);
    }
    fail_msg("%s is %s (%s), not %s", path, a.state, a.error, state);
    return a;
}

const struct kept *stored(struct world *w, const char *path)
{
    const struct kept *found = NULL;
    for (size_t i = 0; i < w->store.n; i++) {
        if (w->store.docs[i].there && strcmp(w->store.docs[i].path, path) == 0) {
            assert_null(found); /* once */
            found = &w->store.docs[i];
        }
    }
    return found;
}

void assert_content(struct world *w, const char *path, const char *content)
{
    uint8_t digest[SHA256_BYTES];
    char hex[SHA256_HEX_CAP];
    const struct kept *d = stored(w, path);
    assert_non_null(d);
    sha256_of(content, strlen(content), digest);
    sha256_hex(digest, hex);
    assert_string_equal(d->hash, hex);
}

struct answer upload(struct world *w, const char *path, const char *content, bool replace)
{
    struct answer a = {0};
    Ig__UploadRequest first = IG__UPLOAD_REQUEST__INIT;
    first.has_path = first.has_replace = 1;
    first.path.data = (uint8_t *)(uintptr_t)path;
    first.path.len = strlen(path);
    first.replace = replace;
    struct rpc_request *r = ig_upload(w->serve, &patient, &first, &answers, &a);
    assert_non_null(r);
    for (size_t at = 0; at < strlen(content); at += 7) {
        Ig__UploadRequest piece = IG__UPLOAD_REQUEST__INIT;
        size_t left = strlen(content) - at;
        piece.has_data = 1;
        piece.data.data = (uint8_t *)(uintptr_t)content + at;
        piece.data.len = left < 7 ? left : 7;
        assert_int_equal(ig_upload_send(r, &piece), STATUS_OK);
    }
    rpc_request_end(r);
    one_service_until(&w->loop, &a.done);
    return a;
}

struct answer delete_document(struct world *w, char *id)
{
    struct answer a = {0};
    Ig__DeleteRequest q = IG__DELETE_REQUEST__INIT;
    q.document = id;
    assert_non_null(ig_delete(w->serve, &patient, &q, &answers, &a));
    one_service_until(&w->loop, &a.done);
    return a;
}
