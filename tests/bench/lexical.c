/* Ranking quality and speed of the full-text library alone, without services: reads BEIR-layout
 * folders, indexes into memory, and prints nDCG@10 (linear gain), Recall@20 and MRR@10 for plain
 * BM25 and the default.
 *
 *   bench-lexical DIR [--queries 600] [--seed 1]     DIR: a set, or a folder of sets
 *   bench-lexical DIR --typos                        an edit in the rarest word of each query
 *   bench-lexical DIR --turns                        conversations: each question as a follow-up
 *   bench-lexical DIR --fused                        also with the built-in encoder, at several
 * weights bench-lexical --speed CHUNKS                     made-up text of 200-word chunks: time of
 * a search
 *
 * Units as ingest makes them for plain text: texts above 300 words in equal parts of about 200, CJK
 * of about 400 characters; a document counts by its best unit. */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "retrieve/fuse.h"
#include "tests/bench/lexical_set.h"

#define DEPTH 100
#define DIMENSIONS 256

static const float weights[] = {.05F, .1F, .15F, .2F, .3F, 1};
#define N_WEIGHTS (sizeof(weights) / sizeof(weights[0]))

struct figures {
    double ndcg, recall, mrr;
    double ms;
    size_t n;
};

/* ---- conversations ---- */

static struct str subject(const struct set *s, const struct question *q)
{
    size_t pos = 0;
    struct str id;
    void *grade;
    if (!map_next(&q->relevant, &pos, &id, &grade)) {
        return STR("");
    }
    uintptr_t doc = (uintptr_t)map_get(&s->documents, id);
    if (doc == 0) {
        return STR("");
    }
    const struct memory_chunk *c = &s->index->chunks[s->first_chunk[doc]];
    return (struct str){c->title, c->title_len};
}

/* What somebody asks next who takes the subject for said: no "SUBJECT: " in front, and "it" for
 * runs of capitalised words, but for the first word. Owned. */
static char *shortened(const char *text)
{
    const char *colon = strstr(text, ": ");
    const char *p = colon == NULL ? text : colon + 2;
    char *out = set_need(malloc(strlen(p) + 8));
    size_t n = 0;
    bool first = true, named = false;
    while (*p != '\0') {
        size_t len = strcspn(p, " ");
        bool name = !first && *p >= 'A' && *p <= 'Z';
        if (name && named) {
            n -= n > 0; /* one "it" for all of them */
        } else if (name) {
            out[n++] = 'i';
            out[n++] = 't';
        } else {
            memcpy(out + n, p, len);
            n += len;
        }
        named = name;
        first = false;
        p += len;
        while (*p == ' ') {
            p++;
        }
        out[n++] = ' ';
    }
    out[n > 0 ? n - 1 : 0] = '\0';
    return out;
}

/* Questions about one article or contract that stand side by side are a conversation; the first
 * names its subject, the others take it for said. The passages with the answers differ. */
static void converse(struct set *s)
{
    for (size_t i = 1; i < s->n_order; i++) {
        struct question *q = s->order[i];
        struct str about = subject(s, q);
        size_t first = i;
        while (about.len > 0 && first > 0 && i - first < TURNS &&
               str_eq(subject(s, s->order[first - 1]), about)) {
            first--;
        }
        if (first == i) {
            continue;
        }
        q->follow_up = shortened(q->text);
        size_t len = strlen(q->follow_up) + 1, at = 0;
        for (size_t k = first; k < i;
             k++) { /* earlier ones as they were asked: in full, the first */
            struct question *e = s->order[k];
            const char *said = k == first || e->follow_up == NULL ? e->text : e->follow_up;
            q->turns[q->n_turns++] = str_from(said);
            len += strlen(said) + 1;
        }
        q->concatenated = set_need(malloc(len));
        for (size_t k = 0; k < q->n_turns; k++) {
            memcpy(q->concatenated + at, q->turns[k].ptr, q->turns[k].len);
            at += q->turns[k].len;
            q->concatenated[at++] = ' ';
        }
        memcpy(q->concatenated + at, q->follow_up, strlen(q->follow_up) + 1);
    }
}

/* ---- measuring ---- */

static int descending(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return a < b ? 1 : -(a > b);
}

