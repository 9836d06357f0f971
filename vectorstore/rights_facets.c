/* Counting documents by what they are. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vectorstore/rights_internal.h"

#define YEARS 10000
#define FACETS_ARENA ((size_t)64 * 1024 * 1024)
#define DAY_MS INT64_C(86400000)

struct counting {
    uint32_t *words[RK_KINDS];
    uint32_t *years;
    uint32_t documents;
};

/* The year of a time, by Hinnant's days-to-civil algorithm; -1 outside of 0 to 9999. */
static int year_of(int64_t ms)
{
    int64_t days = ms / DAY_MS - (ms % DAY_MS < 0 ? 1 : 0) + 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t doe = days - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t year = yoe + era * 400 + ((5 * doy + 2) / 153 >= 10 ? 1 : 0);
    return year < 0 || year >= YEARS ? -1 : (int)year;
}

static int by_count(const void *x, const void *y)
{
    const Vs__FacetCount *a = *(Vs__FacetCount *const *)x;
    const Vs__FacetCount *b = *(Vs__FacetCount *const *)y;
    if (a->documents != b->documents) {
        return a->documents > b->documents ? -1 : 1;
    }
    return strcmp(a->value, b->value);
}

struct listing {
    struct arena *a;
    uint32_t limit;
    Vs__FacetCount **list;
    size_t n, cap;
};

static enum status listing_begin(struct listing *l, size_t cap, struct error *err)
{
    l->n = 0;
    l->cap = cap;
    l->list = arena_array(l->a, cap + 1, sizeof *l->list);
    return l->list == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory") : STATUS_OK;
}

static enum status listing_add(struct listing *l, struct str value, uint32_t documents,
                               struct error *err)
{
    if (documents == 0 || l->n == l->cap) {
        return STATUS_OK;
    }
    Vs__FacetCount *m = arena_alloc(l->a, sizeof *m);
    char *copy = arena_strndup(l->a, value.ptr, value.len);
    if (m == NULL || copy == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "too many different values to count");
    }
    vs__facet_count__init(m);
    m->value = copy;
    m->documents = documents;
    l->list[l->n++] = m;
    return STATUS_OK;
}

static void listing_end(struct listing *l, size_t *n, Vs__FacetCount ***out)
{
    qsort(l->list, l->n, sizeof *l->list, by_count);
    *n = l->n < l->limit ? l->n : l->limit;
    *out = l->list;
}

static enum status list_words(struct listing *l, const struct words *w, const uint32_t *counts,
                              size_t *n, Vs__FacetCount ***out, struct error *err)
{
    enum status st = listing_begin(l, w->n, err);
    for (uint32_t i = 0; i < w->n && st == STATUS_OK; i++) {
        st = listing_add(l, w->list[i], counts[i], err);
    }
    if (st == STATUS_OK) {
        listing_end(l, n, out);
    }
    return st;
}

/* Sets of tags, or of authors, were counted; here each one gets the counts of its sets. */
static enum status list_sets(struct listing *l, const struct words *w, char end,
                             const uint32_t *counts, size_t *n, Vs__FacetCount ***out,
                             struct error *err)
{
    struct map sums;
    size_t pos = 0;
    struct str name;
    void *value;
    map_init(&sums);
    enum status st = STATUS_OK;
    for (uint32_t i = 0; i < w->n && st == STATUS_OK; i++) {
        struct str left = w->list[i];
        while (counts[i] > 0 && left.len > 0 && st == STATUS_OK) {
            const char *at = memchr(left.ptr, end, left.len);
            size_t len = at == NULL ? left.len : (size_t)(at - left.ptr);
            name = str_trim((struct str){.ptr = left.ptr, .len = len});
            uintptr_t sum = (uintptr_t)map_get(&sums, name) + counts[i];
            if (name.len > 0 && map_put(&sums, name, (void *)sum, NULL) != STATUS_OK) {
                st = error_set(err, STATUS_NO_MEMORY, "out of memory");
            }
            len += len < left.len ? 1 : 0;
            left.ptr += len;
            left.len -= len;
        }
    }
    if (st == STATUS_OK) {
        st = listing_begin(l, sums.len, err);
    }
    while (st == STATUS_OK && map_next(&sums, &pos, &name, &value)) {
        st = listing_add(l, name, (uint32_t)(uintptr_t)value, err);
    }
    if (st == STATUS_OK) {
        listing_end(l, n, out);
    }
    map_deinit(&sums);
    return st;
}

