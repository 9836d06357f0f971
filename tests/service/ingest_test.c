/* carrel-ingest as a process on real folders. The test is its store, its embed and its serve: the
 * store keeps what it is given by the rules of vectorstore.proto, and can be told to be full or
 * absent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/map.h"
#include "embed/embed_rpc.h"
#include "ingest/ingest_rpc.h"
#include "retrieve/retrieve_rpc.h"
#include "tests/service/one_service.h"
#include "vectorstore/vectorstore_rpc.h"

#define PATIENCE_MS 30000
#define DIMENSIONS 4

/* ---- the store ---- */

struct kept { /* a document */
    char id[ID_CAP];
    char path[512];
    char collection[128];
    char hash[SHA256_HEX_CAP];
    uint64_t sequence;
    uint32_t for_all; /* puts and moves by which everybody may read it */
    bool there;
    uint32_t puts;
};

struct content {
    struct buf original, text;
    uint32_t chunks, vectors;
    char encoder[64];
};

struct store {
    struct kept docs[1024];
    size_t n;
    struct map contents; /* hash in hex -> struct content */
    enum status refuse;  /* what every put gets; OK: taken */
    uint32_t applied, known, originals;
    /* the encoder */
    char encoder[64], building[64];
    uint32_t fitted_on, fits, encoded;
    bool arriving;     /* documents are: */
    uint32_t told;     /* the chunks it tells of meanwhile */
    char closing[192]; /* a folder's settings that are written at the next lookup */
    char held[64], verdict[16];
    /* evaluations */
    uint32_t evaluations, questions;
    double difference;
    char against[64], of[64];
};

struct put {
    struct kept location;
    bool begun, known;
    struct content *content;
};

static struct kept *find(struct store *s, const char *id)
{
    for (size_t i = 0; i < s->n; i++) {
        if (strcmp(s->docs[i].id, id) == 0) {
            return &s->docs[i];
        }
    }
    if (s->n == sizeof s->docs / sizeof s->docs[0]) {
        return NULL;
    }
    struct kept *d = &s->docs[s->n++];
    (void)snprintf(d->id, sizeof d->id, "%s", id);
    return d;
}

static void content_free(struct content *c)
{
    if (c != NULL) {
        buf_deinit(&c->original);
        buf_deinit(&c->text);
        free(c);
    }
}

static void on_has(struct rpc_call *call, const ProtobufCMessage *m)
{
    struct store *s = rpc_call_service(call);
    char hex[SHA256_HEX_CAP];
    Vs__HasContentReply reply = VS__HAS_CONTENT_REPLY__INIT;
    const Vs__HasContentRequest *q = vs_has_content_request(m);
    if (s->refuse == STATUS_UNAVAILABLE) {
        rpc_call_finish(call, STATUS_UNAVAILABLE, "the store is being tested");
        return;
    }
    assert_int_equal(q->hash.len, SHA256_BYTES);
    if (s->closing[0] != '\0') {
        FILE *f = fopen(s->closing, "we");
        assert_non_null(f);
        assert_true(fputs("readers: [nobody]\n", f) >= 0);
        assert_int_equal(fclose(f), 0);
        s->closing[0] = '\0';
    }
    sha256_hex(q->hash.data, hex);
    const struct content *c = map_get(&s->contents, str_from(hex));
    reply.present = c != NULL;
    reply.has_chunks = 1;
    reply.chunks = c == NULL ? 0 : c->chunks;
    vs_has_content_return(call, &reply);
}

static void take_location(struct kept *k, const Vs__Location *l)
{
    (void)snprintf(k->id, sizeof k->id, "%s", l->document);
    (void)snprintf(k->path, sizeof k->path, "%.*s", (int)l->path.len, (const char *)l->path.data);
    (void)snprintf(k->collection, sizeof k->collection, "%s", l->collection);
    k->sequence = l->sequence;
    k->for_all += l->n_readers == 0;
}

static void on_put(struct rpc_call *call, const ProtobufCMessage *m)
{
    const Vs__PutRequest *q = vs_put_request(m);
    struct put *p = *rpc_call_data(call);
    if (p == NULL) {
        p = arena_alloc(rpc_call_arena(call), sizeof *p);
        assert_non_null(p);
        *rpc_call_data(call) = p;
        assert_non_null(q->begin);
        take_location(&p->location, q->begin->location);
        assert_int_equal(q->begin->hash.len, SHA256_BYTES);
        sha256_hex(q->begin->hash.data, p->location.hash);
        p->known = q->begin->has_known && q->begin->known;
        p->content = calloc(1, sizeof *p->content);
        assert_non_null(p->content);
        buf_init(&p->content->original, 64 << 20);
        buf_init(&p->content->text, 64 << 20);
        (void)snprintf(p->content->encoder, sizeof p->content->encoder, "%s",
                       q->begin->encoder == NULL ? "" : q->begin->encoder);
        return;
    }
    if (q->has_original) {
        buf_append(&p->content->original, q->original.data, q->original.len);
    }
    if (q->has_text) {
        buf_append(&p->content->text, q->text.data, q->text.len);
    }
    for (size_t i = 0; i < q->n_chunks; i++) {
        assert_int_equal(q->chunks[i]->ordinal, p->content->chunks);
        p->content->chunks++;
        p->content->vectors += q->chunks[i]->has_vector ? 1 : 0;
        assert_true(!q->chunks[i]->has_vector || q->chunks[i]->vector.len == 2 * DIMENSIONS);
    }
}

