/* How long it takes to know what a caller may find, by the number of documents.
 *
 *   bench-rights [DOCUMENTS]     (200000, of five passages each)
 *
 * Fills a catalogue with contents, locations and versions (no text: nothing here reads any), then
 * measures the first filling of the table, bitmaps made anew for callers and filters, the same
 * caller after one document has changed, and facets. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/map.h"
#include "vectorstore/rights.h"

#define CHUNKS 5
#define CHANGES 200

static void die(const struct error *err)
{
    (void)fprintf(stderr, "bench-rights: %s\n", err->text);
    exit(1);
}

#define MUST(call)                                                                                 \
    do {                                                                                           \
        if ((call) != STATUS_OK) {                                                                 \
            die(&err);                                                                             \
        }                                                                                          \
    } while (0)

static void describe(uint64_t i, uint64_t sequence, char document[32], char path[96],
                     char readers[32], struct location *l)
{
    static const char *const labels[] = {"public", "internal", "confidential", "restricted", ""};
    (void)snprintf(document, 32, "%016llx",
                   (unsigned long long)hash64(&i, sizeof i)); /* no order */
    (void)snprintf(path, 96, "department %llu/year %llu/a document of some name %llu.pdf",
                   (unsigned long long)(i % 40), (unsigned long long)(2000 + i % 26),
                   (unsigned long long)i);
    size_t n = 0;
    if (i % 10 != 0) { /* a tenth are for everyone, a thousandth for "few" */
        n = (size_t)snprintf(readers, 32, "%s%llu", i % 1000 == 1 ? "few" : "team",
                             (unsigned long long)(i % 1000 == 1 ? 0 : i % 50)) +
            1;
    }
    *l = (struct location){.document = document,
                           .source = "watch",
                           .collection = i % 3 == 0 ? "north" : "south",
                           .label = labels[i % 5],
                           .path = {.ptr = path, .len = strlen(path)},
                           .readers = {.ptr = readers, .len = n},
                           .tags = i % 7 == 0 ? (struct str){.ptr = "policy", .len = 7} : STR(""),
                           .date_ms = (int64_t)(i % 9000) * 86400000,
                           .sequence = sequence,
                           .content = (int64_t)i + 1};
}

static void put(struct catalogue *c, uint64_t i, struct catalogue_state *state)
{
    struct error err;
    char document[32];
    char path[96];
    char readers[32];
    struct location l;
    struct content k = {.pipeline = "bench",
                        .format = i % 2 == 0 ? "pdf" : "docx",
                        .title = "",
                        .language = i % 4 == 0 ? "de" : "en",
                        .chunks = CHUNKS,
                        .state = CONTENT_PUBLISHED};
    int64_t pk = 0;
    id_new(k.id);
    memcpy(k.hash, &i, sizeof i);
    MUST(catalogue_content_add(c, &k, &pk, &err));
    chunk_no first = (chunk_no)state->next_chunk;
    state->next_chunk += CHUNKS;
    MUST(catalogue_span_add(c, pk, first, (chunk_no)(first + CHUNKS - 1), &err));
    describe(i, 1, document, path, readers, &l);
    l.content = pk;
    MUST(catalogue_location_set(c, &l, &err));
    MUST(catalogue_version(c, &l, k.hash, 1, &err));
}

static double visible_ms(struct rights *r, struct catalogue *c, const struct caller *who,
                         const Vs__Filter *f, uint64_t *count)
{
    struct error err;
    struct catalogue_state state;
    struct visible *v = NULL;
    MUST(catalogue_begin_read(c, &state, &err));
    int64_t before = clock_monotonic_us();
    MUST(rights_visible(r, c, &state, who, f, &v, &err));
    double ms = (double)(clock_monotonic_us() - before) / 1000;
    catalogue_end(c);
    *count = v->count;
    visible_drop(v);
    return ms;
}

static void say(const char *what, double ms, uint64_t count)
{
    (void)printf("%-52s %9.3f ms  %8llu passages\n", what, ms, (unsigned long long)count);
}

static int by_size(const void *x, const void *y)
{
    double a = *(const double *)x;
    double b = *(const double *)y;
    return a < b ? -1 : a > b ? 1 : 0;
}

