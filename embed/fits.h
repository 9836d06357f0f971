/* The fits that embed has at hand: fetched from vectorstore when first asked for, kept while they fit into
 * a bound (least recently used out first). Several callers that want one missing fit share one fetch.
 * Fits belong to a tenant: one tenant's call never reaches another's fit, even by its right name.
 * Loop thread only; a fit that is held (fits_hold) may be read by any thread until it is let go. */
#ifndef CARREL_EMBED_FITS_H
#define CARREL_EMBED_FITS_H

#include <uv.h>

#include "base/lane.h"
#include "base/list.h"
#include "base/rpc/rpc.h"
#include "embed/lsa.h"

#define FITS_MAX 8
#define FITS_BYTES_MAX ((size_t)256 * 1024 * 1024)
#define FITS_FETCHES_MAX 8
#define FITS_WAITERS_MAX 256

struct fits;
struct fit; /* one fitted encoder, counted by use */

/* Borrows store (the client to vectorstore) and lane (where blobs are checked). */
enum status fits_new(struct rpc_client *store, struct lane *lane, struct fits **out,
                     struct error *err) MUST_CHECK;
/* Fetches under way are given up and their waiters told STATUS_UNAVAILABLE; blobs already being checked go
 * on to their end. */
void fits_stop(struct fits *f);
/* No fetch may be under way. NULL is fine. */
void fits_free(struct fits *f);

/* Somebody waiting for a fit. Owned by the caller, who must leave it alone until on_fit ran. */
struct fits_waiter {
    struct list link;
    /* err->code STATUS_OK: fit is held for the waiter, who lets it go. Never called from fits_want. */
    void (*on_fit)(struct fits_waiter *w, struct fit *fit, const struct error *err);
};

/* The fit when it is at hand, held; otherwise NULL and w is told later, or *status says why not. */
struct fit *fits_want(struct fits *f, const char *tenant, const char *encoder,
                      struct fits_waiter *w, enum status *status, struct error *err);
void fit_let_go(struct fit *fit);
const struct lsa_model *fit_model(const struct fit *fit);
/* Calls fn for each fit of the tenant at hand. */
void fits_each(const struct fits *f, const char *tenant,
               void (*fn)(const struct lsa_info *info, void *data), void *data);
size_t fits_count(const struct fits *f);

#endif