static void on_put_end(struct rpc_call *call)
{
    struct store *s = rpc_call_service(call);
    struct put *p = *rpc_call_data(call);
    assert_non_null(p);
    struct content *old = map_get(&s->contents, str_from(p->location.hash));
    if (s->refuse != STATUS_OK || (p->known && old == NULL)) {
        content_free(p->content);
        rpc_call_finish(call, s->refuse != STATUS_OK ? s->refuse : STATUS_NOT_FOUND, NULL);
        return;
    }
    if (!p->known) {
        uint8_t digest[SHA256_BYTES];
        char hex[SHA256_HEX_CAP];
        sha256_of(p->content->original.ptr, p->content->original.len, digest);
        sha256_hex(digest, hex);
        assert_string_equal(hex, p->location.hash); /* what was hashed is what was sent */
        content_free(old);
        assert_int_equal(map_put(&s->contents, str_from(hex), p->content, NULL), STATUS_OK);
    } else {
        content_free(p->content);
        s->known++;
    }
    struct kept *d = find(s, p->location.id);
    assert_non_null(d);
    Vs__PutReply reply = VS__PUT_REPLY__INIT;
    reply.applied = p->location.sequence > d->sequence;
    if (reply.applied) {
        uint32_t puts = d->puts;
        uint32_t for_all = d->for_all;
        *d = p->location;
        d->puts = puts + 1;
        d->for_all += for_all;
        d->there = true;
        s->applied++;
    }
    const struct content *c = map_get(&s->contents, str_from(p->location.hash));
    reply.chunks = c->chunks;
    vs_put_return(call, &reply);
}

static void on_put_cancel(struct rpc_call *call)
{
    struct put *p = *rpc_call_data(call);
    if (p != NULL) {
        content_free(p->content);
    }
    rpc_call_finish(call, STATUS_CANCELLED, NULL);
}

static void on_move(struct rpc_call *call, const ProtobufCMessage *m)
{
    struct store *s = rpc_call_service(call);
    const Vs__Location *l = vs_move_request(m)->location;
    struct kept *d = find(s, l->document);
    assert_non_null(d);
    Vs__MoveReply reply = VS__MOVE_REPLY__INIT;
    if (!d->there) {
        rpc_call_finish(call, STATUS_NOT_FOUND, NULL);
        return;
    }
    reply.applied = l->sequence > d->sequence;
    if (reply.applied) {
        take_location(d, l);
    }
    vs_move_return(call, &reply);
}

static void on_remove(struct rpc_call *call, const ProtobufCMessage *m)
{
    struct store *s = rpc_call_service(call);
    const Vs__RemoveRequest *q = vs_remove_request(m);
    if (s->refuse == STATUS_UNAVAILABLE) {
        rpc_call_finish(call, STATUS_UNAVAILABLE, NULL);
        return;
    }
    struct kept *d = find(s, q->document);
    assert_non_null(d);
    Vs__RemoveReply reply = VS__REMOVE_REPLY__INIT;
    reply.applied = q->sequence > d->sequence;
    if (reply.applied) {
        d->sequence = q->sequence;
        d->there = false;
    }
    vs_remove_return(call, &reply);
}

static void on_list(struct rpc_call *call, const ProtobufCMessage *m)
{
    (void)m;
    struct store *s = rpc_call_service(call);
    for (size_t i = 0; i < s->n; i++) {
        struct kept *d = &s->docs[i];
        uint8_t hash[SHA256_BYTES];
        if (!d->there || !sha256_parse(d->hash, hash)) {
            continue;
        }
        Vs__Location l = VS__LOCATION__INIT;
        l.document = d->id;
        l.path.data = (uint8_t *)d->path;
        l.path.len = strlen(d->path);
        l.source = (char *)(uintptr_t) "watch";
        l.collection = d->collection;
        l.sequence = d->sequence;
        Vs__DocumentInfo info = VS__DOCUMENT_INFO__INIT;
        info.location = &l;
        info.hash.data = hash;
        info.hash.len = sizeof hash;
        info.format = (char *)(uintptr_t) "txt";
        Vs__DocumentInfo *list[] = {&info};
        Vs__ListReply reply = VS__LIST_REPLY__INIT;
        reply.documents = list;
        reply.n_documents = 1;
        assert_int_equal(vs_list_respond(call, &reply), STATUS_OK);
    }
    rpc_call_finish(call, STATUS_OK, NULL);
}

static bool info_of(struct rpc_call *call, const char *id, Vs__DocumentInfo *info, Vs__Location *l,
                    const struct content **content)
{
    struct store *s = rpc_call_service(call);
    struct kept *d = find(s, id);
    uint8_t *hash = arena_alloc(rpc_call_arena(call), SHA256_BYTES);
    if (s->refuse != STATUS_OK || d == NULL || !d->there || hash == NULL) {
        rpc_call_finish(call, s->refuse != STATUS_OK ? s->refuse : STATUS_NOT_FOUND, NULL);
        return false;
    }
    assert_true(sha256_parse(d->hash, hash));
    *content = map_get(&s->contents, str_from(d->hash));
    assert_non_null(*content);
    vs__location__init(l);
    l->document = d->id;
    l->path.data = (uint8_t *)d->path;
    l->path.len = strlen(d->path);
    l->source = (char *)(uintptr_t) "watch";
    l->collection = d->collection;
    vs__document_info__init(info);
    info->location = l;
    info->hash.data = hash;
    info->hash.len = SHA256_BYTES;
    info->format =
        strstr(d->path, ".pdf") == NULL ? (char *)(uintptr_t) "txt" : (char *)(uintptr_t) "pdf";
    info->size = (*content)->original.len;
    return true;
}

