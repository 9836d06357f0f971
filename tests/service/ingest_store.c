#include "tests/service/ingest_store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "embed/embed_rpc.h"
#include "retrieve/retrieve_rpc.h"
#include "vectorstore/vectorstore_rpc.h"

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

void content_free(struct content *c)
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

uint32_t count_chunks(struct store *s, const char *lacking)
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

static void on_hold_versions(struct rpc_call *call, const ProtobufCMessage *m)
{
    Vs__HoldVersionsReply reply = VS__HOLD_VERSIONS_REPLY__INIT;
    reply.holds = (uint32_t)vs_hold_versions_request(m)->n_holds;
    vs_hold_versions_return(call, &reply);
}

const struct rpc_handler store_handlers[STORE_HANDLERS] = {
    {.method = &vs_hold_versions_method, .on_request = on_hold_versions},
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

const struct rpc_handler embed_handlers[EMBED_HANDLERS] = {
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

const struct rpc_handler retrieve_handlers[RETRIEVE_HANDLERS] = {
    {.method = &rt_evaluate_method, .on_request = on_evaluate},
};
