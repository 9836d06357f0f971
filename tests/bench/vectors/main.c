/* Vector search compared in one run, at the same recall, on the same clustered vectors:
 *
 *   bench-vectors [n [d [peers [M [ef [seconds]]]]]]
 *     ours flat, ours with lists, ours under filters; then bare FAISS and hnswlib. peers: "all"
 *     (default), "faiss", "hnsw", "none". hnswlib with M links and that breadth while building (32,
 *     80), given up after so many seconds
 *   bench-vectors store [n [d]]
 *     ours through database, tail, sealing and merging
 *
 * n x d floats are held in memory (1.5 GB for a million of 384), each peer's own beside them. Times
 * are of one thread; QPS is by processor time. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/bench/vectors/bench.h"
#include "vectorstore/dense.h"

#define QUERIES 400U

struct ours {
    const struct bench_data *data;
    const struct dot *dot;
    struct dense *segment;
    struct visible *visible;
    uint16_t *rows;
    double looked, longest; /* processor time */
};

static void must(enum status s, const struct error *err)
{
    if (s != STATUS_OK) {
        bench_die(err->text);
    }
}

static enum status each(void *data, dense_visit visit, void *visit_data, struct error *err)
{
    struct ours *o = data;
    enum status s = STATUS_OK;
    for (size_t i = 0; i < o->data->n && s == STATUS_OK; i++) {
        s = visit((int64_t)i + 1, (chunk_no)i, o->rows + i * o->data->d, visit_data, err);
    }
    o->looked = bench_cpu_seconds(); /* the store's rows come in pages, with looks up in between */
    return s;
}

/* How long writing works without asking whether it should stop. */
static enum status go_on(void *data, struct error *err)
{
    (void)err;
    struct ours *o = data;
    double t = bench_cpu_seconds();
    o->longest = t - o->looked > o->longest ? t - o->looked : o->longest;
    o->looked = t;
    return STATUS_OK;
}

static void ask_ours(void *peer, size_t i, uint32_t *found)
{
    static struct dense_query q;
    static struct candidate heap[2 * BENCH_K + 128];
    const struct ours *o = peer;
    struct error err;
    struct vector_hit hits[BENCH_K];
    struct best best = {.hits = hits, .k = BENCH_K};
    struct candidates c = {.heap = heap, .cap = dense_candidates(BENCH_K)};
    dense_query_init(&q, o->dot, o->data->query + i * o->data->d, (uint32_t)o->data->d, o->visible,
                     o->data->n, NULL, BENCH_K);
    must(dense_scan(o->segment, 0, &q, &c, &err), &err);
    must(dense_rescore(o->segment, &q, c.heap, c.n, &best, &err), &err);
    for (size_t j = 0; j < BENCH_K; j++) {
        found[j] = j < best.n ? hits[j].chunk : UINT32_MAX;
    }
}

static struct visible *see(size_t n, size_t every)
{
    struct visible *v = calloc(1, sizeof *v + (n / 64 + 1) * sizeof v->bits[0]);
    if (v == NULL) {
        bench_die("out of memory");
    }
    v->limit = n;
    for (size_t i = every / 2; i < n; i += every) {
        v->bits[i / 64] |= (uint64_t)1 << (i % 64);
        v->count++;
    }
    return v;
}

static double ask_segment(struct ours *o, const char *name, uint32_t lists, const char *path)
{
    struct error err;
    struct stat st;
    char setting[32];
    uint64_t n = 0;
    struct bench_row r = {.name = name, .setting = setting};
    const struct dense_source source = {.dimensions = (uint32_t)o->data->d,
                                        .n = o->data->n,
                                        .data = o,
                                        .each = each,
                                        .pause = go_on,
                                        .pause_data = o};
    o->longest = 0;
    o->looked = bench_cpu_seconds();
    double wall = bench_seconds();
    double cpu = bench_cpu_seconds();
    must(dense_write(path, &source, lists, &n, &err), &err);
    r.build_s = bench_seconds() - wall;
    r.build_cpu_s = bench_cpu_seconds() - cpu;
    double rss = bench_rss_mb();
    must(dense_open(path, NULL, &o->segment, &err), &err);
    (void)snprintf(setting, sizeof setting, lists == 1 ? "-" : "%u of %u",
                   dense_probes(o->segment, BENCH_K), lists);
    char first[40];
    struct bench_row cold = {.name = first, .setting = setting};
    (void)snprintf(first, sizeof first, "%.9s, first", name);
    bench_ask(o->data, ask_ours, o, &cold); /* blocks are checked when touched first */
    bench_ask(o->data, ask_ours, o, &r);
    r.memory_mb = bench_rss_mb() - rss;
    bench_print(&r);
    bench_print(&cold);
    if (stat(path, &st) == 0) {
        printf("%-18s file of %.0f MB; at most %.0f ms of work between two looks up\n", "",
               (double)st.st_size * 1e-6, o->longest * 1e3);
    }
    return r.recall;
}

