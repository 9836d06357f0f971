/* Texts to vectors and pairs to scores with an imported model. Pure but for the scratch, which is
 * one thread's. */
#ifndef CARREL_EMBED_NEURAL_H
#define CARREL_EMBED_NEURAL_H

#include "embed/encode.h"
#include "model/backend.h"
#include "model/registry.h"

/* Tokens read of one text, where the model's context is not smaller. What is longer is cut, and counted, or
 * read in windows. */
#define NEURAL_TOKENS_MAX 2048U
#define NEURAL_WINDOWS_MAX 64U /* of one text; what is behind them is cut, and counted */
#define NEURAL_GROUP 8U /* texts encoded together */

struct neural_scratch {
    const struct model *of;   /* what the backend was opened for; NULL: none */
    const struct model *told; /* whose note on packed weights was logged */
    struct backend *backend;
    uint32_t room; /* tokens it takes */
    bool whole;    /* a text that is longer than is read is an error, not cut; set before a call */
    bool windows;  /* such a text is read in windows; set before a call */
    size_t first;  /* the number of the call's first text, for that error */
    uint32_t threads; /* 0: the caller's alone; set before the first use */
    struct pool *pool;
    struct token_list tokens[NEURAL_GROUP];
    struct token_list head; /* of a text that is read in windows: what each begins with */
};

void neural_scratch_init(struct neural_scratch *s);
void neural_scratch_deinit(struct neural_scratch *s);

struct neural_count {
    uint64_t tokens, cut; /* read; texts that were longer than what is read */
};

/* The vector of one text behind its prefix, of unit length, into out[width]. */
enum status neural_encode(struct neural_scratch *s, const struct model *m,
                          const struct model_record *r, const struct encode_text *t, bool query,
                          float *out, struct neural_count *count, struct error *err) MUST_CHECK;
/* The same for up to NEURAL_GROUP texts, faster than one by one, with the same bits. out: a row a
 * text. TOO_LARGE (whole): names the text, its tokens and the limit. */
enum status neural_encode_group(struct neural_scratch *s, const struct model *m,
                                const struct model_record *r, const struct encode_text *texts,
                                uint32_t n, bool query, float *out, struct neural_count *count,
                                struct error *err) MUST_CHECK;
#define NEURAL_LINE_CAP 200
/* "name (sha256 0123456789ab, avx512)": which model it is and what computes it, once it has. */
void neural_line(const struct neural_scratch *s, const struct model_record *r,
                 char out[NEURAL_LINE_CAP]);
enum status neural_score(struct neural_scratch *s, const struct model *m, struct str query,
                         struct str passage, float *out, struct neural_count *count,
                         struct error *err) MUST_CHECK;

#endif
