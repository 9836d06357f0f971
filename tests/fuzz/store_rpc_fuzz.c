/* Everything that the vectorstore's RPCs can be asked, in any order, with any content: bytes become
 * a sequence of calls of store.h. Half of the messages are unpacked from raw bytes as they would
 * come off the wire, half are built from bytes so that they mean something. After each input the
 * store must still agree with itself. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/text/subject.h"
#include "vectorstore/store.h"

#define CALLS_MAX 40U
#define ROUNDS_A_STORE 200U /* then a fresh one, so that it stays small */
#define DIMENSIONS 8U

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct fuzzing {
    const uint8_t *p, *end;
    struct store *s;
    struct arena a;
    struct put *put;
    uint64_t sequence;
    ProtobufCBinaryData found[8]; /* passages of the last search */
    size_t n_found;
    ProtobufCBinaryData key; /* of the last scan */
};

static char home[64];

static uint32_t number(struct fuzzing *f, unsigned bytes)
{
    uint32_t v = 0;
    for (unsigned i = 0; i < bytes && f->p < f->end; i++) {
        v = v << 8 | *f->p++;
    }
    return v;
}

static ProtobufCBinaryData bytes(struct fuzzing *f, size_t max)
{
    size_t left = (size_t)(f->end - f->p);
    size_t n = number(f, 1);
    n = n > max ? max : n;
    left = (size_t)(f->end - f->p);
    n = n > left ? left : n;
    ProtobufCBinaryData out = {.data = (uint8_t *)arena_strndup(&f->a, (const char *)f->p, n),
                               .len = n};
    f->p += n;
    if (out.data == NULL) {
        out.len = 0;
    }
    return out;
}

/* Mostly one of few names, so that calls meet. */
static char *word(struct fuzzing *f)
{
    static const char *const words[] = {"d1", "d2", "d3", "hr", "en",  "de",        "txt",
                                        "p1", "e1", "e2", "",   "a b", "restricted"};
    uint32_t n = number(f, 1);
    if (n < 200) {
        return arena_strdup(&f->a, words[n % (sizeof words / sizeof words[0])]);
    }
    ProtobufCBinaryData b = bytes(f, 40);
    return b.data == NULL ? arena_strdup(&f->a, "") : (char *)b.data;
}

static char **words(struct fuzzing *f, size_t *n)
{
    *n = number(f, 1) % 4;
    char **out = arena_array(&f->a, *n + 1, sizeof *out);
    for (size_t i = 0; out != NULL && i < *n; i++) {
        out[i] = word(f);
    }
    *n = out == NULL ? 0 : *n;
    return out;
}

static void *message(struct fuzzing *f, const ProtobufCMessageDescriptor *d)
{
    ProtobufCAllocator alloc;
    ProtobufCBinaryData raw = bytes(f, 255);
    arena_protobuf(&f->a, &alloc);
    return protobuf_c_message_unpack(d, &alloc, raw.len, raw.data);
}

static ProtobufCBinaryData vector(struct fuzzing *f)
{
    ProtobufCBinaryData v = {.data = arena_alloc(&f->a, DIMENSIONS * 2), .len = DIMENSIONS * 2};
    for (size_t i = 0; v.data != NULL && i < v.len; i++) {
        v.data[i] = (uint8_t)number(f, 1);
    }
    v.len = v.data == NULL ? 0 : v.len;
    return number(f, 1) == 255 ? bytes(f, 40) : v;
}

static Vs__Location *location(struct fuzzing *f)
{
    Vs__Location *l = arena_alloc(&f->a, sizeof *l);
    if (l == NULL) {
        return NULL;
    }
    vs__location__init(l);
    l->document = word(f);
    l->path = bytes(f, 40);
    l->source = word(f);
    l->collection = word(f);
    l->label = word(f);
    l->readers = words(f, &l->n_readers);
    l->tags = words(f, &l->n_tags);
    l->sequence = number(f, 1) < 128 ? ++f->sequence : number(f, 4);
    l->modified_wall_ms = number(f, 4);
    l->has_excluded = true;
    l->excluded = number(f, 1) == 7;
    return l;
}

