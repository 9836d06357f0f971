/* The search against a reading of its definition that scores every chunk from its text. */
#include "tests/unit/test.h"

#include <math.h>

#include "tests/unit/vectorstore/memory_source.h"
#include "vectorstore/lexical_internal.h"

static uint64_t state = 7;

static uint32_t rnd(uint32_t n)
{
    state = state * 6364136223846793005U + 1442695040888963407U;
    return (uint32_t)(state >> 33) % n;
}

/* Frequent and rare words, as in language: rank r about once in r. */
static size_t word(char *out, size_t cap, uint32_t vocabulary)
{
    static const char *const function[] = {"the", "of", "is", "what", "and", "in"};
    uint32_t r = (uint32_t)exp((double)rnd(1000000) / 1e6 * log((double)vocabulary));
    int n = r <= 6 ? snprintf(out, cap, "%s ", function[r - (r > 0)])
                   : snprintf(out, cap, "w%uor%u ", r, r * 7);
    return (size_t)n;
}

static char *words(size_t n, uint32_t vocabulary)
{
    char *out = malloc(n * 32 + 1);
    size_t len = 0;
    assert_non_null(out);
    out[0] = '\0';
    for (size_t i = 0; i < n; i++) {
        len += word(out + len, 32, vocabulary);
    }
    return out;
}

/* ---- the definition ---- */

struct counting {
    struct str stem;
    uint32_t n;
};

static bool count_token(const struct text_token *t, void *data)
{
    struct counting *c = data;
    c->n += str_eq(t->stem, c->stem);
    return true;
}

static uint32_t tf(struct memory_index *x, const struct memory_chunk *c, struct str stem,
                   bool title)
{
    struct counting k = {.stem = stem};
    text_analyze(x->text,
                 title ? (struct str){c->title, c->title_len} : (struct str){c->text, c->text_len},
                 c->language, count_token, &k);
    return k.n;
}

struct stems {
    char items[64][64];
    bool function[64];
    size_t n;
};

static bool take_stem(const struct text_token *t, void *data)
{
    struct stems *s = data;
    if (s->n < 64) {
        (void)snprintf(s->items[s->n], 64, "%.*s", STR_ARG(t->stem));
        s->function[s->n++] = t->function_word;
    }
    return true;
}

static double idf(double n, double df)
{
    return log(1 + (n - df + .5) / (df + .5));
}

/* Scores of all chunks for a query in one language. */
static void define(struct memory_index *x, const char *query, bool plain, double *scores)
{
    struct stems s = {.n = 0};
    bool content = false;
    double n = (double)x->stats.chunks;
    double average = (double)(plain ? x->stats.plain_length_total : x->stats.length_total) / n;
    text_analyze(x->text, str_from(query), "en", take_stem, &s);
    for (size_t i = 0; i < s.n; i++) {
        content = content || !s.function[i];
    }
    memset(scores, 0, x->n_chunks * sizeof(*scores));
    for (size_t i = 0; i < s.n; i++) { /* a repeated word counts each time */
        struct str stem = str_from(s.items[i]);
        double df = 0, *tfs = calloc(x->n_chunks, sizeof(*tfs));
        assert_non_null(tfs);
        for (uint32_t c = 0; c < x->n_chunks; c++) {
            tfs[c] = tf(x, &x->chunks[c], stem, false) +
                     (plain ? 1. : 4.) * (tf(x, &x->chunks[c], stem, true) > 0);
            df += tfs[c] > 0;
        }
        double weight = s.function[i] && content && !plain ? .3 : 1.;
        for (uint32_t c = 0; c < x->n_chunks; c++) {
            double length = plain ? x->chunks[c].plain_length : x->chunks[c].length;
            scores[c] += weight * (plain ? idf(n, df) : pow(idf(n, df), 1.1)) * 2.2 * tfs[c] /
                         (tfs[c] + 1.2 * (1 - .75 + .75 * length / average));
        }
        free(tfs);
    }
}

static void compare(struct memory_index *x, const char *query, uint32_t limit)
{
    struct lexical_source source;
    double *scores = calloc(x->n_chunks, sizeof(*scores));
    assert_non_null(scores);
    memory_index_source(x, &source);
    for (int plain = 0; plain < 2; plain++) {
        struct lexical_query q = {.text = str_from(query), .limit = limit, .plain = plain};
        struct lexical_result r;
        struct arena a;
        struct error err;
        size_t matching = 0, better = 0;
        double worst = 1e9;
        arena_init(&a, (size_t)64 << 20);
        assert_int_equal(lexical_search(x->text, &source, &q, &a, &r, &err), STATUS_OK);
        define(x, query, plain, scores);
        for (uint32_t c = 0; c < x->n_chunks; c++) {
            matching += scores[c] > 0 && !x->chunks[c].hidden;
        }
        assert_int_equal(r.n_hits, matching < limit ? matching : limit);
        for (size_t i = 0; i < r.n_hits; i++) {
            assert_false(x->chunks[r.hits[i].chunk].hidden);
            assert_true(fabs((double)r.hits[i].words - scores[r.hits[i].chunk]) <
                        1e-3 * (1 + scores[r.hits[i].chunk]));
            assert_true(r.hits[i].score >= 0 && r.hits[i].score <= 1);
            assert_true(i == 0 || r.hits[i].score <= r.hits[i - 1].score);
            worst = fmin(worst, scores[r.hits[i].chunk]);
        }
        for (uint32_t c = 0; c < x->n_chunks; c++) { /* nobody left out was clearly better */
            better += !x->chunks[c].hidden && scores[c] > worst * 1.001 + 1e-9;
        }
        assert_true(better < limit);
        assert_true(r.upper_bound_share >= 0 && r.upper_bound_share <= 1);
        arena_reset(&a);
    }
    free(scores);
}

