/* Pieces, between template.c and template_tools.c. All append to p; a failure is noted in it. */
#ifndef CARREL_MODEL_TEMPLATE_INTERNAL_H
#define CARREL_MODEL_TEMPLATE_INTERNAL_H

#include "model/template.h"

void piece_put(struct template_pieces *p, enum template_kind kind, struct str text);
void piece_mark(struct template_pieces *p, const char *z);
void piece_words(struct template_pieces *p, const char *z);
void piece_given(struct template_pieces *p, struct str s);
/* Without white space at its ends. */
struct str piece_trimmed(struct str s);

#endif
