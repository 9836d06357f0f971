/* The places of a tenant's contents in memory, so that what a caller may find is known without the
 * database: a bitmap over chunk numbers, and counts.
 *
 * The table is filled at its first use and follows the catalogue's log of changes: each use first
 * takes in what its snapshot knows and the table does not. It may be ahead of a snapshot that began
 * earlier; rights are those of today, so being ahead is right, and chunks that the snapshot does
 * not have are left out of what it is given. The bitmaps of the callers and filters used last are
 * kept and brought forward by the contents that changed; others are made in one pass over the
 * places.
 *
 * Any thread; it locks itself. Memory: about 100 bytes and its names a place, and the bitmaps. */
#ifndef CARREL_VECTORSTORE_RIGHTS_H
#define CARREL_VECTORSTORE_RIGHTS_H

#include "vectorstore/access.h"
#include "vectorstore/visible.h"

struct rights;

enum status rights_new(struct rights **out, struct error *err) MUST_CHECK;
void rights_free(struct rights *r); /* NULL is fine */

/* c: in a read transaction, state its counters. caller NULL: the appliance. filter: checked
 * (access_check); may be NULL. *out: visible_drop. */
enum status rights_visible(struct rights *r, struct catalogue *c,
                           const struct catalogue_state *state, const struct caller *caller,
                           const Vs__Filter *filter, struct visible **out,
                           struct error *err) MUST_CHECK;

/* Documents per value; each list by count, then by value, at most `limit` long. In a. */
enum status rights_facets(struct rights *r, struct catalogue *c,
                          const struct catalogue_state *state, const struct caller *caller,
                          const Vs__Filter *filter, uint32_t limit, struct arena *a,
                          Vs__FacetsReply *out, struct error *err) MUST_CHECK;

/* Bytes held, about. */
size_t rights_bytes(struct rights *r);

#endif
