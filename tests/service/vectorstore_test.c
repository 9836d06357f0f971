/* carrel-vectorstore as a process: the test is ingest, retrieve, serve and embed to it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/hash.h"
#include "tests/service/one_service.h"
#include "vectorstore/vectorstore_rpc.h"

#define BIG ((size_t)5 * 1024 * 1024)

struct world {
    uv_loop_t loop;
    struct one_service service;
    struct rpc_client *ingest, *serve, *retrieve, *embed;
    bool closed;
};

/* What a call said. */
struct said {
    struct error err;
    bool finished;
    size_t replies, documents, chunks, boxes;
    bool flag; /* applied, published, present, truncated ... of the last reply */
    uint32_t number;
    char text[128]; /* the first hit, passage or name */
    struct buf data;
};

static void said_init(struct said *s)
{
    *s = (struct said){0};
    buf_init(&s->data, BIG * 2);
}

static void take(struct said *s, const ProtobufCMessage *m)
{
    if (m->descriptor == &vs__put_reply__descriptor) {
        s->flag = vs_put_reply(m)->applied;
        s->number = vs_put_reply(m)->chunks;
    } else if (m->descriptor == &vs__status_reply__descriptor) {
        s->number = vs_status_reply(m)->chunks;
        (void)snprintf(s->text, sizeof s->text, "%s/%s", vs_status_reply(m)->encoder,
                       vs_status_reply(m)->building == NULL ? "" : vs_status_reply(m)->building);
    } else if (m->descriptor == &vs__list_reply__descriptor) {
        s->documents += vs_list_reply(m)->n_documents;
    } else if (m->descriptor == &vs__get_original_reply__descriptor) {
        const Vs__GetOriginalReply *r = vs_get_original_reply(m);
        s->documents += r->document != NULL ? 1 : 0;
        buf_append(&s->data, r->data.data, r->data.len);
    } else if (m->descriptor == &vs__get_text_reply__descriptor) {
        const Vs__GetTextReply *r = vs_get_text_reply(m);
        buf_append(&s->data, r->text.data, r->text.len);
        s->chunks += r->n_chunks;
        s->boxes += r->n_boxes;
    } else if (m->descriptor == &vs__get_encoder_reply__descriptor) {
        buf_append(&s->data, vs_get_encoder_reply(m)->blob.data, vs_get_encoder_reply(m)->blob.len);
    } else if (m->descriptor == &vs__search_text_reply__descriptor) {
        const Vs__SearchTextReply *r = vs_search_text_reply(m);
        s->number = (uint32_t)r->n_hits;
        if (r->n_hits > 0) {
            (void)snprintf(s->text, sizeof s->text, "%.*s", (int)r->hits[0]->chunk.len,
                           (const char *)r->hits[0]->chunk.data);
        }
    } else if (m->descriptor == &vs__fetch_reply__descriptor) {
        const Vs__FetchReply *r = vs_fetch_reply(m);
        s->number = (uint32_t)r->n_passages;
        s->boxes += r->n_passages > 0 ? r->passages[0]->n_boxes : 0;
        if (r->n_passages > 0) {
            (void)snprintf(s->text, sizeof s->text, "%s", r->passages[0]->document);
        }
    } else if (m->descriptor == &vs__verify_reply__descriptor) {
        s->number = vs_verify_reply(m)->problems;
        s->documents = vs_verify_reply(m)->documents;
    } else if (m->descriptor == &vs__scan_reply__descriptor) {
        s->chunks += vs_scan_reply(m)->n_items;
    }
}

static void on_reply(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    struct said *s = data;
    (void)r;
    s->replies++;
    take(s, m);
}

static void on_finish(struct rpc_request *r, const struct error *err, void *data)
{
    struct said *s = data;
    (void)r;
    s->err = *err;
    s->finished = true;
}