static void score(struct set *s, struct question *q, const struct lexical_result *r,
                  struct figures *f)
{
    uint32_t ranked[DEPTH];
    size_t n = 0;
    for (size_t i = 0; i < r->n_hits && n < 20; i++) {
        uint32_t doc = s->document_of[r->hits[i].chunk];
        size_t k = 0;
        while (k < n && ranked[k] != doc) {
            k++;
        }
        if (k == n) {
            ranked[n++] = doc;
        }
    }
    double ideal[4096], dcg = 0, best = 0, first = 0;
    size_t n_ideal = 0, found = 0, pos = 0;
    struct str id;
    void *grade;
    while (map_next(&q->relevant, &pos, &id, &grade)) {
        double g = (double)(uintptr_t)grade - 1;
        uintptr_t doc = (uintptr_t)map_get(&s->documents, id);
        if (n_ideal < 4096) {
            ideal[n_ideal++] = g;
        }
        for (size_t k = 0; k < n; k++) {
            if (ranked[k] == doc) {
                found++;
                if (k < 10) {
                    dcg += g / log2((double)k + 2);
                    first = fmax(first, 1 / ((double)k + 1));
                }
            }
        }
    }
    qsort(ideal, n_ideal, sizeof(double), descending);
    for (size_t k = 0; k < n_ideal && k < 10; k++) {
        best += ideal[k] / log2((double)k + 2);
    }
    f->ndcg += dcg / best;
    f->recall += (double)found / (double)n_ideal;
    f->mrr += first;
    f->n++;
}

/* ---- with vectors ---- */

static void must(enum status s, const struct error *err)
{
    if (s != STATUS_OK) {
        set_die(err->text);
    }
}

static struct encode_text chunk_text(const struct set *s, uint32_t i)
{
    const struct memory_chunk *c = &s->index->chunks[i];
    return (struct encode_text){.text = {c->text, c->text_len}, .title = {c->title, c->title_len}};
}

static void fit(struct set *s)
{
    struct lsa_fit_options o = {.dimensions = DIMENSIONS, .min_document_frequency = 3, .seed = 1};
    struct lsa_fit *f = NULL;
    struct error err;
    uint8_t *blob = NULL;
    size_t len = 0, read = 0;
    must(encode_scratch_new(&s->scratch, &err), &err);
    must(lsa_fit_new(&o, &f, &err), &err);
    for (uint32_t i = 0; i < s->index->n_chunks; i++) {
        struct encode_text t = chunk_text(s, i);
        must(encode_into_fit(s->scratch, f, &t, &err), &err);
    }
    must(lsa_fit_solve(f, NULL, NULL, &blob, &len, &err), &err);
    lsa_fit_free(f);
    must(lsa_open(blob, len, &s->model, &err), &err);
    struct lsa_info info;
    lsa_describe(s->model, &info);
    s->vectors = set_need(calloc((size_t)s->index->n_chunks * DIMENSIONS, sizeof(float)));
    for (uint32_t i = 0; info.dimensions <= DIMENSIONS && i < s->index->n_chunks; i++) {
        struct encode_text t = chunk_text(s, i);
        must(encode_one(s->scratch, s->model, &t, false, s->vectors + (size_t)i * DIMENSIONS, &read,
                        &err),
             &err);
    }
}

static int by_dense(const void *x, const void *y)
{
    const struct lexical_hit *a = x, *b = y;
    return a->score < b->score ? 1 : -(a->score > b->score);
}

/* The result at one weight, as the service would fuse it. */
static void fused(struct set *s, const char *query, const struct lexical_result *text, float weight,
                  struct arena *a, struct lexical_result *out)
{
    float vector[DIMENSIONS] = {0};
    size_t read = 0, n = 0;
    struct error err;
    struct encode_text t = {.text = str_from(query)};
    must(encode_one(s->scratch, s->model, &t, true, vector, &read, &err), &err);
    struct lexical_hit *all = set_need(calloc(s->index->n_chunks, sizeof(*all)));
    for (uint32_t i = 0; i < s->index->n_chunks; i++) {
        all[i].chunk = i;
        for (size_t k = 0; k < DIMENSIONS; k++) {
            all[i].score += vector[k] * s->vectors[(size_t)i * DIMENSIONS + k];
        }
    }
    qsort(all, s->index->n_chunks, sizeof(*all), by_dense);
    size_t n_dense = s->index->n_chunks < DEPTH ? s->index->n_chunks : DEPTH;
    struct fuse_hit *lists = set_need(arena_array(a, text->n_hits + n_dense, sizeof(*lists)));
    for (size_t i = 0; i < text->n_hits; i++) {
        lists[i] = (struct fuse_hit){{(const char *)&text->hits[i].chunk, sizeof(chunk_no)},
                                     text->hits[i].score};
    }
    for (size_t i = 0; i < n_dense; i++) {
        lists[text->n_hits + i] =
            (struct fuse_hit){{(const char *)&all[i].chunk, sizeof(chunk_no)}, all[i].score};
    }
    struct fused *f = NULL;
    must(fuse(lists, text->n_hits, lists + text->n_hits, n_dense,
              weight < 1 ? fuse_weight(weight, text->upper_bound_share) : 1, a, &f, &n, &err),
         &err);
    out->hits = set_need(arena_array(a, n + 1, sizeof(*out->hits)));
    for (size_t i = 0; i < n; i++) {
        memcpy(&out->hits[i].chunk, f[i].chunk.ptr, sizeof(chunk_no));
    }
    out->n_hits = n;
    free(all);
}

