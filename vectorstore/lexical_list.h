/* The postings of one term in one part of the index (a run of chunk numbers that were indexed
 * together), packed.
 *
 *   more than LEXICAL_BLOCK postings: a head for each block, then the blocks
 *   else: a byte with the width of the one block's deltas, then the block
 *
 * A block: the differences of chunk numbers less one, bit-packed; a byte for each posting (tf_text
 * in the low four bits, tf_title above); for each tf_text of 15 or more a varint of what is
 * above 15. The heads let a search pass over blocks unread (Ding and Suel, Faster top-k document
 * retrieval using block-max indexes, 2011): each has the block's last chunk and, for tf classes 1,
 * 2, 3-4 and above, the shortest chunk with such a tf, from which a bound on what a posting can add
 * follows whatever the average length has become. */
#ifndef CARREL_VECTORSTORE_LEXICAL_LIST_H
#define CARREL_VECTORSTORE_LEXICAL_LIST_H

#include "vectorstore/lexical.h"

#define LEXICAL_TITLE_WEIGHT 4U
#define LEXICAL_TF_CLASSES 4
#define LEXICAL_NO_LENGTH UINT16_MAX /* as the shortest: no posting of that class */

struct lexical_head {
    uint32_t last; /* chunk, from the part's first */
    uint32_t at;   /* bytes from the first block on */
    uint16_t shortest[LEXICAL_TF_CLASSES];
    uint16_t max_tf; /* tf: text + LEXICAL_TITLE_WEIGHT title */
    uint8_t count_less_one, width;
};

/* A list being read. heads are not aligned: lexical_list_head copies one. */
struct lexical_reader {
    const struct lexical_list *list;
    uint32_t n_blocks;
    const char *heads, *blocks;
    size_t blocks_len;
};

struct lexical_postings { /* one block, unpacked; chunks from the part's first */
    uint32_t n;
    uint32_t chunk[LEXICAL_BLOCK];
    uint16_t tf_text[LEXICAL_BLOCK];
    uint8_t tf_title[LEXICAL_BLOCK];
};

/* CORRUPT unless it can be a list. */
enum status lexical_list_open(const struct lexical_list *list, struct lexical_reader *out,
                              struct error *err) MUST_CHECK;
/* Of a list with one block only last (of the part), count and width mean something. */
struct lexical_head lexical_list_head(const struct lexical_reader *r, uint32_t block);
/* CORRUPT when it is damaged: numbers ascend and lie within the part otherwise. */
enum status lexical_list_block(const struct lexical_reader *r, uint32_t block,
                               struct lexical_postings *out, struct error *err) MUST_CHECK;
/* Does a chunk of the set have the term? */
enum status lexical_list_any(const struct lexical_list *list, const struct lexical_allowed *allowed,
                             bool *any, struct error *err) MUST_CHECK;

#endif
