/* What the files of the tokenizer share. */
#ifndef CARREL_MODEL_TOKENIZER_INTERNAL_H
#define CARREL_MODEL_TOKENIZER_INTERNAL_H

#include "model/tokenizer.h"

/* As GGUF numbers them. */
enum token_type {
    TOKEN_NORMAL = 1,
    TOKEN_UNKNOWN = 2,
    TOKEN_CONTROL = 3,
    TOKEN_USER = 4,
    TOKEN_UNUSED = 5,
    TOKEN_BYTE = 6,
};

/* Strings to numbers by open addressing; the strings are elsewhere. */
struct piece_table {
    uint32_t *slots; /* number + 1; 0: free */
    uint32_t mask;
};

struct merge_rule {
    struct str left, right; /* the position in the list is the rank */
};

struct pretokenizer;

struct tokenizer {
    enum tokenizer_kind kind;
    char name[64];
    uint32_t n;
    struct str *pieces;
    float *scores; /* NULL: none */
    uint8_t *types;
    struct piece_table by_piece;
    size_t longest;

    uint32_t bos, eos, unknown, separator;
    bool add_bos, add_eos, add_separator;
    bool space_prefix, escape_spaces, merge_spaces, spaces_behind;
    bool *ends; /* by id: an answer ends here */

    uint32_t *specials; /* ids of control and user tokens, longest first */
    size_t n_specials;
    bool special_starts[256]; /* bytes that begin one */
    bool *strip_right;        /* by id: white space after it goes with it */
    bool *strip_left;

    /* BPE */
    struct pretokenizer *pre;
    bool byte_encoded; /* bytes as the characters of GPT-2's table, else UTF-8 with <0xXX> tokens */
    bool whole_words_first;
    struct merge_rule *merges;
    uint32_t n_merges;
    struct piece_table by_merge;

    uint32_t byte_tokens[256]; /* TOKEN_NONE: none */

    /* WordPiece */
    bool lowercase, strip_accents;

    /* unigram */
    float unknown_score;
    const uint32_t *charsmap; /* XOR-compressed compact double array */
    size_t n_charsmap;
    struct str replacements;
};

bool token_push(struct token_list *l, uint32_t id);
enum status token_list_full(const struct token_list *l, struct error *err);

/* Bytes of the character that begins with this byte, by its upper bits alone. */
static inline size_t char_bytes(char c)
{
    static const uint8_t lengths[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 3, 4};
    return lengths[(unsigned char)c >> 4];
}

/* ---- pretokenize.c ---- */

/* The patterns that a file names by tokenizer.ggml.pre. */
struct pretokenizer_rules {
    const char *names; /* "|name|name|" */
    const char *patterns[6];
    bool whole_words_first, add_bos, add_separator;
    bool raw; /* spaces become U+2581, merges run on UTF-8 */
};
const struct pretokenizer_rules *pretokenizer_rules(struct str name); /* NULL: not known */
enum status pretokenizer_new(const struct pretokenizer_rules *r, struct pretokenizer **out,
                             struct error *err) MUST_CHECK;
void pretokenizer_free(struct pretokenizer *p);
/* Hands each piece of text (valid UTF-8) to visit, in order; false from it stops. */
enum status pretokenize(const struct pretokenizer *p, struct str text,
                        bool (*visit)(struct str piece, void *data), void *data,
                        struct error *err) MUST_CHECK;

/* ---- merge.c: both kinds of BPE ---- */

/* The cost of joining two neighbours; false: they do not join. The cheapest pair joins first, the
 * leftmost of equals. */
typedef bool (*merge_cost)(const struct tokenizer *t, struct str left, struct str right,
                           double *cost);
/* Cuts word into characters, joins while joining costs, hands what is left to visit. scratch grows
 * with the word. */
struct merger {
    struct merge_symbol *symbols;
    struct merge_pair *heap;
    size_t n_heap, cap_heap, cap_symbols;
};
void merger_deinit(struct merger *m);
enum status merger_run(struct merger *m, const struct tokenizer *t, struct str word,
                       merge_cost cost, bool (*visit)(struct str piece, void *data), void *data,
                       struct error *err) MUST_CHECK;

/* ---- tokenizer_bpe.c, tokenizer_unigram.c, tokenizer_wordpiece.c: one stretch of text without
 * special tokens ---- */

enum status bpe_open(struct tokenizer *t, const struct gguf *g, struct error *err) MUST_CHECK;
enum status bpe_encode(const struct tokenizer *t, struct str text, struct token_list *out,
                       struct error *err) MUST_CHECK;
enum status spm_encode(const struct tokenizer *t, struct str text, struct token_list *out,
                       struct error *err) MUST_CHECK;
void bpe_piece_bytes(struct str piece, struct buf *out); /* GPT-2's table backwards */
enum status unigram_open(struct tokenizer *t, const struct gguf *g, struct error *err) MUST_CHECK;
enum status unigram_encode(const struct tokenizer *t, struct str text, struct token_list *out,
                           struct error *err) MUST_CHECK;
enum status wordpiece_encode(const struct tokenizer *t, struct str text, struct token_list *out,
                             struct error *err) MUST_CHECK;

/* ---- piece tables ---- */

/* FNV-1a, so that all prefixes of a text are hashed in one pass. */
#define PIECE_HASH_START UINT64_C(0xcbf29ce484222325)
static inline uint64_t piece_hash_add(uint64_t h, char c)
{
    return (h ^ (unsigned char)c) * UINT64_C(0x100000001b3);
}

static inline uint32_t piece_hash_end(uint64_t h)
{
    h ^= h >> 33;
    h *= UINT64_C(0xff51afd7ed558ccd);
    return (uint32_t)(h ^ h >> 33);
}

enum status piece_table_new(struct piece_table *p, size_t n, struct error *err) MUST_CHECK;
uint32_t tokenizer_lookup(const struct tokenizer *t, struct str piece); /* TOKEN_NONE */
/* The same with the hash at hand. */
uint32_t tokenizer_lookup_hashed(const struct tokenizer *t, uint64_t hash, struct str piece);

#endif
