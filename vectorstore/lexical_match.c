/* Candidates by words: part after part, and within a part in windows of chunk numbers, by block-max
 * MaxScore (Turtle and Flood, Query evaluation, 1995; Ding and Suel, 2011; windows as in Lucene's
 * bulk scorer).
 *
 * In each window the words' block heads bound what each word can add there. While the words with
 * the least to give cannot together lift a chunk over the limit-th best score so far, they are not
 * read: the others are summed into an array over the window, and only chunks that could still enter
 * are looked up in the rest. A window in which all words together are not enough is passed over
 * unread.
 *
 * Scores are summed as integers, so that the sum does not depend on the order: the result is that
 * of scoring every match, ties and all. */
#include <stdlib.h>

#include "vectorstore/lexical_internal.h"

#define WINDOW 2048U /* a multiple of 64 */
#define SCALE 65536.F
#define SUM_MAX 1073741824.F /* sums stay below it, bounds below twice that */

enum status lexical_df(const struct lexical_source *source, struct str term, uint64_t *df,
                       struct error *err)
{
    enum status s = STATUS_OK;
    uint64_t n = 0;
    bool any = false;
    for (size_t i = 0; i < source->n_parts && s == STATUS_OK; i++) {
        struct lexical_list list = {.df = 0};
        s = source->list(source->data, i, term, &list, err);
        n += s == STATUS_OK ? list.df : 0;
        if (s == STATUS_OK && list.df > 0 && !any) {
            s = lexical_list_any(&list, &source->allowed, &any, err);
        }
    }
    *df = any ? n : 0;
    return s;
}

/* One variant's list in the part. */
struct cursor {
    struct lexical_list list;
    struct lexical_reader r;
    uint32_t *bounds; /* of each block */
    uint32_t at;      /* the first block that reaches into the window */
    uint32_t near;    /* of a list with one block: its first posting from there on */
    uint32_t window_bound;
    uint32_t lookup; /* block and place reached by looking up candidates */
    uint32_t place;
    uint32_t unpacked; /* block in p; UINT32_MAX: none */
    struct lexical_postings p;
    uint32_t score[LEXICAL_BLOCK];
};

struct group {
    const struct lexical_group *g;
    float weight; /* scaled: weight * idf * (k1 + 1) */
    struct cursor **cursors;
    uint32_t n_cursors;
    uint32_t bound; /* in the window */
};

struct match {
    const struct lexical_source *source;
    const struct lexical_plan *plan;
    uint32_t limit;
    float scale, norm_base, norm_slope;
    struct group *groups;
    size_t n_groups;
    struct group **order; /* by bound in the window, least first */
    /* the part */
    const struct lexical_length *lengths;
    uint32_t n_lengths;
    chunk_no base;
    struct cursor **free;
    size_t n_free, n_cursors;
    /* the best, the worst first */
    struct lexical_tally *heap;
    size_t n_heap;
    /* the window */
    uint32_t sums[WINDOW], one[WINDOW];
    uint32_t chunk[WINDOW]; /* candidates */
    uint32_t score[WINDOW];
    struct error *err;
};

/* ---- the best ---- */

/* Higher score first; then the lower number. */
static inline bool better(struct lexical_tally x, struct lexical_tally y)
{
    return x.score > y.score || (x.score == y.score && x.chunk < y.chunk);
}

static void sift_down(struct lexical_tally *h, size_t n, size_t i)
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
        struct lexical_tally t = h[i];
        h[i] = h[worst];
        h[worst] = t;
        i = worst;
    }
}

static void offer(struct match *m, struct lexical_tally c)
{
    if (m->n_heap < m->limit) {
        size_t i = m->n_heap++;
        m->heap[i] = c;
        while (i > 0 && better(m->heap[(i - 1) / 2], m->heap[i])) {
            struct lexical_tally t = m->heap[i];
            m->heap[i] = m->heap[(i - 1) / 2];
            m->heap[(i - 1) / 2] = t;
            i = (i - 1) / 2;
        }
    } else if (better(c, m->heap[0])) {
        m->heap[0] = c;
        sift_down(m->heap, m->n_heap, 0);
    }
}

