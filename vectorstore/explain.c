/* store_explain: the same search again, in one snapshot, and then word by word what each of some
 * passages has of the question. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vectorstore/access.h"
#include "vectorstore/store_internal.h"

#define EXPLAINED_MAX 200U
#define DOCUMENT_CHUNKS 256U /* of the document asked about, looked at */

struct wanted {
    const Vs__ExplainRequest *m;
    const struct asker *who;
    chunk_no chunks[EXPLAINED_MAX + DOCUMENT_CHUNKS];
    size_t asked; /* of them; the rest are the document's */
    char content[ID_CAP];
    Vs__ExplainReply *out;
};

static enum status add_asked(struct wanted *w, struct reader *r, const struct visible *visible,
                             struct explaining *x, struct arena *a, struct error *err)
{
    for (size_t i = 0; i < w->m->n_chunks; i++) {
        struct str content;
        uint32_t ordinal = 0;
        struct content k;
        struct stored_chunk row;
        if (!chunk_id_parse(w->m->chunks[i], &content, &ordinal)) {
            return error_set(err, STATUS_INVALID, "explain: that is no passage's id");
        }
        enum status st = catalogue_content_by_id(r->db, content, a, &k, err);
        if (st == STATUS_OK) {
            st = catalogue_chunk_by_ordinal(r->db, k.pk, ordinal, a, &row, err);
        }
        if (st == STATUS_NOT_FOUND) {
            continue;
        }
        if (st != STATUS_OK) {
            return st;
        }
        if (visible_has(visible, row.no)) {
            w->chunks[x->n++] = row.no;
        }
    }
    w->asked = x->n;
    return STATUS_OK;
}

/* Each condition by itself, so that the answer names those that fail. */
static enum status add_conditions(struct wanted *w, const struct location *l,
                                  const struct content *k, struct arena *a, struct error *err)
{
    const Vs__Filter *f = w->m->text->filter;
    if (f == NULL) {
        return STATUS_OK;
    }
    enum { KINDS = 12 };
    Vs__Filter one[KINDS];
    const char *const names[KINDS] = {"collection", "label",    "tag",   "language",
                                      "format",     "document", "under", "from",
                                      "until",      "author",   "pages", "hash"};
    for (size_t i = 0; i < KINDS; i++) {
        vs__filter__init(&one[i]);
    }
    one[0].n_collections = f->n_collections;
    one[0].collections = f->collections;
    one[1].n_labels = f->n_labels;
    one[1].labels = f->labels;
    one[2].n_tags = f->n_tags;
    one[2].tags = f->tags;
    one[3].n_languages = f->n_languages;
    one[3].languages = f->languages;
    one[4].n_formats = f->n_formats;
    one[4].formats = f->formats;
    one[5].n_documents = f->n_documents;
    one[5].documents = f->documents;
    one[6].n_under = f->n_under;
    one[6].under = f->under;
    one[7].has_from_ms = f->has_from_ms;
    one[7].from_ms = f->from_ms;
    one[8].has_until_ms = f->has_until_ms;
    one[8].until_ms = f->until_ms;
    one[9].n_authors = f->n_authors;
    one[9].authors = f->authors;
    one[10].has_pages_from = f->has_pages_from;
    one[10].pages_from = f->pages_from;
    one[10].has_pages_to = f->has_pages_to;
    one[10].pages_to = f->pages_to;
    one[11].n_hashes = f->n_hashes;
    one[11].hashes = f->hashes;
    w->out->filtered = arena_array(a, KINDS, sizeof *w->out->filtered);
    for (size_t i = 0; i < KINDS; i++) {
        if (w->out->filtered == NULL) {
            return error_set(err, STATUS_NO_MEMORY, "out of memory");
        }
        if (!access_location(l, k, w->who->caller, &one[i])) {
            char *name = arena_strdup(a, names[i]);
            if (name == NULL) {
                return error_set(err, STATUS_NO_MEMORY, "out of memory");
            }
            w->out->filtered[w->out->n_filtered++] = name;
        }
    }
    return STATUS_OK;
}

struct gathering {
    struct wanted *w;
    struct explaining *x;
};

static enum status add_run(int64_t content, chunk_no first, chunk_no last, void *data,
                           struct error *err)
{
    (void)content;
    (void)err;
    struct gathering *g = data;
    for (uint64_t no = first; no <= last && g->x->n < g->w->asked + DOCUMENT_CHUNKS; no++) {
        g->w->chunks[g->x->n++] = (chunk_no)no;
    }
    return STATUS_OK;
}