static struct memory_index *random_index(size_t chunks, uint32_t vocabulary)
{
    struct memory_index *x = memory_index_new();
    for (size_t i = 0; i < chunks; i++) {
        char *text = words(5 + rnd(60), vocabulary), *title = words(rnd(4), vocabulary);
        memory_index_add(x, str_from(text), str_from(title), "en");
        free(text);
        free(title);
    }
    x->part_chunks = rnd(3) == 0 ? 0 : 1 + rnd(300);
    memory_index_finish(x);
    return x;
}

static void test_equals_exhaustive_scoring(void **unused)
{
    (void)unused;
    for (int round = 0; round < 6; round++) {
        struct memory_index *x =
            random_index(round < 2 ? 2500 : 200 + rnd(300), round % 2 == 0 ? 50 : 2000);
        for (uint32_t c = 0; round >= 3 && c < x->n_chunks; c++) {
            x->chunks[c].hidden = rnd(10) < 7; /* most is not for this reader */
        }
        for (int i = 0; i < 8; i++) {
            char *query = words(1 + rnd(9), round % 2 == 0 ? 50 : 2000);
            static const uint32_t limits[] = {1, 3, 10, 100};
            compare(x, query, limits[rnd(4)]);
            free(query);
        }
        memory_index_free(x);
    }
}

static void best_of(struct memory_index *x, const char *query, uint32_t limit, struct arena *a,
                    struct lexical_result *r)
{
    struct lexical_source source;
    struct lexical_query q = {.text = str_from(query), .limit = limit, .plain = true};
    struct error err;
    memory_index_source(x, &source);
    assert_int_equal(lexical_search(x->text, &source, &q, a, r, &err), STATUS_OK);
}

/* Nothing is passed over while there are fewer matches than the limit: the best few must be the
 * same to the last bit, ties included. */
static void test_passing_over_changes_nothing(void **unused)
{
    (void)unused;
    for (int round = 0; round < 4; round++) {
        struct memory_index *x = random_index(6000, round % 2 == 0 ? 60 : 800);
        for (uint32_t c = 0; c < x->n_chunks; c++) {
            x->chunks[c].hidden = rnd(100) >= 15;
        }
        for (int i = 0; i < 10; i++) {
            struct arena a;
            struct lexical_result all, few;
            char *query = words(1 + rnd(7), round % 2 == 0 ? 60 : 800);
            uint32_t limit = 1 + rnd(40);
            arena_init(&a, (size_t)64 << 20);
            best_of(x, query, 1000, &a, &all);
            best_of(x, query, limit, &a, &few);
            assert_true(all.n_hits < 1000);
            assert_int_equal(few.n_hits, all.n_hits < limit ? all.n_hits : limit);
            assert_int_equal(few.matched, few.n_hits);
            for (size_t h = 0; h < few.n_hits; h++) {
                assert_int_equal(few.hits[h].chunk, all.hits[h].chunk);
                assert_memory_equal(&few.hits[h].words, &all.hits[h].words, sizeof(float));
            }
            arena_reset(&a);
            free(query);
        }
        memory_index_free(x);
    }
}

static void test_hidden_words_do_not_show(void **unused)
{
    (void)unused;
    struct memory_index *x = memory_index_new();
    chunk_no secret = 0;
    for (int i = 0; i < 300; i++) {
        char text[128];
        (void)snprintf(text, sizeof(text), "common word number%d %s", i, i == 77 ? "zanzibar" : "");
        chunk_no n = memory_index_add(x, str_from(text), STR(""), "en");
        secret = i == 77 ? n : secret;
    }
    memory_index_finish(x);
    x->chunks[secret].hidden = true;
    struct lexical_result of_hidden, of_nothing;
    struct arena a;
    arena_init(&a, (size_t)64 << 20);
    best_of(x, "common zanzibar", 10, &a, &of_hidden);
    best_of(x, "common atlantis", 10, &a, &of_nothing);
    assert_int_equal(of_hidden.n_terms, 1);
    assert_int_equal(of_nothing.n_terms, 1);
    assert_int_equal(of_hidden.matched, of_nothing.matched);
    assert_memory_equal(&of_hidden.upper_bound_share, &of_nothing.upper_bound_share, sizeof(float));
    arena_reset(&a);
    memory_index_free(x);
}

