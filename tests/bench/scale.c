/* How the store grows: `bench-scale [chunks] [dimensions] [dir]` puts synthetic documents (Zipf
 * words, given vectors) straight through store.h, seals beside it as the service does, and prints
 * one line at 10,000, 100,000 and 1,000,000 chunks: chunks per second and per second of the
 * writer's processor time (which a busy machine does not change much), full text with frequent and
 * with rare words, one of them misspelled, and vectors (median and 99th percentile, a caller who
 * sees everything), resident memory, the time to open. */
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/hash.h"
#include "tests/bench/zipf.h"
#include "vectorstore/dot.h"
#include "vectorstore/store.h"

#define DOCUMENT 20U /* chunks of a document */
#define WORDS 60U    /* words of a chunk */
#define QUERIES 300U

static const struct asker appliance = {0};

struct bench {
    struct store *s;
    char dir[256];
    uint32_t dimensions;
    uint64_t chunks, rng;
    _Atomic bool stop;
};

static void must(enum status s, const struct error *err)
{
    if (s != STATUS_OK) {
        (void)fprintf(stderr, "bench-scale: %s: %s\n", status_name(s), err->text);
        exit(1);
    }
}

static uint32_t rnd(struct bench *b, uint32_t n)
{
    return zipf_random(&b->rng, n);
}

static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Half of a hundred directions, so that neighbours exist. */
static void vector(struct bench *b, uint16_t *out)
{
    uint32_t centre = rnd(b, 100);
    for (uint32_t i = 0; i < b->dimensions; i++) {
        uint32_t h = (centre * 2654435761U) ^ (i * 40503U);
        h = (h ^ h >> 15) * 2246822519U;
        float f = (float)(h >> 16 & 0xFF) / 128.F - 1.F;
        out[i] = half_from_float(f + (float)rnd(b, 1000) / 700.F - .7F);
    }
}

static void put_document(struct bench *b, uint64_t number)
{
    static char text[DOCUMENT][2048];
    static uint16_t vectors[DOCUMENT][4096];
    static char whole[DOCUMENT * 2048];
    struct error err;
    struct put *p = NULL;
    Vs__Location l = VS__LOCATION__INIT;
    Vs__PutRequest__Begin begin = VS__PUT_REQUEST__BEGIN__INIT;
    Vs__PutReply reply = VS__PUT_REPLY__INIT;
    uint8_t hash[SHA256_BYTES];
    char name[32], title[64];
    size_t len = 0;
    size_t lens[DOCUMENT];
    for (uint32_t i = 0; i < DOCUMENT; i++) {
        lens[i] = zipf_text(&b->rng, ZIPF_TOPICS, WORDS, text[i]);
        memcpy(whole + len, text[i], lens[i]);
        len += lens[i];
    }
    sha256_of(whole, len, hash);
    (void)snprintf(name, sizeof name, "doc%llu", (unsigned long long)number);
    size_t t = zipf_word(zipf_rank(&b->rng, ZIPF_VOCABULARY), title);
    title[t] = '\0';
    l.document = name;
    l.path = (ProtobufCBinaryData){.data = (uint8_t *)name, .len = strlen(name)};
    l.source = l.collection = name + strlen(name); /* replaced below */
    static char watch[] = "watch", collection[] = "default", format[] = "txt",
                pipeline[] = "bench-1", language[] = "en", encoder[] = "fit-1";
    l.source = watch;
    l.collection = collection;
    l.sequence = number + 1;
    begin.location = &l;
    begin.hash = (ProtobufCBinaryData){.data = hash, .len = sizeof hash};
    begin.size = len;
    begin.format = format;
    begin.pipeline = pipeline;
    begin.title = title;
    begin.language = language;
    begin.encoder = encoder;
    must(store_put_begin(b->s, &begin, &p, &err), &err);
    Vs__PutRequest m = VS__PUT_REQUEST__INIT;
    Vs__Chunk chunks[DOCUMENT];
    Vs__Chunk *list[DOCUMENT];
    uint32_t at = 0;
    m.has_original = m.has_text = true;
    m.original = m.text = (ProtobufCBinaryData){.data = (uint8_t *)whole, .len = len};
    for (uint32_t i = 0; i < DOCUMENT; i++) {
        vs__chunk__init(&chunks[i]);
        list[i] = &chunks[i];
        vector(b, vectors[i]);
        chunks[i].ordinal = i;
        chunks[i].start = at;
        chunks[i].end = at += (uint32_t)lens[i];
        chunks[i].text = (ProtobufCBinaryData){.data = (uint8_t *)text[i], .len = lens[i]};
        chunks[i].has_vector = true;
        chunks[i].vector =
            (ProtobufCBinaryData){.data = (uint8_t *)vectors[i], .len = b->dimensions * 2U};
    }
    m.chunks = list;
    m.n_chunks = DOCUMENT;
    must(store_put_add(p, &m, &err), &err);
    must(store_put_commit(p, &reply, &err), &err);
    store_put_end(p);
    b->chunks += DOCUMENT;
}

/* The sealing lane. */
static void *seal(void *data)
{
    struct bench *b = data;
    while (!atomic_load(&b->stop)) {
        struct error err;
        bool sealed = false;
        must(store_seal(b->s, &sealed, &err), &err);
        if (!sealed) {
            (void)usleep(50000);
        }
    }
    return NULL;
}