static enum status list_years(struct listing *l, const uint32_t *counts, size_t *n,
                              Vs__FacetCount ***out, struct error *err)
{
    size_t distinct = 0;
    for (size_t i = 0; i < YEARS; i++) {
        distinct += counts[i] > 0 ? 1 : 0;
    }
    enum status st = listing_begin(l, distinct, err);
    for (int i = 0; i < YEARS && st == STATUS_OK; i++) {
        char year[12];
        (void)snprintf(year, sizeof year, "%04d", i);
        st = listing_add(l, str_from(year), counts[i], err);
    }
    if (st == STATUS_OK) {
        listing_end(l, n, out);
    }
    return st;
}

static enum status count(const struct rights *r, const struct rules *rules, struct arena *a,
                         struct counting *c, struct error *err)
{
    c->years = arena_array(a, YEARS, sizeof *c->years);
    bool whole = c->years != NULL;
    for (size_t k = 0; k < RK_KINDS; k++) {
        c->words[k] = arena_array(a, (size_t)r->words[k].n + 1, sizeof *c->words[k]);
        whole = whole && c->words[k] != NULL;
    }
    if (!whole) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    memset(c->years, 0, YEARS * sizeof *c->years);
    for (size_t k = 0; k < RK_KINDS; k++) {
        memset(c->words[k], 0, ((size_t)r->words[k].n + 1) * sizeof *c->words[k]);
    }
    for (uint32_t i = 0; i < r->n_rows; i++) { /* a document has one place at a time */
        const struct row *row = &r->rows[i];
        if (rules_pass(r, rules, row)) {
            int year = year_of(row->date_ms);
            c->documents++;
            for (size_t k = 0; k < RK_KINDS; k++) {
                c->words[k][row->word[k]]++;
            }
            if (year >= 0) {
                c->years[year]++;
            }
        }
    }
    return STATUS_OK;
}

enum status rights_facets(struct rights *r, struct catalogue *c,
                          const struct catalogue_state *state, const struct caller *caller,
                          const Vs__Filter *filter, uint32_t limit, struct arena *a,
                          Vs__FacetsReply *out, struct error *err)
{
    struct arena work;
    struct rules rules;
    struct counting n = {0};
    enum status st = rights_lock(r, c, state, err);
    if (st != STATUS_OK) {
        return st;
    }
    arena_init(&work, FACETS_ARENA);
    struct listing l = {.a = a, .limit = limit};
    const struct words *w = r->words;
    st = rules_make(r, caller, filter, true, &work, &rules, err);
    if (st == STATUS_OK) {
        st = count(r, &rules, &work, &n, err);
    }
    if (st == STATUS_OK) {
        out->documents = n.documents;
        st = list_words(&l, &w[RK_COLLECTION], n.words[RK_COLLECTION], &out->n_collections,
                        &out->collections, err);
    }
    if (st == STATUS_OK) {
        st = list_words(&l, &w[RK_LABEL], n.words[RK_LABEL], &out->n_labels, &out->labels, err);
    }
    if (st == STATUS_OK) {
        st = list_sets(&l, &w[RK_TAGS], '\0', n.words[RK_TAGS], &out->n_tags, &out->tags, err);
    }
    if (st == STATUS_OK) {
        st = list_sets(&l, &w[RK_AUTHOR], ';', n.words[RK_AUTHOR], &out->n_authors, &out->authors,
                       err);
    }
    if (st == STATUS_OK) {
        st = list_words(&l, &w[RK_LANGUAGE], n.words[RK_LANGUAGE], &out->n_languages,
                        &out->languages, err);
    }
    if (st == STATUS_OK) {
        st = list_words(&l, &w[RK_FORMAT], n.words[RK_FORMAT], &out->n_formats, &out->formats, err);
    }
    if (st == STATUS_OK) {
        st = list_years(&l, n.years, &out->n_years, &out->years, err);
    }
    (void)pthread_rwlock_unlock(&r->lock);
    arena_reset(&work);
    return st;
}
