/* One line that a model writes, as it comes in pieces: a question made or rewritten. Pure. */
#ifndef CARREL_BASE_MODEL_LINE_H
#define CARREL_BASE_MODEL_LINE_H

#include "base/str.h"

#define MODEL_LINE_BYTES 600

struct model_line { /* zeroed: none */
    char text[MODEL_LINE_BYTES];
    size_t len;
};

/* What does not fit makes the whole none: half a question is no question. */
void model_line_add(struct model_line *l, const char *piece);
/* All has come: its first line without the quotation marks that models like to put around it, ended
 * by NUL; "" when nothing is left. */
void model_line_end(struct model_line *l);

#endif
