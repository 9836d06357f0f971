/* The vectors of a store without its texts: rows go into the database as an ingest would put them,
 * while another thread seals, and searches run against both. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "tests/bench/vectors/bench.h"
#include "vectorstore/background.h"
#include "vectorstore/vectors.h"

#define K 100U
#define BATCH 256U
#define DRAWN (32U * BATCH) /* at once */
#define SAMPLES_MAX 200000U

struct bench {
    size_t n, d;
    char dir[64], db[96];
    struct vectors *vectors;
    struct catalogue *writer, *sealer, *reader;
    struct encoder e;
    float *query;
    _Atomic size_t put;
    _Atomic bool sealing;
    bool rewrite; /* everything, instead of what is new */
    double seal_s;
};

struct latencies {
    double *ms;
    size_t n;
};

static void must(enum status s, const struct error *err)
{
    if (s != STATUS_OK) {
        bench_die(err->text);
    }
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static void report(const char *what, struct latencies *l)
{
    qsort(l->ms, l->n, sizeof *l->ms, by_value);
    if (l->n > 0) {
        printf("%-34s %7zu searches  p50 %7.2f ms  p99 %7.2f ms  max %7.2f ms\n", what, l->n,
               l->ms[l->n / 2], l->ms[l->n * 99 / 100], l->ms[l->n - 1]);
    }
    (void)fflush(stdout);
    l->n = 0;
}

static void search(struct bench *b, size_t i, struct latencies *l)
{
    struct error err;
    struct catalogue_state state;
    struct vector_hit hits[K];
    size_t n = 0;
    must(catalogue_begin_read(b->reader, &state, &err), &err);
    size_t chunks = (size_t)state.next_chunk;
    struct visible *v = malloc(sizeof *v + (chunks / 64 + 1) * sizeof v->bits[0]);
    if (v == NULL) {
        bench_die("out of memory");
    }
    v->limit = v->count = chunks;
    memset(v->bits, 0xff, (chunks / 64 + 1) * sizeof v->bits[0]);
    double t = bench_seconds();
    must(vectors_search(b->vectors, b->reader, &state, &b->e, b->query + i % 500 * b->d, v, K, NULL,
                        hits, &n, &err),
         &err);
    if (l->n < SAMPLES_MAX) {
        l->ms[l->n++] = (bench_seconds() - t) * 1e3;
    }
    catalogue_end(b->reader);
    free(v);
}

/* Rows in, a batch a transaction; as fast as rate a second, 0: as fast as it goes. */
static void put_rows(struct bench *b, size_t from, size_t n, double rate)
{
    struct error err;
    struct catalogue_state state;
    float *rows = malloc(DRAWN * b->d * sizeof *rows);
    uint16_t *half = malloc(b->d * sizeof *half);
    if (rows == NULL || half == NULL) {
        bench_die("out of memory");
    }
    double begin = bench_seconds();
    for (size_t i = 0; i < n; i += BATCH) {
        if (i % DRAWN == 0) {
            bench_draw(rows, DRAWN, b->d, 42, 1000 + (from + i) / BATCH);
        }
        const float *batch = rows + i % DRAWN * b->d;
        must(catalogue_begin_write(b->writer, &state, &err), &err);
        for (size_t j = 0; j < BATCH; j++) {
            bool added = false;
            for (size_t k = 0; k < b->d; k++) {
                half[k] = half_from_float(batch[j * b->d + k]);
            }
            must(catalogue_vector_add(
                     b->writer, b->e.pk, state.next_vector++, (chunk_no)state.next_chunk++,
                     (struct str){.ptr = (const char *)half, .len = b->d * sizeof *half}, &added,
                     &err),
                 &err);
        }
        must(catalogue_encoder_count(b->writer, b->e.pk, BATCH, &err), &err);
        must(catalogue_commit(b->writer, &state, &err), &err);
        catalogue_end(b->writer);
        (void)atomic_fetch_add(&b->put, BATCH);
        double ahead = rate > 0 ? (double)i / rate - (bench_seconds() - begin) : 0;
        if (ahead > 0) {
            (void)usleep((useconds_t)(ahead * 1e6));
        }
    }
    free(rows);
    free(half);
}

static void seal(void *data)
{
    struct bench *b = data;
    struct error err;
    struct arena a;
    bool done = false;
    double t = bench_seconds();
    arena_init(&a, (size_t)1024 * 1024);
    must(catalogue_encoder_by_name(b->sealer, STR("bench"), &a, &b->e, &err), &err);
    if (b->rewrite) { /* no passage is known to this database: all rows are dead, and still there */
        size_t rewritten = 0;
        must(vectors_purge(b->vectors, b->sealer, &b->e, &rewritten, &err), &err);
    } else {
        must(vectors_seal(b->vectors, b->sealer, &b->e, &done, &err), &err);
    }
    arena_reset(&a);
    b->seal_s = bench_seconds() - t;
    atomic_store(&b->sealing, false);
}

static void *seal_thread(void *data)
{
    background_run(seal, data);
    return NULL;
}

static void *write_thread(void *data)
{
    struct bench *b = data;
    put_rows(b, b->n, b->n / 10 < 20000 ? b->n / 10 : 20000, 2000);
    return NULL;
}

static void print_counts(struct bench *b)
{
    struct vectors_counts c;
    vectors_count(b->vectors, b->e.pk, &c);
    printf("%llu rows sealed in %llu segments (%llu with lists), %llu in the tail; %.0f MB "
           "resident\n",
           (unsigned long long)c.sealed, (unsigned long long)c.segments,
           (unsigned long long)c.clustered, (unsigned long long)c.tail, bench_rss_mb());
}

/* Searches while the sealing thread works. */
static void search_while_sealing(struct bench *b, struct latencies *l)
{
    pthread_t thread;
    size_t i = 0;
    atomic_store(&b->sealing, true);
    if (pthread_create(&thread, NULL, seal_thread, b) != 0) {
        bench_die("no thread");
    }
    while (atomic_load(&b->sealing)) {
        search(b, i++, l);
        (void)usleep(2000);
    }
    (void)pthread_join(thread, NULL);
}

static void search_idle(struct bench *b, size_t n, struct latencies *l)
{
    for (size_t i = 0; i < n; i++) {
        search(b, i, l);
        (void)usleep(2000);
    }
}

static void open_bench(struct bench *b)
{
    struct error err;
    struct arena a;
    struct catalogue_state state;
    const struct encoder e = {.name = "bench", .dimensions = (uint32_t)b->d, .state = 0};
    must(catalogue_open(b->db, true, &b->writer, &err), &err);
    must(catalogue_begin_write(b->writer, &state, &err), &err);
    must(catalogue_encoder_add(b->writer, &e, &err), &err);
    must(catalogue_commit(b->writer, &state, &err), &err);
    catalogue_end(b->writer);
    must(catalogue_open(b->db, false, &b->sealer, &err), &err);
    must(catalogue_open(b->db, false, &b->reader, &err), &err);
    arena_init(&a, (size_t)1024 * 1024);
    must(catalogue_encoder_by_name(b->sealer, STR("bench"), &a, &b->e, &err), &err);
    b->e.name = "bench";
    arena_reset(&a);
    must(vectors_open(b->dir, NULL, &b->vectors, &err), &err);
}

int bench_store(size_t n, size_t d)
{
    struct bench b = {.n = n / BATCH * BATCH, .d = d, .dir = "/tmp/carrel-bench-XXXXXX"};
    struct latencies l = {.ms = malloc(SAMPLES_MAX * sizeof *l.ms)};
    struct error err;
    pthread_t writer;
    char command[128];
    b.query = malloc(500 * d * sizeof *b.query);
    if (l.ms == NULL || b.query == NULL || mkdtemp(b.dir) == NULL) {
        bench_die("out of memory, or /tmp cannot be written");
    }
    bench_draw(b.query, 500, d, 42, 2);
    (void)snprintf(b.db, sizeof b.db, "%s/store.db", b.dir);
    open_bench(&b);
    double t = bench_seconds();
    put_rows(&b, 0, b.n, 0);
    printf("%zu vectors of %zu dimensions put in %.1f s\n", b.n, d, bench_seconds() - t);
    (void)fflush(stdout);
    search_while_sealing(&b, &l); /* from nothing: as after all segments were lost */
    printf("all sealed in %.1f s; ", b.seal_s);
    print_counts(&b);
    report("while all of it was sealed", &l);
    search_idle(&b, 1000, &l);
    report("idle", &l);
    b.rewrite = true;
    search_while_sealing(&b, &l);
    b.rewrite = false;
    printf("all written anew in %.1f s\n", b.seal_s);
    report("while all of it was written anew", &l);
    search_idle(&b, 1000, &l);
    report("idle again", &l);
    if (pthread_create(&writer, NULL, write_thread, &b) != 0) {
        bench_die("no thread");
    }
    for (size_t i = 0; i < 20; i++) {
        search_while_sealing(&b, &l); /* the tail, as the service's timer does it */
        search_idle(&b, 100, &l);
    }
    (void)pthread_join(writer, NULL);
    report("while 2,000 a second come in", &l);
    print_counts(&b);
    search_idle(&b, 1000, &l);
    report("idle again", &l);
    vectors_close(b.vectors);
    t = bench_seconds();
    must(vectors_open(b.dir, NULL, &b.vectors, &err), &err);
    search(&b, 1, &l);
    printf("opened and first search in %.0f ms\n", (bench_seconds() - t) * 1e3);
    vectors_close(b.vectors);
    catalogue_close(b.reader);
    catalogue_close(b.sealer);
    catalogue_close(b.writer);
    (void)snprintf(command, sizeof command, "rm -r %s", b.dir);
    free(b.query);
    free(l.ms);
    return system(command) == 0 ? 0 : 1;
}
