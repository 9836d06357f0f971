/* What those who make and read parts share: sections, the head of an image. */
#ifndef CARREL_VECTORSTORE_TEXT_IMAGE_H
#define CARREL_VECTORSTORE_TEXT_IMAGE_H

#include "vectorstore/text_part.h"

enum text_section {
    TEXT_LENGTHS,
    TEXT_TERMS,
    TEXT_INDEX,
    TEXT_POSTINGS,
    TEXT_GRAMS,
    TEXT_FORMS, /* from here on: not in parts of earlier versions */
    TEXT_FORM_INDEX,
    TEXT_TRIGRAMS,
    TEXT_SECTIONS
};

#define TEXT_SECTION_NAMES                                                                         \
    {                                                                                              \
        "lengths", "terms", "index", "postings", "grams", "forms", "formindex", "trigrams"         \
    }

struct text_image {
    char magic[8];
    uint64_t hash; /* hash64 of all that follows */
    struct text_about about;
    uint64_t sizes[TEXT_SECTIONS]; /* the sections follow in this order, each on 8 bytes */
};

#define TEXT_MAGIC "cartext2"
#define TEXT_MAGIC_1 "cartext1" /* with the sizes of TEXT_SECTIONS_1 sections only */
#define TEXT_SECTIONS_1 TEXT_FORMS

struct text_row { /* of the index */
    uint64_t terms, postings;
};

/* CORRUPT when it lies outside the section or is damaged. */
enum status text_part_view(struct text_part *p, enum text_section section, uint64_t at,
                           uint64_t len, struct segment_view *out, struct error *err) MUST_CHECK;
uint64_t text_part_size(const struct text_part *p, enum text_section section);

static inline void text_put_varint(struct buf *out, uint64_t v)
{
    for (; v >= 0x80U; v >>= 7) {
        buf_char(out, (char)(v | 0x80U));
    }
    buf_char(out, (char)v);
}

static inline bool text_varint(const struct segment_view *v, size_t *at, uint64_t *out)
{
    uint64_t n = 0;
    for (unsigned shift = 0; shift < 63 && *at < v->len; shift += 7) {
        unsigned char b = v->ptr[(*at)++];
        n |= (uint64_t)(b & 0x7FU) << shift;
        if (b < 0x80) {
            *out = n;
            return true;
        }
    }
    return false;
}

static inline uint64_t text_aligned(uint64_t n)
{
    return (n + 7) / 8 * 8;
}

#endif