/* What a chunk must have more than: chunks come in ascending order, so that one as good as the
 * worst loses. */
static inline uint32_t threshold(const struct match *m)
{
    return m->n_heap < m->limit ? 0 : m->heap[0].score;
}

/* ---- lists ---- */

static inline uint32_t impact(const struct match *m, float weight, float tf, float length)
{
    return (uint32_t)(weight * tf / (tf + m->norm_base + m->norm_slope * length));
}

static uint32_t head_bound(const struct match *m, float weight, const struct lexical_head *h)
{
    static const uint16_t most[LEXICAL_TF_CLASSES] = {1, 2, 4, UINT16_MAX};
    uint32_t bound = 0;
    if (m->plan->plain) { /* other tf and lengths, neither longer nor more */
        return impact(m, weight, (float)h->max_tf, 0) + 1;
    }
    for (size_t i = 0; i < LEXICAL_TF_CLASSES; i++) {
        if (h->shortest[i] != LEXICAL_NO_LENGTH) {
            uint16_t tf = h->max_tf < most[i] ? h->max_tf : most[i];
            uint32_t b = impact(m, weight, (float)tf, (float)h->shortest[i]);
            bound = b > bound ? b : bound;
        }
    }
    return bound + 1; /* rounding */
}

static enum status unpack(struct match *m, struct cursor *c, float weight, uint32_t block)
{
    float norm[LEXICAL_BLOCK] = {0};
    float tf[LEXICAL_BLOCK];
    if (c->unpacked == block) {
        return STATUS_OK;
    }
    c->unpacked = UINT32_MAX;
    enum status s = lexical_list_block(&c->r, block, &c->p, m->err);
    if (s != STATUS_OK) {
        return s;
    }
    const struct lexical_length *lengths = m->lengths;
    uint32_t n = c->p.n;
    /* whole blocks, so that the loops become vector code; what is past n is not looked at */
    float title = m->plan->plain ? 1.F : (float)LEXICAL_TITLE_WEIGHT;
    for (uint32_t i = 0; i < n; i++) {
        const struct lexical_length *l = &lengths[c->p.chunk[i]];
        norm[i] = (float)(m->plan->plain ? l->plain : l->length);
    }
    for (uint32_t i = 0; i < LEXICAL_BLOCK; i++) {
        tf[i] = (float)c->p.tf_text[i] + title * (float)c->p.tf_title[i];
    }
    for (uint32_t i = 0; i < LEXICAL_BLOCK; i++) {
        c->score[i] = impact(m, weight, tf[i], norm[i]);
    }
    c->unpacked = block;
    return STATUS_OK;
}

static struct cursor *cursor_take(struct match *m, uint32_t blocks)
{
    struct cursor *c = m->n_free > 0 ? m->free[--m->n_free] : calloc(1, sizeof *c);
    if (c == NULL) {
        return NULL;
    }
    uint32_t *bounds = realloc(c->bounds, blocks * sizeof *bounds);
    if (bounds == NULL) {
        m->free[m->n_free++] = c;
        return NULL;
    }
    c->bounds = bounds;
    c->at = c->near = c->lookup = c->place = 0;
    c->unpacked = UINT32_MAX;
    return c;
}