static Vs__Filter *filter(struct fuzzing *f)
{
    uint32_t which = number(f, 1);
    Vs__Filter *m = arena_alloc(&f->a, sizeof *m);
    if (m == NULL || which == 0) {
        return NULL;
    }
    if (which > 200) {
        return message(f, &vs__filter__descriptor);
    }
    vs__filter__init(m);
    m->collections = which & 1 ? words(f, &m->n_collections) : NULL;
    m->labels = which & 2 ? words(f, &m->n_labels) : NULL;
    m->tags = which & 4 ? words(f, &m->n_tags) : NULL;
    m->languages = which & 8 ? words(f, &m->n_languages) : NULL;
    m->documents = which & 16 ? words(f, &m->n_documents) : NULL;
    m->has_from_ms = (which & 32) != 0;
    m->from_ms = number(f, 4);
    m->has_as_of_ms = (which & 64) != 0;
    m->as_of_ms = number(f, 1) < 128 ? clock_wall_ms() - number(f, 2) : number(f, 4);
    return m;
}

/* ---- calls ---- */

static void put_begin(struct fuzzing *f)
{
    struct error err;
    Vs__PutRequest__Begin built = VS__PUT_REQUEST__BEGIN__INIT;
    Vs__PutRequest__Begin *b = &built;
    uint8_t hash[SHA256_BYTES];
    ProtobufCBinaryData of = bytes(f, 8);
    store_put_end(f->put);
    f->put = NULL;
    sha256_of(of.data == NULL ? (const uint8_t *)"" : of.data, of.len, hash);
    if (number(f, 1) > 200) {
        b = message(f, &vs__put_request__begin__descriptor);
    } else {
        b->location = location(f);
        b->hash = (ProtobufCBinaryData){.data = hash, .len = sizeof hash};
        b->size = of.len;
        b->format = word(f);
        b->pipeline = arena_strdup(&f->a, "p1");
        b->title = word(f);
        b->language = word(f);
        b->encoder = word(f);
        b->has_known = true;
        b->known = number(f, 1) == 1;
    }
    if (b != NULL && b->location != NULL && store_put_begin(f->s, b, &f->put, &err) != STATUS_OK) {
        f->put = NULL;
    } else if (f->put != NULL && b == &built) { /* its original, so that it can be committed */
        Vs__PutRequest m = VS__PUT_REQUEST__INIT;
        m.has_original = true;
        m.original = of;
        if (store_put_add(f->put, &m, &err) != STATUS_OK) {
            store_put_end(f->put);
            f->put = NULL;
        }
    }
}

static void put_add(struct fuzzing *f)
{
    struct error err;
    Vs__PutRequest built = VS__PUT_REQUEST__INIT;
    Vs__PutRequest *m = &built;
    Vs__Chunk c = VS__CHUNK__INIT;
    Vs__Chunk *chunks[1] = {&c};
    if (f->put == NULL) {
        return;
    }
    uint32_t which = number(f, 1);
    if (which > 200) {
        m = message(f, &vs__put_request__descriptor);
    } else if (which > 100) {
        m->has_text = true;
        m->text = bytes(f, 200);
    } else {
        c.ordinal = number(f, 1) < 200 ? (uint32_t)(f->sequence++ & 0xff) : number(f, 1);
        c.start = number(f, 1);
        c.end = c.start + number(f, 1);
        c.text = bytes(f, 200);
        c.heading_path = word(f);
        c.has_vector = number(f, 1) < 128;
        c.vector = vector(f);
        m->chunks = chunks;
        m->n_chunks = 1;
    }
    if (m != NULL && store_put_add(f->put, m, &err) != STATUS_OK) {
        store_put_end(f->put);
        f->put = NULL;
    }
}

static void put_commit(struct fuzzing *f)
{
    struct error err;
    Vs__PutReply r = VS__PUT_REPLY__INIT;
    if (f->put != NULL && store_put_commit(f->put, &r, &err) != STATUS_OK) {
        /* refused: it ends all the same */
    }
    store_put_end(f->put);
    f->put = NULL;
}

static enum status search(struct fuzzing *f, const struct asker *who, struct error *err)
{
    Vs__SearchTextRequest built = VS__SEARCH_TEXT_REQUEST__INIT;
    Vs__SearchTextRequest *q = &built;
    Vs__SearchTextReply r;
    ProtobufCBinaryData phrase;
    if (number(f, 1) > 200) {
        q = message(f, &vs__search_text_request__descriptor);
        if (q == NULL) {
            return STATUS_OK;
        }
        q->limit %= 2000;
    } else {
        q->query = bytes(f, 120);
        q->limit = number(f, 1);
        q->filter = filter(f);
        phrase = bytes(f, 30);
        uint32_t kind = number(f, 1) % 4;
        q->phrases = q->excluded = q->in_title = &phrase;
        q->n_phrases = kind == 1 ? 1 : 0;
        q->n_excluded = kind == 2 ? 1 : 0;
        q->n_in_title = kind == 3 ? 1 : 0;
    }
    enum status st = store_search_text(f->s, who, q, &f->a, &r, err);
    f->n_found = 0;
    for (size_t i = 0; st == STATUS_OK && i < r.n_hits && i < 8; i++) {
        f->found[f->n_found++] = r.hits[i]->chunk;
    }
    return st;
}

