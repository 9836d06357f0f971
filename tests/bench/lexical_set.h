/* A set in BEIR's layout in memory: its documents indexed, its questions and what answers them. */
#ifndef CARREL_TESTS_BENCH_LEXICAL_SET_H
#define CARREL_TESTS_BENCH_LEXICAL_SET_H

#include "base/map.h"
#include "embed/encode.h"
#include "tests/unit/vectorstore/memory_source.h"

#define TURNS 3 /* before a follow-up, at most */

struct set {
    struct memory_index *index;
    uint32_t *document_of; /* chunk -> document number, from 1 */
    size_t cap_chunks;
    struct map documents; /* id -> number */
    size_t n_documents;
    struct map queries;      /* id -> struct question */
    struct question **order; /* as the file has them */
    size_t n_order;
    uint32_t *first_chunk; /* of each document, by number */
    /* --fused */
    struct encode_scratch *scratch;
    struct lsa_model *model;
    float *vectors; /* chunks x DIMENSIONS */
};

struct question {
    char *text;
    char *follow_up; /* --turns; NULL: it begins a conversation */
    char *concatenated;
    struct str turns[TURNS];
    size_t n_turns;
    struct map relevant; /* document id -> grade + 1 */
};

void set_load(struct set *s, const char *dir);
void set_free(struct set *s);
/* One edit in the rarest word of each question. */
void set_misspell(struct set *s);
/* Both end the program. */
void set_die(const char *what);
void *set_need(void *p);

#endif