static enum status open_list(struct match *m, struct group *g, const struct lexical_list *list)
{
    struct lexical_reader r;
    enum status s = lexical_list_open(list, &r, m->err);
    if (s != STATUS_OK) {
        return s;
    }
    struct cursor *c = cursor_take(m, r.n_blocks);
    if (c == NULL) {
        return error_set(m->err, STATUS_NO_MEMORY, "search: out of memory");
    }
    g->cursors[g->n_cursors++] = c;
    c->list = *list;
    c->r = r;
    c->r.list = &c->list;
    m->lengths = list->lengths;
    m->n_lengths = list->n_lengths;
    m->base = list->base;
    if (r.n_blocks == 1) { /* no head: its best posting is the bound */
        s = unpack(m, c, g->weight, 0);
        c->bounds[0] = 0;
        for (uint32_t i = 0; s == STATUS_OK && i < c->p.n; i++) {
            c->bounds[0] = c->score[i] > c->bounds[0] ? c->score[i] : c->bounds[0];
        }
        return s;
    }
    for (uint32_t i = 0; i < r.n_blocks; i++) {
        struct lexical_head h = lexical_list_head(&c->r, i);
        c->bounds[i] = head_bound(m, g->weight, &h);
    }
    return STATUS_OK;
}

static void close_lists(struct match *m)
{
    for (size_t i = 0; i < m->n_groups; i++) {
        struct group *g = &m->groups[i];
        while (g->n_cursors > 0) {
            m->free[m->n_free++] = g->cursors[--g->n_cursors];
        }
    }
}

static enum status open_part(struct match *m, size_t part)
{
    enum status s = STATUS_OK;
    for (size_t i = 0; i < m->n_groups && s == STATUS_OK; i++) {
        struct group *g = &m->groups[i];
        for (uint32_t v = 0; v < g->g->n_variants && s == STATUS_OK; v++) {
            struct lexical_list list = {.df = 0};
            if (g->g->variant_df[v] > 0) {
                s = m->source->list(m->source->data, part, g->g->variants[v], &list, m->err);
            }
            if (s == STATUS_OK && list.df > 0) {
                s = open_list(m, g, &list);
            }
        }
    }
    return s;
}

/* ---- a window: chunks from..to-1 of the part ---- */

/* The bound of what the cursor's list can add in the window. */
static uint32_t reach(struct cursor *c, uint32_t from, uint32_t to)
{
    if (c->r.n_blocks == 1) { /* stays unpacked */
        while (c->near < c->p.n && c->p.chunk[c->near] < from) {
            c->near++;
        }
        c->at = c->near == c->p.n ? 1 : 0;
        c->window_bound = c->at == 0 && c->p.chunk[c->near] < to ? c->bounds[0] : 0;
        return c->window_bound;
    }
    while (c->at < c->r.n_blocks && lexical_list_head(&c->r, c->at).last < from) {
        c->at++;
    }
    uint32_t bound = 0;
    for (uint32_t b = c->at; b < c->r.n_blocks; b++) {
        if (b > 0 && lexical_list_head(&c->r, b - 1).last + 1 >= to) {
            break;
        }
        bound = c->bounds[b] > bound ? c->bounds[b] : bound;
    }
    c->window_bound = bound;
    return bound;
}

/* Adds the cursor's postings in the window to sums, or where `most`, leaves the larger of both
 * there. */
static enum status add(struct match *m, const struct group *g, struct cursor *c, uint32_t from,
                       uint32_t to, uint32_t *sums, bool most)
{
    enum status s = STATUS_OK;
    for (uint32_t b = c->at; b < c->r.n_blocks && s == STATUS_OK; b++) {
        if (b > 0 && lexical_list_head(&c->r, b - 1).last + 1 >= to) {
            break;
        }
        s = unpack(m, c, g->weight, b);
        uint32_t i = 0;
        uint32_t n = s == STATUS_OK ? c->p.n : 0;
        while (i < n && c->p.chunk[i] < from) {
            i++;
        }
        if (n > 0 && c->p.chunk[n - 1] >= to) {
            while (n > i && c->p.chunk[n - 1] >= to) {
                n--;
            }
        }
        if (most) {
            for (; i < n; i++) {
                uint32_t *sum = &sums[c->p.chunk[i] - from];
                *sum = c->score[i] > *sum ? c->score[i] : *sum;
            }
        } else {
            for (; i < n; i++) {
                sums[c->p.chunk[i] - from] += c->score[i];
            }
        }
    }
    return s;
}

