/* Candidates by words: term at a time, the words with most to give first.
 *
 * While a chunk that has none of the words read so far could still enter the best `limit`, every
 * posting opens a score (phase "open"). Once what the remaining words can add at most is less than
 * the limit-th best score, no new chunk can enter: the scores become a sorted list of candidates,
 * those that cannot enter any more are dropped, and the remaining, frequent words only add to
 * candidates, skipping whole blocks between them. The result is that of scoring every match. */
#include <stdlib.h>

#include "vectorstore/lexical_internal.h"

#define PAGE_BITS 12
#define PAGE_CHUNKS (1U << PAGE_BITS)
#define PAGES ((UINT32_MAX >> PAGE_BITS) + 1)
#define REJECTED (-1.F)
/* Sums in different order differ in their last bits. */
#define SLACK .9999F

struct contribution {
    chunk_no chunk;
    float score;
};

struct contributions {
    struct contribution *items;
    size_t n, cap;
};

struct match {
    const struct lexical_source *source;
    const struct lexical_plan *plan;
    uint32_t limit;
    /* phase "open": scores by chunk, in pages; 0: untouched */
    float **pages;
    size_t n_pages;
    /* afterwards: candidates by chunk */
    struct lexical_candidate *candidates;
    size_t n_candidates;
    bool narrowed;
    uint32_t matched;
    /* one word's postings: of all variants so far, of the one being read, merged */
    struct contributions list, fresh, merged;
    float weight; /* of the word: weight * idf * (k1 + 1) */
    float norm_base, norm_slope;
    size_t next; /* candidate reached while reading a list */
    struct lexical_candidate *heap;
    enum status status;
    struct error *err;
};

static bool reserve(struct match *m, struct contributions *c, size_t more)
{
    if (c->n + more <= c->cap) {
        return true;
    }
    size_t cap = c->cap == 0 ? 4096 : c->cap;
    while (cap < c->n + more) {
        cap *= 2;
    }
    struct contribution *items = realloc(c->items, cap * sizeof(*items));
    if (items == NULL) {
        m->status = error_set(m->err, STATUS_NO_MEMORY, "search: out of memory");
        return false;
    }
    c->items = items;
    c->cap = cap;
    return true;
}

static inline float contribution(const struct match *m, const struct lexical_add *p)
{
    float tf = m->plan->plain
                   ? (float)p->tf_text + (float)p->tf_title
                   : (float)p->tf_text + (float)LEXICAL_TITLE_WEIGHT * (float)p->tf_title;
    float length = (float)(m->plan->plain ? p->plain_length : p->length);
    return m->weight * tf / (tf + m->norm_base + m->norm_slope * length);
}

static bool on_block(struct str bytes, void *ctx)
{
    struct match *m = ctx;
    struct lexical_block b;
    struct lexical_cursor c;
    struct lexical_add p;
    if (m->source->cancelled != NULL && *m->source->cancelled) {
        m->status = error_set(m->err, STATUS_CANCELLED, "search: the caller went away");
        return false;
    }
    m->status = lexical_block_open(bytes, &b, m->err);
    if (m->status != STATUS_OK) {
        return false;
    }
    if (m->narrowed) {
        while (m->next < m->n_candidates && m->candidates[m->next].chunk < b.first) {
            m->next++;
        }
        if (m->next == m->n_candidates) {
            return false; /* the rest of the list has no candidate */
        }
        if (m->candidates[m->next].chunk > b.last) {
            return true;
        }
    }
    if (!reserve(m, &m->fresh, b.count)) {
        return false;
    }
    struct contribution *out = m->fresh.items + m->fresh.n;
    lexical_cursor_init(&c, &b);
    if (!m->narrowed) {
        while (lexical_cursor_next(&c, &p)) {
            *out++ = (struct contribution){p.chunk, contribution(m, &p)};
        }
    } else {
        const struct lexical_candidate *at = m->candidates + m->next;
        const struct lexical_candidate *end = m->candidates + m->n_candidates;
        while (lexical_cursor_next(&c, &p)) {
            while (at < end && at->chunk < p.chunk) {
                at++;
            }
            if (at == end) {
                break;
            }
            if (at->chunk == p.chunk) {
                *out++ = (struct contribution){p.chunk, contribution(m, &p)};
            }
        }
        m->next = (size_t)(at - m->candidates);
    }
    m->fresh.n = (size_t)(out - m->fresh.items);
    if (c.bad) {
        m->status = error_set(m->err, STATUS_CORRUPT,
                              "posting block from %u to %u: damaged postings", b.first, b.last);
        return false;
    }
    return true;
}

