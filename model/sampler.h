/* Choosing the next token. The same logits, options and seed give the same token, at whatever step
 * a run is taken up: the random number of a step comes from the seed and the step's number, not
 * from those before.
 *
 * Order: logit bias, penalties over the last tokens, temperature, top-k, top-p (Holtzman et al.
 * 2020), min-p (Nguyen et al. 2024). Temperature 0 takes the largest logit, of equals the lowest
 * id. */
#ifndef CARREL_MODEL_SAMPLER_H
#define CARREL_MODEL_SAMPLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define SAMPLER_BIASES_MAX 1024U
#define SAMPLER_LOGPROBS_MAX 20U
#define SAMPLER_WINDOW_MAX 8192U

struct logit_bias {
    uint32_t token;
    float bias; /* -100 forbids, +100 forces, as OpenAI's API has it */
};

struct sampler_options {
    float temperature;        /* 0..2 */
    uint32_t top_k;           /* 0: all */
    float top_p;              /* 1: all */
    float min_p;              /* 0: all */
    float repetition_penalty; /* 1: none; divides positive logits of tokens seen, multiplies
                                 negative ones */
    float presence_penalty;   /* -2..2: taken off once for a token seen */
    float frequency_penalty;  /* -2..2: taken off each time */
    uint32_t window;          /* how many of the last tokens count as seen */
    uint64_t seed;
    const struct logit_bias *biases; /* borrowed while sampler_new runs */
    size_t n_biases;
};

struct token_logprob {
    uint32_t token;
    float logprob;
};

struct sampler;

/* INVALID names the option that is out of range. vocabulary: tokens, as many as logits come. */
enum status sampler_new(const struct sampler_options *o, uint32_t vocabulary, struct sampler **out,
                        struct error *err) MUST_CHECK;
uint64_t sampler_bytes(uint32_t vocabulary); /* what one takes, but for its window */
void sampler_free(struct sampler *s);        /* NULL is fine */
/* A token of the prompt or of the answer counts as seen from now on. */
void sampler_accept(struct sampler *s, uint32_t token);
/* The token for step `step` (0 is the first of the answer). logits are not changed. allowed: one
 * bit a token, a constraint's; NULL: all. UINT32_MAX when nothing is allowed. */
uint32_t sampler_pick(struct sampler *s, const float *logits, const uint64_t *allowed,
                      uint64_t step);

/* ---- the same choice from the likeliest alone: a device need not send whole rows ---- */

struct sampler_touched { /* a token whose logit is changed before the choice */
    uint32_t token;
    float bias;    /* added first */
    uint32_t seen; /* then the penalties for so many times; 0: none */
};
#define SAMPLER_TOUCHED_MAX (SAMPLER_BIASES_MAX + SAMPLER_WINDOW_MAX)
/* The tokens that sampler_pick would change, each once, into out (room for SAMPLER_TOUCHED_MAX).
 * false: a list cannot say it (a token with two biases); sampler_pick must choose. */
bool sampler_touched(struct sampler *s, struct sampler_touched *out, size_t *n);
const struct sampler_options *sampler_given(const struct sampler *s);

struct sampler_candidate {
    float logit; /* changed as said above */
    uint32_t token;
};
struct sampler_top {
    const struct sampler_candidate *top; /* likeliest first, of equals the lower id */
    size_t n;
    size_t candidates; /* allowed tokens whose logits are numbers; n of them are in top */
    double total; /* of exp((logit - largest) / temperature) over all of them, within 1e-10 of it */
};
/* The token that sampler_pick takes of these logits, UINT32_MAX where nothing is allowed. false:
 * the likeliest do not tell, sampler_pick must choose. */
bool sampler_pick_top(const struct sampler *s, const struct sampler_top *top, uint64_t step,
                      uint32_t *token);

/* Log probabilities under the model itself, without bias, penalties or temperature: of `token` into
 * *own, and the n likeliest (at most SAMPLER_LOGPROBS_MAX), likeliest first. */
void sampler_logprobs(const float *logits, uint32_t vocabulary, uint32_t token, float *own,
                      struct token_logprob *top, size_t n);

#endif