static enum status add_group(struct match *m, struct group *g, uint32_t from, uint32_t to)
{
    enum status s = STATUS_OK;
    struct cursor *only = NULL;
    uint32_t active = 0;
    for (uint32_t i = 0; i < g->n_cursors; i++) {
        if (g->cursors[i]->window_bound > 0) {
            only = g->cursors[i];
            active++;
        }
    }
    if (active == 1) {
        return add(m, g, only, from, to, m->sums, false);
    }
    memset(m->one, 0, (to - from) * sizeof m->one[0]);
    for (uint32_t i = 0; i < g->n_cursors && s == STATUS_OK; i++) {
        if (g->cursors[i]->window_bound > 0) {
            s = add(m, g, g->cursors[i], from, to, m->one, true);
        }
    }
    for (uint32_t i = 0; i < to - from && s == STATUS_OK; i++) {
        m->sums[i] += m->one[i];
    }
    return s;
}

static bool any_above(const uint32_t *sums, uint64_t least)
{
    uint32_t than = (uint32_t)least; /* sums stay below 2^32, and so does what they must pass */
    uint32_t any = 0;
    for (size_t i = 0; i < 64; i++) {
        any |= sums[i] > than;
    }
    return any != 0;
}

/* Chunks of the window whose sum is above `least`, and that are allowed. */
static uint32_t gather(struct match *m, uint32_t from, uint32_t to, uint64_t least)
{
    uint32_t n = 0;
    uint64_t first = (uint64_t)m->base + from;
    for (uint32_t i = 0; i < to - from;) {
        uint64_t number = first + i;
        uint64_t left = to - from - i;
        uint64_t here = 64 - number % 64;
        here = here < left ? here : left;
        if (number >= m->source->allowed.limit) {
            break;
        }
        uint64_t bits = m->source->allowed.bits[number / 64] >> (number % 64);
        bits = here == 64 && !any_above(m->sums + i, least) ? 0 : bits;
        for (uint32_t k = 0; bits != 0 && k < here; k++, bits >>= 1) {
            if ((bits & 1) != 0 && m->sums[i + k] > least &&
                number + k < m->source->allowed.limit) {
                m->chunk[n] = from + i + k;
                m->score[n++] = m->sums[i + k];
            }
        }
        i += (uint32_t)here;
    }
    return n;
}

/* What the cursor's list has for the chunk; chunks come in ascending order. */
static enum status look_up(struct match *m, const struct group *g, struct cursor *c, uint32_t chunk,
                           uint32_t *score)
{
    *score = 0;
    if (c->lookup < c->at) {
        c->lookup = c->at;
        c->place = 0;
    }
    while (c->lookup < c->r.n_blocks && lexical_list_head(&c->r, c->lookup).last < chunk) {
        c->lookup++;
        c->place = 0;
    }
    if (c->lookup == c->r.n_blocks ||
        (c->lookup > 0 && lexical_list_head(&c->r, c->lookup - 1).last >= chunk)) {
        return STATUS_OK;
    }
    if (c->unpacked != c->lookup) {
        c->place = 0;
    }
    enum status s = unpack(m, c, g->weight, c->lookup);
    if (s == STATUS_OK) {
        while (c->place < c->p.n && c->p.chunk[c->place] < chunk) {
            c->place++;
        }
        if (c->place < c->p.n && c->p.chunk[c->place] == chunk) {
            *score = c->score[c->place];
        }
    }
    return s;
}

/* Adds the groups order[0..n-1], the most giving first, to the candidates, dropping those that
 * cannot enter. */