static void on_get_document(struct rpc_call *call, const ProtobufCMessage *m)
{
    Vs__DocumentInfo info;
    Vs__Location l;
    const struct content *c;
    if (info_of(call, vs_get_document_request(m)->document, &info, &l, &c)) {
        Vs__GetDocumentReply reply = VS__GET_DOCUMENT_REPLY__INIT;
        reply.document = &info;
        vs_get_document_return(call, &reply);
    }
}

static void on_get_original(struct rpc_call *call, const ProtobufCMessage *m)
{
    Vs__DocumentInfo info;
    Vs__Location l;
    const struct content *c;
    if (info_of(call, vs_get_original_request(m)->document, &info, &l, &c)) {
        struct store *s = rpc_call_service(call);
        Vs__GetOriginalReply head = VS__GET_ORIGINAL_REPLY__INIT;
        Vs__GetOriginalReply body = VS__GET_ORIGINAL_REPLY__INIT;
        s->originals++;
        head.document = &info;
        body.has_data = 1;
        body.data.data = (uint8_t *)c->original.ptr;
        body.data.len = c->original.len;
        assert_int_equal(vs_get_original_respond(call, &head), STATUS_OK);
        assert_int_equal(vs_get_original_respond(call, &body), STATUS_OK);
        rpc_call_finish(call, STATUS_OK, NULL);
    }
}

static uint32_t count_chunks(struct store *s, const char *lacking)
{
    uint32_t n = 0;
    size_t pos = 0;
    struct str key;
    void *value;
    while (map_next(&s->contents, &pos, &key, &value)) {
        const struct content *c = value;
        bool has = lacking != NULL && strcmp(c->encoder, lacking) == 0 && c->vectors == c->chunks;
        n += has ? 0 : c->chunks;
    }
    return n;
}

static void on_status(struct rpc_call *call, const ProtobufCMessage *m)
{
    (void)m;
    struct store *s = rpc_call_service(call);
    const char *filling = s->building[0] != '\0' ? s->building : s->encoder;
    Vs__StatusReply reply = VS__STATUS_REPLY__INIT;
    reply.documents = (uint32_t)s->n;
    reply.chunks = s->arriving ? s->told : count_chunks(s, NULL);
    reply.encoder = s->encoder;
    reply.dimensions = DIMENSIONS;
    reply.fitted_on = s->fitted_on;
    reply.building = s->building;
    reply.has_missing = 1;
    reply.missing = filling[0] == '\0' ? 0 : count_chunks(s, filling);
    vs_status_return(call, &reply);
}

static void on_put_encoder(struct rpc_call *call, const ProtobufCMessage *m)
{
    struct store *s = rpc_call_service(call);
    const Vs__PutEncoderRequest *q = vs_put_encoder_request(m);
    if (q->encoder != NULL) {
        assert_int_equal(q->dimensions, DIMENSIONS);
        (void)snprintf(s->building, sizeof s->building, "%s", q->encoder);
        s->fitted_on = q->fitted_on;
    }
}

static void on_put_encoder_end(struct rpc_call *call)
{
    Vs__PutEncoderReply reply = VS__PUT_ENCODER_REPLY__INIT;
    vs_put_encoder_return(call, &reply);
}

/* One item a content: its key is the hash. */
static void on_scan(struct rpc_call *call, const ProtobufCMessage *m)
{
    struct store *s = rpc_call_service(call);
    const Vs__ScanRequest *q = vs_scan_request(m);
    bool missing = q->missing_encoder != NULL && q->missing_encoder[0] != '\0';
    uint32_t sent = 0;
    size_t pos = 0;
    struct str key;
    void *value;
    while (map_next(&s->contents, &pos, &key, &value) && (q->limit == 0 || sent < q->limit)) {
        struct content *c = value;
        if (missing && strcmp(c->encoder, q->missing_encoder) == 0 && c->vectors == c->chunks) {
            continue;
        }
        Vs__ScanReply__Item item = VS__SCAN_REPLY__ITEM__INIT;
        item.key.data = (uint8_t *)(uintptr_t)key.ptr;
        item.key.len = key.len;
        item.text.data = (uint8_t *)c->text.ptr;
        item.text.len = c->text.len;
        Vs__ScanReply__Item *items[] = {&item};
        Vs__ScanReply reply = VS__SCAN_REPLY__INIT;
        reply.items = items;
        reply.n_items = 1;
        reply.cursor.data = (uint8_t *)(uintptr_t)key.ptr;
        reply.cursor.len =
            0; /* every batch begins at the start: what is filled is no longer missing */
        assert_int_equal(vs_scan_respond(call, &reply), STATUS_OK);
        sent++;
    }
    rpc_call_finish(call, STATUS_OK, NULL);
}

static void on_put_vectors(struct rpc_call *call, const ProtobufCMessage *m)
{
    struct store *s = rpc_call_service(call);
    const Vs__PutVectorsRequest *q = vs_put_vectors_request(m);
    for (size_t i = 0; i < q->n_items; i++) {
        struct str key = {.ptr = (const char *)q->items[i]->key.data, .len = q->items[i]->key.len};
        struct content *c = map_get(&s->contents, key);
        assert_non_null(c);
        assert_int_equal(q->items[i]->vector.len, 2 * DIMENSIONS);
        (void)snprintf(c->encoder, sizeof c->encoder, "%s", q->encoder);
        c->vectors = c->chunks;
    }
    Vs__PutVectorsReply reply = VS__PUT_VECTORS_REPLY__INIT;
    reply.stored = (uint32_t)q->n_items;
    vs_put_vectors_return(call, &reply);
}

