#include "ingest/ocr_merge.h"

#include <stdlib.h>
#include <string.h>

#include "ingest/legible.h"

#define EDGE_BYTES 120 /* running heads are short */
#define SURE 60.0F     /* confidence of a block that may take the place of exact text */
#define REPEATS 3      /* pages that say the same */

/* ---- running heads and feet: the same first or last words, numbers aside, on several pages ----
 */

struct edge {
    Ex__Block *block;
    char key[EDGE_BYTES + 1];
};

static bool edge_of(Ex__Block *b, struct edge *out)
{
    size_t n = 0;
    for (size_t i = 0; i < b->text.len; i++) {
        char c = (char)b->text.data[i];
        bool digit = c >= '0' && c <= '9';
        if ((digit && n > 0 && out->key[n - 1] == '#') || c == ' ') {
            continue; /* where a word ends is what recognition is least sure of */
        }
        if (n == EDGE_BYTES) {
            return false;
        }
        out->key[n++] = digit ? '#' : c;
    }
    out->key[n] = '\0';
    out->block = b;
    return n > 0;
}

static int by_key(const void *a, const void *b)
{
    const struct edge *x = a, *y = b;
    return strcmp(x->key, y->key);
}

static enum status find_furniture(const struct ocr_page_blocks *pages, size_t n_pages,
                                  struct arena *a, struct error *err)
{
    struct edge *edges = arena_array(a, 2 * n_pages + 1, sizeof *edges);
    if (edges == NULL) {
        return error_set(err, STATUS_TOO_LARGE, "it has too many pages for the memory allowed");
    }
    size_t n = 0;
    for (size_t i = 0; i < n_pages; i++) {
        const struct ocr_page_blocks *p = &pages[i];
        if (p->n < 2) { /* a page is not left with nothing */
            continue;
        }
        n += edge_of(p->blocks[0], &edges[n]);
        n += edge_of(p->blocks[p->n - 1], &edges[n]);
    }
    qsort(edges, n, sizeof *edges, by_key);
    for (size_t i = 0; i < n;) {
        size_t end = i;
        while (end < n && strcmp(edges[end].key, edges[i].key) == 0) {
            end++;
        }
        for (size_t k = i; k < end && end - i >= REPEATS; k++) {
            edges[k].block->kind = EX__BLOCK__KIND__FURNITURE;
            edges[k].block->has_level = 0;
        }
        i = end;
    }
    return STATUS_OK;
}

/* ---- of two readings the one that says more ---- */

static uint64_t worth(Ex__Block *const *blocks, size_t n)
{
    struct legible l = {0};
    for (size_t i = 0; i < n; i++) {
        if (blocks[i]->has_confidence && blocks[i]->confidence < SURE) {
            continue; /* as comes out of a script that is not installed */
        }
        legible_count(&l, (struct str){(const char *)blocks[i]->text.data, blocks[i]->text.len});
    }
    return legible_worth(&l);
}

/* The text's own layer is exact, so the picture must say clearly more. */
static bool picture_wins(Ex__Block *const *layer, size_t n, const struct ocr_page_blocks *picture)
{
    uint64_t exact = worth(layer, n);
    return n == 0 || worth(picture->blocks, picture->n) > exact + exact / 4 + 8;
}

static bool is_furniture(const Ex__Block *b)
{
    return b->kind == EX__BLOCK__KIND__FURNITURE;
}

static uint32_t page_of(const Ex__Block *b)
{
    return b->has_page ? b->page : 0;
}

struct merging {
    Ex__Block **out;
    size_t n;
};

static void put(struct merging *m, Ex__Block *const *blocks, size_t n, bool furniture)
{
    for (size_t i = 0; i < n; i++) {
        if (is_furniture(blocks[i]) == furniture) {
            m->out[m->n++] = blocks[i];
        }
    }
}

enum status ocr_merge(Ex__Block *const *blocks, size_t n, const struct ocr_page_blocks *pages,
                      size_t n_pages, struct arena *a, Ex__Block ***out, size_t *n_out,
                      struct error *err)
{
    size_t body = 0; /* what is not furniture comes first */
    size_t total = n;
    while (body < n && !is_furniture(blocks[body])) {
        body++;
    }
    for (size_t i = 0; i < n_pages; i++) {
        total += pages[i].n;
    }
    struct merging m = {.out = arena_array(a, total + 1, sizeof(Ex__Block *))};
    bool *won = arena_array(a, n_pages + 1, sizeof *won);
    if (m.out == NULL || won == NULL) {
        return error_set(err, STATUS_TOO_LARGE, "it has too many pages for the memory allowed");
    }
    enum status s = find_furniture(pages, n_pages, a, err);
    size_t at = 0;
    for (size_t i = 0; i < n_pages && s == STATUS_OK; i++) {
        size_t from = at;
        while (from < body && page_of(blocks[from]) < pages[i].page) {
            from++;
        }
        size_t to = from;
        while (to < body && page_of(blocks[to]) == pages[i].page) {
            to++;
        }
        put(&m, blocks + at, from - at, false);
        won[i] = picture_wins(blocks + from, to - from, &pages[i]);
        if (won[i]) {
            put(&m, pages[i].blocks, pages[i].n, false);
        } else {
            put(&m, blocks + from, to - from, false);
        }
        at = to;
    }
    put(&m, blocks + at, body - at, false);
    for (size_t i = body; i < n; i++) {
        m.out[m.n++] = blocks[i];
    }
    for (size_t i = 0; i < n_pages && s == STATUS_OK; i++) {
        put(&m, pages[i].blocks, won[i] ? pages[i].n : 0, true);
    }
    *out = m.out;
    *n_out = m.n;
    return s;
}
