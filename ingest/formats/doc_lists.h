/* The lists of Word's binary files ([MS-DOC] 2.9.131, 2.9.150): what number a paragraph has. */
#ifndef CARREL_INGEST_FORMATS_DOC_LISTS_H
#define CARREL_INGEST_FORMATS_DOC_LISTS_H

#include "ingest/formats/numbering.h"

/* table: the stream; schemes and lists at these offsets in it, of these lengths. Paragraphs name a
 * list by its place, from 1. Damaged ones are fewer. */
void doc_lists_read(struct numbering *n, struct str table, uint32_t schemes, uint32_t schemes_len,
                    uint32_t lists, uint32_t lists_len);

#endif
