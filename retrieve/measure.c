#include "retrieve/measure.h"

#include <math.h>
#include <stdlib.h>

void measure(const uint32_t *ranks, size_t n_units, struct measured *out)
{
    size_t in_5 = 0, in_20 = 0;
    uint32_t best = 0;
    double gain = 0, ideal = 0;
    for (size_t i = 0; i < n_units; i++) {
        uint32_t r = ranks[i];
        in_5 += r > 0 && r <= 5;
        in_20 += r > 0 && r <= 20;
        gain += r > 0 && r <= 10 ? 1 / log2((double)r + 1) : 0;
        ideal += i < 10 ? 1 / log2((double)i + 2) : 0;
        best = r > 0 && (best == 0 || r < best) ? r : best;
    }
    out->v[RECALL_5] = (float)((double)in_5 / (double)n_units);
    out->v[RECALL_20] = (float)((double)in_20 / (double)n_units);
    out->v[NDCG_10] = (float)(gain / ideal);
    out->v[MRR_10] = best > 0 && best <= 10 ? 1.F / (float)best : 0;
}

/* xorshift64* (S. Vigna, 2016), seeded alike each time. */
static uint64_t draw(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 2685821657736338717ULL;
}

static int by_value(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

void interval_of(const float *values, size_t n, struct interval *out)
{
    double means[MEASURE_RESAMPLES];
    uint64_t state = 88172645463325252ULL;
    double sum = 0;
    *out = (struct interval){0};
    if (n == 0) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        sum += (double)values[i];
    }
    for (size_t b = 0; b < MEASURE_RESAMPLES; b++) {
        double s = 0;
        for (size_t i = 0; i < n; i++) {
            s += (double)values[(size_t)((draw(&state) >> 11) % n)];
        }
        means[b] = s / (double)n;
    }
    qsort(means, MEASURE_RESAMPLES, sizeof means[0], by_value);
    out->mean = sum / (double)n;
    out->low = means[MEASURE_RESAMPLES * 25 / 1000];
    out->high = means[MEASURE_RESAMPLES * 975 / 1000 - 1];
}

void interval_of_difference(const float *a, const float *b, size_t n, float *scratch,
                            struct interval *out)
{
    for (size_t i = 0; i < n; i++) {
        scratch[i] = b[i] - a[i];
    }
    interval_of(scratch, n, out);
}
