/* UTF-8, one code point at a time, over text that nobody has checked. */
#ifndef CARREL_INGEST_UTF8_H
#define CARREL_INGEST_UTF8_H

#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

#define UTF8_BAD UINT32_C(0xFFFFFFFF)

/* The code point at p (p < end) and its length in bytes (1..4); UTF8_BAD and 1 where the bytes are
 * no UTF-8 (over-long forms, surrogates and what lies beyond U+10FFFF included). */
uint32_t utf8_next(const char *p, const char *end, size_t *len);
/* Appends c; U+FFFD for what is no character. */
void utf8_put(struct buf *out, uint32_t c);
/* Appends s with every bad byte as U+FFFD and without NUL and other control characters (tab,
 * newline stay; CR LF and CR become newline). */
void utf8_clean(struct buf *out, struct str s);
/* Code points of s; a bad byte counts one. */
size_t utf8_count(struct str s);
bool utf8_is_space(uint32_t c);
/* A script written without spaces, where characters are counted and not words. */
bool utf8_is_unspaced(uint32_t c);

#endif
