/* The XML parts of a Word file, fed in pieces, out as blocks. Needs nothing of the archive. */
#ifndef CARREL_INGEST_FORMATS_DOCX_XML_H
#define CARREL_INGEST_FORMATS_DOCX_XML_H

#include "base/arena.h"
#include "base/status.h"
#include "base/str.h"
#include "ingest/formats/emit.h"

enum docx_part { DOCX_CORE, DOCX_STYLES, DOCX_BODY, DOCX_NOTES };

struct docx_reader;

/* NULL: out of memory. Borrows both. */
struct docx_reader *docx_reader_new(struct arena *a, struct emitter *e);
void docx_reader_free(struct docx_reader *r);
/* What the next begin..end is. */
void docx_reader_part(struct docx_reader *r, enum docx_part part);
enum status docx_reader_begin(struct docx_reader *r, struct error *err) MUST_CHECK;
enum status docx_reader_feed(struct docx_reader *r, struct str piece, struct error *err) MUST_CHECK;
/* s is how it went so far; returns how it ended. */
enum status docx_reader_end(struct docx_reader *r, enum status s, struct error *err) MUST_CHECK;
/* The last part failed for being malformed, not for being an attack. */
bool docx_reader_harmless(const struct docx_reader *r);

#endif
