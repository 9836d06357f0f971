/* Files of Word, Excel and PowerPoint of 1997 to 2003, made on the spot. */
#ifndef CARREL_TESTS_INGEST_OLE_FIXTURES_H
#define CARREL_TESTS_INGEST_OLE_FIXTURES_H

#include "base/buf.h"
#include "base/str.h"

struct cfb_stream {
    const char *path; /* "stream", or "storage/stream" */
    struct str data;
};

/* A compound file of these streams: those below 4096 bytes in small sectors, the first of the
 * others in sectors that are not one behind the other. Storages are made as they are named, in this
 * order.
 */
void make_cfb(const struct cfb_stream *streams, size_t n, struct buf *out);

/* "Fox title" (heading 1), a paragraph in 8-bit characters, one with a link, with a footnote and
 * with hidden words, a table of two rows, a list's item; a header. */
void make_doc(struct buf *out);
/* Two sheets: numbers, dates, shared strings (one cut by a continuation), a formula's text, an
 * error; a comment. */
void make_xls(struct buf *out);
/* Two slides with titles, text in the outline and in a shape, and notes. */
void make_ppt(struct buf *out);
/* A message with two recipients, Russian text in bytes, an attachment, and a message within it
 * whose body is compressed RTF. */
void make_msg(struct buf *out);

#endif
