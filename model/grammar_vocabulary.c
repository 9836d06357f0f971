/* The vocabulary as a trie in one array, in the order of a walk: a subtree that is not wanted is
 * passed over by one step. */
#include "model/grammar_vocabulary.h"

#include <stdlib.h>

#define BYTES_MAX ((size_t)256 << 20)

static int by_bytes(const void *a, const void *b, void *data)
{
    const struct grammar_vocabulary *v = data;
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    struct str s = grammar_vocabulary_bytes(v, x);
    struct str t = grammar_vocabulary_bytes(v, y);
    int c = str_compare(s, t);
    return c != 0 ? c : (x > y) - (x < y);
}

static size_t common(struct str a, struct str b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    size_t i = 0;
    while (i < n && a.ptr[i] == b.ptr[i]) {
        i++;
    }
    return i;
}

/* order: tokens with bytes, sorted. Fills v->nodes; open[d] is the node at depth d of the path. */
static void grow(struct grammar_vocabulary *v, const uint32_t *order, uint32_t n, uint32_t *open)
{
    struct str last = {.ptr = "", .len = 0};
    size_t depth = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct str s = grammar_vocabulary_bytes(v, order[i]);
        size_t keep = common(last, s);
        while (depth > keep) {
            v->nodes[open[depth--]].end = v->n_nodes;
        }
        while (depth < s.len) {
            open[++depth] = v->n_nodes;
            v->nodes[v->n_nodes++] = (struct trie_node){
                .byte = (uint8_t)s.ptr[depth - 1], .depth = (uint16_t)depth, .token = TOKEN_NONE};
        }
        struct trie_node *at = &v->nodes[open[depth]];
        v->twin[order[i]] = at->token;
        at->token = order[i];
        last = s;
    }
    while (depth > 0) {
        v->nodes[open[depth--]].end = v->n_nodes;
    }
}

/* v has offsets and bytes. */
static enum status build(struct grammar_vocabulary *v, struct error *err)
{
    uint32_t *order = calloc((size_t)v->n + 1, sizeof *order);
    uint32_t n = 0;
    uint32_t *open = NULL;
    enum status s = STATUS_OK;
    for (uint32_t i = 0; order != NULL && i < v->n; i++) {
        size_t len = grammar_vocabulary_bytes(v, i).len;
        v->longest = len > v->longest ? (uint32_t)len : v->longest;
        if (len > 0) {
            order[n++] = i;
        }
    }
    if (v->longest > UINT16_MAX) {
        s = error_set(err, STATUS_UNSUPPORTED, "the vocabulary has a token of %u bytes",
                      v->longest);
        goto out;
    }
    v->nodes = malloc((v->offsets[v->n] + 1) * sizeof *v->nodes);
    open = calloc((size_t)v->longest + 1, sizeof *open);
    if (order == NULL || v->nodes == NULL || open == NULL) {
        s = error_set(err, STATUS_NO_MEMORY, "out of memory");
        goto out;
    }
    qsort_r(order, n, sizeof *order, by_bytes, v);
    grow(v, order, n, open);
    struct trie_node *fitted = realloc(v->nodes, ((size_t)v->n_nodes + 1) * sizeof *fitted);
    v->nodes = fitted == NULL ? v->nodes : fitted;
out:
    free(order);
    free(open);
    return s;
}

static struct grammar_vocabulary *begin(uint32_t n)
{
    struct grammar_vocabulary *v = calloc(1, sizeof *v);
    if (v != NULL) {
        v->n = n;
        v->offsets = calloc((size_t)n + 1, sizeof *v->offsets);
        v->twin = calloc((size_t)n + 1, sizeof *v->twin);
        v->ends = calloc((size_t)n + 1, sizeof *v->ends);
        if (v->offsets == NULL || v->twin == NULL || v->ends == NULL) {
            grammar_vocabulary_free(v);
            v = NULL;
        }
    }
    return v;
}

static enum status finish(struct grammar_vocabulary *v, struct buf *bytes,
                          struct grammar_vocabulary **out, struct error *err)
{
    enum status s = buf_status(bytes);
    if (s != STATUS_OK) {
        (void)error_set(err, s, "the vocabulary's tokens take too much memory");
    } else {
        v->bytes = bytes->len == 0 ? calloc(1, 1) : buf_take(bytes);
        s = build(v, err);
    }
    buf_deinit(bytes);
    if (s != STATUS_OK) {
        grammar_vocabulary_free(v);
        return s;
    }
    *out = v;
    return STATUS_OK;
}

enum status grammar_vocabulary_new(const struct tokenizer *t, struct grammar_vocabulary **out,
                                   struct error *err)
{
    struct grammar_vocabulary *v = begin(tokenizer_size(t));
    struct buf bytes;
    if (v == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    buf_init(&bytes, BYTES_MAX);
    for (uint32_t i = 0; i < v->n; i++) {
        v->offsets[i] = (uint32_t)bytes.len;
        v->ends[i] = tokenizer_is_end(t, i);
        if (!v->ends[i]) {
            tokenizer_piece(t, i, false, 0, &bytes);
        }
    }
    v->offsets[v->n] = (uint32_t)bytes.len;
    return finish(v, &bytes, out, err);
}

enum status grammar_vocabulary_of(const struct str *pieces, const bool *end, uint32_t n,
                                  struct grammar_vocabulary **out, struct error *err)
{
    struct grammar_vocabulary *v = begin(n);
    struct buf bytes;
    if (v == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    buf_init(&bytes, BYTES_MAX);
    for (uint32_t i = 0; i < n; i++) {
        v->offsets[i] = (uint32_t)bytes.len;
        v->ends[i] = end[i];
        if (!end[i]) {
            buf_str(&bytes, pieces[i]);
        }
    }
    v->offsets[n] = (uint32_t)bytes.len;
    return finish(v, &bytes, out, err);
}

void grammar_vocabulary_free(struct grammar_vocabulary *v)
{
    if (v != NULL) {
        free(v->offsets);
        free(v->bytes);
        free(v->twin);
        free(v->ends);
        free(v->nodes);
        free(v);
    }
}
