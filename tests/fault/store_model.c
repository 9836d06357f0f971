#include "tests/fault/store_model_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "vectorstore/dot.h"

#define ARENA ((size_t)16 * 1024 * 1024)
#define PIPELINE "fault-1"

static const char *const names[ACT_KINDS] = {"put",     "remove",  "move",    "maintain", "seal",
                                             "encoder", "vectors", "publish", "snapshot", "erase"};

const char *act_name(enum act_kind k)
{
    return k < ACT_KINDS ? names[k] : "?";
}

uint32_t model_random(uint64_t *state, uint32_t below)
{
    *state += 0x9e3779b97f4a7c15U; /* splitmix64 */
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    z ^= z >> 31;
    return (uint32_t)(z % below);
}

/* ---- texts and vectors ---- */

void model_token(uint32_t doc, uint32_t version, char out[32])
{
    char digits[24];
    (void)snprintf(digits, sizeof digits, "%ux%u", doc, version);
    size_t n = 0;
    out[n++] = 'z';
    out[n++] = 'q';
    for (const char *p = digits; *p != '\0'; p++) {
        out[n++] = *p == 'x' ? 'y' : (char)('a' + (*p - '0'));
    }
    out[n] = '\0';
}

uint32_t model_chunks(uint32_t doc, uint32_t version)
{
    return doc % 3 == 0 ? MODEL_CHUNKS_MAX - version % 7 : 1 + (doc * 7 + version * 3) % 20;
}

void model_text(uint32_t doc, uint32_t version, uint32_t ordinal, char out[MODEL_TEXT_CAP])
{
    static const char *const words[] = {"lantern", "harbour", "granite", "meadow",
                                        "copper",  "violin",  "orchard", "timber"};
    char t[32];
    model_token(doc, version, t);
    (void)snprintf(out, MODEL_TEXT_CAP, "%s part %u of the %s by the %s", t, ordinal,
                   words[(doc + ordinal) % 8], words[(version + ordinal * 5) % 8]);
}

void model_encoder_name(uint32_t n, char out[32])
{
    (void)snprintf(out, 32, "fault-%u", n);
}

void model_vector(uint32_t encoder, struct str text, float out[MODEL_DIMENSIONS])
{
    uint8_t hash[SHA256_BYTES];
    uint64_t state = encoder;
    double sum = 0;
    sha256_of(text.ptr, text.len, hash);
    for (size_t i = 0; i < sizeof state; i++) {
        state = state * 256 + hash[i];
    }
    for (uint32_t i = 0; i < MODEL_DIMENSIONS; i++) {
        out[i] = (float)model_random(&state, 20001) / 10000.0F - 1.0F;
        sum += (double)out[i] * (double)out[i];
    }
    for (uint32_t i = 0; i < MODEL_DIMENSIONS; i++) {
        out[i] = (float)((double)out[i] / (sum > 0 ? __builtin_sqrt(sum) : 1));
    }
}

static void halves_of(uint32_t encoder, struct str text, uint16_t out[MODEL_DIMENSIONS])
{
    float v[MODEL_DIMENSIONS];
    model_vector(encoder, text, v);
    for (uint32_t i = 0; i < MODEL_DIMENSIONS; i++) {
        out[i] = half_from_float(v[i]);
    }
}

size_t model_fit(uint32_t n, char out[4096])
{
    uint64_t state = n;
    for (size_t i = 0; i < 4096; i++) {
        out[i] = (char)model_random(&state, 256);
    }
    return 4096;
}

void model_document_name(uint32_t doc, char out[32])
{
    (void)snprintf(out, 32, "document-%u", doc);
}

void model_hash(uint32_t doc, uint32_t version, uint8_t out[SHA256_BYTES], uint64_t *size)
{
    char text[MODEL_TEXT_CAP];
    struct sha256 *h = sha256_new();
    *size = 0;
    for (uint32_t i = 0; h != NULL && i < model_chunks(doc, version); i++) {
        model_text(doc, version, i, text);
        sha256_add(h, text, strlen(text));
        *size += strlen(text);
    }
    if (h != NULL) {
        sha256_end(h, out);
    }
}

/* ---- acts ---- */

