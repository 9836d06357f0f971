/* A part being made, shared by text_build.c (from chunks) and text_merge.c (from parts). */
#ifndef CARREL_VECTORSTORE_TEXT_BUILDER_H
#define CARREL_VECTORSTORE_TEXT_BUILDER_H

#include "vectorstore/text_forms.h"
#include "vectorstore/text_image.h"

struct text_builder {
    struct text_about about;
    struct lexical_length *lengths; /* owned */
    _Atomic uint32_t *grams;        /* owned; LEXICAL_GRAM_BUCKETS counts, or NULL: in sections */
    struct buf sections[TEXT_SECTIONS];
    struct buf last;   /* the term before */
    uint64_t postings; /* bytes so far, those written to the file included */
    uint64_t in_group;
    struct text_forms_writer *forms;
    struct segment_writer *w; /* NULL: an image */
};

/* In this order; end whatever came before it failed. */
enum status text_builder_begin(struct text_builder *b, chunk_no first, chunk_no last,
                               uint32_t analyzer, struct error *err) MUST_CHECK;
/* Once the lengths are set: the statistics, and the file begins (path NULL: an image). */
enum status text_builder_count(struct text_builder *b, const char *path,
                               const struct segment_key *key, struct error *err) MUST_CHECK;
/* Terms come in order. */
enum status text_builder_term(struct text_builder *b, struct str term,
                              const struct lexical_add *adds, uint32_t n,
                              struct error *err) MUST_CHECK;
/* out: of an image. */
enum status text_builder_finish(struct text_builder *b, struct text_part **out,
                                struct error *err) MUST_CHECK;
void text_builder_end(struct text_builder *b);

/* realloc'ed to hold `need`; NULL when out of memory, p then stays. */
void *text_grown(void *p, size_t *cap, size_t need, size_t size);

#endif
