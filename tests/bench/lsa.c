/* The built-in encoder alone: how long a fit takes, how fast passages are encoded, and what dense search
 * with it is worth.  bench-lsa DIR [passages]
 * DIR: BEIR layout (corpus.jsonl, queries.jsonl, qrels.tsv). With `passages`, the corpus is repeated up to
 * that many passages for the timing, and no quality is measured. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/map.h"
#include "embed/encode.h"

#define LINE_MAX_BYTES ((size_t)4 * 1024 * 1024)
#define DIMENSIONS 256

struct item {
    char *id;
    char *title;
    char *text;
};

struct items {
    struct item *at;
    size_t n;
};

static void die(const char *what)
{
    (void)fprintf(stderr, "bench-lsa: %s\n", what);
    exit(1);
}

static char *field(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    char *copy = strdup(s == NULL ? "" : s);
    if (copy == NULL) {
        die("out of memory");
    }
    return copy;
}

static struct items read_items(const char *dir, const char *name)
{
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        die(path);
    }
    struct items all = {0};
    char *line = malloc(LINE_MAX_BYTES);
    size_t cap = 0;
    while (line != NULL && fgets(line, (int)LINE_MAX_BYTES, file) != NULL) {
        json_t *o = json_loads(line, 0, NULL);
        if (o == NULL) {
            continue;
        }
        if (all.n == cap) {
            cap = cap == 0 ? 1024 : cap * 2;
            all.at = realloc(all.at, cap * sizeof *all.at);
            if (all.at == NULL) {
                die("out of memory");
            }
        }
        all.at[all.n++] = (struct item){
            .id = field(o, "_id"), .title = field(o, "title"), .text = field(o, "text")};
        json_decref(o);
    }
    free(line);
    (void)fclose(file);
    return all;
}

static struct encode_text as_text(const struct item *i)
{
    return (struct encode_text){.text = str_from(i->text), .title = str_from(i->title)};
}

static void check(enum status s, const struct error *err)
{
    if (s != STATUS_OK) {
        die(err->text);
    }
}

struct hit {
    float score;
    size_t index;
};

static int by_score(const void *pa, const void *pb)
{
    const struct hit *a = pa, *b = pb;
    return (a->score < b->score) - (a->score > b->score);
}

/* nDCG@10 with linear gain and Recall@20 over all queries that have judgements. */
static void quality(const char *dir, const struct items *corpus, const float *vectors,
                    struct encode_scratch *scratch, const struct lsa_model *model)
{
    struct items queries = read_items(dir, "queries.jsonl");
    struct map judged; /* "query\tdoc" -> gain, as a number */
    struct map ideals; /* query -> size_t[8]: how many documents of each gain */
    map_init(&judged);
    map_init(&ideals);
    char path[4096], line[1024];
    (void)snprintf(path, sizeof path, "%s/qrels.tsv", dir);
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        die(path);
    }
    while (fgets(line, sizeof line, file) != NULL) {
        char query[256], document[256];
        int gain;
        if (sscanf(line, "%255s %255s %d", query, document, &gain) != 3 || gain <= 0) {
            continue;
        }
        char key[600];
        int n = snprintf(key, sizeof key, "%s\t%s", query, document);
        if (map_put(&judged, (struct str){key, (size_t)n}, (void *)(intptr_t)gain, NULL) != STATUS_OK) {
            die("out of memory");
        }
        size_t *counts = map_get(&ideals, str_from(query));
        if (counts == NULL) {
            counts = calloc(8, sizeof *counts);
            if (counts == NULL || map_put(&ideals, str_from(query), counts, NULL) != STATUS_OK) {
                die("out of memory");
            }
        }
        counts[gain < 8 ? gain : 7]++;
    }
    (void)fclose(file);
    struct hit *hits = calloc(corpus->n, sizeof *hits);
    double ndcg = 0, recall = 0, asked = 0;
    int64_t us = 0;
    for (size_t q = 0; q < queries.n; q++) {
        const size_t *counts = map_get(&ideals, str_from(queries.at[q].id));
        if (counts == NULL) {
            continue;
        }
        float v[DIMENSIONS];
        size_t words = 0;
        struct error err = {0};
        struct encode_text t = {.text = str_from(queries.at[q].text), .title = STR("")};
        int64_t from = clock_monotonic_us();
        check(encode_one(scratch, model, &t, true, v, &words, &err), &err);
        us += clock_monotonic_us() - from;
        for (size_t i = 0; i < corpus->n; i++) {
            float score = 0;
            for (size_t j = 0; j < DIMENSIONS; j++) {
                score += v[j] * vectors[i * DIMENSIONS + j];
            }
            hits[i] = (struct hit){.score = score, .index = i};
        }
        qsort(hits, corpus->n, sizeof *hits, by_score);
        double got = 0, found = 0, best = 0, relevant = 0;
        size_t rank = 0;
        for (size_t gain = 7; gain > 0; gain--) {
            relevant += (double)counts[gain];
            for (size_t i = 0; i < counts[gain] && rank < 10; i++) {
                best += (double)gain / log2((double)++rank + 1);
            }
        }
        for (size_t i = 0; i < 20 && i < corpus->n; i++) {
            char key[600];
            int n = snprintf(key, sizeof key, "%s\t%s", queries.at[q].id,
                             corpus->at[hits[i].index].id);
            intptr_t gain = (intptr_t)map_get(&judged, (struct str){key, (size_t)n});
            found += gain > 0;
            got += i < 10 ? (double)gain / log2((double)i + 2) : 0;
        }
        ndcg += got / best;
        recall += found / relevant;
        asked++;
    }
    printf("dense alone: nDCG@10 %.4f  Recall@20 %.4f  over %.0f queries, %.0f us a query\n",
           ndcg / asked, recall / asked, asked, (double)us / asked);
    free(hits);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        die("usage: bench-lsa DIR [passages]");
    }
    (void)setenv("OPENBLAS_NUM_THREADS", "1", 1);
    struct items corpus = read_items(argv[1], "corpus.jsonl");
    size_t n = argc > 2 ? (size_t)strtoull(argv[2], NULL, 10) : corpus.n;
    struct error err = {0};
    struct encode_scratch *scratch;
    check(encode_scratch_new(&scratch, &err), &err);
    struct lsa_fit_options options = {
        .dimensions = DIMENSIONS, .min_document_frequency = 3, .seed = 1};
    struct lsa_fit *fit;
    check(lsa_fit_new(&options, &fit, &err), &err);
    int64_t start = clock_monotonic_ms();
    for (size_t i = 0; i < n; i++) {
        struct encode_text t = as_text(&corpus.at[i % corpus.n]);
        check(encode_into_fit(scratch, fit, &t, &err), &err);
    }
    int64_t read = clock_monotonic_ms();
    uint8_t *blob;
    size_t len;
    check(lsa_fit_solve(fit, NULL, NULL, &blob, &len, &err), &err);
    int64_t solved = clock_monotonic_ms();
    lsa_fit_free(fit);
    struct lsa_model *model;
    check(lsa_open(blob, len, &model, &err), &err);
    struct lsa_info info;
    lsa_describe(model, &info);
    printf("fit: %zu passages, %u terms, %zu bytes; reading %.1f s, solving %.1f s\n", n, info.terms,
           len, (double)(read - start) / 1000, (double)(solved - read) / 1000);
    float *vectors = calloc(corpus.n * DIMENSIONS, sizeof *vectors);
    if (vectors == NULL) {
        die("out of memory");
    }
    size_t words = 0;
    start = clock_monotonic_ms();
    for (size_t i = 0; i < corpus.n; i++) {
        struct encode_text t = as_text(&corpus.at[i]);
        check(encode_one(scratch, model, &t, false, vectors + i * DIMENSIONS, &words, &err), &err);
    }
    double seconds = (double)(clock_monotonic_ms() - start) / 1000;
    printf("encode: %zu passages of %.0f words: %.0f passages/s, %.0f words/s\n", corpus.n,
           (double)words / (double)corpus.n, (double)corpus.n / seconds, (double)words / seconds);
    if (argc == 2) {
        quality(argv[1], &corpus, vectors, scratch, model);
    }
    free(vectors);
    lsa_close(model);
    encode_scratch_free(scratch);
    return 0;
}
