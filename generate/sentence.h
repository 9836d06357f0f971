/* Sentences of a passage, by rules that hold across languages: a full stop, question or exclamation mark
 * (Latin, CJK, Arabic, Devanagari) ends one, unless it belongs to an abbreviation, an initial or a number;
 * so do blank lines and list items. Pure. */
#ifndef CARREL_GENERATE_SENTENCE_H
#define CARREL_GENERATE_SENTENCE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

/* The next sentence of text from *at on, without white space around it; false at the end. Views text. */
bool sentence_next(struct str text, size_t *at, struct str *out);

#endif