static const struct rpc_callbacks callbacks = {.on_reply = on_reply, .on_finish = on_finish};
static const struct rpc_options options = {.tenant = "main", .wait_for_ready = true};

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    assert_int_equal(uv_loop_init(&w->loop), 0);
    one_service_home(&w->service, NULL);
    one_service_start(&w->service, "carrel-vectorstore", PEER_VECTORSTORE, "vectorstore.sock");
    w->ingest = one_service_client(&w->service, &w->loop, PEER_INGEST, PEER_VECTORSTORE);
    w->serve = one_service_client(&w->service, &w->loop, PEER_SERVE, PEER_VECTORSTORE);
    w->retrieve = one_service_client(&w->service, &w->loop, PEER_RETRIEVE, PEER_VECTORSTORE);
    w->embed = one_service_client(&w->service, &w->loop, PEER_EMBED, PEER_VECTORSTORE);
    *state = w;
    return 0;
}

static void on_closed(void *data)
{
    *(bool *)data = true;
}

static int teardown(void **state)
{
    struct world *w = *state;
    struct rpc_client *clients[] = {w->ingest, w->serve, w->retrieve, w->embed};
    for (size_t i = 0; i < 4; i++) {
        w->closed = false;
        rpc_client_close(clients[i], on_closed, &w->closed);
        one_service_until(&w->loop, &w->closed);
    }
    one_service_stop(&w->service);
    assert_int_equal(uv_run(&w->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    free(w);
    return 0;
}

static void done(struct world *w, struct said *s, enum status want)
{
    one_service_until(&w->loop, &s->finished);
    if (s->err.code != want) {
        print_error("%s: %s\n", status_name(s->err.code), s->err.text);
    }
    assert_int_equal(s->err.code, want);
}

/* ---- puts ---- */

struct letter {
    const char *document, *text, *reader;
    size_t padding; /* zero bytes after the text in the original */
    uint64_t sequence;
};

static char zeros[65536];

static void begin_of(const struct letter *d, Vs__PutRequest *m, Vs__PutRequest__Begin *b,
                     Vs__Location *l, uint8_t hash[SHA256_BYTES], char **reader)
{
    struct sha256 *h = sha256_new();
    sha256_add(h, d->text, strlen(d->text));
    for (size_t at = 0; at < d->padding; at += sizeof zeros) {
        sha256_add(h, zeros, sizeof zeros);
    }
    sha256_end(h, hash);
    vs__put_request__init(m);
    vs__put_request__begin__init(b);
    vs__location__init(l);
    *reader = (char *)(uintptr_t)d->reader;
    l->document = (char *)(uintptr_t)d->document;
    l->path = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)d->document,
                                    .len = strlen(d->document)};
    l->source = (char *)(uintptr_t) "watch";
    l->collection = (char *)(uintptr_t) "default";
    l->sequence = d->sequence;
    l->readers = reader;
    l->n_readers = d->reader == NULL ? 0 : 1;
    b->location = l;
    b->hash = (ProtobufCBinaryData){.data = hash, .len = SHA256_BYTES};
    b->size = strlen(d->text) + (d->padding + sizeof zeros - 1) / sizeof zeros * sizeof zeros;
    b->format = (char *)(uintptr_t) "txt";
    b->pipeline = (char *)(uintptr_t) "test-1";
    m->begin = b;
}

static struct rpc_request *start_put(struct world *w, const struct letter *d, struct said *s)
{
    Vs__PutRequest m;
    Vs__PutRequest__Begin b;
    Vs__Location l;
    uint8_t hash[SHA256_BYTES];
    char *reader;
    said_init(s);
    begin_of(d, &m, &b, &l, hash, &reader);
    struct rpc_request *r = vs_put(w->ingest, &options, &m, &callbacks, s);
    assert_non_null(r);
    return r;
}

static void push(struct world *w, struct rpc_request *r, const Vs__PutRequest *m)
{
    enum status st = vs_put_send(r, m);
    while (st == STATUS_BUSY) { /* the window is full: the other side has to read */
        (void)uv_run(&w->loop, UV_RUN_ONCE);
        st = vs_put_send(r, m);
    }
    assert_int_equal(st, STATUS_OK);
}