static void on_publish(struct rpc_call *call, const ProtobufCMessage *m)
{
    struct store *s = rpc_call_service(call);
    const Vs__PublishRequest *q = vs_publish_request(m);
    assert_string_equal(q->encoder, s->building);
    if (count_chunks(s, q->encoder) > 0) {
        rpc_call_finish(call, STATUS_CONFLICT, "chunks lack its vectors");
        return;
    }
    (void)snprintf(s->encoder, sizeof s->encoder, "%s", q->encoder);
    s->building[0] = '\0';
    (void)snprintf(s->verdict, sizeof s->verdict, "%s",
                   q->comparison == NULL ? "" : q->comparison->verdict);
    Vs__PublishReply reply = VS__PUBLISH_REPLY__INIT;
    reply.published = 1;
    vs_publish_return(call, &reply);
}

static void on_hold_back(struct rpc_call *call, const ProtobufCMessage *m)
{
    struct store *s = rpc_call_service(call);
    const Vs__HoldBackRequest *q = vs_hold_back_request(m);
    Vs__HoldBackReply reply = VS__HOLD_BACK_REPLY__INIT;
    assert_string_equal(q->encoder, s->building);
    assert_string_equal(q->comparison->against, s->encoder);
    (void)snprintf(s->held, sizeof s->held, "%s", s->building);
    (void)snprintf(s->verdict, sizeof s->verdict, "%s", q->comparison->verdict);
    s->building[0] = '\0';
    s->fitted_on = count_chunks(s, NULL);
    vs_hold_back_return(call, &reply);
}

static const struct rpc_handler store_handlers[] = {
    {.method = &vs_hold_back_method, .on_request = on_hold_back},
    {.method = &vs_has_content_method, .on_request = on_has},
    {.method = &vs_put_method,
     .on_request = on_put,
     .on_end = on_put_end,
     .on_cancel = on_put_cancel},
    {.method = &vs_move_method, .on_request = on_move},
    {.method = &vs_remove_method, .on_request = on_remove},
    {.method = &vs_list_method, .on_request = on_list},
    {.method = &vs_status_method, .on_request = on_status},
    {.method = &vs_put_encoder_method, .on_request = on_put_encoder, .on_end = on_put_encoder_end},
    {.method = &vs_scan_method, .on_request = on_scan},
    {.method = &vs_put_vectors_method, .on_request = on_put_vectors},
    {.method = &vs_publish_method, .on_request = on_publish},
    {.method = &vs_get_document_method, .on_request = on_get_document},
    {.method = &vs_get_original_method, .on_request = on_get_original},
};

/* ---- embed ---- */

static void on_encode(struct rpc_call *call, const ProtobufCMessage *m)
{
    struct store *s = rpc_call_service(call);
    const Em__EncodeRequest *q = em_encode_request(m);
    float vectors[256 * DIMENSIONS] = {0};
    assert_true(q->n_texts <= 256);
    for (size_t i = 0; i < q->n_texts; i++) {
        vectors[i * DIMENSIONS] = 1;
    }
    s->encoded += (uint32_t)q->n_texts;
    Em__EncodeReply reply = EM__ENCODE_REPLY__INIT;
    reply.encoder = q->encoder;
    reply.dimensions = DIMENSIONS;
    reply.vectors = vectors;
    reply.n_vectors = q->n_texts * DIMENSIONS;
    em_encode_return(call, &reply);
}

static void on_fit(struct rpc_call *call, const ProtobufCMessage *m)
{
    uintptr_t n = (uintptr_t)*rpc_call_data(call);
    *rpc_call_data(call) = (void *)(n + em_fit_request(m)->n_texts);
}

static void on_fit_end(struct rpc_call *call)
{
    struct store *s = rpc_call_service(call);
    char name[64];
    (void)snprintf(name, sizeof name, "carrel-lsa-%016u", ++s->fits);
    Em__FitReply blob = EM__FIT_REPLY__INIT;
    blob.has_blob = 1;
    blob.blob.data = (uint8_t *)name;
    blob.blob.len = strlen(name);
    assert_int_equal(em_fit_respond(call, &blob), STATUS_OK);
    Em__FitReply last = EM__FIT_REPLY__INIT;
    last.encoder = name;
    last.has_dimensions = last.has_passages = 1;
    last.dimensions = DIMENSIONS;
    last.passages = (uint32_t)(uintptr_t)*rpc_call_data(call);
    assert_int_equal(em_fit_respond(call, &last), STATUS_OK);
    rpc_call_finish(call, STATUS_OK, NULL);
}

static const struct rpc_handler embed_handlers[] = {
    {.method = &em_encode_method, .on_request = on_encode},
    {.method = &em_fit_method, .on_request = on_fit, .on_end = on_fit_end},
};

/* ---- retrieve ---- */