/* list := list and fresh, the larger score where both have a chunk. */
static bool merge_variant(struct match *m)
{
    if (m->list.n == 0) {
        struct contributions t = m->list;
        m->list = m->fresh;
        m->fresh = t;
        m->fresh.n = 0;
        return true;
    }
    if (m->fresh.n == 0) {
        return true;
    }
    m->merged.n = 0;
    if (!reserve(m, &m->merged, m->list.n + m->fresh.n)) {
        return false;
    }
    size_t i = 0, j = 0;
    struct contribution *out = m->merged.items;
    while (i < m->list.n || j < m->fresh.n) {
        const struct contribution *x = i < m->list.n ? &m->list.items[i] : NULL;
        const struct contribution *y = j < m->fresh.n ? &m->fresh.items[j] : NULL;
        if (y == NULL || (x != NULL && x->chunk < y->chunk)) {
            *out++ = *x;
            i++;
        } else if (x == NULL || y->chunk < x->chunk) {
            *out++ = *y;
            j++;
        } else {
            *out++ = x->score >= y->score ? *x : *y;
            i++;
            j++;
        }
    }
    m->merged.n = (size_t)(out - m->merged.items);
    struct contributions t = m->list;
    m->list = m->merged;
    m->merged = t;
    m->fresh.n = 0;
    return true;
}

/* Reads a word's postings, of all its variants, into m->list. */
static enum status read_group(struct match *m, const struct lexical_group *g)
{
    m->weight = g->bound;
    m->list.n = 0;
    for (uint32_t v = 0; v < g->n_variants; v++) {
        if (g->variant_df[v] == 0) {
            continue;
        }
        m->fresh.n = 0;
        m->next = 0;
        m->status = STATUS_OK;
        enum status s = m->source->blocks(m->source->data, g->variants[v], on_block, m, m->err);
        if (m->status != STATUS_OK) { /* on_block stopped it */
            return m->status;
        }
        if (s != STATUS_OK) {
            return s;
        }
        if (!merge_variant(m)) {
            return m->status;
        }
    }
    return STATUS_OK;
}

static enum status open_scores(struct match *m, struct arena *a)
{
    float *page = NULL;
    size_t page_no = SIZE_MAX;
    for (size_t i = 0; i < m->list.n; i++) {
        chunk_no chunk = m->list.items[i].chunk;
        if (chunk >> PAGE_BITS != page_no) {
            page_no = chunk >> PAGE_BITS;
            if (page_no >= m->n_pages) {
                size_t n = m->n_pages == 0 ? 256 : m->n_pages;
                while (n <= page_no) {
                    n *= 2;
                }
                float **pages = arena_array(a, n, sizeof(*pages));
                if (pages == NULL) {
                    return error_set(m->err, STATUS_NO_MEMORY, "search: out of memory");
                }
                if (m->n_pages > 0) {
                    memcpy(pages, m->pages, m->n_pages * sizeof(*pages));
                }
                m->pages = pages;
                m->n_pages = n;
            }
            if (m->pages[page_no] == NULL) {
                m->pages[page_no] = arena_array(a, PAGE_CHUNKS, sizeof(float));
                if (m->pages[page_no] == NULL) {
                    return error_set(m->err, STATUS_NO_MEMORY, "search: out of memory");
                }
            }
            page = m->pages[page_no];
        }
        float *score = &page[chunk & (PAGE_CHUNKS - 1)];
        if (*score > 0) {
            *score += m->list.items[i].score;
        } else if (*score == 0) {
            bool allowed = m->source->allowed(m->source->data, chunk);
            *score = allowed ? m->list.items[i].score : REJECTED;
            m->matched += allowed;
        }
    }
    return STATUS_OK;
}

static void add_to_candidates(struct match *m)
{
    size_t at = 0;
    for (size_t i = 0; i < m->list.n; i++) {
        while (m->candidates[at].chunk < m->list.items[i].chunk) {
            at++;
        }
        m->candidates[at].score += m->list.items[i].score;
    }
}

/* Higher score first; then the lower number. */
static inline bool better(struct lexical_candidate x, struct lexical_candidate y)
{
    return x.score > y.score || (x.score >= y.score && x.chunk < y.chunk);
}

static void sift_down(struct lexical_candidate *h, size_t n, size_t i)
{
    for (;;) { /* the worst at the root */
        size_t worst = i, l = 2 * i + 1;
        if (l < n && better(h[worst], h[l])) {
            worst = l;
        }
        if (l + 1 < n && better(h[worst], h[l + 1])) {
            worst = l + 1;
        }
        if (worst == i) {
            return;
        }
        struct lexical_candidate t = h[i];
        h[i] = h[worst];
        h[worst] = t;
        i = worst;
    }
}

static inline void offer(struct match *m, size_t *n, struct lexical_candidate c)
{
    if (*n < m->limit) {
        size_t i = (*n)++;
        m->heap[i] = c;
        while (i > 0 && better(m->heap[(i - 1) / 2], m->heap[i])) {
            struct lexical_candidate t = m->heap[i];
            m->heap[i] = m->heap[(i - 1) / 2];
            m->heap[(i - 1) / 2] = t;
            i = (i - 1) / 2;
        }
    } else if (better(c, m->heap[0])) {
        m->heap[0] = c;
        sift_down(m->heap, *n, 0);
    }
}

