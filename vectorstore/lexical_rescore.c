/* Re-scoring of the best candidates from their texts: word pairs and 4-grams need positions and
 * lists that the index does not hold, and 100 chunks are read in a millisecond or two.
 *
 *   sdm(u)   = .90 words + .05 pairs in order + .05 pairs within 8
 *   score(u) = (.60 sdm(u) / bound + .40 char4(u) / bound + .03 share of the question that is there
 *               + .05 share of the title that was asked for) / 1.08
 *
 * A pair's document frequency is counted among the candidates (no second index); what that costs
 * was measured (docs/decisions/ranking.md). */
#include <stdlib.h>

#include "base/map.h"
#include "vectorstore/lexical_internal.h"

#define RECENT 16U /* a power of two above LEXICAL_NEAR_WINDOW */

struct recent {
    uint32_t position;
    uint16_t group;
};

#define NO_GROUP UINT16_MAX
#define FOUND_MAX 512 /* grams of one word that are in the query */
#define TITLE_MAX 128
#define MEMO_MAX ((size_t)1 << 18)

struct memo {
    uint64_t id; /* text_token.id */
    uint16_t *grams;
    uint16_t n_grams, group;
    bool used;
};

struct rescore {
    struct lexical_plan *p;
    struct arena *arena;
    struct memo *memo; /* open addressing */
    size_t n_memo, n_memo_slots;
    struct memo scratch;
    uint16_t found[FOUND_MAX];
    size_t n_found;
    uint64_t title[TITLE_MAX]; /* hashes of its stems so far */
    size_t n_title;
    /* stem -> group, open addressing */
    struct {
        struct str stem;
        uint64_t hash;
        uint16_t group;
    } * terms;
    size_t n_terms_slots;
    uint16_t *pair_of; /* groups x groups; index + 1 */
    uint16_t *gram_slots;
    size_t n_gram_slots;
    /* of the chunk being read */
    uint32_t *gram_tf;
    bool seen[LEXICAL_MAX_GROUPS]; /* the question's words that it has */
    float title_words,
        title_asked;    /* of its title: weight of the words, of those in the question */
    uint32_t gram_step; /* 1 in the text, LEXICAL_TITLE_WEIGHT in the title */
    uint16_t *pair_tf;  /* ordered, near alternately */
    struct recent recent[RECENT];
    uint32_t n_recent;
};

static uint32_t pow2(size_t n)
{
    uint32_t p = 16;
    while (p < n) {
        p *= 2;
    }
    return p;
}

static enum status prepare(struct rescore *r, struct lexical_plan *p, struct arena *a,
                           struct error *err)
{
    size_t variants = 0, n = p->n_groups;
    for (size_t i = 0; i < n; i++) {
        variants += p->groups[i].n_variants;
    }
    r->p = p;
    r->arena = a;
    r->n_terms_slots = pow2(variants * 2);
    r->n_gram_slots = pow2(p->n_grams * 4);
    r->terms = arena_array(a, r->n_terms_slots, sizeof(*r->terms));
    r->pair_of = arena_array(a, n * n + 1, sizeof(*r->pair_of));
    r->gram_slots = arena_array(a, r->n_gram_slots, sizeof(*r->gram_slots));
    r->gram_tf = arena_array(a, p->n_grams + 1, sizeof(*r->gram_tf));
    if (r->terms == NULL || r->pair_of == NULL || r->gram_slots == NULL || r->gram_tf == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "search: out of memory");
    }
    for (size_t i = 0; i < n; i++) {
        for (uint32_t v = 0; v < p->groups[i].n_variants; v++) {
            struct str stem = p->groups[i].variants[v];
            uint64_t hash = hash64(stem.ptr, stem.len);
            size_t s = (size_t)hash & (r->n_terms_slots - 1);
            while (r->terms[s].stem.ptr != NULL) {
                s = (s + 1) & (r->n_terms_slots - 1);
            }
            r->terms[s].stem = stem;
            r->terms[s].hash = hash;
            r->terms[s].group = (uint16_t)i;
        }
    }
    for (size_t i = 0; i < p->n_pairs; i++) {
        r->pair_of[p->pairs[i].first * n + p->pairs[i].second] = (uint16_t)(i + 1);
    }
    for (size_t i = 0; i < p->n_grams; i++) {
        size_t s = (size_t)p->grams[i].hash & (r->n_gram_slots - 1);
        while (r->gram_slots[s] != 0) {
            s = (s + 1) & (r->n_gram_slots - 1);
        }
        r->gram_slots[s] = (uint16_t)(i + 1);
    }
    return STATUS_OK;
}

