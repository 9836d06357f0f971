/* Compressed RTF as Outlook keeps it ([MS-OXRTFCP]). */
#ifndef CARREL_INGEST_FORMATS_LZFU_H
#define CARREL_INGEST_FORMATS_LZFU_H

#include "base/buf.h"
#include "base/str.h"

/* Appends the RTF, as far as it goes; at most what the data says of itself, and out's ceiling. */
void lzfu_decode(struct str data, struct buf *out);

#endif