enum asking { IN_FULL, LAST_ALONE, TOGETHER, WITH_TURNS };

static struct figures run(struct set *s, bool plain, size_t at_most, uint64_t seed, float weight,
                          enum asking how, bool follow_ups)
{
    struct figures f = {0};
    struct lexical_source source;
    size_t total = 0, pos = 0, taken = 0, seen = 0;
    struct str id;
    void *value;
    memory_index_source(s->index, &source);
    while (map_next(&s->queries, &pos, &id, &value)) {
        const struct question *q = value;
        total += q->relevant.len > 0 && (!follow_ups || q->follow_up != NULL);
    }
    pos = 0;
    while (map_next(&s->queries, &pos, &id, &value)) {
        struct question *q = value;
        if (q->relevant.len == 0 || (follow_ups && q->follow_up == NULL)) {
            continue;
        }
        seed = seed * 6364136223846793005U +
               1442695040888963407U; /* the same choice for each system */
        size_t left = total - seen++;
        if (taken >= at_most || (seed >> 33) % left >= at_most - taken) {
            continue;
        }
        taken++;
        struct arena a;
        struct error err;
        struct lexical_result r;
        const char *asked = how == IN_FULL    ? q->text
                            : how == TOGETHER ? q->concatenated
                                              : q->follow_up;
        struct lexical_query query = {.text = str_from(asked), .limit = DEPTH, .plain = plain};
        if (how == WITH_TURNS) {
            query.earlier = q->turns;
            query.n_earlier = q->n_turns;
        }
        arena_init(&a, 64 << 20);
        int64_t t = clock_monotonic_us();
        if (lexical_search(s->index->text, &source, &query, &a, &r, &err) != STATUS_OK) {
            set_die(err.text);
        }
        f.ms += (double)(clock_monotonic_us() - t) / 1000;
        if (weight > 0) {
            fused(s, q->text, &r, weight, &a, &r);
        }
        score(s, q, &r, &f);
        arena_reset(&a);
    }
    double n = f.n == 0 ? 1 : (double)f.n;
    f.ndcg /= n;
    f.recall /= n;
    f.mrr /= n;
    f.ms /= n;
    return f;
}

static const char *name_of(const char *dir)
{
    const char *name = strrchr(dir, '/');
    return name == NULL ? dir : name + 1;
}

#define WAYS 4

static void bench_turns(const char *dir, size_t queries, uint64_t seed, struct figures sums[WAYS],
                        size_t *n)
{
    struct set s;
    set_load(&s, dir);
    converse(&s);
    struct figures f[WAYS];
    for (int how = IN_FULL; how <= WITH_TURNS; how++) {
        f[how] = run(&s, false, queries, seed, 0, (enum asking)how, true);
    }
    if (f[0].n >= 20) { /* not a set of conversations otherwise */
        (void)printf("%-16s %4zu", name_of(dir), f[0].n);
        for (int how = IN_FULL; how <= WITH_TURNS; how++) {
            (void)printf("   %.3f %.3f %.3f", f[how].ndcg, f[how].recall, f[how].mrr);
            sums[how].ndcg += f[how].ndcg;
            sums[how].recall += f[how].recall;
            sums[how].mrr += f[how].mrr;
        }
        (void)printf("\n");
        (void)fflush(stdout);
        (*n)++;
    }
    set_free(&s);
}

