/* Weights as the kernels read them: sixteen rows side by side, so that one load serves sixteen
 * sums, of the size they have in the file (Q4_K is 3% larger, its scales being whole bytes; Q3_K
 * becomes Q6_K). Values are not changed. cpu_dot.h says how the blocks lie. */
#ifndef CARREL_MODEL_PACK_H
#define CARREL_MODEL_PACK_H

#include "base/status.h"
#include "model/kernels.h"
#include "model/ops.h"
#include "model/pool.h"

/* PACK_NONE: such rows stay as they are. */
enum pack_kind pack_kind_of(enum tensor_type type);
/* Bytes of a group of sixteen rows. */
size_t pack_group_bytes(enum pack_kind kind, size_t columns);
/* n (at most 16) rows of w from first on; rows that are not there are zeros. */
void pack_group(const struct matrix *w, uint32_t first, uint32_t n, unsigned char *out);

/* Bytes of a whole matrix in a pack, rounded up to 64; 0: it is not packed, or NULL. */
size_t pack_matrix_bytes(const struct matrix *w);

struct pack; /* the packed weights of a model */

/* Over packed weights that lie `start` bytes into a mapping, matrix behind matrix; the matrices are
 * pointed to them. The mapping is the pack's from then on. */
enum status pack_over(struct matrix *const *matrices, size_t n, void *map, size_t map_bytes,
                      size_t start, struct pack **out, struct error *err) MUST_CHECK;

/* Packs the matrices (NULL entries and absent ones are passed over) and points them to the result.
 * NO_MEMORY: with how much was wanted. */
enum status pack_new(struct matrix *const *matrices, size_t n, struct pool *pool, struct pack **out,
                     struct error *err) MUST_CHECK;
void pack_free(struct pack *p); /* NULL is fine */
size_t pack_bytes(const struct pack *p);
bool pack_mapped(const struct pack *p); /* a file, by pack_over */

#endif