static enum status complete(struct match *m, size_t n, uint32_t candidates, uint64_t rest)
{
    enum status s = STATUS_OK;
    while (n > 0 && candidates > 0 && s == STATUS_OK) {
        struct group *g = m->order[--n];
        uint32_t kept = 0;
        rest -= g->bound;
        for (uint32_t i = 0; i < g->n_cursors; i++) {
            g->cursors[i]->place = 0;
            g->cursors[i]->lookup = 0;
        }
        for (uint32_t i = 0; i < candidates && s == STATUS_OK; i++) {
            uint32_t most = 0;
            for (uint32_t k = 0; k < g->n_cursors && s == STATUS_OK; k++) {
                uint32_t score = 0;
                if (g->cursors[k]->window_bound > 0) {
                    s = look_up(m, g, g->cursors[k], m->chunk[i], &score);
                }
                most = score > most ? score : most;
            }
            uint32_t sum = m->score[i] + most;
            if (sum + rest > threshold(m)) {
                m->chunk[kept] = m->chunk[i];
                m->score[kept++] = sum;
            }
        }
        candidates = kept;
    }
    for (uint32_t i = 0; i < candidates && s == STATUS_OK; i++) {
        offer(m, (struct lexical_tally){m->base + m->chunk[i], m->score[i]});
    }
    return s;
}

static int by_bound(const void *x, const void *y)
{
    const struct group *const *a = x, *const *b = y;
    return ((*a)->bound > (*b)->bound) - ((*a)->bound < (*b)->bound);
}

static enum status score_window(struct match *m, uint32_t from, uint32_t to)
{
    enum status s = STATUS_OK;
    uint64_t all = 0, rest = 0;
    size_t n = 0, optional = 0;
    for (size_t i = 0; i < m->n_groups; i++) {
        struct group *g = &m->groups[i];
        g->bound = 0;
        for (uint32_t k = 0; k < g->n_cursors; k++) {
            uint32_t bound = reach(g->cursors[k], from, to);
            g->bound = bound > g->bound ? bound : g->bound;
        }
        if (g->bound > 0) {
            m->order[n++] = g;
            all += g->bound;
        }
    }
    if (n == 0 || all <= threshold(m)) {
        return STATUS_OK;
    }
    qsort(m->order, n, sizeof m->order[0], by_bound);
    while (optional < n && rest + m->order[optional]->bound <= threshold(m)) {
        rest += m->order[optional++]->bound;
    }
    memset(m->sums, 0, (to - from) * sizeof m->sums[0]);
    for (size_t i = optional; i < n && s == STATUS_OK; i++) {
        s = add_group(m, m->order[i], from, to);
    }
    if (s == STATUS_OK) {
        uint64_t least = threshold(m) > rest ? threshold(m) - rest : 0;
        s = complete(m, optional, gather(m, from, to, least), rest);
    }
    return s;
}

static bool none_allowed(const struct match *m, uint64_t first, uint64_t past)
{
    const struct lexical_allowed *a = &m->source->allowed;
    past = past < a->limit ? past : a->limit;
    for (uint64_t w = first / 64; w * 64 < past; w++) {
        if (a->bits[w] != 0) {
            return false;
        }
    }
    return true;
}

/* The first chunk from `from` on that a block may have; n_lengths: none. */
static uint32_t next_start(struct match *m, uint32_t from)
{
    uint32_t next = m->n_lengths;
    for (size_t i = 0; i < m->n_groups; i++) {
        for (uint32_t k = 0; k < m->groups[i].n_cursors; k++) {
            struct cursor *c = m->groups[i].cursors[k];
            (void)reach(c, from, from);
            if (c->at < c->r.n_blocks) {
                uint32_t start = c->r.n_blocks == 1 ? c->p.chunk[c->near]
                                 : c->at == 0       ? 0
                                                    : lexical_list_head(&c->r, c->at - 1).last + 1;
                start = start < from ? from : start;
                next = start < next ? start : next;
            }
        }
    }
    return next;
}

