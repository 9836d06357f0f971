/* What a typed query demands of a passage: words that must be there (of quoted phrases, of
 * "title:"), words that must not. Postings tell who has the words; only the order of a phrase's
 * words needs the texts, and those of the best candidates are read for it. */
#include <stdlib.h>

#include "base/map.h"
#include "vectorstore/lexical_internal.h"

#define PHRASE_WORDS 32U /* longer phrases are checked by their first words; a power of two */
#define SPELLED (PHRASE_WORDS - 1)

struct lexical_phrase {
    uint64_t norms[PHRASE_WORDS]; /* hashes of the words as spelled */
    uint32_t n;
    bool excluded;
};

struct chunks { /* ascending, each once */
    chunk_no *items;
    size_t n, cap;
};

struct demanding {
    const struct lexical_source *source;
    struct chunks fresh; /* the list being read */
    bool in_title;
    enum status status;
    struct error *err;
};

bool lexical_demands(const struct lexical_query *q)
{
    return q->n_phrases > 0 || q->n_excluded > 0 || q->n_in_title > 0;
}

/* ---- lists of chunks ---- */

static bool push(struct demanding *d, struct chunks *c, chunk_no chunk)
{
    if (c->n == c->cap) {
        size_t cap = c->cap == 0 ? 1024 : c->cap * 2;
        chunk_no *items = realloc(c->items, cap * sizeof(*items));
        if (items == NULL) {
            d->status = error_set(d->err, STATUS_NO_MEMORY, "search: out of memory");
            return false;
        }
        c->items = items;
        c->cap = cap;
    }
    c->items[c->n++] = chunk;
    return true;
}

static enum status read_list(struct demanding *d, const struct lexical_list *list)
{
    struct lexical_reader r;
    struct lexical_postings p;
    enum status s = lexical_list_open(list, &r, d->err);
    for (uint32_t b = 0; s == STATUS_OK && b < r.n_blocks; b++) {
        if (d->source->cancelled != NULL && *d->source->cancelled) {
            return error_set(d->err, STATUS_CANCELLED, "search: the caller went away");
        }
        s = lexical_list_block(&r, b, &p, d->err);
        for (uint32_t i = 0; s == STATUS_OK && i < p.n; i++) {
            if ((!d->in_title || p.tf_title[i] > 0) &&
                !push(d, &d->fresh, list->base + p.chunk[i])) {
                return d->status;
            }
        }
    }
    return s;
}

static int by_number(const void *x, const void *y)
{
    chunk_no a = *(const chunk_no *)x, b = *(const chunk_no *)y;
    return a < b ? -1 : a > b;
}

static void sort_unique(struct chunks *c)
{
    size_t n = 0;
    if (c->n > 1) {
        qsort(c->items, c->n, sizeof(chunk_no), by_number);
    }
    for (size_t i = 0; i < c->n; i++) {
        if (n == 0 || c->items[n - 1] != c->items[i]) {
            c->items[n++] = c->items[i];
        }
    }
    c->n = n;
}

/* The chunks that have the word in any of its forms, into d->fresh. */
static enum status read_word(struct demanding *d, const struct lexical_word *w)
{
    d->fresh.n = 0;
    for (size_t part = 0; part < d->source->n_parts; part++) {
        for (uint32_t v = 0; v < w->n_variants; v++) {
            struct lexical_list list = {.df = 0};
            enum status s =
                d->source->list(d->source->data, part, w->variants[v], &list, d->err);
            if (s == STATUS_OK && list.df > 0) {
                s = read_list(d, &list);
            }
            if (s != STATUS_OK) {
                return s;
            }
        }
    }
    sort_unique(&d->fresh);
    return STATUS_OK;
}

static void intersect(struct chunks *into, const struct chunks *with)
{
    size_t n = 0, k = 0;
    for (size_t i = 0; i < into->n; i++) {
        while (k < with->n && with->items[k] < into->items[i]) {
            k++;
        }
        if (k < with->n && with->items[k] == into->items[i]) {
            into->items[n++] = into->items[i];
        }
    }
    into->n = n;
}

/* ---- words and phrases ---- */

static bool stands_in_index(const struct lexical_word *w)
{
    return w->n_variants > 0 && !text_is_whole(w->kind) && (w->kind != TEXT_CJK_SINGLE || w->alone);
}