static void bench(const char *dir, size_t queries, uint64_t seed, bool with_vectors, bool typos,
                  struct figures sums[2 + N_WEIGHTS], size_t *n)
{
    struct set s;
    set_load(&s, dir);
    if (typos) {
        set_misspell(&s);
    }
    struct figures f[2 + N_WEIGHTS] = {run(&s, true, queries, seed, 0, IN_FULL, false),
                                       run(&s, false, queries, seed, 0, IN_FULL, false)};
    (void)printf(
        "%-16s %6u units  plain %.3f %.3f %.3f %5.2f ms   default %.3f %.3f %.3f %5.2f ms   "
        "%+.4f %+.4f\n",
        name_of(dir), s.index->n_chunks, f[0].ndcg, f[0].recall, f[0].mrr, f[0].ms, f[1].ndcg,
        f[1].recall, f[1].mrr, f[1].ms, f[1].ndcg - f[0].ndcg, f[1].recall - f[0].recall);
    if (with_vectors) {
        fit(&s);
        for (size_t i = 0; i < N_WEIGHTS; i++) {
            f[2 + i] = run(&s, false, queries, seed, weights[i], IN_FULL, false);
            (void)printf("    vectors %.2f   %.3f %.3f %.3f   against text alone %+.4f %+.4f\n",
                         (double)weights[i], f[2 + i].ndcg, f[2 + i].recall, f[2 + i].mrr,
                         f[2 + i].ndcg - f[1].ndcg, f[2 + i].recall - f[1].recall);
        }
    }
    (void)fflush(stdout);
    for (size_t i = 0; i < 2 + N_WEIGHTS; i++) {
        sums[i].ndcg += f[i].ndcg;
        sums[i].recall += f[i].recall;
        sums[i].mrr += f[i].mrr;
    }
    (*n)++;
    set_free(&s);
}

/* ---- speed ---- */

static uint64_t state = 88172645463325252U;