static enum status search_vector(struct fuzzing *f, const struct asker *who, struct error *err)
{
    Vs__SearchVectorRequest q = VS__SEARCH_VECTOR_REQUEST__INIT;
    Vs__SearchVectorReply r;
    float v[DIMENSIONS + 2];
    for (size_t i = 0; i < DIMENSIONS + 2; i++) {
        v[i] = (float)((int)number(f, 1) - 128);
    }
    if (number(f, 1) > 250) {
        uint32_t odd = number(f, 4); /* NaN, infinity */
        memcpy(v, &odd, sizeof odd);
    }
    q.encoder = word(f);
    q.vector = v;
    q.n_vector = number(f, 1) < 230 ? DIMENSIONS : number(f, 1) % (DIMENSIONS + 2);
    q.limit = number(f, 1);
    q.filter = filter(f);
    return store_search_vector(f->s, who, &q, &f->a, &r, err);
}

static enum status fetch(struct fuzzing *f, const struct asker *who, struct error *err)
{
    Vs__FetchRequest q = VS__FETCH_REQUEST__INIT;
    Vs__FetchReply r;
    ProtobufCBinaryData odd[2];
    q.chunks = f->found;
    q.n_chunks = f->n_found;
    if (number(f, 1) > 180) {
        odd[0] = bytes(f, 60);
        odd[1] = bytes(f, 60);
        q.chunks = odd;
        q.n_chunks = 2;
    }
    q.filter = filter(f);
    q.has_widen = true;
    q.widen = number(f, 1);
    return store_fetch(f->s, who, &q, &f->a, &r, err);
}

static enum status vectors(struct fuzzing *f, struct error *err)
{
    Vs__PutVectorsRequest m = VS__PUT_VECTORS_REQUEST__INIT;
    Vs__PutVectorsReply r = VS__PUT_VECTORS_REPLY__INIT;
    Vs__PutVectorsRequest__Item item = VS__PUT_VECTORS_REQUEST__ITEM__INIT;
    Vs__PutVectorsRequest__Item *items[1] = {&item};
    m.encoder = word(f);
    m.items = items;
    m.n_items = 1;
    item.key = number(f, 1) < 220 ? f->key : bytes(f, 40);
    item.vector = vector(f);
    return store_put_vectors(f->s, &m, &r, err);
}

static enum status scan(struct fuzzing *f, struct error *err)
{
    Vs__ScanReply r;
    bool last;
    ProtobufCBinaryData after = {.data = NULL};
    const char *missing = number(f, 1) < 128 ? word(f) : "";
    if (number(f, 1) > 180) {
        after = bytes(f, 40);
    }
    enum status st = store_scan(f->s, missing, after, 1 + number(f, 1) % 64, &f->a, &r, &last, err);
    if (st == STATUS_OK && r.n_items > 0) {
        f->key = r.items[number(f, 1) % r.n_items]->key;
    }
    return st;
}

static enum status document(struct fuzzing *f, const struct asker *who, struct error *err)
{
    Vs__DocumentInfo info;
    Vs__Chunk **chunks;
    size_t n;
    int fds[3] = {-1, -1, -1};
    int64_t as_of = clock_wall_ms() - number(f, 2);
    const int64_t *then = number(f, 1) < 64 ? &as_of : NULL;
    const char *name = word(f);
    enum status st = store_document(f->s, who, name, then, &f->a, &info, err);
    if (st == STATUS_OK) {
        st = store_document_files(f->s, who, name, then, &f->a, &info, &fds[0], &fds[1], &fds[2],
                                  err);
    }
    if (st == STATUS_OK && fds[2] >= 0) {
        Vs__Box **boxes;
        st = store_boxes_read(fds[2], number(f, 4), 20, &f->a, &boxes, &n, err);
    }
    for (size_t i = 0; i < 3; i++) {
        if (fds[i] >= 0) {
            (void)close(fds[i]);
        }
    }
    return st == STATUS_OK ? store_document_chunks(f->s, who, name, then, number(f, 4), 20, &f->a,
                                                   &chunks, &n, err)
                           : st;
}