/* The runs of the last evaluation, newest first. */
static void tell_runs(struct store *s, Rt__EvaluationRun *runs, Rt__EvaluationRun **list)
{
    static const char *const modes[] = {"default", "default", "dense", "dense"};
    for (uint32_t i = 0; i < 4; i++) {
        rt__evaluation_run__init(&runs[i]);
        runs[i].id = (uint64_t)s->evaluations * 4 + 3 - i;
        runs[i].encoder = (3 - i) % 2 == 0 ? s->against : s->of;
        runs[i].mode = (char *)(uintptr_t)modes[3 - i];
        runs[i].settings = (char *)(uintptr_t) "s";
        list[i] = &runs[i];
    }
}

static void on_evaluate(struct rpc_call *call, const ProtobufCMessage *m)
{
    struct store *s = rpc_call_service(call);
    const Rt__EvaluateRequest *q = rt_evaluate_request(m);
    Rt__EvaluationRun runs[4];
    Rt__EvaluationRun *list[4];
    Rt__Interval i = RT__INTERVAL__INIT;
    Rt__MeasureGroup d = RT__MEASURE_GROUP__INIT;
    Rt__EvaluateReply reply = RT__EVALUATE_REPLY__INIT;
    if (q->action == RT__EVALUATE_REQUEST__ACTION__START) {
        assert_int_equal(q->n_configurations, 4);
        s->evaluations += s->questions > 0 ? 1 : 0;
        (void)snprintf(s->against, sizeof s->against, "%s", q->configurations[0]->encoder);
        (void)snprintf(s->of, sizeof s->of, "%s", q->configurations[1]->encoder);
    }
    if (s->questions == 0 && q->action == RT__EVALUATE_REQUEST__ACTION__START) {
        reply.failed = (char *)(uintptr_t) "no questions could be made";
        reply.has_failed_status = 1;
        reply.failed_status = STATUS_NOT_FOUND;
    } else if (s->evaluations > 0) {
        tell_runs(s, runs, list);
        reply.runs = list;
        reply.n_runs = 4;
    }
    if (q->has_compare_a) {
        i.mean = s->difference;
        i.low = s->difference - 0.01;
        i.high = s->difference + 0.01;
        d.collection = (char *)(uintptr_t) "";
        d.questions = s->questions;
        d.recall_5 = d.recall_20 = d.ndcg_10 = d.mrr_10 = &i;
        reply.difference = &d;
    }
    rt_evaluate_return(call, &reply);
}

static const struct rpc_handler retrieve_handlers[] = {
    {.method = &rt_evaluate_method, .on_request = on_evaluate},
};

/* ---- the world ---- */

struct world {
    uv_loop_t loop;
    uv_timer_t timer;
    struct one_service service;
    struct store store;
    struct rpc_server *vectorstore, *embed, *retrieve;
    struct rpc_client *serve;
    int closed;
    char watch[96];
};

static void on_closed(void *data)
{
    ((struct world *)data)->closed++;
}

static void listen_as(struct world *w, enum peer p, const struct rpc_handler *h, size_t n,
                      struct rpc_server **out)
{
    char address[160];
    struct error err = {0};
    assert_int_equal(rpc_server_new(&w->loop, &w->service.all[p], h, n, NULL, &w->store, out, &err),
                     STATUS_OK);
    (void)snprintf(address, sizeof address, "unix:%s/run/%s.sock", w->service.home, peer_name(p));
    assert_int_equal(rpc_server_listen(*out, address, &err), STATUS_OK);
}

static void start_ingest(struct world *w)
{
    char socket[128];
    (void)snprintf(socket, sizeof socket, "%s/run/ingest.sock", w->service.home);
    (void)unlink(socket); /* a killed one leaves it */
    one_service_start(&w->service, "carrel-ingest", PEER_INGEST, "ingest.sock");
}

static int setup(void **state)
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

static int teardown(void **state)
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

