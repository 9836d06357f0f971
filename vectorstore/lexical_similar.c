/* Misspelled words. A word of the question that no visible chunk has is also looked for as the
 * words that differ from it by an edit (two in long words), at a lower weight. Spellings are
 * compared with spellings; what is then looked for is the stem. A spelling counts only where a
 * visible chunk is known to have it, and of equally near ones those come first whose own chunks,
 * of which the index keeps a few, are visible; the others' texts are looked into, a few for each
 * word. So which word is taken is decided among visible ones; that there is a nearer word which
 * only others may read can still cost one of those looks, and counts of chunks are everybody's. */
#include <stdlib.h>
#include <string.h>

#include "vectorstore/lexical_internal.h"

#define TWO_EDITS_FROM 8U  /* letters; below LEXICAL_FORM_POINTS there are too many neighbours */
#define LOOKED_AT_MAX 512U /* forms considered for one word */
#define WORDS_MAX 8U       /* words of a question that are corrected */
#define TEXTS_MAX 8U       /* read for one word, to see whether one has a form */

struct neighbour {
    struct lexical_form f;
    uint32_t edits;
    bool other_start; /* people mostly get the first letter right */
    bool visible;
    uint64_t df;
};

struct looking {
    const struct lexical_source *source;
    struct text_analyzer *t;
    struct arena *a;
    struct lexical_spelling word;
    struct neighbour *found;
    size_t n;
    uint32_t texts; /* that may still be read */
    bool failed;
};

static uint32_t first_of(const struct lexical_spelling *s)
{
    return s->n == 0 ? 0 : s->points[0];
}

static struct neighbour *known(const struct looking *l, const struct lexical_form *f)
{
    for (size_t i = 0; i < l->n; i++) {
        if (str_eq(l->found[i].f.form, f->form) && str_eq(l->found[i].f.stem, f->stem)) {
            return &l->found[i];
        }
    }
    return NULL;
}

static uint32_t distance(const struct neighbour *c)
{
    return c->edits * 2 + c->other_start;
}

/* Where there is no room, in the place of the farthest one; NULL: that is this one. */
static struct neighbour *room_for(struct looking *l, const struct neighbour *fresh)
{
    if (l->n < LOOKED_AT_MAX) {
        return &l->found[l->n++];
    }
    struct neighbour *worst = &l->found[0];
    for (size_t i = 1; i < l->n; i++) {
        worst = distance(&l->found[i]) > distance(worst) ? &l->found[i] : worst;
    }
    return distance(worst) > distance(fresh) ? worst : NULL;
}

static bool on_form(const struct lexical_form *f, const chunk_no *chunks, uint32_t n, void *ctx)
{
    struct looking *l = ctx;
    struct neighbour *c = known(l, f);
    if (c == NULL) {
        struct lexical_spelling have;
        struct neighbour fresh = {.f = *f};
        lexical_spell(f->form, &have);
        fresh.edits = lexical_form_apart(&l->word, f->form, f->stem, 2);
        fresh.other_start = first_of(&have) != first_of(&l->word);
        c = fresh.edits == 0 ? NULL : room_for(l, &fresh);
        if (c == NULL) {
            return true;
        }
        char *form = arena_strndup(l->a, f->form.ptr, f->form.len);
        char *stem = arena_strndup(l->a, f->stem.ptr, f->stem.len);
        l->failed = form == NULL || stem == NULL;
        if (l->failed) {
            return false;
        }
        *c = fresh;
        c->f = (struct lexical_form){{form, f->form.len}, {stem, f->stem.len}};
    }
    for (uint32_t i = 0; i < n && !c->visible; i++) {
        c->visible = lexical_allowed(&l->source->allowed, chunks[i]);
    }
    return true;
}

/* ---- does a visible chunk spell it so? ---- */

struct spelled {
    const struct lexical_form *f;
    bool is;
};

static bool on_token(const struct text_token *t, void *data)
{
    struct spelled *s = data;
    s->is = t->kind == TEXT_WORD && str_eq(t->norm, s->f->form) && str_eq(t->stem, s->f->stem);
    return !s->is;
}

static enum status text_has(struct looking *l, chunk_no n, struct neighbour *c, struct error *err)
{
    struct lexical_chunk chunk;
    struct spelled s = {.f = &c->f};
    enum status st = l->source->chunk(l->source->data, n, &chunk, err);
    if (st == STATUS_NOT_FOUND) {
        return STATUS_OK; /* deleted since */
    }
    if (st == STATUS_OK) {
        text_analyze(l->t, chunk.text, chunk.language, on_token, &s);
        if (!s.is) {
            text_analyze(l->t, chunk.title, chunk.language, on_token, &s);
        }
        c->visible = s.is;
    }
    l->texts--;
    return st;
}

/* The form's own chunks are others': a few visible ones of its stem are read. */
static enum status look_into_texts(struct looking *l, struct neighbour *c, struct error *err)
{
    enum status s = STATUS_OK;
    for (size_t part = 0; part < l->source->n_parts && s == STATUS_OK; part++) {
        struct lexical_list list;
        struct lexical_reader r = {0};
        struct lexical_postings p;
        s = l->source->list(l->source->data, part, c->f.stem, &list, err);
        if (s == STATUS_OK && list.df > 0) {
            s = lexical_list_open(&list, &r, err);
        }
        for (uint32_t b = 0; b < r.n_blocks && s == STATUS_OK; b++) {
            s = lexical_list_block(&r, b, &p, err);
            for (uint32_t i = 0; s == STATUS_OK && i < p.n; i++) {
                if (c->visible || l->texts == 0) {
                    return STATUS_OK;
                }
                if (lexical_allowed(&l->source->allowed, (uint64_t)list.base + p.chunk[i])) {
                    s = text_has(l, list.base + p.chunk[i], c, err);
                }
            }
        }
    }
    return s;
}