static enum status score_part(struct match *m)
{
    enum status s = STATUS_OK;
    uint32_t from = 0;
    while (s == STATUS_OK && (from = next_start(m, from)) < m->n_lengths) {
        if (m->source->cancelled != NULL && *m->source->cancelled) {
            return error_set(m->err, STATUS_CANCELLED, "search: the caller went away");
        }
        uint64_t first = (uint64_t)m->base + from;
        uint64_t past =
            (first / WINDOW + 1) * WINDOW; /* so that windows lie alike whatever the part */
        uint64_t end = (uint64_t)m->base + m->n_lengths;
        past = past < end ? past : end;
        uint32_t to = (uint32_t)(past - m->base);
        if (first >= m->source->allowed.limit) {
            break;
        }
        if (!none_allowed(m, first, past)) {
            s = score_window(m, from, to);
        }
        from = to;
    }
    return s;
}

/* ---- all ---- */

static int by_rank(const void *x, const void *y)
{
    const struct lexical_tally *a = x, *b = y;
    return better(*a, *b) ? -1 : 1;
}

static enum status prepare(struct match *m, struct arena *a)
{
    const struct lexical_plan *p = m->plan;
    size_t variants = 0;
    m->groups = arena_array(a, p->n_groups + 1, sizeof *m->groups);
    m->order = arena_array(a, p->n_groups + 1, sizeof(struct group *));
    m->heap = arena_array(a, (size_t)m->limit + 1, sizeof *m->heap);
    if (m->groups == NULL || m->order == NULL || m->heap == NULL) {
        return error_set(m->err, STATUS_NO_MEMORY, "search: out of memory");
    }
    float sum = 1;
    for (size_t i = 0; i < p->n_groups; i++) {
        sum += p->groups[i].bound;
    }
    m->scale = sum * SCALE < SUM_MAX ? SCALE : SUM_MAX / sum;
    for (size_t i = 0; i < p->n_groups; i++) {
        if (p->groups[i].df > 0) {
            struct group *g = &m->groups[m->n_groups++];
            *g = (struct group){.g = &p->groups[i], .weight = p->groups[i].bound * m->scale};
            g->cursors = arena_array(a, p->groups[i].n_variants + 1, sizeof(struct cursor *));
            variants += p->groups[i].n_variants;
            if (g->cursors == NULL) {
                return error_set(m->err, STATUS_NO_MEMORY, "search: out of memory");
            }
        }
    }
    m->free = arena_array(a, variants + 1, sizeof(struct cursor *));
    return m->free == NULL ? error_set(m->err, STATUS_NO_MEMORY, "search: out of memory")
                           : STATUS_OK;
}

enum status lexical_match(const struct lexical_source *source, const struct lexical_plan *p,
                          uint32_t limit, struct arena *a, struct lexical_candidate **out,
                          size_t *n_out, struct error *err)
{
    struct match *m = calloc(1, sizeof *m);
    if (m == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "search: out of memory");
    }
    m->source = source;
    m->plan = p;
    m->limit = limit;
    m->err = err;
    m->norm_base = LEXICAL_K1 * (1 - LEXICAL_B);
    m->norm_slope = LEXICAL_K1 * LEXICAL_B / p->average_length;
    enum status s = prepare(m, a);
    for (size_t i = 0; i < source->n_parts && s == STATUS_OK; i++) {
        m->n_lengths = 0;
        s = open_part(m, i);
        if (s == STATUS_OK) {
            s = score_part(m);
        }
        close_lists(m);
    }
    struct lexical_candidate *list =
        s == STATUS_OK ? arena_array(a, m->n_heap + 1, sizeof *list) : NULL;
    if (s == STATUS_OK && list == NULL) {
        s = error_set(err, STATUS_NO_MEMORY, "search: out of memory");
    }
    if (list != NULL) {
        qsort(m->heap, m->n_heap, sizeof m->heap[0], by_rank);
        for (size_t i = 0; i < m->n_heap; i++) {
            list[i] =
                (struct lexical_candidate){m->heap[i].chunk, (float)m->heap[i].score / m->scale};
        }
        *out = list;
        *n_out = m->n_heap;
    }
    for (size_t i = 0; i < m->n_free; i++) {
        free(m->free[i]->bounds);
        free(m->free[i]);
    }
    free(m);
    return s;
}
