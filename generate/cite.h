/* Marks like [2], [1, 3] or [1][3] in an answer become citations while it streams. Pure; bytes in, in any
 * pieces, bytes out: the same result for every way of cutting the input.
 *
 * Out comes one mark a number, "[1][3]"; a citation covers exactly its mark in the text that comes out.
 * Numbers outside 1..n_passages are removed and counted, with the one space before them when nothing of the
 * mark is left. Brackets that hold anything else pass unchanged. At most CITE_HELD_MAX bytes are held back
 * while it is not clear what they are. With n_passages 0 all text passes unchanged. */
#ifndef CARREL_GENERATE_CITE_H
#define CARREL_GENERATE_CITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define CITE_HELD_MAX 48
#define CITE_CITATIONS_MAX 256 /* further marks stay in the text without a citation */

struct citation {
    uint32_t number;
    uint32_t start; /* code points of the text that came out */
    uint32_t end;
};

struct cite {
    uint32_t n_passages;
    uint32_t position; /* code points out so far */
    uint32_t removed;
    size_t n_citations;
    size_t held_len;
    char held[CITE_HELD_MAX];
    struct citation citations[CITE_CITATIONS_MAX];
};

void cite_init(struct cite *c, uint32_t n_passages);
/* Appends what can be said by now to out. */
void cite_add(struct cite *c, const char *p, size_t len, struct buf *out);
/* No more comes: what was held goes out as it is. */
void cite_end(struct cite *c, struct buf *out);

#endif
