/* Vector stores are collections: the id says which, so that no table of ids is kept. Pure. */
#ifndef CARREL_SERVE_VECTOR_STORE_ID_H
#define CARREL_SERVE_VECTOR_STORE_ID_H

#include "base/arena.h"
#include "base/str.h"

#define VECTOR_STORE_ID_CAP (3 + 2 * 255 + 1)

/* "vs_" and the collection's name in hexadecimal. name: at most 255 bytes. */
void vector_store_id(struct str name, char out[VECTOR_STORE_ID_CAP]);
/* The collection of an id, in a; NULL: it is none, or out of memory. */
const char *vector_store_collection(struct str id, struct arena *a);

#endif
