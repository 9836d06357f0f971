/* Where sentences end. PCRE2 finds the candidates; abbreviations (en, de, fr, es, it), initials,
 * ordinals and a following small letter rule some out. A line's end is a border too. One splitter a
 * thread. */
#ifndef CARREL_INGEST_SENTENCE_H
#define CARREL_INGEST_SENTENCE_H

#include "base/status.h"
#include "base/str.h"

struct sentence_splitter;

enum status sentence_splitter_new(struct sentence_splitter **out, struct error *err) MUST_CHECK;
void sentence_splitter_free(struct sentence_splitter *s);
/* The end of the sentence that starts at byte `from` (< text.len), white space after it included;
 * text.len for the last one. Always more than `from`. text is valid UTF-8. */
size_t sentence_end(struct sentence_splitter *s, struct str text, size_t from);

#endif
