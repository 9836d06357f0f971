/* Misspelled words. A word of the question that no visible chunk has is also looked for as the
 * words that differ from it by an edit (two in long words), at a lower weight. Stems are compared
 * with stems. */
#include "vectorstore/lexical_internal.h"

#define ONE_EDIT_FROM 4U /* letters: shorter words have too many neighbours */
#define TWO_EDITS_FROM 8U
#define POINTS_MAX 64U
#define LOOKED_AT_MAX 256U /* terms considered for one word */
#define WORDS_MAX 8U       /* words of a question that are corrected */

static uint32_t points_of(struct str s, uint32_t out[POINTS_MAX])
{
    uint32_t n = 0;
    for (size_t i = 0; i < s.len && n < POINTS_MAX; n++) {
        uint32_t cp = (unsigned char)s.ptr[i++];
        while (i < s.len && ((unsigned char)s.ptr[i] & 0xC0) == 0x80) {
            cp = cp << 6 ^ ((unsigned char)s.ptr[i++] & 0x3F); /* only compared for being equal */
        }
        out[n] = cp;
    }
    return n;
}

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

uint32_t lexical_edits(struct str a, struct str b, uint32_t most)
{
    uint32_t x[POINTS_MAX], y[POINTS_MAX], rows[3][POINTS_MAX + 1];
    uint32_t n = points_of(a, x), m = points_of(b, y);
    if ((n > m ? n - m : m - n) > most) {
        return most + 1;
    }
    for (uint32_t j = 0; j <= m; j++) {
        rows[0][j] = j;
    }
    for (uint32_t i = 1; i <= n; i++) {
        uint32_t *row = rows[i % 3], *above = rows[(i - 1) % 3], *before = rows[(i + 1) % 3];
        uint32_t best = row[0] = i;
        for (uint32_t j = 1; j <= m; j++) {
            row[j] = least(least(above[j], row[j - 1]) + 1, above[j - 1] + (x[i - 1] != y[j - 1]));
            if (i > 1 && j > 1 && x[i - 1] == y[j - 2] && x[i - 2] == y[j - 1]) {
                row[j] = least(row[j], before[j - 2] + 1);
            }
            best = least(best, row[j]);
        }
        if (best > most) {
            return most + 1;
        }
    }
    return least(rows[n % 3][m], most + 1);
}

struct neighbour {
    struct str term;
    uint32_t edits;
    bool other_start; /* people get the first letter right */
    uint64_t df;
};

struct looking {
    struct arena *a;
    struct str stem;
    uint32_t most;
    struct neighbour *found;
    size_t n;
    bool failed;
};

static bool on_term(struct str term, void *ctx)
{
    struct looking *l = ctx;
    uint32_t edits = lexical_edits(l->stem, term, l->most);
    if (edits == 0 || edits > l->most || term.len < 3) {
        return true;
    }
    for (size_t i = 0; i < term.len; i++) {
        if (term.ptr[i] >= '0' && term.ptr[i] <= '9') {
            return true; /* not a word */
        }
    }
    char *copy = arena_strndup(l->a, term.ptr, term.len);
    if (copy == NULL) {
        l->failed = true;
        return false;
    }
    l->found[l->n++] = (struct neighbour){
        .term = {copy, term.len}, .edits = edits, .other_start = term.ptr[0] != l->stem.ptr[0]};
    return l->n < LOOKED_AT_MAX;
}

static bool likelier(const struct neighbour *a, const struct neighbour *b)
{
    if (a->edits + a->other_start != b->edits + b->other_start) {
        return a->edits + a->other_start < b->edits + b->other_start;
    }
    return a->df > b->df;
}

static enum status choose(const struct lexical_source *source, struct looking *l,
                          struct neighbour best[LEXICAL_SIMILAR_MAX], size_t *n, struct error *err)
{
    for (size_t i = 0; i < l->n; i++) {
        struct neighbour *c = &l->found[i];
        enum status s = lexical_df(source, c->term, &c->df, err);
        if (s != STATUS_OK) {
            return s;
        }
        bool there = c->df == 0;
        for (size_t k = 0; k < *n; k++) {
            there = there || str_eq(best[k].term, c->term);
        }
        size_t at = *n;
        while (at > 0 && likelier(c, &best[at - 1])) {
            at--;
        }
        if (there || at == LEXICAL_SIMILAR_MAX) {
            continue;
        }
        *n += *n < LEXICAL_SIMILAR_MAX;
        for (size_t k = *n - 1; k > at; k--) {
            best[k] = best[k - 1];
        }
        best[at] = *c;
    }
    return STATUS_OK;
}

enum status lexical_find_similar(const struct lexical_source *source, struct lexical_plan *p,
                                 struct lexical_group *g, struct arena *a, struct error *err)
{
    uint32_t points[POINTS_MAX], n_points = points_of(g->word, points);
    struct neighbour best[LEXICAL_SIMILAR_MAX];
    size_t n = 0;
    struct looking l = {.a = a, .most = n_points >= TWO_EDITS_FROM ? 2 : 1};
    if (source->similar == NULL || n_points < ONE_EDIT_FROM || p->n_similar == WORDS_MAX) {
        return STATUS_OK;
    }
    if (p->similar == NULL) {
        p->similar = arena_array(a, WORDS_MAX, sizeof(*p->similar));
        p->similar_stems = arena_array(a, WORDS_MAX, sizeof(*p->similar_stems));
    }
    l.found = arena_array(a, LOOKED_AT_MAX, sizeof(*l.found));
    if (p->similar == NULL || p->similar_stems == NULL || l.found == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "search: out of memory");
    }
    for (uint32_t v = 0; v < g->n_variants; v++) {
        l.stem = g->variants[v];
        l.n = 0;
        enum status s = source->similar(source->data, l.stem, l.most, on_term, &l, err);
        if (s == STATUS_OK && l.failed) {
            s = error_set(err, STATUS_NO_MEMORY, "search: out of memory");
        }
        if (s == STATUS_OK) {
            s = choose(source, &l, best, &n, err);
        }
        if (s != STATUS_OK) {
            return s;
        }
    }
    if (n == 0) {
        return STATUS_OK;
    }
    struct lexical_similar *out = &p->similar[p->n_similar];
    struct str *stems = p->similar_stems[p->n_similar++];
    *out = (struct lexical_similar){.word = g->word};
    for (size_t i = 0; i < n && best[i].edits == best[0].edits; i++) {
        stems[out->n_tried++] = best[i].term;
        if (g->n_variants == LEXICAL_MAX_VARIANTS) {
            g->n_variants--; /* its own stems are in no chunk */
        }
        g->variants[g->n_variants] = best[i].term;
        g->variant_df[g->n_variants++] = best[i].df;
        g->df += best[i].df;
    }
    g->weight *= best[0].edits == 1 ? LEXICAL_ONE_EDIT_WEIGHT : LEXICAL_TWO_EDITS_WEIGHT;
    return STATUS_OK;
}

void lexical_similar_seen(struct lexical_plan *p, struct str stem, struct str norm, struct arena *a)
{
    for (size_t i = 0; i < p->n_similar; i++) {
        for (size_t k = 0; k < p->similar[i].n_tried; k++) {
            if (p->similar[i].tried[k].ptr == NULL && str_eq(p->similar_stems[i][k], stem)) {
                char *copy = arena_strndup(a, norm.ptr, norm.len);
                p->similar[i].tried[k] = (struct str){copy, copy == NULL ? 0 : norm.len};
            }
        }
    }
}
