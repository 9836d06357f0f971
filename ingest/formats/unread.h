/* Which pages of a PDF have their text in pictures. */
#ifndef CARREL_INGEST_FORMATS_UNREAD_H
#define CARREL_INGEST_FORMATS_UNREAD_H

#include "ingest/formats/bbox.h"
#include "ingest/formats/emit.h"

/* A page with hardly a letter, with letters that nobody can tell, or with nothing but a line or two
 * at its edges, as a scanner or a download stamps them on. Wrong guesses cost time and nothing
 * else: of the two readings of such a page the one that says more is taken. */
bool page_is_unread(const struct bbox_page *p);
/* Tells e of those of d. */
enum status unread_emit(const struct bbox_document *d, struct arena *a, struct emitter *e,
                        struct error *err) MUST_CHECK;

#endif
