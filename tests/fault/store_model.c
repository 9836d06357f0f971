#include "tests/fault/store_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "vectorstore/dot.h"

#define TEXT_CAP 160
#define ARENA ((size_t)16 * 1024 * 1024)
#define SAMPLE 6U /* documents of each kind that are searched for in a check */
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

/* Letters only, so that no analyzer cuts it. */
static void token(uint32_t doc, uint32_t version, char out[32])
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

static uint32_t chunks_of(uint32_t doc, uint32_t version)
{
    return doc % 3 == 0 ? MODEL_CHUNKS_MAX - version % 7 : 1 + (doc * 7 + version * 3) % 20;
}

static void text_of(uint32_t doc, uint32_t version, uint32_t ordinal, char out[TEXT_CAP])
{
    static const char *const words[] = {"lantern", "harbour", "granite", "meadow",
                                        "copper",  "violin",  "orchard", "timber"};
    char t[32];
    token(doc, version, t);
    (void)snprintf(out, TEXT_CAP, "%s part %u of the %s by the %s", t, ordinal,
                   words[(doc + ordinal) % 8], words[(version + ordinal * 5) % 8]);
}

void model_encoder_name(uint32_t n, char out[32])
{
    (void)snprintf(out, 32, "fault-%u", n);
}

/* A unit vector that follows from the text and the encoder. */
static void vector_of(uint32_t encoder, struct str text, float out[MODEL_DIMENSIONS])
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
    vector_of(encoder, text, v);
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

static void document_name(uint32_t doc, char out[32])
{
    (void)snprintf(out, 32, "document-%u", doc);
}

