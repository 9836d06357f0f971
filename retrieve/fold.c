#include "retrieve/fold.h"

#include <stdlib.h>

#define COMPARED_MAX 64
#define SHINGLE_WORDS 4
/* Passages are a few hundred words; what is longer counts by its beginning. */
#define SHINGLES_MAX 2048

struct shingles {
    uint64_t *items; /* sorted, each once */
    size_t n;
};

struct collect {
    uint64_t words[SHINGLE_WORDS];
    size_t n_words;
    uint64_t items[SHINGLES_MAX];
    size_t n;
};

static uint64_t mix(uint64_t h, uint64_t w)
{
    h = (h ^ w) * 0x9E3779B97F4A7C15U;
    return h ^ h >> 32;
}

static uint64_t last_words(const struct collect *c, size_t n)
{
    uint64_t h = 0;
    for (size_t i = c->n_words - n; i < c->n_words; i++) {
        h = mix(h, c->words[i % SHINGLE_WORDS]);
    }
    return h;
}

static bool on_token(const struct text_token *t, void *data)
{
    struct collect *c = data;
    if (t->kind == TEXT_CJK_BIGRAM || text_is_whole(t->kind)) {
        return true; /* its characters, its parts are words here */
    }
    uint64_t h = 0xcbf29ce484222325U;
    for (size_t i = 0; i < t->norm.len; i++) {
        h = (h ^ (unsigned char)t->norm.ptr[i]) * 0x100000001b3U;
    }
    c->words[c->n_words++ % SHINGLE_WORDS] = h;
    if (c->n_words >= SHINGLE_WORDS) {
        c->items[c->n++] = last_words(c, SHINGLE_WORDS);
    }
    return c->n < SHINGLES_MAX;
}

static int by_value(const void *x, const void *y)
{
    uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;
    return a < b ? -1 : a > b;
}

static enum status shingles_of(struct text_analyzer *t, struct str text, struct collect *c,
                               struct arena *a, struct shingles *out, struct error *err)
{
    c->n = c->n_words = 0;
    text_analyze(t, text, "", on_token, c);
    if (c->n == 0 && c->n_words > 0) {
        c->items[c->n++] = last_words(c, c->n_words);
    }
    qsort(c->items, c->n, sizeof(c->items[0]), by_value);
    out->items = arena_array(a, c->n + 1, sizeof(*out->items));
    if (out->items == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "folding near-duplicates: out of memory");
    }
    out->n = 0;
    for (size_t i = 0; i < c->n; i++) {
        if (i == 0 || c->items[i] != c->items[i - 1]) {
            out->items[out->n++] = c->items[i];
        }
    }
    return STATUS_OK;
}

static bool near_duplicate(const struct shingles *x, const struct shingles *y)
{
    size_t small = x->n < y->n ? x->n : y->n, large = x->n < y->n ? y->n : x->n;
    if (small == 0 || small * 2 < large) {
        return false;
    }
    size_t i = 0, j = 0, common = 0;
    while (i < x->n && j < y->n) {
        if (x->items[i] == y->items[j]) {
            common++;
            i++;
            j++;
        } else if (x->items[i] < y->items[j]) {
            i++;
        } else {
            j++;
        }
    }
    return common * 10 >= small * 9;
}

enum status fold(struct text_analyzer *t, const struct str *texts, size_t n, struct arena *a,
                 uint32_t *into, struct error *err)
{
    enum status s = STATUS_OK;
    uint32_t stay[COMPARED_MAX];
    size_t n_stay = 0;
    struct shingles *all = arena_array(a, n + 1, sizeof(*all));
    struct collect *c = arena_alloc(a, sizeof(*c));
    if (all == NULL || c == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "folding near-duplicates: out of memory");
    }
    for (uint32_t i = 0; i < n && s == STATUS_OK; i++) {
        s = shingles_of(t, texts[i], c, a, &all[i], err);
        into[i] = i;
        for (size_t k = 0; k < n_stay && s == STATUS_OK; k++) {
            if (near_duplicate(&all[stay[k]], &all[i])) {
                into[i] = stay[k];
                break;
            }
        }
        if (into[i] == i && n_stay < COMPARED_MAX) {
            stay[n_stay++] = i;
        }
    }
    return s;
}
