/* A search from end to end: plan, candidates, re-scoring. */
#include "vectorstore/lexical_internal.h"

#define MATCHES_MAX 1000U

/* Frequencies are 0 for what no readable passage has (lexical_df). */
static enum status occurring_terms(const struct lexical_plan *p, struct arena *a,
                                   struct lexical_result *out, struct error *err)
{
    out->terms = arena_array(a, p->n_groups + 1, sizeof(*out->terms));
    if (out->terms == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "search: out of memory");
    }
    for (size_t i = 0; i < p->n_groups; i++) {
        const struct lexical_group *g = &p->groups[i];
        for (uint32_t v = 0; v < g->n_variants; v++) {
            if (g->variant_df[v] > 0) { /* one stem stands for the word */
                out->terms[out->n_terms++] = g->variants[v];
                break;
            }
        }
    }
    return STATUS_OK;
}

/* Plain BM25: the candidates are the result. */
static enum status plain_hits(const struct lexical_plan *p, const struct lexical_candidate *c,
                              size_t n, struct arena *a, struct lexical_result *out,
                              struct error *err)
{
    out->hits = arena_array(a, n + 1, sizeof(*out->hits));
    if (out->hits == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "search: out of memory");
    }
    for (size_t i = 0; i < n; i++) {
        out->hits[i] = (struct lexical_hit){.chunk = c[i].chunk,
                                            .words = c[i].score,
                                            .sdm = c[i].score,
                                            .score = c[i].score / p->words_bound};
    }
    out->n_hits = n;
    out->upper_bound_share = n > 0 ? out->hits[0].score : 0;
    return STATUS_OK;
}

enum status lexical_search(struct text_analyzer *t, const struct lexical_source *source,
                           const struct lexical_query *q, struct arena *a,
                           struct lexical_result *out, struct error *err)
{
    struct lexical_plan p;
    struct lexical_candidate *candidates = NULL;
    struct lexical_result r = {0};
    struct lexical_demand demand = {0};
    struct lexical_source narrowed;
    size_t n = 0;
    bool demands = lexical_demands(q);
    if (q->limit == 0 || q->limit > MATCHES_MAX) {
        return error_set(err, STATUS_INVALID, "search: a limit of %u is not within 1 and 1000",
                         q->limit);
    }
    enum status s = lexical_plan_make(t, source, q, a, &p, err);
    if (s == STATUS_OK) {
        s = occurring_terms(&p, a, &r, err);
    }
    if (s == STATUS_OK && demands) {
        s = lexical_demand_make(t, source, q, a, &demand, &narrowed, err);
    }
    if (s == STATUS_OK) {
        /* passages without the phrase's word order fall out afterwards */
        uint32_t limit = demand.n_phrases == 0         ? q->limit
                         : q->limit > MATCHES_MAX / 10 ? MATCHES_MAX
                                                       : q->limit * 10;
        s = lexical_match(demands ? &narrowed : source, &p, limit, a, &candidates, &n, err);
    }
    if (s == STATUS_OK && demand.n_phrases > 0) {
        s = lexical_demand_keep(t, &demand, candidates, &n, q->limit, err);
    }
    if (s == STATUS_OK) {
        r.matched = (uint32_t)n;
        s = q->plain ? plain_hits(&p, candidates, n, a, &r, err)
                     : lexical_rescore(t, source, &p, candidates, n, a, &r, err);
    }
    if (s == STATUS_OK) {
        r.similar = p.similar;
        r.n_similar = p.n_similar;
        *out = r;
    }
    return s;
}
