/* The processor as a backend: a workspace, a pool of pages and room for the logits of a pass. */
#include <stdio.h>
#include <stdlib.h>

#include "model/backend.h"

struct cpu {
    struct backend b;
    struct workspace *workspace;
    float *logits; /* choices x vocabulary */
    uint32_t choices;
};

static struct cpu *cpu_of(struct backend *b)
{
    return (struct cpu *)(void *)b;
}

static enum status forward(struct backend *b, const struct model_piece *pieces, size_t n,
                           float *logits, struct error *err)
{
    return model_forward(b->model, cpu_of(b)->workspace, b->keys, pieces, n, logits, err);
}

static enum status choose(struct backend *b, const struct model_piece *pieces, size_t n,
                          struct backend_pick *picks, struct error *err)
{
    struct cpu *c = cpu_of(b);
    if (n > c->choices) {
        return error_set(err, STATUS_INVALID, "a pass of %zu pieces, at most %u", n, c->choices);
    }
    enum status s = forward(b, pieces, n, c->logits, err);
    for (size_t i = 0; s == STATUS_OK && i < n; i++) {
        const float *row = c->logits + i * model_info(b->model)->vocabulary;
        picks[i].logits = row;
        if (picks[i].wanted) {
            picks[i].token = sampler_pick(picks[i].sampler, row, picks[i].allowed, picks[i].step);
        }
    }
    return s;
}

static enum status embed(struct backend *b, const struct model_tokens *texts, size_t n, float *out,
                         struct error *err)
{
    return model_embed_many(b->model, cpu_of(b)->workspace, texts, n, out, err);
}

static enum status rank(struct backend *b, const uint32_t *tokens, uint32_t n, uint32_t second,
                        float *score, struct error *err)
{
    return model_rank(b->model, cpu_of(b)->workspace, tokens, n, second, score, err);
}

static void close_cpu(struct backend *b)
{
    struct cpu *c = cpu_of(b);
    workspace_free(c->workspace);
    kv_pool_free(b->keys);
    free(c->logits);
    free(c);
}

static const struct backend_ops ops = {.name = "cpu",
                                       .forward = forward,
                                       .choose = choose,
                                       .embed = embed,
                                       .rank = rank,
                                       .close = close_cpu};

enum status backend_open_cpu(const struct model *m, const struct backend_options *o,
                             struct backend **out, struct error *err)
{
    struct cpu *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    c->b = (struct backend){.ops = &ops, .model = m};
    c->choices = o->choices;
    enum status s = STATUS_OK;
    if (o->sequences > 0) {
        struct kv_shape shape = model_kv_shape(m, o->kv_type);
        shape.pass_tokens = o->tokens;
        struct kv_room room = kv_room_for(&shape, o->sequences, o->context);
        s = kv_pool_new_with(&shape, &room, NULL, &c->b.keys, err);
    }
    s = s == STATUS_OK ? workspace_new_with(m, o->tokens, o->pool, &c->workspace, err) : s;
    if (s == STATUS_OK) {
        c->logits = calloc((size_t)o->choices * model_info(m)->vocabulary + 1, sizeof *c->logits);
        s = c->logits == NULL
                ? error_set(err, STATUS_NO_MEMORY, "no memory for %u rows of logits", o->choices)
                : s;
    }
    if (s != STATUS_OK) {
        close_cpu(&c->b);
        return s;
    }
    c->b.bytes = model_packed_bytes(m);
    (void)snprintf(c->b.name, sizeof c->b.name, "%s", workspace_kernels(c->workspace));
    *out = &c->b;
    return STATUS_OK;
}
