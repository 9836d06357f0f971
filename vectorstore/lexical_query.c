/* What a query asks for: its words with their stems in every language of the collection, its pairs
 * of adjacent words and its 4-grams, each with its weight and inverse document frequency. */
#include <math.h>

#include "vectorstore/lexical_internal.h"

/* The tokens of one text, by the language of the question first, then by each of the collection's.
 */
struct reading {
    struct arena *a;
    struct lexical_word *tokens;
    size_t n;
    size_t at;  /* while re-reading in a further language */
    bool first; /* the pass that makes the tokens */
    bool keep_stem, keep_norm;
    bool failed;
    struct lexical_plan *plan;
    uint16_t *gram_slots;
    float gram_weight;
};

#define GRAM_SLOTS (2 * LEXICAL_MAX_GRAMS)

float lexical_idf(uint64_t n, uint64_t df, bool plain)
{
    double d = df > n ? (double)n : (double)df;
    float idf = (float)log(1 + ((double)n - d + .5) / (d + .5));
    return plain ? idf : powf(idf, LEXICAL_IDF_POWER);
}

static void add_variant(struct reading *r, struct lexical_word *t, struct str stem)
{
    for (uint32_t i = 0; i < t->n_variants; i++) {
        if (str_eq(t->variants[i], stem)) {
            return;
        }
    }
    if (t->n_variants == LEXICAL_MAX_VARIANTS) {
        return;
    }
    char *copy = arena_strndup(r->a, stem.ptr, stem.len);
    if (copy == NULL) {
        r->failed = true;
        return;
    }
    t->variants[t->n_variants++] = (struct str){copy, stem.len};
}

static void on_gram(uint64_t hash, void *data)
{
    struct reading *r = data;
    struct lexical_plan *p = r->plan;
    size_t s = (size_t)hash & (GRAM_SLOTS - 1);
    for (; r->gram_slots[s] != 0; s = (s + 1) & (GRAM_SLOTS - 1)) {
        struct lexical_gram *g = &p->grams[r->gram_slots[s] - 1];
        if (g->hash == hash) {
            g->weight += r->gram_weight;
            return;
        }
    }
    if (p->n_grams < LEXICAL_MAX_GRAMS) {
        p->grams[p->n_grams++] = (struct lexical_gram){.hash = hash, .weight = r->gram_weight};
        r->gram_slots[s] = (uint16_t)p->n_grams;
    }
}

static bool on_token(const struct text_token *t, void *data)
{
    struct reading *r = data;
    if (r->first) {
        if (r->n == LEXICAL_MAX_WORDS) {
            return false;
        }
        r->tokens[r->n++] = (struct lexical_word){.kind = t->kind,
                                                  .position = t->position,
                                                  .function_word = t->function_word,
                                                  .alone = t->alone};
        if (r->keep_stem) {
            add_variant(r, &r->tokens[r->n - 1], t->stem);
        }
        if (r->keep_norm) {
            char *norm = arena_strndup(r->a, t->norm.ptr, t->norm.len);
            r->failed = r->failed || norm == NULL;
            r->tokens[r->n - 1].norm = (struct str){norm, t->norm.len};
        }
        return !r->failed;
    }
    while (r->at < r->n &&
           (r->tokens[r->at].position < t->position ||
            (r->tokens[r->at].position == t->position && r->tokens[r->at].kind < t->kind))) {
        r->at++;
    }
    if (r->at == r->n) {
        return false;
    }
    if (r->tokens[r->at].position == t->position && r->tokens[r->at].kind == t->kind) {
        add_variant(r, &r->tokens[r->at], t->stem);
    }
    return !r->failed;
}

static const char *main_language(struct text_analyzer *t, const struct lexical_source *source,
                                 struct str text)
{
    const char *found = text_detect_language(t, text);
    return found[0] != '\0' || source->n_languages == 0 ? found : source->languages[0];
}

/* Returns the language that it was read in. */
static const char *read_text(struct reading *r, struct text_analyzer *t,
                             const struct lexical_source *source, struct str text)
{
    const char *language = main_language(t, source, text);
    r->n = 0;
    r->first = true;
    r->keep_stem = source->n_languages == 0;
    text_analyze(t, text, language, on_token, r);
    r->first = false;
    for (size_t i = 0; i < source->n_languages && i < LEXICAL_MAX_VARIANTS && !r->failed; i++) {
        r->at = 0;
        text_analyze(t, text, source->languages[i], on_token, r);
    }
    return language;
}