static enum status lists(struct fuzzing *f, const struct asker *who, struct error *err)
{
    Vs__ListReply list;
    Vs__FacetsReply facets;
    Vs__ListVersionsReply versions;
    Vs__StatusReply status;
    Vs__FacetsRequest *fr = message(f, &vs__facets_request__descriptor);
    Vs__ListVersionsRequest vr = VS__LIST_VERSIONS_REQUEST__INIT;
    vr.document = word(f);
    enum status st =
        store_list(f->s, who, filter(f), word(f), 1 + number(f, 1) % 50, &f->a, &list, err);
    if (fr != NULL && store_facets(f->s, who, fr, &f->a, &facets, err) != STATUS_OK) {
        st = STATUS_INVALID;
    }
    if (store_list_versions(f->s, who, &vr, &f->a, &versions, err) != STATUS_OK) {
        st = STATUS_NOT_FOUND;
    }
    return st == STATUS_OK ? store_status(f->s, &f->a, &status, err) : st;
}

static enum status holds(struct fuzzing *f, struct error *err)
{
    Vs__HoldVersionsReply reply = VS__HOLD_VERSIONS_REPLY__INIT;
    Vs__HoldVersionsRequest built = VS__HOLD_VERSIONS_REQUEST__INIT;
    Vs__HoldVersionsRequest *m = &built;
    Vs__HoldVersionsRequest__Hold list[3];
    Vs__HoldVersionsRequest__Hold *held[3];
    if (number(f, 1) < 40) {
        m = message(f, &vs__hold_versions_request__descriptor);
        return m == NULL ? STATUS_INVALID : store_hold_versions(f->s, m, &reply, err);
    }
    m->holds = held;
    m->round = number(f, 1);
    m->has_complete = true;
    m->complete = number(f, 1) < 128;
    for (size_t n = number(f, 1) % 4; m->n_holds < n; m->n_holds++) {
        Vs__HoldVersionsRequest__Hold *h = &list[m->n_holds];
        vs__hold_versions_request__hold__init(h);
        h->id = word(f);
        h->kind = (Vs__HoldVersionsRequest__Hold__Kind)(number(f, 1) % 5);
        h->target = bytes(f, 12);
        held[m->n_holds] = h;
    }
    return store_hold_versions(f->s, m, &reply, err);
}

static enum status change(struct fuzzing *f, struct error *err)
{
    Vs__MoveRequest mv = VS__MOVE_REQUEST__INIT;
    Vs__MoveReply mr = VS__MOVE_REPLY__INIT;
    Vs__RemoveRequest rm = VS__REMOVE_REQUEST__INIT;
    Vs__RemoveReply rr = VS__REMOVE_REPLY__INIT;
    uint32_t what = number(f, 1);
    if (what >= 224) {
        return holds(f, err);
    }
    if (what < 128) {
        mv.location = location(f);
        return mv.location == NULL ? STATUS_NO_MEMORY : store_move(f->s, &mv, &mr, err);
    }
    rm.document = word(f);
    rm.sequence = number(f, 1) < 200 ? ++f->sequence : number(f, 4);
    return store_remove(f->s, &rm, &rr, err);
}

static enum status encoders(struct fuzzing *f, struct error *err)
{
    Vs__PublishRequest pr = VS__PUBLISH_REQUEST__INIT;
    Vs__PublishReply r = VS__PUBLISH_REPLY__INIT;
    char path[1300];
    switch (number(f, 1) % 3) {
    case 0: {
        ProtobufCBinaryData b = bytes(f, 60);
        return store_put_encoder(f->s, word(f), number(f, 1) < 230 ? DIMENSIONS : number(f, 4), 1,
                                 (struct str){.ptr = (const char *)b.data, .len = b.len}, err);
    }
    case 1:
        pr.encoder = word(f);
        return store_publish(f->s, &pr, &r, err);
    default:
        return store_encoder_path(f->s, word(f), path, sizeof path, err);
    }
}

static enum status find_subject(struct fuzzing *f, struct error *err)
{
    static const uint8_t key[KEYED_KEY_BYTES] = {1};
    Vs__FindSubjectRequest built = VS__FIND_SUBJECT_REQUEST__INIT;
    Vs__FindSubjectRequest *m = &built;
    Vs__FindSubjectReply r = VS__FIND_SUBJECT_REPLY__INIT;
    struct subject_mark mark;
    uint8_t packed[SUBJECT_MARK_BYTES];
    ProtobufCBinaryData marks[1] = {{.data = packed, .len = sizeof packed}};
    ProtobufCBinaryData name = bytes(f, 20);
    if (number(f, 1) > 200) {
        m = message(f, &vs__find_subject_request__descriptor);
    } else if (subject_mark_make(key, (struct str){(const char *)name.data, name.len}, &mark,
                                 err) == STATUS_OK) {
        subject_mark_pack(&mark, packed);
        m->key = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)key, .len = sizeof key};
        m->marks = marks;
        m->n_marks = 1;
        m->has_after = 1;
        m->after = number(f, 1);
    }
    return m == NULL ? STATUS_NO_MEMORY : store_find_subject(f->s, m, &f->a, &r, err);
}

