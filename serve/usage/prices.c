#include "serve/usage/prices.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define MILLION INT64_C(1000000)
#define AMOUNT_MAX (INT64_C(1000000) * MILLION)

int64_t prices_micro(double amount)
{
    return (int64_t)llround(amount * (double)MILLION);
}

void prices_read(const struct settings *s, struct prices *out)
{
    *out = (struct prices){
        .cpu_second = prices_micro(s->prices.cpu_second),
        .gpu_second = prices_micro(s->prices.gpu_second),
        .gb_month = prices_micro(s->prices.gb_month),
        .prompt = prices_micro(s->prices.prompt_million),
        .completion = prices_micro(s->prices.completion_million),
        .embedding = prices_micro(s->prices.embedding_million),
        .external_prompt = prices_micro(s->prices.external_prompt_million),
        .external_completion = prices_micro(s->prices.external_completion_million),
    };
    (void)snprintf(out->currency, sizeof out->currency, "%.3s", s->prices.currency);
    for (size_t i = 0; i < s->n_model_prices && out->n < USAGE_MODELS_MAX; i++) {
        out->models[out->n].name = s->model_prices[i].name;
        out->models[out->n].prompt = prices_micro(s->model_prices[i].prompt_million);
        out->models[out->n++].completion = prices_micro(s->model_prices[i].completion_million);
    }
}

/* amount * price / 10^6, rounded; a price is at most 10^12, so nothing overflows. */
static int64_t of_million(int64_t amount, int64_t price)
{
    amount = amount < 0 ? 0 : amount > AMOUNT_MAX ? AMOUNT_MAX : amount;
    return amount / MILLION * price + (amount % MILLION * price + MILLION / 2) / MILLION;
}

/* A million tokens read and written by this model. */
static void rates(const struct prices *p, const char *model, bool external, int64_t *prompt,
                  int64_t *completion)
{
    *prompt = external ? p->external_prompt : p->prompt;
    *completion = external ? p->external_completion : p->completion;
    for (size_t i = 0; i < p->n; i++) {
        if (strcmp(p->models[i].name, model) == 0) {
            *prompt = p->models[i].prompt;
            *completion = p->models[i].completion;
        }
    }
}

uint32_t prices_tokens(const struct prices *p, const char *model, bool external, int64_t micro)
{
    int64_t prompt;
    int64_t completion;
    rates(p, model, external, &prompt, &completion);
    if (completion <= 0) {
        return UINT32_MAX;
    }
    int64_t millions = micro < 0 ? 0 : micro / completion;
    if (millions >= UINT32_MAX / MILLION) {
        return UINT32_MAX;
    }
    /* the rest is below a price, at most 10^15, and 10^21 would not fit */
    double rest = micro < 0 ? 0 : (double)(micro % completion) * (double)MILLION;
    return (uint32_t)(millions * MILLION + (int64_t)(rest / (double)completion));
}

struct cost prices_cost(const struct prices *p, const struct usage *u)
{
    int64_t prompt;
    int64_t completion;
    rates(p, u->model, u->external, &prompt, &completion);
    int64_t tokens =
        of_million(u->prompt_tokens, prompt) + of_million(u->completion_tokens, completion);
    int64_t here = of_million(u->embedding_tokens, p->embedding) +
                   of_million(u->cpu_us, p->cpu_second) + of_million(u->gpu_us, p->gpu_second);
    int64_t guessed =
        of_million(u->guessed_prompt, prompt) + of_million(u->guessed_completion, completion);
    return (struct cost){.micro = tokens + here,
                         .external = u->external ? tokens : 0,
                         .guessed = !u->external       ? 0
                                    : guessed < tokens ? guessed
                                                       : tokens};
}

int64_t prices_storage_day(const struct prices *p, int64_t bytes, int days)
{
    /* millionths of a GB, so that 10^18 bytes fit */
    return days <= 0 ? 0 : (of_million(bytes / 1000, p->gb_month) + days / 2) / days;
}

void usage_model(struct usage *u, const char *model)
{
    const char *end = strstr(model, " (");
    size_t n = end == NULL ? strlen(model) : (size_t)(end - model);
    (void)snprintf(u->model, sizeof u->model, "%.*s", n > 90 ? 90 : (int)n, model);
}