static bool possible(const struct model *m, const struct act *a)
{
    switch (a->kind) {
    case ACT_REMOVE:
    case ACT_MOVE:
    case ACT_ERASE:
        return m->docs[a->doc].there;
    case ACT_ENCODER:
        return m->building == 0;
    case ACT_VECTORS:
    case ACT_PUBLISH:
        return m->building != 0;
    case ACT_PUT:
    case ACT_MAINTAIN:
    case ACT_SEAL:
    case ACT_SNAPSHOT:
    case ACT_KINDS:
        break;
    }
    return true;
}

struct act model_choose(const struct model *m, uint64_t *rnd, enum act_kind wanted)
{
    static const enum act_kind often[] = {ACT_PUT,     ACT_PUT,      ACT_PUT,     ACT_PUT,
                                          ACT_PUT,     ACT_REMOVE,   ACT_MOVE,    ACT_SEAL,
                                          ACT_ENCODER, ACT_MAINTAIN, ACT_PUBLISH, ACT_VECTORS};
    for (unsigned tries = 0;; tries++) {
        uint32_t doc = model_random(rnd, MODEL_DOCS);
        struct act a = {.kind = tries == 0 && wanted < ACT_KINDS
                                    ? wanted
                                    : often[model_random(rnd, sizeof often / sizeof often[0])],
                        .doc = doc,
                        .version = m->docs[doc].tried + 1,
                        .encoder = m->published,
                        .sequence = m->sequence + 1};
        if (a.kind == ACT_ENCODER) {
            a.encoder = m->next_encoder + 1;
        } else if (a.kind == ACT_VECTORS || a.kind == ACT_PUBLISH) {
            a.encoder = m->building;
        } else if (model_random(rnd, 5) == 0) {
            a.encoder = 0; /* embed was down */
        }
        if (possible(m, &a)) {
            return a;
        }
    }
}

static void location_of(const struct act *a, char name[32], char path[64], bool moved,
                        Vs__Location *l)
{
    model_document_name(a->doc, name);
    (void)snprintf(path, 64, "%s/%s.txt", moved ? "moved" : "new", name);
    vs__location__init(l);
    l->document = name;
    l->path = (ProtobufCBinaryData){.data = (uint8_t *)path, .len = strlen(path)};
    l->source = (char *)(uintptr_t) "watch";
    l->collection = (char *)(uintptr_t)(moved ? "moved" : "new");
    l->sequence = a->sequence;
}

static enum status add_parts(struct put *p, const struct act *a, struct error *err)
{
    uint32_t at = 0;
    uint32_t n = model_chunks(a->doc, a->version);
    enum status st = STATUS_OK;
    char text[MODEL_TEXT_CAP];
    for (uint32_t i = 0; i < n && st == STATUS_OK; i++) {
        Vs__PutRequest m = VS__PUT_REQUEST__INIT;
        model_text(a->doc, a->version, i, text);
        m.has_original = m.has_text = true;
        m.original = m.text = (ProtobufCBinaryData){.data = (uint8_t *)text, .len = strlen(text)};
        st = store_put_add(p, &m, err);
    }
    for (uint32_t i = 0; i < n && st == STATUS_OK; i++) {
        Vs__PutRequest m = VS__PUT_REQUEST__INIT;
        Vs__Chunk c = VS__CHUNK__INIT;
        Vs__Chunk *chunks[1] = {&c};
        uint16_t half[MODEL_DIMENSIONS];
        model_text(a->doc, a->version, i, text);
        c.ordinal = i;
        c.start = at;
        at += (uint32_t)strlen(text);
        c.end = at;
        c.text = (ProtobufCBinaryData){.data = (uint8_t *)text, .len = strlen(text)};
        if (a->encoder != 0) {
            halves_of(a->encoder, str_from(text), half);
            c.has_vector = true;
            c.vector = (ProtobufCBinaryData){.data = (uint8_t *)half, .len = sizeof half};
        }
        m.chunks = chunks;
        m.n_chunks = 1;
        st = store_put_add(p, &m, err);
    }
    return st;
}

