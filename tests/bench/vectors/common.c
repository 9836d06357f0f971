#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/vectors/bench.h"

enum { TOPICS = 500, SUB_TOPICS = 8, BASES = 16, RANK = 24 };

static uint64_t next_bits(uint64_t *s) /* splitmix64 */
{
    uint64_t x = (*s += 0x9e3779b97f4a7c15U);
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
    return x ^ (x >> 31);
}

static double uniform(uint64_t *s)
{
    return (double)(next_bits(s) >> 11) * 0x1p-53;
}

/* Near enough to normal: the sum of four 16-bit numbers. */
static float normal(uint64_t *s)
{
    uint64_t x = next_bits(s);
    int sum =
        (int)(x & 0xffff) + (int)(x >> 16 & 0xffff) + (int)(x >> 32 & 0xffff) + (int)(x >> 48);
    return (float)(sum - 131070) * (1.7320508F / 65536.0F);
}

struct topics {
    float *centre, *sub, *basis;
    double cumulative[TOPICS];
};

static void make_topics(struct topics *t, size_t d, uint64_t *s)
{
    float scale = 1 / sqrtf((float)d);
    float *mean = malloc(d * sizeof *mean);
    t->centre = malloc(TOPICS * d * sizeof *t->centre);
    t->sub = malloc((size_t)TOPICS * SUB_TOPICS * d * sizeof *t->sub);
    t->basis = malloc((size_t)BASES * RANK * d * sizeof *t->basis);
    if (mean == NULL || t->centre == NULL || t->sub == NULL || t->basis == NULL) {
        bench_die("out of memory");
    }
    for (size_t i = 0; i < (size_t)BASES * RANK * d; i++) {
        t->basis[i] = scale * normal(s);
    }
    for (size_t j = 0; j < d; j++) {
        mean[j] = scale * normal(s); /* embeddings share a direction */
    }
    double sum = 0;
    for (size_t i = 0; i < TOPICS; i++) {
        for (size_t j = 0; j < d; j++) {
            t->centre[i * d + j] = 0.6F * mean[j] + scale * normal(s);
        }
        for (size_t k = 0; k < SUB_TOPICS; k++) {
            for (size_t j = 0; j < d; j++) {
                t->sub[(i * SUB_TOPICS + k) * d + j] =
                    t->centre[i * d + j] + 0.5F * scale * normal(s);
            }
        }
        sum += 1 / pow((double)i + 3, 0.7);
        t->cumulative[i] = sum;
    }
    free(mean);
}

static void draw_one(const struct topics *t, float *out, size_t d, uint64_t *s)
{
    double u = uniform(s) * t->cumulative[TOPICS - 1];
    size_t topic = 0;
    while (topic < TOPICS - 1 && t->cumulative[topic] < u) {
        topic++;
    }
    const float *sub = t->sub + (topic * SUB_TOPICS + next_bits(s) % SUB_TOPICS) * d;
    const float *other = t->sub + next_bits(s) % ((size_t)TOPICS * SUB_TOPICS) * d;
    const float *basis = t->basis + topic % BASES * RANK * d;
    float mix = uniform(s) < 0.5 ? (float)uniform(s) * 0.7F : 0;
    float scale = 1 / sqrtf((float)d);
    for (size_t j = 0; j < d; j++) {
        out[j] = sub[j] + mix * other[j] + 0.35F * scale * normal(s);
    }
    for (size_t k = 0; k < RANK; k++) {
        float w = 0.9F / sqrtf((float)RANK) * normal(s);
        for (size_t j = 0; j < d; j++) {
            out[j] += w * basis[k * d + j];
        }
    }
    double sum = 0;
    for (size_t j = 0; j < d; j++) {
        sum += (double)out[j] * (double)out[j];
    }
    for (size_t j = 0; j < d; j++) {
        out[j] = (float)((double)out[j] / sqrt(sum));
    }
}

void bench_draw(float *out, size_t n, size_t d, uint64_t seed, uint64_t stream)
{
    struct topics t;
    uint64_t s = seed;
    make_topics(&t, d, &s);
    s = seed ^ (stream * 0xd1342543de82ef95U + 1);
    for (size_t i = 0; i < n; i++) {
        draw_one(&t, out + i * d, d, &s);
    }
    free(t.centre);
    free(t.sub);
    free(t.basis);
}

static double seconds(clockid_t c)
{
    struct timespec t;
    (void)clock_gettime(c, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double bench_seconds(void)
{
    return seconds(CLOCK_MONOTONIC);
}

double bench_cpu_seconds(void)
{
    return seconds(CLOCK_PROCESS_CPUTIME_ID);
}

double bench_rss_mb(void)
{
    long total = 0;
    long resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f == NULL || fscanf(f, "%ld %ld", &total, &resident) != 2) {
        bench_die("/proc/self/statm");
    }
    (void)fclose(f);
    return (double)resident * (double)sysconf(_SC_PAGESIZE) * 1e-6;
}

void bench_die(const char *what)
{
    (void)fprintf(stderr, "bench-vectors: %s\n", what);
    exit(1);
}

void bench_print_head(void)
{
    printf("%-18s %-14s %9s %9s %9s %9s %8s %8s %8s\n", "index", "setting", "build s", "cpu s",
           "MB", "recall@10", "p50 ms", "p99 ms", "QPS");
}

void bench_print(const struct bench_row *r)
{
    printf("%-18s %-14s %9.1f %9.1f %9.0f %9.4f %8.3f %8.3f %8.0f\n", r->name, r->setting,
           r->build_s, r->build_cpu_s, r->memory_mb, r->recall, r->p50_ms, r->p99_ms, r->qps);
    (void)fflush(stdout);
}

double bench_recall(const struct bench_data *data, const uint32_t *found)
{
    size_t same = 0;
    for (size_t q = 0; q < data->queries; q++) {
        for (size_t i = 0; i < BENCH_K; i++) {
            for (size_t j = 0; j < BENCH_K; j++) {
                same += found[q * BENCH_K + i] == data->truth[q * BENCH_K + j] ? 1 : 0;
            }
        }
    }
    return (double)same / (double)(data->queries * BENCH_K);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

void bench_ask(const struct bench_data *data, void (*ask)(void *peer, size_t i, uint32_t *found),
               void *peer, struct bench_row *r)
{
    uint32_t *found = calloc(data->queries * BENCH_K, sizeof *found);
    double *took = calloc(data->queries, sizeof *took);
    if (found == NULL || took == NULL) {
        bench_die("out of memory");
    }
    for (size_t i = 0; i < 3 && i < data->queries; i++) {
        ask(peer, i, found); /* warm */
    }
    double cpu = bench_cpu_seconds();
    for (size_t i = 0; i < data->queries; i++) {
        double t = bench_seconds();
        ask(peer, i, found + i * BENCH_K);
        took[i] = (bench_seconds() - t) * 1e3;
    }
    cpu = bench_cpu_seconds() - cpu;
    qsort(took, data->queries, sizeof *took, by_value);
    r->p50_ms = took[data->queries / 2];
    r->p99_ms = took[data->queries * 99 / 100];
    r->qps = (double)data->queries / cpu; /* by processor time: a busy neighbour decides nothing */
    r->recall = bench_recall(data, found);
    free(found);
    free(took);
}
