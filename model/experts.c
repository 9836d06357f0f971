/* A feed-forward network that is a choice of experts (Shazeer et al. 2017; Jiang et al. 2024): a
 * router gives each token a few of them, whose results are added by their shares.
 *
 * Tokens are gathered expert by expert, so that an expert's weights are read once a pass. A token's
 * sum runs over its experts from the likeliest down, so it is the same whoever else is there. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/model_internal.h"

struct choice {
    uint32_t expert;
    float share;
};

struct expert_room {
    uint32_t used;
    float *scores;          /* tokens x experts */
    struct choice *choices; /* tokens x used, likeliest first */
    float *in, *out;        /* tokens x width: of one expert */
    float *results;         /* tokens x used x width */
    uint32_t *places;       /* tokens: which results the rows of one expert are */
};

uint64_t expert_room_bytes(const struct model_info *i, uint32_t tokens)
{
    uint64_t each = i->experts + 2ULL * i->width + 1 +
                    i->experts_used * (i->width + sizeof(struct choice) / sizeof(float));
    return tokens * each * sizeof(float);
}

enum status expert_room_new(const struct model *m, uint32_t tokens, struct expert_room **out,
                            struct error *err)
{
    struct expert_room *r = calloc(1, sizeof *r);
    size_t width = m->info.width;
    size_t all = (size_t)tokens * m->info.experts_used;
    if (r != NULL) {
        r->used = m->info.experts_used;
        r->scores = calloc((size_t)tokens * m->info.experts + 16, sizeof *r->scores);
        r->choices = calloc(all, sizeof *r->choices);
        r->in = calloc(tokens * width + 16, sizeof *r->in);
        r->out = calloc(tokens * width + 16, sizeof *r->out);
        r->results = calloc(all * width + 16, sizeof *r->results);
        r->places = calloc(tokens, sizeof *r->places);
    }
    if (r == NULL || r->scores == NULL || r->choices == NULL || r->in == NULL || r->out == NULL ||
        r->results == NULL || r->places == NULL) {
        expert_room_free(r);
        return error_set(err, STATUS_NO_MEMORY, "no memory for passes of %u tokens", tokens);
    }
    *out = r;
    return STATUS_OK;
}

void expert_room_free(struct expert_room *r)
{
    if (r != NULL) {
        free(r->scores);
        free(r->choices);
        free(r->in);
        free(r->out);
        free(r->results);
        free(r->places);
        free(r);
    }
}

/* The likeliest experts, of equals the lower number, their shares adding up to 1. */
static void choose(const float *scores, uint32_t experts, uint32_t used, struct choice *out)
{
    float sum = 0;
    for (uint32_t k = 0; k < used; k++) {
        uint32_t best = UINT32_MAX;
        for (uint32_t e = 0; e < experts; e++) {
            bool taken = false;
            for (uint32_t j = 0; j < k; j++) {
                taken = taken || out[j].expert == e;
            }
            if (!taken && (best == UINT32_MAX || scores[e] > scores[best])) {
                best = e;
            }
        }
        out[k].expert = best;
        out[k].share = expf(scores[best] - scores[out[0].expert]);
        sum += out[k].share;
    }
    for (uint32_t k = 0; k < used; k++) {
        out[k].share /= sum;
    }
}

/* Rows of the tokens that chose the expert. */
static uint32_t gather(struct expert_room *r, const float *h, uint32_t n, size_t width,
                       uint32_t expert)
{
    uint32_t rows = 0;
    for (uint32_t i = 0; i < n * r->used; i++) {
        if (r->choices[i].expert == expert) {
            memcpy(r->in + rows * width, h + i / r->used * width, width * sizeof *h);
            r->places[rows++] = i;
        }
    }
    return rows;
}

void experts_run(const struct model *m, struct workspace *w, const struct layer *l, uint32_t n)
{
    struct expert_room *r = w->expert_room;
    size_t width = m->info.width;
    const struct product route = {&l->router, NULL, r->scores};
    matmul_run(w->matmul, w->h, n, &route, 1);
    for (uint32_t t = 0; t < n; t++) {
        choose(r->scores + (size_t)t * m->info.experts, m->info.experts, r->used,
               r->choices + (size_t)t * r->used);
    }
    for (uint32_t e = 0; e < m->info.experts; e++) {
        const struct expert *x = &l->experts[e];
        const struct product in[] = {{&x->gate, NULL, w->gate}, {&x->up, NULL, w->up}};
        const struct product out = {&x->down, NULL, r->out};
        uint32_t rows = gather(r, w->h, n, width, e);
        if (rows == 0) {
            continue;
        }
        matmul_run(w->matmul, r->in, rows, in, 2);
        w->kernels->swiglu(w->gate, w->up, (size_t)rows * m->expert_width);
        matmul_run(w->matmul, w->gate, rows, &out, 1);
        for (uint32_t i = 0; i < rows; i++) {
            memcpy(r->results + r->places[i] * width, r->out + i * width, width * sizeof *r->out);
        }
    }
    memset(w->h, 0, n * width * sizeof *w->h);
    for (size_t i = 0; i < (size_t)n * r->used; i++) {
        float *sum = w->h + i / r->used * width;
        for (size_t d = 0; d < width; d++) {
            sum[d] += r->choices[i].share * r->results[i * width + d];
        }
    }
}