static enum status do_put(struct store *s, const struct act *a, struct error *err)
{
    char name[32];
    char path[64];
    char encoder[32];
    uint8_t hash[SHA256_BYTES];
    Vs__Location l;
    Vs__PutRequest__Begin b = VS__PUT_REQUEST__BEGIN__INIT;
    Vs__PutReply r = VS__PUT_REPLY__INIT;
    struct put *p = NULL;
    location_of(a, name, path, false, &l);
    model_hash(a->doc, a->version, hash, &b.size);
    model_encoder_name(a->encoder, encoder);
    b.location = &l;
    b.hash = (ProtobufCBinaryData){.data = hash, .len = sizeof hash};
    b.format = (char *)(uintptr_t) "txt";
    b.pipeline = (char *)(uintptr_t)PIPELINE;
    b.language = (char *)(uintptr_t) "en";
    b.encoder = a->encoder == 0 ? NULL : encoder;
    enum status st = store_put_begin(s, &b, &p, err);
    if (st == STATUS_OK) {
        st = add_parts(p, a, err);
    }
    if (st == STATUS_OK) {
        st = store_put_commit(p, &r, err);
    }
    store_put_end(p);
    return st == STATUS_OK && !r.applied
               ? error_set(err, STATUS_CONFLICT, "%s: the put was ignored", name)
               : st;
}

static enum status do_remove(struct store *s, const struct act *a, struct error *err)
{
    char name[32];
    Vs__RemoveRequest m = VS__REMOVE_REQUEST__INIT;
    Vs__RemoveReply r = VS__REMOVE_REPLY__INIT;
    model_document_name(a->doc, name);
    m.document = name;
    m.sequence = a->sequence;
    enum status st = store_remove(s, &m, &r, err);
    return st == STATUS_OK && !r.applied
               ? error_set(err, STATUS_CONFLICT, "%s: the removal was ignored", name)
               : st;
}

static enum status do_move(struct store *s, const struct act *a, struct error *err)
{
    char name[32];
    char path[64];
    Vs__Location l;
    Vs__MoveRequest m = VS__MOVE_REQUEST__INIT;
    Vs__MoveReply r = VS__MOVE_REPLY__INIT;
    location_of(a, name, path, true, &l);
    m.location = &l;
    enum status st = store_move(s, &m, &r, err);
    return st == STATUS_OK && !r.applied
               ? error_set(err, STATUS_CONFLICT, "%s: the move was ignored", name)
               : st;
}

/* One page of what the encoder lacks; *last when that was all. */
static enum status fill(struct store *s, uint32_t encoder, bool *last, struct error *err)
{
    char name[32];
    struct arena a;
    Vs__ScanReply found;
    Vs__PutVectorsRequest m = VS__PUT_VECTORS_REQUEST__INIT;
    Vs__PutVectorsReply r = VS__PUT_VECTORS_REPLY__INIT;
    arena_init(&a, ARENA);
    model_encoder_name(encoder, name);
    enum status st =
        store_scan(s, name, (ProtobufCBinaryData){.data = NULL}, 256, &a, &found, last, err);
    if (st == STATUS_OK && found.n_items > 0) {
        m.encoder = name;
        m.items = arena_array(&a, found.n_items, sizeof *m.items);
        for (size_t i = 0; m.items != NULL && i < found.n_items; i++) {
            Vs__PutVectorsRequest__Item *item = arena_alloc(&a, sizeof *item);
            uint16_t *half = arena_alloc(&a, MODEL_DIMENSIONS * sizeof *half);
            if (item == NULL || half == NULL) {
                break;
            }
            vs__put_vectors_request__item__init(item);
            item->key = found.items[i]->key;
            halves_of(encoder,
                      (struct str){.ptr = (const char *)found.items[i]->text.data,
                                   .len = found.items[i]->text.len},
                      half);
            item->vector = (ProtobufCBinaryData){.data = (uint8_t *)half,
                                                 .len = MODEL_DIMENSIONS * sizeof *half};
            m.items[m.n_items++] = item;
        }
        st = store_put_vectors(s, &m, &r, err);
    }
    arena_reset(&a);
    return st;
}

static enum status do_publish(struct store *s, const struct act *a, struct error *err)
{
    char name[32];
    bool last = false;
    Vs__PublishRequest m = VS__PUBLISH_REQUEST__INIT;
    Vs__PublishReply r = VS__PUBLISH_REPLY__INIT;
    enum status st = STATUS_OK;
    while (st == STATUS_OK && !last) {
        st = fill(s, a->encoder, &last, err);
    }
    model_encoder_name(a->encoder, name);
    m.encoder = name;
    return st == STATUS_OK ? store_publish(s, &m, &r, err) : st;
}

