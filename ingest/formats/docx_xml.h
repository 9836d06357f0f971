/* The XML parts of a Word file (ECMA-376 part 1, WordprocessingML), out as blocks. */
#ifndef CARREL_INGEST_FORMATS_DOCX_XML_H
#define CARREL_INGEST_FORMATS_DOCX_XML_H

#include "ingest/formats/sax.h"

enum docx_part {
    DOCX_STYLES,
    DOCX_NUMBERING,
    DOCX_BODY,
    DOCX_NOTES, /* footnotes, endnotes */
    DOCX_COMMENTS,
    DOCX_FURNITURE, /* headers, footers */
};

struct docx_reader;

/* title and language may be empty. NULL: out of memory. Borrows all. */
struct docx_reader *docx_reader_new(struct arena *a, struct emitter *e, struct str title,
                                    struct str language);
void docx_reader_free(struct docx_reader *r);
/* Styles and numbering before the body. Only the body is a need (*found false: it is not there);
 * the others may be missing or malformed. */
enum status docx_reader_read(struct docx_reader *r, enum docx_part part, struct package *p,
                             const char *name, bool *found, struct error *err) MUST_CHECK;

#endif
