#include "retrieve/rerank.h"

#include <math.h>
#include <stdlib.h>

struct scored {
    float score;
    size_t at;   /* in fused */
    size_t from; /* in order */
};

static int best_first(const void *x, const void *y)
{
    const struct scored *a = x, *b = y;
    if (a->score > b->score || a->score < b->score) {
        return a->score > b->score ? -1 : 1;
    }
    return a->from < b->from ? -1 : 1;
}

/* Where it stands in its list moves with it; what it had is kept for the explanation. */
static struct fused moved(const struct fused *f, size_t rank, float score)
{
    struct fused out = *f;
    out.before = (uint32_t)rank;
    out.before_score = f->score;
    out.rerank = score;
    out.score = 1.0F / (1.0F + expf(-score));
    return out;
}

enum status rerank(struct fused *fused, size_t n_fused, size_t *order, const float *scores,
                   size_t n, struct arena *a, struct error *err)
{
    struct scored *list = arena_array(a, n + 1, sizeof *list);
    struct fused *old = arena_array(a, n_fused + 1, sizeof *old);
    bool *taken = arena_array(a, n_fused + 1, sizeof *taken);
    if (list == NULL || old == NULL || taken == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "search: out of memory");
    }
    for (size_t i = 0; i < n; i++) {
        if (order[i] >= n_fused || taken[order[i]] || !isfinite(scores[i])) {
            return error_set(err, STATUS_PROTOCOL, "the reranker's scores make no sense");
        }
        taken[order[i]] = true;
        list[i] = (struct scored){.score = scores[i], .at = order[i], .from = i};
    }
    memcpy(old, fused, n_fused * sizeof *old);
    qsort(list, n, sizeof *list, best_first);
    for (size_t i = 0; i < n; i++) {
        fused[i] = moved(&old[list[i].at], list[i].at + 1, list[i].score);
        order[i] = list[i].at;
    }
    float lowest = n > 0 ? fused[n - 1].score : 1;
    for (size_t i = 0, at = n; i < n_fused; i++) {
        if (!taken[i]) {
            fused[at] = old[i];
            fused[at].score = old[i].score < lowest ? old[i].score : lowest;
            at++;
        }
    }
    return STATUS_OK;
}
