/* Truncated singular value decomposition of a large sparse matrix: a randomized range finder with power
 * iterations over A'A (Halko, Martinsson, Tropp 2011, algorithms 4.4 and 5.3), dense steps by LAPACK.
 *
 * LAPACK is opened on first use and closed again (svd_lapack_*): OpenBLAS claims memory as it loads, and
 * embed must stay small while nothing is being fitted. */
#ifndef CARREL_EMBED_SVD_H
#define CARREL_EMBED_SVD_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* Compressed rows: row r holds entries start[r] .. start[r+1] - 1; col[i] < n_cols. Borrowed. */
struct svd_matrix {
    size_t n_rows;
    size_t n_cols;
    const size_t *start;
    const uint32_t *col;
    const float *value;
};

/* Called now and then on the fitting thread with 0..1; false stops the work with STATUS_CANCELLED. */
typedef bool (*svd_progress_fn)(float done, void *data);

struct svd_lapack;
enum status svd_lapack_open(struct svd_lapack **out, struct error *err) MUST_CHECK;
void svd_lapack_close(struct svd_lapack *l); /* NULL is fine */

/* The k largest singular values into sigma[k] and their right vectors into v (n_cols rows of k floats).
 * Where the matrix has a rank below k the remaining columns and values are 0. Deterministic for a seed on
 * one kind of processor. Needs 2 * n_cols * (k + 32) floats beside v. */
enum status svd_right(const struct svd_lapack *lapack, const struct svd_matrix *a, size_t k,
                      uint64_t seed, svd_progress_fn progress, void *data, float *v, float *sigma,
                      struct error *err) MUST_CHECK;

#endif