static enum status erasures(struct fuzzing *f, struct error *err)
{
    char *documents[1] = {word(f)};
    Vs__EraseInspectRequest look = VS__ERASE_INSPECT_REQUEST__INIT;
    Vs__EraseInspectReply seen = VS__ERASE_INSPECT_REPLY__INIT;
    Vs__EraseRequest gone = VS__ERASE_REQUEST__INIT;
    Vs__EraseReply r = VS__ERASE_REPLY__INIT;
    uint32_t which = number(f, 1);
    if (which < 128 || documents[0] == NULL) {
        return find_subject(f, err);
    }
    look.documents = gone.documents = documents;
    look.n_documents = gone.n_documents = 1;
    gone.sequence = ++f->sequence;
    return which < 230 ? store_erase_inspect(f->s, &look, &f->a, &seen, err)
                       : store_erase(f->s, &gone, &r, err);
}

static enum status call(struct fuzzing *f)
{
    struct error err = {0};
    bool more = false;
    char *groups[] = {(char *)(uintptr_t) "hr"};
    struct caller caller = {.tenant = "main", .user = "u"};
    (void)groups;
    struct asker who = {.caller = number(f, 1) < 100 ? &caller : NULL};
    switch (number(f, 1) % 14) {
    case 0:
        put_begin(f);
        return STATUS_OK;
    case 1:
    case 2:
        put_add(f);
        return STATUS_OK;
    case 3:
        put_commit(f);
        return STATUS_OK;
    case 4:
        return search(f, &who, &err);
    case 5:
        return search_vector(f, &who, &err);
    case 6:
        return fetch(f, &who, &err);
    case 7:
        return vectors(f, &err);
    case 8:
        return scan(f, &err);
    case 9:
        return document(f, &who, &err);
    case 10:
        return lists(f, &who, &err);
    case 11:
        return change(f, &err);
    case 12:
        return encoders(f, &err);
    default: {
        uint32_t which = number(f, 1);
        return which < 128   ? store_maintain(f->s, clock_wall_ms() + 1000000, &more, &err)
               : which < 200 ? store_seal(f->s, &more, &err)
                             : erasures(f, &err);
    }
    }
}

static struct store *open_fresh(void)
{
    struct error err;
    struct store *s = NULL;
    if (home[0] != '\0' && file_remove_tree(home, &err) != STATUS_OK) {
        abort();
    }
    (void)snprintf(home, sizeof home, "%s/carrel-fuzz-XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (mkdtemp(home) == NULL || store_open(home, &s, &err) != STATUS_OK) {
        abort();
    }
    return s;
}

static struct store *open_now;

static void tidy(void)
{
    struct error err;
    store_close(open_now);
    open_now = NULL;
    if (file_remove_tree(home, &err) != STATUS_OK) {
        (void)fprintf(stderr, "%s stays\n", home);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static unsigned rounds;
    static uint64_t sequence;
    struct error err;
    if (rounds == 0) {
        log_init("fuzz", LOG_LEVEL_ERROR);
        if (open_now == NULL) {
            (void)atexit(tidy);
        }
        store_close(open_now);
        open_now = open_fresh();
    }
    rounds = (rounds + 1) % ROUNDS_A_STORE;
    struct fuzzing f = {.p = data, .end = data + size, .s = open_now, .sequence = sequence};
    arena_init(&f.a, (size_t)64 * 1024 * 1024);
    for (unsigned i = 0; i < CALLS_MAX && f.p < f.end; i++) {
        enum status st = call(&f);
        if (st == STATUS_INTERNAL || st == STATUS_CORRUPT || st >= STATUS_COUNT) {
            abort(); /* no request may do that */
        }
    }
    store_put_end(f.put);
    sequence = f.sequence;
    if (size % 16 == 0) {
        Vs__VerifyReply r;
        if (store_verify(open_now, &(struct asker){.caller = NULL}, &f.a, &r, &err) == STATUS_OK &&
            r.problems > 0) {
            (void)fprintf(stderr, "%s\n", r.problem[0]);
            abort();
        }
    }
    arena_reset(&f.a);
    return 0;
}
