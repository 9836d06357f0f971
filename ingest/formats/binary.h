/* Whether bytes can be text, told without decoding them. Pure. */
#ifndef CARREL_INGEST_FORMATS_BINARY_H
#define CARREL_INGEST_FORMATS_BINARY_H

#include <stdbool.h>

#include "base/str.h"

/* "UTF-16LE", "UTF-16BE" or NULL: UTF-16 without a mark, as old Windows programs write it (every
 * other byte of western text is NUL). */
const char *text_wide_without_mark(struct str s);
/* Too many control codes among its first bytes for a text in that encoding. */
bool text_is_binary(struct str s, const char *charset);

#endif
