/* The key of one tenant's segments. It lies in a file of its own (0600, 32 bytes), which an
 * operator may keep on another volume; the store remembers a fingerprint of it in `keyed`, beside
 * store.db. With the fingerprint there the store opens under that key only: a key that is missing
 * or another is UNAVAILABLE, naming the file, and nothing is ever written in clear instead. Without
 * a fingerprint a key file that appears turns encryption on; segments written before stay readable
 * until sealing has written them anew.
 *
 * Derived data only: a key that is lost costs making the segments again. */
#ifndef CARREL_VECTORSTORE_SEGMENT_KEYS_H
#define CARREL_VECTORSTORE_SEGMENT_KEYS_H

#include "vectorstore/segment_file.h"

#define SEGMENT_KEYED "keyed" /* the fingerprint's file, in the tenant's folder */

struct segment_keys;

/* key_file NULL: this store has no key, and one that had is refused. cache: borrowed, of any number
 * of stores. Owned: segment_keys_close, after every segment is closed. */
enum status segment_keys_open(const char *tenant_dir, const char *key_file,
                              struct segment_cache *cache, struct segment_keys **out,
                              struct error *err) MUST_CHECK;
void segment_keys_close(struct segment_keys *k); /* NULL is fine */
/* [seal] Has a key appeared since? From then on it is used. */
enum status segment_keys_look(struct segment_keys *k, struct error *err) MUST_CHECK;
/* What segments are written and read with; NULL: in clear. k may be NULL. Any thread. */
const struct segment_key *segment_keys_key(const struct segment_keys *k);
struct segment_cache *segment_keys_cache(const struct segment_keys *k);

#endif
