/* The peer: llama.cpp as node-llama-cpp's package carries it, called through its C interface. An
 * independent reading of the same GGUF files, for comparison in tests and benchmarks; no part of
 * the product. The package is opened at run time; where it is missing, tests are skipped aloud.
 *
 * One thread; what it returns it owns. */
#ifndef CARREL_TESTS_PEER_ENGINE_H
#define CARREL_TESTS_PEER_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The structs in engine.c are those of this version. */
#define ENGINE_VERSION "0.5.0"

struct engine;
struct engine_run;

/* How a model is to be run. context 0: only its vocabulary is read. */
struct engine_options {
    uint32_t context;   /* tokens in all sequences together */
    uint32_t batch;     /* tokens of a pass */
    uint32_t sequences; /* at least 1 */
    uint32_t threads;
    bool vectors; /* embeddings of whole sequences, or scores, instead of logits */
    bool exact;   /* 32-bit keys and values, plain attention, weights as they lie in the file */
};

struct engine_token {
    uint32_t id, position, sequence;
    bool wanted; /* its logits */
};

/* modules: the node_modules that hold @node-llama-cpp/linux-x64. False: `reason` tells what is
 * missing. */
bool engine_open(const char *modules, struct engine **out, char reason[256]);
void engine_close(struct engine *e); /* NULL is fine */

/* NULL when the engine refuses the file. */
struct engine_run *engine_run_open(struct engine *e, const char *path,
                                   const struct engine_options *o);
void engine_run_close(struct engine_run *r); /* NULL is fine */
uint32_t engine_vocabulary(const struct engine_run *r);
uint32_t engine_width(const struct engine_run *r);

void engine_forget(struct engine_run *r); /* all sequences are empty again */
bool engine_pass(struct engine_run *r, const struct engine_token *tokens, uint32_t n);
/* Of the last pass: logits of its i-th token; the vector of a sequence, not normalised (its first
 * value is the score where the model is a reranker). NULL: there is none. */
const float *engine_logits(struct engine_run *r, uint32_t i);
const float *engine_vector(struct engine_run *r, uint32_t sequence);

/* Ids of a text's bytes; affix: with what the model wants at the ends. The number of them, or -1
 * when it has no answer; out must hold 3 x len + 16. */
int64_t engine_tokenize(const struct engine_run *r, const char *text, size_t len, bool affix,
                        int32_t *out);

/* Writes a model's weights as another type, by the engine's own rounding. type: its number for
 * files (llama_ftype); pure: all matrices alike, instead of its mixture. */
bool engine_quantize(struct engine *e, const char *in, const char *out, int type, bool pure);

#endif
