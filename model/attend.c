#include "model/attend.h"

#include <math.h>
#include <string.h>

static float sum_of(const float *lanes)
{
    float sums[KERNEL_KEYS];
    memcpy(sums, lanes, sizeof sums);
    for (size_t width = KERNEL_KEYS / 2; width > 0; width /= 2) {
        for (size_t i = 0; i < width; i++) {
            sums[i] += sums[i + width];
        }
    }
    return sums[0];
}

void attend_run(const struct kernels *k, const struct attend_job *job,
                const struct attend_room *room)
{
    struct attend_tile tile = {.q = room->q,
                               .out = room->out,
                               .n = job->n,
                               .cap = job->cap,
                               .key_width = job->key_width,
                               .value_width = ATTEND_PADDED(job->value_width)};
    uint32_t most = 0;
    uint32_t least = UINT32_MAX;
    uint32_t whole_from = 0; /* from here to there everybody sees all */
    uint32_t whole_to = UINT32_MAX;
    memset(room->q, 0, (size_t)job->key_width * KERNEL_TILE * sizeof *room->q);
    memset(room->out, 0, (size_t)tile.value_width * KERNEL_TILE * sizeof *room->out);
    for (uint32_t i = 0; i < KERNEL_TILE; i++) {
        tile.most[i] = -INFINITY;
    }
    for (uint32_t i = 0; i < job->n; i++) {
        most = job->sees[i] > most ? job->sees[i] : most;
        least = job->from[i] < least ? job->from[i] : least;
        whole_from = job->from[i] > whole_from ? job->from[i] : whole_from;
        whole_to = job->sees[i] < whole_to ? job->sees[i] : whole_to;
        for (uint32_t d = 0; d < job->key_width; d++) {
            room->q[(size_t)d * KERNEL_TILE + i] = job->q_at[i][d] * job->scale;
        }
    }
    for (uint32_t from = least / KERNEL_KEYS * KERNEL_KEYS; from < most; from += KERNEL_KEYS) {
        const void *keys = NULL;
        const void *values = NULL;
        job->page(job->data, from / KERNEL_KEYS, &keys, &values);
        tile.partly = from < whole_from || from + KERNEL_KEYS > whole_to;
        for (uint32_t i = 0; i < job->n && tile.partly; i++) {
            uint32_t left = job->sees[i] > from ? job->sees[i] - from : 0;
            uint32_t skip = job->from[i] > from ? job->from[i] - from : 0;
            tile.keys[i] = left < KERNEL_KEYS ? left : KERNEL_KEYS;
            tile.skip[i] = skip < KERNEL_KEYS ? skip : KERNEL_KEYS;
        }
        k->attend(&tile, keys, values, job->form);
    }
    for (uint32_t i = 0; i < job->n; i++) {
        const float *sums = room->out + (size_t)i * tile.value_width;
        float weight = sum_of(tile.sum + (size_t)i * KERNEL_KEYS);
        for (uint32_t d = 0; d < job->value_width; d++) {
            job->out_at[i][d] = sums[d] / weight;
        }
    }
}