static void hash_of(uint32_t doc, uint32_t version, uint8_t out[SHA256_BYTES], uint64_t *size)
{
    char text[TEXT_CAP];
    struct sha256 *h = sha256_new();
    *size = 0;
    for (uint32_t i = 0; h != NULL && i < chunks_of(doc, version); i++) {
        text_of(doc, version, i, text);
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
    document_name(a->doc, name);
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
    uint32_t n = chunks_of(a->doc, a->version);
    enum status st = STATUS_OK;
    char text[TEXT_CAP];
    for (uint32_t i = 0; i < n && st == STATUS_OK; i++) {
        Vs__PutRequest m = VS__PUT_REQUEST__INIT;
        text_of(a->doc, a->version, i, text);
        m.has_original = m.has_text = true;
        m.original = m.text = (ProtobufCBinaryData){.data = (uint8_t *)text, .len = strlen(text)};
        st = store_put_add(p, &m, err);
    }
    for (uint32_t i = 0; i < n && st == STATUS_OK; i++) {
        Vs__PutRequest m = VS__PUT_REQUEST__INIT;
        Vs__Chunk c = VS__CHUNK__INIT;
        Vs__Chunk *chunks[1] = {&c};
        uint16_t half[MODEL_DIMENSIONS];
        text_of(a->doc, a->version, i, text);
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
    hash_of(a->doc, a->version, hash, &b.size);
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
    document_name(a->doc, name);
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
    document_name(a->doc, name);
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

/* ---- comparing ---- */

struct seen {
    bool there, moved;
    uint8_t hash[SHA256_BYTES];
    uint32_t chunks;
};

static enum status look(struct store *s, struct seen *seen, unsigned *wrong, struct error *err)
{
    char after[64] = "";
    size_t got = 1;
    enum status st = STATUS_OK;
    while (st == STATUS_OK && got > 0) {
        struct arena a;
        Vs__ListReply r;
        arena_init(&a, ARENA);
        st = store_list(s, &(struct asker){.caller = NULL}, NULL, after, 20, &a, &r, err);
        got = st == STATUS_OK ? r.n_documents : 0;
        for (size_t i = 0; i < got; i++) {
            const Vs__DocumentInfo *d = r.documents[i];
            unsigned n = MODEL_DOCS;
            if (sscanf(d->location->document, "document-%u", &n) != 1 || n >= MODEL_DOCS ||
                seen[n].there || d->hash.len != SHA256_BYTES) {
                (void)fprintf(stderr, "listed: %s\n", d->location->document);
                (*wrong)++;
                continue;
            }
            seen[n] = (struct seen){.there = true,
                                    .moved = strcmp(d->location->collection, "moved") == 0,
                                    .chunks = d->chunks};
            memcpy(seen[n].hash, d->hash.data, SHA256_BYTES);
            (void)snprintf(after, sizeof after, "%s", d->location->document);
        }
        arena_reset(&a);
    }
    return st;
}

static bool fits(const struct seen *seen, uint32_t doc, const struct model_doc *d)
{
    uint8_t hash[SHA256_BYTES];
    uint64_t size;
    if (!d->there || !seen->there) {
        return d->there == seen->there;
    }
    hash_of(doc, d->version, hash, &size);
    return memcmp(hash, seen->hash, sizeof hash) == 0 && d->moved == seen->moved &&
           seen->chunks == chunks_of(doc, d->version);
}

static unsigned compare_documents(struct store *s, struct model *m, const struct act *maybe)
{
    struct seen seen[MODEL_DOCS] = {{0}};
    struct error err;
    unsigned wrong = 0;
    struct model after = *m;
    if (look(s, seen, &wrong, &err) != STATUS_OK) {
        (void)fprintf(stderr, "list: %s\n", err.text);
        return wrong + 1;
    }
    if (maybe != NULL) {
        model_apply(&after, maybe);
    }
    for (uint32_t i = 0; i < MODEL_DOCS; i++) {
        if (!fits(&seen[i], i, &m->docs[i])) {
            if (maybe != NULL && i == maybe->doc && fits(&seen[i], i, &after.docs[i])) {
                m->docs[i] = after.docs[i];
                continue;
            }
            (void)fprintf(stderr, "document-%u: must %sbe there in version %u, is %sthere\n", i,
                          m->docs[i].there ? "" : "not ", m->docs[i].version,
                          seen[i].there ? "" : "not ");
            wrong++;
        }
    }
    if (maybe != NULL) {
        /* numbers that may have been used are not used again */
        m->sequence = after.sequence;
        m->docs[maybe->doc].tried = after.docs[maybe->doc].tried;
        m->next_encoder = after.next_encoder;
    }
    return wrong;
}

/* A version that is not the document's own is in nobody's passages. */
static unsigned compare_text(struct store *s, const struct model *m, uint32_t doc, uint32_t version)
{
    char t[32];
    struct arena a;
    struct error err = {0};
    unsigned of_it = 0;
    unsigned wrong = 0;
    ProtobufCBinaryData ids[20];
    Vs__SearchTextRequest q = VS__SEARCH_TEXT_REQUEST__INIT;
    Vs__SearchTextReply r;
    Vs__FetchRequest f = VS__FETCH_REQUEST__INIT;
    Vs__FetchReply out;
    const struct asker who = {.caller = NULL};
    bool there = m->docs[doc].there && m->docs[doc].version == version;
    token(doc, version, t);
    arena_init(&a, ARENA);
    q.query = (ProtobufCBinaryData){.data = (uint8_t *)t, .len = strlen(t)};
    q.limit = 20;
    enum status st = store_search_text(s, &who, &q, &a, &r, &err);
    for (size_t i = 0; st == STATUS_OK && i < r.n_hits && i < 20; i++) {
        ids[f.n_chunks++] = r.hits[i]->chunk;
    }
    f.chunks = ids;
    if (st == STATUS_OK) {
        st = store_fetch(s, &who, &f, &a, &out, &err);
    }
    for (size_t i = 0; st == STATUS_OK && i < out.n_passages; i++) {
        const Vs__Passage *p = out.passages[i];
        char name[32];
        size_t n = strlen(t);
        document_name(doc, name);
        if (p->text.len > n && memcmp(p->text.data, t, n) == 0 && p->text.data[n] == ' ') {
            of_it++;
            wrong += strcmp(p->document, name) != 0 ? 1 : 0;
        }
    }
    if (st != STATUS_OK || (of_it > 0) != there || wrong > 0) {
        (void)fprintf(stderr, "search %s: %u passages, must %sbe found; %s\n", t, of_it,
                      there ? "" : "not ", err.text);
        wrong++;
    }
    arena_reset(&a);
    return wrong;
}

static unsigned compare_vector(struct store *s, const struct model *m, uint32_t doc, uint64_t *rnd)
{
    char text[TEXT_CAP];
    char name[32];
    float v[MODEL_DIMENSIONS];
    struct arena a;
    struct error err = {0};
    Vs__SearchVectorRequest q = VS__SEARCH_VECTOR_REQUEST__INIT;
    Vs__SearchVectorReply r;
    Vs__FetchRequest f = VS__FETCH_REQUEST__INIT;
    Vs__FetchReply out;
    const struct asker who = {.caller = NULL};
    uint32_t version = m->docs[doc].version;
    arena_init(&a, ARENA);
    text_of(doc, version, model_random(rnd, chunks_of(doc, version)), text);
    vector_of(m->published, str_from(text), v);
    model_encoder_name(m->published, name);
    q.encoder = name;
    q.vector = v;
    q.n_vector = MODEL_DIMENSIONS;
    q.limit = 5;
    enum status st = store_search_vector(s, &who, &q, &a, &r, &err);
    bool found = false;
    if (st == STATUS_OK && r.n_hits > 0) {
        f.chunks = &r.hits[0]->chunk;
        f.n_chunks = 1;
        st = store_fetch(s, &who, &f, &a, &out, &err);
        found = st == STATUS_OK && out.n_passages == 1 && r.hits[0]->cosine > 0.99F &&
                out.passages[0]->text.len == strlen(text) &&
                memcmp(out.passages[0]->text.data, text, strlen(text)) == 0;
    }
    if (!found) {
        (void)fprintf(stderr, "vector of \"%s\" under %s: not found; %s\n", text, name, err.text);
    }
    arena_reset(&a);
    return found ? 0 : 1;
}

static unsigned compare_encoder(struct store *s, struct model *m, const struct act *maybe)
{
    struct arena a;
    struct error err = {0};
    Vs__StatusReply r;
    char name[32] = "";
    char building[32] = "";
    unsigned wrong = 0;
    arena_init(&a, ARENA);
    if (store_status(s, &a, &r, &err) != STATUS_OK) {
        (void)fprintf(stderr, "status: %s\n", err.text);
        arena_reset(&a);
        return 1;
    }
    if (maybe != NULL && (maybe->kind == ACT_PUBLISH || maybe->kind == ACT_ENCODER)) {
        model_encoder_name(maybe->encoder, name);
        if (strcmp(maybe->kind == ACT_PUBLISH ? r.encoder
                   : r.building == NULL       ? ""
                                              : r.building,
                   name) == 0) {
            model_apply(m, maybe);
        }
    }
    (void)snprintf(name, sizeof name, "%s", "");
    if (m->published != 0) {
        model_encoder_name(m->published, name);
    }
    if (m->building != 0) {
        model_encoder_name(m->building, building);
    }
    if (strcmp(r.encoder, name) != 0 ||
        strcmp(r.building == NULL ? "" : r.building, building) != 0) {
        (void)fprintf(stderr, "encoder %s building %s, must be %s building %s\n", r.encoder,
                      r.building == NULL ? "" : r.building, name, building);
        wrong++;
    }
    arena_reset(&a);
    return wrong;
}

static unsigned compare_verify(struct store *s)
{
    struct arena a;
    struct error err;
    Vs__VerifyReply r;
    arena_init(&a, ARENA);
    unsigned wrong = 0;
    if (store_verify(s, &(struct asker){.caller = NULL}, &a, &r, &err) != STATUS_OK) {
        (void)fprintf(stderr, "verify: %s\n", err.text);
        wrong = 1;
    } else {
        for (size_t i = 0; i < r.n_problem; i++) {
            (void)fprintf(stderr, "problem: %s\n", r.problem[i]);
        }
        wrong = r.problems;
    }
    arena_reset(&a);
    return wrong;
}

static bool is_a_text_of(const struct model *m, const Vs__Passage *p)
{
    unsigned doc = MODEL_DOCS;
    char text[TEXT_CAP];
    if (sscanf(p->document, "document-%u", &doc) != 1 || doc >= MODEL_DOCS) {
        return false;
    }
    uint32_t version = m->docs[doc].version;
    for (uint32_t i = 0; m->docs[doc].there && i < chunks_of(doc, version); i++) {
        text_of(doc, version, i, text);
        if (p->text.len == strlen(text) && memcmp(p->text.data, text, p->text.len) == 0) {
            return true;
        }
    }
    return false;
}

unsigned model_texts(struct store *s, const struct model *m, uint64_t *rnd, unsigned *failed)
{
    unsigned wrong = 0;
    const struct asker who = {.caller = NULL};
    for (uint32_t i = 0; i < SAMPLE; i++) {
        uint32_t doc = model_random(rnd, MODEL_DOCS);
        char t[32];
        char name[32];
        float v[MODEL_DIMENSIONS];
        struct arena a;
        struct error err;
        ProtobufCBinaryData ids[40];
        Vs__SearchTextRequest q = VS__SEARCH_TEXT_REQUEST__INIT;
        Vs__SearchTextReply r;
        Vs__SearchVectorRequest qv = VS__SEARCH_VECTOR_REQUEST__INIT;
        Vs__SearchVectorReply rv;
        Vs__FetchRequest f = VS__FETCH_REQUEST__INIT;
        Vs__FetchReply out;
        arena_init(&a, ARENA);
        token(doc, m->docs[doc].version, t);
        q.query = (ProtobufCBinaryData){.data = (uint8_t *)t, .len = strlen(t)};
        q.limit = qv.limit = 20;
        if (store_search_text(s, &who, &q, &a, &r, &err) == STATUS_OK) {
            for (size_t k = 0; k < r.n_hits && k < 20; k++) {
                ids[f.n_chunks++] = r.hits[k]->chunk;
            }
        } else {
            (*failed)++;
        }
        model_encoder_name(m->published, name);
        vector_of(m->published, str_from(t), v);
        qv.encoder = name;
        qv.vector = v;
        qv.n_vector = MODEL_DIMENSIONS;
        if (store_search_vector(s, &who, &qv, &a, &rv, &err) == STATUS_OK) {
            for (size_t k = 0; k < rv.n_hits && k < 20; k++) {
                ids[f.n_chunks++] = rv.hits[k]->chunk;
            }
        } else {
            (*failed)++;
        }
        f.chunks = ids;
        if (store_fetch(s, &who, &f, &a, &out, &err) == STATUS_OK) {
            for (size_t k = 0; k < out.n_passages; k++) {
                wrong += is_a_text_of(m, out.passages[k]) ? 0 : 1;
            }
        } else {
            (*failed)++;
        }
        arena_reset(&a);
    }
    return wrong;
}

unsigned model_check(struct store *s, struct model *m, const struct act *maybe, uint64_t *rnd)
{
    unsigned wrong = compare_verify(s);
    wrong += compare_documents(s, m, maybe);
    wrong += compare_encoder(s, m, maybe);
    for (uint32_t i = 0; i < SAMPLE && wrong == 0; i++) {
        uint32_t doc = model_random(rnd, MODEL_DOCS);
        const struct model_doc *d = &m->docs[doc];
        if (d->version > 0) {
            wrong += compare_text(s, m, doc, d->version);
            wrong += d->version > 1 ? compare_text(s, m, doc, d->version - 1) : 0;
        }
        if (d->there && d->embedded && m->published != 0) {
            wrong += compare_vector(s, m, doc, rnd);
        }
    }
    return wrong;
}