static uint64_t next_random(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

/* Zipf by inversion: rank r with probability about 1/r among 60,000 words. */
static size_t word(char *out)
{
    double u = (double)(next_random() >> 11) / 9007199254740992.0;
    uint64_t rank = (uint64_t)exp(u * log(60000.0));
    static const char *const syllables[] = {"ba",  "ke",  "li",  "mo",  "nu",  "pra", "sto", "ter",
                                            "vin", "zal", "den", "gor", "fes", "hul", "jin", "ros"};
    size_t n = 0;
    rank += 15;
    while (rank > 0) {
        const char *s = syllables[rank % 16];
        size_t len = strlen(s);
        memcpy(out + n, s, len);
        n += len;
        rank /= 16;
    }
    out[n] = ' ';
    return n + 1;
}

static size_t words(char *out, size_t n)
{
    size_t len = 0;
    for (size_t i = 0; i < n; i++) {
        len += word(out + len);
    }
    return len;
}

static int ascending(const void *x, const void *y)
{
    return -descending(x, y);
}

static void speed(size_t chunks)
{
    static char text[64 * 1024];
    double took[400];
    struct memory_index *index = memory_index_new();
    struct lexical_source source;
    int64_t t = clock_monotonic_us();
    size_t bytes = 0;
    for (size_t i = 0; i < chunks; i++) {
        size_t len = words(text, 200);
        bytes += len;
        memory_index_add(index, (struct str){text, len}, STR("A title"), "en");
    }
    memory_index_finish(index);
    (void)printf("indexed %zu chunks, %.0f MB, in %.1f s\n", chunks, (double)bytes / 1e6,
                 (double)(clock_monotonic_us() - t) / 1e6);
    memory_index_source(index, &source);
    for (int plain = 1; plain >= 0; plain--) {
        for (size_t i = 0; i < 400; i++) {
            struct arena a;
            struct lexical_result r;
            struct error err;
            struct lexical_query q = {.limit = 100, .plain = plain};
            q.text = (struct str){text, words(text, 10)};
            arena_init(&a, 64 << 20);
            t = clock_monotonic_us();
            if (lexical_search(index->text, &source, &q, &a, &r, &err) != STATUS_OK) {
                set_die(err.text);
            }
            took[i] = (double)(clock_monotonic_us() - t) / 1000;
            arena_reset(&a);
        }
        qsort(took, 400, sizeof(double), ascending);
        (void)printf("%s of ten words: p50 %.2f ms, p99 %.2f ms\n", plain ? "plain" : "default",
                     took[200], took[396]);
    }
    size_t len = words(text, 8000), turns = 2000;
    t = clock_monotonic_us();
    for (size_t i = 0; i < turns; i++) {
        memory_index_count_tokens(index, (struct str){text, len});
    }
    (void)printf("analysis: %.0f MB/s\n",
                 (double)(len * turns) / (double)(clock_monotonic_us() - t));
    memory_index_free(index);
}

int main(int argc, char **argv)
{
    size_t queries = 600, n = 0;
    uint64_t seed = 1;
    const char *dir = NULL;
    struct figures sums[2 + N_WEIGHTS];
    bool with_vectors = false, typos = false, turns = false;
    struct figures ways[WAYS] = {0};
    memset(sums, 0, sizeof(sums));
    for (int i = 1; i < argc; i++) {
        bool more = i + 1 < argc;
        if (strcmp(argv[i], "--queries") == 0 && more) {
            queries = strtoul(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--seed") == 0 && more) {
            seed = strtoul(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--fused") == 0) {
            with_vectors = true;
        } else if (strcmp(argv[i], "--typos") == 0) {
            typos = true;
        } else if (strcmp(argv[i], "--turns") == 0) {
            turns = true;
        } else if (strcmp(argv[i], "--speed") == 0 && more) {
            speed(strtoul(argv[++i], NULL, 10));
            return 0;
        } else {
            dir = argv[i];
        }
    }
    if (dir == NULL) {
        set_die("usage: bench-lexical DIR [--queries N] [--seed N] [--typos] [--turns] [--fused] | "
                "--speed CHUNKS");
    }
    char path[1024];
    (void)snprintf(path, sizeof(path), "%s/corpus.jsonl", dir);
    FILE *one = fopen(path, "r");
    if (turns) {
        (void)printf("%-16s %4s   asked in full       the last alone      all as one          "
                     "earlier turns weigh less\n",
                     "", "");
    }
    if (one != NULL) {
        (void)fclose(one);
        if (turns) {
            bench_turns(dir, queries, seed, ways, &n);
            return 0;
        }
        bench(dir, queries, seed, with_vectors, typos, sums, &n);
        return 0;
    }
    struct dirent **names;
    int found = scandir(dir, &names, NULL, alphasort);
    for (int i = 0; i < found; i++) {
        (void)snprintf(path, sizeof(path), "%s/%s/corpus.jsonl", dir, names[i]->d_name);
        one = names[i]->d_name[0] == '.' ? NULL : fopen(path, "r");
        if (one != NULL) {
            (void)fclose(one);
            path[strlen(path) - strlen("/corpus.jsonl")] = '\0';
            if (turns) {
                bench_turns(path, queries, seed, ways, &n);
                free(names[i]);
                continue;
            }
            bench(path, queries, seed, with_vectors, typos, sums, &n);
        }
        free(names[i]);
    }
    double k = n == 0 ? 1 : (double)n;
    if (turns) {
        (void)printf("%-21s", "mean");
        for (int how = IN_FULL; how <= WITH_TURNS; how++) {
            (void)printf("   %.4f %.4f %.4f", ways[how].ndcg / k, ways[how].recall / k,
                         ways[how].mrr / k);
        }
        (void)printf("\n");
        free(names);
        return 0;
    }
    (void)printf(
        "mean: plain %.4f %.4f %.4f  default %.4f %.4f %.4f  gain %+.4f nDCG@10 %+.4f R@20\n",
        sums[0].ndcg / k, sums[0].recall / k, sums[0].mrr / k, sums[1].ndcg / k, sums[1].recall / k,
        sums[1].mrr / k, (sums[1].ndcg - sums[0].ndcg) / k, (sums[1].recall - sums[0].recall) / k);
    for (size_t i = 0; with_vectors && i < N_WEIGHTS; i++) {
        const struct figures *f = &sums[2 + i];
        (void)printf("mean with vectors %.2f: %.4f %.4f %.4f  against text alone %+.4f %+.4f\n",
                     (double)weights[i], f->ndcg / k, f->recall / k, f->mrr / k,
                     (f->ndcg - sums[1].ndcg) / k, (f->recall - sums[1].recall) / k);
    }
    if (found >= 0) {
        free(names);
    }
    return 0;
}