static void on_gram(uint64_t hash, void *data)
{
    struct rescore *r = data;
    for (size_t s = (size_t)hash & (r->n_gram_slots - 1); r->gram_slots[s] != 0;
         s = (s + 1) & (r->n_gram_slots - 1)) {
        uint16_t i = (uint16_t)(r->gram_slots[s] - 1);
        if (r->p->grams[i].hash == hash) {
            if (r->n_found < FOUND_MAX) {
                r->found[r->n_found++] = i;
            }
            return;
        }
    }
}

static uint16_t group_of(const struct rescore *r, struct str stem)
{
    uint64_t hash = hash64(stem.ptr, stem.len);
    for (size_t s = (size_t)hash & (r->n_terms_slots - 1); r->terms[s].stem.ptr != NULL;
         s = (s + 1) & (r->n_terms_slots - 1)) {
        if (r->terms[s].hash == hash && str_eq(r->terms[s].stem, stem)) {
            return r->p->groups[r->terms[s].group].in_question ? r->terms[s].group : NO_GROUP;
        }
    }
    return NO_GROUP;
}

static bool grow_memo(struct rescore *r)
{
    size_t cap = r->n_memo_slots == 0 ? 8192 : r->n_memo_slots * 2;
    struct memo *slots = cap > MEMO_MAX ? NULL : arena_array(r->arena, cap, sizeof(*slots));
    if (slots == NULL) {
        return false;
    }
    for (size_t i = 0; i < r->n_memo_slots; i++) {
        if (r->memo[i].used) {
            size_t s = (size_t)r->memo[i].id & (cap - 1);
            while (slots[s].used) {
                s = (s + 1) & (cap - 1);
            }
            slots[s] = r->memo[i];
        }
    }
    r->memo = slots;
    r->n_memo_slots = cap;
    return true;
}

/* What a token has in common with the query, looked up once for each spelling. Valid until the next
 * call. */
static const struct memo *meaning(struct rescore *r, const struct text_token *t)
{
    size_t s = 0;
    struct memo *m = &r->scratch;
    if ((r->n_memo * 2 < r->n_memo_slots || grow_memo(r)) && r->n_memo * 2 < r->n_memo_slots) {
        s = (size_t)t->id & (r->n_memo_slots - 1);
        while (r->memo[s].used) {
            if (r->memo[s].id == t->id) {
                return &r->memo[s];
            }
            s = (s + 1) & (r->n_memo_slots - 1);
        }
        m = &r->memo[s];
        r->n_memo++;
    }
    r->n_found = 0;
    text_grams(t, on_gram, r);
    *m = (struct memo){.id = t->id, .used = true, .group = group_of(r, t->stem)};
    if (r->n_found > 0) {
        m->grams = arena_array(r->arena, r->n_found, sizeof(uint16_t));
        m->n_grams = m->grams == NULL ? 0 : (uint16_t)r->n_found;
        memcpy(m->grams == NULL ? r->found : m->grams, r->found, m->n_grams * sizeof(uint16_t));
    }
    return m;
}

static void count_pair(struct rescore *r, size_t pair, size_t which)
{
    uint16_t *tf = &r->pair_tf[pair * 2 + which];
    *tf = (uint16_t)(*tf + (*tf < UINT16_MAX));
}

