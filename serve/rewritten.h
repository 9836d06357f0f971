/* A question that a model rewrites to stand alone, as it comes in pieces. Pure. */
#ifndef CARREL_SERVE_REWRITTEN_H
#define CARREL_SERVE_REWRITTEN_H

#include "base/str.h"

#define REWRITTEN_BYTES 600

struct rewritten { /* zeroed: none */
    char text[REWRITTEN_BYTES];
    size_t len;
};

void rewritten_add(struct rewritten *r, const char *piece);
/* All has come: one line, without what models like to put around it. "" when that is no question,
 * or the one that was asked. */
void rewritten_end(struct rewritten *r, struct str asked);

#endif