/* Readers of one document at a time, as a rule of ingest changes them. */
static void changes(struct rights *r, struct catalogue *writer, struct catalogue *c,
                    const struct caller *who, uint64_t documents)
{
    struct error err;
    double took[CHANGES];
    uint64_t count = 0;
    for (uint64_t i = 0; i < CHANGES; i++) {
        char document[32];
        char path[96];
        char readers[32] = "few0";
        struct catalogue_state state;
        struct location l;
        describe(i * 7919 % documents, 2 + i, document, path, readers, &l);
        (void)snprintf(readers, sizeof readers, "few0");
        l.readers = (struct str){.ptr = readers, .len = 5};
        MUST(catalogue_begin_write(writer, &state, &err));
        MUST(catalogue_location_set(writer, &l, &err));
        state.generation++;
        MUST(catalogue_commit(writer, &state, &err));
        took[i] = visible_ms(r, c, who, NULL, &count);
    }
    qsort(took, CHANGES, sizeof took[0], by_size);
    say("after each of 200 changes, the same caller: p50", took[CHANGES / 2], count);
    say("                                            p99", took[CHANGES * 99 / 100], count);
}

static void measure(struct catalogue *writer, struct catalogue *c, uint64_t documents)
{
    struct error err;
    struct rights *r = NULL;
    uint64_t count = 0;
    static const char *const few[] = {"few0"};
    static const char *const teams[] = {"team3", "team4", "team17"};
    const struct caller one = {.tenant = "t", .user = "u", .groups = few, .n_groups = 1};
    const struct caller three = {.tenant = "t", .user = "u", .groups = teams, .n_groups = 3};
    Vs__Filter f = VS__FILTER__INIT;
    char *labels[] = {(char *)(uintptr_t) "public", (char *)(uintptr_t) "internal"};
    char *tags[] = {(char *)(uintptr_t) "policy"};
    const char *below = "department 7/";
    ProtobufCBinaryData under = {.data = (uint8_t *)(uintptr_t)below, .len = strlen(below)};
    MUST(rights_new(&r, &err));
    double ms = visible_ms(r, c, &one, NULL, &count);
    (void)printf("%llu documents of %d passages; table %.1f MiB\n", (unsigned long long)documents,
                 CHUNKS, (double)rights_bytes(r) / 1048576);
    say("first use: the table is filled", ms, count);
    ms = visible_ms(r, c, &three, NULL, &count);
    say("another caller", ms, count);
    ms = visible_ms(r, c, &three, NULL, &count);
    say("the same caller again", ms, count);
    f.labels = labels;
    f.n_labels = 2;
    f.tags = tags;
    f.n_tags = 1;
    ms = visible_ms(r, c, &three, &f, &count);
    say("two labels and a tag", ms, count);
    Vs__Filter path = VS__FILTER__INIT;
    path.under = &under;
    path.n_under = 1;
    ms = visible_ms(r, c, &three, &path, &count);
    say("below a folder", ms, count);
    path.n_under = 0;
    path.has_as_of_ms = true;
    path.as_of_ms = clock_wall_ms();
    ms = visible_ms(r, c, &three, &path, &count);
    say("as of a time", ms, count);
    changes(r, writer, c, &one, documents);
    struct arena a;
    struct catalogue_state state;
    Vs__FacetsReply reply = VS__FACETS_REPLY__INIT;
    arena_init(&a, (size_t)16 * 1024 * 1024);
    MUST(catalogue_begin_read(c, &state, &err));
    int64_t before = clock_monotonic_us();
    MUST(rights_facets(r, c, &state, &three, NULL, 100, &a, &reply, &err));
    say("facets", (double)(clock_monotonic_us() - before) / 1000, reply.documents);
    catalogue_end(c);
    arena_reset(&a);
    rights_free(r);
}

int main(int argc, char **argv)
{
    struct error err;
    struct catalogue *writer = NULL;
    struct catalogue *reader = NULL;
    struct catalogue_state state;
    char dir[] = "/tmp/carrel-rights-XXXXXX";
    char path[64];
    uint64_t documents = argc > 1 ? strtoull(argv[1], NULL, 10) : 200000;
    if (documents == 0 || documents > 10000000 || mkdtemp(dir) == NULL) {
        (void)fprintf(stderr, "bench-rights [DOCUMENTS, at most 10000000]\n");
        return 2;
    }
    (void)snprintf(path, sizeof path, "%s/store.db", dir);
    MUST(catalogue_open(path, true, &writer, &err));
    for (uint64_t i = 0; i < documents;) {
        MUST(catalogue_begin_write(writer, &state, &err));
        for (uint64_t n = 0; n < 10000 && i < documents; n++, i++) {
            put(writer, i, &state);
        }
        state.generation++;
        MUST(catalogue_commit(writer, &state, &err));
    }
    MUST(catalogue_begin_write(writer, &state, &err));
    MUST(catalogue_touched_prune(writer, INT64_MAX / 2, &err));
    MUST(catalogue_commit(writer, &state, &err));
    MUST(catalogue_open(path, false, &reader, &err));
    measure(writer, reader, documents);
    catalogue_close(reader);
    catalogue_close(writer);
    char command[64];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command) == 0 ? 0 : 1;
}