/* A query word at a position: with each one up to 8 positions before it. */
static void on_word(struct rescore *r, uint16_t group, uint32_t position)
{
    size_t n = r->p->n_groups;
    uint32_t look = r->n_recent < RECENT ? r->n_recent : RECENT;
    for (uint32_t i = 1; i <= look; i++) {
        const struct recent *b = &r->recent[(r->n_recent - i) & (RECENT - 1)];
        uint32_t distance = position - b->position;
        if (distance > LEXICAL_NEAR_WINDOW) {
            break;
        }
        size_t forward = r->pair_of[b->group * n + group], back = r->pair_of[group * n + b->group];
        if (forward != 0) {
            count_pair(r, forward - 1, 1);
            if (distance == 1) {
                count_pair(r, forward - 1, 0);
            }
        }
        if (back != 0 && back != forward) {
            count_pair(r, back - 1, 1);
        }
    }
    r->recent[r->n_recent++ & (RECENT - 1)] = (struct recent){position, group};
}

static bool on_token(const struct text_token *t, void *data)
{
    struct rescore *r = data;
    const struct memo *m = meaning(r, t);
    bool counts = true;
    if (r->gram_step > 1) { /* title words count once, as in the index */
        uint64_t stem = hash64(t->stem.ptr, t->stem.len);
        for (size_t i = 0; i < r->n_title && counts; i++) {
            counts = r->title[i] != stem;
        }
        if (counts && r->n_title < TITLE_MAX) {
            r->title[r->n_title++] = stem;
        }
    }
    for (uint16_t i = 0; counts && i < m->n_grams; i++) {
        r->gram_tf[m->grams[i]] += r->gram_step;
    }
    if (counts && r->gram_step > 1 && t->kind == TEXT_WORD) {
        float weight = t->function_word ? LEXICAL_FUNCTION_WORD_WEIGHT : 1;
        r->title_words += weight;
        r->title_asked += m->group != NO_GROUP ? weight : 0;
    }
    if (m->group != NO_GROUP) {
        r->seen[m->group] = true;
    }
    if (m->group != NO_GROUP && !text_is_whole(t->kind) &&
        (t->kind != TEXT_CJK_SINGLE || t->alone)) {
        on_word(r, m->group, t->position);
    }
    return true;
}

static float bm25(float tf, float length, float average)
{
    return (LEXICAL_K1 + 1) * tf /
           (tf + LEXICAL_K1 * (1 - LEXICAL_B + LEXICAL_B * length / average));
}

/* Reads one candidate; its 4-gram score at once, its pairs for later. */
static float read_chunk(struct rescore *r, struct text_analyzer *t, const struct lexical_chunk *c)
{
    memset(r->gram_tf, 0, r->p->n_grams * sizeof(*r->gram_tf));
    memset(r->seen, 0, sizeof(r->seen));
    r->title_words = r->title_asked = 0;
    r->n_recent = 0;
    r->gram_step = 1;
    text_analyze(t, lexical_body(c->text, c->title), c->language, on_token, r);
    r->n_recent = 0;
    r->gram_step = LEXICAL_TITLE_WEIGHT;
    r->n_title = 0;
    text_analyze(t, c->title, c->language, on_token, r);
    float sum = 0;
    for (size_t i = 0; i < r->p->n_grams; i++) {
        if (r->gram_tf[i] > 0) {
            sum += r->p->grams[i].weight * r->p->grams[i].idf *
                   bm25((float)r->gram_tf[i], (float)c->gram_length, r->p->average_gram_length);
        }
    }
    return sum;
}

/* How much of the question the chunk just read has at all, by what its words could give. */
static float coverage(const struct rescore *r)
{
    float all = 0, there = 0;
    for (size_t i = 0; i < r->p->n_groups; i++) {
        if (r->p->groups[i].in_question) {
            all += r->p->groups[i].bound;
            there += r->seen[i] ? r->p->groups[i].bound : 0;
        }
    }
    return all > 0 ? there / all : 0;
}

static int by_score(const void *x, const void *y)
{
    const struct lexical_hit *a = x, *b = y;
    if (a->score > b->score || a->score < b->score) {
        return a->score > b->score ? -1 : 1;
    }
    return a->chunk < b->chunk ? -1 : 1;
}