static enum status damaged(void *data, size_t part, struct str term, struct lexical_list *out,
                           struct error *err)
{
    (void)part;
    (void)term;
    (void)err;
    const struct memory_index *x = data;
    *out = (struct lexical_list){
        .bytes = STR("\11 not a list"), .df = 40, .lengths = x->lengths, .n_lengths = x->n_chunks};
    return STATUS_OK;
}

static void test_refusals(void **unused)
{
    (void)unused;
    struct memory_index *x = random_index(50, 50);
    struct lexical_source source;
    struct lexical_query q = {.text = STR("the of"), .limit = 0};
    struct lexical_result r;
    struct arena a;
    struct error err;
    memory_index_source(x, &source);
    arena_init(&a, (size_t)64 << 20);
    assert_int_equal(lexical_search(x->text, &source, &q, &a, &r, &err), STATUS_INVALID);
    q.limit = 1001;
    assert_int_equal(lexical_search(x->text, &source, &q, &a, &r, &err), STATUS_INVALID);
    q.limit = 10;
    _Atomic bool cancelled = true;
    source.cancelled = &cancelled;
    assert_int_equal(lexical_search(x->text, &source, &q, &a, &r, &err), STATUS_CANCELLED);
    source.cancelled = NULL;
    source.list = damaged;
    assert_int_equal(lexical_search(x->text, &source, &q, &a, &r, &err), STATUS_CORRUPT);
    arena_reset(&a);
    arena_init(&a, 1000);
    memory_index_source(x, &source);
    assert_int_equal(lexical_search(x->text, &source, &q, &a, &r, &err), STATUS_NO_MEMORY);
    arena_reset(&a);
    memory_index_free(x);
}

static void test_long_queries_are_bounded(void **unused)
{
    (void)unused;
    struct memory_index *x = random_index(100, 2000);
    struct arena a;
    struct lexical_result r;
    char *query = words(5000, 5000);
    arena_init(&a, (size_t)64 << 20);
    best_of(x, query, 100, &a, &r);
    assert_true(r.n_hits > 0);
    free(query);
    arena_reset(&a);
    memory_index_free(x);
}

static void test_entry(void **unused)
{
    (void)unused;
    struct text_analyzer *t;
    struct lexical_entry e;
    struct arena a;
    struct error err;
    arena_init(&a, 1 << 20);
    assert_int_equal(text_analyzer_new(&t, &err), STATUS_OK);
    assert_int_equal(
        lexical_analyze(t, STR("houses and a house"), STR("Housing"), "en", &a, &e, &err),
        STATUS_OK);
    assert_int_equal(e.n_postings, 3); /* by term: a, and, hous */
    assert_true(str_eq(e.postings[0].term, STR("a")));
    assert_true(str_eq(e.postings[2].term, STR("hous")));
    assert_int_equal(e.postings[2].tf_text, 2);
    assert_int_equal(e.postings[2].tf_title, 1);
    assert_int_equal(e.length, 4 + 4);
    assert_int_equal(e.plain_length, 5);
    assert_true(e.n_gram_buckets > 8);
    for (size_t i = 0; i < e.n_gram_buckets; i++) {
        assert_true(e.gram_buckets[i] < LEXICAL_GRAM_BUCKETS);
    }
    /* a heading at the chunk's beginning is its title, not text too */
    assert_int_equal(lexical_analyze(t, STR("\n Leave \nParental  leave\n\nLeave is granted."),
                                     STR("Staff rules\nLeave > Parental leave"), "en", &a, &e,
                                     &err),
                     STATUS_OK);
    assert_int_equal(e.plain_length, 3 + 4); /* staff, rule, leav, parent */
    assert_int_equal(
        lexical_analyze(t, STR("Leave of absence\nis granted."), STR("Leave"), "en", &a, &e, &err),
        STATUS_OK);
    assert_int_equal(e.plain_length, 5 + 1);
    assert_int_equal(lexical_analyze(t, STR("Leave"), STR("Leave"), "en", &a, &e, &err), STATUS_OK);
    assert_int_equal(e.plain_length, 1);
    assert_int_equal(lexical_analyze(t, STR(""), STR(""), "", &a, &e, &err), STATUS_OK);
    assert_int_equal(e.n_postings, 0);
    text_analyzer_free(t);
    arena_reset(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equals_exhaustive_scoring),
        cmocka_unit_test(test_passing_over_changes_nothing),
        cmocka_unit_test(test_hidden_words_do_not_show),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_long_queries_are_bounded),
        cmocka_unit_test(test_entry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
