/* What is kept of what a document says of itself. Files lie: templates leave titles, authors and
 * dates behind, programs write their own names, clocks were wrong. Pure. */
#ifndef CARREL_INGEST_META_H
#define CARREL_INGEST_META_H

#include "base/arena.h"
#include "base/str.h"
#include "extract.pb-c.h"

/* A copy in a, tidied: the title where it is worth something, else the first heading; authors that
 * are people; dates from 1900 to the end of next year that are no template's; a language of two
 * letters. NULL: out of memory. */
const Ex__Document *meta_settle(const Ex__Document *said, Ex__Block *const *blocks, size_t n_blocks,
                                int64_t now_ms, struct arena *a);

/* A program's or template's, a file's name, or none at all. */
bool meta_title_worthless(struct str title);
/* ISO 639-1 of "de", "de-AT", "DE_de" or "deu"; "": none that is known. Static or in out. */
void meta_language(const char *said, char out[3]);
/* The date of the document by its own word: when it was changed, else made or sent. False: it says
 * none. */
bool meta_own_date(bool has_modified, int64_t modified_ms, bool has_created, int64_t created_ms,
                   int64_t *out);

#endif
