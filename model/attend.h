/* Attention over pages of sixteen keys, eight queries at a time, in the order of the positions: a
 * query's result depends on its own keys alone. */
#ifndef CARREL_MODEL_ATTEND_H
#define CARREL_MODEL_ATTEND_H

#include "model/kernels.h"

struct attend_room { /* of one worker */
    float *q;        /* head width x KERNEL_TILE */
    float *out;      /* KERNEL_TILE x value width, rounded up to 16 */
};

/* A tile: queries q[i] (key_width floats each, from q_at[i]), which see the first sees[i] keys; the
 * results go to out_at[i] (value_width floats). */
struct attend_job {
    uint32_t n, key_width, value_width;
    float scale;
    float cap; /* scores become cap tanh(score / cap); 0: they stay */
    enum attend_form form;
    const float *q_at[KERNEL_TILE];
    float *out_at[KERNEL_TILE];
    uint32_t sees[KERNEL_TILE];
    uint32_t from[KERNEL_TILE]; /* but not the first so many: a window */
    /* the page of the keys from 16 x page on */
    void (*page)(const void *data, uint32_t page, const void **keys, const void **values);
    const void *data;
};

#define ATTEND_PADDED(value_width) (((value_width) + 15U) / 16U * 16U)

void attend_run(const struct kernels *k, const struct attend_job *job,
                const struct attend_room *room);

#endif
