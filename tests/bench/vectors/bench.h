/* What the files of the vector bench share. */
#ifndef CARREL_BENCH_VECTORS_H
#define CARREL_BENCH_VECTORS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BENCH_K 10U

struct bench_data {
    size_t n, d, queries;
    float *base, *query; /* unit vectors: n x d, queries x d */
    uint32_t *truth;     /* queries x BENCH_K: the nearest of each by a whole scan */
};

/* Clustered unit vectors as text embeddings are: 500 topics of Zipf sizes with 8 sub-topics each,
 * half of the vectors between two topics, noise of low rank. The topics depend on seed only. */
void bench_draw(float *out, size_t n, size_t d, uint64_t seed, uint64_t stream);

double bench_seconds(void);     /* monotonic */
double bench_cpu_seconds(void); /* of the process */
double bench_rss_mb(void);
void bench_die(const char *what) __attribute__((noreturn));

struct bench_row {
    const char *name, *setting;
    double build_s, build_cpu_s, memory_mb, recall, p50_ms, p99_ms, qps;
};
void bench_print_head(void);
void bench_print(const struct bench_row *r);
/* Share of data's truth that found (queries x BENCH_K) holds. */
double bench_recall(const struct bench_data *data, const uint32_t *found);
/* Asks every query once and fills recall, p50, p99, qps. ask: the best BENCH_K of query number i.
 */
void bench_ask(const struct bench_data *data, void (*ask)(void *peer, size_t i, uint32_t *found),
               void *peer, struct bench_row *r);

/* ---- peers.cc ---- */

/* data->truth, by FAISS's flat index over batches, on all cores. */
void peers_truth(struct bench_data *data);
/* Bare FAISS (flat, inverted lists) and, where it was built in, hnswlib: each with the least effort
 * that reaches that recall. */
void peers_faiss(const struct bench_data *data, double recall);
struct hnsw_options {
    size_t m, ef;   /* links of a vector, breadth of the search that places it */
    double limit_s; /* the build is given up after so long */
};
void peers_hnswlib(const struct bench_data *data, double recall, const struct hnsw_options *o);

/* ---- store.c ---- */

/* The whole way: database, tail, sealing, merging; searches while it is idle and while it works. */
int bench_store(size_t n, size_t d);

#ifdef __cplusplus
}
#endif

#endif
