/* Tokens chosen on the device: what each sampler changes goes there, the likeliest of each row come
 * back, and the sampler's own code takes one of them. Where they do not tell (sampler.h), or where
 * log probabilities are wanted, the row comes too. */
#include <string.h>

#include "model/cuda/cuda_internal.h"

/* What row `row` is chosen by; false: the host must choose. */
static bool ask(struct cuda *c, uint32_t row, const struct backend_pick *pick)
{
    const struct sampler_options *o = sampler_given(pick->sampler);
    size_t words = ((size_t)c->m->info.vocabulary + 63) / 64;
    struct sampler_touched *touched = c->touched_room;
    size_t n = 0;
    bool single = sampler_touched(pick->sampler, touched, &n);
    c->host_samplings[row] = (struct gpu_sampling){.temperature = o->temperature,
                                                   .repetition_penalty = o->repetition_penalty,
                                                   .presence_penalty = o->presence_penalty,
                                                   .frequency_penalty = o->frequency_penalty,
                                                   .masked = pick->allowed != NULL ? 1 : 0};
    if (pick->allowed != NULL) {
        memcpy(c->host_masks + row * words, pick->allowed, words * sizeof *c->host_masks);
    }
    for (size_t i = 0; single && i < n; i++) {
        c->host_touched[c->n_touched++] = (struct gpu_touched){.row = row,
                                                               .token = touched[i].token,
                                                               .bias = touched[i].bias,
                                                               .seen = touched[i].seen};
    }
    return single;
}

static enum status send(struct cuda *c, uint32_t rows, bool masked, struct error *err)
{
    const struct gpu_ops *ops = c->ops;
    size_t words = ((size_t)c->m->info.vocabulary + 63) / 64;
    enum status s =
        ops->to_device(c->gpu, c->samplings, c->host_samplings, rows * sizeof *c->samplings, err);
    if (s == STATUS_OK && masked) {
        s = ops->to_device(c->gpu, c->masks, c->host_masks, rows * words * sizeof *c->masks, err);
    }
    if (s == STATUS_OK && c->n_touched > 0) {
        s = ops->to_device(c->gpu, c->touched, c->host_touched, c->n_touched * sizeof *c->touched,
                           err);
    }
    if (s == STATUS_OK) {
        s = ops->choose(c->gpu, c->logits, c->room, rows, c->m->info.vocabulary, c->samplings,
                        c->touched, c->n_touched, c->masks, c->picked, err);
    }
    if (s == STATUS_OK) {
        s = ops->to_host(c->gpu, c->host_picked, c->picked, rows * sizeof *c->picked, err);
    }
    return s == STATUS_OK ? ops->finish(c->gpu, err) : s;
}

static enum status fetch(struct cuda *c, uint32_t row, struct error *err)
{
    size_t n = c->m->info.vocabulary;
    enum status s = c->ops->to_host(c->gpu, c->host_logits + row * n, c->logits + row * n,
                                    n * sizeof *c->host_logits, err);
    return s == STATUS_OK ? c->ops->finish(c->gpu, err) : s;
}

static bool told(const struct cuda *c, uint32_t row, struct backend_pick *pick)
{
    const struct gpu_choice *choice = &c->host_picked[row];
    struct sampler_candidate top[GPU_TOP];
    for (uint32_t i = 0; i < choice->n && i < GPU_TOP; i++) {
        top[i] = (struct sampler_candidate){choice->top[i].logit, choice->top[i].token};
    }
    struct sampler_top t = {
        .top = top, .n = choice->n, .candidates = choice->candidates, .total = choice->total};
    return sampler_pick_top(pick->sampler, &t, pick->step, &pick->token);
}

enum status cuda_pick(struct cuda *c, const struct cuda_pass *p, struct backend_pick *picks,
                      struct error *err)
{
    bool host[CUDA_CHOICES_MAX] = {false};
    bool masked = false;
    uint32_t rows = 0;
    c->n_touched = 0;
    for (size_t i = 0; i < p->n_pieces; i++) {
        if (picks[i].wanted) {
            masked = masked || picks[i].allowed != NULL;
            host[rows] = !ask(c, rows, &picks[i]);
            rows++;
        }
    }
    enum status s = rows > 0 ? send(c, rows, masked, err) : STATUS_OK;
    uint32_t row = 0;
    for (size_t i = 0; i < p->n_pieces && s == STATUS_OK; i++) {
        struct backend_pick *pick = &picks[i];
        if (!pick->wanted) {
            continue;
        }
        bool known = !host[row] && told(c, row, pick);
        if (!known || pick->logits_wanted) {
            s = fetch(c, row, err);
            pick->logits = c->host_logits + (size_t)row * c->m->info.vocabulary;
        }
        if (!known && s == STATUS_OK) {
            pick->token = sampler_pick(pick->sampler, pick->logits, pick->allowed, pick->step);
        }
        row++;
    }
    return s;
}