/* The best `limit` so far into m->heap (worst first); returns how many. */
static size_t best(struct match *m)
{
    size_t n = 0;
    if (m->narrowed) {
        for (size_t i = 0; i < m->n_candidates; i++) {
            offer(m, &n, m->candidates[i]);
        }
        return n;
    }
    for (size_t p = 0; p < m->n_pages; p++) {
        for (uint32_t i = 0; m->pages[p] != NULL && i < PAGE_CHUNKS; i++) {
            float score = m->pages[p][i];
            if (score > 0 && (n < m->limit || score >= m->heap[0].score)) {
                offer(m, &n, (struct lexical_candidate){(chunk_no)(p << PAGE_BITS | i), score});
            }
        }
    }
    return n;
}

/* Drops what cannot enter the best any more; opens no further scores once none could. */
static enum status narrow(struct match *m, float remaining, float done)
{
    if (remaining >= done) {
        return STATUS_OK; /* cannot be yet: spare the look */
    }
    size_t n = best(m);
    if (n < m->limit || remaining >= m->heap[0].score * SLACK) {
        return STATUS_OK;
    }
    float least = m->heap[0].score * SLACK - remaining;
    size_t kept = 0;
    if (m->narrowed) {
        for (size_t i = 0; i < m->n_candidates; i++) {
            if (m->candidates[i].score >= least) {
                m->candidates[kept++] = m->candidates[i];
            }
        }
        m->n_candidates = kept;
        return STATUS_OK;
    }
    m->candidates = malloc((size_t)m->matched * sizeof(*m->candidates));
    if (m->candidates == NULL) {
        return error_set(m->err, STATUS_NO_MEMORY, "search: out of memory");
    }
    for (size_t p = 0; p < m->n_pages; p++) {
        for (uint32_t i = 0; m->pages[p] != NULL && i < PAGE_CHUNKS; i++) {
            float score = m->pages[p][i];
            if (score > 0 && score >= least) {
                m->candidates[kept++] =
                    (struct lexical_candidate){(chunk_no)(p << PAGE_BITS | i), score};
            }
        }
    }
    m->n_candidates = kept;
    m->narrowed = true;
    return STATUS_OK;
}

static int by_bound(const void *x, const void *y)
{
    const struct lexical_group *const *a = x, *const *b = y;
    if ((*a)->bound > (*b)->bound || (*a)->bound < (*b)->bound) {
        return (*a)->bound > (*b)->bound ? -1 : 1;
    }
    return (*a < *b) ? -1 : 1;
}

static int by_rank(const void *x, const void *y)
{
    const struct lexical_candidate *a = x, *b = y;
    return better(*a, *b) ? -1 : 1;
}

enum status lexical_match(const struct lexical_source *source, const struct lexical_plan *p,
                          uint32_t limit, struct arena *a, struct lexical_candidate **out,
                          size_t *n_out, uint32_t *matched, struct error *err)
{
    enum status s = STATUS_OK;
    const struct lexical_group *order[LEXICAL_MAX_GROUPS];
    size_t n = 0;
    float remaining = 0, done = 0;
    struct match m = {.source = source,
                      .plan = p,
                      .limit = limit,
                      .err = err,
                      .norm_base = LEXICAL_K1 * (1 - LEXICAL_B),
                      .norm_slope = LEXICAL_K1 * LEXICAL_B / p->average_length,
                      .heap = arena_array(a, limit, sizeof(struct lexical_candidate))};
    if (m.heap == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "search: out of memory");
    }
    for (size_t i = 0; i < p->n_groups; i++) {
        if (p->groups[i].df > 0) {
            order[n++] = &p->groups[i];
            remaining += p->groups[i].bound;
        }
    }
    qsort(order, n, sizeof(order[0]), by_bound);
    for (size_t i = 0; i < n && s == STATUS_OK; i++) {
        s = read_group(&m, order[i]);
        if (s != STATUS_OK) {
            break;
        }
        if (m.narrowed) {
            add_to_candidates(&m);
        } else {
            s = open_scores(&m, a);
        }
        remaining -= order[i]->bound;
        done += order[i]->bound;
        if (s == STATUS_OK && i + 1 < n) {
            s = narrow(&m, remaining > 0 ? remaining : 0, done);
        }
    }
    if (s == STATUS_OK) {
        *n_out = best(&m);
        qsort(m.heap, *n_out, sizeof(m.heap[0]), by_rank);
        *out = m.heap;
        *matched = m.matched;
    }
    free(m.list.items);
    free(m.fresh.items);
    free(m.merged.items);
    free(m.candidates);
    return s;
}
