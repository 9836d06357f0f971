/* Decoding held to a grammar: which tokens may come next, so that the answer is one of its texts.
 *
 * A grammar is written in GBNF (llama.cpp's notation: `root ::= "yes" | "no"`, classes, groups,
 * `* + ? {m,n}`, comments) or made from a JSON schema (json_schema.h). It becomes a pushdown
 * automaton over bytes, so that a token may end within a character. Its configurations (sets of
 * stacks) are turned into states of a table as they are met, and one walk over a trie of the
 * vocabulary gives the tokens that a state allows; both are kept, so that most steps of an answer
 * cost a lookup.
 *
 * A grammar and a vocabulary are never changed once made: any number of threads. A run belongs to
 * one answer and one thread. */
#ifndef CARREL_MODEL_GRAMMAR_H
#define CARREL_MODEL_GRAMMAR_H

#include "base/buf.h"
#include "model/tokenizer.h"

#define GRAMMAR_TEXT_MAX ((size_t)1 << 20)
#define GRAMMAR_REPEAT_MAX 4096U

struct grammar;
struct grammar_vocabulary;
struct grammar_run;

/* INVALID with the line: a mistake in the notation, a rule that is missing, or one that begins with
 * itself. TOO_LARGE: beyond what one request may ask for. The text is not kept. */
enum status grammar_parse(struct str text, struct grammar **out, struct error *err) MUST_CHECK;
void grammar_free(struct grammar *g); /* NULL is fine */

/* The bytes of every token as a trie; made once a model. Borrows nothing. */
enum status grammar_vocabulary_new(const struct tokenizer *t, struct grammar_vocabulary **out,
                                   struct error *err) MUST_CHECK;
/* The same from pieces; end[i]: the answer ends with token i. For tests and benches. */
enum status grammar_vocabulary_of(const struct str *pieces, const bool *end, uint32_t n,
                                  struct grammar_vocabulary **out, struct error *err) MUST_CHECK;
void grammar_vocabulary_free(struct grammar_vocabulary *v); /* NULL is fine */

/* Borrows both. NO_MEMORY. */
enum status grammar_run_new(const struct grammar *g, const struct grammar_vocabulary *v,
                            struct grammar_run **out, struct error *err) MUST_CHECK;
void grammar_run_free(struct grammar_run *r); /* NULL is fine */

/* One bit a token, (tokens + 63) / 64 words, for sampler_pick; good until the run's next call. The
 * end tokens are among them where the text so far is whole. TOO_LARGE: the grammar has so many
 * readings of the text that they cannot be kept. */
enum status grammar_run_allowed(struct grammar_run *r, const uint64_t **out,
                                struct error *err) MUST_CHECK;
/* The token that was chosen. INVALID: not an allowed one; the run is as it was. */
enum status grammar_run_accept(struct grammar_run *r, uint32_t token, struct error *err) MUST_CHECK;
/* The text is whole and nothing can follow. */
bool grammar_run_ended(const struct grammar_run *r);
/* The text is whole. */
bool grammar_run_whole(const struct grammar_run *r);

/* Does the whole text keep to the grammar? For tests. */
enum status grammar_matches(const struct grammar *g, struct str text, bool *out,
                            struct error *err) MUST_CHECK;

#endif
