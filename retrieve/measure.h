/* Measures of ranked lists, their means with confidence intervals by bootstrap (percentiles of the
 * means of resamples; B. Efron, R. Tibshirani, An Introduction to the Bootstrap, 1993), and paired
 * differences. Pure; the same numbers for the same input. */
#ifndef CARREL_RETRIEVE_MEASURE_H
#define CARREL_RETRIEVE_MEASURE_H

#include <stddef.h>
#include <stdint.h>

enum { RECALL_5, RECALL_20, NDCG_10, MRR_10, MEASURES };

struct measured {
    float v[MEASURES]; /* 0..1 */
};
/* ranks: of the first passage of each unit that answers, 1-based, 0: not found. A unit is a section
 * or document that should be found; further passages of it neither help nor harm. n_units > 0. */
void measure(const uint32_t *ranks, size_t n_units, struct measured *out);

struct interval {
    double mean, low, high; /* of 95 % */
};
#define MEASURE_RESAMPLES 1000
/* Of n values (n 0: all zero). */
void interval_of(const float *values, size_t n, struct interval *out);
/* b - a, question by question. scratch: room for n. */
void interval_of_difference(const float *a, const float *b, size_t n, float *scratch,
                            struct interval *out);

#endif