/* A phrase is spelled by words and single characters; bigrams and whole codes repeat those. */
static bool is_spelled(enum text_kind k)
{
    return k == TEXT_WORD || k == TEXT_CJK_SINGLE;
}

/* The words side by side, as the text is walked later. */
static void phrase_of(const struct lexical_word *words, size_t n, bool excluded,
                      struct lexical_phrase *out)
{
    *out = (struct lexical_phrase){.excluded = excluded};
    for (size_t i = 0; i < n && out->n < PHRASE_WORDS; i++) {
        if (is_spelled(words[i].kind)) {
            out->norms[out->n++] = hash64(words[i].norm.ptr, words[i].norm.len);
        }
    }
}

/* Narrows `required` to chunks that have every word. Function words are in nearly all: they are
 * left to the check of the order, when there are others. */
static enum status require(struct demanding *d, const struct lexical_word *words, size_t n,
                           struct chunks *required, bool *any)
{
    bool content = false;
    enum status s = STATUS_OK;
    for (size_t i = 0; i < n; i++) {
        content = content || (stands_in_index(&words[i]) && !words[i].function_word);
    }
    for (size_t i = 0; i < n && s == STATUS_OK; i++) {
        if (!stands_in_index(&words[i]) || (content && words[i].function_word)) {
            continue;
        }
        s = read_word(d, &words[i]);
        if (s != STATUS_OK) {
            break;
        }
        if (*any) {
            intersect(required, &d->fresh);
        } else {
            struct chunks t = *required;
            *required = d->fresh;
            d->fresh = t;
            *any = true;
        }
    }
    return s;
}

/* A single word or code excludes by its postings; several are a phrase. */
static enum status exclude(struct demanding *d, struct str text, const struct lexical_word *words,
                           size_t n, struct chunks *excluded, bool *is_phrase)
{
    size_t spelled = 0, wholes = 0;
    enum status s = STATUS_OK;
    for (size_t i = 0; i < n; i++) {
        spelled += is_spelled(words[i].kind);
        wholes += text_is_whole(words[i].kind);
    }
    bool one = wholes == 1 && memchr(text.ptr, ' ', text.len) == NULL;
    *is_phrase = spelled > 1 && !one;
    for (size_t i = 0; i < n && !*is_phrase && s == STATUS_OK; i++) {
        if (one && !text_is_whole(words[i].kind)) {
            continue;
        }
        s = read_word(d, &words[i]);
        for (size_t k = 0; k < d->fresh.n && s == STATUS_OK; k++) {
            if (!push(d, excluded, d->fresh.items[k])) {
                s = d->status;
            }
        }
    }
    return s;
}

/* ---- the narrowed source ---- */

/* What `from` allows and has (NULL: whatever it has) the words required and none of those excluded. */
static enum status narrow(const struct lexical_allowed *from, const struct chunks *required,
                          const struct chunks *excluded, struct arena *a,
                          struct lexical_allowed *out, struct error *err)
{
    size_t words = (size_t)(from->limit / 64) + 1;
    uint64_t *bits = arena_array(a, words, sizeof *bits);
    if (bits == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "search: out of memory");
    }
    if (required == NULL && from->limit > 0) {
        memcpy(bits, from->bits, (size_t)(from->limit + 63) / 64 * sizeof *bits);
    }
    for (size_t i = 0; required != NULL && i < required->n; i++) {
        chunk_no n = required->items[i];
        if (lexical_allowed(from, n)) {
            bits[n / 64] |= (uint64_t)1 << (n % 64);
        }
    }
    for (size_t i = 0; i < excluded->n; i++) {
        chunk_no n = excluded->items[i];
        if (n < from->limit) {
            bits[n / 64] &= ~((uint64_t)1 << (n % 64));
        }
    }
    *out = (struct lexical_allowed){.bits = bits, .limit = from->limit};
    return STATUS_OK;
}

enum kind {
    PHRASES,
    TITLES,
    EXCLUDED,
};

