#include "retrieve/fuse.h"

#include <stdlib.h>

float fuse_encoder_weight(const char *encoder, double built_in, double imported)
{
    return (float)(strncmp(encoder, "gguf-", 5) == 0 ? imported : built_in);
}

float fuse_weight(float encoder_weight, float upper_bound_share)
{
    float share = upper_bound_share < 0 ? 0 : upper_bound_share > 1 ? 1 : upper_bound_share;
    return encoder_weight * (1 - share);
}

static float stretched(const struct fuse_hit *list, size_t n, size_t i)
{
    float high = list[0].score, low = list[n - 1].score;
    return high > low ? (list[i].score - low) / (high - low) : 1;
}

static int by_chunk(const void *x, const void *y)
{
    const struct fused *a = x, *b = y;
    size_t n = a->chunk.len < b->chunk.len ? a->chunk.len : b->chunk.len;
    int c = n == 0 ? 0 : memcmp(a->chunk.ptr, b->chunk.ptr, n);
    if (c != 0 || a->chunk.len != b->chunk.len) {
        return c != 0 ? c : a->chunk.len < b->chunk.len ? -1 : 1;
    }
    /* the same chunk: text before dense, better ranks first */
    uint64_t ra = a->text_rank > 0 ? a->text_rank : (uint64_t)UINT32_MAX + a->dense_rank;
    uint64_t rb = b->text_rank > 0 ? b->text_rank : (uint64_t)UINT32_MAX + b->dense_rank;
    return ra < rb ? -1 : ra > rb;
}

static uint64_t rank_or_last(uint32_t rank)
{
    return rank > 0 ? rank : UINT32_MAX;
}

static int by_score(const void *x, const void *y)
{
    const struct fused *a = x, *b = y;
    if (a->score > b->score || a->score < b->score) {
        return a->score > b->score ? -1 : 1;
    }
    uint64_t ra = rank_or_last(a->text_rank) << 32 | rank_or_last(a->dense_rank);
    uint64_t rb = rank_or_last(b->text_rank) << 32 | rank_or_last(b->dense_rank);
    return ra < rb ? -1 : ra > rb;
}

enum status fuse(const struct fuse_hit *text, size_t n_text, const struct fuse_hit *dense,
                 size_t n_dense, float dense_weight, struct arena *a, struct fused **out,
                 size_t *n_out, struct error *err)
{
    size_t n = 0, kept = 0;
    struct fused *all = arena_array(a, n_text + n_dense + 1, sizeof(*all));
    if (all == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "fusing %zu passages: out of memory",
                         n_text + n_dense);
    }
    float share = n_text == 0 ? 1 : n_dense == 0 ? 0 : dense_weight;
    for (size_t i = 0; i < n_text; i++) {
        all[n++] = (struct fused){.chunk = text[i].chunk,
                                  .score = (1 - share) * stretched(text, n_text, i),
                                  .text_rank = (uint32_t)(i + 1)};
    }
    for (size_t i = 0; i < n_dense; i++) {
        all[n++] = (struct fused){.chunk = dense[i].chunk,
                                  .score = share * stretched(dense, n_dense, i),
                                  .dense_rank = (uint32_t)(i + 1)};
    }
    qsort(all, n, sizeof(*all), by_chunk);
    for (size_t i = 0; i < n; i++) {
        if (kept == 0 || !str_eq(all[kept - 1].chunk, all[i].chunk)) {
            all[kept++] = all[i];
        } else if (all[kept - 1].dense_rank == 0 && all[i].dense_rank > 0) {
            all[kept - 1].dense_rank = all[i].dense_rank;
            all[kept - 1].score += all[i].score;
        }
    }
    qsort(all, kept, sizeof(*all), by_score);
    *out = all;
    *n_out = kept;
    return STATUS_OK;
}