static enum status do_erase(struct store *s, const struct act *a, struct error *err)
{
    static const Vs__ScrubRequest__Step steps[] = {VS__SCRUB_REQUEST__STEP__CONTENTS,
                                                   VS__SCRUB_REQUEST__STEP__POSTINGS,
                                                   VS__SCRUB_REQUEST__STEP__FILE};
    char name[32];
    char *one[1] = {name};
    Vs__EraseRequest m = VS__ERASE_REQUEST__INIT;
    Vs__EraseReply r = VS__ERASE_REPLY__INIT;
    model_document_name(a->doc, name);
    m.documents = one;
    m.n_documents = 1;
    m.sequence = a->sequence;
    enum status st = store_erase(s, &m, &r, err);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0] && st == STATUS_OK; i++) {
        Vs__ScrubReply done = VS__SCRUB_REPLY__INIT;
        for (unsigned calls = 0; st == STATUS_OK && !done.done && calls < 100000; calls++) {
            Vs__ScrubRequest q = VS__SCRUB_REQUEST__INIT;
            q.step = steps[i];
            q.has_begin = true;
            q.begin = calls == 0;
            vs__scrub_reply__init(&done);
            st = store_scrub(s, &q, &done, err);
        }
    }
    return st;
}

static enum status do_snapshot(struct store *s, const char *scratch, struct error *err)
{
    Vs__SnapshotReply r = VS__SNAPSHOT_REPLY__INIT;
    struct store_snapshot *k = NULL;
    enum status st = file_remove_tree(scratch, err);
    if (st == STATUS_OK) {
        st = store_snapshot_prepare(s, scratch, err);
    }
    if (st == STATUS_OK) {
        st = store_snapshot_take(s, scratch, &k, &r, err);
    }
    if (st == STATUS_OK) {
        st = store_snapshot_copy(k, NULL, err);
    }
    store_snapshot_end(k);
    return st;
}

enum status model_do(struct store *s, const struct act *a, const char *scratch, struct error *err)
{
    char name[32];
    char fit[4096];
    bool more = true;
    enum status st = STATUS_OK;
    switch (a->kind) {
    case ACT_PUT:
        return do_put(s, a, err);
    case ACT_REMOVE:
        return do_remove(s, a, err);
    case ACT_MOVE:
        return do_move(s, a, err);
    case ACT_MAINTAIN:
        while (st == STATUS_OK && more) {
            st = store_maintain(s, clock_wall_ms() + 10 * STORE_GRACE_MS, &more, err);
        }
        return st;
    case ACT_SEAL:
        return store_seal(s, &more, err);
    case ACT_ENCODER:
        model_encoder_name(a->encoder, name);
        return store_put_encoder(s, name, MODEL_DIMENSIONS, 1,
                                 (struct str){.ptr = fit, .len = model_fit(a->encoder, fit)}, err);
    case ACT_VECTORS:
        return fill(s, a->encoder, &more, err);
    case ACT_PUBLISH:
        return do_publish(s, a, err);
    case ACT_SNAPSHOT:
        return do_snapshot(s, scratch, err);
    case ACT_ERASE:
        return do_erase(s, a, err);
    case ACT_KINDS:
        break;
    }
    return STATUS_OK;
}

void model_apply(struct model *m, const struct act *a)
{
    struct model_doc *d = &m->docs[a->doc];
    if (a->kind == ACT_PUT) {
        *d = (struct model_doc){.there = true,
                                .version = a->version,
                                .tried = a->version,
                                .embedded = a->encoder != 0 && a->encoder == m->published};
    } else if (a->kind == ACT_REMOVE || a->kind == ACT_ERASE) {
        d->there = d->moved = d->embedded = false;
    } else if (a->kind == ACT_MOVE) {
        d->moved = true;
    } else if (a->kind == ACT_ENCODER) {
        m->building = m->next_encoder = a->encoder;
    } else if (a->kind == ACT_PUBLISH) {
        m->published = a->encoder;
        m->building = 0;
        for (size_t i = 0; i < MODEL_DOCS; i++) {
            m->docs[i].embedded = m->docs[i].there;
        }
    }
    m->sequence = a->sequence > m->sequence ? a->sequence : m->sequence;
}
