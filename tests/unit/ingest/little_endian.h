/* Numbers and text as Windows' formats of files hold them, lowest byte first. */
#ifndef CARREL_TESTS_INGEST_LITTLE_ENDIAN_H
#define CARREL_TESTS_INGEST_LITTLE_ENDIAN_H

#include <stdint.h>

#include "base/buf.h"

static inline void put8(struct buf *b, uint32_t v)
{
    buf_char(b, (char)(v & 0xFF));
}

static inline void put16(struct buf *b, uint32_t v)
{
    put8(b, v);
    put8(b, v >> 8);
}

static inline void put32(struct buf *b, uint32_t v)
{
    put16(b, v);
    put16(b, v >> 16);
}

static inline void put_wide(struct buf *b, const char *ascii)
{
    for (; *ascii != '\0'; ascii++) {
        put16(b, (unsigned char)*ascii);
    }
}

static inline void set16(struct buf *b, size_t at, uint32_t v)
{
    b->ptr[at] = (char)(v & 0xFF);
    b->ptr[at + 1] = (char)(v >> 8 & 0xFF);
}

static inline void set32(struct buf *b, size_t at, uint32_t v)
{
    set16(b, at, v & 0xFFFF);
    set16(b, at + 2, v >> 16);
}

static inline void pad(struct buf *b, size_t to)
{
    while (b->len % to != 0) {
        buf_char(b, '\0');
    }
}

static inline void zeros(struct buf *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        buf_char(b, '\0');
    }
}

/* ---- compound files ---- */

#endif
