/* The trie that grammar_run.c walks. */
#ifndef CARREL_MODEL_GRAMMAR_VOCABULARY_H
#define CARREL_MODEL_GRAMMAR_VOCABULARY_H

#include "model/grammar.h"

struct trie_node {
    uint32_t end;   /* the first node behind its subtree */
    uint32_t token; /* that ends here, or TOKEN_NONE; more of the same bytes in twin */
    uint16_t depth; /* 1: the first byte of a token */
    uint8_t byte;
};

struct grammar_vocabulary {
    uint32_t n;
    uint32_t longest;  /* bytes */
    uint32_t *offsets; /* n + 1, into bytes; control and end tokens have none */
    char *bytes;
    uint32_t *twin; /* the next token of the same bytes, or TOKEN_NONE */
    bool *ends;
    struct trie_node *nodes;
    uint32_t n_nodes;
};

static inline struct str grammar_vocabulary_bytes(const struct grammar_vocabulary *v, uint32_t id)
{
    return (struct str){.ptr = v->bytes + v->offsets[id],
                        .len = v->offsets[id + 1] - v->offsets[id]};
}

#endif
