/* Records of Excel's binary workbooks ([MS-XLS] 2.1.4): one after the other, long ones continued in
 * further records, strings cut wherever a record is full. */
#ifndef CARREL_INGEST_FORMATS_BIFF_H
#define CARREL_INGEST_FORMATS_BIFF_H

#include <stdbool.h>

#include "ingest/formats/octets.h"

#define BIFF_CONTINUE 0x3C

struct biff {
    struct str stream;
    size_t at; /* of the next record */
    uint32_t type;
    struct str data; /* of the record; of its continuation, once that has begun */
    size_t in_data;
};

/* The next record; false at the end of the stream. Continuations that were not read are records. */
bool biff_next(struct biff *b);
/* n bytes of the record and its continuations, as a number. */
uint32_t biff_number(struct biff *b, unsigned n);
/* Passes over n bytes. */
void biff_skip(struct biff *b, uint32_t n);
/* n characters, 16-bit where `wide`, at the end of out. In a continuation a byte says anew which.
 * false: the record ends before. */
bool biff_chars(struct biff *b, uint32_t n, bool wide, struct buf *out);
/* A string with its own flags (and what belongs to them), whose length has been read. */
bool biff_string(struct biff *b, uint32_t n, struct buf *out);

#endif
