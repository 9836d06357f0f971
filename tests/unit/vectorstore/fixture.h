/* A store on a temporary folder, and short ways to put documents into it. */
#ifndef CARREL_TESTS_STORE_FIXTURE_H
#define CARREL_TESTS_STORE_FIXTURE_H

#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "tests/unit/test.h"
#include "tests/unit/vectorstore/ok.h"
#include "vectorstore/dot.h"
#include "vectorstore/store.h"

static const struct asker appliance = {0};

struct draft { /* what a test says about a document */
    const char *document, *path, *collection, *label;
    const char *readers[4]; /* NULL-ended */
    uint64_t sequence;
    const char *title, *encoder, *language;
    const char *const *texts; /* its chunks */
    size_t n;
    const float *vectors; /* n x dimensions, or NULL */
    uint32_t dimensions;
    bool known, excluded;
    const char *author, *keywords;
    int64_t created_ms, modified_ms, date_ms, file_ms; /* 0: not said; date_ms: by a rule */
    uint32_t pages;
};

static inline void hash_draft(const struct draft *d, uint8_t out[SHA256_BYTES], uint64_t *size)
{
    struct sha256 *h = sha256_new();
    *size = 0;
    for (size_t i = 0; i < d->n; i++) {
        sha256_add(h, d->texts[i], strlen(d->texts[i]));
        *size += strlen(d->texts[i]);
    }
    sha256_end(h, out);
}

static inline enum status begin_draft(struct store *s, const struct draft *d, struct put **out,
                                      struct error *err)
{
    Vs__Location l = VS__LOCATION__INIT;
    Vs__PutRequest__Begin b = VS__PUT_REQUEST__BEGIN__INIT;
    uint8_t hash[SHA256_BYTES];
    char document[64];
    char *readers[4];
    (void)snprintf(document, sizeof document, "%s", d->document);
    l.document = document;
    l.path =
        (ProtobufCBinaryData){.data = (uint8_t *)strdup(d->path == NULL ? d->document : d->path),
                              .len = strlen(d->path == NULL ? d->document : d->path)};
    l.source = strdup("watch");
    l.collection = strdup(d->collection == NULL ? "default" : d->collection);
    l.label = d->label == NULL ? NULL : strdup(d->label);
    for (; l.n_readers < 4 && d->readers[l.n_readers] != NULL; l.n_readers++) {
        readers[l.n_readers] = strdup(d->readers[l.n_readers]);
    }
    l.readers = readers;
    l.sequence = d->sequence;
    l.has_excluded = true;
    l.excluded = d->excluded;
    l.has_date_wall_ms = d->date_ms != 0;
    l.date_wall_ms = d->date_ms;
    l.modified_wall_ms = d->file_ms;
    b.author = (char *)(uintptr_t)d->author;
    b.keywords = (char *)(uintptr_t)d->keywords;
    b.has_created_ms = d->created_ms != 0;
    b.created_ms = d->created_ms;
    b.has_modified_ms = d->modified_ms != 0;
    b.modified_ms = d->modified_ms;
    b.has_pages = d->pages != 0;
    b.pages = d->pages;
    b.location = &l;
    hash_draft(d, hash, &b.size);
    b.hash = (ProtobufCBinaryData){.data = hash, .len = sizeof hash};
    b.format = strdup("txt");
    b.pipeline = strdup("test-1");
    b.title = d->title == NULL ? NULL : strdup(d->title);
    b.language = strdup(d->language == NULL ? "en" : d->language);
    b.encoder = d->encoder == NULL ? NULL : strdup(d->encoder);
    b.has_known = true;
    b.known = d->known;
    enum status st = store_put_begin(s, &b, out, err);
    free(l.path.data);
    free(l.source);
    free(l.collection);
    free(l.label);
    for (size_t i = 0; i < l.n_readers; i++) {
        free(readers[i]);
    }
    free(b.format);
    free(b.pipeline);
    free(b.title);
    free(b.language);
    free(b.encoder);
    return st;
}

/* The chunks' texts, joined by a blank line, are the text; the original is the chunks' texts
 * without it. */
static inline enum status add_draft(struct put *p, const struct draft *d, struct error *err)
{
    uint32_t at = 0;
    enum status st = STATUS_OK;
    for (size_t i = 0; i < d->n && st == STATUS_OK; i++) {
        Vs__PutRequest m = VS__PUT_REQUEST__INIT;
        char text[4096];
        (void)snprintf(text, sizeof text, "%s%s", i > 0 ? "\n\n" : "", d->texts[i]);
        m.has_original = m.has_text = true;
        m.original = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)d->texts[i],
                                           .len = strlen(d->texts[i])};
        m.text = (ProtobufCBinaryData){.data = (uint8_t *)text, .len = strlen(text)};
        st = store_put_add(p, &m, err);
    }
    for (size_t i = 0; i < d->n && st == STATUS_OK; i++) {
        Vs__PutRequest m = VS__PUT_REQUEST__INIT;
        Vs__Chunk c = VS__CHUNK__INIT;
        Vs__Chunk *chunks[1] = {&c};
        uint16_t half[512];
        at += i > 0 ? 2 : 0;
        c.ordinal = (uint32_t)i;
        c.start = at;
        at += (uint32_t)strlen(d->texts[i]); /* tests use ASCII */
        c.end = at;
        c.text = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)d->texts[i],
                                       .len = strlen(d->texts[i])};
        if (d->vectors != NULL) {
            for (uint32_t j = 0; j < d->dimensions; j++) {
                half[j] = half_from_float(d->vectors[i * d->dimensions + j]);
            }
            c.has_vector = true;
            c.vector = (ProtobufCBinaryData){.data = (uint8_t *)half,
                                             .len = d->dimensions * sizeof half[0]};
        }
        m.chunks = chunks;
        m.n_chunks = 1;
        st = store_put_add(p, &m, err);
    }
    return st;
}

