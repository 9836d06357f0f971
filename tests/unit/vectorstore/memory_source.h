/* An index in memory behind struct lexical_source, for tests and benches. Aborts when out of
 * memory. */
#ifndef CARREL_TESTS_MEMORY_SOURCE_H
#define CARREL_TESTS_MEMORY_SOURCE_H

#include "base/map.h"
#include "vectorstore/lexical.h"

struct memory_chunk {
    char *text, *title;
    size_t text_len, title_len;
    char language[8];
    uint32_t length, gram_length, plain_length;
    bool hidden; /* not visible to the caller, or deleted */
};

struct memory_term;
struct memory_form;

struct memory_index {
    struct text_analyzer *text;
    struct memory_chunk *chunks;
    uint32_t n_chunks, cap_chunks;
    struct memory_term *terms; /* open addressing */
    size_t n_terms, cap_terms;
    struct map forms; /* form, a zero, stem: struct memory_form */
    uint32_t *gram_df;
    uint32_t part_chunks; /* chunks in a part; 0: all in one. To be set before finish */
    size_t n_parts;
    struct lexical_length *lengths;
    uint64_t *allowed; /* made by memory_index_source from `hidden` */
    struct lexical_stats stats;
    const char *languages[16];
    size_t n_languages;
};

struct memory_index *memory_index_new(void);
void memory_index_free(struct memory_index *x);
chunk_no memory_index_add(struct memory_index *x, struct str text, struct str title,
                          const char *language);
/* Packs what was added into parts; then searches may run. */
void memory_index_finish(struct memory_index *x);
void memory_index_source(struct memory_index *x, struct lexical_source *out);
size_t memory_index_count_tokens(struct memory_index *x, struct str text);

#endif
