/* The best k of many (cosine, chunk), kept in a heap whose root is the worst of them. */
#ifndef CARREL_VECTORSTORE_BEST_H
#define CARREL_VECTORSTORE_BEST_H

#include <stddef.h>
#include <stdlib.h>

#include "vectorstore/catalogue.h"

struct vector_hit {
    chunk_no chunk;
    float cosine;
};

struct best {
    struct vector_hit *hits; /* room for k */
    size_t n, k;
};

static inline bool best_worse(struct vector_hit a, struct vector_hit b)
{
    return a.cosine < b.cosine || (a.cosine == b.cosine && a.chunk > b.chunk);
}

static inline void best_sink(struct best *b)
{
    for (size_t i = 0;;) {
        size_t worst = i;
        for (size_t c = 2 * i + 1; c <= 2 * i + 2 && c < b->n; c++) {
            worst = best_worse(b->hits[c], b->hits[worst]) ? c : worst;
        }
        if (worst == i) {
            return;
        }
        struct vector_hit t = b->hits[i];
        b->hits[i] = b->hits[worst];
        b->hits[worst] = t;
        i = worst;
    }
}

static inline void best_offer(struct best *b, chunk_no chunk, float cosine)
{
    struct vector_hit h = {.chunk = chunk, .cosine = cosine};
    if (b->n < b->k) {
        size_t i = b->n++;
        b->hits[i] = h;
        while (i > 0 && best_worse(b->hits[i], b->hits[(i - 1) / 2])) {
            struct vector_hit t = b->hits[i];
            b->hits[i] = b->hits[(i - 1) / 2];
            b->hits[(i - 1) / 2] = t;
            i = (i - 1) / 2;
        }
    } else if (b->k > 0 && best_worse(b->hits[0], h)) {
        b->hits[0] = h;
        best_sink(b);
    }
}

static inline int best_compare(const void *a, const void *b)
{
    struct vector_hit x = *(const struct vector_hit *)a;
    struct vector_hit y = *(const struct vector_hit *)b;
    return best_worse(x, y) ? 1 : best_worse(y, x) ? -1 : 0;
}

#endif