enum status lexical_words(struct text_analyzer *t, const struct lexical_source *source,
                          struct str text, struct arena *a, struct lexical_word **out, size_t *n,
                          struct error *err)
{
    struct reading r = {.a = a,
                        .keep_norm = true,
                        .tokens = arena_array(a, LEXICAL_MAX_WORDS, sizeof(struct lexical_word))};
    if (r.tokens == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "search: out of memory");
    }
    (void)read_text(&r, t, source, text);
    *out = r.tokens;
    *n = r.n;
    return r.failed ? error_set(err, STATUS_NO_MEMORY, "search: out of memory") : STATUS_OK;
}

static bool same_variants(const struct lexical_group *g, const struct lexical_word *t)
{
    if (g->n_variants != t->n_variants) {
        return false;
    }
    for (uint32_t i = 0; i < g->n_variants; i++) {
        if (!str_eq(g->variants[i], t->variants[i])) {
            return false;
        }
    }
    return true;
}

bool lexical_in_letters(struct str norm)
{
    for (size_t i = 0; i < norm.len; i++) {
        if (norm.ptr[i] >= '0' && norm.ptr[i] <= '9') {
            return false;
        }
    }
    return true;
}

/* The group of a token, made when new; LEXICAL_MAX_GROUPS when there is no room. */
static size_t group_of(struct lexical_plan *p, const struct lexical_word *t)
{
    size_t i = 0;
    while (i < p->n_groups && !same_variants(&p->groups[i], t)) {
        i++;
    }
    if (i < p->n_groups || i == LEXICAL_MAX_GROUPS || t->n_variants == 0) {
        return t->n_variants == 0 ? LEXICAL_MAX_GROUPS : i;
    }
    struct lexical_group *g = &p->groups[p->n_groups++];
    *g = (struct lexical_group){.n_variants = t->n_variants, .function_word = t->function_word};
    g->may_be_misspelled = t->kind == TEXT_WORD && !t->function_word && lexical_in_letters(t->norm);
    g->word = t->norm;
    memcpy(g->variants, t->variants, sizeof(g->variants));
    return i;
}

/* Words take part in word scores; a CJK character that a bigram holds does so only in the 4-gram
 * list. */
static bool is_word(const struct lexical_word *t)
{
    return t->kind != TEXT_CJK_SINGLE || t->alone;
}

static void add_pair(struct lexical_plan *p, size_t first, size_t second)
{
    for (size_t i = 0; i < p->n_pairs; i++) {
        if (p->pairs[i].first == first && p->pairs[i].second == second) {
            p->pairs[i].occurrences++;
            return;
        }
    }
    if (p->n_pairs < LEXICAL_MAX_GROUPS) {
        p->pairs[p->n_pairs++] = (struct lexical_pair){(uint16_t)first, (uint16_t)second, 1};
    }
}

static void add_words(struct reading *r, float weight, bool question)
{
    size_t before = LEXICAL_MAX_GROUPS;
    for (size_t i = 0; i < r->n; i++) {
        bool whole = text_is_whole(r->tokens[i].kind);
        if (!is_word(&r->tokens[i]) || (whole && r->plan->plain)) {
            continue;
        }
        size_t g = group_of(r->plan, &r->tokens[i]);
        if (g < LEXICAL_MAX_GROUPS) {
            r->plan->groups[g].weight += weight;
            if (question) {
                r->plan->groups[g].in_question = true;
                if (before < LEXICAL_MAX_GROUPS && !whole) {
                    add_pair(r->plan, before, g);
                }
            }
        }
        before = whole ? before : g; /* its parts make the pairs */
    }
}

static bool on_gram_token(const struct text_token *t, void *data)
{
    struct reading *r = data;
    float weight = r->gram_weight;

    if (t->function_word) {
        r->gram_weight *= LEXICAL_FUNCTION_WORD_WEIGHT;
    }
    text_grams(t, on_gram, r);
    r->gram_weight = weight;
    return true;
}

static float hoped_idf(const struct lexical_source *source, const struct lexical_plan *p,
                       uint64_t df)
{
    return lexical_idf(source->stats.chunks, df == 0 ? 1 : df, p->plain);
}