/* sdm of all hits from the pairs counted; returns its bound. */
static float add_pairs(const struct lexical_source *source, const struct lexical_plan *p,
                       struct lexical_hit *hits, const uint32_t *lengths, const uint16_t *pair_tf,
                       size_t n)
{
    float bound = LEXICAL_WORDS_SHARE * p->words_bound;
    for (size_t i = 0; i < n; i++) {
        hits[i].sdm = LEXICAL_WORDS_SHARE * hits[i].words;
    }
    for (size_t pair = 0; pair < p->n_pairs; pair++) {
        for (size_t which = 0; which < 2; which++) {
            uint64_t df = 0;
            for (size_t i = 0; i < n; i++) {
                df += pair_tf[(i * p->n_pairs + pair) * 2 + which] > 0;
            }
            static const float shares[] = {LEXICAL_ORDERED_SHARE, LEXICAL_NEAR_SHARE};
            float weight = shares[which] * (float)p->pairs[pair].occurrences *
                           lexical_idf(source->stats.chunks, df, false);
            bound += weight * (LEXICAL_K1 + 1);
            for (size_t i = 0; df > 0 && i < n; i++) {
                uint16_t tf = pair_tf[(i * p->n_pairs + pair) * 2 + which];
                if (tf > 0) {
                    hits[i].sdm += weight * bm25((float)tf, (float)lengths[i], p->average_length);
                }
            }
        }
    }
    return bound;
}

enum status lexical_rescore(struct text_analyzer *t, const struct lexical_source *source,
                            struct lexical_plan *p, const struct lexical_candidate *c, size_t n,
                            struct arena *a, struct lexical_result *out, struct error *err)
{
    struct rescore r = {0};
    struct lexical_hit *hits = arena_array(a, n + 1, sizeof(*hits));
    float *bonus = arena_array(a, n + 1, sizeof(*bonus));
    uint32_t *lengths = arena_array(a, n + 1, sizeof(*lengths));
    uint16_t *pair_tf = arena_array(a, n * p->n_pairs * 2 + 1, sizeof(*pair_tf));
    size_t kept = 0;
    enum status s = prepare(&r, p, a, err);
    if (s != STATUS_OK) {
        return s;
    }
    if (hits == NULL || bonus == NULL || lengths == NULL || pair_tf == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "search: out of memory");
    }
    for (size_t i = 0; i < n; i++) {
        struct lexical_chunk chunk;
        if (source->cancelled != NULL && *source->cancelled) {
            return error_set(err, STATUS_CANCELLED, "search: the caller went away");
        }
        s = source->chunk(source->data, c[i].chunk, &chunk, err);
        if (s == STATUS_NOT_FOUND) {
            continue; /* removed since the postings were read */
        }
        if (s != STATUS_OK) {
            return s;
        }
        r.pair_tf = pair_tf + kept * p->n_pairs * 2;
        hits[kept] = (struct lexical_hit){.chunk = c[i].chunk, .words = c[i].score};
        hits[kept].char4 = read_chunk(&r, t, &chunk);
        lengths[kept] = chunk.length;
        bonus[kept] = LEXICAL_COVERAGE_SHARE * coverage(&r) +
                      (r.title_words > 0 ? LEXICAL_TITLE_SHARE * r.title_asked / r.title_words : 0);
        kept++;
    }
    float sdm_bound = add_pairs(source, p, hits, lengths, pair_tf, kept);
    for (size_t i = 0; i < kept; i++) {
        struct lexical_hit *h = &hits[i];
        float words = p->words_hoped > 0 ? h->words / p->words_hoped : 0;
        float sdm = sdm_bound > 0 ? h->sdm / sdm_bound : 0;
        float char4 = p->grams_bound > 0 ? h->char4 / p->grams_bound : 0;
        float share = .5F * words + .5F * (p->grams_hoped > 0 ? h->char4 / p->grams_hoped : 0);
        h->score = (LEXICAL_SDM_SHARE * sdm + LEXICAL_CHAR4_SHARE * char4 + bonus[i]) /
                   (LEXICAL_SDM_SHARE + LEXICAL_CHAR4_SHARE + LEXICAL_COVERAGE_SHARE +
                    LEXICAL_TITLE_SHARE);
        out->upper_bound_share = share > out->upper_bound_share ? share : out->upper_bound_share;
    }
    qsort(hits, kept, sizeof(*hits), by_score);
    out->hits = hits;
    out->n_hits = kept;
    return STATUS_OK;
}