static void put(struct world *w, const struct letter *d, struct said *s)
{
    struct rpc_request *r = start_put(w, d, s);
    Vs__PutRequest m = VS__PUT_REQUEST__INIT;
    Vs__Chunk c = VS__CHUNK__INIT;
    Vs__Chunk *chunks[] = {&c};
    Vs__Box box = VS__BOX__INIT;
    Vs__Box *boxes[] = {&box};
    m.has_original = m.has_text = true;
    m.original = m.text =
        (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)d->text, .len = strlen(d->text)};
    box.page = 1;
    box.has_end = box.has_start = true;
    box.end = 5;
    m.boxes = boxes;
    m.n_boxes = 1;
    push(w, r, &m);
    vs__put_request__init(&m);
    m.has_original = true;
    m.original = (ProtobufCBinaryData){.data = (uint8_t *)zeros, .len = sizeof zeros};
    for (size_t at = 0; at < d->padding; at += sizeof zeros) {
        push(w, r, &m);
    }
    vs__put_request__init(&m);
    c.text = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)d->text, .len = strlen(d->text)};
    c.end = (uint32_t)strlen(d->text);
    m.chunks = chunks;
    m.n_chunks = 1;
    push(w, r, &m);
    vs__put_request__init(&m);
    m.has_commit = m.commit = true;
    push(w, r, &m);
    rpc_request_end(r);
    done(w, s, STATUS_OK);
    assert_true(s->flag);
    assert_int_equal(s->number, 1);
    buf_deinit(&s->data);
}

static uint32_t problems(struct world *w, size_t *documents)
{
    struct said s;
    Vs__VerifyRequest m = VS__VERIFY_REQUEST__INIT;
    said_init(&s);
    assert_non_null(vs_verify(w->serve, &options, &m, &callbacks, &s));
    done(w, &s, STATUS_OK);
    *documents = s.documents;
    return s.number;
}

/* ---- searching as someone ---- */

static void search(struct world *w, const char *query, const struct rpc_options *o, struct said *s)
{
    Vs__SearchTextRequest m = VS__SEARCH_TEXT_REQUEST__INIT;
    said_init(s);
    m.query = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)query, .len = strlen(query)};
    m.limit = 10;
    assert_non_null(vs_search_text(w->retrieve, o, &m, &callbacks, s));
    done(w, s, STATUS_OK);
}

static void fetch(struct world *w, const char *chunk, const struct rpc_options *o, struct said *s)
{
    Vs__FetchRequest m = VS__FETCH_REQUEST__INIT;
    ProtobufCBinaryData id = {.data = (uint8_t *)(uintptr_t)chunk, .len = strlen(chunk)};
    said_init(s);
    m.chunks = &id;
    m.n_chunks = 1;
    assert_non_null(vs_fetch(w->retrieve, o, &m, &callbacks, s));
    done(w, s, STATUS_OK);
}

static struct rpc_options as(struct world *w, const char *group, struct arena *a)
{
    struct error err;
    struct rpc_options o = options;
    const struct caller c = {.tenant = "main",
                             .user = "u",
                             .groups = &group,
                             .n_groups = group == NULL ? 0 : 1,
                             .expires_wall_ms = clock_wall_ms() + 60000};
    assert_int_equal(
        caller_sign(&w->service.all[PEER_SERVE], &c, a, &o.caller, &o.caller_len, &err), STATUS_OK);
    return o;
}