/* All demands of one kind. */
static enum status read_demands(struct text_analyzer *t, struct demanding *d, enum kind kind,
                                const struct str *texts, size_t n, struct arena *a,
                                struct chunks *required, bool *any, struct chunks *excluded,
                                struct lexical_demand *out)
{
    enum status s = STATUS_OK;
    for (size_t i = 0; i < n && i < LEXICAL_DEMANDS && s == STATUS_OK; i++) {
        struct lexical_word *words = NULL;
        size_t n_words = 0;
        bool phrase = kind == PHRASES;
        s = lexical_words(t, d->source, texts[i], a, &words, &n_words, d->err);
        if (s == STATUS_OK && kind == EXCLUDED) {
            s = exclude(d, texts[i], words, n_words, excluded, &phrase);
        } else if (s == STATUS_OK) {
            d->in_title = kind == TITLES;
            s = require(d, words, n_words, required, any);
            d->in_title = false;
        }
        if (s == STATUS_OK && phrase && n_words > 0) {
            phrase_of(words, n_words, kind == EXCLUDED, &out->phrases[out->n_phrases++]);
        }
    }
    return s;
}

enum status lexical_demand_make(struct text_analyzer *t, const struct lexical_source *source,
                                const struct lexical_query *q, struct arena *a,
                                struct lexical_demand *out, struct lexical_source *narrowed,
                                struct error *err)
{
    struct demanding d = {.source = source, .err = err};
    struct chunks required = {0}, excluded = {0};
    bool any = false;
    *out = (struct lexical_demand){
        .inner = source,
        .phrases = arena_array(a, (size_t)2 * LEXICAL_DEMANDS, sizeof(struct lexical_phrase))};
    enum status s = out->phrases == NULL ? error_set(err, STATUS_NO_MEMORY, "search: out of memory")
                                         : STATUS_OK;
    if (s == STATUS_OK) {
        s = read_demands(t, &d, PHRASES, q->phrases, q->n_phrases, a, &required, &any, &excluded,
                         out);
    }
    if (s == STATUS_OK) {
        s = read_demands(t, &d, TITLES, q->in_title, q->n_in_title, a, &required, &any, &excluded,
                         out);
    }
    if (s == STATUS_OK) {
        s = read_demands(t, &d, EXCLUDED, q->excluded, q->n_excluded, a, &required, &any, &excluded,
                         out);
    }
    if (s == STATUS_OK) {
        *narrowed = *source;
        s = narrow(&source->allowed, any ? &required : NULL, &excluded, a, &narrowed->allowed, err);
    }
    free(d.fresh.items);
    free(required.items);
    free(excluded.items);
    return s;
}

/* ---- the order of a phrase's words ---- */

struct walk {
    const struct lexical_demand *d;
    uint64_t last[PHRASE_WORDS];
    uint32_t n;
    uint32_t met; /* a bit for each phrase */
};

static bool on_token(const struct text_token *t, void *data)
{
    struct walk *w = data;
    if (!is_spelled(t->kind)) {
        return true;
    }
    w->last[w->n++ & SPELLED] = hash64(t->norm.ptr, t->norm.len);
    for (size_t i = 0; i < w->d->n_phrases; i++) {
        const struct lexical_phrase *p = &w->d->phrases[i];
        uint32_t k = 0;
        while (k < p->n && p->n <= w->n && w->last[(w->n - p->n + k) & SPELLED] == p->norms[k]) {
            k++;
        }
        if (k == p->n && k > 0) {
            w->met |= 1U << i;
        }
    }
    return true;
}

static bool meets(struct text_analyzer *t, const struct lexical_demand *d,
                  const struct lexical_chunk *c)
{
    struct walk w = {.d = d};
    text_analyze(t, c->text, c->language, on_token, &w);
    w.n = 0; /* no phrase runs from the text into the title */
    text_analyze(t, c->title, c->language, on_token, &w);
    for (size_t i = 0; i < d->n_phrases; i++) {
        if (((w.met >> i & 1) != 0) == d->phrases[i].excluded) {
            return false;
        }
    }
    return true;
}

enum status lexical_demand_keep(struct text_analyzer *t, const struct lexical_demand *d,
                                struct lexical_candidate *c, size_t *n, uint32_t limit,
                                struct error *err)
{
    size_t kept = 0;
    for (size_t i = 0; i < *n && kept < limit; i++) {
        struct lexical_chunk chunk;
        if (d->inner->cancelled != NULL && *d->inner->cancelled) {
            return error_set(err, STATUS_CANCELLED, "search: the caller went away");
        }
        enum status s = d->inner->chunk(d->inner->data, c[i].chunk, &chunk, err);
        if (s != STATUS_OK && s != STATUS_NOT_FOUND) {
            return s;
        }
        if (s == STATUS_OK && meets(t, d, &chunk)) {
            c[kept++] = c[i];
        }
    }
    *n = kept;
    return STATUS_OK;
}
