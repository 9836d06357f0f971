/* The head of an image, shared by text_part.c and text_build.c. */
#ifndef CARREL_VECTORSTORE_TEXT_IMAGE_H
#define CARREL_VECTORSTORE_TEXT_IMAGE_H

#include "vectorstore/text_part.h"

enum text_section {
    TEXT_LENGTHS,
    TEXT_TERMS,
    TEXT_INDEX,
    TEXT_POSTINGS,
    TEXT_GRAMS,
    TEXT_SECTIONS
};

#define TEXT_SECTION_NAMES                                                                         \
    {                                                                                              \
        "lengths", "terms", "index", "postings", "grams"                                           \
    }

struct text_image {
    char magic[8];
    uint64_t hash; /* hash64 of all that follows */
    struct text_about about;
    uint64_t sizes[TEXT_SECTIONS]; /* the sections follow in this order, each on 8 bytes */
};

#define TEXT_MAGIC "cartext1"

struct text_row { /* of the index */
    uint64_t terms, postings;
};

static inline uint64_t text_aligned(uint64_t n)
{
    return (n + 7) / 8 * 8;
}

#endif
