/* A heap of joinable neighbours, each with the sizes its two sides had when it was found: a pair
 * whose sides have changed since is passed over when it comes up. n log n in the length of the
 * word. */
#include <stdlib.h>

#include "model/tokenizer_internal.h"

struct merge_symbol {
    const char *at;
    uint32_t len;      /* 0: joined to its left neighbour */
    uint32_t previous; /* TOKEN_NONE: none */
    uint32_t next;
};

struct merge_pair {
    double cost;
    uint32_t left, right;
    uint32_t left_len, right_len;
};

void merger_deinit(struct merger *m)
{
    free(m->symbols);
    free(m->heap);
    *m = (struct merger){0};
}

static bool before(const struct merge_pair *a, const struct merge_pair *b)
{
    return a->cost < b->cost || (a->cost <= b->cost && a->left < b->left);
}

static bool heap_push(struct merger *m, struct merge_pair p)
{
    if (m->n_heap == m->cap_heap) {
        size_t cap = m->cap_heap == 0 ? 64 : m->cap_heap * 2;
        struct merge_pair *grown = realloc(m->heap, cap * sizeof *grown);
        if (grown == NULL) {
            return false;
        }
        m->heap = grown;
        m->cap_heap = cap;
    }
    size_t i = m->n_heap++;
    for (; i > 0 && before(&p, &m->heap[(i - 1) / 2]); i = (i - 1) / 2) {
        m->heap[i] = m->heap[(i - 1) / 2];
    }
    m->heap[i] = p;
    return true;
}

static struct merge_pair heap_pop(struct merger *m)
{
    struct merge_pair top = m->heap[0];
    struct merge_pair last = m->heap[--m->n_heap];
    size_t i = 0;
    for (size_t child = 1; child < m->n_heap; child = 2 * i + 1) {
        if (child + 1 < m->n_heap && before(&m->heap[child + 1], &m->heap[child])) {
            child++;
        }
        if (!before(&m->heap[child], &last)) {
            break;
        }
        m->heap[i] = m->heap[child];
        i = child;
    }
    m->heap[i] = last;
    return top;
}

static bool offer(struct merger *m, const struct tokenizer *t, merge_cost cost, uint32_t left,
                  uint32_t right)
{
    if (left == TOKEN_NONE || right == TOKEN_NONE) {
        return true;
    }
    const struct merge_symbol *l = &m->symbols[left];
    const struct merge_symbol *r = &m->symbols[right];
    struct merge_pair p = {.left = left, .right = right, .left_len = l->len, .right_len = r->len};
    if (!cost(t, (struct str){l->at, l->len}, (struct str){r->at, r->len}, &p.cost)) {
        return true;
    }
    return heap_push(m, p);
}

static enum status cut(struct merger *m, struct str word, uint32_t *n, struct error *err)
{
    if (word.len > m->cap_symbols) {
        struct merge_symbol *grown = realloc(m->symbols, word.len * sizeof *grown);
        if (grown == NULL) {
            return error_set(err, STATUS_NO_MEMORY, "tokenizing: out of memory");
        }
        m->symbols = grown;
        m->cap_symbols = word.len;
    }
    uint32_t k = 0;
    for (size_t at = 0; at < word.len; k++) {
        size_t len = char_bytes(word.ptr[at]);
        len = len > word.len - at ? word.len - at : len;
        m->symbols[k] = (struct merge_symbol){.at = word.ptr + at,
                                              .len = (uint32_t)len,
                                              .previous = k == 0 ? TOKEN_NONE : k - 1,
                                              .next = at + len == word.len ? TOKEN_NONE : k + 1};
        at += len;
    }
    *n = k;
    return STATUS_OK;
}

enum status merger_run(struct merger *m, const struct tokenizer *t, struct str word,
                       merge_cost cost, bool (*visit)(struct str piece, void *data), void *data,
                       struct error *err)
{
    uint32_t n = 0;
    enum status s = cut(m, word, &n, err);
    if (s != STATUS_OK || n == 0) {
        return s;
    }
    bool ok = true;
    m->n_heap = 0;
    for (uint32_t i = 1; i < n && ok; i++) {
        ok = offer(m, t, cost, i - 1, i);
    }
    while (ok && m->n_heap > 0) {
        struct merge_pair p = heap_pop(m);
        struct merge_symbol *l = &m->symbols[p.left];
        struct merge_symbol *r = &m->symbols[p.right];
        if (l->len != p.left_len || r->len != p.right_len) {
            continue;
        }
        l->len += r->len;
        r->len = 0;
        l->next = r->next;
        if (r->next != TOKEN_NONE) {
            m->symbols[r->next].previous = p.left;
        }
        ok = offer(m, t, cost, l->previous, p.left) && offer(m, t, cost, p.left, l->next);
    }
    if (!ok) {
        return error_set(err, STATUS_NO_MEMORY, "tokenizing: out of memory");
    }
    for (uint32_t i = 0; i != TOKEN_NONE; i = m->symbols[i].next) {
        if (!visit((struct str){m->symbols[i].at, m->symbols[i].len}, data)) {
            break;
        }
    }
    return STATUS_OK;
}