static void documents_come_and_are_read_by_whom_they_may(void **state)
{
    struct world *w = *state;
    struct said s;
    struct arena a;
    char chunk[128];
    size_t documents;
    arena_init(&a, 65536);
    const struct letter open = {
        .document = "open", .text = "The lighthouse keeper is called Osgood.", .sequence = 1};
    const struct letter shut = {.document = "shut",
                                .text = "The lighthouse safe opens with 4711.",
                                .reader = "board",
                                .sequence = 2};
    put(w, &open, &s);
    put(w, &shut, &s);
    struct rpc_options board = as(w, "board", &a);
    struct rpc_options nobody = as(w, NULL, &a);
    search(w, "lighthouse", &options, &s);
    assert_int_equal(s.number, 2);
    search(w, "safe", &board, &s);
    assert_int_equal(s.number, 1);
    memcpy(chunk, s.text, sizeof chunk);
    fetch(w, chunk, &board, &s);
    assert_string_equal(s.text, "shut");
    assert_int_equal(s.boxes, 1);
    search(w, "safe", &nobody, &s);
    assert_int_equal(s.number, 0);
    fetch(w, chunk, &nobody, &s);
    assert_int_equal(s.number, 0);
    Vs__GetDocumentRequest g = VS__GET_DOCUMENT_REQUEST__INIT;
    g.document = (char *)(uintptr_t) "shut";
    said_init(&s);
    assert_non_null(vs_get_document(w->serve, &nobody, &g, &callbacks, &s));
    done(w, &s, STATUS_NOT_FOUND);
    struct rpc_options other = options;
    other.tenant = "other";
    search(w, "lighthouse", &other, &s);
    assert_int_equal(s.number, 0);
    Vs__ListRequest l = VS__LIST_REQUEST__INIT;
    said_init(&s);
    assert_non_null(vs_list(w->serve, &nobody, &l, &callbacks, &s));
    done(w, &s, STATUS_OK);
    assert_int_equal(s.documents, 1);
    assert_int_equal(problems(w, &documents), 0);
    assert_int_equal(documents, 2);
    arena_reset(&a);
}

static void originals_and_texts_come_back_whole(void **state)
{
    struct world *w = *state;
    struct said s;
    const struct letter big = {
        .document = "big", .text = "A whale was seen.", .padding = BIG, .sequence = 1};
    put(w, &big, &s);
    Vs__GetOriginalRequest m = VS__GET_ORIGINAL_REQUEST__INIT;
    m.document = (char *)(uintptr_t) "big";
    said_init(&s);
    struct rpc_request *r = vs_get_original(w->serve, &options, &m, &callbacks, &s);
    rpc_request_pause(r); /* five windows' worth: the store has to wait for us */
    uint64_t until = uv_now(&w->loop) + 300;
    while (uv_now(&w->loop) < until) {
        (void)uv_run(&w->loop, UV_RUN_NOWAIT);
    }
    assert_false(s.finished);
    rpc_request_resume(r);
    done(w, &s, STATUS_OK);
    assert_int_equal(s.documents, 1);
    assert_int_equal(s.data.len, BIG + strlen(big.text));
    assert_memory_equal(s.data.ptr, big.text, strlen(big.text));
    buf_deinit(&s.data);
    said_init(&s);
    r = vs_get_original(w->serve, &options, &m, &callbacks, &s);
    rpc_request_pause(r);
    (void)uv_run(&w->loop, UV_RUN_ONCE);
    rpc_request_cancel(r); /* half-way */
    Vs__GetTextRequest t = VS__GET_TEXT_REQUEST__INIT;
    t.document = m.document;
    said_init(&s);
    assert_non_null(vs_get_text(w->serve, &options, &t, &callbacks, &s));
    done(w, &s, STATUS_OK);
    assert_int_equal(s.data.len, strlen(big.text));
    assert_int_equal(s.chunks, 1);
    assert_int_equal(s.boxes, 1);
    buf_deinit(&s.data);
}