static void kill_ingest(struct world *w)
{
    pid_t pid = w->service.pids[--w->service.n_pids];
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void write_file(struct world *w, const char *name, const char *content)
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

static void spin(struct world *w, int64_t ms)
{
    int64_t end = clock_monotonic_ms() + ms;
    do {
        uv_update_time(&w->loop);
        (void)uv_timer_start(&w->timer, on_tick, 5, 0);
        (void)uv_run(&w->loop, UV_RUN_ONCE);
    } while (clock_monotonic_ms() < end);
}

/* ---- asking ingest ---- */

struct answer {
    bool done;
    struct error err;
    size_t n;
    char id[64], state[32], error[512], doing[256];
    uint32_t chunks;
    char path[512];
    bool trashed, excluded;
    const char *wanted; /* path looked for in a list */
    struct buf png;
    float width;
};

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

static const struct rpc_callbacks answers = {.on_reply = on_answer, .on_finish = on_answered};
static const struct rpc_options patient = {
    .tenant = "main", .timeout_ms = 20000, .wait_for_ready = true};

static struct answer list_for(struct world *w, const char *path)
{
    struct answer a = {.wanted = path};
    Ig__ListRequest q = IG__LIST_REQUEST__INIT;
    assert_non_null(ig_list(w->serve, &patient, &q, &answers, &a));
    one_service_until(&w->loop, &a.done);
    assert_int_equal(a.err.code, STATUS_OK);
    return a;
}

static struct answer until_state(struct world *w, const char *path, const char *state)
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

static const struct kept *stored(struct world *w, const char *path)
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

static void assert_content(struct world *w, const char *path, const char *content)
{
    uint8_t digest[SHA256_BYTES];
    char hex[SHA256_HEX_CAP];
    const struct kept *d = stored(w, path);
    assert_non_null(d);
    sha256_of(content, strlen(content), digest);
    sha256_hex(digest, hex);
    assert_string_equal(d->hash, hex);
}

static struct answer upload(struct world *w, const char *path, const char *content, bool replace)
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

static struct answer delete_document(struct world *w, char *id)
{
    struct answer a = {0};
    Ig__DeleteRequest q = IG__DELETE_REQUEST__INIT;
    q.document = id;
    assert_non_null(ig_delete(w->serve, &patient, &q, &answers, &a));
    one_service_until(&w->loop, &a.done);
    return a;
}

/* ---- tests ---- */

static void files_become_documents(void **state)
{
    struct world *w = *state;
    write_file(w, "a.md", "# Heading\n\nThe heron stands in the reeds.\n");
    write_file(w, "law/b.txt", "The kingfisher dives.\n");
    write_file(w, "law/copy.txt", "The kingfisher dives.\n");
    write_file(w, "bad.exe", "MZ");
    write_file(w, "empty.txt", "");
    struct answer a = until_state(w, "a.md", "ready");
    assert_true(a.chunks > 0);
    assert_content(w, "a.md", "# Heading\n\nThe heron stands in the reeds.\n");
    (void)until_state(w, "law/b.txt", "ready");
    (void)until_state(w, "law/copy.txt", "ready");
    assert_string_equal(stored(w, "law/b.txt")->collection, "law");
    struct answer bad = until_state(w, "bad.exe", "failed");
    assert_non_null(strstr(bad.error, "kind of file"));
    struct answer empty = until_state(w, "empty.txt", "failed");
    assert_non_null(strstr(empty.error, "empty"));
    /* a new content for a file that was readable */
    write_file(w, "a.md", "");
    (void)until_state(w, "a.md", "failed");
    assert_null(stored(w, "a.md")); /* search must not quote what the file no longer says */
    /* rename, remove */
    char from[256];
    char to[256];
    (void)snprintf(from, sizeof from, "%s/law/b.txt", w->watch);
    (void)snprintf(to, sizeof to, "%s/c.txt", w->watch);
    char before[ID_CAP];
    uint32_t puts = stored(w, "law/b.txt")->puts;
    (void)snprintf(before, sizeof before, "%s", stored(w, "law/b.txt")->id);
    assert_int_equal(rename(from, to), 0);
    (void)until_state(w, "c.txt", "ready");
    assert_string_equal(stored(w, "c.txt")->id, before);
    assert_int_equal(stored(w, "c.txt")->puts, puts); /* moved, not put */
    assert_int_equal(unlink(to), 0);
    int64_t end = clock_monotonic_ms() + PATIENCE_MS;
    while (stored(w, "c.txt") != NULL && clock_monotonic_ms() < end) {
        spin(w, 10);
    }
    assert_null(stored(w, "c.txt"));
    assert_non_null(stored(w, "law/copy.txt"));
}

static void back_to_earlier_content_with_kills(void **state)
{
    struct world *w = *state;
    char a[64];
    char b[64];
    for (int round = 0; round < 4; round++) {
        (void)snprintf(a, sizeof a, "The content A of the tide table.\n");
        (void)snprintf(b, sizeof b, "The content B of round %d.\n", round);
        write_file(w, "tide.txt", a);
        spin(w, 40 + 60 * round);
        kill_ingest(w);
        write_file(w, "tide.txt", b);
        start_ingest(w);
        spin(w, 30 + 100 * round);
        kill_ingest(w);
        write_file(w, "tide.txt", a);
        start_ingest(w);
        spin(w, 400);
        (void)until_state(w, "tide.txt", "ready");
        assert_content(w, "tide.txt", a);
    }
    assert_int_equal(list_for(w, NULL).n, 1);
    size_t there = 0;
    for (size_t i = 0; i < w->store.n; i++) {
        there += w->store.docs[i].there;
    }
    assert_int_equal(there, 1);
}

static void killed_among_many(void **state)
{
    struct world *w = *state;
    char name[64];
    char text[96];
    for (int i = 0; i < 120; i++) {
        (void)snprintf(name, sizeof name, "many/%d.txt", i);
        (void)snprintf(text, sizeof text, "File number %d has its own sentence.\n", i);
        write_file(w, name, text);
        if (i % 40 == 20) {
            spin(w, 150);
            kill_ingest(w);
            start_ingest(w);
        }
    }
    for (int i = 0; i < 120; i++) {
        (void)snprintf(name, sizeof name, "many/%d.txt", i);
        (void)snprintf(text, sizeof text, "File number %d has its own sentence.\n", i);
        (void)until_state(w, name, "ready");
        assert_content(w, name, text);
    }
    assert_int_equal(list_for(w, NULL).n, 120);
}

static void a_part_is_down_or_full(void **state)
{
    struct world *w = *state;
    w->store.refuse = STATUS_UNAVAILABLE;
    write_file(w, "a.txt", "The lighthouse keeper sleeps.\n");
    spin(w, 600);
    struct answer a = until_state(w, "a.txt", "queued");
    assert_non_null(strstr(a.error, "store"));
    w->store.refuse = STATUS_DISK_FULL;
    write_file(w, "b.txt", "The harbour is full.\n");
    int64_t end = clock_monotonic_ms() + PATIENCE_MS;
    while (strstr(a.error, "disk is full") == NULL && clock_monotonic_ms() < end) {
        spin(w, 50);
        a = list_for(w, "a.txt");
    }
    assert_non_null(strstr(a.error, "disk is full"));
    assert_int_equal(list_for(w, NULL).n, 2);
    w->store.refuse = STATUS_OK;
    (void)until_state(w, "a.txt", "ready");
    (void)until_state(w, "b.txt", "ready");
}

static void uploads_and_deletes(void **state)
{
    struct world *w = *state;
    struct answer up = upload(w, "inbox/guide.md", "The glacier guide wears crampons.\n", false);
    assert_int_equal(up.err.code, STATUS_OK);
    assert_true(id_valid(up.id));
    (void)until_state(w, "inbox/guide.md", "ready");
    assert_int_equal(upload(w, "inbox/guide.md", "other", false).err.code, STATUS_CONFLICT);
    assert_int_equal(upload(w, "../guide.md", "other", false).err.code, STATUS_INVALID);
    struct answer again = upload(w, "inbox/guide.md", "The guide went home.\n", true);
    assert_int_equal(again.err.code, STATUS_OK);
    assert_string_equal(again.id, up.id);
    (void)until_state(w, "inbox/guide.md", "ready");
    spin(w, 300);
    assert_content(w, "inbox/guide.md", "The guide went home.\n");
    struct answer gone = delete_document(w, up.id);
    assert_int_equal(gone.err.code, STATUS_OK);
    assert_true(gone.trashed);
    assert_null(stored(w, "inbox/guide.md"));
    char command[256];
    (void)snprintf(command, sizeof command, "test -n \"$(find %s/trash/main -name guide.md)\"",
                   w->service.home);
    assert_int_equal(system(command), 0);
    spin(w, 300);
    assert_int_equal(list_for(w, NULL).n, 0);
    assert_int_equal(delete_document(w, up.id).err.code, STATUS_NOT_FOUND);
}

/* The store tells of them when all are there: it is growth by so many, however fast they come. */
static void grow(struct world *w, int from, int to)
{
    char name[64];
    char text[96];
    w->store.told = count_chunks(&w->store, NULL);
    w->store.arriving = true;
    for (int i = from; i < to; i++) {
        (void)snprintf(name, sizeof name, "%d.txt", i);
        (void)snprintf(text, sizeof text, "Sentence number %d about the theatre.\n", i);
        write_file(w, name, text);
    }
    for (int i = from; i < to; i++) {
        (void)snprintf(name, sizeof name, "%d.txt", i);
        (void)until_state(w, name, "ready");
    }
    w->store.arriving = false;
}

static void until_settled(struct world *w, const char *is, const char *expected)
{
    int64_t end = clock_monotonic_ms() + PATIENCE_MS;
    while (strcmp(is, expected) != 0 && clock_monotonic_ms() < end) {
        spin(w, 20);
    }
    assert_string_equal(is, expected);
}

static void the_encoder_is_fitted_filled_and_published(void **state)
{
    struct world *w = *state;
    char name[64];
    char text[96];
    for (int i = 0; i < 9; i++) {
        (void)snprintf(name, sizeof name, "%d.txt", i);
        (void)snprintf(text, sizeof text, "Sentence number %d about the orchard.\n", i);
        write_file(w, name, text);
    }
    (void)until_state(w, "8.txt", "ready");
    spin(w, 300);
    assert_int_equal(w->store.fits, 0); /* below the threshold, and embed is down */
    for (int i = 9; i < 14; i++) {
        (void)snprintf(name, sizeof name, "%d.txt", i);
        (void)snprintf(text, sizeof text, "Sentence number %d about the quarry.\n", i);
        write_file(w, name, text);
    }
    for (int i = 0; i < 14; i++) {
        (void)snprintf(name, sizeof name, "%d.txt", i);
        (void)until_state(w, name, "ready"); /* words are findable without embed */
    }
    listen_as(w, PEER_EMBED, embed_handlers, 2, &w->embed);
    int64_t end = clock_monotonic_ms() + PATIENCE_MS;
    while (w->store.encoder[0] == '\0' && clock_monotonic_ms() < end) {
        spin(w, 20);
    }
    assert_string_equal(w->store.encoder, "carrel-lsa-0000000000000001");
    assert_int_equal(w->store.fitted_on, 14);
    assert_int_equal(count_chunks(&w->store, w->store.encoder), 0);
    spin(w, 1200); /* ingest has noticed */
    write_file(w, "new.txt", "A new sentence about the railway.\n");
    (void)until_state(w, "new.txt", "ready");
    end = clock_monotonic_ms() + PATIENCE_MS;
    while (count_chunks(&w->store, w->store.encoder) > 0 && clock_monotonic_ms() < end) {
        spin(w, 20);
    }
    assert_int_equal(count_chunks(&w->store, w->store.encoder), 0);
    assert_int_equal(w->store.fits, 1);
    assert_string_equal(w->store.verdict, ""); /* there was nothing to compare it with */

    grow(w, 20, 32); /* by more than 60 % */
    end = clock_monotonic_ms() + PATIENCE_MS;
    while (w->store.fits < 2 && clock_monotonic_ms() < end) {
        spin(w, 20);
    }
    spin(w, 1500); /* retrieve is down: nothing is published meanwhile */
    assert_string_equal(w->store.encoder, "carrel-lsa-0000000000000001");
    w->store.questions = 100;
    w->store.difference = -0.1;
    listen_as(w, PEER_RETRIEVE, retrieve_handlers, 1, &w->retrieve);
    until_settled(w, w->store.held, "carrel-lsa-0000000000000002");
    assert_string_equal(w->store.verdict, "worse");
    assert_string_equal(w->store.encoder, "carrel-lsa-0000000000000001");
    spin(w, 1500);
    assert_int_equal(w->store.fits, 2); /* growth counts from here */

    grow(w, 40, 64);
    w->store.difference = 0;
    until_settled(w, w->store.encoder, "carrel-lsa-0000000000000003");
    assert_string_equal(w->store.verdict, "same");

    grow(w, 70, 110);
    w->store.questions = 0;
    until_settled(w, w->store.encoder, "carrel-lsa-0000000000000004");
    assert_string_equal(w->store.verdict, "unmeasured");
}

static struct answer render(struct world *w, char *id, uint32_t page)
{
    struct answer a = {0};
    Ig__RenderRequest q = IG__RENDER_REQUEST__INIT;
    buf_init(&a.png, 16 << 20);
    q.document = id;
    q.page = page;
    assert_non_null(ig_render(w->serve, &patient, &q, &answers, &a));
    one_service_until(&w->loop, &a.done);
    return a;
}

static void pages_have_pictures(void **state)
{
    struct world *w = *state;
    static const char pdf[] =
        "%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n"
        "2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
        "3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 200]/Contents 4 0 R"
        "/Resources<</Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>>>endobj\n"
        "4 0 obj<</Length 65>>stream\nBT /F 14 Tf 20 100 Td (The heron stands in the reeds) Tj ET "
        "      \nendstream endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n";
    write_file(w, "page.pdf", pdf);
    write_file(w, "plain.txt", "No pages here.\n");
    struct answer doc = until_state(w, "page.pdf", "ready");
    struct answer plain = until_state(w, "plain.txt", "ready");
    for (int i = 0; i < 2; i++) { /* the second from the pictures that are kept */
        struct answer a = render(w, doc.id, 1);

        assert_int_equal(a.err.code, STATUS_OK);
        assert_true(a.png.len > 100);
        assert_memory_equal(a.png.ptr, "\x89PNG", 4);
        assert_true(a.width > 299 && a.width < 301);
        buf_deinit(&a.png);
    }
    assert_int_equal(w->store.originals, 1);
    assert_int_equal(render(w, doc.id, 9).err.code == STATUS_OK, 0);
    assert_int_equal(render(w, plain.id, 1).err.code, STATUS_UNSUPPORTED);
    assert_int_equal(render(w, doc.id, 0).err.code, STATUS_INVALID);
    w->store.refuse = STATUS_FORBIDDEN; /* the store says who may see it, kept picture or not */
    assert_int_equal(render(w, doc.id, 1).err.code, STATUS_FORBIDDEN);
    w->store.refuse = STATUS_OK;
}

static void in_a_read_only_folder_deleted_is_excluded(void **state)
{
    struct world *w = *state;
    if (geteuid() != 0 || mount("none", w->watch, "tmpfs", 0, "size=1m") != 0) {
        skip(); /* mounting needs root */
    }
    kill_ingest(w);
    write_file(w, "a.txt", "The lighthouse is white.\n");
    write_file(w, "b.txt", "The lighthouse is tall.\n");
    assert_int_equal(mount("none", w->watch, "tmpfs", MS_REMOUNT | MS_RDONLY, NULL), 0);
    start_ingest(w);
    struct answer a = until_state(w, "a.txt", "ready");
    (void)until_state(w, "b.txt", "ready");
    struct answer gone = delete_document(w, a.id);
    struct answer up = upload(w, "c.txt", "The lighthouse is closed.\n", false);
    kill_ingest(w);
    start_ingest(w); /* a scan does not bring it back */
    spin(w, 500);
    size_t listed = list_for(w, NULL).n;
    kill_ingest(w);
    assert_int_equal(umount2(w->watch, MNT_DETACH), 0);
    start_ingest(w);
    assert_int_equal(gone.err.code, STATUS_OK);
    assert_true(gone.excluded && !gone.trashed);
    assert_null(stored(w, "a.txt"));
    assert_int_equal(up.err.code, STATUS_FORBIDDEN);
    assert_int_equal(listed, 1);
}

static void a_folder_closes_while_a_file_is_read(void **state)
{
    struct world *w = *state;
    write_file(w, "first.txt", "A sentence that everybody may read.\n");
    (void)until_state(w, "first.txt", "ready");
    assert_int_equal(stored(w, "first.txt")->for_all, 1);
    int n = snprintf(w->store.closing, sizeof w->store.closing, "%s/pay/.carrel.yaml", w->watch);
    assert_true(n > 0 && (size_t)n < sizeof w->store.closing);
    write_file(w, "pay/slip.txt", "A sentence that nobody may read.\n");
    (void)until_state(w, "pay/slip.txt", "ready");
    assert_string_equal(w->store.closing, "");
    assert_int_equal(stored(w, "pay/slip.txt")->for_all, 0); /* not for a moment */
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(files_become_documents),
        TEST(back_to_earlier_content_with_kills),
        TEST(killed_among_many),
        TEST(a_part_is_down_or_full),
        TEST(uploads_and_deletes),
        TEST(the_encoder_is_fitted_filled_and_published),
        TEST(pages_have_pictures),
        TEST(in_a_read_only_folder_deleted_is_excluded),
        TEST(a_folder_closes_while_a_file_is_read),
    };
    assert_true(signal(SIGPIPE, SIG_IGN) != SIG_ERR); /* peers are killed here */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