static inline enum status put_draft(struct store *s, const struct draft *d, Vs__PutReply *out,
                                    struct error *err)
{
    struct put *p = NULL;
    enum status st = begin_draft(s, d, &p, err);
    if (st == STATUS_OK && !d->known) {
        st = add_draft(p, d, err);
    }
    if (st == STATUS_OK) {
        vs__put_reply__init(out);
        st = store_put_commit(p, out, err);
    }
    store_put_end(p);
    return st;
}

static inline bool remove_document(struct store *s, const char *document, uint64_t sequence)
{
    struct error err;
    Vs__RemoveRequest m = VS__REMOVE_REQUEST__INIT;
    Vs__RemoveReply r = VS__REMOVE_REPLY__INIT;
    char name[64];
    (void)snprintf(name, sizeof name, "%s", document);
    m.document = name;
    m.sequence = sequence;
    OK(store_remove(s, &m, &r, &err));
    return r.applied;
}

/* A far future: every grace is over. */
static inline void settle(struct store *s)
{
    struct error err;
    bool more = true;
    while (more) {
        OK(store_maintain(s, clock_wall_ms() + 10 * STORE_GRACE_MS, &more, &err));
    }
}

static inline void seal_all(struct store *s)
{
    struct error err;
    bool sealed = true;
    while (sealed) {
        OK(store_seal(s, &sealed, &err));
    }
}

static inline void assert_verified(struct store *s, uint32_t documents, uint32_t chunks)
{
    struct error err;
    struct arena a;
    Vs__VerifyReply r;
    arena_init(&a, (size_t)16 * 1024 * 1024);
    OK(store_verify(s, &appliance, &a, &r, &err));
    for (size_t i = 0; i < r.n_problem; i++) {
        print_error("problem: %s\n", r.problem[i]);
    }
    assert_int_equal(r.problems, 0);
    assert_int_equal(r.documents, documents);
    assert_int_equal(r.chunks, chunks);
    arena_reset(&a);
}

/* Ids of the documents found, comma-joined in order of rank. */
static inline void found(struct store *s, const struct asker *who, const char *query,
                         char *const *collections, size_t n_collections, char *out, size_t cap)
{
    struct error err;
    struct arena a;
    Vs__SearchTextRequest q = VS__SEARCH_TEXT_REQUEST__INIT;
    Vs__SearchTextReply r;
    Vs__FetchRequest f = VS__FETCH_REQUEST__INIT;
    Vs__FetchReply fr;
    Vs__Filter filter = VS__FILTER__INIT;
    ProtobufCBinaryData ids[100];
    arena_init(&a, (size_t)16 * 1024 * 1024);
    filter.collections = (char **)(uintptr_t)collections;
    filter.n_collections = n_collections;
    q.query = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)query, .len = strlen(query)};
    q.limit = 100;
    q.filter = &filter;
    OK(store_search_text(s, who, &q, &a, &r, &err));
    for (size_t i = 0; i < r.n_hits; i++) {
        ids[i] = r.hits[i]->chunk;
    }
    f.chunks = ids;
    f.n_chunks = r.n_hits;
    f.filter = &filter;
    OK(store_fetch(s, who, &f, &a, &fr, &err));
    assert_int_equal(fr.n_passages, r.n_hits); /* what is found may be read */
    out[0] = '\0';
    for (size_t i = 0; i < fr.n_passages; i++) {
        size_t at = strlen(out);
        (void)snprintf(out + at, cap - at, "%s%s", i > 0 ? "," : "", fr.passages[i]->document);
    }
    arena_reset(&a);
}

static inline void temp_dir(char out[64])
{
    (void)snprintf(out, 64, "/tmp/carrel-store-XXXXXX");
    assert_non_null(mkdtemp(out));
}

static inline void drop_dir(const char *dir)
{
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", dir);
    assert_int_equal(system(command), 0);
}

static inline void pause_ms(long ms)
{
    const struct timespec t = {.tv_nsec = ms * 1000000};
    (void)nanosleep(&t, NULL);
}

static inline char *z(const char *s)
{
    return (char *)(uintptr_t)s;
}

static inline void add_encoder(struct store *s, uint32_t dimensions)
{
    struct error err;
    Vs__PublishRequest m = VS__PUBLISH_REQUEST__INIT;
    Vs__PublishReply r = VS__PUBLISH_REPLY__INIT;
    OK(store_put_encoder(s, "e1", dimensions, 1, STR("fit"), &err));
    m.encoder = z("e1");
    OK(store_publish(s, &m, &r, &err));
}

#endif
