/* Text to token ids and back, for the vocabularies that GGUF files carry: byte-level BPE,
 * SentencePiece BPE, unigram and WordPiece. The ids are those of the reference tokenizers
 * (tests/unit/model/tokenizer_test.c and tests/bench/tokenizer.mjs compare).
 *
 * A tokenizer borrows the file's strings: the gguf must outlive it. Once made it is read by any
 * number of threads. */
#ifndef CARREL_MODEL_TOKENIZER_H
#define CARREL_MODEL_TOKENIZER_H

#include "base/buf.h"
#include "model/gguf.h"

#define TOKENIZER_TEXT_MAX ((size_t)64 * 1024 * 1024)
#define TOKEN_NONE UINT32_MAX

enum tokenizer_kind { TOKENIZER_BPE, TOKENIZER_SPM, TOKENIZER_UNIGRAM, TOKENIZER_WORDPIECE };

enum tokenizer_flags {
    TOKENIZER_AFFIX = 1, /* the tokens that the model wants at the start and the end of a text */
    TOKENIZER_SPECIALS =
        2, /* control tokens written in the text count; never for text of a user's */
};

struct tokenizer;

/* Grows up to max ids; tokenizer_encode appends. */
struct token_list {
    uint32_t *ids;
    size_t n, cap, max;
};

void token_list_init(struct token_list *l, size_t max);
void token_list_deinit(struct token_list *l);

/* INVALID: the vocabulary is damaged; UNSUPPORTED: of a kind or with a pre-tokenizer this runtime
 * does not know. */
enum status tokenizer_new(const struct gguf *g, struct tokenizer **out,
                          struct error *err) MUST_CHECK;
uint64_t tokenizer_bytes(const struct tokenizer *t); /* of its tables; the strings are the file's */
void tokenizer_free(struct tokenizer *t);            /* NULL is fine */

enum tokenizer_kind tokenizer_kind(const struct tokenizer *t);
const char *tokenizer_name(const struct tokenizer *t); /* "byte-level BPE (llama-bpe)" */
uint32_t tokenizer_size(const struct tokenizer *t);
/* TOKEN_NONE where the vocabulary has none. */
uint32_t tokenizer_bos(const struct tokenizer *t);
uint32_t tokenizer_eos(const struct tokenizer *t);
/* What stands between and behind the texts of a pair; the end token where there is none of its own.
 */
uint32_t tokenizer_separator(const struct tokenizer *t);
/* An answer ends here: the end of the text, of a turn, of a message. */
bool tokenizer_is_end(const struct tokenizer *t, uint32_t id);
/* The token written exactly so, or TOKEN_NONE. */
uint32_t tokenizer_find(const struct tokenizer *t, struct str piece);

/* TOO_LARGE: more text or more tokens than allowed. Any bytes are taken; what is no UTF-8 becomes
 * byte tokens, or U+FFFD where the vocabulary has none. */
enum status tokenizer_encode(const struct tokenizer *t, struct str text, unsigned flags,
                             struct token_list *out, struct error *err) MUST_CHECK;

/* Appends the bytes that a token stands for; control tokens give nothing unless TOKENIZER_SPECIALS
 * is set. The bytes of one token may end within a character. first: at the start of a text, where
 * the space before the first word is no part of it. */
void tokenizer_piece(const struct tokenizer *t, uint32_t id, bool first, unsigned flags,
                     struct buf *out);
/* All of them. */
void tokenizer_decode(const struct tokenizer *t, const uint32_t *ids, size_t n, unsigned flags,
                      struct buf *out);

/* How many bytes of a stream's end are the beginning of a character that has not come whole: hold
 * them back. */
size_t tokenizer_incomplete(struct str text);

#endif