static void broken_puts_leave_nothing(void **state)
{
    struct world *w = *state;
    struct said s;
    size_t documents;
    const struct letter d = {.document = "d", .text = "The ferry leaves at noon.", .sequence = 1};
    Vs__PutRequest m = VS__PUT_REQUEST__INIT;
    said_init(&s);
    struct rpc_request *r = vs_put(w->ingest, &options, &m, &callbacks, &s); /* no begin */
    done(w, &s, STATUS_INVALID);
    r = start_put(w, &d, &s);
    rpc_request_end(r); /* no commit */
    done(w, &s, STATUS_INVALID);
    r = start_put(w, &d, &s);
    m.has_original = true;
    m.original = (ProtobufCBinaryData){.data = (uint8_t *)zeros, .len = 10};
    push(w, r, &m);
    vs__put_request__init(&m);
    m.has_commit = m.commit = true;
    push(w, r, &m); /* the hash is of something else */
    done(w, &s, STATUS_INVALID);
    for (size_t i = 0; i < 20; i++) {
        r = start_put(w, &d, &s);
        for (size_t j = 0; j < i; j++) {
            (void)uv_run(&w->loop, UV_RUN_NOWAIT);
        }
        rpc_request_cancel(r);
    }
    assert_int_equal(problems(w, &documents), 0);
    assert_int_equal(documents, 0);
    put(w, &d, &s);
    assert_int_equal(problems(w, &documents), 0);
    assert_int_equal(documents, 1);
}

static void an_encoder_travels_and_scans(void **state)
{
    struct world *w = *state;
    struct said s;
    const struct letter d = {.document = "d", .text = "The ferry leaves at noon.", .sequence = 1};
    Vs__PutEncoderRequest m = VS__PUT_ENCODER_REQUEST__INIT;
    put(w, &d, &s);
    said_init(&s);
    m.encoder = (char *)(uintptr_t) "fit-1";
    m.has_dimensions = true;
    m.dimensions = 4;
    struct rpc_request *r = vs_put_encoder(w->ingest, &options, &m, &callbacks, &s);
    vs__put_encoder_request__init(&m);
    m.has_blob = true;
    m.blob = (ProtobufCBinaryData){.data = (uint8_t *)zeros, .len = sizeof zeros};
    for (size_t i = 0; i < 40; i++) {
        enum status st = vs_put_encoder_send(r, &m);
        while (st == STATUS_BUSY) {
            (void)uv_run(&w->loop, UV_RUN_ONCE);
            st = vs_put_encoder_send(r, &m);
        }
        assert_int_equal(st, STATUS_OK);
    }
    rpc_request_end(r);
    done(w, &s, STATUS_OK);
    Vs__GetEncoderRequest g = VS__GET_ENCODER_REQUEST__INIT;
    g.encoder = (char *)(uintptr_t) "fit-1";
    said_init(&s);
    assert_non_null(vs_get_encoder(w->embed, &options, &g, &callbacks, &s));
    done(w, &s, STATUS_OK);
    assert_int_equal(s.data.len, 40 * sizeof zeros);
    buf_deinit(&s.data);
    Vs__ScanRequest scan = VS__SCAN_REQUEST__INIT;
    scan.missing_encoder = g.encoder;
    said_init(&s);
    assert_non_null(vs_scan(w->ingest, &options, &scan, &callbacks, &s));
    done(w, &s, STATUS_OK);
    assert_int_equal(s.chunks, 1);
    Vs__PublishRequest p = VS__PUBLISH_REQUEST__INIT;
    p.encoder = g.encoder;
    said_init(&s);
    assert_non_null(vs_publish(w->ingest, &options, &p, &callbacks, &s));
    done(w, &s, STATUS_CONFLICT);
    Vs__StatusRequest st = VS__STATUS_REQUEST__INIT;
    said_init(&s);
    assert_non_null(vs_status(w->retrieve, &options, &st, &callbacks, &s));
    done(w, &s, STATUS_OK);
    assert_string_equal(s.text, "/fit-1");
    g.encoder = (char *)(uintptr_t) "../store.db";
    said_init(&s);
    assert_non_null(vs_get_encoder(w->embed, &options, &g, &callbacks, &s));
    done(w, &s, STATUS_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(documents_come_and_are_read_by_whom_they_may, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(originals_and_texts_come_back_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(broken_puts_leave_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(an_encoder_travels_and_scans, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
