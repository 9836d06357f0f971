/* How many lists must a search look into? Questions are asked whose true answer is known: half are
 * rows of the segment (which do not count themselves), half lie between two rows, as the question
 * of somebody who does not write like the documents may. For each the true best are found by a
 * whole scan; what counts is the rank, among the lists ordered by nearness, of the list that holds
 * each of them. The kind of question that needs more decides. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "vectorstore/dense_internal.h"

#define QUESTIONS 96U
#define TRUE_BEST 1000U
#define SCAN_ROWS 64U
#define SECOND 0.6F /* weight of the second row of a question between two */
#define TARGET 0.97 /* above the 0.95 promised: questions differ from rows */

#define LEVELS 3U /* the best 10, 100, 1000 */

struct tally { /* of one kind of question: how many of the best lie in the list of each rank */
    uint32_t *of[LEVELS];
};

struct ask {
    const struct calibrating *c;
    const struct dot *dot;
    uint64_t rows[2]; /* left out */
    float unit[VECTOR_MAX_DIMENSIONS];
    int8_t codes[VECTOR_MAX_DIMENSIONS];
    uint16_t row[VECTOR_MAX_DIMENSIONS];
    struct candidate found[2 * TRUE_BEST + 128];
    float *halves;
    uint16_t *rank; /* of each list, for this question */
    struct tally tally[2];
};

static enum status make_question(struct ask *a, uint32_t number, struct error *err)
{
    const struct dense_meta *m = a->c->meta;
    double sum = 0;
    a->rows[0] = m->n / QUESTIONS * number;
    a->rows[1] = number % 2 == 0 ? a->rows[0] : (a->rows[0] + m->n / 2 + number * 7U) % m->n;
    memset(a->unit, 0, sizeof a->unit);
    for (size_t i = 0; i < 1 + (size_t)(number % 2); i++) {
        enum status s = a->c->row(a->c->data, a->rows[i], a->row, err);
        if (s != STATUS_OK) {
            return s;
        }
        for (size_t j = 0; j < m->dimensions; j++) {
            a->unit[j] += (i == 0 ? 1 : SECOND) * half_to_float(a->row[j]);
        }
    }
    for (size_t j = 0; j < m->dimensions; j++) {
        sum += (double)a->unit[j] * (double)a->unit[j];
    }
    for (size_t j = 0; j < m->dimensions && sum > 0; j++) {
        a->unit[j] = (float)((double)a->unit[j] / sqrt(sum));
    }
    (void)dot_encode_query(a->unit, m->dimensions, a->codes);
    return STATUS_OK;
}

static int by_score(const void *x, const void *y)
{
    float a = ((const struct candidate *)x)->score;
    float b = ((const struct candidate *)y)->score;
    return (a < b) - (a > b);
}

/* The best TRUE_BEST, first in found; *n how many there are. */
static enum status find_best(struct ask *a, size_t *n, struct error *err)
{
    const struct dense_meta *m = a->c->meta;
    struct candidates c = {.heap = a->found, .cap = sizeof a->found / sizeof a->found[0]};
    int32_t sums[SCAN_ROWS];
    for (uint64_t i = 0; i < m->n; i += SCAN_ROWS) {
        size_t rows = m->n - i < SCAN_ROWS ? (size_t)(m->n - i) : SCAN_ROWS;
        a->dot->codes(a->codes, a->c->codes + i * m->dimensions, m->dimensions, rows, sums);
        for (size_t j = 0; j < rows; j++) {
            if (i + j != a->rows[0] && i + j != a->rows[1]) {
                candidates_offer(&c,
                                 (struct candidate){.score = (float)sums[j] * a->c->scales[i + j],
                                                    .row = (uint32_t)(i + j)});
            }
        }
    }
    for (size_t i = 0; i < c.n; i++) {
        enum status s = a->c->row(a->c->data, c.heap[i].row, a->row, err);
        if (s != STATUS_OK) {
            return s;
        }
        c.heap[i].score = a->dot->half(a->unit, a->row, m->dimensions);
    }
    qsort(c.heap, c.n, sizeof *c.heap, by_score);
    *n = c.n < TRUE_BEST ? c.n : TRUE_BEST;
    return STATUS_OK;
}

static uint32_t list_of(const struct calibrating *c, uint64_t row)
{
    uint32_t lo = 0;
    uint32_t hi = c->meta->lists;
    while (hi - lo > 1) { /* offsets[lo] <= row < offsets[hi] */
        uint32_t mid = lo + (hi - lo) / 2;
        if (c->offsets[mid] <= row) {
            lo = mid;
        } else {
            hi = mid;
        }
    }
    return lo;
}

static enum status ask(struct ask *a, uint32_t number, struct error *err)
{
    const struct dense_meta *m = a->c->meta;
    struct nearest near;
    size_t n = 0;
    enum status s = make_question(a, number, err);
    if (s == STATUS_OK) {
        s = find_best(a, &n, err);
    }
    if (s == STATUS_OK) {
        s = nearest_make(&near, a->dot, a->unit, a->c->centroids, a->halves, m->lists,
                         m->dimensions, err);
    }
    if (s != STATUS_OK) {
        return s;
    }
    for (uint32_t r = 0; r < m->lists; r++) {
        a->rank[nearest_next(&near)] = (uint16_t)r;
    }
    nearest_free(&near);
    struct tally *t = &a->tally[number % 2];
    for (size_t i = 0; i < n; i++) {
        uint16_t r = a->rank[list_of(a->c, a->found[i].row)];
        for (size_t level = 0, best = 10; level < LEVELS; level++, best *= 10) {
            t->of[level][r] += i < best ? 1 : 0;
        }
    }
    return STATUS_OK;
}

/* The fewest lists that hold the target's share. */
static uint32_t enough(const uint32_t *of, uint32_t lists)
{
    uint64_t all = 0;
    uint64_t held = 0;
    uint32_t n = 0;
    for (uint32_t i = 0; i < lists; i++) {
        all += of[i];
    }
    while (n < lists && (n == 0 || (double)held < TARGET * (double)all)) {
        held += of[n++];
    }
    return n;
}

static uint32_t greater(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

enum status dense_calibrate(const struct calibrating *c, struct error *err)
{
    struct dense_meta *m = c->meta;
    struct ask *a = calloc(1, sizeof *a);
    uint32_t *counts = calloc((size_t)m->lists * 2 * LEVELS, sizeof *counts);
    float *halves = calloc(m->lists, sizeof *halves);
    uint16_t *rank = calloc(m->lists, sizeof *rank);
    enum status s = STATUS_OK;
    if (a == NULL || counts == NULL || halves == NULL || rank == NULL) {
        s = error_set(err, STATUS_NO_MEMORY, "sealing vectors: out of memory");
    } else {
        nearest_halves(c->centroids, m->lists, m->dimensions, halves);
        a->c = c;
        a->dot = dot_choose();
        a->halves = halves;
        a->rank = rank;
        for (size_t i = 0; i < 2 * LEVELS; i++) {
            a->tally[i / LEVELS].of[i % LEVELS] = counts + i * m->lists;
        }
        for (uint32_t i = 0; i < QUESTIONS && s == STATUS_OK; i++) {
            s = ask(a, i, err);
            if (s == STATUS_OK) {
                s = c->pause(c->pause_data, err);
            }
        }
        for (size_t i = 0; i < LEVELS; i++) {
            m->probes[i] =
                greater(enough(a->tally[0].of[i], m->lists), enough(a->tally[1].of[i], m->lists));
        }
    }
    free(a);
    free(counts);
    free(halves);
    free(rank);
    return s;
}