/* ---- the likeliest ---- */

static uint32_t rank(const struct neighbour *c)
{
    return c->edits + c->other_start;
}

static int by_rank(const void *x, const void *y)
{
    return (int)rank(x) - (int)rank(y);
}

static int by_likelihood(const void *x, const void *y)
{
    const struct neighbour *a = x;
    const struct neighbour *b = y;
    if (a->visible != b->visible) {
        return b->visible - a->visible;
    }
    return a->df != b->df ? (a->df < b->df) - (a->df > b->df) : str_compare(a->f.form, b->f.form);
}

static bool chosen_already(struct neighbour *const *best, size_t n, struct str stem)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq(best[i]->f.stem, stem)) {
            return true;
        }
    }
    return false;
}

/* Of equally near ones; how frequent the others are nobody has to know. */
static enum status choose_among(struct looking *l, struct neighbour *found, size_t n_found,
                                struct neighbour *best[LEXICAL_SIMILAR_MAX], size_t *n,
                                struct error *err)
{
    enum status s = STATUS_OK;
    for (size_t i = 0; i < n_found && s == STATUS_OK; i++) {
        s = lexical_df(l->source, found[i].f.stem, &found[i].df, err);
    }
    if (s == STATUS_OK) {
        qsort(found, n_found, sizeof *found, by_likelihood);
    }
    for (size_t i = 0; i < n_found && *n < LEXICAL_SIMILAR_MAX && s == STATUS_OK; i++) {
        struct neighbour *c = &found[i];
        if (c->df == 0 || (*n > 0 && c->edits != best[0]->edits) ||
            chosen_already(best, *n, c->f.stem)) {
            continue;
        }
        if (!c->visible && l->texts > 0) {
            s = look_into_texts(l, c, err);
        }
        if (s == STATUS_OK && c->visible) {
            best[(*n)++] = c;
        }
    }
    return s;
}

/* The best of the visible ones, of one number of edits. */
static enum status choose(struct looking *l, struct neighbour *best[LEXICAL_SIMILAR_MAX], size_t *n,
                          struct error *err)
{
    enum status s = STATUS_OK;
    if (l->n > 0) {
        qsort(l->found, l->n, sizeof *l->found, by_rank);
    }
    for (size_t i = 0, end; i < l->n && *n < LEXICAL_SIMILAR_MAX && s == STATUS_OK; i = end) {
        for (end = i; end < l->n && rank(&l->found[end]) == rank(&l->found[i]); end++) {
        }
        s = choose_among(l, l->found + i, end - i, best, n, err);
    }
    return s;
}

static enum status look(struct looking *l, struct str word, uint32_t max_edits,
                        struct neighbour *best[LEXICAL_SIMILAR_MAX], size_t *n, struct error *err)
{
    l->n = 0;
    enum status s = l->source->similar(l->source->data, word, max_edits, on_form, l, err);
    if (s == STATUS_OK && l->failed) {
        s = error_set(err, STATUS_NO_MEMORY, "search: out of memory");
    }
    return s == STATUS_OK ? choose(l, best, n, err) : s;
}

/* Two edits are much more work than one, and not wanted where one leads to a word. */
static enum status look_near_and_far(struct looking *l, const struct lexical_group *g,
                                     struct neighbour *best[LEXICAL_SIMILAR_MAX], size_t *n,
                                     struct error *err)
{
    lexical_spell(g->word, &l->word);
    if (l->word.n < LEXICAL_FORM_POINTS || g->word.len > LEXICAL_FORM_BYTES) {
        return STATUS_OK;
    }
    l->found = arena_array(l->a, LOOKED_AT_MAX, sizeof(*l->found));
    if (l->found == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "search: out of memory");
    }
    enum status s = look(l, g->word, 1, best, n, err);
    if (s == STATUS_OK && *n == 0 && l->word.n >= TWO_EDITS_FROM) {
        s = look(l, g->word, 2, best, n, err);
    }
    return s;
}

enum status lexical_find_similar(struct text_analyzer *t, const struct lexical_source *source,
                                 struct lexical_plan *p, struct lexical_group *g, struct arena *a,
                                 struct error *err)
{
    struct neighbour *best[LEXICAL_SIMILAR_MAX];
    size_t n = 0;
    struct looking l = {.source = source, .t = t, .a = a, .texts = TEXTS_MAX};
    if (source->similar == NULL || p->n_similar == WORDS_MAX) {
        return STATUS_OK;
    }
    if (p->similar == NULL) {
        p->similar = arena_array(a, WORDS_MAX, sizeof(*p->similar));
        if (p->similar == NULL) {
            return error_set(err, STATUS_NO_MEMORY, "search: out of memory");
        }
    }
    enum status s = look_near_and_far(&l, g, best, &n, err);
    if (s != STATUS_OK || n == 0) {
        return s;
    }
    struct lexical_similar *out = &p->similar[p->n_similar++];
    *out = (struct lexical_similar){.word = g->word};
    for (size_t i = 0; i < n; i++) {
        out->tried[out->n_tried++] = best[i]->f.form;
        if (g->n_variants == LEXICAL_MAX_VARIANTS) {
            g->n_variants--; /* its own stems are in no chunk */
        }
        g->variants[g->n_variants] = best[i]->f.stem;
        g->variant_df[g->n_variants++] = best[i]->df;
        g->df += best[i]->df;
    }
    g->weight *= best[0]->edits == 1 ? LEXICAL_ONE_EDIT_WEIGHT : LEXICAL_TWO_EDITS_WEIGHT;
    return STATUS_OK;
}