/* The nearest visible ones, by a whole scan. */
static void truth_of(const struct ours *o, struct bench_data *data)
{
    for (size_t q = 0; q < data->queries; q++) {
        struct vector_hit hits[BENCH_K];
        struct best best = {.hits = hits, .k = BENCH_K};
        for (size_t i = 0; i < data->n; i++) {
            if (visible_has(o->visible, (chunk_no)i)) {
                best_offer(&best, (chunk_no)i,
                           o->dot->half(data->query + q * data->d, o->rows + i * data->d, data->d));
            }
        }
        for (size_t j = 0; j < BENCH_K; j++) {
            data->truth[q * BENCH_K + j] = j < best.n ? hits[j].chunk : UINT32_MAX - 1;
        }
    }
}

static void ask_filtered(struct ours *o)
{
    static const size_t every[] = {2, 10, 100, 1000};
    const struct bench_data *whole = o->data;
    for (size_t i = 0; i < sizeof every / sizeof every[0]; i++) {
        char name[32];
        struct bench_data data = *whole;
        struct bench_row r = {.name = name, .setting = "filter"};
        (void)snprintf(name, sizeof name, "ours, 1 in %zu", every[i]);
        data.queries = 100;
        data.truth = calloc(data.queries * BENCH_K, sizeof *data.truth);
        if (data.truth == NULL) {
            bench_die("out of memory");
        }
        free(o->visible);
        o->visible = see(data.n, every[i]);
        o->data = &data;
        truth_of(o, &data);
        bench_ask(&data, ask_ours, o, &r);
        bench_print(&r);
        free(data.truth);
    }
    o->data = whole;
}

static int compare(size_t n, size_t d, const char *peers, const struct hnsw_options *hnsw)
{
    struct bench_data data = {.n = n, .d = d, .queries = QUERIES};
    struct ours o = {.data = &data, .dot = dot_choose(), .visible = see(n, 1)};
    char dir[] = "/tmp/carrel-bench-XXXXXX";
    char path[64];
    data.base = malloc(n * d * sizeof *data.base);
    data.query = malloc(QUERIES * d * sizeof *data.query);
    data.truth = malloc(QUERIES * BENCH_K * sizeof *data.truth);
    o.rows = malloc(n * d * sizeof *o.rows);
    if (data.base == NULL || data.query == NULL || data.truth == NULL || o.rows == NULL ||
        mkdtemp(dir) == NULL) {
        bench_die("out of memory, or /tmp cannot be written");
    }
    bench_draw(data.base, n, d, 42, 1);
    bench_draw(data.query, QUERIES, d, 42, 2);
    for (size_t i = 0; i < n * d; i++) {
        o.rows[i] = half_from_float(data.base[i]);
    }
    peers_truth(&data);
    printf("%zu vectors of %zu dimensions, kernel %s, one thread\n", n, d, o.dot->name);
    bench_print_head();
    (void)snprintf(path, sizeof path, "%s/segment", dir);
    (void)ask_segment(&o, "ours flat", 1, path);
    dense_drop(o.segment);
    uint32_t lists = dense_lists_for(n, (uint32_t)d);
    bool flat = lists == 1;
    lists = flat ? dense_lists_for(n, VECTOR_MAX_DIMENSIONS) : lists;
    double recall = ask_segment(&o, flat ? "ours lists *" : "ours lists", lists, path);
    recall =
        recall > 0.99 ? 0.99 : recall; /* beyond, it is chance that decides the peers' effort */
    ask_filtered(&o);
    printf("%s\n", flat ? "* sealing would keep it flat" : "");
    dense_drop(o.segment);
    (void)unlink(path);
    (void)rmdir(dir);
    free(o.visible);
    free(o.rows);
    if (strcmp(peers, "none") != 0 && strcmp(peers, "hnsw") != 0) {
        peers_faiss(&data, recall);
    }
    if (strcmp(peers, "all") == 0 || strcmp(peers, "hnsw") == 0) {
        peers_hnswlib(&data, recall, hnsw);
    }
    free(data.base);
    free(data.query);
    free(data.truth);
    return 0;
}

static size_t number(const char *s, size_t least, size_t most)
{
    char *end = NULL;
    unsigned long n = strtoul(s, &end, 10);
    if (*end != '\0' || n < least || n > most) {
        bench_die("usage: bench-vectors [store] [vectors, 1000 to 10000000 [dimensions, 8 to 4096 "
                  "[all|faiss|hnsw|none [M [efConstruction [seconds]]]]]]");
    }
    return n;
}

int main(int argc, char **argv)
{
    bool store = argc > 1 && strcmp(argv[1], "store") == 0;
    int at = store ? 2 : 1;
    size_t n = argc > at ? number(argv[at], 1000, 10000000) : 200000;
    size_t d = argc > at + 1 ? number(argv[at + 1], 8, VECTOR_MAX_DIMENSIONS) : 384;
    const struct hnsw_options hnsw = {
        .m = argc > at + 3 ? number(argv[at + 3], 2, 128) : 32,
        .ef = argc > at + 4 ? number(argv[at + 4], 10, 4096) : 80,
        .limit_s = argc > at + 5 ? (double)number(argv[at + 5], 1, 1000000) : 1e9};
    return store ? bench_store(n, d) : compare(n, d, argc > at + 2 ? argv[at + 2] : "all", &hnsw);
}