static enum status weigh(struct text_analyzer *t, const struct lexical_source *source,
                         struct lexical_plan *p, struct arena *a, struct error *err)
{
    bool content = false;
    for (size_t i = 0; i < p->n_groups; i++) {
        content = content || !p->groups[i].function_word;
    }
    for (size_t i = 0; i < p->n_groups; i++) {
        struct lexical_group *g = &p->groups[i];
        for (uint32_t v = 0; v < g->n_variants; v++) {
            enum status s = lexical_df(source, g->variants[v], &g->variant_df[v], err);
            if (s != STATUS_OK) {
                return s;
            }
            g->df += g->variant_df[v];
        }
        if (g->function_word && content && !p->plain) {
            g->weight *= LEXICAL_FUNCTION_WORD_WEIGHT;
        }
        g->idf = lexical_idf(source->stats.chunks, g->df, p->plain);
        p->words_bound += g->weight * g->idf * (LEXICAL_K1 + 1);
        p->words_hoped += g->weight * hoped_idf(source, p, g->df) * (LEXICAL_K1 + 1);
        if (g->df == 0 && g->may_be_misspelled && g->in_question && !p->plain) {
            enum status s = lexical_find_similar(t, source, p, g, a, err);
            if (s != STATUS_OK) {
                return s;
            }
            g->idf = lexical_idf(source->stats.chunks, g->df, p->plain);
        }
        g->bound = g->weight * g->idf * (LEXICAL_K1 + 1);
    }
    for (size_t i = 0; i < p->n_grams; i++) {
        struct lexical_gram *g = &p->grams[i];
        uint64_t df = source->gram_df(source->data, g->hash & (LEXICAL_GRAM_BUCKETS - 1));
        g->idf = lexical_idf(source->stats.chunks, df, p->plain);
        /* all function words: their weight is the same for all, and only the bound notices */
        p->grams_bound += g->weight * g->idf * (LEXICAL_K1 + 1);
        p->grams_hoped += g->weight * hoped_idf(source, p, df) * (LEXICAL_K1 + 1);
    }
    return STATUS_OK;
}

static float average(uint64_t total, uint64_t n)
{
    return n == 0 || total == 0 ? 1.F : (float)((double)total / (double)n);
}

static void on_part(struct str stem, float weight, void *data)
{
    struct lexical_plan *p = data;
    struct lexical_word w = {.kind = TEXT_WORD, .norm = stem, .n_variants = 1};
    w.variants[0] = stem;
    size_t before = p->n_groups;
    size_t g = group_of(p, &w);
    if (g < LEXICAL_MAX_GROUPS) {
        p->groups[g].weight += weight;
        if (g == before) {
            p->groups[g].part = true;
            p->groups[g].may_be_misspelled = false; /* it is in the index */
        }
    }
}

/* While the plan has the question's own words only. */
static float earlier_weight(const struct lexical_plan *p)
{
    size_t content = 0;
    for (size_t i = 0; i < p->n_groups; i++) {
        content += !p->groups[i].function_word;
    }
    float weight =
        content < LEXICAL_EARLIER_WORDS
            ? LEXICAL_EARLIER_WEIGHT * LEXICAL_EARLIER_WORDS / (float)(content + !content)
            : LEXICAL_EARLIER_WEIGHT;
    return weight < LEXICAL_EARLIER_MOST ? weight : LEXICAL_EARLIER_MOST;
}

enum status lexical_plan_make(struct text_analyzer *t, const struct lexical_source *source,
                              const struct lexical_query *q, struct arena *a,
                              struct lexical_plan *out, struct error *err)
{
    const struct lexical_stats *stats = &source->stats;
    *out = (struct lexical_plan){
        .groups = arena_array(a, LEXICAL_MAX_GROUPS, sizeof(struct lexical_group)),
        .pairs = arena_array(a, LEXICAL_MAX_GROUPS, sizeof(struct lexical_pair)),
        .grams = arena_array(a, LEXICAL_MAX_GRAMS, sizeof(struct lexical_gram)),
        .average_length =
            average(q->plain ? stats->plain_length_total : stats->length_total, stats->chunks),
        .average_gram_length = average(stats->gram_length_total, stats->chunks),
        .plain = q->plain};
    struct reading r = {.a = a,
                        .plan = out,
                        .keep_norm = true,
                        .tokens = arena_array(a, LEXICAL_MAX_WORDS, sizeof(struct lexical_word)),
                        .gram_slots = arena_array(a, GRAM_SLOTS, sizeof(uint16_t))};
    if (out->groups == NULL || out->pairs == NULL || out->grams == NULL || r.tokens == NULL ||
        r.gram_slots == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "search: out of memory");
    }
    const char *language = read_text(&r, t, source, q->text);
    add_words(&r, 1, true);
    r.gram_weight = 1;
    text_analyze(t, q->text, language, on_gram_token, &r);
    float earlier = earlier_weight(out);
    enum status s = r.failed || q->plain ? STATUS_OK
                                         : lexical_split_compounds(t, source, language, r.tokens,
                                                                   r.n, a, on_part, out, err);
    if (s != STATUS_OK) {
        return s;
    }
    for (size_t i = 0; i < q->n_earlier && !q->plain && !r.failed; i++) {
        language = read_text(&r, t, source, q->earlier[i]);
        add_words(&r, earlier, false);
        r.gram_weight = earlier;
        text_analyze(t, q->earlier[i], language, on_gram_token, &r);
    }
    if (r.failed) {
        return error_set(err, STATUS_NO_MEMORY, "search: out of memory");
    }
    return weigh(t, source, out, a, err);
}
