/* What a request used, and what that costs. Money is in millionths of the currency, whole ones:
 * each request's cost is rounded once, so that all sums of them are exact. Pure. */
#ifndef CARREL_SERVE_USAGE_PRICES_H
#define CARREL_SERVE_USAGE_PRICES_H

#include "base/settings/settings.h"
#include "base/str.h"

#define USAGE_MODEL_CAP 96
#define USAGE_MODELS_MAX 64

struct usage {
    char model[USAGE_MODEL_CAP]; /* "" none */
    char engine[16];
    bool external; /* the model is another machine's */
    int64_t prompt_tokens, completion_tokens, embedding_tokens;
    int64_t cpu_us, gpu_us; /* of a core, of the GPU */
    int64_t upload_bytes;
    int64_t guessed_prompt, guessed_completion; /* of the tokens: another machine's, by our guess */
};

struct cost {
    int64_t micro;    /* all together */
    int64_t external; /* of it */
    int64_t guessed;  /* of that, for tokens that are guessed */
};

struct prices {
    char currency[4];
    int64_t cpu_second, gpu_second, gb_month; /* millionths each */
    int64_t prompt, completion, embedding, external_prompt, external_completion; /* a million */
    size_t n;
    struct {
        const char *name; /* the settings' */
        int64_t prompt, completion;
    } models[USAGE_MODELS_MAX];
};

void prices_read(const struct settings *s, struct prices *out);
int64_t prices_micro(double amount);
struct cost prices_cost(const struct prices *p, const struct usage *u);
/* How many tokens of an answer so much money pays; UINT32_MAX: any number. */
uint32_t prices_tokens(const struct prices *p, const char *model, bool external, int64_t micro);
/* One day's share of a month of so many days for these bytes. */
int64_t prices_storage_day(const struct prices *p, int64_t bytes, int days);
/* A name as reports have it: "phi (sha256 0123, avx2)" is phi. */
void usage_model(struct usage *u, const char *model);

#endif
