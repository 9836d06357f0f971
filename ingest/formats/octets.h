/* Numbers and text as Microsoft's binary formats have them: little-endian, not aligned, of a length
 * that the document claims. Reading past the end gives 0. */
#ifndef CARREL_INGEST_FORMATS_OCTETS_H
#define CARREL_INGEST_FORMATS_OCTETS_H

#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

static inline uint32_t le8(struct str s, size_t at)
{
    return at < s.len ? (unsigned char)s.ptr[at] : 0;
}

static inline uint32_t le16(struct str s, size_t at)
{
    return at < s.len && s.len - at >= 2
               ? (uint32_t)((unsigned char)s.ptr[at] | (unsigned char)s.ptr[at + 1] << 8)
               : 0;
}

static inline uint32_t le32(struct str s, size_t at)
{
    return at < s.len && s.len - at >= 4 ? le16(s, at) | le16(s, at + 2) << 16 : 0;
}

static inline uint64_t le64(struct str s, size_t at)
{
    return at < s.len && s.len - at >= 8 ? le32(s, at) | (uint64_t)le32(s, at + 4) << 32 : 0;
}

/* What of s lies at `at`, at most n bytes. */
static inline struct str cut(struct str s, size_t at, size_t n)
{
    if (at >= s.len) {
        return STR("");
    }
    return (struct str){s.ptr + at, n < s.len - at ? n : s.len - at};
}

/* UTF-16 as UTF-8 at the end of out; half of a pair and a byte too many become U+FFFD or nothing.
 */
void utf16_put(struct buf *out, struct str s);

#endif