static enum status add_document(struct wanted *w, struct reader *r, struct explaining *x,
                                struct arena *a, struct error *err)
{
    struct location l;
    struct content k;
    if (w->m->document == NULL) {
        return STATUS_OK;
    }
    const Vs__Filter *f = w->m->text->filter;
    const int64_t *as_of = f != NULL && f->has_as_of_ms ? &f->as_of_ms : NULL;
    w->out->has_known = 1;
    enum status st =
        document_find(x->store, r, x->state, w->who, w->m->document, as_of, a, &l, &k, err);
    if (st == STATUS_NOT_FOUND || st == STATUS_FORBIDDEN) {
        return STATUS_OK;
    }
    if (st != STATUS_OK) {
        return st;
    }
    struct gathering g = {.w = w, .x = x};
    w->out->known = 1;
    (void)snprintf(w->content, sizeof w->content, "%s", k.id);
    st = add_conditions(w, &l, &k, a, err);
    /* under the filter, words that only left-out documents have count for nothing */
    return st == STATUS_OK && w->out->n_filtered == 0
               ? catalogue_spans(r->db, k.pk, add_run, &g, err)
               : st;
}

static enum status choose(struct explaining *x, struct reader *r, const struct visible *visible,
                          struct arena *a, struct error *err)
{
    struct wanted *w = x->data;
    x->chunks = w->chunks;
    x->n = 0;
    enum status st = add_asked(w, r, visible, x, a, err);
    return st == STATUS_OK ? add_document(w, r, x, a, err) : st;
}

/* ---- the reply ---- */

static enum status make_uses(const struct lexical_detail *d, struct arena *a, Vs__Explained *out,
                             struct error *err)
{
    Vs__WordUse *all = arena_array(a, d->n_uses + 1, sizeof *all);
    out->uses = arena_array(a, d->n_uses + 1, sizeof *out->uses);
    if (all == NULL || out->uses == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < d->n_uses; i++) {
        const struct lexical_use *u = &d->uses[i];
        vs__word_use__init(&all[i]);
        all[i].word = arena_strndup(a, u->word.ptr, u->word.len);
        all[i].in_text = u->in_text;
        all[i].in_title = u->in_title;
        all[i].part = u->part;
        all[i].has_function_word = all[i].function_word = u->function_word;
        all[i].has_earlier = all[i].earlier = u->earlier;
        if (all[i].word == NULL) {
            return error_set(err, STATUS_NO_MEMORY, "out of memory");
        }
        out->uses[out->n_uses++] = &all[i];
    }
    return STATUS_OK;
}

static enum status make_explained(struct reader *r, const struct lexical_detail *d,
                                  const struct lexical_result *res, struct arena *a,
                                  Vs__Explained **out, struct error *err)
{
    Vs__Explained *e = arena_alloc(a, sizeof *e);
    char content[ID_CAP];
    uint32_t ordinal = 0;
    enum status st = e == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory")
                               : catalogue_chunk_name(r->db, d->chunk, content, &ordinal, err);
    if (st != STATUS_OK) {
        return st;
    }
    vs__explained__init(e);
    st = chunk_id_make(content, ordinal, a, &e->chunk, err);
    e->words = d->words;
    for (size_t i = 0; i < res->n_hits; i++) {
        const struct lexical_hit *h = &res->hits[i];
        if (h->chunk == d->chunk) {
            e->has_rank = e->has_score = e->has_sdm = e->has_char4 = 1;
            e->rank = (uint32_t)i + 1;
            e->score = h->score;
            e->words = h->words;
            e->sdm = h->sdm;
            e->char4 = h->char4;
        }
    }
    *out = e;
    return st == STATUS_OK ? make_uses(d, a, e, err) : st;
}

static size_t best_of(const struct explaining *x, size_t from)
{
    size_t best = from;
    for (size_t i = from; i < x->n; i++) {
        best = x->details[i].words > x->details[best].words ? i : best;
    }
    return best;
}

static enum status reply(struct explaining *x, struct reader *r, const struct lexical_result *res,
                         struct arena *a, struct error *err)
{
    struct wanted *w = x->data;
    Vs__ExplainReply *out = w->out;
    enum status st = STATUS_OK;
    out->candidates = (uint32_t)res->n_hits;
    for (size_t i = 0; i < res->n_hits; i++) {
        bool less = i == 0 || res->hits[i].words < out->last_words;
        out->last_words = less ? res->hits[i].words : out->last_words;
    }
    out->chunks = arena_array(a, w->asked + 1, sizeof *out->chunks);
    if (out->chunks == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < w->asked && st == STATUS_OK; i++) {
        st = make_explained(r, &x->details[i], res, a, &out->chunks[out->n_chunks], err);
        out->n_chunks += st == STATUS_OK;
    }
    if (st == STATUS_OK && x->n > w->asked) {
        st = make_explained(r, &x->details[best_of(x, w->asked)], res, a, &out->best, err);
    }
    return st;
}

enum status store_explain(struct store *s, const struct asker *who, const Vs__ExplainRequest *m,
                          struct arena *a, Vs__ExplainReply *out, struct error *err)
{
    vs__explain_reply__init(out);
    if (m->n_chunks > EXPLAINED_MAX) {
        return error_set(err, STATUS_INVALID, "explain: at most %u passages", EXPLAINED_MAX);
    }
    struct wanted *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    *w = (struct wanted){.m = m, .who = who, .out = out};
    struct explaining x = {.choose = choose, .reply = reply, .data = w};
    enum status st = store_search_explained(s, who, m->text, a, &x, err);
    free(w);
    return st;
}
