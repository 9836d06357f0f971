/* A part of the full-text index: everything that the chunks first..last add to it, immutable, in
 * one of two places: an image in memory (a run of store.db, or several merged) or a segment's file.
 * Both hold the same sections:
 *
 *   about     struct text_about
 *   lengths   struct lexical_length for each number first..last
 *   terms     in order of their bytes, in groups of TEXT_GROUP: varint bytes shared with the term
 * before in the group, varint and bytes of the rest, varint df, varint bytes of its postings index
 * for each group, and once past the last, where its terms and its postings begin: two uint64
 *   postings  the lists (lexical_list.h) one after the other
 *   grams     varint (bucket - bucket before), varint count, for each 4-gram bucket that occurs
 *   forms, formindex, trigrams: the words as they are spelled, text_forms.h
 *
 * Any number of threads. */
#ifndef CARREL_VECTORSTORE_TEXT_PART_H
#define CARREL_VECTORSTORE_TEXT_PART_H

#include <stdatomic.h>

#include "vectorstore/lexical_list.h"
#include "vectorstore/segment_file.h"

#define TEXT_KIND "text"
#define TEXT_VERSION 1U
#define TEXT_GROUP 32U
#define TEXT_TERM_MAX ((size_t)64 * 1024)

struct text_about {
    chunk_no first, last;
    uint32_t analyzer; /* TEXT_ANALYZER_VERSION of its terms */
    uint32_t chunks;   /* that have a word, the gone among them until a merge drops them */
    uint32_t dropped;  /* dropped by merges: then the 4-gram counts are estimates */
    uint32_t unused;
    uint64_t terms;
    uint64_t length_total, gram_length_total, plain_length_total;
};

struct text_part;

/* image: malloc'ed, made by text_build; owned by the part from here on, also when this fails.
 * CORRUPT unless whole. */
enum status text_part_image(void *image, size_t len, struct text_part **out,
                            struct error *err) MUST_CHECK;
/* key and cache: as segment_file_open. */
enum status text_part_open(const char *path, const struct segment_key *key,
                           struct segment_cache *cache, struct text_part **out,
                           struct error *err) MUST_CHECK;
struct text_part *text_part_hold(struct text_part *p);
void text_part_drop(struct text_part *p); /* NULL is fine */

const struct text_about *text_part_about(const struct text_part *p);
const struct lexical_length *text_part_lengths(const struct text_part *p);
/* The image of a part in memory; empty for a file. */
struct str text_part_bytes(const struct text_part *p);

bool text_part_clear(const struct text_part *p);  /* a file, and not encrypted */
bool text_part_sealed(const struct text_part *p); /* a file */

/* What a reader of lists holds on to. */
struct text_pins {
    struct segment_view *views;
    size_t n, cap;
};
void text_pins_drop(struct text_pins *pins); /* a zeroed or dropped one is fine */

/* The term's list, readable until pins are dropped; df 0 where the part does not have it. */
enum status text_part_list(struct text_part *p, struct str term, struct text_pins *pins,
                           struct lexical_list *out, struct error *err) MUST_CHECK;
/* Adds sign * the counts of its 4-grams, modulo 2^32. Others may read counts meanwhile, none may
 * write. */
enum status text_part_grams(struct text_part *p, int sign, _Atomic uint32_t *counts,
                            struct error *err) MUST_CHECK;
/* Reads and checks the whole file; an image is checked when it is made. */
enum status text_part_check(struct text_part *p, const _Atomic bool *cancelled,
                            struct error *err) MUST_CHECK;

/* Its terms in order. Zero it but for part; end frees. */
struct text_terms {
    struct text_part *part;
    uint64_t group;    /* the next */
    uint32_t in_group; /* entries left of the view */
    struct segment_view view;
    size_t at;
    uint64_t postings;
    struct buf name;
    bool begun;
};
/* *more false at the end; term is valid until the next call. */
enum status text_terms_next(struct text_terms *t, struct str *term, struct text_pins *pins,
                            struct lexical_list *list, bool *more, struct error *err) MUST_CHECK;
void text_terms_end(struct text_terms *t);

#endif
