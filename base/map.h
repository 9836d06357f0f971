/* Hash map from byte strings to pointers; keys are copied. Not thread-safe. */
#ifndef CARREL_BASE_MAP_H
#define CARREL_BASE_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "base/str.h"

struct map_slot;

struct map {
    struct map_slot *slots;
    size_t cap; /* a power of two, or 0 */
    size_t len;
    size_t dead;
};

void map_init(struct map *m);
/* Frees keys and slots; values are the caller's (visit them with map_next first). */
void map_deinit(struct map *m);
/* NULL when absent. */
void *map_get(const struct map *m, struct str key);
/* Inserts or replaces; value must not be NULL. *old (may be NULL) receives the value replaced. */
enum status map_put(struct map *m, struct str key, void *value, void **old) MUST_CHECK;
/* Removes and returns the value; NULL when absent. */
void *map_remove(struct map *m, struct str key);
/* Iterate: start with *pos = 0; false at the end. The map must not change meanwhile. */
bool map_next(const struct map *m, size_t *pos, struct str *key, void **value);
/* 64-bit hash of bytes (FNV-1a with a final mix); stable across runs and machines. */
uint64_t hash64(const void *p, size_t len);

#endif