/* Of the calling thread, seconds of processor. */
static double busy(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int by_time(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return a < b ? -1 : a > b;
}

/* Four words of these ranks; `wrong`: a letter of one is. */
static void text_times(struct bench *b, uint32_t from, uint32_t to, bool wrong, double *p50,
                       double *p99)
{
    static double times[QUERIES];
    for (uint32_t i = 0; i < QUERIES; i++) {
        char query[256];
        size_t n = 0;
        struct arena a;
        struct error err;
        Vs__SearchTextRequest q = VS__SEARCH_TEXT_REQUEST__INIT;
        Vs__SearchTextReply r;
        for (uint32_t k = 0; k < 4; k++) {
            n += zipf_word(from + rnd(b, to - from), query + n);
            query[n++] = ' ';
        }
        if (wrong) {
            query[1 + i % 4] = 'x'; /* in none of the syllables */
        }
        q.query = (ProtobufCBinaryData){.data = (uint8_t *)query, .len = n};
        q.limit = 100;
        arena_init(&a, (size_t)64 << 20);
        double start = now();
        must(store_search_text(b->s, &appliance, &q, &a, &r, &err), &err);
        times[i] = now() - start;
        arena_reset(&a);
    }
    qsort(times, QUERIES, sizeof times[0], by_time);
    *p50 = times[QUERIES / 2] * 1e3;
    *p99 = times[QUERIES * 99 / 100] * 1e3;
}

static void vector_times(struct bench *b, double *p50, double *p99)
{
    static double times[QUERIES];
    static uint16_t half[4096];
    static float q[4096];
    static char encoder[] = "fit-1";
    for (uint32_t i = 0; i < QUERIES; i++) {
        struct arena a;
        struct error err;
        Vs__SearchVectorRequest m = VS__SEARCH_VECTOR_REQUEST__INIT;
        Vs__SearchVectorReply r;
        vector(b, half);
        for (uint32_t d = 0; d < b->dimensions; d++) {
            q[d] = half_to_float(half[d]);
        }
        m.encoder = encoder;
        m.vector = q;
        m.n_vector = b->dimensions;
        m.limit = 100;
        arena_init(&a, (size_t)64 << 20);
        double start = now();
        must(store_search_vector(b->s, &appliance, &m, &a, &r, &err), &err);
        times[i] = now() - start;
        arena_reset(&a);
    }
    qsort(times, QUERIES, sizeof times[0], by_time);
    *p50 = times[QUERIES / 2] * 1e3;
    *p99 = times[QUERIES * 99 / 100] * 1e3;
}

static double resident(void)
{
    char line[256];
    double kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, "VmRSS:", 6) == 0) {
            kib = strtod(line + 6, NULL);
        }
    }
    if (f != NULL) {
        (void)fclose(f);
    }
    return kib / 1024;
}

static void measure(struct bench *b, double seconds, double writer, uint64_t put)
{
    struct error err;
    double f50, f99, r50, r99, w50, w99, v50, v99;
    double opened = 0;
    text_times(b, 1, 50, false, &f50, &f99); /* warms up */
    text_times(b, 1, 50, false, &f50, &f99);
    text_times(b, 2000, ZIPF_VOCABULARY, false, &r50, &r99);
    text_times(b, 2000, ZIPF_VOCABULARY, true, &w50, &w99);
    vector_times(b, &v50, &v99);
    double memory = resident();
    store_close(b->s);
    double start = now();
    must(store_open(b->dir, &b->s, &err), &err);
    opened = now() - start;
    (void)printf("| %llu | %.0f | %.0f | %.2f / %.2f | %.2f / %.2f | %.2f / %.2f | %.2f / %.2f | "
                 "%.0f | %.0f |\n",
                 (unsigned long long)b->chunks, (double)put / seconds, (double)put / writer, f50,
                 f99, r50, r99, w50, w99, v50, v99, memory, opened * 1e3);
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    struct bench b = {.rng = 42};
    struct error err;
    uint64_t most = argc > 1 ? strtoull(argv[1], NULL, 10) : 100000;
    b.dimensions = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 384;
    if (most == 0 || b.dimensions == 0 || b.dimensions > 4096) {
        (void)fprintf(stderr, "usage: bench-scale [chunks] [dimensions] [dir]\n");
        return 2;
    }
    (void)snprintf(b.dir, sizeof b.dir, "%s/carrel-scale-XXXXXX", argc > 3 ? argv[3] : "/tmp");
    if (mkdtemp(b.dir) == NULL) {
        perror(b.dir);
        return 1;
    }
    must(store_open(b.dir, &b.s, &err), &err);
    must(store_put_encoder(b.s, "fit-1", b.dimensions, 1, (struct str){"x", 1}, &err), &err);
    (void)printf("| chunks | put/s | a cpu second of the writer | frequent words p50/p99 ms | rare "
                 "words | one misspelled | vectors | RSS MiB | "
                 "open ms |\n"
                 "| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
    uint64_t number = 0;
    for (uint64_t step = 10000; b.chunks < most; step *= 10) {
        uint64_t until = step < most ? step : most;
        uint64_t before = b.chunks;
        pthread_t thread;
        atomic_store(&b.stop, false);
        bool sealing = pthread_create(&thread, NULL, seal, &b) == 0;
        double start = now();
        double worked = busy();
        while (b.chunks < until) {
            bool more = false;
            put_document(&b, number++);
            if (number % 64 == 0) {
                must(store_maintain(b.s, clock_wall_ms(), &more, &err), &err);
            }
        }
        double seconds = now() - start;
        worked = busy() - worked;
        bool sealed = true;
        atomic_store(&b.stop, true);
        if (sealing) {
            (void)pthread_join(thread, NULL);
        }
        while (sealed) {
            must(store_seal(b.s, &sealed, &err), &err);
        }
        bool more = true;
        while (more) {
            must(store_maintain(b.s, clock_wall_ms(), &more, &err), &err);
        }
        measure(&b, seconds, worked, b.chunks - before);
    }
    store_close(b.s);
    char command[320];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", b.dir);
    return system(command) == 0 ? 0 : 1;
}
